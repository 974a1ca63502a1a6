"""Which tables of a database are followed, why the others are not, and what the events of a binlog are held to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import pymysql

from holdfast.connectors.mysql.bodies import TableMap
from holdfast.connectors.mysql.cascades import Cascades, cascades_of
from holdfast.connectors.mysql.catalog import NUMBERED, Catalog, Table
from holdfast.connectors.mysql.connection import Connection, literal, translated
from holdfast.connectors.mysql.statements import Reach
from holdfast.core.feed import BreakKind

__all__ = ["Broken", "Tables", "load_tables", "why_not"]


class Broken(Exception):
    """What comes next can't be told exactly; `is_cascade` if the server altered these collections by itself; `kind` as
    a `Break` has it.
    """

    def __init__(
        self, why: str, collections: tuple[str, ...] = (), *, is_cascade: bool = False, kind: BreakKind = ""
    ) -> None:
        super().__init__(why)
        self.kind = kind
        self.why = why
        self.collections = collections
        self.is_cascade = is_cascade


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of one database as a follower knows them. `unfollowed` says why, by name.

    `altering` has, by table, all that the server alters or deletes by itself when a key of that table changes.
    """

    catalog: Catalog
    cascades: Cascades
    unfollowed: Mapping[str, str]
    reach: Reach
    by_map: Mapping[tuple[str, str], Table]
    altering: Mapping[str, tuple[str, ...]]

    def of(self, described: TableMap) -> Table | None:
        """The table that rows belong to, or None: another database's, a sequence, one that this user can't see."""
        found = self.by_map.get((described.schema, described.name))
        if found is None and self.catalog.server.folds_names:
            return self.by_map.get((described.schema.lower(), described.name.lower()))
        return found

    def is_followed(self, name: str) -> bool:
        """Whether changes of its records are told."""
        return name in self.reach.followed


def load_tables(connection: Connection, catalog: Catalog, cascaded: Mapping[str, str] = MappingProxyType({})) -> Tables:
    """Judge the tables of a catalog; those in `cascaded` are left out, for the reason there."""
    cascades = cascades_of(catalog.acting, (name for name, each in catalog.tables.items() if each.is_readable))
    folds = catalog.server.folds_names
    reasons = {name: why_not(table, cascades) or cascaded.get(name, "") for name, table in catalog.tables.items()}
    unfollowed = _with_blind(catalog, cascades, {name: why for name, why in reasons.items() if why})
    database = catalog.server.database
    reach = Reach(
        database,
        frozenset(catalog.tables),
        frozenset({*catalog.tables} - {*unfollowed}),
        _key_indexes(connection, catalog),
        _is_entered(connection, database),
    )
    by_map = {(database, table.name): table for table in catalog.tables.values()}
    if folds:
        by_map |= {(schema.lower(), name.lower()): table for (schema, name), table in by_map.items()}
    altering = {
        name: tuple(child for _, children in each for child in children) for name, each in cascades.updating.items()
    }
    for name, children in cascades.deleting.items():
        if name in catalog.tables and catalog.tables[name].versioning:
            # A version that ends has another key; for what references it the row is gone.
            altering[name] = (*altering.get(name, ()), *children)
    return Tables(catalog, cascades, unfollowed, reach, by_map, altering)


def why_not(table: Table, cascades: Cascades) -> str:
    """Why changes of the table can't be followed, "" if they can."""
    if not table.is_readable:
        return table.refusal
    if not table.is_transactional:
        return f"its engine ({table.engine}) knows no transactions: what the binlog tells need not be what it holds"
    if table.versioning == NUMBERED:
        return "its versions are numbered by transactions, of which the binlog tells nothing"
    if not table.key:
        return "it has no key: equal records can't be told apart"
    if table.name in cascades.from_elsewhere:
        above = cascades.from_elsewhere[table.name]
        return f"its rows are altered along with {above} (ON DELETE or ON UPDATE), untold by the binlog"
    return ""


def _with_blind(catalog: Catalog, cascades: Cascades, unfollowed: dict[str, str]) -> dict[str, str]:
    """Those too that change along with columns which are no key: that these change can't be seen."""
    found = dict(unfollowed)
    while True:
        count = len(found)
        for parent, each in cascades.updating.items():
            table = catalog.tables.get(parent)
            for columns, children in each:
                if table is None or parent in found or not columns <= {*table.key}:
                    why = f"its rows are altered along with those of {parent} (ON UPDATE), untold by the binlog"
                    found |= {child: why for child in children if child not in found and child in catalog.tables}
        if len(found) == count:
            return found


def _key_indexes(connection: Connection, catalog: Catalog) -> frozenset[tuple[str, str]]:
    """Tables and the unique indexes over just the columns of their keys, in lower case."""
    with translated("the catalog"), connection.cursor() as cursor:
        cursor.execute(_UNIQUE)
        rows = list(cursor.fetchall())
    columns: dict[tuple[str, str], set[str]] = {}
    for table, index, column in rows:
        columns.setdefault((table, index), set()).add(column)
    found = set()
    for (name, index), names in columns.items():
        table = catalog.tables.get(name)
        if table is not None and names <= {*table.key}:
            found.add((name, index.casefold()))
    return frozenset(found)


def _is_entered(connection: Connection, database: str) -> bool:
    """Whether a view, trigger, routine or event of another database names ours, as far as this user can see."""
    pattern = literal("%" + database.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%")
    with translated("the catalog"), connection.cursor() as cursor:
        for table, schema, body in _BODIES:
            try:
                cursor.execute(
                    f"SELECT 1 FROM information_schema.{table} WHERE {schema} <> DATABASE() "
                    f"AND {schema} NOT IN ('sys', 'mysql') AND {body} LIKE {pattern} LIMIT 1"
                )
            except pymysql.MySQLError as error:
                # A view of somebody's that no longer fits its tables can't be asked for.
                if error.args and error.args[0] in _BROKEN_VIEWS:
                    return True
                raise
            if cursor.fetchone():
                return True
    return False


_BROKEN_VIEWS = (1356, 1449)
_UNIQUE = """
    SELECT TABLE_NAME, INDEX_NAME, coalesce(COLUMN_NAME, '') FROM information_schema.STATISTICS
    WHERE TABLE_SCHEMA = DATABASE() AND NON_UNIQUE = 0
"""
_BODIES = (
    ("VIEWS", "TABLE_SCHEMA", "VIEW_DEFINITION"),
    ("TRIGGERS", "TRIGGER_SCHEMA", "ACTION_STATEMENT"),
    ("ROUTINES", "ROUTINE_SCHEMA", "ROUTINE_DEFINITION"),
    ("EVENTS", "EVENT_SCHEMA", "EVENT_DEFINITION"),
)
