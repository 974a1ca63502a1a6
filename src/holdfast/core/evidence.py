"""Whether what requests met since the breaker last moved is reason enough to open it.

Three rules, any of which is enough:
* failures in a row, over all workers;
* a share of failures in the window that is *surely* above the limit: the lower bound of Wilson's interval, so that two
  failures at night prove nothing;
* a stall: requests wait longer than their endpoint ever needed, and nothing was answered meanwhile, or nothing of their
  kind and no canary: that people can sign in proves nothing of a vendor whom only orders need. A window never sees
  that: those who wait neither succeed nor fail, and what succeeded before still counts.

Errors, which the platform itself answered, count in the first two rules only where the canary is wrong too: who looks
for it finds a page that always fails on any platform, and that is no outage. A right canary acquits all that came
before it began. So that an outage in which everything is an error is not found later for it, a canary is due at once
when they begin.

So do failures of any kind that are all of *one* client, or all at *one* place, if others were answered lately: he is
turned away for asking too often, or it takes longer than anybody waits. All of one means that too few are left without
him to open it, so that a failure here and there of others changes nothing.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

from holdfast.core.front import Passed
from holdfast.core.outage import BreakerLimits
from holdfast.core.tally import Durations, Failed, Report, Who, is_error, number_of

__all__ = ["Evidence", "Usual", "wilson"]

_Z = 1.64  # one-sided, 95 %
_FEWEST = 10  # durations from which a p99 is taken
_SILENT_SECONDS = 3.0  # after which a worker that does not report has ended
_STEPS = 10  # of the window
# How old what another worker has not told yet may be: a success that came before a failure may be told after it.
_LAG_SECONDS = 0.3
_FRONT = ""  # whose successes and failures nginx told
# How long failures wait for a canary: one that answers later is of no use to those who meet them.
_LOOK_SECONDS = 1.5
_MANY = 10  # good answers within the window, from which requests are known to be answered,
_FEW_FAILED = 0.05  # if so few failed beside them
_LATELY_SECONDS = 600.0  # within which others were answered
_ROW_SECONDS = 10.0  # within which failures in a row come, however short the window
_FAILED_MAX = 5000  # the newest that are looked at


def wilson(bad: int, total: int, z: float = _Z) -> float:
    """The share of failures that these counts prove: the lower bound of Wilson's score interval.

    >>> [round(wilson(bad, total), 2) for bad, total in ((0, 0), (2, 2), (5, 5), (50, 100))]
    [0.0, 0.43, 0.65, 0.42]
    """
    if not total:
        return 0.0
    share, square = bad / total, z * z
    middle = share + square / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + square / (4 * total * total))
    return max(0.0, (middle - spread) / (1 + square / total))


class _Answered:
    """Who was answered lately, or what: the last two that differ."""

    def __init__(self) -> None:
        self._at: dict[int, float] = {}

    def add(self, names: Iterable[int], now: float) -> None:
        for name in names:
            self._at.pop(name, None)
            self._at[name] = now
        while len(self._at) > 2:
            del self._at[next(iter(self._at))]

    def others(self, name: int, now: float) -> bool:
        return any(each not in (name, 0) and now - at <= _LATELY_SECONDS for each, at in self._at.items())


class Usual:
    """How long answers of each endpoint usually take, and who is answered. It outlives the breaker's moves; the former
    restarts, too.
    """

    def __init__(self, deadline: float, deadlines: Mapping[str, float]) -> None:
        self._deadline = deadline
        self._deadlines = deadlines
        self._durations: dict[str, Durations] = {}
        self.clients, self.paths = _Answered(), _Answered()

    def add(self, endpoint: str, counts: Mapping[int, int]) -> None:
        """These good answers took so long."""
        self._durations.setdefault(endpoint, Durations()).add(counts)

    def p99(self, endpoint: str) -> float | None:
        """The usual p99; None where too few answers are known."""
        found = self._durations.get(endpoint)
        return found.p99() if found is not None and found.count >= _FEWEST else None

    def patience(self, endpoint: str, limits: BreakerLimits) -> float:
        """How long a call may wait before it counts as stalled: at most its deadline, which it is where nothing is
        known yet.
        """
        deadline = self._deadlines.get(endpoint) or self._deadline
        p99 = self.p99(endpoint)
        if p99 is None:
            return deadline
        return min(max(limits.stall_seconds, limits.stall_times * p99), deadline)

    def kept(self) -> dict[str, dict[str, float]]:
        """As JSON has it."""
        return {name: each.kept() for name, each in self._durations.items()}

    def restore(self, kept: Mapping[str, Mapping[str, float]]) -> None:
        """Take up what `kept` gave. Raises ValueError, TypeError or AttributeError if this is something else."""
        for name, counts in kept.items():
            self._durations[name] = Durations({int(place): float(count) for place, count in counts.items()})


@dataclass(slots=True)
class _Counts:
    """What a step of the window counted."""

    step: int
    good: int = 0
    canaries: int = 0  # right ones


class Evidence:
    """What was seen since the breaker last moved, in its `epoch`."""

    def __init__(self, limits: BreakerLimits, usual: Usual, epoch: int) -> None:
        self.epoch = epoch
        self._limits = limits
        self._usual = usual
        self._reports: dict[str, Report] = {}
        self._good_at: dict[str, float] = {}  # by worker
        self._answered_at: dict[str, float] = {}  # by endpoint
        self._failed: deque[Failed] = deque(maxlen=_FAILED_MAX)
        self._canary_at = 0.0  # the last right one
        self._acquitted = 0.0  # when it began
        self._is_canary_wrong = False  # the last one
        self._open_since = 0.0  # the first failure that began to wait for a canary's word; 0: none
        self._window: deque[_Counts] = deque()

    def told(self, report: Report) -> None:
        """A worker's report; one of another epoch says nothing any more."""
        for endpoint, counts in report.durations.items():
            self._usual.add(endpoint, counts)
        if report.epoch != self.epoch:
            return
        before = self._reports.get(report.worker)
        if before is not None and before.at > report.at:
            return
        self._reports[report.worker] = report
        self._good_at[report.worker] = max(report.good_at, self._good_at.get(report.worker, 0.0))
        for endpoint in report.durations:
            self._answered_at[endpoint] = max(report.good_at, self._answered_at.get(endpoint, 0.0))
        self._usual.clients.add(report.clients, report.at)
        self._usual.paths.add(report.paths, report.at)
        self._fail(report.failed)
        self._count(report.at, good=report.good)

    def passed(self, passed: Passed, now: float) -> None:
        """What nginx saw of a request that it passed to the platform itself, and whose answer was waited for."""
        if passed.is_good:
            self._usual.add(passed.route, {Durations.place(passed.seconds): 1})
            self._usual.clients.add((number_of(passed.client),), now)
            self._usual.paths.add((number_of(passed.route),), now)
            self._good_at[_FRONT] = self._answered_at[passed.route] = now
            self._count(now, good=1)
        else:
            who = Who(passed.client, passed.route)
            self._fail((Failed.of(now, who, is_error=is_error(passed.status)),))

    def canary(self, began: float, ended: float, *, is_right: bool = True) -> None:
        """A canary came back. If it is right, the platform is not wholly away, though what users ask for may be."""
        self._is_canary_wrong = not is_right
        if is_right:
            self._canary_at, self._acquitted = ended, began
            self._open_since = min((each.at for each in self._failed if each.at > began), default=0.0)
            self._count(ended, canaries=1)

    @property
    def needs_canary(self) -> bool:
        """Whether failures wait for a canary's word."""
        return bool(self._open_since) and not self._is_canary_wrong

    @property
    def has_doubt(self) -> bool:
        """Whether anything failed since the last right canary, or waits since the last answer: reason to look closer.
        Where enough wait for a stall, so early that a canary can tell in time that it is none.
        """
        if self._open_since or self._overdue(0.5):
            return True
        return bool(self._limits.in_flight) and self._overdue(0.25) >= self._limits.in_flight

    def verdict(self, now: float) -> str:
        """Why the breaker must open; "" if it need not."""
        limits = self._limits
        if why := self._failing(now, self._counted(now)):
            return why
        if limits.in_flight and self._overdue(1.0) >= limits.in_flight:
            return f"{self._overdue(1.0)} requests wait longer than usual, {self._silence(now)}"
        return ""

    def counts(self, now: float) -> tuple[int, int]:
        """How many requests within the window were answered, and how many failed, however they did."""
        return sum(each.good + each.canaries for each in self._within(now)), _total(self._failures(now))

    def are_answered(self, since: float, now: float) -> bool:
        """Whether users' requests are known to be well: many were answered within the window, one of them after
        *since*, hardly any failed, and none waits longer than usual.
        """
        good, failed = sum(each.good for each in self._within(now)), _total(self._unacquitted(now))
        return (
            good >= _MANY
            and failed <= _FEW_FAILED * good
            and max(self._good_at.values(), default=0.0) > since
            and not self._overdue(1.0)
        )

    def in_flight(self, now: float) -> int:
        """How many requests wait for the platform."""
        return sum(each.in_flight for each in self._live(now))

    def _live(self, now: float) -> list[Report]:
        return [each for each in self._reports.values() if now - each.at <= _SILENT_SECONDS]

    def _counted(self, now: float) -> Sequence[Failed]:
        """The failures that count: all of them if the canary fails too, or nothing was heard of it for too long."""
        if not self._failing(now, self._failures(now)):
            return ()
        found, since = self._unacquitted(now), self._open_since
        if since and (self._is_canary_wrong or now - since > _LOOK_SECONDS):
            return found
        bad = [each for each in found if not each.is_error]
        if self._failing(now, bad) and not all(self._failing(now, rest) for rest in self._without_one(bad, now)):
            return ()
        return bad

    def _without_one(self, failures: Sequence[Failed], now: float) -> Iterator[list[Failed]]:
        """The failures without those of the client that met the most, and without those at the place that had the most;
        each only if others were answered.
        """
        clients, places = Counter[int](), Counter[int]()
        for each in failures:
            clients[each.client] += each.times
            places[each.path] += each.times
        (client, _), (path, _) = clients.most_common(1)[0], places.most_common(1)[0]
        if client and self._usual.clients.others(client, now):
            yield [each for each in failures if each.client != client]
        if path and self._usual.paths.others(path, now):
            yield [each for each in failures if each.path != path]

    def _failing(self, now: float, failures: Sequence[Failed]) -> str:
        """Why what failed is enough."""
        limits = self._limits
        if limits.consecutive and (count := self._streak(now, failures)) >= limits.consecutive:
            return f"{count} failures in a row"
        if limits.ratio:
            good = sum(each.good + each.canaries for each in self._within(now))
            bad = _total(each for each in failures if now - each.at <= limits.window_seconds)
            if wilson(bad, good + bad) > limits.ratio:
                return f"{bad} of {good + bad} requests failed within {limits.window_seconds:g} s"
        return ""

    def _streak(self, now: float, failures: Sequence[Failed]) -> int:
        """How many of these came after the last success of anybody."""
        since = max(self._canary_at, *self._good_at.values(), 0.0) if self._good_at else self._canary_at
        settled = now if len(self._good_at) < 2 else now - _LAG_SECONDS
        # The newest come last, but for what is on its way from another worker.
        newest = takewhile(lambda each: each.at > since - _LAG_SECONDS, reversed(failures))
        return sum(each.times for each in newest if since < each.at <= settled)

    def _overdue(self, part: float) -> int:
        """Calls that wait longer than (a part of) their endpoint's patience, counted from the last success of anybody,
        or from the last of their endpoint and the last right canary, if these are longer ago.

        As each worker saw it when it reported: an answer that came since is not told yet.
        """
        latest = max(self._good_at.values(), default=0.0)
        newest = max((each.at for each in self._reports.values()), default=0.0)
        return sum(
            report.at - max(start, min(latest, max(self._answered_at.get(endpoint, 0.0), self._canary_at)))
            > part * self._usual.patience(endpoint, self._limits)
            for report in self._live(newest)
            for endpoint, starts in report.waiting.items()
            for start in starts
        )

    def _silence(self, now: float) -> str:
        latest = max(self._good_at.values(), default=0.0)
        if now - latest < self._limits.stall_seconds:
            return "and neither their like nor a canary is answered"
        return f"nothing was answered for {now - latest:.1f} s" if latest else "none was answered yet"

    def _within(self, now: float) -> deque[_Counts]:
        oldest = self._step(now) - _STEPS
        while self._window and self._window[0].step <= oldest:
            self._window.popleft()
        return self._window

    def _failures(self, now: float) -> Sequence[Failed]:
        """Those within the window, or a little longer."""
        while self._failed and now - self._failed[0].at > max(self._limits.window_seconds, _ROW_SECONDS):
            self._failed.popleft()
        return self._failed

    def _unacquitted(self, now: float) -> Sequence[Failed]:
        """Those within the window without errors that a right canary acquitted."""
        return [each for each in self._failures(now) if not each.is_error or each.at > self._acquitted]

    def _fail(self, failed: Iterable[Failed]) -> None:
        for each in failed:
            self._failed.append(each)
            if each.at > self._acquitted and not self._open_since:
                self._open_since = each.at

    def _count(self, now: float, *, good: int = 0, canaries: int = 0) -> None:
        if not (good or canaries):
            return
        step = self._step(now)
        if not self._window or self._window[-1].step != step:
            self._window.append(_Counts(step))
        last = self._window[-1]
        last.good += good
        last.canaries += canaries

    def _step(self, now: float) -> int:
        return int(now / max(self._limits.window_seconds, 0.1) * _STEPS)


def _total(failures: Iterable[Failed]) -> int:
    return sum(each.times for each in failures)
