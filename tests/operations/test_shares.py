"""Shares of an undo: a tenant's records come back with those of others that they refer to."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from holdfast.api import open_vault
from holdfast.begin import Wishes, begin_project
from holdfast.core.declared import Declared
from holdfast.errors import Refused
from holdfast.operations.shares import Wish
from holdfast.operations.tenants import Turns
from tests.operations.test_undo import MANY, Rolled

# Orders of one tenant, of customers who are another's.
CROSSING = {"orders": Declared(tenant="what"), "customers": Declared(tenant="what")}
SHOP = """
CREATE TABLE partners (id INTEGER PRIMARY KEY, tenant INTEGER, of INTEGER REFERENCES partners(id));
CREATE TABLE orders (id INTEGER PRIMARY KEY, tenant INTEGER, partner INTEGER REFERENCES partners(id));
INSERT INTO partners VALUES (1, 2, NULL), (2, 3, 1), (3, 3, NULL), (4, 1, 2);
INSERT INTO orders VALUES (1, 1, 2), (2, 2, 1), (3, 3, 4);
"""


@pytest.mark.parametrize("turns", [Turns(only=("anna's",)), Turns(listed=("anna's", "anna"))])
def test_what_a_tenants_records_refer_to_comes_with_them(tmp_path: Path, turns: Turns) -> None:
    """Twelve orders with their twelve customers, whose own turn comes later or not at all; two under new numbers."""
    rolled = Rolled(tmp_path)
    done = rolled.undo(Wish(turns, policy=MANY), CROSSING)
    share = next(each for each in done.planned.shares if each.tenant == "anna's")
    assert {each.collection.name: each.inserts for each in share.plan.collections} == {
        "orders": 12,
        "customers": 12,
        "lines": 12,
    }
    assert done.is_proven
    customers = rolled.rows("customers")
    orders = [row for row in rolled.rows("orders").values() if row["what"] == "anna's"]
    assert [customers[row["customer"],]["what"] for row in orders] == ["anna"] * 12
    left_out = done.planned.left_out
    assert not rolled.undo(Wish(turns, policy=MANY), CROSSING).written
    assert left_out == (2 if turns.only else 0), "two old orders moved on, which are another tenant's"


def test_a_new_place_has_whatever_its_first_tenant_refers_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over two steps; all others follow, and nothing is there twice."""
    monkeypatch.chdir(tmp_path)
    with closing(sqlite3.connect("shop.db")) as database:
        database.executescript(SHOP)
    begin_project(tmp_path, "shop.db", ["me=site"], Wishes(safe_owners=1))
    with Path("holdfast.toml").open("a") as file:
        file.write('[collection.orders]\ntenant = "tenant"\n[collection.partners]\ntenant = "tenant"\n')
    vault = open_vault(tmp_path / "holdfast.toml")
    vault.capture()
    one, rest = (vault.undo(Wish(turns), to="sqlite:///new.db") for turns in (Turns(only=("1",)), Turns(order="new")))
    assert one.first is not None
    assert (one.first.records, one.is_proven, one.planned.left_out) == (4, True, 3)
    assert (rest.written, rest.is_proven) == (3, True)
    with closing(sqlite3.connect("new.db")) as new, closing(sqlite3.connect("shop.db")) as shop:
        for name in ("orders", "partners"):
            question = f"SELECT * FROM {name} ORDER BY id"
            assert new.execute(question).fetchall() == shop.execute(question).fetchall()


def test_a_column_that_is_gone_is_to_be_added_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hint loses nothing: done as it says, the undo goes through beside what came since."""
    monkeypatch.chdir(tmp_path)
    with closing(sqlite3.connect("shop.db")) as database:
        database.executescript(SHOP + "ALTER TABLE orders ADD COLUMN code TEXT;")
        database.executescript("INSERT INTO orders VALUES (4, 1, NULL, 'K-4')")
    begin_project(tmp_path, "shop.db", ["me=site"], Wishes(safe_owners=1))
    vault = open_vault(tmp_path / "holdfast.toml")
    vault.capture()
    with closing(sqlite3.connect("shop.db")) as database:
        database.executescript("DELETE FROM orders WHERE id = 4; ALTER TABLE orders DROP COLUMN code;")
        with pytest.raises(Refused, match="no longer has the columns code") as caught:
            vault.undo(Wish())
        assert caught.value.hint is not None
        assert caught.value.hint.startswith("add them again, and run it again")
        database.executescript(
            "ALTER TABLE orders ADD COLUMN code TEXT; INSERT INTO orders VALUES (5, 1, NULL, 'since')"
        )
        assert vault.undo(Wish()).is_proven
        assert database.execute("SELECT code FROM orders WHERE id > 3").fetchall() == [("K-4",), ("since",)]


def test_counters_that_went_on_are_nobodys_to_alter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They stand higher than in the copy wherever trade went on, and an undo says nothing of them."""
    monkeypatch.chdir(tmp_path)
    with closing(sqlite3.connect("shop.db")) as database:
        database.executescript("CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT);")
        database.executemany("INSERT INTO orders (what) VALUES (?)", [("tea",)] * 4)
        database.commit()
        begin_project(tmp_path, "shop.db", ["me=site"], Wishes(safe_owners=1))
        vault = open_vault(tmp_path / "holdfast.toml")
        vault.capture()
        database.executescript("DELETE FROM orders WHERE id = 2; INSERT INTO orders (what) VALUES ('since')")
        done = vault.undo(Wish())
    assert (done.written, done.planned.left_alone) == (1, ())
