"""What a site may let go of: decided from eras, the times at which others received them, holds and drills alone.

An era is commits in a row whose states need what was added from one commit on (docs/format.md, 9.1).

* Only receipts by others than the writer tell how old a commit is; one without is never old. The writer's clock plays
  no part.
* Any moment of the last `keep_days` can be had: what stood when they began is kept as well as what came since.
* Of older eras the first and the last of each day, week or month are kept, for so many of these back from now. They are
  counted in time, not in eras: whoever writes many pushes none out.
* The newest era is kept always, one under a hold as long as that is open, and every one until a later one was drilled.

    judged = judge(eras, Retention(keep_days=180), now)
    judged.kept[0].reason, judged.ranges
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import NamedTuple

__all__ = ["Era", "Hold", "Judged", "Kept", "Retention", "Vouched", "judge", "received", "tail_due"]


@dataclass(frozen=True, slots=True)
class Retention:
    """How long what is kept: everything for `keep_days`, then one or two eras of so many days, weeks and months.

    Closed tails go after `tail_days`; between a mark and the deletion lie `wait_hours`.
    """

    keep_days: int = 180
    daily: int = 0
    weekly: int = 0
    monthly: int = 13
    tail_days: int = 7
    wait_hours: int = 72


@dataclass(frozen=True, slots=True)
class Era:
    """Commits in a row, by their places in the history from 0: `first` and on, one for each time in `received`.

    Their states need what commits from `since` on added, which may lie before `first`.
    """

    since: int
    first: int
    received: tuple[datetime | None, ...]
    is_drilled: bool = False

    @property
    def last(self) -> int:
        """The place of its last commit."""
        return self.first + len(self.received) - 1


class Hold(NamedTuple):
    """Somebody's word that nothing is to go: of the era of the commit at this place, or (None) of all."""

    reason: str
    commit: int | None = None


class Vouched(NamedTuple):
    """A receipt: by this clock everything up to the commit at this place was there at this time."""

    clock: str
    commit: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Kept:
    """An era that stays, by its number, and why. `until`: when time alone lets it go; None if that is not enough."""

    era: int
    reason: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Judged:
    """Which eras stay and which may go; `ranges` are the places, first and last, of commits whose objects no era that
    stays needs.
    """

    kept: tuple[Kept, ...]
    dropped: tuple[int, ...]
    ranges: tuple[tuple[int, int], ...]


def judge(
    eras: Sequence[Era],
    rules: Retention,
    now: datetime,
    *,
    holds: Collection[Hold] = (),
    released: Collection[int] = (),
) -> Judged:
    """Which of these eras, oldest first, stay. `released` are eras that a request lets go before their time: only a
    hold, and that they are the newest, stands against that.
    """
    buckets = _Buckets(eras, rules, now)
    kept: list[Kept] = []
    dropped: list[int] = []
    for number in range(len(eras)):
        reason = _always(eras, number, holds)
        if reason is None and number not in released:
            reason = _timed(_aged(eras, number, rules, now), buckets.reason(number)) or _undrilled(eras, number)
        if reason is None:
            dropped.append(number)
        else:
            kept.append(Kept(number, *reason))
    return Judged(tuple(kept), tuple(dropped), _ranges(eras, {each.era for each in kept}))


def received(seen: Iterable[Vouched], commits: int, *, clocks: int = 1) -> list[datetime | None]:
    """When each of so many commits had been received, by the first receipt that covers it; None where none does.

    With `clocks` above 1 that is when so many clocks say so, or all that tell of it if they are fewer: then no single
    one makes a commit older than the others know it.
    """
    by_clock: dict[str, list[datetime | None]] = defaultdict(lambda: [None] * commits)
    for each in seen:
        if 0 <= each.commit < commits:
            held = by_clock[each.clock][each.commit]
            by_clock[each.clock][each.commit] = each.at if held is None else min(held, each.at)
    for firsts in by_clock.values():
        for place in range(commits - 2, -1, -1):
            own, later = firsts[place], firsts[place + 1]
            firsts[place] = later if own is None or (later is not None and later < own) else own
    found: list[datetime | None] = []
    for place in range(commits):
        told = sorted(at for firsts in by_clock.values() if (at := firsts[place]) is not None)
        found.append(told[min(clocks, len(told)) - 1] if told else None)
    return found


