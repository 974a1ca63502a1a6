"""What is selected of a table, and how its columns come out of the rows again.

The program `mariadb` writes NULL as the word NULL. So of every column that may hold that word and may be NULL, a bit
says which it is: the bits of up to 60 columns are one number more in each row.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.connectors.mysql.catalog import TableColumn
from holdfast.connectors.mysql.connection import quoted
from holdfast.connectors.mysql.values import selected

__all__ = ["Projection"]

_BITS = 60
_WORD = b"NULL"


class Projection:
    """The SELECT of some columns of a table, and their values in its rows."""

    def __init__(self, columns: Sequence[TableColumn]) -> None:
        self._columns = columns
        doubtful = [column.name for column in columns if _may_be_words(column) and not column.not_null]
        self._groups = [doubtful[start : start + _BITS] for start in range(0, len(doubtful), _BITS)]

    @property
    def width(self) -> int:
        """How many columns a row has."""
        return len(self._columns) + len(self._groups)

    def sql(self, source: str, rest: str = "") -> str:
        """The statement: `source` is what stands after FROM, `rest` its WHERE and ORDER BY."""
        bits = [
            " | ".join(f"(ISNULL({quoted(name)}) << {place})" for place, name in enumerate(group))
            for group in self._groups
        ]
        return f"SELECT {', '.join([*map(selected, self._columns), *bits])} FROM {source} {rest}"

    def values(self, rows: pa.RecordBatch) -> list[pa.Array]:
        """The columns as the server sent them, NULL as null and the word NULL as itself."""
        places = {name: (group, bit) for group, names in enumerate(self._groups) for bit, name in enumerate(names)}
        found = []
        for column, values in zip(self._columns, rows.columns[: len(self._columns)], strict=True):
            if values.null_count and _may_be_words(column):
                if column.not_null:
                    values = pc.fill_null(values, _WORD)
                else:
                    group, bit = places[column.name]
                    values = _told_apart(values, rows.columns[len(self._columns) + group], bit)
            found.append(values)
        return found


def _may_be_words(column: TableColumn) -> bool:
    return column.kind in ("text", "json", "bytes") and column.data_type not in ("enum", "set")


def _told_apart(values: pa.Array, bits: pa.Array, place: int) -> pa.Array:
    numbers = bits.cast(pa.string()).cast(pa.int64())
    is_null = pc.bit_wise_and(pc.shift_right(numbers, place), 1).cast(pa.bool_())
    if pc.sum(is_null).as_py() == values.null_count:
        return values
    return pc.if_else(pc.or_(is_null, values.is_valid()), values, _WORD)
