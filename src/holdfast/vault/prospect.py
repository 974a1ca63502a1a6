"""What a site may let go of now, and what stands against it: seen with the eyes of one who wants to delete.

* Judged by every clock that is known: what one of them keeps is kept.
* Under any open finding, and while clocks can't all be right, nothing may go.

    prospect = Prospect(inventory, now)
    if not prospect.stops("a"):
        ripe = prospect.outlook("a").ripe
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, TypeVar

from holdfast.core.doors import Deleter
from holdfast.core.retention import Era, Judged, received, tail_due
from holdfast.vault.chain import SignedEvents, join
from holdfast.vault.coding import parse_time, time_text
from holdfast.vault.eras import Arrivals, Span, Word, no_arrivals
from holdfast.vault.links import AHEAD_MAX
from holdfast.vault.names import TAILS, is_prunable
from holdfast.vault.pruned import Evidence, authorities, evidence_of, places_of, record_event
from holdfast.vault.receipts import Grade
from holdfast.vault.ruling import POLICY, Ruling
from holdfast.vault.scan import Holding, Inventory, closings
from holdfast.vault.verify import Report, SiteReport, judge

__all__ = ["KeptEra", "Outlook", "Prospect", "Share", "clock_faults"]

T = TypeVar("T", int, str)
_STAGES = ("new", "waiting", "ripe")


@dataclass(frozen=True, slots=True)
class Share:
    """Commits whose segments go, tails, and the names of all that which lie at the site, with their sizes."""

    ranges: tuple[Span, ...] = ()
    tails: tuple[str, ...] = ()
    names: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to say or to do."""
        return not (self.ranges or self.tails)

    @property
    def size(self) -> int:
        """The bytes that lie there."""
        return sum(self.names.values())

    def event(self, kind: str, at: datetime, site: str, cause: str = POLICY) -> dict[str, Any]:
        """Saying so in public: `marked` or `pruned`."""
        what = {"ranges": self.ranges, "tails": self.tails, "objects": len(self.names), "size": self.size}
        return record_event(kind, at, site, what, cause)


@dataclass(frozen=True, slots=True)
class KeptEra:
    """An era that stays: the numbers of its first and last commits, and why. `until`: when time alone lets it go."""

    first: int
    last: int
    reason: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class Outlook:
    """What one site may let go of: `new` is not marked yet, `waiting` may be deleted when it is `due`, `ripe` now.

    `left` is what a record covers and still lies here; `numbers` are those of the commits that go.
    """

    site: str
    kept: tuple[KeptEra, ...]
    numbers: tuple[tuple[int, int], ...]
    new: Share
    waiting: Share
    due: datetime | None
    ripe: Share
    left: Mapping[str, int]


