"""Walk several key-ordered streams together, a bounded range of keys at a time.

Compare, merge and capture all ask the same question: which rows of each stream share a range of keys?
Streams come as pairs (keys, batch), strictly ascending by key within a stream; memory holds one batch of each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["Keyed", "aligned", "cut", "is_ascending"]


class Keyed(NamedTuple):
    """Rows with their canonical keys, as many keys as rows, ascending."""

    keys: pa.Array
    batch: pa.RecordBatch

    def slice(self, start: int, length: int | None = None) -> Keyed:
        return Keyed(self.keys.slice(start, length), self.batch.slice(start, length))

    def filter(self, mask: pa.Array) -> Keyed:
        return Keyed(self.keys.filter(mask), self.batch.filter(mask))


def aligned(streams: Sequence[Iterator[Keyed]]) -> Iterator[tuple[Keyed | None, ...]]:
    """Yield ranges of keys in ascending order: for each stream its rows in the range, or None where it has none.

    Ranges are disjoint and together cover every row of every stream. A stream's next batch is asked for only when all
    rows before it have been given out.
    """
    heads: list[Keyed | None] = [None] * len(streams)
    while True:
        heads = [head or _following(stream) for head, stream in zip(heads, streams, strict=True)]
        present = [head for head in heads if head is not None]
        if not present:
            return
        bound = min(head.keys[-1].as_py() for head in present)
        taken: list[Keyed | None] = []
        for number, head in enumerate(heads):
            end = cut(head.keys, bound, side="right") if head is not None else 0
            if head is None or end == 0:
                taken.append(None)
                continue
            taken.append(head.slice(0, end))
            heads[number] = head.slice(end) if end < len(head.keys) else None
        yield tuple(taken)


def cut(keys: pa.Array, bound: bytes, *, side: str = "left") -> int:
    """The index at which `bound` would be inserted into ascending keys, before (left) or after (right) its equal."""
    low, high = 0, len(keys)
    while low < high:
        middle = (low + high) // 2
        value = keys[middle].as_py()
        if value < bound or (side == "right" and value == bound):
            low = middle + 1
        else:
            high = middle
    return low


def is_ascending(keys: pa.Array, *, after: bytes | None = None) -> bool:
    """Whether keys rise strictly, and the first lies past `after`."""
    if len(keys) == 0:
        return True
    if after is not None and keys[0].as_py() <= after:
        return False
    return len(keys) == 1 or bool(pc.all(pc.less(keys.slice(0, len(keys) - 1), keys.slice(1))).as_py())


def _following(stream: Iterator[Keyed]) -> Keyed | None:
    """The next batch that has rows, or None at the end."""
    for keyed in stream:
        if len(keyed.keys):
            return keyed
    return None
