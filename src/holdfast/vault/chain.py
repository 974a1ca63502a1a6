"""The vault's history from signed objects: who signed, what follows what, and where it stops being certain.

Pure: bytes come in, commits and findings go out. Rules:
* A commit counts if a trusted writer signed it for this vault and its name says the same place and hash.
* It follows the commit whose hash it names (`parent` in its stream, `follows` at the start of a new stream).
* Two signed commits at one place, or after one commit, are a fork; a hash nobody has is a gap; a clock before its
  predecessor's or more than a day ahead is a forged claim. Each is named, and history is read up to just before.
* A person can pin one exact commit: then history is what leads to it, back to the beginning or to a gap.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from holdfast.errors import Damaged
from holdfast.vault.coding import decode, parse_time
from holdfast.vault.findings import Finding, Problem
from holdfast.vault.format import Commit, EventsObject, Link
from holdfast.vault.names import Name, sha256_hex
from holdfast.vault.signing import claimed, open_envelope
from holdfast.vault.trust import Trusted

__all__ = ["Signed", "SignedEvents", "Timeline", "check_events", "extended", "join", "read_commit", "read_events"]

AHEAD_MAX = timedelta(days=1)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Signed:
    """A commit whose signature, vault and place were verified."""

    name: str
    sha256: str
    commit: Commit

    @property
    def link(self) -> Link:
        """Its place and hash."""
        return Link(self.commit.stream, self.commit.sequence, self.sha256)

    @property
    def clock(self) -> datetime:
        """The writer's clock: a claim."""
        return parse_time(self.commit.clock)

    @property
    def predecessor(self) -> str | None:
        """The hash of the commit it follows; None for the very first."""
        return self.commit.parent or (self.commit.follows.sha256 if self.commit.follows else None)


@dataclass(frozen=True, slots=True)
class SignedEvents:
    """An events object whose signature, vault and place were verified."""

    name: str
    sha256: str
    events: EventsObject


@dataclass(frozen=True, slots=True)
class Timeline:
    """Commits in order, oldest first, up to where history is certain; and what was found wrong, anywhere."""

    commits: tuple[Signed, ...]
    findings: tuple[Finding, ...]

    @property
    def head(self) -> Signed | None:
        """The newest certain commit."""
        return self.commits[-1] if self.commits else None


def read_commit(name: Name, data: bytes, trusted: Trusted) -> Signed | Finding:
    """The verified commit in these bytes, or what is wrong with it."""
    payload = _verified(name, data, "commit", trusted.document.roles.writer.keys)
    if isinstance(payload, Finding):
        return payload
    signer, body = payload
    try:
        commit = decode(Commit, body, name=name.text)
    except Damaged as err:
        return Finding(Problem.UNKNOWN, name.text, err.message)
    if (commit.stream, commit.sequence, commit.writer) != (name.group, name.number, signer):
        return Finding(
            Problem.FORGED, name.text, f"is commit {commit.sequence} of stream {commit.stream} under this name"
        )
    return _of_this_vault(Signed(name.text, name.sha256, commit), commit.vault, name, trusted)


def read_events(name: Name, data: bytes, trusted: Trusted) -> SignedEvents | Finding:
    """The verified events object in these bytes, or what is wrong with it."""
    payload = _verified(name, data, "events", trusted.document.signers)
    if isinstance(payload, Finding):
        return payload
    signer, body = payload
    try:
        events = decode(EventsObject, body, name=name.text)
    except Damaged as err:
        return Finding(Problem.UNKNOWN, name.text, err.message)
    if (events.chain, events.sequence, events.signer) != (name.group, name.number, signer):
        return Finding(Problem.FORGED, name.text, f"is link {events.sequence} of chain {events.chain} under this name")
    return _of_this_vault(SignedEvents(name.text, name.sha256, events), events.vault, name, trusted)


def join(commits: Iterable[Signed], *, now: datetime, pin: str | None = None) -> Timeline:
    """One history out of the verified commits of all streams and sites, in any order, each once.

    Raises Damaged if a commit is pinned that is not among them.
    """
    known = {each.sha256: each for each in commits}
    following: dict[str | None, list[Signed]] = defaultdict(list)
    for each in sorted(known.values(), key=lambda signed: signed.name):
        following[each.predecessor].append(each)
    suspects = _suspects(known, following, now)
    if pin is not None:
        line = _back_from(pin, known)
    else:
        line = _forward(following, {name for finding in suspects for name in finding.name.split()})
    return Timeline(tuple(line), tuple(suspects))


def extended(timeline: Timeline, signed: Signed, *, now: datetime) -> Timeline | None:
    """The history with a commit more, as `join` would give it, or None where it does not simply go on with that one.

    The commit must have no rival: none at its place, none after the same commit.
    """
    head = timeline.head
    if head is None or signed.predecessor != head.sha256 or not _fits(head, signed):
        return None
    if signed.clock < head.clock or signed.clock > now + AHEAD_MAX:
        return None
    return Timeline((*timeline.commits, signed), timeline.findings)


def check_events(objects: Iterable[SignedEvents]) -> list[Finding]:
    """What is wrong with the chains of the journal: forks, gaps, wrong parents, a second signer in a chain."""
    chains: dict[str, dict[int, list[SignedEvents]]] = defaultdict(lambda: defaultdict(list))
    for each in sorted(objects, key=lambda signed: signed.name):
        chains[each.events.chain][each.events.sequence].append(each)
    return [finding for chain in chains.values() for finding in _check_chain(chain)]


