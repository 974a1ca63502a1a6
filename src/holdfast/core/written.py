"""Values as text that any engine can hold, and back: dates and times in ISO 8601, numbers, uuids, mixed columns.

* One text for each value and one value for each text: what is read back is what was written, or Misfit is raised.
* Years 1 to 9999 have four digits, so that text sorts as time does; others have a sign and five digits or more
  (`+10000-01-01`; the year before 1 is `+00000`, then `-00001`).
* Fractions of a second end in no zero; a moment with a zone is written in UTC, as `2026-03-01 09:00:00+00:00`.
* Whole numbers are written in digits, others with a point or an exponent, in the fewest digits that tell them apart.
* Of a mixed column the types that people expect in it are written like that, text as it is, and every other value as
  `\\x` and its tagged canonical bytes in hexadecimal; so is what would read as something else, and text with a NUL.

    >>> moments_written(pa.array([0], pa.timestamp("us")), "timestamp").to_pylist()
    ['1970-01-01 00:00:00']
"""

from __future__ import annotations

import re
from binascii import Error as NotHex
from binascii import unhexlify
from collections.abc import Mapping, Sequence
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.canonical import tagged, untagged
from holdfast.core.records import TYPES

__all__ = [
    "MOMENTS",
    "Misfit",
    "clear_read",
    "clear_written",
    "mixed_read",
    "mixed_written",
    "moments_read",
    "moments_written",
    "numbers_read",
    "numbers_written",
    "uuids_read",
    "uuids_written",
]

MOMENTS = ("date", "time", "timestamp", "timestamptz")

_NUMBERS = ("int", "uint", "float", "float32")
_SECOND = 1_000_000
_DAY = 86_400 * _SECOND
_CYCLE_DAYS = 146_097  # 400 years
_EPOCH = date(1970, 1, 1).toordinal()
_FIRST, _LAST = 1 - _EPOCH, date.max.toordinal() - _EPOCH
_USUAL_COUNTS = {"date": (_FIRST, _LAST), "time": (0, _DAY - 1)}
_CLOCK = r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{0,5}[1-9])?"
_USUAL: Mapping[str, str] = {
    "date": r"^\d{4}-\d\d-\d\d$",
    "time": rf"^{_CLOCK}$",
    "timestamp": rf"^\d{{4}}-\d\d-\d\d {_CLOCK}$",
    "timestamptz": rf"^\d{{4}}-\d\d-\d\d {_CLOCK}\+00:00$",
}
# What can't be a day, such as 0000-00-00, is no date's text: it stays readable.
_YEAR = r"(?:000[1-9]|00[1-9]\d|0[1-9]\d\d|[1-9]\d{3}|[+-]\d{5,})"
_ANY_DAY = r"(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|02-(?:0[1-9]|[12]\d))"
_ANY_CLOCK = r"-?\d\d+:\d\d:\d\d(?:\.\d{1,6})?"
_SHAPES: Mapping[str, str] = {
    "date": rf"^{_YEAR}-{_ANY_DAY}$",
    "time": rf"^{_ANY_CLOCK}$",
    "timestamp": rf"^{_YEAR}-{_ANY_DAY} {_ANY_CLOCK}$",
    "timestamptz": rf"^{_YEAR}-{_ANY_DAY} {_ANY_CLOCK}\+00:00$",
    "int": r"^(?:0|-?[1-9]\d*)$",
    "float": r"^(?:-?(?:\d+\.\d+|\d+(?:\.\d+)?e[+-]?\d+|inf)|nan)$",
}
_DATE = re.compile(r"([+-]?\d+)-(\d\d)-(\d\d)", re.ASCII)
_TIME = re.compile(r"(-?)(\d+):(\d\d):(\d\d)(?:\.(\d{1,6}))?", re.ASCII)
_UTC = "+00:00"
_ESCAPE = "\\x"
_NUL = "\x00"
_NO_UUID = b"\x00" * 16


