"""A few touched keys taken into the index: only the groups that hold or would hold them are read and written."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.canonical import slices
from holdfast.core.fingerprint import entries
from holdfast.operations.changes import Pass, group_rows
from holdfast.state.edits import Changes
from holdfast.state.index import Index
from holdfast.state.locate import Located
from holdfast.state.remembered import Group, GroupHead

__all__ = ["touched_rows"]

_BLOCK_ROWS = 1 << 16
# The rows beside the touched ones are not at hand, and without them there is no seal.
_UNSEALED = b""
_DIGEST = pa.binary(32)


def touched_rows(into: Pass, outcome: tuple[pa.Array, pa.Array, pa.Array], index: Index) -> None:
    """Write the groups that touched keys change, and add what became of them to the ledger; its rows are those after.

    *outcome* is what stands now: keys with their records' digests, and the touched keys that are gone; keys ascend on
    both sides and none is on both. A key whose digest is as before, or that was not there and still is not, counts
    nothing. Groups lose their seals, so the next whole reading tells by digests that nothing else changed. Call it once
    a collection and run, for a collection with a key: equal records of a multiset can't be told apart.
    """
    assert into.schema.key, "a multiset is not followed by keys"
    known = index.collection(into.name)
    ledger = into.ledger
    before = ledger.new - ledger.gone
    keys, after = _by_key(*outcome)
    start = 0
    for block in _blocks(index.locate(into.name, keys)):
        count = sum(len(each.keys) for each in block)
        _Block(into, block, keys.slice(start, count), after.slice(start, count)).settle(index)
        start += count
    ledger.rows += (known.rows if known is not None else 0) + ledger.new - ledger.gone - before


class _Block:
    """Some groups and the touched keys in them, compared at once; `after` is NULL for a key that is gone."""

    def __init__(self, into: Pass, groups: list[Located], keys: pa.Array, after: pa.Array) -> None:
        self._into = into
        self._groups = groups
        self._keys = keys
        self._after = after

    def settle(self, index: Index) -> None:
        """Compare, count, and write the groups that differ."""
        heads = [each.head for each in self._groups if each.head.rows]
        opened = index.group_each(self._into.name, heads)
        known = pa.concat_arrays([self._keys.slice(0, 0), *(group.keys for group in opened)])
        digests = pa.concat_arrays([self._after.slice(0, 0), *(group.digests for group in opened)])
        # Both sides ascend, so the keys found here are those found there, in order.
        is_touched = pc.is_in(known, value_set=self._keys)
        is_known = pc.is_in(self._keys, value_set=known.filter(is_touched))
        before = pc.replace_with_mask(pa.nulls(len(self._keys), _DIGEST), is_known, digests.filter(is_touched))
        is_different = self._count(is_known, before)
        is_new = pc.and_not(pc.is_valid(self._after), is_known).to_pylist()
        keys, after = slices(self._keys), self._after.to_pylist()
        groups = iter(opened)
        key = row = 0
        for each in self._groups:
            was = next(groups) if each.head.rows else None
            first, key = key, key + len(each.keys)
            start, row = row, row + each.head.rows
            changes = {keys[at]: after[at] for at in range(first, key) if is_different[at]}
            if not changes:
                continue
            if was is not None and _stays(each.head, changes, sum(is_new[first:key])):
                self._into.run.edit_group(self._into.name, was, changes)
            else:
                self._rebuild(was, is_touched[start:row], slice(first, key))

    def _count(self, is_known: pa.Array, before: pa.Array) -> list[bool]:
        """Tell the ledger, and which keys came, went or hold another digest than before."""
        stands = pc.is_valid(self._after)
        is_changed = pc.fill_null(pc.not_equal(self._after.cast(pa.binary()), before.cast(pa.binary())), False)
        is_new, is_gone = pc.and_not(stands, is_known), pc.and_not(is_known, stands)
        ledger = self._into.ledger
        ledger.new += pc.sum(is_new).as_py()
        ledger.changed += pc.sum(is_changed).as_py()
        ledger.gone += pc.sum(is_gone).as_py()
        comes, goes = pc.or_(is_new, is_changed), pc.or_(is_gone, is_changed)
        ledger.added.add(entries(self._keys.filter(comes), self._after.filter(comes)))
        ledger.removed.add(entries(self._keys.filter(goes), before.filter(goes)))
        differs = pc.or_(comes, goes)
        if self._into.watcher is not None:
            self._into.watcher.seen(*(each.filter(differs) for each in (self._keys, before, self._after)))
        return list(differs.to_pylist())

    def _rebuild(self, was: Group | None, is_touched: pa.Array, touched: slice) -> None:
        """Write a group whole: under another first key, as several if it has grown, or not at all."""
        run, name = self._into.run, self._into.name
        after = self._after[touched]
        stands = pc.is_valid(after)
        keys, digests = self._keys[touched].filter(stands), after.filter(stands)
        if was is not None:
            rest = pc.invert(is_touched)
            keys = pa.concat_arrays([was.keys.filter(rest), keys])
            digests = pa.concat_arrays([was.digests.filter(rest), digests])
            order = pc.sort_indices(keys)
            keys, digests = keys.take(order), digests.take(order)
            # A group lies under its first key: with another one it is another group, and the old one has to go.
            if not len(keys) or keys[0].as_py() != was.first_key:
                run.drop_group(name, was.first_key)
        step = group_rows(len(keys))
        for start in range(0, len(keys), step):
            run.put_group(name, Group(_UNSEALED, keys.slice(start, step), digests.slice(start, step)))


def _stays(head: GroupHead, changes: Changes, new: int) -> bool:
    """Whether a group remains one group under its first key."""
    rows = head.rows + new - sum(digest is None for digest in changes.values())
    is_first = min(changes) >= head.first_key and changes.get(head.first_key, b"") is not None
    return is_first and 0 < rows == group_rows(rows)


def _by_key(keys: pa.Array, digests: pa.Array, gone: pa.Array) -> tuple[pa.Array, pa.Array]:
    """All touched keys, ascending, each with its digest or NULL."""
    if not len(gone):
        return keys, digests
    together = pa.concat_arrays([keys, gone])
    order = pc.sort_indices(together)
    return together.take(order), pa.concat_arrays([digests, pa.nulls(len(gone), _DIGEST)]).take(order)


def _blocks(located: Iterator[Located]) -> Iterator[list[Located]]:
    """Groups in their order, so many at once as memory should hold."""
    block: list[Located] = []
    rows = 0
    for each in located:
        block.append(each)
        rows += each.head.rows
        if rows >= _BLOCK_ROWS:
            yield block
            block, rows = [], 0
    if block:
        yield block
