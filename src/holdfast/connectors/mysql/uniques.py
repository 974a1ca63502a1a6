"""Which columns hold values that no two records of a table may share."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.connectors.mysql.catalog import Catalog
from holdfast.connectors.mysql.connection import Connection
from holdfast.connectors.mysql.questions import INDEXES

__all__ = ["unique_columns"]


def unique_columns(connection: Connection, catalog: Catalog) -> Mapping[str, tuple[tuple[str, ...], ...]]:
    """By collection the columns of each unique index; those over expressions and beginnings of texts are left out."""
    found: dict[tuple[str, str], list[str | None]] = {}
    with connection.cursor() as cursor:
        cursor.execute(INDEXES.format(only=""), (catalog.server.database,))
        for table, index, column, is_whole in cursor.fetchall():
            found.setdefault((str(table), str(index)), []).append(str(column) if column and is_whole else None)
    by_table: dict[str, tuple[tuple[str, ...], ...]] = {}
    for (table, _), columns in found.items():
        if None not in columns and table in catalog.tables:
            by_table[table] = (*by_table.get(table, ()), tuple(each for each in columns if each is not None))
    return by_table
