"""Beat: write the next heartbeat into a source, by a plan and through the gate as whatever else is written there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from holdfast.core.beat import BEAT_SCHEMA, Beat, last_beat, plan_beat
from holdfast.core.feed import Obstacle
from holdfast.core.policy import PlanSummary, Policy, Ruling, decide
from holdfast.core.ports import Reader
from holdfast.errors import Refused, TargetChanged, Usage
from holdfast.operations.target import Target

__all__ = ["beat", "obstacles"]


def beat(target: Target, collection: str, last: Beat | None, at: datetime, nonce: str) -> Beat:
    """Write the beat after *last*, or after the one that the source holds if that is another; returns the new one.

    The configuration that names the collection allows this one record to be written, and no other. Raises Usage (there
    is no such collection, or it is not made for this), Refused (a right is missing) or Unreachable (safe to repeat).
    """
    if last is not None:
        try:
            return _write(target, collection, last, at, nonce)
        except TargetChanged:
            pass  # by another who beats here, or the source went back: it counts from what it holds
    return _write(target, collection, _held(target, collection), at, nonce)


def obstacles(reader: Reader, collection: str, mend: Callable[[str], str]) -> Sequence[Obstacle]:
    """What stands in the way of a heartbeat in this collection, with the statements that make it. Changes nothing."""
    with reader.snapshot() as snapshot:
        if collection not in snapshot.names:
            why = f"there is no {collection} for the heartbeat, which the configuration names"
        elif not _fits(snapshot.collection(collection).schema.names, snapshot.collection(collection).schema.key):
            why = f"{collection} is not made for the heartbeat: it must have id (its key), counter, nonce and at"
        else:
            return []
    return [Obstacle("heartbeat", why, mend(collection), is_blocking=False)]


def _write(target: Target, collection: str, before: Beat | None, at: datetime, nonce: str) -> Beat:
    after = Beat((before.counter if before else 0) + 1, nonce, at.astimezone(UTC).isoformat(timespec="seconds"))
    plan = plan_beat(target.name, collection, before, after)
    summary = PlanSummary(plan.id, plan.writes, plan.deletes, True, is_granted=True)
    decision = decide(summary, Policy())
    if decision.ruling is not Ruling.ALLOW:
        raise Refused(f"the heartbeat may not be written: {'; '.join(decision.reasons)}", hint=decision.hint)
    target.writer.apply(plan)
    return after


def _held(target: Target, collection: str) -> Beat | None:
    """The beat that the source holds, None before the first."""
    with target.reader.snapshot() as snapshot:
        if collection not in snapshot.names:
            raise Usage(
                f"{target.name} has no {collection} for the heartbeat", hint='"holdfast check" says how to make it'
            )
        found = snapshot.collection(collection)
        if not _fits(found.schema.names, found.schema.key):
            raise Usage(
                f"{collection} is not made for the heartbeat: it must have id (its key), counter, nonce and at",
                hint='"holdfast check" says how to make it',
            )
        beats = [last_beat(batch) for batch in snapshot.read(found).batches()]
    return next((each for each in reversed(beats) if each is not None), None)


def _fits(names: Sequence[str], key: Sequence[str]) -> bool:
    return {*names} == {*BEAT_SCHEMA.names} and tuple(key) == BEAT_SCHEMA.key
