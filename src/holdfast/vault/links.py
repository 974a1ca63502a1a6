"""What follows what among signed commits, and which of them are suspects (docs/format.md, sections 7.5 and 7.6).

* A commit follows the one whose hash it names. Those whose stream that one names among its tails are beginnings, all
  others successors; a successor closes the tails, and a beginning those that come after its own.
* Who closes tails must stand for all that they hold. One that does not is a fork with what shows it.
* Nothing calls for what lies in a closed tail: what is missing there is no gap.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from holdfast.vault.coding import parse_time
from holdfast.vault.findings import Finding, Problem
from holdfast.vault.format import Commit, Link, Place

__all__ = ["AHEAD_MAX", "Links", "Signed", "fits", "passed"]

AHEAD_MAX = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Signed:
    """A commit whose signature, vault and place were verified. `standing`: of a key that was revoked, and whether it is
    one of those up to which that is trusted.
    """

    name: str
    sha256: str
    commit: Commit
    standing: Literal["", "revoked", "last"] = field(default="", compare=False)

    @property
    def link(self) -> Link:
        """Its place and hash."""
        return Link(self.commit.stream, self.commit.sequence, self.sha256)

    @property
    def place(self) -> Place:
        """Its stream and sequence."""
        return Place(self.commit.stream, self.commit.sequence)

    @property
    def clock(self) -> datetime:
        """The writer's clock: a claim."""
        return parse_time(self.commit.clock)

    @property
    def predecessor(self) -> str | None:
        """The hash of the commit it follows; None for the very first."""
        return self.commit.parent or (self.commit.follows.sha256 if self.commit.follows else None)


def fits(before: Signed, after: Signed) -> bool:
    """Whether the one is the commit that the place of the other calls for before it."""
    first, second = before.commit, after.commit
    if second.follows:
        return second.follows == before.link and second.in_tail == (second.stream in first.tails)
    place = (first.stream, first.sequence + 1, first.in_tail)
    return place == (second.stream, second.sequence, second.in_tail)


def passed(before: Signed, after: Signed) -> tuple[str, ...]:
    """The tails that a commit closes: all that its predecessor names, or those that come after its own."""
    tails, stream = before.commit.tails, after.commit.stream
    return tails[tails.index(stream) + 1 :] if stream in tails else tails


