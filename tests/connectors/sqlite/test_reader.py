"""Reading a SQLite database: one moment of it, exactly, while its owner goes on; and clear words when that can't be."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest

from holdfast.connectors._sql.views import VALUE_BYTES_MAX
from holdfast.connectors.sqlite import SqliteReader
from holdfast.core.align import is_ascending
from holdfast.core.canonical import decode, key_bytes
from holdfast.core.ports import Misread
from holdfast.core.records import Reference, Schema
from holdfast.errors import Damaged, Unreachable, Unsupported
from tests.connectors.sqlite.databases import Shop, rows, run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A place for a database, under a name that a URI must escape."""
    return tmp_path / "my shop?#100%é.db"


def schema(path: Path, name: str) -> Schema:
    """The schema of one collection."""
    with SqliteReader(path).snapshot() as snapshot:
        return {each.name: each.schema for each in snapshot.collections}[name]


def batches(path: Path, known: Mapping[str, Schema]) -> Iterator[pa.RecordBatch]:
    """The batches of the table t, read on the word of what is known."""
    with SqliteReader(path).snapshot(known) as snapshot:
        yield from snapshot.read(snapshot.collection("t")).batches()


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_all_of_a_snapshot_is_one_moment_though_the_shop_writes_meanwhile(path: Path, journal: str) -> None:
    """A commit between the reading of two tables shows in neither, and in both of the next snapshot."""
    run(path, f"PRAGMA journal_mode={journal}", "CREATE TABLE a (id INTEGER PRIMARY KEY, v)", "CREATE TABLE b (v TEXT)")
    run(path, "INSERT INTO a VALUES (1, 'old')", "INSERT INTO b VALUES ('old')")
    change = ("BEGIN", "UPDATE a SET v = 'new'", "UPDATE b SET v = 'new'", "CREATE TABLE c (v)")
    with Shop(path) as shop:
        with SqliteReader(path).snapshot() as snapshot:
            views = {each.name: snapshot.read(each) for each in snapshot.collections}
            before = [row for batch in views["a"].batches() for row in batch.to_pylist()]
            shop.do("PRAGMA busy_timeout=50", *change)
            assert shop.do("COMMIT") == ([] if journal == "wal" else "database is locked")
            after = [row for name in ("a", "b") for batch in views[name].batches() for row in batch.to_pylist()]
            assert after == [*before, {"v": "old"}]
            assert [each.name for each in snapshot.collections] == ["a", "b", "sqlite:pragma", "sqlite:schema"]
        if journal == "delete":
            shop.do("COMMIT")
        assert [row["v"] for name in ("a", "b") for row in rows(path, name)] == ["new", "new"]


def test_a_locked_database_is_unreachable_after_a_bounded_time(path: Path) -> None:
    """With a rollback journal a writer that holds the file keeps readers out; they give up with words."""
    run(path, "CREATE TABLE a (v)")
    with Shop(path) as shop:
        shop.do("BEGIN EXCLUSIVE")
        with pytest.raises(Unreachable, match="is locked") as caught, SqliteReader(path, busy_seconds=0.1).snapshot():
            pass
    assert "try again" in str(caught.value.hint)


def test_a_lock_that_goes_in_time_is_waited_for(path: Path) -> None:
    """A short commit of the shop does not fail a capture."""
    run(path, "CREATE TABLE a (v)")
    with Shop(path) as shop:
        shop.do("BEGIN EXCLUSIVE", "INSERT INTO a VALUES (1)")
        later = threading.Timer(0.3, shop.do, ["COMMIT"])
        later.start()
        assert rows(path, "a") == [{"v": 1}]
        later.join()


def test_what_is_no_database_is_said_to_be_none(tmp_path: Path) -> None:
    """A missing file, a folder and a text file are told apart, each with a way out; none is created or changed."""
    reader = SqliteReader(tmp_path / "absent.db")
    with pytest.raises(Unreachable, match="no database at"), reader.snapshot():
        pass
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(Unreachable, match="is not a file"), SqliteReader(tmp_path).snapshot():
        pass
    letter = tmp_path / "letter.txt"
    letter.write_text("Dear customer, " * 100)
    with pytest.raises(Damaged, match="not a database") as caught, SqliteReader(letter).snapshot():
        pass
    assert caught.value.hint