class Misfit(Exception):
    """What a target holds is not what any value is written as: somebody changed it."""


def moments_written(values: pa.Array, kind: str) -> pa.Array:
    """Dates or times of one type as text."""
    counts = values.view(_bits(kind))
    low, high = _usual_counts(kind)
    usual = pc.and_(pc.greater_equal(counts, low), pc.less_equal(counts, high))
    if pc.all(usual).as_py() is not False:
        return _usual_written(values, kind)
    texts = _usual_written(pc.if_else(usual, values, pa.scalar(None, values.type)), kind)
    unusual = pc.fill_null(pc.invert(usual), False)
    others = [_one_written(count, kind) for count in counts.filter(unusual).to_pylist()]
    return pc.replace_with_mask(texts, unusual, pa.array(others, pa.string()))


def moments_read(texts: pa.Array, kind: str) -> pa.Array:
    """What `moments_written` wrote. Raises Misfit for any other text."""
    usual = pc.match_substring_regex(texts, pattern=_USUAL[kind])
    unusual = pc.fill_null(pc.invert(usual), False)
    try:
        found = _usual_read(pc.if_else(usual, texts, pa.scalar(None, pa.string())), kind)
        others = [_one_read(text, kind) for text in texts.filter(unusual).to_pylist()]
    except (pa.ArrowInvalid, ValueError) as error:
        raise Misfit(f"no {kind} is written like that: {error}") from error
    if not others:
        return found
    bits = _bits(kind)
    return pc.replace_with_mask(found.view(bits), unusual, pa.array(others, bits)).view(found.type)


def uuids_written(values: pa.Array) -> pa.Array:
    """Uuids as their usual text of 36 characters."""
    filled = pc.fill_null(values, pa.scalar(_NO_UUID, values.type))
    packed = b"".join(filled.to_pylist()).hex().encode()
    digits = pa.Array.from_buffers(pa.binary(32), len(values), [None, pa.py_buffer(packed)]).cast(pa.binary())
    parts = [pc.binary_slice(digits, start, stop) for start, stop in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32))]
    texts = pc.binary_join_element_wise(*parts, b"-").cast(pa.string())
    return pc.if_else(values.is_valid(), texts, pa.scalar(None, pa.string()))


