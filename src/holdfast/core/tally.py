"""What one worker of the gateway counts about the platform, so that the keeper can judge it; told in reports.

    call = tally.began("orders", now, Who(client, path))  # sent to the platform
    tally.ended(call, now, is_good=True)        # its answer came; or it failed
    if send(tally.report(now).encoded()):
        tally.told()

* Times are seconds of one clock that all processes of the host share (`time.monotonic` on Linux).
* An *endpoint* is the name of a route, "" for what no route names: how long an answer usually takes, each has its own.
* A failure that the platform itself answered with 500, 501 or 505 is an *error*: it is there, and what was asked is
  beyond it. That may be one broken page; so it is told apart from what failed otherwise, which is *bad*.
* With each failure goes who met it and where, as numbers that name nobody: a platform that fails one visitor, or one
  page, is not away.
* What began before the breaker moved says nothing about the platform since: `turn` lets go of it.
* A report that was not told is not lost: the next one has its counts too.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple
from zlib import crc32

from holdfast.core.outage import BreakerLimits

__all__ = [
    "NOBODY",
    "SILENT_SECONDS",
    "UNKEPT_SECONDS",
    "Durations",
    "Failed",
    "Report",
    "Tally",
    "Who",
    "is_error",
    "number_of",
]

_GROWTH = 1.2
# From a millisecond to some hours, each bound a fifth above the one before.
_BOUNDS = tuple(0.001 * _GROWTH**step for step in range(90))
_AWAY_SECONDS = 0.5
_FEW = 5000  # durations, after which older ones begin to weigh less
# 502, 503 and 504 say that somebody in between, or the platform as a whole, can't.
_ERRORS = frozenset((500, 501, 505))
_FAILED_MAX = 64  # of one report
SILENT_SECONDS = 5.0  # after which a keeper that says nothing hangs
UNKEPT_SECONDS = 120.0  # after the last write that could not be kept, unless one could since
_OTHERS = 2  # who was answered: of two that differ one is another than who was not


def number_of(name: str) -> int:
    """The number by which a client or a path is told from others; 0 for ""."""
    return crc32(name.encode("utf-8", "surrogateescape")) if name else 0


def is_error(status: int) -> bool:
    """Whether a failure with this status, 0 if nothing was answered, is an error of what was asked."""
    return status in _ERRORS


class Who(NamedTuple):
    """Who asks, by his address, and for what: a path, or the name of its route. "" where that is not known."""

    client: str = ""
    path: str = ""


NOBODY = Who()


class Failed(NamedTuple):
    """Failures one after another of the same client at the same place, 0 where these are not known; the last one `at`
    this moment.
    """

    at: float
    client: int = 0
    path: int = 0
    is_error: bool = False
    times: int = 1

    @staticmethod
    def of(at: float, who: Who, *, is_error: bool) -> Failed:
        """One failure."""
        return Failed(at, number_of(who.client), number_of(who.path), is_error)


class Durations:
    """How long good answers took, the newer ones weighing more: their p99 is at most a fifth too high."""

    def __init__(self, counts: Mapping[int, float] | None = None) -> None:
        self._counts: dict[int, float] = dict(counts or {})

    @staticmethod
    def place(seconds: float) -> int:
        """The number under which a duration is counted."""
        return min(bisect_left(_BOUNDS, seconds), len(_BOUNDS) - 1)

    def add(self, counts: Mapping[int, int]) -> None:
        """Count these too, by their numbers."""
        for place, count in counts.items():
            if 0 <= place < len(_BOUNDS):
                self._counts[place] = self._counts.get(place, 0.0) + count
        if self.count > 2 * _FEW:
            self._counts = {place: count / 2 for place, count in self._counts.items() if count >= 0.01}

    @property
    def count(self) -> float:
        """How many durations these are, the older ones by what they still weigh."""
        return sum(self._counts.values())

    def p99(self) -> float | None:
        """The time within which 99 of 100 answers came; None while there were none."""
        rest = 0.99 * self.count
        for place in sorted(self._counts):
            rest -= self._counts[place]
            if rest <= 0:
                return _BOUNDS[place]
        return _BOUNDS[max(self._counts)] if self._counts else None

    def kept(self) -> dict[str, float]:
        """The counts as JSON has them."""
        return {str(place): round(count, 2) for place, count in sorted(self._counts.items())}


@dataclass(frozen=True, slots=True)
class Report:
    """What a worker counted in the epoch of the breaker that it saw.

    `good`, `failed`, `clients`, `paths`, `durations`, `copied` and `refused` are new since the last report that was
    told; the rest is how things stand `at` that moment. `clients` and `paths` are some that were answered; `waiting`
    says since when the oldest calls of each endpoint wait for the platform.
    """

    worker: str
    epoch: int
    at: float
    good: int = 0
    good_at: float = 0.0  # when the last good answer came; 0: none in this epoch
    failed: tuple[Failed, ...] = ()
    clients: tuple[int, ...] = ()
    paths: tuple[int, ...] = ()
    in_flight: int = 0
    waiting: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    durations: Mapping[str, Mapping[int, int]] = field(default_factory=dict)
    copied: Mapping[str, int] = field(default_factory=dict)  # answers from the copy, by endpoint
    refused: Mapping[str, int] = field(default_factory=dict)  # requests that nothing could be done for
    unkept_at: float = 0.0  # when a write last could not be made durable; 0: not since one could
    oldest: float = 0.0  # the oldest moment that a copy was of which was answered from, in seconds since 1970

    @property
    def bad(self) -> int:
        """How many failures these are that are no errors."""
        return sum(each.times for each in self.failed if not each.is_error)

    @property
    def errors(self) -> int:
        """How many errors these are."""
        return sum(each.times for each in self.failed if each.is_error)

    def encoded(self) -> bytes:
        """The report as a datagram."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return json.dumps({name: value for name, value in values.items() if value}, separators=(",", ":")).encode()

    @staticmethod
    def decoded(data: bytes) -> Report:
        """The report that `encoded` wrote. Raises ValueError if these bytes are none."""
        try:
            value: dict[str, Any] = json.loads(data)
            return Report(
                worker=str(value["worker"]),
                epoch=int(value.get("epoch", 0)),
                at=float(value["at"]),
                good=int(value.get("good", 0)),
                good_at=float(value.get("good_at", 0.0)),
                failed=tuple(_failed(*each) for each in value.get("failed", ())),
                clients=tuple(map(int, value.get("clients", ()))),
                paths=tuple(map(int, value.get("paths", ()))),
                in_flight=int(value.get("in_flight", 0)),
                waiting={name: tuple(map(float, times)) for name, times in value.get("waiting", {}).items()},
                durations={name: _counts(each) for name, each in value.get("durations", {}).items()},
                copied={name: int(count) for name, count in value.get("copied", {}).items()},
                refused={name: int(count) for name, count in value.get("refused", {}).items()},
                unkept_at=float(value.get("unkept_at", 0.0)),
                oldest=float(value.get("oldest", 0.0)),
            )
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as err:
            raise ValueError(f"no report of a worker: {err}") from err


