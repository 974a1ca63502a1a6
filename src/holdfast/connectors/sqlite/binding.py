"""From canonical columns to parameters of SQL, exactly: what `projection` reads, this writes.

A mixed column is bound in parts, one for each storage class, of which one is not NULL; text that is not valid is
bound as bytes and cast, which keeps every byte.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.canonical import decode, untagged
from holdfast.core.records import MIXED, TYPES, Column
from holdfast.errors import Unsupported

__all__ = ["Binding"]

_PLACEHOLDERS = {"int": "?", "float": "?", "text": "?", "bytes": "?", "rawtext": "CAST(? AS TEXT)"}
_MIXED = "coalesce(?, ?, ?, CAST(? AS TEXT), ?)"
_PARTS = ("int", "float", "text", "rawtext", "bytes")


class Binding:
    """Placeholders and parameters for some columns of a collection."""

    def __init__(self, collection: str, columns: Sequence[Column]) -> None:
        for column in columns:
            if column.type != MIXED and column.type not in _PLACEHOLDERS:
                raise Unsupported(
                    f"{collection}: column {column.name} is of type {column.type}, which SQLite can't hold exactly",
                    hint="export it instead: holdfast export",
                )
        self._collection = collection
        self._columns = tuple(columns)

    @property
    def placeholders(self) -> tuple[str, ...]:
        """An SQL expression for each column."""
        return tuple(_PLACEHOLDERS.get(column.type, _MIXED) for column in self._columns)

    def parameters(self, rows: pa.RecordBatch, *more: pa.Array) -> pa.RecordBatch:
        """The parameters of each row, in the order of `placeholders`, and after them those of `more`."""
        found: list[pa.Array] = []
        for column in self._columns:
            values = rows.column(column.name)
            if column.type == MIXED:
                found += self._parts(column, values)
            else:
                if column.type == "float":
                    self._refuse_nan(column, values)
                found.append(values)
        found += more
        return pa.RecordBatch.from_arrays(found, names=[str(number) for number in range(len(found))])

    def _parts(self, column: Column, values: pa.Array) -> list[pa.Array]:
        """A mixed column as one array for each storage class."""
        tags = pc.binary_slice(values, 0, 1)
        left = values.is_valid()
        found = []
        for kind in _PARTS:
            mask = pc.fill_null(pc.equal(tags, bytes([TYPES[kind].tag])), False)
            part = pa.nulls(len(values), TYPES[kind].arrow)
            if pc.any(mask).as_py():
                plain = untagged(values.filter(mask), kind)
                if kind == "float":
                    self._refuse_nan(column, plain)
                part = pc.replace_with_mask(part, mask, plain)
                left = pc.and_not(left, mask)
            found.append(part)
        if pc.any(left).as_py():
            kind, _ = decode(values.filter(left)[0].as_py())
            raise Unsupported(
                f"{self._collection}: column {column.name} has a value of type {kind}, which SQLite can't hold",
                hint="export it instead: holdfast export",
            )
        return found

    def _refuse_nan(self, column: Column, values: pa.Array) -> None:
        if pc.any(pc.is_nan(values)).as_py():
            raise Unsupported(
                f"{self._collection}: column {column.name} holds NaN, which SQLite would turn into NULL",
                hint="export it instead: holdfast export",
            )
