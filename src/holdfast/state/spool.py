"""Row digests on their way to buckets: any number of them in bounded memory.

Digests are not plaintext, so what does not fit in memory goes to a file as it is.
"""

from __future__ import annotations

import os
import sys
from array import array
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Self

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.fingerprint import BUCKETS, ENTRY
from holdfast.state.disk import translated

__all__ = ["DigestSpool"]

_MEMORY_MAX = 8 << 20
_PART = 4 << 20


class DigestSpool:
    """Entries in any order in, entries by bucket out. Close it, or use it as a block.

    *folder* takes what is beyond *memory_max* bytes; nothing is written there before.
    """

    def __init__(self, folder: Path, *, memory_max: int = _MEMORY_MAX) -> None:
        self._folder = folder
        self._memory_max = memory_max
        self._waiting: list[pa.Array] = []
        self._waiting_bytes = 0
        self._file: IO[bytes] | None = None
        self._runs: list[array[int]] = []
        self.rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give memory and file back."""
        self._waiting.clear()
        if self._file is not None:
            with translated(self._folder):
                self._file.close()

    def add(self, entries: pa.Array) -> None:
        """Take entries as `core.fingerprint.entries` makes them."""
        self.rows += len(entries)
        self._waiting.append(entries)
        self._waiting_bytes += len(entries) * ENTRY
        if self._waiting_bytes > self._memory_max:
            self._spill()

    def partitions(self) -> Iterator[pa.Array]:
        """Every entry once; each array holds whole buckets, and buckets ascend from array to array.

        May be asked for again, and more may be added between. Arrays are about 4 MB unless one bucket is larger.
        """
        tail, starts = _grouped(self._waiting)
        count = _part_count(self.rows * ENTRY)
        bounds = [BUCKETS * part // count for part in range(count + 1)]
        for first, end in pairwise(bounds):
            pieces = [self._read(offsets[first], offsets[end]) for offsets in self._runs]
            packed = b"".join([*pieces, tail[starts[first] : starts[end]]])
            if packed:
                yield _array(packed)

    def _spill(self) -> None:
        packed, starts = _grouped(self._waiting)
        self._waiting, self._waiting_bytes = [], 0
        with translated(self._folder):
            if self._file is None:
                # Without a name, so that nothing remains however the process ends.
                self._file = TemporaryFile(dir=self._folder)  # noqa: SIM115
            start = self._file.seek(0, os.SEEK_END)
            self._file.write(packed)
            self._file.flush()
        self._runs.append(array("Q", [start + each for each in starts]))

    def _read(self, start: int, end: int) -> bytes:
        assert self._file is not None
        with translated(self._folder):
            self._file.seek(start)
            return self._file.read(end - start)


def _grouped(arrays: Sequence[pa.Array]) -> tuple[memoryview, array[int]]:
    """All entries with their buckets ascending, packed; and where each bucket begins and the last one ends."""
    starts = array("Q", [0]) * (BUCKETS + 1)
    if not any(map(len, arrays)):
        return memoryview(b""), starts
    together = pa.concat_arrays(arrays)
    numbers = array("H", memoryview(pc.binary_slice(together, 0, 2).buffers()[1])[: 2 * len(together)].tobytes())
    if sys.byteorder == "little":
        numbers.byteswap()
    heads = pa.Array.from_buffers(pa.uint16(), len(together), [None, pa.py_buffer(numbers)])
    # Arrow sorts 16-bit numbers by counting: ten times as fast as sorting the entries whole.
    ordered = pc.take(together, pc.sort_indices(heads))
    for bucket, rows in zip(*(each.to_pylist() for each in pc.value_counts(heads).flatten()), strict=True):
        starts[bucket + 1] = rows * ENTRY
    return memoryview(ordered.buffers()[1])[: len(ordered) * ENTRY], array("Q", accumulate(starts))


def _part_count(size: int) -> int:
    """How many partitions keep each near `_PART`: a power of two, at most one a bucket."""
    return min(BUCKETS, 1 << max(0, (size - 1) // _PART).bit_length())


def _array(packed: bytes) -> pa.Array:
    return pa.Array.from_buffers(pa.binary(ENTRY), len(packed) // ENTRY, [None, pa.py_buffer(packed)])
