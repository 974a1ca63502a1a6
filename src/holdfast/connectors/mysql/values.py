"""Where MariaDB's text and Arrow meet: each value in exactly one canonical form.

* Columns are read as `selected` says, and `decode` understands just that: an ENUM by its number, a SET and a BIT by
  their bits, a FLOAT with all of its digits. Text comes as the bytes that the column holds, in its character set.
* Columns are converted whole, in Arrow; each set of labels that occurs is spelled once.
* A value beyond its canonical type is a Misfit, never guessed: zero and impossible dates, times below 0 or beyond
  24:00, the error value of an ENUM, text without characters. `decode_mixed` keeps them as the server tells them.
"""

from __future__ import annotations

from binascii import Error as NotHex
from binascii import unhexlify
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.connectors.mysql.catalog import TableColumn
from holdfast.connectors.mysql.charsets import Charsets
from holdfast.connectors.mysql.connection import quoted
from holdfast.core.canonical import tagged
from holdfast.core.records import TYPES
from holdfast.errors import HoldfastError

__all__ = ["Misfit", "decode", "decode_mixed", "ordinary", "selected"]

_TEMPORAL = ("date", "time", "timestamp", "timestamptz")
_NUMBERS = ("int", "uint", "float", "float32")
_LEAP = "0[48]|[2468][048]|[13579][26]"
_DAY = (
    r"(?:\d{4}-(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|\d{4}-(?:0[469]|11)-(?:0[1-9]|[12]\d|30)"
    rf"|\d{{4}}-02-(?:0[1-9]|1\d|2[0-8])|(?:\d\d(?:{_LEAP})|(?:{_LEAP})00)-02-29)"
)
# What the server calls a date may have no month, no day, or a day that its month lacks.
_PLAIN = {
    "date": f"^{_DAY}$",
    "time": r"^([01]\d|2[0-3]):",
    "timestamp": f"^{_DAY} ",
    "timestamptz": f"^{_DAY} ",
}
_NO_YEAR = "0000-"
_MIDNIGHT = r"^24:00:00(\.0+)?$"
_MICROSECONDS = 86_400_000_000
_FIRST = {"date": -719_162, "timestamp": -62_135_596_800_000_000, "timestamptz": -62_135_596_800_000_000}
_UUID_WIDTH = 16


class Misfit(Exception):
    """A value is beyond its canonical type: the column is to be read as mixed."""


def selected(column: TableColumn) -> str:
    """What stands in a SELECT for the column, so that `decode` understands it."""
    name = quoted(column.name)
    if column.data_type in ("enum", "set", "bit"):
        return f"CAST({name} AS UNSIGNED)"
    # With digits declared the server rounds what it shows; a FLOAT it always rounds.
    if column.kind == "float32" or (column.kind == "float" and column.declared != "double"):
        return f"CAST({name} AS DOUBLE)"
    return name


def ordinary(column: TableColumn, charsets: Charsets) -> str:
    """SQL that is 0 for a value that is beyond the column's canonical type, or "" if there can be none."""
    name = quoted(column.name)
    match column.kind:
        case "date":
            return f"{name} IS NULL OR {name} + INTERVAL 0 DAY IS NOT NULL"
        case "timestamp":
            return f"{name} IS NULL OR {name} + INTERVAL 0 SECOND IS NOT NULL"
        case "timestamptz":
            return f"{name} IS NULL OR {name} <> 0"
        case "time":
            return f"{name} BETWEEN '00:00:00' AND '24:00:00'"
        case "text" if column.data_type == "enum":
            return f"CAST({name} AS UNSIGNED) <> 0"
        case "text" | "json" if column.data_type != "set":
            return _is_text(name, column.charset, charsets)
        case _:
            return ""


def decode(values: pa.Array, column: TableColumn, charsets: Charsets) -> pa.Array:
    """What the server sent for `selected(column)` (binary, NULL as null) as an array of `TYPES[column.kind].arrow`.

    Raises Misfit where a value is beyond the type.
    """
    if column.kind in _TEMPORAL:
        found = _counts(_plain(values), column.kind)
    elif column.data_type in ("enum", "set") and column.kind == "text":
        found = _labelled(values, column)
    elif column.kind in ("text", "json"):
        found = charsets.texts(values, column.charset)
    else:
        found = _simple(values, column)
    if found.null_count != values.null_count:
        raise Misfit(f"a {column.data_type} is beyond what the canonical type {column.kind} holds")
    return found


def decode_mixed(values: pa.Array, column: TableColumn, charsets: Charsets) -> pa.Array:
    """The same as tagged values of a mixed column.

    What is beyond the type keeps the server's text under the tag `source`; the error value of an ENUM is the integer 0;
    text without characters becomes `rawtext`.
    """
    if column.kind in _TEMPORAL:
        texts = _plain(values)
        return pc.coalesce(tagged(_counts(texts, column.kind), column.kind), tagged(texts, "source"))
    if column.data_type == "enum" and column.kind == "text":
        return pc.coalesce(tagged(_labelled(values, column), "text"), tagged(_numbers(values, column), "int"))
    if column.kind in ("text", "json") and column.data_type != "set":
        texts = charsets.texts(values, column.charset)
        return pc.coalesce(tagged(texts, column.kind), tagged(values, "rawtext"))
    return tagged(decode(values, column, charsets), column.kind)


