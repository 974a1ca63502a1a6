"""Opening a vault with a card: only with its own, and without believing one site that it holds the newest."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

import holdfast
from holdfast.begin import Wishes, begin_project
from holdfast.custody import SharedCustody, Where
from holdfast.errors import Refused
from holdfast.identities import held_in
from holdfast.operations.trust import Changes, cosign, propose, publish
from holdfast.vault.keys import new_identity, recipient_of
from holdfast.vault.signing import OBSERVER, ROOT, SigningKey


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A shop captured into two sites of two owners; its card lies beside it as `card`."""
    return captured(tmp_path / "shop")


def captured(folder: Path) -> Path:
    folder.mkdir()
    with closing(sqlite3.connect(folder / "shop.db")) as database:
        database.execute("CREATE TABLE orders (id INTEGER PRIMARY KEY)")
    begun = begin_project(folder, "shop.db", ["ana=a", "bela=b"], Wishes(sites_may_share=True))
    (folder / "card").write_text(begun.card)
    holdfast.open_vault(folder / "holdfast.toml").capture()
    return folder


def test_the_card_of_another_vault_is_refused(shop: Path, tmp_path: Path) -> None:
    """Nobody reads a vault that somebody put in the place of the one his card names."""
    other = captured(tmp_path / "other")
    with pytest.raises(Refused, match="the card is for vault"):
        holdfast.open_vault(shop / "holdfast.toml", identity=other / "card")
    with pytest.raises(Refused, match="the card is for vault"):
        holdfast.open_vault(sites=[str(shop / "a")], identity=other / "card")
    assert holdfast.open_vault(sites=[str(shop / "a")], identity=shop / "card").vault.head is not None


def test_a_key_that_a_lost_trust_document_brought_opens_nothing_on_an_older_one(shop: Path) -> None:
    """What the lost document revoked would count again: a renewed card, and its bare key alone, tell."""
    SharedCustody(Where(shop / "holdfast.toml")).renew(shop / "card", card=shop / "new")
    key = shop / "key"
    key.write_text((shop / "new").read_text().splitlines()[-1])
    with closing(sqlite3.connect(shop / "shop.db")) as database:
        database.execute("CREATE TABLE later (id INTEGER PRIMARY KEY)")
    holdfast.open_vault(shop / "holdfast.toml").capture()
    sites = [str(shop / "a"), str(shop / "b")]
    assert "later" in holdfast.open_vault(sites=sites, identity=key).state().collections
    for site in sites:
        next(Path(site, "trust").glob("00000002-*")).unlink()
    with pytest.raises(Refused, match="a card knows version 2 of the trust document"):
        holdfast.open_vault(sites=sites, identity=shop / "new")
    with pytest.raises(Refused, match="no trust document that a site has"):
        holdfast.open_vault(sites=sites, identity=key).state()


def test_the_next_capture_brings_a_change_of_trust_to_a_site_that_was_away(shop: Path) -> None:
    """It lacked no commit; without the document it alone would open nothing to the reader whom that names."""
    key, card = new_identity(), held_in(shop / "card").identities[0]
    reader = (recipient_of(key), SigningKey.derive(key, OBSERVER).public_hex, ("*",))
    (shop / "key").write_text(key)
    away = (shop / "b").rename(shop / "away")
    vault = holdfast.open_vault(shop / "holdfast.toml").vault
    draft = propose(vault, Changes(readers=[reader]))
    assert publish(vault, cosign(vault, [draft.data], "draft", SigningKey.derive(card, ROOT))).held == ("ana",)
    away.rename(shop / "b")
    with closing(sqlite3.connect(shop / "shop.db")) as database:
        database.execute("CREATE TABLE later (id INTEGER PRIMARY KEY)")
    holdfast.open_vault(shop / "holdfast.toml").capture()
    assert "later" in holdfast.open_vault(sites=[str(shop / "b")], identity=shop / "key").state().collections


def test_one_site_alone_does_not_prove_that_it_holds_the_newest(shop: Path) -> None:
    """It may have been put back to yesterday, and nothing in it would tell; a second owner or this host does."""
    card, sites = shop / "card", [str(shop / "a"), str(shop / "b")]
    assert holdfast.open_vault(shop / "holdfast.toml").is_fresh
    assert holdfast.open_vault(sites=sites, identity=card).is_fresh
    assert not holdfast.open_vault(sites=sites[:1], identity=card).is_fresh
    shutil.rmtree(shop / ".holdfast")
    assert not holdfast.open_vault(sites=sites[1:], identity=card).is_fresh
