"""How a target that lacks a type keeps its values: each form is a type that the target has, and the way there and back.

A form is exact for every value that it takes: `back(forward(x))` is `x`. What it can't take raises Misfit on the way
forward, and the mapping keeps the column otherwise.

    >>> FORMS["number"].forward(pa.array([True, None]), Column("paid", "bool")).to_pylist()
    [1, None]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.canonical import tagged, untagged
from holdfast.core.fits import Fits
from holdfast.core.records import MIXED, TYPES, Column
from holdfast.core.written import (
    MOMENTS,
    Misfit,
    clear_read,
    clear_written,
    mixed_read,
    mixed_written,
    moments_read,
    moments_written,
    numbers_read,
    numbers_written,
    uuids_read,
    uuids_written,
)

__all__ = ["FORMS", "Form", "mixed_as_text", "read_back", "readable"]

_TEXTUAL = ("text", "character", "name", '"char"', "citext", "varchar", "char", "clob")
_NUMBERS = ("int", "uint", "float", "float32")
_INT_MAX = (1 << 63) - 1
_FLOAT_INT_MAX = 1 << 53
_NAN = "NaN"
_SHOWN = 40


@dataclass(frozen=True, slots=True)
class Form:
    """One way of keeping values, in words for people. `stored` is the canonical type that the target holds them as, ""
    if that is the source's own.

    `forward` turns a source column's values into those, and raises Misfit for what it can't; `back` turns them into the
    source column's again, and raises Misfit for what `forward` never gives. `is_itself` says that values stay as they
    are, but for those few that `seldom` says how they are kept.
    """

    words: str
    stored: str
    forward: Callable[[pa.Array, Column], pa.Array]
    back: Callable[[pa.Array, Column], pa.Array]
    is_itself: bool = False
    seldom: str = ""

    def only(self, fits: Fits, type_name: str) -> Form:
        """The same form for those of the source's values that fit a type of the target's, named for people."""

        def forward(values: pa.Array, column: Column) -> pa.Array:
            misfits = pc.invert(fits(values))
            if pc.any(misfits).as_py():
                first = _as_text(values.filter(pc.fill_null(misfits, False)).slice(0, 1), column)[0].as_py()
                told = repr(first) if len(first) <= _SHOWN else f"{first[:_SHOWN]!r}…"
                raise Misfit(f"{type_name} can't hold {told}")
            return self.forward(values, column)

        return replace(self, forward=forward)


def read_back(values: pa.Array, found: str, form: Form, column: Column) -> pa.Array:
    """A source column's values from what the target holds, which its reader found to be of the type `found`."""
    if values.null_count == len(values):
        return pa.nulls(len(values), column.arrow)
    stored = form.stored or column.type
    if found != stored:
        if stored == MIXED:
            values = tagged(values, found)
        elif found == MIXED:
            values = _of_one_type(values, stored)
        else:
            raise Misfit(f"it holds values of type {found} and not of type {stored}")
    return form.back(values, column)


def readable(column: Column) -> tuple[str, ...]:
    """Which values of a mixed column are written as people write them, if its source says nothing else of it."""
    return ("text",) if column.declared.lower().startswith(_TEXTUAL) else (*MOMENTS, "source")


def mixed_as_text(kinds: Sequence[str]) -> Form:
    """Values of several types as text, those of `kinds` as people write them: `readable` and what sources say."""
    return Form(
        "as text, each value as its kind is written",
        "text",
        lambda values, _: mixed_written(values, kinds),
        lambda values, _: mixed_read(values, kinds),
    )


def _of_one_type(values: pa.Array, wanted: str) -> pa.Array:
    tags = pc.binary_slice(values, 0, 1)
    if pc.all(pc.equal(tags, bytes([TYPES[wanted].tag]))).as_py() is False:
        raise Misfit(f"it holds other values than those of type {wanted}")
    return untagged(values, wanted)


def _same(values: pa.Array, _: Column) -> pa.Array:
    return values


def _number(values: pa.Array, _: Column) -> pa.Array:
    return values.cast(pa.int64())


def _truth(values: pa.Array, _: Column) -> pa.Array:
    if pc.all(pc.is_in(values, value_set=pa.array([0, 1, None], pa.int64()))).as_py() is False:
        raise Misfit("it holds other numbers than 0 and 1")
    return values.cast(pa.bool_())


