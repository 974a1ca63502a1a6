"""Undo: what a source lost is put back beside what came since, through the same plan and gate as a restore.

* Both histories are read, new keys given and conflicts found before anything is written (`core/undo.py`).
* What a plan writes is kept on this host before the deed: run again, an undo finds what was put back, and puts nothing
  back twice, whatever became of it since.
* Afterwards source and vault are read again: what is wanted must be there, and all else as it was.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.align import Keyed
from holdfast.core.alike import keep_alike
from holdfast.core.canonical import slices
from holdfast.core.compare import compare
from holdfast.core.declared import declared_of
from holdfast.core.doors import Demanding, Unique
from holdfast.core.events import Progress
from holdfast.core.filling import Filling
from holdfast.core.policy import Decision, PlanSummary, Ruling
from holdfast.core.policy import decide as ruled
from holdfast.core.ports import Reader, Snapshot, View
from holdfast.core.projection import common_schema
from holdfast.core.records import Schema, is_definition
from holdfast.core.referring import Suspect, suspects
from holdfast.core.settle import Settled, Settling
from holdfast.core.taken import Taken, Unlike, refused, taken
from holdfast.core.threeway import Deviation, Fate
from holdfast.core.undo import NewKeys, Rules, Stop, give_keys, stop, where
from holdfast.errors import Refused, TargetChanged, Usage
from holdfast.operations.deeds import Back, parting_from, parting_text, put_back_before
from holdfast.operations.histories import SpooledHistories, Watched
from holdfast.operations.lost import Losses, Question, find_losses
from holdfast.operations.newplace import First
from holdfast.operations.proof import Compared, compare_views
from holdfast.operations.restore import vault_views
from holdfast.operations.returning import needed_again
from holdfast.operations.scratch import SealedScratch
from holdfast.operations.shares import Parts, Share, Wish
from holdfast.operations.streams import keyed, prefetched
from holdfast.operations.target import Target
from holdfast.operations.tenants import Tenants
from holdfast.operations.unsure import unsure_keys
from holdfast.state.undone import PutBack, Undone
from holdfast.vault.vault import Vault

__all__ = ["PlannedUndo", "UndoDone", "carry_out", "plan_undo"]

Emit = Callable[[Progress], None]
_SUM = 1 << 256
_COUNTERS = ":sequence"


@dataclass(frozen=True, slots=True, eq=False)
class PlannedUndo:
    """An undo, share by share in the order of the deeds, and what it rests on. `stopped` is not put back; `left_alone`
    names collections and definitions that only their owner may alter. `returned` counts records that were deleted and
    are there again, and are not to be deleted, `left_out` those of tenants that were not asked for. `sums` say by
    collection how the source differs from the vault's state. `back` is what was put back before. `suspects` are columns
    that may name records that get new numbers, without that being declared.
    """

    losses: Losses
    shares: tuple[Share, ...]
    stopped: tuple[Stop, ...]
    schemas: Mapping[str, Schema]
    left_alone: tuple[str, ...]
    returned: Mapping[str, int]
    left_out: int
    sums: Mapping[str, int]
    back: Back
    suspects: tuple[Suspect, ...] = ()

    @property
    def id(self) -> str:
        """The plan's id; of several plans one over all."""
        ids = [share.plan.id for share in self.shares]
        return ids[0] if len(ids) == 1 else hashlib.sha256("\n".join(ids).encode()).hexdigest()

    @property
    def writes(self) -> int:
        """How many records it changes."""
        return sum(share.plan.writes for share in self.shares)

    def put_back(self) -> Iterator[PutBack]:
        """What it writes, as this host keeps it."""
        for share in self.shares:
            yield from share.put_back()

    @property
    def waiting(self) -> int:
        """How many records wait for a person."""
        return sum(each.waits for each in self.stopped)


@dataclass(frozen=True, slots=True, eq=False)
class UndoDone:
    """What an undo did. If it was not allowed, or only planned, nothing was written. `seconds` are those from the start
    until each share was back; `differs` names collections that are not as they should be afterwards. `first` is what a
    new place was made with. `is_read`: the source was held against what it should be. `stands`: so was all that was
    written before, and it was that; `is_by_record` if only of the records that were put back.
    """

    decision: Decision
    target: str
    planned: PlannedUndo
    written: int = 0
    is_applied: bool = False
    seconds: tuple[tuple[str, float], ...] = ()
    differs: tuple[str, ...] = ()
    first: First | None = None
    began: float = 0.0
    is_read: bool = False
    stands: bool = True
    is_by_record: bool = False

    @property
    def is_proven(self) -> bool:
        """Whether all that was wanted is there, and all else is as it was."""
        return self.is_read and self.is_sound

    @property
    def is_sound(self) -> bool:
        """Whether it is proven, or nothing was written, and nothing had to be proven."""
        return self.is_applied and self.stands and not self.differs and not (self.first and self.first.differs)


