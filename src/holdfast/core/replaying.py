"""What is done with kept writes once the platform answers: what is sent, how fast, and what its answers mean.

* An answer proves what it says and no more: 2xx with what every good answer has is applied, 4xx is refused; a redirect,
  a failure, or success without what it must have leaves open what happened.
* A write of unknown fate was not applied only if the platform itself says so, long enough after it was sent, in the
  very form it would have said the opposite in. What says nothing is asked again.
* Replay begins slowly and becomes faster while all goes well; a failure, or one refusal after another, stops it for a
  while: a wrong credential must not put a whole queue among the dead letters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple, Protocol
from urllib.parse import quote

from holdfast.core.exchange import NO_BODY, Answer, Asked, StandIn
from holdfast.core.outage import OnConflict, Route, Settle
from holdfast.core.outbox import KEY_HEADER, MEANING, Fate, Item, Outcome, Write
from holdfast.core.pointer import body_has
from holdfast.core.uncaptured import WAITS

__all__ = [
    "Kept",
    "Lanes",
    "Pace",
    "absent",
    "judged",
    "may_resend",
    "read_back",
    "reading_back",
    "repeatable",
    "request_of",
    "said",
]

_SLOWEST = 10.0  # of per_second_max
_FASTER_SECONDS = 2.0
_AT_ONCE_SECONDS = 0.1
_PAUSE_MAX = 30  # times the first one
_REFUSED_MAX = 5
_COPIES = 2  # after which the next is later, whatever a clock says
_FAILURES_MAX = 5  # after which a write is no longer sent by itself
_ANSWER_BYTES_MAX = 16 << 10  # of an answer that is kept for who delivers his write again
_LATER = frozenset({425, 429})  # "not now": nothing was done
_NOT_REPEATED = frozenset({"set-cookie", "content-length"})
_NOT_ABOUT_IT = frozenset({401, 403, 407, 408, 409, 425, 429})  # said of the asking, not of the write asked about


class Kept(NamedTuple):
    """A write that lies in the outbox, and what it says."""

    item: Item
    write: Write

    def named(self, service: Mapping[str, str]) -> Kept:
        """The same under the key that it goes by. To the platform all that is sent with the credentials of the service
        comes from one client: two customers with one key would be one there. So one that was kept before a service was
        declared, without an alias, goes under its receipt number; what was sent already stays under its key.
        """
        is_first = bool(service) and self.item.sent is None and not self.write.alias
        return self._replace(item=replace(self.item, is_renamed=True)) if is_first else self


class Lanes(Protocol):
    """The outbox, as who replays it sees it. Only one does at a time. What a call returns is durable."""

    def ready(self, after: int, limit: int, *, approved: bool) -> Sequence[Kept]:
        """Queued writes before which none of their record waits, by the order in which they were accepted, those above
        the number *after*; if *approved*, only those that a person let go.
        """
        ...

    def unknown(self, after: int, limit: int) -> Sequence[Item]:
        """Writes of unknown fate, those above the number *after*."""
        ...

    def kept(self, receipt: str) -> Kept | None:
        """A write and what it says; None where that is gone or can't be read."""
        ...

    async def begin(self, receipt: str, *, is_renamed: bool = False) -> bool:
        """Note that a write is being sent, before it is, and from here on under its receipt number if *is_renamed*;
        False if it is no longer to be.
        """
        ...

    async def note(self, receipt: str, outcome: Outcome) -> bool:
        """See `Outbox.note`."""
        ...

    async def recover(self) -> int:
        """Make unknown what dead processes were sending; returns how many writes that were."""
        ...


