"""Which groups hold some keys, told without reading every head of the index.

Each run is asked for the groups next to the keys; the newest run that speaks of a group tells whether it still exists.
The heads of small runs are held in memory, those of large ones are asked for in SQL. All heads of a run are read once
before the first answer from them is believed: only so are they known to be what was written.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import pyarrow as pa

from holdfast.core.align import cut
from holdfast.core.canonical import slices
from holdfast.state.layers import Layers
from holdfast.state.points import heads_at, heads_beyond, neighbours
from holdfast.state.remembered import GroupHead
from holdfast.state.runfile import Run

__all__ = ["Located", "Locator"]

_HELD_MAX = 4096
_HELD_IN_ALL_MAX = 1 << 17
_AT_ONCE = 64
_NO_GROUP = GroupHead(b"", 0, b"")


class Located(NamedTuple):
    """A group, where the next one begins (None: there is none), and those of the asked keys that fall into it."""

    head: GroupHead
    following: bytes | None
    keys: pa.Array


class Locator:
    """Finds groups by keys, and keeps what it learnt of the runs that stay."""

    def __init__(self) -> None:
        self._heads: dict[str, dict[str, _Heads]] = {}
        self._held = 0

    def keep(self, runs: Iterable[Run]) -> None:
        """Forget all other runs."""
        names = {run.path.name for run in runs}
        for gone in self._heads.keys() - names:
            self._held -= sum(heads.held for heads in self._heads.pop(gone).values())

    def locate(self, layers: Layers, keys: pa.Array) -> Iterator[Located]:
        """Each group that holds or would hold some of the ascending keys, with them, ascending.

        A group reaches from its first key to the next group's; the first also takes what lies before it. A collection
        without groups gives one of no rows.
        """
        heads = [self._of(run, layers.name) for run in layers.runs]
        first = None
        start = 0
        while start < len(keys):
            asked = slices(keys.slice(start, _AT_ONCE))
            found = _nearest(heads, asked, after=False)
            if None in found.values():
                first = first or _nearest(heads, [b""], after=True)[b""] or _NO_GROUP
            firsts = {head.first_key for head in (*found.values(), first) if head is not None}
            following = _nearest(heads, sorted(firsts), after=True)
            at = 0
            while at < len(asked):
                head = found[asked[at]] or first or _NO_GROUP
                bound = following[head.first_key]
                end = len(asked) if bound is None else bisect_left(asked, bound.first_key, at)
                rest = keys.slice(start + end) if end == len(asked) else None
                if rest is not None:
                    end += len(rest) if bound is None else cut(rest, bound.first_key)
                yield Located(head, bound and bound.first_key, keys.slice(start + at, end - at))
                at = end
            start += at

    def _of(self, run: Run, name: str) -> _Heads:
        known = self._heads.setdefault(run.path.name, {})
        if name not in known:
            known[name] = _Heads(run, name, min(_HELD_MAX, _HELD_IN_ALL_MAX - self._held))
            self._held += known[name].held
        return known[name]


class _Heads:
    """The heads of one collection in one run: held in memory if they are no more than *held_max*."""

    def __init__(self, run: Run, name: str, held_max: int) -> None:
        self._run = run
        self._name = name
        known: dict[bytes, GroupHead] = {}
        for each in run.heads(name):
            if len(known) <= held_max:
                known[each[0]] = GroupHead(*each)
        self._known = known if len(known) <= held_max else None
        self._order = list(self._known or ())
        self._standing = [key for key, head in (self._known or {}).items() if head.rows]
        self.held = len(self._order)

    def near(self, bounds: Sequence[bytes], *, after: bool) -> dict[bytes, bytes | None]:
        """For each bound the last group at or before it, or the first one after it, that this run has rows of."""
        if self._known is None:
            return neighbours(self._run, self._name, bounds, after=after)
        standing, count = self._standing, len(self._standing)
        places = ((bound, bisect_right(standing, bound)) for bound in bounds)
        if after:
            return {bound: standing[at] if at < count else None for bound, at in places}
        return {bound: standing[at - 1] if at else None for bound, at in places}

    def at(self, first_keys: Sequence[bytes]) -> dict[bytes, GroupHead]:
        """Those of the heads that this run speaks of; 0 rows: gone."""
        if self._known is None:
            return heads_at(self._run, self._name, first_keys)
        return {key: self._known[key] for key in first_keys if key in self._known}

    def beyond(self, first_key: bytes, *, after: bool) -> Iterator[GroupHead]:
        """All heads behind a group, or all before it, nearest first, the gone ones too."""
        if self._known is None:
            yield from heads_beyond(self._run, self._name, first_key, after=after)
        elif after:
            at = bisect_right(self._order, first_key)
            yield from (self._known[self._order[each]] for each in range(at, len(self._order)))
        else:
            at = bisect_left(self._order, first_key)
            yield from (self._known[self._order[each]] for each in range(at - 1, -1, -1))


def _nearest(runs: Sequence[_Heads], bounds: Sequence[bytes], *, after: bool) -> dict[bytes, GroupHead | None]:
    """For each bound the last group that exists at or before it, or the first one after it."""
    nearest: dict[bytes, bytes | None] = dict.fromkeys(bounds)
    pick = min if after else max
    for run in runs:
        for bound, found in run.near(bounds, after=after).items():
            held = nearest[bound]
            if found is not None:
                nearest[bound] = found if held is None else pick(held, found)
    candidates = sorted({found for found in nearest.values() if found is not None})
    heads: dict[bytes, GroupHead | None] = {}
    for run in runs:
        heads = {**run.at([each for each in candidates if each not in heads]), **heads}
    for first_key, head in heads.items():
        # Where many groups went together the way is long, so it is walked once, not asked for step by step.
        if head is not None and not head.rows:
            heads[first_key] = _walk(runs, first_key, after=after)
    return {bound: None if found is None else heads[found] for bound, found in nearest.items()}


def _walk(runs: Sequence[_Heads], first_key: bytes, *, after: bool) -> GroupHead | None:
    """The next group that exists behind one that is gone, or before it."""
    sign = 1 if after else -1
    streams = [_aged(run.beyond(first_key, after=after), sign * age) for age, run in enumerate(runs)]
    for _, said in groupby(heapq.merge(*streams, reverse=not after), key=itemgetter(0)):
        _, _, head = next(said)
        if head.rows:
            return head
    return None


def _aged(heads: Iterator[GroupHead], age: int) -> Iterator[tuple[bytes, int, GroupHead]]:
    for head in heads:
        yield head.first_key, age, head
