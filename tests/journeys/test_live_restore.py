"""Records put back into a shop that goes on trading: by a plan that is carried out whole or not at all."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import holdfast
from holdfast.core.events import Progress
from holdfast.errors import TargetChanged
from holdfast.operations.restore import Choice
from tests.journeys.desk import Desk
from tests.journeys.plain import ask, contents, run_script

SHOP = """
    CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
    CREATE TABLE orders (id INTEGER PRIMARY KEY, customer INTEGER REFERENCES customers, total INTEGER, status TEXT);
    CREATE TABLE visits (page TEXT);
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)
        INSERT INTO customers SELECT i, 'customer ' || i FROM n;
    INSERT INTO orders SELECT id, id, id * 10, CASE WHEN id % 3 THEN 'paid' ELSE 'open' END FROM customers;
    INSERT INTO visits VALUES ('a'), ('a'), ('b');
    CREATE TABLE log (at INTEGER PRIMARY KEY, what TEXT);
    CREATE TRIGGER noted AFTER INSERT ON orders BEGIN INSERT INTO log (what) VALUES ('order ' || new.id); END;
"""
LOSS = "DELETE FROM orders WHERE id BETWEEN 50 AND 149; UPDATE customers SET name = '?' WHERE id < 20"

# Trades as fast as it can, one order and one visit a transaction, until its standard input ends.
TRADER = """
import select, sqlite3, sys
shop = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
shop.execute("PRAGMA synchronous = OFF")
number = 1000
print("open", flush=True)
while not select.select([sys.stdin], [], [], 0.002)[0]:
    number += 1
    shop.execute("BEGIN IMMEDIATE")
    shop.execute("INSERT INTO orders VALUES (?, 1, ?, 'new')", (number, number))
    shop.execute("INSERT INTO visits VALUES ('shop')")
    shop.execute("UPDATE customers SET name = name || '' WHERE id = 200")
    shop.execute("COMMIT")
