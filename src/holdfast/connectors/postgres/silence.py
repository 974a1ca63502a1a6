"""Keeps triggers and rules still while records are put back: a restored record is no event of the application's.

* With the right to set `session_replication_role` the whole session is silent: no triggers, no checks of foreign keys,
  no locks on the tables. Only those made to fire even then are switched off one by one.
* Without it the tables' own triggers and rules are switched off one by one (their owner may), and PostgreSQL goes on
  checking foreign keys, at the end where they are deferrable.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from psycopg import errors

from holdfast.connectors.postgres.connection import Connection, qualified, quoted

__all__ = ["Silenced", "may_be_silent", "silence"]

_SAVEPOINT = '"holdfast silence"'
_TREE = """
    WITH RECURSIVE tree (oid) AS (
        SELECT unnest(%(oids)s::oid[])
        UNION SELECT i.inhrelid FROM tree t JOIN pg_inherits i ON i.inhparent = t.oid
            JOIN pg_class c ON c.oid = i.inhrelid AND c.relispartition)
"""
_TRIGGERS = f"""
    {_TREE} SELECT n.nspname, c.relname, g.tgname, g.tgenabled::text
    FROM tree JOIN pg_class c ON c.oid = tree.oid JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_trigger g ON g.tgrelid = c.oid AND NOT g.tgisinternal AND g.tgenabled = ANY(%(states)s::"char"[])
    ORDER BY c.oid, g.tgname
"""
_RULES = f"""
    {_TREE} SELECT n.nspname, c.relname, r.rulename, r.ev_enabled::text
    FROM tree JOIN pg_class c ON c.oid = tree.oid JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_rewrite r ON r.ev_class = c.oid AND r.ev_type <> '1' AND r.ev_enabled = ANY(%(states)s::"char"[])
    ORDER BY c.oid, r.rulename
"""
_ENABLE = {"O": "ENABLE", "A": "ENABLE ALWAYS", "R": "ENABLE REPLICA"}


class _Switch(NamedTuple):
    table: str
    kind: str
    name: str
    state: str

    def sql(self, verb: str) -> bytes:
        return f"ALTER TABLE ONLY {self.table} {verb} {self.kind} {quoted(self.name)}".encode()


class Silenced:
    """Tables whose triggers and rules are silent in this transaction.

    `must_check` says that PostgreSQL does not check references now.
    """

    def __init__(self, connection: Connection, switches: Sequence[_Switch], *, must_check: bool) -> None:
        self._connection = connection
        self._switches = switches
        self.must_check = must_check

    def end(self) -> None:
        """Check what was deferred, and switch on again what was on, as it was."""
        self._connection.execute(b"SET CONSTRAINTS ALL IMMEDIATE")
        for each in self._switches:
            self._connection.execute(each.sql(_ENABLE[each.state]))


def may_be_silent(connection: Connection) -> bool:
    """Make the rest of the transaction silent, if this user may."""
    run = connection.execute
    run(f"SAVEPOINT {_SAVEPOINT}".encode())
    try:
        run(b"SET LOCAL session_replication_role = replica")
    except errors.InsufficientPrivilege:
        run(f"ROLLBACK TO {_SAVEPOINT}".encode())
        return False
    finally:
        run(f"RELEASE {_SAVEPOINT}".encode())
    return True


def silence(connection: Connection, oids: Sequence[int]) -> Silenced:
    """Silence the triggers and rules of these tables and their partitions until the transaction ends."""
    is_silent = may_be_silent(connection)
    states = ["A", "R"] if is_silent else ["O", "A"]
    switches = [
        _Switch(qualified(schema, table), kind, name, state)
        for kind, question in (("TRIGGER", _TRIGGERS), ("RULE", _RULES))
        for schema, table, name, state in connection.execute(question, {"oids": list(oids), "states": states})
    ]
    for each in switches:
        connection.execute(each.sql("DISABLE"))
    connection.execute(b"SET CONSTRAINTS ALL DEFERRED")
    return Silenced(connection, switches, must_check=is_silent)
