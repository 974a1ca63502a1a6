"""Values as they lie packed in a binlog, in canonical types: the same that `values.decode` makes of the server's text.

* A value is what `rows` cuts out: a number where `packing` reads one, else its bytes.
* Whole columns are converted in Arrow. What is beyond a canonical type, and the forms of servers before MariaDB 10.1,
  are spelled as the server's text, value by value, and given to `values`: so both ways can't differ.
* What the binlog strips is put back: the zeros at the end of BINARY(n), UUID, INET4 and INET6.
"""

from __future__ import annotations

import sys
import zlib
from array import array
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.connectors.mysql.catalog import TableColumn
from holdfast.connectors.mysql.charsets import Charsets
from holdfast.connectors.mysql.packing import Packing, decimal_bytes
from holdfast.connectors.mysql.spelled import (
    SPELLED,
    decimal_text,
    digit_groups,
    inet4_text,
    inet6_text,
    inflated_value,
)
from holdfast.connectors.mysql.values import Misfit, decode, decode_mixed
from holdfast.core.canonical import tagged
from holdfast.core.records import TYPES
from holdfast.errors import Damaged

__all__ = ["decode_packed", "decode_packed_mixed"]


def decode_packed(values: Sequence[Any], how: Packing, column: TableColumn, charsets: Charsets) -> pa.Array:
    """Packed values, None for NULL, as an array of `TYPES[column.kind].arrow`.

    Raises Misfit where a value is beyond the type, Damaged if it is no packed value of that column.
    """
    try:
        if how.form in _MOMENTS:
            found = _MOMENTS[how.form](values, how)
            if found.null_count != values.count(None):
                raise Misfit(f"a {column.data_type} is beyond what the canonical type {column.kind} holds")
            return found
        if how.form in _EXACT:
            return _EXACT[how.form](values, how, column)
        return decode(_told(values, how, column), column, charsets)
    except (ValueError, OverflowError, IndexError, zlib.error) as error:
        raise _damaged(column) from error


def decode_packed_mixed(values: Sequence[Any], how: Packing, column: TableColumn, charsets: Charsets) -> pa.Array:
    """The same as tagged values of a mixed column; what is beyond the type is kept as by `values.decode_mixed`."""
    try:
        if how.form in _MOMENTS:
            found = _MOMENTS[how.form](values, how)
            spell, fits = SPELLED[how.form], found.is_valid().to_pylist()
            others = [
                None if fit or value is None else spell(value, how) for value, fit in zip(values, fits, strict=True)
            ]
            return pc.coalesce(tagged(found, column.kind), tagged(pa.array(others, pa.string()), "source"))
        if how.form in _EXACT:
            return tagged(_EXACT[how.form](values, how, column), column.kind)
        return decode_mixed(_told(values, how, column), column, charsets)
    except (ValueError, OverflowError, IndexError, zlib.error) as error:
        raise _damaged(column) from error


def _damaged(column: TableColumn) -> Damaged:
    return Damaged(
        f"column {column.name}: the binlog has a {column.data_type} that can't be read",
        hint="follow again: it goes on from the last position that is kept",
    )


def _told(values: Sequence[Any], how: Packing, column: TableColumn) -> pa.Array:
    """What the server sends for `values.selected`."""
    match how.form:
        case "bytes":
            return pa.array(values, pa.binary())
        case "padded":
            return _padded(values, column)
        case "compressed":
            return pa.array([None if value is None else inflated_value(value) for value in values], pa.binary())
        case "labels":
            return _labels(values, how).cast(pa.string())
        case _:
            spell = SPELLED[how.form]
            return pa.array([None if value is None else spell(value, how) for value in values], pa.string())


def _padded(values: Sequence[Any], column: TableColumn) -> pa.Array:
    match column.data_type:
        case "inet4" | "inet6":
            spell = inet4_text if column.data_type == "inet4" else inet6_text
            return pa.array([None if value is None else spell(value) for value in values], pa.string())
        case _:
            width = column.octets
            return pa.array([None if value is None else value.ljust(width, b"\0") for value in values], pa.binary())


def _labels(values: Sequence[Any], how: Packing) -> pa.Array:
    """Sets of 17 to 24 labels have three bytes, which are no number yet."""
    return _words(values, 3, is_little=True) if how.code == "3s" else pa.array(values, pa.uint64())


def _integers(values: Sequence[Any], _how: Packing, column: TableColumn) -> pa.Array:
    return pa.array(values, TYPES[column.kind].arrow)


