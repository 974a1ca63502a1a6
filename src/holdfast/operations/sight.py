"""What one commit shows of its collections, gathered while it is made: digests before and after are at hand only then.

* Nothing of a record is kept but what its owner declared (`state/worth`), and the first keys that went or changed.
* Where the index knew nothing of a collection, nothing passes for new or gone by that: only what the ledger knows of
  its size counts. A new base of a known collection is compared like a delta.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.align import Keyed
from holdfast.core.beat import beat_of
from holdfast.core.canonical import slices
from holdfast.core.declared import Declared, declared_of
from holdfast.core.limits import Limits
from holdfast.core.observed import Observed
from holdfast.core.projection import ChangeKind, SchemaChange
from holdfast.core.records import MIXED, Schema, is_definition
from holdfast.core.where import render_key
from holdfast.operations.changes import Ledger
from holdfast.operations.texts import Texts
from holdfast.operations.valued import money_names, values_of
from holdfast.state.observed import ObservedLedger
from holdfast.state.sampled import Changes, Looked, Windows
from holdfast.state.stepfacts import First, Shown, micros, moment
from holdfast.vault.merge import AT_COLUMN, DELETE, KEY_COLUMN, OP_COLUMN, ORDER_COLUMN, TX_COLUMN, UPDATE

__all__ = ["Rulebook", "Sight", "lost_in"]

_KEYS_SHOWN = 8
_SIGN = 1 << 63
_NUMBERS = {"int": _SIGN, "uint": 0}


@dataclass(frozen=True, slots=True)
class Rulebook:
    """By what a source is judged: its name, limits, what its owner declared of collections, and which of these holds
    the heartbeat.
    """

    source: str = ""
    limits: Limits = field(default_factory=Limits)
    collections: Mapping[str, Declared] = field(default_factory=dict)
    heartbeat: str = ""


class Sight:
    """One collection in one commit: `through` takes a whole reading and `told` a follower's batches, `seen` and `held`
    what differs; `observed` says what it came to.
    """

    def __init__(self, ledger: ObservedLedger, rules: Rulebook, name: str, schema: Schema, at: datetime) -> None:
        self.name = name
        self.shown = Shown()
        self.looked = Looked()
        self.beat: int | None = None
        self.records = 0
        self._ledger = ledger
        self._schema = schema
        self._declared = declared_of(rules.collections, name)
        self._is_heartbeat = bool(rules.heartbeat) and name == rules.heartbeat
        self._known = ledger.meet(name, at)
        self._at = micros(at)
        self._texts = Texts(schema, ledger.classes(name), is_off=is_definition(name))
        self._numbers = _Numbers(schema, self._known.top)
        self._wish = _wish(self._declared, schema)
        self._is_whole = self._sees_all = False

    @property
    def id(self) -> int:
        """The collection's number in the ledger."""
        return self._known.id

    def through(self, stream: Iterator[Keyed], *, afresh: bool) -> Iterator[Keyed]:
        """The rows of a whole reading, looked at on their way; `afresh` if the index knows nothing to compare with."""
        self._is_whole = True
        self._sees_all = bool(self._wish) and (afresh or self._wish != self._known.declared)
        if self._known.declared and self._wish != self._known.declared:
            self._ledger.worth.forget(self.id)
        for rows in stream:
            if len(rows.keys):
                self._numbers.last = rows.keys[-1].as_py()
                self._texts.meet(rows.batch)
                if self._is_heartbeat:
                    self._beat(rows.batch)
                if self._sees_all:
                    self._ledger.worth.see(self.id, self._at, values_of(rows, self._schema, self._declared))
            yield rows

    def seen(self, keys: pa.Array, before: pa.Array | None, after: pa.Array | None) -> None:
        """Keys whose records came, changed or went, with their digests before and after, NULL or None for none."""
        if not len(keys):
            return
        names = slices(keys)
        was, now = (_digests(each, len(names)) for each in (before, after))
        gone = [key for key, left in zip(names, now, strict=True) if not left]
        if self._keeps_worth and gone:
            self._ledger.worth.gone(self.id, self._at, gone)
        if not self._schema.key:
            return
        self._ledger.sample.note(self.id, self._at, Changes(names, was, now), self.looked)
        self._show(self.shown.gone, gone)
        if len(self.shown.changed) < _KEYS_SHOWN:
            sides = zip(names, was, now, strict=True)
            self._show(self.shown.changed, [key for key, first, last in sides if first and last])
        self._numbers.take((key for key, first in zip(names, was, strict=True) if not first), gone)

    def held(self, rows: Keyed, is_changed: pa.Array) -> None:
        """Records as they are now that came, or (`is_changed`) changed."""
        if not len(rows.keys):
            return
        if self._keeps_worth:
            self._ledger.worth.put(self.id, self._at, values_of(rows, self._schema, self._declared))
        if self._is_heartbeat:
            self._beat(rows.batch)
        self._texts.look(rows.batch, is_changed)

    def told(self, batch: pa.RecordBatch) -> None:
        """A batch of changes as a follower seals them: by key, and under one key in the source's order."""
        ops = batch.column(OP_COLUMN)
        is_gone = pc.equal(ops, pa.scalar(DELETE, pa.int8()))
        is_changed = pc.equal(ops, pa.scalar(UPDATE, pa.int8()))
        self.shown.first_gone = _earlier(self.shown.first_gone, batch, is_gone)
        self.shown.first_changed = _earlier(self.shown.first_changed, batch, is_changed)
        if not (self._keeps_worth or self._texts.names or self._is_heartbeat):
            return
        keys = batch.column(KEY_COLUMN)
        if self._keeps_worth and pc.any(is_gone).as_py():
            self._ledger.worth.gone(self.id, self._at, slices(keys.filter(is_gone)))
        stands = pc.invert(is_gone)
        rows = Keyed(keys.filter(stands), batch.select(list(self._schema.names)).filter(stands))
        self.held(rows, is_changed.filter(stands))

    def observed(self, was: int | None, ledger: Ledger, lost: Sequence[str] = ()) -> Observed:
        """What it came to; `was` is None where the index had nothing to compare with."""
        self.records = ledger.rows
        before = was if was is not None else self._known.records
        new, changed, gone = ledger.new, ledger.changed, ledger.gone
        if was is None:
            # Which ones, nobody can tell; how many at least, the count does.
            size = ledger.rows if before is None else before
            new, changed, gone = max(0, ledger.rows - size), 0, max(0, size - ledger.rows)
        elif not self._schema.key:
            changed = min(new, gone)  # without a key a changed record is another one
            new, gone = new - changed, gone - changed
        top = self._numbers.top if not self._is_whole else self._numbers.top_of_all
        if self._is_whole and self._sees_all:
            self._ledger.worth.all_gone(self.id, self._at)
        if self._texts.is_new:
            self._ledger.keep_classes(self.name, self._texts.counts)
        # In a commit of changes the largest key is not looked for once it went.
        known = replace(self._known, records=ledger.rows, top=self._known.top if top is None else top, is_there=True)
        self._ledger.keep(replace(known, declared=self._wish) if self._is_whole else known)
        return Observed(
            self.name,
            before or 0,
            new,
            changed,
            gone,
            looked_up=self.looked.looked_up,
            reverted=self.looked.reverted,
            checked=self._texts.checked,
            garbled=self._texts.garbled,
            **self._windows(gone, changed, is_told=was is not None)._asdict(),
            top_before=self._known.top,
            top_after=top,
            low=self._numbers.low,
            lost=tuple(lost),
            is_settings=self._declared.settings,
        )

    def _windows(self, gone: int, changed: int, *, is_told: bool) -> Windows:
        sample = self._ledger.sample
        if is_told and self._schema.key:
            return sample.windows(self.id, self._at, self.looked, gone, changed)
        return sample.sums(self.id, self._at, gone, changed)

    @property
    def _keeps_worth(self) -> bool:
        """Whether declared values are kept as they change; where all are seen that is done, and what was declared
        anew waits until they are.
        """
        return bool(self._wish) and not self._sees_all and self._wish == self._known.declared

    def _beat(self, batch: pa.RecordBatch) -> None:
        found = beat_of(batch)
        if found is not None:
            self.beat = found if self.beat is None else max(found, self.beat)

    def _show(self, shown: list[str], keys: Sequence[bytes]) -> None:
        shown += [render_key(key, self._schema) for key in keys[: _KEYS_SHOWN - len(shown)]]


