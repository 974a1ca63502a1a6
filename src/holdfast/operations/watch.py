"""Watch: everything is asked, again and again; verdicts change with hysteresis, and the cause is found within seconds.

Each probe goes its own pace. Three moments do not wait for it: what comes under suspicion, or may have recovered, is
asked again every second until it is clear; with what is suspected all is asked that it depends on; and with what
recovered all that depends on it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from holdfast.core.causes import Diagnosis, diagnose, reach_of
from holdfast.core.events import Event
from holdfast.core.health import Health, NotWell, Result, Verdict, judged
from holdfast.core.outage import ProbeConfig
from holdfast.core.outages import Believed, CauseFound, ProbeChanged
from holdfast.core.printed import in_one_line
from holdfast.errors import HoldfastError

__all__ = ["Clock", "Probe", "Seen", "Watching"]

_QUICK_SECONDS = 1.0
_DETAIL_MAX = 300
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Probe:
    """What is watched, and the question: it returns what was seen, or raises NotWell."""

    config: ProbeConfig
    ask: Callable[[], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class Clock:
    """What time it is, in UTC and by the steady clock."""

    now: Callable[[], datetime]
    steady: Callable[[], float]


@dataclass(frozen=True, slots=True)
class Seen:
    """All that a watch believes now."""

    at: datetime
    moment: float
    healths: Mapping[str, Health]
    results: Mapping[tuple[str, bool], int]  # by name, and whether they were good
    diagnosis: Diagnosis = field(default_factory=Diagnosis)

    @property
    def is_settled(self) -> bool:
        """Whether nothing is unknown or between two verdicts, and the cause of what is down is found."""
        return all(map(_is_certain, self.healths.values())) and (not self.down or bool(self.diagnosis.causes))

    @property
    def down(self) -> tuple[str, ...]:
        """The names of what is down."""
        return tuple(name for name, health in self.healths.items() if health.verdict is Verdict.DOWN)


class Watching:
    """A watch over probes by name, that goes on from what one before it *believed*. *tell* gets every event that the
    journal is to have, in order; it may take long.

    What *tell* raises (HoldfastError) ends nothing: `problem` says it until telling succeeds again.
    """

    def __init__(
        self,
        probes: Mapping[str, Probe],
        clock: Clock,
        tell: Callable[[Event], Awaitable[None]],
        believed: Believed | None = None,
    ) -> None:
        believed = believed or Believed()
        self.problem = ""
        self._probes = probes
        self._clock = clock
        self._tell = tell
        self._healths = {
            name: Health(Verdict.DOWN, since, bads=1, first_bad=since)
            if (since := believed.down.get(name))
            else Health()
            for name in probes
        }
        self._results = {(name, is_good): 0 for name in probes for is_good in (True, False)}
        self._reach = reach_of({name: probe.config.needs for name, probe in probes.items()})
        self._again = {name: asyncio.Event() for name in probes}
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._diagnosis = Diagnosis()
        self._causes = believed.causes
        self._turned = asyncio.Condition()

    @property
    def seen(self) -> Seen:
        """What is believed now."""
        return Seen(self._clock.now(), self._clock.steady(), dict(self._healths), dict(self._results), self._diagnosis)

    def is_current(self, name: str) -> bool:
        """Whether the last result of a probe is as new as it must be."""
        config, last = self._probes[name].config, self._healths[name].last
        patience = 2 * (config.every_seconds + config.timeout_seconds)
        return last is not None and self._clock.steady() - last.began <= patience

    async def run(self, until: Callable[[Seen], bool] = lambda _: False) -> None:
        """Watch until *until* says of what is seen that it is enough, or for ever; then every event has been told."""
        tasks = [asyncio.create_task(self._watch(name)) for name in self._probes]
        telling = asyncio.create_task(self._tell_all())
        try:
            await self._enough([*tasks, telling], until)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            told = asyncio.create_task(self._events.join())
            await asyncio.wait([told, telling], return_when=asyncio.FIRST_COMPLETED)
            for task in (told, telling):
                task.cancel()

    async def _enough(self, tasks: list[asyncio.Task[None]], until: Callable[[Seen], bool]) -> None:
        """Wait for it, or for a task that failed: what it raised is raised."""

        async def seen() -> None:
            async with self._turned:
                await self._turned.wait_for(lambda: until(self.seen))

        waiting = asyncio.create_task(seen())
        try:
            done, _ = await asyncio.wait([*tasks, waiting], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            waiting.cancel()

    async def _watch(self, name: str) -> None:
        """Ask one probe for ever, each time as soon as it is due or somebody wants to know."""
        config, again = self._probes[name].config, self._again[name]
        while True:
            again.clear()
            result = await self._result(name)
            await self._take(name, result)
            pace, health = config.every_seconds, self._healths[name]
            if health.is_failing and (health.verdict is Verdict.SUSPECTED or health.goods):
                pace = min(pace, _QUICK_SECONDS)
            try:
                async with asyncio.timeout(max(0.0, pace - result.seconds)):
                    await again.wait()
            except TimeoutError:
                continue

    async def _result(self, name: str) -> Result:
        probe, at, began = self._probes[name], self._clock.now(), self._clock.steady()
        try:
            async with asyncio.timeout(probe.config.timeout_seconds):
                (found,) = await asyncio.gather(probe.ask(), return_exceptions=True)
        except TimeoutError:
            found = NotWell(f"no answer within {probe.config.timeout_seconds:g} s")
        # Whoever is watched may say anything: it goes to terminals and into the journal.
        detail = in_one_line(found if isinstance(found, str) else _what_is_wrong(name, found))[:_DETAIL_MAX]
        return Result(at, began, self._clock.steady() - began, isinstance(found, str), detail)

    async def _take(self, name: str, result: Result) -> None:
        config, was = self._probes[name].config, self._healths[name]
        self._results[name, result.is_good] += 1
        health = self._healths[name] = judged(was, result, bad=config.bad, good=config.good)
        if health.verdict is not was.verdict:
            since = was.first_bad or health.first_bad or result.at
            moved = ProbeChanged(self._clock.now(), name, was.verdict, health.verdict, since, result.detail)
            # That a healthy thing was seen for the first time is no change.
            if was.verdict is not Verdict.UNKNOWN or health.verdict is not Verdict.UP:
                self._events.put_nowait(moved)
            self._wake(name, was, health)
        self._judge()
        async with self._turned:
            self._turned.notify_all()

    def _wake(self, name: str, was: Health, health: Health) -> None:
        """Have those asked at once by whom it shows what the change means."""
        others: Iterable[str] = ()
        if health.is_failing and not was.is_failing:
            others = self._reach[name]
        elif health.verdict is Verdict.UP:
            others = [each for each, below in self._reach.items() if name in below]
        for each in others:
            self._again[each].set()

    def _judge(self) -> None:
        """Find the cause anew; told when it is another one, or when nothing is down any more."""
        found = diagnose(self._reach, self._healths)
        is_down = any(health.verdict is Verdict.DOWN for health in self._healths.values())
        if is_down and not found.causes:
            return  # whatever it was recovers, or is not known yet: what was found before stands
        if not is_down and any(health.last is None for health in self._healths.values()):
            return
        self._diagnosis = found
        if found.causes != self._causes:
            self._causes = found.causes
            self._events.put_nowait(CauseFound(self._clock.now(), found.causes, tuple(found.suffering)))

    async def _tell_all(self) -> None:
        while True:
            event = await self._events.get()
            try:
                await self._tell(event)
                self.problem = ""
            except HoldfastError as err:
                self.problem = err.message
            finally:
                self._events.task_done()


def _what_is_wrong(name: str, raised: BaseException) -> str:
    """Why a probe brought nothing. A mistake of its own must not blind the others."""
    if isinstance(raised, HoldfastError):
        return raised.message
    if isinstance(raised, NotWell | TimeoutError):
        return str(raised) or "no answer"
    _log.error("the probe %s failed by a mistake of its own", name, exc_info=raised)
    return f"the probe itself failed: {type(raised).__name__}: {raised}"


def _is_certain(health: Health) -> bool:
    """Whether its verdict and its last result say the same."""
    if health.last is None:
        return False
    return health.verdict is (Verdict.UP if health.last.is_good else Verdict.DOWN)
