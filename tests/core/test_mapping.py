"""Mappings between engines: there and back is the same value, and what is not carried is said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdfast.connectors.sqlite.mapped import DIALECT
from holdfast.core.canonical import record_bytes, tagged_value, untagged
from holdfast.core.forms import FORMS, read_back
from holdfast.core.mapping import Definitions, Dialect, Index, Kept, LeftOut, Verdict, make_mapping
from holdfast.core.records import MIXED, TYPES, Collection, Column, Reference, Schema
from holdfast.core.written import MOMENTS, Misfit, mixed_read, mixed_written, moments_written
from tests.core.shapes import Row, batch_of, rows_of, schemas, values_of

NOTHING = Definitions("there")
PLAIN = Dialect("here", {"int": Kept("itself", "INTEGER"), "text": Kept("itself", "TEXT")}, str, str.lower)


def identical(first: pa.RecordBatch, second: pa.RecordBatch, schema: Schema) -> bool:
    """Whether every record has the same canonical bytes."""
    return bool(record_bytes(first, schema).equals(record_bytes(second, schema)))


@given(schemas().flatmap(lambda schema: st.tuples(st.just(schema), rows_of(schema))))
def test_every_value_comes_back_from_sqlite_as_it_was(drawn: tuple[Schema, list[Row]]) -> None:
    """For every canonical type, mixed columns among them, forward and back is the same record; nothing is left out."""
    schema, rows = drawn
    mapping = make_mapping([Collection("c", schema)], NOTHING, DIALECT)
    way, batch = mapping.of("c"), batch_of(schema, rows)
    stored = way.forward(batch)
    assert {column.type for column in way.stored.columns} <= {"int", "text", "bytes", MIXED}
    assert identical(way.back(stored, way.stored), batch, schema)
    assert mapping.left_out == ()


@given(st.sampled_from(sorted(FORMS)), st.data())
def test_a_form_is_undone_whatever_type_its_reader_found(form: str, data: st.DataObject) -> None:
    """A reader may find a column of one type to be mixed, or a mixed one to be of one type: the values are the same."""
    fitting = [name for name, kept in DIALECT.kept.items() if kept.form == form]
    column = Column("v", data.draw(st.sampled_from(fitting)))
    values = batch_of(Schema((column,)), [{"v": data.draw(values_of(column.type))}]).column(0)
    one = FORMS[form]
    stored = one.forward(values, column)
    held = one.stored or column.type
    again = [read_back(stored, held, one, column)]
    if held == MIXED:
        value = stored[0].as_py()
        kind = next(name for name, each in TYPES.items() if each.tag == value[0])
        again.append(read_back(untagged(stored, kind), kind, one, column))
    for found in again:
        schema = Schema((column,))
        pair = [pa.RecordBatch.from_arrays([each], schema=schema.arrow()) for each in (found, values)]
        assert identical(pair[0], pair[1], schema)


TRAPS = ["2026-03-01", "12:00:00", "2026-03-01 12:00:00+00:00", "+10000-01-01", "\\x", "infinity", "", "2026-99-99"]


@given(st.lists(st.sampled_from(TRAPS) | st.text(max_size=5)), st.sampled_from(["text", "source"]))
@example(TRAPS, "text")
def test_a_text_that_reads_like_something_else_stays_a_text(texts: Sequence[str], kind: str) -> None:
    """What looks like a moment, or like an escape, is escaped; all else in a mixed column can be read by people."""
    values = pa.array([tagged_value(kind, text) for text in texts], pa.binary())
    for plain in ("text", "source"):
        assert mixed_read(mixed_written(values, plain), plain).equals(values)
    assert mixed_written(pa.array([tagged_value("source", "infinity")]), "source").to_pylist() == ["infinity"]


@pytest.mark.parametrize(
    ("kind", "count", "text"),
    [
        ("date", 0, "1970-01-01"),
        ("date", -719163, "+00000-12-31"),
        ("date", 2932897, "+10000-01-01"),
        ("time", 86_400_000_000, "24:00:00"),
        ("time", 45_000_100_000, "12:30:00.1"),
        ("timestamp", -1, "1969-12-31 23:59:59.999999"),
        ("timestamptz", 0, "1970-01-01 00:00:00+00:00"),
        ("timestamptz", (1 << 63) - 1, "+294247-01-10 04:00:54.775807+00:00"),
    ],
)
def test_moments_are_written_as_people_write_them(kind: str, count: int, text: str) -> None:
    """ISO 8601, in UTC where there is a zone, years beyond four digits with a sign."""
    bits = pa.int32() if kind == "date" else pa.int64()
    assert moments_written(pa.array([count], bits).view(TYPES[kind].arrow), kind).to_pylist() == [text]


@pytest.mark.parametrize(
    ("kind", "form", "wrong"),
    [
        ("bool", "number", 2),
        ("date", "text", "1.3.2026"),
        ("date", "text", "2026-02-30"),
        ("timestamp", "text", "2026-03-01 12:00:00.10"),
        ("timestamp", "text", "2026-03-01T12:00:00"),
        ("uuid", "text", "no"),
        ("float", "float or text", "nan"),
        ("uint", "int or text", -1),
        ("mixed", "text", "\\xzz"),
    ],
)
def test_what_no_value_is_written_as_is_refused(kind: str, form: str, wrong: Any) -> None:
    """A value that somebody put into the target is not taken for another one."""
    values = pa.array([wrong])
    found = "text" if isinstance(wrong, str) else "int"
    with pytest.raises(Misfit):
        read_back(values, found, FORMS[form], Column("v", kind))


def test_a_column_that_the_target_has_no_type_for_is_left_out_by_name() -> None:
    """It is in no table, its key and references go with it, and each is named."""
    orders = Schema(
        (Column("id", "uuid"), Column("customer", "int")), ("id",), (Reference(("customer",), "customers", ("id",)),)
    )
    lines = Schema((Column("of", "uuid"), Column("n", "int")), (), (Reference(("of",), "orders", ("id",)),))
    wanted = [Collection("orders", orders), Collection("lines", lines)]
    mapping = make_mapping(wanted, Definitions("there", indexes={"lines": (Index("i", ("of",), True),)}), PLAIN)
    assert [(each.kind, each.name) for each in mapping.left_out] == [
        ("column", "orders.id"),
        ("column", "lines.of"),
        ("foreign key", "orders (customer) to customers (id)"),
        ("foreign key", "lines (of) to orders (id)"),
        ("index", "i"),
    ]
    way = mapping.of("orders")
    assert way.columns[0].verdict is Verdict.LEFT_OUT
    assert (way.key, way.comparable.key, way.stored.names) == ((), (), ("customer",))
    assert [each.name for each in mapping.values_left_out] == ["orders.id", "lines.of"]


def test_names_that_the_target_takes_for_one_are_told_apart() -> None:
    """The first keeps its name, the others get a number that is free; references and indexes follow."""
    schema = Schema((Column("a", "int"), Column("A", "int")), ("A",))
    upper = Schema((Column("x", "int"),), (), (Reference(("x",), "t", ("A",)),))
    wanted = [Collection("t", schema), Collection("T", upper), Collection("t_2", upper)]
    told = Definitions("there", indexes={"t": (Index("T", ("A",), False),)})
    mapping = make_mapping(wanted, told, PLAIN)
    assert [each.table for each in mapping.collections] == ["t", "T_3", "t_2"]
    assert mapping.of("t").key == ("A_2",)
    assert mapping.of("t").indexes == (Index("T_4", ("A_2",), False),)
    assert mapping.of("T").references == (Reference(("x",), "t", ("A_2",)),)


@pytest.mark.parametrize(
    ("kind", "is_declared"), [("decimal", False), ("float", False), ("source", False), ("uuid", True)]
)
def test_a_reference_is_declared_only_where_equal_values_are_written_alike(kind: str, is_declared: bool) -> None:
    """1.0 refers to 1.00 in the source; as text it would lead nowhere, so the reference is named instead."""
    parent = Schema((Column("id", kind),), ("id",))
    child = Schema((Column("of", kind),), (), (Reference(("of",), "parent", ("id",)),))
    mapping = make_mapping([Collection("parent", parent), Collection("child", child)], NOTHING, DIALECT)
    assert bool(mapping.of("child").references) is is_declared
    assert [each.kind for each in mapping.left_out] == ([] if is_declared else ["foreign key"])


def test_what_a_reference_leads_to_is_unique_in_the_target() -> None:
    """An engine refuses writes to tables whose references lead to columns that it does not know to be unique."""
    parent = Schema((Column("id", "int"), Column("code", "text")), ("id",))
    child = Schema((Column("of", "text"),), (), (Reference(("of",), "parent", ("code",)),))
    mapping = make_mapping([Collection("parent", parent), Collection("child", child)], NOTHING, DIALECT)
    assert mapping.of("parent").unique == (("code",),)


def test_what_definitions_say_is_carried_or_named() -> None:
    """Columns that the source computes are no part of the records, and NOT NULL goes along."""
    told = Definitions("there", {"t": frozenset(("b",))}, {"t": ("c",)}, {}, (LeftOut("view", "v"),))
    mapping = make_mapping([Collection("t", Schema((Column("a", "int"), Column("b", "int"))))], told, PLAIN)
    assert [column.not_null for column in mapping.of("t").columns] == [False, True]
    assert [(each.kind, each.name) for each in mapping.left_out] == [("column", "t.c"), ("view", "v")]
    assert mapping.name == "there-to-here-1"
    assert set(MOMENTS) < set(TYPES)


@pytest.mark.parametrize("kind", ["float", "float32"])
def test_a_number_that_is_none_is_kept_as_text(kind: str) -> None:
    """SQLite makes NULL of NaN; -0.0 and infinities it keeps, in a column without a type."""
    schema = Schema((Column("v", kind),))
    way = make_mapping([Collection("c", schema)], NOTHING, DIALECT).of("c")
    batch = batch_of(schema, [{"v": value} for value in (float("nan"), -0.0, float("-inf"), None, 1.5)])
    stored = way.forward(batch)
    assert stored.column(0)[0].as_py() == tagged_value("text", "NaN")
    assert [column.declared for column in way.columns] == [""]
    assert identical(way.back(stored, way.stored), batch, schema)
