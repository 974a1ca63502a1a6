"""What an owner declared of a record, read from its row: whose it is, and its money."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import pyarrow as pa

from holdfast.core.align import Keyed
from holdfast.core.canonical import decode, slices
from holdfast.core.declared import Declared
from holdfast.core.records import MIXED, Schema
from holdfast.state.worth import Value

__all__ = ["money_names", "values_of"]

_WHOLE = ("int", "uint", "bool")


def values_of(rows: Keyed, schema: Schema, declared: Declared) -> list[Value]:
    """The declared values of each row. A column that is not there, and a value that is none, counts as nothing."""
    count = len(rows.keys)
    tenants = [_plain(each) for each in _column(rows.batch, schema, declared.tenant)] or [""] * count
    currencies = [_plain(each) for each in _column(rows.batch, schema, declared.currency)] or [""] * count
    money = [_amounts(rows.batch, schema, name) for name in declared.money if schema.column(name) is not None]
    amounts = ["[]"] * count if not money else [json.dumps(each) for each in zip(*money, strict=True)]
    return [Value(*each) for each in zip(slices(rows.keys), tenants, currencies, amounts, strict=True)]


def money_names(schema: Schema, declared: Declared) -> tuple[str, ...]:
    """How sums of the money columns that are there are called: those of numbers with a fraction count hundredths."""
    named = []
    for name in declared.money:
        column = schema.column(name)
        if column is not None:
            named.append(name if column.type in _WHOLE else f"{name} in 1/100")
    return tuple(named)


def _column(batch: pa.RecordBatch, schema: Schema, name: str) -> list[Any]:
    column = schema.column(name) if name else None
    if column is None:
        return []
    values = batch.column(name)
    if column.type != MIXED:
        return list(values.to_pylist())
    return [None if each is None else decode(each)[1] for each in values.to_pylist()]


def _amounts(batch: pa.RecordBatch, schema: Schema, name: str) -> Sequence[int]:
    column, values = schema.column(name), _column(batch, schema, name)
    if column is not None and column.type in _WHOLE:
        return [each or 0 for each in values]
    return [_hundredths(each) for each in values]


def _hundredths(value: Any) -> int:
    if value is None:
        return 0
    try:
        return round(Decimal(str(value)) * 100)
    except (InvalidOperation, ValueError, OverflowError):
        return 0


def _plain(value: Any) -> str:
    if value is None:
        return ""
    return value.hex() if isinstance(value, bytes) else str(value)
