"""Segments: exactly the table that was sealed, or an error."""

from __future__ import annotations

import math
import struct
from datetime import date, datetime, time
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.records import MIXED, TYPES, Column, Schema
from holdfast.errors import Damaged, HoldfastError
from holdfast.vault import segments
from holdfast.vault.keys import Keyring, encrypt, new_epoch, new_identity, recipient_of
from holdfast.vault.segments import Encodings, choose_encodings, open_segment, seal_segment

IDENTITY = new_identity()
EPOCH = new_epoch("orders", [recipient_of(IDENTITY)])
KEYRING = Keyring([IDENTITY])
KEYRING.offer(EPOCH.key_name, EPOCH.key_object, EPOCH.recipient)
OPEN = KEYRING.opener(EPOCH.id, name="segment")

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "int": st.integers(-(1 << 63), (1 << 63) - 1),
    "uint": st.integers(0, (1 << 64) - 1),
    "float": st.floats(),
    "float32": st.floats(width=32),
    "text": st.text(max_size=20),
    "rawtext": st.binary(max_size=20),
    "bytes": st.binary(max_size=20),
    "date": st.dates(),
    "time": st.times(),
    "timestamp": st.datetimes(min_value=datetime(1700, 1, 1)),
    "uuid": st.binary(min_size=16, max_size=16),
    MIXED: st.binary(min_size=1, max_size=9),
}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """Tables of canonical types with NULLs, some with many rows of few values, under any names."""
    names = draw(st.lists(st.text(min_size=1, max_size=6), min_size=1, max_size=4, unique=True))
    schema = Schema(tuple(Column(name, draw(st.sampled_from(sorted(VALUES)))) for name in names))
    pools = [draw(st.lists(st.none() | VALUES[column.type], min_size=1, max_size=6)) for column in schema.columns]
    rows = draw(st.integers(0, 40))
    arrays = [
        pa.array([pool[index % len(pool)] for index in range(rows)], column.arrow)
        for column, pool in zip(schema.columns, pools, strict=True)
    ]
    return pa.table(arrays, schema=schema.arrow())


def same_bits(one: pa.Table, other: pa.Table) -> bool:
    """Equal schemas with metadata, and equal values where a NaN or -0.0 equals only itself."""

    def plain(table: pa.Table) -> list[list[Any]]:
        return [
            [struct.pack(">d", value) if isinstance(value, float) else value for value in column.to_pylist()]
            for column in table.columns
        ]

    return bool(one.schema.equals(other.schema, check_metadata=True)) and plain(one) == plain(other)


@given(tables())
def test_a_segment_comes_back_exactly(table: pa.Table) -> None:
    """Types, metadata, NULLs and every value of every canonical type survive Parquet and age."""
    data = seal_segment(table, EPOCH.recipient, choose_encodings(table), full_check=True)
    assert same_bits(open_segment(data, OPEN), table)


@given(tables(), st.data())
def test_encodings_chosen_on_other_rows_change_nothing(table: pa.Table, data: st.DataObject) -> None:
    """Encodings are judged once a collection: on rows they were not chosen for they cost time, never a value."""
    chosen = choose_encodings(table.slice(0, data.draw(st.integers(0, table.num_rows))))
    assert same_bits(open_segment(seal_segment(table, EPOCH.recipient, chosen), OPEN), table)


def test_columns_are_read_in_the_order_asked_for() -> None:
    """A reader takes the columns it needs; one that the segment lacks is left out, prefixes are not confused."""
    table = pa.table({"a": [1], "a.b": [2], "b": [3], "": [4]})
    data = seal_segment(table, EPOCH.recipient, choose_encodings(table))
    assert open_segment(data, OPEN, ["b", "a", "later"]).to_pydict() == {"b": [3], "a": [1]}
    assert open_segment(data, OPEN, ["a.b", ""]).to_pydict() == {"a.b": [2], "": [4]}
    assert open_segment(data, OPEN, []).num_columns == 0


