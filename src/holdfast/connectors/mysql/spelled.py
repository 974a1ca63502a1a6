"""Packed values as the server's own text, one by one: what no canonical type holds, and forms that are rare."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from holdfast.connectors.mysql.packing import Packing, decimal_bytes

__all__ = ["SPELLED", "decimal_text", "digit_groups", "inet4_text", "inet6_text", "inflated_value"]

VALUE_BYTES_MAX = 256 << 20
_DIGITS = 9  # in four bytes
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def decimal_text(value: bytes, precision: int, scale: int) -> str:
    """A DECIMAL: nine digits in four bytes, from the point to both sides; all bits inverted if it is negative."""
    sign = ""
    if not value[0] & 0x80:
        sign, value = "-", bytes(byte ^ 0xFF for byte in value)
    value = bytes([value[0] & 0x7F]) + value[1:]
    digits, at = "", 0
    for count in digit_groups(precision, scale):
        width = decimal_bytes(count, 0)
        digits += f"{int.from_bytes(value[at : at + width], 'big'):0{count}}"
        at += width
    whole = digits[: precision - scale].lstrip("0") or "0"
    return sign + whole + ("." + digits[precision - scale :]) * bool(scale)


def digit_groups(precision: int, scale: int) -> list[int]:
    """How many digits each group has, from the left."""
    whole, rest = divmod(precision - scale, _DIGITS)
    parts, more = divmod(scale, _DIGITS)
    return [rest] * bool(rest) + [_DIGITS] * (whole + parts) + [more] * bool(more)


def inflated_value(value: bytes) -> bytes:
    """A value of a COMPRESSED column: the first byte says how; a short one is stored as it is."""
    if not value or not value[0] & 0xF0:
        return value[1:]
    if value[0] & 0xF0 != 0x80:
        raise ValueError(f"a value compressed in an unknown way ({value[0]})")
    start = 1 + (value[0] & 0x07)
    length = int.from_bytes(value[1:start], "big")
    if length > VALUE_BYTES_MAX:
        raise ValueError(f"a value of {length:,} bytes")
    engine = zlib.decompressobj(-zlib.MAX_WBITS if value[0] & 0x08 else zlib.MAX_WBITS)
    body = engine.decompress(value[start:], length) if length else b""
    if len(body) != length:
        raise ValueError("a compressed value that is cut")
    return body


def inet4_text(value: bytes) -> str:
    """Four numbers; zeros at the end may have been stripped."""
    return ".".join(map(str, value.ljust(4, b"\0")))


def inet6_text(value: bytes) -> str:
    """As MariaDB writes it: the longest run of zeros is left out, and addresses that hold an IPv4 one end in that."""
    value = value.ljust(16, b"\0")
    words = [int.from_bytes(value[at : at + 2], "big") for at in range(0, 16, 2)]
    start, length = max(((at, _zeros(words, at)) for at in range(8)), key=lambda run: (run[1], -run[0]))
    texts = [f"{word:x}" for word in words]
    if start == 0 and (length == 6 or (length == 5 and words[5] == 0xFFFF)):
        texts[6:] = [inet4_text(value[12:])]
    if not length:
        return ":".join(texts)
    return f"{':'.join(texts[:start])}::{':'.join(texts[start + length :])}"


def _zeros(words: list[int], at: int) -> int:
    """How many words from there on are zero."""
    return next((count for count, word in enumerate(words[at:]) if word), len(words) - at)


def _date(value: bytes, _how: Packing) -> str:
    number = int.from_bytes(value, "little")
    return f"{number >> 9:04}-{number >> 5 & 15:02}-{number & 31:02}"


def _datetime(value: bytes, how: Packing) -> str:
    number = int.from_bytes(value, "big") ^ 1 << 8 * how.width - 1
    moment, fraction = divmod(number, 1 << 8 * (how.width - 5))
    days, rest = moment >> 17, moment & 0x1FFFF
    months, day = days >> 5, days & 31
    text = f"{months // 13:04}-{months % 13:02}-{day:02} {rest >> 12:02}:{rest >> 6 & 63:02}:{rest & 63:02}"
    return text + _fraction(fraction, how, pairs=True)


def _timestamp(value: bytes, how: Packing) -> str:
    return _moment(int.from_bytes(value[:4], "big")) + _fraction(int.from_bytes(value[4:], "big"), how, pairs=True)


def _time(value: bytes, how: Packing) -> str:
    number = int.from_bytes(value, "big") - (1 << 8 * how.width - 1)
    rest, fraction = divmod(abs(number), 1 << 8 * (how.width - 3))
    sign = "-" if number < 0 else ""
    return f"{sign}{rest >> 12:02}:{rest >> 6 & 63:02}:{rest & 63:02}" + _fraction(fraction, how, pairs=True)


def _old_date_and_time(value: bytes, _how: Packing) -> str:
    digits = f"{int.from_bytes(value, 'little'):014}"
    return f"{digits[:4]}-{digits[4:6]}-{digits[6:8]} {digits[8:10]}:{digits[10:12]}:{digits[12:]}"


def _old_datetime_fraction(value: bytes, how: Packing) -> str:
    number, fraction = divmod(int.from_bytes(value, "big"), 10**how.digits)
    number, second = divmod(number, 60)
    number, minute = divmod(number, 60)
    number, hour = divmod(number, 24)
    months, day = divmod(number, 32)
    text = f"{months // 13:04}-{months % 13:02}-{day:02} {hour:02}:{minute:02}:{second:02}"
    return text + _fraction(fraction, how, pairs=False)


def _old_timestamp(value: bytes, _how: Packing) -> str:
    return _moment(int.from_bytes(value, "little"))


def _old_timestamp_fraction(value: bytes, how: Packing) -> str:
    return _moment(int.from_bytes(value[:4], "big")) + _fraction(int.from_bytes(value[4:], "big"), how, pairs=False)


def _old_time(value: bytes, _how: Packing) -> str:
    number = int.from_bytes(value, "little", signed=True)
    digits = f"{abs(number):06}"
    return f"{'-' if number < 0 else ''}{digits[:-4]}:{digits[-4:-2]}:{digits[-2:]}"


def _old_time_fraction(value: bytes, how: Packing) -> str:
    number = int.from_bytes(value, "big") - _OLD_ZERO * 10**how.digits
    seconds, fraction = divmod(abs(number), 10**how.digits)
    sign = "-" if number < 0 else ""
    return f"{sign}{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}" + _fraction(
        fraction, how, pairs=False
    )


_OLD_ZERO = 838 * 3600 + 59 * 60 + 60  # seconds: one more than the longest time


def _moment(seconds: int) -> str:
    if not seconds:
        return "0000-00-00 00:00:00"
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%d %H:%M:%S}"


def _fraction(count: int, how: Packing, *, pairs: bool) -> str:
    """The fraction of a second with the column's digits; in `pairs` an odd number of digits has one more in store."""
    if not how.digits:
        return ""
    if pairs and how.digits % 2:
        count //= 10
    return f".{count:0{how.digits}}"


SPELLED: Mapping[str, Callable[[bytes, Packing], str]] = {
    "date": _date,
    "datetime": _datetime,
    "timestamp": _timestamp,
    "time": _time,
    "old_datetime": _old_date_and_time,
    "old_datetime_fraction": _old_datetime_fraction,
    "old_timestamp": _old_timestamp,
    "old_timestamp_fraction": _old_timestamp_fraction,
    "old_time": _old_time,
    "old_time_fraction": _old_time_fraction,
}