def test_a_corrupt_page_is_damage_and_not_a_shorter_table(path: Path) -> None:
    """Bytes that are wrong end the reading with Damaged; the rows before them are not passed off as all."""
    run(
        path,
        "CREATE TABLE a (id INTEGER PRIMARY KEY, v TEXT)",
        ("INSERT INTO a VALUES (?, ?)", [(n, "x" * 90) for n in range(9000)]),
    )
    data = bytearray(path.read_bytes())
    middle = len(data) // 2 // 4096 * 4096
    data[middle : middle + 3 * 4096] = b"\xff" * 3 * 4096
    path.write_bytes(data)
    with pytest.raises(Damaged, match="malformed"):
        rows(path, "a")


def test_a_journal_left_by_a_crash_is_not_rolled_back_by_a_reader(path: Path) -> None:
    """Recovering the file is its owner's act: the reader says so and changes nothing."""
    run(path, "CREATE TABLE a (v)", ("INSERT INTO a VALUES (?)", [("x" * 500,)] * 20_000))
    with Shop(path) as shop:
        shop.do("PRAGMA cache_size=5", "BEGIN", "UPDATE a SET v = v || 'y'")
        shop.kill()
    before = path.read_bytes()
    with pytest.raises(Unreachable, match="readonly"):
        rows(path, "a")
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("create", "rows_in", "key"),
    [
        ("CREATE TABLE t (id INTEGER PRIMARY KEY, a)", [(1, None)], ("id",)),
        ("CREATE TABLE t (b, a, PRIMARY KEY (a, b)) WITHOUT ROWID", [(1, 2)], ("a", "b")),
        ("CREATE TABLE t (a TEXT PRIMARY KEY COLLATE NOCASE, b)", [("x", 1)], ("a",)),
        ("CREATE TABLE t (a PRIMARY KEY, b)", [(1, 1), (None, 2), (None, 3)], ()),
        ("CREATE TABLE t (a INTEGER PRIMARY KEY DESC, b)", [(1, 1), (None, 2)], ()),
        ("CREATE TABLE t (a PRIMARY KEY, b NOT NULL UNIQUE)", [(None, 1), (None, 2)], ("b",)),
        ("CREATE TABLE t (a UNIQUE, b)", [(1, 1)], ()),
        ("CREATE TABLE t (a NOT NULL, b NOT NULL, c NOT NULL UNIQUE, UNIQUE (a, b))", [(1, 1, 1)], ("c",)),
        ("CREATE TABLE t (a NOT NULL, b)", [(1, 1), (1, 1)], ()),
    ],
)
def test_a_key_is_what_the_database_keeps_unique_and_not_null(
    path: Path, create: str, rows_in: list[tuple[object, ...]], key: tuple[str, ...]
) -> None:
    """The primary key if it holds no NULL, else a unique index that can't; else the table has none."""
    run(path, create, (f"INSERT INTO t VALUES ({', '.join('?' * len(rows_in[0]))})", rows_in))
    assert schema(path, "t").key == key


@pytest.mark.parametrize("index", ["ON t (b) WHERE b > 1", "ON t (b + 1)"])
def test_an_index_over_some_rows_or_over_expressions_is_no_key(path: Path, index: str) -> None:
    """Only a unique index over plain columns of all rows names every record."""
    run(path, "CREATE TABLE t (b NOT NULL)", f"CREATE UNIQUE INDEX i {index}", "INSERT INTO t VALUES (1)")
    assert schema(path, "t").key == ()


def test_a_column_keeps_its_type_without_values_and_turns_mixed_with_a_second_one(path: Path) -> None:
    """Types follow what is stored; a declaration decides only where nothing is."""
    run(path, "CREATE TABLE t (i INT, r REAL, x VARCHAR(9), b, n NUMERIC, d DATETIME, m)")
    types = {column.name: column.type for column in schema(path, "t").columns}
    assert types == {"i": "int", "r": "float", "x": "text", "b": "bytes", "n": "int", "d": "int", "m": "bytes"}
    run(
        path,
        (
            "INSERT INTO t VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(1, 2, "x", b"x", 1, "2026-01-01", 1), ("one", 2, 3, None, 1.5, "x", 2)],
        ),
    )
    types = {column.name: column.type for column in schema(path, "t").columns}
    assert types == {"i": "mixed", "r": "float", "x": "text", "b": "bytes", "n": "mixed", "d": "text", "m": "int"}


@pytest.mark.parametrize("value", ["text", b"bytes", 1.5])
def test_a_value_after_very_many_nulls_is_read_as_it_is(path: Path, value: object) -> None:
    """The driver guesses types from the first rows: a column that is NULL there is still read exactly."""
    run(
        path,
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v)",
        ("INSERT INTO t VALUES (?, ?)", [(n, None) for n in range(40_000)]),
    )
    run(path, ("INSERT INTO t VALUES (?, ?)", [(40_000, value), (40_001, None)]))
    assert [row["v"] for row in rows(path, "t")][-3:] == [None, value, None]


