"""Canonical bytes of values, keys and records, column by column in Arrow (docs/format.md, section 2).

* Equal values have equal bytes, whatever engine, batch or column type they came in.
* Fixed-width values are big-endian and order-preserving, so the order of key bytes is the order of values.
* A record's bytes leave NULLs out: a new column that is NULL everywhere changes no digest.
* A value longer than `LONG` bytes stands in its record as length and SHA-256, so records stay small.
"""

from __future__ import annotations

import array
import hashlib
import struct
import sys
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.records import MIXED, TYPE_BY_TAG, TYPES, CanonicalType, Column, Schema

__all__ = [
    "LONG",
    "decode",
    "digests_to_array",
    "key_bytes",
    "record_bytes",
    "row_digests",
    "slices",
    "tagged",
    "tagged_value",
    "untagged",
]

LONG = 1 << 20
_SIGN64 = -(1 << 63)
_SIGN32 = -(1 << 31)
_NAN64 = 0x7FF8_0000_0000_0000
_NAN32 = 0x7FC0_0000
_LONG_TAG = 0x80
_DAY = 86_400_000_000


def record_bytes(batch: pa.RecordBatch, schema: Schema) -> pa.Array:
    """The canonical bytes of each row: for each column by name that is not NULL, name, tag and value.

    Each part is `u32 length, name, tag, u32 length, value`, lengths little-endian. Names sort by UTF-8 bytes.
    """
    pieces: list[Any] = []
    for column in sorted(schema.columns, key=lambda c: c.name.encode()):
        values = batch.column(batch.schema.get_field_index(column.name))
        if values.null_count == len(values):
            continue
        pieces.extend(_field_pieces(column, values))
    if not pieces:
        return pa.array([b""] * batch.num_rows, pa.binary())
    return pc.binary_join_element_wise(*pieces, b"", null_handling="replace", null_replacement=b"")


def row_digests(batch: pa.RecordBatch, schema: Schema) -> pa.Array:
    """The SHA-256 of each row's canonical bytes, as 32-byte binary."""
    rows = record_bytes(batch, schema)
    if len(rows) == 0:
        return digests_to_array(b"")
    sha256, (body, offsets) = hashlib.sha256, _body(rows)
    return digests_to_array(b"".join([sha256(body[start:end]).digest() for start, end in pairwise(offsets)]))


def key_bytes(batch: pa.RecordBatch, schema: Schema) -> pa.Array:
    """The canonical key of each row: for each key column, the tag and the value in an order-preserving form.

    Values that vary in length have 00 written as 00 FF and end in 00, so that a shorter key sorts first.
    Key columns must not hold NULL, and the schema must have a key.
    """
    assert schema.key, "a multiset has no key bytes of its own"
    pieces: list[Any] = []
    for column in schema.key_columns:
        values = batch.column(batch.schema.get_field_index(column.name))
        assert values.null_count == 0, f"NULL in key column {column.name}"
        pieces.extend(_key_pieces(column, values))
    return pc.binary_join_element_wise(*pieces, b"")


def tagged(values: pa.Array, type_name: str) -> pa.Array:
    """A column of one type as a mixed column: tag byte and canonical bytes, NULL where it was NULL."""
    if type_name == MIXED:
        return values
    kind = TYPES[type_name]
    return pc.binary_join_element_wise(bytes([kind.tag]), _value_bytes(values, type_name), b"")


def tagged_value(type_name: str, value: Any) -> bytes:
    """One Python value as tag byte and canonical bytes."""
    return bytes(tagged(pa.array([value], TYPES[type_name].arrow), type_name)[0].as_py())


def untagged(values: pa.Array, type_name: str) -> pa.Array:
    """The other way round: tagged values, which must all be of that one type or NULL, as a column of it."""
    kind = TYPES[type_name]
    body = _without_tag(values)
    match type_name:
        case "bool":
            return pc.equal(body, pa.scalar(b"\x01", pa.binary()))
        case "int" | "time" | "timestamp" | "timestamptz":
            return pc.bit_wise_xor(_counts(body, pa.int64()), pa.scalar(_SIGN64, pa.int64())).view(kind.arrow)
        case "uint":
            return _counts(body, pa.int64()).view(kind.arrow)
        case "date":
            return pc.bit_wise_xor(_counts(body, pa.int32()), pa.scalar(_SIGN32, pa.int32())).view(kind.arrow)
        case "float":
            return _float_bits(_counts(body, pa.int64()), pa.int64(), _SIGN64).view(kind.arrow)
        case "float32":
            return _float_bits(_counts(body, pa.int32()), pa.int32(), _SIGN32).view(kind.arrow)
        case _:
            return body.cast(kind.arrow)


