"""What the binlog holds is what the server itself says: every type, random values with the edges among them."""

from __future__ import annotations

import random
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.connectors.mysql.catalog import TableColumn
from holdfast.connectors.mysql.charsets import Charsets
from holdfast.connectors.mysql.packed import decode_packed, decode_packed_mixed
from holdfast.connectors.mysql.packing import Packing, decimal_bytes
from holdfast.connectors.mysql.rows import DELETED, INSERTED, UPDATED
from holdfast.connectors.mysql.spelled import decimal_text
from holdfast.connectors.mysql.values import Misfit, decode, decode_mixed
from holdfast.core.canonical import decode as plain
from holdfast.errors import Damaged
from tests.connectors.mysql.binlogs import gathered, here, selected_rows
from tests.connectors.mysql.samples import SAMPLES, SESSION, assignments, definition
from tests.connectors.mysql.test_values import column
from tests.mariadb_server import Database

ROWS = 120


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_binlog_tells_what_a_select_tells(mariadb: Database, seed: int) -> None:
    """Each column of each inserted and updated row, byte for byte; a deleted one by its key."""
    chance = random.Random(seed)
    mariadb.run(SESSION, f"CREATE TABLE t ({definition(SAMPLES)}) ROW_FORMAT=DYNAMIC")
    start = here(mariadb)
    with mariadb.session(max_allowed_packet=128 << 20) as connection, connection.cursor() as cursor:
        cursor.execute(SESSION)
        for number in range(ROWS):
            cursor.execute(f"INSERT INTO t VALUES ({', '.join([str(number), *assignments(SAMPLES, chance)])})")
    inserted = selected_rows(mariadb)
    with mariadb.session(max_allowed_packet=128 << 20) as connection, connection.cursor() as cursor:
        cursor.execute(SESSION)
        for number in range(ROWS):
            pairs = zip(SAMPLES, assignments(SAMPLES, chance), strict=True)
            sets = ", ".join(f"{sample.name} = {value}" for sample, value in pairs)
            cursor.execute(f"UPDATE t SET {sets} WHERE id = {number}")
    updated = selected_rows(mariadb)
    mariadb.run("DELETE FROM t")

    images = gathered(mariadb, start)["t"]
    kinds = bytes([INSERTED]) * ROWS + bytes([UPDATED]) * images.kinds.count(UPDATED) + bytes([DELETED]) * ROWS
    assert bytes(images.kinds) == kinds
    changed = images.packed("id")[ROWS:-ROWS]
    assert len(changed) > ROWS * 0.99
    for of in images.layout.columns:
        told = pa.concat_arrays([inserted[of.name], updated[of.name].take(pa.array(changed))])
        gone = pa.nulls(ROWS, pa.binary()) if of.name != "id" else inserted["id"]
        told = pa.concat_arrays([told, gone])
        _expect_equal(images.column(of.name, mixed=True), decode_mixed(told, of, images.layout.charsets), of)
        try:
            exact = decode(told, of, images.layout.charsets)
        except Misfit:
            with pytest.raises(Misfit):
                images.column(of.name)
        else:
            assert images.column(of.name).equals(exact), of


def test_values_in_the_old_forms_are_the_same_values(mariadb: Database) -> None:
    """Tables made before MariaDB 10.1, or with mysql56_temporal_format=OFF, hold times in other forms."""
    samples = [sample for sample in SAMPLES if sample.name.startswith(("c_date", "c_time"))]
    chance = random.Random(7)
    mariadb.run("SET GLOBAL mysql56_temporal_format = OFF")
    try:
        mariadb.run(f"CREATE TABLE t ({definition(samples)})")
    finally:
        mariadb.run("SET GLOBAL mysql56_temporal_format = ON")
    start = here(mariadb)
    with mariadb.session() as connection, connection.cursor() as cursor:
        cursor.execute(SESSION)
        for number in range(ROWS):
            cursor.execute(f"INSERT INTO t VALUES ({', '.join([str(number), *assignments(samples, chance)])})")
    told = selected_rows(mariadb)
    images = gathered(mariadb, start)["t"]
    assert {packing.form.startswith("old_") for packing in images.layout.packings[2:]} == {True}
    for of in images.layout.columns:
        _expect_equal(images.column(of.name, mixed=True), decode_mixed(told[of.name], of, images.layout.charsets), of)


@given(st.integers(1, 65), st.data())
def test_a_decimal_is_its_digits(precision: int, data: st.DataObject) -> None:
    """Converted as a column or by itself, with as many digits after the point as declared, none before lost."""
    scale = data.draw(st.integers(0, min(precision, 38)))
    numbers = data.draw(st.lists(st.integers(-(10**precision) + 1, 10**precision - 1), min_size=1, max_size=5))
    packed = [_packed_decimal(number, precision, scale) for number in numbers]
    texts = [_decimal_text(number, scale) for number in numbers]
    of = _decimal_column(precision, scale)
    how = Packing("decimal", len(packed[0]), f"{len(packed[0])}s")
    assert [decimal_text(each, precision, scale) for each in packed] == texts
    assert decode_packed([*packed, None], how, of, Charsets()).to_pylist() == [*texts, None]


