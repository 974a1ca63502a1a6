"""Records as bytes in Arrow's own form, one batch a piece, and back: to be kept in scratch or a file."""

from __future__ import annotations

import pyarrow as pa

from holdfast.core.align import Keyed

__all__ = ["packed", "packed_rows", "unpacked", "unpacked_rows"]


def packed(batch: pa.RecordBatch, options: pa.ipc.IpcWriteOptions | None = None) -> bytes:
    """A batch as a stream of its own; *options* say how it is compressed."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue().to_pybytes())


def unpacked(data: bytes | memoryview) -> pa.RecordBatch:
    """The batch that `packed` wrote."""
    with pa.ipc.open_stream(pa.py_buffer(data)) as reader:
        return reader.read_next_batch()


def packed_rows(rows: Keyed) -> bytes:
    """Rows as such a stream, their keys behind the other columns."""
    return packed(rows.batch.append_column("", rows.keys))


def unpacked_rows(data: bytes | memoryview) -> Keyed:
    """The rows that `packed_rows` wrote."""
    batch = unpacked(data)
    last = batch.num_columns - 1
    return Keyed(batch.column(last), batch.select(range(last)))
