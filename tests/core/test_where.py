"""Conditions and keys as people write them: read exactly, refused with the place of the mistake."""

from __future__ import annotations

import math
import operator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.canonical import key_bytes, tagged_value
from holdfast.core.records import MIXED, TYPES, Column, Schema
from holdfast.core.where import Condition, matches, parse_key, parse_where, render_key
from holdfast.errors import Usage
from tests.core.shapes import VALUES, Row, batch_of, keyed, rows_of, schemas

OPS = {"=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


def one(type_name: str) -> Schema:
    return Schema((Column("x", type_name),))


def hits(schema: Schema, rows: list[Row], text: str) -> list[bool]:
    mask = matches(batch_of(schema, rows), parse_where(text), schema)
    assert mask.null_count == 0
    return list(mask.to_pylist())


@given(
    st.lists(st.none() | VALUES["int"]), st.sampled_from(sorted(OPS)), VALUES["int"] | st.integers(-(1 << 70), 1 << 70)
)
def test_whole_numbers_compare_exactly_to_the_last_bit(values: list[int | None], op: str, bound: int) -> None:
    """No number passes through a float, in or out of the type's range, and NULL meets no comparison."""
    expected = [value is not None and OPS[op](value, bound) for value in values]
    assert hits(one("int"), [{"x": value} for value in values], f"x {op} {bound}") == expected
    loose: list[Row] = [{"x": None if value is None else tagged_value("int", value)} for value in values]
    assert hits(one(MIXED), loose, f"x {op} {bound}") == expected


@given(st.lists(st.integers(-3, 3) | st.floats(-3, 3)), st.sampled_from(sorted(OPS)), st.integers(-6, 6))
def test_a_mixed_column_compares_numbers_of_every_type(values: list[int | float], op: str, halves: int) -> None:
    """A fraction lies between two whole numbers, and -0.0 is zero."""
    rows: list[Row] = [{"x": tagged_value("int" if isinstance(value, int) else "float", value)} for value in values]
    assert hits(one(MIXED), rows, f"x {op} {halves / 2}") == [OPS[op](value, halves / 2) for value in values]


@given(st.lists(st.none() | VALUES["text"]), st.sampled_from(sorted(OPS)), VALUES["text"])
def test_texts_compare_by_code_points(values: list[str | None], op: str, bound: str) -> None:
    """Quoted text stands for itself, quotes doubled, whatever it holds."""
    quoted = bound.replace("'", "''")
    expected = [value is not None and OPS[op](value, bound) for value in values]
    assert hits(one("text"), [{"x": value} for value in values], f"x {op} '{quoted}'") == expected


@pytest.mark.parametrize(
    ("type_name", "value", "text"),
    [
        ("bool", True, "x = true"),
        ("uint", (1 << 64) - 1, "x = 18446744073709551615"),
        ("uint", 0, "x > -1"),
        ("float", float("nan"), "x > 1e308"),
        ("float", -0.0, "x = 0"),
        ("float", -0.0, "x >= 0"),
        ("float", float("inf"), "x = inf"),
        ("float32", 0.1, "x = 0.1"),
        ("decimal", "12.30", "x = 12.3"),
        ("decimal", "1e-999", "x > 0"),
        ("decimal", "99999999999999999999999999999999.9", "x > 99999999999999999999999999999999.8"),
        ("text", "42", "x = 42"),
        ("text", "two words", "x = 'two words'"),
        ("rawtext", b"\xff", "x = 0xff"),
        ("bytes", b"\x00\x01", "x >= 0x0001"),
        ("date", 1, "x = 1970-01-02"),
        ("time", 1_000_000, "x < 00:00:02"),
        ("timestamp", 0, "x = 1970-01-01T00:00:00"),
        ("timestamp", 0, "x <= 1970-01-01"),
        ("timestamptz", 0, "x = 1970-01-01T01:00+01:00"),
        ("uuid", bytes(16), "x = 00000000-0000-0000-0000-000000000000"),
        ("json", "{}", "x = '{}'"),
        ("source", "infinity", "x = infinity"),
        ("int", None, "x = null"),
        ("int", 0, "x != NULL"),
        ("int", 1, "x != 1.5"),
        ("int", 1, "x > 0 AND x < 1.5"),
    ],
)
def test_values_of_every_type_can_be_asked_for(type_name: str, value: Any, text: str) -> None:
    """Each type is compared in its own terms, in a typed column and in a mixed one alike, and a twin fails."""
    assert hits(one(type_name), [{"x": value}], text) == [True]
    negated = {"=": "!=", "!=": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
    op = text.split()[1]
    if " AND " not in text:
        assert hits(one(type_name), [{"x": value}], text.replace(f" {op} ", f" {negated[op]} ", 1)) == [False]
    if type_name not in ("text", "source") or not text.split()[2].isalnum():
        mixed: Row = {"x": None if value is None else tagged_value(type_name, value)}
        is_bare_word = type_name == "float" and text.endswith("inf")
        assert hits(one(MIXED), [mixed], text) == [not is_bare_word]


def test_in_a_mixed_column_text_and_numbers_stay_apart() -> None:
    """The text '5' is not the number 5, and neither is less or greater than the other."""
    rows: list[Row] = [{"x": tagged_value("int", 5)}, {"x": tagged_value("text", "5")}, {"x": None}]
    assert hits(one(MIXED), rows, "x = 5") == [True, False, False]
    assert hits(one(MIXED), rows, "x = '5'") == [False, True, False]
    assert hits(one(MIXED), rows, "x != 5") == [False, True, False]
    assert hits(one(MIXED), rows, "x < 9") == [True, False, False]


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("", 1, "a column is expected at the end"),
        ("x", 2, "= != < <= > or >= is expected at the end"),
        ("x =", 4, "a value is expected at the end"),
        ("x = 'a", 4, "a quote is not closed"),
        ("x = 1 or y = 2", 7, '"and" is expected here'),
        ("x = 1 and", 10, "a column is expected at the end"),
        ("'x' = 1", 2, "a column is expected here"),
        ("x < null", 3, "null can only be compared with = or !="),
        ("x = = 1", 5, "a value is expected here"),
    ],
)
def test_a_condition_that_can_not_be_read_says_where(text: str, place: int, what: str) -> None:
    """The message names the character and what was expected there."""
    with pytest.raises(Usage) as caught:
        parse_where(text)
    assert f"at character {place}: {what}" in caught.value.message


