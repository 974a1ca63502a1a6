"""Writes to a SQLite database: a plan into one that is in use, or a whole system into a new file.

All or nothing in both: a plan is one transaction, and a new file gets its name when it is complete and on disk.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path

from holdfast.connectors._sql.steps import Pass, TableSteps, parted
from holdfast.connectors.sqlite.apply import SqliteTables
from holdfast.connectors.sqlite.catalog import Catalog, load_catalog
from holdfast.connectors.sqlite.connection import Session, ValueTaken, folded, open_session, quoted
from holdfast.connectors.sqlite.create import create_database
from holdfast.connectors.sqlite.definitions import RESERVED
from holdfast.connectors.sqlite.mapped import DIALECT, create_mapped
from holdfast.connectors.sqlite.reader import BUSY_SECONDS
from holdfast.connectors.sqlite.redefine import Redefinition
from holdfast.connectors.sqlite.references import dangling
from holdfast.core.dialect import Dialect
from holdfast.core.mapping import NamedMapping
from holdfast.core.plan import Plan
from holdfast.core.ports import Applied, Created, View
from holdfast.errors import Refused

__all__ = ["SqliteWriter"]


class SqliteWriter:
    """A SQLite database file that can be written to by a plan, or made anew where there is none."""

    def __init__(self, path: str | PathLike[str], *, busy_seconds: float = BUSY_SECONDS) -> None:
        self._path = Path(path)
        self._busy_seconds = busy_seconds

    def recover(self) -> None:
        """Roll back a transaction that died with a rollback journal: who only reads can't, and so can't read at all.

        Without a journal this does nothing. Raises Unreachable if another program holds the file.
        """
        if self._path.with_name(f"{self._path.name}-journal").exists():
            with open_session(self._path, mode="rw", busy_seconds=self._busy_seconds) as session:
                # SQLite itself rolls back, before the first read of whoever may write.
                session.value("SELECT count(*) FROM main.sqlite_schema")

    def apply(self, plan: Plan) -> Applied:
        """Carry out every step, or none. Triggers are silent; references are compared before and after.

        Raises TargetChanged (a record is neither what a step expects nor what it wants), Refused (a reference would
        lead nowhere that does not now, or a rule of the database forbids it) or Unreachable (locked, full).
        With a rollback journal no snapshot of the same file may stay open once the plan's steps are read.
        """
        try:
            return self._attempt(plan, (Pass.ALL,))
        except ValueTaken:
            return self._attempt(plan, (Pass.REMOVE, Pass.WRITE))

    def create(self, views: Iterable[View]) -> Created:
        """Build a whole database in a new file from its definitions and records: every view of a snapshot or commit.

        The file appears complete or not at all. Raises Refused if something is there already, and Damaged if what was
        built does not hold together.
        """
        return create_database(self._path, views)

    @property
    def dialect(self) -> Dialect:
        """How SQLite keeps values of other engines."""
        return DIALECT

    def create_mapped(self, mapping: NamedMapping, views: Iterable[View]) -> Created:
        """Build a whole database in a new file of another engine's records. It appears complete or not at all."""
        return create_mapped(self._path, mapping, views)

    def _attempt(self, plan: Plan, passes: Sequence[Pass]) -> Applied:
        with open_session(self._path, mode="rw", busy_seconds=self._busy_seconds) as session:
            session.run("PRAGMA foreign_keys=OFF")
            session.run("PRAGMA synchronous=FULL")
            # Closing the session without a COMMIT rolls all of it back.
            session.run("BEGIN IMMEDIATE")
            applied = _carry_out(session, plan, passes)
            session.run("COMMIT")
        return applied


def _carry_out(session: Session, plan: Plan, passes: Sequence[Pass]) -> Applied:
    busy, definitions = parted(plan, RESERVED)
    catalog = load_catalog(session)
    redefinition = Redefinition(session, catalog, definitions)
    before = dangling(session, catalog, busy)
    tables_busy = set(map(folded, busy))
    silenced = [each for each in catalog.definitions if each.type == "trigger" and folded(each.table) in tables_busy]
    for each in silenced:
        session.run(f"DROP TRIGGER main.{quoted(each.name)}")
    redefinition.before_records()
    if definitions:
        catalog = load_catalog(session)
    applied = TableSteps(SqliteTables(session, catalog), busy).carry_out(plan, passes)
    _rebuild_indexes_of_text(session, catalog, busy)
    redefinition.after_records(silenced)
    redefinition.check()
    if not plan.is_whole:
        _refuse_new_danglers(before, dangling(session, load_catalog(session), busy))
    return applied + redefinition.applied


def _rebuild_indexes_of_text(session: Session, catalog: Catalog, touched: Iterable[str]) -> None:
    """Full-text tables follow their content by triggers, which were silent."""
    names = {folded(name) for name in touched}
    for each in catalog.virtual:
        if names & {folded(each.content or ""), folded(each.own_content or "")}:
            session.run(f"INSERT INTO main.{quoted(each.name)} ({quoted(each.name)}) VALUES ('rebuild')")


def _refuse_new_danglers(before: Counter[tuple[str, ...]], after: Counter[tuple[str, ...]]) -> None:
    new = after - before
    if new:
        told = [f"{table} {row} → {parent}" for table, row, parent, _ in sorted(new)[:5]]
        more = f" and {new.total() - 5} more" if new.total() > 5 else ""
        raise Refused(
            f"{new.total()} references would lead to no record: {', '.join(told)}{more}; nothing was written",
            hint="restore the collections they lead to in the same plan",
        )
