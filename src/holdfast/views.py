"""Records as the Python API hands them out."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from holdfast.core.ports import View
from holdfast.core.records import Schema
from holdfast.core.where import Condition, matches
from holdfast.errors import Usage
from holdfast.operations.proof import Narrowed
from holdfast.vault.view import VaultView

__all__ = ["Records", "refuse_misfit"]


class Records:
    """The records of one collection at one commit, as a stream of Arrow batches ascending by key.

    Speaks Arrow's stream protocol (`__arrow_c_stream__`), so pandas, Polars and DuckDB take it as it is. Reading
    it again reads the vault again. Memory holds about a segment (28 MB) at a time.
    """

    def __init__(self, view: VaultView, condition: Condition | None = None) -> None:
        self._view = view
        self._shown: View = view if condition is None else Narrowed(view, condition)
        self.name = view.name
        self.schema: Schema = view.schema
        self.ordered = view.ordered
        self.rows = view.rows if condition is None else None
        self.fingerprint = view.fingerprint if condition is None else ""

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Every record once."""
        return self._shown.batches()

    def reader(self) -> pa.RecordBatchReader:
        """The same as an Arrow reader."""
        return pa.RecordBatchReader.from_batches(self.schema.arrow(), self.batches())

    def find(self, key: bytes) -> pa.RecordBatch | None:
        """The record under a canonical key, or None."""
        return self._view.find(key)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self.reader().__arrow_c_stream__(requested_schema)


def refuse_misfit(condition: Condition, name: str, schema: Schema) -> None:
    """Before anything is written: a column or value that this collection has not is told at once."""
    try:
        matches(pa.RecordBatch.from_pylist([], schema.arrow()), condition, schema)
    except Usage as err:
        raise Usage(f"{name}: {err.message}", hint="name only collections that the condition fits") from err
