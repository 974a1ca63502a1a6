"""Carries out the steps of a plan in one transaction: every one of them, or none.

* Each step is checked against what the table holds at that moment, inside the transaction, and again once written.
* Rows are changed in place. If that meets a value that must be unique and is still held by a row the plan changes
  later, all is rolled back and done again with old rows taken away first and new ones written afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum

import pyarrow as pa

from holdfast.connectors.sqlite.catalog import Catalog, Table
from holdfast.connectors.sqlite.connection import Session
from holdfast.connectors.sqlite.keyed import Found, KeyedTable
from holdfast.connectors.sqlite.multiset import MultisetTable
from holdfast.core.canonical import decode, slices
from holdfast.core.plan import Op, Steps
from holdfast.core.ports import Applied
from holdfast.core.records import MIXED, Collection, Schema
from holdfast.errors import Refused, TargetChanged

__all__ = ["Pass", "TableSteps"]


class Pass(Enum):
    """One reading of the plan's steps: all at once, or first what goes and then what comes."""

    ALL = "all"
    REMOVE = "remove"
    WRITE = "write"


class TableSteps:
    """Carries out steps on tables; counts what was written and what was done already."""

    def __init__(self, session: Session, catalog: Catalog, collections: Mapping[str, Collection]) -> None:
        self._session = session
        self._catalog = catalog
        self._collections = collections
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
                raise _changed(name, surplus)

    def _carry_out_keyed(self, steps: Steps, stage: Pass, schema: Schema) -> None:
        table = self._keyed_table(steps.collection, schema)
        found = table.find(steps.rows)
        keys = slices(steps.keys)
        todo, already = _due(steps, keys, found, schema, may_be_gone=stage is Pass.WRITE and steps.op is Op.UPDATE)
        rows = steps.rows.take(pa.array(todo, pa.int64()))
        if steps.op is Op.UPDATE and stage is Pass.REMOVE:
            # The second pass writes and counts these rows.
            table.delete(rows, [found[keys[at]] for at in todo])
            return
        self._already += already
        self._written += len(todo)
        if not todo:
            return
        match steps.op:
            case Op.DELETE:
                table.delete(rows, [found[keys[at]] for at in todo])
            case Op.UPDATE if stage is Pass.ALL:
                table.update(rows, [found[keys[at]] for at in todo])
            case _:
                table.insert(rows)
        _check_written(steps, todo, schema, table.find(rows))

    def _carry_out_multiset(self, steps: Steps, schema: Schema) -> None:
        assert steps.op is not Op.UPDATE, "a record without a key is never updated: its digest is its key"
        table = self._multiset_table(steps.collection, schema)
        rows = table.find(steps.keys)
        is_there = [row is not None for row in rows]
        due = [at for at, there in enumerate(is_there) if there == (steps.op is Op.DELETE)]
        self._already += len(rows) - len(due)
        self._written += len(due)
        if not due:
            return
        chosen = pa.array(due, pa.int64())
        keys = steps.keys.take(chosen)
        if steps.op is Op.DELETE:
            table.delete(keys, [row for row in rows if row is not None])
            return
        digests = table.insert(keys, steps.rows.take(chosen))
        if digests != [key[:32] for key in slices(keys)]:
            raise _altered(steps.collection, "a record")

    def _keyed_table(self, name: str, schema: Schema) -> KeyedTable:
        if name not in self._keyed:
            self._keyed[name] = KeyedTable(self._session, self._table(name, schema), schema, self._catalog.encoding)
        return self._keyed[name]

    def _multiset_table(self, name: str, schema: Schema) -> MultisetTable:
        if name not in self._multisets:
            table = self._table(name, schema)
            self._multisets[name] = MultisetTable(self._session, table, schema, self._catalog.encoding)
        return self._multisets[name]

    def _table(self, name: str, schema: Schema) -> Table:
        table = self._catalog.tables.get(name)
        if table is None:
            raise _changed(name, "there is no such table")
        columns = {column.name for column in table.columns}
        unknown, gone = sorted(columns - set(schema.names)), sorted(set(schema.names) - columns)
        if unknown:
            raise _changed(name, f"it has columns the plan does not know: {', '.join(unknown)}")
        if gone:
            raise Refused(
                f"{name}: it no longer has the columns {', '.join(gone)}; nothing was written",
                hint="restore to a new place: holdfast restore --to sqlite:///NEW.db",
            )
        return table


def _due(
    steps: Steps, keys: Sequence[bytes], found: Mapping[bytes, Found], schema: Schema, *, may_be_gone: bool
) -> tuple[list[int], int]:
    """Which steps are still to be done, and how many are done already."""
    todo = []
    for at, (key, expected, wanted, final) in enumerate(zip(keys, *_digests(steps), strict=True)):
        now = found.get(key)
        state = now.digest if now else b""
        if state in (wanted, final):
            continue
        if state != expected and not (may_be_gone and not state):
            told = _told_key(steps.rows, schema, at)
            raise _changed(steps.collection, f"the record {told} is not what the plan expects")
        todo.append(at)
    return todo, len(keys) - len(todo)


def _digests(steps: Steps) -> Iterator[list[bytes]]:
    """Expected, wanted and final digest of each step; b"" is no record."""
    for each in (steps.expected, steps.wanted, steps.wanted if steps.final is None else steps.final):
        yield [digest or b"" for digest in each.to_pylist()]


def _check_written(steps: Steps, todo: Sequence[int], schema: Schema, found: Mapping[bytes, Found]) -> None:
    keys = slices(steps.keys)
    wanted = [digest or b"" for digest in steps.wanted.to_pylist()]
    for at in todo:
        now = found.get(keys[at])
        if (now.digest if now else b"") != wanted[at]:
            raise _altered(steps.collection, f"the record {_told_key(steps.rows, schema, at)}")


def _altered(collection: str, record: str) -> Refused:
    return Refused(
        f"{collection}: {record} reads differently than it was written; nothing was changed",
        hint="the table alters values by its declarations now: restore to a new place",
    )


def _changed(collection: str, why: str) -> TargetChanged:
    return TargetChanged(f"{collection}: {why}; nothing was written", hint="compare again, and make a new plan")


def _told_key(rows: pa.RecordBatch, schema: Schema, at: int) -> str:
    told = []
    for column in schema.key_columns:
        value = rows.column(column.name)[at].as_py()
        told.append(f"{column.name}={(decode(value)[1] if column.type == MIXED else value)!r}")
    return ", ".join(told)
