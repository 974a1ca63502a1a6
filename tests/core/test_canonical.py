"""Canonical bytes: equal values have equal bytes however they are stored, and their order is the order of values."""

from __future__ import annotations

import math
import struct
from datetime import UTC, date, datetime, time
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.canonical import (
    LONG,
    decode,
    digests_to_array,
    key_bytes,
    record_bytes,
    row_digests,
    slices,
    tagged,
    tagged_value,
)
from holdfast.core.records import MIXED, TYPES, Column, Schema
from tests.core.shapes import VALUES, Row, batch_of, rows_of, schemas, values_of


@st.composite
def tables(draw: st.DrawFn, *, has_key: bool | None = None) -> tuple[Schema, list[Row]]:
    schema = draw(schemas(has_key=has_key))
    return schema, draw(rows_of(schema))


@given(tables(), st.randoms(use_true_random=False))
def test_digests_ignore_the_order_of_columns(table: tuple[Schema, list[Row]], random: Any) -> None:
    """A record is the same record whatever order its columns come in."""
    schema, rows = table
    columns = list(schema.columns)
    random.shuffle(columns)
    shuffled = Schema(tuple(columns), schema.key)
    assert row_digests(batch_of(shuffled, rows), shuffled).equals(row_digests(batch_of(schema, rows), schema))


@given(tables(), st.data())
def test_digests_and_keys_ignore_where_a_batch_is_cut(table: tuple[Schema, list[Row]], data: st.DataObject) -> None:
    """A slice that begins in the middle of a buffer gives the bytes of its own rows."""
    schema, rows = table
    start = data.draw(st.integers(0, len(rows)))
    length = data.draw(st.integers(0, len(rows) - start))
    whole, part = batch_of(schema, rows), batch_of(schema, rows[start : start + length])
    cut = whole.slice(start, length)
    assert row_digests(cut, schema).to_pylist() == row_digests(part, schema).to_pylist()
    assert record_bytes(cut, schema).to_pylist() == record_bytes(part, schema).to_pylist()
    if schema.key:
        assert key_bytes(cut, schema).to_pylist() == key_bytes(part, schema).to_pylist()


@given(tables())
def test_digests_and_keys_ignore_whether_a_column_is_typed_or_mixed(table: tuple[Schema, list[Row]]) -> None:
    """The integer 5 is the same value in a column of integers and in one of anything."""
    schema, rows = table
    typed = batch_of(schema, rows)
    loose = Schema(tuple(Column(column.name, MIXED) for column in schema.columns), schema.key)
    arrays = [tagged(typed.column(number), column.type) for number, column in enumerate(schema.columns)]
    mixed = pa.RecordBatch.from_arrays(arrays, schema=loose.arrow())
    assert row_digests(mixed, loose).equals(row_digests(typed, schema))
    if schema.key:
        assert key_bytes(mixed, loose).equals(key_bytes(typed, schema))


@given(tables(), st.sampled_from([*sorted(TYPES), MIXED]))
def test_a_new_column_that_is_null_changes_no_digest(table: tuple[Schema, list[Row]], type_name: str) -> None:
    """Adding a nullable column to a table makes no record look changed."""
    schema, rows = table
    name = "".join(schema.names) + "x"
    wider = Schema((Column(name, type_name), *schema.columns), schema.key)
    assert row_digests(batch_of(wider, rows), wider).equals(row_digests(batch_of(schema, rows), schema))


@given(schemas(), st.data())
def test_records_with_different_values_have_different_bytes(schema: Schema, data: st.DataObject) -> None:
    """No value, NULL among them, can be mistaken for another or for a part of the next column."""
    rows = data.draw(rows_of(schema, max_size=6))
    arrays = [tagged(array, c.type) for array, c in zip(batch_of(schema, rows).columns, schema.columns, strict=True)]
    values = list(zip(*(array.to_pylist() for array in arrays), strict=True))
    records = record_bytes(batch_of(schema, rows), schema).to_pylist()
    assert len(set(values)) == len(set(records))


@pytest.mark.parametrize("type_name", ["int", "uint", "float", "float32", "date", "time", "timestamp", "timestamptz"])
@given(data=st.data())
def test_the_order_of_keys_is_the_order_of_numbers_and_times(type_name: str, data: st.DataObject) -> None:
    """Sorting by key sorts by value; -0.0 comes before 0.0 and NaN after everything."""
    a, b = data.draw(VALUES[type_name]), data.draw(VALUES[type_name])
    assert (_key(type_name, a) < _key(type_name, b)) == (_place(a) < _place(b))


@pytest.mark.parametrize("type_name", ["text", "bytes", "uuid", "json"])
@given(data=st.data())
def test_the_order_of_keys_is_the_order_of_texts(type_name: str, data: st.DataObject) -> None:
    """Texts sort by their UTF-8 bytes, which is the order of code points, and a shorter one before its extensions."""
    a, b = data.draw(VALUES[type_name]), data.draw(VALUES[type_name])
    assert (_key(type_name, a) < _key(type_name, b)) == (_utf8(a) < _utf8(b))


@given(st.data())
def test_a_composite_key_is_ordered_column_by_column(data: st.DataObject) -> None:
    """No value of the first column reaches into the order of the second, whatever bytes it holds."""
    schema = Schema((Column("a", "bytes"), Column("b", "int")), key=("a", "b"))
    pair = st.fixed_dictionaries({"a": st.binary(max_size=4), "b": st.integers(-2, 2)})
    x, y = data.draw(pair), data.draw(pair)
    first, second = key_bytes(batch_of(schema, [x, y]), schema).to_pylist()
    assert (first < second) == ((x["a"], x["b"]) < (y["a"], y["b"]))
    assert (first == second) == (x == y)


