"""Restore: records of a commit back into a system, as a plan into a live one, whole into an empty place.

* Into a live system: compare, plan, decide, apply, prove. What came after the commit stays unless deleting was asked
  for; what changed since is put back; nothing is written if the system moved between the plan and the deed.
* Into an empty place: everything, definitions included, then read back and proven by fingerprints.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.compare import Difference
from holdfast.core.events import Progress, Restored
from holdfast.core.mapping import NamedMapping
from holdfast.core.plan import CollectionDifferences, Plan, make_plan
from holdfast.core.policy import Decision, PlanSummary, Policy, Ruling, decide
from holdfast.core.ports import Applied, Created, Reader, View
from holdfast.core.records import Collection, is_counters, is_definition
from holdfast.core.where import Condition
from holdfast.errors import Usage
from holdfast.operations.journal import commit_ref
from holdfast.operations.mapped import Mover, is_foreign, mapping_of
from holdfast.operations.proof import Compared, Narrowed, Proof, compare_views, proof_of, prove
from holdfast.operations.scratch import SealedScratch
from holdfast.operations.spool import DifferenceSpool
from holdfast.operations.streams import prefetched
from holdfast.operations.target import Target
from holdfast.vault.states import State
from holdfast.vault.vault import Vault
from holdfast.vault.view import VaultView

__all__ = [
    "Choice",
    "OnlyOf",
    "Planned",
    "RestoreDone",
    "Target",
    "plan_restore",
    "proofs",
    "restore_live",
    "restore_new",
    "restored",
    "vault_views",
]

Emit = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Choice:
    """What to restore and how far one may go: collections by name (none: all), records that meet a condition, whether
    others may be deleted, the id of a plan that was approved, and whether to stop at the plan. `tell` hears of the
    mapping into another engine before anything is written, and again where records revise it. `is_granted` says of a
    plan's id whether others allowed it; None where nobody needs to.
    """

    collections: tuple[str, ...] = ()
    where: Condition | None = None
    may_delete: bool = False
    approval: str = ""
    plan_only: bool = False
    policy: Policy = field(default_factory=Policy)
    tell: Callable[[NamedMapping], None] = lambda _: None
    is_granted: Callable[[str], bool] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Planned:
    """A plan and what it rests on. `left_alone` names what differs in definition, which only its owner may alter."""

    plan: Plan
    compared: tuple[Compared, ...]
    left_alone: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class RestoreDone:
    """What a restore did. If it was not allowed, or only planned, nothing was written and there are no proofs.

    `planned` is set for a live target, `created` for a new place, `mapping` where that is of another engine. `applied`
    counts steps written, and found done.
    """

    decision: Decision
    planned: Planned | None
    created: Created | None
    applied: Applied | None
    proofs: tuple[Proof, ...]
    mapping: NamedMapping | None = None

    @property
    def is_proven(self) -> bool:
        """Whether every record of the commit that was asked for is in the target, every value of it."""
        return bool(self.proofs) and all(proof.is_back for proof in self.proofs)


def restore_live(
    wanted: Mapping[str, VaultView], target: Target, choice: Choice, scratch: SealedScratch, emit: Emit
) -> RestoreDone:
    """Plan, decide, apply, prove. Running it again after a crash finds what is done and does the rest.

    Raises TargetChanged if the target moved between the plan and the deed; then nothing was written.
    """
    if not choice.plan_only:
        target.writer.recover()
    emit(Progress("compare", 0, None, "records"))
    planned = plan_restore(target, wanted, choice, scratch)
    plan = planned.plan
    summary = PlanSummary(plan.id, plan.writes, plan.deletes, True, choice.may_delete, choice.approval)
    if choice.is_granted is not None:
        summary = replace(summary, needs_request=True, is_granted=choice.is_granted(plan.id))
    decision = decide(summary, choice.policy)
    if choice.plan_only or decision.ruling is not Ruling.ALLOW:
        return RestoreDone(decision, planned, None, None, ())
    emit(Progress("apply", 0, plan.writes, "records"))
    applied = target.writer.apply(plan) if plan.writes else Applied(0, 0)
    return RestoreDone(
        decision, planned, None, applied, tuple(_proofs_of(wanted, target.reader, choice, scratch, emit))
    )


def restore_new(
    wanted: Mapping[str, VaultView], target: Target, choice: Choice, scratch: SealedScratch, emit: Emit
) -> RestoreDone:
    """Build everything, or the collections chosen with their definitions, at an empty place.

    It appears complete or not at all. Refused if something is there already.
    """
    if choice.where is not None:
        raise Usage("a condition needs a live target", hint='restore everything, or "holdfast export --where"')
    if is_foreign(wanted, target):
        return _restore_mapped(wanted, target, choice, scratch, emit)
    if choice.plan_only:
        return RestoreDone(Decision(Ruling.ALLOW), None, None, None, ())
    names = choice.collections or tuple(wanted)
    views: list[View] = [_Shown(each, emit) for name, each in wanted.items() if name in names or is_definition(name)]
    if choice.collections:
        views = [OnlyOf(view, names) if is_definition(view.name) else view for view in views]
    created = target.writer.create(views)
    found = [
        each if is_counters(each.name) or not is_definition(each.name) else replace(each, unmakeable=created.unmakeable)
        for each in proofs({name: wanted[name] for name in names}, target.reader, scratch, emit)
    ]
    return RestoreDone(Decision(Ruling.ALLOW), None, created, Applied(created.records, 0), tuple(found))


def _restore_mapped(
    wanted: Mapping[str, VaultView], target: Target, choice: Choice, scratch: SealedScratch, emit: Emit
) -> RestoreDone:
    mapping = mapping_of(wanted, choice.collections, target)
    choice.tell(mapping)
    allowed = Decision(Ruling.ALLOW)
    if choice.plan_only:
        return RestoreDone(allowed, None, None, None, (), mapping)
    records = {each.name: wanted[each.name] for each in mapping.collections}
    done = Mover(target, scratch, emit, choice.tell).move(records, mapping)
    return RestoreDone(allowed, None, done.created, Applied(done.created.records, 0), done.proofs, done.mapping)


def vault_views(vault: Vault, state: State, names: Sequence[str] = ()) -> dict[str, VaultView]:
    """The collections of a state, or those named, by name. Raises Usage for a name that is none of them."""
    views = {name: VaultView(vault, each) for name, each in state.collections.items() if not each.part.dropped}
    for name in names:
        if name not in views:
            near = difflib.get_close_matches(name, views, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(sorted(views))}"
            raise Usage(f"the vault holds no collection {name!r} at that time", hint=hint)
    return {name: views[name] for name in names} if names else views


def plan_restore(target: Target, wanted: Mapping[str, VaultView], choice: Choice, scratch: SealedScratch) -> Planned:
    """The plan that puts the wanted records back, made from one snapshot of the target. Nothing is written.

    Definitions that are missing come back with their records; those that differ are named and left alone.
    """
    with target.reader.snapshot() as snapshot:
        actual = _narrowed({each.name: snapshot.read(each) for each in snapshot.collections}, choice)
        names = [name for name in wanted if name in _narrowed(wanted, choice)]
        absent = [name for name in names if name not in actual]
        compared = tuple(compare_views(_narrowed(wanted, choice), actual, scratch, names))
    if choice.collections and absent:
        raise Usage(
            f"{target.name} has no {', '.join(absent)} any more",
            hint="restore everything, so that definitions come back too, or restore to a new place with --to",
        )
    plan = make_plan(target.name, [_to_do(each) for each in compared], deletes=choice.may_delete)
    plan = replace(plan, is_whole=choice.where is None and not choice.collections)
    return Planned(plan, compared, tuple(each.name for each in compared if _is_left_alone(each)))


def proofs(wanted: Mapping[str, VaultView], reader: Reader, scratch: SealedScratch, emit: Emit) -> list[Proof]:
    """Hold what a system now contains against the fingerprints of the views, signed unless they are of an instant."""
    found = []
    with reader.snapshot() as snapshot:
        live = {each.name: each for each in snapshot.collections}
        for number, (name, view) in enumerate(wanted.items(), 1):
            emit(Progress("prove", number, len(wanted), "collections"))
            found.append(prove(view, snapshot.read(live[name]) if name in live else None, scratch))
    return found


def restored(state: State, target: str, done: RestoreDone, seconds: float, now: datetime) -> Restored:
    """The event that puts a restore on record."""
    plans = done.planned.plan.collections if done.planned else ()
    return Restored(
        at=now,
        commit=commit_ref(state.signed.link),
        target=target,
        plan=done.planned.plan.id if done.planned else "",
        inserts=sum(each.inserts for each in plans) if plans else (done.applied.written if done.applied else 0),
        updates=sum(each.updates for each in plans),
        deletes=sum(each.deletes for each in plans),
        is_proven=done.is_proven,
        seconds=seconds,
    )


class _Shown:
    """A view that is read ahead in a thread and tells how far it has come."""

    def __init__(self, view: View, emit: Emit) -> None:
        self._view = view
        self._emit = emit
        self._step = f"restore {view.name}"
        self.name = view.name
        self.schema = view.schema
        self.ordered = view.ordered

    def batches(self) -> Iterator[pa.RecordBatch]:
        done = 0
        for batch in prefetched(self._view.batches()):
            done += batch.num_rows
            self._emit(Progress(self._step, done, getattr(self._view, "rows", None), "records"))
            yield batch


# Of a table's own definitions those that may stand on other tables; of definitions of no table those it may stand on.
_MAY_NEED_OTHERS = pa.array(["trigger", "view"])
_NEEDED = pa.array([
    "SCHEMA", "EXTENSION", "TYPE", "SHELL TYPE", "DOMAIN", "COLLATION",
    "FUNCTION", "PROCEDURE", "AGGREGATE", "CAST", "OPERATOR", "OPERATOR CLASS",
    "OPERATOR FAMILY", "SEQUENCE", "TEXT SEARCH CONFIGURATION", "TEXT SEARCH DICTIONARY",
    "TEXT SEARCH PARSER", "TEXT SEARCH TEMPLATE",
])  # fmt: skip


class OnlyOf:
    """Definitions narrowed to the tables that are wanted and what stands on nothing but them."""

    def __init__(self, view: View, names: Sequence[str]) -> None:
        self._view = view
        self._names = pa.array(names, pa.string())
        self.name = view.name
        self.schema = view.schema
        self.ordered = view.ordered

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The definitions that are left."""
        for batch in self._view.batches():
            if "table_name" not in self.schema.names:
                yield batch
                continue
            is_wanted = pc.is_in(batch.column("table_name"), value_set=self._names)
            may_need_others = pc.is_in(batch.column("type"), value_set=_MAY_NEED_OTHERS)
            is_alone = pc.is_null(batch.column("table_name"))
            is_needed = pc.is_in(batch.column("type"), value_set=_NEEDED)
            yield batch.filter(pc.or_(pc.and_not(is_wanted, may_need_others), pc.and_(is_alone, is_needed)))


