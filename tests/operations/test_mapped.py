"""From one engine into another: what the proof sees, with a target that loses something on purpose."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.connectors.sqlite import SqliteReader, SqliteWriter
from holdfast.core.dialect import Definitions, Dialect, Kept
from holdfast.core.fits import moments_between
from holdfast.core.forms import FORMS
from holdfast.core.mapping import NamedMapping, make_mapping
from holdfast.core.ports import Created, Foreign, View
from holdfast.core.records import Collection, Column, Schema
from holdfast.errors import Refused
from holdfast.operations.mapped import Mover
from holdfast.operations.scratch import sealed_scratch
from holdfast.operations.target import Target
from tests.core.shapes import Row, batch_of, rows_of, schemas

SCHEMA = Schema((Column("id", "int"), Column("paid", "bool"), Column("at", "timestamptz")), ("id",))
NAME = "orders"
TEXT = Kept(FORMS["text"], "TEXT")


@dataclass
class Wanted:
    """Some orders, or the rows given, of which no commit signed anything."""

    schema: Schema = SCHEMA
    name: str = NAME
    ordered: bool = True
    rows: int | None = None
    fingerprint: str = ""
    drawn: Sequence[Row] | None = None

    def batches(self) -> Iterator[pa.RecordBatch]:
        if self.drawn is not None:
            yield batch_of(self.schema, self.drawn)
            return
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
        (proof,) = Mover(target, scratch, lambda _: None, lambda _: None).move({NAME: Wanted()}, mapping).proofs
    assert proof.is_equal is (lost == "nothing")
    assert proof.wanted.rows == 1000
    if lost == "a record":
        assert proof.tally is not None
        assert proof.tally.missing == 1


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_drawn_is_proven_in_a_real_file(tmp_path: Path, data: st.DataObject) -> None:
    """Every canonical type with any of its values, with a key and without: read back, it is the same."""
    path = tmp_path / f"{uuid.uuid4()}.db"
    schema = data.draw(schemas().filter(lambda each: not any("\x00" in name for name in each.names)))
    rows = data.draw(rows_of(schema))
    writer = SqliteWriter(path)
    target = Target("new", SqliteReader(path), writer, Foreign(writer, lambda _: None))
    mapping = make_mapping([Collection(NAME, schema)], Definitions("there"), writer.dialect)
    with sealed_scratch(tmp_path) as scratch:
        mover = Mover(target, scratch, lambda _: None, lambda _: None)
        (proof,) = mover.move({NAME: Wanted(schema, drawn=rows)}, mapping).proofs
    assert (proof.is_equal, proof.found.rows) == (True, len(rows))


def test_a_value_without_any_form_is_refused_by_name_and_nothing_is_there(tmp_path: Path) -> None:
    """It is never dropped, and no half of the target is left: the collection, the column and the value are told."""
    path = tmp_path / "new.db"
    writer = Losing(path, "nothing")
    short = Kept(FORMS["text"].only(moments_between(0, 900), "a short time"), "TEXT")
    writer.dialect = replace(writer.dialect, kept=lambda column, _: short if column.type == "timestamptz" else TEXT)
    target = Target("new", SqliteReader(path), SqliteWriter(path), Foreign(writer, lambda _: None))
    mapping = make_mapping([Collection(NAME, SCHEMA)], Definitions("there"), writer.dialect)
    with (
        sealed_scratch(tmp_path) as scratch,
        pytest.raises(Refused, match=r"orders\.at: a short time can't"),
    ):
        Mover(target, scratch, lambda _: None, lambda _: None).move({NAME: Wanted()}, mapping)
    assert list(tmp_path.glob("new*")) == []
