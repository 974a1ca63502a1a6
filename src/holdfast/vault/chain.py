"""The vault's history from signed objects: who signed, what follows what, and where it stops being certain.

Pure: bytes come in, commits and findings go out. Rules:
* A commit counts if a trusted writer signed it for this vault and its name says the same place and hash.
* It follows the commit whose hash it names (`parent` in its stream, `follows` at the start of a new stream).
* Two signed commits at one place, or after one commit, are a fork; a hash nobody has is a gap; a clock before its
  predecessor's or more than a day ahead is a forged claim. Each is named, and history is read up to just before.
* Where no successor follows, history goes on in a tail; a commit that rolls a tail up takes the place of all in it.
* A person can pin one exact commit: then history is what leads to it, back to the beginning or to a gap.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from holdfast.errors import Damaged, Usage
from holdfast.vault.coding import decode, parse_time, time_text
from holdfast.vault.findings import Finding, Problem
from holdfast.vault.format import Commit, EventsObject, Link, Place
from holdfast.vault.links import AHEAD_MAX, Links, Signed, fits
from holdfast.vault.names import Name, sha256_hex
from holdfast.vault.roles import Retired
from holdfast.vault.signing import claimed, verified
from holdfast.vault.trust import Trusted, counts_still

__all__ = [
    "AHEAD_MAX",
    "Signed",
    "SignedEvents",
    "Timeline",
    "check_events",
    "extended",
    "join",
    "read_commit",
    "read_events",
]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SignedEvents:
    """An events object whose signature, vault and place were verified."""

    name: str
    sha256: str
    events: EventsObject

    @property
    def link(self) -> Link:
        """Its place in its chain, and its hash."""
        return Link(self.events.chain, self.events.sequence, self.sha256)

    @property
    def clock(self) -> datetime:
        """The signer's clock, a claim."""
        return parse_time(self.events.clock)


@dataclass(frozen=True, slots=True)
class Timeline:
    """Commits in order, oldest first, up to where history is certain; and what was found wrong, anywhere."""

    commits: tuple[Signed, ...]
    findings: tuple[Finding, ...]

    @property
    def head(self) -> Signed | None:
        """The newest certain commit."""
        return self.commits[-1] if self.commits else None

    @property
    def final(self) -> int:
        """How many commits from the start have final numbers: those up to the last one outside tails."""
        count = len(self.commits)
        while count and self.commits[count - 1].commit.in_tail:
            count -= 1
        return count

    @property
    def tails(self) -> tuple[str, ...]:
        """The open tails: those that the history goes through, and those that may begin after its head."""
        streams = (each.commit.stream for each in self.commits if each.commit.in_tail)
        return tuple(dict.fromkeys((*streams, *(self.head.commit.tails if self.head else ()))))

    def number_at(self, at: datetime | int | None) -> int:
        """The number of commits up to the one wanted: a time counts as the newest here. Raises Usage or Damaged."""
        total = len(self.commits)
        if isinstance(at, int) and self.final < at <= total:
            raise Usage(
                f"commit #{at} is not final: it will have another number once its tail is rolled up",
                hint='ask by its time or by its hash; see "holdfast log"',
            )
        if at is None and total:
            return total
        if isinstance(at, int) and 1 <= at <= total:
            return at
        if not total and self.findings:
            raise Damaged(
                f"history is not certain from its first commit on: {self.findings[0].kind} ({self.findings[0].detail})",
                hint='"holdfast verify" names the commits; ask for one of them by its hash with --at',
            )
        if not total:
            raise Usage(
                "the vault holds no commit yet", hint="run holdfast capture; holdfast verify tells what is wrong"
            )
        first = self.commits[0].commit.clock
        asked = f"no commit #{at}" if isinstance(at, int) else f"no commit as old as {time_text(at) if at else 'that'}"
        raise Usage(f"{asked}: there are {total}, the first of {first}", hint='list them with "holdfast log"')


def read_commit(name: Name, data: bytes, trusted: Trusted) -> Signed | Finding:
    """The verified commit in these bytes, or what is wrong with it."""
    payload = _verified(name, data, "commit", trusted.document.roles.writer.keys, trusted.document.retired("writer"))
    if isinstance(payload, Finding):
        return payload
    signer, body = payload
    try:
        commit = decode(Commit, body, name=name.text)
    except Damaged as err:
        return Finding(Problem.UNKNOWN, name.text, err.message)
    tail = commit.stream if commit.in_tail else ""
    if (commit.stream, commit.sequence, commit.writer, tail) != (name.group, name.number, signer, name.tail):
        return Finding(
            Problem.FORGED, name.text, f"is commit {commit.sequence} of stream {commit.stream} under this name"
        )
    signed = Signed(name.text, name.sha256, commit)
    if (old := trusted.document.retired("writer").get(signer)) is not None:
        signed = replace(signed, standing="last" if signed.link in old.last else "revoked")
    return _of_this_vault(signed, commit.vault, name, trusted)


