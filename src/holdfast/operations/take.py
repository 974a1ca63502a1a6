"""One snapshot into segments and parts, collection by collection."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

import msgspec

from holdfast.core.align import Keyed
from holdfast.core.events import Progress
from holdfast.core.fingerprint import bucket_digests, fingerprint
from holdfast.core.ports import Snapshot
from holdfast.core.projection import SchemaChange, compatible, schema_changes
from holdfast.core.records import Collection, Schema
from holdfast.errors import Unsupported
from holdfast.operations.changes import Ledger, Pass, changed_rows, every_row
from holdfast.operations.scratch import SealedScratch
from holdfast.operations.segments import SegmentWriter
from holdfast.operations.sight import lost_in
from holdfast.operations.sights import Sights
from holdfast.operations.streams import keyed, prefetched
from holdfast.operations.unseen import unseen
from holdfast.state.index import Index
from holdfast.state.remembered import CollectionState
from holdfast.state.runwriter import RunWriter
from holdfast.vault.coding import parse_time, time_text
from holdfast.vault.format import Counts, Gaps, Part, Place, SegmentRef
from holdfast.vault.keys import epoch_id, new_epoch
from holdfast.vault.trust import TrustDocument
from holdfast.vault.upload import Upload
from holdfast.vault.vault import Vault

__all__ = ["EPOCH", "NOTHING", "At", "CollectionCapture", "Take", "Taken", "outcome_of", "part_of", "why_renewed"]

Emit = Callable[[Progress], None]
_Kind = Literal["base", "delta", "same"]
NOTHING = Counts(new=0, changed=0, gone=0)
_DELTAS_MAX = 200
_DELTA_ROWS_MIN = 1 << 20
_LONG_ROWS_MIN = 1 << 25
EPOCH = "epoch of "
_RENEWED = "new bases for all"
_CUSTODY = "custody of "


@dataclass(frozen=True, slots=True)
class CollectionCapture:
    """What a capture found in one collection. `kind` is how it was kept: a base, a delta, or the same as before."""

    name: str
    kind: Literal["base", "delta", "changes", "same", "dropped"]
    rows: int
    new: int
    changed: int
    gone: int
    schema: tuple[SchemaChange, ...] = ()
    gaps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Taken:
    """A collection's part of the commit, its epoch's recipient, its new state in the index if any, the outcome."""

    recipient: str
    part: Part
    state: CollectionState | None
    outcome: CollectionCapture


class At(NamedTuple):
    """Where in the source a commit stands: the position, and when that was taken or, of changes, up to when they go."""

    position: str
    taken: datetime


class _Found(NamedTuple):
    """A collection of the snapshot, and why it can't be kept exactly, if so."""

    collection: Collection
    why: Unsupported | None


class _Feed:
    """One reading of the whole snapshot, handed out by collection: rows are read while others are worked on."""

    def __init__(self, items: Iterator[_Found | Keyed]) -> None:
        self._items = items
        self._next: _Found | None = None

    def collections(self) -> Iterator[_Found]:
        """The collections in turn; the rows of each must be taken before the next is asked for."""
        first = next(self._items, None)
        self._next = first if isinstance(first, _Found) else None
        while (found := self._next) is not None:
            self._next = None
            yield found
            for _ in self.rows():
                raise AssertionError("rows were left over")

    def rows(self) -> Iterator[Keyed]:
        """The rows of the collection that was handed out last."""
        if self._next is not None:
            return
        for item in self._items:
            if isinstance(item, _Found):
                self._next = item
                return
            yield item


@dataclass(frozen=True, slots=True)
class _Passed:
    kind: _Kind
    ledger: Ledger
    refs: tuple[SegmentRef, ...]
    buckets: list[bytes]


