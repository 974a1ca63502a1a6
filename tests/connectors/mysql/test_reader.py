"""A real server read whole: every value equals what the server itself says of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest

from holdfast.connectors._sql.views import VALUE_BYTES_MAX
from holdfast.connectors.mysql.connection import quoted
from holdfast.connectors.mysql.reader import MysqlReader, MysqlSnapshot
from holdfast.core.canonical import decode, key_bytes, slices, tagged
from holdfast.core.ports import Misread
from holdfast.core.records import MIXED, Column, Schema
from holdfast.errors import Refused, Unreachable, Unsupported, Usage
from tests.connectors.mysql.edges import EDGES
from tests.mariadb_server import Database, Server


def rows(snapshot: MysqlSnapshot, name: str) -> pa.Table:
    """All of a collection, as its view delivers it."""
    collection = snapshot.collection(name)
    view = snapshot.read(collection)
    schema = collection.schema.arrow()
    found = list(view.batches())
    assert all(batch.schema.equals(schema, check_metadata=True) for batch in found)
    return pa.Table.from_batches(found, schema)


def fill(database: Database, declared: str, literals: Sequence[str]) -> None:
    """A table of that type's values, and NULL; with nothing but warnings where the server alters one."""
    with database.session() as connection, connection.cursor() as cursor:
        cursor.execute("SET sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00'")
        cursor.execute(f"CREATE TABLE t (n int PRIMARY KEY, v {declared} NULL)")
        for number, each in enumerate([*literals, "NULL"]):
            cursor.execute(f"INSERT INTO t VALUES ({number}, {each})")


def told(database: Database, kind: str, declared: str) -> list[tuple[str, Any] | None]:
    """What the server says of each value, by other ways than the reader's: its type, and what it is."""
    ways = {"bytes": "HEX(v)", "uuid": "HEX(v)", "uint": "CONCAT(v + 0)"}
    found: list[tuple[str, Any] | None] = []
    with database.session() as connection, connection.cursor() as cursor:
        cursor.execute("SET time_zone = '+00:00'")
        if kind in ("text", "json"):
            charset = (re.search(r"CHARACTER SET (\w+)", declared) or [0, "utf8mb4"])[1]
            back = f"BINARY CONVERT(CONVERT(v USING utf8mb4) USING {charset}) = BINARY v"
            cursor.execute(f"SELECT HEX(CONVERT(v USING utf8mb4)), HEX(v), {back}, v + 0 FROM t ORDER BY n")
            for text, raw, is_text, number in cursor.fetchall():
                found.append(None if text is None else _told_text(kind, text, raw, bool(is_text)))
                if declared.startswith("enum") and number == 0:
                    found[-1] = ("int", 0)
            return found
        cursor.execute(f"SELECT {ways.get(kind, 'CAST(v AS CHAR)')} FROM t ORDER BY n")
        return [None if text is None else _told(kind, text, declared) for (text,) in cursor.fetchall()]


def _told_text(kind: str, text: str, raw: str, is_text: bool) -> tuple[str, Any]:
    try:
        return (kind, bytes.fromhex(text).decode()) if is_text else ("rawtext", bytes.fromhex(raw))
    except UnicodeDecodeError:
        return "rawtext", bytes.fromhex(raw)


def _told(kind: str, text: str, declared: str) -> tuple[str, Any]:
    match kind:
        case "int" | "uint":
            return kind, int(text)
        case "bytes" | "uuid":
            return kind, bytes.fromhex(text)
        case "decimal":
            return kind, re.sub(r"^0+(?=\d)", "", text) if "zerofill" in declared else text
        case "time":
            hours, minutes, seconds = text.lstrip("-").split(":")
            count = timedelta(hours=int(hours), minutes=int(minutes), seconds=float(seconds)) // timedelta(
                microseconds=1
            )
            is_time = not text.startswith("-") and count <= 86_400_000_000
            is_end = count == 86_400_000_000
            time = count if is_end else (datetime.min + timedelta(microseconds=count)).time()
            return (kind, time) if is_time else ("source", text)
        case "date" | "timestamp" | "timestamptz":
            try:
                moment = datetime.fromisoformat(f"{text}+00:00" if kind == "timestamptz" else text)
            except ValueError:
                return "source", text
            return kind, moment.date() if kind == "date" else moment
        case _:
            return kind, text


