"""How a target that lacks a type keeps its values: each form is a type that the target has, and the way there and back.

A form is exact for every value of the types it is for: `back(forward(x))` is `x`.

    >>> FORMS["number"].forward(pa.array([True, None]), Column("paid", "bool")).to_pylist()
    [1, None]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.canonical import tagged, untagged
from holdfast.core.records import MIXED, TYPES, Column
from holdfast.core.written import (
    MOMENTS,
    Misfit,
    mixed_read,
    mixed_written,
    moments_read,
    moments_written,
    uuids_read,
    uuids_written,
)

__all__ = ["FORMS", "Form", "read_back"]

_TEXTUAL = ("text", "character", "name", '"char"', "citext", "varchar", "char", "clob")
_INT_MAX = (1 << 63) - 1
_NAN = "NaN"


@dataclass(frozen=True, slots=True)
class Form:
    """One way of keeping values, in words for people. `stored` is the canonical type that the target holds them as, ""
    if that is the source's own.

    `forward` turns a source column's values into those; `back` turns them into the source column's again, and raises
    Misfit for what `forward` never gives. `is_itself` says that nothing about the values is different.
    """

    words: str
    stored: str
    forward: Callable[[pa.Array, Column], pa.Array]
    back: Callable[[pa.Array, Column], pa.Array]
    is_itself: bool = False


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
    if column.type == MIXED:
        return mixed_written(values, _plain(column))
    if column.type in MOMENTS:
        return moments_written(values, column.type)
    return uuids_written(values) if column.type == "uuid" else values


def _from_text(values: pa.Array, column: Column) -> pa.Array:
    if column.type == MIXED:
        return mixed_read(values, _plain(column))
    if column.type in MOMENTS:
        return moments_read(values, column.type)
    return uuids_read(values) if column.type == "uuid" else values


def _plain(column: Column) -> str:
    """The type whose values a mixed column mostly holds beside dates and times."""
    return "text" if column.declared.lower().startswith(_TEXTUAL) else "source"


FORMS: Mapping[str, Form] = {
    "itself": Form("as itself", "", _same, _same, is_itself=True),
    "number": Form("as 0 or 1", "int", _number, _truth),
    "float or text": Form("as itself, NaN as text", MIXED, _float_or_text, _float),
    "int or text": Form(f"as itself, what is above {_INT_MAX} as text", MIXED, _int_or_text, _uint),
    "text": Form("as text", "text", _as_text, _from_text),
    "bytes": Form("as bytes", "bytes", _same, _same),
}
