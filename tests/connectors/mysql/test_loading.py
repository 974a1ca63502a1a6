"""A load is never believed: what the server would alter, leave out or answer for is an error of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pyarrow as pa
import pymysql
import pytest

from holdfast.connectors.mysql.catalog import load_catalog
from holdfast.connectors.mysql.connection import Connection, RuleBroken, connect, translated
from holdfast.connectors.mysql.loading import Loading, Target, load, prepare_to_write
from holdfast.core.records import TYPES, Column
from holdfast.errors import HoldfastError
from tests.mariadb_server import Database, Server

# A column, the canonical type of what goes in, a value that it would alter, and what the server says to that.
ALTERED = {
    "decimal is too large": ("decimal(5,2)", "decimal", "12345.6", "Out of range value for column 'v'"),
    "decimal is too long": ("decimal(5,2)", "decimal", "1.234", "Data truncated for column 'v'"),
    "integer is too large": ("tinyint", "int", 128, "Out of range value for column 'v'"),
    "integer is negative": ("int unsigned", "int", -1, "Out of range value for column 'v'"),
    "float is too large": ("float", "float", 1e39, "Out of range value for column 'v'"),
    "text is too long": ("varchar(3)", "text", "four", "Data truncated for column 'v'"),
    "text has no such characters": ("text CHARACTER SET latin1", "text", "日本", "Incorrect string value"),
    "text is malformed": ("text", "rawtext", b"\xff", "Incorrect string value"),
    "bytes are too long": ("binary(3)", "bytes", b"four", "Data truncated for column 'v'"),
    "bits are too many": ("bit(3)", "uint", 8, "Out of range value for column 'v'"),
    "label is unknown": ("enum('a','b')", "text", "c", "it has no label 'c'"),
    "label differs in case": ("enum('a','b')", "text", "A", "it has no label 'A'"),
    "label looks like a number": ("enum('a','b')", "text", "1", "it has no label '1'"),
    "labels are unknown": ("set('a','b')", "text", "a,c", "it has no label 'c'"),
    "date is none": ("date", "source", "2024-13-01", "Data truncated for column 'v'"),
    "moment is beyond": ("timestamp NULL", "text", "2039-01-01 00:00:00", "Out of range value for column 'v'"),
    "time is beyond": ("time", "source", "839:00:00", "Out of range value for column 'v'"),
    "year is beyond": ("year", "int", 1900, "Out of range value for column 'v'"),
    "uuid is one that MariaDB can't hold": (
        "uuid", "uuid", bytes.fromhex("eccbc87e4b5ce2fe28308fd9f2a7baf3"), "Incorrect uuid value"),
    "address is none": ("inet6", "source", "zz", "Incorrect inet6 value"),
    "geometry is none": ("geometry", "bytes", b"abc", "Cannot get geometry object"),
    "json is none": ("json", "json", "{", "CONSTRAINT `t.v` failed"),
    "value is missing": ("int NOT NULL", "int", None, "olumn 'v'"),
    "rule forbids it": ("int CHECK (v < 3)", "int", 3, "CONSTRAINT `t.v` failed"),
    "value is taken": ("int UNIQUE", "int", 7, "Duplicate entry '7'"),
}  # fmt: skip


@contextmanager
def opened(url: str, kind: str) -> Iterator[tuple[Connection, Loading]]:
    """A session that writes, and how one column of values goes into the table `t`; errors are ours."""
    with translated("t"), connect(url) as connection:
        prepare_to_write(connection)
        table = load_catalog(connection).tables["t"]
        (into,) = (column for column in table.stored if column.name == "v")
        yield connection, Loading(connection, table.sql_name, [Target(Column("v", kind), into)])


def rows(kind: str, *values: object) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(values, TYPES[kind].arrow)], names=["v"])


@pytest.mark.parametrize("is_local", [True, False])
@pytest.mark.parametrize("case", ALTERED)
def test_what_the_server_would_alter_is_refused(mariadb: Database, case: str, is_local: bool) -> None:
    """The error names the column or the rule; the caller's transaction has nothing to keep."""
    declared, kind, value, told = ALTERED[case]
    mariadb.run(f"CREATE TABLE t (v {declared})", *(["INSERT INTO t VALUES (7)"] if "taken" in case else []))
    before = mariadb.rows("SELECT * FROM t")

    def write() -> None:
        with opened(mariadb.url, kind) as (connection, loading):
            loading.is_local = is_local
            connection.begin()
            load(connection, loading, loading.lines(rows(kind, value)))

    with pytest.raises(HoldfastError, match=told.replace("(", r"\(")):
        write()
    assert mariadb.rows("SELECT * FROM t") == before