@pytest.mark.parametrize(
    ("packed", "digits", "text"),
    [
        (b"\x7f\xff\xff\xff\xff\xff", 6, "-00:00:00.000001"),
        (b"\x4b\x91\x04\xf0\xbd\xc1", 6, "-838:59:59.999999"),
        (b"\x7f\xff\xff\xce", 1, "-00:00:00.5"),
        (b"\x7f\xff\xff\xf6", 2, "-00:00:00.10"),
        (b"\x7f\xff\xff", 0, "-00:00:01"),
        (b"\x7f\xff\xfe\x00", 2, "-00:00:02.00"),
        (b"\x83\x4e\xfb", 0, "52:59:59"),
    ],
)
def test_a_time_below_zero_or_beyond_a_day_keeps_the_text_of_the_server(packed: bytes, digits: int, text: str) -> None:
    """The fraction of a negative time is no less negative than its hours."""
    of, how = column("time", "time"), Packing("time", len(packed), f"{len(packed)}s", digits=digits)
    with pytest.raises(Misfit):
        decode_packed([packed], how, of, Charsets())
    assert _plain(decode_packed_mixed([packed, None], how, of, Charsets())) == [("source", text), None]


def test_zeros_that_the_binlog_strips_come_back() -> None:
    """At the end of BINARY(n) up to its length, of a UUID, and of addresses."""
    binary = replace(column("binary", "bytes"), octets=4)
    how = {form: Packing(form, prefix=1) for form in ("padded", "uuid")}
    assert decode_packed([b"a", b"", None, b"\0b"], how["padded"], binary, Charsets()).to_pylist() == [
        *(b"a\0\0\0", bytes(4), None, b"\0b\0\0")
    ]
    uuid, four, six = column("uuid", "uuid"), column("inet4", "source"), column("inet6", "source")
    assert decode_packed([b"\x12", b""], how["uuid"], uuid, Charsets()).to_pylist() == [b"\x12" + bytes(15), bytes(16)]
    assert decode_packed([b"\x0a", b""], how["padded"], four, Charsets()).to_pylist() == ["10.0.0.0", "0.0.0.0"]
    assert decode_packed([b"\0\x0a", b""], how["padded"], six, Charsets()).to_pylist() == ["a::", "::"]


def test_a_column_of_nulls_and_one_without_rows_are_columns(mariadb: Database) -> None:
    """Of every type: what is empty has the same type as what is not."""
    mariadb.run(SESSION, f"CREATE TABLE t ({definition(SAMPLES)})")
    start = here(mariadb)
    mariadb.run("INSERT INTO t (id) VALUES (1)")
    images = gathered(mariadb, start)["t"]
    for of in images.layout.columns[1:]:
        assert images.column(of.name).to_pylist() == [None]
        assert images.column(of.name, mixed=True).to_pylist() == [None]
        none = decode_packed([], images.layout.packings[images.layout.numbers[of.name]], of, images.layout.charsets)
        assert len(none) == 0
        assert none.type == images.column(of.name).type


@given(st.data())
def test_bytes_that_are_no_value_raise_nothing_but_damage(data: st.DataObject) -> None:
    """Whatever the bytes of a packed value are, they become some value, a misfit, or are named as damage."""
    form, width, of = data.draw(st.sampled_from(_GARBAGE))
    values = data.draw(st.lists(st.binary(min_size=width, max_size=width or 40), max_size=3))
    how = Packing(form, width, f"{width}s", digits=6 if width else 0)
    for decoded in (decode_packed, decode_packed_mixed):
        with suppress(Damaged, Misfit):
            assert len(decoded(values, how, of, Charsets())) == len(values)


_GARBAGE: list[tuple[str, int, TableColumn]] = [
    ("date", 3, column("date", "date")),
    ("datetime", 8, column("datetime", "timestamp")),
    ("timestamp", 7, column("timestamp", "timestamptz")),
    ("time", 6, column("time", "time")),
    ("old_datetime", 8, column("datetime", "timestamp")),
    ("old_time", 3, column("time", "time")),
    ("old_time_fraction", 6, column("time", "time")),
    ("old_timestamp_fraction", 7, column("timestamp", "timestamptz")),
    ("old_datetime_fraction", 8, column("datetime", "timestamp")),
    ("compressed", 0, column("varchar", "text", charset="utf8mb4")),
    ("bytes", 0, column("varchar", "text", charset="utf16")),
    ("medium", 3, column("mediumint", "int")),
    ("bits", 8, column("bit", "uint")),
    ("float", 4, column("float", "float32")),
    ("double", 8, column("double", "float")),
]


def _expect_equal(found: pa.Array, wanted: pa.Array, of: TableColumn) -> None:
    if not found.equals(wanted):
        pairs = zip(_plain(found), _plain(wanted), strict=True)
        pytest.fail(f"{of.name}: the binlog has {[pair for pair in pairs if pair[0] != pair[1]][:5]}")


def _plain(values: pa.Array) -> list[Any]:
    return [None if value is None else plain(value) for value in values.to_pylist()]


def _decimal_column(precision: int, scale: int) -> TableColumn:
    return replace(column("decimal", "decimal"), precision=precision, scale=scale)


def _decimal_text(number: int, scale: int) -> str:
    digits = f"{abs(number):0{scale + 1}}"
    point = len(digits) - scale
    return "-" * (number < 0) + digits[:point] + ("." + digits[point:]) * bool(scale)


def _packed_decimal(number: int, precision: int, scale: int) -> bytes:
    """Made the other way round: groups of digits from the point to both sides."""
    digits = f"{abs(number):0{precision}}"
    whole, part = digits[: precision - scale], digits[precision - scale :]
    first = len(whole) % 9
    groups = [whole[:first]] * bool(first) + [whole[at : at + 9] for at in range(first, len(whole), 9)]
    groups += [part[at : at + 9] for at in range(0, len(part), 9)]
    body = bytearray(b"".join(int(each).to_bytes(decimal_bytes(len(each), 0), "big") for each in groups))
    body[0] |= 0x80
    return bytes(byte ^ 0xFF for byte in body) if number < 0 else bytes(body)