def test_an_unknown_column_and_a_value_of_another_type_are_mistakes() -> None:
    """A typing error is never answered with "no records"; a near name is suggested."""
    schema = Schema((Column("total", "int"),))
    with pytest.raises(Usage, match="no column 'totl'") as caught:
        hits(schema, [], "totl = 1")
    assert caught.value.hint == "did you mean total?"
    with pytest.raises(Usage, match="'cheap' is no value of column total, which is of type int"):
        hits(schema, [], "total = cheap")


@given(st.text("x ='\"<>!andul1."))
def test_any_text_is_a_condition_or_a_mistake_of_the_writer(text: str) -> None:
    """No input ends in anything but a condition, which reads back as itself, or Usage."""
    try:
        condition = parse_where(text)
    except Usage:
        return
    assert parse_where(str(condition)) == condition
    assert isinstance(condition, Condition)


@given(schemas().flatmap(lambda schema: st.tuples(st.just(schema), rows_of(schema, max_size=3))))
def test_a_key_as_shown_is_a_key_as_read(table: tuple[Schema, list[Row]]) -> None:
    """What any command prints as a key can be given to any other, whatever bytes it holds."""
    schema, rows = table
    if any(set(name) & set("=,") or name != name.strip() for name in schema.key):
        return
    for key in keyed(schema, rows).keys.to_pylist():
        assert parse_key(render_key(key, schema), schema) == key


