"""All is lost but the recovery card and one site; and any moment of the past can be had again."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.journeys.desk import Desk
from tests.journeys.plain import contents, run_script

SHOP = """
    CREATE TABLE orders (id INTEGER PRIMARY KEY, total INTEGER, who TEXT);
    INSERT INTO orders VALUES (1, 10, 'Ana'), (2, 20, 'Bo'), (3, 30, NULL);
    CREATE TABLE visits (page TEXT);
    INSERT INTO visits VALUES ('a'), ('a'), (NULL);
"""


@pytest.mark.parametrize("survivor", ["site-me", "site-ana"])
def test_a_card_and_one_surviving_site_are_enough(desk: Desk, tmp_path: Path, survivor: str) -> None:
    """On a new machine the whole shop comes back from either site, and that freshness is unproven is said."""
    run_script(desk.shop, SHOP)
    desk.begin()
    desk.kept("first")
    run_script(desk.shop, "UPDATE orders SET total = 11 WHERE id = 1; INSERT INTO visits VALUES ('b')")
    kept = desk.kept("second")

    machine = tmp_path / "new-machine"
    machine.mkdir()
    shutil.copytree(desk.folder / survivor, machine / "drive")
    shutil.copyfile(desk.folder / "card.txt", machine / "card.txt")
    desk.shop.unlink()
    words = ("--identity", "card.txt", "--site", "drive")
    said = desk("restore", *words, "--to", "sqlite:///new.db", at=machine)
    assert contents(machine / "new.db") == kept
    assert "freshness is unproven" in said.out
    assert desk("restore", *words, "--to", "sqlite:///again.db", "--json", at=machine).facts[0]["is_fresh"] is False
    assert len(desk("log", *words, "--json", at=machine).facts) == 2
    desk("verify", *words, at=machine)
    assert {each.name for each in machine.iterdir()} == {"drive", "card.txt", "new.db", "again.db"}


def test_two_sites_of_two_owners_prove_each_other_fresh(desk: Desk, tmp_path: Path) -> None:
    """With both sites at hand the newest commit is the newest, and no doubt is raised."""
    run_script(desk.shop, SHOP)
    desk.begin()
    desk("capture")
    machine = tmp_path / "new-machine"
    machine.mkdir()
    sites = [word for name in ("site-me", "site-ana") for word in ("--site", str(desk.folder / name))]
    said = desk("restore", "--identity", "../card.txt", *sites, "--to", "new.db", at=machine)
    assert "unproven" not in said.out


def test_a_site_put_back_to_yesterday_gives_yesterday_and_says_that_it_may_be_old(desk: Desk, tmp_path: Path) -> None:
    """A site set back alone can't be told from a fresh one on a new machine: so the doubt is always spoken out."""
    run_script(desk.shop, SHOP)
    desk.begin()
    yesterday = desk.kept("yesterday")
    shutil.copytree(desk.folder / "site-me", tmp_path / "old")
    run_script(desk.shop, "DELETE FROM orders")
    desk("capture")
    machine = tmp_path / "new-machine"
    machine.mkdir()
    said = desk("restore", "--identity", "../card.txt", "--site", "../old", "--to", "new.db", at=machine)
    assert contents(machine / "new.db") == yesterday
    assert "freshness is unproven" in said.out
    # Together with the other site nothing is hidden: the newest commit is found and the old site named.
    sites = ("--site", "../old", "--site", "../site-ana")
    desk("restore", "--identity", "../card.txt", *sites, "--to", "newest.db", at=machine)
    assert contents(machine / "newest.db")["orders"] == []
    assert "behind" in desk("verify", "--identity", "../card.txt", *sites, code=3, at=machine).out
    # The shop's own machine knows by receipts what that site once held.
    shutil.rmtree(desk.folder / "site-me")
    shutil.copytree(tmp_path / "old", desk.folder / "site-me")
    assert "rolled back" in desk("verify", code=7).out
    assert "rolled back" in desk("status", code=3).out
    desk("heal")
    desk("verify")


def test_five_captures_are_five_moments_by_number_and_by_time(desk: Desk) -> None:
    """Each capture is had again by its number, by its own time, and by any time before the next one's."""
    run_script(desk.shop, SHOP)
    desk.begin()
    states = []
    for number in range(1, 6):
        run_script(
            desk.shop,
            f"UPDATE orders SET total = total + {number} WHERE id = 1; DELETE FROM orders WHERE id = {number};"
            f"INSERT INTO orders VALUES ({number} * 100, {number}, 'x'); INSERT INTO visits VALUES ({number});",
        )
        states.append(desk.kept(str(number)))
    times = [each["at"] for each in desk("log", "--json").facts]
    assert times == sorted(times)
    for number, (state, time) in enumerate(zip(states, times, strict=True), 1):
        assert desk.restored("--at", str(number)) == state
        assert desk.restored("--at", time) == state
        assert desk("show", "orders", "--json", "--at", f"#{number}").facts[-1]["total"] == number
    assert desk.restored() == desk.restored("--at", "2999-01-01") == states[-1]
    early = desk("restore", "--at", "2001-01-01T00:00Z", "--to", "early.db", code=2)
    assert "hint:" in early.err
    assert not (desk.folder / "early.db").exists()


def test_captures_find_exactly_what_the_shop_changed_however_it_trades(desk: Desk) -> None:
    """Rows come and go at both ends and in the middle of a table: each count is right, and each state comes back."""
    run_script(desk.shop, "CREATE TABLE orders (id INTEGER PRIMARY KEY, total); CREATE TABLE visits (page)")
    run_script(desk.shop, _RANGE)
    desk.begin()
    states = [desk.kept("0")]
    trade = [
        ("DELETE FROM orders WHERE id <= 20", (0, 0, 2)),
        ("INSERT INTO orders VALUES (-5, 'first'), (10, 'again')", (2, 0, 0)),
        ("DELETE FROM orders WHERE id < 600; INSERT INTO orders VALUES (1, 1)", (1, 0, 59)),
        ("UPDATE orders SET total = -1 WHERE id IN (1, 600, 5120, 16000)", (0, 4, 0)),
        ("INSERT INTO visits VALUES (1), (1), (NULL)", (3, 0, 0)),
        ("DELETE FROM visits WHERE page IS NULL; INSERT INTO visits VALUES (1)", (1, 0, 1)),
        ("DELETE FROM orders WHERE id > 8000; DELETE FROM visits", (0, 0, 803)),
        ("DELETE FROM orders", (0, 0, 742)),
        ("INSERT INTO orders VALUES (7, 7)", (1, 0, 0)),
        ("UPDATE orders SET total = 7 WHERE id = 7", (0, 0, 0)),
    ]
    for number, (script, counts) in enumerate(trade, 1):
        run_script(desk.shop, script)
        copy = contents(desk.shop)
        # Whoever empties a table so opens an incident (4): the newest state is asked for.
        (facts,) = desk("capture", "--json", code=None).facts
        assert (facts["new"], facts["changed"], facts["gone"]) == counts, script
        states.append(copy)
        assert "equal" in desk("compare", "--at", "latest").err, script
        assert number + 1 == facts["commit"]["sequence"]
    for number in (1, 4, 7, 10, 11):
        assert desk.restored("--at", str(number)) == states[number - 1], number


_RANGE = (
    "WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 1600)"
    " INSERT INTO orders SELECT value * 10, value FROM n"
)
