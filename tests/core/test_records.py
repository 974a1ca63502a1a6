"""Schemas: what is written is read back, and what this version does not know is refused by name."""

from __future__ import annotations

import json

import pytest
from hypothesis import given

from holdfast.core.records import TYPES, Column, Reference, Schema
from holdfast.errors import Damaged
from tests.core.shapes import batch_of, schemas


@given(schemas())
def test_a_schema_survives_json(schema: Schema) -> None:
    """A commit keeps the whole schema: columns, key and references."""
    linked = Schema(schema.columns, schema.key, (Reference(schema.names[:1], "other", ("id",)),))
    assert Schema.from_json(json.loads(json.dumps(linked.to_json()))) == linked


def test_an_unknown_type_is_refused_by_name() -> None:
    """A vault of a newer version is not read half."""
    value = Schema((Column("x", "int"),)).to_json()
    value["columns"][0][1] = "ring"
    with pytest.raises(Damaged, match="'x' has the unknown type 'ring'") as caught:
        Schema.from_json(value)
    assert "newer" in (caught.value.hint or "")


def test_tags_are_unique_and_leave_the_top_bit_to_long_values() -> None:
    """No two types share a tag, and none collides with the mark of a long value."""
    tags = [kind.tag for kind in TYPES.values()]
    assert len(set(tags)) == len(tags)
    assert max(tags) < 0x80


@given(schemas())
def test_a_batch_says_what_its_columns_are(schema: Schema) -> None:
    """The Arrow schema of a batch names each column's canonical type."""
    fields = batch_of(schema, []).schema
    assert [(each.name, each.metadata[b"holdfast.type"].decode()) for each in fields] == [
        (column.name, column.type) for column in schema.columns
    ]


def test_columns_are_found_by_name_and_the_key_keeps_its_own_order() -> None:
    """The key's order is that of its declaration, not of the columns."""
    schema = Schema((Column("a", "int"), Column("b", "text")), key=("b", "a"))
    assert [column.name for column in schema.key_columns] == ["b", "a"]
    assert schema.column("b") == Column("b", "text")
    assert schema.column("c") is None
