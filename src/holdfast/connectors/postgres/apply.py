"""The tables of a PostgreSQL database as the steps of a plan see them. Each row is locked before it is judged."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.connectors._sql.steps import changed
from holdfast.connectors.postgres.catalog import Catalog
from holdfast.connectors.postgres.connection import Connection
from holdfast.connectors.postgres.keyed import KeyedTable
from holdfast.connectors.postgres.multiset import MultisetTable
from holdfast.connectors.postgres.references import References
from holdfast.connectors.postgres.staging import Staging
from holdfast.core.records import Schema

__all__ = ["NEW_PLACE", "PostgresTables"]

NEW_PLACE = "postgresql://…/NEW"


class PostgresTables:
    """Tables inside the transaction of `connection`. `references` is None where PostgreSQL itself looks after them."""

    new_place = NEW_PLACE
    alterers = "types or triggers"

    def __init__(self, connection: Connection, catalog: Catalog, references: References | None) -> None:
        self._connection = connection
        self._catalog = catalog
        self._references = references

    def columns(self, name: str) -> Iterable[str] | None:
        """The columns that are stored; generated ones follow by themselves. None without such a table."""
        table = self._catalog.tables.get(name)
        return None if table is None else [column.name for column in table.stored]

    def keyed(self, name: str, schema: Schema) -> KeyedTable:
        """The table of a collection with a key. Raises TargetChanged where it has another one."""
        if set(schema.key) != set(self._catalog.tables[name].key):
            raise changed(name, f"its key is no longer {', '.join(schema.key)}")
        return KeyedTable(self._staging(name, schema), self._references)

    def multiset(self, name: str, schema: Schema) -> MultisetTable:
        """The table of a collection without one."""
        return MultisetTable(self._staging(name, schema), self._references)

    def _staging(self, name: str, schema: Schema) -> Staging:
        return Staging(self._connection, self._catalog.tables[name], schema, self._catalog.encoding)
