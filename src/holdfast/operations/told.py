"""Changes of one collection on their way into a commit: ordered by key, one a transaction, and the outcome of each key.

A window of changes may be larger than memory: pieces are sorted through sealed scratch. What one window wrote another
may take in, to write it once more together with what follows.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.align import Keyed
from holdfast.core.canonical import key_bytes, row_digests
from holdfast.core.feed import Told
from holdfast.core.packed import packed, unpacked
from holdfast.core.records import Schema
from holdfast.operations.scratch import SealedScratch
from holdfast.operations.streams import sorted_rows
from holdfast.state.scratch import Token
from holdfast.vault.bounds import lower_bound, upper_bound
from holdfast.vault.format import SegmentRef
from holdfast.vault.merge import AT_COLUMN, DELETE, KEY_COLUMN, OP_COLUMN, ORDER_COLUMN, TX_COLUMN
from holdfast.vault.segments import choose_encodings, seal_segment

__all__ = ["Also", "Outcome", "Window"]

_MEMORY_BYTES = 4 << 20
# A reader merges one segment of every commit at a time: small ones let it hold many in memory.
_SEGMENT_BYTES = 1 << 20
_SEGMENT_ROWS = 131_072
_PACKED = pa.ipc.IpcWriteOptions(compression="zstd")
Also = Callable[[pa.RecordBatch], None]


class Outcome(NamedTuple):
    """What a window leaves: keys, ascending, each with its record's digest, or none where the record is gone."""

    keys: pa.Array
    digests: pa.Array
    gone: pa.Array


class Window:
    """The changes of one collection over some time, in the source's order. *memory* is how many bytes it holds."""

    def __init__(self, schema: Schema, scratch: SealedScratch, memory: int = _MEMORY_BYTES) -> None:
        self._schema = schema
        self._scratch = scratch
        self._memory = memory
        self._spilled: list[Token] = []
        self._held: list[pa.RecordBatch] = []
        self._bytes = 0

    def add(self, told: Told) -> None:
        """Take a piece of what a source tells; pieces come in the source's order."""
        keys = key_bytes(told.rows, self._schema)
        batch = told.rows
        for name, values in (
            (OP_COLUMN, told.ops),
            (KEY_COLUMN, keys),
            (AT_COLUMN, told.at),
            (TX_COLUMN, told.tx),
            (ORDER_COLUMN, told.order),
        ):
            batch = batch.append_column(name, values)
        self._hold(batch)

    def take(self, written: pa.RecordBatch, shift: int) -> None:
        """Take in what an earlier window wrote, its transactions numbered *shift* higher."""
        at = written.schema.get_field_index(ORDER_COLUMN)
        order = pc.add(written.column(at), pa.scalar(shift, pa.int64()))
        self._hold(written.set_column(at, ORDER_COLUMN, order))

    def write(self, recipient: str, send: Callable[[bytes], str], also: Also) -> tuple[tuple[SegmentRef, ...], Outcome]:
        """Seal the changes into segments, send them, and tell what they leave. The window is empty afterwards.

        Each batch that was sealed goes to *also*.
        """
        refs: list[SegmentRef] = []
        last: list[pa.RecordBatch] = []
        for batch in _packed(_distinct(self._ordered())):
            refs.append(self._sealed(batch, recipient, send))
            last.append(batch.select([KEY_COLUMN, OP_COLUMN]).append_column("digest", self._digests(batch)))
            also(batch)
        return tuple(refs), _outcome(last)

    def rewrite(self, recipient: str, send: Callable[[bytes], str], also: Also) -> tuple[SegmentRef, ...]:
        """The same for what was taken in: what it leaves was told when it was first written."""
        refs: list[SegmentRef] = []
        for batch in _packed(self._ordered()):
            refs.append(self._sealed(batch, recipient, send))
            also(batch)
        return tuple(refs)

    def _hold(self, batch: pa.RecordBatch) -> None:
        self._held.append(batch)
        self._bytes += batch.nbytes
        if self._bytes > self._memory:
            self._spilled.append(self._scratch.put(packed(pa.concat_batches(self._held), _PACKED)))
            self._held, self._bytes = [], 0

    def _ordered(self) -> Iterator[pa.RecordBatch]:
        """All changes by key, and under one key as they came."""
        for rows in sorted_rows(self._numbered(), self._scratch):
            yield rows.batch

    def _numbered(self) -> Iterator[Keyed]:
        # No key is the beginning of another, so a number behind it orders changes of one key and nothing else.
        start = 0
        for batch in self._emptied():
            numbers = struct.pack(f">{batch.num_rows}Q", *range(start, start + batch.num_rows))
            arrival = pa.Array.from_buffers(pa.binary(8), batch.num_rows, [None, pa.py_buffer(numbers)])
            start += batch.num_rows
            yield Keyed(pc.binary_join_element_wise(batch.column(KEY_COLUMN), arrival.cast(pa.binary()), b""), batch)

    def _emptied(self) -> Iterator[pa.RecordBatch]:
        while self._spilled:
            yield unpacked(self._scratch.get(self._spilled.pop(0)))
        while self._held:
            yield self._held.pop(0)
        self._bytes = 0

    def _sealed(self, batch: pa.RecordBatch, recipient: str, send: Callable[[bytes], str]) -> SegmentRef:
        table = pa.Table.from_batches([self._blank(batch)])
        data = seal_segment(table, recipient, choose_encodings(table), full_check=True)
        keys = batch.column(KEY_COLUMN)
        bounds = lower_bound(keys[0].as_py()), upper_bound(keys[-1].as_py())
        return SegmentRef(send(data), len(data), table.num_rows, *bounds, "changes")

    def _blank(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with all source columns NULL in rows of deletions, under the schema's own metadata."""
        is_gone = pc.equal(batch.column(OP_COLUMN), pa.scalar(DELETE, pa.int8()))
        fields, columns = [], []
        for field in self._schema.arrow():
            fields.append(field)
            columns.append(pc.if_else(is_gone, pa.scalar(None, field.type), batch.column(field.name)))
        for name in (OP_COLUMN, KEY_COLUMN, AT_COLUMN, TX_COLUMN, ORDER_COLUMN):
            fields.append(pa.field(name, batch.column(name).type))
            columns.append(batch.column(name))
        return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))

    def _digests(self, batch: pa.RecordBatch) -> pa.Array:
        return row_digests(batch.select(list(self._schema.names)), self._schema)


