"""Texts that PostgreSQL takes for the same in a column: of citext, and of collations that are not deterministic."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from holdfast.connectors.postgres.catalog import Table
from holdfast.connectors.postgres.connection import Connection, qualified, quoted

__all__ = ["other_spellings"]

_HOW = """
    SELECT t.typname = 'citext', format_type(a.atttypid, NULL), n.nspname, c.collname
    FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
    LEFT JOIN pg_collation c ON c.oid = a.attcollation AND NOT c.collisdeterministic
    LEFT JOIN pg_namespace n ON n.oid = c.collnamespace
    WHERE a.attrelid = %s AND a.attname = %s AND (t.typname = 'citext' OR c.oid IS NOT NULL)
"""


def other_spellings(
    connection: Connection, table: Table, column: str, texts: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Each text with every other that the column holds and that the server takes for the same."""
    how = connection.execute(_HOW, (table.oid, column)).fetchone()
    if how is None:
        return
    is_citext, kind, schema, collation = how
    asked = f"w.v::{kind}" if is_citext else "w.v"
    asked += "" if collation is None else f" COLLATE {qualified(schema, collation)}"
    held = f"t.{quoted(column)}"
    sql = f"""
        SELECT DISTINCT w.v, {held}::text COLLATE "C"
        FROM (SELECT unnest(%s::text[]) COLLATE "C" AS v) w JOIN {table.sql_source} t ON {held} = {asked}
        WHERE {held}::text COLLATE "C" <> w.v
    """
    yield from connection.execute(sql.encode(), (list(texts),)).fetchall()
