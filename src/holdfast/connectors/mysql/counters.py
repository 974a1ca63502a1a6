"""Sequences that a table's columns draw from: moved forward past what the table holds, never back.

The table's own counter (AUTO_INCREMENT) follows by itself when rows are written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from holdfast.connectors.mysql.catalog import Table
from holdfast.connectors.mysql.connection import Connection, quoted
from holdfast.connectors.mysql.staging import run

__all__ = ["advance_counters", "drawn_from"]

_DEFAULTS = """
    SELECT COLUMN_NAME, COLUMN_DEFAULT,
        DATA_TYPE IN ('tinyint', 'smallint', 'mediumint', 'int', 'bigint', 'decimal', 'float', 'double')
    FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s AND COLUMN_DEFAULT LIKE '%%nextval(%%'
"""
_FARTHEST = 2**63 - 1
_DRAWN = re.compile(r"^nextval\(((?:`(?:[^`]|``)*`\.)?`(?:[^`]|``)*`)\)$")


def advance_counters(connection: Connection, table: Table) -> list[str]:
    """Let no sequence that fills a column give a number that the column has; returns those it moved, as SQL names them.

    A sequence belongs to no transaction: it stays ahead even if what follows fails, which does no harm.
    """
    moved = []
    for column, drawn, is_number in _drawn(connection, table):
        ((step,),) = run(connection, f"SELECT increment FROM {drawn}")
        farthest, name = "max" if step > 0 else "min", quoted(column)
        # A text may hold what no sequence gives, and is in no order of numbers.
        of_text = f"CASE WHEN {name} REGEXP '^-?[0-9]{{1,18}}$' THEN CAST({name} AS DECIMAL(20)) END"
        value = name if is_number else of_text
        ((held,),) = run(connection, f"SELECT {farthest}({value}) FROM {table.sql_name}")
        if held is not None and abs(int(held)) <= _FARTHEST:
            # It answers with NULL, and stays, where it is farther already or that is beyond its range.
            ((value,),) = run(connection, f"SELECT SETVAL({drawn}, {int(held)})")
            moved += [drawn] if value is not None else []
    return moved


def drawn_from(connection: Connection, table: Table) -> Iterator[tuple[str, str]]:
    """The columns of a table that a sequence fills, each with that sequence's name for SQL."""
    for column, drawn, is_number in _drawn(connection, table):
        if is_number:
            yield column, drawn


def _drawn(connection: Connection, table: Table) -> Iterator[tuple[str, str, bool]]:
    for column, default, is_number in run(connection, _DEFAULTS, (table.database, table.name)):
        drawn = _DRAWN.match(default)
        if drawn is not None:
            yield column, drawn[1], bool(is_number)
