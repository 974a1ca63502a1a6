"""The records of new tables, and what stands on them: loaded in statements of a bounded size, indexed afterwards.

* A large table gets its indexes when its records are in: half the work of the server, and none of them sorted twice.
  Its unique indexes are proven as they are made.
* References may lead nowhere, as they did in the source; they are counted.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pyarrow as pa
import pymysql

from holdfast.connectors.mysql.catalog import Table
from holdfast.connectors.mysql.connection import Connection, RuleBroken, qualified, quoted
from holdfast.connectors.mysql.loading import Lines, Loading, Target, load, prepare_to_write
from holdfast.connectors.mysql.making import prepare_to_define
from holdfast.connectors.mysql.sqltext import without_indexes
from holdfast.core.ports import View
from holdfast.errors import Damaged

__all__ = ["count_dangling", "fill"]

_Item = TypeVar("_Item")
_LARGE_ROWS = 50_000
# What one statement sends: the server keeps that much for its log until it is done.
_STATEMENT_BYTES = 64 << 20
_MISFITS = (1048, 1062, 1263, 1264, 1265, 1292, 1366, 1406, 1526, 1586, 1690, 4025)


def fill(connection: Connection, table: Table, view: View, sql: str) -> int:
    """Load all records of a view into an empty table, which *sql* has made; returns how many.

    Raises Damaged if they do not fit it.
    """
    batches = iter(view.batches())
    first, rows = [], 0
    for batch in batches:
        first.append(batch)
        rows += batch.num_rows
        if rows >= _LARGE_ROWS:
            break
    bare, later = without_indexes(sql)
    is_later = rows >= _LARGE_ROWS and bool(later) and table.engine == "InnoDB"
    try:
        if is_later:
            _run(connection, f"DROP TABLE {table.sql_name}", bare)
        prepare_to_write(connection)
        _run(connection, "SET /*M!100201 check_constraint_checks = 0, */ time_zone = '+00:00'")
        count = _load_all(connection, table, view, itertools.chain(first, batches))
        prepare_to_define(connection)
        if is_later:
            _run(connection, f"ALTER TABLE {table.sql_name} {', '.join(f'ADD {each}' for each in later)}")
    except (RuleBroken, pymysql.MySQLError) as error:
        raise _misfit(view.name, error) from error
    return count


def count_dangling(connection: Connection, database: str) -> tuple[int, tuple[str, ...]]:
    """How many references lead nowhere, and the foreign keys to tables that are not there, in words."""
    parts: dict[tuple[str, str, str, str], list[tuple[str, str]]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(_REFERENCES, (database,))
        for *key, column, target in cursor.fetchall():
            parts[key[0], key[1], key[2], key[3]].append((column, target))
        count, absent = 0, []
        for (name, constraint, other, parent), columns in parts.items():
            is_whole = " AND ".join(f"c.{quoted(column)} IS NOT NULL" for column, _ in columns)
            led = " AND ".join(f"p.{quoted(target)} = c.{quoted(column)}" for column, target in columns)
            cursor.execute(_IS_THERE, (other, parent))
            if cursor.fetchone() is None:
                where = parent if other == database else f"{other}.{parent}"
                absent.append(f"the foreign key {constraint} of {name} refers to {where}, which is not there")
                led = "FALSE"
            else:
                led = f"EXISTS (SELECT 1 FROM {qualified(other, parent)} p WHERE {led})"
            cursor.execute(f"SELECT count(*) FROM {qualified(database, name)} c WHERE {is_whole} AND NOT {led}")
            count += int(cursor.fetchall()[0][0])
    return count, tuple(absent)


def _load_all(connection: Connection, table: Table, view: View, batches: Iterator[pa.RecordBatch]) -> int:
    columns = {column.name: column for column in table.columns}
    loading = Loading(connection, table.sql_name, [Target(each, columns[each.name]) for each in view.schema.columns])
    given = count = 0

    def made() -> Iterator[Lines]:
        nonlocal given
        for batch in batches:
            given += batch.num_rows
            yield from loading.lines(batch)

    lines = _ahead(made())
    for first in lines:
        count += load(connection, loading, _some(first, lines))
    if count != given:
        raise Damaged(f"{view.name}: {given} records went in, and {count} were taken; nothing was written")
    return count


def _some(first: Lines, lines: Iterator[Lines]) -> Iterator[Lines]:
    """The first of them, and as many more as one statement takes."""
    size = 0
    for each in itertools.chain((first,), lines):
        yield each
        size += len(each.text)
        if size >= _STATEMENT_BYTES:
            return


def _ahead(items: Iterator[_Item]) -> Iterator[_Item]:
    """The same items, the next one made in a thread of its own while the last one is on its way to the server."""
    end = object()
    with ThreadPoolExecutor(1, thread_name_prefix="holdfast-load") as pool:
        future = pool.submit(next, items, end)
        while (item := future.result()) is not end:
            future = pool.submit(next, items, end)
            yield item  # type: ignore[misc]


def _run(connection: Connection, *statements: str) -> None:
    with connection.cursor() as cursor:
        for each in statements:
            cursor.execute(each)


def _misfit(name: str, error: RuleBroken | pymysql.MySQLError) -> Exception:
    if isinstance(error, RuleBroken):
        return Damaged(f"{name}: its records do not fit its definition: {error.message}")
    if error.args and error.args[0] in _MISFITS:
        return Damaged(f"{name}: its records do not fit its definition: {error.args[1]}; nothing was written")
    return error


_REFERENCES = """
    SELECT TABLE_NAME, CONSTRAINT_NAME, REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME, COLUMN_NAME,
        REFERENCED_COLUMN_NAME
    FROM information_schema.KEY_COLUMN_USAGE WHERE TABLE_SCHEMA = %s AND REFERENCED_TABLE_NAME IS NOT NULL
    ORDER BY TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION
"""
_IS_THERE = "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