def _narrowed(views: Mapping[str, View], choice: Choice) -> dict[str, View]:
    """The views the choice speaks of: definitions only if everything is wanted, records only those it asks for."""
    if choice.where is None and not choice.collections:
        return dict(views)
    records = {name: view for name, view in views.items() if not is_definition(name)}
    if choice.where is None:
        return records
    return {name: Narrowed(view, choice.where) for name, view in records.items()}


def _proofs_of(
    wanted: Mapping[str, VaultView], reader: Reader, choice: Choice, scratch: SealedScratch, emit: Emit
) -> list[Proof]:
    """After a deed: whole collections by fingerprint; chosen records by comparing them again."""
    if choice.where is None:
        return proofs(wanted, reader, scratch, emit)
    chosen = _narrowed(wanted, choice)
    with reader.snapshot() as snapshot:
        actual = _narrowed({each.name: snapshot.read(each) for each in snapshot.collections}, choice)
        compared = list(compare_views(chosen, actual, scratch, list(chosen)))
    return [proof_of(each) for each in compared]


def _to_do(compared: Compared) -> CollectionDifferences:
    """What is to be planned: of definitions only those that are missing, for only their owner can alter one."""
    read = compared.differences.read
    if is_definition(compared.name):
        read = partial(_missing, compared.differences)
    return CollectionDifferences(Collection(compared.name, compared.schema), read)


def _missing(spool: DifferenceSpool) -> Iterator[Difference]:
    return (each for each in spool.read() if each.kind == "missing")


def _is_left_alone(compared: Compared) -> bool:
    differs = compared.tally.changed or compared.tally.added
    return bool(compared.changes) or (is_definition(compared.name) and bool(differs))