def test_a_number_after_very_many_texts_stays_a_number(path: Path) -> None:
    """The driver would turn it into text without a word; the scan finds it first."""
    run(
        path,
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v)",
        ("INSERT INTO t VALUES (?, ?)", [(n, "x") for n in range(40_000)]),
    )
    run(path, "INSERT INTO t VALUES (40000, 7)")
    assert decode(rows(path, "t")[-1]["v"]) == ("int", 7)


MANY = "WITH RECURSIVE n (i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 40000)"


@pytest.mark.parametrize("key", ["id", "a"])
def test_text_that_was_valid_before_is_looked_at_again_while_it_is_read(path: Path, key: str) -> None:
    """What is known spares a scan and no proof: the batch with the invalid value never comes out, those before do."""
    run(
        path,
        f"CREATE TABLE t (id INTEGER NOT NULL, a TEXT NOT NULL, b TEXT, PRIMARY KEY ({key}))",
        f"INSERT INTO t {MANY} SELECT i, printf('%08d', i), 'Ж' || i FROM n",
    )
    known = {"t": schema(path, "t")}
    assert [batch.num_rows for batch in batches(path, known)] == [16_384, 16_384, 7_232]
    for column in ("a", "b"):
        run(path, f"UPDATE t SET {column} = {column} || CAST(x'ff' AS TEXT) WHERE id = 40000")
        found = batches(path, known)
        assert [next(found).num_rows for _ in range(2)] == [16_384, 16_384]
        with pytest.raises(Misread, match=f"t: .* column {column} "):
            next(found)
        run(path, f"UPDATE t SET {column} = '99999999' WHERE id = 40000")


def test_only_text_that_was_text_before_is_believed(path: Path) -> None:
    """A column that is new, or was of another type, is proven as if nothing were known; so is all of UTF-16."""
    bad = "CAST(x'00d8' AS TEXT)"
    for encoding in ("UTF-8", "UTF-16le"):
        path.unlink(missing_ok=True)
        run(path, f"PRAGMA encoding = '{encoding}'", "CREATE TABLE t (a TEXT, b)", "INSERT INTO t VALUES ('a', 1)")
        known = {"t": schema(path, "t")}
        if encoding == "UTF-16le":
            run(path, f"UPDATE t SET a = {bad}")
        run(path, "ALTER TABLE t ADD COLUMN c TEXT", f"UPDATE t SET b = {bad}, c = {bad}")
        assert [batch.num_rows for batch in batches(path, known)] == [1]
        with SqliteReader(path).snapshot(known) as snapshot:
            assert snapshot.collection("t").schema == schema(path, "t")
        wrong = {"UTF-8": "bc", "UTF-16le": "abc"}[encoding]
        assert "".join(column.name for column in schema(path, "t").columns if column.type == "mixed") == wrong


def test_numbers_of_a_mixed_column_keep_their_kind(path: Path) -> None:
    """1, 1.0, '1' and the byte 1 are four values, whatever else the column holds."""
    run(
        path, "CREATE TABLE t (id INTEGER PRIMARY KEY, v)", "INSERT INTO t (v) VALUES (1), (1.0), ('1'), (x'31'), (0.5)"
    )
    found = [decode(row["v"]) for row in rows(path, "t")]
    assert found == [("int", 1), ("float", 1.0), ("text", "1"), ("bytes", b"1"), ("float", 0.5)]


def test_rows_of_very_different_length_come_in_batches_that_fit_into_memory(path: Path) -> None:
    """A few long values neither make every batch huge nor every batch tiny, and no row is lost or doubled."""
    lengths = [10] * 30_000 + [100_000] * 300 + [5_000_000] * 8
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v BLOB)")
        connection.executemany("INSERT INTO t VALUES (?, zeroblob(?))", enumerate(lengths))
        connection.commit()
    with SqliteReader(path).snapshot() as snapshot:
        (view,) = [snapshot.read(each) for each in snapshot.collections if each.name == "t"]
        batches = [(batch.num_rows, batch.nbytes, batch.column(0).to_pylist()) for batch in view.batches()]
        assert not view.ordered
    assert max(size for _, size, _ in batches) < 28 << 20
    assert len(batches) < 30
    assert sorted(number for *_, numbers in batches for number in numbers) == list(range(len(lengths)))


