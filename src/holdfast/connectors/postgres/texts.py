"""Canonical values back into the text that PostgreSQL reads: the inverse of `values`."""

from __future__ import annotations

import array
import sys
from binascii import hexlify

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.connectors.postgres.moments import written_count
from holdfast.core.canonical import decode
from holdfast.core.records import MIXED, TYPE_BY_TAG, TYPES, Column
from holdfast.errors import Unsupported

__all__ = ["encode"]

_DAY = 86_400_000_000
_FIRST_DAY, _LAST_DAY = -719_162, 2_932_896  # 0001-01-01 and 9999-12-31
_COUNTED = {"int": "q", "date": "i", "time": "q", "timestamp": "q", "timestamptz": "q"}


def encode(values: pa.Array, column: Column) -> pa.Array:
    """Canonical values of *column* as PostgreSQL's input text, NULL as null.

    Raises Unsupported, naming the column, for text that is valid in no encoding PostgreSQL could be told.
    """
    if column.type != MIXED:
        return _encoded(values, column.type, column.name)
    tags = pc.binary_slice(values, 0, 1)
    found = pa.nulls(len(values), pa.string())
    for tag in pc.unique(tags.drop_null()).to_pylist():
        chosen = pc.fill_null(pc.equal(tags, tag), False)
        texts = _from_tagged(values.filter(chosen), TYPE_BY_TAG[tag[0]].name, column.name)
        found = pc.replace_with_mask(found, chosen, texts)
    return found


def _encoded(values: pa.Array, kind: str, column: str) -> pa.Array:
    match kind:
        case "bool":
            return pc.if_else(values, "t", "f")
        case "int" | "uint" | "float" | "float32":
            return values.cast(pa.string())
        case "date" | "time" | "timestamp" | "timestamptz":
            return _moments(values, kind)
        case "bytes":
            return pc.binary_join_element_wise("\\x", _hexed(values), "")
        case "uuid":
            return _hexed(values.cast(pa.binary()))
        case "rawtext":
            raise Unsupported(
                f"column {column} has text that is not valid in its encoding, which this database can't hold",
                hint="export it instead: holdfast export",
            )
        case _:
            return values


def _from_tagged(values: pa.Array, kind: str, column: str) -> pa.Array:
    """The texts of tagged values that all have one type and are not NULL."""
    body = pc.binary_replace_slice(values, start=0, stop=1, replacement=b"")
    if kind in _COUNTED:
        return _encoded(_counts(body, _COUNTED[kind]).view(TYPES[kind].arrow), kind, column)
    if kind in ("bytes", "uuid", "rawtext"):
        return _encoded(body, kind, column)
    if kind in ("decimal", "text", "json", "source"):
        return body.cast(pa.string())
    plain = pa.array([decode(value)[1] for value in values.to_pylist()], TYPES[kind].arrow)
    return _encoded(plain, kind, column)


def _counts(body: pa.Array, code: str) -> pa.Array:
    """Canonical bytes (big-endian, the sign bit turned) of values that are not NULL, as integers."""
    words = array.array(code)
    ends = pa.Array.from_buffers(pa.int32(), len(body) + 1, [None, body.buffers()[1]], offset=body.offset)
    words.frombytes(memoryview(body.buffers()[2])[ends[0].as_py() : ends[-1].as_py()])
    if sys.byteorder == "little":
        words.byteswap()
    arrow = pa.int64() if code == "q" else pa.int32()
    found = pa.Array.from_buffers(arrow, len(words), [None, pa.py_buffer(words)])
    return pc.bit_wise_xor(found, pa.scalar(-(1 << (8 * words.itemsize - 1)), arrow))


def _moments(values: pa.Array, kind: str) -> pa.Array:
    """Arrow writes the years 1 to 9999 and times before 24:00; the rest is written one by one."""
    counts = values.view(pa.int32() if kind == "date" else pa.int64())
    first, last = (0, 0) if kind == "time" else (_FIRST_DAY, _LAST_DAY)
    if kind != "date":
        first, last = first * _DAY, (last + 1) * _DAY - 1
    fits = pc.and_(pc.greater_equal(counts, first), pc.less_equal(counts, last))
    usual = pc.if_else(fits, counts, pa.scalar(None, counts.type))
    arrow = pa.date32() if kind == "date" else pa.timestamp("us")
    texts = usual.view(arrow).cast(pa.string())
    if kind == "time":
        texts = pc.utf8_slice_codeunits(texts, 11)
    elif kind == "timestamptz":
        texts = pc.binary_join_element_wise(texts, "+00", "")
    others = pc.fill_null(pc.invert(fits), False)
    if not pc.any(others).as_py():
        return texts
    return pc.replace_with_mask(
        texts, others, pa.array([written_count(each, kind) for each in counts.filter(others).to_pylist()], pa.string())
    )


def _hexed(values: pa.Array) -> pa.Array:
    """Binary values as hexadecimal digits: all of the array at once, and the offsets doubled."""
    if not len(values):
        return pa.array([], pa.string())
    _, offsets, data = values.buffers()
    ends = pa.Array.from_buffers(pa.int32(), len(values) + 1, [None, offsets], offset=values.offset)
    first, last = ends[0].as_py(), ends[-1].as_py()
    digits = b"" if data is None else hexlify(memoryview(data)[first:last])
    doubled = pc.shift_left(pc.subtract(ends, pa.scalar(first, pa.int32())), pa.scalar(1, pa.int32()))
    validity = pc.is_valid(values).buffers()[1] if values.null_count else None
    return pa.Array.from_buffers(pa.string(), len(values), [validity, doubled.buffers()[1], pa.py_buffer(digits)])
