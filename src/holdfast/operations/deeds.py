"""What earlier undos put back, and whether it is still there: told by the source.

A record that was put back is the source's own: it may be changed there, or deleted. But if most of what a deed wrote is
as it was before, and so is what came after, then the source was set back once more, and the deed counts for nothing.
Where that can't be told, the records wait for a person.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.canonical import row_digests
from holdfast.core.declared import Conflict
from holdfast.core.keyed import KeyTable
from holdfast.core.ports import Snapshot
from holdfast.core.taken import Taken
from holdfast.core.undo import NewKeys
from holdfast.operations.parting import Parting
from holdfast.operations.scratch import SealedScratch
from holdfast.operations.streams import keyed
from holdfast.state.undone import Deed, Undone
from holdfast.vault.latest import Until
from holdfast.vault.vault import Vault

__all__ = ["Back", "parting_from", "parting_text", "put_back_before"]

_FEW = 5  # so many records may have been deleted on purpose
_CUT_OFF = "an undo was cut off here, and whether it wrote this can't be told"
_AS_BEFORE = "it was put back, and is as it was before that again"


@dataclass(frozen=True, slots=True)
class Back:
    """What was put back before: by the keys in the vault, with the new keys of what got one; of records without a key,
    the keys they have in the source. `gone` are deeds that count for nothing, `found` those that were cut off, and were
    applied; `waiting` are the records of which nothing can be told, or, where a person decided, `unsure`.
    `partings` are where the deeds that are not undone again found that histories parted; `was_told`: of one of them a
    person had said it. `is_there`: every record of every deed is in the source as it was written.
    """

    done: KeyTable
    new: NewKeys
    unkeyed: dict[str, list[pa.Array]] = field(default_factory=dict)
    gone: list[Deed] = field(default_factory=list)
    found: list[Deed] = field(default_factory=list)
    waiting: list[Taken] = field(default_factory=list)
    unsure: dict[str, list[pa.Array]] = field(default_factory=dict)
    partings: list[str] = field(default_factory=list)
    was_told: bool = False
    is_there: bool = False

    def settle(self, undone: Undone) -> None:
        """Keep what was found of the deeds, right before the next one."""
        for deed in self.gone:
            undone.forget(deed)
        for deed in self.found:
            undone.end(deed)


def put_back_before(
    undone: Undone,
    place: tuple[str, str],
    snapshot: Snapshot,
    scratch: SealedScratch,
    conflict: Conflict | None = None,
) -> Back:
    """What earlier undos wrote into a system from a state, `place`, as far as it counts. `conflict` decides where that
    can't be told. Nothing is changed.
    """
    schemas = {each.name: each.schema for each in snapshot.collections}
    deeds = undone.deeds(*place)
    tallies = _tallies(undone, deeds, snapshot, scratch)
    told = list(zip(deeds, _said(deeds, tallies), strict=True))
    is_there = bool(deeds) and all(each.wanted == each.all for each in tallies)
    was_told = any(not deed.parting and said is not _Says.GONE for deed, said in told)
    back = Back(KeyTable(schemas), NewKeys(schemas), was_told=was_told, is_there=is_there)
    for deed, said in told:
        if deed.parting and said is not _Says.GONE:
            back.partings.append(deed.parting)
        if said is _Says.GONE or (said is _Says.OPEN and conflict is Conflict.VAULT):
            back.gone.append(deed)
            for name, _, rows in undone.records(deed) if said is _Says.OPEN else ():
                back.unsure.setdefault(name, []).append(rows.column("key"))
        elif said is _Says.OPEN and conflict is None:
            why = _AS_BEFORE if deed.is_done else _CUT_OFF
            back.waiting.extend(Taken(name, rows.column("key"), why) for name, _, rows in undone.records(deed))
        else:
            back.found.extend([] if deed.is_done else [deed])
            _keep(back, undone, deed)
    return back


def _keep(back: Back, undone: Undone, deed: Deed) -> None:
    """Take a deed's records for put back."""
    for name, moved, rows in undone.records(deed):
        keys, schema = rows.column("key"), back.done.schemas.get(name)
        back.done.add(name, keys, pa.RecordBatch.from_arrays([keys], names=["key"]))
        if moved and schema is not None and schema.key:
            new = [rows.column(f"new {each}") for each in schema.key]
            back.new.add(name, keys, pa.RecordBatch.from_arrays(new, names=list(schema.key)))
        elif moved:
            back.unkeyed.setdefault(name, []).append(rows.column("live"))


