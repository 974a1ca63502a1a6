"""A heartbeat is one record that a plan writes, and the last one told is the one that counts."""

from __future__ import annotations

import pyarrow as pa

from holdfast.core.beat import BEAT_SCHEMA, Beat, beat_of, plan_beat


def test_a_plan_of_a_beat_writes_one_record_and_deletes_none() -> None:
    """The first is an insert; each later one an update that expects exactly the one before."""
    first, second = Beat(1, "a", "t"), Beat(2, "b", "u")
    inserts, updates = plan_beat("shop", "beats", None, first), plan_beat("shop", "beats", first, second)
    assert [(each.writes, each.deletes) for each in (inserts, updates)] == [(1, 0), (1, 0)]
    (insert,), (update,) = inserts.steps(), updates.steps()
    assert insert.expected.null_count == 1
    assert update.expected.equals(insert.wanted)
    assert updates.id != plan_beat("shop", "beats", Beat(1, "x", "t"), second).id


def test_the_last_beat_told_counts_even_if_it_is_lower() -> None:
    """A counter that falls is what must be seen; rows that are gone, and other records, are no beats."""
    rows = [(1, 7, "a", "t"), (1, 3, "b", "u"), (2, 99, "c", "v"), (1, None, None, None)]
    batch = pa.RecordBatch.from_pylist(
        [dict(zip(BEAT_SCHEMA.names, row, strict=True)) for row in rows], schema=BEAT_SCHEMA.arrow()
    )
    assert beat_of(batch) == 3
    assert beat_of(batch.slice(2)) is None
    assert beat_of(batch.select(["id", "counter"])) is None
