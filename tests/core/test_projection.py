"""Projection: rows of one schema read under another, exactly or not at all."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.canonical import key_bytes, row_digests
from holdfast.core.projection import ChangeKind, common_schema, compatible, project, schema_changes
from holdfast.core.records import MIXED, TYPES, Column, Reference, Schema
from holdfast.errors import Damaged
from tests.core.shapes import batch_of, rows_of, schemas

ORDERS = Schema((Column("id", "int"), Column("total", "int"), Column("note", "text")), key=("id",))


@given(schemas(), schemas(), st.data())
def test_both_sides_fit_their_common_schema_and_keep_their_digests(a: Schema, b: Schema, data: st.DataObject) -> None:
    """What was equal stays equal and what differed stays different: only storage changes, never a value."""
    wanted = common_schema(a, b)
    assert set(wanted.names) == set(a.names) | set(b.names)
    for schema in (a, b):
        rows = data.draw(rows_of(schema, max_size=4))
        held = batch_of(schema, rows)
        projected = project(held, schema, wanted)
        assert projected.schema.equals(wanted.arrow(), check_metadata=True)
        assert row_digests(projected, wanted).equals(row_digests(held, schema))
        if wanted.key:
            assert key_bytes(projected, wanted).equals(key_bytes(held, schema))


@given(schemas())
def test_a_schema_is_common_with_itself(schema: Schema) -> None:
    """Equal schemas need no projection."""
    assert common_schema(schema, schema) == schema
    assert compatible(schema, schema)
    assert schema_changes(schema, schema) == []


def test_other_keys_make_both_sides_multisets() -> None:
    """Records under different keys can only be compared whole."""
    assert common_schema(ORDERS, replace(ORDERS, key=("total",))).key == ()


@given(schemas(), schemas(), st.data())
def test_compatible_says_beforehand_whether_projecting_will_do(a: Schema, b: Schema, data: st.DataObject) -> None:
    """A projection that is announced succeeds; one that is not, under the same key, is refused as damage."""
    b = Schema(
        (*b.columns, *(column for column in a.columns if data.draw(st.booleans()) and not b.column(column.name)))
    )
    b = replace(b, key=a.key if set(a.key) <= set(b.names) else ())
    if compatible(a, b):
        assert project(batch_of(a, []), a, b).schema.equals(b.arrow())
    elif a.key == b.key:
        with pytest.raises(Damaged, match="can't be read under the wanted schema"):
            project(batch_of(a, []), a, b)


def test_missing_columns_are_null_and_dropped_ones_left_out() -> None:
    """A segment older than a column reads as if the column had been NULL."""
    wanted = Schema((Column("note", MIXED), Column("new", "date"), Column("id", "int")), key=("id",))
    batch = project(batch_of(ORDERS, [{"id": 1, "total": 5, "note": "a"}]), ORDERS, wanted)
    assert batch.to_pylist() == [{"note": b"\x40a", "new": None, "id": 1}]


@pytest.mark.parametrize(
    ("wanted", "cause"),
    [
        (Schema((Column("id", "text"),), key=("id",)), "can't become text exactly"),
        (Schema((Column("code", "int"),), key=("code",)), "key column is missing"),
    ],
)
def test_what_would_not_be_exact_is_refused(wanted: Schema, cause: str) -> None:
    """No type but mixed takes another's values, and a key is never made up."""
    with pytest.raises(Damaged, match=cause):
        project(batch_of(ORDERS, []), ORDERS, wanted)


def test_a_batch_that_is_not_of_its_schema_is_damage() -> None:
    """A segment whose columns are not those its commit states is not read."""
    other = Schema((Column("id", "text"), Column("note", "text")))
    with pytest.raises(Damaged, match="stored as string and not as int64"):
        project(batch_of(other, []), ORDERS, ORDERS)
    lacking = Schema((Column("id", "int"),))
    with pytest.raises(Damaged, match="missing from its own segment"):
        project(batch_of(lacking, []), ORDERS, ORDERS)


@pytest.mark.parametrize("type_name", sorted(TYPES))
def test_every_type_widens_to_mixed_and_none_narrows(type_name: str) -> None:
    """A column may become mixed at any time; the way back would need every value read."""
    typed, mixed = Schema((Column("x", type_name),)), Schema((Column("x", MIXED),))
    assert compatible(typed, mixed)
    assert not compatible(mixed, typed)


def test_schema_changes_are_named_one_by_one() -> None:
    """Added, dropped, perhaps renamed, type, key and references: each change is a record of its own, in words too."""
    after = Schema(
        (Column("id", "int"), Column("total", MIXED), Column("memo", "text"), Column("at", "timestamp")),
        key=("id", "at"),
        references=(Reference(("id",), "carts", ("id",)),),
    )
    assert [(change.kind, str(change)) for change in schema_changes(ORDERS, after)] == [
        (ChangeKind.TYPE, "column total changed its type from int to mixed"),
        (ChangeKind.RENAMED, "column note was perhaps renamed to memo (same place and type)"),
        (ChangeKind.ADDED, "column at was added (timestamp)"),
        (ChangeKind.KEY, "the key changed from id to id, at"),
        (ChangeKind.REFERENCES, "the references changed from none to (id) to carts (id)"),
    ]


def test_a_column_of_another_type_at_the_same_place_is_no_rename() -> None:
    """The guess needs the same place and the same type; else a column was dropped and another added."""
    after = Schema((Column("id", "int"), Column("total", "int", "BIGINT"), Column("weight", "float")), key=("id",))
    assert [str(change) for change in schema_changes(ORDERS, after)] == [
        "column total changed its type from int to int, declared BIGINT",
        "column note was dropped (text)",
        "column weight was added (float)",
    ]
