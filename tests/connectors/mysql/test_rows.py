"""Rows are gathered as the images that a record goes through; rows that do not tell everything are refused."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.connectors.mysql import rows as module
from holdfast.connectors.mysql.bodies import Field, TableMap
from holdfast.connectors.mysql.catalog import Table
from holdfast.connectors.mysql.charsets import Charsets
from holdfast.connectors.mysql.items import Rows
from holdfast.connectors.mysql.rows import DELETED, INSERTED, REPLACED, UPDATED, Images, Layout, OtherTable, PartialRow
from holdfast.connectors.mysql.values import Misfit
from holdfast.errors import Damaged
from tests.connectors.mysql.binlogs import gathered, here, told
from tests.connectors.mysql.test_values import column
from tests.mariadb_server import Database


def test_an_update_is_one_image_unless_it_moves_the_record(mariadb: Database) -> None:
    """The old key is told where the new one differs, in bytes, even where the collation takes both for equal."""
    mariadb.run("CREATE TABLE t (n int, k varchar(9) PRIMARY KEY)", "INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    start = here(mariadb)
    mariadb.run(
        "UPDATE t SET n = 3 WHERE k = 'a'",
        "UPDATE t SET k = 'A' WHERE k = 'a'",
        "UPDATE t SET k = CONCAT(k, 'x')",
        "DELETE FROM t WHERE k = 'bx'",
    )
    images = gathered(mariadb, start)["t"]
    assert list(zip(images.kinds, images.packed("k"), images.packed("n"), strict=True)) == [
        (UPDATED, b"a", 3),
        (REPLACED, b"a", None),
        (UPDATED, b"A", 3),
        (REPLACED, b"A", None),
        (UPDATED, b"Ax", 3),
        (REPLACED, b"b", None),
        (UPDATED, b"bx", 2),
        (DELETED, b"bx", None),
    ]
    assert len(images.owners) == len(images.kinds)


def test_computed_columns_are_left_out_whether_the_binlog_has_them_or_not(mariadb: Database) -> None:
    """Virtual and persistent columns are in the images, among the others; so is one made for an index over a blob."""
    mariadb.run(
        "CREATE TABLE t (v int AS (id * 2) VIRTUAL, id int PRIMARY KEY, w int AS (id + 1) VIRTUAL, KEY (w),"
        " p varchar(9) AS (CONCAT('p', id)) PERSISTENT, hidden int INVISIBLE DEFAULT 7, b blob UNIQUE)"
    )
    start = here(mariadb)
    mariadb.run("INSERT INTO t (id, b) VALUES (1, 'one'), (2, NULL)", "UPDATE t SET hidden = 8 WHERE id = 2")
    mariadb.run("UPDATE t SET b = 'two' WHERE id = 2", "DELETE FROM t WHERE id = 1")
    images = gathered(mariadb, start)["t"]
    assert [each.name for each in images.layout.columns] == ["id", "hidden", "b"]
    found = [images.column(name).to_pylist() for name in ("id", "hidden", "b")]
    assert list(zip(images.kinds, *found, strict=True)) == [
        (INSERTED, 1, 7, b"one"),
        (INSERTED, 2, 7, None),
        (UPDATED, 2, 8, None),
        (UPDATED, 2, 8, b"two"),
        (DELETED, 1, None, None),
    ]


def test_a_table_with_its_own_past_tells_the_ends_of_versions(mariadb: Database) -> None:
    """An UPDATE gives a new version and the old one with its end; a DELETE moves the record to its end."""
    mariadb.run("CREATE TABLE t (id int PRIMARY KEY, n int) WITH SYSTEM VERSIONING")
    start = here(mariadb)
    mariadb.run("INSERT INTO t VALUES (1, 1)", "UPDATE t SET n = 2", "DELETE FROM t")
    images = gathered(mariadb, start)["t"]
    assert [chr(kind) for kind in images.kinds] == ["I", "U", "I", "R", "U"]
    rows: dict[tuple[Any, Any], tuple[Any, ...]] = {}
    values = [images.column(each.name).to_pylist() for each in images.layout.columns]
    for kind, *record in zip(images.kinds, *values, strict=True):
        key = record[0], record[3]
        if kind in (REPLACED, DELETED):
            del rows[key]
        else:
            rows[key] = tuple(record)
    with mariadb.session() as connection, connection.cursor() as cursor:
        cursor.execute("SET time_zone = '+00:00'")
        cursor.execute("SELECT id, n, row_start, row_end FROM t FOR SYSTEM_TIME ALL")
        now = list(cursor.fetchall())
    assert sorted((*row[:2], *(each.replace(tzinfo=None) for each in row[2:])) for row in rows.values()) == sorted(now)


@pytest.mark.parametrize("image", ["MINIMAL", "NOBLOB"])
def test_rows_that_are_not_whole_are_refused(mariadb: Database, image: str) -> None:
    """A session that writes less than whole rows is noticed at its first row, not guessed over."""
    mariadb.run("CREATE TABLE t (id int PRIMARY KEY, n int, b blob)", "INSERT INTO t VALUES (1, 1, 'b')")
    for statement in ("UPDATE t SET n = 2", "DELETE FROM t", "INSERT INTO t (id) VALUES (2)"):
        start = here(mariadb)
        with mariadb.session() as connection, connection.cursor() as cursor:
            cursor.execute(f"SET binlog_row_image = {image}")
            cursor.execute(statement)
        if image == "NOBLOB" and statement.startswith("INSERT"):
            continue
        with pytest.raises(PartialRow):
            gathered(mariadb, start)


@pytest.mark.parametrize(
    "alteration",
    [
        "MODIFY n bigint",
        "MODIFY n int unsigned, ADD m int",
        "DROP COLUMN s",
        "MODIFY s varchar(10)",
        "MODIFY d decimal(11,2)",
        "MODIFY d decimal(10,3)",
        "MODIFY e enum('a') ",
        "MODIFY at datetime(3)",
        "MODIFY at timestamp",
        "MODIFY c char(5)",
        "MODIFY c binary(4)",
        "MODIFY t mediumtext",
        "MODIFY f double",
        "MODIFY bits bit(9)",
        "MODIFY many set('a')",
        "MODIFY s varchar(9) COMPRESSED",
        "ADD x int FIRST",
    ],
)
def test_a_table_that_was_altered_since_is_not_read_by_its_new_columns(mariadb: Database, alteration: str) -> None:
    """Rows from before an ALTER have the columns of that time: the catalog's no longer fit them."""
    labels = ", ".join(f"'{number}'" for number in range(300))
    mariadb.run(
        f"CREATE TABLE t (id int PRIMARY KEY, n int, s varchar(9), d decimal(10,2), e enum({labels}), at datetime,"
        " c char(4), t text, f float, bits bit(8), many set('1','2','3','4','5','6','7','8','9'))"
    )
    start = here(mariadb)
    mariadb.run("INSERT INTO t (id) VALUES (1)")
    assert gathered(mariadb, start)["t"].column("id").to_pylist() == [1]
    mariadb.run(f"ALTER TABLE t {alteration}")
    with pytest.raises(OtherTable):
        gathered(mariadb, start)


