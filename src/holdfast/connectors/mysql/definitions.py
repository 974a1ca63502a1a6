"""The database's own definitions as records: `mysql:schema`, and `mysql:sequence` for where counters stand.

* Each is what the server itself says of it, with the settings under which it was made: SQL modes, character set and
  collation of whoever made it, collation of the database, time zone. What the server makes of it again is the same.
* A definition's key is its kind and its name: none renames another. `position` is a trigger's place among those that
  fire together. Where counters stand is no part of a table's definition, and no time when anything was made.
* The database's own name is replaced by a placeholder: the same definitions under another name are the same.
* Not among them: users, roles and their passwords, which belong to the server. Their rights here are.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import pyarrow as pa
import pymysql

from holdfast.connectors._sql.definitions import definition_batch
from holdfast.connectors.mysql.catalog import RESERVED, SYSTEM_PREFIX, Catalog, Server
from holdfast.connectors.mysql.connection import Connection, qualified, quoted, translated
from holdfast.connectors.mysql.grants import grants
from holdfast.connectors.mysql.pending import withheld
from holdfast.connectors.mysql.sqltext import header, relative, without_counter
from holdfast.core.records import Column, Schema

__all__ = [
    "RESERVED",
    "SCHEMA",
    "SCHEMA_SCHEMA",
    "SEQUENCE",
    "SEQUENCE_SCHEMA",
    "schema_records",
    "sequence_records",
]

SCHEMA = "mysql:schema"
SEQUENCE = "mysql:sequence"

SCHEMA_SCHEMA = Schema(
    (
        Column("type", "text"),
        Column("name", "text"),
        Column("table_name", "text"),
        Column("position", "int"),
        Column("sql", "text"),
        Column("sql_mode", "text"),
        Column("character_set_client", "text"),
        Column("collation_connection", "text"),
        Column("database_collation", "text"),
        Column("time_zone", "text"),
    ),
    key=("type", "name"),
)
SEQUENCE_SCHEMA = Schema(
    (Column("type", "text"), Column("name", "text"), Column("value", "decimal"), Column("round", "int")),
    key=("type", "name"),
)

_AT_ONCE = 200
_NOT_SEEN = (1044, 1142, 1143, 1227, 1370)
_GONE = (1146, 1305, 1360, 1539, 4031)


class _Definition(NamedTuple):
    """A row of `SCHEMA_SCHEMA`."""

    type: str
    name: str
    table_name: str | None
    position: int
    sql: str
    sql_mode: str | None = None
    character_set_client: str | None = None
    collation_connection: str | None = None
    database_collation: str | None = None
    time_zone: str | None = None


def schema_records(connection: Connection, catalog: Catalog) -> pa.RecordBatch:
    """Every definition that this user may see, in key order, in `SCHEMA_SCHEMA`; `unseen` tells what others there are.

    Raises Refused or Unreachable.
    """
    server = catalog.server
    with translated(SCHEMA):
        found: list[_Definition] = [
            _database(connection, server),
            *_tables(connection, server),
            *_views(connection, server),
        ]
        found += [*_triggers(connection, server), *_routines(connection, server), *_events(connection, server)]
        found += _grants(connection, server)
        rows = {(each.type, each.name): each for each in found}
        # In a place for drills some definitions are kept back: they are there, as they are to be.
        rows |= {(row[0], row[1]): _Definition(*row) for row in withheld(connection, server.database)}
    return definition_batch(SCHEMA_SCHEMA, [row for _, row in sorted(rows.items())])


def sequence_records(connection: Connection, catalog: Catalog) -> pa.RecordBatch:
    """Where each counter stands now, in `SEQUENCE_SCHEMA`; no snapshot holds one, so it may be ahead.

    Of an AUTO_INCREMENT it is the next number; of a SEQUENCE the first that is in no session's cache yet.
    """
    database = catalog.server.database
    with translated(SEQUENCE):
        found = [("AUTO_INCREMENT", name, str(number), 0) for name, number in _ask(connection, _COUNTERS, database)]
        names = [name for (name,) in _ask(connection, _SEQUENCES, database)]
        for start in range(0, len(names), _AT_ONCE):
            parts = [
                f"SELECT {number}, next_not_cached_value, cycle_count FROM {qualified(database, name)}"
                for number, name in enumerate(names[start : start + _AT_ONCE], start)
            ]
            for number, value, cycles in _ask(connection, " UNION ALL ".join(parts)):
                found.append(("SEQUENCE", names[number], str(value), int(cycles)))
    own = [row for row in found if not row[1].startswith(SYSTEM_PREFIX)]
    return definition_batch(SEQUENCE_SCHEMA, sorted(own))


def _database(connection: Connection, server: Server) -> _Definition:
    ((name, sql),) = _ask(connection, f"SHOW CREATE DATABASE {quoted(server.database)}")
    start = sql.index(quoted(name))
    rest = sql[start + len(quoted(name)) :]
    return _Definition("DATABASE", "", None, 0, f"{sql[:start]}`holdfast:database`{rest}")


def _tables(connection: Connection, server: Server) -> Iterator[_Definition]:
    for name, kind in _ask(connection, _TABLES, server.database):
        if name.startswith(SYSTEM_PREFIX):
            continue
        is_sequence = kind == "SEQUENCE"
        shown = _shown(connection, "SEQUENCE" if is_sequence else "TABLE", server.database, name)
        if shown is None:
            continue
        sql = relative(shown[1] if is_sequence else without_counter(shown[1]), server.database)
        yield _Definition("SEQUENCE" if is_sequence else "TABLE", name, None if is_sequence else name, 0, sql)


def _views(connection: Connection, server: Server) -> Iterator[_Definition]:
    with connection.cursor() as cursor:
        # A view is told with all names in full from elsewhere only; whether it can be used alters nothing then.
        cursor.execute("USE information_schema")
        try:
            shown = {
                name: _shown(connection, "VIEW", server.database, name)
                for (name,) in _ask(connection, _VIEWS, server.database)
            }
        finally:
            cursor.execute(f"USE {quoted(server.database)}")
    for name, told in shown.items():
        if told is not None:
            _, sql, charset, collation = told
            yield _Definition("VIEW", name, None, 0, relative(sql, server.database), None, charset, collation)


def _triggers(connection: Connection, server: Server) -> Iterator[_Definition]:
    for name, table, position in _ask(connection, _TRIGGERS, server.database):
        shown = _shown(connection, "TRIGGER", server.database, name)
        if shown is not None:
            sql = relative(shown[2], server.database, header(shown[2], "EACH"))
            yield _Definition("TRIGGER", name, table, int(position), sql, shown[1], *shown[3:6])


def _routines(connection: Connection, server: Server) -> Iterator[_Definition]:
    for kind, name in _ask(connection, _ROUTINES, server.database):
        shown = _shown(connection, kind, server.database, name)
        # Without the right to see it, its body is NULL.
        if shown is not None and shown[2] is not None:
            yield _Definition(kind, name, None, 0, shown[2], shown[1], *shown[3:6])


def _events(connection: Connection, server: Server) -> Iterator[_Definition]:
    for (name,) in _ask(connection, _EVENTS, server.database):
        shown = _shown(connection, "EVENT", server.database, name)
        if shown is not None:
            _, mode, zone, sql, charset, collation, of_database = shown
            yield _Definition("EVENT", name, None, 0, sql, mode, charset, collation, of_database, zone)


def _grants(connection: Connection, server: Server) -> list[_Definition]:
    try:
        found = grants(connection, server.database)
    except pymysql.MySQLError as error:
        if error.args and error.args[0] in _NOT_SEEN:
            return []
        raise
    return [_Definition("GRANT", each.name, each.table or None, 0, each.sql) for each in found]


def _shown(connection: Connection, kind: str, database: str, name: str) -> tuple[Any, ...] | None:
    """What SHOW CREATE says, or None if this user may not see it or it is gone."""
    try:
        found = _ask(connection, f"SHOW CREATE {kind} {qualified(database, name)}")
    except pymysql.MySQLError as error:
        if error.args and error.args[0] in (*_NOT_SEEN, *_GONE):
            return None
        raise
    return found[0]


def _ask(connection: Connection, sql: str, *arguments: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, arguments or None)
        return list(cursor.fetchall())


_TABLES = """
    SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES
    WHERE TABLE_SCHEMA = %s AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED', 'SEQUENCE')
"""
_VIEWS = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_TYPE = 'VIEW'"
_TRIGGERS = """
    SELECT TRIGGER_NAME, EVENT_OBJECT_TABLE, ACTION_ORDER FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = %s
"""
_ROUTINES = "SELECT ROUTINE_TYPE, ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = %s"
_EVENTS = "SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = %s"
_COUNTERS = """
    SELECT TABLE_NAME, AUTO_INCREMENT FROM information_schema.TABLES
    WHERE TABLE_SCHEMA = %s AND AUTO_INCREMENT IS NOT NULL
"""
_SEQUENCES = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_TYPE = 'SEQUENCE'"
