"""Tables that can't be followed exactly as they are: why, what it costs, and the statement that mends it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from holdfast.connectors.postgres.catalog import Table, load_catalog
from holdfast.connectors.postgres.connection import Connection, qualified, quoted
from holdfast.connectors.postgres.publication import Candidate

__all__ = ["table_hazards"]

Hazard = tuple[str, str, str]


def table_hazards(connection: Connection, tables: Sequence[Candidate]) -> Iterator[Hazard]:
    """Kind, fact and mend of everything about the tables that following meets."""
    known = {table.oid: table for table in load_catalog(connection).tables.values()}
    for table in tables:
        name = known[table.oid].collection if table.oid in known else table.sql_name
        if not table.is_publishable:
            fact = f"{name} is unlogged: its changes are in no log, it is read whole each time, and a crash empties it"
            yield "unlogged", fact, f"ALTER TABLE {table.sql_name} SET LOGGED"
        elif table.oid in known and not known[table.oid].key:
            fact = (
                f"{name} has no key: equal records can't be told apart, so its changes are not followed, and what "
                "became of it is found by the next snapshot"
            )
            yield "no-key", fact, f"give {table.sql_name} a primary key"
        elif not table.identity_columns:
            fact = (
                f"{name} has no replica identity: its updates and deletes can't be followed (publishing them would "
                "make the application's own fail), and are found only by reading it whole"
            )
            yield "identity", fact, _identity(connection, table)
        else:
            yield from _followed(name, table, known.get(table.oid))
    for schema, foreign in connection.execute(_FOREIGN).fetchall():
        fact = f"{schema}.{foreign} is a foreign table: its rows lie on another server"
        yield "foreign", fact, "protect that server as a source of its own"


def _followed(name: str, table: Candidate, known: Table | None) -> Iterator[Hazard]:
    """What is in the way of a table whose updates and deletes are sent."""
    identity = set(table.identity_columns or ())
    if known and known.key and not identity >= set(known.key):
        key = ", ".join(known.key)
        fact = f"the replica identity of {name} lacks columns of its key ({key}): it names old rows by others"
        yield "identity", fact, f"ALTER TABLE {table.sql_name} REPLICA IDENTITY FULL"
    elif table.large_bytes and table.identity != "f":
        fact = (
            f"{name} has large values ({table.large_bytes:,} bytes stored apart): where an update leaves one alone "
            "it is not sent, and the row is read again"
        )
        yield "large-values", fact, f"ALTER TABLE {table.sql_name} REPLICA IDENTITY FULL"


def _identity(connection: Connection, table: Candidate) -> str:
    """What gives a table a replica identity: its key if it has one that can be, else the whole row."""
    if not table.is_partitioned:
        if table.key_index is None:
            return f"ALTER TABLE {table.sql_name} REPLICA IDENTITY FULL"
        return f"ALTER TABLE {table.sql_name} REPLICA IDENTITY USING INDEX {quoted(table.key_index)}"
    rows = connection.execute(_PARTITIONED, [table.oid, table.oid]).fetchall()
    has_primary, columns = rows[0][2:]
    if has_primary:
        return ";\n".join(f"ALTER TABLE {qualified(*row[:2])} REPLICA IDENTITY DEFAULT" for row in rows)
    if columns:
        return f"ALTER TABLE {table.sql_name} ADD PRIMARY KEY ({', '.join(map(quoted, columns))})"
    return f"give {table.sql_name} a primary key: partitions made later have no other identity"


_FOREIGN = b"""
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'f' AND NOT c.relispartition ORDER BY 1, 2
"""
# The table itself and the partitions whose identity is not their key; whether it has a primary key, or what could be.
_PARTITIONED = b"""
WITH usable AS (
    SELECT i.indisprimary, i.indnkeyatts, i.indkey FROM pg_index i
    WHERE i.indrelid = %s AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL
      AND i.indexprs IS NULL ORDER BY i.indisprimary DESC, i.indexrelid LIMIT 1
)
SELECT n.nspname, c.relname, coalesce((SELECT indisprimary FROM usable), false),
    (SELECT array_agg(a.attname::text ORDER BY k.place) FROM usable u
     CROSS JOIN unnest(u.indkey) WITH ORDINALITY k (attnum, place)
     JOIN pg_attribute a ON a.attrelid = t.root AND a.attnum = k.attnum)
FROM (SELECT relid, level, first_value(relid) OVER (ORDER BY level) AS root FROM pg_partition_tree(%s)) t
JOIN pg_class c ON c.oid = t.relid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE t.level = 0 OR c.relreplident <> 'd'
ORDER BY t.level, n.nspname, c.relname
"""
