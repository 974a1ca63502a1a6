"""What a source lost, and what became of the rest: the last good state, the source as it is, and where they parted.

Both are read once. What they do not hold alike is kept in sealed scratch, and only of that the history is asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.align import Keyed
from holdfast.core.declared import Declared, declared_of
from holdfast.core.events import Progress
from holdfast.core.keyed import KeyTable
from holdfast.core.ports import Snapshot, View
from holdfast.core.projection import common_schema, project
from holdfast.core.records import Schema, is_definition
from holdfast.core.threeway import Deviation, Fate, differing, three_way
from holdfast.core.undo import where
from holdfast.operations.kept import KeptRecords
from holdfast.operations.parting import Parting, Unequal, find_parting, readable
from holdfast.operations.scratch import SealedScratch
from holdfast.operations.streams import keyed, prefetched
from holdfast.vault.states import State
from holdfast.vault.vault import Vault
from holdfast.vault.view import VaultView

__all__ = ["NEVER_PARTED", "CollectionLosses", "Losses", "Question", "find_losses"]

NEVER_PARTED = Parting(is_told=True)

_AMONG_MAX = 1_000_000  # keys in memory by which a state is asked for; for more all of it is read
_LOSSES = (Fate.LOST, Fate.REVERTED, Fate.BOTH, Fate.REUSED, Fate.RETURNED)
Emit = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Question:
    """Against which state the source is held, at which one histories parted (None: it is found), and what their owner
    declares of collections. `parting` is what was found before: what was put back since makes it harder to see, and has
    no fate (`back`, by its keys in the vault). `is_set_back`: it is known otherwise that the histories parted.
    `NEVER_PARTED` is for who knows that they did not.
    """

    good: State
    since: State | None = None
    declared: Mapping[str, Declared] = field(default_factory=dict)
    parting: Parting | None = None
    back: KeyTable | None = None
    is_set_back: bool = False


@dataclass(frozen=True, eq=False)
class CollectionLosses:
    """What became of the records of one collection that differ, in `schema`; `absent` says which side does not have
    the collection at all. `base` reads what it was where histories parted, None where that is the last good state.
    """

    name: str
    schema: Schema
    declared: Declared
    unequal: Unequal
    base: Callable[[], Iterator[Keyed]] | None
    absent: str = ""
    back: KeyTable | None = None

    def good(self) -> Iterator[Keyed]:
        """The records as the last good state holds them."""
        return self._in_schema(self.unequal.good)

    def live(self) -> Iterator[Keyed]:
        """The records as the source holds them."""
        return self._in_schema(self.unequal.live)

    def deviations(self) -> Iterator[Deviation]:
        """Every record that has a fate, in ranges of keys that ascend; as often as wanted."""
        base = None if self.base is None else self.base()
        for piece in three_way(base, self.good(), self.live(), self.schema, self.declared):
            fresh = piece if self.back is None else where(piece, pc.invert(self.back.holds(self.name, piece.keys)))
            if len(fresh.keys):
                yield fresh

    def _in_schema(self, kept: KeptRecords) -> Iterator[Keyed]:
        return (Keyed(each.keys, project(each.batch, self.unequal.schema, self.schema)) for each in kept.read())

    @cached_property
    def tally(self) -> Mapping[Fate, int]:
        """How many records have each fate."""
        found: Counter[Fate] = Counter()
        for each in self.deviations():
            found[each.fate] += len(each.keys)
        return found

    @property
    def is_nothing(self) -> bool:
        """Whether the source has all that the vault has, but for what only the source changed or deleted since."""
        return not any(self.tally.get(fate, 0) for fate in _LOSSES)


@dataclass(frozen=True, slots=True, eq=False)
class Losses:
    """What the source lost, by collection; those where nothing differs are left out. Of use as long as its scratch.

    `is_untold`: the source was set back, and its records do not tell when. `declared` is what the question brought.
    """

    good: State
    parting: Parting
    collections: tuple[CollectionLosses, ...]
    is_untold: bool = False
    declared: Mapping[str, Declared] = field(default_factory=dict)

    def is_unsaid(self, question: Question, back: KeyTable | None = None) -> bool:
        """Whether something is lost, and neither who asked nor the records say where histories parted; what is `back`
        is lost no more.
        """
        is_open = question.since is None and question.parting is None and self.parting.state is None
        known = self.collections if back is None else (replace(each, back=back) for each in self.collections)
        return is_open and not all(each.is_nothing for each in known)


def find_losses(
    vault: Vault, question: Question, snapshot: Snapshot, scratch: SealedScratch, emit: Emit = lambda _: None
) -> Losses:
    """Hold a live snapshot against the last good state, find where they parted, and say what became of each record.

    Memory holds a piece of each collection, and keys of up to a million records.
    """
    wanted = _records(vault, question.good)
    live = {each.name: snapshot.read(each) for each in snapshot.collections if not is_definition(each.name)}
    if question.good.closed:  # what stays closed to the key at hand is not new in the source
        live = {name: each for name, each in live.items() if name in wanted}
    names = sorted({*wanted, *live})
    unequal: list[Unequal] = []
    for number, name in enumerate(names, 1):
        emit(Progress("compare", number, len(names), "collections"))
        unequal.append(_unequal(name, wanted.get(name), live.get(name), scratch))
    unequal = [each for each in unequal if each.good.rows or each.live.rows]
    if question.parting is not None:
        parting = question.parting
    elif question.since is None:
        parting = find_parting(vault, question.good, unequal, emit, is_set_back=question.is_set_back)
    else:
        parting = Parting(question.since, question.since.taken, is_told=True)
    base = {} if parting.state is None else _records(vault, parting.state)
    absent = {name: "good" if name not in wanted else "live" for name in {*wanted} ^ {*live}}
    found = []
    for each in unequal:
        # What sets a source back leaves its collections in place: one that is gone was dropped since.
        is_parted = parting.state is not None and each.name not in parting.apart and absent.get(each.name) != "live"
        declared, side = declared_of(question.declared, each.name), absent.get(each.name, "")
        losses = _losses(each, declared, (base.get(each.name), is_parted), side, scratch)
        found.append(replace(losses, back=question.back))
    whole = Losses(question.good, parting, tuple(found), declared=question.declared)
    return replace(whole, is_untold=question.is_set_back and whole.is_unsaid(question))


def _unequal(name: str, good: View | None, live: View | None, scratch: SealedScratch) -> Unequal:
    """Read both sides of a collection, and keep what differs."""
    known = good or live
    assert known is not None, f"{name} is on neither side"
    schema = common_schema(good.schema, live.schema) if good is not None and live is not None else known.schema
    sides = [iter(()) if view is None else prefetched(keyed(view, scratch, schema=schema)) for view in (good, live)]
    kept = KeptRecords(scratch), KeptRecords(scratch)
    for parts in differing(sides[0], sides[1], schema):
        for side, rows in zip(kept, parts, strict=True):
            if rows is not None:
                side.add(rows)
    for side in kept:
        side.done()
    return Unequal(name, schema, *kept)


def _losses(
    unequal: Unequal, declared: Declared, base: tuple[VaultView | None, bool], absent: str, scratch: SealedScratch
) -> CollectionLosses:
    """What became of one collection, with what it was where histories parted, if they did."""
    view, is_parted = base
    schema = unequal.schema if view is None else readable(unequal.schema, view.schema)
    # Under another key nothing can be held against what it was.
    if not is_parted or (view is not None and view.schema.key != schema.key):
        read = None
    elif view is None:
        read = _nothing
    else:
        read = _reading(view, unequal, schema, scratch)
    return CollectionLosses(unequal.name, schema, declared, unequal, read, absent)


def _reading(
    view: VaultView, unequal: Unequal, schema: Schema, scratch: SealedScratch
) -> Callable[[], Iterator[Keyed]]:
    """What the state at the parting holds of the records that differ, or of all where they are too many to ask for."""
    if not schema.key or unequal.good.rows + unequal.live.rows > _AMONG_MAX:
        return lambda: prefetched(keyed(view, scratch, schema=schema))
    keys = [*unequal.good.keys(), *unequal.live.keys()]
    among = pc.unique(pa.concat_arrays(keys))
    among = among.take(pc.sort_indices(among))
    kept = KeptRecords(scratch)
    for each in view.keyed(among):
        kept.add(Keyed(each.keys, project(each.batch, view.schema, schema)))
    kept.done()
    return kept.read


def _nothing() -> Iterator[Keyed]:
    return iter(())


def _records(vault: Vault, state: State) -> dict[str, VaultView]:
    """The collections of a state that hold business records."""
    collections = state.collections.items()
    return {
        name: VaultView(vault, each) for name, each in collections if not (each.part.dropped or is_definition(name))
    }
