"""Every version of one record that the vault holds, oldest first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import pyarrow as pa

from holdfast.core.canonical import row_digests
from holdfast.core.compare import changed_columns
from holdfast.core.projection import common_schema
from holdfast.core.records import Schema
from holdfast.core.where import parse_key
from holdfast.errors import Usage
from holdfast.vault.gone import gone_places
from holdfast.vault.states import StoredSegment
from holdfast.vault.vault import LogEntry, Vault
from holdfast.vault.view import Found, find_in

__all__ = ["Version", "history"]


@dataclass(frozen=True, slots=True, eq=False)
class Version:
    """A record from one commit on: as it was then, or None from the commit that no longer held it.

    `number` is that of the commit's log entry, and `at` its time; where the source was followed, `at` is the time of
    the source's own commit and `tx` its transaction. `changed` names the columns that differ from before.
    """

    number: int
    at: datetime
    kind: Literal["new", "changed", "gone"]
    row: pa.RecordBatch | None
    changed: tuple[str, ...]
    tx: str = ""


def history(vault: Vault, collection: str, key: str) -> tuple[Schema, list[Version]]:
    """All versions of the record under *key* (`4711`, or `col=a,col=b`), and the schema that shows them all.

    Reads the commits' parts and only the segments whose key range holds the key. What changed and changed back between
    two captures was never seen; of a source that was followed, every version was. Raises Usage if no commit knows the
    collection.
    """
    entries = [
        (entry, opened) for entry in vault.log() if (opened := vault.parts(entry.signed, (collection,)).get(collection))
    ]
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
    gone = gone_places(vault)
    for entry, opened in entries:
        part = opened.part
        if (part.kind == "same" and not part.dropped) or part.schema.key != schema.key or entry.number - 1 in gone:
            continue
        refs = () if part.dropped else part.segments
        segments = [StoredSegment(ref, opened.epoch, part.schema, entry.number) for ref in refs]
        found = [each for segment in segments for each in find_in(vault, segment, schema, wanted)]
        if not found and (part.kind == "base" or part.dropped):
            found = [Found(None)]
        for each in found:
            _add(versions, entry, each, schema)
    return schema, versions


def _add(versions: list[Version], entry: LogEntry, found: Found, schema: Schema) -> None:
    """One more version, unless the record is as it was."""
    before, row = versions[-1].row if versions else None, found.row
    at = found.at or entry.signed.clock
    if row is None:
        if before is not None:
            versions.append(Version(entry.number, at, "gone", None, (), found.tx))
    elif before is None:
        versions.append(Version(entry.number, at, "new", row, (), found.tx))
    elif row_digests(row, schema) != row_digests(before, schema):
        changed = changed_columns(before, row, schema)[0]
        versions.append(Version(entry.number, at, "changed", row, changed, found.tx))