class Links:
    """Signed commits, each once, and what follows each; but for those that a thief signed in the place of others."""

    def __init__(self, commits: Iterable[Signed]) -> None:
        every = sorted(commits, key=lambda signed: signed.name)
        self._foreign = _disowned(every)
        strangers = {finding.name for finding in self._foreign}
        self.known = {each.sha256: each for each in every if each.name not in strangers}
        self._after: dict[str | None, list[Signed]] = defaultdict(list)
        self._rolling: dict[str, list[Signed]] = defaultdict(list)
        self._tails: dict[str, list[Signed]] = defaultdict(list)
        self._places: dict[tuple[str, int], list[Signed]] = defaultdict(list)
        for each in self.known.values():
            commit = each.commit
            self._after[each.predecessor].append(each)
            self._places[commit.stream, commit.sequence].append(each)
            if commit.rolls is not None:
                self._rolling[commit.rolls.sha256].append(each)
            if commit.in_tail:
                self._tails[commit.stream].append(each)

    def following(self, sha256: str | None) -> list[Signed]:
        """What may come next in the history: the successors, or else the beginnings of the first tail that has any."""
        if successors := self._successors(sha256):
            return successors
        return self._begun(sha256, self.known[sha256].commit.tails) if sha256 in self.known else []

    def suspects(self, now: datetime) -> list[Finding]:
        """Every fork, gap, wrong parent and impossible clock. A fork's `name` holds all its commits, spaces between."""
        forks = {_names(group) for group in self._places.values() if len(group) > 1}
        forks |= {_names(group) for group in map(self._successors, self._after) if len(group) > 1}
        # Who is forged already makes no one else a suspect.
        honest = (each for each in self.known.values() if not self._rolls_elsewhere(each))
        forks |= {_names((each, other)) for each in honest if (other := self._left_out(each)) is not None}
        found = [
            Finding(Problem.FORK, " ".join(group), f"{len(group)} commits claim one place") for group in sorted(forks)
        ]
        found += self._foreign
        gaps = []
        for each in self.known.values():
            before = self.known.get(each.predecessor or "")
            if each.predecessor and before is None:
                gaps.append(each)
            elif before and not fits(before, each):
                found.append(Finding(Problem.FORGED, each.name, f"names {before.name} as the commit before it"))
            elif self._rolls_elsewhere(each):
                found.append(Finding(Problem.FORGED, each.name, "rolls up what is in none of its predecessor's tails"))
            if before and each.clock < before.clock:
                found.append(Finding(Problem.CLOCK, each.name, f"claims {each.commit.clock}, before its predecessor"))
            if each.clock > now + AHEAD_MAX:
                found.append(Finding(Problem.CLOCK, each.name, f"claims {each.commit.clock}, which is in the future"))
        closed = self._closed({name for finding in found for name in finding.name.split()})
        return found + [self._without_predecessor(each) for each in gaps if each.commit.stream not in closed]

    def _successors(self, sha256: str | None) -> list[Signed]:
        before = self.known.get(sha256 or "")
        after = self._after.get(sha256, [])
        if before is None:  # then the first commit of any tail may be a beginning
            return [each for each in after if not (each.commit.in_tail and each.commit.follows)]
        return [each for each in after if each.commit.stream not in before.commit.tails]

    def _begun(self, sha256: str | None, tails: Sequence[str]) -> list[Signed]:
        """The beginnings of the first of these tails that has any; more than one are a fork."""
        after = self._after.get(sha256, [])
        return next((some for tail in tails if (some := [each for each in after if each.commit.stream == tail])), [])

    def _passed(self, signed: Signed) -> tuple[str, ...]:
        """The tails that a commit closes, as far as its predecessor is at hand."""
        before = self.known.get(signed.predecessor or "")
        return () if before is None else passed(before, signed)

    def _left_out(self, signed: Signed) -> Signed | None:
        """A commit that shows that this one does not stand for all that the tails hold which it closes."""
        closes, rolls = self._passed(signed), signed.commit.rolls
        if rolls is None:
            return next((each for tail in closes for each in self._tails.get(tail, ())), None)
        beyond = list(self._after.get(rolls.sha256, ()))
        beyond += [each for each in self._rolling[rolls.sha256] if not self._rolls_elsewhere(each)]
        beyond += [
            each
            for each in self._tails.get(rolls.stream, ())
            if each.commit.sequence > rolls.sequence - (rolls.sha256 not in self.known)
        ]
        if other := next((each for each in beyond if each.sha256 != signed.sha256), None):
            return other
        at = self.known.get(rolls.sha256)
        while at is not None and (before := self.known.get(at.predecessor or "")) is not None:
            is_there = before.sha256 == signed.predecessor
            choices = self._begun(before.sha256, closes) if is_there else self.following(before.sha256)
            if at not in choices:
                return choices[0] if choices else None
            at = None if is_there else before
        return None

    def _rolls_elsewhere(self, signed: Signed) -> bool:
        """Whether what it rolls up is another commit than it says, or is in none of the tails that it closes."""
        rolls, closes = signed.commit.rolls, self._passed(signed)
        if rolls is None:
            return False
        at = self.known.get(rolls.sha256)
        if signed.predecessor not in self.known:
            return False  # a gap: which tails it closes is not known
        if not closes or (at is not None and at.link != rolls):
            return True
        while at is not None and at.commit.in_tail:
            if at.predecessor == signed.predecessor:
                return at.commit.stream not in closes
            at = self.known.get(at.predecessor or "")
        return at is not None

    def _closed(self, suspects: set[str]) -> set[str]:
        """The tails that history passes by: closed by a commit that is no suspect, or of a commit in such a tail."""
        closed: set[str] = set()
        grown = {tail for each in self.known.values() if each.name not in suspects for tail in self._passed(each)}
        while grown:
            closed |= grown
            named = {tail for stream in grown for each in self._tails.get(stream, ()) for tail in each.commit.tails}
            firsts = (each.commit for group in self._tails.values() for each in group[:1])
            beside = {each.stream for each in firsts if each.follows and each.follows.stream in grown}
            grown = (named | beside) - closed
        return closed

    def _without_predecessor(self, signed: Signed) -> Finding:
        commit = signed.commit
        follows = commit.follows
        place = (follows.stream, follows.sequence) if follows else (commit.stream, commit.sequence - 1)
        if place in self._places:
            return Finding(
                Problem.FORGED, signed.name, f"its parent is no commit {place[1]} of stream {place[0]} that exists"
            )
        return Finding(Problem.GAP, signed.name, f"commit {place[1]} of stream {place[0]} before it is at no site")


def _names(group: Iterable[Signed]) -> tuple[str, ...]:
    return tuple(sorted(each.name for each in group))


def _disowned(commits: Iterable[Signed]) -> list[Finding]:
    """The commits that somebody signed with a revoked key in the place of others: those that lead to the last trusted
    ones count there. Without this a thief could put a fork into the past.
    """
    known = {each.sha256: each for each in commits}
    trusted: dict[str, Signed] = {}
    for each in known.values():
        at: Signed | None = each if each.standing == "last" else None
        while at is not None and at.sha256 not in trusted:
            trusted[at.sha256] = at
            at = known.get(at.predecessor or "")
    places = {each.place for each in trusted.values()}
    return [
        Finding(Problem.FOREIGN, each.name, "signed with a revoked key for a place that another commit has")
        for each in known.values()
        if each.standing and each.sha256 not in trusted and each.place in places
    ]
