"""Bodies of binlog events, each taken apart by the layout that MariaDB and MySQL document for it.

Every function takes the whole event (`data`) and where its body ends (`end`: before the checksum). Bytes that are too
short raise struct.error, IndexError or ValueError, for `events` to name as damage.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

__all__ = [
    "HEADER",
    "Description",
    "Field",
    "Gtid",
    "Query",
    "TableMap",
    "description",
    "gtid",
    "inflated",
    "lenenc",
    "query",
    "table_map",
]

HEADER = 19

# Types of columns as they stand in a table map.
_STRING, _ENUM, _SET = 254, 247, 248
_METADATA_BYTES = {
    **dict.fromkeys((4, 5, 17, 18, 19, 242, 245, 249, 250, 251, 252, 255, 140), 1),
    **dict.fromkeys((0x0F, 16, 246, 247, 248, 253, 254, 141), 2),
}
_CHECKSUMS = (0, 1)  # none, CRC32


@dataclass(frozen=True, slots=True)
class Description:
    """A format description event: what wrote the file, and how long the fixed part of each kind of event is."""

    version: str
    fixed: bytes
    has_checksums: bool


@dataclass(slots=True)
class Gtid:
    """The event that begins a transaction: its name among all servers, its time, and what kind of transaction it is.

    `at` is in microseconds since 1970. `is_alone`: it has no end of its own, it is its one statement.
    """

    name: str
    at: int
    is_alone: bool = False
    prepares: bytes = b""
    settles: bytes = b""


@dataclass(frozen=True, slots=True)
class Query:
    """A statement as the server ran it, in the character set of this number."""

    schema: bytes
    text: bytes
    charset: int
    error: int


@dataclass(frozen=True, slots=True)
class Field:
    """A column as its values are packed: the type with its metadata, as MariaDB numbers them."""

    type: int
    meta: int
    is_nullable: bool


@dataclass(frozen=True, slots=True, eq=False)
class TableMap:
    """A table as it was when rows of it changed. Equal maps are the same object as long as a file lasts.

    `names` are those of its columns, if the server tells them (binlog_row_metadata = FULL).
    """

    id: int
    schema: str
    name: str
    fields: tuple[Field, ...]
    names: tuple[str, ...] = ()


def description(data: bytes) -> Description:
    """A format description. Its last five bytes say which checksum all events of the file have, and are its own."""
    version, header = struct.unpack_from("<H50s4xB", data, HEADER)[:2], data[HEADER + 56]
    if version[0] != 4 or header != HEADER:
        raise ValueError(f"binlog format {version[0]}")
    fixed = data[HEADER + 57 : -5]
    if data[-5] not in _CHECKSUMS:
        raise ValueError(f"checksum algorithm {data[-5]}")
    return Description(version[1].rstrip(b"\0").decode(), fixed, data[-5] == 1)


def gtid(data: bytes, end: int) -> Gtid:
    """A GTID event: MariaDB's domain-server-sequence, or MySQL's, an anonymous one too."""
    return _mariadb_gtid(data) if data[4] == _MARIADB else _mysql_gtid(data, end)


def _mariadb_gtid(data: bytes) -> Gtid:
    """With the name of an XA transaction where there is one."""
    time, server, number, domain, flags = _GTID.unpack_from(data)
    found = Gtid(f"{domain}-{server}-{number}", time * 1_000_000)
    if flags & _UNUSUAL:
        found.is_alone = bool(flags & (_STANDALONE | _COMPLETED))
        if flags & (_PREPARED | _COMPLETED):
            at = HEADER + (21 if flags & _GROUP_COMMIT else 13)
            _, name, branch = struct.unpack_from("<IBB", data, at)
            xid = data[at : at + 6 + name + branch]
            found.prepares, found.settles = (xid, b"") if flags & _PREPARED else (b"", xid)
    return found


_MARIADB = 162
_GTID = struct.Struct("<I x I 8x 2x Q I B")  # its time, its server's id, and after the header number, domain and flags
_STANDALONE, _GROUP_COMMIT, _PREPARED, _COMPLETED = 1, 2, 64, 128
_UNUSUAL = _STANDALONE | _PREPARED | _COMPLETED


def _mysql_gtid(data: bytes, end: int) -> Gtid:
    """Its flags don't say where the transaction ends."""
    _, source, number = struct.unpack_from("<B16sQ", data, HEADER)
    digits = source.hex()
    name = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}:{number}" if number else ""
    at = HEADER + 25
    if end >= at + 24 and data[at] == 2:
        return Gtid(name, int.from_bytes(data[at + 17 : at + 24], "little") & ((1 << 55) - 1))
    return Gtid(name, struct.unpack_from("<I", data)[0] * 1_000_000)