print(number, flush=True)
"""


@pytest.fixture
def shop(desk: Desk) -> Desk:
    """A shop that was kept once."""
    run_script(desk.shop, SHOP)
    desk.begin()
    desk("capture")
    return desk


@contextmanager
def trading(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Trade in a process of its own while the block runs."""
    process = subprocess.Popen(
        [sys.executable, "-c", TRADER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield process
    finally:
        process.communicate()


def test_a_restore_into_a_trading_shop_is_done_whole_or_not_at_all(shop: Desk) -> None:
    """However often the shop wins the race: never half of the records, never one of the shop's own lost."""
    run_script(shop.shop, LOSS)
    codes = []
    with trading(shop.shop):
        for _ in range(6):
            said = shop("restore", "orders", "customers", code=None)
            codes.append(said.code)
            back = ask(shop.shop, "SELECT count(*) FROM orders WHERE id < 1000")[0][0]
            assert back in (200, 300), f"{back} of 300 orders: half a restore\n{said}"
            assert said.code in (0, 5, 6), said
            assert (back == 300) == (0 in codes), said
            if said.code:
                assert "holdfast: hint: " in said.err
    shop("restore", "orders", "customers")
    now = contents(shop.shop)
    new = [row for row in now["orders"] if row[1] >= 1000]
    assert [row[1] for row in new] == list(range(1001, 1001 + len(new))), "an order of the trading shop is lost"
    assert ask(shop.shop, "SELECT count(*) FROM visits WHERE page = 'shop'") == [(len(new),)]
    assert ask(shop.shop, "SELECT count(*) FROM customers WHERE name LIKE 'customer %'") == [(300,)]
    assert ask(shop.shop, "SELECT count(*) FROM log") == [(len(new),)], "the shop's trigger fired for restored records"


@pytest.mark.parametrize(
    "meanwhile",
    [
        "INSERT INTO orders VALUES (60, 1, 1, 'the number was given anew')",
        "UPDATE customers SET name = 'Bo' WHERE id = 3",
        "DELETE FROM customers WHERE id = 3",
        "DROP TABLE orders",
        "ALTER TABLE orders ADD COLUMN note TEXT",
    ],
)
def test_a_plan_is_refused_and_nothing_written_when_the_shop_moved_under_it(shop: Desk, meanwhile: str) -> None:
    """What a plan counts on is checked when it is carried out: one record that moved stops all of it."""
    run_script(shop.shop, LOSS)
    moved: list[object] = []

    def move(step: Progress) -> None:
        if step.stage == "apply" and not moved:
            code = "import sqlite3, sys; sqlite3.connect(sys.argv[1], isolation_level=None).execute(sys.argv[2])"
            subprocess.run([sys.executable, "-c", code, str(shop.shop), meanwhile], check=True)
            moved.append(contents(shop.shop))

    vault = holdfast.open_vault(shop.folder / "holdfast.toml")
    with pytest.raises(TargetChanged) as caught:
        vault.restore(Choice(("orders", "customers")), emit=move)
    assert caught.value.hint
    assert [contents(shop.shop)] == moved


def test_what_the_shop_did_elsewhere_meanwhile_does_not_stop_a_plan(shop: Desk) -> None:
    """New orders, and changes of records that the plan leaves alone, go on beside it."""
    run_script(shop.shop, LOSS)

    def trade(step: Progress) -> None:
        if step.stage == "apply":
            code = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(sys.argv[2])"
            deal = "INSERT INTO orders VALUES (900, 1, 1, 'new'); UPDATE customers SET name = 'Bo' WHERE id = 200;"
            subprocess.run([sys.executable, "-c", code, str(shop.shop), deal], check=True)

    done = holdfast.open_vault(shop.folder / "holdfast.toml").restore(Choice(("orders",)), emit=trade)
    assert done.is_proven
    assert ask(shop.shop, "SELECT count(*) FROM orders") == [(301,)]
    assert ask(shop.shop, "SELECT name FROM customers WHERE id = 200") == [("Bo",)]


def test_records_that_came_since_stay_unless_deleting_was_asked_for(shop: Desk) -> None:
    """The plan counts them as left in place; with --delete they go and the shop equals the commit."""
    kept = contents(shop.shop)
    run_script(
        shop.shop, LOSS + "; INSERT INTO orders VALUES (900, 1, 1, 'new'); INSERT INTO visits VALUES ('a'), ('c')"
    )
    planned = shop("restore", "--plan").out
    assert "orders: 100 to insert, 0 to put back, 1 newer left in place" in planned
    assert "visits: 0 to insert, 0 to put back, 2 newer left in place" in planned
    said = shop("restore").out
    assert "orders: all records are back: 1 newer kept, 0 missing, 0 changed" in said
    assert ask(shop.shop, "SELECT count(*) FROM orders") == [(301,)]
    assert ask(shop.shop, "SELECT count(*) FROM visits") == [(5,)]
    assert "nothing to do" in shop("restore", "--plan").out
    assert "to delete" in shop("restore", "--delete", "--plan").out
    assert ask(shop.shop, "SELECT count(*) FROM orders") == [(301,)]
    # The log is the trigger's: the orders inserted by hand above have left one entry.
    assert "proven: all" in shop("restore", "--delete").out
    assert contents(shop.shop) == kept


def test_only_records_that_meet_the_condition_are_put_back(shop: Desk) -> None:
    """--where narrows both sides; what else the loss did stays as it is."""
    run_script(shop.shop, LOSS + "; UPDATE orders SET status = 'lost' WHERE id = 150")
    condition = ("--where", "total >= 600 and total < 1000 and status = paid")
    assert "orders: 26 to insert, 0 to put back" in shop("restore", "orders", *condition, "--plan").out
    shop("restore", "orders", *condition)
    assert ask(shop.shop, "SELECT count(*), min(id), max(id) FROM orders WHERE id < 150") == [(75, 1, 98)]
    assert ask(shop.shop, "SELECT status FROM orders WHERE id = 150") == [("lost",)]
    assert ask(shop.shop, "SELECT count(*) FROM customers WHERE name = '?'") == [(19,)]
    wrong = shop("restore", "--where", "total > 10", "--plan", code=2)
    assert "total" in wrong.err
    assert "orders" in wrong.err or "customers" in wrong.err, "the error does not say which collection lacks the column"


def test_one_collection_comes_back_and_no_other(shop: Desk) -> None:
    """Collections that were not named are neither read into the plan nor written."""
    run_script(shop.shop, LOSS)
    planned = shop("restore", "customers", "--plan").out
    assert "customers: 0 to insert, 19 to put back" in planned
    assert "orders" not in planned
    shop("restore", "customers")
    assert ask(shop.shop, "SELECT count(*) FROM orders") == [(200,)]
    assert ask(shop.shop, "SELECT count(*) FROM customers WHERE name = '?'") == [(0,)]
    assert shop("restore", "customers").out.count("nothing to do") == 1, "a second run is not idempotent"


def test_a_large_change_of_the_live_shop_needs_the_approval_of_exactly_that_plan(shop: Desk) -> None:
    """Above the limit of the policy nothing is written before the plan's own id comes back; another id never counts."""
    config = shop.folder / "holdfast.toml"
    config.write_text(config.read_text() + "confirm_above = 50\n")
    run_script(shop.shop, LOSS)
    before = contents(shop.shop)
    refused = shop("restore", code=5)
    assert "119 records of a live system; above 50 it needs approval" in refused.err
    approved = refused.err.split("--approve ")[1].split()[0]
    assert contents(shop.shop) == before
    for wrong in ("abcd1234", approved[:2], "0" * 64):
        assert "is not for this plan" in shop("restore", "--approve", wrong, code=5).err
    run_script(shop.shop, "DELETE FROM orders WHERE id = 1")
    assert "is not for this plan" in shop("restore", "--approve", approved, code=5).err
    approved = shop("restore", code=5).err.split("--approve ")[1].split()[0]
    shop("restore", "--approve", approved)
    assert ask(shop.shop, "SELECT count(*) FROM orders") == [(300,)]


def test_numbers_given_since_the_capture_are_not_given_again_by_a_restore(desk: Desk) -> None:
    """The counter of AUTOINCREMENT stays ahead of what came since, and that is no failure of the restore."""
    run_script(
        desk.shop,
        "CREATE TABLE bills (id INTEGER PRIMARY KEY AUTOINCREMENT, total);"
        "INSERT INTO bills (total) VALUES (1), (2), (3)",
    )
    desk.begin()
    desk("capture")
    run_script(desk.shop, "INSERT INTO bills (total) VALUES (4), (5); DELETE FROM bills WHERE id IN (2, 5)")
    desk("restore")
    assert ask(desk.shop, "SELECT id FROM bills") == [(1,), (2,), (3,), (4,)]
    run_script(desk.shop, "INSERT INTO bills (total) VALUES (6)")
    assert ask(desk.shop, "SELECT max(id) FROM bills") == [(6,)]
    run_script(desk.shop, "DROP TABLE bills")
    desk("restore")
    assert ask(desk.shop, "SELECT seq FROM sqlite_sequence") == [(3,)]


def test_a_reference_that_led_nowhere_in_the_shop_comes_back_as_it_was(desk: Desk) -> None:
    """SQLite enforces no references by habit: what the shop held must come back, orphans too, and the proof holds."""
    run_script(desk.shop, SHOP + "INSERT INTO orders VALUES (700, 4711, 1, 'its customer was deleted long ago')")
    desk.begin()
    kept = desk.kept("kept")
    run_script(desk.shop, "DELETE FROM orders WHERE id > 600")
    desk("restore")
    assert contents(desk.shop) == kept


def test_a_locked_shop_is_named_as_such_and_stays_as_it_is(shop: Desk) -> None:
    """A program that holds the database makes capture and restore give up with code 6, and nothing is half done."""
    run_script(shop.shop, LOSS)
    before, commits = contents(shop.shop), len(shop("log", "--json").facts)
    code = (
        "import sqlite3, sys; shop = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "shop.execute('BEGIN EXCLUSIVE'); print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(shop.shop)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        elsewhere = shop.folder / "elsewhere"
        elsewhere.mkdir()
        started = [
            shop.start("capture"),
            shop.start("restore", "orders"),
            shop.start("init", "../shop.db", "--site", "site", at=elsewhere),
        ]
        for process in started:
            _, err = process.communicate(timeout=60)
            assert process.returncode == 6, err
            assert "holdfast: error: " in err
            assert "locked" in err
            assert "holdfast: hint: another program holds it" in err
        holder.communicate()
    assert contents(shop.shop) == before
    assert len(shop("log", "--json").facts) == commits
    assert list(elsewhere.iterdir()) == [], "an init that failed left something behind"
    shop("verify")
    shop("restore")
    shop("capture")
