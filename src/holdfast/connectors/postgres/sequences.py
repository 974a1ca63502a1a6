"""Counters: set to where they stood in a new database, moved forward only in one that is in use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.connectors.postgres.connection import Connection, qualified, quoted

__all__ = ["DRAWN_BY", "advance_sequences", "set_sequences"]

# Up to here a counter is drawn forward value by value, so that it never falls behind one that draws beside us.
_DRAWN = 100_000
# Counters that a column owns, or that its default draws from.
DRAWN_BY = """
    SELECT objid AS sequence, refobjid AS relation, refobjsubid AS number FROM pg_depend
    WHERE classid = 'pg_class'::regclass AND refclassid = 'pg_class'::regclass AND deptype IN ('a', 'i')
    UNION
    SELECT d.refobjid, f.adrelid, f.adnum FROM pg_depend d JOIN pg_attrdef f ON f.oid = d.objid
    WHERE d.classid = 'pg_attrdef'::regclass AND d.refclassid = 'pg_class'::regclass
"""
_OF_A_TABLE = f"""
    SELECT s.relname, n.nspname, q.seqincrement, q.seqmin, q.seqmax, a.attname
    FROM ({DRAWN_BY}) x
    JOIN pg_class s ON s.oid = x.sequence AND s.relkind = 'S'
    JOIN pg_namespace n ON n.oid = s.relnamespace
    JOIN pg_sequence q ON q.seqrelid = s.oid
    JOIN pg_attribute a ON a.attrelid = x.relation AND a.attnum = x.number AND a.atttypid IN (20, 21, 23)
    WHERE x.relation = %s
"""


def set_sequences(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Set each sequence to where it stood; one that is not here belongs to what was not wanted."""
    for row in rows:
        connection.execute(
            "SELECT pg_catalog.setval(to_regclass(%s), %s, %s) WHERE to_regclass(%s) IS NOT NULL",
            (row["name"], row["value"], row["is_called"], row["name"]),
        )


def advance_sequences(connection: Connection, table_oid: int, table: str) -> None:
    """Move the counters of a table's columns past the values that the table holds now; never back.

    A counter belongs to no transaction: it stays ahead even if what follows fails, which does no harm.
    """
    for name, schema, step, least, most, column in connection.execute(_OF_A_TABLE.encode(), (table_oid,)).fetchall():
        sequence, farthest = qualified(schema, name), "max" if step > 0 else "min"
        sql = f"SELECT {farthest}({quoted(column)})::bigint, last_value, is_called FROM {table}, {sequence}"
        found = connection.execute(f"{sql} GROUP BY last_value, is_called".encode()).fetchone()
        if found is None or found[0] is None or not least <= found[0] <= most:
            continue
        held, last, is_called = found
        # How many draws it takes until the next one lies past what is held.
        draws = (held - last) // step + (0 if is_called else 1)
        if draws <= 0:
            continue
        if draws <= _DRAWN:
            connection.execute("SELECT count(nextval(%s::regclass)) FROM generate_series(1, %s)", (sequence, draws))
        else:
            connection.execute("SELECT setval(%s::regclass, %s)", (sequence, held))
