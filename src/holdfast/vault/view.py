"""A collection as the vault holds it at one commit: base and deltas merged into records, in key order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from itertools import groupby
from operator import lt
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.align import Keyed, cut
from holdfast.core.canonical import key_bytes
from holdfast.core.projection import project
from holdfast.core.records import Schema
from holdfast.errors import Damaged
from holdfast.vault.format import SegmentRef
from holdfast.vault.latest import Changes, Until, latest
from holdfast.vault.merge import AT_COLUMN, DELETE, KEY_COLUMN, OP_COLUMN, ORDER_COLUMN, TX_COLUMN, folded, merged
from holdfast.vault.states import CollectionState, StoredSegment
from holdfast.vault.vault import Vault

__all__ = ["TOGETHER_BYTES", "Found", "Opened", "VaultView", "find_in", "open_rows", "span_of"]

TOGETHER_BYTES = 256 << 10  # of small deltas, as they are stored, that are read as one


class VaultView:
    """The records of one collection at one commit. Reading it again reads the vault again."""

    def __init__(self, vault: Vault, state: CollectionState) -> None:
        self._vault = vault
        self._state = state
        self.name = state.part.collection
        self.schema: Schema = state.part.schema
        # Of an instant between two commits nothing is signed: it is what the changes up to it make of a signed state.
        self.rows: int | None = None if state.until else state.part.rows
        self.fingerprint = "" if state.until else state.part.fingerprint

    @property
    def ordered(self) -> bool:
        """A keyed collection ascends by key; a multiset does too, by keys it carries itself (see `keyed`)."""
        return bool(self.schema.key)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Every record once, ascending by key, a segment or less at a time."""
        for rows in self.keyed():
            yield rows.batch

    def keyed(self, among: pa.Array | None = None) -> Iterator[Keyed]:
        """Every record with its canonical key, strictly ascending. With keys (ascending) only those under them, and
        only segments that may hold one are read.
        """
        segments = [each for each in self._state.segments if among is None or lt(*span_of(each.ref, among))]
        base = [each for each in segments if each.ref.kind == "base"]
        deltas = [each for each in segments if each.ref.kind != "base"]
        by_commit = [list(group) for _, group in groupby(deltas, key=lambda segment: segment.number)]
        read = partial(self._delta, among=among)
        streams = [folded([*map(read, some)]) if some[1:] else read(some[0]) for some in _few(by_commit)]
        yield from merged(self._base(base, among), streams)

    def deltas(self, start: int) -> Iterator[tuple[Keyed, pa.Array]]:
        """What the segments from one of them on changed, oldest first: rows with their operations. A key may recur."""
        for _, group in groupby(self._state.segments[start:], key=lambda segment: segment.number):
            yield from self._delta([*group], None)

    def find(self, key: bytes) -> pa.RecordBatch | None:
        """The record under one canonical key, or None; only segments that can hold it are read."""
        for segment in reversed(self._state.segments):
            found = find_in(self._vault, segment, self.schema, key, until=self._until(segment))
            if found:
                return found[-1].row
        return None

    def _until(self, segment: StoredSegment) -> Until | None:
        """The instant that cuts a segment: it lies within the last commit."""
        return self._state.until if segment.number == self._state.segments[-1].number else None

    def _base(self, segments: Sequence[StoredSegment], among: pa.Array | None) -> Iterator[Keyed]:
        for segment in segments:
            yield open_rows(self._vault, segment, self.schema, among).rows

    def _delta(self, segments: Sequence[StoredSegment], among: pa.Array | None) -> Iterator[tuple[Keyed, pa.Array]]:
        if segments[0].ref.kind == "changes":
            yield from latest(self._changes(segments, among), self._until(segments[0]))
            return
        for segment in segments:
            opened = open_rows(self._vault, segment, self.schema, among)
            if opened.ops is None:
                raise Damaged(f"{segment.ref.name}: a delta without operations", hint="run holdfast verify")
            yield opened.rows, opened.ops

    def _changes(self, segments: Sequence[StoredSegment], among: pa.Array | None) -> Iterator[Changes]:
        # Of an instant no fingerprint is signed that would show changes out of order.
        for segment in segments:
            opened = open_rows(self._vault, segment, self.schema, among)
            if opened.ops is None or opened.at is None or opened.order is None:
                raise Damaged(f"{segment.ref.name}: changes that don't tell when", hint="run holdfast verify")
            found = Changes(opened.rows, opened.ops, opened.at, opened.order)
            if found.at.null_count or found.order.null_count or not _in_order(found):
                raise Damaged(f"{segment.ref.name}: changes that are out of order", hint="run holdfast verify")
            yield found


