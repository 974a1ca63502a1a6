"""How values of canonical types lie in the stand-in's copy, so that SQLite orders and compares them as their type does.

* Moments are counts of microseconds, dates of days; a UUID is its 16 bytes.
* What SQLite's own numbers can't hold is text that stands after them: a whole number from 2^63 on, and NaN.
* A decimal is the source's own text, beside which bytes lie that are ordered as its value is (`decimal_order`).

>>> asked("int", "42"), asked("bool", "true"), asked("decimal", "1.50") == decimal_order("1.5")
(42, 1, True)
"""

from __future__ import annotations

import math
import re
import struct
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from uuid import UUID

__all__ = ["COMPARED", "EPOCH", "NUMBER", "ORDERED", "Stored", "asked", "decimal_order", "stored_whole"]

Stored = int | float | str | bytes | None
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,4})?", re.ASCII)
# Types by whose values records can be asked for: of the others two platforms compare differently.
COMPARED = frozenset(
    {"bool", "int", "uint", "float", "float32", "decimal", "text", "source"}
    | {"date", "time", "timestamp", "timestamptz", "uuid"}
)
# A column of several types is SQLite's: it stands in the copy as it did there, and so in the same order.
ORDERED = COMPARED | {"mixed"}
_WHOLE = re.compile(r"-?(0|[1-9][0-9]*)", re.ASCII)
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
_DATE = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?"
# Other forms of ISO 8601, and digits beyond a microsecond, one platform takes and the next one not.
_MOMENTS = {
    "date": re.compile(_DATE, re.ASCII),
    "time": re.compile(_TIME, re.ASCII),
    "timestamp": re.compile(f"{_DATE}[T ]{_TIME}|{_DATE}", re.ASCII),
    "timestamptz": re.compile(f"{_DATE}[T ]{_TIME}(Z|[+-][0-9]{{2}}:[0-9]{{2}})", re.ASCII),
}
_DAY = date(1970, 1, 1)
_MICROSECOND = timedelta(microseconds=1)
_SIGNED_MAX = (1 << 63) - 1
_TRUTHS = {"true": 1, "false": 0, "1": 1, "0": 0}
_EXPONENT = 1 << 31


def stored_whole(value: int) -> int | str:
    """A whole number: from 2^63 on as text of 20 digits, which stands after all numbers and in their order."""
    return value if value <= _SIGNED_MAX else f"{value:020d}"


def decimal_order(text: str) -> bytes | None:
    """Bytes that are ordered as the values of decimals are, and equal where these are; NaN comes last. None for a text
    that is no number, and so compares to none.
    """
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    if value.is_nan():
        return b"\x04"
    if value.is_infinite():
        return b"\x03\xff" if value > 0 else b"\x00\x00"
    if not value:
        return b"\x02"
    digits = "".join(map(str, value.as_tuple().digits)).lstrip("0").rstrip("0").encode()
    size = (value.adjusted() + _EXPONENT).to_bytes(4, "big") + digits
    if value > 0:
        return b"\x03" + size
    # Below zero the larger number is the smaller one, and the shorter one the larger: hence the end mark.
    return b"\x01" + bytes(255 - each for each in size) + b"\xff"


def asked(kind: str, text: str) -> Stored:
    """A value of a type as a request writes it, as it is compared. Raises ValueError: it may mean something else."""
    match kind:
        case "int" | "uint":
            return _whole(kind, text)
        case "bool":
            if text not in _TRUTHS:
                raise ValueError(text)
            return _TRUTHS[text]
        case "float" | "float32" | "decimal" if NUMBER.fullmatch(text):
            if kind == "decimal":
                return decimal_order(text)
            value = float(text) if kind == "float" else struct.unpack("<f", struct.pack("<f", float(text)))[0]
            if math.isinf(value):
                raise ValueError(text)
            return float(value)
        case "text" | "source":
            return text
        case "uuid" if _UUID.fullmatch(text):
            return UUID(text).bytes
        case "date" | "time" | "timestamp" | "timestamptz":
            return _moment(kind, text)
    raise ValueError(text)


def _whole(kind: str, text: str) -> int | str:
    if not _WHOLE.fullmatch(text) or len(text) > 20:
        raise ValueError(text)
    low, high = (-_SIGNED_MAX - 1, _SIGNED_MAX) if kind == "int" else (0, 2 * _SIGNED_MAX + 1)
    if not low <= int(text) <= high:
        raise ValueError(text)
    return stored_whole(int(text))


def _moment(kind: str, text: str) -> int:
    if not _MOMENTS[kind].fullmatch(text):
        raise ValueError(text)
    if kind == "date":
        return (date.fromisoformat(text) - _DAY).days
    if kind == "time":
        at = time.fromisoformat(text)
        if at.tzinfo is not None:
            raise ValueError(text)
        return ((at.hour * 60 + at.minute) * 60 + at.second) * 1_000_000 + at.microsecond
    moment = datetime.fromisoformat(text)
    # A zone too many, or one too few: which moment is meant the platform knows, we don't.
    if (moment.tzinfo is None) != (kind == "timestamp"):
        raise ValueError(text)
    return (moment.replace(tzinfo=moment.tzinfo or UTC) - EPOCH) // _MICROSECOND