def parting_text(parting: Parting) -> str:
    """A parting as this host keeps it; nothing of one that somebody said: who is wrong once is not for ever."""
    state = parting.state
    if parting.is_told:
        return ""
    if state is None:
        return json.dumps(None)
    until = state.until or Until()
    at = None if until.at is None else until.at.isoformat()
    facts = {"commit": state.signed.sha256, "before": until.before, "at": at, "apart": sorted(parting.apart)}
    return json.dumps(facts)


def parting_from(text: str, vault: Vault) -> Parting:
    """The parting that `parting_text` wrote."""
    facts = json.loads(text)
    if facts is None:
        return Parting()
    at = None if facts["at"] is None else datetime.fromisoformat(facts["at"])
    until = None if at is None and facts["before"] is None else Until(at, facts["before"])
    state = vault.state(until, pin=facts["commit"])
    return Parting(state, state.taken, apart=frozenset(facts["apart"]))


class _Says(Enum):
    """What the source says of a deed."""

    DONE = "applied"
    GONE = "not applied, or undone again"
    OPEN = "nothing"


class _Tally(NamedTuple):
    """How many records of a deed are as it wrote them, as they were before, and how many it wrote."""

    wanted: int = 0
    before: int = 0
    all: int = 0


def _said(deeds: Sequence[Deed], tallies: Sequence[_Tally]) -> list[_Says]:
    """What the source says of each deed. What sets it back takes the newest away first."""
    found, is_end = [], True
    for deed, tally in zip(reversed(deeds), reversed(tallies), strict=True):
        said = _says(deed, tally, is_end=is_end)
        is_end = is_end and said is not _Says.DONE
        found.append(said)
    return found[::-1]


def _says(deed: Deed, tally: _Tally, *, is_end: bool) -> _Says:
    if not deed.is_done:
        if tally.wanted > tally.before or not tally.all:
            return _Says.DONE
        return _Says.GONE if tally.before > tally.wanted else _Says.OPEN
    if tally.before <= tally.wanted:
        return _Says.DONE
    is_most = tally.before >= _FEW and tally.before * 2 > tally.all
    return _Says.GONE if is_end and is_most else _Says.OPEN


def _tallies(undone: Undone, deeds: Sequence[Deed], snapshot: Snapshot, scratch: SealedScratch) -> list[_Tally]:
    """Hold what the deeds wrote against the source, which is read once."""
    written: dict[str, list[pa.Table]] = {}
    for place, deed in enumerate(deeds):
        for name, _, rows in undone.records(deed):
            some = pa.Table.from_batches([rows.select(["live", "wanted", "was"])])
            written.setdefault(name, []).append(some.append_column("deed", pa.repeat(place, len(rows))))
    collections = {each.name: each for each in snapshot.collections}
    tallies = [_Tally()] * len(deeds)
    for name, parts in written.items():
        whole = pa.concat_tables(parts).combine_chunks()
        keys, now = whole.column("live").combine_chunks(), pa.nulls(whole.num_rows, pa.binary(32))
        if name in collections:
            view = snapshot.read(collections[name])
            for each in keyed(view, scratch):
                digests = row_digests(each.batch, view.schema)
                now = pc.coalesce(now, digests.take(pc.index_in(keys, value_set=each.keys)))
        sides = {each: _same(now, whole.column(each).combine_chunks()).cast(pa.int64()) for each in ("wanted", "was")}
        counted = pa.table({"deed": whole.column("deed"), **sides}).group_by("deed")
        sums = counted.aggregate([("wanted", "sum"), ("was", "sum"), ("wanted", "count")])
        for deed, *more in zip(*(sums.column(each).to_pylist() for each in _SUMS), strict=True):
            tallies[deed] = _Tally(*map(sum, zip(tallies[deed], more, strict=True)))
    return tallies


_SUMS = ("deed", "wanted_sum", "was_sum", "wanted_count")


def _same(one: pa.Array, other: pa.Array) -> pa.Array:
    """Where digests are equal, or there is no record on either side."""
    return pc.or_(pc.and_(pc.is_null(one), pc.is_null(other)), pc.fill_null(pc.equal(one, other), False))
