"""What sites have let go of, by records that hold: nothing else excuses an absence (docs/format.md, 9.1).

* A record counts if it is signed by the site's own key, or, of a site without one, by a reader's or root's; a writer's
  counts for nothing.
* It is judged anew by whoever reads it: by the same rule, as of the record's time, by receipts, drills, holds and
  requests that were said until then. One that can't be justified is forged, and what it covered is missing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

import msgspec

from holdfast.core import statements
from holdfast.core.retention import Judged, judge, received, tail_due
from holdfast.core.statements import Marked
from holdfast.vault.chain import Signed, SignedEvents
from holdfast.vault.coding import parse_time, time_text
from holdfast.vault.eras import Arrivals, Line, Span, Word, drills_of, link_of, no_arrivals, said_in, words_of
from holdfast.vault.findings import Finding, Problem
from holdfast.vault.format import Link
from holdfast.vault.links import AHEAD_MAX
from holdfast.vault.publickeys import keyid_of
from holdfast.vault.ruling import POLICY, Ruling, ruling_at
from holdfast.vault.scan import Inventory, closings, open_tails
from holdfast.vault.trust import TrustDocument, Trusted

__all__ = [
    "NOTHING_PRUNED",
    "Evidence",
    "Pruned",
    "Record",
    "authorities",
    "evidence_of",
    "places_of",
    "pruned_by",
    "record_event",
    "records_of",
]


_DEMANDS = frozenset({"request", "approval", "veto", "seen", "hold", "decided"})


@dataclass(frozen=True, slots=True)
class Record:
    """What somebody said that a site would let go (`marked`) or has let go: the segments of these commits and whole
    tails. `name` is the events object that says it.
    """

    name: str
    signer: str
    kind: str
    at: datetime
    site: str
    ranges: tuple[Span, ...]
    tails: tuple[str, ...]
    cause: str
    clock: datetime

    def is_timely(self, now: datetime) -> bool:
        """Whether its time can be true: that of its signature but for a day, and not to come."""
        return abs(self.at - self.clock) <= AHEAD_MAX and self.at <= now + AHEAD_MAX


@dataclass(frozen=True)
class Evidence:
    """All that a judge goes by: the history, every commit that counts, what was said, and which tails are open."""

    line: Line
    known: Collection[Signed]
    objects: Sequence[SignedEvents]
    trusted: Trusted
    open_tails: Collection[str]
    now: datetime
    arrivals: Arrivals = no_arrivals

    @cached_property
    def words(self) -> tuple[Word, ...]:
        """The receipts that tell how old commits are."""
        return words_of(self.objects, self.trusted.document, self.arrivals)

    @cached_property
    def records(self) -> tuple[Record, ...]:
        """Every mark and every record of a deletion, whoever signed it, by their times."""
        return tuple(sorted(records_of(self.objects), key=lambda each: (each.at, each.name)))

    @cached_property
    def demands(self) -> tuple[SignedEvents, ...]:
        """What people said about deletion: among years of receipts these are few."""
        return tuple(
            each for each in self.objects if any(event.get("kind") in _DEMANDS for event in each.events.public)
        )

    @cached_property
    def drills(self) -> list[tuple[datetime, Link]]:
        """The commits that a reader or root proved by a drill, and when."""
        return drills_of(self.objects, self.trusted.document)

    def ruling_now(self, now: datetime) -> Ruling:
        """The rules that are in force, by all that was said."""
        return ruling_at(self.trusted, self.demands, now, self.arrivals)

    def ruling_then(self, at: datetime) -> Ruling:
        """The rules that were in force at a time, by what had been said by then.

        A writer's word stops deletions from now on, but makes no past one wrong: he dates it as he likes.
        """
        document = self.trusted.document
        writers = {*document.roles.writer.keys, *document.retired("writer")}
        said = [
            each
            for each in self.demands
            if parse_time(each.events.clock) <= at
            and not (each.events.signer in writers and any(event.get("kind") == "hold" for event in each.events.public))
        ]
        return ruling_at(self.trusted, said, at)

    def judged(
        self, ruling: Ruling, cause: str, words: Iterable[Word], *, clocks: int = 1, whole: bool = False
    ) -> Judged:
        """What may go by these rules and receipts, as of the time of the ruling.

        Of the `whole` history, or of that up to the last commit which others than its writer knew of then.
        """
        line = self.line
        seen, drilled = line.seen(ruling.heard(words), ruling.at), self.drilled(ruling.at)
        known = max([*(each.commit for each in seen), *drilled], default=-1) + 1
        eras = line.eras(received(seen, len(line.commits) if whole else known, clocks=clocks), drilled)
        holds, released = ruling.holds_on(line), ruling.released(cause, line, eras)
        return judge(eras, ruling.retention, ruling.at, holds=holds, released=released)

    def might_go(self, at: datetime, cause: str, signer: str) -> list[set[int]]:
        """What might go then, in the view of each of those whose clocks may have been heard.

        Who had been heard is not known later, so a deletion holds if it was right by any of them: but not by the word
        of nobody but who signed it, where there are others.
        """
        ruling = self.ruling_then(at)
        views = [(self.words, 1), (self.words, 2)]
        signers = sorted({each.receipt.signer for each in self.words} - {signer})
        views += [(tuple(each for each in self.words if each.receipt.signer == by), 1) for by in signers]
        found = []
        for words, clocks in views:
            ranges = self.judged(ruling, cause, words, clocks=clocks).ranges
            found.append({place for first, last in ranges for place in range(first, last + 1)})
        return found

    def marked_by(self, mark: Record) -> set[int]:
        """The places that a mark counts for: those which might go when it was made."""
        named = places_of(mark, self.line) or frozenset()
        return set(named) & set().union(*self.might_go(mark.at, mark.cause, mark.signer)) if named else set()

    def drilled(self, until: datetime) -> list[int]:
        """The places of the commits that were proven by a drill up to a time."""
        places = (self.line.place(link) for at, link in self.drills if at <= until)
        return [place for place in places if place is not None]


@dataclass(frozen=True, slots=True)
class Pruned:
    """What each site has let go of, by records that hold: places in the history, names of segments, tails; and what is
    wrong with records that don't.
    """

    places: Mapping[str, frozenset[int]] = field(default_factory=dict)
    names: Mapping[str, frozenset[str]] = field(default_factory=dict)
    tails: Mapping[str, frozenset[str]] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    def at(self, site: str) -> frozenset[str]:
        """The names that are not called for at a site."""
        return self.names.get(site, frozenset())


NOTHING_PRUNED = Pruned()


def evidence_of(
    inventory: Inventory, commits: Sequence[Signed], now: datetime, arrivals: Arrivals = no_arrivals
) -> Evidence:
    """What a scan or a survey found, with the history that it makes, as evidence."""
    line = Line(commits, closings(inventory))
    known, objects = inventory.commits.values(), tuple(inventory.events.values())
    return Evidence(line, known, objects, inventory.trusted, open_tails(inventory), now, arrivals)


def pruned_by(evidence: Evidence) -> Pruned:
    """What the records at hand justify, site by site."""
    done = [each for each in evidence.records if each.kind == "pruned"]
    if not done:
        return NOTHING_PRUNED
    places: dict[str, set[int]] = {}
    tails: dict[str, set[str]] = {}
    findings = []
    for record in done:
        why = _fault(record, evidence)
        if why is not None:
            findings.append(
                Finding(Problem.FORGED, record.name, f"a deletion that is not justified: {why}", record.site)
            )
            continue
        places.setdefault(record.site, set()).update(places_of(record, evidence.line) or ())
        tails.setdefault(record.site, set()).update(record.tails)
    return Pruned(
        {site: frozenset(each) for site, each in places.items()},
        {site: frozenset(evidence.line.objects(each, evidence.known)) for site, each in places.items()},
        {site: frozenset(each) for site, each in tails.items()},
        tuple(findings),
    )


def authorities_then(trusted: Trusted, site: str, at: datetime) -> frozenset[str]:
    """The keyids whose word counted then, by the versions of the trust document in force within a day of that."""
    began = [parse_time(each.created) for each in trusted.documents]
    ended = [*began[1:], datetime.max.replace(tzinfo=UTC)]
    then = [
        each
        for each, begin, end in zip(trusted.documents, began, ended, strict=True)
        if begin <= at + AHEAD_MAX and end > at - AHEAD_MAX
    ]
    return frozenset().union(*(_authorities(each, site) for each in then or [trusted.document]))


def authorities(trusted: Trusted, site: str) -> frozenset[str]:
    """The keyids whose word about a deletion at a site counts: its own, or if it has none those of readers and root."""
    return _authorities(trusted.document, site)


def _authorities(document: TrustDocument, site: str) -> frozenset[str]:
    own = {keyid_of(each.key) for each in document.sites if each.name == site and each.key is not None}
    retired = {keyid for keyid, each in document.retired("site").items() if each.name == site}
    if own or retired:
        return frozenset(own | retired)
    if all(each.name != site for each in document.sites):
        return frozenset()
    return frozenset({*document.observers, *document.roles.root.keys, *document.retired("reader", "root")})


def records_of(objects: Iterable[SignedEvents]) -> Iterator[Record]:
    """The marks and records of deletions in verified events objects. One that is malformed proves nothing."""
    for signed in objects:
        for event in said_in(signed):
            if isinstance(event, Marked | statements.Pruned):
                ranges = tuple((link_of(first), link_of(last)) for first, last in event.ranges)
                yield Record(
                    signed.name,
                    signed.events.signer,
                    event.kind,
                    event.at,
                    event.site,
                    ranges,
                    event.tails,
                    event.cause,
                    parse_time(signed.events.clock),
                )


def places_of(record: Record, line: Line) -> frozenset[int] | None:
    """The places of the commits that a record covers; None if it names what is no range of the history."""
    spans = [line.span(each) for each in record.ranges]
    if any(each is None for each in spans):
        return None
    return frozenset(place for span in spans if span is not None for place in span)


def record_event(kind: str, at: datetime, site: str, what: Mapping[str, Any], cause: str) -> dict[str, Any]:
    """A mark or the record of a deletion as a public event: `what` is its ranges, tails, objects and size."""
    return {"kind": kind, "at": time_text(at), "site": site, "cause": cause} | {
        name: msgspec.to_builtins(what[name]) for name in ("ranges", "tails", "objects", "size")
    }


def _is_mark(record: Record, site: str, may: Collection[str]) -> bool:
    return record.kind == "marked" and record.site == site and record.signer in may


def _fault(record: Record, evidence: Evidence) -> str | None:
    """Why a record does not hold, or None."""
    may = authorities_then(evidence.trusted, record.site, record.at)
    if record.signer not in may:
        return "signed by a key that may not delete at this site"
    if not record.is_timely(evidence.now):
        return "its time can't be true"
    places = places_of(record, evidence.line)
    if places is None:
        return "it names commits that are no range of the history"
    if any(tail in evidence.open_tails for tail in record.tails):
        return "it names a tail that is open"
    ruling = evidence.ruling_then(record.at)
    last = record.at - timedelta(hours=ruling.retention.wait_hours)
    marked: set[int | str] = set()
    for each in evidence.records:
        if _is_mark(each, record.site, may) and each.is_timely(evidence.now) and each.at <= last:
            marked |= (evidence.marked_by(each) & places) | set(each.tails)
    if not marked.issuperset([*places, *record.tails]):
        return "it was not marked long enough before"
    if why := _tails_fault(record, evidence, ruling):
        return why
    if not any(places <= free for free in evidence.might_go(record.at, record.cause, record.signer)):
        if record.cause not in {POLICY, *ruling.requests}:
            return "no request that had matured by then allows it"
        return "by the rules of then it was to be kept"
    if not any(places <= free for free in evidence.might_go(last, record.cause, record.signer)):
        return "when the wait began it was to be kept"
    return None


def _tails_fault(record: Record, evidence: Evidence, ruling: Ruling) -> str | None:
    """Why closed tails that a record names were to be kept, or None. Of one within another nothing is known."""
    if not record.tails:
        return None
    line = evidence.line
    if any(link is None or line.place(link) is None for _, link in ruling.holds):
        return "its tails were held"
    times = received(line.seen(ruling.heard(evidence.words), record.at), len(line.commits))
    drilled = max(evidence.drilled(record.at), default=-1)
    for each in line.closings:
        place = line.place(each.after.link)
        if place is None or not set(record.tails) & set(each.tails):
            continue
        due = tail_due(times[place], ruling.retention, is_drilled=drilled >= place)
        if due is None or due > record.at:
            return "it names a tail that was to be kept"
    return None