def test_a_table_keeps_its_layout_as_long_as_the_server_describes_it_alike(mariadb: Database) -> None:
    """Rows of many transactions share one description; after an ALTER comes another."""
    mariadb.run("CREATE TABLE t (id int PRIMARY KEY, n int)")
    start = here(mariadb)
    mariadb.run("INSERT INTO t VALUES (1, 1)", "UPDATE t SET n = 2", "ALTER TABLE t ADD m int", "DELETE FROM t")
    tables = [item.table for item in told(mariadb, start) if isinstance(item, Rows)]
    assert tables[0] is tables[1]
    assert tables[1] is not tables[2]


def test_ripe_images_are_the_same_images(mariadb: Database) -> None:
    """Converted where they were gathered, or when they are asked for, as columns of one type or mixed."""
    mariadb.run("SET sql_mode = ''", "CREATE TABLE t (id int PRIMARY KEY, day date, n decimal(9,2))")
    start = here(mariadb)
    mariadb.run(
        "SET sql_mode = ''", "INSERT INTO t VALUES (1, '2024-02-29', 1.5), (2, '0000-00-00', NULL), (3, NULL, 0)"
    )
    raw, ripe = (gathered(mariadb, start)["t"] for _ in range(2))
    ripe.ripen()
    for name in ("id", "day", "n"):
        assert ripe.column(name, mixed=True).equals(raw.column(name, mixed=True))
    assert ripe.column("id").equals(raw.column("id"))
    assert ripe.column("n").to_pylist() == ["1.50", None, "0.00"]
    with pytest.raises(Misfit):
        ripe.column("day")


