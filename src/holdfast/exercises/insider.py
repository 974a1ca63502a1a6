"""The insider: somebody with every credential of production deletes the database, the host and one site.

What another owner's site enforces he can't undo. From it and the recovery card alone every tenant is restored on a new
machine, tenant after tenant, each proven.
"""

from __future__ import annotations

import shutil
from collections import Counter
from contextlib import suppress
from pathlib import Path

from holdfast.api import OpenVault, open_vault
from holdfast.begin import Wishes
from holdfast.core.config import Config, SiteConfig, SourceConfig, VaultConfig, render_config
from holdfast.errors import HoldfastError, Unreachable
from holdfast.exercises.elsewhere import Elsewhere, elsewhere
from holdfast.exercises.frame import Ground, protect, sum_of
from holdfast.operations.shares import Wish
from holdfast.operations.tenants import Turns
from holdfast.sample import make_shop, trade
from holdfast.sample.declarations import DECLARATIONS
from holdfast.sample.rollback import Held, read_states
from holdfast.vault.keys import parse_card
from holdfast.vault.stores.http import open_http_store

__all__ = ["INCIDENT", "play"]

INCIDENT = "the insider: Weimob, 23 February 2020"
_PLATFORM = "sites/platform"
_FIRST_SECONDS = 60
_REFUSED = {401, 403, 405}  # and not 404: that there is no such object refuses nothing


def play(ground: Ground) -> None:
    """Protect a platform with its tenants, let the insider loose, and restore from what is left."""
    with elsewhere(ground.folder / "bank") as other:
        ground.tell(f"A platform with {ground.orders} orders of 12 tenants: one site is its own, one the bank's.")
        if not other.is_server:
            ground.tell(
                'note: the site server needs what is not installed (pip install "holdfast[site]"), so a folder stands'
                " for the bank: it refuses nobody, and the insider is played as having no way there"
            )
        vault = _protected(ground, other)
        truth = read_states(ground.shop)
        ground.tell("23 February, 18:56. With every credential of production he deletes what he can reach.")
        with ground.timed() as seconds:
            is_locked = _strike(ground, vault, other)
        ground.tell(f"  it took him {sum_of(seconds())}")
        with ground.timed() as until_back:
            _answer(ground, other, truth)
        _figures(ground, truth, until_back(), is_locked)


