"""A real server read whole: every value equals what the server itself says of it."""

from __future__ import annotations

import base64
import struct
import threading
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from itertools import pairwise
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from holdfast.connectors._sql.views import VALUE_BYTES_MAX
from holdfast.connectors.postgres.connection import connect, quoted
from holdfast.connectors.postgres.copying import BLOCK_BYTES
from holdfast.connectors.postgres.reader import PostgresReader, PostgresSnapshot
from holdfast.connectors.postgres.values import encode
from holdfast.core.canonical import decode, key_bytes, row_digests, slices, tagged
from holdfast.core.ports import Misread
from holdfast.core.records import MIXED, TYPES, Column, Schema
from holdfast.errors import Refused, Unreachable, Unsupported, Usage
from tests.connectors.postgres.edges import EDGES
from tests.postgres_server import Database
from tests.waiting import eventually


def rows(snapshot: PostgresSnapshot, name: str) -> pa.Table:
    """All of a collection, as its view delivers it."""
    collection = snapshot.collection(name)
    view = snapshot.read(collection)
    schema = collection.schema.arrow()
    found = list(view.batches())
    assert all(batch.schema.equals(schema, check_metadata=True) for batch in found)
    return pa.Table.from_batches(found, schema)


def column(url: str, of: str, name: str) -> list[Any]:
    """A column as Python values."""
    with PostgresReader(url).snapshot() as snapshot:
        return list(rows(snapshot, of).column(name).to_pylist())


def canonical(kind: str) -> tuple[str, Callable[[Any], bytes]]:
    """SQL that has the server tell a value of this type in a plain way, and how that becomes tagged bytes: another way
    than the reader's, to hold it against.
    """
    tag = bytes([TYPES[kind].tag])
    micros = "(extract(epoch FROM {0}) * 1000000)::bigint::text"

    def number(width: int) -> Callable[[Any], bytes]:
        return lambda told: tag + (int(Decimal(told)) + (1 << (8 * width - 1))).to_bytes(width, "big")

    def ieee(code: str, width: int) -> Callable[[Any], bytes]:
        def read(told: bytes) -> bytes:
            bits = int.from_bytes(told, "big")
            if struct.unpack(code, told)[0] != struct.unpack(code, told)[0]:
                bits = {4: 0x7FC00000, 8: 0x7FF8000000000000}[width]
            top = 1 << (8 * width - 1)
            return tag + (bits ^ (2 * top - 1) if bits & top else bits | top).to_bytes(width, "big")

        return read

    def since_2000(told: bytes) -> bytes:
        return number(8)(int.from_bytes(told, "big", signed=True) + 946_684_800_000_000)

    ways: dict[str, tuple[str, Callable[[Any], bytes]]] = {
        "bool": ("CASE WHEN {0} THEN 1 WHEN NOT {0} THEN 0 END", lambda told: tag + bytes([told])),
        "int": ("{0}::text", number(8)),
        "float": ("float8send({0})", ieee(">d", 8)),
        "float32": ("float4send({0})", ieee(">f", 4)),
        "bytes": ("encode({0}, 'base64')", lambda told: tag + base64.b64decode(told)),
        "date": ("({0} - date '1970-01-01')::text", number(4)),
        "time": (micros, number(8)),
        "timestamp": ("timestamp_send({0})", since_2000),
        "timestamptz": ("timestamptz_send({0})", since_2000),
        "uuid": ("{0}::text", lambda told: tag + uuid.UUID(told).bytes),
    }
    return ways.get(kind, ("format('%s', {0})", lambda told: tag + told.encode()))