def uuids_read(texts: pa.Array) -> pa.Array:
    """What `uuids_written` wrote. Raises Misfit for any other text."""
    shape = pc.match_substring_regex(texts, pattern="^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
    if pc.all(shape).as_py() is False:
        raise Misfit("no uuid is written like that")
    digits = pc.replace_substring(texts, pattern="-", replacement="")
    packed = unhexlify("".join(pc.fill_null(digits, _NO_UUID.hex()).to_pylist()))
    kind = TYPES["uuid"].arrow
    found = pa.Array.from_buffers(kind, len(texts), [None, pa.py_buffer(packed)])
    return pc.if_else(texts.is_valid(), found, pa.scalar(None, kind))


def numbers_written(values: pa.Array, kind: str) -> pa.Array:
    """Numbers of one type as text."""
    texts = values.cast(pa.string())
    if kind in ("int", "uint"):
        return texts
    is_bare = pc.match_substring_regex(texts, pattern=r"^-?\d+$")
    return pc.if_else(is_bare, pc.binary_join_element_wise(texts, ".0", ""), texts)


def numbers_read(texts: pa.Array, kind: str) -> pa.Array:
    """What `numbers_written` wrote. Raises Misfit for any other text."""
    try:
        found = texts.cast(TYPES[kind].arrow)
    except pa.ArrowInvalid as error:
        raise Misfit(f"no {kind} is written like that: {error}") from error
    if pc.all(pc.equal(numbers_written(found, kind), texts)).as_py() is False:
        raise Misfit(f"no {kind} is written like that")
    return found


def clear_written(texts: pa.Array) -> pa.Array:
    """Texts for an engine whose texts can't have a NUL: such a one, or one that begins so, as `\\x` and hexadecimal."""
    unclear = _is_unclear(texts)
    if not pc.any(unclear).as_py():
        return texts
    others = [_ESCAPE + each.encode().hex() for each in texts.filter(unclear).to_pylist()]
    return pc.replace_with_mask(texts, pc.fill_null(unclear, False), pa.array(others, pa.string()))


def clear_read(texts: pa.Array) -> pa.Array:
    """What `clear_written` wrote. Raises Misfit for what it never writes."""
    escaped = pc.fill_null(pc.starts_with(texts, pattern=_ESCAPE), False)
    if not pc.any(escaped).as_py():
        return texts
    try:
        others = [unhexlify(each[len(_ESCAPE) :]).decode() for each in texts.filter(escaped).to_pylist()]
    except (NotHex, UnicodeError) as error:
        raise Misfit(f"no text is written like that: {error}") from error
    found = pc.replace_with_mask(texts, escaped, pa.array(others, pa.string()))
    if not clear_written(found).equals(texts):
        raise Misfit("it holds a text in hexadecimal that would be written as it is")
    return found


def mixed_written(values: pa.Array, kinds: Sequence[str]) -> pa.Array:
    """Tagged values as text: those of `kinds` as people write them, the last of which is stored as a string."""
    tags = pc.binary_slice(values, 0, 1)
    texts = pa.nulls(len(values), pa.string())
    left = values.is_valid()
    for kind in kinds:
        mask = pc.and_(left, pc.fill_null(pc.equal(tags, bytes([TYPES[kind].tag])), False))
        if not pc.any(mask).as_py():
            continue
        found = untagged(values.filter(mask), kind)
        if kind == kinds[-1]:
            clear = pc.invert(_reads_otherwise(found, kinds))
            mask = pc.replace_with_mask(mask, mask, clear)
            found = found.filter(clear)
        else:
            found = _as_written(found, kind)
        texts = pc.replace_with_mask(texts, mask, found)
        left = pc.and_not(left, mask)
    others = [_ESCAPE + each.hex() for each in values.filter(left).to_pylist()]
    return pc.replace_with_mask(texts, left, pa.array(others, pa.string()))


def mixed_read(texts: pa.Array, kinds: Sequence[str]) -> pa.Array:
    """What `mixed_written` wrote, tagged again. Raises Misfit for what it never writes."""
    found = tagged(texts, kinds[-1])
    escaped = pc.fill_null(pc.starts_with(texts, pattern=_ESCAPE), False)
    if pc.any(escaped).as_py():
        try:
            others = [unhexlify(each[len(_ESCAPE) :]) for each in texts.filter(escaped).to_pylist()]
        except NotHex as error:
            raise Misfit(f"no value is written like that: {error}") from error
        found = pc.replace_with_mask(found, escaped, pa.array(others, pa.binary()))
    for kind in kinds[:-1]:
        mask = pc.fill_null(pc.match_substring_regex(texts, pattern=_SHAPES[kind]), False)
        if pc.any(mask).as_py():
            read = numbers_read if kind in _NUMBERS else moments_read
            found = pc.replace_with_mask(found, mask, tagged(read(texts.filter(mask), kind), kind))
    return found


def _as_written(values: pa.Array, kind: str) -> pa.Array:
    return numbers_written(values, kind) if kind in _NUMBERS else moments_written(values, kind)


def _reads_otherwise(texts: pa.Array, kinds: Sequence[str]) -> pa.Array:
    """Which texts would be read as an escape or as another type, or have what not every engine's texts can have."""
    found = _is_unclear(texts)
    for kind in kinds[:-1]:
        found = pc.or_(found, pc.match_substring_regex(texts, pattern=_SHAPES[kind]))
    return found


def _is_unclear(texts: pa.Array) -> pa.Array:
    return pc.or_(pc.starts_with(texts, pattern=_ESCAPE), pc.match_substring(texts, pattern=_NUL))


def _bits(kind: str) -> pa.DataType:
    return pa.int32() if kind == "date" else pa.int64()


def _usual_counts(kind: str) -> tuple[pa.Scalar, pa.Scalar]:
    low, high = _USUAL_COUNTS.get(kind, (_FIRST * _DAY, (_LAST + 1) * _DAY - 1))
    return pa.scalar(low, _bits(kind)), pa.scalar(high, _bits(kind))


def _usual_written(values: pa.Array, kind: str) -> pa.Array:
    """What Arrow writes by itself."""
    if kind == "date":
        return values.cast(pa.string())
    counts = values.view(pa.int64())
    second = pa.scalar(_SECOND, pa.int64())
    plain = counts.view(pa.time64("us") if kind == "time" else pa.timestamp("us"))
    if pc.all(pc.equal(pc.multiply(pc.divide(counts, second), second), counts)).as_py() is not False:
        texts = plain.cast(pa.time32("s") if kind == "time" else pa.timestamp("s")).cast(pa.string())
    else:
        texts = pc.replace_substring_regex(plain.cast(pa.string()), pattern=r"\.?0+$", replacement="")
    return pc.binary_join_element_wise(texts, _UTC, "") if kind == "timestamptz" else texts


def _usual_read(texts: pa.Array, kind: str) -> pa.Array:
    """What Arrow reads by itself."""
    if kind == "time":
        moments = pc.binary_join_element_wise("1970-01-01", texts, " ").cast(pa.timestamp("us"))
        return moments.view(pa.int64()).view(TYPES[kind].arrow)
    if kind == "timestamptz":
        plain = pc.utf8_replace_slice(texts, start=-len(_UTC), stop=2**31, replacement="")
        return plain.cast(pa.timestamp("us")).view(pa.int64()).view(TYPES[kind].arrow)
    return texts.cast(TYPES[kind].arrow)


def _one_written(count: int, kind: str) -> str:
    """Any count of days or microseconds as text."""
    if kind == "date":
        return _day_written(count)
    if kind == "time":
        return ("-" if count < 0 else "") + _clock_written(abs(count))
    days, rest = divmod(count, _DAY)
    return f"{_day_written(days)} {_clock_written(rest)}{_UTC if kind == 'timestamptz' else ''}"


def _day_written(days: int) -> str:
    cycles, rest = divmod(days + _EPOCH - 1, _CYCLE_DAYS)
    found = date.fromordinal(rest + 1)
    year = found.year + 400 * cycles
    return f"{year:04}-{found:%m-%d}" if 0 < year < 10_000 else f"{year:+06}-{found:%m-%d}"


def _clock_written(microseconds: int) -> str:
    seconds, fraction = divmod(microseconds, _SECOND)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour:02}:{minute:02}:{second:02}" + (f".{fraction:06}".rstrip("0") if fraction else "")


def _one_read(text: str, kind: str) -> int:
    """The count that is written so. Raises ValueError for a text that none is written as."""
    body = text.removesuffix(_UTC) if kind == "timestamptz" else text
    if kind == "date":
        count = _day_read(body)
    elif kind == "time":
        count = _clock_read(body)
    else:
        day, _, clock = body.partition(" ")
        count = _day_read(day) * _DAY + _clock_read(clock)
    if _one_written(count, kind) != text:
        raise ValueError(f"{text!r} would be written as {_one_written(count, kind)!r}")
    return count


def _day_read(text: str) -> int:
    found = _DATE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no day")
    cycles, year = divmod(int(found[1]) - 1, 400)
    ordinal = date(year + 1, int(found[2]), int(found[3])).toordinal()
    return cycles * _CYCLE_DAYS + ordinal - _EPOCH


def _clock_read(text: str) -> int:
    found = _TIME.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no time")
    seconds = (int(found[2]) * 60 + int(found[3])) * 60 + int(found[4])
    count = seconds * _SECOND + int((found[5] or "").ljust(6, "0"))
    return -count if found[1] else count
