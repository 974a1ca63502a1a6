"""Batches of records kept for reading again while an operation runs, sealed in scratch beyond a little memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import pyarrow as pa

from holdfast.core.packed import packed, unpacked
from holdfast.operations.scratch import SealedScratch
from holdfast.state.scratch import Token

__all__ = ["BatchSpool", "Kept"]


class Kept(NamedTuple):
    """Batches that belong together, each None where there is none, and what they are."""

    label: str
    batches: tuple[pa.RecordBatch | None, ...]


class BatchSpool:
    """Batches of any form, read back any number of times as they were added."""

    def __init__(self, scratch: SealedScratch, memory: int = 1 << 20) -> None:
        self._scratch = scratch
        self._memory = memory
        self._held: list[Kept | Token] = []

    def add(self, label: str, batches: Sequence[pa.RecordBatch | None]) -> None:
        """Keep some more."""
        kept = Kept(label, tuple(batches))
        size = sum(each.nbytes for each in kept.batches if each is not None)
        if size <= self._memory:
            self._memory -= size
            self._held.append(kept)
        else:
            self._held.append(self._scratch.put(_packed(kept)))

    def read(self) -> Iterator[Kept]:
        """All of them, again."""
        for each in list(self._held):
            yield each if isinstance(each, Kept) else _unpacked(self._scratch.get(each))


def _packed(kept: Kept) -> bytes:
    """The label and each batch as an Arrow stream, each behind its length; 0 is none."""
    parts = [kept.label.encode(), *(b"" if each is None else packed(each) for each in kept.batches)]
    return b"".join(len(each).to_bytes(8, "little") + each for each in parts)


def _unpacked(data: bytes) -> Kept:
    parts, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 8], "little")
        parts.append(memoryview(data)[at + 8 : at + 8 + size])
        at += 8 + size
    return Kept(bytes(parts[0]).decode(), tuple(unpacked(each) if each else None for each in parts[1:]))
