"""Changes are deltas that tell when: a key may recur in them, once a transaction, in the order of the source's commits.

`latest` makes a plain delta of them, as of their end or of any instant before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.align import Keyed

__all__ = ["Changes", "Until", "latest"]


class Changes(NamedTuple):
    """Rows of a delta with their operations; `at` and `order` tell of each row when its transaction committed."""

    rows: Keyed
    ops: pa.Array
    at: pa.Array
    order: pa.Array


@dataclass(frozen=True, slots=True)
class Until:
    """An instant within one commit: its transactions up to a time of the source, or those before the *n*-th."""

    at: datetime | None = None
    before: int | None = None

    def holds(self, changes: Changes) -> pa.Array:
        """Which of the rows lie before the instant."""
        if self.before is not None:
            return pc.less(changes.order, pa.scalar(self.before, pa.int64()))
        return pc.less_equal(changes.at, pa.scalar(self.at, changes.at.type))


def latest(changes: Iterator[Changes], until: Until | None = None) -> Iterator[tuple[Keyed, pa.Array]]:
    """The last change of each key, as a delta: of all, or of those before an instant.

    Changes ascend by key, and under one key by order; a key may go on in the next batch.
    """
    held: tuple[Keyed, pa.Array] | None = None
    for each in changes:
        rows, ops = each.rows, each.ops
        if until is not None:
            mask = until.holds(each)
            rows, ops = Keyed(rows.keys.filter(mask), rows.batch.filter(mask)), ops.filter(mask)
        if held is not None:
            if len(rows.keys) == 0:
                continue
            rows = Keyed(pa.concat_arrays([held[0].keys, rows.keys]), pa.concat_batches([held[0].batch, rows.batch]))
            ops = pa.concat_arrays([held[1], ops])
        count = len(rows.keys)
        if count == 0:
            continue
        # Whether the last row is its key's last, the next batch tells.
        is_last = pc.not_equal(rows.keys.slice(0, count - 1), rows.keys.slice(1))
        done = Keyed(rows.keys.slice(0, count - 1).filter(is_last), rows.batch.slice(0, count - 1).filter(is_last))
        if len(done.keys):
            yield done, ops.slice(0, count - 1).filter(is_last)
        held = rows.slice(count - 1), ops.slice(count - 1)
    if held is not None:
        yield held