@pytest.mark.parametrize("declared", EDGES)
def test_every_value_is_what_the_server_says_it_is(mariadb: Database, declared: str) -> None:
    """Each type with its farthest values, told by the server in another way."""
    kind, literals = EDGES[declared]
    fill(mariadb, declared, literals)
    with MysqlReader(mariadb.url).snapshot() as snapshot:
        read = snapshot.collection("t").schema.columns[1]
        values = rows(snapshot, "t").sort_by("n").column("v").combine_chunks()
    found = [None if value is None else decode(value) for value in tagged(values, read.type).to_pylist()]
    assert found[-1] is None
    if kind in ("float", "float32"):
        assert read.type == kind
        for number, each in enumerate(found[:-1]):
            assert each is not None
            assert (
                mariadb.value(
                    f"SELECT CAST(v AS DOUBLE) = {each[1]!r}e0 FROM t WHERE n = {number}".replace("e0e0", "e0")
                )
                == 1
            )
        return
    expected = told(mariadb, kind, declared)
    assert found == expected
    assert read.type == (kind if all(each is None or each[0] == kind for each in expected) else MIXED)


def test_a_snapshot_has_every_table_and_says_where_it_lies(mariadb: Database) -> None:
    """Records, definitions, the place in the binlog, how long commits waited."""
    mariadb.run("CREATE TABLE t (n int PRIMARY KEY, v text)", "INSERT INTO t VALUES (1, 'a'), (2, NULL), (3, 'NULL')")
    with MysqlReader(mariadb.url).snapshot() as snapshot:
        assert snapshot.names == ("mysql:schema", "mysql:sequence", "t")
        assert rows(snapshot, "t").to_pydict() == {"n": [1, 2, 3], "v": ["a", None, "NULL"]}
        assert rows(snapshot, "mysql:schema").num_rows >= 1
        ((file, position, *_),) = mariadb.rows("SHOW MASTER STATUS")
        assert snapshot.place is not None
        assert (snapshot.place.file, snapshot.place.position) == (file, position)
        assert snapshot.place.gtid == mariadb.value("SELECT @@gtid_binlog_pos")
        assert str(snapshot.place.position) in snapshot.position
        assert 0 < snapshot.lock_seconds < 5


def test_what_was_known_of_a_column_is_believed_until_a_value_says_otherwise(mariadb: Database) -> None:
    """No scan is spent on columns that were ordinary before; the first impossible date is noticed, never altered."""
    mariadb.run(
        "CREATE TABLE t (n int PRIMARY KEY, at date, v varchar(9))", "INSERT INTO t VALUES (1, '2026-03-01', 'a')"
    )
    reader = MysqlReader(mariadb.url)
    with reader.snapshot() as snapshot:
        known = {"t": snapshot.collection("t").schema}
    with reader.snapshot(known) as snapshot:
        assert snapshot.collection("t").schema == known["t"]
        assert rows(snapshot, "t").num_rows == 1
    mariadb.run("SET sql_mode = ''", "INSERT INTO t VALUES (2, '2026-00-00', 'b')")
    with reader.snapshot(known) as snapshot, pytest.raises(Misread, match="column at"):
        rows(snapshot, "t")
    with reader.snapshot() as snapshot:
        assert snapshot.collection("t").schema.columns[1].type == MIXED
    mariadb.run("DELETE FROM t WHERE n = 2")
    with reader.snapshot({"t": Schema((Column("at", MIXED),))}) as snapshot:
        assert snapshot.collection("t").schema.columns[1].type == "date"


