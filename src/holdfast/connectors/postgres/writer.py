"""Writes to a PostgreSQL database: a plan into one that is in use, or a whole system into an empty or new one.

All or nothing in both: a plan is one transaction, and a new database gets its name when it is complete.

A plan runs under READ COMMITTED, on purpose: each row is locked before it is judged, so it is judged as it is now and
stays so until the commit, and references are looked for in what is committed by then. Under a snapshot taken at the
beginning, a reference that another session made meanwhile would go unseen.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import psycopg
from psycopg import IsolationLevel

from holdfast.connectors._sql.steps import Pass, TableSteps, parted, refuse_danglers
from holdfast.connectors.postgres.apply import PostgresTables
from holdfast.connectors.postgres.catalog import Catalog, Table, collection_name, load_catalog
from holdfast.connectors.postgres.connection import Connection, ValueTaken, connect, shown, translated
from holdfast.connectors.postgres.create import create_database
from holdfast.connectors.postgres.definitions import RESERVED
from holdfast.connectors.postgres.mapped import DIALECT, create_mapped
from holdfast.connectors.postgres.place import is_taken
from holdfast.connectors.postgres.references import References
from holdfast.connectors.postgres.restated import Restated
from holdfast.connectors.postgres.sequences import advance_sequences
from holdfast.connectors.postgres.silence import may_be_silent, silence
from holdfast.core.dialect import Dialect
from holdfast.core.mapping import NamedMapping
from holdfast.core.plan import Plan
from holdfast.core.ports import Applied, Created, View
from holdfast.errors import Refused, Unreachable

__all__ = ["PostgresWriter"]


class PostgresWriter:
    """A PostgreSQL database that can be written to by a plan, or built anew where there is none or an empty one."""

    def __init__(self, url: str) -> None:
        self._url = url

    def is_empty(self) -> bool:
        """Whether nothing is there yet, not even the database. Raises Unreachable or Refused."""
        return not is_taken(self._url)

    def recover(self) -> None:
        """Nothing: the server itself undoes what a crash cut off."""

    def apply(self, plan: Plan) -> Applied:
        """Carry out every step, or none. Triggers and rules are silent; new references that lead nowhere are refused.

        Counters that the records are numbered by move forward where they would give a number that is taken.

        Raises TargetChanged (a record is neither what a step expects nor what it wants), Refused (a reference would
        lead nowhere that does not now, or a rule of the database or a missing right forbids it) or Unreachable (a lock
        was not to be had in ten seconds, a deadlock, no answer: safe to try again).
        """
        try:
            return self._attempt(plan, (Pass.ALL,))
        except ValueTaken:
            return self._attempt(plan, (Pass.REMOVE, Pass.WRITE))

    def create(self, views: Iterable[View]) -> Created:
        """Build a whole database from its definitions and records: every view of a snapshot or commit.

        The database must be empty, or not exist yet; then it appears under its name complete or not at all.
        """
        return create_database(self._url, views)

    @property
    def dialect(self) -> Dialect:
        """How PostgreSQL keeps values of other engines."""
        return DIALECT

    def create_mapped(self, mapping: NamedMapping, views: Iterable[View]) -> Created:
        """Build a whole database of another engine's records, empty or not there before: complete, or not at all."""
        return create_mapped(self._url, mapping, views)

    def _attempt(self, plan: Plan, passes: Sequence[Pass]) -> Applied:
        with translated(shown(self._url)), connect(self._url) as connection:
            connection.isolation_level = IsolationLevel.READ_COMMITTED
            try:
                with connection.transaction():
                    return _carry_out(connection, self._url, plan, passes)
            except psycopg.DatabaseError as error:
                if not connection.broken:
                    raise
                raise Unreachable(
                    f"{shown(self._url)}: the server ended the connection; nothing was written",
                    hint="it is safe to try again",
                ) from error


def _carry_out(connection: Connection, url: str, plan: Plan, passes: Sequence[Pass]) -> Applied:
    busy, definitions = parted(plan, RESERVED)
    restated = Restated(connection, url, definitions)
    # Before anything is made: event triggers would fire for it.
    may_be_silent(connection)
    restated.before_records()
    catalog = load_catalog(connection)
    tables = [catalog.tables[name] for name in busy if name in catalog.tables]
    _lock(connection, tables)
    catalog = load_catalog(connection)
    oids = [table.oid for table in tables]
    silenced = silence(connection, oids)
    references = References(connection, oids) if silenced.must_check else None
    if references is None:
        _refuse_cascades(connection, plan, catalog)
    applied = TableSteps(PostgresTables(connection, catalog, references), busy).carry_out(plan, passes)
    silenced.end()
    restated.after_records()
    if references and not plan.is_whole:
        refuse_danglers(references.dangling())
    for table in tables:
        advance_sequences(connection, table.oid, table.sql_source)
    return applied + restated.applied


def _lock(connection: Connection, tables: Sequence[Table]) -> None:
    """Let nobody alter the definition of a table that is about to be written; its records stay free."""
    for table in sorted(tables, key=lambda each: each.collection):
        connection.execute(f"LOCK TABLE {table.sql_name} IN ROW EXCLUSIVE MODE".encode())


def _refuse_cascades(connection: Connection, plan: Plan, catalog: Catalog) -> None:
    """Where PostgreSQL goes on checking references, it also goes on deleting what refers to a deleted record."""
    for each in plan.collections:
        table = catalog.tables.get(each.collection.name)
        if table is None or not each.updates + each.deletes:
            continue
        found = connection.execute(_CASCADES, (table.oid,)).fetchone()
        if found is not None:
            raise Refused(
                f"{each.collection.name}: to change or delete its records would change those of "
                f"{collection_name(*found[:2])} by {found[2]}, unseen by the plan; nothing was written",
                hint="write as a superuser, or: GRANT SET ON PARAMETER session_replication_role TO this user",
            )


_CASCADES = """
    SELECT n.nspname, c.relname, k.conname
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE k.contype = 'f' AND k.conparentid = 0 AND k.confrelid = %s
        AND (k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd'))
"""
