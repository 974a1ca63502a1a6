"""Plans: every change to a live system, step by step, with what each step expects to find.

A plan can be shown before the deed; it is refused when the target changed meanwhile; run again, it writes nothing.

* Deletes come first, children before parents, then inserts and updates, parents before children: so a value that must
  be unique is free again before it is used, and a target that checks references at the end finds them whole.
* A target that checks each reference at once gets the deletes last instead: a record may only go when no other refers
  to it any more. References that form a cycle are then left NULL at first and set in a second step.
* Steps are made anew at each reading and must be the same each time: if they are not, the reading ends in
  TargetChanged, so that nothing is written that was not in the plan a person saw.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.canonical import row_digests
from holdfast.core.compare import Difference
from holdfast.core.order import Cycle, Order, reference_order
from holdfast.core.records import Collection, Schema
from holdfast.errors import TargetChanged, Unsupported

__all__ = [
    "CollectionDifferences",
    "CollectionPlan",
    "Cycle",
    "Op",
    "Order",
    "Plan",
    "Steps",
    "make_plan",
    "reference_order",
]


class Op(IntEnum):
    """What a step does to a record; the numbers are those of `holdfast:op` in delta segments."""

    INSERT = 1
    UPDATE = 2
    DELETE = 3


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """Steps of one kind on one collection, a record each, ascending by key.

    `expected` and `wanted` are row digests before and after the step, null where there is no record. `rows` are the
    wanted rows of an insert or update, and of a delete the rows as the target holds them, in `schema.arrow()`.
    `final` is given where a later step of the plan goes on with these records: their digests after the whole plan.
    A record that already is what `wanted` or `final` says needs no writing.
    """

    collection: str
    op: Op
    keys: pa.Array
    expected: pa.Array
    wanted: pa.Array
    rows: pa.RecordBatch
    final: pa.Array | None = None


@dataclass(frozen=True, slots=True)
class CollectionPlan:
    """How many records of a collection a plan changes. `kept` would be deleted, had it been asked for."""

    collection: Collection
    inserts: int
    updates: int
    deletes: int
    kept: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A change to `target`. `id` is the SHA-256, in hex, over the target's name and every step.

    `steps` may be called again and again; each reading raises TargetChanged at its end if it did not match `id`.
    `is_whole` says that it puts back every collection of a state: a reference that then leads nowhere did so there too.
    """

    id: str
    target: str
    collections: tuple[CollectionPlan, ...]
    steps: Callable[[], Iterator[Steps]]
    is_whole: bool = False

    @property
    def writes(self) -> int:
        """The number of records the plan changes."""
        return sum(each.inserts + each.updates + each.deletes for each in self.collections)

    @property
    def deletes(self) -> int:
        """The number of records the plan deletes."""
        return sum(each.deletes for each in self.collections)


@dataclass(frozen=True, slots=True)
class CollectionDifferences:
    """A collection and its differences; `read` gives the same differences each time it is called."""

    collection: Collection
    read: Callable[[], Iterator[Difference]]


def make_plan(
    target: str, differences: Sequence[CollectionDifferences], *, deletes: bool, can_defer: bool = True
) -> Plan:
    """The plan that turns what the target holds into what is wanted; added records stay unless `deletes`.

    `can_defer` says that the target checks references only when all steps are done. Reads the differences once.
    Raises Unsupported if it can't defer and a cycle of references has no column that may be NULL meanwhile.
    """
    order = reference_order(each.collection for each in differences)
    if not can_defer:
        _refuse_unbreakable(order)
    by_name = {each.collection.name: each for each in differences}
    assert len(by_name) == len(differences), "a collection is given twice"
    stages = _stages(order, by_name, deletes, can_defer)
    seal = _Seal(target, stages)
    plans = tuple(_plan_of(by_name[name], stages, seal, deletes) for name in order.names)
    identity = seal.digest()
    busy = tuple(stage for stage in stages if seal.has(stage))

    def steps() -> Iterator[Steps]:
        check = _Seal(target, stages)
        for stage in busy:
            for difference in stage.source.read():
                for step in _steps(stage, difference):
                    check.add(stage, step)
                    yield step
        if check.digest() != identity:
            raise TargetChanged(
                f"{target} changed meanwhile: the records to change are no longer those of plan {identity[:12]}",
                hint="make a new plan and look at it before you apply it",
            )

    return Plan(identity, target, plans, steps)


class _Stage(NamedTuple):
    """One reading of a collection's differences for one purpose; `blank` are the columns left NULL meanwhile."""

    source: CollectionDifferences
    purpose: str
    blank: tuple[str, ...] = ()


class _Seal:
    """The digest over all steps, the same however they are cut into batches: one hash for each stage and kind."""

    def __init__(self, target: str, stages: Sequence[_Stage]) -> None:
        self._target = target
        self._order = [(stage.purpose, stage.source.collection.name) for stage in stages]
        self._hashes: dict[tuple[str, str], dict[Op, Any]] = {}

    def add(self, stage: _Stage, step: Steps) -> None:
        hashes = self._hashes.setdefault((stage.purpose, stage.source.collection.name), {})
        one = hashes.setdefault(step.op, hashlib.sha256())
        # The kind of step says which digests are there, and 00 00 ends a key: rows can't be read in two ways.
        digests = [each.cast(pa.binary()) for each in (step.expected, step.wanted) if each.null_count < len(each)]
        ends = pc.replace_substring(step.keys, pattern=b"\x00", replacement=b"\x00\xff")
        packed = pc.binary_join_element_wise(*digests, ends, b"\x00\x00", b"")
        one.update(_body(packed))

    def has(self, stage: _Stage) -> bool:
        return (stage.purpose, stage.source.collection.name) in self._hashes

    def digest(self) -> str:
        whole = hashlib.sha256(b"holdfast plan 1\n" + hashlib.sha256(self._target.encode()).digest())
        for purpose, name in self._order:
            for op, one in sorted(self._hashes.get((purpose, name), {}).items()):
                whole.update(hashlib.sha256(f"{purpose}\n{op.name}\n{name}".encode()).digest() + one.digest())
        return whole.hexdigest()