@dataclass(slots=True)
class Pace:
    """How many writes may go out now: a tenth of *per_second_max* at first, twice as many every two seconds in which
    all goes well, and after a failure a pause, at first *pause_seconds*, and a tenth again. The clock is the caller's.
    """

    per_second_max: float
    pause_seconds: float = 1.0
    per_second: float = field(init=False)
    _allowed: float = field(init=False, default=1.0)
    _at: float | None = field(init=False, default=None)
    _faster_at: float = field(init=False, default=0.0)
    _paused_until: float = field(init=False, default=0.0)
    _failures: int = field(init=False, default=0)
    _refusals: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.per_second = self._slowest

    @property
    def _slowest(self) -> float:
        return min(max(self.per_second_max / _SLOWEST, 1.0), self.per_second_max)

    def allowance(self, now: float) -> int:
        """How many may go out now; each that does is to be told with `take`."""
        if now < self._paused_until:
            return 0
        if self._at is None:
            self._at, self._faster_at = now, now + _FASTER_SECONDS
        # What was not used for a while is not sent all at once.
        most = max(1.0, self.per_second * _AT_ONCE_SECONDS)
        self._allowed = min(self._allowed + (now - self._at) * self.per_second, most)
        self._at = now
        return int(self._allowed)

    def take(self) -> None:
        """One goes out."""
        self._allowed -= 1

    def went_well(self, now: float) -> None:
        """The platform took one."""
        self._refusals = 0
        if now >= self._paused_until:
            self._failures = 0
        if now >= self._faster_at:
            self.per_second = min(self.per_second * 2, self.per_second_max)
            self._faster_at = now + _FASTER_SECONDS

    def went_wrong(self, now: float, seconds: float = 0.0) -> None:
        """It failed. Others that were on their way at the same time fail with it, and count as one."""
        if now < self._paused_until:
            return
        pause = max(seconds, min(self.pause_seconds * 2**self._failures, self.pause_seconds * _PAUSE_MAX))
        self._failures = min(self._failures + 1, _PAUSE_MAX)
        self._refusals = 0
        self.per_second, self._allowed = self._slowest, 1.0
        self._paused_until = self._at = now + pause
        self._faster_at = self._paused_until + _FASTER_SECONDS

    def was_refused(self, now: float) -> None:
        """The platform would not take one: that is its right, unless it takes none."""
        self._refusals += 1
        if self._refusals >= _REFUSED_MAX:
            self.went_wrong(now, self.pause_seconds * _PAUSE_MAX)


def judged(kept: Kept, route: Route | None, stand_in: StandIn | None, *, is_newest: bool = True) -> Outcome:
    """What is to be done with a queued write: SENDING, or QUEUED with why it must wait, or where its record was changed
    meanwhile what the route's rule says. *is_newest*: the copy has all that was in the vault when it was accepted.
    """
    item, write = kept
    if route is None:
        return Outcome(Fate.QUEUED, f"no route {item.route} is declared any more")
    if item.is_free or write.copy is None or route.conflict is OnConflict.RETRY:
        return Outcome(Fate.SENDING)
    if write.version is None:
        return Outcome(Fate.CONFLICT, "whether its record was changed can't be told: there was no copy of it")
    if stand_in is None:
        return Outcome(Fate.QUEUED, "waits for a gateway: only that has a copy to compare its record with")
    moment, version = stand_in.as_of(write.copy[0]), stand_in.version(*write.copy)
    if moment is None or version is None or not _is_later(item, moment):
        # A copy of before the outage would always say that nothing was changed.
        is_new = is_newest and moment is not None and (item.seen is None or moment > item.seen)
        reason = WAITS if moment is not None and version is not None else f"{WAITS}: no copy can tell its record"
        return Outcome(Fate.QUEUED, reason, seen=moment if is_new else None)
    if version == write.version:
        return Outcome(Fate.SENDING)
    reason = "its record was changed meanwhile"
    return Outcome(Fate.DROPPED if route.conflict is OnConflict.DROP else Fate.CONFLICT, reason)


def request_of(kept: Kept, service: Mapping[str, str]) -> Asked:
    """A kept write as the platform gets it: under its key, with the credentials of the service where there are any."""
    asked = kept.write.asked
    given = {**{name.lower(): value for name, value in service.items()}, KEY_HEADER: _key(kept)}
    headers = tuple((name, value) for name, value in asked.headers if name not in given)
    return replace(asked, headers=(*headers, *given.items()))


