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

from holdfast.connectors._sql.steps import Pass, TableSteps
from holdfast.connectors.postgres.apply import PostgresTables
from holdfast.connectors.postgres.catalog import Catalog, Table, collection_name, load_catalog
from holdfast.connectors.postgres.connection import Connection, ValueTaken, connect, shown, translated
from holdfast.connectors.postgres.create import create_database
from holdfast.connectors.postgres.definitions import RESERVED
from holdfast.connectors.postgres.place import is_taken
from holdfast.connectors.postgres.references import References
from holdfast.connectors.postgres.restated import Restated
from holdfast.connectors.postgres.sequences import advance_sequences
from holdfast.connectors.postgres.silence import may_be_silent, silence
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
    busy = {
        each.collection.name: each.collection for each in plan.collections if each.inserts + each.updates + each.deletes
    }
    of_definitions = {name for name in busy if name.startswith(RESERVED)}
    small = [steps for steps in plan.steps() if steps.collection in of_definitions] if of_definitions else []
    restated = Restated(connection, url, small)
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
    steps_of_tables = TableSteps(PostgresTables(connection, catalog, references), busy)
    for stage in passes:
        for steps in plan.steps():
            if steps.collection not in of_definitions:
                steps_of_tables.carry_out(steps, stage)
    steps_of_tables.finish()
    silenced.end()
    restated.after_records()
    if references and not plan.is_whole:
        _refuse_new_danglers(references)
    for table in tables:
        advance_sequences(connection, table.oid, table.sql_source)
    done = steps_of_tables.applied, restated.applied
    return Applied(sum(each.written for each in done), sum(each.already for each in done))


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


def _refuse_new_danglers(references: References) -> None:
    found = references.dangling()
    if found:
        told = [f"{child} {value} → {parent}" for child, _, value, parent in found[:5]]
        more = f" and {len(found) - 5} more foreign keys" if len(found) > 5 else ""
        raise Refused(
            f"{sum(each[1] for each in found)} references would lead to no record: {', '.join(told)}{more}; "
            "nothing was written",
            hint="restore the collections they lead to in the same plan",
        )


_CASCADES = """
    SELECT n.nspname, c.relname, k.conname
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE k.contype = 'f' AND k.conparentid = 0 AND k.confrelid = %s
        AND (k.confdeltype IN ('c', 'n', 'd') OR k.confupdtype IN ('c', 'n', 'd'))
"""
