"""Carries out the steps of a plan in one transaction: every one of them, or none.

* Each step is checked against what the table holds at that moment, and again once written. Whoever makes the tables
  sees to it that nobody else writes what was found until the transaction ends.
* Rows are changed in place. If that meets a value that must be unique and is still held by a row the plan changes
  later, all is rolled back and done again with old rows taken away first and new ones written afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Protocol

import pyarrow as pa

from holdfast.core.canonical import decode, slices
from holdfast.core.plan import Op, Plan, Steps
from holdfast.core.ports import Applied
from holdfast.core.records import MIXED, Collection, Schema
from holdfast.errors import Refused, TargetChanged

__all__ = ["KeyedTable", "MultisetTable", "Pass", "TableSteps", "Tables", "changed", "parted", "refuse_danglers"]


class KeyedTable(Protocol):
    """A table with a key. What is written to it answers with the digests it has there now, by canonical key."""

    def find(self, rows: pa.RecordBatch) -> Mapping[bytes, bytes]:
        """Digests of what the table holds under the keys of these rows, by canonical key; it stays so from now on."""

    def insert(self, rows: pa.RecordBatch) -> Mapping[bytes, bytes]:
        """Write new rows."""

    def update(self, rows: pa.RecordBatch) -> Mapping[bytes, bytes]:
        """Write all columns but the key of rows that the last `find` has found."""

    def delete(self, rows: pa.RecordBatch) -> Mapping[bytes, bytes]:
        """Delete rows that the last `find` has found."""


class MultisetTable(Protocol):
    """A table without a key: a record's key is its digest and a number among equals."""

    def find(self, keys: pa.Array) -> Sequence[bool]:
        """Whether a record with each key was there at first."""

    def insert(self, keys: pa.Array, rows: pa.RecordBatch) -> Sequence[bytes]:
        """Write new rows; returns the digests that they have in the table, in any order."""

    def delete(self, keys: pa.Array, rows: pa.RecordBatch) -> None:
        """Delete rows that `find` has found; `rows` are their records."""

    def surplus(self) -> str | None:
        """In words why the table is not what the plan wants, though each step was done; None if it is."""


class Tables(Protocol):
    """The tables of one target, and what its steps say of it to people."""

    @property
    def new_place(self) -> str:
        """A URL that says what a new place looks like."""

    @property
    def alterers(self) -> str:
        """What of such a database may alter a value that is written."""

    def columns(self, name: str) -> Iterable[str] | None:
        """The columns that records of this collection have there; None if there is no such table."""

    def keyed(self, name: str, schema: Schema) -> KeyedTable:
        """The table of a collection with a key."""

    def multiset(self, name: str, schema: Schema) -> MultisetTable:
        """The table of a collection without one."""


class Pass(Enum):
    """One reading of the plan's steps: all at once, or first what goes and then what comes."""

    ALL = "all"
    REMOVE = "remove"
    WRITE = "write"


