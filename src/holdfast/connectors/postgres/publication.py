"""What the server sends to followers: two publications, so that nobody's own work is ever in the way of the other's.

* A table whose rows can be told apart (it has a replica identity) is published with all changes. A table without one
  is published for INSERT and TRUNCATE only: with more, PostgreSQL would refuse the application's own UPDATE and DELETE.
* A partitioned table speaks for its partitions. Its identity counts only if every partition has one and partitions to
  come get it with the table's key.
* Tables are published by name, never ALL TABLES: that one would catch tables without identity as they are made.
* The owner of a table (or a superuser) publishes it; Holdfast's own role need not be that.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import errors

from holdfast.connectors.postgres.connection import Connection, qualified, quoted, translated
from holdfast.errors import TargetChanged, Unreachable

__all__ = ["Candidate", "candidates", "publication_names", "publication_statements", "publish", "sendable"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A table whose rows are records. `identity_columns` tell a row of an update or delete; none: it has no identity.

    `is_publishable` is False for unlogged tables: their changes are in no log. `key_index` is the unique index of its
    key, if that could be its identity. `large_bytes` are stored out of line: an update may leave such values unsent.
    `is_closed`: this role can't read it, or not all of its rows.
    """

    oid: int
    schema: str
    name: str
    owner: str
    is_publishable: bool
    is_partitioned: bool
    identity: str
    identity_columns: list[str] | None
    key_index: str | None
    large_bytes: int
    is_closed: bool

    @property
    def sql_name(self) -> str:
        """For SQL, with its schema."""
        return qualified(self.schema, self.name)


def candidates(connection: Connection) -> tuple[Candidate, ...]:
    """All tables that are captured, by schema and name: not foreign or temporary ones, nor those of extensions."""
    with translated("the catalog"):
        rows = connection.execute(_CANDIDATES).fetchall()
    return tuple(Candidate(*row) for row in rows)


def sendable(connection: Connection, name: str, tables: Collection[Candidate]) -> tuple[Candidate, ...]:
    """Those that the publications have to send: all but tables that this role can't read and that are not sent yet."""
    with translated(f"publication {name}"):
        found = connection.execute(_SENT, [list(publication_names(name))]).fetchall()
    sent = {oid for (oid,) in found}
    return tuple(each for each in tables if not each.is_closed or each.oid in sent)


def publication_names(name: str) -> tuple[str, str]:
    """The publication with all changes, and that of tables which can only be added to and emptied."""
    return name, f"{name}_inserts"


def publication_statements(connection: Connection, name: str, tables: Collection[Candidate]) -> tuple[str, ...]:
    """The SQL that makes both publications send exactly these tables and all of their rows; none if they do already."""
    full, inserts = publication_names(name)
    publishable = [each for each in tables if each.is_publishable]
    statements = _aligned(connection, full, _ALL, [each for each in publishable if each.identity_columns])
    return (*statements, *_aligned(connection, inserts, _INSERTS, [e for e in publishable if not e.identity_columns]))


def publish(connection: Connection, name: str, tables: Collection[Candidate]) -> None:
    """Carry those statements out, all or none. Raises Refused without the right to: on the tables and the database,
    Unreachable if somebody alters them meanwhile: a dump that is put back drops and makes publications too.
    """
    place = f"publication {name}"
    try:
        statements = publication_statements(connection, name, tables)
        with translated(place), connection.transaction():
            for each in statements:
                connection.execute(each.encode())
    except (TargetChanged, errors.DuplicateObject, errors.UndefinedObject) as error:
        fact = f"{place}: it, or a table, was altered or made just as it was to be made"
        raise Unreachable(fact, hint="it is safe to try again") from error


def _aligned(connection: Connection, name: str, actions: str, tables: Sequence[Candidate]) -> tuple[str, ...]:
    with translated(f"publication {name}"):
        found = connection.execute(_PUBLICATION, [name]).fetchone()
        members = connection.execute(_MEMBERS, [name]).fetchall()
    options = f"publish = '{actions}', publish_via_partition_root = true"
    listed = ", ".join(f"ONLY {each.sql_name}" for each in tables)
    if found is None:
        for_tables = f" FOR TABLE {listed}" if listed else ""
        return (f"CREATE PUBLICATION {quoted(name)}{for_tables} WITH ({options})",)
    is_for_all, published, via_root = found
    if is_for_all:
        drop = f"DROP PUBLICATION {quoted(name)}"
        return (drop, f"CREATE PUBLICATION {quoted(name)}{f' FOR TABLE {listed}' if listed else ''} WITH ({options})")
    statements = []
    if published != actions or not via_root:
        statements.append(f"ALTER PUBLICATION {quoted(name)} SET ({options})")
    if sorted(members) != sorted(_member(each) for each in tables):
        if listed:
            statements.append(f"ALTER PUBLICATION {quoted(name)} SET TABLE {listed}")
        else:
            gone = ", ".join(f"ONLY {qualified(*row[1:3])}" for row in members)
            statements.append(f"ALTER PUBLICATION {quoted(name)} DROP TABLE {gone}")
    return tuple(statements)