class Take:
    """One capture's work on all collections. If the index `is_stale`, every collection gets a new base."""

    def __init__(self, vault: Vault, index: Index, run: RunWriter, upload: Upload, scratch: SealedScratch) -> None:
        self._vault = vault
        self._index = index
        self._run = run
        self._upload = upload
        self._scratch = scratch
        self._records = 0
        self._is_new_era = False
        self._kept: set[str] = set()  # as they were before: they can't be read, or not be seen
        self._epochs: dict[str, str] = {}

    def all(self, snapshot: Snapshot, place: Place, emit: Emit, *, is_stale: bool, sights: Sights) -> list[Taken]:
        """Every collection of the snapshot, and those that are in the index but no longer at the source; `sights` are
        to see what differs.
        """
        self._sights = sights
        known = {} if is_stale else {state.name: state for state in self._index.collections()}
        self._is_new_era = bool(known) and _is_era_over(self._vault, self._index)
        if self._is_new_era:
            self._index.remember(_RENEWED, time_text(self._vault.now()))
        narrowed = unseen(snapshot, self._index, known)
        feed = _Feed(prefetched(_read(snapshot, self._scratch, narrowed)))
        taken = []
        for found in feed.collections():
            name = found.collection.name
            stream = self._counted(feed.rows(), name, emit)
            taken.append(self._collection(snapshot, found, known.get(name), place, stream))
        present = {each.outcome.name for each in taken}
        for state in self._index.collections():
            if state.name in narrowed and state.name not in present:
                why = Unsupported(narrowed[state.name])
                taken.append(self._unread(snapshot, Collection(state.name, state.schema), state, place, why))
            elif state.name not in present:
                self._run.drop_collection(state.name)
                if state.name in known:
                    sights.dropped(state.name, state.rows)
                    taken.append(self._dropped(snapshot, state))
        sights.whole(snapshot, self._kept)
        return taken

    def _collection(
        self, snapshot: Snapshot, found: _Found, known: CollectionState | None, place: Place, stream: Iterator[Keyed]
    ) -> Taken:
        collection, why = found
        if why is not None:
            return self._unread(snapshot, collection, known, place, why)
        name, schema = collection.name, collection.schema
        is_base = known is None or not _continues(known.schema, schema) or _is_due(known) or self._is_new_era
        is_base = is_base or self._has_new_reader(name)
        passed = self._pass(collection, stream, known, is_base=is_base)
        state = _state(name, schema, known, place, passed)
        part = msgspec.structs.replace(
            _part(snapshot, state, passed.kind),
            segments=passed.refs,
            counts=Counts(new=passed.ledger.new, changed=passed.ledger.changed, gone=passed.ledger.gone),
            coverage=_coverage(collection),
        )
        changes = tuple(schema_changes(known.schema, schema)) if known is not None else ()
        return Taken(self._recipient(name), part, state, outcome_of(part, changes))

    def _pass(
        self, collection: Collection, stream: Iterator[Keyed], known: CollectionState | None, *, is_base: bool
    ) -> _Passed:
        """Read a collection once: index it, add it up, and send what the new segments need."""
        name, schema = collection.name, collection.schema
        same_key = known is not None and known.schema.key == schema.key
        with self._scratch.digests() as added, self._scratch.digests() as removed:
            ledger, sight = Ledger(added, removed), self._sights.of(name, schema)
            into = Pass(name, schema, self._run, ledger, sight)
            stream = sight.through(stream, afresh=not same_key)
            rows = changed_rows(into, stream, self._index, every=is_base) if same_key else every_row(into, stream)
            with SegmentWriter(
                schema, "base" if is_base else "delta", self._recipient(name), self._upload.add
            ) as segments:
                for changed in rows:
                    segments.add(changed)
                refs = segments.finish()
            if same_key:
                buckets = self._run.edit_buckets(name, removed.partitions(), added.partitions())
            else:
                buckets = self._run.put_buckets(name, added.partitions())
        if known is not None and not same_key:
            ledger.gone = known.rows
        was = known.rows if known is not None and same_key else None
        lost = lost_in(schema_changes(known.schema, schema)) if known is not None else ()
        self._sights.took(sight, sight.observed(was, ledger, lost))
        return _Passed("base" if is_base else "delta" if refs else "same", ledger, refs, buckets)

    def _unread(
        self, snapshot: Snapshot, collection: Collection, known: CollectionState | None, place: Place, why: Unsupported
    ) -> Taken:
        """A collection that can't be kept exactly stays as it was before, with a gap that says why."""
        name = collection.name
        self._kept.add(name)
        state = known
        if state is None:
            schema = collection.schema
            nothing = fingerprint(schema.key, schema.names, 0, bucket_digests([]))
            state = CollectionState(name, schema, 0, nothing, 1, place.stream, place.sequence)
        told = why.message if why.message.startswith(f"{name}: ") else f"{name}: {why.message}"
        part = _part(snapshot, state, "base" if known is None else "same")
        part = msgspec.structs.replace(part, coverage=Gaps((told,)))
        return Taken(self._recipient(name), part, None, outcome_of(part, ()))

    def _dropped(self, snapshot: Snapshot, known: CollectionState) -> Taken:
        """The last part of a collection that the source no longer has."""
        nothing = fingerprint(known.schema.key, known.schema.names, 0, bucket_digests([]))
        part = _part(snapshot, replace(known, rows=0, fingerprint=nothing), "same")
        part = msgspec.structs.replace(part, dropped=True, counts=Counts(new=0, changed=0, gone=known.rows))
        return Taken(self._recipient(known.name), part, None, outcome_of(part, ()))

    def _recipient(self, name: str) -> str:
        """The recipient of the collection's epoch; a new epoch if the vault's head does not know the remembered one, or
        if that was made for others than may decrypt now: who was replaced is to open nothing new.
        """
        if name not in self._epochs:
            kept = self._index.recall(EPOCH + name)
            is_known = kept is not None and epoch_id(kept) in self._vault.epochs() and self._is_current(name)
            self._epochs[name] = kept if kept is not None and is_known else self._new_epoch(name)
        return self._epochs[name]

    def _new_epoch(self, name: str) -> str:
        """Begin an epoch: its identity goes to custodians and readers in a key object, and is forgotten here."""
        epoch = new_epoch(name, _may_decrypt(self._vault.trusted.document, name))
        self._upload.add(epoch.key_object, epoch=epoch.id)
        self._index.remember(EPOCH + name, epoch.recipient)
        self._index.remember(_CUSTODY + name, self._custody(name))
        return epoch.recipient

    def _is_current(self, name: str) -> bool:
        """Whether the collection's epoch was made for those who may decrypt it now."""
        made_for = self._index.recall(_CUSTODY + name)
        # A host that made its index anew does not know. Where nobody was ever replaced there is but one answer.
        documents = self._vault.trusted.documents
        never_replaced = len({tuple(_may_decrypt(each, name)) for each in documents}) == 1
        return made_for == self._custody(name) or (made_for is None and never_replaced)

    def _has_new_reader(self, name: str) -> bool:
        """Whether somebody may decrypt the collection now who could not before: what he is to read needs a new base."""
        made_for = (self._index.recall(_CUSTODY + name) or self._custody(name)).split()
        roles = self._vault.trusted.document.roles
        return bool({*_may_decrypt(self._vault.trusted.document, name)} - {*made_for, *roles.custodian.recipients})

    def _custody(self, name: str) -> str:
        return " ".join(_may_decrypt(self._vault.trusted.document, name))

    def _counted(self, stream: Iterator[Keyed], name: str, emit: Emit) -> Iterator[Keyed]:
        for rows in stream:
            self._records += len(rows.keys)
            emit(Progress(f"capture {name}", self._records, None, "records"))
            yield rows


