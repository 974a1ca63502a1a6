"""One view out of a base and the deltas on it: streaming, in key order, the latest change of a key wins.

Memory holds one batch of the base and of each delta; the capture's generation policy bounds their number. Many small
deltas become one before (`folded`), which memory holds whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.align import Keyed, aligned

__all__ = [
    "AT_COLUMN",
    "DELETE",
    "INSERT",
    "KEY_COLUMN",
    "OP_COLUMN",
    "ORDER_COLUMN",
    "SYSTEM_PREFIX",
    "TX_COLUMN",
    "UPDATE",
    "folded",
    "merged",
]

SYSTEM_PREFIX = "holdfast:"
OP_COLUMN = "holdfast:op"
KEY_COLUMN = "holdfast:key"
AT_COLUMN = "holdfast:at"
TX_COLUMN = "holdfast:tx"
ORDER_COLUMN = "holdfast:order"
INSERT, UPDATE, DELETE = 1, 2, 3


def merged(base: Iterator[Keyed], deltas: Sequence[Iterator[tuple[Keyed, pa.Array]]]) -> Iterator[Keyed]:
    """Yield the records that stand after all deltas, ascending by key. Deltas come oldest first.

    A delta is a stream of rows with their operations (int8); its rows carry every column, NULL where deleted.
    All batches share one schema.
    """
    if not deltas:
        yield from base
        return
    streams = [base, *(_with_op(delta) for delta in deltas)]
    for ranges in aligned(streams):
        present = [(rank, rows) for rank, rows in enumerate(ranges) if rows is not None]
        if len(present) == 1 and present[0][0] == 0:
            yield present[0][1]
        else:
            result = _overlaid(present)
            if len(result.keys):
                yield result


def folded(deltas: Sequence[Iterator[tuple[Keyed, pa.Array]]]) -> Iterator[tuple[Keyed, pa.Array]]:
    """Small deltas, oldest first, as one: of each key the last row, deletions among them. Memory holds all of it."""
    parts = [(rank, rows, ops) for rank, delta in enumerate(deltas) for rows, ops in delta if len(ops)]
    if not parts:
        return
    keys = pa.concat_arrays([rows.keys for _, rows, _ in parts])
    ranks = pa.concat_arrays([pa.repeat(pa.scalar(rank, pa.int32()), len(ops)) for rank, _, ops in parts])
    last = _last_of_each(keys, ranks)
    batch = pa.concat_batches([rows.batch for _, rows, _ in parts]).take(last)
    yield Keyed(keys.take(last), batch), pa.concat_arrays([ops for _, _, ops in parts]).take(last)


def _with_op(delta: Iterator[tuple[Keyed, pa.Array]]) -> Iterator[Keyed]:
    for rows, ops in delta:
        yield Keyed(rows.keys, rows.batch.append_column(OP_COLUMN, ops))


def _overlaid(present: Sequence[tuple[int, Keyed]]) -> Keyed:
    """The last row of each key, deletions left out: later streams win."""
    keys = pa.concat_arrays([rows.keys for _, rows in present])
    ranks = pa.concat_arrays([pa.repeat(pa.scalar(rank, pa.int32()), len(rows.keys)) for rank, rows in present])
    ops = pa.concat_arrays([_ops(rank, rows) for rank, rows in present])
    last = _last_of_each(keys, ranks)
    kept = last.filter(pc.not_equal(ops.take(last), DELETE))
    batches = [rows.batch if rank == 0 else rows.batch.drop_columns([OP_COLUMN]) for rank, rows in present]
    return Keyed(keys.take(kept), pa.concat_batches(batches).take(kept))


def _last_of_each(keys: pa.Array, ranks: pa.Array) -> pa.Array:
    """Where the row of highest rank of each key stands, ascending by key."""
    order = pc.sort_indices(
        pa.table({"key": keys, "rank": ranks}), sort_keys=[("key", "ascending"), ("rank", "ascending")]
    )
    ordered = keys.take(order)
    differs = pc.not_equal(ordered.slice(0, len(keys) - 1), ordered.slice(1))
    return order.filter(pa.concat_arrays([differs, pa.array([True])]))


def _ops(rank: int, rows: Keyed) -> pa.Array:
    if rank == 0:
        return pa.repeat(pa.scalar(INSERT, pa.int8()), len(rows.keys))
    return rows.batch.column(rows.batch.schema.get_field_index(OP_COLUMN))