def _member(table: Candidate) -> tuple[Any, ...]:
    return (table.oid, table.schema, table.name, False)


_ALL = "insert, update, delete, truncate"
_INSERTS = "insert, truncate"

# A row filter or a column list would hide rows or values: it counts as another membership.
_MEMBERS = b"""
SELECT c.oid::bigint, n.nspname, c.relname,
       coalesce(to_jsonb(r) ->> 'prqual', to_jsonb(r) ->> 'prattrs') IS NOT NULL
FROM pg_catalog.pg_publication p
JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid
JOIN pg_catalog.pg_class c ON c.oid = r.prrelid
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE p.pubname = %s
"""
_SENT = b"""
SELECT r.prrelid::bigint FROM pg_catalog.pg_publication p
JOIN pg_catalog.pg_publication_rel r ON r.prpubid = p.oid WHERE p.pubname = ANY (%s)
"""
_PUBLICATION = b"""
SELECT puballtables,
       concat_ws(', ', CASE WHEN pubinsert THEN 'insert' END, CASE WHEN pubupdate THEN 'update' END,
                 CASE WHEN pubdelete THEN 'delete' END, CASE WHEN pubtruncate THEN 'truncate' END),
       pubviaroot
FROM pg_catalog.pg_publication WHERE pubname = %s
"""
# A deferrable key is no identity: PostgreSQL asks for one that holds at every moment.
_CANDIDATES = b"""
WITH identities AS (
    SELECT c.oid, c.relreplident AS identity, c.relkind,
        CASE c.relreplident
            WHEN 'f' THEN (
                SELECT array_agg(a.attname::text ORDER BY a.attnum) FROM pg_catalog.pg_attribute a
                WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '')
            ELSE (
                SELECT array_agg(a.attname::text ORDER BY k.place)
                FROM pg_catalog.pg_index i
                CROSS JOIN unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) WITH ORDINALITY k (attnum, place)
                JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
                WHERE i.indrelid = c.oid AND i.indimmediate AND i.indisvalid
                  AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END)
        END AS columns
    FROM pg_catalog.pg_class c
    WHERE c.relkind IN ('r', 'p')
)
SELECT c.oid::bigint, n.nspname, c.relname, pg_catalog.pg_get_userbyid(c.relowner),
    c.relpersistence = 'p', c.relkind = 'p', c.relreplident::text,
    CASE WHEN c.relkind = 'r' OR c.relreplident = 'd' AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_partition_tree(c.oid) t JOIN identities l ON l.oid = t.relid
        WHERE t.isleaf AND t.relid <> c.oid AND l.columns IS NULL AND l.relkind = 'r')
    THEN own.columns END,
    (SELECT x.relname FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class x ON x.oid = i.indexrelid
     CROSS JOIN LATERAL (
         SELECT array_agg(a.attname::text COLLATE "C" ORDER BY k.place) AS names, bool_and(a.attnotnull) AS are_set
         FROM unnest((i.indkey::int2[])[0:i.indnkeyatts - 1]) WITH ORDINALITY k (attnum, place)
         LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum) columns
     WHERE i.indrelid = c.oid AND i.indisunique AND i.indisvalid AND i.indimmediate AND i.indpred IS NULL
       AND i.indexprs IS NULL AND columns.are_set AND NOT EXISTS (
           SELECT FROM pg_catalog.pg_index d WHERE d.indrelid = c.oid AND d.indisprimary AND NOT d.indimmediate)
     ORDER BY i.indisprimary DESC, i.indnkeyatts, columns.names LIMIT 1),
    (SELECT coalesce(sum(pg_catalog.pg_relation_size(t.reltoastrelid)), 0)::bigint FROM pg_catalog.pg_class t
     WHERE t.reltoastrelid <> 0 AND (t.oid = c.oid OR c.relkind = 'p' AND t.oid IN (
         SELECT relid FROM pg_catalog.pg_partition_tree(c.oid)))),
    NOT pg_catalog.has_schema_privilege(n.oid, 'USAGE') OR NOT pg_catalog.has_table_privilege(c.oid, 'SELECT')
        OR pg_catalog.row_security_active(c.oid)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN identities own ON own.oid = c.oid
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND NOT c.relispartition
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname !~ '^pg_(temp|toast_temp)_'
ORDER BY n.nspname, c.relname
"""
