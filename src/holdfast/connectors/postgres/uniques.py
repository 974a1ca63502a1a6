"""Which columns hold values that no two records of a table may share."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.connectors.postgres.catalog import Table
from holdfast.connectors.postgres.connection import Connection

__all__ = ["unique_columns"]

# Indexes of some rows only, and over expressions, are left out: what they forbid no column tells.
_UNIQUE = """
    SELECT i.indrelid, array(
        SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (number, place)
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
        WHERE k.place <= i.indnkeyatts ORDER BY k.place)
    FROM pg_index i
    WHERE i.indrelid = ANY(%s) AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL
    ORDER BY i.indrelid, i.indexrelid
"""


def unique_columns(connection: Connection, tables: Mapping[str, Table]) -> Mapping[str, tuple[tuple[str, ...], ...]]:
    """By collection the columns of each unique index."""
    names = {table.oid: name for name, table in tables.items()}
    found: dict[str, tuple[tuple[str, ...], ...]] = {}
    for oid, columns in connection.execute(_UNIQUE, (list(names),)).fetchall():
        found[names[oid]] = (*found.get(names[oid], ()), tuple(columns))
    return found
