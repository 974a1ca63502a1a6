"""What the rows of a table prove, in the snapshot they are read in: which columns are mixed, and that no value is huge.

A scan of the table on the server, and only where it is needed: for columns of dates and times, whose infinities and
farthest years no canonical type counts, and for tables with so much out-of-line storage that a huge value fits in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from holdfast.connectors._sql.views import VALUE_BYTES_MAX
from holdfast.connectors.postgres.catalog import Table, TableColumn
from holdfast.connectors.postgres.connection import Connection, quoted
from holdfast.core.records import MIXED, Column, Schema

__all__ = ["Proof", "declared_schema", "prove"]

# The last moment that 64 bits of microseconds since 1970 count; PostgreSQL counts from 2000.
_LAST = "294247-01-10 04:00:54.775807"
# Infinities sort before and after all else. An index, where there is one, answers without a scan.
_FITS = {
    "date": "isfinite(min({0})) AND isfinite(max({0}))",
    "timestamp": f"isfinite(min({{0}})) AND max({{0}}) <= timestamp '{_LAST}'",
    "timestamptz": f"isfinite(min({{0}})) AND max({{0}}) <= timestamptz '{_LAST}+00'",
}
# No compression of the server's makes a value less than a 256th.
_SQUEEZED = 256
_SMALL = 64 << 10
_COLUMNS_AT_ONCE = 400


@dataclass(frozen=True, slots=True)
class Proof:
    """The schema that fits every row of one snapshot, and the columns with a value too long, with its length.

    Of `unseen` columns it is believed: whoever reads them finds out.
    """

    schema: Schema
    too_long: tuple[tuple[str, int], ...] = ()
    unseen: frozenset[str] = frozenset()


def prove(connection: Connection, table: Table, encoding: str, known: Schema | None = None) -> Proof:
    """Ask the rows what the catalog can't tell. The user must be able to read the table.

    What had its ordinary type in the schema that is `known` from before is not asked again.
    """
    before = {column.name: column.type for column in known.columns} if known else {}
    mixed: set[str] = set()
    too_long: list[tuple[str, int]] = []
    temporal = [column for column in table.stored if column.kind in _FITS]
    unseen = frozenset(column.name for column in temporal if before.get(column.name) == column.kind)
    for group in _groups([column for column in temporal if column.name not in unseen]):
        asked = [_FITS[column.kind].format(quoted(column.name)) for column in group]
        for column, fits in zip(group, _ask(connection, table, asked), strict=True):
            # Of a column without values nothing is known, and nothing needs to be.
            if fits is False:
                mixed.add(column.name)
    if _has_room_for_huge_values(connection, table):
        for group in _groups([column for column in table.stored if column.base_oid not in _FIXED]):
            for column, longest in zip(group, _ask(connection, table, map(_length, group)), strict=True):
                if (longest or 0) > VALUE_BYTES_MAX:
                    too_long.append((column.name, longest or 0))
    return Proof(_schema(table, encoding, mixed), tuple(too_long), unseen)


def declared_schema(table: Table, encoding: str) -> Schema:
    """The schema that ordinary values have, for a table that can't be read."""
    return _schema(table, encoding, set())


def _schema(table: Table, encoding: str, mixed: set[str]) -> Schema:
    columns = []
    for column in table.stored:
        # Such a database takes any bytes for text; whether they are UTF-8 shows with each value.
        is_mixed = column.name in mixed or (encoding == "SQL_ASCII" and column.kind == "text")
        columns.append(Column(column.name, MIXED if is_mixed else column.kind, column.declared))
    return Schema(tuple(columns), table.key, table.references)


def _length(column: TableColumn) -> str:
    """SQL for the most bytes of a value in its canonical form; what is stored small is not even looked at."""
    name = quoted(column.name)
    if column.kind in ("text", "bytes"):
        return f"max(octet_length({name}))"
    return f"max(CASE WHEN pg_column_size({name}) > {_SMALL} THEN octet_length({name}::text) END)"


def _has_room_for_huge_values(connection: Connection, table: Table) -> bool:
    if not table.has_toastable:
        return False
    largest = connection.execute(_TOAST, (table.oid,)).fetchall()[0][0]
    return (largest or 0) * _SQUEEZED > VALUE_BYTES_MAX


def _ask(connection: Connection, table: Table, questions: Iterable[str]) -> tuple[Any, ...]:
    (found,) = connection.execute(f"SELECT {', '.join(questions)} FROM {table.sql_source}").fetchall()
    return found


def _groups(columns: Sequence[TableColumn]) -> Iterator[Sequence[TableColumn]]:
    for start in range(0, len(columns), _COLUMNS_AT_ONCE):
        yield columns[start : start + _COLUMNS_AT_ONCE]


# bool, int8, int2, int4, oid, float4, float8, date, time, timestamp, timestamptz, uuid
_FIXED = frozenset((16, 20, 21, 23, 26, 700, 701, 1082, 1083, 1114, 1184, 2950))
_TOAST = """
    WITH RECURSIVE part (oid) AS (
        SELECT %s::oid
        UNION ALL SELECT i.inhrelid FROM part p JOIN pg_inherits i ON i.inhparent = p.oid
            JOIN pg_class c ON c.oid = i.inhrelid AND c.relispartition)
    SELECT max(pg_relation_size(c.reltoastrelid)) FROM part p JOIN pg_class c ON c.oid = p.oid
    WHERE c.reltoastrelid <> 0
"""