def _protected(ground: Ground, other: Elsewhere) -> OpenVault:
    make_shop(ground.shop, orders=ground.orders, seed=ground.seed)
    credentials = {"bank": "file:platform.token"} if other.is_server else {}
    sites = (f"platform={_PLATFORM}", f"bank={other.url}")
    wishes = Wishes(card=Path("recovery-card.txt"), credentials=credentials)
    vault = protect(ground, sites, DECLARATIONS, wishes)
    vault.capture()
    trade(ground.shop, orders=max(10, ground.orders // 100), seed=ground.seed + 1)
    vault.capture()
    # A card lies in a safe, and not on the host.
    (ground.folder / "safe").mkdir()
    shutil.move(ground.folder / "recovery-card.txt", ground.folder / "safe" / "recovery-card.txt")
    return vault


def _strike(ground: Ground, vault: OpenVault, other: Elsewhere) -> bool | None:
    """Everything that production's credentials allow, and what they do not. Whether the bank's site withstood all of
    it; None if there is no server to try it at.
    """
    ground.shop.unlink()
    try:
        vault.capture()
        is_seen = False
    except Unreachable as error:
        is_seen = True
        ground.tell(f"  the next capture: {error.message}")
    is_open = any(each.is_open for each in vault.findings())
    ground.claim("the next capture says that the database is gone, and opens an incident", is_seen and is_open)
    shutil.rmtree(ground.folder / _PLATFORM)
    is_locked = _is_locked(ground, other, other.token) if other.token is not None else None
    for name in (".holdfast", "holdfast.toml", "platform.token"):
        path = ground.folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    ground.tell("  the database, the platform's own site, the host's keys and configuration: gone")
    return is_locked


def _is_locked(ground: Ground, other: Elsewhere, token: Path) -> bool:
    """Try what the token that production has can do at the other owner's site beside adding to it."""
    before_all = len(ground.claims)
    store = open_http_store(other.url, token.read_text(encoding="utf-8"))
    names = [entry.name for entry in store.list()]
    answers = Counter(store.tried("DELETE", f"names/{name}") for name in names)
    is_refused = bool(answers) and answers.keys() <= _REFUSED
    ground.claim(f"the bank's site refuses to delete any of {len(names)} objects, whoever asks", is_refused)
    before = {name: store.get(name) for name in names}
    for name in names:
        # A name that is taken is not written again, and to mend takes only the bytes of the name: both leave what lies.
        with suppress(HoldfastError):
            store.put(name, b"nothing")
        with suppress(HoldfastError):
            store.mend(name, b"nothing")
    is_same = all(store.get(name) == data for name, data in before.items())
    ground.claim("it lets none of them be overwritten", is_same)
    # Asked itself: the platform's folder is gone, and before a prune by this host all sites have to answer.
    facts = [each for step in ("mark", "delete") for each in store.prune(step)["done"]]
    for each in facts:
        why = {*each["stops"], *(kept["reason"] for kept in each["kept"])}
        ground.tell(f"  asked to prune ({each['step']}), the bank's site keeps all: {', '.join(sorted(why))}")
    is_judged = {each["step"] for each in facts if each["site"] == "bank"} == {"mark", "delete"}
    is_kept = set(names) <= {entry.name for entry in store.list()}
    is_kept &= not any(each["record"] or each["deleted"]["objects"] for each in facts)
    ground.claim("asked to prune, it judges for itself, and marks and deletes nothing", is_judged and is_kept)
    return all(each.holds for each in ground.claims[before_all:])


def _answer(ground: Ground, other: Elsewhere, truth: Held) -> None:
    """On a new machine: the card out of the safe, and the site that is left; tenant after tenant, the newest first."""
    place = ground.folder / "new-machine"
    (place / ".holdfast").mkdir(parents=True)
    with ground.timed() as until_open:
        vault = _from_what_is_left(ground, other, place)
    done = vault.undo(Wish(Turns(order="new")), to=str(place / "shop.db"))
    first = done.first
    assert first is not None, "in a new place one is the first"
    turns = [(first.tenant, first.seconds), *done.seconds]
    for tenant, seconds in turns:
        if tenant:
            ground.tell(f"  back after {sum_of(seconds)}: tenant {tenant}")
    tenants = {str(key[0]) for key in truth["tenants"]}
    everyone = {tenant for tenant, _ in turns if tenant}
    ground.claim(f"what is left restores all {len(tenants)} tenants, one after the other", everyone == tenants)
    ground.claim("each of them is proven", done.is_proven)
    ground.claim("every record of every tenant is there as it was", read_states(place / "shop.db") == truth)
    begun = until_open() + first.seconds
    ground.claim("the first tenant is back within a minute of starting", begun < _FIRST_SECONDS)
    ground.figure("the first tenant is served again", "after 2 days", sum_of(begun))


def _from_what_is_left(ground: Ground, other: Elsewhere, place: Path) -> OpenVault:
    card = ground.folder / "safe" / "recovery-card.txt"
    known = parse_card(card.read_text(encoding="utf-8")).vault or ""
    credentials = f"file:{other.reading}" if other.reading is not None else ""
    config = Config(
        VaultConfig("shop", known),
        (SourceConfig("shop", "sqlite:///shop.db"),),
        (SiteConfig("bank", other.url, "the bank", credentials),),
        collections=DECLARATIONS,
    )
    (place / "holdfast.toml").write_text(render_config(config), encoding="utf-8")
    return open_vault(place / "holdfast.toml", identity=card)


def _figures(ground: Ground, truth: Held, seconds: float, is_locked: bool | None) -> None:
    found = read_states(ground.folder / "new-machine" / "shop.db")
    records = sum(len(rows) for rows in truth.values())
    there = sum(found.get(name, {}).get(key) == row for name, rows in truth.items() for key, row in rows.items())
    told = {True: "nobody alone", False: "whoever has its token", None: "not tried: a folder stands for the bank"}
    ground.figure("who could delete the copies", "one employee, with the same login", told[is_locked])
    back = sum_of(seconds) if ground.is_won else "not proven"
    ground.figure("all tenants back, proven", "after 7 days", f"{back}, {there:,} of {records:,} records")
    ground.figure("paid to tenants", "150 million RMB to 70,006 merchants", f"for {records - there:,} records lost")
