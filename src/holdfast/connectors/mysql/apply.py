"""The tables of a MariaDB database as the steps of a plan see them. Each row is locked before it is judged."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping

from holdfast.connectors._sql.steps import changed
from holdfast.connectors.mysql.catalog import Catalog
from holdfast.connectors.mysql.charsets import load_charsets
from holdfast.connectors.mysql.connection import Connection
from holdfast.connectors.mysql.keyed import KeyedTable
from holdfast.connectors.mysql.multiset import MultisetTable
from holdfast.connectors.mysql.references import References
from holdfast.connectors.mysql.replay import Replay
from holdfast.connectors.mysql.staging import Staging
from holdfast.connectors.mysql.writes import Events, Statements, Writes
from holdfast.core.records import Schema

__all__ = ["NEW_PLACE", "MysqlTables"]

NEW_PLACE = "mariadb://…/NEW"


class MysqlTables:
    """Tables inside the transaction of `connection`. `reader` is a second session, which sees what is committed.

    `replays` are the tables that are written as row events.
    """

    new_place = NEW_PLACE
    alterers = "types or settings"

    def __init__(
        self,
        connection: Connection,
        reader: Connection,
        catalog: Catalog,
        references: References,
        replays: Mapping[str, Replay],
    ) -> None:
        self._connection = connection
        self._reader = reader
        self._catalog = catalog
        stored = (column for table in catalog.tables.values() for column in table.stored)
        self._charsets = load_charsets(connection, {column.charset for column in stored})
        self._references = references
        self._replays = replays
        self._numbers = itertools.count()

    def columns(self, name: str) -> Iterable[str] | None:
        """The columns that are stored; generated ones follow by themselves. None without such a table."""
        table = self._catalog.tables.get(name)
        return None if table is None else [column.name for column in table.stored]

    def keyed(self, name: str, schema: Schema) -> KeyedTable:
        """The table of a collection with a key. Raises TargetChanged where it has another one."""
        if set(schema.key) != set(self._catalog.tables[name].key):
            raise changed(name, f"its key is no longer {', '.join(schema.key)}")
        staging = self._staging(name, schema)
        return KeyedTable(staging, self._references, self._writes(staging))

    def multiset(self, name: str, schema: Schema) -> MultisetTable:
        """The table of a collection without one."""
        staging = self._staging(name, schema)
        return MultisetTable(staging, self._references, self._writes(staging), self._reader)

    def _writes(self, staging: Staging) -> Writes:
        replay = self._replays.get(staging.table.name)
        return Events(staging, replay) if replay else Statements(staging)

    def _staging(self, name: str, schema: Schema) -> Staging:
        table = self._catalog.tables[name]
        return Staging(self._connection, table, schema, self._charsets, next(self._numbers))
