"""Clients that each wait for their answer, a platform that fails in a given way, workers, canaries and the breaker: in
simulated time, so that an hour of outage takes a second.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple

from holdfast.core.breaker import Breaker, Mode, Moved, Tried
from holdfast.core.evidence import Usual
from holdfast.core.outage import BreakerLimits, Canary
from holdfast.core.tally import Tally, Who


class Call(NamedTuple):
    """A request of an endpoint that begins at a moment."""

    endpoint: str
    at: float


# How long the platform takes for it, and whether its answer is good. Who waits longer than the deadline gets none.
Platform = Callable[[Call], tuple[float, bool]]

TICK, REPORTS, COPY, RESTING = 0.05, 0.25, 0.0004, 0.05  # as the gateway has them


def fine(call: Call) -> tuple[float, bool]:
    """A platform in good health: 5 ms; exports take half a minute."""
    return (30.0 if call.endpoint == "exports" else 0.005), True


@dataclass
class Seen:
    """What came of a run."""

    live: list[float] = field(default_factory=list)  # moments of good answers of the platform to users
    copies: list[float] = field(default_factory=list)  # moments of answers from the copy
    waited: list[float] = field(default_factory=list)  # how long each answer took
    moves: list[tuple[float, Moved]] = field(default_factory=list)
    asked: list[float] = field(default_factory=list)  # moments at which users' requests went to the platform

    def first_copy(self, after: float) -> float | None:
        return next((each - after for each in self.copies if each >= after), None)

    def first_live(self, after: float) -> float | None:
        return next((each - after for each in sorted(self.live) if each >= after), None)

    def moved(self, mode: Mode, after: float = 0.0) -> float | None:
        return next((at - after for at, each in self.moves if each.now is mode and at >= after), None)


class ClosedLoop:
    """Clients of endpoints (`{"orders": 16}`) before *platform*, through so many workers. A client asks as soon as it
    has its answer, after a rest of `resting` seconds; each begins at `begins(number)`.
    """

    def __init__(
        self, platform: Platform, limits: BreakerLimits, canary: Canary | None = None, deadline: float = 10.0
    ) -> None:
        self.platform = platform
        self.deadline = deadline
        self.canary = canary
        self.breaker = Breaker(limits, Usual(deadline, {}), now=0.0)
        self.seen = Seen()
        self.resting = RESTING
        self.status: Callable[[Call], int] = lambda _: 0  # what failed requests were answered with
        self.who: dict[str, str] = {}  # endpoints that one client asks for, and his address
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = count()
        self._tallies = [Tally("0", limits)]
        self._held: dict[tuple[int, int], Callable[[float], None]] = {}  # calls that wait: what answers them
        self._turns = count()

    def workers(self, number: int) -> None:
        self._tallies = [Tally(str(each), self.breaker.limits) for each in range(number)]

    def clients(self, endpoint: str, number: int, begins: float = 0.0, until: float = 1e9) -> None:
        for each in range(number):
            self._at(begins + each * 0.0003, lambda now, at=each: self._ask(endpoint, at, until, now))  # type: ignore[misc]

    def run(self, until: float) -> Seen:
        self._at(0.0, self._tick)
        if self.canary:
            self._at(0.0, self._try)
        while self._events and self._events[0][0] <= until:
            now, _, act = heapq.heappop(self._events)
            act(now)
        return self.seen

    def _at(self, when: float, act: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (when, next(self._order), act))

    def _passes(self) -> bool:
        return next(self._turns) % 100 < self.breaker.standing.share

    def _ask(self, endpoint: str, client: int, until: float, began: float) -> None:
        if began >= until:
            return
        place = client % len(self._tallies)

        def answered(now: float, *, is_live: bool) -> None:
            (self.seen.live if is_live else self.seen.copies).append(now)
            self.seen.waited.append(now - began)
            self._at(now + self.resting, lambda then: self._ask(endpoint, client, until, then))

        if not self._passes():
            self._at(began + COPY, lambda now: answered(now, is_live=False))
            return
        self.seen.asked.append(began)
        tally = self._tallies[place]
        call = tally.began(endpoint, began, Who(self.who.get(endpoint, f"{endpoint}{client}"), endpoint))
        takes, is_good = self.platform(Call(endpoint, began))
        is_good = is_good and takes <= self.deadline
        self._held[place, call] = lambda now: answered(now, is_live=False)

        def ended(now: float) -> None:
            tally.ended(call, now, is_good=is_good, status=self.status(Call(endpoint, began)))
            if self._held.pop((place, call), None):
                answered(now, is_live=is_good)
            if not is_good:
                self._report(now)

        self._at(began + min(takes, self.deadline), ended)

    def _report(self, now: float) -> None:
        for tally in self._tallies:
            if tally.is_due(now, REPORTS):
                self.breaker.told(tally.report(now))
                tally.told()
        if moved := self.breaker.tick(now):
            self.seen.moves.append((now, moved))
            for tally in self._tallies:
                tally.turn(self.breaker.standing.epoch)
            if moved.now is Mode.OPEN:
                held, self._held = self._held, {}
                for answer in held.values():
                    answer(now)

    def _tick(self, now: float) -> None:
        self._report(now)
        self._at(now + TICK, self._tick)

    def _try(self, now: float) -> None:
        assert self.canary is not None
        canary = self.canary
        takes, is_good = self.platform(Call("", now))
        is_late = takes > canary.timeout_seconds
        wrong = "timeout" if is_late else "" if is_good else "refused"

        def tried(then: float) -> None:
            self.breaker.canary(Tried(now, then, wrong, is_late))
            self._at(max(then, now + min(canary.every_seconds, 0.5)), self._wait(now))

        self._at(now + min(takes, canary.timeout_seconds), tried)

    def _wait(self, since: float) -> Callable[[float], None]:
        def again(now: float) -> None:
            assert self.canary is not None
            every = self.canary.every_seconds if self.breaker.is_in_doubt else self.canary.idle_seconds
            if now - since >= (min(every, 0.5) if self.breaker.evidence.needs_canary else every):
                self._try(now)
            else:
                self._at(now + TICK, again)

        return again