def _mediums(values: Sequence[Any], _how: Packing, column: TableColumn) -> pa.Array:
    numbers = _words(values, 3, is_little=True)
    return numbers if column.is_unsigned else pc.subtract(pc.bit_wise_xor(numbers, 1 << 23), 1 << 23)


def _years(values: Sequence[Any], _how: Packing, column: TableColumn) -> pa.Array:
    numbers = pa.array(values, pa.int64())
    if column.declared.startswith("year(2)"):
        return pc.subtract(numbers, pc.multiply(pc.divide(numbers, 100), 100))
    return pc.if_else(pc.equal(numbers, 0), numbers, pc.add(numbers, 1900))


def _bits(values: Sequence[Any], how: Packing, _column: TableColumn) -> pa.Array:
    return _words(values, how.width).view(pa.uint64())


def _doubles(values: Sequence[Any], _how: Packing, _column: TableColumn) -> pa.Array:
    return _words(values, 8, is_little=True).view(pa.float64())


def _floats(values: Sequence[Any], _how: Packing, _column: TableColumn) -> pa.Array:
    return _words(values, 4, is_little=True).cast(pa.uint32()).view(pa.float32())


def _uuids(values: Sequence[Any], _how: Packing, _column: TableColumn) -> pa.Array:
    width = TYPES["uuid"].width
    return pa.array([None if value is None else value.ljust(width, b"\0") for value in values], TYPES["uuid"].arrow)


def _decimals(values: Sequence[Any], how: Packing, column: TableColumn) -> pa.Array:
    """The digits before and after the point are a number each, of up to 18 digits; longer ones go one by one."""
    precision, scale = column.precision, column.scale
    whole, part = decimal_bytes(precision - scale, 0), decimal_bytes(scale, scale)
    if max(whole, part) > _WORD:
        texts = {value: decimal_text(value, precision, scale) for value in {*values} - {None}}
        return pa.array(list(map(texts.get, values)), pa.string())
    if how.width <= _WORD:
        words = _words(values, how.width)
        is_less = _is_less(words, how.width)
        first = rest = _cleared(_turned(words, how.width, is_less), how.width)
    else:
        first = _words([None if value is None else value[:whole] for value in values], whole)
        rest = _words([None if value is None else value[whole:] for value in values], part)
        is_less = _is_less(first, whole)
        first = _cleared(_turned(first, whole, is_less), whole)
        rest = _turned(rest, part, is_less)
    beyond = part if how.width <= _WORD else 0
    texts = _number(first, digit_groups(precision - scale, 0), beyond).cast(pa.string())
    signs = pc.if_else(is_less, "-", "")
    if not scale:
        return pc.binary_join_element_wise(signs, texts, "")
    digits = pc.utf8_lpad(_number(rest, digit_groups(scale, scale), 0).cast(pa.string()), scale, "0")
    return pc.binary_join_element_wise(pc.binary_join_element_wise(signs, texts, ""), digits, ".")


def _is_less(words: pa.Array, width: int) -> pa.Array:
    """Whether a DECIMAL is below zero: then its first bit is not set."""
    return pc.equal(pc.bit_wise_and(words, _top(width)), 0)


def _turned(words: pa.Array, width: int, is_less: pa.Array) -> pa.Array:
    """The bits that stand for the digits: those of a negative number are inverted."""
    return pc.if_else(is_less, pc.bit_wise_and(pc.bit_wise_not(words), _mask(width)), words)


def _cleared(words: pa.Array, width: int) -> pa.Array:
    return pc.bit_wise_and(words, ~_top(width))


def _number(words: pa.Array, groups: Sequence[int], beyond: int) -> pa.Array:
    """Groups of digits as one number; `beyond` bytes follow them."""
    total = pc.bit_wise_and(words, 0)
    at = beyond + sum(decimal_bytes(count, 0) for count in groups)
    for count in groups:
        width = decimal_bytes(count, 0)
        at -= width
        group = pc.bit_wise_and(pc.shift_right(words, 8 * at), _mask(width))
        total = pc.add(pc.multiply(total, 10**count), group)
    return total


def _dates(values: Sequence[Any], _how: Packing) -> pa.Array:
    numbers = _words(values, 3, is_little=True)
    return _days(numbers, lambda number: (number >> 9, number >> 5 & 15, number & 31)).view(pa.date32())