def query(data: bytes, end: int, extra: int = 0) -> Query:
    """A query event; `extra` bytes of its fixed part belong to a LOAD DATA."""
    schema_length, error, vars_length = struct.unpack_from("<BHH", data, HEADER + 8)
    at = HEADER + 13 + extra
    charset = _charset(data[at : at + vars_length])
    at += vars_length
    schema = data[at : at + schema_length]
    at += schema_length + 1
    if at > end:
        raise ValueError("a query beyond its event")
    return Query(schema, data[at:end], charset, error)


def inflated(data: bytes, at: int, end: int) -> bytes:
    """What MariaDB compressed in an event: one byte says how and how long the length is, then length and bytes."""
    mark = data[at]
    if not mark & 0x80 or mark & 0x70:
        raise ValueError(f"compressed in an unknown way ({mark})")
    start = at + 1 + (mark & 0x07)
    length = int.from_bytes(data[at + 1 : start], "big")
    if length > INFLATED_BYTES_MAX:
        raise ValueError(f"compressed from {length:,} bytes")
    engine = zlib.decompressobj()
    body = engine.decompress(data[start:end], length) if length else b""
    if len(body) != length:
        raise ValueError("compressed bytes that are cut")
    return body


INFLATED_BYTES_MAX = 256 << 20


def table_map(data: bytes, at: int, end: int) -> TableMap:
    """A table map, from its table's number at `at`, with the names of its columns if it has them."""
    number = int.from_bytes(data[at : at + 6], "little")
    schema, at = _name(data, at + 8)
    name, at = _name(data, at)
    count, at = lenenc(data, at)
    types = data[at : at + count]
    at += count
    length, at = lenenc(data, at)
    nulls_at = at + length
    nulls = data[nulls_at : nulls_at + (count + 7) // 8]
    if len(types) != count or len(nulls) != (count + 7) // 8 or nulls_at + len(nulls) > end:
        raise ValueError("a table map that is cut")
    fields = []
    for index, kind in enumerate(types):
        width = _METADATA_BYTES.get(kind, 0)
        meta = data[at : at + width]
        at += width
        fields.append(_field(kind, meta, bool(nulls[index >> 3] >> (index & 7) & 1)))
    if at != nulls_at:
        raise ValueError("metadata of columns that are unknown")
    names = _names(data, nulls_at + len(nulls), end)
    if names and len(names) != count:
        raise ValueError("names of other columns than there are")
    return TableMap(number, schema, name, tuple(fields), names)


def _names(data: bytes, at: int, end: int) -> tuple[str, ...]:
    """What follows in a table map are parts of a kind and a length; of these only names matter."""
    while at < end:
        kind = data[at]
        length, at = lenenc(data, at + 1)
        if kind == _COLUMN_NAMES:
            found = []
            end = at + length
            while at < end:
                width, at = lenenc(data, at)
                found.append(data[at : at + width].decode())
                at += width
            return tuple(found)
        at += length
    return ()


_COLUMN_NAMES = 4


def lenenc(data: bytes, at: int) -> tuple[int, int]:
    """A length-encoded integer, and where it ended."""
    first = data[at]
    if first < 0xFB:
        return first, at + 1
    width = {0xFC: 2, 0xFD: 3, 0xFE: 8}.get(first)
    if width is None or at + 1 + width > len(data):
        raise ValueError("a length that is cut")
    return int.from_bytes(data[at + 1 : at + 1 + width], "little"), at + 1 + width


def _field(kind: int, meta: bytes, is_nullable: bool) -> Field:
    if kind != _STRING:
        # Precision and scale of a decimal are two bytes in this order; all other metadata are one little-endian number.
        return Field(kind, int.from_bytes(meta, "big" if kind == _DECIMAL else "little"), is_nullable)
    real, length = meta
    if real & 0x30 != 0x30:
        # Lengths beyond 255 bytes: their upper two bits stand, inverted, in the type.
        return Field(real | 0x30, length | ((real & 0x30) ^ 0x30) << 4, is_nullable)
    return Field(real, length, is_nullable)


_DECIMAL = 246


def _name(data: bytes, at: int) -> tuple[str, int]:
    end = at + 1 + data[at]
    if data[end] != 0:
        raise ValueError("a name that does not end")
    return data[at + 1 : end].decode(), end + 1


def _charset(variables: bytes) -> int:
    """The number of the character set that a statement is in; 0 if it is not told."""
    at = 0
    while at < len(variables):
        code = variables[at]
        at += 1
        if code == 4:
            (charset,) = struct.unpack_from("<H", variables, at)
            return int(charset)
        if code in _SESSION_WIDTHS:
            at += _SESSION_WIDTHS[code]
        elif code in (2, 5, 6):
            at += 1 + variables[at] + (code == 2)
        else:
            break  # What comes after has nothing for us.
    return 0


_SESSION_WIDTHS = {0: 4, 1: 8, 3: 4}
