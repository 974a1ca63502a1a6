"""Keeper: decides for all workers of a gateway whether requests go to the platform.

It hears what workers report and what nginx logs, sends canaries, takes orders by hand, and tells everybody how the
breaker stands: workers through memory, nginx by a flag file, the journal by events. What it decided survives its end.

* A move is shown before it is kept: users don't wait for a disk.
* Canaries go out seldom while all is well, often when anything looks wrong or while the breaker is not closed, and
  always often behind an nginx, whose requests never come here.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from holdfast.core.breaker import Breaker, Forced, Mode, Moved, Standing, Tried
from holdfast.core.canaries import what_is_wrong
from holdfast.core.events import Event
from holdfast.core.evidence import Usual
from holdfast.core.exchange import Asked, NoAnswer, NotSent, Platform
from holdfast.core.front import parse_line
from holdfast.core.outage import GatewayConfig
from holdfast.core.outages import BreakerMoved, StoodIn
from holdfast.core.tally import UNKEPT_SECONDS, Report
from holdfast.core.uncaptured import Uncaptured
from holdfast.errors import HoldfastError
from holdfast.state.breakers import BreakerFiles, kept_state

__all__ = ["Keeper", "KeeperDoors"]

_TICK_SECONDS = 0.05
_AT_ONCE_SECONDS = 0.5  # between canaries that somebody waits for, however seldom they are otherwise
_STATUS_SECONDS = 1.0
_MINUTE = 60.0
_AGAIN_SECONDS = 2.0  # after the disk refused
_EVENTS_MAX = 10_000
_FRONT_SECONDS = 600.0  # after which an nginx that logs nothing has gone
_LATE_SECONDS = 0.25
_ORDERS_MAX_SECONDS = 30 * 86400.0


@dataclass(frozen=True, slots=True)
class KeeperDoors:
    """What a keeper acts through: the platform, its canary as it is sent, its files, and what keeps events."""

    platform: Platform
    canary: Asked
    files: BreakerFiles
    note: Callable[[Event], None]


class Keeper:
    """Call `hear` and `hear_front` with what comes to the sockets, and `run` until the gateway ends, in one event loop.

    From the start on, workers see the breaker as it was kept. `deadlines` are those of routes that have their own.
    """

    def __init__(self, gateway: GatewayConfig, deadlines: Mapping[str, float], doors: KeeperDoors) -> None:
        self.ended: list[str] = []  # parts of the gateway that a bug of ours ended
        self._problems: dict[str, str] = {}  # what this host does not let it do, by what it was for
        self._unkept: dict[str, float] = {}  # by worker, when a write last could not be kept
        self.copy: Mapping[str, Any] = {}  # how the copy stands, as its upkeep says: part of the status
        self.uncaptured: Uncaptured | None = None  # writes that wait for a capture, while requests pass
        self._checks: Sequence[str] = ()
        self._gateway = gateway
        self._doors = doors
        now = time.monotonic()
        self.breaker = Breaker(gateway.breaker, Usual(gateway.deadline_seconds, deadlines), now=now)
        kept = kept_state(doors.files.folder)
        self.breaker.restore(kept, now, _wall())
        self._order = str(kept.get("order", ""))
        self._shown: Standing | None = None
        self._trying: asyncio.Task[None] | None = None
        self._canary_began = now - gateway.canary.idle_seconds
        self._front_at = -_FRONT_SECONDS
        self._events: deque[Event] = deque(maxlen=_EVENTS_MAX)
        self._to_keep = asyncio.Event()
        self._writing: asyncio.Future[None] | None = None
        self._counted: dict[str, Counter[str]] = {"copied": Counter(), "refused": Counter()}
        self._oldest = 0.0
        self._minute = now
        self._show()

    @property
    def standing(self) -> Standing:
        """How the breaker stands."""
        return self.breaker.standing

    @property
    def trouble(self) -> str:
        """What of its work does not go well; "" if all does."""
        ended = [f"{name} has ended" for name in self.ended]
        unkept = ["writes can't be kept"] if self._unkept_at(time.monotonic()) else []
        waits = self.uncaptured
        late = [f"writes wait for a capture; {waits.way}"] if waits is not None and self._waits_long() else []
        return "; ".join([*dict.fromkeys(self._problems.values()), *ended, *unkept, *late])

    def keep_checks(self, checks: Sequence[str]) -> None:
        """Remember the checks of writes that the vault was found to have all of."""
        if checks != self._checks:
            self._checks = checks
            self._to_keep.set()

    def hear(self, datagram: bytes) -> None:
        """A worker's report. What is none is passed over."""
        with suppress(ValueError):
            report = Report.decoded(datagram)
            self.breaker.told(report)
            self._counted["copied"].update(report.copied)
            self._counted["refused"].update(report.refused)
            self._oldest = min(self._oldest or report.oldest, report.oldest or self._oldest)
            self._unkept[report.worker] = report.unkept_at
            if report.bad or report.errors:
                self._look(time.monotonic())

    def hear_front(self, datagram: bytes) -> None:
        """A line of nginx's log. What is none of ours is passed over."""
        passed = parse_line(datagram)
        if passed is None:
            return
        now = self._front_at = time.monotonic()
        if passed.is_good is not None:
            self.breaker.evidence.passed(passed, now)
            if not passed.is_good:
                self._look(now)

    async def run(self) -> None:
        """Keep the breaker until cancelled; then the state is kept once more."""
        keeping = asyncio.create_task(self._keep_going())
        try:
            while True:
                now = time.monotonic()
                is_well = not self._problems and not self.ended
                self._doors.files.beat(now, is_well=is_well, waits_long=self._waits_long())
                self._take_order(now)
                self._look(now)
                if now - self._minute >= _MINUTE:
                    self._sum_up(now)
                await asyncio.sleep(_TICK_SECONDS)
        finally:
            keeping.cancel()
            for task in (keeping, self._trying):
                if task is not None:
                    task.cancel()
                    with suppress(asyncio.CancelledError):
                        await task
            self._sum_up(time.monotonic())
            with suppress(HoldfastError):
                # A thread can't be cancelled: what it writes must not come after the last state.
                if self._writing is not None:
                    await self._writing
            with suppress(HoldfastError):
                self._keep(self._state())

    def _look(self, now: float) -> None:
        """Decide, and ask the canary if it is due: at once where failures begin, for they may wait for its word."""
        self._decide(now)
        self._send_canary(now)

    def _decide(self, now: float) -> None:
        moved = self.breaker.tick(now)
        if moved is not None:
            forced = self.breaker.forced
            until = datetime.fromtimestamp(forced.until + _wall(), UTC) if forced else None
            self._events.append(_event(moved, until))
        if moved is not None or self._shown != self.breaker.standing:
            self._show()
            self._to_keep.set()

    def _show(self) -> None:
        self._shown = self.breaker.standing
        try:
            self._doors.files.show(self._shown)
            self._problems.pop("flag", None)
        except HoldfastError as err:
            # Workers know all the same: only the flag for nginx is a file.
            self._problems["flag"] = err.message

    def _send_canary(self, now: float) -> None:
        canary = self._gateway.canary
        is_often = self.breaker.is_in_doubt or now - self._front_at < _FRONT_SECONDS
        every = min(canary.every_seconds, canary.idle_seconds) if is_often else canary.idle_seconds
        if self.breaker.evidence.needs_canary:
            every = min(every, _AT_ONCE_SECONDS)
        if now - self._canary_began >= every and (self._trying is None or self._trying.done()):
            self._canary_began = now
            self._trying = asyncio.create_task(self._try(now))

    async def _try(self, began: float) -> None:
        canary, is_late = self._gateway.canary, False
        try:
            answer = await self._doors.platform.send(self._doors.canary, canary.timeout_seconds)
            wrong = what_is_wrong(canary, answer)
        except (NotSent, NoAnswer) as err:
            wrong = str(err) or "it does not answer"
            is_late = isinstance(err, NoAnswer) and time.monotonic() - began >= canary.timeout_seconds
        now = time.monotonic()
        # Who comes back later than its own limit was held up on this host: that proves nothing of the platform.
        if not wrong or now - began <= canary.timeout_seconds + _LATE_SECONDS:
            self.breaker.canary(Tried(began, now, wrong, is_late))
            self._decide(now)

    def _take_order(self, now: float) -> None:
        try:
            found = self._doors.files.ordered()
            self._problems.pop("order", None)
        except HoldfastError as err:
            self._problems["order"] = err.message
            return
        if not found or found.get("id") == self._order:
            return
        with suppress(KeyError, TypeError, ValueError):
            by, reason, mode = str(found["by"]), str(found["reason"]), str(found["mode"])
            if mode == "auto":
                self.breaker.release(now, by, reason or "left to canaries and requests")
            elif (seconds := float(found["until"]) - _wall() - now) > 0:
                until = now + min(seconds, _ORDERS_MAX_SECONDS)
                forced = Forced(Mode.OPEN if mode == "open" else Mode.CLOSED, until, by, reason)
                self.breaker.force(forced, now)
        self._order = str(found.get("id", ""))
        self._decide(now)
        self._to_keep.set()

    def _sum_up(self, now: float) -> None:
        """Events of what was answered in place of the platform since the last time."""
        copied, refused = self._counted["copied"], self._counted["refused"]
        oldest = datetime.fromtimestamp(self._oldest, UTC) if self._oldest else None
        for route in sorted({*copied, *refused}):
            seconds = round(now - self._minute, 1)
            of = oldest if copied[route] else None
            self._events.append(StoodIn(datetime.now(UTC), route, copied[route], refused[route], seconds, of))
        copied.clear()
        refused.clear()
        self._oldest, self._minute = 0.0, now
        self._to_keep.set()

    async def _keep_going(self) -> None:
        """Write what is to be kept, and how things stand each second; the disk may take its time."""
        again = 0.0
        while True:
            state = self._state() if self._to_keep.is_set() and time.monotonic() >= again else None
            if state is not None:
                self._to_keep.clear()
            try:
                self._writing = asyncio.get_running_loop().run_in_executor(None, self._write, state, self._status())
                await asyncio.shield(self._writing)
                if state is not None:
                    self._problems.pop("state", None)
            except HoldfastError as err:
                self._problems["state"] = err.message
                self._to_keep.set()
                again = time.monotonic() + _AGAIN_SECONDS
            if "flag" in self._problems:
                self._show()
            with suppress(TimeoutError):
                async with asyncio.timeout(_STATUS_SECONDS):
                    await (asyncio.sleep(_STATUS_SECONDS) if again > time.monotonic() else self._to_keep.wait())

    def _write(self, state: Mapping[str, Any] | None, status: Mapping[str, Any]) -> None:
        # How things stand needs no room, and is told first: a full or slow disk must not hide itself.
        self._doors.files.tell(status)
        if state is not None:
            self._keep(state)

    def _keep(self, state: Mapping[str, Any]) -> None:
        try:
            # Events first: whoever stops in between finds out again, and says so twice rather than never.
            self._note()
        finally:
            self._doors.files.save(state)

    def _note(self) -> None:
        while self._events:
            event = self._events.popleft()
            try:
                self._doors.note(event)
            except HoldfastError:
                self._events.appendleft(event)
                raise

    def _unkept_at(self, now: float) -> float:
        """When a worker last could not keep a write; 0 if that is over."""
        return max((at for at in self._unkept.values() if at and now - at <= UNKEPT_SECONDS), default=0.0)

    def _waits_long(self) -> bool:
        return self.uncaptured is not None and self.uncaptured.is_long(datetime.now(UTC))

    def _state(self) -> dict[str, Any]:
        return self.breaker.kept(_wall()) | {"order": self._order, "checks": list(self._checks)}

    def _status(self) -> dict[str, Any]:
        now = time.monotonic()
        breaker = self.breaker
        good, bad = breaker.evidence.counts(now)
        last, waits = breaker.last, self.uncaptured
        return {key: value for key, value in self._state().items() if key not in ("usual", "checks")} | {
            "at": now + _wall(),
            "beat": now,
            "good": good,
            "bad": bad,
            "window_seconds": breaker.limits.window_seconds,
            "in_flight": breaker.evidence.in_flight(now),
            "canary": last
            and {"at": last.began + _wall(), "seconds": round(last.ended - last.began, 4), "wrong": last.wrong},
            "problem": "; ".join(dict.fromkeys(self._problems.values())),
            "ended": list(self.ended),
            "unkept": (unkept := self._unkept_at(now)) and unkept + _wall(),
            "copy": self.copy,
            "uncaptured": asdict(waits) | {"since": waits.since.isoformat()} if waits is not None else None,
        }


def _event(moved: Moved, until: datetime | None) -> BreakerMoved:
    return BreakerMoved(datetime.now(UTC), moved.was, moved.now, moved.reason, moved.by or "breaker", until)


def _wall() -> float:
    """What to add to the clock of this host to get seconds since 1970."""
    return time.time() - time.monotonic()