def _float_or_text(values: pa.Array, _: Column) -> pa.Array:
    is_nan = pc.fill_null(pc.is_nan(values), False)
    text = pa.scalar(bytes([TYPES["text"].tag]) + _NAN.encode(), pa.binary())
    return pc.if_else(is_nan, text, tagged(values.cast(pa.float64()), "float"))


def _float(values: pa.Array, column: Column) -> pa.Array:
    arrow = column.arrow
    is_text = pc.fill_null(pc.equal(pc.binary_slice(values, 0, 1), bytes([TYPES["text"].tag])), False)
    numbers = _of_one_type(pc.if_else(is_text, pa.scalar(None, pa.binary()), values), "float")
    texts = untagged(values.filter(is_text), "text")
    if pc.all(pc.equal(texts, _NAN)).as_py() is False:
        raise Misfit(f"it holds other texts than {_NAN}")
    found = numbers.cast(arrow)
    if found.type != numbers.type and not found.cast(numbers.type).equals(numbers):
        raise Misfit("it holds numbers of more digits than its type has")
    return pc.if_else(is_text, pa.scalar(float("nan"), arrow), found)


def _int_or_text(values: pa.Array, _: Column) -> pa.Array:
    fits = pc.less_equal(values, pa.scalar(_INT_MAX, pa.uint64()))
    small = pc.if_else(fits, values, pa.scalar(None, pa.uint64())).cast(pa.int64())
    large = pc.if_else(fits, pa.scalar(None, pa.uint64()), values).cast(pa.string())
    return pc.coalesce(tagged(small, "int"), tagged(large, "text"))


def _uint(values: pa.Array, _: Column) -> pa.Array:
    is_text = pc.fill_null(pc.equal(pc.binary_slice(values, 0, 1), bytes([TYPES["text"].tag])), False)
    small = _of_one_type(pc.if_else(is_text, pa.scalar(None, pa.binary()), values), "int")
    try:
        large = untagged(values.filter(is_text), "text").cast(pa.uint64())
        return pc.replace_with_mask(small.cast(pa.uint64()), is_text, large)
    except pa.ArrowInvalid as error:
        raise Misfit(f"it holds no number without a sign: {error}") from error


def _as_text(values: pa.Array, column: Column) -> pa.Array:
    kind = column.type
    if kind in MOMENTS:
        return moments_written(values, kind)
    if kind in _NUMBERS:
        return numbers_written(values, kind)
    return uuids_written(values) if kind == "uuid" else values


def _from_text(values: pa.Array, column: Column) -> pa.Array:
    kind = column.type
    if kind in MOMENTS:
        return moments_read(values, kind)
    if kind in _NUMBERS:
        return numbers_read(values, kind)
    return uuids_read(values) if kind == "uuid" else values


def _as_bytes(values: pa.Array, _: Column) -> pa.Array:
    return values.cast(pa.binary())


def _from_bytes(values: pa.Array, column: Column) -> pa.Array:
    try:
        return values.cast(column.arrow)
    except pa.ArrowInvalid as error:
        raise Misfit(f"it holds bytes that are no {column.type}: {error}") from error


def _in_utc(values: pa.Array, _: Column) -> pa.Array:
    return values.view(pa.int64()).view(TYPES["timestamp"].arrow)


def _with_zone(values: pa.Array, _: Column) -> pa.Array:
    return values.view(pa.int64()).view(TYPES["timestamptz"].arrow)


def _as_numbers(values: pa.Array, _: Column) -> pa.Array:
    """Whole numbers without a point, all others with one: an engine that keeps the scale keeps them apart."""
    tags = pc.binary_slice(values, 0, 1)
    texts = pa.nulls(len(values), pa.string())
    left = values.is_valid()
    for kind in ("int", "float"):
        mask = pc.fill_null(pc.equal(tags, bytes([TYPES[kind].tag])), False)
        found = numbers_written(untagged(values.filter(mask), kind), kind)
        plain = [_in_digits(text) if "e" in text or "n" in text else text for text in found.to_pylist()]
        if "-0.0" in plain:
            raise Misfit("a decimal number has no -0.0")
        texts = pc.replace_with_mask(texts, mask, pa.array(plain, pa.string()))
        left = pc.and_not(left, mask)
    if pc.any(left).as_py():
        raise Misfit("it holds values that are no numbers")
    return texts