def _may_decrypt(document: TrustDocument, name: str) -> list[str]:
    """The recipients to whom a collection's key is given: of recovery, and of readers that were granted it."""
    roles = document.roles
    readers = [reader.recipient for reader in roles.reader if {"*", name} & set(reader.collections)]
    return [*roles.custodian.recipients, *readers]


def _state(name: str, schema: Schema, known: CollectionState | None, place: Place, passed: _Passed) -> CollectionState:
    """What the index is to know of the collection once this commit stands."""
    rows = passed.ledger.rows
    prints = fingerprint(schema.key, schema.names, rows, passed.buckets)
    if known is not None and passed.kind != "base":
        written = known.delta_rows + sum(ref.rows for ref in passed.refs)
        deltas = known.deltas + bool(passed.refs)
        return replace(known, schema=schema, rows=rows, fingerprint=prints, delta_rows=written, deltas=deltas)
    generation = known.generation + 1 if known is not None else 1
    return CollectionState(name, schema, rows, prints, generation, place.stream, place.sequence, base_rows=rows)


def _read(snapshot: Snapshot, scratch: SealedScratch, narrowed: Mapping[str, str]) -> Iterator[_Found | Keyed]:
    """Each collection, followed by its rows. One that can't be read says so before anything of it counts."""
    for name in snapshot.names:
        collection = snapshot.collection(name)
        if name in narrowed:
            yield _Found(collection, Unsupported(narrowed[name]))
            continue
        stream = keyed(snapshot.read(collection), scratch)
        try:
            first = next(stream, None)
        except Unsupported as err:
            yield _Found(collection, err)
            continue
        yield _Found(collection, None)
        if first is not None:
            yield first
            yield from stream


