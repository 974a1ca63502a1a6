"""The accounts kept of a table without a key while a plan is carried out: what was there, what went, what came.

They lie in a temporary table of the target with `digest`, `occurrence`, `is_gone` and `is_new`, and may outgrow memory.
Which of several equal rows has which occurrence number makes no difference to the result.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.canonical import slices

__all__ = ["split", "surplus"]


def split(keys: pa.Array) -> pa.RecordBatch:
    """Keys of a multiset as `digest` and `occurrence`."""
    numbers = pa.array([int.from_bytes(key[32:], "big") for key in slices(keys)], pa.int64())
    return pa.RecordBatch.from_arrays([pc.binary_slice(keys, 0, 32), numbers], names=["digest", "occurrence"])


def surplus(count: Callable[[str], int], accounts: str) -> str | None:
    """In words why the table is not what the plan wants, though each step was done; None if it is.

    `count` asks the target for one number; `accounts` is the temporary table's name in SQL.
    """
    more = count(
        f"SELECT count(*) FROM {accounts} AS x JOIN {accounts} AS y ON y.digest = x.digest "
        "AND y.occurrence > x.occurrence WHERE x.is_gone AND NOT y.is_gone"
    )
    fewer = count(
        f"SELECT count(*) FROM {accounts} AS x WHERE x.is_new AND x.occurrence > 0 AND NOT EXISTS "
        f"(SELECT 1 FROM {accounts} AS y WHERE y.digest = x.digest AND y.occurrence = x.occurrence - 1 "
        "AND NOT y.is_gone)"
    )
    if not more and not fewer:
        return None
    return f"{more or fewer} of its equal records are {'more' if more else 'fewer'} than when the plan was made"