def test_a_value_too_long_is_named_and_other_tables_are_read(path: Path) -> None:
    """Nothing of it is kept half: table, record and column are told, and the rest of the snapshot serves."""
    run(
        path, "CREATE TABLE a (id INTEGER PRIMARY KEY, v)", f"INSERT INTO a VALUES (7, zeroblob({VALUE_BYTES_MAX + 1}))"
    )
    run(path, "CREATE TABLE b (v)", f"INSERT INTO b VALUES (zeroblob({VALUE_BYTES_MAX}))")
    with SqliteReader(path).snapshot() as snapshot:
        views = {each.name: snapshot.read(each) for each in snapshot.collections}
        with pytest.raises(Unsupported, match="a: column v of id=7 holds 33,554,433 bytes"):
            list(views["a"].batches())
        assert [batch.num_rows for batch in views["b"].batches()] == [1]


@pytest.mark.parametrize(
    ("create", "message"),
    [
        ('CREATE TABLE t ("holdfast:key")', "column holdfast:key of t"),
        ('CREATE TABLE "sqlite:mine" (v)', "table sqlite:mine"),
    ],
)
def test_names_that_holdfast_needs_itself_are_refused_by_name(path: Path, create: str, message: str) -> None:
    """A clash is told before anything is read."""
    run(path, create)
    with pytest.raises(Unsupported, match=message):
        rows(path, "sqlite:schema")


def test_references_lead_to_names_as_the_target_has_them(path: Path) -> None:
    """Case that differs, and a target column left out, are resolved; several columns stay together."""
    run(path, "CREATE TABLE Parent (Id INTEGER PRIMARY KEY, A, B, UNIQUE (A, B))")
    run(path, "CREATE TABLE child (p REFERENCES parent, x, y, FOREIGN KEY (X, Y) REFERENCES PARENT (a, b))")
    assert set(schema(path, "child").references) == {
        Reference(("p",), "Parent", ("Id",)),
        Reference(("x", "y"), "Parent", ("A", "B")),
    }


@pytest.mark.parametrize(
    ("create", "is_ordered"),
    [
        ("CREATE TABLE t (k INTEGER PRIMARY KEY)", True),
        ("CREATE TABLE t (k INTEGER, j INTEGER, PRIMARY KEY (j, k)) WITHOUT ROWID", True),
        ("CREATE TABLE t (k TEXT PRIMARY KEY) WITHOUT ROWID", True),
        ("CREATE TABLE t (k TEXT COLLATE NOCASE PRIMARY KEY) WITHOUT ROWID", False),
        ("CREATE TABLE t (k TEXT PRIMARY KEY)", False),
    ],
)
def test_order_is_promised_only_where_the_table_lies_in_it(path: Path, create: str, is_ordered: bool) -> None:
    """What is promised is kept; what would cost SQLite a sort is left to be sorted within limits."""
    run(path, create)
    value = "hex(randomblob(4)) || char(abs(random()) % 900 + 1)" if "TEXT" in create else "random()"
    values = ", ".join([value] * (create.count("INTEGER") or 1))
    run(path, "BEGIN", *[f"INSERT INTO t VALUES ({values})" for _ in range(200)], "COMMIT")
    with SqliteReader(path).snapshot() as snapshot:
        (view,) = [snapshot.read(each) for each in snapshot.collections if each.name == "t"]
        assert view.ordered is is_ordered
        (batch,) = view.batches()
    if is_ordered:
        assert is_ascending(key_bytes(batch, view.schema))


def test_definitions_are_records_and_virtual_tables_are_named(path: Path) -> None:
    """The DDL is kept word for word; what can't be made again is said to be missing."""
    run(path, "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, v)", "INSERT INTO t (v) VALUES (1), (2)")
    run(path, "CREATE VIEW w AS SELECT 1", "CREATE INDEX i ON t (v)", "PRAGMA user_version=7")
    run(path, "CREATE VIRTUAL TABLE own USING fts5 (x)", "INSERT INTO own VALUES ('hello')")
    run(path, "CREATE VIRTUAL TABLE box USING rtree (id, a, b)", "CREATE VIRTUAL TABLE bare USING fts5 (x, content='')")
    with SqliteReader(path).snapshot() as snapshot:
        found = {each.name: each for each in snapshot.collections}
    assert set(found) == {"t", "own_content", "sqlite:pragma", "sqlite:schema", "sqlite:sequence"}
    assert list(found["sqlite:schema"].not_covered) == [
        "the contents of the virtual table box (rtree)",
        "the contents of the virtual table bare (fts5)",
    ]
    assert rows(path, "sqlite:sequence") == [{"name": "t", "seq": 2}]
    assert {"name": "user_version", "value": "7"} in rows(path, "sqlite:pragma")
    assert {"type": "index", "name": "i", "table_name": "t", "sql": "CREATE INDEX i ON t (v)", "position": 1} in rows(
        path, "sqlite:schema"
    )
