"""What puts back the records that a source lost, and leaves in place those that came since.

* A lost record comes back under its own key if that is free. If another record has it by now, a key that is one integer
  gets the next number above all; a key that holds references follows what they lead to; any other waits for a person.
* What refers to a record with a new key belongs to it, and so comes back beside it, even where the source holds its
  equal under the old one: that one belongs to the other record. All new keys are known before a record is written.
* What can't be put back without a person waits, and with it all that belongs to it.

Everything is read from `Histories`, more than once; memory holds keys, and a piece of records at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Protocol

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.align import Keyed
from holdfast.core.compare import rows_differ
from holdfast.core.declared import Conflict, Declared, declared_of
from holdfast.core.filling import Filling
from holdfast.core.keyed import KeyTable, Stop, Stops, as_type, led_by_values
from holdfast.core.records import Schema
from holdfast.core.threeway import Deviation, Fate

__all__ = ["Histories", "NewKeys", "Rules", "Stop", "Stops", "Way", "give_keys", "relevant", "stop", "way_of", "where"]

_TOP = {"int": (1 << 63) - 1, "uint": (1 << 64) - 1}
_COMES_BACK = (Fate.LOST, Fate.REUSED)
_IS_WRITTEN = (*_COMES_BACK, Fate.REVERTED, Fate.BOTH)
_DELETED = "the source deleted it since"


class Histories(Protocol):
    """Both histories of every collection, to be read as often as wanted.

    `pieces` are the deviations that matter here, without a base where all that is missing is lost; those that `keep`
    adds come last. `done` are records that were put back before: they are in no piece.
    """

    @property
    def schemas(self) -> Mapping[str, Schema]:
        """The schema of each collection; pieces and rows are in it."""

    @property
    def done(self) -> KeyTable: ...

    def pieces(self, name: str) -> Iterator[Deviation]: ...

    def keep(self, name: str, piece: Deviation) -> None: ...

    def records(self, name: str, *, at_base: bool = False) -> Iterator[Keyed]:
        """Every record that the vault has, or had at the parting: none where all that is missing is lost."""

    def top(self, name: str) -> int | None:
        """The largest key of vault and source, where it is one integer."""


class Way(Enum):
    """How a record gets a new key."""

    NUMBER = "the next number"
    FOLLOW = "that of what it refers to"
    NONE = "none"


class NewKeys(KeyTable):
    """Old keys, with the new ones as facts."""

    def followed(self, rows: pa.RecordBatch, schema: Schema) -> pa.RecordBatch:
        """The records with every reference to a record that has a new key leading to that."""
        columns = dict(zip(schema.names, rows.columns, strict=True))
        for reference, places in self.led(rows, schema):
            is_led = pc.is_valid(places)
            if not pc.any(is_led).as_py():
                continue
            target, (_, new) = self.schemas[reference.target], self.all(reference.target)
            for own, theirs in zip(reference.columns, reference.target_columns, strict=True):
                held, wanted = target.column(theirs), schema.column(own)
                assert held is not None, "a schema has its key's columns"
                assert wanted is not None, "a schema has the columns it refers with"
                values = as_type(new.column(theirs).take(places), held, wanted)
                columns[own] = pc.if_else(is_led, values, columns[own])
        return pa.RecordBatch.from_arrays([columns[name] for name in schema.names], schema=rows.schema)

    def renamed(self, name: str, keys: pa.Array, rows: pa.RecordBatch) -> pa.RecordBatch:
        """The records under their own new keys, where they have one, and with references that lead on."""
        schema = self.schemas[name]
        rows, places = self.followed(rows, schema), self.find(name, keys)
        if places.null_count == len(places):
            return rows
        _, new = self.all(name)
        columns = [
            pc.if_else(pc.is_valid(places), new.column(each).take(places), rows.column(each))
            if each in schema.key
            else rows.column(each)
            for each in schema.names
        ]
        return pa.RecordBatch.from_arrays(columns, schema=rows.schema)


@dataclass(frozen=True, slots=True)
class Rules:
    """What is declared of each collection; `conflict`, where it is set, decides all that would wait. `filling` is what
    the source demands of records.
    """

    declared: Mapping[str, Declared]
    conflict: Conflict | None = None
    filling: Filling = field(default_factory=Filling)

    def of(self, name: str) -> Declared:
        """What counts for one collection."""
        found = declared_of(self.declared, name)
        return found if self.conflict is None else replace(found, conflict=self.conflict)


def way_of(schema: Schema) -> Way:
    """How records of this schema get new keys."""
    referring = {name for reference in schema.references for name in reference.columns}
    if set(schema.key) & referring:
        return Way.FOLLOW
    is_number = len(schema.key) == 1 and schema.key_columns[0].type in _TOP
    return Way.NUMBER if is_number else Way.NONE


def relevant(found: Deviation, schema: Schema, *, is_parted: bool) -> Iterator[Deviation]:
    """Records of one fate as `Histories` gives them; none where the source stays as it is."""
    if not is_parted:
        if found.fate in _COMES_BACK:
            yield replace(found, base=None)
    elif found.fate is Fate.REUSED and found.base is not None:
        mask = rows_differ(found.base, found.good, schema)
        is_new = pa.array([False] * len(found.keys)) if mask is None else mask
        yield replace(where(found, is_new), base=None)
        # The source deleted what the vault still has as it was, and then used its key again: that was its own doing.
        yield replace(where(found, pc.invert(is_new)), fate=Fate.DELETED)
    elif found.fate not in (Fate.CREATED, Fate.CHANGED):
        yield found


def where(piece: Deviation, mask: pa.Array) -> Deviation:
    """The records of a piece that the mask names."""
    if pc.all(mask).as_py():
        return piece
    sides = [None if side is None else side.filter(mask) for side in (piece.base, piece.good, piece.live)]
    digests = [None if each is None else each.filter(mask) for each in (piece.good_digests, piece.live_digests)]
    return Deviation(piece.fate, piece.keys.filter(mask), sides[0], sides[1], sides[2], *digests)


def give_keys(histories: Histories, known: NewKeys) -> NewKeys:
    """The new key of every record that needs one. `known` are new keys that were given before: they stay, and their
    records are back already.
    """
    keys = _Keys(histories, known)
    keys.number_all()
    keys.follow()
    return keys.new


def stop(histories: Histories, rules: Rules, new: NewKeys, taken: Iterable[tuple[str, pa.Array, str]] = ()) -> Stops:
    """Every record that is not put back, those among them whose place is `taken`: collection, keys, and why."""
    stops = Stops(histories.schemas)
    for name, keys, why in taken:
        stops.stop(name, keys, why, waits=rules.of(name).conflict is not Conflict.LIVE)
    return _stops(histories, rules, new, stops)


class _Keys:
    """Gives new keys until everything that belongs to a record with one has its own."""

    def __init__(self, histories: Histories, known: NewKeys) -> None:
        self._histories = histories
        self.new = NewKeys(histories.schemas)
        for name in histories.schemas:
            if known.has(name):
                self.new.add(name, *known.all(name))
        self._next: dict[str, int] = {}
        self._seen: dict[str, pa.Array] = {}

    def number_all(self) -> None:
        """New numbers for all records whose numbers others have by now."""
        for name, schema in self._histories.schemas.items():
            if way_of(schema) is Way.NUMBER:
                for piece in self._histories.pieces(name):
                    if piece.fate is Fate.REUSED:
                        self._number(name, piece.keys)

    def follow(self) -> None:
        """New keys for all that belongs to records with new keys, and to those in turn."""
        grown = {name for name in self._histories.schemas if self.new.has(name)}
        while grown:
            before = {name: self.new.count(name) for name in self._histories.schemas}
            for name, schema in self._histories.schemas.items():
                if any(reference.target in grown for reference in schema.references):
                    self._follow_own(name, schema)
                    self._find_twins(name, schema)
            grown = {name for name, count in before.items() if self.new.count(name) > count}

    def _follow_own(self, name: str, schema: Schema) -> None:
        """Records that come back and whose keys hold the old key of what they belong to."""
        if way_of(schema) is Way.FOLLOW:
            for piece in self._histories.pieces(name):
                if piece.fate in _COMES_BACK and piece.base is None:
                    self._rename(name, Keyed(piece.keys, piece.good))

    def _find_twins(self, name: str, schema: Schema) -> None:
        """Records that are the same in vault and source, and belong to another record in each."""
        for rows in self._histories.records(name):
            some = rows.filter(self.new.leading(rows.batch, schema))
            if len(some.keys):
                some = some.filter(pc.invert(pc.is_in(some.keys, value_set=self._known(name))))
            if len(some.keys):
                self._keep_twins(name, some)

    def _keep_twins(self, name: str, twins: Keyed) -> None:
        self._seen[name] = pa.concat_arrays([self._known(name), twins.keys])
        for was in self._histories.records(name, at_base=True):
            common = was.filter(pc.is_in(was.keys, value_set=twins.keys))
            if len(common.keys):
                both = twins.batch.take(pc.index_in(common.keys, value_set=twins.keys))
                self._histories.keep(name, Deviation(Fate.BOTH, common.keys, common.batch, both, both, None, None))
                twins = twins.filter(pc.invert(pc.is_in(twins.keys, value_set=common.keys)))
        if not len(twins.keys):
            return
        self._histories.keep(name, Deviation(Fate.REUSED, twins.keys, None, twins.batch, twins.batch, None, None))
        match way_of(self._histories.schemas[name]):
            case Way.NUMBER:
                self._number(name, twins.keys)
            case Way.FOLLOW:
                self._rename(name, twins)
            case Way.NONE:
                pass

    def _known(self, name: str) -> pa.Array:
        """Keys of all records that differ anyway, or were looked at before."""
        if name not in self._seen:
            found = [piece.keys for piece in self._histories.pieces(name)]
            found += [self._histories.done.all(name)[0]] if self._histories.done.has(name) else []
            self._seen[name] = pa.concat_arrays(found) if found else pa.array([], pa.binary())
        return self._seen[name]

    def _number(self, name: str, keys: pa.Array) -> None:
        keys = keys.filter(pc.invert(self.new.holds(name, keys)))
        (column,) = self._histories.schemas[name].key_columns
        start = self._next.setdefault(name, (self._histories.top(name) or 0) + 1)
        keys = keys.slice(0, max(0, _TOP[column.type] + 1 - start))
        self._next[name] = start + len(keys)
        numbers = pa.array(range(start, start + len(keys)), column.arrow)
        self.new.add(name, keys, pa.RecordBatch.from_arrays([numbers], names=[column.name]))

    def _rename(self, name: str, rows: Keyed) -> None:
        """New keys for those of the records whose keys lead to others with new keys."""
        schema = self._histories.schemas[name]
        rows = rows.filter(pc.invert(self.new.holds(name, rows.keys)))
        if not len(rows.keys):
            return
        own, led = rows.batch.select(list(schema.key)), self.new.followed(rows.batch, schema).select(list(schema.key))
        is_new = pa.array([False] * led.num_rows, pa.bool_())
        for before, after in zip(own.columns, led.columns, strict=True):
            is_new = pc.or_(is_new, pc.not_equal(before, after))
        self.new.add(name, rows.keys.filter(is_new), _plain(led.filter(is_new)))


def _plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch without what its fields say of types, so that batches of several sources are of one form."""
    return pa.RecordBatch.from_arrays(batch.columns, names=batch.schema.names)


