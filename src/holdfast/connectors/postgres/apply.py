"""Carries out the steps of a plan in one transaction: every one of them, or none.

* Each step is checked against what the table holds at that moment, with the row locked, and again once written.
* Rows are changed in place. If that meets a value that must be unique and is still held by a row the plan changes
  later, all is rolled back and done again with old rows taken away first and new ones written afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum

import pyarrow as pa

from holdfast.connectors.postgres.catalog import Catalog, Table
from holdfast.connectors.postgres.connection import Connection
from holdfast.connectors.postgres.keyed import KeyedTable
from holdfast.connectors.postgres.multiset import MultisetTable
from holdfast.connectors.postgres.references import References
from holdfast.connectors.postgres.staging import Staging
from holdfast.core.canonical import decode, slices
from holdfast.core.plan import Op, Steps
from holdfast.core.ports import Applied
from holdfast.core.records import MIXED, Collection, Schema
from holdfast.errors import Refused, TargetChanged

__all__ = ["Pass", "TableSteps", "changed"]


class Pass(Enum):
    """One reading of the plan's steps: all at once, or first what goes and then what comes."""

    ALL = "all"
    REMOVE = "remove"
    WRITE = "write"


class TableSteps:
    """Carries out steps on tables; counts what was written and what was done already."""

    def __init__(
        self,
        connection: Connection,
        catalog: Catalog,
        collections: Mapping[str, Collection],
        references: References | None,
    ) -> None:
        self._connection = connection
        self._catalog = catalog
        self._collections = collections
        self._references = references
        self._keyed: dict[str, KeyedTable] = {}
        self._multisets: dict[str, MultisetTable] = {}
        self._written = 0
        self._already = 0

    @property
    def applied(self) -> Applied:
        """The count so far."""
        return Applied(self._written, self._already)

    def carry_out(self, steps: Steps, stage: Pass) -> None:
        """Do those of the steps that belong to this pass. Raises TargetChanged, naming collection and key."""
        if (stage is Pass.REMOVE and steps.op is Op.INSERT) or (stage is Pass.WRITE and steps.op is Op.DELETE):
            return
        schema = self._collections[steps.collection].schema
        if schema.key:
            self._carry_out_keyed(steps, stage, schema)
        else:
            self._carry_out_multiset(steps, schema)

    def finish(self) -> None:
        """Raise TargetChanged if a table without a key is not what the plan wants."""
        for name, table in self._multisets.items():
            surplus = table.surplus()
            if surplus:
                raise changed(name, surplus)

    def _carry_out_keyed(self, steps: Steps, stage: Pass, schema: Schema) -> None:
        table = self._keyed_table(steps.collection, schema)
        found = table.find(steps.rows)
        keys = slices(steps.keys)
        todo, already = _due(steps, keys, found, schema, may_be_gone=stage is Pass.WRITE and steps.op is Op.UPDATE)
        rows = steps.rows.take(pa.array(todo, pa.int64()))
        if steps.op is Op.UPDATE and stage is Pass.REMOVE:
            # The second pass writes and counts these rows.
            if todo:
                table.delete(rows)
            return
        self._already += already
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
        _check_written(steps, todo, schema, now)

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
        if steps.op is Op.DELETE:
            table.delete(keys)
            return
        digests = table.insert(keys, steps.rows.take(chosen))
        if sorted(digests) != sorted(key[:32] for key in slices(keys)):
            raise _altered(steps.collection, "a record")

    def _keyed_table(self, name: str, schema: Schema) -> KeyedTable:
        if name not in self._keyed:
            self._keyed[name] = KeyedTable(self._staging(name, schema), self._references)
        return self._keyed[name]

    def _multiset_table(self, name: str, schema: Schema) -> MultisetTable:
        if name not in self._multisets:
            self._multisets[name] = MultisetTable(self._staging(name, schema), self._references)
        return self._multisets[name]

    def _staging(self, name: str, schema: Schema) -> Staging:
        return Staging(self._connection, self._table(name, schema), schema, self._catalog.encoding)

    def _table(self, name: str, schema: Schema) -> Table:
        table = self._catalog.tables.get(name)
        if table is None:
            raise changed(name, "there is no such table")
        columns = {column.name for column in table.stored}
        unknown, gone = sorted(columns - set(schema.names)), sorted(set(schema.names) - columns)
        if unknown:
            raise changed(name, f"it has columns the plan does not know: {', '.join(unknown)}")
        if gone:
            raise Refused(
                f"{name}: it no longer has the columns {', '.join(gone)}; nothing was written",
                hint="restore to a new place: holdfast restore --to postgresql://…/NEW",
            )
        if schema.key and set(schema.key) != set(table.key):
            raise changed(name, f"its key is no longer {', '.join(schema.key)}")
        return table


def changed(collection: str, why: str) -> TargetChanged:
    """The error for a target that is not what the plan was made against."""
    return TargetChanged(f"{collection}: {why}; nothing was written", hint="compare again, and make a new plan")


def _due(
    steps: Steps, keys: Sequence[bytes], found: Mapping[bytes, bytes], schema: Schema, *, may_be_gone: bool
) -> tuple[list[int], int]:
    """Which steps are still to be done, and how many are done already."""
    todo = []
    for at, (key, expected, wanted, final) in enumerate(zip(keys, *_digests(steps), strict=True)):
        state = found.get(key, b"")
        if state in (wanted, final):
            continue
        if state != expected and not (may_be_gone and not state):
            told = _told_key(steps.rows, schema, at)
            raise changed(steps.collection, f"the record {told} is not what the plan expects")
        todo.append(at)
    return todo, len(keys) - len(todo)


def _digests(steps: Steps) -> Iterator[list[bytes]]:
    """Expected, wanted and final digest of each step; b"" is no record."""
    for each in (steps.expected, steps.wanted, steps.wanted if steps.final is None else steps.final):
        yield [digest or b"" for digest in each.to_pylist()]


def _check_written(steps: Steps, todo: Sequence[int], schema: Schema, now: Mapping[bytes, bytes]) -> None:
    keys = slices(steps.keys)
    wanted = [digest or b"" for digest in steps.wanted.to_pylist()]
    for at in todo:
        if now.get(keys[at], b"") != wanted[at]:
            raise _altered(steps.collection, f"the record {_told_key(steps.rows, schema, at)}")


def _altered(collection: str, record: str) -> Refused:
    return Refused(
        f"{collection}: {record} reads differently than it was written; nothing was changed",
        hint="the table alters values by its types or triggers now: restore to a new place",
    )


def _told_key(rows: pa.RecordBatch, schema: Schema, at: int) -> str:
    told = []
    for column in schema.key_columns:
        value = rows.column(column.name)[at].as_py()
        told.append(f"{column.name}={(decode(value)[1] if column.type == MIXED else value)!r}")
    return ", ".join(told)
