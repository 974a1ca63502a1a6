"""Writes to a MariaDB database: a plan into one that is in use, or a whole system into an empty or new one.

All or nothing in both: a plan is one transaction, in tables of engines that have transactions (others are refused), and
a new database gets its tables in one move when they are complete.

No trigger fires: MariaDB can't silence them, so a table that has any is written as a replica writes (`replay`), and so
is one that keeps its own past, which gets no version that was not in the plan.

A plan runs under READ COMMITTED, on purpose: each row is locked before it is judged, so it is judged as it is now and
stays so until the commit, and references are looked for in what is committed by then. Under a snapshot taken at the
beginning, a reference that another session made meanwhile would go unseen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress

import pymysql

from holdfast.connectors._sql.steps import Pass, TableSteps, parted, refuse_danglers
from holdfast.connectors.mysql.apply import NEW_PLACE, MysqlTables
from holdfast.connectors.mysql.catalog import RESERVED, Catalog, Table, load_catalog
from holdfast.connectors.mysql.completing import recover
from holdfast.connectors.mysql.connection import Connection, ValueTaken, connect, quoted, shown, translated
from holdfast.connectors.mysql.counters import advance_counters
from holdfast.connectors.mysql.create import create_database
from holdfast.connectors.mysql.loading import prepare_to_write
from holdfast.connectors.mysql.mapped import DIALECT, create_mapped
from holdfast.connectors.mysql.place import is_taken
from holdfast.connectors.mysql.references import References
from holdfast.connectors.mysql.replay import Replay, may_replay
from holdfast.connectors.mysql.restated import Restated
from holdfast.connectors.mysql.rights import account, held
from holdfast.connectors.mysql.staging import run
from holdfast.core.dialect import Dialect
from holdfast.core.mapping import NamedMapping
from holdfast.core.plan import Plan
from holdfast.core.ports import Applied, Created, View
from holdfast.core.records import Collection
from holdfast.errors import Refused

__all__ = ["MysqlWriter"]


class MysqlWriter:
    """A MariaDB database that can be written to by a plan, or built anew where there is none or an empty one."""

    def __init__(self, url: str) -> None:
        self._url = url

    def is_empty(self) -> bool:
        """Whether nothing is there yet, not even the database. Raises Unreachable or Refused."""
        return not is_taken(self._url)

    def recover(self) -> None:
        """Make what a restore to this place that was cut off has left to be made; of a plan the server leaves nothing.

        Raises Unreachable while such a restore is still at work.
        """
        recover(self._url)

    def apply(self, plan: Plan) -> Applied:
        """Carry out every step, or none. No trigger fires; new references that lead nowhere are refused.

        Definitions that are missing are made, which the server can't undo: tables before the records are written, and
        they go again if those can't be; the rest when they are. Counters that the records are numbered by move forward
        where they would give a number that is taken.

        Raises TargetChanged (a record is neither what a step expects nor what it wants), Refused (a reference would
        lead nowhere that does not now, or a rule of the database or a missing right forbids it, or a table's engine has
        no transactions) or Unreachable (a lock was not to be had in ten seconds, a deadlock, no answer: safe to try
        again).
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
        """How MariaDB keeps values of other engines."""
        return DIALECT

    def create_mapped(self, mapping: NamedMapping, views: Iterable[View]) -> Created:
        """Build a whole database of another engine's records, empty or not there before: complete, or not at all."""
        return create_mapped(self._url, mapping, views)

    def _attempt(self, plan: Plan, passes: Sequence[Pass]) -> Applied:
        # Closing the connection without a COMMIT rolls all of it back.
        with translated(shown(self._url)), connect(self._url) as connection, connect(self._url) as reader:
            busy, definitions = parted(plan, RESERVED)
            if not definitions:
                written = _written(connection, reader, plan, busy, passes)
                connection.commit()
                return written
            with connect(self._url) as definer:
                restated = Restated(definer, definitions)
                restated.before_records()
                try:
                    written = _written(connection, reader, plan, busy, passes)
                except BaseException:
                    restated.undo()
                    raise
                # Whatever comes of it: once this is on its way, the records may be in what was made for them.
                connection.commit()
                restated.after_records()
                return written + restated.applied


def _written(
    connection: Connection, reader: Connection, plan: Plan, busy: Mapping[str, Collection], passes: Sequence[Pass]
) -> Applied:
    """Carry out the steps on records, up to the COMMIT."""
    prepare_to_write(connection)
    run(connection, "SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
    connection.begin()
    try:
        return _carry_out(connection, reader, plan, busy, passes)
    except BaseException:
        # Tables that it was about to fill can go only when it has let go of them.
        with suppress(pymysql.Error):
            connection.rollback()
            reader.rollback()
        raise


def _carry_out(
    connection: Connection, reader: Connection, plan: Plan, busy: Mapping[str, Collection], passes: Sequence[Pass]
) -> Applied:
    catalog = _locked(connection, busy)
    tables = [catalog.tables[name] for name in busy if name in catalog.tables]
    replays = _replays(connection, catalog, tables)
    references = References(connection, catalog.server.database, [table.name for table in tables])
    written = MysqlTables(connection, reader, catalog, references, replays)
    applied = TableSteps(written, busy).carry_out(plan, passes)
    if not plan.is_whole:
        refuse_danglers(references.dangling())
    for table in tables:
        advance_counters(connection, table)
    return applied


def _locked(connection: Connection, busy: Mapping[str, Collection]) -> Catalog:
    """The catalog, after which nobody may alter the definition of a table that is about to be written."""
    catalog = load_catalog(connection)
    for name in sorted(busy):
        if name in catalog.tables:
            run(connection, f"SELECT 1 FROM {catalog.tables[name].sql_name} LIMIT 0")
    return load_catalog(connection)


def _replays(connection: Connection, catalog: Catalog, tables: Sequence[Table]) -> dict[str, Replay]:
    """How those tables are written that statements would make fire triggers, or add to their past."""
    elsewhere = f"restore to a new place: holdfast restore --to {NEW_PLACE}"
    # MariaDB shows them to whoever may write the table; MySQL only to whoever has the right to make them.
    rights = set() if catalog.server.is_mariadb else held(connection, catalog.server.database)
    sees_triggers = catalog.server.is_mariadb or bool(rights & {"TRIGGER", "ALL PRIVILEGES"})
    found: dict[str, Replay] = {}
    for table in tables:
        if not table.is_transactional:
            raise Refused(
                f"{table.name}: its engine {table.engine} has no transactions, so a plan could stay half done in it; "
                "nothing was written",
                hint=f"{elsewhere}; or let it have them: ALTER TABLE {table.sql_name} ENGINE=InnoDB",
            )
        triggers = [name for (name,) in run(connection, _TRIGGERS, (table.database, table.name))]
        if sees_triggers and not triggers and not table.versioning:
            continue
        if found or not (obstacle := may_replay(connection, catalog.server)):
            found[table.name] = Replay(connection, table, catalog.server)
            continue
        why, hint = "its past would get one more version", f"or {elsewhere}"
        if triggers:
            why = f"its triggers would fire ({', '.join(triggers)})"
        elif not sees_triggers:
            why = "it may have triggers that this user can't see"
            hint = f"GRANT TRIGGER ON {quoted(table.database)}.* TO {account(catalog.server)}; {hint}"
        raise Refused(f"{table.name}: {why}, and {obstacle}; nothing was written", hint=hint)
    return found


_TRIGGERS = """
    SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = %s AND EVENT_OBJECT_TABLE = %s
"""
