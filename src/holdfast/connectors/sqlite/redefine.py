"""Carries out the steps of a plan on the database's own definitions, around those on records.

* Dropped triggers, views and indexes go before the records change, dropped tables after.
* New tables come before records are written; new indexes, views and triggers after, in the order of `position`.
* A table that exists is never altered: only its owner knows how its rows should change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from holdfast.connectors._sql.definitions import definition_batch, definitions_due
from holdfast.connectors._sql.steps import changed
from holdfast.connectors.sqlite.apply import NEW_PLACE
from holdfast.connectors.sqlite.catalog import Catalog, Definition, load_catalog
from holdfast.connectors.sqlite.connection import Session, folded, quoted
from holdfast.connectors.sqlite.definitions import (
    PRAGMA,
    PRAGMA_SCHEMA,
    SCHEMA,
    SCHEMA_SCHEMA,
    SEQUENCE,
    SEQUENCE_SCHEMA,
    pragma_records,
    schema_records,
)
from holdfast.core.plan import Op, Steps
from holdfast.core.ports import Applied
from holdfast.core.records import Schema
from holdfast.errors import Refused

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
        self._sequence = self._due(SEQUENCE, SEQUENCE_SCHEMA, definition_batch(SEQUENCE_SCHEMA, counters))
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
        found = load_catalog(self._session).definitions
        now = {(each.type, each.name): (each.table, each.sql) for each in found}
        for op, row in self._schema:
            key = (row["type"], row["name"])
            if now.get(key) != (None if op is Op.DELETE else (row["table_name"], row["sql"])):
                raise changed(SCHEMA, f"the definition of {' '.join(key)} is not what the plan expects")

    def _made(self, *kinds: str) -> list[_Row]:
        rows = [row for op, row in self._schema if op is not Op.DELETE and row["type"] in kinds]
        return sorted(rows, key=lambda row: (CREATION_ORDER[row["type"]], folded(row["table_name"]), row["position"]))

    def _due(self, name: str, schema: Schema, records: pa.RecordBatch) -> list[tuple[Op, _Row]]:
        """The steps still to be done on one collection of definitions."""
        due, already = definitions_due(self._steps, name, schema, records)
        self._already += already
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
                hint=f"restore to a new place: holdfast restore --to {NEW_PLACE}",
            )
