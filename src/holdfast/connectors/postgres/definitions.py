"""The database's own definitions as records: `postgres:schema`, and `postgres:sequence` for where counters stand.

* The definitions are pg_dump's own, in its order: whatever the engine can say of itself comes back.
* A definition's key is its section, kind, schema and name, so that one that goes does not rename all others; `number`
  tells apart what pg_dump gives one name (default privileges of two roles). `position` is its place in the order.
* Not among them: subscriptions (a copy must not draw from where the original draws) and large objects.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa

from holdfast.connectors._sql.definitions import definition_batch
from holdfast.connectors.postgres.belonging import tables_of
from holdfast.connectors.postgres.connection import Connection, quoted, translated
from holdfast.connectors.postgres.pgdump import SECTIONS, dump
from holdfast.connectors.postgres.script import Entry, entries
from holdfast.core.records import Column, Schema

__all__ = [
    "RESERVED",
    "SCHEMA",
    "SCHEMA_SCHEMA",
    "SEQUENCE",
    "SEQUENCE_SCHEMA",
    "schema_records",
    "sequence_records",
]

RESERVED = "postgres:"
SCHEMA = "postgres:schema"
SEQUENCE = "postgres:sequence"

SCHEMA_SCHEMA = Schema(
    (
        Column("section", "text"),
        Column("type", "text"),
        Column("schema", "text"),
        Column("name", "text"),
        Column("number", "int"),
        Column("position", "int"),
        Column("table_name", "text"),
        Column("sql", "text"),
    ),
    key=("section", "type", "schema", "name", "number"),
)
SEQUENCE_SCHEMA = Schema((Column("name", "text"), Column("value", "int"), Column("is_called", "bool")), key=("name",))

_SEQUENCES_AT_ONCE = 200
_OURS = "holdfast"
_SEQUENCES = """
SELECT n.nspname, c.relname, quote_ident(n.nspname) || '.' || quote_ident(c.relname)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'S' AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
    AND d.deptype = 'e')
ORDER BY 3
"""


def schema_records(url: str, snapshot_name: str | None = None) -> pa.RecordBatch:
    """Every definition, as the exported snapshot of that name sees it, in `SCHEMA_SCHEMA`.

    Raises Unsupported (no pg_dump that fits the server), Refused (a table this user may not read) or Unreachable.
    """
    found: list[tuple[str, Entry]] = []
    for section, script in zip(SECTIONS, dump(url, snapshot_name), strict=True):
        found += [(section, each) for each in entries(script) if not _is_left_out(section, each)]
    numbers: Counter[tuple[str, ...]] = Counter()
    position: Counter[str] = Counter()
    rows: list[tuple[Any, ...]] = []
    for (section, entry), table in zip(found, tables_of([each for _, each in found]), strict=True):
        key = (section, entry.type, entry.schema, entry.name)
        rows.append((*key, numbers[key], position[section], table, "\n".join(entry.statements)))
        numbers[key] += 1
        position[section] += 1
    return definition_batch(SCHEMA_SCHEMA, rows)


def sequence_records(connection: Connection) -> pa.RecordBatch:
    """Where each sequence stands now, in `SEQUENCE_SCHEMA`; no snapshot holds a sequence, so it may be ahead."""
    rows: list[tuple[Any, ...]] = []
    with translated("the sequences"):
        names = connection.execute(_SEQUENCES).fetchall()
        for start in range(0, len(names), _SEQUENCES_AT_ONCE):
            parts = [
                f"SELECT {number}, last_value, is_called FROM {quoted(schema)}.{quoted(name)}"
                for number, (schema, name, _) in enumerate(names[start : start + _SEQUENCES_AT_ONCE], start)
            ]
            found = connection.execute(" UNION ALL ".join(parts).encode()).fetchall()
            rows += [(names[number][2], value, is_called) for number, value, is_called in sorted(found)]
    return definition_batch(SEQUENCE_SCHEMA, rows)


def _is_left_out(section: str, entry: Entry) -> bool:
    """The database itself is told in both sections; a publication of ours is no definition of the source."""
    if entry.type.startswith("DATABASE"):
        return section != "pre"
    return entry.type.startswith("PUBLICATION") and entry.name.startswith(_OURS)
