"""How a value of the copy is shown: what each type becomes in JSON, and the formats that a template may name.

Formats: `text` and `number`; `bool` of 0 and 1; `iso`, `seconds`, `millis` and `%Y-%m-%d` of moments; `.2` for so many
digits after the point, `/100` for a hundredth; `json` for JSON kept as text; `base64` and `hex` of bytes; `empty` and
`zero` for what NULL becomes, `null` for what an empty text becomes; `after https://shop` for a text that comes before.
"""

from __future__ import annotations

import base64
import json
import re
import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal, Inexact, InvalidOperation
from json.encoder import encode_basestring
from typing import Any, NamedTuple
from uuid import UUID

from holdfast.core.stored import EPOCH, NUMBER

__all__ = ["RAW", "Format", "Mistake", "Untellable", "encoder", "format_of", "texter"]

RAW = "raw"  # JSON already
_NUMBERS = frozenset({"int", "uint", "float", "float32", "decimal", RAW})
_MOMENTS = frozenset({"date", "time", "timestamp", "timestamptz"})
_BYTES = frozenset({"bytes", "rawtext"})
_EXACT = re.compile(r"(-?)0*([0-9]+(\.[0-9]+)?)", re.ASCII)
_EXACTLY = Context(prec=1000, traps=[Inexact, InvalidOperation])
_DAY = date(1970, 1, 1)
_DAY_LONG = 86_400_000_000


class Mistake(ValueError):
    """A template that can't be used, and why."""


class Untellable(Exception):
    """A value that can't be shown exactly as the platform would."""


class Format(NamedTuple):
    """One step of showing a value, and what kind of value it makes."""

    kind: str
    take: Callable[[Any], Any]


def format_of(name: str, kind: str) -> Format:
    """The format of that name for values of a kind. Raises Mistake if there is none."""
    if name == "empty" and kind in _TEXTS:
        return Format(kind, lambda value: "" if value is None else value)
    if name == "null" and kind in _TEXTS:
        return Format(kind, lambda value: value or None)
    if name.startswith("after ") and kind in _TEXTS:
        return Format("text", _unless_null(lambda value: name.removeprefix("after ") + value))
    if name == "zero" and kind in _NUMBERS:
        zero = "0" if kind in ("decimal", RAW) else 0
        return Format(kind, lambda value: zero if value is None else value)
    if name.startswith("%") and kind in (*_MOMENTS, "text", "source"):
        return Format("text", _unless_null(lambda value: _moment(kind, value).strftime(name)))
    if re.fullmatch(r"\.[0-9]", name) and kind in _NUMBERS:
        return Format(RAW, _unless_null(lambda value: _rounded(kind, value, int(name[1:]))))
    if re.fullmatch(r"/10{1,9}", name) and kind in ("int", "uint", "decimal"):
        places = len(name) - 2
        return Format("decimal", _unless_null(lambda value: _divided(value, places)))
    found = _NAMED.get(name)
    if found is None and name not in ("empty", "null", "zero"):
        raise Mistake(f"there is no format {name!r}")
    if found is None or kind not in found[0]:
        raise Mistake(f"the format {name!r} is none for values of type {kind}")
    _, makes, take = found
    return Format(makes, _unless_null(lambda value: take(kind, value)))


def encoder(kind: str, name: str) -> Callable[[Any], str]:
    """What writes a value of a kind as JSON. Raises Mistake where a format must say how."""
    if kind in ("decimal", "timestamp", "timestamptz", *_BYTES):
        raise Mistake(f"{name!r} is of type {kind}: say how it is shown, such as {{{name}|{_USUAL[kind]}}}")
    show = _JSON[kind]
    return lambda value: "null" if value is None else show(value)


def texter(kind: str, name: str) -> Callable[[Any], str]:
    """What writes a value of a kind within a text of JSON. Raises Mistake where a format must say how."""
    show = encoder(kind, name)

    def within(value: Any) -> str:
        if value is None:
            raise Untellable(f"{name} is NULL, within a text")
        shown = show(value)
        if shown[:1] == '"':
            return shown[1:-1]
        if shown[:1] in "[{":
            raise Untellable(f"{name} is no plain value")
        return shown

    return within


