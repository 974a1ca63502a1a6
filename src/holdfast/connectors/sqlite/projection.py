"""From SQL to canonical columns: what is selected for each column, and how a batch of it becomes a record batch.

A column of one type is selected as it is. A mixed one is selected in parts that each have one type (a code for the
storage class, the integers, the reals, the bytes of texts and blobs) and put together as tagged canonical bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.connectors.sqlite.connection import quoted
from holdfast.connectors.sqlite.texts import tagged_texts
from holdfast.core.canonical import tagged
from holdfast.core.records import MIXED, Schema

__all__ = ["ALL_CLASSES", "Projection"]

ALL_CLASSES = frozenset(("integer", "real", "text", "blob"))
_CODES = "CASE typeof({0}) WHEN 'integer' THEN 1 WHEN 'real' THEN 2 WHEN 'text' THEN 3 WHEN 'blob' THEN 4 ELSE 0 END"
_EMPTY = {"text": "''", "bytes": "x''", "float": "0.0"}
_ARROW = {"int": pa.int64(), "float": pa.float64(), "text": pa.string(), "bytes": pa.binary()}


class Projection:
    """The select list for one schema, and the way back from the driver's batches.

    `classes` names the storage classes a mixed column can hold (all, where it is not given). Columns in `guarded`
    have no value among the first rows, from which the driver guesses types: there NULL is selected as an empty value
    beside a flag.
    """

    def __init__(
        self,
        schema: Schema,
        encoding: str,
        *,
        classes: Mapping[str, frozenset[str]] | None = None,
        guarded: frozenset[str] = frozenset(),
        prefix: str = "",
    ) -> None:
        self._schema = schema
        self._arrow = schema.arrow()
        self._encoding = encoding
        self._parts: list[tuple[str, ...]] = []
        self._expressions: list[str] = []
        for column in schema.columns:
            sql = prefix + quoted(column.name)
            if column.type == MIXED:
                found = (classes or {}).get(column.name, ALL_CLASSES)
                parts = _mixed_parts(sql, found)
            elif column.name in guarded:
                parts = {"value": f"ifnull({sql}, {_EMPTY[column.type]})", "null": f"{sql} IS NULL"}
            else:
                parts = {"value": sql}
            self._parts.append(tuple(parts))
            self._expressions += parts.values()

    @property
    def names(self) -> Sequence[str]:
        """The columns of a record."""
        return self._schema.names

    @property
    def expressions(self) -> Sequence[str]:
        """What to select, in order."""
        return self._expressions

    def misread(self, driver: pa.Schema, start: int = 0) -> frozenset[str]:
        """The columns whose type the driver guessed wrong, as it saw only NULL."""
        wrong = set()
        at = start
        for column, parts in zip(self._schema.columns, self._parts, strict=True):
            if column.type != MIXED and driver.field(at).type != _ARROW[column.type]:
                wrong.add(column.name)
            at += len(parts)
        return frozenset(wrong)

    def records(self, batch: pa.RecordBatch, start: int = 0) -> pa.RecordBatch:
        """The record batch of a batch whose columns from `start` on are those of `expressions`."""
        columns = []
        at = start
        for parts in self._parts:
            found = {name: batch.column(at + number) for number, name in enumerate(parts)}
            at += len(parts)
            if "code" in found:
                columns.append(self._mixed(found, batch.num_rows))
            elif "null" in found:
                value = found["value"]
                columns.append(pc.if_else(found["null"].cast(pa.bool_()), pa.scalar(None, value.type), value))
            else:
                columns.append(found["value"])
        return pa.RecordBatch.from_arrays(columns, schema=self._arrow)

    def _mixed(self, found: Mapping[str, pa.Array], rows: int) -> pa.Array:
        nothing = pa.nulls(rows, pa.binary())
        code = found["code"]
        integers = tagged(found["integer"], "int") if "integer" in found else nothing
        reals = tagged(found["real"], "float") if "real" in found else nothing
        texts = blobs = nothing
        if "bytes" in found:
            is_text = pc.equal(code, 3)
            empty = pa.scalar(b"", pa.binary())
            texts = tagged_texts(pc.if_else(is_text, found["bytes"], empty), self._encoding)
            blobs = tagged(found["bytes"], "bytes")
        return pc.choose(code, nothing, integers, reals, texts, blobs)


def _mixed_parts(sql: str, classes: frozenset[str]) -> dict[str, str]:
    parts = {"code": _CODES.format(sql)}
    if "integer" in classes:
        parts["integer"] = f"CASE typeof({sql}) WHEN 'integer' THEN {sql} ELSE 0 END"
    if "real" in classes:
        parts["real"] = f"CASE typeof({sql}) WHEN 'real' THEN {sql} ELSE 0.0 END"
    if classes & {"text", "blob"}:
        parts["bytes"] = f"CASE WHEN typeof({sql}) IN ('text', 'blob') THEN CAST({sql} AS BLOB) ELSE x'' END"
    return parts
