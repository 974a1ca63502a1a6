"""The tables of a SQLite database as the steps of a plan see them. Its one writer is the transaction itself."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.connectors.sqlite.catalog import Catalog
from holdfast.connectors.sqlite.connection import Session
from holdfast.connectors.sqlite.keyed import KeyedTable
from holdfast.connectors.sqlite.multiset import MultisetTable
from holdfast.core.records import Schema

__all__ = ["NEW_PLACE", "SqliteTables"]

NEW_PLACE = "sqlite:///NEW.db"


class SqliteTables:
    """Tables inside the transaction of `session`."""

    new_place = NEW_PLACE
    alterers = "declarations"

    def __init__(self, session: Session, catalog: Catalog) -> None:
        self._session = session
        self._catalog = catalog

    def columns(self, name: str) -> Iterable[str] | None:
        """The columns that records have there; None without such a table."""
        table = self._catalog.tables.get(name)
        return None if table is None else [column.name for column in table.columns]

    def keyed(self, name: str, schema: Schema) -> KeyedTable:
        """The table of a collection with a key."""
        return KeyedTable(self._session, self._catalog.tables[name], schema, self._catalog.encoding)

    def multiset(self, name: str, schema: Schema) -> MultisetTable:
        """The table of a collection without one."""
        return MultisetTable(self._session, self._catalog.tables[name], schema, self._catalog.encoding)
