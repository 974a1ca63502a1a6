"""The stand-in's copy is made from the vault, and kept up with it.

* Only what routes need is copied: some columns of some collections, a batch at a time.
* Where the base is the same, only what was committed since is read. Everything else is filled anew, beside what is
  there, and takes over in one transaction: all collections are of one state.
* While an incident is open the copy is of the last good state, as every view is.
* Whatever fails, a site that is away or a damaged segment, leaves the copy as it was.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import repeat, takewhile
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.answering import Answering
from holdfast.core.canonical import decode, row_digests
from holdfast.core.drafts import Draft
from holdfast.core.lookups import Need, Shape, Texts
from holdfast.core.records import MIXED, Schema
from holdfast.core.stored import Stored, decimal_order, stored_whole
from holdfast.core.writes import check_mistakes
from holdfast.errors import Unsupported
from holdfast.state.copies import CopyDamaged, CopyWriter, Kept
from holdfast.state.copysql import Layout
from holdfast.vault.coding import parse_time
from holdfast.vault.merge import DELETE
from holdfast.vault.states import CollectionState, State
from holdfast.vault.vault import Vault
from holdfast.vault.view import VaultView

__all__ = ["Copied", "Copier", "States", "Wishes"]

_DIGEST_BYTES = 16
_SLICE_ROWS = 4096  # that are Python's at a time: they take several times the room they have in Arrow
States = Callable[[Collection[str]], tuple[State, bool]]
_Row = list[Stored]


class Copied(NamedTuple):
    """What bringing the copy up to date took: collections filled anew, and those to which changes were made; the
    commit it now is of; by collection what can't be copied; and by route what is wrong with it, now that collections
    are known.
    """

    filled: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    commit: str = ""
    left_out: Mapping[str, str] = {}
    wrong: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class _Told:
    """What of the vault a collection in the copy is: which base, under which schema, with which segments."""

    base: tuple[str, int]
    schema: str
    segments: tuple[str, ...]
    until: str

    @classmethod
    def of(cls, state: CollectionState) -> _Told:
        part = state.part
        names = tuple(segment.ref.name for segment in state.segments)
        schema = json.dumps(part.schema.to_json(), sort_keys=True)
        return cls((part.base.stream, part.base.sequence), schema, names, repr(state.until) if state.until else "")

    def to_json(self) -> str:
        return json.dumps([list(self.base), self.schema, list(self.segments), self.until])

    @classmethod
    def from_json(cls, text: str) -> _Told:
        base, schema, segments, until = json.loads(text)
        return cls((base[0], base[1]), schema, tuple(segments), until)


class Wishes(NamedTuple):
    """The routes that are to be answered, what that takes, how the platform compares texts, and the routes whose writes
    are compared with the copy.
    """

    drafts: Mapping[str, Draft]
    needs: Mapping[str, Need]
    texts: Texts = Texts.BINARY
    checks: Mapping[str, Mapping[str, str]] = {}


class Copier:
    """Keeps a copy up, in one thread. *states* gives the state to copy, and whether it is the newest."""

    def __init__(self, vault: Vault, states: States, wishes: Wishes, writer: CopyWriter) -> None:
        self._vault, self._states = vault, states
        self._wishes, self._needs, self._writer = wishes, wishes.needs, writer

    def refresh(self) -> Copied:
        """Bring the copy up to what the sites hold now. Raises HoldfastError; then it is as it was before."""
        self._vault.refresh()
        state, is_newest = self._states(tuple(self._needs))
        is_done = False
        try:
            try:
                done = self._bring(state, self._writer.kept(), is_newest)
            except CopyDamaged:
                self._writer.renew()
                done = self._bring(state, {}, is_newest)
            is_done = True
        finally:
            if not is_done:
                self._writer.forget()
        return done

    def close(self) -> None:
        """Take the copy away."""
        self._writer.close()

    def _bring(self, state: State, before: Mapping[str, Kept], is_newest: bool) -> Copied:
        after: dict[str, Kept] = {}
        since: dict[str, int] = {}
        left_out: dict[str, str] = {}
        dated = self._dated(state)
        for name, need in self._needs.items():
            held = state.collections.get(name)
            if held is None or held.part.dropped:
                left_out[name] = "the vault holds no such collection, or no key at hand opens it"
                continue
            kept, told, taken = before.get(name), _Told.of(held), _taken(dated, held)
            start = None if kept is None else _start(_Told.from_json(kept.told), told, is_newest=is_newest)
            try:
                if kept is None or start is None:
                    after[name] = Kept(self._filled(held, need), told.to_json(), taken)
                else:
                    after[name], since[name] = Kept(kept.layout, told.to_json(), taken), start
            except Unsupported as err:
                left_out[name] = err.message
        if before != after:
            rows = {name: None if each.until else each.part.rows for name, each in state.collections.items()}
            layouts = {name: each.layout for name, each in after.items()}
            self._writer.switch(after, lambda name: self._changes(state, layouts[name], name, since.get(name)), rows)
        changed = tuple(name for name, start in since.items() if start < len(state.collections[name].segments))
        filled = tuple(name for name in after if name not in since)
        texts = self._wishes.texts
        shapes = {name: _shape(state.collections[name].part.schema, texts) for name in after}
        schemas = {name: each.part.schema for name, each in state.collections.items() if not each.part.dropped}
        wrong = Answering(self._wishes.drafts, shapes).wrong | check_mistakes(self._wishes.checks, schemas)
        return Copied(filled, changed, state.signed.sha256, left_out, wrong)

    def _dated(self, state: State) -> State:
        """The state whose time is told. A commit that is cut before a transaction says only when its end was, so it is
        the one before: what is told is never younger than what is shown.
        """
        if state.until is None or state.until.before is None or state.number < 2:
            return state
        line = self._vault.log(pin=state.signed.sha256)
        return self._vault.state(pin=line[state.number - 2].signed.sha256, collections=tuple(self._needs))

    def _filled(self, held: CollectionState, need: Need) -> Layout:
        view = VaultView(self._vault, held)
        layout = replace(_layout(view.schema, need), texts=self._wishes.texts)
        rows = (row for each in view.keyed() for row in _rows(each.keys, each.batch, view.schema, layout, need))
        return self._writer.fill(layout, rows, view.rows)

    def _changes(
        self, state: State, layout: Layout, name: str, start: int | None
    ) -> Iterator[tuple[bytes, _Row | None]]:
        held = state.collections[name]
        if start is None or start >= len(held.segments):
            return
        view = VaultView(self._vault, held)
        for rows, ops in view.deltas(start):
            gone = pc.equal(ops, DELETE)
            for key in rows.keys.filter(gone).to_pylist():
                yield key, None
            stays = pc.invert(gone)
            keys = rows.keys.filter(stays)
            for row in _rows(keys, rows.batch.filter(stays), view.schema, layout, self._needs[name]):
                yield row[0], row  # type: ignore[misc]


def _start(kept: _Told, told: _Told, *, is_newest: bool) -> int | None:
    """From which segment on the copy lacks changes; None where it must be filled anew.

    Small commits are rolled up: what stands for them holds every change of theirs again. The last change of a record
    wins, so all of it is made again. What lies before an incident, or at an instant, is no such end.
    """
    if (kept.base, kept.schema) != (told.base, told.schema):
        return None
    if kept == told:
        return len(told.segments)
    common = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(kept.segments, told.segments, strict=False)))
    is_rolled_up = is_newest and common < len(told.segments)
    if kept.until or told.until or (common < len(kept.segments) and not is_rolled_up):
        return None
    return common


def _taken(state: State, held: CollectionState) -> str:
    """The moment a collection is of: the newest that its stream tells of. What a commit leaves out did not change."""
    stream = held.part.base.stream
    times = [each.part.taken for each in state.collections.values() if each.part.base.stream == stream]
    moment = max(map(parse_time, times), default=state.taken)
    if state.until is not None and state.until.at is not None:
        moment = min(moment, state.until.at)
    return moment.isoformat()


def _shape(schema: Schema, texts: Texts) -> Shape:
    """All of a collection, of which the copy has a part: who names a column that is not there is shown all that are."""
    return Shape({column.name: column.type for column in schema.columns}, schema.key, texts)


def _layout(schema: Schema, need: Need) -> Layout:
    """What of a collection is copied. What routes name and it has not, they are told when they are put to work."""
    kinds = {column.name: column.type for column in schema.columns}
    names = dict.fromkeys([*schema.key, *(name for name in need.columns if name in kinds)])
    compared = {*schema.key, *need.compared}
    indexes = tuple(index for index in need.indexes if all(name in names for name, _ in index))
    ordered = tuple(name for name in names if kinds[name] == "decimal" and name in compared)
    return Layout(tuple((name, kinds[name]) for name in names), schema.key, ordered, indexes)


def _rows(keys: pa.Array, batch: pa.RecordBatch, schema: Schema, layout: Layout, need: Need) -> Iterator[_Row]:
    """Rows as the copy takes them: key, digest, columns, what decimals are ordered by."""
    for at in range(0, batch.num_rows, _SLICE_ROWS):
        yield from _sliced(keys.slice(at, _SLICE_ROWS), batch.slice(at, _SLICE_ROWS), schema, layout, need)


def _sliced(keys: pa.Array, batch: pa.RecordBatch, schema: Schema, layout: Layout, need: Need) -> Iterator[_Row]:
    digests: Any = repeat(None)
    if need.is_versioned:
        digests = (each[:_DIGEST_BYTES] for each in row_digests(batch, schema).to_pylist())
    columns = {name: _stored(batch.column(name), kind, name) for name, kind in layout.columns}
    orders = [[None if text is None else decimal_order(text) for text in columns[name]] for name in layout.ordered]
    yield from zip(keys.to_pylist(), digests, *columns.values(), *orders, strict=False)


def _stored(values: pa.Array, kind: str, name: str) -> list[Any]:
    """A column's values as `core.stored` has them."""
    if kind == "date":
        return _list(values.cast(pa.int32()))
    if kind in ("time", "timestamp", "timestamptz"):
        return _list(values.cast(pa.int64()))
    if kind == "bool":
        return _list(values.cast(pa.int8()))
    found = _list(values)
    if kind == "uint":
        return [None if value is None else stored_whole(value) for value in found]
    if kind in ("float", "float32"):
        return ["NaN" if value is not None and value != value else value for value in found]
    if kind == MIXED:
        return [None if value is None else _mixed(value, name) for value in found]
    return found


def _mixed(value: bytes, name: str) -> Stored:
    kind, plain = decode(value)
    if kind not in ("int", "uint", "float", "text", "bytes", "rawtext") or plain != plain:
        raise Unsupported(f"its column {name!r} holds values of several types, one of them {kind}")
    return stored_whole(plain) if kind == "uint" else plain


def _list(values: pa.Array) -> list[Any]:
    return values.to_pylist()  # type: ignore[no-any-return]