class _Numbers:
    """The largest key of a collection whose keys are whole numbers, and new ones below it."""

    def __init__(self, schema: Schema, top: int | None) -> None:
        columns = schema.key_columns
        self._sign = _NUMBERS.get(columns[0].type) if len(columns) == 1 else None
        self._before = top if self._sign is not None else None
        self._new: int | None = None
        self._is_top_gone = False
        self.last: bytes | None = None
        self.low = 0

    def take(self, new: Iterable[bytes], gone: Sequence[bytes]) -> None:
        """Keys that came and went."""
        if self._sign is None:
            return
        numbers = [self._number(key, self._sign) for key in new]
        if numbers:
            self._new = max(numbers) if self._new is None else max(*numbers, self._new)
        if self._before is not None:
            self.low += sum(each < self._before for each in numbers)
            top = (self._before + self._sign).to_bytes(8, "big")
            self._is_top_gone = self._is_top_gone or any(key[1:] == top for key in gone)

    @property
    def top(self) -> int | None:
        """The largest key after changes; None if it is not known."""
        if self._before is None or self._new is None:
            return self._new if self._before is None or self._is_top_gone else self._before
        return self._new if self._new > self._before else None if self._is_top_gone else self._before

    @property
    def top_of_all(self) -> int | None:
        """The largest key of a whole reading."""
        return None if self._sign is None or self.last is None else self._number(self.last, self._sign)

    @staticmethod
    def _number(key: bytes, sign: int) -> int:
        return int.from_bytes(key[1:9], "big") - sign


