"""A shop whose copies lie in a folder and at a site server, which vouches for what it holds and takes nothing back."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from sqlite3 import connect

import pytest

from tests.journeys.desk import Desk
from tests.journeys.plain import contents, run_script
from tests.site.serving import Serving, serving

SHOP = "CREATE TABLE orders (id INTEGER PRIMARY KEY, total INTEGER); INSERT INTO orders VALUES (1, 10), (2, 20);"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Serving]:
    with serving(tmp_path / "served") as running:
        yield running


@pytest.fixture
def shop(desk: Desk, site: Serving) -> Desk:
    """A shop that is kept in a folder and at the server of another owner."""
    run_script(desk.shop, SHOP)
    token, _ = site.token("shop")
    (desk.folder / "token").write_text(token)
    places = ["--site", "me=site-me", "--site", f"otto={site.url}/shop", "--credentials", "otto=file:token"]
    begun = desk("init", "shop.db", *places, "--card", "card.txt", "--json", "--sites-may-share").facts[0]
    assert begun["site_keys"] == {"otto": site.host.key}  # what the owner can be asked about
    return desk


def order(desk: Desk, number: int) -> None:
    with closing(connect(desk.shop)) as shop:
        shop.execute("INSERT INTO orders VALUES (?, ?)", (number, number))
        shop.commit()


def test_a_site_server_vouches_with_its_own_key_for_every_commit(shop: Desk) -> None:
    """Its receipt is attested, the folder's is not; both sites hold the same names, and nothing is found."""
    shop("capture")
    order(shop, 3)
    shop("capture")
    standing = shop("status", "--json").facts[0]
    assert standing["color"] == "green"
    assert {each["site"]: each["receipt"] for each in standing["sites"]} == {"me": "self", "otto": "attested"}
    assert {each["site"]: each["deletion"]["grade"] for each in standing["sites"]} == {
        "me": "detects",
        "otto": "enforces",
    }
    assert standing["sites"][0]["objects"] == standing["sites"][1]["objects"]
    assert [each for each in shop("verify", "--json").facts[0]["findings"] if each] == []
    assert shop("status", "--json").facts[0]["color"] == "green"


def test_the_card_and_the_server_are_enough_when_all_else_is_gone(
    shop: Desk, site: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folder, host and its keys are lost; the shop comes back from the server, equal."""
    shop("capture")
    before = contents(shop.shop)
    token, _ = site.token("shop", writes=False)  # whoever restores need not be able to write there
    monkeypatch.setenv("HOLDFAST_TOKEN", token)
    for gone in (".holdfast", "site-me"):
        shutil.rmtree(shop.folder / gone)
    shop.shop.unlink()
    done = shop("restore", "--identity", "card.txt", "--site", f"{site.url}/shop", "--to", "sqlite:///back.db")
    assert "not in the journal" in done.out
    assert contents(shop.folder / "back.db") == before


def test_a_server_that_was_away_is_brought_up_and_vouches_again(shop: Desk) -> None:
    """While its vault is out of reach the copy is amber; then all that it missed is brought, and it is green."""
    shop("capture")
    away = (shop.folder / "token").read_text()
    (shop.folder / "token").write_text("wrong")
    order(shop, 3)
    shop("capture", code=3)
    assert shop("status", "--json", code=3).facts[0]["color"] == "amber"
    (shop.folder / "token").write_text(away)
    shop("heal")
    standing = shop("status", "--json").facts[0]
    assert (standing["color"], {each["receipt"] for each in standing["sites"]}) == ("green", {"self", "attested"})


def test_a_folder_that_was_lost_is_rebuilt_from_the_server(shop: Desk) -> None:
    """Every object comes back, the server's own words among them."""
    shop("capture")
    shutil.rmtree(shop.folder / "site-me")
    (shop.folder / "site-me").mkdir()
    assert shop("status", "--json", code=3).facts[0]["color"] == "amber"
    shop("heal")
    assert shop("verify", "--json").facts[0]["findings"] == []
    shop("capture")
    assert shop("status", "--json").facts[0]["color"] == "green"


def test_without_a_token_the_site_says_what_is_missing(shop: Desk) -> None:
    """A configuration without credentials is told at once, with the way to them."""
    config = shop.folder / "holdfast.toml"
    config.write_text(config.read_text().replace('credentials = "file:token"\n', ""))
    assert "needs a token" in shop("status", code=2).err
