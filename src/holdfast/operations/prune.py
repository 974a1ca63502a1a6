"""Prune: what each site may let go of, shown, marked, and after the wait deleted.

Folders and buckets are pruned by this host with a reader's or root's key. A site server is only asked: it judges alone,
by its own key and clock, and what it answers is shown.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from holdfast.core.doors import Prunable
from holdfast.core.events import Progress, Verified
from holdfast.errors import HoldfastError
from holdfast.operations.check import steps, still_open
from holdfast.operations.journal import read_journal
from holdfast.vault.eras import Arrivals, no_arrivals
from holdfast.vault.names import Kind, name_for
from holdfast.vault.prospect import Prospect
from holdfast.vault.pruning import SitePrune, Step
from holdfast.vault.ruling import POLICY
from holdfast.vault.scan import Inventory, survey
from holdfast.vault.signing import SigningKey
from holdfast.vault.sites import Site
from holdfast.vault.upload import keep
from holdfast.vault.vault import Vault
from holdfast.vault.verify import read_all
from holdfast.vault.writer import VaultWriter

__all__ = ["Step", "prune"]

Emit = Callable[[Progress], None]
Facts = Mapping[str, Any]


def prune(
    vault: Vault, key: SigningKey | None, step: Step, emit: Emit, arrivals: Arrivals = no_arrivals
) -> list[Facts]:
    """One step at every site; for each cause the facts of what may go, what was done, and what stands against it.

    Nothing is written where something stands against it: no key whose word counts, an open finding of the last verify
    or of this one, fewer copies than are asked for, clocks that disagree; and nothing is deleted while any site of the
    trust document does not answer: a hold or a veto may lie there. `arrivals` tell when this host first saw an object.
    Raises Refused, unless it is only shown, if a newer trust document is known than the sites have.
    """
    if step is not Step.SHOW:
        vault.trusted.require_newest()
    keyed = {site.name for site in vault.trusted.document.sites if site.key is not None}
    own = [site for site in vault.sites if site.name not in keyed]
    everywhere = survey(vault)
    prospect = Prospect(everywhere, vault.now(), arrivals)
    against = [*_unverified(vault), *_too_few(vault, prospect)]
    if step is Step.DELETE and own:
        against += _unheard(vault, everywhere)
        prospect = Prospect(_read(vault, own, everywhere, emit), vault.now(), arrivals)
    done: list[Facts] = []
    for site in own:
        stops = (*against, *prospect.stops(site.name, key.keyid if key else ""))
        may = key if key is not None and prospect.signed_by(key.keyid, site.name) else None
        if may is None:
            stops = (*stops, "no key at hand may delete here: name a reader's key or the recovery card")
        for cause in prospect.causes:
            planned = SitePrune(step, cause, prospect.outlook(site.name, cause), stops)
            done.append((planned if may is None else _carried_out(vault, may, site, planned, emit)).to_json())
    done += [each for site in vault.sites if site.name in keyed for each in _asked(vault, site, step)]
    if step is not Step.SHOW:
        vault.refresh()
    return done


def _read(vault: Vault, own: list[Site], everywhere: Inventory, emit: Emit) -> Inventory:
    """Every byte at these sites, judged by what was said at all of them."""
    found = read_all(own, vault.id, now=vault.now(), emit=steps(emit), known=vault.trusted.known)
    found.trusted = everywhere.trusted
    found.commits |= everywhere.commits
    found.events |= everywhere.events
    return found


def _carried_out(vault: Vault, key: SigningKey, site: Site, planned: SitePrune, emit: Emit) -> SitePrune:
    """Say in public what goes, and only then let it go."""
    event = planned.event(vault.now())
    if event is not None:
        said = VaultWriter(vault, key).write_events(secrets.token_hex(8), [event])
        if site.name not in {each.name for each in said.held}:
            why = said.failed[site.name].message
            return replace(planned, stops=(f"what is to be said in public could not be kept here: {why}",))
        name = name_for(Kind.EVENTS, said.link.sha256, group=said.link.stream, number=said.link.sequence)
        planned = replace(planned, record=name)
    return planned.carried_out(site, steps(emit))


def _asked(vault: Vault, site: Site, step: Step) -> list[Facts]:
    """What a site that decides for itself answers; what it says in public is brought to the others."""
    if not isinstance(site.store, Prunable):
        told = "this site has a key of its own and decides for itself: it is to be reached through its server"
        return [{"site": site.name, "step": step.value, "cause": POLICY, "stops": [told]}]
    try:
        done: list[Facts] = [{**each, "site": site.name} for each in site.store.prune(step.value)["done"]]
    except HoldfastError as err:  # what was done at the others is to be told all the same
        return [{"site": site.name, "step": step.value, "cause": POLICY, "stops": [err.message]}]
    for name in (str(each["record"]) for each in done if each.get("record")):
        with suppress(HoldfastError, KeyError):  # a heal brings it later
            data = site.store.get(name)
            for other in (each for each in vault.sites if each is not site):
                with suppress(HoldfastError):
                    keep(other, name, data)
    return done


def _unverified(vault: Vault) -> list[str]:
    """What the last verification leaves open; that there was none is as much."""
    events = read_journal(vault)
    if not any(isinstance(each, Verified) for each in events):
        return ["nothing was verified yet, as far as the key at hand can read: run holdfast verify"]
    return still_open(events)


def _unheard(vault: Vault, everywhere: Inventory) -> list[str]:
    """The sites of the trust document that do not tell what lies there."""
    heard = {each.site.name for each in everywhere.holdings if each.down is None}
    return [
        f"site {each.name} does not answer: what was said against it may lie there"
        for each in vault.trusted.document.sites
        if each.name not in heard
    ]


def _too_few(vault: Vault, prospect: Prospect) -> list[str]:
    """Whether the newest commit lies at fewer sites, or of fewer owners, than the trust document asks for."""
    report, safe = prospect.report, vault.trusted.document.safe
    whole = [site for site in report.sites if site.holds == report.head]
    owners = {site.owner for site in whole}
    if len(whole) >= safe.sites and len(owners) >= safe.owners:
        return []
    return [
        f"the newest commit lies whole at {len(whole)} of {safe.sites} sites, of {len(owners)} of {safe.owners} owners"
    ]