def tail_due(closed: datetime | None, rules: Retention, *, is_drilled: bool) -> datetime | None:
    """When a tail may go that was closed by a commit received then; None if nobody but its writer has received that.

    `is_drilled`: that commit, or a later one, was proven by a drill. Otherwise only the writer says what the tail held,
    and it stays as long as everything does.
    """
    days = rules.tail_days if is_drilled else max(rules.tail_days, rules.keep_days)
    return None if closed is None else closed + timedelta(days=days)


Reason = tuple[str, datetime | None]


def _always(eras: Sequence[Era], number: int, holds: Collection[Hold]) -> Reason | None:
    """What no time and no request overcomes."""
    if number == len(eras) - 1:
        return "the newest", None
    era = eras[number]
    for hold in holds:
        if hold.commit is None or era.first <= hold.commit <= era.last:
            return f"under a hold: {hold.reason}", None
    return None


def _aged(eras: Sequence[Era], number: int, rules: Retention, now: datetime) -> Reason | None:
    """Whether it is too young, or stood when the days that are kept whole began: until then the next had not come."""
    times = [*eras[number].received, eras[number + 1].received[0]]
    known = [at for at in times if at is not None]
    if len(known) < len(times):
        return "no receipt by others than its writer says how old it is", None
    until = max(known) + timedelta(days=rules.keep_days)
    return (f"of the last {rules.keep_days} days", until) if until > now else None


def _timed(aged: Reason | None, bucket: Reason | None) -> Reason | None:
    """Of two reasons that time ends the first to name, with the later of their ends."""
    if aged is None or bucket is None or aged[1] is None or bucket[1] is None:
        return aged or bucket
    return aged[0], max(aged[1], bucket[1])


def _undrilled(eras: Sequence[Era], number: int) -> Reason | None:
    if any(each.is_drilled for each in eras[number + 1 :]):
        return None
    return "no later one was proven by a drill", None


class _Buckets:
    """The first and last eras of the days, weeks and months that are to be kept; an era is in all it has commits of."""

    def __init__(self, eras: Sequence[Era], rules: Retention, now: datetime) -> None:
        self._reasons: dict[int, Reason] = {}
        for count, bucket in ((rules.monthly, _MONTH), (rules.weekly, _WEEK), (rules.daily, _DAY)):
            found: dict[int, list[int]] = defaultdict(list)
            for number, era in enumerate(eras):
                for each in sorted({bucket.of(at) for at in era.received if at is not None}):
                    found[each].append(number)
            for each, numbers in sorted(found.items()):
                if each + count > bucket.of(now):
                    for number, word in ((numbers[0], "first"), (numbers[-1], "last")):
                        self._keep(number, f"the {word} of {bucket.text(each)}", bucket.begin(each + count))

    def reason(self, number: int) -> Reason | None:
        """Why a bucket keeps an era, if one does."""
        return self._reasons.get(number)

    def _keep(self, number: int, reason: str, until: datetime) -> None:
        held = self._reasons.get(number)
        if held is None or held[1] is None or held[1] < until:
            self._reasons[number] = reason, until


class _Bucket(NamedTuple):
    """Days, weeks or months, numbered in a row: the number of a time, its name, and when it begins. In UTC."""

    of: Callable[[datetime], int]
    text: Callable[[int], str]
    begin: Callable[[int], datetime]


def _day(ordinal: int) -> datetime:
    return datetime.combine(date.fromordinal(ordinal), time(), UTC)


def _month(number: int) -> datetime:
    return datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)


def _utc(at: datetime) -> date:
    return at.astimezone(UTC).date()


_DAY = _Bucket(lambda at: _utc(at).toordinal(), lambda number: f"{_day(number):%Y-%m-%d}", _day)
# Ordinal 1 is a Monday.
_WEEK = _Bucket(
    lambda at: (_utc(at).toordinal() - 1) // 7,
    lambda number: f"the week of {_day(number * 7 + 1):%Y-%m-%d}",
    lambda number: _day(number * 7 + 1),
)
_MONTH = _Bucket(lambda at: _utc(at).year * 12 + _utc(at).month - 1, lambda number: f"{_month(number):%Y-%m}", _month)


def _ranges(eras: Sequence[Era], kept: Collection[int]) -> tuple[tuple[int, int], ...]:
    """The runs of places that no kept era needs."""
    needed = sorted((eras[number].since, eras[number].last) for number in kept)
    free, begin = [], eras[0].first if eras else 0
    for since, last in needed:
        if since > begin:
            free.append((begin, since - 1))
        begin = max(begin, last + 1)
    return tuple(free)