def decode(value: bytes) -> tuple[str, Any]:
    """The canonical type and the Python value of one tagged value.

    Dates and times come as Arrow gives them, or as their count of days or microseconds where Python has no such value
    (the year 10000, the time 24:00).
    """
    kind = TYPE_BY_TAG[value[0]]
    body = value[1:]
    match kind.name:
        case "bool":
            return kind.name, body == b"\x01"
        case "int":
            return kind.name, int.from_bytes(body, "big") + _SIGN64
        case "uint":
            return kind.name, int.from_bytes(body, "big")
        case "float" | "float32":
            return kind.name, _decode_float(body)
        case "bytes" | "rawtext" | "uuid":
            return kind.name, body
        case "date" | "time" | "timestamp" | "timestamptz":
            return kind.name, _decode_temporal(kind, int.from_bytes(body, "big") - (1 << (8 * len(body) - 1)))
        case _:
            return kind.name, body.decode()


def slices(values: pa.Array) -> list[bytes]:
    """Each value of a binary array as bytes, without the cost of a scalar each. NULL comes as b""."""
    if len(values) == 0:
        return []
    view, offsets = _body(values)
    body = view.tobytes()
    return [body[start:end] for start, end in pairwise(offsets)]


def digests_to_array(packed: bytes) -> pa.Array:
    """32-byte digests written one after the other, as an Arrow array of 32-byte binary."""
    return pa.Array.from_buffers(pa.binary(32), len(packed) // 32, [None, pa.py_buffer(packed)])


def _body(values: pa.Array) -> tuple[memoryview, list[int]]:
    """All values of a binary array (one at least) one after the other, and where each begins and the last ends."""
    offsets = memoryview(values.buffers()[1]).cast("i")[values.offset : values.offset + len(values) + 1].tolist()
    data, base = values.buffers()[2], offsets[0]
    if base:
        offsets = [offset - base for offset in offsets]
    return memoryview(b"" if data is None else data)[base : base + offsets[-1]], offsets


def _field_pieces(column: Column, values: pa.Array) -> list[Any]:
    """What stands in a record for the column, piece by piece: constants, and arrays that are NULL where the value is.

    Every piece costs, so what is the same in every row becomes one constant.
    """
    name = column.name.encode()
    head = struct.pack("<I", len(name)) + name
    pieces: list[Any]
    if column.type == MIXED:
        tags, body = pc.binary_slice(values, 0, 1), _without_tag(values)
        if _lengths_between(body)[1] > LONG:
            tags, body = _shorten(tags, body)
        pieces = [head, tags, _lengths(body), body]
    else:
        kind = TYPES[column.type]
        tag, body = bytes([kind.tag]), _value_bytes(values, column.type)
        shortest, longest = (kind.width, kind.width) if kind.width else _lengths_between(body)
        if longest > LONG:
            tags, body = _shorten(_where_valid(values, tag), body)
            pieces = [head, tags, _lengths(body), body]
        elif shortest == longest:
            pieces = [head + tag + struct.pack("<I", longest), body]
        else:
            pieces = [head + tag, _lengths(body), body]
    if values.null_count:
        pieces[0] = _where_valid(values, pieces[0])
    return pieces


def _where_valid(values: pa.Array, constant: bytes) -> pa.Array:
    """The constant for each value that is not NULL, else NULL."""
    return pc.if_else(values.is_valid(), pa.scalar(constant, pa.binary()), pa.scalar(None, pa.binary()))


def _key_pieces(column: Column, values: pa.Array) -> list[Any]:
    if column.type != MIXED:
        kind = TYPES[column.type]
        body = _value_bytes(values, column.type)
        return [bytes([kind.tag]), body] if kind.width else [bytes([kind.tag]), _escaped(body), b"\x00"]
    tags = pc.binary_slice(values, 0, 1)
    body = _without_tag(values)
    fixed = pa.array([bytes([k.tag]) for k in TYPES.values() if k.width], pa.binary())
    is_fixed = pc.is_in(tags, value_set=fixed)
    end = pc.if_else(is_fixed, pa.scalar(b"", pa.binary()), pa.scalar(b"\x00", pa.binary()))
    return [tags, pc.if_else(is_fixed, body, _escaped(body)), end]


def _without_tag(values: pa.Array) -> pa.Array:
    # Not binary_slice: it reserves the longest slice for every row and overflows on an open end.
    return pc.binary_replace_slice(values, start=0, stop=1, replacement=b"")


def _escaped(body: pa.Array) -> pa.Array:
    return pc.replace_substring(body, pattern=b"\x00", replacement=b"\x00\xff")


def _lengths(body: pa.Array) -> pa.Array:
    lengths = pc.binary_length(body)
    if sys.byteorder == "big":
        lengths = _swapped(lengths, "i", 4)
    return lengths.view(pa.binary(4)).cast(pa.binary())


def _lengths_between(body: pa.Array) -> tuple[int, int]:
    """The length of the shortest and of the longest value that is not NULL."""
    shortest, longest = pc.min_max(pc.binary_length(body)).values()
    return shortest.as_py() or 0, longest.as_py() or 0


def _shorten(tags: pa.Array, body: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Replace each value longer than LONG by tag | 0x80 and `u64 length, SHA-256`, lengths little-endian."""
    new_tags, new_body = [], []
    for tag, value in zip(tags, body, strict=True):
        raw = value.as_buffer() if value.is_valid else None
        if raw is None or raw.size <= LONG:
            new_tags.append(tag.as_py())
            new_body.append(None if raw is None else raw.to_pybytes())
        else:
            new_tags.append(bytes([tag.as_py()[0] | _LONG_TAG]))
            new_body.append(struct.pack("<Q", raw.size) + hashlib.sha256(raw).digest())
    return pa.array(new_tags, pa.binary()), pa.array(new_body, pa.binary())


def _value_bytes(values: pa.Array, type_name: str) -> pa.Array:
    """The canonical bytes of a column's values as an Arrow binary array; NULL stays NULL."""
    match type_name:
        case "bool":
            return pc.if_else(values, pa.scalar(b"\x01", pa.binary()), pa.scalar(b"\x00", pa.binary()))
        case "int" | "time" | "timestamp" | "timestamptz":
            return _big_endian(pc.bit_wise_xor(values.view(pa.int64()), pa.scalar(_SIGN64, pa.int64())), "q", 8)
        case "uint":
            return _big_endian(values.view(pa.int64()), "q", 8)
        case "date":
            return _big_endian(pc.bit_wise_xor(values.view(pa.int32()), pa.scalar(_SIGN32, pa.int32())), "i", 4)
        case "float":
            return _big_endian(_ordered_float(values, pa.int64(), _NAN64, _SIGN64), "q", 8)
        case "float32":
            return _big_endian(_ordered_float(values, pa.int32(), _NAN32, _SIGN32), "i", 4)
        case "bytes" | "rawtext":
            return values
        case _:
            return values.cast(pa.binary())


def _ordered_float(values: pa.Array, bits_type: pa.DataType, nan: int, sign: int) -> pa.Array:
    """IEEE bits in an order-preserving form: negatives inverted, others with the sign bit set; one NaN."""
    bits = pc.if_else(pc.is_nan(values), pa.scalar(nan, bits_type), values.view(bits_type))
    flipped = pc.bit_wise_xor(bits, pa.scalar(sign, bits_type))
    return pc.if_else(pc.less(bits, pa.scalar(0, bits_type)), pc.bit_wise_not(bits), flipped)


def _float_bits(ordered: pa.Array, bits_type: pa.DataType, sign: int) -> pa.Array:
    """What `_ordered_float` was made from: a set sign bit says that it was not negative."""
    positive = pc.bit_wise_xor(ordered, pa.scalar(sign, bits_type))
    return pc.if_else(pc.less(ordered, pa.scalar(0, bits_type)), positive, pc.bit_wise_not(ordered))


def _counts(body: pa.Array, bits_type: pa.DataType) -> pa.Array:
    """Big-endian bytes of one width as integers of this machine."""
    width = bits_type.bit_width // 8
    counts = body.cast(pa.binary(width)).view(bits_type)
    return _swapped(counts, "q" if width == 8 else "i", width) if sys.byteorder == "little" else counts


def _decode_temporal(kind: CanonicalType, count: int) -> Any:
    if kind.name == "time" and not 0 <= count < _DAY:
        return count  # Arrow would wrap around and give another time.
    try:
        return pa.scalar(count, pa.int32() if kind.name == "date" else pa.int64()).cast(kind.arrow).as_py()
    except OverflowError:
        return count


def _decode_float(body: bytes) -> float:
    width = len(body)
    raw = int.from_bytes(body, "big")
    top = 1 << (8 * width - 1)
    bits = raw ^ top if raw & top else ~raw & ((top << 1) - 1)
    return float(struct.unpack(">d" if width == 8 else ">f", bits.to_bytes(width, "big"))[0])


def _big_endian(values: pa.Array, code: str, width: int) -> pa.Array:
    fixed = _swapped(values, code, width) if sys.byteorder == "little" else values
    return fixed.view(pa.binary(width)).cast(pa.binary())


def _swapped(values: pa.Array, code: str, width: int) -> pa.Array:
    """The same array with every value's bytes reversed; validity is kept, null slots stay whatever they are."""
    words = array.array(code)
    assert words.itemsize == width
    data = values.buffers()[1]
    words.frombytes(memoryview(data)[values.offset * width : (values.offset + len(values)) * width])
    words.byteswap()
    validity = None
    if values.null_count:
        validity = pc.is_valid(values).buffers()[1]
    return pa.Array.from_buffers(values.type, len(values), [validity, pa.py_buffer(words)])
