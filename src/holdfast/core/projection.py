"""Rows of one schema in another: so that segments of several ages, or two systems, can be compared as one.

* A column that is missing is NULL everywhere; a column that is not wanted is left out.
* A column of one type becomes `mixed` without loss; no other type ever changes, for that would not be exact.
* The bytes of a value do not depend on its column's type, so no projection to `mixed` changes a digest.

    >>> before = Schema((Column("id", "int"), Column("note", "text")), key=("id",))
    >>> after = Schema((Column("id", "int"), Column("memo", "text")), key=("id",))
    >>> [str(change) for change in schema_changes(before, after)]
    ['column note was perhaps renamed to memo (same place and type)']
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import zip_longest
from typing import Any

import pyarrow as pa

from holdfast.core.canonical import tagged
from holdfast.core.records import MIXED, Column, Schema
from holdfast.errors import Damaged

__all__ = ["ChangeKind", "SchemaChange", "common_schema", "compatible", "project", "schema_changes"]


class ChangeKind(StrEnum):
    """What can happen to a schema. A rename is a guess: sources do not say."""

    ADDED = "column added"
    DROPPED = "column dropped"
    RENAMED = "perhaps renamed"
    TYPE = "type changed"
    KEY = "key changed"
    REFERENCES = "references changed"


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """One change between two schemas. `column` is empty where the change is not one column's."""

    kind: ChangeKind
    column: str
    before: str
    after: str

    def __str__(self) -> str:
        match self.kind:
            case ChangeKind.ADDED:
                return f"column {self.column} was added ({self.after})"
            case ChangeKind.DROPPED:
                return f"column {self.column} was dropped ({self.before})"
            case ChangeKind.RENAMED:
                return f"column {self.column} was perhaps renamed to {self.after} (same place and type)"
            case ChangeKind.TYPE:
                return f"column {self.column} changed its type from {self.before} to {self.after}"
            case _:
                what = "key" if self.kind is ChangeKind.KEY else "references"
                return f"the {what} changed from {self.before or 'none'} to {self.after or 'none'}"


def common_schema(a: Schema, b: Schema) -> Schema:
    """The schema in which records of both can be compared: all columns of `a`, then those only `b` has.

    Columns whose types differ become mixed. If the keys differ the result has none: both sides are multisets then.
    Declared types and references are those of `a`.
    """
    columns = []
    for column in a.columns:
        other = b.column(column.name)
        same = other is None or other.type == column.type
        columns.append(column if same else Column(column.name, MIXED, column.declared))
    columns += [column for column in b.columns if a.column(column.name) is None]
    return Schema(tuple(columns), a.key if a.key == b.key else (), a.references)


def project(batch: pa.RecordBatch, source: Schema, wanted: Schema) -> pa.RecordBatch:
    """The rows of a batch of `source` as a batch of `wanted`. Columns of the batch that neither names are left out.

    Raises Damaged where that is impossible: a type would have to change other than to mixed, a key column is missing,
    or the batch is not of its own schema.
    """
    if not wanted.columns:
        return batch.select([])
    columns = [_column(batch, source.column(each.name), each, each.name in wanted.key) for each in wanted.columns]
    return pa.RecordBatch.from_arrays(columns, schema=wanted.arrow())


def compatible(source: Schema, wanted: Schema) -> bool:
    """Whether batches of `source` can be projected to `wanted` and keep their keys."""
    if source.key != wanted.key:
        return False
    for column in wanted.columns:
        held = source.column(column.name)
        if held is not None and column.type not in (held.type, MIXED):
            return False
    return True


def schema_changes(before: Schema, after: Schema) -> list[SchemaChange]:
    """What changed from one schema to the next, columns in their order, then key and references."""
    renamed = dict(_perhaps_renamed(before, after))
    changes = []
    for column in before.columns:
        now = after.column(column.name)
        if now is None and column.name in renamed:
            changes.append(SchemaChange(ChangeKind.RENAMED, column.name, column.name, renamed[column.name]))
        elif now is None:
            changes.append(SchemaChange(ChangeKind.DROPPED, column.name, _described(column), ""))
        elif (now.type, now.declared) != (column.type, column.declared):
            changes.append(SchemaChange(ChangeKind.TYPE, column.name, _described(column), _described(now)))
    known = {column.name for column in before.columns} | set(renamed.values())
    added = [column for column in after.columns if column.name not in known]
    changes += [SchemaChange(ChangeKind.ADDED, column.name, "", _described(column)) for column in added]
    if before.key != after.key:
        changes.append(SchemaChange(ChangeKind.KEY, "", ", ".join(before.key), ", ".join(after.key)))
    if set(before.references) != set(after.references):
        changes.append(SchemaChange(ChangeKind.REFERENCES, "", _referenced(before), _referenced(after)))
    return changes


def _column(batch: pa.RecordBatch, held: Column | None, wanted: Column, is_key: bool) -> Any:
    if held is None:
        if is_key:
            raise _impossible(wanted.name, "the key column is missing")
        return pa.nulls(batch.num_rows, wanted.arrow)
    place = batch.schema.get_field_index(held.name)
    if place < 0:
        raise _impossible(held.name, "the column is missing from its own segment")
    values = batch.column(place)
    if values.type != held.arrow:
        raise _impossible(held.name, f"it is stored as {values.type} and not as {held.arrow}, the form of {held.type}")
    if held.type == wanted.type:
        return values
    if wanted.type == MIXED:
        return tagged(values, held.type)
    raise _impossible(wanted.name, f"values of type {held.type} can't become {wanted.type} exactly")


def _impossible(column: str, cause: str) -> Damaged:
    return Damaged(f"column {column!r} can't be read under the wanted schema: {cause}", hint='run "holdfast verify"')


def _perhaps_renamed(before: Schema, after: Schema) -> list[tuple[str, str]]:
    """Pairs of columns, old name and new, that stand at the same place with the same type and vanished or are new."""
    pairs = []
    for old, new in zip_longest(before.columns, after.columns):
        if old is None or new is None or after.column(old.name) is not None or before.column(new.name) is not None:
            continue
        if (old.type, old.declared) == (new.type, new.declared):
            pairs.append((old.name, new.name))
    return pairs


def _described(column: Column) -> str:
    return f"{column.type}, declared {column.declared}" if column.declared else column.type


def _referenced(schema: Schema) -> str:
    each = [f"({', '.join(r.columns)}) to {r.target} ({', '.join(r.target_columns)})" for r in schema.references]
    return ", ".join(sorted(each))