def _distinct(ordered: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """One change of a key in each transaction: the last."""
    held: pa.RecordBatch | None = None
    for each in ordered:
        batch = each if held is None else pa.concat_batches([held, each])
        count = batch.num_rows
        keys, order = batch.column(KEY_COLUMN), batch.column(ORDER_COLUMN)
        differs = pc.or_(
            pc.not_equal(keys.slice(0, count - 1), keys.slice(1)),
            pc.not_equal(order.slice(0, count - 1), order.slice(1)),
        )
        done = batch.slice(0, count - 1).filter(differs)
        if done.num_rows:
            yield done
        held = batch.slice(count - 1)
    if held is not None:
        yield held


def _packed(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same rows in batches of a segment's size."""
    held: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        each = max(1, batch.nbytes // max(batch.num_rows, 1))
        start = 0
        while start < batch.num_rows:
            room = min(_SEGMENT_ROWS - rows, max(1, (_SEGMENT_BYTES - size) // each))
            piece = batch.slice(start, room)
            held.append(piece)
            rows += piece.num_rows
            size += piece.num_rows * each
            start += piece.num_rows
            if rows >= _SEGMENT_ROWS or size >= _SEGMENT_BYTES:
                yield pa.concat_batches(held)
                held, rows, size = [], 0, 0
    if held:
        yield pa.concat_batches(held)


def _outcome(batches: list[pa.RecordBatch]) -> Outcome:
    """The last row of each key: its digest, or that it is gone."""
    together = pa.concat_batches(batches)
    keys, count = together.column(KEY_COLUMN), together.num_rows
    is_last = pa.concat_arrays([pc.not_equal(keys.slice(0, count - 1), keys.slice(1)), pa.array([True])])
    last = together.filter(is_last)
    is_gone = pc.equal(last.column(OP_COLUMN), pa.scalar(DELETE, pa.int8()))
    stands = last.filter(pc.invert(is_gone))
    return Outcome(stands.column(KEY_COLUMN), stands.column("digest"), last.column(KEY_COLUMN).filter(is_gone))
