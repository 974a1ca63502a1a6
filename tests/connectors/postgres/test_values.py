"""PostgreSQL's text to canonical values and back, without a server: what it writes is known."""

from __future__ import annotations

from datetime import date

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.connectors.postgres.moments import BeyondRange, read_count, written_count
from holdfast.connectors.postgres.values import Misfit, decode, decode_mixed, encode
from holdfast.core.canonical import decode as untagged
from holdfast.core.canonical import tagged
from holdfast.core.records import MIXED, TYPES, Column
from holdfast.errors import HoldfastError, Unsupported

EPOCH = date(1970, 1, 1).toordinal()
LAST_DAY = 2_145_042_905  # 5874897-12-31, the last date that PostgreSQL has


def texts(*values: str | None) -> pa.Array:
    return pa.array(values, pa.string())


def counts(found: pa.Array) -> list[int | None]:
    bits = pa.int32() if found.type == pa.date32() else pa.int64()
    return list(found.view(bits).to_pylist())


@given(st.dates())
def test_a_date_has_the_count_that_the_calendar_gives_it(day: date) -> None:
    """Every day of the years 1 to 9999 counts as Python's own calendar counts it, there and back."""
    count = day.toordinal() - EPOCH
    assert read_count(day.isoformat(), "date") == count
    assert written_count(count, "date") == day.isoformat()


@given(st.integers(min_value=-2_440_588, max_value=LAST_DAY))
def test_every_date_of_postgresql_comes_back(count: int) -> None:
    """From 4714 BC to the year 5874897, what is written is read as the same count."""
    assert read_count(written_count(count, "date"), "date") == count


@given(
    st.integers(min_value=-210_866_803_200_000_000, max_value=2**63 - 1), st.sampled_from(["timestamp", "timestamptz"])
)
def test_every_moment_that_64_bits_count_comes_back(count: int, kind: str) -> None:
    """From 4714 BC to the last microsecond, one by one as well as in Arrow."""
    text = written_count(count, kind)
    assert read_count(text, kind) == count
    values = pa.array([count], pa.int64()).view(TYPES[kind].arrow)
    assert counts(decode(encode(values, Column("at", kind)), kind)) == [count]


def test_dates_beyond_arrows_calendar_are_read_beside_ordinary_ones() -> None:
    """One strange value in a column changes nothing for the others."""
    found = decode(texts("2026-03-01", None, "0044-03-15 BC", "0001-01-01", "5874897-12-31", "4714-11-24 BC"), "date")
    assert counts(found) == [20513, None, -735_160, -719_162, LAST_DAY, -2_440_588]


def test_midnight_at_the_end_of_a_day_is_not_the_one_at_its_start() -> None:
    """24:00:00 is a time of its own."""
    found = decode(texts("00:00:00", "24:00:00", "23:59:59.999999", "12:00:00.5"), "time")
    assert counts(found) == [0, 86_400_000_000, 86_399_999_999, 43_200_500_000]
    assert encode(found, Column("at", "time")).to_pylist()[1] == "24:00:00.000000"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("infinity", "date"),
        ("-infinity", "timestamp"),
        ("infinity", "timestamptz"),
        ("294276-12-31 23:59:59.999999", "timestamp"),
        ("294247-01-10 04:00:54.775808+00", "timestamptz"),
        ("9223372036854775808", "int"),
    ],
)
def test_what_a_type_does_not_hold_is_never_made_to_fit(text: str, kind: str) -> None:
    """No infinity becomes a date and no year wraps round."""
    with pytest.raises(Misfit):
        decode(texts(None, text), kind)


def test_a_mixed_column_keeps_each_value_as_what_it_is() -> None:
    """Ordinary values have the tag and bytes they have anywhere; others keep PostgreSQL's words."""
    values = texts("2026-03-01 09:00:00+00", "infinity", None, "294276-01-01 00:00:00+00", "0044-03-15 12:00:00+00 BC")
    found = decode_mixed(values, "timestamptz")
    assert found.slice(0, 1).equals(tagged(decode(values.slice(0, 1), "timestamptz"), "timestamptz"))
    assert [None if each is None else untagged(each) for each in found.to_pylist()][1:4] == [
        ("source", "infinity"),
        None,
        ("source", "294276-01-01 00:00:00+00"),
    ]
    assert decode_mixed(encode(found, Column("at", MIXED)), "timestamptz").equals(found)


