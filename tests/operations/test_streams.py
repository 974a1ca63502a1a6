"""Records in key order, whatever order they came in and however little memory there is."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.canonical import row_digests
from holdfast.core.records import Column, Schema
from holdfast.errors import HoldfastError, Unreachable
from holdfast.operations import streams
from holdfast.operations.scratch import SealedScratch, sealed_scratch
from holdfast.operations.streams import keyed, prefetched
from holdfast.state.scratch import Scratch, Token
from tests.core.shapes import Row, by_key, held, rows_of, schemas
from tests.operations.shop import ORDERS, Records, orders


@pytest.fixture(autouse=True, scope="module")
def little_memory() -> Iterator[None]:
    """Every few rows are a run of their own, runs lie in several chunks, and three of them are merged early."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streams, "_RUN_BYTES", 300)
        patch.setattr(streams, "_CHUNK_BYTES", 100)
        patch.setattr(streams, "_MERGE_WIDTH", 3)
        yield


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[SealedScratch]:
    with sealed_scratch(tmp_path) as made:
        yield made


@given(schemas().flatmap(lambda schema: st.tuples(st.just(schema), rows_of(schema, max_size=60))), st.integers(1, 20))
@settings(max_examples=60)
def test_every_record_comes_once_in_the_order_of_keys(table: tuple[Schema, list[Row]], batch_rows: int) -> None:
    """Runs that were spilled and merged give the same records and keys as sorting all of them at once."""
    schema, rows = table
    with tempfile.TemporaryDirectory() as folder, sealed_scratch(Path(folder)) as scratch:
        found = list(keyed(Records("t", schema, rows, batch_rows=batch_rows), scratch))
    keys = [key for each in found for key in each.keys.to_pylist()]
    assert keys == sorted(keys)
    assert len(keys) == len(rows)
    assert by_key((each.keys, row_digests(each.batch, schema)) for each in found) == held(schema, rows)


def test_equal_records_without_a_key_are_numbered_across_runs(scratch: SealedScratch) -> None:
    """Copies of one record that lie in different runs still count on: no two get one key, none is lost."""
    schema = Schema((Column("page", "text"),))
    rows: list[Row] = [{"page": each} for each in ["home", "cart"] * 40]
    keys = [key for each in keyed(Records("t", schema, rows), scratch) for key in each.keys.to_pylist()]
    assert sorted(int.from_bytes(key[32:], "big") for key in keys) == sorted([*range(40), *range(40)])
    assert len(set(keys)) == 80


@pytest.mark.parametrize("ordered", [False, True])
def test_two_records_under_one_key_stop_the_reading(scratch: SealedScratch, ordered: bool) -> None:
    """A key that is none would lose a record in every later step, so it is told at once."""
    schema, rows = orders(*range(50), 50, 50)
    with pytest.raises(HoldfastError, match=r"orders: .* two share one"):
        list(keyed(Records("orders", schema, rows, ordered=ordered), scratch))


def test_a_promise_of_order_that_is_not_kept_stops_the_reading(scratch: SealedScratch) -> None:
    """A source's collation may differ from the order of canonical keys: then nothing is taken for sorted."""
    schema, rows = orders(1, 2, 4, 3)
    with pytest.raises(HoldfastError, match="do not rise by key"):
        list(keyed(Records("orders", schema, rows, ordered=True, batch_rows=1), scratch))


def test_what_spills_is_sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No plain value reaches the disk."""
    put, seen = Scratch.put, list[bytes]()

    def watched(self: Scratch, sealed: bytes) -> Token:
        seen.append(sealed)
        return put(self, sealed)

    monkeypatch.setattr(Scratch, "put", watched)
    schema, rows = orders(*range(200), note="a secret of the shop")
    with sealed_scratch(tmp_path) as scratch:
        assert sum(len(each.keys) for each in keyed(Records("orders", schema, rows), scratch)) == 200
    assert len(seen) > 10
    assert b"a secret of the shop" not in b"".join(seen)


def test_a_failure_while_reading_ahead_reaches_who_reads(scratch: SealedScratch) -> None:
    """An error in the thread that reads ahead ends the reading with that error, never as if all had been read."""
    schema, rows = orders(*range(40))
    broken = Records("orders", schema, rows, fails=(5, Unreachable("the disk refused a read", hint="check it")))
    ahead = prefetched(broken.batches())
    assert [next(ahead).num_rows for _ in range(5)] == [3] * 5
    with pytest.raises(Unreachable, match="refused a read"):
        next(ahead)
    with pytest.raises(Unreachable):
        list(keyed(broken, scratch))


def test_records_are_projected_into_the_wanted_columns(scratch: SealedScratch) -> None:
    """Two systems are compared under one schema: a column that one of them lacks is NULL there."""
    wanted = Schema((*ORDERS.columns, Column("extra", "text")), key=("id",))
    schema, rows = orders(2, 1)
    found = list(keyed(Records("orders", schema, rows), scratch, schema=wanted))
    assert pa.Table.from_batches([each.batch for each in found]).column("extra").null_count == 2
    assert [row["id"] for each in found for row in each.batch.to_pylist()] == [1, 2]