@pytest.mark.parametrize("declared", EDGES)
def test_every_value_is_what_the_server_says_it_is(postgres: Database, declared: str) -> None:
    """Each type with its farthest values: canonical bytes computed another way are the same, and text goes back."""
    kind, made, literals = EDGES[declared]
    values = ", ".join(f"({number}, {each})" for number, each in enumerate([*literals, "NULL"]))
    postgres.run(*made, f"CREATE TABLE t (n int PRIMARY KEY, v {declared})", f"INSERT INTO t VALUES {values}")
    sql, expected = canonical(kind)
    beyond = (
        "NOT isfinite(v) OR v > '294247-01-10 04:00:54.775807'" if kind.startswith("timestamp") else "NOT isfinite(v)"
    )
    beyond = beyond if kind in ("date", "timestamp", "timestamptz") else "false"
    with connect(postgres.url) as connection:
        connection.execute("SET search_path = public")
        oracle = connection.execute(
            f"SELECT num_nulls(v) = 1, {beyond}, format('%s', v), CASE WHEN NOT ({beyond}) THEN {sql.format('v')} END "
            "FROM public.t ORDER BY n"
        ).fetchall()
        with PostgresReader(postgres.url).snapshot() as snapshot:
            schema = snapshot.collection("t").schema
            found = rows(snapshot, "t").sort_by("n").column("v").combine_chunks()
        read = schema.columns[1]
        assert read.type == (MIXED if any(each[1] for each in oracle) else kind)
        for value, (is_null, is_beyond, text, told) in zip(tagged(found, read.type).to_pylist(), oracle, strict=True):
            if is_null:
                assert value is None
            elif is_beyond:
                assert decode(value) == ("source", text)
            else:
                assert value == expected(told), text
        for back, (_, _, text, _) in zip(encode(found, read).to_pylist(), oracle, strict=True):
            (again,) = connection.execute(f"SELECT format('%%s', %s::text::{declared})", (back,)).fetchall()
            assert again == (text,)


def test_what_was_known_of_a_column_is_believed_until_a_value_says_otherwise(postgres: Database) -> None:
    """No scan is spent on columns that were ordinary before; the first infinite value is noticed, never altered."""
    postgres.run(
        "CREATE TABLE t (n int PRIMARY KEY, at timestamptz)", "INSERT INTO t VALUES (1, '2026-03-01 09:00+00')"
    )
    reader = PostgresReader(postgres.url)
    with reader.snapshot() as snapshot:
        known = {"t": snapshot.collection("t").schema}
    with reader.snapshot(known) as snapshot:
        assert snapshot.collection("t").schema == known["t"]
        assert rows(snapshot, "t").num_rows == 1
    postgres.run("INSERT INTO t VALUES (2, 'infinity')")
    with reader.snapshot(known) as snapshot, pytest.raises(Misread, match="column at"):
        rows(snapshot, "t")
    with reader.snapshot() as snapshot:
        assert snapshot.collection("t").schema.columns[1].type == MIXED
    known = {"t": Schema((Column("at", MIXED),))}
    postgres.run("DELETE FROM t WHERE n = 2")
    with reader.snapshot(known) as snapshot:
        assert snapshot.collection("t").schema.columns[1].type == "timestamptz"


def test_text_is_kept_to_the_last_character(postgres: Database) -> None:
    """Whatever COPY, CSV or a terminal could take for a sign: each is only text. Nothing is not NULL."""
    texts = [
        "", " ", "\\N", "\\.", "\\", '"', '""', "'", ",", "\n", "\r", "\r\n", "\n\n", "a\n\\.\nb", "\t", "NULL", "null",
        '"\n"', *(chr(code) for code in range(1, 32)), "\x7f", "\x85", "\u2028", "\ufeff", "\ufeffid",
        "\U0010ffff", "a\u0301", "á", "量",
    ]  # fmt: skip
    postgres.run("CREATE TABLE t (n int PRIMARY KEY, v text, w text)", "CREATE TABLE alone (v text)")
    with psycopg.connect(postgres.url) as connection:
        for number, each in enumerate([*texts, None]):
            connection.execute("INSERT INTO t VALUES (%s, %s, %s)", (number, each, each))
            connection.execute("INSERT INTO alone VALUES (%s)", (each,))
    with PostgresReader(postgres.url).snapshot() as snapshot:
        found = rows(snapshot, "t").sort_by("n")
        alone = rows(snapshot, "alone")
    assert found.column("v").to_pylist() == found.column("w").to_pylist() == [*texts, None]
    assert sorted(alone.column("v").to_pylist(), key=str) == sorted([*texts, None], key=str)