def test_text_of_no_encoding_is_kept_as_its_bytes() -> None:
    """A database without encoding takes any bytes for text; each value says for itself whether it is UTF-8."""
    found = decode_mixed(pa.array([b"caf\xc3\xa9", b"caf\xe9", None], pa.binary()), "text")
    assert [None if each is None else untagged(each) for each in found.to_pylist()] == [
        ("text", "café"),
        ("rawtext", b"caf\xe9"),
        None,
    ]
    with pytest.raises(Unsupported, match="column note"):
        encode(found, Column("note", MIXED))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("01.03.2026", "date"),
        ("2026-03-01 09:00:00", "date"),
        ("2026-03-01 09:00:00", "timestamptz"),
        ("2026-03-01 09:00:00+00", "timestamp"),
        ("09:00:00+00", "time"),
        ("true", "bool"),
        ("abc", "bytes"),
        ("\\x0", "bytes"),
        ("\\x0g", "bytes"),
        ("00000000-0000-0000-0000-00000000000", "uuid"),
    ],
)
def test_text_under_other_settings_is_never_guessed_at(text: str, kind: str) -> None:
    """Values as another DateStyle, zone or bytea_output would write them raise an error, alone and in mixed columns."""
    for read in (decode, decode_mixed):
        with pytest.raises(HoldfastError, match=r"can't be read|not hexadecimal"):
            read(texts(None, text), kind)


def test_an_infinite_time_of_day_does_not_exist() -> None:
    """`time` has no infinities: such text is an error, not a value beyond range."""
    with pytest.raises(HoldfastError, match="can't be read"):
        read_count("infinity", "time")
    with pytest.raises(BeyondRange):
        read_count("infinity", "date")


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_slices_nulls_and_nothing_at_all_read_alike(kind: str) -> None:
    """A value does not depend on where in an array it stands, or on the NULLs around it."""
    if kind in ("uint", "rawtext"):
        return
    sample = SAMPLES[kind]
    values = texts(None, sample, None, *[sample] * 20, None)
    whole = decode(values, kind)
    assert whole.type == TYPES[kind].arrow
    assert whole.is_null().to_pylist() == values.is_null().to_pylist()
    for start in range(len(values)):
        assert decode(values.slice(start, 3), kind).equals(whole.slice(start, 3))
        part = encode(whole.slice(start, 3), Column("it", kind))
        assert decode(part, kind).equals(whole.slice(start, 3))
        mixed = decode_mixed(values.slice(start, 3), kind)
        assert mixed.equals(tagged(whole.slice(start, 3), kind))
        assert decode(encode(mixed, Column("it", MIXED)), kind).equals(whole.slice(start, 3))
    for empty in (values.slice(0, 0), texts(None, None)):
        assert decode(empty, kind).null_count == len(empty)
        assert encode(decode(empty, kind), Column("it", kind)).to_pylist() == [None] * len(empty)


@given(st.lists(st.one_of(st.none(), st.binary(max_size=40))))
def test_bytes_come_back(values: list[bytes | None]) -> None:
    """Any bytes, none at all and NULL among them."""
    found = decode(texts(*(None if each is None else "\\x" + each.hex() for each in values)), "bytes")
    assert found.to_pylist() == values
    assert decode(encode(found, Column("it", "bytes")), "bytes").equals(found)


SAMPLES = {
    "bool": "t",
    "int": "-9223372036854775808",
    "float": "5e-324",
    "float32": "1e-45",
    "decimal": "1.10",
    "text": 'a, "b"\n\\N',
    "bytes": "\\x00ff",
    "date": "0044-03-15 BC",
    "time": "24:00:00",
    "timestamp": "10000-01-01 00:00:00.000001",
    "timestamptz": "0001-01-01 00:00:00+00 BC",
    "uuid": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
    "json": '{"a": 1.10}',
    "source": "{1,2}",
}
