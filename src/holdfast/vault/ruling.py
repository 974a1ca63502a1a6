"""The rules for deletion as of a moment: what was in force then, which holds stood, which requests had matured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import msgspec

from holdfast.core.control import Action
from holdfast.core.retention import Era, Hold, Retention
from holdfast.core.statements import Held
from holdfast.vault.chain import SignedEvents
from holdfast.vault.coding import parse_time
from holdfast.vault.control import Control
from holdfast.vault.eras import Arrivals, Line, Span, Word, link_of, no_arrivals
from holdfast.vault.format import Link
from holdfast.vault.names import parse_name
from holdfast.vault.trust import Trusted

__all__ = ["POLICY", "Ruling", "ruling_at"]

POLICY = "policy"


@dataclass(frozen=True, slots=True)
class Ruling:
    """What retention was in force at a moment, by which keys' receipts, which holds stood (on a commit, or None: on
    everything), and which requests for a deletion had matured: id → the ranges of commits.
    """

    at: datetime
    retention: Retention
    voices: frozenset[str]
    holds: tuple[tuple[str, Link | None], ...] = ()
    requests: Mapping[str, tuple[Span, ...]] = field(default_factory=dict)

    def heard(self, words: Iterable[Word]) -> list[Word]:
        """The receipts that count: those of keys that root alone has just named do not yet."""
        return [each for each in words if each.receipt.signer in self.voices]

    def holds_on(self, line: Line) -> list[Hold]:
        """The holds by places. One on a commit that is not in the history holds everything: it may be any."""
        return [Hold(reason, None if link is None else line.covered(link)) for reason, link in self.holds]

    def released(self, cause: str, line: Line, eras: Sequence[Era]) -> set[int]:
        """The eras that a request lets go: those that lie wholly within what it names."""
        spans = (line.span(each) for each in self.requests.get(cause, ()))
        free = {place for span in spans if span is not None for place in span}
        return {number for number, era in enumerate(eras) if free.issuperset(range(era.first, era.last + 1))}


def ruling_at(
    trusted: Trusted, objects: Iterable[SignedEvents], at: datetime, arrivals: Arrivals = no_arrivals
) -> Ruling:
    """The rules as of a moment, by these objects of the journal. What `arrivals` tell makes nothing sooner."""
    known = tuple(objects)
    told = {(parse_name(name), name) for name in (*trusted.names, *(each.name for each in known))}
    times = {name.sha256: arrived for name, text in told if name and (arrived := arrivals(text)) is not None}
    control = Control(_until(trusted, at), known, at, times)
    holds = [
        (each.event.reason, None if each.event.commit is None or each.event.incident else link_of(each.event.commit))
        for each in control.holds
        if isinstance(each.event, Held)
    ]
    if control.force.is_stopped:
        reasons = dict.fromkeys(reason for waiting in control.force.waiting.values() for reason in waiting)
        holds.append((f"a trust document waits to be allowed: {'; '.join(reasons)}", None))
    requests = {
        each.id: _spans(each.event.subject)
        for each in control.requests
        if each.event.action == Action.PRUNE and each.verdict.is_matured
    }
    return Ruling(at, control.retention, control.force.terms.voices, tuple(holds), requests)


def _until(trusted: Trusted, at: datetime) -> Trusted:
    """The trust that had been put down by then."""
    count = max(1, sum(parse_time(each.created) <= at for each in trusted.documents))
    return replace(trusted, names=trusted.names[:count], documents=trusted.documents[:count])


def _spans(subject: Mapping[str, Any]) -> tuple[Span, ...]:
    """The ranges of commits that a request names; none if it is malformed."""
    try:
        return msgspec.convert(subject.get("ranges"), tuple[Span, ...])
    except msgspec.ValidationError:
        return ()
