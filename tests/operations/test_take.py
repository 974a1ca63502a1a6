"""Generations: a base and its deltas, until a new base reads and stores better."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.core.canonical import key_bytes
from holdfast.operations import take
from tests.core.shapes import batch_of
from tests.operations.shop import ORDERS, Office, Shop, clicks, held_in, orders, wanted


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path, Shop({"orders": orders(*range(20)), "clicks": clicks("home")}))


def generation(office: Office) -> tuple[int, str, int]:
    """Of the newest commit's orders: the generation, how they were kept, and how many deltas are read with the base."""
    vault = office.vault()
    state = vault.state().collections["orders"]
    deltas = {each.number for each in state.segments if each.ref.kind == "delta"}
    return state.part.generation, state.part.kind, len(deltas)


def test_after_many_deltas_a_new_base_begins_a_generation(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading never needs more than so many deltas; every commit of either generation stays readable."""
    monkeypatch.setattr(take, "_DELTAS_MAX", 3)
    moments, found = [], []
    for last in range(20, 28):
        office.shop.tables["orders"] = orders(*range(last))
        office.capture()
        moments.append(wanted(office))
        found.append(generation(office))
    first = [(1, "base", 0), (1, "delta", 1), (1, "delta", 2), (1, "delta", 3)]
    assert found == [*first, *((2, kind, number) for _, kind, number in first)]
    for number, moment in enumerate(moments, 1):
        assert held_in(office, number) == moment


def test_captures_without_changes_bring_no_new_base_nearer(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what was stored counts: a shop that rests for a year keeps its base."""
    monkeypatch.setattr(take, "_DELTAS_MAX", 3)
    for _ in range(6):
        office.capture()
    assert generation(office) == (1, "same", 0)


def test_one_record_is_found_as_it_is_in_its_commit(office: Office) -> None:
    """Looked up by key, a record is the newest that its commit holds, and none once it was deleted."""
    for table in (orders(1, 2, note="a"), orders(1, 2, note="b"), orders(1, note="c")):
        office.shop.tables["orders"] = table
        office.capture()
    found = []
    for number in (1, 2, 3):
        view = office.views(number)["orders"]
        rows = [view.find(key_bytes(batch_of(ORDERS, [{"id": each}]), ORDERS)[0].as_py()) for each in (1, 2)]
        found.append([None if row is None else row.column("note")[0].as_py() for row in rows])
    assert found == [["a", "a"], ["b", "b"], ["c", None]]


def test_deltas_that_outgrow_their_base_bring_a_new_one(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that was nearly empty when it was first captured is not read through deltas for ever."""
    monkeypatch.setattr(take, "_DELTA_ROWS_MIN", 65_536)
    office.capture()
    office.shop.tables["orders"] = orders(*range(70_000))
    office.capture()
    assert generation(office) == (1, "delta", 1)
    office.shop.tables["orders"] = orders(*range(1, 70_000))
    captured = office.capture()
    assert generation(office) == (2, "base", 0)
    found = next(each for each in captured.collections if each.name == "orders")
    assert (found.new, found.changed, found.gone) == (0, 0, 1)
