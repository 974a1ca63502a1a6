"""What can still be read of a damaged system, and in which order pages of it make sense.

* A record is *whole* if it was read from a part that shows no damage; *doubtful* if damage shows beside it.
* Nothing that is read is decided on here: what differs from the copy, or is missing, is held against it by
  `operations/salvage`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from holdfast.core.ports import View
from holdfast.core.records import Schema

__all__ = ["Span", "Torn", "Wreck", "Wreckage", "rising"]


@dataclass(frozen=True, slots=True)
class Torn:
    """A damaged part of a collection, in words: where it lies and what is wrong there."""

    where: str
    what: str


@dataclass(frozen=True, slots=True)
class Span:
    """The first and the last number in a page of records."""

    first: int
    last: int


class Wreckage(View, Protocol):
    """What is left of one collection: `batches` gives each record that can be read once, in any order."""

    @property
    def torn(self) -> Sequence[Torn]:
        """Its damaged parts; none: every record is read, as it is in any database."""

    @property
    def doubtful(self) -> frozenset[bytes]:
        """Canonical keys of records that were read from damaged parts; of a collection without a key row digests."""

    def may_be_lost(self, rows: pa.RecordBatch, schema: Schema) -> list[bool]:
        """For each of these records, none of which could be read, whether it may have been there when the damage came.

        False: it is certain that it was deleted before.
        """


class Wreck(Protocol):
    """A damaged system, opened for reading what is left."""

    @property
    def definitions(self) -> Sequence[View]:
        """Its definitions as collections of their own, as a restore needs them."""

    @property
    def names(self) -> Sequence[str]:
        """Its collections that hold records."""

    @property
    def remarks(self) -> Sequence[str]:
        """What is damaged beside records, in words."""

    def wreckage(self, name: str, key: tuple[str, ...] | None = None) -> Wreckage:
        """What is left of a collection; with the key that the copy has for it, if there is a copy."""


def rising(spans: Sequence[Span | None]) -> list[bool]:
    """Which of these spans belong to the longest run of them that rises, each wholly above those before it.

    A page that lies where another belongs, or a number that damage made up, breaks the order of its neighbours.

    >>> rising([Span(1, 3), Span(70, 80), None, Span(4, 9), Span(10, 10)])
    [True, False, False, True, True]
    """
    ends: list[int] = []  # the least end of a run of each length
    chosen: list[int] = []  # the span at that end
    before: list[int | None] = [None] * len(spans)
    for number, span in enumerate(spans):
        if span is None or span.first > span.last:
            continue
        length = bisect_left(ends, span.first)
        before[number] = chosen[length - 1] if length else None
        if length == len(ends):
            ends.append(span.last)
            chosen.append(number)
        elif span.last < ends[length]:
            ends[length], chosen[length] = span.last, number
    found = [False] * len(spans)
    for number in _back(chosen, before):
        found[number] = True
    return found


def _back(chosen: Sequence[int], before: Sequence[int | None]) -> Iterator[int]:
    at = chosen[-1] if chosen else None
    while at is not None:
        yield at
        at = before[at]