def _unless_null(take: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else take(value)


def _float(value: Any) -> str:
    # NaN lies in the copy as text, and neither it nor an infinity has a form in JSON.
    if type(value) is not float or value - value != 0.0:
        raise Untellable(f"{value} is no number of JSON")
    return repr(value)


def _float32(value: Any) -> str:
    if type(value) is not float or value - value != 0.0:
        raise Untellable(f"{value} is no number of JSON")
    packed = struct.pack("<f", value)
    shown = next(text for digits in range(6, 10) if struct.pack("<f", float(text := f"{value:.{digits}g}")) == packed)
    return repr(float(shown))


def _bool(value: Any) -> str:
    return "true" if value else "false"


def _whole(value: Any) -> str:
    return str(int(value))


def _mixed(value: Any) -> str:
    match value:
        case str():
            return encode_basestring(value)
        case int():
            return str(value)
        case float():
            return _float(value)
    raise Untellable("bytes in a column of several types")


def _parsed(value: str) -> str:
    """JSON kept as text, as it is."""
    try:
        json.loads(value)
    except ValueError as err:
        raise Untellable(f"is not JSON: {err}") from err
    return value


def _moment(kind: str, value: Any) -> datetime:
    try:
        match kind:
            case "date":
                day = _DAY + timedelta(days=value)
                return datetime(day.year, day.month, day.day, tzinfo=UTC)
            case "text" | "source":
                return datetime.fromisoformat(value)
        return EPOCH + timedelta(microseconds=value)
    except (OverflowError, ValueError) as err:
        raise Untellable(f"{value!r} is in no calendar") from err


def _iso(kind: str, value: Any) -> str:
    moment = _moment(kind, value)
    if kind == "date":
        return moment.date().isoformat()
    if kind == "time":
        if not 0 <= value < _DAY_LONG:
            raise Untellable(f"{value} is no time of a day")
        return moment.time().isoformat()
    return moment.replace(tzinfo=None).isoformat() + ("Z" if kind == "timestamptz" else "")


def _number(_: str, value: Any) -> str:
    """A decimal with the digits the source has, as a number of JSON."""
    match = _EXACT.fullmatch(value)
    if match is not None:
        return match[1] + match[2]
    if not NUMBER.fullmatch(value):
        raise Untellable(f"{value} is no number of JSON")
    return str(value)


def _rounded(kind: str, value: Any, digits: int) -> str:
    # Where digits would have to go, platforms differ: 0.125 is 0.12 to one and 0.13 to the next.
    text = _JSON[kind](value) if type(value) is float else str(value)
    if not NUMBER.fullmatch(text):
        raise Untellable(f"{text} is no number of JSON")
    exact = Decimal(text)
    try:
        shown = exact.quantize(Decimal(1).scaleb(-digits), context=_EXACTLY)
    except ArithmeticError as err:
        raise Untellable(f"{text} has other digits than {digits} after the point") from err
    return f"{shown:f}"


def _divided(value: Any, places: int) -> str:
    try:
        return str(Decimal(value).scaleb(-places, context=_EXACTLY))
    except ArithmeticError as err:
        raise Untellable(f"{value} is no number, or one of too many digits") from err


def _truth(_: str, value: Any) -> int:
    if value not in (0, 1):
        raise Untellable(f"{value} is neither true nor false")
    return int(value)


def _as_text(kind: str, value: Any) -> str:
    shown = _JSON[kind](value) if kind in _JSON else str(value)
    return str(json.loads(shown)) if shown[:1] == '"' else shown


_JSON: dict[str, Callable[[Any], str]] = {
    "bool": _bool,
    "int": _whole,
    "uint": _whole,
    "float": _float,
    "float32": _float32,
    "text": encode_basestring,
    "source": encode_basestring,
    "date": lambda value: encode_basestring(_iso("date", value)),
    "time": lambda value: encode_basestring(_iso("time", value)),
    "uuid": lambda value: encode_basestring(str(UUID(bytes=value))),
    "json": _parsed,
    "mixed": _mixed,
    RAW: str,
}
_TEXTS = frozenset({"text", "source"})
_NAMED: dict[str, tuple[frozenset[str], str, Callable[[str, Any], Any]]] = {
    "text": (frozenset({*_NUMBERS, *_TEXTS, "bool", "date", "time", "uuid", "json", "mixed"}), "text", _as_text),
    "number": (frozenset({"decimal", *_TEXTS}), RAW, _number),
    "bool": (frozenset({"bool", "int", "uint"}), "bool", _truth),
    "iso": (_MOMENTS, "text", _iso),
    "seconds": (frozenset({"timestamp", "timestamptz"}), "int", lambda _, value: value // 1_000_000),
    "millis": (frozenset({"timestamp", "timestamptz"}), "int", lambda _, value: value // 1_000),
    "json": (frozenset({"json", *_TEXTS}), "json", lambda _, value: value),
    "base64": (_BYTES, "text", lambda _, value: base64.b64encode(value).decode()),
    "hex": (_BYTES, "text", lambda _, value: value.hex()),
}
_USUAL = {"decimal": "number", "timestamp": "iso", "timestamptz": "iso", "bytes": "base64", "rawtext": "base64"}
