"""States that can't be had any more, because every site let go of what they need by a record that holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from holdfast.errors import Usage
from holdfast.vault.chain import Signed
from holdfast.vault.findings import Finding, Problem
from holdfast.vault.pruned import Pruned

if TYPE_CHECKING:
    from holdfast.vault.vault import Vault

__all__ = ["gone_places", "gone_states", "require_kept", "without_pruned"]


def gone_places(vault: Vault) -> frozenset[int]:
    """The places, from 0, of the commits whose segments every site let go of.

    Sites that the trust document does not name, as on a new machine, may be any of those that it does.
    """
    known = {site.name for site in vault.trusted.document.sites}
    places = [
        vault.pruned().places.get(name, frozenset()) for name in known & {site.name for site in vault.sites} or known
    ]
    return places[0].intersection(*places[1:]) if places else frozenset()


def gone_states(vault: Vault) -> frozenset[int]:
    """The numbers, from 1, of the commits whose states need what is gone."""
    gone, commits = gone_places(vault), [entry.signed for entry in vault.log()]
    if not gone:
        return frozenset()
    before = [0, *accumulate(place in gone for place in range(len(commits)))]
    begins = {signed.place: place for place, signed in enumerate(commits)}
    return frozenset(
        place + 1
        for place, signed in enumerate(commits)
        if before[place + 1] > before[begins.get(signed.commit.since, 0)]
    )


def require_kept(vault: Vault, commits: Sequence[Signed], *, is_between: bool) -> None:
    """Raise Usage if the state at the last of these, which are the history up to it, was pruned, or, for an instant
    before it, that at the one before.
    """
    line = [entry.signed for entry in vault.log()]
    if line[: len(commits)] != list(commits):
        return  # a commit that was pinned, off the history
    gone = gone_states(vault)
    number = next((each for each in (len(commits), len(commits) - is_between) if each in gone), 0)
    if not number:
        return
    kept = [each for each in range(1, len(line) + 1) if each not in gone]
    near = [max((each for each in kept if each < number), default=0), min(each for each in kept if each > number)]
    told = " and ".join(f"#{each} of {line[each - 1].commit.clock}" for each in near if each)
    raise Usage(
        f"#{number} of {line[number - 1].commit.clock} was pruned: no site keeps what it needs any more",
        hint=f"the nearest that is kept: {told}",
    )


def without_pruned(findings: Iterable[Finding], pruned: Pruned) -> tuple[Finding, ...]:
    """Findings but for what is absent by a record that holds."""
    return tuple(each for each in findings if each.kind is not Problem.MISSING or each.name not in pruned.at(each.site))
