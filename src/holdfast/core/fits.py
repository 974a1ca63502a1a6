"""Which values a target's type can hold: each answers for a whole column, NULL where the value is NULL.

A `Form` that is used `only` where one of these says yes is exact; where it says no, the column is kept otherwise.

    >>> finite()(pa.array([1.5, float("nan"), None])).to_pylist()
    [True, False, None]
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["Fits", "finite", "json_texts", "moments_between", "plain_floats", "plain_numbers", "shorter"]

Fits: TypeAlias = Callable[[pa.Array], pa.Array]

_PLAIN = r"^-?(?:0|[1-9]\d*)(?:\.\d+)?$"
_NO_ZERO = r"^-0(?:\.0+)?$"
_SPECIAL = r"^(?:NaN|-?Infinity)$"


def finite() -> Fits:
    """Numbers that are numbers: neither NaN nor infinite."""
    found: Fits = pc.is_finite
    return found


def plain_floats() -> Fits:
    """Numbers that are finite, and no zero with a sign."""

    def fits(values: pa.Array) -> pa.Array:
        bits = values.view(pa.int64() if values.type == pa.float64() else pa.int32())
        is_minus_zero = pc.equal(bits, pa.scalar(-1 << bits.type.bit_width - 1, bits.type))
        return pc.and_not(pc.is_finite(values), is_minus_zero)

    return fits


def moments_between(low: int, high: int) -> Fits:
    """Dates or times whose count of days or microseconds lies between these, both included."""

    def fits(values: pa.Array) -> pa.Array:
        counts = values.view(pa.int32() if values.type == pa.date32() else pa.int64()).cast(pa.int64())
        return pc.and_(pc.greater_equal(counts, low), pc.less_equal(counts, high))

    return fits


def plain_numbers(whole: int, fraction: int, *, is_fixed: bool = False, with_special: bool = False) -> Fits:
    """Texts of digits as every engine writes them: no zero in front, no sign before a zero, no exponent.

    At most `whole` digits before the point and `fraction` behind it, or, if that `is_fixed`, just so many; with
    `with_special` also NaN and infinities.
    """

    def fits(texts: pa.Array) -> pa.Array:
        is_plain = pc.and_not(
            pc.match_substring_regex(texts, pattern=_PLAIN), pc.match_substring_regex(texts, pattern=_NO_ZERO)
        )
        point = pc.find_substring(texts, pattern=".")
        length, sign = pc.binary_length(texts), pc.starts_with(texts, pattern="-").cast(pa.int32())
        has_point = pc.greater_equal(point, 0)
        before = pc.subtract(pc.if_else(has_point, point, length), sign)
        behind = pc.if_else(has_point, pc.subtract(pc.subtract(length, point), 1), 0)
        found = pc.and_(is_plain, pc.less_equal(before, whole))
        found = pc.and_(found, (pc.equal if is_fixed else pc.less_equal)(behind, fraction))
        return pc.or_(found, pc.match_substring_regex(texts, pattern=_SPECIAL)) if with_special else found

    return fits


def json_texts(levels: int) -> Fits:
    """Texts that RFC 8259 calls JSON, of at most so many arrays and objects within one another."""
    return lambda texts: pa.array(
        [None if text is None else _is_json(text, levels) for text in texts.to_pylist()], pa.bool_()
    )


def shorter(characters: int) -> Fits:
    """Texts of at most so many characters; bytes, of at most so many."""

    def fits(values: pa.Array) -> pa.Array:
        length = pc.utf8_length if values.type == pa.string() else pc.binary_length
        return pc.less_equal(length(values), characters)

    return fits


def _is_json(text: str, levels: int) -> bool:
    opened = text.count("[") + text.count("{")
    if opened > levels and _depth(text) > levels:
        return False
    try:
        _JSON.decode(text)
    except (ValueError, RecursionError):
        return False
    return True


def _depth(text: str) -> int:
    depth = deepest = 0
    for sign in _BRACKETS.findall(_STRINGS.sub("", text)):
        depth += 1 if sign in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _refuse(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


_STRINGS = re.compile(r'"(?:[^"\\]|\\.)*"')
_BRACKETS = re.compile(r"[][{}]")
# Numbers are not made: some have more digits than Python takes.
_JSON = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_refuse)
