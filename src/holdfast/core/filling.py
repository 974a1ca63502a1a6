"""Columns that a source demands by now: which records that come back it would refuse for a NULL, and which
value it gives by itself where one is left out.

* A column that came since the vault's record was kept gets its default, if that is one value.
* Where there is none, or the record itself holds NULL in a column that may be NULL no more, it waits for a person.

    >>> from holdfast.core.records import Column
    >>> demanded = Filling({"orders": {"channel": "shop"}}, {"orders": frozenset(["id"])})
    >>> schema = Schema((Column("id", "int"), Column("channel", "text")), key=("id",))
    >>> demanded.filled("orders", pa.RecordBatch.from_pylist([{"id": 1}], schema=schema.arrow()), schema).to_pylist()
    [{'id': 1, 'channel': 'shop'}]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.canonical import tagged_value
from holdfast.core.doors import Value
from holdfast.core.records import MIXED, Column, Schema
from holdfast.core.threeway import Deviation, Fate

__all__ = ["Filling"]

_PYTHON: Mapping[str, tuple[type, ...]] = {
    "bool": (bool,),
    "int": (int,),
    "uint": (int,),
    "float": (float, int),
    "float32": (float, int),
    **dict.fromkeys(("decimal", "text", "json", "source", "date", "timestamp"), (str,)),
}
_TAGGED = {int: "int", float: "float", str: "text"}
_COMES_BACK = (Fate.LOST, Fate.REUSED, Fate.DELETED)


@dataclass(frozen=True, slots=True)
class Filling:
    """By collection the columns that may not be NULL, each with its default, and the columns that the vault knows."""

    demanded: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    known: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def filled(self, name: str, rows: pa.RecordBatch, schema: Schema) -> pa.RecordBatch:
        """The records with the default in each column that came since, may not be NULL, and is."""
        for column, default in self._columns(name, schema):
            place = schema.names.index(column.name)
            if default is not None and rows.column(place).null_count:
                rows = rows.set_column(place, rows.schema.field(place), rows.column(place).fill_null(default))
        return rows

    def refused(self, name: str, piece: Deviation, schema: Schema) -> Iterator[tuple[pa.Array, str]]:
        """Records of a piece that the source would refuse, by their keys, and why."""
        for column, default in self._columns(name, schema):
            is_null = _comes_null(piece, column.name) if default is None else None
            if is_null is not None and pc.any(is_null).as_py():
                yield piece.keys.filter(is_null), self._why(name, column.name)

    def _columns(self, name: str, schema: Schema) -> Iterator[tuple[Column, pa.Scalar | None]]:
        """The columns that may not be NULL, each with what fills it, if anything may."""
        for column in schema.columns:
            value = self.demanded.get(name, {}).get(column.name)
            if column.name in self.demanded.get(name, {}):
                yield column, None if column.name in self.known.get(name, ()) else _scalar(value, column)

    def _why(self, name: str, column: str) -> str:
        if column in self.known.get(name, ()):
            return f"its {column} is NULL, which the source allows no more"
        return f"the source demands its {column}, which came since and has no default of one value"


def _comes_null(piece: Deviation, column: str) -> pa.Array | None:
    """Which records of a piece would be written with NULL in a column, though the source has none there."""
    if piece.good is None:
        return None
    is_null = pc.is_null(piece.good.column(column))
    if piece.fate in _COMES_BACK:
        return is_null
    if piece.base is None or piece.fate not in (Fate.REVERTED, Fate.BOTH):
        return None
    return pc.and_(is_null, pc.is_valid(piece.base.column(column)))


def _scalar(value: Value, column: Column) -> pa.Scalar | None:
    """A default as a column holds it; None if it is not of the column's type."""
    if column.type == MIXED:
        tag = _TAGGED.get(type(value))
        return None if tag is None else pa.scalar(tagged_value(tag, value), pa.binary())
    wanted = _PYTHON.get(column.type, ())
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        return None
    try:
        return pa.scalar(value).cast(column.arrow)
    except pa.ArrowInvalid:
        return None
