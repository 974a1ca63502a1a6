"""Records kept for reading again, in key order, while an operation runs: sealed in scratch beyond a little memory."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from holdfast.core.align import Keyed
from holdfast.core.packed import packed_rows, unpacked_rows
from holdfast.operations.scratch import SealedScratch
from holdfast.state.scratch import Token

__all__ = ["KeptRecords"]

_MEMORY_BYTES = 1 << 20
_PIECE_BYTES = 4 << 20
_PIECE_ROWS = 16_384


class KeptRecords:
    """Records of one collection with their keys, read back any number of times as they were added. Call `done` after
    the last.
    """

    def __init__(self, scratch: SealedScratch) -> None:
        self._scratch = scratch
        self._held: list[Keyed | Token] = []
        self._bytes = 0
        self._waiting: list[Keyed] = []
        self._waiting_rows = 0
        self._waiting_bytes = 0
        self.rows = 0

    def add(self, rows: Keyed) -> None:
        """Keep some more, whose keys lie past all before."""
        self._waiting.append(rows)
        self._waiting_rows += len(rows.keys)
        self._waiting_bytes += rows.batch.nbytes
        self.rows += len(rows.keys)
        if self._waiting_rows >= _PIECE_ROWS or self._waiting_bytes >= _PIECE_BYTES:
            self._flush()

    def done(self) -> None:
        """Keep what still waits to become a piece."""
        if self._waiting:
            self._flush()

    def read(self) -> Iterator[Keyed]:
        """All of them, again."""
        for each in self._held:
            yield each if isinstance(each, Keyed) else unpacked_rows(self._scratch.get(each))

    def keys(self) -> Iterator[pa.Array]:
        """Their keys alone."""
        return (each.keys for each in self.read())

    def _flush(self) -> None:
        keys = pa.concat_arrays([each.keys for each in self._waiting])
        piece = Keyed(keys, pa.concat_batches([each.batch for each in self._waiting]))
        self._waiting, self._waiting_rows, self._waiting_bytes = [], 0, 0
        size = piece.batch.nbytes + piece.keys.nbytes
        if self._bytes + size <= _MEMORY_BYTES:
            self._bytes += size
            self._held.append(piece)
        else:
            self._held.append(self._scratch.put(packed_rows(piece)))
