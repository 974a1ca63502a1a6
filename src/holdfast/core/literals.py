"""Values as people write and read them, and their canonical bytes.

* A value is written as its type has it: `42`, `-1.5`, `true`, `2026-03-01T09:00Z`, `0x00ff` for bytes, the hexadecimal
  form for a UUID, `'quoted text'` with a quote doubled, or a bare word.
* Whole numbers in a date or time column are days or microseconds since 1970 (since midnight for a time of day), which
  also writes what no calendar shows. A moment without a zone means UTC.
* In a mixed column a bare value is an integer if it reads as one, else a float, else bytes if it begins with 0x, else
  text; in quotes it is text; `date:2026-03-01` names any other type.

    >>> render(parse_mixed(Literal("042", is_quoted=True)))
    "'042'"
"""

from __future__ import annotations

import re
import struct
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from holdfast.core.canonical import decode, tagged_value
from holdfast.core.condition import NUMBER, Literal
from holdfast.core.records import TYPE_BY_TAG, TYPES

__all__ = ["NUMBER", "RANGES", "Literal", "parse_mixed", "parse_typed", "quoted", "render", "unquoted"]

_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
_WORD = re.compile(r"[^\s'\",=<>!:]+")
RANGES = {"int": (-(1 << 63), (1 << 63) - 1), "uint": (0, (1 << 64) - 1)}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = date(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)


def parse_typed(type_name: str, literal: Literal) -> bytes:
    """The tagged canonical bytes of a value of one type. Raises ValueError if the text is not of that type."""
    return tagged_value(type_name, _value(type_name, literal.text))


def parse_mixed(literal: Literal) -> bytes:
    """The tagged canonical bytes of a value in a mixed column. Raises ValueError if a named type does not fit."""
    if literal.is_quoted:
        return tagged_value("text", literal.text)
    named, colon, rest = literal.text.partition(":")
    if colon and named in TYPES:
        return parse_typed(named, Literal(unquoted(rest)))
    if _WHOLE.fullmatch(literal.text):
        for name, (low, high) in RANGES.items():
            if low <= int(literal.text) <= high:
                return tagged_value(name, int(literal.text))
    if literal.number is not None:
        return tagged_value("float", float(literal.text))
    if literal.text.startswith("0x"):
        return tagged_value("bytes", bytes.fromhex(literal.text[2:]))
    return tagged_value("text", literal.text)


def render(value: bytes, *, type_name: str | None = None) -> str:
    """A tagged value as text that `parse_typed` reads for a column of that type, `parse_mixed` without a type."""
    kind, text = TYPE_BY_TAG[value[0]].name, _text(value)
    if type_name is not None:
        assert type_name == kind, "a typed column holds values of its type"
        return quoted(text)
    if kind == "text":
        is_plain = _WORD.fullmatch(text) and not NUMBER.fullmatch(text) and not text.startswith("0x")
        return text if is_plain else _quote(text)
    if kind in ("int", "uint", "float", "bytes") and parse_mixed(Literal(text)) == value:
        return text
    return f"{kind}:{quoted(text)}"


def quoted(text: str) -> str:
    """The text as it is if it is a plain word, else in quotes."""
    return text if re.fullmatch(r"[^\s'\",=<>!]+", text) else _quote(text)


def unquoted(text: str) -> str:
    """The text without its quotes, if it has them at both ends."""
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    return text


def _quote(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _value(type_name: str, text: str) -> Any:
    """What Arrow makes a value of the type from. Raises ValueError."""
    match type_name:
        case "bool":
            if text.lower() not in ("true", "false", "1", "0"):
                raise ValueError(text)
            return text.lower() in ("true", "1")
        case "int" | "uint":
            return _whole(type_name, text)
        case "float" | "float32":
            return _float(type_name, text)
        case "bytes" | "rawtext":
            return bytes.fromhex(text[2:]) if text.startswith("0x") else text.encode()
        case "uuid":
            return UUID(text).bytes
        case "date" | "time" | "timestamp" | "timestamptz":
            return int(text) if _WHOLE.fullmatch(text) else _since(type_name, text)
        case _:
            return text


def _whole(type_name: str, text: str) -> int:
    low, high = RANGES[type_name]
    if not _WHOLE.fullmatch(text) or not low <= int(text) <= high:
        raise ValueError(text)
    return int(text)


def _float(type_name: str, text: str) -> float:
    if not NUMBER.fullmatch(text) and text.lower().lstrip("+-") not in ("inf", "nan"):
        raise ValueError(text)
    value = float(text)
    if type_name == "float32":
        try:
            struct.pack("<f", value)
        except OverflowError as error:
            raise ValueError(text) from error
    return value


def _since(type_name: str, text: str) -> int:
    """Days or microseconds since the start of the type's count."""
    if type_name == "date":
        return (date.fromisoformat(text) - _DAY).days
    if type_name == "time":
        at = time.fromisoformat(text)
        return ((at.hour * 60 + at.minute) * 60 + at.second) * 1_000_000 + at.microsecond
    moment = datetime.fromisoformat(text)
    if type_name == "timestamp" and moment.tzinfo is not None:
        raise ValueError(text)
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - _EPOCH) // _MICROSECOND


def _text(value: bytes) -> str:
    """The text of a tagged value; `parse_typed` reads it back, but for a decimal or text it is the value itself."""
    kind = TYPE_BY_TAG[value[0]].name
    match kind:
        case "bytes" | "rawtext":
            return "0x" + value[1:].hex()
        case "uuid":
            return str(UUID(bytes=value[1:]))
        case "date" | "time" | "timestamp" | "timestamptz":
            return _calendar(kind, int.from_bytes(value[1:], "big") - (1 << (8 * len(value) - 9)))
        case "bool":
            return "true" if decode(value)[1] else "false"
        case "float32":
            return _shortest(decode(value)[1])
        case _:
            return str(decode(value)[1])


def _calendar(kind: str, count: int) -> str:
    """The ISO form of a date or time, or the count itself where the calendar has none."""
    try:
        match kind:
            case "date":
                return (_DAY + timedelta(days=count)).isoformat()
            case "time":
                return (_EPOCH + count * _MICROSECOND).time().isoformat() if 0 <= count < 86_400_000_000 else str(count)
            case "timestamp":
                return (_EPOCH + count * _MICROSECOND).replace(tzinfo=None).isoformat()
            case _:
                return (_EPOCH + count * _MICROSECOND).isoformat().replace("+00:00", "Z")
    except OverflowError:
        return str(count)


def _shortest(value: float) -> str:
    """The fewest digits that name this 32-bit float."""
    for digits in range(6, 10):
        text = f"{value:.{digits}g}"
        if struct.pack("<f", float(text)) == struct.pack("<f", value):
            return text
    return str(value)