def test_rows_of_nothing_but_null_are_rows(postgres: Database) -> None:
    """A line without a character in it is a record all the same, however many there are."""
    postgres.run("CREATE TABLE t (v text)", "INSERT INTO t SELECT NULL FROM generate_series(1, 5)")
    assert column(postgres.url, "t", "v") == [None] * 5


def test_a_table_is_the_same_in_any_number_of_blocks(postgres: Database) -> None:
    """Blocks end between rows, never within a value, though values hold line ends and quotes."""
    postgres.run(
        "CREATE TABLE t (n int PRIMARY KEY, v text)",
        "INSERT INTO t SELECT n, repeat(chr(10) || chr(34) || ',' || n, n % 500) FROM generate_series(1, 20000) n",
    )
    with PostgresReader(postgres.url).snapshot() as snapshot:
        view = snapshot.read(snapshot.collection("t"))
        batches = list(view.batches())
    assert len(batches) > 2
    assert max(batch.nbytes for batch in batches) < 2 * BLOCK_BYTES
    found = pa.Table.from_batches(batches).sort_by("n")
    assert found.column("n").to_pylist() == list(range(1, 20001))
    assert found.column("v").to_pylist() == [f'\n",{n}' * (n % 500) for n in range(1, 20001)]


def test_values_up_to_the_limit_are_read(postgres: Database) -> None:
    """32 MB of text and of bytes in one row."""
    postgres.run(
        "CREATE TABLE t (id int PRIMARY KEY, v text, w bytea)",
        f"INSERT INTO t VALUES (1, repeat('0123456789abcdef', {VALUE_BYTES_MAX // 16}), "
        f"decode(repeat('00ff', {VALUE_BYTES_MAX // 2}), 'hex')), (2, 'short', '')",
    )
    with PostgresReader(postgres.url).snapshot() as snapshot:
        found = rows(snapshot, "t").sort_by("id")
    assert found.column("v").to_pylist() == ["0123456789abcdef" * (VALUE_BYTES_MAX // 16), "short"]
    assert found.column("w").to_pylist() == [b"\x00\xff" * (VALUE_BYTES_MAX // 2), b""]


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        ("text", f"repeat('a', {VALUE_BYTES_MAX + 1})"),
        ("bytea", f"decode(repeat('00', {VALUE_BYTES_MAX + 1}), 'hex')"),
        ("jsonb", f"to_jsonb(repeat('a', {VALUE_BYTES_MAX}))"),
        ("text[]", f"ARRAY[repeat('a', {VALUE_BYTES_MAX})]"),
    ],
)
def test_a_longer_value_is_refused_by_name(postgres: Database, declared: str, value: str) -> None:
    """Before a single record of the table comes, with column, key and length."""
    postgres.run(f"CREATE TABLE t (id int PRIMARY KEY, v {declared})", f"INSERT INTO t VALUES (1, NULL), (7, {value})")
    with PostgresReader(postgres.url).snapshot() as snapshot:
        view = snapshot.read(snapshot.collection("t"))
        with pytest.raises(Unsupported, match=r"t: column v of id='7' holds 33,554,43\d bytes"):
            next(view.batches())


def test_what_is_computed_is_left_to_the_engine(postgres: Database) -> None:
    """Generated columns are no part of a record; identity columns are."""
    postgres.run(
        "CREATE TABLE t (a int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, b int, "
        "c int GENERATED ALWAYS AS (b * 2) STORED)",
        "INSERT INTO t (b) VALUES (5), (6)",
        "CREATE TABLE computed (a int GENERATED ALWAYS AS (1) STORED)",
    )
    with PostgresReader(postgres.url).snapshot() as snapshot:
        assert rows(snapshot, "t").sort_by("a").to_pydict() == {"a": [1, 2], "b": [5, 6]}
        with pytest.raises(Unsupported, match="computed: it has no columns to keep"):
            rows(snapshot, "computed")


def test_partitions_are_one_collection_and_children_are_several(postgres: Database) -> None:
    """Every row belongs to exactly one collection."""
    postgres.run(
        "CREATE TABLE parted (a int, b text) PARTITION BY RANGE (a)",
        "CREATE TABLE low PARTITION OF parted FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE high (b text, gone int, a int)",
        "ALTER TABLE high DROP COLUMN gone",
        "ALTER TABLE parted ATTACH PARTITION high DEFAULT",
        "INSERT INTO parted VALUES (1, 'x'), (100, 'y')",
        "CREATE TABLE parent (a int)",
        "CREATE TABLE child (b int) INHERITS (parent)",
        "INSERT INTO parent VALUES (1)",
        "INSERT INTO child VALUES (2, 3)",
    )
    with PostgresReader(postgres.url).snapshot() as snapshot:
        assert rows(snapshot, "parted").sort_by("a").to_pydict() == {"a": [1, 100], "b": ["x", "y"]}
        assert rows(snapshot, "parent").to_pydict() == {"a": [1]}
        assert rows(snapshot, "child").to_pydict() == {"a": [2], "b": [3]}


def test_names_of_any_script_and_with_any_signs_are_read(postgres: Database) -> None:
    """Quotes, percent signs, line ends and other scripts in schemas, tables and columns."""
    names = [
        'we"ird',
        "100%s",
        "%(a)s",
        "Größe",
        "заказы",
        "量",
        "new\nline",
        "semi;colon",
        "a.b",
        "SELECT",
        "it's",
        "{0}",
    ]
    for name in names:
        at = f"{quoted(name)}.{quoted(name)}"
        made = f"CREATE TABLE {at} ({quoted(name)} date, {quoted(name + ' 2')} text)"
        postgres.run(f"CREATE SCHEMA {quoted(name)}", made, f"INSERT INTO {at} VALUES ('infinity', 'x')")
    with PostgresReader(postgres.url).snapshot() as snapshot:
        tables = [name for name in snapshot.names if not name.startswith("postgres:")]
        found = {tuple(rows(snapshot, name).column_names) for name in tables}
    assert found == {(name, f"{name} 2") for name in names}


def test_settings_of_roles_and_databases_change_no_value(postgres: Database) -> None:
    """However a database or role is set to show values, they are read the same."""
    postgres.run(
        "CREATE TABLE t (a date, b timestamptz, c interval, d float8, e bytea, f xml)",
        "INSERT INTO t VALUES "
        "('2026-03-01', '2026-03-01 00:00+00', '1 day 2 hours', 0.1::float8 + 0.2, '\\xff', '<a/>')",
    )
    with PostgresReader(postgres.url).snapshot() as snapshot:
        wanted = rows(snapshot, "t")
    for setting in (
        "DateStyle = 'German'", "TimeZone = 'Asia/Tokyo'", "IntervalStyle = 'iso_8601'", "extra_float_digits = -15",
        "bytea_output = 'escape'", "search_path = 'public'", "client_encoding = 'LATIN1'",
        "default_transaction_isolation = 'serializable'", "quote_all_identifiers = on",
        "statement_timeout = '1ms'",  # last, for it holds for what is set after it
    ):  # fmt: skip
        postgres.run(f"ALTER DATABASE {quoted(postgres.name)} SET {setting}")
    with PostgresReader(postgres.url).snapshot() as snapshot:
        assert rows(snapshot, "t").equals(wanted)


def test_a_snapshot_is_one_moment_whatever_is_written_meanwhile(postgres: Database) -> None:
    """Tables that are read later, through other connections, are of the same moment as those read first."""
    postgres.run(
        "CREATE TABLE a (n int)", "CREATE TABLE b (n int)", "INSERT INTO a VALUES (1)", "INSERT INTO b VALUES (1)"
    )
    with PostgresReader(postgres.url).snapshot() as snapshot:
        postgres.run("INSERT INTO a VALUES (2)", "DELETE FROM b", "CREATE TABLE c (n int)")
        first = snapshot.read(snapshot.collection("a")).batches()
        assert next(first).to_pydict() == {"n": [1]}
        postgres.run("UPDATE a SET n = 3")
        # The first reader is not done: this one has a connection of its own.
        assert rows(snapshot, "b").to_pydict() == {"n": [1]}
        assert list(first) == []
        assert rows(snapshot, "a").to_pydict() == {"n": [1]}
        with psycopg.connect(postgres.url) as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            connection.execute(f"SET TRANSACTION SNAPSHOT '{snapshot.export}'".encode())
            assert connection.execute("SELECT n FROM a").fetchall() == [(1,)]
        assert "c" not in snapshot.names


def test_a_snapshot_is_dated_by_the_servers_clock(postgres: Database) -> None:
    """As its changes are: after all that it holds was committed, and before all that is written later."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        asked = "SELECT clock_timestamp()"
        ((before,),) = connection.execute(asked).fetchall()
        with PostgresReader(postgres.url).snapshot() as snapshot:
            ((after,),) = connection.execute(asked).fetchall()
            assert before < snapshot.taken < after


def test_who_wants_to_truncate_a_table_that_is_being_read_waits(postgres: Database) -> None:
    """TRUNCATE would empty a table under an older snapshot. It waits until that is closed, and holds up no reading."""
    postgres.run("CREATE TABLE t (at date)", "INSERT INTO t VALUES ('2026-03-01')")
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query = 'TRUNCATE t'"
    with ThreadPoolExecutor(1) as pool:
        with PostgresReader(postgres.url).snapshot() as snapshot:
            truncated = pool.submit(postgres.run, "TRUNCATE t")
            eventually(lambda: postgres.rows(waiting), "TRUNCATE waits")
            assert rows(snapshot, "t").num_rows == 1
        truncated.result()
    assert postgres.rows("SELECT FROM t") == []


def test_a_table_rewritten_since_the_exported_snapshot_is_not_read_as_empty(postgres: Database) -> None:
    """Whoever joins an older snapshot is told that it can no longer be read whole."""
    postgres.run("CREATE TABLE t (n int)", "INSERT INTO t VALUES (1)")
    with psycopg.connect(postgres.url) as connection:
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        ((export,),) = connection.execute("SELECT pg_export_snapshot()").fetchall()
        with PostgresReader(postgres.url).snapshot(on=export, lsn="0/ABC") as snapshot:
            assert rows(snapshot, "t").to_pydict() == {"n": [1]}
            assert snapshot.position.startswith("LSN 0/ABC, timeline 1, system ")
        postgres.run("TRUNCATE t")
        with (
            pytest.raises(Unreachable, match="altered or truncated"),
            PostgresReader(postgres.url).snapshot(on=export),
        ):
            pytest.fail("a snapshot that can't be read was opened")
    with pytest.raises(Unreachable, match="is gone"), PostgresReader(postgres.url).snapshot(on=export):
        pytest.fail("a snapshot that is gone was opened")


def test_a_snapshot_opens_while_tables_are_truncated_again_and_again(postgres: Database) -> None:
    """It is never of a moment in which a table seems empty because it was truncated too late."""
    postgres.run("CREATE TABLE t (n int)", "INSERT INTO t VALUES (0)")
    stop = threading.Event()

    def work() -> None:
        with psycopg.connect(postgres.url) as connection:
            number = 0
            while not stop.is_set():
                number += 1
                connection.execute("TRUNCATE t")
                connection.execute("INSERT INTO t VALUES (%s)", (number,))
                connection.commit()

    worker = threading.Thread(target=work)
    worker.start()
    try:
        opened = 0
        for _ in range(20):
            try:
                with PostgresReader(postgres.url).snapshot() as snapshot:
                    assert rows(snapshot, "t").num_rows == 1
                    opened += 1
            except Unreachable:
                continue
    finally:
        stop.set()
        worker.join()
    assert opened


def test_the_right_to_select_is_enough(postgres: Database) -> None:
    """What the role may not read is a gap that names the statement, and all else is read."""
    url = postgres.role("reader")
    role = quoted(f"{postgres.name}_reader")
    postgres.run(
        "CREATE SCHEMA closed",
        "CREATE TABLE open (at timestamptz)",
        "INSERT INTO open VALUES ('2026-03-01 09:00+00')",
        "CREATE TABLE secret (at date)",
        "CREATE TABLE closed.t (n int)",
        "CREATE TABLE mine (n int)",
        "ALTER TABLE mine ENABLE ROW LEVEL SECURITY",
        f"GRANT SELECT ON open, closed.t, mine TO {role}",
    )
    with PostgresReader(url).snapshot() as snapshot:
        assert rows(snapshot, "open").num_rows == 1
        for name, mended in (
            ("secret", f'GRANT SELECT ON "public"."secret" TO {role}'),
            ("closed.t", f'GRANT USAGE ON SCHEMA "closed" TO {role}'),
            ("mine", f"ALTER ROLE {role} BYPASSRLS"),
        ):
            assert snapshot.collection(name).schema.names
            with pytest.raises(Unsupported, match=f"{name}: ") as caught:
                rows(snapshot, name)
            assert mended in caught.value.message
            postgres.run(mended)
    with PostgresReader(url).snapshot() as snapshot:
        assert [rows(snapshot, name).num_rows for name in ("open", "secret", "closed.t", "mine")] == [1, 0, 0, 0]


ORDERED: Sequence[tuple[str, str]] = (
    ("n bigint PRIMARY KEY", "n"),
    ("n uuid PRIMARY KEY", "md5(n::text)::uuid"),
    ("n bytea PRIMARY KEY", "decode(repeat('00', n % 3) || md5(n::text), 'hex')"),
    ('n text COLLATE "C" PRIMARY KEY', "chr(50 + n % 900) || n"),
    ("n timestamptz PRIMARY KEY", "timestamptz '0001-01-01' + n * interval '5 years'"),
    ("m bool, n smallint, PRIMARY KEY (m, n)", "n % 2 = 0, n"),
)


@pytest.mark.parametrize(("columns", "values"), ORDERED)
def test_an_order_that_the_server_promises_is_that_of_canonical_keys(
    postgres: Database, columns: str, values: str
) -> None:
    """A small table comes in order where its key sorts on the server as its bytes do."""
    postgres.run(
        f"CREATE TABLE t ({columns})",
        f"INSERT INTO t SELECT {values} FROM generate_series(-999, 1000) n WHERE n > 0 OR '{columns}' ~ 'int'",
    )
    with PostgresReader(postgres.url).snapshot() as snapshot:
        view = snapshot.read(snapshot.collection("t"))
        assert view.ordered
        keys = [key for batch in view.batches() for key in slices(key_bytes(batch, view.schema))]
    assert len(keys) >= 1000
    assert all(one < other for one, other in pairwise(keys))


@pytest.mark.parametrize("key", ["text", 'text COLLATE "en_US"', "numeric", "float8", "char(9)", "int[]"])
def test_no_order_is_promised_that_is_the_servers_own(postgres: Database, key: str) -> None:
    """Texts by the rules of a language, numbers of many spellings: whoever needs an order sorts."""
    postgres.run("CREATE COLLATION IF NOT EXISTS \"en_US\" (provider = icu, locale = 'en-US')")
    postgres.run(f"CREATE TABLE t (n {key} PRIMARY KEY)")
    with PostgresReader(postgres.url).snapshot() as snapshot:
        assert not snapshot.read(snapshot.collection("t")).ordered


def test_a_large_table_comes_in_order_only_where_that_is_free(postgres: Database) -> None:
    """Where rows lie by key the index is walked; where they are scattered they are read as they lie."""
    postgres.run(
        "CREATE TABLE along (n int, v text)",
        "INSERT INTO along SELECT n, repeat('x', 200) FROM generate_series(1, 30000) n",
        "ALTER TABLE along ADD PRIMARY KEY (n)",
        "CREATE TABLE across (n int, v text)",
        "INSERT INTO across SELECT n, v FROM along ORDER BY hashint4(n)",
        "ALTER TABLE across ADD PRIMARY KEY (n)",
        "ANALYZE",
    )
    with PostgresReader(postgres.url).snapshot() as snapshot:
        assert snapshot.read(snapshot.collection("along")).ordered
        assert not snapshot.read(snapshot.collection("across")).ordered
        digests = [
            sorted(digest for batch in view.batches() for digest in row_digests(batch, view.schema).to_pylist())
            for view in map(snapshot.read, map(snapshot.collection, ("along", "across")))
        ]
    assert digests[0] == digests[1]


@pytest.mark.parametrize(("encoding", "text"), [("LATIN1", "café"), ("EUC_JP", "日本"), ("SQL_ASCII", "café")])
def test_databases_of_other_encodings_are_read(postgres: Database, encoding: str, text: str) -> None:
    """Text comes as what it says, whatever bytes stand for it on the server; what says nothing keeps its bytes."""
    name = f"{postgres.name}_other"
    postgres.run(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    try:
        url = postgres.server.url(name)
        with psycopg.connect(url, autocommit=True, client_encoding="UTF8") as connection:
            connection.execute("CREATE TABLE t (v text, n int)")
            connection.execute("INSERT INTO t VALUES (%s, 1)", (text,))
            if encoding == "SQL_ASCII":
                connection.execute("INSERT INTO t VALUES (E'caf\\xe9', 2)")
        with PostgresReader(url).snapshot() as snapshot:
            found = rows(snapshot, "t").sort_by("n").column("v").to_pylist()
        if encoding == "SQL_ASCII":
            assert [decode(each) for each in found] == [("text", text), ("rawtext", b"caf\xe9")]
        else:
            assert found == [text]
    finally:
        postgres.run(f"DROP DATABASE {name} WITH (FORCE)")


def test_who_stops_in_the_middle_leaves_nothing_behind(postgres: Database) -> None:
    """A reader that is given up ends its connection; the snapshot goes on."""
    postgres.run("CREATE TABLE t (v text)", "INSERT INTO t SELECT repeat('x', 1000) FROM generate_series(1, 50000)")
    with PostgresReader(postgres.url).snapshot() as snapshot:
        view = snapshot.read(snapshot.collection("t"))
        for _ in range(3):
            batches = view.batches()
            assert next(batches).num_rows
            batches.close()  # type: ignore[attr-defined]
        assert sum(batch.num_rows for batch in view.batches()) == 50_000
    ours = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'holdfast' AND datname = current_database()"
    eventually(lambda: postgres.value(ours) == 0, "the sessions end")


def test_a_server_that_goes_away_is_told_as_such(postgres: Database) -> None:
    """A connection cut in the middle is Unreachable: trying again is safe."""
    postgres.run("CREATE TABLE t (v text)", "INSERT INTO t SELECT repeat('x', 1000) FROM generate_series(1, 50000)")
    with PostgresReader(postgres.url).snapshot() as snapshot:
        batches = snapshot.read(snapshot.collection("t")).batches()
        next(batches)
        postgres.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'holdfast'")
        with pytest.raises(Unreachable, match=r"^t: "):
            list(batches)


def test_an_url_is_shown_without_its_password(postgres: Database) -> None:
    """Neither in an error for a database that is not there, nor for a URL that makes no sense."""
    address = postgres.url.rpartition("/")[0].replace("postgres@", "postgres:hunter2@")
    for url, kind in ((f"{address}/nothing_here", Unreachable), (f"{address}/x?nonsense=1", Usage)):
        with pytest.raises(kind) as caught, PostgresReader(url).snapshot():
            pytest.fail("a snapshot of nothing was opened")
        assert "hunter2" not in f"{caught.value.message} {caught.value.hint} {caught.value.__cause__}"
    with (
        pytest.raises(Refused, match="role"),
        PostgresReader(postgres.url.replace("postgres@", "nobody_here@")).snapshot(),
    ):
        pytest.fail("a snapshot was opened by nobody")


def test_collections_have_names_and_only_those(postgres: Database) -> None:
    """The definitions are among them; a name that is none says so."""
    postgres.run("CREATE TABLE t (a int)")
    with PostgresReader(postgres.url).snapshot() as snapshot:
        assert snapshot.names == ("postgres:schema", "postgres:sequence", "t")
        assert [each.name for each in snapshot.collections] == list(snapshot.names)
        assert rows(snapshot, "postgres:schema").num_rows
        with pytest.raises(Usage, match="no collection nothing"):
            snapshot.collection("nothing")
