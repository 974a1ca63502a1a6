"""Every version of one record: as many as the vault saw, each once, whatever generations lie between."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.core.canonical import tagged_value
from holdfast.core.records import Column, Schema
from holdfast.errors import Usage
from holdfast.operations import take
from holdfast.operations.history import history
from tests.operations.shop import ORDERS, Office, Shop, Table, clicks, orders
from tests.vault.following import GONE, Following, Tx
from tests.vault.test_instants import at, story
from tests.vault.world import START


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path, Shop({"orders": orders(1, 2, 3), "clicks": clicks("home")}))


def captured(office: Office, *tables: Table | None) -> None:
    """A capture of each state of the orders; None: the table is gone."""
    for table in tables:
        if table is None:
            del office.shop.tables["orders"]
        else:
            office.shop.tables["orders"] = table
        office.capture()


def told(office: Office, key: str = "2") -> list[tuple[int, str, str | None, tuple[str, ...]]]:
    """Commit, kind, note and changed columns of each version."""
    versions = history(office.vault(), "orders", key)[1]
    notes = [None if each.row is None else each.row.column("note")[0].as_py() for each in versions]
    return [(each.number, each.kind, note, each.changed) for each, note in zip(versions, notes, strict=True)]


def test_a_record_is_followed_from_its_first_to_its_last_state(office: Office) -> None:
    """New, changed with the columns that differ, gone, new again; captures in which it rested add nothing."""
    paid = tagged_value("int", 5)
    captured(
        office,
        orders(1, 2, 3),
        orders(1, 2, 3, 4),
        orders(1, 2, 3, note="b", paid=paid),
        orders(1, 3, note="b", paid=paid),
        orders(1, 3, note=None),
        orders(1, 2, 3, note=None),
    )
    assert told(office) == [
        (1, "new", "", ()),
        (3, "changed", "b", ("note", "paid")),
        (4, "gone", None, ()),
        (6, "new", None, ()),
    ]


def test_minus_zero_is_a_change_from_zero(office: Office) -> None:
    """A version that differs in the sign of a zero alone names its column: what has other bytes has changed."""
    weighed = Schema((*ORDERS.columns, Column("kilos", "float")), key=("id",))
    for kilos in (0.0, -0.0, -0.0, float("nan"), float("nan")):
        captured(office, (weighed, [{"id": 2, "note": "", "kilos": kilos}]))
    assert told(office) == [(1, "new", "", ()), (2, "changed", "", ("kilos",)), (4, "changed", "", ("kilos",))]


def test_a_new_base_is_no_change(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """A generation stores each record anew, and says nothing new of it."""
    monkeypatch.setattr(take, "_DELTAS_MAX", 1)
    captured(office, orders(1, 2), orders(1, 2, 3), orders(1, 2, 3, 4), orders(1, 2, 3, 4, 5))
    assert told(office) == [(1, "new", "", ())]


def test_a_base_without_the_record_tells_that_it_is_gone(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """What vanished in the capture that began a generation has no deletion of its own there."""
    monkeypatch.setattr(take, "_DELTAS_MAX", 1)
    captured(office, orders(1, 2), orders(1, 2, 3), orders(1, 3))
    assert told(office) == [(1, "new", "", ()), (3, "gone", None, ())]


def test_a_dropped_table_takes_its_records_with_it(office: Office) -> None:
    """Gone with the table, and new when it comes back."""
    captured(office, orders(1, 2), None, orders(1, 2))
    assert told(office) == [(1, "new", "", ()), (2, "gone", None, ()), (3, "new", "", ())]


def test_versions_of_different_columns_are_shown_under_one_schema(office: Office) -> None:
    """A column that came or went is among those that changed; the schema that is given holds both."""
    wider = Schema((*ORDERS.columns, Column("new", "int")), key=("id",))
    captured(office, orders(1, 2), (wider, [{"id": 2, "note": "", "new": 7}]))
    assert told(office) == [(1, "new", "", ()), (2, "changed", "", ("new",))]
    assert history(office.vault(), "orders", "2")[0].names == wider.names


def test_a_record_that_never_was_has_no_versions(office: Office) -> None:
    """Nothing is told of a key that no commit held."""
    captured(office, orders(1, 2))
    assert told(office, "99") == []


def test_what_can_have_no_history_is_said(office: Office) -> None:
    """Records without a key can't be followed, and an unknown collection is a mistake."""
    office.capture()
    with pytest.raises(Usage, match="no key"):
        history(office.vault(), "clicks", "home")
    with pytest.raises(Usage, match="no collection 'order'"):
        history(office.vault(), "order", "1")


Told = list[tuple[int, str, object, float, str]]


def told_of(shop: Following, name: str, key: str) -> Told:
    """Commit, kind, note, seconds after the start and transaction of each version."""
    versions = history(shop.vault(), name, key)[1]
    notes = [None if each.row is None else each.row.column("note")[0].as_py() for each in versions]
    seconds = [(each.at - START).total_seconds() for each in versions]
    shown = zip(versions, notes, seconds, strict=True)
    return [(each.number, each.kind, note, second, each.tx) for each, note, second in shown]


def test_of_a_source_that_was_followed_every_version_is_told() -> None:
    """With the source's own times and transactions: also what changed and changed back within one commit."""
    shop = story()
    assert told_of(shop, "orders", "1") == [
        (1, "new", "a", 0, ""),
        (2, "changed", "b", 10, "t1"),
        (2, "gone", None, 20, "t2"),
        (2, "new", "again", 20, "t3"),
        (3, "changed", "d", 30, "t5"),
        (3, "changed", "e", 50, "t6"),
    ]
    assert told_of(shop, "orders", "3") == [(2, "new", "c", 20, "t2"), (2, "gone", None, 30, "t4")]
    assert told_of(shop, "people", "6") == [(2, "new", "y", 10, "t1"), (4, "changed", "z", 70, "t7")]


def test_a_transaction_that_left_a_record_as_it_was_adds_no_version() -> None:
    """A row that says the same again, and a deletion of what was not there."""
    shop = Following({"orders": {1: "a"}})
    shop.commit([Tx("t1", at(1), {("orders", 1): "a", ("orders", 2): GONE}), Tx("t2", at(2), {("orders", 1): "b"})])
    assert told_of(shop, "orders", "1") == [(1, "new", "a", 0, ""), (2, "changed", "b", 2, "t2")]
    assert told_of(shop, "orders", "2") == []


def test_a_base_after_changes_is_no_change() -> None:
    """Neither a new generation nor a whole commit adds a version; a drop in a partial commit does."""
    shop = story()
    before = told_of(shop, "orders", "1")
    shop.commit([], bases=["orders"], whole=True, at=at(90))
    shop.commit([], whole=True, at=at(100))
    assert told_of(shop, "orders", "1") == before
    shop.commit([], drops=["orders"], at=at(110))
    assert told_of(shop, "orders", "1") == [*before, (7, "gone", None, 110, "")]