def lost_in(changes: Iterable[SchemaChange]) -> tuple[str, ...]:
    """What went with a change of schema: columns, and types that hold less than before, where the source declares them.

    A type that follows from the values is no one's promise: it changes with the last row that goes.
    """
    found = []
    for each in changes:
        if each.kind is ChangeKind.DROPPED:
            found.append(f"column {each.column}")
        elif each.kind is ChangeKind.TYPE and _is_narrower(each.before, each.after):
            kinds = [text.partition(", declared ") for text in (each.before, each.after)]
            if not kinds[1][2] or kinds[0][2] == kinds[1][2]:
                continue
            before, after = (kind if kinds[0][0] != kinds[1][0] else declared for kind, _, declared in kinds)
            found.append(f"type {before} of column {each.column} (now {after})")
    return tuple(found)


def _is_narrower(before: str, after: str) -> bool:
    """Whether a type as `schema_changes` describes it holds less than the one before: another kind of value, or fewer
    characters or digits.
    """
    kinds = [each.partition(",")[0] for each in (before, after)]
    if kinds[0] != kinds[1]:
        return kinds[1] != MIXED and kinds != ["int", "uint"] and kinds[0] != MIXED
    sizes = [[int(each) for each in re.findall(r"\d+", text.partition(",")[2])] for text in (before, after)]
    return len(sizes[0]) == len(sizes[1]) and any(old > new for old, new in zip(*sizes, strict=True))


def _wish(declared: Declared, schema: Schema) -> str:
    """What is to be kept of each record, as text; "" for nothing."""
    if not declared.tenant and not declared.money:
        return ""
    return "\0".join((declared.tenant, declared.currency, *money_names(schema, declared)))


def _digests(digests: pa.Array | None, count: int) -> list[bytes]:
    # Where a digest of fixed width is NULL there lie 32 bytes all the same.
    return [b""] * count if digests is None else slices(pc.fill_null(digests.cast(pa.binary()), b""))


def _earlier(known: First | None, batch: pa.RecordBatch, which: pa.Array) -> First | None:
    """The first transaction among these rows and the one that is known."""
    orders = batch.column(ORDER_COLUMN).filter(which)
    if not len(orders):
        return known
    first = pc.min(orders).as_py()
    if known is not None and known.order <= first:
        return known
    place = pc.index(orders, first).as_py()
    tx, at = (batch.column(name).filter(which)[place] for name in (TX_COLUMN, AT_COLUMN))
    return First(first, tx.as_py() or "", moment(at.value))
