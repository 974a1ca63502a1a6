"""Who must agree before anything is deleted or loosened: requests, approvals and vetoes, judged without trust.

Pure: statements come in, a verdict with every reason comes out. Every judge (a site, a host) reaches it for himself.
* A request matures once m approvers allowed it, the delay has passed, and m approvers confirmed it; the delay counts by
  their own times, by the times of arrival if the judge keeps them, and by the judge's clock: whichever is the longest.
* One veto of an approver, a holder of shares or root ends it. An approver of whom nothing was heard blocks it.
* People count, not names of keys; who asks does not count; what names another request or vault does not count.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import cached_property
from typing import Any

from holdfast.core.events import Event
from holdfast.core.statements import Approved, Requested, Seen, Vetoed

__all__ = [
    "AHEAD_MAX",
    "ALONE_MIN",
    "Action",
    "Rules",
    "Statement",
    "Verdict",
    "by_request",
    "is_veto",
    "later",
    "matured",
    "named_request",
    "subject_of",
]

AHEAD_MAX = timedelta(days=1)
ALONE_MIN = timedelta(hours=336)  # what root alone asks for waits at least so long
_MAY_VETO = frozenset({"approver", "holder", "root"})


class Action(StrEnum):
    """What can be asked for: deletion beyond policy, a trust document that loosens, a restore into a live system, and
    the end of a hold.
    """

    PRUNE = "prune"
    TRUST = "trust"
    RESTORE = "restore"
    RELEASE = "release"


# What a request names beside its action, and under which name: the hash of a trust object, a plan, the hash of a hold.
_SUBJECTS = {Action.TRUST: "sha256", Action.RESTORE: "plan", Action.RELEASE: "hold"}

# What these allowed goes on: a hold that was released does not come back when the request for that expires.
_LASTING = frozenset({Action.TRUST, Action.RELEASE})


@dataclass(frozen=True, slots=True)
class Statement:
    """An event that somebody signed: for this vault, in the events object of this hash, with this key, in these roles
    (by the trust document). `arrived` is when the judge first saw it by his own clock; None if he keeps no such times.
    """

    vault: str
    sha256: str
    keyid: str
    person: str
    roles: frozenset[str]
    event: Event
    arrived: datetime | None = None


@dataclass(frozen=True, slots=True)
class Rules:
    """Who can allow, by keyid and name, so many of them together, and how long all have time to veto. Nobody: root
    alone asks, and waits.
    """

    vault: str
    people: Mapping[str, str]
    threshold: int
    delay: timedelta


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a request: every reason why it has not matured, and who said what, by name.

    `confirm_from` is when confirmations begin to count, by the approvers' own times; None before enough allowed it.
    """

    reasons: tuple[str, ...]
    allowed: tuple[str, ...] = ()
    confirmed: tuple[str, ...] = ()
    vetoed: tuple[str, ...] = ()
    mute: tuple[str, ...] = ()
    confirm_from: datetime | None = None

    @property
    def is_matured(self) -> bool:
        """Whether what was asked for may be done."""
        return not self.reasons


def matured(
    request: Statement,
    statements: Iterable[Statement],
    rules: Rules,
    now: datetime,
    leaving: frozenset[str] = frozenset(),
) -> Verdict:
    """Whether a request may be carried out now, by the judge's clock.

    `leaving` are approvers (keyids) whom the trust document that is asked for leaves out. They have no say in it if
    every other approver both allows and confirms it: so a lost or stolen key can't keep itself in office for ever.
    """
    asked = request.event
    if not isinstance(asked, Requested) or asked.action not in set(Action) or request.vault != rules.vault:
        return Verdict(("it is no request to this vault",))
    about = [each for each in statements if each.vault == rules.vault and named_request(each.event) == request.sha256]
    judging = _Judging(request, asked, about, rules, now, leaving)
    if rules.people:
        return judging.by_approvers()
    return judging.by_root_alone()


def by_request(statements: Iterable[Statement]) -> dict[str, list[Statement]]:
    """What was said about each request, by its id: who floods a vault with requests must not slow its judges down."""
    found: dict[str, list[Statement]] = defaultdict(list)
    for each in statements:
        if (request := named_request(each.event)) is not None:
            found[request].append(each)
    return found


def named_request(event: Event) -> str | None:
    """The request that an event is about."""
    return event.request if isinstance(event, Approved | Vetoed | Seen) else None


def subject_of(action: Action, named: str) -> dict[str, Any]:
    """The subject of a request that names one thing. What a prune is asked for takes more words."""
    return {_SUBJECTS[action]: named}


def later(moment: datetime, by: timedelta) -> datetime:
    """A moment later by so much, or the last one there is: who signs chooses his times."""
    try:
        return moment + by
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC)


def is_veto(statement: Statement) -> bool:
    """Whether it ends a request: an approver, a holder of shares and root can say no."""
    return isinstance(statement.event, Vetoed) and bool(statement.roles & _MAY_VETO)


