"""Scrub: read as much of every site as there is time for, and go on there next time.

* Names and sizes are judged of everything, bytes of what is read. What was never read comes first, then what was read
  longest ago; sites take turns.
* What was bad at the last reading, and commits, events and keys that are new, are read whatever the time.
* The ledger (`state/scrubbed.py`) is kept while reading goes on, so a scrub that is interrupted has not read in vain.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import zip_longest

from holdfast.core.events import ReceiptGiven, Verified
from holdfast.state.scrubbed import Note, Readings, Scrubbed
from holdfast.vault.coding import parse_time
from holdfast.vault.format import Link
from holdfast.vault.names import Kind, parse_name
from holdfast.vault.scan import Holding, Inventory, Look, reread, survey
from holdfast.vault.sites import Emit, Progress
from holdfast.vault.vault import Vault
from holdfast.vault.verify import Reach, Report, judge

__all__ = ["Bounds", "Scrub", "Told", "note_all", "oldest_reading", "reach_of", "scrub"]

_NOTED = 256  # readings that one transaction of the ledger holds at most
_NOTED_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """How far to read: until `is_over` says so, and nothing that was read at `not_since` or later."""

    is_over: Callable[[], bool] = lambda: False
    not_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Scrub:
    """This host's ledger, how far to read (None: everything), and within how many days all is to have been read."""

    ledger: Scrubbed
    bounds: Bounds | None
    days: int


@dataclass(frozen=True, slots=True)
class Told:
    """What the journal tells of readings: verifications, and receipts by those who read."""

    verified: Sequence[Verified] = ()
    receipts: Sequence[ReceiptGiven] = ()

    def since(self, site: str) -> datetime | None:
        """Since when every byte that lay at the site before was read at the latest."""
        times = [event.oldest or event.at for event in self.verified if site in event.sites]
        times += [each.at for each in self.receipts if each.site == site and each.grade == "observed"]
        return max(times, default=None)


@dataclass(slots=True)
class _Run:
    """What one run has read at each site: objects and bytes."""

    objects: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    bytes: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def count(self, seen: Look) -> None:
        site = seen.holding.site.name
        self.objects[site] += 1
        self.bytes[site] += seen.entry.size if seen.kind == "good" else 0


def scrub(vault: Vault, some: Scrub, emit: Emit, witnessed: tuple[Link | str, ...] = ()) -> Report:
    """Judge everything by name and size, and by their bytes as many objects as the bounds allow.

    `witnessed` are commits and words that this host knows to exist. The report says how far the reading of each site
    has come.
    """
    now, ledger, bounds = vault.now(), some.ledger, some.bounds or Bounds()
    inventory = survey(vault)
    readings = {holding.site.name: ledger.readings(holding.site.name) for holding in inventory.holdings}
    sizes = {holding.site.name: dict(holding.good) for holding in inventory.holdings}
    run = _Run()
    wanted = _bounded(*_ordered(inventory, readings, bounds.not_since, now), bounds.is_over)
    with closing(_Noting(ledger, now)) as noting:
        for seen in reread(inventory, wanted):
            site = seen.holding.site.name
            if seen.kind == "down":
                continue
            run.count(seen)
            noting.add(seen, sizes[site].get(seen.entry.name, 0))
            emit(Progress("read", site, run.objects[site], run.bytes[site], sum(sizes[site].values())))
    for holding in inventory.holdings:
        if holding.down is None:
            ledger.keep_only(holding.site.name, [*holding.good, *holding.bad])
    reach = reach_of(inventory, {name: ledger.readings(name) for name in readings}, now)
    reach = tuple(replace(each, read_objects=run.objects[each.site], read_bytes=run.bytes[each.site]) for each in reach)
    return replace(judge(inventory, now=now, witnessed=witnessed), reach=reach)