def plan_undo(
    vault: Vault, target: Target, asked: tuple[Question, Wish], kept: tuple[Undone, SealedScratch], emit: Emit
) -> PlannedUndo:
    """What to write so that all that was lost is there again, from one snapshot of the target. Nothing is written."""
    (question, wish), (undone, scratch) = asked, kept
    place = target.name, question.good.signed.sha256
    with target.reader.snapshot() as snapshot:
        back = put_back_before(undone, place, snapshot, scratch, wish.conflict)
        watched = Watched(snapshot)
        losses = find_losses(vault, _parted(question, back, vault), watched, scratch, emit)
        live = {each.name: snapshot.read(each) for each in snapshot.collections if is_definition(each.name)}
        wanted = {name: view for name, view in vault_views(vault, losses.good).items() if is_definition(name)}
        definitions = list(compare_views(wanted, live, scratch, list(wanted)))
        _refuse_untold(losses, question, back)
        given, demanded = (snapshot.given(), snapshot.demanded()) if isinstance(snapshot, Demanding) else ({}, {})
        histories = SpooledHistories(vault, losses, (watched.tops, given), back, scratch)
        rules = Rules(question.declared, wish.conflict, Filling(demanded, histories.known))
        emit(Progress("settle", 0, None, "records"))
        new = give_keys(histories, back.new)
        alike = keep_alike(histories, rules, histories.based)
        suspected = suspects(histories, new, question.declared)
        kept_back = _kept_back(histories, rules, suspected), _taken(histories, (new, rules), snapshot, scratch)
        stops = stop(histories, rules, new, chain(back.waiting, *kept_back))
    tenants = Tenants(histories.schemas, question.declared, histories.records)
    parts = Parts(wish, tenants if wish.turns else None, scratch)
    stopped: list[Stop] = []
    returned: Counter[str] = Counter()
    needed = needed_again(losses.collections, histories.schemas)
    unsure = _unsure(unsure_keys(vault, losses, histories, alike), back)
    for name, schema in histories.schemas.items():
        settling = Settling(name, schema, rules, new, stops)
        careful = Settling(name, schema, _without_sums(rules, name), new, stops)
        for keys in back.unkeyed.get(name, ()):
            settling.occupied(keys)
        for piece in histories.pieces(name):
            if piece.fate is Fate.RETURNED:
                is_needed = needed.holds(name, piece.keys)
                stays = piece.keys.filter(is_needed).to_pylist()
                stopped += [Stop(name, key, "it had been deleted, and is in use again", False) for key in stays]
                piece = where(piece, pc.invert(is_needed))
            for settled in _settle(piece, (settling, careful), unsure.get(name, ())):
                if settled.difference.kind != "added" or wish.may_delete:
                    parts.add(name, histories.plain[name], settled)
                else:
                    returned[name] += len(settled.keys)
        stopped += settling.stopped + careful.stopped
    _define(parts, definitions)
    altered = [each.name for each in definitions if _is_altered(each)]
    return PlannedUndo(
        losses,
        tuple(parts.shares(target.name)),
        tuple(stopped),
        histories.schemas,
        (*histories.left_alone, *altered),
        returned,
        parts.left_out,
        {each.name: _sum_of(each.deviations()) for each in losses.collections},
        back,
        tuple(suspected),
    )


def _parted(question: Question, back: Back, vault: Vault) -> Question:
    """The question with what an earlier undo found of where histories parted."""
    if question.since is not None or question.parting is not None or not back.partings:
        return question
    return replace(question, parting=parting_from(back.partings[0], vault))


def _refuse_untold(losses: Losses, question: Question, back: Back) -> None:
    """Neither a finding nor what a person said before is enough to go on, where the records tell nothing."""
    if not (question.is_set_back or back.was_told) or not losses.is_unsaid(question, back.done):
        return
    why = "a finding says that the source was set back, and its records do not tell when"
    if not question.is_set_back:
        why = "an undo before was told when the source was set back; its records do not tell it, and more is missing"
    raise Usage(why, hint="say it: holdfast undo --since TIME; or --since none if it was not set back, but lost them")


