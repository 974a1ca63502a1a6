"""What a record is: canonical types, columns, schemas and collections (docs/format.md, section 2).

* A canonical type is exact: every value of a source maps to one value of one type, and back.
* What Arrow has no type for keeps the source's own text (`decimal`, `json`, `source`).
* A column that holds several types is `mixed`: each value is stored as its tag byte and its canonical bytes.
* Tags belong to values, not to columns: the integer 5 has the same bytes in an `int` and in a `mixed` column.

    >>> Schema((Column("id", "int"), Column("note", "text")), key=("id",)).arrow().names
    ['id', 'note']
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from holdfast.errors import Damaged

__all__ = [
    "MIXED",
    "TYPES",
    "TYPE_BY_TAG",
    "CanonicalType",
    "Collection",
    "Column",
    "Reference",
    "Schema",
    "is_definition",
]


@dataclass(frozen=True, slots=True)
class CanonicalType:
    """A type of values: its tag byte, its Arrow storage, and its width in bytes (0: values vary in length)."""

    name: str
    tag: int
    arrow: pa.DataType
    width: int


TYPES: Mapping[str, CanonicalType] = {
    each.name: each
    for each in (
        CanonicalType("bool", 0x01, pa.bool_(), 1),
        CanonicalType("int", 0x10, pa.int64(), 8),
        CanonicalType("uint", 0x11, pa.uint64(), 8),
        CanonicalType("float", 0x20, pa.float64(), 8),
        CanonicalType("float32", 0x21, pa.float32(), 4),
        CanonicalType("decimal", 0x30, pa.string(), 0),
        CanonicalType("text", 0x40, pa.string(), 0),
        CanonicalType("rawtext", 0x41, pa.binary(), 0),
        CanonicalType("bytes", 0x50, pa.binary(), 0),
        CanonicalType("date", 0x60, pa.date32(), 4),
        CanonicalType("time", 0x61, pa.time64("us"), 8),
        CanonicalType("timestamp", 0x62, pa.timestamp("us"), 8),
        CanonicalType("timestamptz", 0x63, pa.timestamp("us", tz="UTC"), 8),
        CanonicalType("uuid", 0x65, pa.binary(16), 16),
        CanonicalType("json", 0x66, pa.string(), 0),
        CanonicalType("source", 0x70, pa.string(), 0),
    )
}
TYPE_BY_TAG: Mapping[int, CanonicalType] = {each.tag: each for each in TYPES.values()}
MIXED = "mixed"
_DEFINITIONS = ("sqlite:", "postgres:", "mysql:")


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `declared` is the source's own type text, kept so that a restore can show and use it."""

    name: str
    type: str
    declared: str = ""

    @property
    def arrow(self) -> pa.DataType:
        """The Arrow storage: binary (tag and canonical bytes) for a mixed column."""
        return pa.binary() if self.type == MIXED else TYPES[self.type].arrow


@dataclass(frozen=True, slots=True)
class Reference:
    """A foreign key: these columns hold a key of that collection."""

    columns: tuple[str, ...]
    target: str
    target_columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Schema:
    """Columns in the source's order, the key in its declared order, and the foreign keys.

    An empty key makes the collection a multiset: a record's key is then its row digest and occurrence number.
    """

    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    references: tuple[Reference, ...] = field(default=())

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def key_columns(self) -> tuple[Column, ...]:
        """The columns of the key, in key order."""
        by_name = {column.name: column for column in self.columns}
        return tuple(by_name[name] for name in self.key)

    def column(self, name: str) -> Column | None:
        """The column of that name, or None."""
        return next((column for column in self.columns if column.name == name), None)

    def arrow(self) -> pa.Schema:
        """The Arrow schema of this collection's batches; each field's metadata names the canonical type."""
        return pa.schema(
            pa.field(c.name, c.arrow, metadata={"holdfast.type": c.type, "holdfast.declared": c.declared})
            for c in self.columns
        )

    def to_json(self) -> dict[str, Any]:
        """The form kept in commits (docs/format.md, section 5)."""
        return {
            "columns": [[c.name, c.type, c.declared] for c in self.columns],
            "key": list(self.key),
            "references": [[list(r.columns), r.target, list(r.target_columns)] for r in self.references],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Schema:
        """The schema written by `to_json`. Raises Damaged for types this version does not know."""
        columns = tuple(Column(str(n), str(t), str(d)) for n, t, d in value["columns"])
        for column in columns:
            if column.type != MIXED and column.type not in TYPES:
                raise Damaged(
                    f"column {column.name!r} has the unknown type {column.type!r}",
                    hint="a newer Holdfast wrote this vault; use that version to read it",
                )
        references = tuple(Reference(tuple(c), str(t), tuple(k)) for c, t, k in value["references"])
        names, key = [column.name for column in columns], tuple(value["key"])
        if len(set(names)) != len(names) or len(set(key)) != len(key) or not set(key) <= set(names):
            raise Damaged(f"a schema names a column twice, or keys that are none: {key}", hint="run holdfast verify")
        return cls(columns, key, references)


@dataclass(frozen=True, slots=True)
class Collection:
    """A named set of records. `not_covered` says in words what of it is not kept, if anything."""

    name: str
    schema: Schema
    not_covered: Sequence[str] = ()


def is_counters(collection: str) -> bool:
    """Whether a collection holds where a source's counters stand: connectors name it so."""
    return is_definition(collection) and collection.endswith(":sequence")


def is_definition(collection: str) -> bool:
    """Whether a collection holds a source's own definitions, not business records: connectors name them so."""
    return collection.startswith(_DEFINITIONS)
