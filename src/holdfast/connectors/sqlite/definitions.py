"""The database's own definitions as records: `sqlite:schema`, `sqlite:pragma`, and `sqlite:sequence` if it has one.

They are captured, compared and restored like any other record.
"""

from __future__ import annotations

import pyarrow as pa

from holdfast.connectors._sql.definitions import definition_batch
from holdfast.connectors.sqlite.catalog import Catalog
from holdfast.connectors.sqlite.connection import Session
from holdfast.core.records import Column, Schema

__all__ = [
    "PRAGMA",
    "PRAGMA_SCHEMA",
    "RESERVED",
    "SCHEMA",
    "SCHEMA_SCHEMA",
    "SEQUENCE",
    "SEQUENCE_SCHEMA",
    "pragma_records",
    "schema_records",
]

RESERVED = "sqlite:"
SCHEMA = "sqlite:schema"
PRAGMA = "sqlite:pragma"
SEQUENCE = "sqlite:sequence"

SCHEMA_SCHEMA = Schema(
    (
        Column("type", "text"),
        Column("name", "text"),
        Column("table_name", "text"),
        Column("sql", "text"),
        Column("position", "int"),
    ),
    key=("type", "name"),
)
PRAGMA_SCHEMA = Schema((Column("name", "text"), Column("value", "text")), key=("name",))
SEQUENCE_SCHEMA = Schema((Column("name", "text"), Column("seq", "int")), key=("name",))
_PRAGMAS = ("application_id", "auto_vacuum", "encoding", "journal_mode", "page_size", "user_version")


def schema_records(catalog: Catalog) -> pa.RecordBatch:
    """Every CREATE statement, in key order. `position` orders those of one type on one table.

    A global position would change with every object dropped; this one matters where order does: triggers, indexes.
    """
    rows = sorted((each.type, each.name, each.table, each.sql, each.position) for each in catalog.definitions)
    return definition_batch(SCHEMA_SCHEMA, rows)


def pragma_records(session: Session, catalog: Catalog) -> pa.RecordBatch:
    """What the file's header says, and whether the planner's statistics were ever gathered."""
    found = [(name, str(session.value(f"PRAGMA main.{name}"))) for name in _PRAGMAS]
    return definition_batch(PRAGMA_SCHEMA, sorted([*found, ("statistics", "yes" if catalog.has_statistics else "no")]))
