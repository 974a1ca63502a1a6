"""Runs written into one: which of them, and how they read as one.

Runs are merged by tiers: eight of about one size become one of the next. So a record that changed is written a few
times more, once a tier, while a reading asks a few dozen runs at most. What is merged stands on the older runs below it
as its parts did: patches stay patches, edits stay edits, and what is gone is still said to be gone.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import TypeVar

from holdfast.core.fingerprint import bucket_digest
from holdfast.errors import Damaged
from holdfast.state.buckets import content_of, net
from holdfast.state.disk import REBUILD_HINT
from holdfast.state.layers import EMPTY_BUCKET, Layers, assembled, joined
from holdfast.state.remembered import GroupHead
from holdfast.state.runfile import EDIT, GONE, PATCH, WHOLE, Run, RunFile, StoredBucket, StoredGroup

__all__ = ["due", "merge"]

_TIER = 8
_SMALLEST = 1 << 17
_YOUNG_PART_MAX = 0.3
_YOUNG_FREE = 1 << 20

_Place = TypeVar("_Place", bytes, int)
_Stored = TypeVar("_Stored")


def due(sizes: Sequence[int]) -> int:
    """How many of the youngest runs to write into one now (0: none), from the bytes of all, youngest first.

    All of them once the young ones weigh 30 % of the oldest; else the tiers that are full.
    """
    if len(sizes) < 2:
        return 0
    young = sizes[:-1]
    if sum(young) > max(_YOUNG_PART_MAX * sizes[-1], _YOUNG_FREE):
        return len(sizes)
    tiers: list[int] = []
    for size in young:
        # A small run under a large one belongs to the large one's tier: only the youngest can be merged.
        tiers.append(max(_tier(size), tiers[-1] if tiers else 0))
    count = merged = 0
    for runs in [len(list(same)) for _, same in groupby(tiers)]:
        # What the tiers below become is counted as a run of this one, so that it is not written twice.
        if runs + (merged > 0) >= _TIER:
            merged = count + runs
        elif merged:
            break
        count += runs
    return merged


def merge(runs: Sequence[Run], count: int, file: RunFile, live: Collection[str]) -> None:
    """Write so many of the youngest runs, given youngest first, into a file that reads as they do.

    *live* names the collections that exist: of others nothing is kept where no older run is below.
    """
    for name in dict.fromkeys(name for run in runs[:count] for name in run.names):
        is_lowest = count == len(runs)
        if is_lowest and name not in live:
            continue
        layers = Layers(name, runs[:count])
        is_bottom = is_lowest or layers.is_replaced
        if is_bottom:
            file.replace(name)
        fold = _Fold(Layers(name, runs), is_bottom=is_bottom)
        for first_key, stack in _stacked([run.stored_groups(name) for run in layers.runs]):
            group = fold.group(first_key, stack)
            if group is not None:
                file.put_group(name, first_key, group)
        stacks = _stacked([run.stored_buckets(name) for run in layers.runs])
        buckets = ((number, fold.bucket(number, stack)) for number, stack in stacks)
        file.put_buckets(name, (each for each in buckets if not is_bottom or each[1].digest != EMPTY_BUCKET))


class _Fold:
    """What several runs, youngest first, say of one group or bucket, as one word. If `is_bottom`, nothing older is."""

    def __init__(self, layers: Layers, *, is_bottom: bool) -> None:
        self._layers = layers
        self._is_bottom = is_bottom

    def group(self, first_key: bytes, stack: list[StoredGroup]) -> StoredGroup | None:
        """The group, or None where there is none and nothing has to say so."""
        what = f"the group at {first_key.hex()}"
        if any(
            each.kind not in (GONE, WHOLE, PATCH, EDIT) or (each.kind == GONE) == (each.rows != 0) for each in stack
        ):
            raise self._damaged(what)
        newest = stack[0]
        if newest.kind == GONE:
            return None if self._is_bottom else newest
        whole = next((at for at, each in enumerate(stack) if each.kind == WHOLE), None)
        changes = stack if whole is None else stack[:whole]
        if any(each.kind == GONE for each in changes) or (whole is None and self._is_bottom):
            raise self._damaged(what)
        if whole is not None:
            found = assembled(first_key, stack[: whole + 1])
        elif len({each.kind for each in changes}) == 1:
            found = joined(changes)
        else:
            # What one kind changes can't be told in the other's terms without the group below.
            return self._layers.group(GroupHead(first_key, newest.rows, newest.seal))
        if found is None:
            raise self._damaged(what)
        return found

    def bucket(self, number: int, stack: list[StoredBucket]) -> StoredBucket:
        """The bucket: whole if one of them is or nothing is below, else the edits as one."""
        digest = stack[0].digest
        whole = next((at for at, each in enumerate(stack) if each.is_whole), None)
        if whole is None and not self._is_bottom:
            return StoredBucket(False, digest, *net(stack))
        content = content_of(stack if whole is None else stack[: whole + 1])
        if bucket_digest(content) != digest:
            raise self._damaged(f"bucket {number}")
        return StoredBucket(True, digest, b"", content)

    def _damaged(self, what: str) -> Damaged:
        return Damaged(
            f"the index of {self._layers.name} is damaged: {what} is not what was written", hint=REBUILD_HINT
        )


def _stacked(streams: Sequence[Iterator[tuple[_Place, _Stored]]]) -> Iterator[tuple[_Place, list[_Stored]]]:
    """What streams in one order say of each place, the first stream's word first."""
    aged = [_aged(stream, age) for age, stream in enumerate(streams)]
    for place, said in groupby(heapq.merge(*aged), key=itemgetter(0)):
        yield place, [stored for _, _, stored in said]


def _aged(stream: Iterator[tuple[_Place, _Stored]], age: int) -> Iterator[tuple[_Place, int, _Stored]]:
    for place, stored in stream:
        yield place, age, stored


def _tier(size: int) -> int:
    tier = 0
    while size > _SMALLEST * _TIER**tier:
        tier += 1
    return tier