class Prospect:
    """A scan or a survey, seen with the eyes of one who wants to delete. What `arrivals` tell makes nothing older."""

    def __init__(self, inventory: Inventory, now: datetime, arrivals: Arrivals = no_arrivals) -> None:
        self.now = now
        self.report: Report = judge(inventory, now=now)
        self._inventory = inventory
        self._evidence = evidence_of(inventory, join(inventory.commits.values(), now=now).commits, now, arrivals)

    def stops(self, site: str, keyid: str = "") -> tuple[str, ...]:
        """Why nothing may be deleted at a site now, by who has this key: open findings, and clocks that can't all be
        right.
        """
        found = [each for each in (*self.report.findings, *self._at(site).findings) if not each.kind.is_note]
        told = [f"{each.kind}: {each.name or each.detail}" for each in found]
        if not isinstance(self._holding(site).site.store, Deleter):
            told.append("a site of this kind keeps everything: nothing can be deleted here")
        return (*told, *clock_faults(self._evidence, self.now, keyid))

    def signed_by(self, keyid: str, site: str) -> bool:
        """Whether this key's word about a deletion at a site counts."""
        return keyid in authorities(self._inventory.trusted, site)

    @property
    def causes(self) -> tuple[str, ...]:
        """Why anything may go: by policy, and by each request that matured."""
        return (POLICY, *sorted(self._ruling.requests))

    def outlook(self, site: str, cause: str = POLICY) -> Outlook:
        """What the site may let go of now: by policy, or by a request beyond that."""
        evidence, line = self._evidence, self._evidence.line
        free, kept = self._freed(cause)
        done = self.report.pruned
        gone = done.places.get(site, frozenset())
        begun = evidence.might_go(self.now - self._wait, cause, "")[0]  # what might go already when the wait began
        places = self._sorted(site, free - gone, free - begun)
        tails = self._tails(self._holding(site)) if cause == POLICY else {}
        left = self._present(site, line.objects(gone & free, evidence.known))
        for tail in done.tails.get(site, frozenset()) & tails.keys():
            left |= tails.pop(tail)
        by_mark = self._sorted(site, set(tails), set[str]())
        new, waiting, ripe = (
            self._share(site, places[stage], {tail: tails[tail] for tail in by_mark[stage]}) for stage in _STAGES
        )
        waits: list[int | str] = [*places["waiting"], *by_mark["waiting"]]
        # What was to be kept when the wait would have begun waits anew.
        due = [
            max(at, self.now) if (at := self._marks[site][item] + self._wait) > self.now else self.now + self._wait
            for item in waits
        ]
        numbers = tuple((first + 1, last + 1) for first, last in _runs(set().union(*places.values())))
        return Outlook(site, kept, numbers, new, waiting, max(due, default=None), ripe, left)

    @cached_property
    def _ruling(self) -> Ruling:
        return self._evidence.ruling_now(self.now)

    @property
    def _wait(self) -> timedelta:
        return timedelta(hours=self._ruling.retention.wait_hours)

    def _freed(self, cause: str) -> tuple[set[int], tuple[KeptEra, ...]]:
        """The places of the commits whose segments may go, and the eras that stay.

        By the first word about each commit, by the second clock that tells of it, and, of a judge who knows when words
        arrived, by what they say alone: that is how others will judge him. What one of these keeps stays.
        """
        evidence, line = self._evidence, self._evidence.line
        plain = [Word(each.receipt) for each in evidence.words]
        views = [
            evidence.judged(self._ruling, cause, words, clocks=clocks, whole=True)
            for words, clocks in ((evidence.words, 2), (evidence.words, 1), (plain, 1))
        ]
        free = set.intersection(*(_free(each) for each in views))
        if cause != POLICY:
            free -= self._freed(POLICY)[0]
        return free, tuple(_kept(line.eras([None] * len(line.commits), ()), views))

    def _sorted(self, site: str, items: AbstractSet[T], kept: AbstractSet[T]) -> dict[str, set[T]]:
        """Places or tails by how far they are: not marked yet, marked and waiting, or long enough."""
        marked, now = self._marks[site], self.now
        waiting = {item for item in items if item in marked and (item in kept or marked[item] + self._wait > now)}
        return {
            "new": {item for item in items if item not in marked},
            "waiting": waiting,
            "ripe": {item for item in items if item in marked} - waiting,
        }

    @cached_property
    def _marks(self) -> dict[str, dict[int | str, datetime]]:
        """For each site when each place and each tail was marked first, by somebody whose word counts."""
        found: dict[str, dict[int | str, datetime]] = defaultdict(dict)
        for record in self._evidence.records:
            if record.kind != "marked" or not record.is_timely(self.now):
                continue
            if not self.signed_by(record.signer, record.site):
                continue
            arrived = self._evidence.arrivals(record.name)
            at = record.at if arrived is None else max(record.at, arrived)
            marked = found[record.site]
            gone = self.report.pruned.places.get(record.site, frozenset())
            if not record.tails and gone.issuperset(places_of(record, self._evidence.line) or ()):
                continue
            items: list[int | str] = [*self._evidence.marked_by(record), *record.tails]
            for item in items:
                marked[item] = min(at, marked.get(item, at))
        return found

    def _tails(self, holding: Holding) -> dict[str, dict[str, int]]:
        """The closed tails at a site that are old enough, with what lies in each and in the tails below it."""
        line, ruling = self._evidence.line, self._ruling
        if any(link is None or line.place(link) is None for _, link in ruling.holds):
            return {}
        drilled = max(self._evidence.drilled(self.now), default=-1)
        times = received(line.seen(ruling.heard(self._evidence.words), self.now), len(line.commits), clocks=2)
        due = set()
        for each in closings(self._inventory):
            place = line.place(each.after.link)
            at = None if place is None else tail_due(times[place], ruling.retention, is_drilled=drilled >= place)
            if at is not None and at <= self.now:
                due |= set(each.tails)
        lying: dict[str, dict[str, int]] = {}
        for entry in holding.site.store.list(TAILS) if due else ():
            if is_prunable(entry.name):
                lying.setdefault(entry.name.split("/", 2)[1], {})[entry.name] = entry.size
        found = {}
        for tail in sorted(due):
            names = {name: size for each in self._below(tail) for name, size in lying.get(each, {}).items()}
            if names:
                found[tail] = names
        return found

    def _below(self, tail: str) -> set[str]:
        """A tail and all that lie below it, as far as their commits were read."""
        found, left = set[str](), [tail]
        while left:
            each = left.pop()
            if each not in found:
                found.add(each)
                left += self._inventory.below.get(each, ())
        return found

    def _share(self, site: str, places: set[int], tails: Mapping[str, Mapping[str, int]]) -> Share:
        line = self._evidence.line
        names = self._present(site, line.objects(places, self._evidence.known))
        for each in tails.values():
            names |= each
        below = {inner for tail in tails for inner in self._below(tail)}
        return Share(tuple(line.ends(run) for run in _runs(places)), tuple(sorted(below)), names)

    def _present(self, site: str, names: Mapping[str, int]) -> dict[str, int]:
        holding = self._holding(site)
        return {name: size for name, size in names.items() if name in holding.good or name in holding.bad}

    def _at(self, site: str) -> SiteReport:
        return next(each for each in self.report.sites if each.site == site)

    def _holding(self, site: str) -> Holding:
        return next(each for each in self._inventory.holdings if each.site.name == site)