def _is_text(name: str, charset: str, charsets: Charsets) -> str:
    """The server lets no other malformed text in than surrogates, which it takes for characters of UTF-8."""
    if charset in ("utf8mb4", "utf8mb3", "utf8"):
        text = f"CAST({name} AS BINARY)"
    elif charset in ("ucs2", "utf16", "utf16le", "utf32"):
        text = f"CAST(CONVERT({name} USING utf8mb4) AS BINARY)"
    elif charsets.is_whole(charset):
        return ""
    else:
        back = f"CONVERT(CONVERT({name} USING utf8mb4) USING {charset})"
        return f"{name} IS NULL OR CAST({back} AS BINARY) = CAST({name} AS BINARY)"
    # The first search costs next to nothing, and nearly always is all.
    return f"{name} IS NULL OR INSTR({text}, x'ED') = 0 OR {text} NOT RLIKE _binary'\\\\xED[\\\\xA0-\\\\xBF]'"


def _plain(values: pa.Array) -> pa.Array:
    """What holds no characters but ASCII's, as strings."""
    try:
        return values.cast(pa.string())
    except pa.ArrowInvalid as error:
        raise HoldfastError("MariaDB wrote bytes where a number or a date was expected") from error


def _counts(texts: pa.Array, kind: str) -> pa.Array:
    """Days or microseconds as the kind's Arrow type; null where NULL, or beyond the kind."""
    try:
        found = _parsed(texts, kind)
    except pa.ArrowInvalid:
        pass
    else:
        if kind == "time" or (pc.min(found.view(_bits(kind))).as_py() or 0) >= _FIRST[kind]:
            return found
    plain = pc.match_substring_regex(texts, pattern=_PLAIN[kind])
    if kind != "time":
        plain = pc.and_(plain, pc.invert(pc.starts_with(texts, pattern=_NO_YEAR)))
    found = _parsed(pc.if_else(plain, texts, pa.scalar(None, pa.string())), kind)
    if kind == "time":
        midnight = pc.match_substring_regex(texts, pattern=_MIDNIGHT)
        day = pa.scalar(_MICROSECONDS, pa.int64())
        return pc.if_else(midnight, day, found.view(pa.int64())).view(TYPES[kind].arrow)
    return found


def _parsed(texts: pa.Array, kind: str) -> pa.Array:
    """What Arrow reads by itself: years 0 to 9999, times before 24:00. Raises ArrowInvalid for all else."""
    if kind == "date":
        return texts.cast(pa.date32())
    if kind == "time":
        texts = pc.binary_join_element_wise("1970-01-01", texts, " ")
    return texts.cast(pa.timestamp("us")).view(pa.int64()).view(TYPES[kind].arrow)


def _bits(kind: str) -> pa.DataType:
    return pa.int32() if kind == "date" else pa.int64()


def _numbers(values: pa.Array, column: TableColumn) -> pa.Array:
    kind = column.kind if column.kind in _NUMBERS else "uint" if column.data_type == "set" else "int"
    try:
        if kind == "float32":
            # As a DOUBLE it has all the digits that it needs; the nearest FLOAT of fewer digits may be another.
            return _plain(values).cast(pa.float64()).cast(pa.float32())
        return _plain(values).cast(TYPES[kind].arrow)
    except pa.ArrowInvalid as error:
        raise HoldfastError(f"column {column.name}: MariaDB wrote a {column.data_type} that can't be read") from error


def _labelled(values: pa.Array, column: TableColumn) -> pa.Array:
    """The label of each number of an ENUM, null for its error value; the labels of each set of bits of a SET."""
    numbers = _numbers(values, column).dictionary_encode()
    spell = _label if column.data_type == "enum" else _joined
    texts = [spell(number, column.labels) for number in numbers.dictionary.to_pylist()]
    return pa.array(texts, pa.string()).take(numbers.indices)


def _label(number: int, labels: Sequence[str]) -> str | None:
    return labels[number - 1] if number else None


def _joined(bits: int, labels: Sequence[str]) -> str:
    return ",".join(label for place, label in enumerate(labels) if bits >> place & 1)


def _simple(values: pa.Array, column: TableColumn) -> pa.Array:
    match column.kind:
        case "bytes":
            return values
        case "uuid":
            return _uuids(_plain(values))
        case "decimal" if "zerofill" in column.declared:
            return pc.replace_substring_regex(_plain(values), pattern=r"^0+(\d)", replacement=r"\1")
        case "decimal" | "source":
            return _plain(values)
        case _:
            return _numbers(values, column)


def _uuids(texts: pa.Array) -> pa.Array:
    digits = pc.fill_null(pc.replace_substring(texts, pattern="-", replacement=""), "0" * 2 * _UUID_WIDTH)
    try:
        body = unhexlify("".join(digits.to_pylist()))
    except NotHex as error:
        raise HoldfastError("MariaDB wrote a uuid that can't be read") from error
    validity = pc.is_valid(texts).buffers()[1] if texts.null_count else None
    if len(body) != _UUID_WIDTH * len(texts):
        raise HoldfastError("MariaDB wrote a uuid that can't be read")
    return pa.Array.from_buffers(pa.binary(_UUID_WIDTH), len(texts), [validity, pa.py_buffer(body)])