@dataclass(frozen=True)
class _Judging:
    """One request and what was said about it."""

    request: Statement
    asked: Requested
    about: Sequence[Statement]
    rules: Rules
    now: datetime
    leaving: frozenset[str]

    @cached_property
    def voters(self) -> dict[str, str]:
        """Whose approval counts: keyid → name."""
        askers = {self.request.person, self.asked.by}
        return {
            keyid: person
            for keyid, person in self.rules.people.items()
            if keyid != self.request.keyid and person not in askers and keyid not in self.leaving
        }

    @property
    def needed(self) -> int:
        """How many people must agree."""
        return max(self.rules.threshold, len(set(self.voters.values())) if self.leaving else 1)

    def by_approvers(self) -> Verdict:
        allows, confirms = self._given("allow"), self._given("confirm")
        vetoed, mute = self._vetoed(), self._mute()
        reasons = [*self._wrong_times(), *(f"{name} vetoed it" for name in vetoed)]
        if len(allows) < self.needed:
            reasons.append(f"allowed by {len(allows)} of {self.needed}")
        start = self._nth([each.event.at for each in allows.values()])
        confirm_from = start and later(max(start, self.asked.at), self.rules.delay)
        confirmed: list[str] = []
        if self.asked.action != Action.RESTORE:
            reasons += [f"nothing was heard of {name}" for name in mute]
            confirmed = self._confirmed(allows, confirms, confirm_from)
            if confirm_from is not None and self.now < confirm_from:
                reasons.append(f"it may be confirmed from {confirm_from.isoformat(timespec='minutes')}")
            if len(confirmed) < self.needed:
                reasons.append(f"confirmed after the delay by {len(confirmed)} of {self.needed}")
        return Verdict(tuple(reasons), tuple(sorted(allows)), tuple(confirmed), vetoed, mute, confirm_from)

    def by_root_alone(self) -> Verdict:
        """Nobody was named who can allow: then root asks, and all who could veto have their time."""
        vetoed = self._vetoed()
        reasons = [*self._wrong_times(), *(f"{name} vetoed it" for name in vetoed)]
        if "root" not in self.request.roles:
            reasons.append("there are no approvers, and it was not asked by root")
        delay = max(self.rules.delay, ALONE_MIN)
        until = later(max(self.request.arrived or self.asked.at, self.asked.at), delay)
        if until > self.asked.expires:
            reasons.append(f"it expires before {until.isoformat(timespec='minutes')}, when its time is over")
        elif self.now < until:
            reasons.append(f"it waits until {until.isoformat(timespec='minutes')}")
        return Verdict(tuple(reasons), vetoed=vetoed)

    def _given(self, step: str) -> dict[str, Statement]:
        """The first approval of this step of each person that counts, by name."""
        found: dict[str, Statement] = {}
        for each in self.about:
            event = each.event
            if not isinstance(event, Approved) or event.step != step or each.keyid not in self.voters:
                continue
            if event.at > self.asked.expires or (self._keeps_times and each.arrived is None):
                continue
            if each.arrived is not None and each.arrived > self.asked.expires:
                continue
            person = self.voters[each.keyid]
            first = min if step == "allow" else max
            found[person] = first(found.get(person, each), each, key=lambda given: given.event.at)
        return found

    def _confirmed(
        self, allows: Mapping[str, Statement], confirms: Mapping[str, Statement], start: datetime | None
    ) -> list[str]:
        """Who confirmed late enough, by every clock there is."""
        if start is None:
            return []
        arrivals = [each.arrived for each in allows.values() if each.arrived is not None]
        arrived_from = None
        if self._keeps_times:
            first = self._nth(arrivals)
            assert first is not None and self.request.arrived is not None  # as many as there are allows
            arrived_from = later(max(first, self.request.arrived), self.rules.delay)
        return sorted(
            name
            for name, each in confirms.items()
            if each.event.at >= start
            and (arrived_from is None or (each.arrived is not None and each.arrived >= arrived_from))
        )

    @property
    def _keeps_times(self) -> bool:
        """Whether this judge knows when things arrived: then what has not arrived does not count."""
        return self.request.arrived is not None

    def _nth(self, times: Sequence[datetime]) -> datetime | None:
        """When enough of them had been given."""
        return sorted(times)[self.needed - 1] if len(times) >= self.needed else None

    def _wrong_times(self) -> list[str]:
        reasons = []
        if self.asked.action not in _LASTING and self.now > self.asked.expires:
            reasons.append(f"it expired at {self.asked.expires.isoformat(timespec='minutes')}")
        said = [each for each in self.about if each.keyid in self.rules.people]
        times = [each.event.at for each in (self.request, *said)]
        times += [each.arrived for each in (self.request, *said) if each.arrived is not None]
        if any(each > self.now + AHEAD_MAX for each in times):
            reasons.append("something said of it is dated more than a day ahead of this clock")
        return reasons

    def _vetoed(self) -> tuple[str, ...]:
        vetoes = [each for each in self.about if is_veto(each)]
        return tuple(
            sorted(
                {each.person for each in vetoes if each.keyid not in self.leaving or each.roles & {"root", "holder"}}
            )
        )

    def _mute(self) -> tuple[str, ...]:
        """The approvers of whom nothing about this request has come: they may not know of it."""
        answered = (Approved, Vetoed, Seen)
        heard = {self.request.keyid, *(each.keyid for each in self.about if isinstance(each.event, answered))}
        return tuple(
            sorted(
                person
                for keyid, person in self.rules.people.items()
                if keyid not in heard and keyid not in self.leaving
            )
        )
