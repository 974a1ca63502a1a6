"""From one engine into another: what the proof sees, with a target that loses something on purpose."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pytest

from holdfast.connectors.sqlite import SqliteReader, SqliteWriter
from holdfast.core.mapping import Definitions, Dialect, NamedMapping, make_mapping
from holdfast.core.ports import Created, Foreign, View
from holdfast.core.records import Collection, Column, Schema
from holdfast.operations.mapped import move
from holdfast.operations.scratch import sealed_scratch
from holdfast.operations.target import Target

SCHEMA = Schema((Column("id", "int"), Column("paid", "bool"), Column("at", "timestamptz")), ("id",))
NAME = "orders"


@dataclass
class Wanted:
    """Some orders, of which no commit signed anything."""

    schema: Schema = SCHEMA
    name: str = NAME
    ordered: bool = True
    rows: int | None = None
    fingerprint: str = ""

    def batches(self) -> Iterator[pa.RecordBatch]:
        rows = [{"id": number, "paid": number % 2 == 0, "at": number} for number in range(1000)]
        yield pa.RecordBatch.from_pylist(rows, self.schema.arrow())


class Losing:
    """Writes to SQLite all but what `spoil` takes from a batch."""

    dialect: Dialect

    def __init__(self, path: Path, spoiled: str) -> None:
        self._writer = SqliteWriter(path)
        self._spoiled = spoiled
        self.dialect = self._writer.dialect

    def create_mapped(self, mapping: NamedMapping, views: Iterable[View]) -> Created:
        return self._writer.create_mapped(mapping, [Spoiled(view, self._spoiled) for view in views])


class Spoiled:
    """A view that is not what it was."""

    ordered = False

    def __init__(self, view: View, how: str) -> None:
        self._view = view
        self._how = how
        self.name, self.schema = view.name, view.schema

    def batches(self) -> Iterator[pa.RecordBatch]:
        for batch in self._view.batches():
            if self._how == "a record":
                yield batch.slice(1)
            elif self._how == "a value":
                nulls = pa.nulls(batch.num_rows, pa.string())
                yield batch.set_column(2, batch.schema.field(2), nulls)
            else:
                yield batch


@pytest.mark.parametrize("lost", ["a record", "a value", "nothing"])
def test_what_a_target_lost_is_found_by_the_proof(tmp_path: Path, lost: str) -> None:
    """The new database itself is read back, so a writer that loses something does not pass."""
    path = tmp_path / "new.db"
    writer = Losing(path, lost)
    target = Target("new", SqliteReader(path), SqliteWriter(path), Foreign(writer, lambda _: None))
    mapping = make_mapping([Collection(NAME, SCHEMA)], Definitions("there"), writer.dialect)
    with sealed_scratch(tmp_path) as scratch:
        _, (proof,) = move({NAME: Wanted()}, mapping, target, scratch, lambda _: None)
    assert proof.is_equal is (lost == "nothing")
    assert proof.wanted.rows == 1000
    if lost == "a record":
        assert proof.tally is not None
        assert proof.tally.missing == 1
