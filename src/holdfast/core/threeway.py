"""Three states of one collection side by side: what it was when histories parted (`base`), what the vault holds last of
the one (`good`), and what the source holds now (`live`).

* A record that is the same in `good` and `live` has no fate, whatever it was at `base`.
* Where the creation of a record is declared, two records under one key with different creations are two records; with
  the same creation, to the time of day, they are one. Where that is not known, what came under one key in both
  histories since is two records.
* Memory holds one batch of each state.

    >>> from holdfast.core.records import Column
    >>> list(three_way(None, iter(()), iter(()), Schema((Column("id", "int"),), key=("id",)), Declared()))
    []
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.align import Keyed, aligned
from holdfast.core.canonical import row_digests
from holdfast.core.compare import rows_differ
from holdfast.core.declared import Declared
from holdfast.core.records import Schema

__all__ = ["Deviation", "Fate", "differing", "three_way"]


class Fate(StrEnum):
    """What became of a record. Equal ones have none."""

    LOST = "lost"  # the vault has it, the source has not
    REVERTED = "reverted"  # the source has it as it was at `base`, the vault a later version
    BOTH = "both"  # the vault and the source changed it, each in its way
    REUSED = "reused"  # the source has another record under the key of one that the vault has
    RETURNED = "returned"  # it was deleted before the vault's last good state, and is there again
    CREATED = "created"  # the source has it, and it came since
    CHANGED = "changed"  # only the source changed it since
    DELETED = "deleted"  # only the source deleted it since


@dataclass(frozen=True, slots=True, eq=False)
class Deviation:
    """Records of one fate, ascending by key, with their versions; a side without a record is None for all of them.

    Rows are in the collection's common schema; digests are 32-byte row digests. A record that both changed may have no
    `base`: it came before histories parted, and after the state that stands for it.
    """

    fate: Fate
    keys: pa.Array
    base: pa.RecordBatch | None
    good: pa.RecordBatch | None
    live: pa.RecordBatch | None
    good_digests: pa.Array | None
    live_digests: pa.Array | None


def three_way(
    base: Iterator[Keyed] | None, good: Iterator[Keyed], live: Iterator[Keyed], schema: Schema, declared: Declared
) -> Iterator[Deviation]:
    """Yield every record that has a fate, in ranges of keys that ascend.

    `base` is None where it is `good` itself: nothing came after it in the vault, and what is not in the source any more
    is lost. Else it may leave out records that are the same in `good` and `live`. All streams hold rows of `schema`
    under that schema's keys, strictly ascending.
    """
    if base is None:
        for left, right in differing(good, live, schema):
            yield from _fates(_Three(left, left, right), schema, declared, is_parted=False)
        return
    for was, left, right in aligned([base, good, live]):
        left, right = _unequal(left, right, schema)
        if left is not None or right is not None:
            yield from _fates(_Three(was, left, right), schema, declared, is_parted=True)


def differing(
    good: Iterator[Keyed], live: Iterator[Keyed], schema: Schema
) -> Iterator[tuple[Keyed | None, Keyed | None]]:
    """The records of both that are not the same in the other, in ranges of keys that ascend; never None for both."""
    for left, right in aligned([good, live]):
        left, right = _unequal(left, right, schema)
        if left is not None or right is not None:
            yield left, right


class _Three(NamedTuple):
    """A range of keys in each state."""

    base: Keyed | None
    good: Keyed | None
    live: Keyed | None


class _Side:
    """One state's records of a range, brought to the same places: `has` says where there is one."""

    def __init__(self, rows: Keyed | None, keys: pa.Array, schema: Schema) -> None:
        self._rows = rows
        if rows is None:
            self._at = pa.nulls(len(keys), pa.int32())
            self.digests = pa.nulls(len(keys), pa.binary(32))
        else:
            self._at = pc.index_in(keys, value_set=rows.keys)
            needed = pc.drop_null(self._at)
            # Of a base the rows that don't matter cost no digest.
            own = row_digests(rows.batch.take(needed), schema)
            self.digests = own.take(pc.index_in(self._at, value_set=needed))
        self.has = pc.is_valid(self._at)

    def rows(self, where: pa.Array) -> pa.RecordBatch | None:
        """The records at these places, or None if there are none at any of them."""
        at = self._at.take(where)
        return None if self._rows is None or at.null_count else self._rows.batch.take(at)

    def column(self, name: str) -> Any:
        """The values of a column, NULL where there is no record."""
        return None if self._rows is None else self._rows.batch.column(name).take(self._at)


