"""A database's own definitions, which are few, as records like any other: as a view, and as steps of a plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from holdfast.connectors._sql.steps import changed
from holdfast.core.canonical import decode, row_digests
from holdfast.core.plan import Op, Steps
from holdfast.core.records import Collection, Schema
from holdfast.errors import Refused, Unsupported

__all__ = ["DefinitionsView", "definition_batch", "definitions_due", "definitions_missing", "left_out"]

_TOLD = 8


@dataclass(frozen=True, slots=True)
class DefinitionsView:
    """Definitions, made when they are asked for. A right that is missing is a gap, not the end."""

    collection: Collection
    make: Callable[[], pa.RecordBatch]

    @property
    def name(self) -> str:
        return self.collection.name

    @property
    def schema(self) -> Schema:
        return self.collection.schema

    @property
    def ordered(self) -> bool:
        return False

    def batches(self) -> Iterator[pa.RecordBatch]:
        try:
            batch = self.make()
        except Refused as error:
            raise Unsupported(error.message, hint=error.hint) from error
        yield batch


def definition_batch(schema: Schema, rows: Sequence[tuple[Any, ...]]) -> pa.RecordBatch:
    """Rows of a few definitions as a batch."""
    columns = zip(*rows, strict=True) if rows else [[] for _ in schema.columns]
    arrow = schema.arrow()
    return pa.RecordBatch.from_arrays(
        [pa.array(values, field.type) for values, field in zip(columns, arrow, strict=True)], schema=arrow
    )


def definitions_due(
    steps: Sequence[Steps], name: str, schema: Schema, now: pa.RecordBatch
) -> tuple[list[tuple[Op, Mapping[str, Any]]], int]:
    """Which definitions of this collection are still to be made, changed or dropped, and how many are as wanted.

    Raises TargetChanged for one that is neither what a step expects nor what it wants.
    """
    digests = {
        tuple(row[column] for column in schema.key): digest
        for row, digest in zip(now.to_pylist(), row_digests(now, schema).to_pylist(), strict=True)
    }
    due, already = [], 0
    for each in steps:
        if each.collection != name:
            continue
        sides = each.expected.to_pylist(), each.wanted.to_pylist()
        for row, expected, wanted in zip(_plain(each.rows), *sides, strict=True):
            key = tuple(row[column] for column in schema.key)
            state = digests.get(key)
            if state == wanted:
                already += 1
            elif state == expected:
                due.append((each.op, row))
            else:
                raise changed(name, f"the definition of {_told(key)} is not what the plan expects")
    return due, already


def definitions_missing(
    steps: Sequence[Steps], name: str, schema: Schema, held: Callable[[], pa.RecordBatch], new_place: str
) -> tuple[list[Mapping[str, Any]], int]:
    """As `definitions_due` where none that is there is altered or dropped: Refused for a step that would. What is
    `held` is read only if any step is on this collection.
    """
    if not any(each.collection == name for each in steps):
        return [], 0
    due, already = definitions_due(steps, name, schema, held())
    for op, row in due:
        if op is not Op.INSERT:
            told = _told(row[column] for column in schema.key)
            raise Refused(
                f"{name}: the definition of {told} can't be changed in place; nothing was written",
                hint=f"restore to a new place: holdfast restore --to {new_place}",
            )
    return [row for _, row in due], already


def left_out(found: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """What was left out, by cause, in words."""
    told = []
    for cause, names in found.items():
        more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
        told.append(f"{cause}: left out {', '.join(names[:_TOLD])}{more}")
    return tuple(told)


def _told(key: Iterable[object]) -> str:
    return " ".join(str(part) for part in key if part not in ("", 0))


def _plain(rows: pa.RecordBatch) -> list[Mapping[str, Any]]:
    """Rows as Python values, those of mixed columns too: definitions have no bytes of their own."""
    return [
        {name: decode(value)[1] if isinstance(value, bytes) else value for name, value in row.items()}
        for row in rows.to_pylist()
    ]