def _from_numbers(texts: pa.Array, column: Column) -> pa.Array:
    is_whole = pc.fill_null(pc.match_substring_regex(texts, pattern=r"^-?\d+$"), False)
    nothing = pa.scalar(None, pa.string())
    try:
        whole = tagged(pc.if_else(is_whole, texts, nothing).cast(pa.int64()), "int")
        others = [None if text is None else float(text) for text in pc.if_else(is_whole, nothing, texts).to_pylist()]
    except (pa.ArrowInvalid, ValueError) as error:
        raise Misfit(f"no number is written like that: {error}") from error
    found = pc.coalesce(whole, tagged(pa.array(others, pa.float64()), "float"))
    if not _as_numbers(found, column).equals(texts):
        raise Misfit("it holds numbers that would be written otherwise")
    return found


def _as_floats(values: pa.Array, _: Column) -> pa.Array:
    """Whole numbers and those with a fraction as floats: told apart by having one."""
    tags = pc.binary_slice(values, 0, 1)
    is_int, is_float = (pc.fill_null(pc.equal(tags, bytes([TYPES[kind].tag])), False) for kind in ("int", "float"))
    whole, others = untagged(values.filter(is_int), "int"), untagged(values.filter(is_float), "float")
    if len(whole) + len(others) + values.null_count < len(values):
        raise Misfit("it holds values that are no numbers")
    low, high = pa.scalar(-_FLOAT_INT_MAX, pa.int64()), pa.scalar(_FLOAT_INT_MAX, pa.int64())
    if pc.all(pc.and_(pc.greater_equal(whole, low), pc.less_equal(whole, high))).as_py() is False:
        raise Misfit("a floating-point number has not that many digits")
    if pc.all(pc.and_not(pc.is_finite(others), pc.equal(others, pc.floor(others)))).as_py() is False:
        raise Misfit("it holds whole numbers with a point, or what is no number")
    found = pc.replace_with_mask(pa.nulls(len(values), pa.float64()), is_int, whole.cast(pa.float64()))
    return pc.replace_with_mask(found, is_float, others)


def _from_floats(values: pa.Array, column: Column) -> pa.Array:
    is_whole = pc.equal(values, pc.floor(values))
    nothing = pa.scalar(None, pa.float64())
    try:
        whole = pc.if_else(is_whole, values, nothing).cast(pa.int64())
    except pa.ArrowInvalid as error:
        raise Misfit(f"it holds another number: {error}") from error
    found = pc.coalesce(tagged(whole, "int"), tagged(pc.if_else(is_whole, nothing, values), "float"))
    if not _as_floats(found, column).equals(values):
        raise Misfit("it holds numbers that would be written otherwise")
    return found


def _in_digits(text: str) -> str:
    """A float's text without an exponent, and as engines write what is no number."""
    if "n" in text:
        return text.replace("inf", "Infinity").replace("nan", "NaN")
    digits = format(Decimal(text), "f")
    return digits if "." in digits else f"{digits}.0"


_SELDOM = "text with a NUL in it, or that begins with \\x, is kept as \\x and its bytes in hexadecimal"
FORMS: Mapping[str, Form] = {
    "itself": Form("as itself", "", _same, _same, is_itself=True),
    "number": Form("as 0 or 1", "int", _number, _truth),
    "digits": Form("as a decimal number", "decimal", _as_text, _from_text),
    "numbers": Form("as decimal numbers, those with a fraction with a point", "decimal", _as_numbers, _from_numbers),
    "floats": Form("as floating-point numbers, whole ones without a fraction", "float", _as_floats, _from_floats),
    "float or text": Form("as itself, NaN as text", MIXED, _float_or_text, _float),
    "int or text": Form(f"as itself, what is above {_INT_MAX} as text", MIXED, _int_or_text, _uint),
    "text": Form("as text", "text", _as_text, _from_text),
    # For targets whose texts can't have a NUL.
    "clear text": Form(
        "as text",
        "text",
        lambda values, column: clear_written(_as_text(values, column)),
        lambda values, column: _from_text(clear_read(values), column),
        seldom=_SELDOM,
    ),
    "clear": Form(
        "as itself",
        "text",
        lambda values, _: clear_written(values),
        lambda values, _: clear_read(values),
        is_itself=True,
        seldom=_SELDOM,
    ),
    "bytes": Form("as bytes", "bytes", _as_bytes, _from_bytes),
    "tagged": Form("as bytes, each value in its canonical form", "bytes", _same, _same),
    "utc": Form("as its moment in UTC, without a zone", "timestamp", _in_utc, _with_zone),
}