def _continues(before: Schema, after: Schema) -> bool:
    """Whether deltas under the new schema may follow. A column that goes begins a new base: one of the same name that
    comes later must not find the old values under it.
    """
    return compatible(before, after) and set(before.names) <= set(after.names)


def _is_due(known: CollectionState) -> bool:
    """Whether deltas have become so many, or so large against their base, that a new base reads and stores better."""
    return known.deltas >= _DELTAS_MAX or known.delta_rows > max(known.base_rows // 2, _DELTA_ROWS_MIN)


def _is_era_over(vault: Vault, index: Index) -> bool:
    """Whether what the newest commit builds on is so old that all collections are to get new bases at once.

    At most once a day: what can't be read just now keeps its old base.
    """
    tried = index.recall(_RENEWED)
    if vault.head is None or (tried and vault.now() - parse_time(tried) < timedelta(days=1)):
        return False
    since = vault.head.commit.since
    began = next((entry.signed.clock for entry in vault.log() if entry.signed.place == since), vault.head.clock)
    return vault.now() - began >= timedelta(days=vault.generation_days)


def why_renewed(vault: Vault, index: Index) -> str:
    """Why a follower is to read everything anew, in words, or "". Reading burdens the source, so its deltas may grow
    longer than those of a capture, which reads everything each time.
    """
    if any(known.delta_rows > max(2 * known.base_rows, _LONG_ROWS_MIN) for known in index.collections()):
        return "changes have become many: a new base reads better"
    if _is_era_over(vault, index):
        return "the base has become old: earlier states can go only where a new one begins"
    return ""


def part_of(state: CollectionState, kind: Literal["base", "delta", "changes", "same"], at: At) -> Part:
    """What a commit says of a collection that stands like this, without segments, counts and gaps."""
    return Part(
        collection=state.name,
        definition=state.schema.to_json(),
        generation=state.generation,
        kind=kind,
        base=Place(state.base_stream, state.base_sequence),
        rows=state.rows,
        fingerprint=state.fingerprint,
        segments=(),
        counts=NOTHING,
        position=at.position,
        taken=time_text(at.taken),
    )


def _part(snapshot: Snapshot, state: CollectionState, kind: _Kind) -> Part:
    return part_of(state, kind, At(snapshot.position, snapshot.taken))


def _coverage(collection: Collection) -> Literal["complete"] | Gaps:
    return Gaps(tuple(collection.not_covered)) if collection.not_covered else "complete"


def outcome_of(part: Part, changes: tuple[SchemaChange, ...]) -> CollectionCapture:
    """What a part says, for people."""
    gaps = part.coverage.gaps if isinstance(part.coverage, Gaps) else ()
    kind: Literal["base", "delta", "changes", "same", "dropped"] = "dropped" if part.dropped else part.kind
    counts = part.counts
    return CollectionCapture(
        part.collection, kind, part.rows, counts.new, counts.changed, counts.gone, changes, tuple(gaps)
    )