def _few(commits: Sequence[list[StoredSegment]]) -> Iterator[list[list[StoredSegment]]]:
    """Commits in their order, so many small ones together as memory may hold beside others."""
    held: list[list[StoredSegment]] = []
    size = 0
    for segments in commits:
        each = sum(segment.ref.size for segment in segments)
        if held and size + each > TOGETHER_BYTES:
            yield held
            held, size = [], 0
        held.append(segments)
        size += each
    if held:
        yield held


class Found(NamedTuple):
    """What a segment says of one key: its record, or None where it was deleted; of changes also the time and name of
    the source's transaction.
    """

    row: pa.RecordBatch | None
    at: datetime | None = None
    tx: str = ""


class Opened(NamedTuple):
    """The rows of a segment with their keys; of a delta their operations, of changes also when and by whom."""

    rows: Keyed
    ops: pa.Array | None = None
    at: pa.Array | None = None
    tx: pa.Array | None = None
    order: pa.Array | None = None

    def filter(self, mask: pa.Array) -> Opened:
        """Only what the mask names."""
        return Opened(self.rows.filter(mask), *(None if each is None else each.filter(mask) for each in self[1:]))


def find_in(
    vault: Vault, segment: StoredSegment, schema: Schema, key: bytes, *, until: Until | None = None
) -> list[Found]:
    """What one segment says of a key, oldest first; read only if the key lies in its range."""
    ref = segment.ref
    if ref.last and not ref.first <= key.hex() <= ref.last:
        return []
    rows, ops, when, tx, order = open_rows(vault, segment, schema)
    # Keys ascend, so those that are equal lie together.
    mask = pc.equal(rows.keys, pa.scalar(key, pa.binary()))
    if until is not None and ops is not None and when is not None and order is not None:
        mask = pc.and_(mask, until.holds(Changes(rows, ops, when, order)))
    found = []
    for at in pc.indices_nonzero(mask).to_pylist():
        row = None if ops is not None and ops[at].as_py() == DELETE else rows.batch.slice(at, 1)
        found.append(Found(row) if when is None or tx is None else Found(row, when[at].as_py(), tx[at].as_py()))
    return found


def _in_order(changes: Changes) -> bool:
    """Whether keys rise, and under one key the order."""
    keys, order, count = changes.rows.keys, changes.order, len(changes.order) - 1
    rises = pc.less(keys.slice(0, count), keys.slice(1))
    goes_on = pc.equal(keys.slice(0, count), keys.slice(1))
    later = pc.less(order.slice(0, count), order.slice(1))
    return count < 1 or bool(pc.all(pc.or_(rises, pc.and_(goes_on, later))).as_py())


def span_of(ref: SegmentRef, among: pa.Array) -> tuple[int, int]:
    """Which of these keys (ascending) a segment may hold, by its bounds: from one place up to another."""
    if not ref.last:
        return 0, len(among)
    return cut(among, bytes.fromhex(ref.first)), cut(among, bytes.fromhex(ref.last), side="right")


def open_rows(vault: Vault, segment: StoredSegment, schema: Schema, among: pa.Array | None = None) -> Opened:
    """The rows of a segment under this schema, and what it tells beside them; with keys only what is under these."""
    batch = vault.read_segment(segment).combine_chunks().to_batches()[0]
    names = batch.schema.names
    rows = project(batch.select(segment.schema.names), segment.schema, schema)
    keys = batch.column(KEY_COLUMN) if KEY_COLUMN in names else key_bytes(rows, schema)
    told = [batch.column(name) if name in names else None for name in (OP_COLUMN, AT_COLUMN, TX_COLUMN, ORDER_COLUMN)]
    opened = Opened(Keyed(keys, rows), *told)
    if among is None:
        return opened
    start, end = span_of(segment.ref, among)
    return opened.filter(pc.is_in(keys, value_set=among.slice(start, end - start)))
