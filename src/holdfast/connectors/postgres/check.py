"""What stands in the way of capturing and following a PostgreSQL database, each with what mends it. Nothing is changed.

The least rights that Holdfast's own role needs:

* `CREATE ROLE holdfast LOGIN REPLICATION` and the right to connect to the database,
* USAGE on each schema, SELECT on each table and sequence (`GRANT pg_read_all_data TO holdfast` gives both, also for
  what is made later, from PostgreSQL 14), and BYPASSRLS where row security hides rows,
* two publications, made by whoever owns the tables or a superuser: `check` names the statements. A role that owns the
  tables and may CREATE in the database makes them itself.

Settings of the server are altered by a superuser. What is marked as blocking must be mended first; the rest is followed
less exactly or with more reading, and says how.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Any

from holdfast.connectors.postgres.connection import Connection, connect, qualified, quoted, shown, translated
from holdfast.connectors.postgres.hazards import table_hazards
from holdfast.connectors.postgres.publication import Candidate, candidates, publication_names, publication_statements
from holdfast.core.feed import Obstacle

__all__ = ["VERSION_MIN", "Kind", "check"]

VERSION_MIN = 130_000


class Kind(StrEnum):
    """What is in the way."""

    VERSION = "version"
    STANDBY = "standby"
    ENCODING = "encoding"
    WAL_LEVEL = "wal-level"
    SLOTS = "slots"
    SENDERS = "senders"
    SLOT_LIMIT = "slot-limit"
    PLUGINS = "plugins"
    REPLICATION = "replication"
    READING = "reading"
    ROW_SECURITY = "row-security"
    PUBLICATION = "publication"
    IDENTITY = "identity"
    NO_KEY = "no-key"
    LARGE_VALUES = "large-values"
    UNLOGGED = "unlogged"
    FOREIGN = "foreign"


def check(url: str, name: str | None = "holdfast") -> list[Obstacle]:
    """Everything found at once, the blocking first; empty if nothing is in the way.

    `name` is of slot and publications; None before there is a vault, after which they are named.
    Raises Unreachable or Refused when this role can't connect at all.
    """
    with connect(url) as connection, translated(shown(url)):
        facts = _facts(connection, name)
        if facts["version"] < VERSION_MIN:
            return list(_version(facts))
        tables = candidates(connection)
        found = [
            *_server(facts),
            *_log(facts),
            *_role(connection, facts),
            *_publications(connection, name, tables),
            *(Obstacle(Kind(kind), fact, mend, False) for kind, fact, mend in table_hazards(connection, tables)),
        ]
    return sorted(found, key=lambda each: not each.is_blocking)


def _facts(connection: Connection, name: str | None) -> dict[str, Any]:
    cursor = connection.execute(_FACTS, {"name": name})
    row = cursor.fetchone()
    assert row
    assert cursor.description
    return dict(zip([column.name for column in cursor.description], row, strict=True))


def _version(facts: dict[str, Any]) -> Iterator[Obstacle]:
    version = facts["version"] // 10_000
    fact = f"the server is PostgreSQL {version}; changes of partitioned tables can be followed from 13 on"
    yield Obstacle(Kind.VERSION, fact, "upgrade the server", True)


def _server(facts: dict[str, Any]) -> Iterator[Obstacle]:
    if facts["is_standby"]:
        fact = "this server is a standby: it can't make publications, and its slots don't outlive a failover"
        yield Obstacle(Kind.STANDBY, fact, "name the primary in the URL", True)
    if not facts["has_utf8"]:
        fact = (
            f"the database's encoding is {facts['encoding']}, which the server can't turn into UTF-8: "
            "texts that are not UTF-8 as they stand can't be read"
        )
        mend = f"CREATE DATABASE {quoted(facts['database'] + '_utf8')} ENCODING 'UTF8' TEMPLATE template0"
        yield Obstacle(Kind.ENCODING, fact, mend, False)
    plugins = None if facts["plugins"] is None else [each.strip().strip('"') for each in facts["plugins"].split(",")]
    if plugins is not None and "pgoutput" not in plugins:
        fact = "output_plugin_libraries of the server does not list pgoutput: it makes no slots with it"
        listed = [each for each in (*plugins, "pgoutput") if each]
        yield Obstacle(Kind.PLUGINS, fact, _setting("output_plugin_libraries", *listed) + _RELOAD, True)


def _log(facts: dict[str, Any]) -> Iterator[Obstacle]:
    """What of the settings of the write-ahead log and its readers is in the way."""
    if facts["wal_level"] != "logical":
        fact = f"wal_level is {facts['wal_level']}: the log does not hold what following needs. Then restart the server"
        yield Obstacle(Kind.WAL_LEVEL, fact, _setting("wal_level", "logical"), True)
    if not facts["has_slot"] and facts["slots"] >= facts["slots_max"]:
        fact = f"all {facts['slots_max']} slots of max_replication_slots are taken. Then restart the server"
        more = _setting("max_replication_slots", str(facts["slots"] + 2))
        yield Obstacle(Kind.SLOTS, fact, more, True)
    if not facts["is_streaming"] and facts["senders"] >= facts["senders_max"]:
        fact = f"all {facts['senders_max']} connections of max_wal_senders are taken. Then restart the server"
        yield Obstacle(Kind.SENDERS, fact, _setting("max_wal_senders", str(facts["senders"] + 2)), True)
    if facts["slot_limit"] == -1:
        limit = max(4096, 4 * facts["wal_size_mb"])
        fact = (
            "max_slot_wal_keep_size is unset: were Holdfast away for long, the log kept for its slot would fill the "
            "server's disk. With a limit the slot is given up instead, and all is read anew"
        )
        yield Obstacle(Kind.SLOT_LIMIT, fact, _setting("max_slot_wal_keep_size", f"{limit}MB") + _RELOAD, False)


def _role(connection: Connection, facts: dict[str, Any]) -> Iterator[Obstacle]:
    role = quoted(facts["role"])
    if not facts["may_replicate"]:
        yield Obstacle(
            Kind.REPLICATION, f"the role {facts['role']} may not replicate", f"ALTER ROLE {role} REPLICATION", True
        )
    hidden: list[str] = []
    unreadable: dict[str, list[str]] = {}
    closed = set()
    for schema, name, is_sequence, may_use, may_select, is_hidden in connection.execute(_RIGHTS).fetchall():
        if not may_use:
            closed.add(schema)
        if not may_select:
            unreadable.setdefault(schema, []).append(("SEQUENCE " if is_sequence else "") + qualified(schema, name))
        if is_hidden:
            hidden.append(qualified(schema, name))
    for schema in sorted(closed | set(unreadable)):
        names = unreadable.get(schema, [])
        grants = [f"GRANT USAGE ON SCHEMA {quoted(schema)} TO {role}"] if schema in closed else []
        grants += [f"GRANT SELECT ON {each} TO {role}" for each in names]
        fact = f"the role {facts['role']} can't read {_some(names) or 'what it may'} in the schema {schema}"
        yield Obstacle(Kind.READING, fact, ";\n".join(grants), True)
    if hidden:
        fact = f"row security hides rows of {_some(hidden)} from the role {facts['role']}"
        yield Obstacle(Kind.ROW_SECURITY, fact, f"ALTER ROLE {role} BYPASSRLS", True)


def _publications(connection: Connection, name: str | None, tables: Sequence[Candidate]) -> Iterator[Obstacle]:
    """Publications that are missing or behind, if this role can't mend them itself as it begins to follow."""
    statements = publication_statements(connection, name, tables) if name else ()
    if name and not statements:
        return
    owners, names = sorted({each.owner for each in tables}), list(publication_names(name)) if name else []
    rights = connection.execute(_MAY_PUBLISH, {"owners": owners, "names": names}).fetchone()
    assert rights
    may_create, owns_tables, owns_publications = rights
    if may_create and owns_tables and owns_publications:
        return
    lacks = "CREATE on the database" if not may_create else "the ownership of all tables and publications"
    if not name:
        fact = f"two publications are needed, which are named after the vault, and this role lacks {lacks}"
        yield Obstacle(Kind.PUBLICATION, fact, "holdfast init, then holdfast check: it names the statements", False)
        return
    fact = f"the publications {name} and {name}_inserts don't send all tables yet, and this role lacks {lacks}"
    yield Obstacle(Kind.PUBLICATION, fact, ";\n".join(statements), True)