def _stops(histories: Histories, rules: Rules, new: NewKeys, stops: Stops) -> Stops:
    for name in histories.schemas:
        for piece in histories.pieces(name):
            _stop_piece(stops, name, piece, rules.of(name).conflict, new)
    if any(rules.of(name).conflict is Conflict.VAULT for name in histories.schemas):
        _learn_values(stops, histories)
        stops = _revived(histories, rules, stops)
    grows = True
    while grows:
        grows = False
        _learn_values(stops, histories)
        for name, schema in histories.schemas.items():
            if schema.key and any(stops.has(reference.target) for reference in schema.references):
                grows |= _stop_belonging(stops, histories, name, waits=rules.of(name).conflict is not Conflict.LIVE)
    return stops


def _learn_values(stops: Stops, histories: Histories) -> None:
    """Let stops know what records hold that are referred to by other columns than their key."""
    for target, columns in led_by_values(histories.schemas):
        for piece in histories.pieces(target) if stops.has(target) else ():
            if piece.good is not None:
                stops.learn(target, columns, Keyed(piece.keys, piece.good))


def _stop_piece(stops: Stops, name: str, piece: Deviation, conflict: Conflict, new: NewKeys) -> None:
    """Stop what its own fate keeps from being put back."""
    waits = conflict is Conflict.WAIT
    if piece.fate is Fate.DELETED:
        why = _DELETED if piece.live is None else f"{_DELETED}, and has another record under its key"
        stops.stop(name, piece.keys, why, waits=waits)
    elif piece.fate is Fate.LOST and piece.base is not None and conflict is not Conflict.VAULT:
        stops.stop(name, piece.keys, f"the vault has a later version, and {_DELETED}", waits=waits)
    elif piece.fate is Fate.REUSED and stops.schemas[name].key:
        # Also where the vault decides: what came since is another record, and stays.
        stuck = piece.keys.filter(pc.invert(new.holds(name, piece.keys)))
        why = "the source has another record under its key, which is none that can be given anew"
        stops.stop(name, stuck, why, waits=conflict is not Conflict.LIVE)


