"""Rows of the binlog come out as two other programs read them: the server's own, and a library, where it is right."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from holdfast.connectors.mysql.catalog import TableColumn
from holdfast.connectors.mysql.dump import Start
from holdfast.connectors.mysql.rows import INSERTED, UPDATED, Images
from holdfast.connectors.mysql.values import decode_mixed
from holdfast.core.canonical import decode as plain
from tests.connectors.mysql.binlogs import gathered, here, selected_rows
from tests.connectors.mysql.oracles import as_printed, as_read, printed, read
from tests.connectors.mysql.samples import SAMPLES, SESSION, Sample, assignments, definition
from tests.mariadb_server import Database, Server

ROWS = 40


def test_rows_are_what_the_servers_own_program_prints(mariadb: Database) -> None:
    """`mariadb-binlog -vv` prints every column of every image: ours in its forms is the same text."""
    start = _filled(mariadb, SAMPLES, SESSION)
    images = gathered(mariadb, start)["t"]
    theirs = list(printed(mariadb, start))
    assert len(theirs) == len(images.kinds)
    for of, packed, values in _columns(images):
        for number, row in enumerate(theirs):
            if images.kinds[number] in (INSERTED, UPDATED) or of.name == "id":
                value = values[number]
                assert row[of.position] == (b"NULL" if value is None else as_printed(of, packed[number], value)), (
                    of.name
                )


@pytest.mark.filterwarnings("ignore:.db. is deprecated:DeprecationWarning")
def test_rows_are_what_another_library_reads(mariadb_servers: Callable[..., Server]) -> None:
    """mysql-replication gives the same values, but for its faults, each of which a test below names."""
    server = mariadb_servers(binlog_row_metadata="FULL")
    with server.database() as database:
        start = _filled(database, READABLE, SESSION.replace("ALLOW_INVALID_DATES", ""))
        images = gathered(database, start)["t"]
        theirs = list(read(database, start))
        assert len(theirs) == len(images.kinds)
        for of, _, values in _columns(images):
            for number, row in enumerate(theirs):
                value = values[number]
                if value is None or (images.kinds[number] not in (INSERTED, UPDATED) and of.name != "id"):
                    continue
                if not _is_fault(of, value):
                    assert row[of.name] == as_read(of, value), of.name


# COMPRESSED columns mysql-replication can't read at all; text it decodes by Python's idea of a character set.
_UNREADABLE = re.compile(r"COMPRESSED|CHARACTER SET (?!utf8)")
READABLE = [sample for sample in SAMPLES if not _UNREADABLE.search(sample.declared)]
# What mysql-replication 1.0 makes of values that we don't believe it: a row each, as SQL, as it reads it.
FAULTS = [
    ("date", "'0000-00-00'", None),
    ("date", "'2024-05-00'", None),
    ("datetime", "'0000-01-01 01:02:03'", None),
    ("timestamp NULL", "0", datetime(1970, 1, 1)),
    ("year", "0", 1900),
    ("time(6)", "'-838:59:58.000001'", -timedelta(hours=838, minutes=59, seconds=58, microseconds=999999)),
    ("time(6)", "'-00:00:00.000001'", -timedelta(microseconds=999999)),
    ("set('a','b')", "''", None),
    ("binary(3)", "x'610000'", b"a"),
    ("varbinary(3)", "''", ""),
    ("uuid", "'12345678-0000-0000-0000-000000000000'", bytes.fromhex("12345678")),
    ("inet6", "'1::'", b"\0\x01"),
]


@pytest.mark.filterwarnings("ignore:.db. is deprecated:DeprecationWarning")
def test_where_the_other_library_errs_the_server_decides(mariadb_servers: Callable[..., Server]) -> None:
    """Each fault for which it is no oracle is there, and ours is what the server says."""
    with mariadb_servers(binlog_row_metadata="FULL").database() as database:
        columns = [f"c{number} {declared}" for number, (declared, *_) in enumerate(FAULTS)]
        database.run(f"CREATE TABLE t (id int PRIMARY KEY, {', '.join(columns)})")
        start = here(database)
        with database.session() as connection, connection.cursor() as cursor:
            cursor.execute("SET sql_mode = ''")
            cursor.execute(f"INSERT INTO t VALUES (1, {', '.join(value for _, value, _ in FAULTS)})")
        (theirs,) = read(database, start)
        images = gathered(database, start)["t"]
        server = selected_rows(database)
        for number, (_, _, wrong) in enumerate(FAULTS, 1):
            of = images.layout.columns[number]
            right = decode_mixed(server[of.name], of, images.layout.charsets)
            assert images.column(of.name, mixed=True).equals(right)
            ((_, value),) = map(plain, right.to_pylist())
            assert theirs[of.name] == wrong, of.declared
            assert _is_fault(of, value), of.declared


def _filled(database: Database, samples: list[Sample], session: str) -> Start:
    """A table with every type: rows inserted, altered, moved to another key and deleted."""
    chance = random.Random(11)
    database.run(session, f"CREATE TABLE t ({definition(samples)})")
    start = here(database)
    with database.session() as connection, connection.cursor() as cursor:
        cursor.execute(session)
        for number in range(ROWS):
            cursor.execute(f"INSERT INTO t VALUES ({', '.join([str(number), *assignments(samples, chance)])})")
        for number in range(0, ROWS, 2):
            pairs = zip(samples, assignments(samples, chance), strict=True)
            sets = ", ".join(f"{sample.name} = {value}" for sample, value in pairs)
            move = f"id = {number + 1000}, " if number % 8 == 0 else ""
            cursor.execute(f"UPDATE t SET {move}{sets} WHERE id = {number}")
        cursor.execute("DELETE FROM t WHERE id % 3 = 0")
    return start


def _columns(images: Images) -> Iterator[tuple[TableColumn, list[Any], list[Any]]]:
    """Each column with its packed values, and with its canonical ones as Python values or the server's text."""
    for of in images.layout.columns:
        mixed = images.column(of.name, mixed=True).to_pylist()
        yield of, images.packed(of.name), [None if value is None else plain(value)[1] for value in mixed]


def _is_fault(of: TableColumn, value: Any) -> bool:
    """Whether mysql-replication is known to read that value wrong."""
    match of.data_type:
        case "date" | "datetime" | "timestamp":
            return isinstance(value, str)
        case "time":
            return isinstance(value, str) and value.startswith("-") and bool(value.partition(".")[2].strip("0"))
        case "year" | "set":
            return not value
        case "binary" | "uuid":
            return bool(value.endswith(b"\0"))
        case "inet4" | "inet6":
            return bool(as_read(of, value).endswith(b"\0"))
    return bool(value == b"")