def read_events(name: Name, data: bytes, trusted: Trusted) -> SignedEvents | Finding:
    """The verified events object in these bytes, or what is wrong with it."""
    payload = _verified(name, data, "events", trusted.document.signers, trusted.document.retired())
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
    links = Links(commits)
    suspects = links.suspects(now)
    if pin is not None:
        line = _back_from(pin, links.known)
    else:
        line, reaching = _forward(links, {name for finding in suspects for name in finding.name.split()})
        suspects += reaching
    return Timeline(tuple(line), tuple(suspects))


def extended(timeline: Timeline, signed: Signed, *, now: datetime) -> Timeline | None:
    """The history with a commit more, as `join` would give it, or None where it does not simply go on with that one.

    The commit must have no rival: none at its place, none after the same commit.
    """
    head = timeline.head
    if head is None or signed.predecessor != head.sha256 or not fits(head, signed):
        return None
    if signed.commit.rolls or (head.commit.tails and signed.commit.stream != head.commit.tails[-1]):
        return None  # whether it stands for all that tails hold, the commits in them tell
    if signed.clock < head.clock or signed.clock > now + AHEAD_MAX:
        return None
    if signed.commit.since not in (head.commit.since, signed.place if signed.commit.whole else None):
        return None  # what it needs, the whole history tells
    return Timeline((*timeline.commits, signed), timeline.findings)


def check_events(objects: Iterable[SignedEvents]) -> list[Finding]:
    """What is wrong with the chains of the journal: forks, gaps, wrong parents, a second signer in a chain."""
    chains: dict[str, dict[int, list[SignedEvents]]] = defaultdict(lambda: defaultdict(list))
    once = {each.sha256: each for each in objects}  # an object that lies at two names is no fork
    for each in sorted(once.values(), key=lambda signed: signed.name):
        chains[each.events.chain][each.events.sequence].append(each)
    return [finding for chain in chains.values() for finding in _check_chain(chain)]


def _verified(
    name: Name, data: bytes, kind: str, keys: Mapping[str, str], retired: Mapping[str, Retired]
) -> tuple[str, bytes] | Finding:
    """The signer and the payload of an envelope signed by exactly one of these keys, or what is wrong."""
    if sha256_hex(data) != name.sha256:
        return Finding(Problem.DAMAGED, name.text, "its SHA-256 is not its name")
    try:
        claim = claimed(data, name.text)
        signers = claim.signers
        if len(signers) != 1:
            return Finding(Problem.FORGED, name.text, f"signed by {len(signers)} keys where it must be one")
        signer = min(signers)
        old = retired.get(signer)
        if signer not in keys and old is None:
            return Finding(Problem.FOREIGN, name.text, f"signed by the unknown key {signer[:16]}…")
        if old is not None and not counts_still(old, Link(name.group, name.number, name.sha256)):
            return Finding(Problem.FOREIGN, name.text, f"signed by the key {signer[:16]}… after it was revoked")
        opened = verified(claim, kind, {signer: old.key if old else keys[signer]}, name=name.text)
    except Damaged as err:
        return Finding(Problem.FORGED, name.text, err.message)
    return signer, opened.payload


def _of_this_vault(signed: T, vault: str, name: Name, trusted: Trusted) -> T | Finding:
    if vault != trusted.vault:
        return Finding(Problem.FOREIGN, name.text, f"belongs to vault {vault[:16]}…")
    return signed


def _forward(links: Links, suspects: set[str]) -> tuple[list[Signed], list[Finding]]:
    """From the beginning as far as exactly one blameless commit follows that needs nothing from before the last era."""
    line: list[Signed] = []
    places: dict[Place, int] = {}  # of whole commits, along the line
    earliest = 0
    after = links.following(None)
    while len(after) == 1 and after[0].name not in suspects:
        signed = after[0]
        if signed.commit.whole:
            places[signed.place] = len(line)
        needed = places.get(signed.commit.since, -1)
        if needed < earliest:
            detail = (
                f"needs what lies before commit {earliest + 1}, where its era begins, or a commit that is not whole"
            )
            return line, [Finding(Problem.FORGED, signed.name, detail)]
        earliest = needed
        line.append(signed)
        after = links.following(signed.sha256)
    return line, []


def _back_from(pin: str, known: Mapping[str, Signed]) -> list[Signed]:
    """What leads to the pinned commit, oldest first."""
    if pin not in known:
        raise Damaged(f"commit {pin[:16]}… is at no site that answers", hint="holdfast log names the commits there are")
    line = [known[pin]]
    while (before := known.get(line[-1].predecessor or "")) and fits(before, line[-1]):
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
