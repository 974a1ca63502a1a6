"""How many rows tables have, by the server's own count: past everything that reads and decodes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from psycopg import errors

from holdfast.connectors._sql.counting import COUNT_MAX, COUNT_SECONDS, count_sql, within
from holdfast.connectors.postgres.catalog import Table, load_catalog
from holdfast.connectors.postgres.connection import Connection, connect, translated

__all__ = ["count_now", "count_rows"]

_AT_ONCE = 200
# A table that was never looked at by ANALYZE has no estimate: a row takes some bytes at the least.
_ESTIMATES = """
    SELECT c.oid, sum(CASE WHEN p.reltuples >= 0 THEN p.reltuples ELSE pg_relation_size(p.oid) / 200 END)
    FROM pg_catalog.pg_class c CROSS JOIN LATERAL (
        SELECT c.oid UNION SELECT relid FROM pg_catalog.pg_partition_tree(c.oid) WHERE isleaf) leaf (oid)
        JOIN pg_catalog.pg_class p ON p.oid = leaf.oid AND p.relkind = 'r'
    WHERE c.oid = ANY(%s) GROUP BY c.oid
"""


def count_rows(connection: Connection, tables: Mapping[str, Table], names: Sequence[str]) -> Mapping[str, int]:
    """The rows of these collections, as the connection sees them, without those that are many or can't be counted
    within seconds. Raises Unreachable or Refused.
    """
    wanted = [tables[name] for name in names if name in tables and tables[name].is_readable]
    found: list[tuple[str, int]] = []
    with translated("the records"):
        few: dict[int, int] = dict(connection.execute(_ESTIMATES, ([table.oid for table in wanted],)).fetchall())
        wanted = [table for table in wanted if few.get(table.oid, 0) <= COUNT_MAX]
        for start in range(0, len(wanted), _AT_ONCE):
            some = wanted[start : start + _AT_ONCE]
            sql = " UNION ALL ".join(count_sql(table.sql_source, number) for number, table in enumerate(some))
            try:
                # Within a transaction it is a savepoint, so that one that takes too long does not end all of it.
                with connection.transaction():
                    connection.execute(f"SET LOCAL statement_timeout = '{COUNT_SECONDS}s'".encode())
                    rows = connection.execute(sql.encode()).fetchall()
                    connection.execute(b"SET LOCAL statement_timeout = 0")
            except errors.QueryCanceled:
                continue
            found += [(some[number].collection, count) for number, count in rows]
    return within(found)


def count_now(url: str, names: Sequence[str]) -> Mapping[str, int]:
    """The same of now, on a connection of its own."""
    with connect(url) as connection:
        return count_rows(connection, load_catalog(connection).tables, names)