@pytest.mark.parametrize("is_local", [True, False])
def test_error_values_of_an_enum_go_in_and_excuse_nothing_else(mariadb: Database, is_local: bool) -> None:
    """They come with warnings that are counted: one more is an error."""
    mariadb.run("CREATE TABLE t (v enum('a','b'), w varchar(2))")
    with opened(mariadb.url, "int") as (connection, loading):
        loading.is_local = is_local
        assert load(connection, loading, loading.lines(rows("int", 0, 1, 0))) == 3
    assert mariadb.rows("SELECT v + 0 FROM t") == [(0,), (1,), (0,)]
    with connect(mariadb.url) as connection:
        prepare_to_write(connection)
        columns = load_catalog(connection).tables["t"].stored
        targets = [Target(Column("v", "int"), columns[0]), Target(Column("w", "text"), columns[1])]
        loading = Loading(connection, "t", targets)
        loading.is_local = is_local
        batch = pa.RecordBatch.from_arrays([pa.array([0, 1]), pa.array(["", "long"])], names=["v", "w"])
        with pytest.raises(pymysql.DataError):
            load(connection, loading, loading.lines(batch))


def test_a_server_that_takes_no_local_data_gets_inserts(mariadb_servers: Callable[..., Server]) -> None:
    """With local_infile off the same rows go in, many to a statement and never more than it takes."""
    server = mariadb_servers(local_infile="0")
    with server.database() as database:
        database.run("CREATE TABLE t (v longblob)")
        values = [bytes([number]) * 1_500_000 for number in range(9)]
        with opened(database.url, "bytes") as (connection, loading):
            assert not loading.is_local
            pieces = list(loading.lines(rows("bytes", *values)))
            assert len(pieces) > 2
            assert load(connection, loading, pieces) == 9
        assert sorted(value for (value,) in database.rows("SELECT v FROM t")) == values


def test_no_server_gets_a_file_of_this_machine(mariadb: Database) -> None:
    """A statement that asks for a file gets none, whoever sent it: only lines handed over are sent."""
    mariadb.run("CREATE TABLE t (v text)")
    with connect(mariadb.url) as connection, connection.cursor() as cursor, pytest.raises(RuntimeError):
        cursor.execute("LOAD DATA LOCAL INFILE '/etc/passwd' INTO TABLE t")
    assert mariadb.rows("SELECT * FROM t") == []


def test_a_source_of_lines_that_fails_leaves_the_session_usable(mariadb: Database) -> None:
    """What was sent by then is the caller's to roll back."""
    mariadb.run("CREATE TABLE t (v int)")

    def failing(loading: Loading) -> Iterator[object]:
        yield from loading.lines(rows("int", 1))
        raise RuleBroken("no more", hint="")

    with opened(mariadb.url, "int") as (connection, loading):
        connection.begin()
        with pytest.raises(RuleBroken, match="no more"):
            load(connection, loading, failing(loading))  # type: ignore[arg-type]
        connection.rollback()
        assert load(connection, loading, loading.lines(rows("int", 2))) == 1
    assert mariadb.rows("SELECT v FROM t") == [(2,)]