def _verified(name: Name, data: bytes, kind: str, keys: Mapping[str, str]) -> tuple[str, bytes] | Finding:
    """The signer and the payload of an envelope signed by exactly one of these keys, or what is wrong."""
    if sha256_hex(data) != name.sha256:
        return Finding(Problem.DAMAGED, name.text, "its SHA-256 is not its name")
    try:
        signers = claimed(data, name.text).signers
        if len(signers) != 1:
            return Finding(Problem.FORGED, name.text, f"signed by {len(signers)} keys where it must be one")
        strangers = signers - set(keys)
        if strangers:
            return Finding(Problem.FOREIGN, name.text, f"signed by the unknown key {min(strangers)[:16]}…")
        opened = open_envelope(data, kind, keys, name=name.text)
    except Damaged as err:
        return Finding(Problem.FORGED, name.text, err.message)
    return min(signers), opened.payload


def _of_this_vault(signed: T, vault: str, name: Name, trusted: Trusted) -> T | Finding:
    if vault != trusted.vault:
        return Finding(Problem.FOREIGN, name.text, f"belongs to vault {vault[:16]}…")
    return signed


def _suspects(
    known: Mapping[str, Signed], following: Mapping[str | None, list[Signed]], now: datetime
) -> list[Finding]:
    """Every fork, gap, wrong parent and impossible clock. A fork's `name` holds all its commits, space-separated."""
    findings = []
    places: dict[tuple[str, int], list[Signed]] = defaultdict(list)
    for each in known.values():
        places[(each.commit.stream, each.commit.sequence)].append(each)
    groups = {tuple(sorted(each.name for each in group)) for group in places.values() if len(group) > 1}
    groups |= {tuple(sorted(each.name for each in group)) for group in following.values() if len(group) > 1}
    findings += [
        Finding(Problem.FORK, " ".join(group), f"{len(group)} commits claim one place") for group in sorted(groups)
    ]
    for each in sorted(known.values(), key=lambda signed: signed.name):
        before = known.get(each.predecessor) if each.predecessor else None
        if each.predecessor and before is None:
            findings.append(_without_predecessor(each, places))
        elif before and not _fits(before, each):
            findings.append(Finding(Problem.FORGED, each.name, f"names {before.name} as the commit before it"))
        if before and each.clock < before.clock:
            findings.append(Finding(Problem.CLOCK, each.name, f"claims {each.commit.clock}, before its predecessor"))
        if each.clock > now + AHEAD_MAX:
            findings.append(Finding(Problem.CLOCK, each.name, f"claims {each.commit.clock}, which is in the future"))
    return findings


def _without_predecessor(signed: Signed, places: Mapping[tuple[str, int], list[Signed]]) -> Finding:
    commit = signed.commit
    place = (commit.follows.stream, commit.follows.sequence) if commit.follows else (commit.stream, commit.sequence - 1)
    if place in places:
        return Finding(
            Problem.FORGED, signed.name, f"its parent is no commit {place[1]} of stream {place[0]} that exists"
        )
    return Finding(Problem.GAP, signed.name, f"commit {place[1]} of stream {place[0]} before it is at no site")


def _fits(before: Signed, after: Signed) -> bool:
    if after.commit.follows:
        return after.commit.follows == before.link
    return (before.commit.stream, before.commit.sequence + 1) == (after.commit.stream, after.commit.sequence)


def _forward(following: Mapping[str | None, list[Signed]], suspects: set[str]) -> list[Signed]:
    """From the beginning as far as exactly one blameless commit follows."""
    line: list[Signed] = []
    after = following.get(None, [])
    while len(after) == 1 and after[0].name not in suspects:
        line.append(after[0])
        after = following.get(after[0].sha256, [])
    return line


def _back_from(pin: str, known: Mapping[str, Signed]) -> list[Signed]:
    """What leads to the pinned commit, oldest first."""
    if pin not in known:
        raise Damaged(f"commit {pin[:16]}… is at no site that answers", hint="holdfast log names the commits there are")
    line = [known[pin]]
    while (before := known.get(line[-1].predecessor or "")) and _fits(before, line[-1]):
        line.append(before)
    return line[::-1]


def _check_chain(chain: Mapping[int, list[SignedEvents]]) -> list[Finding]:
    findings = []
    signers = {each.events.signer for group in chain.values() for each in group}
    for sequence, group in sorted(chain.items()):
        name = " ".join(each.name for each in group)
        if len(group) > 1:
            findings.append(Finding(Problem.FORK, name, f"{len(group)} events objects claim one place"))
        if sequence == 1:
            continue
        before = {each.sha256 for each in chain.get(sequence - 1, [])}
        for each in group:
            if not before:
                findings.append(Finding(Problem.GAP, each.name, f"link {sequence - 1} before it is at no site"))
            elif each.events.parent not in before:
                findings.append(Finding(Problem.FORGED, each.name, "its parent is not the link before it"))
    if len(signers) > 1:
        first = min(chain)
        findings.append(Finding(Problem.FORGED, chain[first][0].name, f"{len(signers)} keys signed in one chain"))
    return findings