def _stages(order: Order, by_name: Mapping[str, CollectionDifferences], deletes: bool, can_defer: bool) -> list[_Stage]:
    if can_defer:
        gone = [_Stage(by_name[name], "delete") for name in reversed(order.names)] if deletes else []
        return gone + [_Stage(by_name[name], "write") for name in order.names]
    blank = {name: order.deferred(name) for name in order.names}
    cyclic = [name for name in order.names if blank[name]]
    stages = [_Stage(by_name[name], "write", blank[name]) for name in order.names]
    # In a cycle even a changed record waits for all inserts: its new reference may lead to one of them.
    stages += [_Stage(by_name[name], purpose, blank[name]) for purpose in ("change", "link") for name in cyclic]
    if deletes:
        stages += [_Stage(by_name[name], "unlink", blank[name]) for name in cyclic]
        stages += [_Stage(by_name[name], "delete", blank[name]) for name in reversed(order.names)]
    return stages


def _plan_of(source: CollectionDifferences, stages: Sequence[_Stage], seal: _Seal, deletes: bool) -> CollectionPlan:
    """Count a collection's differences and seal its steps, in one reading."""
    stages = [stage for stage in stages if stage.source is source]
    counts = {"missing": 0, "changed": 0, "added": 0}
    for difference in source.read():
        counts[difference.kind] += len(difference.keys)
        for stage in stages:
            for step in _steps(stage, difference):
                seal.add(stage, step)
    gone, kept = (counts["added"], 0) if deletes else (0, counts["added"])
    return CollectionPlan(source.collection, counts["missing"], counts["changed"], gone, kept)


def _steps(stage: _Stage, difference: Difference) -> Iterator[Steps]:
    """The steps of one stage for one difference, if it has any."""
    name, schema, blank = stage.source.collection.name, stage.source.collection.schema, stage.blank
    keys, kind = difference.keys, difference.kind
    match stage.purpose, kind:
        case "write", "missing":
            rows, wanted = _blanked(difference.wanted, difference.wanted_digests, schema, blank)
            final = difference.wanted_digests if blank else None
            yield Steps(name, Op.INSERT, keys, _absent(keys), wanted, rows, final)
        case ("write", "changed") if blank:
            return
        case (("write" | "change"), "changed"):
            yield Steps(name, Op.UPDATE, keys, difference.actual_digests, difference.wanted_digests, difference.wanted)
        case "link", "missing":
            _, blanked = _blanked(difference.wanted, difference.wanted_digests, schema, blank)
            update = Steps(name, Op.UPDATE, keys, blanked, difference.wanted_digests, difference.wanted)
            yield from _where(update, _is_linked(difference.wanted, blank))
        case "unlink", "added":
            rows, blanked = _blanked(difference.actual, difference.actual_digests, schema, blank)
            update = Steps(name, Op.UPDATE, keys, difference.actual_digests, blanked, rows, _absent(keys))
            yield from _where(update, _is_linked(difference.actual, blank))
        case "delete", "added":
            rows, expected = _blanked(difference.actual, difference.actual_digests, schema, blank)
            yield Steps(name, Op.DELETE, keys, expected, _absent(keys), rows)


def _where(steps: Steps, mask: pa.Array) -> Iterator[Steps]:
    """Those of the steps the mask names, if any."""
    if not pc.any(mask).as_py():
        return
    final = None if steps.final is None else steps.final.filter(mask)
    yield Steps(
        steps.collection,
        steps.op,
        steps.keys.filter(mask),
        steps.expected.filter(mask),
        steps.wanted.filter(mask),
        steps.rows.filter(mask),
        final,
    )


def _blanked(
    rows: pa.RecordBatch, digests: pa.Array, schema: Schema, blank: tuple[str, ...]
) -> tuple[pa.RecordBatch, pa.Array]:
    """The rows with the columns of `blank` NULL, and their digests."""
    if not blank:
        return rows, digests
    columns = [
        pa.nulls(rows.num_rows, field.type) if field.name in blank else rows.column(number)
        for number, field in enumerate(rows.schema)
    ]
    empty = pa.RecordBatch.from_arrays(columns, schema=rows.schema)
    return empty, row_digests(empty, schema)


def _is_linked(rows: pa.RecordBatch, blank: tuple[str, ...]) -> pa.Array:
    """Which rows have a value in any column of `blank`."""
    mask = pc.is_valid(rows.column(blank[0]))
    for name in blank[1:]:
        mask = pc.or_(mask, pc.is_valid(rows.column(name)))
    return mask


def _absent(keys: pa.Array) -> pa.Array:
    return pa.nulls(len(keys), pa.binary(32))


def _body(values: pa.Array) -> memoryview:
    """The bytes of all values of a binary array, one after the other."""
    offsets = memoryview(values.buffers()[1]).cast("i")[values.offset : values.offset + len(values) + 1]
    data = values.buffers()[2]
    return memoryview(b"") if data is None else memoryview(data)[offsets[0] : offsets[-1]]


def _refuse_unbreakable(order: Order) -> None:
    stuck = [" and ".join(cycle.collections) for cycle in order.cycles if not cycle.is_breakable]
    if stuck:
        raise Unsupported(
            f"the references of {'; of '.join(stuck)} form a cycle without a column that may be NULL meanwhile, "
            "and the target checks each reference at once",
            hint="restore into an empty place, or into a target that checks references at the end",
        )
