"""The heartbeat: one record in the source that counts up, and has to come through the copy.

It is written by a plan like any other, into the collection that the configuration names. A counter that stops shows
that the copy does; one that falls shows that the source went back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from holdfast.core.canonical import key_bytes, row_digests
from holdfast.core.compare import Difference
from holdfast.core.plan import CollectionDifferences, Plan, make_plan
from holdfast.core.records import Collection, Column, Schema

__all__ = ["BEAT_SCHEMA", "Beat", "beat_of", "last_beat", "plan_beat"]

BEAT_SCHEMA = Schema(
    (Column("id", "int"), Column("counter", "int"), Column("nonce", "text"), Column("at", "text")), key=("id",)
)
_ID = 1


@dataclass(frozen=True, slots=True)
class Beat:
    """One beat: its number, a word that nobody can guess, and when it was written, by the clock of who wrote it."""

    counter: int
    nonce: str
    at: str


def plan_beat(target: str, collection: str, before: Beat | None, after: Beat) -> Plan:
    """The plan that writes a beat in place of the one before it: one insert or one update."""
    wanted = _rows(after)
    keys, digests = key_bytes(wanted, BEAT_SCHEMA), row_digests(wanted, BEAT_SCHEMA)
    difference = Difference("missing", keys, wanted, None, digests, None)
    if before is not None:
        actual = _rows(before)
        difference = Difference("changed", keys, wanted, actual, digests, row_digests(actual, BEAT_SCHEMA))

    def read() -> Iterator[Difference]:
        return iter((difference,))

    return make_plan(target, [CollectionDifferences(Collection(collection, BEAT_SCHEMA), read)], deletes=False)


def last_beat(batch: pa.RecordBatch) -> Beat | None:
    """The last beat among the rows of a collection of heartbeats; rows that are gone hold NULLs and are none."""
    if not {*BEAT_SCHEMA.names} <= {*batch.schema.names}:
        return None
    rows = batch.select(list(BEAT_SCHEMA.names)).to_pylist()
    found = [row for row in rows if row["id"] == _ID and isinstance(row["counter"], int)]
    return Beat(found[-1]["counter"], str(found[-1]["nonce"]), str(found[-1]["at"])) if found else None


def beat_of(batch: pa.RecordBatch) -> int | None:
    """The counter of the last beat among these rows, or None."""
    found = last_beat(batch)
    return None if found is None else found.counter


def _rows(beat: Beat) -> pa.RecordBatch:
    row = {"id": _ID, "counter": beat.counter, "nonce": beat.nonce, "at": beat.at}
    return pa.RecordBatch.from_pylist([row], schema=BEAT_SCHEMA.arrow())
