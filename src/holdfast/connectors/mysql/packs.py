"""The server's text as it lies packed in a row event: the inverse of `packed`, for rows that are to be replayed.

Text is what stands in a SELECT by `values.selected`, as raw bytes: so nothing is decoded on the way.
"""

from __future__ import annotations

import ipaddress
import struct
from binascii import unhexlify
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from holdfast.connectors.mysql.catalog import TableColumn
from holdfast.connectors.mysql.packing import decimal_bytes

__all__ = ["Pack", "pack_of"]


class Pack(NamedTuple):
    """How a column is told in a table map (its type and further bytes), and how a value of it is packed."""

    type: int
    meta: bytes
    pack: Callable[[bytes], bytes]


def pack_of(column: TableColumn) -> Pack | None:
    """The packing of a column; None for a form that only older servers wrote, or that is compressed."""
    if column.is_compressed or "mariadb-5.3" in column.declared:
        return None
    name, octets = column.data_type, column.octets
    if name in _INTEGERS:
        code, width = _INTEGERS[name]
        return Pack(code, b"", lambda text: int(text).to_bytes(width, "little", signed=not column.is_unsigned))
    if name in _LENGTHS:
        return Pack(252, bytes([_LENGTHS[name]]), _prefixed(_LENGTHS[name]))
    if name in _SHAPES:
        return Pack(255, b"\x04", _prefixed(4))
    if name in ("char", "binary", "uuid", "inet4", "inet6"):
        size = _WIDTHS.get(name, octets)
        meta = bytes([254 ^ ((size & 0x300) >> 4), size & 0xFF])
        prefixed = _prefixed(1 if size < 256 else 2)
        exact = _EXACT.get(name, bytes)
        return Pack(254, meta, lambda text: prefixed(exact(text)))
    if name in ("varchar", "varbinary"):
        return Pack(15, struct.pack("<H", octets), _prefixed(1 if octets < 256 else 2))
    if name in ("enum", "set"):
        count = len(column.labels)
        width = (1 if count < 256 else 2) if name == "enum" else (count + 7) // 8 if count <= 32 else 8
        return Pack(
            254, bytes([247 if name == "enum" else 248, width]), lambda text: int(text).to_bytes(width, "little")
        )
    return _number(column) or _moment(column)


def _number(column: TableColumn) -> Pack | None:
    match column.data_type:
        case "float":
            return Pack(4, b"\x04", lambda text: struct.pack("<f", float(text)))
        case "double":
            return Pack(5, b"\x08", lambda text: struct.pack("<d", float(text)))
        case "decimal":
            precision, scale = column.precision, column.scale
            return Pack(246, bytes([precision, scale]), lambda text: _decimal(text, precision, scale))
        case "bit":
            whole, rest = divmod(column.precision, 8)
            return Pack(16, bytes([rest, whole]), lambda text: int(text).to_bytes(whole + (rest > 0), "big"))
        case "year":
            return Pack(13, b"", lambda text: bytes([int(text) and int(text) - 1900]))
    return None


def _moment(column: TableColumn) -> Pack | None:
    digits = column.fraction
    match column.data_type:
        case "date":
            return Pack(10, b"", lambda text: _day(text).to_bytes(3, "little"))
        case "time":
            return Pack(19, bytes([digits]), lambda text: _time(text, digits))
        case "datetime":
            return Pack(18, bytes([digits]), lambda text: _datetime(text, digits))
        case "timestamp":
            return Pack(17, bytes([digits]), lambda text: _timestamp(text, digits))
    return None


def _prefixed(width: int) -> Callable[[bytes], bytes]:
    return lambda text: len(text).to_bytes(width, "little") + text


def _decimal(text: bytes, precision: int, scale: int) -> bytes:
    """Nine digits to four bytes from the point to both sides, big-endian; below zero all bits are turned."""
    is_less = text.startswith(b"-")
    whole, _, part = text.lstrip(b"-").partition(b".")
    digits = whole.rjust(precision - scale, b"0")[-(precision - scale) :] if precision > scale else b""
    packed = bytearray()
    first = len(digits) % 9
    for start, end in [(0, first), *((at, at + 9) for at in range(first, len(digits), 9))]:
        packed += int(digits[start:end] or b"0").to_bytes(decimal_bytes(end - start, 0), "big")
    part = part.ljust(scale, b"0")
    for start in range(0, scale, 9):
        group = part[start : start + 9]
        packed += int(group).to_bytes(decimal_bytes(len(group), 0), "big")
    if is_less:
        packed = bytearray(byte ^ 0xFF for byte in packed)
    packed[0] ^= 0x80
    return bytes(packed)


def _day(text: bytes) -> int:
    year, month, day = map(int, text.split(b"-"))
    return year << 9 | month << 5 | day


def _time(text: bytes, digits: int) -> bytes:
    is_less = text.startswith(b"-")
    clock, _, part = text.lstrip(b"-").partition(b".")
    hours, minutes, seconds = map(int, clock.split(b":"))
    width = (digits + 1) // 2
    count = (hours << 12 | minutes << 6 | seconds) << 8 * width | _fraction(part, digits)
    middle = 0x800000 << 8 * width
    return (middle - count if is_less else middle + count).to_bytes(3 + width, "big")


def _datetime(text: bytes, digits: int) -> bytes:
    day, _, clock = text.partition(b" ")
    clock, _, part = clock.partition(b".")
    year, month, number = map(int, day.split(b"-"))
    hours, minutes, seconds = map(int, clock.split(b":"))
    count = ((year * 13 + month) << 5 | number) << 17 | hours << 12 | minutes << 6 | seconds
    return (count + (1 << 39)).to_bytes(5, "big") + _fraction(part, digits).to_bytes((digits + 1) // 2, "big")


def _timestamp(text: bytes, digits: int) -> bytes:
    whole, _, part = text.partition(b".")
    seconds = 0
    if not whole.startswith(b"0000"):
        moment = datetime.fromisoformat(whole.decode()).replace(tzinfo=UTC)
        seconds = int(moment.timestamp())
    return seconds.to_bytes(4, "big") + _fraction(part, digits).to_bytes((digits + 1) // 2, "big")


def _fraction(part: bytes, digits: int) -> int:
    """An odd last digit takes a byte by itself."""
    return int(part.ljust(digits + digits % 2, b"0")) if digits else 0


_INTEGERS = {"tinyint": (1, 1), "smallint": (2, 2), "mediumint": (9, 3), "int": (3, 4), "bigint": (8, 8)}
_SHAPES = (
    *("geometry", "point", "linestring", "polygon", "multipoint", "multilinestring", "multipolygon"),
    *("geometrycollection", "geomcollection"),
)
_LENGTHS = {
    "tinytext": 1,
    "tinyblob": 1,
    "text": 2,
    "blob": 2,
    "mediumtext": 3,
    "mediumblob": 3,
    "longtext": 4,
    "longblob": 4,
    "json": 4,
}
_WIDTHS = {"uuid": 16, "inet6": 16, "inet4": 4}
_EXACT: dict[str, Callable[[bytes], bytes]] = {
    "uuid": lambda text: unhexlify(text.replace(b"-", b"")),
    "inet4": lambda text: ipaddress.IPv4Address(text.decode()).packed,
    "inet6": lambda text: ipaddress.IPv6Address(text.decode()).packed,
}
