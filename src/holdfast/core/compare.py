"""Compare two views of one collection: every record that is missing, added or changed, exactly.

Two records are equal if their row digests are. Ranges that are equal as they lie in memory cost no digest at all;
digests are made only of records that differ. Memory holds one batch of each side.

    >>> tally = Tally()
    >>> list(compare(iter(()), iter(()), Schema((Column("id", "int"),), key=("id",)), tally)), tally.is_equal
    ([], True)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.align import Keyed, aligned, is_ascending
from holdfast.core.canonical import row_digests
from holdfast.core.records import Column, Schema

__all__ = ["Difference", "Tally", "changed_columns", "compare", "rows_differ"]

_FLOATS = {"float": (pa.int64(), 0x7FF8_0000_0000_0000), "float32": (pa.int32(), 0x7FC0_0000)}


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    """Records that differ in one way, ascending by key: `missing` in the actual view, `added` there, or `changed`.

    Rows and 32-byte row digests of a side are None where the kind leaves that side without a record.
    """

    kind: Literal["missing", "added", "changed"]
    keys: pa.Array
    wanted: pa.RecordBatch | None
    actual: pa.RecordBatch | None
    wanted_digests: pa.Array | None
    actual_digests: pa.Array | None


@dataclass(slots=True)
class Tally:
    """How many records a comparison found in each case, counted while it runs."""

    missing: int = 0
    added: int = 0
    changed: int = 0
    equal: int = 0

    @property
    def is_equal(self) -> bool:
        """Whether no record differed."""
        return not (self.missing or self.added or self.changed)


def compare(
    wanted: Iterator[Keyed], actual: Iterator[Keyed], schema: Schema, tally: Tally | None = None
) -> Iterator[Difference]:
    """Yield every difference, in ranges of keys that ascend; `tally` counts as they are read.

    Both streams hold rows of `schema` under that schema's keys, strictly ascending. Records of a multiset carry their
    digest in the key, so they are missing or added and never changed.
    """
    tally = tally if tally is not None else Tally()
    for left, right in aligned([_checked(wanted), _checked(actual)]):
        if left is None or right is None:
            found = [_alone("missing", left, schema)] if left is not None else []
            found += [_alone("added", right, schema)] if right is not None else []
        else:
            found = _differences(left, right, schema, tally)
        for difference in found:
            setattr(tally, difference.kind, getattr(tally, difference.kind) + len(difference.keys))
            yield difference


def changed_columns(wanted: pa.RecordBatch, actual: pa.RecordBatch, schema: Schema) -> list[tuple[str, ...]]:
    """For each record, row by row in both, the names of the columns that differ, in the schema's order."""
    names: list[tuple[str, ...]] = [()] * wanted.num_rows
    for column in schema.columns:
        mask = _differs(column, wanted.column(column.name), actual.column(column.name))
        if mask is None:
            continue
        for row in pc.indices_nonzero(mask).to_pylist():
            names[row] += (column.name,)
    return names


def rows_differ(left: pa.RecordBatch, right: pa.RecordBatch, schema: Schema) -> pa.Array | None:
    """Which records differ in any column, row by row in both, or None if none does."""
    masks = [_differs(column, left.column(column.name), right.column(column.name)) for column in schema.columns]
    found = [mask for mask in masks if mask is not None]
    if not found:
        return None
    whole = found[0]
    for mask in found[1:]:
        whole = pc.or_(whole, mask)
    return whole


def _checked(stream: Iterator[Keyed]) -> Iterator[Keyed]:
    last: bytes | None = None
    for keyed in stream:
        assert is_ascending(keyed.keys, after=last), "keys must ascend strictly"
        if len(keyed.keys):
            last = keyed.keys[-1].as_py()
        yield keyed


def _differences(left: Keyed, right: Keyed, schema: Schema, tally: Tally) -> list[Difference]:
    """The differences of two sides that both have records in a range of keys."""
    if left.keys.equals(right.keys):
        return _changed(left, right, schema, tally)
    found = []
    in_right = pc.index_in(left.keys, value_set=right.keys)
    in_left = pc.is_in(right.keys, value_set=left.keys)
    is_both = pc.is_valid(in_right)
    if (missing := _filtered(left, pc.invert(is_both))) is not None:
        found.append(_alone("missing", missing, schema))
    if (added := _filtered(right, pc.invert(in_left))) is not None:
        found.append(_alone("added", added, schema))
    if (common := _filtered(left, is_both)) is not None:
        same = _filtered(right, in_left)
        assert same is not None
        found += _changed(common, same, schema, tally)
    return found


def _changed(left: Keyed, right: Keyed, schema: Schema, tally: Tally) -> list[Difference]:
    """The records that differ between two sides with the same keys, row by row."""
    mask = None if not schema.key else rows_differ(left.batch, right.batch, schema)
    if mask is None:
        tally.equal += len(left.keys)
        return []
    rows = pc.indices_nonzero(mask)
    tally.equal += len(left.keys) - len(rows)
    wanted, actual = left.batch.take(rows), right.batch.take(rows)
    digests = row_digests(wanted, schema), row_digests(actual, schema)
    return [Difference("changed", left.keys.take(rows), wanted, actual, *digests)]


def _alone(kind: Literal["missing", "added"], side: Keyed, schema: Schema) -> Difference:
    digests = row_digests(side.batch, schema)
    if kind == "missing":
        return Difference(kind, side.keys, side.batch, None, digests, None)
    return Difference(kind, side.keys, None, side.batch, None, digests)


def _filtered(side: Keyed, mask: pa.Array) -> Keyed | None:
    if not pc.any(mask).as_py():
        return None
    return Keyed(side.keys.filter(mask), side.batch.filter(mask))


def _differs(column: Column, left: Any, right: Any) -> pa.Array | None:
    """Which values of a column differ, or None if none does. NULL equals NULL and nothing else."""
    left, right = _bits(column, left), _bits(column, right)
    if left.equals(right):
        return None
    mask = pc.fill_null(pc.not_equal(left, right), False)
    if left.null_count or right.null_count:
        mask = pc.or_(mask, pc.xor(pc.is_null(left), pc.is_null(right)))
    return mask if pc.any(mask).as_py() else None


def _bits(column: Column, values: Any) -> Any:
    """Values that Arrow compares as their digests do: floats as bits, for -0.0 is not 0.0 and NaN is NaN."""
    if column.type not in _FLOATS:
        return values
    kind, nan = _FLOATS[column.type]
    bits = values.view(kind)
    is_nan = pc.is_nan(values)
    return pc.if_else(is_nan, pa.scalar(nan, kind), bits) if pc.any(is_nan).as_py() else bits
