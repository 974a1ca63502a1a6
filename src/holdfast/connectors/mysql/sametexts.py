"""Texts that MariaDB takes for the same in a column: collations mostly ignore case, accents and spaces at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from holdfast.connectors.mysql.catalog import Catalog
from holdfast.connectors.mysql.connection import Connection, quoted
from holdfast.connectors.mysql.staging import run

__all__ = ["other_spellings"]

_AT_ONCE = 200
_HOW = """
    SELECT CHARACTER_SET_NAME, COLLATION_NAME FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s AND COLUMN_NAME = %s AND COLLATION_NAME IS NOT NULL
"""


def other_spellings(
    connection: Connection, catalog: Catalog, table: str, column: str, texts: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Each text with every other that the column holds and that the server takes for the same."""
    known = catalog.tables.get(table)
    how = run(connection, _HOW, (catalog.server.database, table, column)) if known is not None else []
    for charset, collation in how:
        asked = f"CONVERT(w.v USING {charset}) COLLATE {collation}"
        for start in range(0, len(texts), _AT_ONCE):
            some = texts[start : start + _AT_ONCE]
            values = " UNION ALL ".join(["SELECT %s AS v"] * len(some))
            assert known is not None, "what has columns is a table"
            sql = f"SELECT DISTINCT BINARY w.v, t.{quoted(column)} FROM ({values}) w"
            sql += f" JOIN {known.sql_name} t ON t.{quoted(column)} = {asked}"
            for text, found in run(connection, sql, tuple(some)):
                told = text.decode() if isinstance(text, bytes) else str(text)
                if told != found:
                    yield told, str(found)
