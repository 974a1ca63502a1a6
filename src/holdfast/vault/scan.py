"""One pass over everything that lies at the sites: what is whole, what is not, and what is not ours.

Deep reads every byte; shallow believes a listed segment and reads only the small signed objects. Memory holds names,
never data: a commit is kept without its parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from holdfast.core.ports import Entry
from holdfast.errors import Damaged, Refused, Unreachable
from holdfast.vault.chain import Signed, SignedEvents, read_commit, read_events
from holdfast.vault.findings import Finding
from holdfast.vault.names import Kind, Name, parse_name
from holdfast.vault.sites import Emit, Progress, Site, Sites, get_checked, in_flight
from holdfast.vault.trust import Trusted, load_trust

__all__ = ["Holding", "Inventory", "scan", "trust_of"]

_SIGNED = (Kind.COMMIT, Kind.EVENTS)


@dataclass(slots=True)
class Holding:
    """What lies at one site: good names with sizes, damaged names with the reason, and names that are not ours."""

    site: Site
    good: dict[str, int] = field(default_factory=dict)
    bad: dict[str, str] = field(default_factory=dict)
    junk: list[str] = field(default_factory=list)
    quarantined: int = 0
    bytes: int = 0
    down: str | None = None


@dataclass(slots=True)
class Inventory:
    """All sites, and every signed object that is valid at one of them, by name."""

    trusted: Trusted
    holdings: list[Holding]
    commits: dict[str, Signed] = field(default_factory=dict)
    events: dict[str, SignedEvents] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Job:
    holding: Holding
    entry: Entry
    name: Name | None


@dataclass(frozen=True, slots=True)
class _Outcome:
    kind: Literal["good", "bad", "down"]
    detail: str = ""
    size: int = 0
    signed: bytes | None = None


def trust_of(sites: Sequence[Site], vault: str) -> Trusted:
    """The vault's trust from whichever sites hold it. Damaged if none does, Unreachable if none answers."""
    reads = Sites(sites)
    objects = {}
    for text in sorted({name for names in reads.holdings(f"{Kind.TRUST}/").values() for name in names}):
        name = parse_name(text)
        try:
            if name is not None:
                objects[name] = reads.read(text)
        except Damaged:
            continue  # the scan names it
    return load_trust(objects, vault)


def scan(sites: Sequence[Site], trusted: Trusted, *, deep: bool, emit: Emit) -> Inventory:
    """Read all sites side by side, two objects at a time. A site that fails is named and the others go on."""
    inventory = Inventory(trusted, [Holding(site) for site in sites])
    for job, outcome in in_flight(lambda job: _look(job, deep=deep), _jobs(inventory.holdings)):
        _record(inventory, job, outcome)
        if outcome.kind == "good":
            emit(Progress("read", job.holding.site.name, len(job.holding.good), job.holding.bytes))
    return inventory


def _jobs(holdings: Sequence[Holding]) -> Iterator[_Job]:
    """Every name of every site, taking turns among the sites so that their disks work at the same time."""
    turns = [(holding, _listed(holding)) for holding in holdings]
    while turns:
        for turn in list(turns):
            holding, entries = turn
            entry = next(entries, None)
            if entry is None or holding.down is not None:
                turns.remove(turn)
            else:
                yield _Job(holding, entry, parse_name(entry.name))


def _listed(holding: Holding) -> Iterator[Entry]:
    try:
        yield from holding.site.store.list("")
    except (Unreachable, Refused) as err:
        holding.down = err.message


def _look(job: _Job, *, deep: bool) -> _Outcome:
    """Read one object and hash it. Runs in a worker thread and changes nothing."""
    name, site = job.name, job.holding.site
    if name is None or name.kind is Kind.QUARANTINE or job.holding.down is not None:
        return _Outcome("good")
    if not deep and name.kind is Kind.OBJECT:
        return _Outcome("good", size=job.entry.size)
    try:
        data = get_checked(site, name)
    except KeyError:
        return _Outcome("bad", "no regular file")
    except (Damaged, Refused) as err:
        return _Outcome("bad", err.message)
    except Unreachable as err:
        return _Outcome("down", err.message)
    return _Outcome("good", size=len(data), signed=data if name.kind in _SIGNED else None)


def _record(inventory: Inventory, job: _Job, outcome: _Outcome) -> None:
    holding, name = job.holding, job.name
    if holding.down is not None:
        return
    if outcome.kind == "down":
        holding.down = outcome.detail
    elif name is None:
        holding.junk.append(job.entry.name)
    elif name.kind is Kind.QUARANTINE:
        holding.quarantined += 1
    elif outcome.kind == "bad":
        holding.bad[name.text] = outcome.detail
    else:
        holding.good[name.text] = outcome.size
        holding.bytes += outcome.size
        if outcome.signed is not None:
            _record_signed(inventory, holding, name, outcome.signed)


def _record_signed(inventory: Inventory, holding: Holding, name: Name, data: bytes) -> None:
    """Judge a commit or an events object once, wherever it was seen first."""
    if name.text in inventory.commits or name.text in inventory.events:
        return
    read = read_commit if name.kind is Kind.COMMIT else read_events
    found = read(name, data, inventory.trusted)
    if isinstance(found, Signed):
        bare = msgspec.structs.replace(found.commit, parts=())
        inventory.commits[name.text] = Signed(found.name, found.sha256, bare)
    elif isinstance(found, SignedEvents):
        bare_events = msgspec.structs.replace(found.events, sealed=None)
        inventory.events[name.text] = SignedEvents(found.name, found.sha256, bare_events)
    else:
        inventory.findings.append(Finding(found.kind, found.name, found.detail, holding.site.name))
