"""What a PostgreSQL database says of itself: which it is, on which line of history, and numbers that only rise.

* The identity is of the server's data and of the database within them: one of the same name that was dropped and made
  again is another one.
* A sequence that counts down is told by its negative; one that starts over by itself (CYCLE), or that this user may
  not read, is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from holdfast.connectors.postgres.catalog import Catalog
from holdfast.connectors.postgres.connection import Connection, qualified, quoted, translated
from holdfast.connectors.postgres.position import lsn_number
from holdfast.connectors.postgres.server import log_position
from holdfast.core.observed import Marks

__all__ = ["standing"]

_AT_ONCE = 200
_WHO = """
    SELECT d.oid, r.rolsuper, r.rolbypassrls, r.rolreplication
    FROM pg_catalog.pg_database d, pg_catalog.pg_roles r
    WHERE d.datname = current_database() AND r.rolname = current_user
"""
_SCHEMAS = r"""
    SELECT nspname, has_schema_privilege(oid, 'USAGE') FROM pg_catalog.pg_namespace
    WHERE nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND nspname !~ '^pg_(toast_)?temp_'
"""
_SEQUENCES = """
    SELECT n.nspname, c.relname, quote_ident(n.nspname) || '.' || quote_ident(c.relname), q.seqincrement
    FROM pg_catalog.pg_sequence q JOIN pg_catalog.pg_class c ON c.oid = q.seqrelid
        JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE NOT q.seqcycle AND c.relpersistence <> 't' AND has_schema_privilege(n.oid, 'USAGE')
        AND has_table_privilege(c.oid, 'SELECT') AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
            WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
    ORDER BY 3
"""


def standing(connection: Connection, catalog: Catalog, lsn: str = "") -> Marks:
    """The marks of the database now, or as the connection's snapshot at *lsn* has it; sequences are always of now."""
    server = catalog.server
    with translated("the database itself"):
        ((oid, *powers),) = connection.execute(_WHO).fetchall()
        schemas = connection.execute(_SCHEMAS).fetchall()
        log = lsn or log_position(connection)
        sequences = _sequences(connection)
    return Marks(
        identity=f"system {server.system_identifier or 'unknown'}, database {oid}",
        timeline=str(server.timeline or ""),
        counters={"log": lsn_number(log)} | sequences,
        rights=frozenset(_rights(catalog, powers, dict(schemas))),
    )


def _sequences(connection: Connection) -> dict[str, int]:
    """Where each counter stands: what it gave last."""
    names = connection.execute(_SEQUENCES).fetchall()
    found = {}
    for start in range(0, len(names), _AT_ONCE):
        parts = [
            f"SELECT {number}, last_value, is_called FROM {qualified(schema, name)}"
            for number, (schema, name, *_) in enumerate(names[start : start + _AT_ONCE], start)
        ]
        for number, value, is_called in connection.execute(" UNION ALL ".join(parts).encode()).fetchall():
            *_, name, step = names[number]
            given = value if is_called else value - step
            found[f"sequence:{name}"] = given if step > 0 else -given
    return found


def _rights(catalog: Catalog, powers: Sequence[bool], schemas: Mapping[str, bool]) -> Iterator[str]:
    """What lets this user see records, by schema: a table that is dropped takes none with it."""
    yield "CONNECT"
    yield from (name for name, has in zip(_POWERS, powers, strict=True) if has)
    denied = {table.schema for table in catalog.tables.values() if table.denied}
    for schema, is_open in schemas.items():
        if is_open:
            yield f"USAGE ON SCHEMA {quoted(schema)}"
            if schema not in denied:
                yield f"SELECT ON ALL TABLES IN SCHEMA {quoted(schema)}"


_POWERS = ("SUPERUSER", "BYPASSRLS", "REPLICATION")
