"""Every version of one record that the vault holds, oldest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import pyarrow as pa

from holdfast.core.canonical import row_digests
from holdfast.core.projection import common_schema
from holdfast.core.records import Schema
from holdfast.core.where import parse_key
from holdfast.errors import Usage
from holdfast.vault.states import StoredSegment
from holdfast.vault.vault import LogEntry, Vault
from holdfast.vault.view import find_in

__all__ = ["Version", "history"]


@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """A record from one commit on: as it was then, or None from the commit that no longer held it.

    `number` and `at` are those of the commit's log entry; `changed` names the columns that differ from before.
    """

    number: int
    at: datetime
    kind: Literal["new", "changed", "gone"]
    row: pa.RecordBatch | None
    changed: tuple[str, ...]


def history(vault: Vault, collection: str, key: str) -> tuple[Schema, list[Version]]:
    """All versions of the record under *key* (`4711`, or `col=a,col=b`), and the schema that shows them all.

    Reads the commits' parts and only the segments whose key range holds the key. Times are those of captures: what
    changed and changed back between two captures was never seen. Raises Usage if no commit knows the collection.
    """
    entries = [(entry, opened) for entry in vault.log() if (opened := vault.parts(entry.signed).get(collection))]
    if not entries:
        raise Usage(f"the vault holds no collection {collection!r}", hint='list them with "holdfast show"')
    schema = entries[-1][1].part.schema
    if not schema.key:
        raise Usage(
            f"{collection} has no key, so its records have no history of their own",
            hint=f'"holdfast diff" shows which came and went, "holdfast show {collection}" those that are there',
        )
    for _, opened in reversed(entries):
        if opened.part.schema.key == schema.key:
            schema = common_schema(schema, opened.part.schema)
    wanted = parse_key(key, schema)
    versions: list[Version] = []
    for entry, opened in entries:
        part = opened.part
        if part.kind == "same" and not part.dropped:
            continue
        if part.schema.key != schema.key:
            continue
        segments = [StoredSegment(ref, opened.epoch, part.schema, entry.number) for ref in part.segments]
        found = [each for segment in segments if (each := find_in(vault, segment, schema, wanted)) is not None]
        if found or part.kind == "base" or part.dropped:
            _add(versions, entry, found[0].row if found else None, schema)
    return schema, versions


def _add(versions: list[Version], entry: LogEntry, row: pa.RecordBatch | None, schema: Schema) -> None:
    """One more version, unless the record is as it was."""
    before = versions[-1].row if versions else None
    if row is None:
        if before is not None:
            versions.append(Version(entry.number, entry.signed.clock, "gone", None, ()))
    elif before is None:
        versions.append(Version(entry.number, entry.signed.clock, "new", row, ()))
    elif row_digests(row, schema) != row_digests(before, schema):
        versions.append(Version(entry.number, entry.signed.clock, "changed", row, _differing(before, row, schema)))


def _differing(before: pa.RecordBatch, after: pa.RecordBatch, schema: Schema) -> tuple[str, ...]:
    names: Sequence[str] = schema.names
    return tuple(name for name in names if not before.column(name).equals(after.column(name)))