def _unsure(found: Mapping[str, pa.Array], back: Back) -> dict[str, list[pa.Array]]:
    """Keys of records whose numbers can't be added up, and of those that an undo may have added up before."""
    unsure = {name: [keys] for name, keys in found.items()}
    for name, more in back.unsure.items():
        unsure[name] = [*unsure.get(name, ()), *more]
    return unsure


def _is_altered(compared: Compared) -> bool:
    # Counters go on by themselves with the largest number: nobody needs to alter them.
    return bool(compared.tally.changed or compared.changes) and not compared.name.endswith(_COUNTERS)


def _without_sums(rules: Rules, name: str) -> Rules:
    return replace(rules, declared={**rules.declared, name: replace(declared_of(rules.declared, name), add=())})


def _settle(piece: Deviation, ways: tuple[Settling, Settling], unsure: Sequence[pa.Array]) -> Iterator[Settled]:
    """Settle a piece; what is unsure without adding numbers up."""
    if piece.fate is Fate.BOTH and unsure:
        is_unsure = pc.is_in(piece.keys, value_set=pa.concat_arrays(unsure))
        yield from ways[1].settle(where(piece, is_unsure))
        piece = where(piece, pc.invert(is_unsure))
    if len(piece.keys):
        yield from ways[0].settle(piece)


def carry_out(
    vault: Vault, target: Target, planned: PlannedUndo, asked: tuple[Wish, Undone, SealedScratch], emit: Emit
) -> UndoDone:
    """Decide, write share after share, and prove. Raises TargetChanged if the target moved since the plan was made:
    what was put back until then stays, and the next undo goes on from there.
    """
    began = time.monotonic()
    wish, undone, scratch = asked
    decision = _ruling(planned, wish)
    if wish.plan_only or decision.ruling is not Ruling.ALLOW:
        return UndoDone(decision, target.name, planned)
    place, parting = (target.name, planned.losses.good.signed.sha256), parting_text(planned.losses.parting)
    planned.back.settle(undone)
    busy = [share for share in planned.shares if share.plan.writes]
    if not busy:
        is_read, stands, by_record = _stands(undone, place, planned)
        return UndoDone(decision, target.name, planned, 0, True, is_read=is_read, stands=stands, is_by_record=by_record)
    written, seconds, sums, deeds = 0, [], dict(planned.sums), []
    for number, share in enumerate(busy, 1):
        emit(Progress(f"put back {share.tenant or 'what is shared'}", number, len(busy), "tenants"))
        deed = undone.begin(share.plan.id, place, parting, _added_up(share.put_back(), sums))
        undone.expect(deed, _sums_text(sums, planned))
        try:
            written += target.writer.apply(share.plan).written
        except (Refused, TargetChanged):
            undone.forget(deed)
            raise
        undone.end(deed)
        deeds.append(deed)
        seconds.append((share.tenant, time.monotonic() - began))
    differs = tuple(_differing(vault, planned, target.reader, sums, (scratch, emit)))
    # What the last of them led to is what was read.
    undone.proven(deeds[-1:] if differs else deeds, failed=bool(differs))
    stands = all(each.is_proven for each in undone.deeds(*place) if each.is_done) or bool(differs)
    return UndoDone(decision, target.name, planned, written, True, tuple(seconds), differs, is_read=True, stands=stands)


def _sums_text(sums: Mapping[str, int], planned: PlannedUndo) -> str:
    """How a source differs from the vault's state, as this host keeps it."""
    return json.dumps({name: each for name, each in sorted(sums.items()) if each and name not in planned.left_alone})


def _stands(undone: Undone, place: tuple[str, str], planned: PlannedUndo) -> tuple[bool, bool, bool]:
    """Where there is nothing to write: whether the source is now as it should be after the last deed, and whether all
    deeds were proven, by this or before; and whether that is so record by record, in a source that trades on.
    """
    deeds = [each for each in undone.deeds(*place) if each.is_done]
    now = _sums_text(planned.sums, planned)
    is_as_wanted = now == (deeds[-1].sums if deeds and deeds[-1].sums else _sums_text({}, planned))
    if is_as_wanted:
        undone.proven(each for each in deeds if each is deeds[-1] or not each.has_failed)
        deeds = [each for each in deeds[:-1] if each.has_failed]
    if not is_as_wanted and planned.back.is_there and not all(each.is_proven for each in deeds):
        # Nothing is missing, and all that was written is there: what else differs is what others wrote meanwhile.
        undone.proven(deeds)
        return True, True, True
    return is_as_wanted, all(each.is_proven for each in deeds), False