def _setting(name: str, *values: str) -> str:
    literals = ", ".join("'" + value.replace("'", "''") + "'" for value in values)
    return f"ALTER SYSTEM SET {name} = {literals}"


def _some(names: Sequence[str]) -> str:
    """The first few of many names."""
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + rest


_RELOAD = ";\nSELECT pg_reload_conf()"
_FACTS = b"""
SELECT current_setting('server_version_num')::int AS version,
    pg_is_in_recovery() AS is_standby,
    current_database() AS database,
    current_user AS role,
    pg_encoding_to_char(d.encoding) AS encoding,
    pg_encoding_to_char(d.encoding) = 'UTF8' OR EXISTS (
        SELECT FROM pg_conversion
        WHERE conforencoding = d.encoding AND pg_encoding_to_char(contoencoding) = 'UTF8' AND condefault) AS has_utf8,
    current_setting('wal_level') AS wal_level,
    current_setting('max_replication_slots')::int AS slots_max,
    (SELECT count(*) FROM pg_replication_slots) AS slots,
    EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = %(name)s) AS has_slot,
    EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = %(name)s AND active) AS is_streaming,
    current_setting('max_wal_senders')::int AS senders_max,
    (SELECT count(*) FROM pg_stat_replication) AS senders,
    (SELECT setting::bigint FROM pg_settings WHERE name = 'max_slot_wal_keep_size') AS slot_limit,
    (SELECT setting::bigint FROM pg_settings WHERE name = 'max_wal_size') AS wal_size_mb,
    (SELECT setting FROM pg_settings WHERE name = 'output_plugin_libraries') AS plugins,
    (SELECT rolreplication OR rolsuper FROM pg_roles WHERE rolname = current_user) AS may_replicate
FROM pg_database d WHERE d.datname = current_database()
"""
# Partitions too: their rows are read by way of their table, but pg_dump locks each of them.
_RIGHTS = b"""
SELECT n.nspname, c.relname, c.relkind = 'S', has_schema_privilege(n.oid, 'USAGE'),
    CASE c.relkind WHEN 'S' THEN has_sequence_privilege(c.oid, 'SELECT') ELSE has_table_privilege(c.oid, 'SELECT') END,
    c.relkind <> 'S' AND NOT c.relispartition AND row_security_active(c.oid)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'S') AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND n.nspname !~ '^pg_(temp|toast_temp)_'
  AND NOT EXISTS (SELECT FROM pg_depend d
                  WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY n.nspname, c.relkind = 'S', c.relname
"""
_MAY_PUBLISH = b"""
SELECT has_database_privilege(current_database(), 'CREATE'),
    coalesce((SELECT bool_and(pg_has_role(owner, 'USAGE')) FROM unnest(%(owners)s::name[]) owner), true),
    coalesce((SELECT bool_and(pg_has_role(pubowner, 'USAGE')) FROM pg_publication
              WHERE pubname = ANY (%(names)s::name[])), true)
"""
