"""A collection as the vault holds it at one commit: base and deltas merged into records, in key order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import pyarrow as pa

from holdfast.core.align import Keyed
from holdfast.core.canonical import key_bytes
from holdfast.core.projection import project
from holdfast.core.records import Schema
from holdfast.errors import Damaged
from holdfast.vault.merge import DELETE, KEY_COLUMN, OP_COLUMN, merged
from holdfast.vault.states import CollectionState, StoredSegment
from holdfast.vault.vault import Vault

__all__ = ["Found", "VaultView", "find_in", "open_rows"]


class VaultView:
    """The records of one collection at one commit. Reading it again reads the vault again."""

    def __init__(self, vault: Vault, state: CollectionState) -> None:
        self._vault = vault
        self._state = state
        self.name = state.part.collection
        self.schema: Schema = state.part.schema
        self.rows = state.part.rows
        self.fingerprint = state.part.fingerprint

    @property
    def ordered(self) -> bool:
        """A keyed collection ascends by key; a multiset does too, by keys it carries itself (see `keyed`)."""
        return bool(self.schema.key)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Every record once, ascending by key, a segment or less at a time."""
        for rows in self.keyed():
            yield rows.batch

    def keyed(self) -> Iterator[Keyed]:
        """Every record with its canonical key, strictly ascending."""
        base = [each for each in self._state.segments if each.ref.kind == "base"]
        deltas = [each for each in self._state.segments if each.ref.kind == "delta"]
        by_commit = [list(group) for _, group in groupby(deltas, key=lambda segment: segment.number)]
        yield from merged(self._base(base), [self._delta(segments) for segments in by_commit])

    def find(self, key: bytes) -> pa.RecordBatch | None:
        """The record under one canonical key, or None; only segments that can hold it are read."""
        for segment in reversed(self._state.segments):
            change = find_in(self._vault, segment, self.schema, key)
            if change is not None:
                return change.row
        return None

    def _base(self, segments: Sequence[StoredSegment]) -> Iterator[Keyed]:
        for segment in segments:
            yield open_rows(self._vault, segment, self.schema)[0]

    def _delta(self, segments: Sequence[StoredSegment]) -> Iterator[tuple[Keyed, pa.Array]]:
        for segment in segments:
            rows, ops = open_rows(self._vault, segment, self.schema)
            if ops is None:
                raise Damaged(f"{segment.ref.name}: a delta without operations", hint="run holdfast verify")
            yield rows, ops


class Found(NamedTuple):
    """What a segment says of one key: its record, or None where it was deleted."""

    row: pa.RecordBatch | None


def find_in(vault: Vault, segment: StoredSegment, schema: Schema, key: bytes) -> Found | None:
    """What one segment says of a key, or None if it says nothing; read only if the key lies in its range."""
    ref = segment.ref
    if ref.last and not ref.first <= key.hex() <= ref.last:
        return None
    rows, ops = open_rows(vault, segment, schema)
    at = rows.keys.index(pa.scalar(key, pa.binary())).as_py()
    if at < 0:
        return None
    return Found(None if ops is not None and ops[at].as_py() == DELETE else rows.batch.slice(at, 1))


def open_rows(vault: Vault, segment: StoredSegment, schema: Schema) -> tuple[Keyed, pa.Array | None]:
    """The rows of a segment under this schema with their keys, and their operations if it is a delta."""
    batch = vault.read_segment(segment).combine_chunks().to_batches()[0]
    names = batch.schema.names
    ops = batch.column(OP_COLUMN) if OP_COLUMN in names else None
    rows = project(batch.select(segment.schema.names), segment.schema, schema)
    if KEY_COLUMN in names:
        return Keyed(batch.column(KEY_COLUMN), rows), ops
    return Keyed(key_bytes(rows, schema), rows), ops
