"""The outbox's writes go to the platform once it answers: in order, slowly at first, and never by guess.

replayer = Replayer(Replaying(lanes, platform, routes, gateway, may_send=lambda: mode() == "closed"))
await replayer.run(stop)
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace

from holdfast.core.exchange import NoAnswer, NotSent, Platform, StandIn
from holdfast.core.outage import GatewayConfig, Route
from holdfast.core.outbox import Fate, Item, Outcome
from holdfast.core.replaying import (
    Kept,
    Lanes,
    Pace,
    absent,
    judged,
    may_resend,
    read_back,
    reading_back,
    repeatable,
    request_of,
    said,
)
from holdfast.errors import HoldfastError

__all__ = ["Replayer", "Replaying"]

_IN_FLIGHT_MAX = 32
_PAGE = 64
_BUSY_SECONDS, _IDLE_SECONDS = 0.005, 0.5
_RECOVER_SECONDS = 1.0
_LOOKS_SECONDS = 0.2
_LOOKS = 2
_LOOK_SECONDS_MAX = 30.0


@dataclass(frozen=True, slots=True)
class Replaying:
    """What replay goes by. `service` are the headers writes are sent with, secrets read; `may_send` says whether the
    platform takes requests at all, `pause_seconds` how long nothing is sent after a first failure, `looks` how often
    the copy was brought up to what the vault holds; without it, it always is.
    """

    lanes: Lanes
    platform: Platform
    routes: Mapping[str, Route]
    gateway: GatewayConfig
    may_send: Callable[[], bool]
    stand_in: StandIn | None = None
    service: Mapping[str, str] = field(default_factory=dict)
    pause_seconds: float = 1.0
    looks: Callable[[], int] | None = None

    def deadline(self, route: Route) -> float:
        """How long its answer is waited for."""
        return route.deadline_seconds or self.gateway.deadline_seconds


@dataclass(slots=True)
class _Look:
    """Looks at one write of unknown fate. Times are the loop's: no clock that is set makes a wait shorter."""

    since: float
    next: float
    seconds: float
    absent: int = 0


