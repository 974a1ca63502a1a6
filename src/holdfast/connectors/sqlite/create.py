"""Builds a whole database in a new file: definitions, records, then what stands on records.

* The file is built beside its place under another name, with its journal in memory: a crash leaves no database, only
  a `.partial-` file. It gets its name when it is whole, checked by SQLite itself, and on disk.
* Checks are off while records go in: what the source held is put back as it was, and told if it does not hold together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from holdfast.connectors.sqlite.binding import Binding
from holdfast.connectors.sqlite.catalog import Catalog, load_catalog
from holdfast.connectors.sqlite.connection import RuleBroken, Session, ValueTaken, folded, open_session, quoted
from holdfast.connectors.sqlite.definitions import PRAGMA, RESERVED, SCHEMA, SCHEMA_SCHEMA, SEQUENCE, schema_records
from holdfast.connectors.sqlite.place import BUSY_SECONDS, forgo_safety, partial_place, publish, refuse_taken
from holdfast.connectors.sqlite.redefine import CREATION_ORDER
from holdfast.connectors.sqlite.references import dangling
from holdfast.connectors.sqlite.virtual import Virtual, parse_virtual
from holdfast.core.ports import Created, View
from holdfast.errors import Damaged, Unsupported, Usage

__all__ = ["create_database"]

_FIRST = ("page_size", "encoding", "auto_vacuum")
_HEADER = ("application_id", "user_version")
_Row = Mapping[str, Any]


def create_database(path: Path, views: Iterable[View]) -> Created:
    """Build the database at `path`, which must be free. It appears there complete and durable, or not at all."""
    by_name = {view.name: view for view in views}
    if SCHEMA not in by_name:
        raise Usage("a database can't be built without its definitions", hint=f"restore {SCHEMA} with its collections")
    refuse_taken(path)
    with partial_place(path) as partial:
        pragmas = {row["name"]: row["value"] for row in _records(by_name.get(PRAGMA))}
        with open_session(partial, mode="rwc", busy_seconds=BUSY_SECONDS) as session:
            _prepare(session, pragmas)
            created = _Building(session, by_name, pragmas).build()
        if pragmas.get("journal_mode") == "wal":
            with open_session(partial, mode="rw", busy_seconds=BUSY_SECONDS) as session:
                session.run("PRAGMA journal_mode=WAL")
        publish(partial, path)
    return created


class _Building:
    """The inside of a new database, in the order in which it is built."""

    def __init__(self, session: Session, views: Mapping[str, View], pragmas: Mapping[str, str]) -> None:
        self._session = session
        self._views = views
        self._pragmas = pragmas
        self._definitions = sorted(_records(views[SCHEMA]), key=_order_of_creation)
        self._records = 0
        self._not_covered: list[str] = []
        self._left_out: set[tuple[str, str]] = set()
        self._filled = {name for name in views if name.startswith(RESERVED)}

    def build(self) -> Created:
        session = self._session
        session.run("BEGIN IMMEDIATE")
        for row in self._definitions:
            if row["type"] == "table" and not _is_virtual(row):
                session.run(row["sql"])
        catalog = self._fill()
        virtual = self._make_virtual()
        catalog = self._fill()
        self._refuse_left_over()
        for row in self._definitions:
            if row["type"] in ("index", "view"):
                session.run(row["sql"])
        for each in virtual:
            self._rebuild(each)
        for row in self._definitions:
            if row["type"] == "trigger":
                session.run(row["sql"])
        self._set_counters(catalog)
        for name in _HEADER:
            session.run(f"PRAGMA main.{name} = {int(self._pragmas.get(name, 0))}")
        if self._pragmas.get("statistics") == "yes":
            session.run("ANALYZE main")
        session.run("COMMIT")
        return self._checked()

    def _fill(self) -> Catalog:
        """Write the records of each view that has a table and was not written yet."""
        catalog = load_catalog(self._session)
        for name, view in self._views.items():
            table = catalog.tables.get(name)
            if name in self._filled or table is None:
                continue
            if {column.name for column in table.columns} != set(view.schema.names):
                raise Damaged(f"{name}: its records have other columns than its definition", hint="holdfast verify")
            self._filled.add(name)
            binding = Binding(name, view.schema.columns)
            columns = ", ".join(map(quoted, view.schema.names))
            sql = f"INSERT INTO {table.sql_name} ({columns}) VALUES ({', '.join(binding.placeholders)})"
            for batch in view.batches():
                try:
                    self._session.run_many(sql, binding.parameters(batch))
                except (RuleBroken, ValueTaken) as error:
                    raise Damaged(f"{name}: its records do not fit its definition: {error.message}") from error
                self._records += batch.num_rows
        return catalog

    def _make_virtual(self) -> list[Virtual]:
        made = []
        for row in self._definitions:
            if row["type"] == "table" and _is_virtual(row):
                each = parse_virtual(row["name"], row["sql"])
                try:
                    self._session.run(each.sql)
                except Unsupported as error:
                    self._not_covered.append(f"the virtual table {each.name}: {error.message}")
                    self._left_out.add(("table", each.name))
                    self._filled.add(str(each.own_content))
                    continue
                made.append(each)
                if each.own_content:
                    # A new full-text table is empty, but its content table may hold a row of its own making.
                    self._session.run(f"DELETE FROM main.{quoted(each.own_content)}")
                if each.not_covered:
                    self._not_covered.append(each.not_covered)
        return made

    def _rebuild(self, each: Virtual) -> None:
        if each.is_rebuilt:
            self._session.run(f"INSERT INTO main.{quoted(each.name)} ({quoted(each.name)}) VALUES ('rebuild')")

    def _refuse_left_over(self) -> None:
        left = sorted(set(self._views) - self._filled)
        if left:
            raise Damaged(f"no definition for the records of {', '.join(left)}", hint="holdfast verify")

    def _set_counters(self, catalog: Catalog) -> None:
        if SEQUENCE not in self._views:
            return
        if not catalog.has_sequence:
            # The source once had such a table; SQLite keeps its table of counters for ever.
            self._session.run('CREATE TABLE main."holdfast counted" (id INTEGER PRIMARY KEY AUTOINCREMENT)')
            self._session.run('DROP TABLE main."holdfast counted"')
        self._session.run("DELETE FROM main.sqlite_sequence")
        view = self._views[SEQUENCE]
        binding = Binding(SEQUENCE, view.schema.columns)
        for batch in view.batches():
            values = ", ".join(binding.placeholders)
            sql = f"INSERT INTO main.sqlite_sequence ({', '.join(view.schema.names)}) VALUES ({values})"
            self._session.run_many(sql, binding.parameters(batch))

    def _checked(self) -> Created:
        catalog = load_catalog(self._session)
        wanted = {tuple(row[column] for column in SCHEMA_SCHEMA.names) for row in self._definitions}
        found = {tuple(row.values()) for row in schema_records(catalog).to_pylist()}
        missing = {each[:2] for each in wanted - found}
        if missing != self._left_out:
            raise Damaged(f"definitions came out differently: {sorted(missing - self._left_out)}")
        integrity = self._session.rows("PRAGMA main.integrity_check")
        if integrity != [("ok",)]:
            raise Damaged(f"the database built does not hold together: {integrity[0][0]}", hint="holdfast verify")
        return Created(self._records, tuple(self._not_covered), dangling(self._session, catalog).total())


def _records(view: View | None) -> list[_Row]:
    return [] if view is None else [row for batch in view.batches() for row in batch.to_pylist()]


def _order_of_creation(row: _Row) -> tuple[Any, ...]:
    return CREATION_ORDER[row["type"]], folded(row["table_name"]), row["position"]


def _is_virtual(row: _Row) -> bool:
    return str(row["sql"]).upper().startswith("CREATE VIRTUAL TABLE")


def _prepare(session: Session, pragmas: Mapping[str, str]) -> None:
    """Set what can only be set while a file is empty."""
    for name in _FIRST:
        if name in pragmas:
            value = str(pragmas[name]).replace("'", "''")
            session.run(f"PRAGMA main.{name} = '{value}'")
    forgo_safety(session)
