"""A target in memory that keeps foreign keys as strictly as the strictest database: at once, on every record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from holdfast.core.align import Keyed
from holdfast.core.canonical import row_digests
from holdfast.core.plan import Op, Plan, Steps
from holdfast.core.ports import Applied
from holdfast.core.records import Collection, Reference, Schema
from holdfast.errors import TargetChanged
from tests.core.shapes import Row, batch_of, keyed, stream

Records = dict[bytes, dict[str, Any]]


class ReferenceBroken(Exception):
    """The target refused a record: it refers to nothing, or something refers to it."""


class MemoryTarget:
    """Records of some collections by canonical key. `checks_at_end` puts off all reference checks to the last step."""

    def __init__(
        self, collections: Sequence[Collection], rows: Mapping[str, Sequence[Row]], *, checks_at_end: bool = False
    ) -> None:
        self.schemas = {each.name: each.schema for each in collections}
        self.checks_at_end = checks_at_end
        self.records: dict[str, Records] = {}
        for name, schema in self.schemas.items():
            whole = keyed(schema, rows.get(name, ()))
            self.records[name] = dict(zip(whole.keys.to_pylist(), _plain_rows(schema, whole.batch), strict=True))

    def read(self, name: str) -> Iterator[Keyed]:
        """The collection as a comparison reads it."""
        return stream(self.schemas[name], list(self.records[name].values()))

    def apply(self, plan: Plan) -> Applied:
        before = {name: dict(records) for name, records in self.records.items()}
        written = already = 0
        try:
            for steps in plan.steps():
                for number in range(len(steps.keys)):
                    if self._step(steps, number):
                        written += 1
                    else:
                        already += 1
            for name in self.schemas:
                for row in self.records[name].values():
                    self._check_parents(name, row)
        except (TargetChanged, ReferenceBroken):
            self.records = before
            raise
        return Applied(written, already)

    def _step(self, steps: Steps, number: int) -> bool:
        name, schema, key = steps.collection, self.schemas[steps.collection], steps.keys[number].as_py()
        records = self.records[name]
        actual = _digest(schema, records[key]) if key in records else None
        done = [steps.wanted[number].as_py()] + ([] if steps.final is None else [steps.final[number].as_py()])
        if actual in done:
            return False
        if actual != steps.expected[number].as_py():
            raise TargetChanged(f"{name}: a record is not what the plan expects", hint="make a new plan")
        old = records.pop(key, None)
        if steps.op is not Op.DELETE:
            assert (old is None) == (steps.op is Op.INSERT), "the kind of step fits what is there"
            row = _plain_rows(schema, steps.rows.slice(number, 1))[0]
            assert _digest(schema, row) == steps.wanted[number].as_py(), "the rows of a step are those it wants"
            records[key] = row
            if not self.checks_at_end:
                self._check_parents(name, row)
        if old is not None and not self.checks_at_end:
            self._check_children(name)
        return True

    def _check_parents(self, name: str, row: Row) -> None:
        for reference in self.schemas[name].references:
            wanted = _values(row, reference.columns)
            if reference.target in self.schemas and None not in wanted and not self._has(reference, wanted):
                raise ReferenceBroken(f"{name} refers to {reference.target} {wanted}, which is not there")

    def _check_children(self, name: str) -> None:
        for child, schema in self.schemas.items():
            if any(reference.target == name for reference in schema.references):
                for row in self.records[child].values():
                    self._check_parents(child, row)

    def _has(self, reference: Reference, wanted: tuple[Any, ...]) -> bool:
        return any(_values(row, reference.target_columns) == wanted for row in self.records[reference.target].values())


def _values(row: Row, columns: tuple[str, ...]) -> tuple[Any, ...]:
    return tuple(row.get(column) for column in columns)


def _digest(schema: Schema, row: Row) -> bytes:
    return bytes(row_digests(batch_of(schema, [row]), schema)[0].as_py())


def _plain_rows(schema: Schema, batch: pa.RecordBatch) -> list[dict[str, Any]]:
    return [{name: batch.column(name)[number].as_py() for name in schema.names} for number in range(batch.num_rows)]
