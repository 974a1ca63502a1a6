"""Incidents: what the journal tells of findings that hold the last good state, and what was decided on them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from holdfast.core.anomaly import Finding
from holdfast.core.events import CommitRef, Event

__all__ = [
    "Decision",
    "Incident",
    "IncidentDecided",
    "IncidentGrew",
    "IncidentOpened",
    "KeysGiven",
    "Touched",
    "Undone",
    "incidents_of",
]


class Decision(StrEnum):
    """What became of an incident: nothing was wrong, it was a disaster, what was lost is back."""

    ACCEPT = "accept"
    REJECT = "reject"
    MENDED = "mended"


@dataclass(frozen=True, slots=True)
class Touched:
    """What a finding touched in one collection: how many records, the first of their keys (as people write them), sums
    by money column and currency (`total_cents EUR`), and records by tenant, most first.
    """

    collection: str
    records: int
    keys: tuple[str, ...]
    sums: Mapping[str, int]
    tenants: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """The facts as the journal holds them."""
        return {
            "collection": self.collection,
            "records": self.records,
            "keys": list(self.keys),
            "sums": dict(self.sums),
            "tenants": dict(self.tenants),
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Touched:
        """What `to_json` wrote."""
        return Touched(
            value["collection"], value["records"], tuple(value["keys"]), dict(value["sums"]), dict(value["tenants"])
        )


@dataclass(frozen=True, slots=True)
class IncidentOpened(Event):
    """Findings that hold. `commit` is the first bad one (None: nothing was committed), `good` the last good one, which
    held what the source held at `until`; `tx` and `tx_at` name the first bad transaction if the stream shows it.
    """

    kind: ClassVar[str] = "incident"
    incident: str
    source: str
    commit: CommitRef | None
    good: CommitRef | None
    until: datetime
    findings: tuple[dict[str, Any], ...]
    touched: tuple[dict[str, Any], ...]
    tx: str = ""
    tx_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class IncidentGrew(Event):
    """More was found while an incident was open: everything that is known of it now."""

    kind: ClassVar[str] = "incident-grew"
    incident: str
    findings: tuple[dict[str, Any], ...]
    touched: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class IncidentDecided(Event):
    """Somebody looked at an incident and decided; `note` says how it was mended, or why."""

    kind: ClassVar[str] = "incident-decided"
    incident: str
    decision: str
    by: str
    note: str


@dataclass(frozen=True, slots=True)
class Undone(Event):
    """What a source had lost since `commit` was put back beside what came since; so many records wait for a person.
    `is_proven`: all that was wanted is there, and all else is as it was before.
    """

    kind: ClassVar[str] = "undo"
    commit: CommitRef
    target: str
    plan: str
    inserts: int
    updates: int
    deletes: int
    waiting: int
    is_proven: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class KeysGiven(Event):
    """Records that an undo put back under new keys: the old key and the new, as people write them. A plan that gave
    many has several of these.
    """

    kind: ClassVar[str] = "undo-keys"
    plan: str
    collection: str
    keys: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident as the journal tells it. `decided` are all decisions in their order: an accepted or mended one is
    over, a rejected one stays open until it is mended or accepted.
    """

    opened: IncidentOpened
    findings: tuple[Finding, ...]
    touched: tuple[Touched, ...]
    decided: tuple[IncidentDecided, ...] = ()

    @property
    def id(self) -> str:
        """Eight hexadecimal digits."""
        return self.opened.incident

    @property
    def is_open(self) -> bool:
        """Whether the last good state is still held for it."""
        return not self.decided or self.decided[-1].decision == Decision.REJECT


def incidents_of(events: Iterable[Event]) -> list[Incident]:
    """All incidents, in the order of the journal."""
    found: dict[str, Incident] = {}
    # Each word has a chain of its own, and two of one moment have no order but this.
    for event in sorted(events, key=lambda each: not isinstance(each, IncidentOpened)):
        if isinstance(event, IncidentOpened):
            findings, touched = _told(event)
            found.setdefault(event.incident, Incident(event, findings, touched))
        elif isinstance(event, IncidentGrew) and event.incident in found:
            findings, touched = _told(event)
            found[event.incident] = replace(found[event.incident], findings=findings, touched=touched)
        elif isinstance(event, IncidentDecided) and event.incident in found:
            before = found[event.incident]
            found[event.incident] = replace(before, decided=(*before.decided, event))
    return list(found.values())


def _told(event: IncidentOpened | IncidentGrew) -> tuple[tuple[Finding, ...], tuple[Touched, ...]]:
    return tuple(map(Finding.from_json, event.findings)), tuple(map(Touched.from_json, event.touched))