class Replayer:
    """Replays, for one gateway: nobody else may at the same time. `problem` says why the last step failed on this host,
    `failure` what the platform did with the last write that it did not take, "" while all is well; `done` counts what
    became of the writes it had to do with.
    """

    def __init__(self, setup: Replaying) -> None:
        self.problem = ""
        self.failure = ""
        self.done: Counter[Fate] = Counter()
        self._setup = setup
        self._lanes = setup.lanes
        self._pace = Pace(setup.gateway.replay_per_second_max, setup.pause_seconds)
        self._looks: dict[tuple[str, float], _Look] = {}
        self._met: dict[str, int] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._next_recovery = self._next_looks = self._next_sweep = 0.0
        self._is_waiting = self._has_unknown = self._was_away = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing is on its way, and nothing can go before something else happens."""
        return not (self._tasks or self._is_waiting or self._has_unknown or not self._next_sweep)

    async def run(self, stop: asyncio.Event) -> None:
        """Replay until told to stop; what is on its way then is waited for."""
        while not stop.is_set():
            try:
                await self.step()
                # What is tried again and again fails for the same reason until it does not.
                self.problem = self.problem if self._tasks or self._is_waiting else ""
            except HoldfastError as err:
                self.problem = err.message
            try:
                async with asyncio.timeout(_IDLE_SECONDS if self.is_idle else _BUSY_SECONDS):
                    await stop.wait()
            except TimeoutError:
                continue
        try:
            await self.finish()
        except HoldfastError as err:
            self.problem = err.message

    async def step(self) -> None:
        """Begin all that may begin now. Raises what went wrong on this host with something that was begun."""
        now = asyncio.get_running_loop().time()
        self._reap()
        if now >= self._next_recovery:
            await self._lanes.recover()
            self._next_recovery = now + _RECOVER_SECONDS
        self._is_waiting = False
        if not self._setup.may_send():
            self._next_sweep = now + _IDLE_SECONDS
            self._was_away = True
        else:
            if self._was_away:
                self._look_soon(now)
            if now >= self._next_looks:
                self._next_looks = now + _LOOKS_SECONDS
                self._look_at_unknown(now)
            if now >= self._next_sweep:
                await self._send_ready(now)

    async def finish(self) -> None:
        """Wait for all that is on its way."""
        if self._tasks:
            await asyncio.wait(self._tasks.values())
        self._reap()

    def _reap(self) -> None:
        ended = [receipt for receipt, task in self._tasks.items() if task.done()]
        if ended:
            # What waited behind them may go, and what became unknown is to be looked at.
            self._next_sweep = self._next_looks = 0.0
        # All of them first: one that failed must not keep the others from being taken away.
        for task in [self._tasks.pop(receipt) for receipt in ended]:
            task.result()

    def _begin(self, kept: Kept, work: Coroutine[None, None, None]) -> None:
        self._tasks[kept.item.receipt] = asyncio.create_task(work)

    async def _send_ready(self, now: float) -> None:
        """Send queued writes, as many as may go."""
        after, is_last, has_begun = 0, False, False
        is_planned = self._setup.gateway.replay == "plan"
        while not is_last:
            if not self._may_begin(now):
                return
            page = self._lanes.ready(after, _PAGE, approved=is_planned)
            is_last = len(page) < _PAGE
            for kept in page:
                after = kept.item.order
                if kept.item.receipt in self._tasks:
                    continue
                outcome = self._judged(kept)
                if outcome.fate is not Fate.SENDING:
                    if outcome.seen or (outcome.fate, outcome.reason) != (kept.item.fate, kept.item.reason):
                        await self._note(kept, outcome)
                elif self._may_begin(now):
                    has_begun = True
                    self._pace.take()
                    self._begin(kept, self._send(kept, again=False))
                else:
                    return
        self._next_sweep = 0.0 if has_begun else now + _IDLE_SECONDS

    def _judged(self, kept: Kept) -> Outcome:
        route, looks = self._setup.routes.get(kept.item.route), self._setup.looks
        if looks is None or kept.write.copy is None:
            return judged(kept, route, self._setup.stand_in)
        # The look that is under way when it is met here may have begun before it was accepted: the next one did not.
        met = self._met.setdefault(kept.item.receipt, looks())
        outcome = judged(kept, route, self._setup.stand_in, is_newest=looks() >= met + _LOOKS)
        if outcome.fate is not Fate.QUEUED:
            self._met.pop(kept.item.receipt, None)
        return outcome

    def _may_begin(self, now: float) -> bool:
        is_free = len(self._tasks) < _IN_FLIGHT_MAX and self._pace.allowance(now) >= 1
        self._is_waiting = self._is_waiting or not is_free
        return is_free

    async def _send(self, kept: Kept, *, again: bool) -> None:
        """Send one write, and note what came of it."""
        route = self._setup.routes.get(kept.item.route)
        kept = kept.named(self._setup.service)
        if route is None or not await self._lanes.begin(kept.item.receipt, is_renamed=kept.item.is_renamed):
            return
        loop = asyncio.get_running_loop()
        try:
            answer = await self._setup.platform.send(request_of(kept, self._setup.service), self._setup.deadline(route))
        except NotSent as err:
            # Sent again it is as unknown as before: that this one did not arrive says nothing of the first.
            outcome = Outcome(Fate.UNKNOWN if again else Fate.QUEUED, f"not sent: {err}")
        except NoAnswer as err:
            outcome = Outcome(Fate.UNKNOWN, f"no answer: {err}")
        else:
            service = bool(self._setup.service)
            outcome = said(route, answer, as_service=service, again=again)
            # What the platform tells the service it may not tell the client.
            if not service:
                outcome = replace(outcome, answer=repeatable(kept.write, answer))
        self.failure = "" if outcome.fate in (Fate.APPLIED, Fate.REFUSED) else outcome.reason
        if outcome.fate is Fate.APPLIED:
            self._pace.went_well(loop.time())
        elif outcome.fate is Fate.REFUSED:
            self._pace.was_refused(loop.time())
        elif not (outcome.status and kept.item.failures):
            # One that fails again and again, and is answered, says little of the others.
            self._pace.went_wrong(loop.time())
        await self._note(kept, outcome)

    def _look_soon(self, now: float) -> None:
        """The platform is back: it is asked at once, however seldom it was asked while it said nothing."""
        self._was_away, self._next_looks = False, 0.0
        for look in self._looks.values():
            look.next, look.seconds = now, self._setup.pause_seconds

    def _look_at_unknown(self, now: float) -> None:
        """Find out what became of writes of unknown fate, each when it is due."""
        after, is_last = 0, False
        looks = {}
        self._has_unknown = False
        while not is_last:
            page = self._lanes.unknown(after, _PAGE)
            is_last = len(page) < _PAGE
            for item in page:
                after = item.order
                at = (item.receipt, item.changed.timestamp())
                look = looks[at] = self._looks.get(at) or _Look(now, now, self._setup.pause_seconds)
                route = self._setup.routes.get(item.route)
                if route is None or not (route.settle.path or self._may_resend(item, route)):
                    continue  # a person must find out
                self._has_unknown = True
                if look.next <= now and item.receipt not in self._tasks and len(self._tasks) < _IN_FLIGHT_MAX:
                    self._settle(item, route, look)
        self._looks = looks

    def _settle(self, item: Item, route: Route, look: _Look) -> None:
        """Look at one write of unknown fate."""
        now = asyncio.get_running_loop().time()
        kept = self._lanes.kept(item.receipt)
        if kept is None:
            return
        # What nobody was promised is better not done than done late.
        if route.settle.path and not (item.was_promised and self._may_resend(item, route)):
            self._begin(kept, self._read_back(kept, route, look))
        elif self._pace.allowance(now) >= 1:
            self._pace.take()
            self._begin(kept, self._send(kept, again=True))
        else:
            return
        look.next = now + look.seconds
        look.seconds = min(look.seconds * 2, _LOOK_SECONDS_MAX)

    def _may_resend(self, item: Item, route: Route) -> bool:
        return may_resend(item, route.settle, is_planned=self._setup.gateway.replay == "plan")

    async def _read_back(self, kept: Kept, route: Route, look: _Look) -> None:
        """Ask the platform whether it has a write. That it has not counts when it says so twice, the second time so
        long after the write was sent that it can't be on its way any more.
        """
        loop = asyncio.get_running_loop()
        settle = route.settle
        asked = reading_back(kept, settle, self._setup.service)
        ripe = look.since + settle.after_seconds
        begun = loop.time()
        is_there: bool | None = None
        try:
            answer = await self._setup.platform.send(asked, self._setup.deadline(route))
            is_there = read_back(settle, answer)
            self.failure = f"reading back says nothing ({answer.status})" if is_there is None else ""
        except (NotSent, NoAnswer) as err:
            self.failure = f"reading back failed: {err}"
        if is_there:
            await self._note(kept, Outcome(Fate.APPLIED, "read back: the platform has it"))
        elif is_there is False:
            look.absent += 1
            if look.absent > 1 and begun >= ripe:
                await self._note(kept, absent(kept.item))
            # It counts as soon as it can.
            look.next = min(look.next, max(ripe, begun))

    async def _note(self, kept: Kept, outcome: Outcome) -> None:
        if await self._lanes.note(kept.item.receipt, outcome):
            self.done[outcome.fate] += 1
