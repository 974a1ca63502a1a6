"""Records as plain Python values, for people and for formats that know no Arrow."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import date, datetime, time
from typing import Any

import pyarrow as pa

from holdfast.core.canonical import decode
from holdfast.core.printed import in_one_line
from holdfast.core.records import MIXED, Schema

__all__ = ["json_value", "rows_of", "shown_value"]


def rows_of(batch: pa.RecordBatch, schema: Schema) -> Iterator[dict[str, Any]]:
    """Each row as a dictionary in the schema's column order; a mixed value as the value it is."""
    columns = []
    for column in schema.columns:
        values = batch.column(batch.schema.get_field_index(column.name)).to_pylist()
        if column.type == MIXED:
            values = [None if value is None else decode(value)[1] for value in values]
        columns.append(values)
    for row in zip(*columns, strict=True):
        yield dict(zip(schema.names, row, strict=True))


def json_value(value: Any) -> Any:
    """A value as JSON can hold it: bytes as {"base64": …}, times in ISO form, infinities and NaN as {"float": …}."""
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return {"float": str(value)}
    return value


def shown_value(value: Any, *, width: int = 0) -> str:
    """A value as one line of text: NULL, text as it is with controls escaped, bytes in hex; cut to *width* if given."""
    if value is None:
        text = "NULL"
    elif isinstance(value, bytes):
        text = f"x'{value[:64].hex()}{'…' if len(value) > 64 else ''}'"
    elif isinstance(value, str):
        text = in_one_line(value)
    else:
        text = str(value)
    return text if not width or len(text) <= width else text[: width - 1] + "…"
