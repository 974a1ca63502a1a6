"""Two versions of a record, each changed in its own way since a third, become one: column by column.

* What only one side changed is taken from that side. What both changed alike is taken as it is.
* Numbers that are declared to add up get both changes: live + (good - base), also where both are the same by now.
* All else that both changed is a conflict; without a base every column that differs is one.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.canonical import decode, tagged_value
from holdfast.core.compare import rows_differ
from holdfast.core.declared import Conflict, Declared
from holdfast.core.records import MIXED, Column, Schema

__all__ = ["Merged", "merge"]

_ADDED_UP = ("int", "uint", "float", "float32", "decimal")


@dataclass(frozen=True, slots=True, eq=False)
class Merged:
    """The records of both sides as one, and for each the columns in conflict: there `rows` hold what live holds."""

    rows: pa.RecordBatch
    conflicts: list[tuple[str, ...]]


def merge(
    base: pa.RecordBatch | None, good: pa.RecordBatch, live: pa.RecordBatch, schema: Schema, declared: Declared
) -> Merged:
    """One version for each record, row by row in all; conflicts are decided as declared, or are named if they wait."""
    columns: list[Any] = []
    conflicts: list[tuple[str, ...]] = [()] * good.num_rows
    for column in schema.columns:
        left, right = good.column(column.name), live.column(column.name)
        is_moved = _differ(column, None if base is None else base.column(column.name), left)
        is_other = _differ(column, None if base is None else base.column(column.name), right)
        taken = pc.if_else(pc.and_not(is_moved, is_other), left, right)
        by_both = pc.and_(is_moved, is_other)
        is_torn = pc.and_(by_both, _differ(column, left, right))
        if base is not None and column.name in declared.add and pc.any(by_both).as_py():
            taken, is_summed = _added_up(column, base, (left, right), taken, by_both)
            is_torn = pc.and_not(is_torn, is_summed)
        if pc.any(is_torn).as_py():
            if declared.conflict is Conflict.VAULT:
                taken = pc.if_else(is_torn, left, taken)
            elif declared.conflict is Conflict.WAIT:
                for row in pc.indices_nonzero(is_torn).to_pylist():
                    conflicts[row] += (column.name,)
        columns.append(taken)
    return Merged(pa.RecordBatch.from_arrays(columns, schema=schema.arrow()), conflicts)


def _differ(column: Column, one: Any, other: Any) -> pa.Array:
    """Which values differ; all of them where one side has none."""
    if one is None:
        return pa.array([True] * len(other), pa.bool_())
    shape = Schema((column,))
    left, right = (pa.RecordBatch.from_arrays([each], schema=shape.arrow()) for each in (one, other))
    mask = rows_differ(left, right, shape)
    return pa.array([False] * len(other), pa.bool_()) if mask is None else mask


def _added_up(
    column: Column, base: pa.RecordBatch, sides: tuple[Any, Any], taken: Any, by_both: pa.Array
) -> tuple[Any, pa.Array]:
    """The column with both changes where it holds numbers that both changed, and where that is."""
    values, summed = taken.to_pylist(), [False] * len(taken)
    for row in pc.indices_nonzero(by_both).to_pylist():
        three = [_number(column, each[row].as_py()) for each in (sides[1], sides[0], base.column(column.name))]
        total = _sum(column, three)
        if total is not None:
            values[row], summed[row] = total, True
    return pa.array(values, taken.type), pa.array(summed, pa.bool_())


def _number(column: Column, value: Any) -> Any:
    """A value as (type, number); None where it is no number."""
    kind = column.type
    if kind == MIXED and value is not None:
        kind, value = decode(value)
    if value is None or kind not in _ADDED_UP:
        return None
    return kind, Decimal(value) if kind == "decimal" else value


def _sum(column: Column, three: list[Any]) -> Any:
    """live + good - base in the form of the column; None where they are not numbers of one type, or the sum is none."""
    if None in three or len({kind for kind, _ in three}) != 1:
        return None
    kind = three[0][0]
    live, good, base = (number for _, number in three)
    total = live + (good - base)
    if kind in ("int", "uint") and not (-(1 << 63) <= total < 1 << 63 if kind == "int" else 0 <= total < 1 << 64):
        return None
    if kind == "decimal":
        total = f"{total:f}"
    return tagged_value(kind, total) if column.type == MIXED else total