def clock_faults(evidence: Evidence, now: datetime, keyid: str = "") -> list[str]:
    """Which clocks can't be right: ahead of ours by more than a day, set back by as much, or so far from another
    owner's. Of two owners that count who vouched for the same commit, the newest there is.

    Ours can't be held to be right if the newest word by any other key than ours is older than a day.
    """
    document = evidence.trusted.document
    writers = {*document.roles.writer.keys, *document.retired("writer")}  # whose times make nothing old
    objects = [each for each in evidence.objects if each.events.signer not in writers]
    faults = [
        f"{each.name} is dated {each.events.clock}, more than a day ahead of this clock"
        for each in objects
        if parse_time(each.events.clock) > now + AHEAD_MAX
    ]
    faults += _set_back(objects)
    said = [parse_time(each.events.clock) for each in evidence.objects if each.events.signer != keyid]
    said += [each.clock for each in evidence.line.commits]
    if said and now - max(said) > AHEAD_MAX:
        faults.append(f"nobody else said anything since {time_text(max(said))}: nothing tells that this clock is right")
    first: dict[int, dict[str, datetime]] = {}
    for receipt, _ in evidence.words:
        place = evidence.line.place(receipt.commit)
        if place is not None and receipt.grade is Grade.ATTESTED:
            times = first.setdefault(place, {})
            times[receipt.owner] = min(receipt.moment, times.get(receipt.owner, receipt.moment))
    newest = next((first[place] for place in sorted(first, reverse=True) if len(first[place]) > 1), {})
    if newest and max(newest.values()) - min(newest.values()) > AHEAD_MAX:
        told = ", ".join(f"{owner} {time_text(at)}" for owner, at in sorted(newest.items()))
        faults.append(f"owners disagree by more than a day about when one commit came: {told}")
    return faults


def _set_back(objects: Iterable[SignedEvents]) -> Iterator[str]:
    last: dict[str, SignedEvents] = {}
    for each in sorted(objects, key=lambda signed: signed.events.sequence):
        before = last.get(each.events.chain)
        last[each.events.chain] = each
        if before is not None and parse_time(before.events.clock) - parse_time(each.events.clock) > AHEAD_MAX:
            yield f"the clock of who signed {each.name} was set back by more than a day"


def _free(judged: Judged) -> set[int]:
    return {place for first, last in judged.ranges for place in range(first, last + 1)}


def _runs(places: Iterable[int]) -> list[tuple[int, int]]:
    """Places in a row as their first and last."""
    runs: list[tuple[int, int]] = []
    for place in sorted(places):
        if runs and runs[-1][1] == place - 1:
            runs[-1] = runs[-1][0], place
        else:
            runs.append((place, place))
    return runs


def _kept(eras: list[Era], views: Iterable[Judged]) -> Iterator[KeptEra]:
    """Each era that one of the judgements keeps, with the first reason."""
    why = {each.era: each for judged in reversed(list(views)) for each in judged.kept}
    for number, era in enumerate(eras):
        if number in why:
            yield KeptEra(era.first + 1, era.last + 1, why[number].reason, why[number].until)