@given(st.lists(st.lists(st.one_of(st.none(), st.binary(max_size=300)), min_size=5, max_size=5), max_size=20))
def test_rows_with_any_columns_null_are_cut_up(records: list[list[bytes | None]]) -> None:
    """By the function that is made for the columns that are NULL, and by steps: every value comes back."""
    layout = _layout()
    body = b"".join(_packed(number, record) for number, record in enumerate(records))
    for most in (module._MADE_MAX, 0):
        layout.after._most = most
        layout.after.clear()
        images = Images(layout)
        images.add(Rows(_MAP, INSERTED, b"##" + body, 2, 2 + len(body), b"\x3f", b"\x3f"), 5)
        assert images.packed("id") == list(range(len(records)))
        for number in range(5):
            values = [record[number] for record in records]
            assert images.packed(f"c{number}") == [None if each is None else each[: _SIZES[number]] for each in values]
        assert list(images.owners) == [5] * len(records)


@given(st.sampled_from([INSERTED, UPDATED, DELETED]), st.binary(max_size=60))
def test_bytes_that_are_no_rows_are_named_as_damage(kind: int, data: bytes) -> None:
    """They are cut up to their last byte, or refused; never read beyond."""
    for most in (module._MADE_MAX, 0):
        layout = _layout()
        layout.after._most = layout.before._most = most
        images = Images(layout)
        with suppress(Damaged):
            images.add(Rows(_MAP, kind, data + b"crc!", 0, len(data), b"\x3f", b"\x3f"), 0)
            assert len(images.packed("id")) == len(images.kinds) == len(images.owners)


_SIZES = (200, 70_000, 70_000, 70_000, 4)
_MAP = TableMap(
    7,
    "shop",
    "t",
    (
        Field(3, 0, False),
        Field(15, 200, True),
        Field(252, 2, True),
        Field(252, 3, True),
        Field(252, 4, True),
        Field(254, 4, True),
    ),
)


def _layout() -> Layout:
    names = (("int", "int"), ("varbinary", "bytes"), ("blob", "bytes"), ("mediumblob", "bytes"), ("longblob", "bytes"))
    columns = [
        replace(column(data_type, kind), name=f"c{number - 1}" if number else "id", position=number + 1)
        for number, (data_type, kind) in enumerate((*names, ("binary", "bytes")))
    ]
    columns[1], columns[5] = replace(columns[1], octets=200), replace(columns[5], octets=4)
    facts: dict[str, Any] = {"references": (), "engine": "InnoDB", "is_transactional": True, "is_partitioned": False}
    facts |= {"versioning": "", "row_start": "", "row_end": "", "rows_estimate": 0, "bytes_estimate": 0, "refusal": ""}
    return Layout(_MAP, Table("shop", "t", tuple(columns), ("id",), **facts), Charsets())


def _packed(number: int, record: list[bytes | None]) -> bytes:
    """A row of that table: the bits of its NULLs, then its values, each with its length before it."""
    nulls = sum(1 << place for place, value in enumerate(record, 1) if value is None) | 0xC0
    body = number.to_bytes(4, "little")
    for value, size, width in zip(record, _SIZES, (1, 2, 3, 4, 1), strict=True):
        if value is not None:
            body += len(value[:size]).to_bytes(width, "little") + value[:size]
    return bytes([nulls]) + body