def test_values_up_to_the_limit_are_read(mariadb: Database) -> None:
    """32 MB of text and of bytes in one row, though the server's packets are smaller for others."""
    size = VALUE_BYTES_MAX
    mariadb.run(
        "CREATE TABLE t (id int PRIMARY KEY, v longtext, w longblob)",
        f"INSERT INTO t VALUES (1, REPEAT('0123456789abcde\\n', {size // 16}), REPEAT(x'005c', {size // 2}))",
        "INSERT INTO t VALUES (2, 'a', '')",
    )
    with MysqlReader(mariadb.url).snapshot() as snapshot:
        found = rows(snapshot, "t").sort_by("id")
    assert found.column("v").to_pylist() == ["0123456789abcde\n" * (size // 16), "a"]
    assert found.column("w").to_pylist() == [b"\x00\x5c" * (size // 2), b""]


@pytest.mark.parametrize("declared", ["longtext", "longblob", "json"])
@pytest.mark.parametrize("is_known", [False, True])
def test_a_longer_value_is_refused_by_name(mariadb: Database, declared: str, is_known: bool) -> None:
    """With column, key and length; without a scan too, where the table was known before."""
    mariadb.run(
        f"CREATE TABLE t (id int PRIMARY KEY, v {declared})", "INSERT INTO t VALUES (1, NULL)", "ANALYZE TABLE t"
    )
    reader = MysqlReader(mariadb.url)
    with reader.snapshot() as snapshot:
        known = {"t": snapshot.collection("t").schema} if is_known else {}
    mariadb.run(f"INSERT INTO t VALUES (7, CONCAT('\"', REPEAT('a', {VALUE_BYTES_MAX - 1}), '\"'))", "ANALYZE TABLE t")
    with reader.snapshot(known) as snapshot:
        view = snapshot.read(snapshot.collection("t"))
        with pytest.raises(Unsupported, match=r"t: column v of id='7' holds 33,554,433 bytes"):
            list(view.batches())


def test_what_is_computed_is_left_to_the_server(mariadb: Database) -> None:
    """Generated columns are no part of a record, whether they are stored or not; invisible ones are."""
    mariadb.run(
        "CREATE TABLE t (a int AUTO_INCREMENT PRIMARY KEY, b int, c int AS (b * 2) STORED, d int AS (b * 3) VIRTUAL, "
        "e int INVISIBLE DEFAULT 9)",
        "INSERT INTO t (b) VALUES (5), (6)",
    )
    with MysqlReader(mariadb.url).snapshot() as snapshot:
        assert rows(snapshot, "t").sort_by("a").to_pydict() == {"a": [1, 2], "b": [5, 6], "e": [9, 9]}


def test_a_table_that_keeps_its_past_is_read_with_it(mariadb: Database) -> None:
    """Every version is a record, told apart by when it ended."""
    mariadb.run(
        "CREATE TABLE t (n int PRIMARY KEY, v int) WITH SYSTEM VERSIONING",
        "INSERT INTO t VALUES (1, 1), (2, 1)",
        "UPDATE t SET v = 2 WHERE n = 1",
        "DELETE FROM t WHERE n = 2",
        "CREATE TABLE named (n int PRIMARY KEY, v int, since timestamp(6) GENERATED ALWAYS AS ROW START, "
        "until timestamp(6) GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (since, until)) WITH SYSTEM VERSIONING",
        "INSERT INTO named (n, v) VALUES (1, 1)",
        "UPDATE named SET v = 2",
    )
    with MysqlReader(mariadb.url).snapshot() as snapshot:
        schema = snapshot.collection("t").schema
        found = rows(snapshot, "t")
        named = rows(snapshot, "named")
    assert schema.key == ("n", "row_end")
    assert sorted(zip(found.column("n").to_pylist(), found.column("v").to_pylist(), strict=True)) == [
        (1, 1),
        (1, 2),
        (2, 1),
    ]
    assert sum(end.year == 2038 for end in found.column("row_end").to_pylist()) == 1
    assert len(key_bytes(found.combine_chunks().to_batches()[0], schema).unique()) == 3
    assert named.column_names == ["n", "v", "since", "until"]
    assert sorted(named.column("v").to_pylist()) == [1, 2]


KINDS = (
    "ENGINE=MyISAM", "ENGINE=Aria", "ENGINE=MEMORY", "ENGINE=InnoDB ROW_FORMAT=COMPRESSED",
    "ENGINE=InnoDB ROW_FORMAT=REDUNDANT", "PARTITION BY HASH (n) PARTITIONS 3",
    "PARTITION BY RANGE (n) (PARTITION low VALUES LESS THAN (5), PARTITION high VALUES LESS THAN MAXVALUE)",
)  # fmt: skip


@pytest.mark.parametrize("options", KINDS)
def test_tables_of_any_kind_are_read(mariadb: Database, options: str) -> None:
    """Every row once, whatever holds it."""
    mariadb.run(
        f"CREATE TABLE t (n int PRIMARY KEY, v varchar(20)) {options}", "INSERT INTO t SELECT seq, 'x' FROM seq_1_to_99"
    )
    with MysqlReader(mariadb.url).snapshot() as snapshot:
        assert sorted(rows(snapshot, "t").column("n").to_pylist()) == list(range(1, 100))


def test_names_of_any_script_and_with_any_signs_are_read(mariadb: Database) -> None:
    """Quotes, percent signs, line ends and other scripts in tables and columns."""
    names = [
        'we"ird', "100%s", "%(a)s", "Größe", "заказы", "量", "new\nline", "semi;colon", "a.b", "SELECT", "it's", "{0}",
        "back`tick", "back\\slash", "-- a", "NULL",
    ]  # fmt: skip
    for name in names:
        made = f"CREATE TABLE {quoted(name)} ({quoted(name)} date, {quoted(name + ' 2')} text)"
        mariadb.run("SET sql_mode = ''", made, f"INSERT INTO {quoted(name)} VALUES ('2023-00-00', 'x')")
    with MysqlReader(mariadb.url).snapshot() as snapshot:
        tables = [name for name in snapshot.names if not name.startswith("mysql:")]
        found = {tuple(rows(snapshot, name).column_names) for name in tables}
    assert found == {(name, f"{name} 2") for name in names}


def test_settings_of_the_server_change_no_value(mariadb_servers: Callable[..., Server]) -> None:
    """However it is set to show values, they are read the same."""
    made = (
        "CREATE TABLE t (a timestamp NULL, b char(9), c double, d binary(3), e text)",
        "SET time_zone = '+00:00', sql_mode = ''",
        "INSERT INTO t VALUES ('2026-03-01 00:00:00', 'x', 0.1e0 + 0.2e0, x'ff', '\\\\')",
    )
    odd = {"default_time_zone": "+09:00", "character_set_server": "latin1", "max_allowed_packet": "1M"}
    odd["sql_mode"] = "ANSI,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH"
    found = []
    for settings in ({}, odd):
        with mariadb_servers(**settings).database() as database:
            database.run(*made)
            with MysqlReader(database.url).snapshot() as snapshot:
                found.append(rows(snapshot, "t"))
    assert found[0].equals(found[1])
    assert found[0].column("e").to_pylist() == ["\\"]


def test_the_right_to_select_is_enough(mariadb: Database) -> None:
    """What the user may not read is a gap that names the statement, and all else is read."""
    mariadb.run("CREATE TABLE open (at timestamp)", "INSERT INTO open VALUES (NOW())", "CREATE TABLE secret (at date)")
    url = mariadb.user("reader", "SELECT ON {db}.open", "INSERT ON {db}.secret")
    with MysqlReader(url).snapshot() as snapshot:
        assert rows(snapshot, "open").num_rows == 1
        with pytest.raises(Unsupported, match="secret: ") as caught:
            rows(snapshot, "secret")
        (mended,) = re.findall(r"GRANT .*", caught.value.message)
    mariadb.run(mended)
    with MysqlReader(url).snapshot() as snapshot:
        assert [rows(snapshot, name).num_rows for name in ("open", "secret")] == [1, 0]


ORDERED: Sequence[tuple[str, str]] = (
    ("n bigint PRIMARY KEY", "CAST(seq AS SIGNED) - 500"),
    ("n bigint unsigned PRIMARY KEY", "18446744073709551615 - seq"),
    ("n binary(16) PRIMARY KEY", "UNHEX(MD5(seq))"),
    ("n varbinary(40) PRIMARY KEY", "CONCAT(REPEAT(x'00', seq % 3), UNHEX(MD5(seq)), REPEAT(x'00', seq % 2))"),
    ("n datetime(6) PRIMARY KEY", "'1001-01-01' + INTERVAL seq * 70 HOUR"),
    ("n time(3) PRIMARY KEY", "SEC_TO_TIME(seq * 4.25)"),
    ("m smallint, n year, PRIMARY KEY (m, n)", "seq % 9, 1901 + seq % 250"),
    ("v int, n int, PRIMARY KEY (n DESC)", "seq, seq"),
)  # fmt: skip


@pytest.mark.parametrize(("columns", "values"), ORDERED)
@pytest.mark.parametrize("is_large", [False, True])
def test_an_order_that_is_promised_is_that_of_canonical_keys(
    mariadb: Database, columns: str, values: str, is_large: bool
) -> None:
    """A table comes in the order its rows lie in where its key sorts on the server as its bytes do."""
    pad = ", pad char(250) NOT NULL DEFAULT ''" if is_large else ""
    rest = ", REPEAT('x', 250)" if is_large else ""
    count = 20_000 if is_large and "seq %" not in values else 1_000
    mariadb.run(
        f"CREATE TABLE t ({columns}{pad}) CHARACTER SET utf8mb4",
        f"INSERT IGNORE INTO t SELECT {values}{rest} FROM seq_1_to_{count}",
        "ANALYZE TABLE t",
    )
    with MysqlReader(mariadb.url).snapshot() as snapshot:
        view = snapshot.read(snapshot.collection("t"))
        assert view.ordered
        keys = [key for batch in view.batches() for key in slices(key_bytes(batch, view.schema))]
    assert len(keys) >= 900
    assert not view.ordered or all(one < other for one, other in pairwise(keys))


@pytest.mark.parametrize("key", ["varchar(20)", "decimal(10,2)", "uuid", "enum('b', 'a')", "inet6", "date", "bit(9)"])
def test_no_order_is_promised_that_is_the_servers_own(mariadb: Database, key: str) -> None:
    """Texts by a collation, numbers of many spellings, dates that are none: whoever needs an order sorts."""
    mariadb.run(
        "SET sql_mode = ''",
        f"CREATE TABLE t (n {key} PRIMARY KEY)",
        "INSERT INTO t VALUES (0)" if key == "date" else "DO 1",
    )
    with MysqlReader(mariadb.url).snapshot() as snapshot:
        assert not snapshot.read(snapshot.collection("t")).ordered


def test_a_large_table_comes_in_order_only_where_that_is_free(mariadb: Database) -> None:
    """By a key beside the primary one the rows are scattered: they are read as they lie."""
    mariadb.run(
        "CREATE TABLE along (n int PRIMARY KEY, v char(250))",
        "INSERT INTO along SELECT seq, REPEAT('x', 250) FROM seq_1_to_20000",
        "CREATE TABLE across (n int NOT NULL UNIQUE, m int NOT NULL, v char(250), KEY (m))",
        "INSERT INTO across SELECT seq * 7919 % 20011, 0, REPEAT('x', 250) FROM seq_1_to_20000",
        "ANALYZE TABLE along, across",
    )
    with MysqlReader(mariadb.url).snapshot() as snapshot:
        assert snapshot.read(snapshot.collection("along")).ordered
        assert not snapshot.read(snapshot.collection("across")).ordered
        assert rows(snapshot, "across").num_rows == 20_000


def test_keys_that_are_equal_to_the_server_alone_are_different_records(mariadb: Database) -> None:
    """Case, trailing blanks and accents are part of a record, whatever a collation makes of them."""
    mariadb.run(
        "CREATE TABLE t (k varchar(20) COLLATE utf8mb4_general_ci PRIMARY KEY, v int)",
        "INSERT INTO t VALUES ('Ada ', 1), ('ádB', 2), ('', 3)",
    )
    with MysqlReader(mariadb.url).snapshot() as snapshot:
        assert sorted(rows(snapshot, "t").column("k").to_pylist()) == ["", "Ada ", "ádB"]


def test_without_the_program_the_driver_reads(mariadb: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rows, at a higher price."""
    mariadb.run(
        "CREATE TABLE t (n int PRIMARY KEY, v blob)", "INSERT INTO t VALUES (1, NULL), (2, 'NULL'), (3, x'005c0d')"
    )
    with MysqlReader(mariadb.url).snapshot() as snapshot:
        wanted = rows(snapshot, "t")
    monkeypatch.setenv("PATH", "")
    with MysqlReader(mariadb.url).snapshot() as snapshot:
        assert rows(snapshot, "t").equals(wanted)


def test_a_server_that_goes_away_is_told_as_such(mariadb: Database) -> None:
    """Sessions ended in the middle are Unreachable: trying again is safe."""
    mariadb.run("CREATE TABLE t (v text)", "INSERT INTO t SELECT REPEAT('x', 1000) FROM seq_1_to_30000")
    with MysqlReader(mariadb.url).snapshot() as snapshot:
        batches = snapshot.read(snapshot.collection("t")).batches()
        next(batches)
        mariadb.kill("DB = DATABASE()")
        with pytest.raises(Unreachable, match=r"^t: "):
            list(batches)


def test_who_is_nobody_is_refused_and_no_password_is_shown(mariadb: Database) -> None:
    """Neither for a database that is not there nor for a user the server does not know."""
    url = mariadb.url.replace("root@", "root:hunter2@")
    for wrong, kind in ((f"{url}_gone", (Refused, Unreachable)), (url, Refused)):
        with pytest.raises(kind) as caught, MysqlReader(wrong).snapshot():
            pytest.fail("a snapshot was opened by nobody")
        assert "hunter2" not in f"{caught.value.message} {caught.value.hint}"


def test_collections_have_names_and_only_those(mariadb: Database) -> None:
    """Views and sequences are definitions; a name that is none says so."""
    mariadb.run("CREATE TABLE t (a int)", "CREATE VIEW v AS SELECT * FROM t", "CREATE SEQUENCE s")
    with MysqlReader(mariadb.url).snapshot() as snapshot:
        assert snapshot.names == ("mysql:schema", "mysql:sequence", "t")
        assert [each.name for each in snapshot.collections] == list(snapshot.names)
        with pytest.raises(Usage, match="no collection nothing"):
            snapshot.collection("nothing")


@pytest.mark.parametrize("declared", ["enum('?', 'b', '😀')", "set('a', '😀', '?')"])
def test_labels_that_the_catalog_can_not_tell_are_refused_not_altered(mariadb: Database, declared: str) -> None:
    """It writes a question mark for each character beyond 65,535; a label that is a question mark is one."""
    mariadb.run(
        f"CREATE TABLE t (n int PRIMARY KEY, v {declared} CHARACTER SET utf8mb4)", "INSERT INTO t VALUES (1, '?')"
    )
    with MysqlReader(mariadb.url).snapshot() as snapshot:
        assert rows(snapshot, "t").column("v").to_pylist() == ["?"]
    mariadb.run("INSERT INTO t VALUES (2, '😀')")
    with MysqlReader(mariadb.url).snapshot() as snapshot, pytest.raises(Unsupported, match="t: column v has labels"):
        rows(snapshot, "t")