@pytest.mark.parametrize(
    ("type_name", "value", "text"),
    [
        ("int", 7, "7"),
        ("int", 7, "k=7"),
        ("text", "O'Brien", "O'Brien"),
        ("text", "O'Brien", "'O''Brien'"),
        ("text", "a=b, c", "a=b, c"),
        ("text", "", ""),
        ("date", 20_513, "2026-03-01"),
        ("timestamptz", 0, "1970-01-01T00:00Z"),
        ("uuid", bytes(range(16)), "00010203-0405-0607-0809-0a0b0c0d0e0f"),
    ],
)
def test_a_single_key_is_read_as_its_column_has_it(type_name: str, value: Any, text: str) -> None:
    """For a key of one column the bare value is enough."""
    schema = Schema((Column("k", type_name),), key=("k",))
    assert parse_key(text, schema) == key_bytes(batch_of(schema, [{"k": value}]), schema)[0].as_py()


@pytest.mark.parametrize(
    ("text", "type_name", "value"),
    [
        ("7", "int", 7),
        ("18446744073709551615", "uint", (1 << 64) - 1),
        ("1" + "0" * 30, "float", 1e30),
        ("7.0", "float", 7.0),
        ("'7'", "text", "7"),
        ("seven", "text", "seven"),
        ("0xff", "bytes", b"\xff"),
        ("decimal:7", "decimal", "7"),
        ("date:1970-01-02", "date", 1),
        ("half:done", "text", "half:done"),
    ],
)
def test_a_mixed_key_takes_the_first_type_that_fits(text: str, type_name: str, value: Any) -> None:
    """Integer, else float, else bytes after 0x, else text; any other type is named."""
    schema = Schema((Column("k", MIXED),), key=("k",))
    key = key_bytes(batch_of(schema, [{"k": tagged_value(type_name, value)}]), schema)[0].as_py()
    assert parse_key(text, schema) == key


def test_a_composite_key_names_each_column_once() -> None:
    """Columns come in any order; a missing, doubled or foreign one is a mistake that shows the form."""
    schema = Schema((Column("shop", "text"), Column("id", "int")), key=("shop", "id"))
    assert parse_key("id=7,shop=north", schema) == parse_key("shop='north',id=7", schema)
    for text in ("7", "id=7", "id=7,id=8", "id=7,shop=a,x=1", "shop=a,id=7,", "", "shop='a'b,id=7"):
        with pytest.raises(Usage) as caught:
            parse_key(text, schema)
        assert caught.value.hint == "write it as shop=value,id=value"
    with pytest.raises(Usage, match="'x' is no value of the key column id"):
        parse_key("shop=a,id=x", schema)


def test_a_record_without_a_key_is_named_by_its_digest() -> None:
    """The digest names the first copy, `:1` the second."""
    schema = one("int")
    first, second = keyed(schema, [{"x": 1}, {"x": 1}]).keys.to_pylist()
    assert render_key(first, schema) == first[:32].hex()
    assert render_key(second, schema) == first[:32].hex() + ":1"
    assert parse_key(render_key(second, schema), schema) == second
    with pytest.raises(Usage, match="has no key"):
        parse_key("7", schema)


@pytest.mark.parametrize("type_name", sorted(TYPES))
@given(text=st.text(max_size=12))
def test_no_text_breaks_the_reading_of_a_key(type_name: str, text: str) -> None:
    """Whatever is typed is a key or a mistake of the writer."""
    schema = Schema((Column("k", type_name),), key=("k",))
    try:
        key = parse_key(text, schema)
    except Usage:
        return
    assert parse_key(render_key(key, schema), schema) == key


def test_moments_without_a_zone_mean_utc() -> None:
    """The core has no local time; a face that means local time says so with a zone."""
    noon = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()) * 1_000_000
    assert hits(one("timestamptz"), [{"x": noon}], "x = 2026-03-01T12:00") == [True]
    assert math.isfinite(noon)
