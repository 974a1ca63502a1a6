"""What the rows of a table prove, in the moment they are read in: which columns are mixed, and that no value is huge.

A scan of the table on the server, and only for columns that can hold what their canonical type does not: see
`values.ordinary`. Where nothing is known of a table from before, one such scan precedes reading it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from holdfast.connectors._sql.views import VALUE_BYTES_MAX
from holdfast.connectors.mysql.catalog import Table, TableColumn
from holdfast.connectors.mysql.charsets import Charsets
from holdfast.connectors.mysql.connection import Connection, literal, quoted
from holdfast.connectors.mysql.values import Misfit, decode, ordinary
from holdfast.core.records import MIXED, Column, Schema

__all__ = ["Proof", "declared_schema", "prove", "prove_kept"]

_COLUMNS_AT_ONCE = 400
# No compression of the server's makes a value less than a 256th.
_SQUEEZED = 256
# Of these alone a value can be longer than `VALUE_BYTES_MAX`.
_LONG = 16 << 20
_SHAPES = ("geometry", "point", "linestring", "polygon", "multi", "geom")


@dataclass(frozen=True, slots=True)
class Proof:
    """The schema that fits every row of one snapshot, and the columns with a value too long, with its length.

    Of `unseen` columns it is believed: whoever reads them finds out. Of the `unnamed` ones, of labels, the catalog does
    not tell what some labels are that occur.
    """

    schema: Schema
    too_long: tuple[tuple[str, int], ...] = ()
    unseen: frozenset[str] = frozenset()
    unnamed: tuple[str, ...] = ()


def prove(connection: Connection, table: Table, charsets: Charsets, known: Schema | None = None) -> Proof:
    """Ask the rows what the catalog can't tell. The user must be able to read the table.

    What had its ordinary type in the schema that is `known` from before is not asked again.
    """
    before = {column.name: column.type for column in known.columns} if known else {}
    unseen = frozenset(column.name for column in table.stored if before.get(column.name) == column.kind)
    doubtful = [(column, ordinary(column, charsets)) for column in table.stored if column.name not in unseen]
    asked = [(column, f"MIN({sql})") for column, sql in doubtful if sql]
    mixed = {column.name for column, fits in _answers(connection, table, asked) if fits is not None and int(fits) == 0}
    too_long = []
    if table.bytes_estimate * _SQUEEZED > VALUE_BYTES_MAX:
        lengths = [
            (column, f"MAX(OCTET_LENGTH({quoted(column.name)}))")
            for column, _ in doubtful
            if column.octets > _LONG or column.data_type.startswith(_SHAPES)
        ]
        for column, longest in _answers(connection, table, lengths):
            if int(longest or 0) > VALUE_BYTES_MAX:
                too_long.append((column.name, int(longest)))
    return Proof(_schema(table, mixed), tuple(too_long), unseen, _unnamed(connection, table))


def prove_kept(connection: Connection, table: Table, charsets: Charsets, rows: Sequence[Sequence[pa.Array]]) -> Proof:
    """The same for a table whose rows are here: so many batches of its stored columns, as the server sent them."""
    mixed = set()
    for values in rows:
        for column, each in zip(table.stored, values, strict=True):
            try:
                decode(each, column, charsets)
            except Misfit:
                mixed.add(column.name)
    return Proof(_schema(table, mixed), unnamed=_unnamed(connection, table))


def declared_schema(table: Table) -> Schema:
    """The schema that ordinary values have, for a table that can't be read."""
    return _schema(table, set())


def _unnamed(connection: Connection, table: Table) -> tuple[str, ...]:
    asked = [(column, f"MAX({_is_unnamed(column)})") for column in table.stored if _may_be_unnamed(column)]
    return tuple(column.name for column, is_unnamed in _answers(connection, table, asked) if int(is_unnamed or 0))


def _may_be_unnamed(column: TableColumn) -> bool:
    """The catalog is kept in UTF-8 of three bytes: a character of four is a question mark there."""
    return any("?" in label for label in column.labels)


def _is_unnamed(column: TableColumn) -> str:
    name, labels = quoted(column.name), ", ".join(map(literal, column.labels))
    told = f"{'ELT' if column.data_type == 'enum' else 'MAKE_SET'}(CAST({name} AS UNSIGNED), {labels})"
    return f"CAST(CONVERT({name} USING utf8mb4) AS BINARY) <> CAST({told} AS BINARY)"


def _schema(table: Table, mixed: set[str]) -> Schema:
    columns = [
        Column(column.name, MIXED if column.name in mixed else column.kind, column.declared) for column in table.stored
    ]
    return Schema(tuple(columns), table.key, table.references)


def _answers(
    connection: Connection, table: Table, asked: Sequence[tuple[TableColumn, str]]
) -> Iterator[tuple[TableColumn, Any]]:
    for start in range(0, len(asked), _COLUMNS_AT_ONCE):
        group = asked[start : start + _COLUMNS_AT_ONCE]
        found = _ask(connection, table, (sql for _, sql in group))
        yield from zip((column for column, _ in group), found, strict=True)


def _ask(connection: Connection, table: Table, questions: Iterable[str]) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(questions)} FROM {table.sql_source}")
        (found,) = cursor.fetchall()
    return tuple(found)
