"""Custody shared among people, as they type it: cards, shares, proofs, restores near and far, and everything lost."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.journeys.desk import Desk
from tests.journeys.plain import contents, run_script

READER = Path(__file__).resolve().parents[2] / "reader" / "holdfast_reader.py"
NAMES = ("ana", "bela", "cleo")


@pytest.fixture
def shared(desk: Desk) -> Desk:
    """A shop captured into two sites, custody shared by ana, bela and cleo (two are needed), and captured again."""
    run_script(desk.shop, "CREATE TABLE orders (id INTEGER PRIMARY KEY, note); INSERT INTO orders VALUES (1, 'one')")
    desk.begin()
    desk("capture")
    holders = []
    for name in NAMES:
        (made,) = desk("custody", "card", name, "--card", f"{name}.txt", "--json").facts
        holders += ["--holder", made["public"]]
    desk("custody", "split", "--threshold", "2", "--identity", "card.txt", *holders)
    run_script(desk.shop, "INSERT INTO orders VALUES (2, 'two')")
    desk("capture")
    return desk


def cards(desk: Desk, *names: str) -> list[str]:
    return [word for name in names for word in ("--identity", str(desk.folder / f"{name}.txt"))]


def test_the_printed_cards_alone_restore_everything_with_coordinator_a_custodian_and_a_site_lost(
    shared: Desk, tmp_path: Path
) -> None:
    """Fault F19: the machine and its disk are gone, one holder and one site too; two cards and the other site bring all
    records back on a fresh machine, with Holdfast and with the stand-alone reader. One card does not.
    """
    before = contents(shared.shop)
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    for name in ("ana", "cleo"):
        shutil.copy(shared.folder / f"{name}.txt", fresh)
    shutil.copytree(shared.folder / "site-ana", fresh / "site")
    for each in [*shared.folder.iterdir()]:
        if each != fresh:
            shutil.rmtree(each) if each.is_dir() else each.unlink()
    two = ["--identity", "ana.txt", "--identity", "cleo.txt"]
    shared("restore", *two, "--site", "site", "--to", "sqlite:///new.db", at=fresh)
    assert contents(fresh / "new.db") == before
    alone = shared("restore", "--identity", "ana.txt", "--site", "site", "--to", "sqlite:///x.db", at=fresh, code=5)
    assert "2 of 3 holders" in alone.err
    assert "--identity" in alone.err
    command = [sys.executable, str(READER), "--card", "ana.txt", "--card", "cleo.txt", "--site", "site"]
    done = subprocess.run(
        [*command, "export", "out.db", "--format", "sqlite"], cwd=fresh, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert contents(fresh / "out.db")["orders"] == before["orders"]
    command = [sys.executable, str(READER), "--card", "cleo.txt", "--site", "site", "export", "no.db"]
    done = subprocess.run(command, cwd=fresh, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "1 of 2 holders" in done.stderr
    assert not (fresh / "no.db").exists()


def test_status_is_red_until_the_holders_proved_and_says_how_many_more_than_needed_are_alive(shared: Desk) -> None:
    """Nobody is green on the word of whoever shared custody: each holder shows it, and page one counts."""
    assert "custody: 2 of 3 holders; 0 alive, -2 to what a restore needs" in shared("status", code=7).out
    for name in NAMES[:2]:
        shared("custody", "prove", *cards(shared, name))
    assert "red" in shared("custody", "check", code=7).out
    shared("custody", "prove", *cards(shared, "cleo"))
    assert "custody: 2 of 3 holders; 3 alive, +1 to what a restore needs" in shared("status").out
    (facts,) = shared("custody", "check", "--json").facts
    assert (facts["color"], [each["alive"] for each in facts["holders"]]) == ("green", [True] * 3)
    shared("verify")


def test_a_holder_far_away_helps_with_an_answer(shared: Desk) -> None:
    """Bela's answer and ana's card restore at once; or make the recovery card, which only its owner reads."""
    recipient = shared("custody", "card", "ana", *cards(shared, "ana"), "--card", "again.txt").out.split("=")[1][:62]
    shared("custody", "open", *cards(shared, "bela"), "--to", recipient, "--answer", "bela.answer")
    assert shared.restored(*cards(shared, "ana"), "--identity", "bela.answer") == contents(shared.shop)
    shared("custody", "combine", "bela.answer", *cards(shared, "ana"), "--card", "whole.txt")
    assert (shared.folder / "whole.txt").stat().st_mode & 0o777 == 0o600
    assert shared.restored("--identity", "whole.txt") == contents(shared.shop)
    assert (
        "answer 1 is to nobody"
        in shared("custody", "combine", "bela.answer", *cards(shared, "cleo"), "--card", "x", code=2).err
    )
    assert not (shared.folder / "x").exists()


def test_the_old_card_opens_the_past_and_nothing_captured_since(shared: Desk) -> None:
    """What was captured before opens to it still, which is why every print of it must go; later records do not."""
    assert len(shared("show", "orders", "--identity", "card.txt", "--at", "1", "--json").facts) == 1
    late = shared("show", "orders", "--identity", "card.txt", "--json", code=None)
    assert late.code == 5
    assert "no key" in late.err or "none of" in late.err
    shared("show", "orders", *cards(shared, "ana", "bela"))


def test_a_stolen_card_is_renewed_and_the_vault_goes_on(desk: Desk) -> None:
    """Without holders too: a new card in the place of the old one, and nothing new is sealed to the old one."""
    run_script(desk.shop, "CREATE TABLE orders (id INTEGER PRIMARY KEY); INSERT INTO orders VALUES (1)")
    desk.begin()
    desk("capture")
    desk("custody", "renew", "--identity", "card.txt", code=2)
    desk("custody", "renew", "--identity", "card.txt", "--card", "new.txt")
    run_script(desk.shop, "INSERT INTO orders VALUES (2)")
    desk("capture")
    assert desk.restored("--identity", "new.txt") == contents(desk.shop)
    desk("show", "orders", "--identity", "card.txt", code=5)
    desk("custody", "renew", "--identity", "card.txt", "--card", "other.txt", code=5)
    desk("verify")
    assert "one recovery card" in desk("status").out


def test_a_thief_of_the_old_card_who_hides_its_renewal_takes_nothing_over(desk: Desk, tmp_path: Path) -> None:
    """The host remembers the newer trust document and the new card names it: nothing is believed, sealed to the thief's
    card or changed, status is red, and a heal puts back what this host holds of it.
    """
    run_script(desk.shop, "CREATE TABLE orders (id INTEGER PRIMARY KEY); INSERT INTO orders VALUES (1)")
    desk.begin()
    desk("capture")
    desk("custody", "renew", "--identity", "card.txt", "--card", "new.txt")
    kept = desk.kept("before")
    hidden = [path.rename(tmp_path / f"{path.name}.{site}") for site in ("me", "ana") for path in _newest(desk, site)]
    assert len(hidden) == 2
    sites = [word for site in ("me", "ana") for word in ("--site", str(desk.folder / f"site-{site}"))]
    thief = tmp_path / "thief"
    thief.mkdir()
    desk("trust", "key", "mine.key", at=thief)
    stolen = str(desk.folder / "card.txt")
    for is_rival in (False, True):
        if is_rival:
            desk("trust", "propose", *sites, "--root", "mine.key", "--identity", stolen, at=thief)
        before = sorted(desk.folder.glob("site-*/**/*"))
        assert "rolled back" in desk("verify", "--identity", "card.txt", code=7).out
        said = desk("status", code=7).out
        assert "red" in said
        assert "rolled back" in said
        for words in (
            ("capture",),
            ("restore", "--to", "sqlite:///x.db"),
            ("restore", "--to", "sqlite:///x.db", "--identity", "card.txt"),
            ("prune", "--mark"),
            ("trust", "propose", "--set", "keep_days=400", "--identity", "card.txt"),
            ("custody", "renew", "--identity", "card.txt", "--card", "other.txt"),
        ):
            assert "no site that answers has trust document" in desk(*words, code=5).err
        late = [each for each in sorted(desk.folder.glob("site-*/**/*")) if each not in before]
        assert all("events" in each.parts for each in late), "what verify found goes into the journal, and no more"
        new = str(desk.folder / "new.txt")
        said_to = desk("restore", *sites, "--identity", new, "--to", "sqlite:///x.db", at=thief, code=5)
        assert "a card knows version 2 of the trust document" in said_to.err
    desk("heal")
    desk("capture")
    assert desk.restored("--identity", "new.txt") == kept
    assert {path.name for path in desk.folder.glob("site-*/trust/00000002-*")} > {hidden[0].stem}


def _newest(desk: Desk, site: str) -> list[Path]:
    return list((desk.folder / f"site-{site}" / "trust").glob("00000002-*"))


def test_a_site_set_back_to_before_the_shares_is_refused_by_a_card(shared: Desk, tmp_path: Path) -> None:
    """A card printed since knows the newer trust document: a site that shows an older one is not believed."""
    shared("custody", "card", "ana", *cards(shared, "ana"), "--card", "again.txt")
    old = tmp_path / "old"
    shutil.copytree(shared.folder / "site-me", old)
    for each in (old / "trust").glob("00000002-*"):
        each.unlink()
    said = shared("restore", "--identity", "again.txt", "--site", str(old), "--to", "sqlite:///x.db", code=5)
    assert "knows version 2 of the trust document" in said.err
