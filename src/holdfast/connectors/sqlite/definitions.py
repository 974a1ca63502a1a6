"""The database's own definitions as records: `sqlite:schema`, `sqlite:pragma`, and `sqlite:sequence` if it has one.

They are captured, compared and restored like any other record.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from holdfast.connectors.sqlite.catalog import Catalog
from holdfast.connectors.sqlite.connection import Session
from holdfast.core.records import Collection, Column, Schema

__all__ = [
    "PRAGMA",
    "PRAGMA_SCHEMA",
    "RESERVED",
    "SCHEMA",
    "SCHEMA_SCHEMA",
    "SEQUENCE",
    "SEQUENCE_SCHEMA",
    "RecordsView",
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


@dataclass(frozen=True, slots=True)
class RecordsView:
    """A view of records that fit into memory: definitions, not business records."""

    collection: Collection
    records: Sequence[tuple[Any, ...]]

    @property
    def name(self) -> str:
        return self.collection.name

    @property
    def schema(self) -> Schema:
        return self.collection.schema

    @property
    def ordered(self) -> bool:
        return False

    def batches(self) -> Iterator[pa.RecordBatch]:
        if self.records:
            columns = zip(*self.records, strict=True)
            arrow = self.schema.arrow()
            yield pa.RecordBatch.from_arrays(
                [pa.array(values, field.type) for values, field in zip(columns, arrow, strict=True)], schema=arrow
            )


def schema_records(catalog: Catalog) -> list[tuple[Any, ...]]:
    """Every CREATE statement, in key order. `position` orders those of one type on one table.

    A global position would change with every object dropped; this one matters where order does: triggers, indexes.
    """
    return sorted((each.type, each.name, each.table, each.sql, each.position) for each in catalog.definitions)


def pragma_records(session: Session, catalog: Catalog) -> list[tuple[Any, ...]]:
    """What the file's header says, and whether the planner's statistics were ever gathered."""
    found = [(name, str(session.value(f"PRAGMA main.{name}"))) for name in _PRAGMAS]
    return sorted([*found, ("statistics", "yes" if catalog.has_statistics else "no")])
