"""What the catalog is asked. Every relation that counts: no system's, no temporary one, no partition by itself."""

from __future__ import annotations

__all__ = ["COLUMNS", "INDEXES", "REFERENCES", "RELATIONS", "STORAGE"]

_OURS = r"""
    c.relpersistence <> 't' AND NOT c.relispartition AND c.relnamespace IN (
        SELECT oid FROM pg_namespace
        WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND nspname !~ '^pg_(toast_)?temp_')
"""
_TABLES = f"SELECT c.oid FROM pg_class c WHERE c.relkind IN ('r', 'p') AND {_OURS}"

# Of an extension's members nothing is kept, not even those whose rows the extension lets pg_dump take.
RELATIONS = f"""
    SELECT c.oid, n.nspname, c.relname, c.relkind::text,
        EXISTS (SELECT FROM pg_depend d
            WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'),
        c.relpersistence::text, c.relreplident::text,
        CASE
            WHEN NOT has_schema_privilege(c.relnamespace, 'USAGE') THEN 'schema'
            WHEN NOT has_table_privilege(c.oid, 'SELECT') THEN 'table'
            WHEN row_security_active(c.oid) THEN 'rows'
        END
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'f', 'm') AND {_OURS} ORDER BY n.nspname, c.relname
"""

# Domains lie over one another; the base type is the last that is none. Text sorts by its bytes only under the
# collations C and POSIX, or the database's own where that is one of them, and only where its bytes are UTF-8.
# Through jsonb, because a server older than 15 has no providers of a database's collation.
COLUMNS = f"""
    WITH RECURSIVE base (oid, base) AS (
        SELECT oid, oid FROM pg_type WHERE typtype <> 'd'
        UNION ALL SELECT t.oid, b.base FROM pg_type t JOIN base b ON t.typtype = 'd' AND t.typbasetype = b.oid)
    SELECT a.attrelid, a.attnum, a.attname, a.atttypid, b.base, format_type(a.atttypid, a.atttypmod),
        a.attnotnull, a.attgenerated::text, a.attidentity::text,
        b.base IN (16, 17, 20, 21, 23, 26, 1082, 1083, 1114, 1184, 2950)
            OR (b.base IN (25, 1043) AND %(by_bytes)s AND coalesce(
                CASE o.collprovider
                    WHEN 'd' THEN coalesce(to_jsonb(d) ->> 'datlocprovider', 'c') = 'c'
                        AND d.datcollate IN ('C', 'POSIX')
                    ELSE o.collprovider = 'c' AND o.collcollate IN ('C', 'POSIX') END, false)),
        a.attstorage <> 'p'
    FROM pg_attribute a JOIN base b ON b.oid = a.atttypid
        LEFT JOIN pg_collation o ON o.oid = a.attcollation
        JOIN pg_database d ON d.datname = current_database()
    WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attrelid IN ({_TABLES})
    ORDER BY a.attrelid, a.attnum
"""

# Unique, of all rows, and in force: what could be a key. Columns that an index only carries along are left out.
INDEXES = f"""
    SELECT i.indrelid, (i.indkey::int2[])[0:i.indnkeyatts - 1], i.indisprimary, i.indimmediate, i.indisreplident
    FROM pg_index i
    WHERE i.indisunique AND i.indisvalid AND i.indisready AND i.indislive AND i.indpred IS NULL
        AND i.indrelid IN ({_TABLES})
    ORDER BY i.indexrelid
"""

REFERENCES = f"""
    SELECT k.conrelid, k.confrelid, k.conkey, k.confkey FROM pg_constraint k
    WHERE k.contype = 'f' AND k.conparentid = 0 AND k.conrelid IN ({_TABLES})
    ORDER BY k.conname
"""

STORAGE = f"""
    WITH RECURSIVE part (root, oid) AS (
        SELECT t.oid, t.oid FROM ({_TABLES}) t
        UNION ALL SELECT p.root, i.inhrelid FROM part p JOIN pg_inherits i ON i.inhparent = p.oid
            JOIN pg_class c ON c.oid = i.inhrelid AND c.relispartition)
    SELECT p.root, c.relfilenode FROM part p JOIN pg_class c ON c.oid = p.oid WHERE c.relfilenode <> 0
"""
