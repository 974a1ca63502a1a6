"""MariaDB's text as canonical values, without a server: dates that are none, times beyond a day, labels, numbers."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.connectors.mysql.catalog import TableColumn
from holdfast.connectors.mysql.charsets import Charsets
from holdfast.connectors.mysql.values import Misfit, decode, decode_mixed, selected
from holdfast.core.canonical import decode as plain
from holdfast.core.canonical import tagged
from holdfast.core.records import TYPES


def column(data_type: str, kind: str, *labels: str, declared: str = "", charset: str = "") -> TableColumn:
    """A column of that type; everything else is ordinary."""
    flags = {"not_null": False, "is_generated": False, "is_unsigned": False, "is_hidden": False, "is_compressed": False}
    numbers = {"octets": 0, "precision": 0, "scale": 0, "fraction": 0}
    facts: dict[str, Any] = {**flags, **numbers, "labels": labels, "charset": charset, "position": 1}
    return TableColumn(name="v", data_type=data_type, declared=declared or data_type, kind=kind, **facts)


DATE, TIME = column("date", "date"), column("time", "time")
DATETIME, TIMESTAMP = column("datetime", "timestamp"), column("timestamp", "timestamptz")


def mixed(values: list[bytes | None], of: TableColumn) -> list[tuple[str, Any] | None]:
    """Each value's type and what it is, by the way of mixed columns."""
    found = decode_mixed(pa.array(values, pa.binary()), of, Charsets()).to_pylist()
    return [None if value is None else plain(value) for value in found]


def date_or_none(year: int, month: int, day: int) -> date | None:
    try:
        return date(year, month, day)
    except ValueError:
        return None


@given(st.lists(st.tuples(st.integers(0, 9999), st.integers(0, 12), st.integers(0, 31)), min_size=1), st.booleans())
def test_a_date_is_one_only_if_the_calendar_has_it(parts: list[tuple[int, int, int]], has_null: bool) -> None:
    """Whatever stands beside it: dates of the calendar are days, all others the server's text."""
    texts = ["{:04}-{:02}-{:02}".format(*each) for each in parts]
    days = [date_or_none(*each) for each in parts]
    expected: list[tuple[str, Any] | None] = [
        ("source", text) if day is None else ("date", day) for text, day in zip(texts, days, strict=True)
    ]
    nulls = [None] * has_null
    assert mixed([*(text.encode() for text in texts), *nulls], DATE) == [*expected, *nulls]
    moments = [f"{text} 23:59:59.999999".encode() for text in texts]
    for of in (DATETIME, TIMESTAMP):
        kinds = [each and each[0] for each in mixed([*moments, *nulls], of)]
        assert kinds == ["source" if day is None else of.kind for day in days] + nulls


@given(st.lists(st.dates(), min_size=1))
def test_ordinary_dates_and_moments_are_themselves(days: list[date]) -> None:
    """The way of columns of one type gives what the way of mixed columns gives."""
    values = pa.array([str(day).encode() for day in days], pa.binary())
    assert decode(values, DATE, Charsets()).to_pylist() == days
    moments = [datetime.combine(day, time(day.month, day.day, 1, day.year)) for day in days]
    values = pa.array([str(moment).encode() for moment in moments], pa.binary())
    found = decode(values, DATETIME, Charsets())
    assert found.to_pylist() == moments
    assert tagged(found, "timestamp").equals(decode_mixed(values, DATETIME, Charsets()))
    assert decode(values, TIMESTAMP, Charsets()).cast(pa.timestamp("us")).equals(found)


@pytest.mark.parametrize(
    "value", [b"0000-00-00", b"0000-01-01", b"2023-00-00", b"2023-02-00", b"2023-02-29", b"1900-02-29"]
)
def test_one_impossible_date_makes_the_column_mixed(value: bytes) -> None:
    """Among dates of the calendar too; it is never moved to another day."""
    with pytest.raises(Misfit):
        decode(pa.array([b"2024-02-29", None, value], pa.binary()), DATE, Charsets())
    with pytest.raises(Misfit):
        decode(pa.array([b"2024-02-29 00:00:00", value + b" 00:00:00"], pa.binary()), DATETIME, Charsets())


@given(st.lists(st.integers(-3_020_399_999_999, 3_020_399_999_999), min_size=1))
def test_a_time_is_one_from_midnight_to_midnight(counts: list[int]) -> None:
    """Below 0 and beyond 24:00 it keeps the server's text, with every digit."""
    texts, expected = [], []
    for count in counts:
        seconds, fraction = divmod(abs(count), 1_000_000)
        text = f"{'-' * (count < 0)}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{fraction:06}"
        texts.append(text.encode())
        day = (datetime.min + timedelta(microseconds=count)).time() if 0 <= count < 86_400_000_000 else count
        expected.append(("time", day) if 0 <= count <= 86_400_000_000 else ("source", text))
    assert mixed([*texts, None], TIME) == [*expected, None]


