"""One view out of a base and the deltas on it: streaming, in key order, the latest change of a key wins.

Memory holds one batch of the base and of each delta; the capture's generation policy bounds their number.
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


def _with_op(delta: Iterator[tuple[Keyed, pa.Array]]) -> Iterator[Keyed]:
    for rows, ops in delta:
        yield Keyed(rows.keys, rows.batch.append_column(OP_COLUMN, ops))


def _overlaid(present: Sequence[tuple[int, Keyed]]) -> Keyed:
    """The last row of each key, deletions left out: later streams win."""
    keys = pa.concat_arrays([rows.keys for _, rows in present])
    ranks = pa.concat_arrays([pa.repeat(pa.scalar(rank, pa.int32()), len(rows.keys)) for rank, rows in present])
    ops = pa.concat_arrays([_ops(rank, rows) for rank, rows in present])
    order = pc.sort_indices(
        pa.table({"key": keys, "rank": ranks}), sort_keys=[("key", "ascending"), ("rank", "ascending")]
    )
    sorted_keys = keys.take(order)
    last = pc.or_kleene(pc.not_equal(sorted_keys.slice(0, len(keys) - 1), sorted_keys.slice(1)), False)
    wins = pa.concat_arrays([last, pa.array([True])])
    kept = order.filter(pc.and_(wins, pc.not_equal(ops.take(order), DELETE)))
    batches = [rows.batch if rank == 0 else rows.batch.drop_columns([OP_COLUMN]) for rank, rows in present]
    return Keyed(keys.take(kept), pa.concat_batches(batches).take(kept))


def _ops(rank: int, rows: Keyed) -> pa.Array:
    if rank == 0:
        return pa.repeat(pa.scalar(INSERT, pa.int8()), len(rows.keys))
    return rows.batch.column(rows.batch.schema.get_field_index(OP_COLUMN))
