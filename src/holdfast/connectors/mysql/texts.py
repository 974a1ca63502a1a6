"""Canonical values back into text that MariaDB reads: the inverse of `values`.

* The text is read as bytes, and bytes go into a column as they are. Where that is not what the value means, a SET
  clause says what is: numbers of labels and bits, and text in another character set than the UTF-8 that is sent.
* The labels of an ENUM or SET go in by their numbers: a label is never sought by a collation, or taken for a number.
"""

from __future__ import annotations

from binascii import hexlify
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.connectors.mysql.catalog import TableColumn
from holdfast.connectors.mysql.connection import RuleBroken
from holdfast.core.canonical import decode, untagged
from holdfast.core.records import MIXED, TYPE_BY_TAG, Column

__all__ = ["NO_LABEL", "assigned", "encode"]

# The error value of an ENUM, which the server takes in with a warning only.
NO_LABEL = b"0"
_UTF8 = ("utf8mb4", "utf8mb3", "utf8")
_DAY = 86_400_000_000
_MIDNIGHT = b"24:00:00.000000"
_RAW, _TEXT = b"r", b"t"
_DASHES = (slice(0, 8), slice(8, 12), slice(12, 16), slice(16, 20), slice(20, 32))


def encode(values: pa.Array, column: Column, target: TableColumn) -> pa.Array:
    """Canonical values of *column* as the bytes that `assigned` turns into values of *target*; NULL as null.

    Raises RuleBroken, naming column and value, for a label that the target's column does not have.
    """
    if target.data_type in ("enum", "set") and column.type != "uint":
        return _numbered(values, column, target)
    if column.type == MIXED:
        return _mixed(values, target)
    return _encoded(values, column.type, target)


def assigned(column: Column, target: TableColumn, value: str) -> str:
    """The SQL that makes a value of *target* of an encoded one, itself *value* in SQL; "" where it is one already."""
    if target.data_type in ("bit", "enum", "set"):
        return f"CAST({value} AS UNSIGNED)"
    if target.data_type in ("uuid", "inet4", "inet6"):
        return f"CONVERT({value} USING ascii)"
    if not target.charset or target.charset in _UTF8:
        return ""
    if column.type == MIXED:
        text = f"CONVERT(CONVERT(SUBSTR({value}, 2) USING utf8mb4) USING {target.charset})"
        return f"IF(LEFT({value}, 1) = '{_RAW.decode()}', SUBSTR({value}, 2), {text})"
    return f"CONVERT({value} USING utf8mb4)"


def _mixed(values: pa.Array, target: TableColumn) -> pa.Array:
    """Each tag's values by themselves; where the server has to convert text, a sign says what is text."""
    is_signed = bool(target.charset) and target.charset not in _UTF8
    tags = pc.binary_slice(values, 0, 1)
    found = pa.nulls(len(values), pa.binary())
    for tag in pc.unique(tags.drop_null()).to_pylist():
        chosen = pc.fill_null(pc.equal(tags, tag), False)
        kind = TYPE_BY_TAG[tag[0]].name
        texts = _encoded(untagged(values.filter(chosen), kind), kind, target)
        if is_signed:
            texts = pc.binary_join_element_wise(_RAW if kind == "rawtext" else _TEXT, texts, b"")
        found = pc.replace_with_mask(found, chosen, texts)
    return found


def _encoded(values: pa.Array, kind: str, target: TableColumn) -> pa.Array:
    match kind:
        case "bool":
            return pc.if_else(values, b"1", b"0")
        case "float32":
            # All digits of the double that it is: the nearest FLOAT of fewer digits may be another.
            return values.cast(pa.float64()).cast(pa.string()).cast(pa.binary())
        case "int" if target.data_type == "year":
            # The server takes 0 for the year 2000.
            return pc.ascii_lpad(values.cast(pa.string()), width=4, padding="0").cast(pa.binary())
        case "int" | "uint" | "float":
            return values.cast(pa.string()).cast(pa.binary())
        case "date" | "time" | "timestamp" | "timestamptz":
            return _moments(values, kind)
        case "uuid" if target.data_type not in ("binary", "varbinary"):
            return _uuids(values.cast(pa.binary()))
        case _:
            return values.cast(pa.binary())


def _numbered(values: pa.Array, column: Column, target: TableColumn) -> pa.Array:
    """The number of each label of an ENUM, the bits of each set of labels; each that occurs is looked up once."""
    known = {label: number for number, label in reversed([*enumerate(target.labels, 1)])}
    number = _label_number if target.data_type == "enum" else _label_bits
    found = values.dictionary_encode()
    meant = [decode(each)[1] if column.type == MIXED else each for each in found.dictionary.to_pylist()]
    try:
        numbers = [str(each if isinstance(each, int) else number(each, known)).encode() for each in meant]
    except KeyError as error:
        raise RuleBroken(
            f"column {target.name}: it has no label {error.args[0]!r} now; nothing was written",
            hint="the database has a rule now that these records break: restore to a new place",
        ) from None
    return pa.array(numbers, pa.binary()).take(found.indices)


def _label_number(label: str, known: Mapping[str, int]) -> int:
    return known[label]


def _label_bits(labels: str, known: Mapping[str, int]) -> int:
    return sum(1 << (known[each] - 1) for each in labels.split(",")) if labels else 0


def _moments(values: pa.Array, kind: str) -> pa.Array:
    """Arrow writes them all but the end of a day."""
    if kind == "date":
        return values.cast(pa.string()).cast(pa.binary())
    counts = values.view(pa.int64())
    if kind != "time":
        return counts.view(pa.timestamp("us")).cast(pa.string()).cast(pa.binary())
    is_end = pc.equal(counts, _DAY)
    usual = pc.if_else(is_end, pa.scalar(None, pa.int64()), counts)
    texts = pc.utf8_slice_codeunits(usual.view(pa.timestamp("us")).cast(pa.string()), 11).cast(pa.binary())
    return pc.if_else(is_end, _MIDNIGHT, texts)


def _uuids(values: pa.Array) -> pa.Array:
    """With dashes: as bytes the server would take in even those that it can't hold, and alter them."""
    return pa.array([None if each is None else _dashed(hexlify(each)) for each in values.to_pylist()], pa.binary())


def _dashed(digits: bytes) -> bytes:
    return b"-".join(digits[part] for part in _DASHES)