def _fates(three: _Three, schema: Schema, declared: Declared, *, is_parted: bool) -> Iterator[Deviation]:
    parts = [rows.keys for rows in (three.good, three.live) if rows is not None]
    keys = pc.unique(pa.concat_arrays(parts))
    keys = keys.take(pc.sort_indices(keys))
    good, live = (_Side(rows, keys, schema) for rows in (three.good, three.live))
    base = _Side(three.base, keys, schema) if is_parted else good
    for fate, mask in _masks(base, good, live, _is_other(good, live, schema, declared), is_parted=is_parted):
        for has_base in (base.has, pc.invert(base.has)):
            where = pc.indices_nonzero(pc.and_(mask, has_base))
            if len(where):
                rows = [side.rows(where) for side in (base, good, live)]
                digests = [
                    side.digests.take(where) if each is not None else None
                    for side, each in zip((good, live), rows[1:], strict=True)
                ]
                yield Deviation(fate, keys.take(where), rows[0], rows[1], rows[2], *digests)


def _masks(
    base: _Side, good: _Side, live: _Side, is_other: pa.Array, *, is_parted: bool
) -> Iterator[tuple[Fate, pa.Array]]:
    """Which records have which fate; each has one."""
    in_both = pc.and_(good.has, live.has)
    only_good, only_live = pc.and_not(good.has, live.has), pc.and_not(live.has, good.has)
    good_is_base, live_is_base = _same(good, base), _same(live, base)
    # A deletion that stands as the parting left it was the source's own, unless it is what is being looked into.
    is_deleted = pc.and_(only_good, good_is_base) if is_parted else pc.xor(only_good, only_good)
    # A number that was given again after the parting: what the source has back is the record that had it before.
    reverted = pc.and_not(pc.and_(in_both, live_is_base), pc.fill_null(is_other, False))
    # Where the creation is not known, a key that came in both histories since stands for two records.
    another = pc.if_else(pc.is_valid(is_other), is_other, pc.invert(base.has))
    reused = pc.and_(pc.and_not(in_both, reverted), another)
    rest = pc.and_not(pc.and_not(in_both, reverted), reused)
    yield Fate.LOST, pc.and_not(only_good, is_deleted)
    yield Fate.REVERTED, reverted
    yield Fate.BOTH, pc.and_not(rest, good_is_base)
    yield Fate.REUSED, reused
    yield Fate.RETURNED, pc.and_(only_live, base.has)
    yield Fate.CREATED, pc.and_not(only_live, base.has)
    yield Fate.CHANGED, pc.and_(rest, good_is_base)
    yield Fate.DELETED, is_deleted


def _same(one: _Side, other: _Side) -> pa.Array:
    """Where both have a record, and it is the same."""
    return pc.fill_null(pc.equal(one.digests, other.digests), False)


def _is_other(good: _Side, live: _Side, schema: Schema, declared: Declared) -> pa.Array:
    """Whether the two records under one key were created at different times; NULL where that is not known."""
    if not declared.created or schema.column(declared.created) is None:
        return pa.nulls(len(good.has), pa.bool_())
    left, right = good.column(declared.created), live.column(declared.created)
    if left is None or right is None:
        return pa.nulls(len(good.has), pa.bool_())
    differs = pc.not_equal(left, right)
    # Two records may well come on one day.
    return pc.if_else(pc.or_(differs, _has_time_of_day(left)), differs, None)


def _has_time_of_day(values: pa.Array) -> pa.Array:
    """Which moments are told more exactly than by their day."""
    if pa.types.is_date(values.type):
        return pc.and_(values.is_valid(), values.is_null())
    if not (pa.types.is_string(values.type) or pa.types.is_binary(values.type)):
        return values.is_valid()
    return pc.greater(pc.binary_length(values), len("2026-03-01"))


def _unequal(left: Keyed | None, right: Keyed | None, schema: Schema) -> tuple[Keyed | None, Keyed | None]:
    """The rows of each that are not the same in the other."""
    if left is None or right is None:
        return left, right
    if left.keys.equals(right.keys):
        mask = rows_differ(left.batch, right.batch, schema) if schema.key else None
        return (None, None) if mask is None else (left.filter(mask), right.filter(mask))
    in_right, in_left = (pc.is_in(a.keys, value_set=b.keys) for a, b in ((left, right), (right, left)))
    common = left.filter(in_right), right.filter(in_left)
    mask = rows_differ(common[0].batch, common[1].batch, schema) if schema.key else None
    changed = common[0].keys.filter(mask) if mask is not None else common[0].keys.slice(0, 0)
    sides = (
        rows.filter(pc.or_(pc.invert(is_common), pc.is_in(rows.keys, value_set=changed)))
        for rows, is_common in ((left, in_right), (right, in_left))
    )
    unequal = [rows if len(rows.keys) else None for rows in sides]
    return unequal[0], unequal[1]
