"""Tables that can't be followed exactly as they are, and views of no use: why, what it costs, and what mends it."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.connectors.mysql.catalog import NUMBERED, Server, Table
from holdfast.connectors.mysql.connection import Connection, qualified
from holdfast.connectors.mysql.following import Tables

__all__ = ["table_hazards", "view_hazards"]

Hazard = tuple[str, str, str]
_NOT_FOLLOWED = "so its changes are not followed, and what became of it is found by the next snapshot"


def table_hazards(tables: Tables) -> Iterator[Hazard]:
    """Kind, fact and mend of everything about the tables that following meets; not of those that can't be read."""
    for name, table in sorted(tables.catalog.tables.items()):
        if not table.is_readable:
            continue
        if not table.is_transactional:
            fact = (
                f"{name} is of the engine {table.engine}, which knows no transactions: the binlog need not tell what "
                f"it holds, {_NOT_FOLLOWED}"
            )
            yield "engine", fact, f"ALTER TABLE {table.sql_name} ENGINE = InnoDB"
        elif table.versioning == NUMBERED:
            fact = f"the versions of {name} are numbered by transactions, untold by the binlog, {_NOT_FOLLOWED}"
            mend = f"let {table.sql_name} have its versions by time (row start and row end of the type TIMESTAMP(6))"
            yield "versioned", fact, mend
        elif not table.key:
            fact = f"{name} has no key: equal records can't be told apart, {_NOT_FOLLOWED}"
            yield "no-key", fact, f"give {table.sql_name} a primary key"
    yield from _cascades(tables)


def view_hazards(connection: Connection, server: Server) -> Iterator[Hazard]:
    """The same of views that can't be used: a restore can't make them either."""
    with connection.cursor() as cursor:
        cursor.execute(_VIEWS, (server.database,))
        rows = list(cursor.fetchall())
    for name, why, _ in rows:
        fact = f"{why}. The definition of {name} is kept, but no restore can make it while what it stands on is gone"
        yield "view", fact, f"DROP VIEW {qualified(server.database, name)}"


# Only for a number of rows does the server open a view, and see whether it can be used.
_VIEWS = """
    SELECT TABLE_NAME, TABLE_COMMENT, TABLE_ROWS FROM information_schema.TABLES
    WHERE TABLE_SCHEMA = %s AND TABLE_TYPE = 'VIEW' AND TABLE_COMMENT LIKE 'View %%' ORDER BY TABLE_NAME
"""


def _cascades(tables: Tables) -> Iterator[Hazard]:
    """Tables whose rows the server alters or deletes by itself."""
    cascades = tables.cascades
    reached: dict[str, set[str]] = {}
    for parent, children in cascades.deleting.items():
        for child in children:
            reached.setdefault(child, set()).add(parent)
    for parent, each in cascades.updating.items():
        for _, children in each:
            for child in children:
                reached.setdefault(child, set()).add(parent)
    for child, parents in sorted(reached.items()):
        if tables.is_followed(child):
            fact = (
                f"rows of {child} go or change along with those of {', '.join(sorted(parents))} (ON DELETE or ON "
                "UPDATE), of which the binlog tells nothing: each time all is read again, and where that comes often "
                f"{child} is followed no more until the next snapshot"
            )
            yield "cascade", fact, _restricting(tables.catalog.tables[child])
    for child in sorted(cascades.from_elsewhere):
        if child in tables.catalog.tables:
            fact = f"rows of {child} go or change along with {cascades.from_elsewhere[child]}, {_NOT_FOLLOWED}"
            yield "cascade", fact, _restricting(tables.catalog.tables[child])


def _restricting(table: Table) -> str:
    return (
        f"let the references of {table.sql_name} be ON DELETE RESTRICT ON UPDATE RESTRICT, and the application (or a "
        "trigger, which the binlog does tell of) delete the rows"
    )
