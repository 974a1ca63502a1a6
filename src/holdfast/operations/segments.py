"""Rows on their way into segments: gathered to the format's size, sealed in a thread beside, sent to every site."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Literal, Self

import pyarrow as pa

from holdfast.core.records import Schema
from holdfast.operations.changes import Changed
from holdfast.vault.bounds import lower_bound, upper_bound
from holdfast.vault.format import SegmentRef
from holdfast.vault.merge import KEY_COLUMN, OP_COLUMN
from holdfast.vault.segments import Encodings, choose_encodings, seal_segment

__all__ = ["SegmentWriter"]

_ROWS_MAX = 131_072
_BASE_BYTES = 16 << 20
# A reader merges one segment of every delta at a time: small ones let it hold many in memory.
_DELTA_BYTES = 1 << 20
_WAITING = 1


def give_back() -> None:
    """Return freed memory to the system: allocators keep it per thread, and many threads pass large batches on."""
    pa.default_memory_pool().release_unused()
    # On glibc this trims malloc's own arenas, where drivers and Python keep their bytes.
    pa.system_memory_pool().release_unused()


class SegmentWriter:
    """The segments that one commit adds to one collection. Rows come in key order; call `finish` for the last ones."""

    def __init__(
        self, schema: Schema, kind: Literal["base", "delta"], seal_to: str, send: Callable[[bytes], str]
    ) -> None:
        self._schema = schema
        self._kind = kind
        self._recipient = seal_to
        self._send = send
        self._bytes_max = _BASE_BYTES if kind == "base" else _DELTA_BYTES
        self._held: list[Changed] = []
        self._rows = 0
        self._bytes = 0
        self._encodings: Encodings | None = None
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="holdfast-seal")
        self._waiting: deque[tuple[pa.Array, int, Future[bytes]]] = deque()
        self._refs: list[SegmentRef] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def add(self, changed: Changed) -> None:
        """Take rows; whole segments are sealed and sent meanwhile."""
        start, total = 0, len(changed.ops)
        each = max(1, changed.rows.batch.nbytes // max(total, 1))
        while start < total:
            room = min(_ROWS_MAX - self._rows, max(1, (self._bytes_max - self._bytes) // each))
            taken = min(room, total - start)
            self._held.append(Changed(changed.rows.slice(start, taken), changed.ops.slice(start, taken)))
            self._rows += taken
            self._bytes += taken * each
            start += taken
            if self._rows >= _ROWS_MAX or self._bytes >= self._bytes_max:
                self._flush()

    def finish(self) -> tuple[SegmentRef, ...]:
        """Send what is left and return every segment, in key order."""
        if self._held:
            self._flush()
        self._drain(0)
        return tuple(self._refs)

    def _flush(self) -> None:
        keys = pa.concat_arrays([each.rows.keys for each in self._held])
        batch = pa.concat_batches([each.rows.batch for each in self._held])
        table = pa.Table.from_batches([batch], schema=self._schema.arrow())
        if self._kind == "delta":
            ops = pa.concat_arrays([each.ops for each in self._held])
            table = table.append_column(OP_COLUMN, ops)
        if self._kind == "delta" or not self._schema.key:
            table = table.append_column(KEY_COLUMN, keys)
        self._held, self._rows, self._bytes = [], 0, 0
        is_first = self._encodings is None
        encodings = self._encodings = self._encodings or choose_encodings(table)
        future = self._pool.submit(seal_segment, table, self._recipient, encodings, full_check=is_first)
        self._waiting.append((keys, table.num_rows, future))
        self._drain(_WAITING)
        give_back()

    def _drain(self, waiting_max: int) -> None:
        while len(self._waiting) > waiting_max:
            keys, rows, future = self._waiting.popleft()
            data = future.result()
            bounds = lower_bound(keys[0].as_py()), upper_bound(keys[-1].as_py())
            self._refs.append(SegmentRef(self._send(data), len(data), rows, *bounds, self._kind))