def reading_back(kept: Kept, settle: Settle, service: Mapping[str, str]) -> Asked:
    """The request that finds out whether a write was applied."""
    filled = settle.path.replace("{key}", quote(_key(kept), safe=""))
    path, _, query = filled.replace("{record}", quote(kept.write.record, safe="/")).partition("?")
    given = {"accept": "application/json"} | {name.lower(): value for name, value in service.items()}
    left_out = {*given, KEY_HEADER, *MEANING}
    headers = tuple((name, value) for name, value in kept.write.asked.headers if name not in left_out)
    return Asked("GET", path, query, (*headers, *given.items()))


def read_back(settle: Settle, answer: Answer) -> bool | None:
    """Whether the write was applied, as the answer to reading back says; None if it says nothing."""
    if answer.status == 404:
        return None if settle.absent and not body_has(answer.body, settle.absent) else False
    if answer.status != 200:
        return None
    if body_has(answer.body, settle.found):
        return True
    # An error that calls itself a success has nothing there either. Where something would be, a list must be empty.
    around = settle.found.rpartition("/")[0]
    return False if around and body_has(answer.body, around) else None


def absent(item: Item) -> Outcome:
    """What becomes of a write of unknown fate that the platform does not have: it is sent again, but not for ever."""
    if item.failures < _FAILURES_MAX:
        return Outcome(Fate.QUEUED, "read back: the platform does not have it", forget=True)
    reason = f"the platform answered it {item.failures} times, last {item.status}, and does not have it"
    return Outcome(Fate.CONFLICT, reason, item.status, forget=True)


def may_resend(item: Item, settle: Settle, *, is_planned: bool) -> bool:
    """Whether a write of unknown fate may go to the platform again: one that knows its key, not for ever, never past a
    later one, and where writes wait for approval (*is_planned*) not before somebody let it go.
    """
    is_let = item.is_approved or not is_planned
    return settle.resend and is_let and not item.is_overtaken and item.failures < _FAILURES_MAX


def said(route: Route, answer: Answer, *, as_service: bool = False, again: bool = False) -> Outcome:
    """What an answer to a write says of it; *as_service*: it was sent with credentials of its own; *again*: it
    may have been applied before, by a platform that knows its key.
    """
    status = answer.status
    if again and status in _NOT_ABOUT_IT:
        return Outcome(Fate.UNKNOWN, f"sent again, the platform answered {status}", status)
    if status == 401 and as_service:
        return Outcome(Fate.QUEUED, "the platform does not know the credentials of gateway.service (401)", status)
    if status in _LATER:
        return Outcome(Fate.QUEUED, f"the platform asked for a rest ({status})", status)
    if 400 <= status < 500 and status != 408:
        return Outcome(Fate.REFUSED, f"the platform refused it ({status})", status)
    if 200 <= status < 300 and (not route.expect or status in NO_BODY or body_has(answer.body, route.expect)):
        return Outcome(Fate.APPLIED, "", status)
    without = f", without {route.expect}" if 200 <= status < 300 else ""
    return Outcome(Fate.UNKNOWN, f"the platform answered {status}{without}", status)


def repeatable(write: Write, answer: Answer) -> Answer | None:
    """What whoever delivers that write again is answered with: what the platform answered. None where somebody else
    could be taken for him, or where that answer is too large, or compressed, which not everybody reads. No cookie is
    kept: that is a credential.
    """
    is_plain = answer.header("content-encoding") in ("", "identity")
    if not (write.is_told_apart and is_plain and len(answer.body) <= _ANSWER_BYTES_MAX):
        return None
    return replace(answer, headers=tuple(each for each in answer.headers if each[0] not in _NOT_REPEATED))


def _is_later(item: Item, moment: datetime) -> bool:
    """Whether a copy is of a moment after a write was accepted. The clock there may differ from the one here, so it
    counts against other copies: one that came after the platform was back, or, where this clock says that even that
    may have been begun before, the next one.
    """
    return item.seen is not None and moment > item.seen and (moment > item.accepted or item.copies >= _COPIES)


def _key(kept: Kept) -> str:
    return kept.item.receipt if kept.item.is_renamed else kept.write.alias or kept.write.key or kept.item.receipt
