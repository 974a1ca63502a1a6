"""What of a revoked key's words counts: the links on the way to the last ones up to which it was trusted.

Without this a thief could put words into the past, where the number of a link alone says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from holdfast.vault.chain import SignedEvents
from holdfast.vault.findings import Finding, Problem
from holdfast.vault.trust import Trusted

__all__ = ["without_revoked"]


def without_revoked(objects: Iterable[SignedEvents], trusted: Trusted) -> tuple[list[SignedEvents], list[Finding]]:
    """Of all verified events objects those that count, and what is wrong with others. Where the last link that is
    trusted is not at hand, nothing of that chain counts.
    """
    every = list(objects)
    retired = trusted.document.retired()
    doubted = {each.sha256: each for each in every if each.events.signer in retired}
    ends = {keyid: {*each.last} for keyid, each in retired.items()}
    way: dict[str, SignedEvents] = {}
    for each in doubted.values():
        if each.link in ends[each.events.signer]:
            way |= _way_to(each, doubted)
    left = sorted((each for sha256, each in doubted.items() if sha256 not in way), key=lambda each: each.name)
    places = {(each.events.chain, each.events.sequence) for each in way.values()}
    chains = {each.events.chain for each in way.values()}
    whole = {chain for chain, sequence in places if sequence == 1}
    findings = [
        Finding(Problem.FOREIGN, each.name, "signed with a revoked key, and not on the way to its last trusted link")
        for each in left
        if each.events.chain in whole or (each.events.chain, each.events.sequence) in places
    ]
    newest = {each.events.chain: each for each in left if each.events.chain not in chains}
    findings += [
        Finding(Problem.GAP, each.name, "the last trusted link of this revoked key's chain is at no site")
        for each in newest.values()
    ]
    return [each for each in every if each.sha256 not in doubted or each.sha256 in way], findings


def _way_to(last: SignedEvents, doubted: Mapping[str, SignedEvents]) -> dict[str, SignedEvents]:
    """The link and those before it, as far as they are at hand, each by its hash."""
    found: dict[str, SignedEvents] = {}
    at: SignedEvents | None = last
    while at is not None:
        found[at.sha256] = at
        before = doubted.get(at.events.parent or "")
        place = (at.events.chain, at.events.sequence - 1, at.events.signer)
        is_before = before is not None and (before.events.chain, before.events.sequence, before.events.signer) == place
        at = before if is_before else None
    return found