def note_all(inventory: Inventory, ledger: Scrubbed, now: datetime) -> None:
    """Keep in the ledger that everything was read, but for what lies in closed tails."""
    for holding in inventory.holdings:
        if holding.down is None:
            good = [Note(name, size, is_sound=True) for name, size in holding.good.items()]
            # Of what is bad no size is known here: it is read again before all else.
            bad = [Note(name, 0, is_sound=False) for name in holding.bad]
            ledger.note(holding.site.name, [*good, *bad], now)
            ledger.keep_only(holding.site.name, [*holding.good, *holding.bad])


def reach_of(
    inventory: Inventory, readings: Mapping[str, Readings], now: datetime, told: Told | None = None
) -> tuple[Reach, ...]:
    """How far the reading of each site that answers has come, by the ledger and by what the journal tells."""
    begun = _begun(inventory)
    found = []
    for holding in (each for each in inventory.holdings if each.down is None):
        name, floor = holding.site.name, told.since(holding.site.name) if told else None
        unread, since = 0, now
        for text, size in holding.good.items():
            reading = readings[name].last(text, size, now=now)
            at = reading.at if reading else begun.get(text, now)
            unread += reading is None and (floor is None or at > floor)
            since = min(since, max(at, floor) if floor else at)
        found.append(Reach(name, len(holding.good) + len(holding.bad), holding.bytes, 0, 0, unread, since))
    return tuple(found)


def oldest_reading(report: Report) -> datetime | None:
    """The oldest reading of any object at the sites of a scrub; None of a report of everything."""
    return min((each.since for each in report.reach), default=None)


class _Noting:
    """Keeps readings in the ledger, many in one transaction, and what is left of them at the end, whatever ends it."""

    def __init__(self, ledger: Scrubbed, now: datetime) -> None:
        self._ledger, self._now = ledger, now
        self._notes: dict[str, list[Note]] = defaultdict(list)
        self._kept = time.monotonic()

    def add(self, seen: Look, listed: int) -> None:
        site, size = seen.holding.site.name, seen.entry.size if seen.kind == "good" else listed
        self._notes[site].append(Note(seen.entry.name, size, seen.kind == "good"))
        if len(self._notes[site]) >= _NOTED or time.monotonic() - self._kept > _NOTED_SECONDS:
            self.close()

    def close(self) -> None:
        for site, notes in self._notes.items():
            self._ledger.note(site, notes, self._now)
        self._notes.clear()
        self._kept = time.monotonic()


def _ordered(
    inventory: Inventory, readings: Mapping[str, Readings], not_since: datetime | None, now: datetime
) -> tuple[list[tuple[Holding, str]], list[tuple[Holding, str]]]:
    """What has to be read, and what may be, in its order: never read, then longest ago; the sites take turns."""
    musts, turns = [], []
    for holding in inventory.holdings:
        waiting: list[tuple[float, str]] = []
        for text, size in holding.good.items():
            reading = readings[holding.site.name].last(text, size, now=now)
            name = parse_name(text)
            is_control = name is not None and name.kind is not Kind.OBJECT
            if (reading is None and is_control) or (reading is not None and not reading.is_sound):
                musts.append((holding, text))
            elif reading is None or not_since is None or reading.at < not_since:
                waiting.append((reading.at.timestamp() if reading else 0.0, text))
        turns.append([(holding, text) for _, text in sorted(waiting)])
    return musts, [each for turn in zip_longest(*turns) for each in turn if each is not None]


def _bounded(
    musts: Sequence[tuple[Holding, str]], rest: Sequence[tuple[Holding, str]], is_over: Callable[[], bool]
) -> Iterator[tuple[Holding, str]]:
    yield from (each for each in musts if each[0].down is None)
    for each in rest:
        if is_over():
            return
        if each[0].down is None:
            yield each


def _begun(inventory: Inventory) -> dict[str, datetime]:
    """From when on each name can lie at a site: the claim of what calls for it first."""
    document = inventory.trusted.document
    begun = dict.fromkeys((*inventory.trusted.names, *document.called_for), parse_time(document.created))
    for signed in sorted(inventory.commits.values(), key=lambda each: each.clock):
        for name in (signed.name, *dict(signed.commit.objects)):
            begun.setdefault(name, signed.clock)
    begun.update({name: parse_time(each.events.clock) for name, each in inventory.events.items()})
    return begun