def test_midnight_at_the_end_of_a_day_is_a_time() -> None:
    """24:00:00 is the last time of day; a microsecond later is none."""
    values = pa.array([b"24:00:00", b"00:00:00", None, b"24:00:00.000000"], pa.binary())
    assert decode(values, TIME, Charsets()).view(pa.int64()).to_pylist() == [86_400_000_000, 0, None, 86_400_000_000]
    for wrong in (b"24:00:00.000001", b"24:00:01", b"-00:00:01", b"838:59:59"):
        with pytest.raises(Misfit):
            decode(pa.array([b"12:00:00", wrong], pa.binary()), TIME, Charsets())


def test_an_enum_is_its_label_and_its_error_value_is_no_label() -> None:
    """A label that is empty, or NULL, is text; the number 0 has none and stays a number."""
    of = column("enum", "text", "", "NULL", "é", "a,b")
    values = pa.array([b"1", b"2", b"3", None, b"4"], pa.binary())
    assert decode(values, of, Charsets()).to_pylist() == ["", "NULL", "é", None, "a,b"]
    assert mixed([b"1", b"0", None], of) == [("text", ""), ("int", 0), None]
    with pytest.raises(Misfit):
        decode(pa.array([b"1", b"0"], pa.binary()), of, Charsets())


@given(st.lists(st.integers(0, 2**64 - 1)))
def test_a_set_is_its_labels(bits: list[int]) -> None:
    """Those whose bit is set, in the order of their declaration; up to 64 of them."""
    labels = [f"label {number}" for number in range(64)]
    of = column("set", "text", *labels)
    found = decode(pa.array([str(each).encode() for each in bits], pa.binary()), of, Charsets())
    assert found.to_pylist() == [
        ",".join(label for place, label in enumerate(labels) if each & 1 << place) for each in bits
    ]
    of = column("set", "uint", "", *labels[1:])
    assert decode(pa.array([str(each).encode() for each in bits], pa.binary()), of, Charsets()).to_pylist() == bits


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_a_float_is_the_one_that_its_digits_name(numbers: list[float]) -> None:
    """All of the digits of a DOUBLE tell a FLOAT exactly."""
    values = pa.array([repr(number).encode() for number in numbers], pa.binary())
    assert decode(values, column("float", "float32"), Charsets()).to_pylist() == numbers
    assert decode(values, column("double", "float"), Charsets()).to_pylist() == numbers


@given(st.decimals(allow_nan=False, allow_infinity=False, places=2))
def test_zeros_that_are_only_shown_are_no_part_of_a_number(number: Decimal) -> None:
    """ZEROFILL is how a number looks, not what it is."""
    of = column("decimal", "decimal", declared="decimal(40,2) unsigned zerofill")
    text = f"{abs(number):.2f}"
    values = pa.array([text.zfill(41).encode(), None], pa.binary())
    assert decode(values, of, Charsets()).to_pylist() == [text, None]
    assert decode(pa.array([b"00042"], pa.binary()), column("int", "int"), Charsets()).to_pylist() == [42]


@given(st.lists(st.one_of(st.none(), st.uuids())))
def test_a_uuid_is_its_bytes(uuids: list[Any]) -> None:
    """Of whatever version."""
    values = pa.array([None if each is None else str(each).encode() for each in uuids], pa.binary())
    found = decode(values, column("uuid", "uuid"), Charsets())
    assert found.type == TYPES["uuid"].arrow
    assert found.to_pylist() == [None if each is None else each.bytes for each in uuids]


def test_text_without_characters_stays_bytes() -> None:
    """A surrogate is text to the server and to nobody else."""
    of = column("varchar", "text", charset="utf8mb4")
    values = pa.array([b"a", b"\xed\xa0\x80", None, b""], pa.binary())
    with pytest.raises(Misfit):
        decode(values, of, Charsets())
    assert mixed(values.to_pylist(), of) == [("text", "a"), ("rawtext", b"\xed\xa0\x80"), None, ("text", "")]


def test_every_digit_is_asked_for() -> None:
    """What the server would round, or show as a name, is selected in another way."""
    assert selected(column("float", "float32")) == "CAST(`v` AS DOUBLE)"
    assert selected(column("double", "float")) == "`v`"
    assert selected(column("double", "float", declared="double(12,2)")) == "CAST(`v` AS DOUBLE)"
    assert selected(column("enum", "text", "a")) == selected(column("bit", "uint")) == "CAST(`v` AS UNSIGNED)"