def _stop_belonging(stops: Stops, histories: Histories, name: str, *, waits: bool) -> bool:
    """Stop records that come back and refer to a stopped one; tells whether there were any."""
    schema, grows = histories.schemas[name], False
    for piece in histories.pieces(name):
        if piece.fate in _COMES_BACK and piece.base is None:
            for reference, places in stops.led(piece.good, schema):
                mask = pc.is_valid(places)
                if pc.any(mask).as_py():
                    why = f"it refers to a record of {reference.target} that is not put back"
                    grows |= stops.stop(name, piece.keys.filter(mask), why, waits=waits)
    return grows


def _revived(histories: Histories, rules: Rules, stops: Stops) -> Stops:
    """The stops without the deleted records that something put back refers to, where the vault decides."""
    wanted = KeyTable(histories.schemas)
    grows = True
    while grows:
        grows = False
        for name, schema in histories.schemas.items():
            for piece in histories.pieces(name):
                rows = piece.good if piece.fate in _IS_WRITTEN else _of(piece, wanted.holds(name, piece.keys))
                for reference, places in stops.led(rows, schema) if rows is not None else ():
                    target = reference.target
                    keys, facts = stops.all(target)
                    some = pc.unique(pc.drop_null(places))
                    held = keys.take(some).filter(pc.equal(facts.column("why").take(some), _DELETED))
                    held = held.filter(pc.invert(wanted.holds(target, held)))
                    if len(held) and rules.of(target).conflict is Conflict.VAULT:
                        wanted.add(target, held, pa.RecordBatch.from_arrays([held], names=["key"]))
                        grows = True
    left = Stops(histories.schemas)
    for name in histories.schemas:
        if stops.has(name):
            keys, facts = stops.all(name)
            stays = pc.invert(wanted.holds(name, keys))
            left.add(name, keys.filter(stays), facts.filter(stays))
    return left


def _of(piece: Deviation, mask: pa.Array) -> pa.RecordBatch | None:
    """Rows of a deleted record that something needs."""
    return piece.good.filter(mask) if piece.fate is Fate.DELETED and piece.good is not None else None
