"""Carries out the steps of a plan on the database's own definitions, around those on records.

* Dropped triggers, views and indexes go before the records change, dropped tables after.
* New tables come before records are written; new indexes, views and triggers after, in the order of `position`.
* A table that exists is never altered: only its owner knows how its rows should change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from holdfast.connectors.sqlite.catalog import Catalog, Definition, load_catalog
from holdfast.connectors.sqlite.connection import Session, folded, quoted
from holdfast.connectors.sqlite.definitions import (
    PRAGMA,
    PRAGMA_SCHEMA,
    SCHEMA,
    SCHEMA_SCHEMA,
    SEQUENCE,
    SEQUENCE_SCHEMA,
    RecordsView,
    pragma_records,
    schema_records,
)
from holdfast.core.canonical import decode, row_digests
from holdfast.core.plan import Op, Steps
from holdfast.core.ports import Applied
from holdfast.core.records import Collection, Schema
from holdfast.errors import Refused, TargetChanged

__all__ = ["CREATION_ORDER", "Redefinition"]

CREATION_ORDER: Mapping[str, int] = {"table": 0, "index": 1, "view": 2, "trigger": 3}
_IN_PLACE = ("application_id", "user_version", "statistics")
# What someone wrote there by hand is no counter.
_COUNTERS = "SELECT name, seq FROM main.sqlite_sequence WHERE typeof(name) = 'text' AND typeof(seq) = 'integer'"
_Row = Mapping[str, Any]


class Redefinition:
    """The steps on definitions: checked at once against what the target holds, done when the records allow."""

    def __init__(self, session: Session, catalog: Catalog, steps: Sequence[Steps]) -> None:
        self._session = session
        self._steps = steps
        self._already = 0
        counters = session.rows(_COUNTERS) if catalog.has_sequence else []
        self._schema = self._due(SCHEMA, SCHEMA_SCHEMA, schema_records(catalog))
        self._pragma = self._due(PRAGMA, PRAGMA_SCHEMA, pragma_records(session, catalog))
        self._sequence = self._due(SEQUENCE, SEQUENCE_SCHEMA, counters)
        self._refuse_what_needs_a_new_file()

    @property
    def applied(self) -> Applied:
        """How many definitions are written, and how many were as wanted already."""
        return Applied(len(self._schema) + len(self._pragma) + len(self._sequence), self._already)

    @property
    def dropped(self) -> frozenset[tuple[str, str]]:
        """Type and name of each object that goes, for good or to be made anew."""
        return frozenset((row["type"], row["name"]) for op, row in self._schema if op is not Op.INSERT)

    def before_records(self) -> None:
        """Drop what stands on tables, and make new tables."""
        for kind, name in sorted(self.dropped, key=lambda each: -CREATION_ORDER[each[0]]):
            if kind != "table":
                self._session.run(f"DROP {kind} IF EXISTS main.{quoted(name)}")
        for row in self._made("table"):
            self._session.run(row["sql"])

    def after_records(self, silenced: Iterable[Definition]) -> None:
        """Drop tables, make what stands on tables, silenced triggers again too; set counters and pragmas."""
        for kind, name in sorted(self.dropped):
            if kind == "table":
                self._session.run(f"DROP TABLE main.{quoted(name)}")
        for row in self._made("index", "view"):
            self._session.run(row["sql"])
        triggers = [(folded(row["table_name"]), row["position"], row["sql"]) for row in self._made("trigger")]
        triggers += [
            (folded(each.table), each.position, each.sql)
            for each in silenced
            if not self.dropped.intersection({("trigger", each.name), ("table", each.table)})
        ]
        for *_, sql in sorted(triggers):
            self._session.run(sql)
        for op, row in self._sequence:
            self._session.run("DELETE FROM main.sqlite_sequence WHERE name = ?", (row["name"],))
            if op is not Op.DELETE:
                self._session.run("INSERT INTO main.sqlite_sequence VALUES (?, ?)", (row["name"], row["seq"]))
        for _, row in self._pragma:
            if row["name"] == "statistics":
                self._session.run("ANALYZE main")
            else:
                self._session.run(f"PRAGMA main.{row['name']} = {int(row['value'])}")

    def check(self) -> None:
        """Raise TargetChanged if the definitions are not what the plan wants, though each step was done."""
        # Not their positions: those depend on what else stands on the table now.
        now = {(kind, name): (table, sql) for kind, name, table, sql, _ in schema_records(load_catalog(self._session))}
        for op, row in self._schema:
            key = (row["type"], row["name"])
            if now.get(key) != (None if op is Op.DELETE else (row["table_name"], row["sql"])):
                raise _changed(SCHEMA, key)

    def _made(self, *kinds: str) -> list[_Row]:
        rows = [row for op, row in self._schema if op is not Op.DELETE and row["type"] in kinds]
        return sorted(rows, key=lambda row: (CREATION_ORDER[row["type"]], folded(row["table_name"]), row["position"]))

    def _due(self, name: str, schema: Schema, records: Sequence[tuple[Any, ...]]) -> list[tuple[Op, _Row]]:
        """The steps still to be done on one collection of definitions."""
        now = _digests(name, schema, records)
        due = []
        for steps in self._steps:
            if steps.collection == name:
                digests = steps.expected.to_pylist(), steps.wanted.to_pylist()
                for row, expected, wanted in zip(_plain(steps.rows), *digests, strict=True):
                    key = tuple(row[column] for column in schema.key)
                    state = now.get(key)
                    if state == wanted:
                        self._already += 1
                    elif state == expected:
                        due.append((steps.op, row))
                    else:
                        raise _changed(name, key)
        return due

    def _refuse_what_needs_a_new_file(self) -> None:
        altered = [f"table {row['name']}" for op, row in self._schema if op is Op.UPDATE and row["type"] == "table"]
        fixed = [
            row["name"]
            for op, row in self._pragma
            if op is not Op.UPDATE or row["name"] not in _IN_PLACE or row["value"] == "no"
        ]
        if altered or fixed:
            raise Refused(
                f"the definition of {', '.join(altered + fixed)} can't be changed in place",
                hint="restore to a new place: holdfast restore --to sqlite:///NEW.db",
            )


def _digests(name: str, schema: Schema, records: Iterable[tuple[Any, ...]]) -> dict[tuple[Any, ...], bytes]:
    """The row digest of each record by its key."""
    found = {}
    for batch in RecordsView(Collection(name, schema), tuple(records)).batches():
        for row, digest in zip(batch.to_pylist(), row_digests(batch, schema).to_pylist(), strict=True):
            found[tuple(row[column] for column in schema.key)] = digest
    return found


def _plain(rows: pa.RecordBatch) -> list[_Row]:
    """Rows as Python values, those of mixed columns too: definitions have no bytes of their own."""
    return [
        {name: decode(value)[1] if isinstance(value, bytes) else value for name, value in row.items()}
        for row in rows.to_pylist()
    ]


def _changed(name: str, key: tuple[Any, ...]) -> TargetChanged:
    told = " ".join(map(str, key))
    return TargetChanged(
        f"{name}: the definition of {told} is not what the plan expects; nothing was written",
        hint="compare again, and make a new plan",
    )