def test_the_right_encodings_are_chosen() -> None:
    """Few values: dictionary; numbers and times: delta; shared prefixes, other text and floats each their own."""
    rows = 20_000
    table = pa.table(
        {
            "id": range(rows),
            "at": pa.array(range(rows), pa.timestamp("us", tz="UTC")),
            "status": [("new", "paid")[index % 2] for index in range(rows)],
            "mail": [f"customer-number-{index:06d}" for index in range(rows)],
            "note": [f"{index * 7919 % rows:x} and more" for index in range(rows)],
            "score": [math.sqrt(index) for index in range(rows)],
            "gone": pa.nulls(rows, pa.string()),
            "flag": [index % 2 == 0 for index in range(rows)],
        }
    )
    chosen = choose_encodings(table)
    assert chosen.dictionary == ("status",)
    assert dict(chosen.encoding) == {
        "id": "DELTA_BINARY_PACKED",
        "at": "DELTA_BINARY_PACKED",
        "mail": "DELTA_BYTE_ARRAY",
        "note": "DELTA_LENGTH_BYTE_ARRAY",
        "score": "BYTE_STREAM_SPLIT",
        "gone": "DELTA_LENGTH_BYTE_ARRAY",
    }
    plain = len(seal_segment(table, EPOCH.recipient, Encodings()))
    assert len(seal_segment(table, EPOCH.recipient, chosen)) < plain


def test_a_segment_is_plain_parquet_inside_age() -> None:
    """Anyone with the identity, age and Parquet reads it: one row group, zstd, our types in the metadata."""
    table = pa.table({"id": [1, 2]}, schema=Schema((Column("id", "int", "INTEGER"),)).arrow())
    plain = OPEN(seal_segment(table, EPOCH.recipient, choose_encodings(table)))
    file = pq.ParquetFile(pa.BufferReader(plain))
    assert file.metadata.num_row_groups == 1
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    assert file.schema_arrow.field("id").metadata == {b"holdfast.type": b"int", b"holdfast.declared": b"INTEGER"}


@pytest.mark.parametrize("plain", [b"", b"PAR1", b"PAR1" + b"\0" * 50 + b"PAR1", b"x" * 100])
def test_what_is_no_parquet_is_damaged(plain: bytes) -> None:
    """Anyone can encrypt to an epoch; junk inside is named, not crashed on."""
    with pytest.raises(Damaged, match="objects/x"):
        open_segment(encrypt(plain, EPOCH.recipient), OPEN, name="objects/x")


def test_a_wrong_encoder_is_caught_before_anything_is_stored() -> None:
    """If Parquet gives back other values than it was given, the segment is refused."""
    table, other = pa.table({"a": [1, 2, 3], "b": ["x", "y", "z"]}), pa.table({"a": [1, 2, 4], "b": ["x", "y", "z"]})
    for wrong in (other, table.slice(0, 2), table.rename_columns(["a", "c"])):
        data = segments._to_parquet(wrong, Encodings())
        with pytest.raises(HoldfastError, match="did not decode"):
            segments._check(data, table, full=True)


def test_special_values_keep_their_bits() -> None:
    """NaN payloads, infinities, -0.0 and the ends of the time axis are what they were."""
    table = pa.table(
        {
            "f": pa.array([math.nan, -0.0, math.inf, -math.inf, 5e-324], pa.float64()),
            "d": pa.array([date.min, date.max, None, None, None], pa.date32()),
            "t": pa.array([time.min, time.max, None, None, None], pa.time64("us")),
            "u": pa.array([b"\0" * 16, b"\xff" * 16, None, None, None], TYPES["uuid"].arrow),
        }
    )
    back = open_segment(seal_segment(table, EPOCH.recipient, choose_encodings(table), full_check=True), OPEN)
    assert same_bits(back, table)
