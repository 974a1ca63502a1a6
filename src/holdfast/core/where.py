"""Conditions on records (`--where`) and keys as people write them, without SQL.

A condition is `column op value` joined by `and`; op is one of = != < <= > >=. Values are written as `literals` says.
A column whose name is not a plain word stands in double quotes. NULL meets only `= null`, and everything else only
`!= null`: no other comparison holds for NULL. Text is ordered by its code points. In a mixed column a number meets
numbers of every type, and text or quoted text meets text; values of other types are different from it and never less
or greater. NaN is greater than every number.

    >>> str(parse_where("total >= 10 and city = 'São Paulo' and note = null"))
    "total >= 10 and city = 'São Paulo' and note = null"
    >>> schema = Schema((Column("shop", "text"), Column("id", "int")), key=("shop", "id"))
    >>> render_key(parse_key("id=7,shop='a,b'", schema), schema)
    "shop='a,b',id=7"
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from decimal import ROUND_FLOOR, Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.canonical import tagged
from holdfast.core.condition import NUMBER, Condition, Literal, Term, parse_where
from holdfast.core.literals import RANGES, parse_mixed, parse_typed, render, unquoted
from holdfast.core.records import MIXED, TYPE_BY_TAG, Column, Schema
from holdfast.errors import Usage

__all__ = ["Condition", "Term", "matches", "parse_key", "parse_where", "render_key"]

_COMPARE: dict[str, Callable[..., Any]] = {
    "=": pc.equal,
    "<": pc.less,
    "<=": pc.less_equal,
    ">": pc.greater,
    ">=": pc.greater_equal,
}
_NUMBERS = ("int", "uint", "float", "float32", "decimal")
_PART = re.compile(r"(?P<name>[^=,]+)=(?P<value>(?:[a-z0-9]+:)?'(?:[^']|'')*'|(?!')[^,]*)(?=,|$)")
_OCCURRENCE = 4

_Test = Callable[[Any], Any]


def matches(batch: pa.RecordBatch, condition: Condition, schema: Schema) -> pa.Array:
    """Which rows of a batch of `schema` meet the condition, as booleans without NULL.

    Raises Usage for a column the schema has not, or a value its type has not.
    """
    mask = pa.repeat(True, batch.num_rows)
    for term in condition.terms:
        column = _known(term.column, schema)
        mask = pc.and_(mask, _met(term, column, batch.column(column.name)))
    return mask


def parse_key(text: str, schema: Schema) -> bytes:
    """The canonical key bytes that a text names: `a`, or `column=a,column=b` with each column of the key once.

    A record without a key is named by its digest in hexadecimal, with `:n` for its n-th further copy. Raises Usage.
    """
    if not schema.key:
        return _multiset_key(text)
    if len(schema.key) == 1 and not text.startswith(f"{schema.key[0]}="):
        parts = {schema.key[0]: Literal(unquoted(text), is_quoted=unquoted(text) != text)}
    else:
        parts = _key_parts(text, schema)
    return b"".join(_key_part(column, parts[column.name]) for column in schema.key_columns)


def render_key(key: bytes, schema: Schema) -> str:
    """The text of canonical key bytes, which `parse_key` reads back."""
    if not schema.key:
        number = int.from_bytes(key[-_OCCURRENCE:], "big")
        return key[:-_OCCURRENCE].hex() + (f":{number}" if number else "")
    shown = []
    for column in schema.key_columns:
        value, key = _first_value(key)
        # A key from before its column changed its type is written as in a mixed one.
        kind = TYPE_BY_TAG[value[0]].name
        shown.append((column.name, render(value, type_name=kind if kind == column.type else None)))
    assert not key, "a key has as many values as the schema's key has columns"
    if len(shown) == 1:
        return shown[0][1]
    return ",".join(f"{name}={value}" for name, value in shown)


def _known(name: str, schema: Schema) -> Column:
    column = schema.column(name)
    if column is None:
        near = difflib.get_close_matches(name, schema.names, 1)
        hint = f"did you mean {near[0]}?" if near else f"its columns are {', '.join(schema.names)}"
        raise Usage(f"the collection has no column {name!r}", hint=hint)
    return column


def _met(term: Term, column: Column, values: Any) -> pa.Array:
    """Which values of a column meet one comparison, without NULL."""
    if term.value is None:
        return pc.is_null(values) if term.op == "=" else pc.is_valid(values)
    op = "=" if term.op == "!=" else term.op
    if column.type == MIXED:
        mask = _mixed(values, op, term.value)
    else:
        test = _test(column.type, op, term.value)
        if test is None:
            raise Usage(
                f"{term.value.text!r} is no value of column {column.name}, which is of type {column.type}",
                hint="compare it with a value such a column can hold, or with null",
            )
        mask = test(tagged(values, column.type))
    mask = pc.fill_null(mask, False)
    return pc.and_(pc.is_valid(values), pc.invert(mask) if term.op == "!=" else mask)


def _mixed(values: Any, op: str, literal: Literal) -> pa.Array:
    """Each tag that occurs is compared by itself: the bytes of one type are ordered as its values are."""
    tags = pc.binary_slice(values, 0, 1)
    is_number = literal.number is not None and not literal.is_quoted
    mask = pa.repeat(False, len(values))
    for tag in pc.unique(tags.drop_null()).to_pylist():
        name = TYPE_BY_TAG[tag[0]].name
        test = _test(name, op, literal) if is_number == (name in _NUMBERS) else None
        if test is not None:
            of_type = pc.fill_null(pc.equal(tags, pa.scalar(tag, pa.binary())), False)
            mask = pc.or_(mask, pc.and_kleene(of_type, test(pc.if_else(of_type, values, None))))
    return mask


def _test(type_name: str, op: str, literal: Literal) -> _Test | None:
    """How to compare tagged values of a type with the literal, or None if it is no value of the type."""
    number = literal.number
    match type_name:
        case "int" | "uint" if number is not None:
            return _whole_test(type_name, op, number)
        case "float" | "float32" if number is not None and number == 0:
            # -0.0 and 0.0 have different bytes, and both are zero.
            low, high = (parse_typed(type_name, Literal(zero)) for zero in ("-0.0", "0.0"))
            if op == "=":
                return lambda values: pc.and_(pc.greater_equal(values, low), pc.less_equal(values, high))
            return _bytes_test(op, low if op in ("<", ">=") else high)
        case "decimal":
            return None if number is None else lambda values: _decimal_mask(values, op, number)
    try:
        return _bytes_test(op, parse_typed(type_name, literal))
    except ValueError:
        return None


def _bytes_test(op: str, value: bytes) -> _Test:
    return lambda values: _COMPARE[op](values, pa.scalar(value, pa.binary()))


def _whole_test(type_name: str, op: str, number: Decimal) -> _Test:
    """Compare whole numbers with any number: a fraction or a number out of range lies between two of them."""
    low, high = RANGES[type_name]
    if not low <= number <= high:
        is_met = op in ((">", ">=") if number < low else ("<", "<="))
        return lambda values: pa.repeat(is_met, len(values))
    whole = int(number.to_integral_value(ROUND_FLOOR))
    if whole != number:
        if op == "=":
            return lambda values: pa.repeat(False, len(values))
        op = {"<": "<=", ">=": ">"}.get(op, op)
    return _bytes_test(op, parse_typed(type_name, Literal(str(whole))))


def _decimal_mask(values: pa.Array, op: str, number: Decimal) -> pa.Array:
    """Decimals keep the source's own text, so each is read; Arrow's decimals could not hold them all."""
    return pa.array(
        [None if each is None else _holds(each[1:].decode(), op, number) for each in values.to_pylist()], pa.bool_()
    )


def _holds(text: str, op: str, number: Decimal) -> bool:
    if not NUMBER.fullmatch(text) and text.lower().lstrip("+-") not in ("inf", "infinity", "nan"):
        return False
    value = Decimal(text)
    if value.is_nan():
        return op in (">", ">=")
    return {
        "=": value == number,
        "<": value < number,
        "<=": value <= number,
        ">": value > number,
        ">=": value >= number,
    }[op]


def _multiset_key(text: str) -> bytes:
    digest, _, number = text.partition(":")
    if not re.fullmatch(r"[0-9a-f]{64}", digest) or not re.fullmatch(r"\d{0,9}", number):
        raise Usage(
            f"{text!r} names no record: this collection has no key, so records are named by their digest",
            hint='take it from "holdfast diff --json" or "holdfast show --json"',
        )
    return bytes.fromhex(digest) + int(number or 0).to_bytes(_OCCURRENCE, "big")


def _key_parts(text: str, schema: Schema) -> dict[str, Literal]:
    """The values by column of `column=a,column=b`."""
    parts: dict[str, Literal] = {}
    at = -1
    while at < len(text):
        match = _PART.match(text, at + 1)
        if match is None or match["name"].strip() not in schema.key or match["name"].strip() in parts:
            break
        value = match["value"]
        parts[match["name"].strip()] = Literal(unquoted(value), is_quoted=unquoted(value) != value)
        at = match.end()
    if at < len(text) or set(parts) != set(schema.key):
        raise Usage(f"{text!r} names no key", hint=f"write it as {','.join(f'{name}=value' for name in schema.key)}")
    return parts


def _key_part(column: Column, literal: Literal) -> bytes:
    try:
        value = parse_mixed(literal) if column.type == MIXED else parse_typed(column.type, literal)
    except ValueError as error:
        raise Usage(
            f"{literal.text!r} is no value of the key column {column.name}, which is of type {column.type}",
            hint="write the value as the source shows it; text may stand in single quotes",
        ) from error
    if TYPE_BY_TAG[value[0]].width:
        return value
    return value[:1] + value[1:].replace(b"\x00", b"\x00\xff") + b"\x00"


def _first_value(key: bytes) -> tuple[bytes, bytes]:
    """The first value of a key, tagged, and the rest."""
    width = TYPE_BY_TAG[key[0]].width
    if width:
        return key[: width + 1], key[width + 1 :]
    end = 1
    while key[end] or key[end + 1 : end + 2] == b"\xff":
        end += 1 if key[end] else 2
    return key[:1] + key[1:end].replace(b"\x00\xff", b"\x00"), key[end + 1 :]
