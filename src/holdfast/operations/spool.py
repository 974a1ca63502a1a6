"""Differences kept for a second reading: a plan is shown first and applied later, from the same differences.

They stay in memory up to 16 MiB and are sealed into scratch beyond that.
"""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from holdfast.core.compare import Difference
from holdfast.core.packed import packed, unpacked
from holdfast.operations.scratch import SealedScratch
from holdfast.state.scratch import Token

__all__ = ["DifferenceSpool"]

_MEMORY_BYTES = 16 << 20
_ROWS = 8192


class DifferenceSpool:
    """Differences of one collection, read back any number of times in the order they were added."""

    def __init__(self, scratch: SealedScratch, memory: int = _MEMORY_BYTES) -> None:
        self._scratch = scratch
        self._memory = memory
        self._held: list[Difference | Token] = []
        self._bytes = 0

    def add(self, difference: Difference) -> None:
        """Keep one more difference."""
        for start in range(0, len(difference.keys), _ROWS):
            part = _slice(difference, start)
            size = sum(side.nbytes for side in (part.wanted, part.actual) if side is not None)
            if self._bytes + size <= self._memory:
                self._bytes += size
                self._held.append(part)
            else:
                self._held.append(self._scratch.put(_packed(part)))

    def read(self) -> Iterator[Difference]:
        """Every difference, again."""
        for each in self._held:
            yield each if isinstance(each, Difference) else _unpacked(self._scratch.get(each))


def _slice(difference: Difference, start: int) -> Difference:
    def part(values: pa.Array | pa.RecordBatch | None) -> pa.Array | pa.RecordBatch | None:
        return None if values is None else values.slice(start, _ROWS)

    return Difference(
        difference.kind,
        difference.keys.slice(start, _ROWS),
        part(difference.wanted),
        part(difference.actual),
        part(difference.wanted_digests),
        part(difference.actual_digests),
    )


def _packed(difference: Difference) -> bytes:
    """The kind and the two sides, each an Arrow stream whose last columns are the keys and the digests."""
    sides = []
    for rows, digests in (
        (difference.wanted, difference.wanted_digests),
        (difference.actual, difference.actual_digests),
    ):
        if rows is None or digests is None:
            sides.append(b"")
            continue
        sides.append(packed(rows.append_column("", difference.keys).append_column("", digests)))
    head = difference.kind.encode().ljust(8)
    return head + len(sides[0]).to_bytes(8, "little") + sides[0] + sides[1]


def _unpacked(data: bytes) -> Difference:
    kind = data[:8].decode().strip()
    length = int.from_bytes(data[8:16], "little")
    wanted, wanted_digests, wanted_keys = _side(data[16 : 16 + length])
    actual, actual_digests, actual_keys = _side(data[16 + length :])
    keys = wanted_keys if wanted_keys is not None else actual_keys
    return Difference(kind, keys, wanted, actual, wanted_digests, actual_digests)  # type: ignore[arg-type]


def _side(data: bytes) -> tuple[pa.RecordBatch | None, pa.Array | None, pa.Array | None]:
    if not data:
        return None, None, None
    batch = unpacked(data)
    last = batch.num_columns - 1
    return batch.select(range(last - 1)), batch.column(last), batch.column(last - 1)