class TableSteps:
    """Carries out the steps of a plan on the tables of these collections, and counts them."""

    def __init__(self, tables: Tables, collections: Mapping[str, Collection]) -> None:
        self._tables = tables
        self._collections = collections
        self._keyed: dict[str, KeyedTable] = {}
        self._multisets: dict[str, MultisetTable] = {}
        self._written = 0
        self._already = 0

    def carry_out(self, plan: Plan, passes: Iterable[Pass]) -> Applied:
        """Do the steps, in passes. Raises TargetChanged, naming collection and key, also if in the end a table without
        a key is not what the plan wants.
        """
        for stage in passes:
            for steps in plan.steps():
                if steps.collection in self._collections:
                    self._carry_out(steps, stage)
        for name, table in self._multisets.items():
            if surplus := table.surplus():
                raise changed(name, surplus)
        return Applied(self._written, self._already)

    def _carry_out(self, steps: Steps, stage: Pass) -> None:
        if (stage is Pass.REMOVE and steps.op is Op.INSERT) or (stage is Pass.WRITE and steps.op is Op.DELETE):
            return
        schema = self._collections[steps.collection].schema
        if schema.key:
            self._carry_out_keyed(steps, stage, schema)
        else:
            self._carry_out_multiset(steps, schema)

    def _carry_out_keyed(self, steps: Steps, stage: Pass, schema: Schema) -> None:
        table = self._keyed_table(steps.collection, schema)
        found = table.find(steps.rows)
        todo = _due(steps, found, schema, may_be_gone=stage is Pass.WRITE and steps.op is Op.UPDATE)
        rows = steps.rows.take(pa.array(todo, pa.int64()))
        if steps.op is Op.UPDATE and stage is Pass.REMOVE:
            # The second pass writes and counts these rows.
            if todo:
                table.delete(rows)
            return
        self._already += len(steps.keys) - len(todo)
        self._written += len(todo)
        if not todo:
            return
        match steps.op:
            case Op.DELETE:
                now = table.delete(rows)
            case Op.UPDATE if stage is Pass.ALL:
                now = table.update(rows)
            case _:
                now = table.insert(rows)
        self._check_written(steps, todo, schema, now)

    def _carry_out_multiset(self, steps: Steps, schema: Schema) -> None:
        assert steps.op is not Op.UPDATE, "a record without a key is never updated: its digest is its key"
        table = self._multiset_table(steps.collection, schema)
        is_there = table.find(steps.keys)
        due = [at for at, there in enumerate(is_there) if there == (steps.op is Op.DELETE)]
        self._already += len(is_there) - len(due)
        self._written += len(due)
        if not due:
            return
        chosen = pa.array(due, pa.int64())
        keys = steps.keys.take(chosen)
        rows = steps.rows.take(chosen)
        if steps.op is Op.DELETE:
            table.delete(keys, rows)
            return
        digests = table.insert(keys, rows)
        if sorted(digests) != sorted(key[:32] for key in slices(keys)):
            raise self._altered(steps.collection, "a record")

    def _keyed_table(self, name: str, schema: Schema) -> KeyedTable:
        if name not in self._keyed:
            self._check_columns(name, schema)
            self._keyed[name] = self._tables.keyed(name, schema)
        return self._keyed[name]

    def _multiset_table(self, name: str, schema: Schema) -> MultisetTable:
        if name not in self._multisets:
            self._check_columns(name, schema)
            self._multisets[name] = self._tables.multiset(name, schema)
        return self._multisets[name]

    def _check_columns(self, name: str, schema: Schema) -> None:
        found = self._tables.columns(name)
        if found is None:
            raise changed(name, "there is no such table")
        columns = set(found)
        unknown, gone = sorted(columns - set(schema.names)), sorted(set(schema.names) - columns)
        if unknown:
            raise changed(name, f"it has columns the plan does not know: {', '.join(unknown)}")
        if gone:
            raise Refused(
                f"{name}: it no longer has the columns {', '.join(gone)}; nothing was written",
                hint="add them again, and run it again; or, without what came since, restore to a new place: "
                f"holdfast restore --to {self._tables.new_place}",
            )

    def _check_written(self, steps: Steps, todo: Sequence[int], schema: Schema, now: Mapping[bytes, bytes]) -> None:
        keys = slices(steps.keys)
        wanted = [digest or b"" for digest in steps.wanted.to_pylist()]
        for at in todo:
            if now.get(keys[at], b"") != wanted[at]:
                raise self._altered(steps.collection, f"the record {_told_key(steps.rows, schema, at)}")

    def _altered(self, collection: str, record: str) -> Refused:
        return Refused(
            f"{collection}: {record} reads differently than it was written; nothing was changed",
            hint=f"the table alters values by its {self._tables.alterers} now: restore to a new place",
        )


def parted(plan: Plan, reserved: str) -> tuple[dict[str, Collection], list[Steps]]:
    """The collections of records that a plan changes, and its steps on the database's own definitions, which are few:
    those whose names begin with `reserved`.
    """
    busy = {
        each.collection.name: each.collection for each in plan.collections if each.inserts + each.updates + each.deletes
    }
    records = {name: collection for name, collection in busy.items() if not name.startswith(reserved)}
    # To look for them is to read the steps on records too.
    few = [each for each in plan.steps() if each.collection not in records] if len(records) < len(busy) else []
    return records, few


def refuse_danglers(found: Sequence[tuple[str, int, str, str]]) -> None:
    """Raise Refused for references that lead nowhere: by foreign key its table, how many, one of them, and where to."""
    if found:
        told = [f"{child} {value} → {parent}" for child, _, value, parent in found[:5]]
        more = f" and {len(found) - 5} more foreign keys" if len(found) > 5 else ""
        raise Refused(
            f"{sum(each[1] for each in found)} references would lead to no record: {', '.join(told)}{more}; "
            "nothing was written",
            hint="restore the collections they lead to in the same plan",
        )


def changed(collection: str, why: str) -> TargetChanged:
    """The error for a target that is not what the plan was made against."""
    return TargetChanged(f"{collection}: {why}; nothing was written", hint="compare again, and make a new plan")


def _due(steps: Steps, found: Mapping[bytes, bytes], schema: Schema, *, may_be_gone: bool) -> list[int]:
    """Which steps are still to be done; the others are done already."""
    todo = []
    for at, (key, expected, wanted, final) in enumerate(zip(slices(steps.keys), *_digests(steps), strict=True)):
        state = found.get(key, b"")
        if state in (wanted, final):
            continue
        if state != expected and not (may_be_gone and not state):
            told = _told_key(steps.rows, schema, at)
            raise changed(steps.collection, f"the record {told} is not what the plan expects")
        todo.append(at)
    return todo


def _digests(steps: Steps) -> Iterator[list[bytes]]:
    """Expected, wanted and final digest of each step; b"" is no record."""
    for each in (steps.expected, steps.wanted, steps.wanted if steps.final is None else steps.final):
        yield [digest or b"" for digest in each.to_pylist()]


def _told_key(rows: pa.RecordBatch, schema: Schema, at: int) -> str:
    told = []
    for column in schema.key_columns:
        value = rows.column(column.name)[at].as_py()
        told.append(f"{column.name}={(decode(value)[1] if column.type == MIXED else value)!r}")
    return ", ".join(told)
