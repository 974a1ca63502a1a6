"""Whether anything happened to the tables that no row of the stream tells of.

Not told are: rows that come and go with partitions (attached, detached, dropped, emptied one by one), values that ALTER
TABLE computes anew, another key by which the log names old rows, and whatever happens to a table while it is not in the
publications, or to them; nor that there is a table which this role can't read whole. Each leaves a trace in the
catalog, and one digest holds all traces: it differs too after some things that alter no record, such as VACUUM FULL of
a partition or another default of a column.
"""

from __future__ import annotations

from holdfast.connectors.postgres.connection import Connection, translated
from holdfast.connectors.postgres.position import lsn_number
from holdfast.connectors.postgres.publication import publication_names

__all__ = ["definition_marks", "log_end"]


def definition_marks(connection: Connection, name: str, snapshot: str = "") -> str:
    """The digest of all traces now, or at an exported snapshot; 16 hexadecimal digits."""
    with translated("the catalog"), connection.transaction():
        if snapshot:
            connection.execute(b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            connection.execute(f"SET TRANSACTION SNAPSHOT '{snapshot}'".encode())
        row = connection.execute(_MARKS, [list(publication_names(name))]).fetchone()
    assert row
    return str(row[0])[:16]


def log_end(connection: Connection) -> int:
    """Where the log ends now: all that can be seen was committed before. The log goes on past it at once.

    On a server where nothing happens its end would not be sent for long: an empty transaction of ours pushes it out.
    """
    with translated("the log's position"):
        row = connection.execute(
            "SELECT pg_catalog.pg_current_wal_insert_lsn()::text, pg_catalog.txid_current()"
        ).fetchone()
    assert row
    return lsn_number(row[0])


# A row of the catalog that is written anew has another xmin. Storage is looked at for partitions only: TRUNCATE of one
# is not told where its parent speaks for it, that of any other table is.
_MARKS = b"""
WITH publications AS (SELECT oid, xmin FROM pg_catalog.pg_publication WHERE pubname = ANY(%s)),
members AS (
    SELECT r.oid, r.prrelid, r.xmin FROM pg_catalog.pg_publication_rel r JOIN publications p ON p.oid = r.prpubid),
tables AS (
    SELECT prrelid AS oid FROM members
    UNION SELECT t.relid::oid FROM members CROSS JOIN LATERAL pg_catalog.pg_partition_tree(prrelid) t),
facts AS (
    SELECT concat_ws(' ', 'publication', oid, xmin) AS fact FROM publications
    UNION ALL SELECT concat_ws(' ', 'member', oid, xmin) FROM members
    UNION ALL SELECT concat_ws(' ', 'column', a.attrelid, a.attnum, a.xmin)
        FROM pg_catalog.pg_attribute a JOIN tables ON tables.oid = a.attrelid WHERE a.attnum > 0
    UNION ALL SELECT concat_ws(' ', 'table', c.oid, c.relreplident, c.relpersistence)
        FROM pg_catalog.pg_class c JOIN tables ON tables.oid = c.oid
    UNION ALL SELECT concat_ws(' ', 'key', i.indrelid, i.indkey, i.indisprimary, i.indisreplident, i.indisvalid)
        FROM pg_catalog.pg_index i JOIN tables ON tables.oid = i.indrelid WHERE i.indisunique
    UNION ALL SELECT concat_ws(' ', 'closed', c.oid)
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND NOT c.relispartition
          AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
          AND n.nspname !~ '^pg_(temp|toast_temp)_'
          AND NOT (pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
                   AND NOT pg_catalog.row_security_active(c.oid))
          AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                          WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
    UNION ALL SELECT concat_ws(' ', 'partition', i.inhrelid, i.inhparent, i.xmin, c.relfilenode)
        FROM pg_catalog.pg_inherits i JOIN tables ON tables.oid = i.inhrelid
        JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid)
SELECT pg_catalog.md5(coalesce(string_agg(fact, ',' ORDER BY fact COLLATE "C"), '')) FROM facts
"""