@pytest.mark.parametrize("type_name", sorted(TYPES))
@given(data=st.data())
def test_decoding_gives_back_every_value(type_name: str, data: st.DataObject) -> None:
    """What was tagged is read back with its type, value for value."""
    value = data.draw(VALUES[type_name])
    name, decoded = decode(tagged_value(type_name, value))
    assert name == type_name
    if isinstance(value, float) and math.isnan(value):
        assert math.isnan(decoded)
    elif isinstance(value, float):
        assert struct.pack(">d", decoded) == struct.pack(">d", value)
    else:
        assert tagged_value(type_name, decoded) == tagged_value(type_name, value)


def test_decoding_gives_dates_and_times_as_python_has_them() -> None:
    """Calendar values are dates and times; what Python can't hold is its count, never another time."""
    assert decode(tagged_value("date", 0)) == ("date", date(1970, 1, 1))
    assert decode(tagged_value("time", 1)) == ("time", time(0, 0, 0, 1))
    assert decode(tagged_value("timestamp", -1)) == ("timestamp", datetime(1969, 12, 31, 23, 59, 59, 999999))
    assert decode(tagged_value("timestamptz", 0)) == ("timestamptz", datetime(1970, 1, 1, tzinfo=UTC))
    assert decode(tagged_value("time", 86_400_000_000)) == ("time", 86_400_000_000)
    assert decode(tagged_value("date", 5_000_000)) == ("date", 5_000_000)
    assert decode(tagged_value("timestamptz", 1 << 62)) == ("timestamptz", 1 << 62)


def test_every_nan_is_one_value() -> None:
    """NaNs of any payload and sign have one form, so a record does not look changed by the way it travelled."""
    patterns = [0x7FF8_0000_0000_0000, 0xFFF8_0000_0000_0001, 0x7FF0_0000_0000_0001, 0x7FFF_FFFF_FFFF_FFFF]
    values = pa.array([bits - (1 << 64) if bits >> 63 else bits for bits in patterns], pa.int64()).view(pa.float64())
    assert len(set(tagged(values, "float").to_pylist())) == 1


@pytest.mark.parametrize("size", [LONG - 1, LONG, LONG + 1, 2 * LONG])
def test_a_long_value_stands_in_its_record_by_its_digest(size: int) -> None:
    """A record stays small however long its values are, whether the column is typed or mixed."""
    value = bytes(size)
    typed, mixed = Schema((Column("x", "bytes"),)), Schema((Column("x", MIXED),))
    rows: list[Row] = [{"x": value}, {"x": b"a"}, {"x": None}]
    loose: list[Row] = [{"x": None if row["x"] is None else tagged_value("bytes", row["x"])} for row in rows]
    records = record_bytes(batch_of(typed, rows), typed)
    assert (len(records[0].as_py()) < 100) == (size > LONG)
    assert records.equals(record_bytes(batch_of(mixed, loose), mixed))


def test_a_long_value_can_not_be_written_as_a_short_one() -> None:
    """The bytes that stand for a long value have a tag of their own, so no short value has the same record."""
    schema = Schema((Column("x", "bytes"),))
    (long,) = record_bytes(batch_of(schema, [{"x": bytes(LONG + 1)}]), schema).to_pylist()
    (short,) = record_bytes(batch_of(schema, [{"x": long[-40:]}]), schema).to_pylist()
    assert long != short
    assert long[-40:] == short[-40:]


@pytest.mark.parametrize("type_name", [*sorted(TYPES), MIXED])
def test_empty_and_all_null_batches_have_bytes_too(type_name: str) -> None:
    """No row gives no digest; rows of nothing but NULL all have the digest of the empty record."""
    schema = Schema((Column("x", type_name),), key=("x",))
    assert row_digests(batch_of(schema, []), schema).to_pylist() == []
    assert key_bytes(batch_of(schema, []), schema).to_pylist() == []
    assert record_bytes(batch_of(schema, [{}, {}]), schema).to_pylist() == [b"", b""]


@given(st.lists(st.binary(max_size=5)), st.integers(0, 3))
def test_slices_are_the_values(values: list[bytes], start: int) -> None:
    """The fast walk over a binary array gives what the slow one gives, from any offset."""
    array = pa.array(values, pa.binary()).slice(start)
    assert list(slices(array)) == array.to_pylist()


def test_digests_pack_and_unpack() -> None:
    """Packed digests become an array of 32 bytes each."""
    assert digests_to_array(bytes(32) + b"\x01" * 32).to_pylist() == [bytes(32), b"\x01" * 32]


@given(st.sampled_from([*sorted(TYPES), MIXED]).flatmap(lambda name: st.tuples(st.just(name), values_of(name))))
def test_a_key_of_one_column_decodes_to_its_value(pair: tuple[str, Any]) -> None:
    """A key holds the whole value: two different values never share a key."""
    type_name, value = pair
    key = _key(type_name, value)
    whole = value if type_name == MIXED else tagged_value(type_name, value)
    width = next(kind.width for kind in TYPES.values() if kind.tag == whole[0])
    assert (key if width else key[:1] + key[1:-1].replace(b"\x00\xff", b"\x00")) == whole


def _key(type_name: str, value: Any) -> bytes:
    schema = Schema((Column("k", type_name),), key=("k",))
    return bytes(key_bytes(batch_of(schema, [{"k": value}]), schema)[0].as_py())


def _place(value: Any) -> tuple[bool, float, bool]:
    is_nan = isinstance(value, float) and math.isnan(value)
    return is_nan, 0 if is_nan else value, not is_nan and math.copysign(1, value) > 0


def _utf8(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value
