"""How a PostgreSQL database numbers records, and what it demands of them: from its catalog alone."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.connectors._sql.defaults import is_literal, value_of
from holdfast.connectors.postgres.catalog import Table
from holdfast.connectors.postgres.connection import Connection
from holdfast.connectors.postgres.sequences import DRAWN_BY
from holdfast.core.doors import Value

__all__ = ["demanded_columns", "numbers_given"]

# Of counters that go up. They are found before any is asked.
_GIVEN = f"""
    WITH drawn AS MATERIALIZED (
        SELECT x.sequence, x.relation, a.attname::text AS name
        FROM ({DRAWN_BY}) x
        JOIN pg_sequence q ON q.seqrelid = x.sequence AND q.seqincrement > 0
        JOIN pg_attribute a ON a.attrelid = x.relation AND a.attnum = x.number
        WHERE x.relation = ANY(%s))
    SELECT relation, name, max(CASE WHEN has_sequence_privilege(sequence, 'SELECT,USAGE')
        THEN pg_sequence_last_value(sequence) END)
    FROM drawn GROUP BY 1, 2
"""
_DEFAULTS = """
    SELECT a.attrelid, a.attname::text, pg_get_expr(f.adbin, f.adrelid), format_type(a.atttypid, a.atttypmod)
    FROM pg_attribute a LEFT JOIN pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
    WHERE a.attrelid = ANY(%s) AND a.attnotnull AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
"""


def numbers_given(connection: Connection, tables: Mapping[str, Table]) -> Mapping[str, int]:
    """By collection the last number that the counter of its key gave."""
    keys = {(table.oid, table.key): name for name, table in tables.items()}
    found = connection.execute(_GIVEN.encode(), ([table.oid for table in tables.values()],)).fetchall()
    return {keys[oid, (column,)]: last for oid, column, last in found if last is not None and (oid, (column,)) in keys}


def demanded_columns(connection: Connection, tables: Mapping[str, Table]) -> Mapping[str, Mapping[str, Value]]:
    """By collection the columns that are NOT NULL, with their defaults."""
    names = {table.oid: name for name, table in tables.items()}
    kinds = {(table.oid, each.name): each.kind for table in tables.values() for each in table.columns}
    found: dict[str, dict[str, Value]] = {}
    for oid, column, default, declared in connection.execute(_DEFAULTS, (list(names),)).fetchall():
        value: Value = None
        if default is not None and is_literal(default):
            # What stands in the catalog is an expression; the declared type gives it its form.
            row = connection.execute(f"SELECT (({default})::{declared})::text".encode()).fetchone()
            value = None if row is None or row[0] is None else value_of(kinds[oid, column], row[0])
        found.setdefault(names[oid], {})[column] = value
    return found
