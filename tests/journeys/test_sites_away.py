"""A shop whose sites are all out of reach: captures go on into this host's spool, and are safe only at a site."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path
from sqlite3 import connect

import pytest

from tests.journeys.desk import Desk
from tests.journeys.plain import contents, run_script

SHOP = "CREATE TABLE orders (id INTEGER PRIMARY KEY, total INTEGER); INSERT INTO orders VALUES (1, 10), (2, 20);"


@pytest.fixture
def shop(desk: Desk) -> Desk:
    """A shop that was captured once."""
    run_script(desk.shop, SHOP)
    desk.begin()
    desk("capture")
    return desk


def order(desk: Desk, number: int) -> None:
    with closing(connect(desk.shop)) as shop:
        shop.execute("INSERT INTO orders VALUES (?, ?)", (number, number))
        shop.commit()


def away(desk: Desk, *, back: bool = False) -> None:
    """Take both sites away, or bring them back."""
    for name in ("site-me", "site-ana"):
        here, there = desk.folder / name, desk.folder / f"{name}.away"
        (there if back else here).rename(here if back else there)


def test_captures_wait_in_the_spool_and_come_to_the_sites_later(shop: Desk) -> None:
    """Two captures without any site; then everything is at both, in order, and each state can be had."""
    before = contents(shop.shop)
    away(shop)
    states = []
    for number in (3, 4):
        order(shop, number)
        done = shop("capture", "--json", code=3).facts[0]
        assert done["sites"] == []
        states.append(contents(shop.shop))
    away(shop, back=True)
    assert shop("status", "--json", code=3).facts[0]["color"] != "green"
    assert any("not safe" in each for each in shop("status", "--json", code=3).facts[0]["reasons"])
    order(shop, 5)
    assert "what waited in the spool lies at the sites now" in shop("capture").out
    assert shop("status", "--json").facts[0]["color"] == "green"
    assert shop("verify", "--json").facts[0]["findings"] == []
    assert [shop.restored("--at", str(number)) for number in (1, 2, 3)] == [before, *states]
    assert shop.restored() == contents(shop.shop)


def test_who_looks_or_restores_is_told_that_the_sites_are_away(shop: Desk) -> None:
    """Only a capture goes by the copy of the chain: nothing else passes an old chain for the newest."""
    away(shop)
    for words in (["status"], ["log"], ["show"], ["verify"], ["restore", "--plan"]):
        assert "no site answers" in shop(*words, code=6).err


def test_a_first_capture_needs_a_site(desk: Desk) -> None:
    """Without a copy of the chain there is nothing to go on from."""
    run_script(desk.shop, SHOP)
    desk.begin()
    away(desk)
    assert "no site answers" in desk("capture", code=6).err


def test_a_capture_that_dies_while_the_sites_are_away_loses_nothing_that_was_said_to_be_kept(shop: Desk) -> None:
    """The spool is cut at any byte: what was whole in it comes to the sites, and the next capture goes on or anew."""
    away(shop)
    order(shop, 3)
    shop("capture", code=3)
    spool = shop.folder / ".holdfast" / "spool"
    whole = spool.read_bytes()
    order(shop, 4)
    shop("capture", code=3)
    spool.write_bytes(spool.read_bytes()[: len(whole) + 100])
    away(shop, back=True)
    shop("capture")
    assert shop("verify", "--json").facts[0]["findings"] == []
    assert shop.restored() == contents(shop.shop)
    assert shop("status", "--json").facts[0]["color"] == "green"


def test_what_waits_is_set_aside_and_told_when_another_host_went_on(shop: Desk) -> None:
    """Another host's commit stands where the waiting one would: that is kept in a file, and status is not green."""
    host = shop.folder / ".holdfast"
    shutil.copytree(host, shop.folder / "other", ignore=shutil.ignore_patterns("state.db*", "index", "spool", "chain"))
    away(shop)
    order(shop, 3)
    shop("capture", code=3)
    waiting = (host / "spool").read_bytes()
    host.rename(shop.folder / "first")
    (shop.folder / "other").rename(host)
    away(shop, back=True)
    order(shop, 4)
    shop("capture")
    host.rename(shop.folder / "other")
    (shop.folder / "first").rename(host)
    order(shop, 5)
    assert "another host wrote meanwhile" in shop("capture").out
    assert (host / "spool-aside-1").read_bytes()[: len(waiting)] == waiting
    standing = shop("status", "--json", code=3).facts[0]
    assert any("spool-aside-1" in each for each in standing["reasons"])
    assert shop("verify", "--json").facts[0]["findings"] == []
    assert shop.restored() == contents(shop.shop)
    (host / "spool-aside-1").unlink()
    assert shop("status", "--json").facts[0]["color"] == "green"


def test_the_copy_of_the_chain_holds_no_data(shop: Desk) -> None:
    """Trust and commits, which every site shows anyway; segments and keys are not in it."""
    kinds = {path.relative_to(shop.folder / ".holdfast" / "chain").parts[0] for path in names(shop)}
    assert kinds == {"trust", "commits"}


def names(desk: Desk) -> list[Path]:
    return [path for path in (desk.folder / ".holdfast" / "chain").rglob("*") if path.is_file()]