class Tally:
    """What one worker counts. `worker` names it among the others."""

    def __init__(self, worker: str, limits: BreakerLimits, epoch: int = 0) -> None:
        self._worker = worker
        self._oldest_told = max(limits.in_flight, 1)
        self._failures: list[Failed] = []
        self._has_answered = False  # since the last failure
        self._clients: set[str] = set()
        self._paths: set[str] = set()
        self._epoch = epoch
        self._calls: dict[int, tuple[str, float, Who]] = {}  # those of this epoch
        self._waiting: dict[str, dict[int, float]] = {}  # by endpoint, oldest first
        self._number = 0
        self._good_at = 0.0
        self._good = 0
        self._durations: dict[str, Counter[int]] = {}
        self._copied: Counter[str] = Counter()
        self._refused: Counter[str] = Counter()
        self._oldest = 0.0
        self.unkept_at = 0.0  # when a write last could not be made durable; 0: not since one could
        self._is_urgent = False
        self._told = 0.0
        self._asked = self._back = 0.0

    def began(self, endpoint: str, now: float, who: Who = NOBODY) -> int:
        """A request goes to the platform now; the number is for `ended` or `let_go`."""
        self._number += 1
        self._calls[self._number] = (endpoint, now, who)
        self._waiting.setdefault(endpoint, {})[self._number] = now
        return self._number

    def ended(self, call: int, now: float, *, is_good: bool, status: int = 0) -> None:
        """Its answer came now, whole (or its head, where it is passed on as it comes); or it failed, with a status if
        anything was answered.
        """
        found = self._taken(call)
        if found is None:
            return
        endpoint, since, who = found
        if not is_good:
            self._fail(now, who, is_error=is_error(status))
            return
        self._good += 1
        self._good_at = now
        self._has_answered = True
        if len(self._clients) < _OTHERS:
            self._clients.add(who.client)
        if len(self._paths) < _OTHERS:
            self._paths.add(who.path)
        counts = self._durations.get(endpoint)
        if counts is None:
            counts = self._durations[endpoint] = Counter()
        counts[Durations.place(now - since)] += 1

    def let_go(self, call: int) -> None:
        """Nobody waits for its answer any more: it says nothing about the platform."""
        self._taken(call)

    def arrived(self, now: float, who: Who = NOBODY) -> None:
        """A request came that somebody before us could not get an answer to: nginx, at its error page."""
        self._fail(now, who, is_error=False)

    def stood_in(self, endpoint: str, as_of: float) -> None:
        """A request was answered from the copy of that moment, in seconds since 1970."""
        self._copied[endpoint] += 1
        self._oldest = min(self._oldest or as_of, as_of)

    def refused(self, endpoint: str) -> None:
        """A request was refused because the platform does not answer."""
        self._refused[endpoint] += 1

    def turn(self, epoch: int) -> None:
        """The breaker moved: count anew. Calls that began before no longer count, however they end."""
        if epoch == self._epoch:
            return
        self._epoch = epoch
        self._calls.clear()
        self._waiting.clear()
        self._failures.clear()
        self._durations.clear()
        self._good = 0
        self._good_at = 0.0

    def is_due(self, now: float, every: float) -> bool:
        """Whether a report should go now: at once after a failure, otherwise every so many seconds. To be asked many
        times a second: who was away for longer has answers that he did not read yet, so that what waits then counts
        from now on.
        """
        if now - self._asked > _AWAY_SECONDS:
            self._back = now
        self._asked = now
        return self._is_urgent or now - self._told >= every

    def report(self, now: float) -> Report:
        """All that is to tell."""
        self._told = now
        return Report(
            worker=self._worker,
            epoch=self._epoch,
            at=now,
            good=self._good,
            good_at=self._good_at,
            failed=tuple(self._failures),
            clients=tuple(sorted(map(number_of, self._clients))),
            paths=tuple(sorted(map(number_of, self._paths))),
            in_flight=len(self._calls),
            waiting={
                name: tuple(max(start, self._back) for start in islice(calls.values(), self._oldest_told))
                for name, calls in self._waiting.items()
                if calls
            },
            durations={name: dict(each) for name, each in self._durations.items()},
            copied=dict(self._copied),
            refused=dict(self._refused),
            unkept_at=self.unkept_at,
            oldest=self._oldest,
        )

    def told(self) -> None:
        """The last report is with the keeper: its counts are not told again."""
        self._good = 0
        self._failures.clear()
        self._clients.clear()
        self._paths.clear()
        self._durations.clear()
        self._copied.clear()
        self._refused.clear()
        self._oldest = 0.0
        self._is_urgent = False

    def _fail(self, now: float, who: Who, *, is_error: bool) -> None:
        self._is_urgent = True
        found = Failed.of(now, who, is_error=is_error)
        last = self._failures[-1] if self._failures else None
        if last is not None and not self._has_answered and last[1:4] == found[1:4]:
            self._failures[-1] = last._replace(at=now, times=last.times + 1)
        elif last is not None and len(self._failures) >= _FAILED_MAX:
            self._failures[-1] = Failed(now, 0, 0, is_error and last.is_error, last.times + 1)
        else:
            self._failures.append(found)
        self._has_answered = False

    def _taken(self, call: int) -> tuple[str, float, Who] | None:
        found = self._calls.pop(call, None)
        if found is not None:
            del self._waiting[found[0]][call]
        return found


def _failed(at: float, client: int, path: int, is_error: int, times: int) -> Failed:
    return Failed(float(at), int(client), int(path), bool(is_error), int(times))


def _counts(value: Mapping[str, Any]) -> dict[int, int]:
    return {int(place): int(count) for place, count in value.items()}
