"""Mappings between engines: there and back is the same value, and what is not carried is said."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from holdfast.connectors.postgres.mapped import DIALECT as POSTGRES
from holdfast.connectors.sqlite.mapped import DIALECT
from holdfast.core.canonical import record_bytes, tagged, tagged_value, untagged
from holdfast.core.dialect import Definitions, Dialect, Index, Kept, LeftOut
from holdfast.core.fits import finite, moments_between, plain_numbers, shorter
from holdfast.core.forms import FORMS, Form, mixed_as_text, read_back
from holdfast.core.mapping import NamedMapping, make_mapping
from holdfast.core.records import MIXED, TYPES, Collection, Column, Reference, Schema
from holdfast.core.ways import Unfit, Verdict
from holdfast.core.written import (
    MOMENTS,
    Misfit,
    clear_read,
    clear_written,
    mixed_read,
    mixed_written,
    moments_written,
)
from holdfast.errors import Unsupported
from tests.core.shapes import batch_of, rows_of, schemas, values_of

NOTHING = Definitions("there")
ITSELF, TEXT = FORMS["itself"], Kept(FORMS["text"], "longtext", key_bytes=None)
NUMBER = re.compile(r"numeric\((\d+),(\d+)\)")


def joined(name: str, ending: str) -> str:
    return name + ending


def plainly(column: Column, _: bool) -> Kept | None:
    return {"int": Kept(ITSELF, "INTEGER"), "text": Kept(ITSELF, "TEXT")}.get(column.type)


PLAIN = Dialect("here", plainly, joined, str.lower)
# For every type whose values not all fit: a type of the target that holds most.
BOUNDED = {
    "float": Kept(ITSELF.only(finite(), "double"), "double", otherwise=TEXT),
    "float32": Kept(ITSELF.only(finite(), "float"), "float", otherwise=TEXT),
    "uint": Kept(ITSELF, "bigint unsigned"),
    "date": Kept(ITSELF.only(moments_between(-719_528, 2_932_896), "date"), "date", otherwise=TEXT),
    "timestamptz": Kept(FORMS["utc"].only(moments_between(0, 1 << 50), "datetime"), "datetime(6)", otherwise=TEXT),
    "rawtext": Kept(FORMS["bytes"], "longblob", key_bytes=None),
    "bool": Kept(FORMS["number"], "tinyint"),
}


def narrowly(column: Column, is_keyed: bool) -> Kept | None:
    """An engine with bounded types, of which no text or blob is a key."""
    number = NUMBER.fullmatch(column.declared)
    if column.type == "decimal" and number:
        whole, behind = int(number[1]) - int(number[2]), int(number[2])
        fits = plain_numbers(whole, behind, is_fixed=True)
        return Kept(ITSELF.only(fits, "decimal"), f"decimal({number[1]},{number[2]})", otherwise=TEXT)
    if column.type == "text" and is_keyed:
        return Kept(ITSELF.only(shorter(4), "varchar(4)"), "varchar(4)", key_bytes=16, otherwise=TEXT)
    if column.type in BOUNDED:
        return BOUNDED[column.type]
    kinds = ("int", "time", "timestamp", "uuid")
    return Kept(ITSELF, column.type) if column.type in kinds else TEXT_OR_BLOB.get(column.type, TEXT)


TEXT_OR_BLOB = {"text": Kept(ITSELF, "longtext", key_bytes=None), "bytes": Kept(ITSELF, "longblob", key_bytes=None)}
NARROW = Dialect(
    "narrow",
    narrowly,
    lambda name, ending: (name or "_")[: 8 - len(ending)] + ending,
    str.lower,
    key_bytes_max=32,
    columns_max=4,
    are_indexes_apart=True,
)
DIALECTS = (DIALECT, POSTGRES, NARROW)


def kept_in(schema: Schema, batch: pa.RecordBatch, dialect: Dialect) -> tuple[NamedMapping, pa.RecordBatch]:
    """The records as the target holds them, and the mapping that records have revised until they fit."""
    mapping = make_mapping([Collection("c", schema)], NOTHING, dialect)
    while True:
        try:
            return mapping, mapping.of("c").forward(batch)
        except Unfit as error:
            revised = mapping.revised(error)
            if revised is None:
                raise
            mapping = revised


def identical(first: pa.RecordBatch, second: pa.RecordBatch, schema: Schema) -> bool:
    """Whether every record has the same canonical bytes."""
    return bool(record_bytes(first, schema).equals(record_bytes(second, schema)))


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda each: each.engine)
@given(data=st.data())
def test_every_value_comes_back_from_any_engine_as_it_was(dialect: Dialect, data: st.DataObject) -> None:
    """For every canonical type, mixed columns among them, forward and back is the same record; nothing is left out."""
    schema = data.draw(schemas().filter(lambda each: len(each.columns) <= 4))
    batch = batch_of(schema, data.draw(rows_of(schema)))
    mapping, stored = kept_in(schema, batch, dialect)
    way = mapping.of("c")
    assert identical(way.back(stored, way.stored), batch, schema)
    assert {each.kind for each in mapping.left_out} <= {"key"}
    if dialect is DIALECT:
        assert {column.type for column in way.stored.columns} <= {"int", "text", "bytes", MIXED}


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda each: each.engine)
@given(data=st.data())
def test_a_form_is_undone_whatever_type_its_reader_found(dialect: Dialect, data: st.DataObject) -> None:
    """A reader may find a column of one type to be mixed, or a mixed one to be of one type: the values are the same."""
    kind = data.draw(st.sampled_from([*sorted(TYPES), MIXED]))
    schema = Schema((Column("v", kind),))
    column = schema.columns[0]
    batch = batch_of(schema, [{"v": data.draw(values_of(kind))}])
    mapping, stored = kept_in(schema, batch, dialect)
    (way,) = mapping.of("c").carried
    assert way.form is not None
    values, held = stored.column(0), way.stored.type
    again = [read_back(values, held, way.form, column)]
    if held == MIXED:
        value = values[0].as_py()
        found = next(name for name, each in TYPES.items() if each.tag == value[0])
        again.append(read_back(untagged(values, found), found, way.form, column))
    else:
        again.append(read_back(tagged(values, held), MIXED, way.form, column))
    for each in again:
        assert identical(pa.RecordBatch.from_arrays([each], schema=schema.arrow()), batch, schema)


TRAPS = [
    "2026-03-01", "12:00:00", "2026-03-01 12:00:00+00:00", "+10000-01-01", "\\x", "infinity", "", "2026-99-99", "-0.0",
    "7", "-1", "007", "99999999999999999999", "1.5", "1e5", "1e+20", "nan", "inf", "-inf", "a\x00b", "\\x00",
]  # fmt: skip
KINDS = (("text",), (*MOMENTS, "source"), ("int", "float", "text"))


@given(st.lists(st.sampled_from(TRAPS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)))
@example(TRAPS)
def test_a_text_that_reads_like_something_else_stays_a_text(texts: Sequence[str]) -> None:
    """What looks like a moment, a number or an escape is escaped; all else in a mixed column can be read by people."""
    for kinds in KINDS:
        for kind in ("text", "source"):
            values = pa.array([tagged_value(kind, text) for text in texts], pa.binary())
            assert mixed_read(mixed_written(values, kinds), kinds).equals(values)
    plain = pa.array(texts, pa.string())
    assert clear_read(clear_written(plain)).equals(plain)
    assert not any("\x00" in text for text in clear_written(plain).to_pylist())


def test_people_can_read_what_a_mixed_column_mostly_holds() -> None:
    """Numbers and text of SQLite, dates and infinities of PostgreSQL: each as people write it."""
    values = [
        tagged_value("int", 5),
        tagged_value("float", 2.0),
        tagged_value("float", -0.0),
        tagged_value("text", "ä"),
    ]
    assert mixed_written(pa.array(values), KINDS[2]).to_pylist() == ["5", "2.0", "-0.0", "ä"]
    values = [tagged_value("source", "infinity"), tagged_value("date", 0), tagged_value("bytes", b"\x01")]
    assert mixed_written(pa.array(values), KINDS[1]).to_pylist() == ["infinity", "1970-01-01", "\\x5001"]


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
    ("kind", "form", "found", "wrong"),
    [
        ("bool", FORMS["number"], "int", 2),
        ("date", FORMS["text"], "text", "1.3.2026"),
        ("date", FORMS["text"], "text", "2026-02-30"),
        ("timestamp", FORMS["text"], "text", "2026-03-01 12:00:00.10"),
        ("timestamp", FORMS["text"], "text", "2026-03-01T12:00:00"),
        ("uuid", FORMS["text"], "text", "no"),
        ("float", FORMS["float or text"], "text", "nan"),
        ("uint", FORMS["int or text"], "int", -1),
        ("mixed", mixed_as_text(KINDS[1]), "text", "\\xzz"),
        ("mixed", mixed_as_text(KINDS[2]), "text", "1.50"),
        ("mixed", mixed_as_text(KINDS[2]), "text", "99999999999999999999"),
        ("int", FORMS["text"], "text", "1.0"),
        ("float", FORMS["text"], "text", "1"),
        ("text", FORMS["clear"], "text", "\\x61"),
        ("text", FORMS["clear"], "text", "\\xff"),
        ("text", FORMS["bytes"], "bytes", b"\xff"),
        ("uint", FORMS["digits"], "decimal", "-1"),
        ("mixed", FORMS["numbers"], "decimal", "1.50"),
        ("mixed", FORMS["numbers"], "decimal", "9223372036854775808"),
        ("mixed", FORMS["numbers"], "decimal", "0.1000000000000000055511151231257827"),
    ],
)
def test_what_no_value_is_written_as_is_refused(kind: str, form: Form, found: str, wrong: Any) -> None:
    """A value that somebody put into the target is not taken for another one."""
    with pytest.raises(Misfit):
        read_back(pa.array([wrong]), found, form, Column("v", kind))


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


@pytest.mark.parametrize(
    ("kind", "value", "declared"),
    [
        ("decimal", "1.10", "numeric"),
        ("decimal", "-Infinity", "numeric"),
        ("decimal", "007", "text"),
        ("decimal", "-0.00", "text"),
        ("json", '{"a" :  1.10, "a": 2}', "json"),
        ("json", "1" * 5000, "json"),
        ("json", "[" * 200 + "]" * 200, "json"),
        ("json", "[" * 201 + "]" * 201, "text"),
        ("json", '["' + "[" * 300 + '\\\\"]', "json"),
        ("json", "NaN", "text"),
        ("json", "{'a': 1}", "text"),
        ("date", -2_440_588, "date"),
        ("date", -2_440_589, "text"),
        ("timestamp", -210_866_803_200_000_000, "timestamp"),
        ("timestamptz", -210_866_803_200_000_001, "text"),
        ("text", "a\x00b", "text"),
        ("mixed", tagged_value("text", "a\x00b"), "text"),
        ("uint", (1 << 64) - 1, "numeric(20)"),
    ],
)
def test_a_column_goes_into_postgresql_as_its_own_type_if_all_values_fit(kind: str, value: Any, declared: str) -> None:
    """Otherwise the records decide: the column is kept as text, exactly, and the revision names it and the value."""
    schema = Schema((Column("v", kind),))
    batch = batch_of(schema, [{"v": value}, {"v": None}])
    mapping, stored = kept_in(schema, batch, POSTGRES)
    (column,) = mapping.of("c").columns
    assert column.declared == declared
    assert bool(mapping.revisions) is (declared == "text" and kind not in ("text", "mixed"))
    assert identical(mapping.of("c").back(stored, mapping.of("c").stored), batch, schema)


NUMBERS = [1, 1.0, -1, 0, 0.0, 5e-324, 1.7976931348623157e308, -1e23, 0.1, 1e16, (1 << 63) - 1, -(1 << 63), None]


@given(st.lists(st.none() | st.integers(-(1 << 63), (1 << 63) - 1) | st.floats()))
@example(NUMBERS)
@example([float("inf"), float("-inf"), float("nan"), 5])
def test_numbers_of_two_kinds_are_told_apart_by_their_scale(values: list[int | float | None]) -> None:
    """A price of 5 and one of 5.5 lie in one numeric column, 1 is not 1.0, and -0.0 has no place there."""
    column = Column("price", MIXED, "NUMERIC(10,2)")
    kinds = [None if value is None else tagged_value(type(value).__name__, value) for value in values]
    batch = batch_of(Schema((column,)), [{"price": value} for value in kinds])
    mapping, stored = kept_in(Schema((column,)), batch, POSTGRES)
    assert identical(mapping.of("c").back(stored, mapping.of("c").stored), batch, Schema((column,)))
    has_sign = any(isinstance(value, float) and str(value) == "-0.0" for value in values)
    assert mapping.of("c").columns[0].declared == ("text" if has_sign else "numeric")


def test_a_value_without_any_form_is_told_and_not_dropped() -> None:
    """What has no other form is for whoever moves records to refuse: the mapping itself has no way."""
    schema = Schema((Column("v", "text"),))
    only = Dialect("here", lambda *_: Kept(ITSELF.only(shorter(2), "char(2)"), "char(2)"), joined, str.lower)
    mapping = make_mapping([Collection("c", schema)], NOTHING, only)
    with pytest.raises(Unfit, match=r"c\.v: char\(2\) can't hold 'abc'") as told:
        mapping.of("c").forward(batch_of(schema, [{"v": "ab"}, {"v": "abc"}]))
    assert mapping.revised(told.value) is None


def test_a_value_that_its_form_makes_too_long_goes_in_another() -> None:
    """In hexadecimal a text takes twice its bytes, and readers refuse more than 32 MB: then it is kept as bytes."""
    schema = Schema((Column("v", "text"), Column("m", MIXED)))
    rows = [{"v": "\x00" + "a" * (17 << 20), "m": tagged_value("bytes", b"a" * (17 << 20))}]
    batch = batch_of(schema, rows)
    mapping, stored = kept_in(schema, batch, POSTGRES)
    assert [column.declared for column in mapping.of("c").columns] == ["bytea", "bytea"]
    assert identical(mapping.of("c").back(stored, mapping.of("c").stored), batch, schema)


def test_keys_and_indexes_that_an_engine_can_not_have_are_named() -> None:
    """A blob, or more bytes than a key may have, is no key there; what refers to it is named too."""
    parent = Schema(
        (Column("a", "text"), Column("b", "text"), Column("c", "text"), Column("d", "bytes")), ("a", "b", "c")
    )
    child = Schema((Column("x", "text"),), (), (Reference(("x",), "p", ("a",)), Reference(("x",), "p", ("d",))))
    told = Definitions("there", indexes={"p": (Index("i", ("a", "b"), True), Index("j", ("d",), False))})
    mapping = make_mapping([Collection("p", parent), Collection("t", child)], told, NARROW)
    assert (mapping.of("p").key, [each.name for each in mapping.of("p").indexes]) == ((), ["i"])
    assert [(each.kind, each.name) for each in mapping.left_out] == [
        ("key", "p (a, b, c)"), ("foreign key", "t (x) to p (d)"), ("index", "j"),
    ]  # fmt: skip
    assert mapping.of("p").unique == (("a",),)
    revised = mapping.revised(Unfit("t", "x", "varchar(4) can't hold it"))
    assert revised is not None
    assert revised.of("t").references == ()
    many = tuple(Column(f"c{number}", "int") for number in range(33))
    made = make_mapping([Collection("m", Schema(many, tuple(each.name for each in many)))], NOTHING, POSTGRES)
    assert (made.of("m").key, made.left_out[0].kind) == ((), "key")
    wide = Schema(many[:5])
    with pytest.raises(Unsupported, match="5 columns"):
        make_mapping([Collection("w", wide)], NOTHING, NARROW)


def test_names_are_as_long_as_the_engine_takes_them() -> None:
    """70 characters are cut, what is then one name gets a number within the same length, by bytes where bytes count."""
    long = "ä" * 70
    schema = Schema((Column(long, "int"), Column(long + "b", "int"), Column("xmin", "int"), Column("", "int")), (long,))
    indexes = {long: (Index(long, (long,), False), Index("i", (long + "b",), False))}
    mapping = make_mapping([Collection(long, schema)], Definitions("there", indexes=indexes), POSTGRES)
    way = mapping.of(long)
    assert [column.name for column in way.columns] == ["ä" * 31, "ä" * 30 + "_2", "_xmin", "_"]
    assert [len(each.encode()) <= 63 for each in (way.table, *way.stored.names)] == [True] * 5
    assert (way.table, [each.name for each in way.indexes]) == ("ä" * 31, ["ä" * 30 + "_2", "i"])
    apart = make_mapping([Collection(long, schema)], Definitions("there", indexes=indexes), NARROW).of(long)
    assert (apart.table, [each.name for each in apart.indexes]) == ("ä" * 8, ["ä" * 8, "i"])


def test_a_name_in_the_target_is_what_its_reader_calls_it() -> None:
    """PostgreSQL's reader puts quotes around a table's name with a dot in it, for that could be a schema."""
    mapping = make_mapping([Collection("sales.orders", Schema((Column("a", "int"),)))], NOTHING, POSTGRES)
    assert (mapping.of("sales.orders").table, mapping.of("sales.orders").called) == ("sales.orders", '"sales.orders"')


def test_references_that_only_their_source_can_hold_to_are_named() -> None:
    """A collation under which different texts are equal is the source's own; the definitions say so."""
    parent = Schema((Column("id", "text"),), ("id",))
    reference = Reference(("of",), "parent", ("id",))
    child = Schema((Column("of", "text"),), (), (reference,))
    told = Definitions("there", unfit={"child": {reference: "its collation"}})
    mapping = make_mapping([Collection("parent", parent), Collection("child", child)], told, POSTGRES)
    assert [(each.kind, each.reason) for each in mapping.left_out] == [("foreign key", "its collation")]
