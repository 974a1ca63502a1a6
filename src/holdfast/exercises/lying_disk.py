"""The lying disk: pages of the shop's own file and objects of one site are no longer what was written.

Damage is named, the site healed, all that is intact salvaged out of the shop's file, the rest taken from the copies.
"""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.api import OpenVault, open_vault
from holdfast.begin import Wishes
from holdfast.core.records import is_definition
from holdfast.core.where import parse_where
from holdfast.errors import HoldfastError
from holdfast.exercises.frame import Ground, protect, sum_of
from holdfast.operations.restore import Choice
from holdfast.operations.salvage import Salvaged
from holdfast.salvaging import salvage
from holdfast.sample import make_shop, trade
from holdfast.sample.declarations import DECLARATIONS
from holdfast.sample.lying import Lied, lie_about_objects, lie_about_shop
from holdfast.sample.rollback import Held, read_states

__all__ = ["INCIDENT", "play"]

INCIDENT = "the lying disk: a start-up on a cloud, July 2018"
_SITES = ("me=sites/office", "accountant=sites/accountant", "hoster=sites/hoster")


def play(ground: Ground) -> None:
    """Protect a shop, let its disk and a site's lie, and get everything back."""
    ground.tell(f"A shop with {ground.orders} orders, and its copy at three sites of three owners.")
    make_shop(ground.shop, orders=ground.orders, seed=ground.seed)
    vault = protect(ground, _SITES, DECLARATIONS, Wishes(card=Path("recovery-card.txt")))
    vault.capture()
    kept = read_states(ground.shop)
    trade(ground.shop, orders=max(10, ground.orders // 100), seed=ground.seed + 1)
    truth = read_states(ground.shop)
    ground.tell("It trades on for a while, not yet captured. Then its disk lies, and so does the hoster's.")
    lied = lie_about_shop(ground.shop, seed=ground.seed)
    flipped = lie_about_objects(ground.folder / "sites" / "hoster", seed=ground.seed)
    for page, what in sorted(lied.pages.items()):
        ground.tell(f"  page {page} of shop.db: {what}")
    ground.tell(f"  sites/hoster: one bit flipped in each of {len(flipped)} objects")
    with ground.timed() as seconds:
        _heal_site(ground, vault, flipped)
        done = _salvage(ground, vault, lied, (kept, truth))
        _put_in_place(ground, vault, lied, (kept, truth))
    _figures(ground, done, seconds(), (kept, truth))


def _heal_site(ground: Ground, vault: OpenVault, flipped: list[str]) -> None:
    """What verify names, and what the healed site alone gives back."""
    found = [(site.site, each) for site in vault.verify().sites for each in site.findings if not each.kind.is_note]
    named = sorted(each.name.rpartition("/")[2] for site, each in found if site == "hoster")
    ground.claim("reading every byte names exactly the objects that lie, and no others", named == flipped)
    vault.heal()
    is_clean = all(not site.findings for site in vault.verify().sites)
    ground.claim("the site is healed from the others, and reads clean", is_clean)
    alone = open_vault(identity=ground.folder / "recovery-card.txt", sites=[str(ground.folder / "sites" / "hoster")])
    done = alone.restore(Choice(), to=str(ground.folder / "from-the-hoster.db"))
    ground.claim("that site alone gives the whole shop back, proven by fingerprints", done.is_proven)


def _salvage(ground: Ground, vault: OpenVault, lied: Lied, states: tuple[Held, Held]) -> Salvaged:
    """What is read out of the damaged file, and what comes from the copy."""
    kept, truth = states
    before = len(vault.log())
    try:
        vault.capture()
        is_refused = False
    except HoldfastError as error:
        is_refused = len(vault.log()) == before
        ground.tell(f"  capture: {error.message}")
    ground.claim("a capture of the damaged file is refused: the good copy stays the newest", is_refused)
    done = salvage(ground.shop, ground.folder / "salvaged.db", vault)
    torn = {int(each.where.split()[1]) for one in done.collections for each in one.torn}
    ground.tell(f"  salvaged: {sum(each.read for each in done.collections):,} records read in the damaged file")
    ground.claim("every damaged page is named, and no whole one", torn == set(lied.pages))
    found = read_states(ground.folder / "salvaged.db")
    ground.claim("the new database holds what was salvaged, read back and proven", done.is_proven)
    intact, invented, older, gone = True, 0, 0, 0
    for name, rows in truth.items():
        hit = lied.on_pages.get(name, frozenset())
        changed = {key for key in rows.keys() & found[name].keys() if found[name][key] != rows[key]}
        silent = {(lied.customer,)} if name == "customers" else set()
        intact &= changed <= hit | silent and rows.keys() - found[name].keys() <= hit
        invented += len(found[name].keys() - rows.keys() - kept[name].keys())
        older += sum(found[name][key] == kept[name].get(key) for key in changed - silent)
        gone += len(rows.keys() - found[name].keys() - kept[name].keys())
        intact &= all(found[name][key] == kept[name].get(key) for key in changed - silent)
    ground.claim("every record that lay on a whole page is there as it was, what came since the copy too", intact)
    ground.claim("no record is there that never was", invented == 0)
    ground.tell(f"  older than they were, from the copy: {older}; too new for the copy, and unreadable: {gone}")
    return done


def _put_in_place(ground: Ground, vault: OpenVault, lied: Lied, states: tuple[Held, Held]) -> None:
    """The new database in place of the damaged one; the letter that no check of SQLite sees shows against the copy."""
    kept, truth = states
    os.replace(ground.shop, ground.folder / "damaged.db")
    os.replace(ground.folder / "salvaged.db", ground.shop)
    changed = [each for each in vault.compare(collections=("customers",)) if each.tally.changed]
    keys = {row["id"] for one in changed for each in one.differences.read() if each.kind == "changed" and each.wanted
            for row in each.wanted.select(["id"]).to_pylist()}  # fmt: skip
    ground.claim("the letter that is another is named when the shop is compared with the copy", lied.customer in keys)
    choice = Choice(("customers",), parse_where(f"id = {lied.customer}"))
    ground.claim("that customer is put back alone, by a plan", vault.restore(choice).is_proven)
    found = read_states(ground.shop)
    lost = {
        (name, key)
        for name, rows in truth.items()
        for key, row in rows.items()
        if found[name].get(key) != row and found[name].get(key) != kept[name].get(key)
    }
    on_pages = {(name, key) for name, keys in lied.on_pages.items() for key in keys}
    ground.claim("nothing is lost but what came after the copy and lay on a damaged page", lost <= on_pages)
    names = [name for name in vault.state().collections if not is_definition(name)]
    counted = sum(len(rows) for rows in found.values())
    ground.tell(f"  the shop has {counted:,} records in {len(names)} tables, {len(lost)} of those before are lost")


def _figures(ground: Ground, done: Salvaged, seconds: float, states: tuple[Held, Held]) -> None:
    _, truth = states
    records = sum(len(rows) for rows in truth.values())
    found = read_states(ground.shop)
    there = sum(row in found[name].values() for name, rows in truth.items() for row in rows.values())
    from_copy = sum(each.lost + each.replaced for each in done.collections)
    ground.figure("records left", "none; there was no copy outside", f"{there:,} of {records:,} as they were")
    ground.figure("from the copies", "-", f"{from_copy:,} records that the disk had lost")
    until = sum_of(seconds) if ground.is_won else "not all is back"
    ground.figure("time until all that could be was back", "never; 14 days of tickets and calls", until)
    told = f"for {records - there:,} records, older than they were or gone"
    ground.figure("paid for the loss", "132,900 yuan of some ten million claimed", told)
