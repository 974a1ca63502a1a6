"""The sample shop is set back two days and trades on under the same numbers: undo leaves both histories in it."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from holdfast.sample.shop import make_shop
from holdfast.sample.trade import trade
from tests.journeys.desk import Desk
from tests.journeys.plain import ask, backup

# An order as people know it: without a single number that an undo may change.
STORY = """
SELECT o.created_at, o.total_cents, o.email, c.email, c.created_at, p.name, p.wallet, i.issued_at, i.total_cents,
  (SELECT group_concat(l.line_no || l.sku || l.quantity, ' ') FROM order_lines AS l WHERE l.order_id = o.id),
  (SELECT group_concat(reference, ' ') FROM (SELECT provider_reference AS reference FROM payments WHERE order_id = o.id
    ORDER BY provider_reference)),
  (SELECT group_concat(cp.name || m.amount_cents, ' ') FROM commissions AS m JOIN partners AS cp ON cp.id = m.partner_id
    WHERE m.order_id = o.id),
  (SELECT group_concat(code, ' ') FROM (SELECT code FROM licence_keys WHERE order_id = o.id ORDER BY code)),
  (SELECT o2.created_at FROM orders AS o2 WHERE o2.id = i.order_id)
FROM orders AS o JOIN customers AS c ON c.id = o.customer_id LEFT JOIN partners AS p ON p.id = o.partner_id
  LEFT JOIN invoices AS i ON i.id = o.invoice_id WHERE o.id > {after}
"""
DECLARED = """
[collection.products]
add = ["stock", "sold"]
[collection.tenants]
created = "created_at"
[collection.audit_log.refers]
order_id = "orders"
"""


def stories(path: Path, after: int) -> Counter[tuple[object, ...]]:
    return Counter(ask(path, STORY.format(after=after)))


@pytest.fixture
def shop(desk: Desk) -> Desk:
    """A shop that was kept, traded two days, was kept, was set back, and traded on."""
    make_shop(desk.shop, orders=300, seed=1, journal="delete")
    desk.begin()
    with (desk.folder / "holdfast.toml").open("a") as file:
        file.write(DECLARED + "".join(f'[collection.{name}]\ntenant = "tenant_id"\n' for name in OWNED))
    desk("capture")
    backup(desk.shop, desk.folder / "base")
    trade(desk.shop, orders=30, seed=5)
    desk("capture")
    backup(desk.shop, desk.folder / "good")
    shutil.copy(desk.folder / "base", desk.shop)
    trade(desk.shop, orders=12, seed=9)
    backup(desk.shop, desk.folder / "live")
    return desk


OWNED = ("settings", "partners", "customers", "orders", "invoices", "licence_keys", "top_ups", "clicks", "audit_log")


def test_orders_of_both_histories_are_there_once_with_all_that_belongs_to_them(shop: Desk) -> None:
    """By a reader of stories: of both, and nothing else; settings as the vault had them; what waits is named."""
    said = shop("undo", "--conflict", "vault", "--map", "new.csv", code=3)
    assert "proven" in said.out
    base, good, live = (shop.folder / name for name in ("base", "good", "live"))
    ((last,),) = ask(base, "SELECT max(id) FROM orders")
    assert stories(shop.shop, last) == stories(good, last) + stories(live, last)
    assert sum(stories(shop.shop, last).values()) == 42
    for table in ("settings",):
        question = f"SELECT * FROM {table} EXCEPT SELECT * FROM base.{table}"
        with closing(sqlite3.connect(good)) as connection:
            connection.execute(f"ATTACH '{base}' AS base")
            assert connection.execute(question).fetchall()
        assert set(ask(good, f"SELECT * FROM {table}")) - set(ask(base, f"SELECT * FROM {table}")) <= set(
            ask(shop.shop, f"SELECT * FROM {table}")
        )
    ((doubled,),) = ask(base, "SELECT max(id) FROM top_ups")
    codes = [ask(each, f"SELECT payment_code FROM top_ups WHERE id > {doubled}") for each in (good, live)]
    stopped = shop("undo", "--plan", "--json").facts[0]["stopped"]
    assert len([each for each in stopped if "payment_code" in each["why"]]) == len(set(codes[0]) & set(codes[1])) == 1
    assert ask(shop.shop, "PRAGMA foreign_key_check") == ask(live, "PRAGMA foreign_key_check")
    given = [line.split(",") for line in (shop.folder / "new.csv").read_text().splitlines()[1:]]
    assert len([each for each in given if each[0] == "orders"]) == 12
    journal = shop("audit", "--json").facts
    assert [each for each in journal if each.get("kind") == "undo"]
    before = backup(shop.shop, shop.folder / "before").read_bytes()
    assert "nothing to do" in shop("undo", code=3).out
    assert backup(shop.shop, shop.folder / "after").read_bytes() == before


def test_a_shop_that_is_gone_comes_back_tenant_by_tenant_while_the_first_trades_on(shop: Desk) -> None:
    """In a new place, where he takes numbers that others had: they come back under new ones, and all is proven."""
    shutil.copy(shop.folder / "good", shop.shop)
    shop.shop.unlink()
    new = shop.folder / "new.db"
    words = ("undo", "--to", f"sqlite:///{new}")
    assert "no record belongs to 77" in shop(*words, "--tenant", "77", code=2).err
    assert not new.exists()
    assert "left out: " in shop(*words, "--tenant", "3").out
    assert ask(new, "SELECT DISTINCT tenant_id FROM orders") == [(3,)]
    assert "is there already" in shop("undo", "--to", "sqlite:///good", code=5).err
    ((mine, highest),) = ask(new, "SELECT count(*), max(id) FROM orders")
    trade(new, orders=4, seed=11, share_updated=0.2)
    said = shop(*words, "--order", "new")
    assert "proven" in said.out
    turns = [line.split()[-1] for line in said.out.splitlines() if line.startswith("back after") and "tenant" in line]
    assert turns == [str(number) for number in range(12, 0, -1) if number != 3]
    good = shop.folder / "good"
    since = stories(new, 0) - stories(good, 0)
    assert sum(since.values()) >= 4
    others = "SELECT count(*) FROM orders WHERE tenant_id <> 3"
    assert ask(new, others) == ask(good, others)
    assert mine
    assert ask(new, f"SELECT count(*) FROM orders WHERE id > {highest}")[0][0] > 4
    theirs = STORY.format(after=0) + " AND o.tenant_id <> 3"
    assert Counter(ask(new, theirs)) == Counter(ask(good, theirs))