def _define(parts: Parts, definitions: Sequence[Compared]) -> None:
    """Make the definitions that are missing."""
    for each in definitions:
        for difference in each.differences.read():
            if difference.kind == "missing":
                parts.define(each.name, each.schema, difference)


def _kept_back(histories: SpooledHistories, rules: Rules, suspected: Sequence[Suspect]) -> Iterator[Taken]:
    """Records that might lead elsewhere, and those that the source would refuse."""
    yield from (each.taken for each in suspected if each.is_named)
    yield from refused(histories, rules)


def _taken(
    histories: SpooledHistories, by: tuple[NewKeys, Rules], snapshot: Snapshot, scratch: SealedScratch
) -> Iterator[Taken]:
    """Records whose unique values others have, as far as the source says what is unique."""
    views = {each.name: snapshot.read(each) for each in snapshot.collections}

    def live(name: str) -> Iterator[Keyed]:
        return keyed(views[name], scratch, schema=histories.schemas[name]) if name in views else iter(())

    source = Unlike(snapshot.uniques(), live, snapshot.spelled) if isinstance(snapshot, Unique) else Unlike({}, live)
    return taken(histories, by[0], source, by[1])


def _ruling(planned: PlannedUndo, wish: Wish) -> Decision:
    deletes = sum(share.plan.deletes for share in planned.shares)
    summary = PlanSummary(planned.id, planned.writes, deletes, wish.is_live, wish.may_delete, wish.approval)
    if wish.is_granted is not None:
        summary = replace(summary, needs_request=True, is_granted=wish.is_granted(planned.id))
    return ruled(summary, wish.policy)


def _differing(
    vault: Vault, planned: PlannedUndo, reader: Reader, sums: Mapping[str, int], means: tuple[SealedScratch, Emit]
) -> Iterator[str]:
    """Collections that do not differ from the vault's state exactly as they did before, and by what was written."""
    scratch, emit = means
    good = {name: view for name, view in vault_views(vault, planned.losses.good).items() if not is_definition(name)}
    with reader.snapshot() as snapshot:
        live = {each.name: snapshot.read(each) for each in snapshot.collections if not is_definition(each.name)}
        names = sorted({*good, *live} - {*planned.left_alone})
        for number, name in enumerate(names, 1):
            emit(Progress("prove", number, len(names), "collections"))
            if _sum_between(good.get(name), live.get(name), scratch) != sums.get(name, 0):
                yield name


def _sum_between(good: View | None, live: View | None, scratch: SealedScratch) -> int:
    known = good or live
    assert known is not None, "a collection is on one side at least"
    schema = common_schema(good.schema, live.schema) if good is not None and live is not None else known.schema
    sides = [iter(()) if view is None else prefetched(keyed(view, scratch, schema=schema)) for view in (good, live)]
    total = 0
    for each in compare(sides[0], sides[1], schema):
        total += _sum(each.keys, each.actual_digests)
    return total % _SUM


def _sum_of(deviations: Iterable[Deviation]) -> int:
    """How a source differs from the vault's state, as one number: a sum over every record that does, in any order."""
    return sum(_sum(each.keys, each.live_digests) for each in deviations) % _SUM


def _added_up(writes: Iterable[PutBack], sums: dict[str, int]) -> Iterator[PutBack]:
    """What is written, as it passes by: `sums` are those after it."""
    for each in writes:
        sums[each.collection] = _after(sums.get(each.collection, 0), each)
        yield each


def _after(total: int, written: PutBack) -> int:
    """The sum after some records were written."""
    live, wanted, was, good = (written.rows.column(name) for name in ("live", "wanted", "was", "good"))
    if written.moved:
        return (total + _sum(live, wanted)) % _SUM
    differs = pc.fill_null(pc.not_equal(wanted, good), False)
    differed = pc.fill_null(pc.not_equal(was, good), True)
    gone = _sum(live.filter(differed), was.filter(differed))
    return (total - gone + _sum(live.filter(differs), wanted.filter(differs))) % _SUM


def _sum(keys: pa.Array, digests: pa.Array | None) -> int:
    found = [b""] * len(keys) if digests is None else [each or b"" for each in digests.to_pylist()]
    each = (hashlib.sha256(key + digest).digest() for key, digest in zip(slices(keys), found, strict=True))
    return sum(int.from_bytes(digest) for digest in each)
