"""Losses through the Python API, on a shop with orders and all that belongs to them: sums, tenants, days, families."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import holdfast
from holdfast.begin import Wishes, begin_project
from holdfast.core.threeway import Fate
from holdfast.errors import Usage

TABLES = """
CREATE TABLE tenants (id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE partners (id INTEGER PRIMARY KEY, tenant_id INTEGER REFERENCES tenants (id), name TEXT);
CREATE TABLE orders (id INTEGER PRIMARY KEY, tenant_id INTEGER REFERENCES tenants (id),
  partner_id INTEGER REFERENCES partners (id), created TEXT, cents INTEGER, currency TEXT, status TEXT);
CREATE TABLE lines (order_id INTEGER REFERENCES orders (id), no INTEGER, sku TEXT, PRIMARY KEY (order_id, no));
CREATE TABLE keys (code TEXT PRIMARY KEY, order_id INTEGER, no INTEGER,
  FOREIGN KEY (order_id, no) REFERENCES lines (order_id, no));
CREATE TABLE payments (id INTEGER PRIMARY KEY, order_id INTEGER REFERENCES orders (id), amount TEXT, created TEXT);
CREATE TABLE prefs (name TEXT PRIMARY KEY, value TEXT);
INSERT INTO tenants VALUES (7, 'Ana'), (8, 'Bo');
INSERT INTO partners VALUES (1, 7, 'Pia');
INSERT INTO orders VALUES (1, 7, 1, '2026-03-01 09:00:00', 100, 'EUR', 'new'),
  (2, 8, NULL, '2026-03-01 10:00:00', 200, 'USD', 'new');
INSERT INTO lines VALUES (1, 1, 'a'), (2, 1, 'b');
INSERT INTO prefs VALUES ('colour', 'red'), ('logo', 'a.png');
"""
LATER = """
UPDATE orders SET status = 'paid' WHERE id = 1;
UPDATE prefs SET value = 'blue' WHERE name = 'colour';
INSERT INTO partners VALUES (2, 8, 'Paul');
INSERT INTO orders VALUES (3, 8, 2, '2026-03-02 09:00:00', 300, 'USD', 'paid'),
  (4, 7, NULL, '2026-03-02 10:00:00', 400, 'EUR', 'new'), (5, 7, NULL, '2026-03-03 10:00:00', 50, 'EUR', 'new');
INSERT INTO lines VALUES (3, 1, 'c'), (3, 2, 'd'), (4, 1, 'e');
INSERT INTO keys VALUES ('K-1', 3, 2);
INSERT INTO payments VALUES (1, 3, '3.00', '2026-03-02 11:00:00'), (2, 1, '1.10', '2026-03-02 12:00:00');
"""
SINCE = """
INSERT INTO orders VALUES (3, 7, 1, '2026-03-04 09:00:00', 900, 'EUR', 'new');
INSERT INTO lines VALUES (3, 1, 'z');
UPDATE prefs SET value = 'b.png' WHERE name = 'logo';
"""
DECLARED = """
[collection.orders]
tenant = "tenant_id"
created = "created"
money = ["cents"]
currency = "currency"
[collection.partners]
tenant = "tenant_id"
[collection.payments]
created = "created"
money = ["amount", "fee"]
[collection.prefs]
settings = true
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop that was captured twice, then set back to the first time, and traded on."""
    folder = tmp_path_factory.mktemp("lost")
    run(folder, TABLES)
    begin_project(folder, str(folder / "shop.db"), [str(folder / "a")], Wishes())
    with (folder / "holdfast.toml").open("a") as config:
        config.write(DECLARED)
    open_vault(folder).capture()
    shutil.copyfile(folder / "shop.db", folder / "backup.db")
    run(folder, LATER)
    open_vault(folder).capture()
    shutil.copyfile(folder / "backup.db", folder / "shop.db")
    run(folder, SINCE)
    return folder


def run(folder: Path, statements: str) -> None:
    with closing(sqlite3.connect(folder / "shop.db")) as database:
        database.executescript(statements)


def open_vault(folder: Path) -> holdfast.OpenVault:
    return holdfast.open_vault(folder / "holdfast.toml")


def test_every_record_is_told_with_whose_it_is_and_when_it_came(shop: Path) -> None:
    """By its own columns, or by the record that its references lead to: a line came when its order did, a licence key
    belongs to whom its line's order does, and what only the source has is the source's own.
    """
    with open_vault(shop).lost() as lost:
        assert lost.parting.state is not None
        assert lost.parting.state.number == 1
        told = {(each.collection, each.key): (each.fate.value, each.tenant, each.day) for each in lost.records()}
        assert [remark for remark in lost.remarks if "fee" in remark] == [
            "payments has no column fee, which holdfast.toml names"
        ]
    assert told == {
        ("keys", "K-1"): ("lost", "8", ""),
        ("lines", "order_id=3,no=1"): ("reused", "8", "2026-03-02"),
        ("lines", "order_id=3,no=2"): ("lost", "8", "2026-03-02"),
        ("lines", "order_id=4,no=1"): ("lost", "7", "2026-03-02"),
        ("orders", "1"): ("reverted", "7", "2026-03-01"),
        ("orders", "3"): ("reused", "8", "2026-03-02"),
        ("orders", "4"): ("lost", "7", "2026-03-02"),
        ("orders", "5"): ("lost", "7", "2026-03-03"),
        ("partners", "2"): ("lost", "8", ""),
        ("payments", "1"): ("lost", "8", "2026-03-02"),
        ("payments", "2"): ("lost", "7", "2026-03-02"),
        ("prefs", "colour"): ("reverted", "", ""),
        ("prefs", "logo"): ("changed", "", ""),
    }


def test_totals_count_each_record_once_and_money_exactly(shop: Path) -> None:
    """By collection, tenant and day; an order whose number another has by now is missing too."""
    with open_vault(shop).lost() as lost:
        totals = lost.totals
        assert not lost.is_nothing
    assert totals.collections["orders"].to_json() == {
        "records": {"lost": 2, "reverted": 1, "reused": 1},
        "missing": {"orders.cents EUR": 450, "orders.cents USD": 300},
    }
    assert totals.collections["payments"].to_json()["missing"] == {"payments.amount": "4.10"}
    assert totals.tenants["8"].to_json() == {
        "records": {"lost": 4, "reused": 2}, "missing": {"orders.cents USD": 300, "payments.amount": 3},
    }  # fmt: skip
    assert totals.days["2026-03-03"].to_json() == {"records": {"lost": 1}, "missing": {"orders.cents EUR": 50}}
    assert {name: sum(each.fates.values()) for name, each in totals.tenants.items()} == {"7": 5, "8": 6, "": 2}


def test_an_order_comes_with_all_that_belongs_to_it(shop: Path) -> None:
    """Its lines, their licence keys and its payments, and what became of the partner that it refers to."""
    with open_vault(shop).lost(["orders"]) as lost:
        families = {each.record.key: each for each in lost.families("orders", fates=[Fate.LOST, Fate.REUSED])}
        assert [each.name for each in lost.collections] == ["orders"]
        assert [each.record.key for each in lost.families("orders", fates=["lost"], limit=1)] == ["4"]
    children = sorted((each.collection, each.key, each.fate.value) for each in families["3"].children)
    assert children == [
        ("keys", "K-1", "lost"), ("lines", "order_id=3,no=1", "reused"), ("lines", "order_id=3,no=2", "lost"),
        ("payments", "1", "lost"),
    ]  # fmt: skip
    assert set(families["3"].parents) == {("tenants", "8", None), ("partners", "2", Fate.LOST)}
    assert families["5"].children == ()


def test_when_it_left_can_be_told(shop: Path) -> None:
    """With a moment given nothing is sought; told that it left after the last good state, all that differs is since."""
    vault = open_vault(shop)
    with vault.lost(since="1") as told, vault.lost() as found:
        assert told.parting.is_told
        assert told.totals.to_json() == found.totals.to_json()
    with vault.lost(since="2") as since:
        assert {each.fate for each in since.records("orders", "prefs")} == {Fate.DELETED, Fate.CHANGED, Fate.REUSED}
    with pytest.raises(Usage, match="no collection 'oders'"), vault.lost(["oders"]):
        raise AssertionError("a collection that nobody has was looked for")


def test_settings_that_drifted_are_told_with_both_values(shop: Path) -> None:
    """Only collections that are declared as settings, the vault's value first."""
    vault = open_vault(shop)
    drifts = [drift for compared in vault.drifted() for drift in vault.drifts(compared)]
    assert [(each.key, each.kind, dict(each.columns), each.at) for each in drifts] == [
        ("colour", "changed", {"value": ("blue", "red")}, None),
        ("logo", "changed", {"value": ("a.png", "b.png")}, None),
    ]