def _datetimes(values: Sequence[Any], how: Packing) -> pa.Array:
    words = pc.bit_wise_xor(_words(values, how.width), _top(how.width))
    moments = pc.shift_right(words, 8 * (how.width - 5))
    days = _days(pc.shift_right(moments, 17), lambda number: (number // 416, number // 32 % 13, number & 31))
    found = pc.add(pc.multiply(days.cast(pa.int64()), _DAY), _clock(pc.bit_wise_and(moments, 0x1FFFF)))
    return pc.add(found, _fractions(words, how.width - 5)).view(TYPES["timestamp"].arrow)


def _timestamps(values: Sequence[Any], how: Packing) -> pa.Array:
    words = _words(values, how.width)
    # 32 bits of seconds and up to 24 of their fraction are no negative number yet.
    seconds = pc.shift_right(words, 8 * (how.width - 4))
    found = pc.add(pc.multiply(seconds, 1_000_000), _fractions(words, how.width - 4))
    return pc.if_else(pc.equal(words, 0), None, found).view(TYPES["timestamptz"].arrow)


def _times(values: Sequence[Any], how: Packing) -> pa.Array:
    words = pc.subtract(_words(values, how.width), _top(how.width))
    found = pc.add(_clock(pc.shift_right(words, 8 * (how.width - 3))), _fractions(words, how.width - 3))
    is_time = pc.and_(pc.greater_equal(words, 0), pc.less_equal(found, _DAY))
    return pc.if_else(is_time, found, None).view(TYPES["time"].arrow)


def _days(numbers: pa.Array, parts: Callable[[int], tuple[int, int, int]]) -> pa.Array:
    """Days since 1970, each date that occurs taken apart once; null for what the calendar does not have."""
    found = numbers.dictionary_encode()
    days = [_day(*parts(number)) for number in found.dictionary.to_pylist()]
    return pa.array(days, pa.int32()).take(found.indices)


def _day(year: int, month: int, day: int) -> int | None:
    try:
        return date(year, month, day).toordinal() - _EPOCH
    except ValueError:
        return None


def _clock(parts: pa.Array) -> pa.Array:
    """Hours, minutes and seconds, of which the latter have six bits each, as microseconds."""
    hours = pc.multiply(pc.shift_right(parts, 12), 3600)
    minutes = pc.multiply(pc.bit_wise_and(pc.shift_right(parts, 6), 63), 60)
    return pc.multiply(pc.add(pc.add(hours, minutes), pc.bit_wise_and(parts, 63)), 1_000_000)


def _fractions(words: pa.Array, width: int) -> pa.Array:
    """The last bytes, each of two digits of a second's fraction, as microseconds."""
    return pc.multiply(pc.bit_wise_and(words, _mask(width)), 10 ** (6 - 2 * width))


def _words(values: Sequence[Any], width: int, *, is_little: bool = False) -> pa.Array:
    """Bytes of one width, up to 8, as the int64 that has the same bits: all at once, in Arrow's own memory."""
    filled = [bytes(width) if value is None else value for value in values] if None in values else values
    pad = bytes(_WORD - width)
    words = array("q", pad.join((*filled, b"")) if is_little else b"".join((pad, pad.join(filled))) if values else b"")
    if is_little != (sys.byteorder == "little"):
        words.byteswap()
    validity = pa.array([value is not None for value in values]).buffers()[1] if filled is not values else None
    return pa.Array.from_buffers(pa.int64(), len(values), [validity, pa.py_buffer(words)])


def _mask(width: int) -> int:
    """All bits of so many bytes, as an int64."""
    return (1 << 8 * width) - 1 if width < _WORD else -1


def _top(width: int) -> int:
    """The first bit of so many bytes, as an int64."""
    return 1 << 8 * width - 1 if width < _WORD else -(1 << 63)


_WORD = 8
_DAY = 86_400_000_000
_EPOCH = date(1970, 1, 1).toordinal()
_MOMENTS: dict[str, Callable[[Sequence[Any], Packing], pa.Array]] = {
    "date": _dates,
    "datetime": _datetimes,
    "timestamp": _timestamps,
    "time": _times,
}
_EXACT: dict[str, Callable[[Sequence[Any], Packing, TableColumn], pa.Array]] = {
    "integer": _integers,
    "medium": _mediums,
    "year": _years,
    "bits": _bits,
    "double": _doubles,
    "float": _floats,
    "decimal": _decimals,
    "uuid": _uuids,
}
