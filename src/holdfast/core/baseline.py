"""What is usual: the past of a source in numbers, as rules need it to judge its next step.

* A ledger keeps one `Hour` for every collection and hour in which it changed, and one of the source itself (named "")
  for every hour in which it was looked at. Rows older than `KEPT_DAYS` may go.
* `own_of` makes a collection's `Own` of its rows, in well under a millisecond. A writer who commits every few seconds
  may keep it for an hour; once the collection changes within that hour, its `least` is None.
* `Past` is all that `rules.judge` asks for; a first step has none (`Past()`).

    rows[now] = rows.get(now, Hour(now)).with_step(observed)  # now = hour_of(step.at)
    own_of(rows, looked, since, step)
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from statistics import median

from holdfast.core.anomaly import Rule
from holdfast.core.observed import Marks, Observed, Step

__all__ = ["KEPT_DAYS", "NOTHING_KNOWN", "Day", "Hour", "Own", "Past", "hour_of", "own_limit", "own_of", "usual"]

KEPT_DAYS = 35  # five weeks: enough to know a weekday from its own kind
_DAYS_LEAST = 5  # before a history of days says what is usual
_SAME_WEEKDAYS_LEAST = 4
_WEEKS_LEAST = 3
_COMPARABLE_DAYS_LEAST = 7  # where weeks are too few: so that a weekend is among them
_SPREADS = 8  # as many median deviations above the median are still usual
_SPREAD_LEAST = 0.05  # of the median: what happens always is not exact to the record
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Hour:
    """One collection in one hour of the source's own time (UTC, `at` its beginning), summed up over its steps.

    `steps`: how many showed it changed; of the source: how many looked at it and were answered. `moved`: records new,
    changed and gone, summed. `flow`: most new and gone records in one step. `gone` to `garbled`: the most of any step,
    as `Observed` has them, `gone` those that went at once, `reverted` scaled up. `low`: most new keys below the largest
    in one step. `falls`: steps after which the largest key was smaller.
    """

    at: datetime
    steps: int = 0
    moved: int = 0
    flow: int = 0
    gone: int = 0
    gone_30m: int = 0
    gone_24h: int = 0
    changed: int = 0
    changed_30m: int = 0
    changed_24h: int = 0
    reverted: int = 0
    garbled: int = 0
    low: int = 0
    falls: int = 0

    def with_step(self, seen: Observed) -> Hour:
        """The hour with one more step in which the collection changed."""
        return Hour(
            self.at,
            self.steps + 1,
            self.moved + seen.new + seen.changed + seen.gone,
            max(self.flow, seen.new + seen.gone),
            max(self.gone, seen.gone_at_once),
            max(self.gone_30m, seen.gone_30m),
            max(self.gone_24h, seen.gone_24h),
            max(self.changed, seen.changed),
            max(self.changed_30m, seen.changed_30m),
            max(self.changed_24h, seen.changed_24h),
            max(self.reverted, seen.reverted_in_all),
            max(self.garbled, seen.garbled),
            max(self.low, seen.low),
            self.falls + seen.has_fallen,
        )

    def with_look(self, step: Step) -> Hour:
        """The source's own hour with one more step: with what changed in all collections together, or nothing."""
        moved = sum(each.new + each.changed + each.gone for each in step.observed)
        return replace(self, steps=self.steps + 1, moved=self.moved + moved)


@dataclass(frozen=True, slots=True)
class Day:
    """The worst of one whole day (UTC), 0 where nothing happened: the largest of its hours."""

    weekday: int
    gone: int = 0
    gone_30m: int = 0
    gone_24h: int = 0
    changed_30m: int = 0
    changed_24h: int = 0
    reverted: int = 0
    garbled: int = 0


@dataclass(frozen=True, slots=True)
class Own:
    """The past of one collection, or ("") of the source as a whole.

    `days`: whole days before `day` on which the source was looked at, oldest first. `steps`: how many steps of these
    days showed the collection changed. `then`: most changed records in a step, for each earlier week at this weekday
    and hour. `least`: the fewest changes that comparable times showed while now nothing changed; None while too little
    is known. `quiet_since`: when it last changed. `flow`: most new and gone records in a step of the last day. `low`
    and `falls`: as `Hour` has them, the most and the sum of these days. `accepted`: by rule the largest count that
    somebody accepted within `KEPT_DAYS`; who once accepted that all changed would else never hear of it again. `whole`:
    the same of findings that were of nearly a whole collection; a part that was accepted says nothing of all.
    `noticed`: by rule the largest count of a notice within the last day: less is not told again.
    """

    day: date | None = None
    days: tuple[Day, ...] = ()
    steps: int = 0
    then: tuple[int, ...] = ()
    least: int | None = None
    quiet_since: datetime | None = None
    flow: int = 0
    low: int = 0
    falls: int = 0
    accepted: Mapping[Rule, int] = field(default_factory=dict)
    whole: Mapping[Rule, int] = field(default_factory=dict)
    noticed: Mapping[Rule, int] = field(default_factory=dict)


NOTHING_KNOWN = Own()


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of a source before a step.

    `marks` are the last it showed. `looked_at`: when somebody looked last, by his clock, as are the times of the
    heartbeat: `beat` is its last counter, `beat_at` when that was new, `beat_every` the seconds between two, as far as
    is known. `off`: by collection, what the source counted less what the copy held at the last counting, where these
    differed too much (`rules.off_by`). `collections`: all whose too few changes are to be judged, those that the step
    changed, and "" for the source.
    """

    marks: Marks | None = None
    beat: int | None = None
    beat_at: datetime | None = None
    beat_every: float = 0.0
    looked_at: datetime | None = None
    off: Mapping[str, int] = field(default_factory=dict)
    collections: Mapping[str, Own] = field(default_factory=dict)

    def own(self, collection: str) -> Own:
        """The past of a collection; of one that is new: nothing."""
        return self.collections.get(collection, NOTHING_KNOWN)

    def beat_after(self, step: Step) -> tuple[int | None, datetime | None, float]:
        """`beat`, `beat_at` and `beat_every` once a step is past: the same while it shows no new beat.

        A counter that rises by one each time tells how often that is, however seldom somebody looks.
        """
        if step.beat is None or step.beat == self.beat:
            return self.beat, self.beat_at, self.beat_every
        at, every = step.looked_at, self.beat_every
        if self.beat is not None and self.beat_at and step.beat > self.beat:
            every = (at - self.beat_at).total_seconds() / (step.beat - self.beat)
        return step.beat, at, every


def hour_of(at: datetime) -> datetime:
    """The beginning of the hour in which a moment lies, in UTC."""
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def own_of(
    rows: Mapping[datetime, Hour], looked: Sequence[datetime], since: datetime, step: Step, earlier: Own = NOTHING_KNOWN
) -> Own:
    """A collection's past before a step, made of its rows by their hour, in the order of time.

    `looked` are the hours of the source's own rows, in order, which tell hours without changes from hours in which
    nobody looked. `since` is when the collection was first seen. What an `earlier` past of the same day says of the
    days before is taken from it. Who accepted what, and what was told, the ledger adds.
    """
    now = hour_of(step.at)
    start = max(hour_of(since), now - timedelta(days=KEPT_DAYS))
    looked = looked[bisect_left(looked, start) : bisect_right(looked, now)]
    last = next((row.at for row in reversed(list(rows.values())) if row.moved and row.at <= now), None)
    lately = (rows.get(now - number * _HOUR) for number in range(25))
    own = earlier if earlier.day == now.date() else _until_today(rows, looked, now)
    return replace(
        own,
        then=_then_of(rows, looked, now),
        least=_least_of(rows, looked, last, step),
        quiet_since=last + _HOUR if last else None,
        flow=max((row.flow for row in lately if row), default=0),
    )


def own_limit(days: Sequence[Day], kind: str, weekday: int) -> int | None:
    """The most of a kind (a field of `Day`) that is usual for a day, or on this weekday if that is more; None while the
    days are too few to tell.
    """
    if len(days) < _DAYS_LEAST:
        return None
    same = [getattr(day, kind) for day in days if day.weekday == weekday]
    found = usual([getattr(day, kind) for day in days])
    return max(found, usual(same)) if len(same) >= _SAME_WEEKDAYS_LEAST else found


def usual(values: Sequence[int]) -> int:
    """The median and eight median deviations: a few wild values move neither."""
    middle = median(values)
    spread = median(abs(each - middle) for each in values)
    return int(middle + _SPREADS * max(spread, _SPREAD_LEAST * middle))


def _until_today(rows: Mapping[datetime, Hour], looked: Sequence[datetime], now: datetime) -> Own:
    """What happened today must not raise today's limits."""
    midnight = now.replace(hour=0)
    days = []
    for day, hours in groupby(looked[: bisect_left(looked, midnight)], key=datetime.date):
        seen = [rows[hour] for hour in hours if hour in rows]
        worst = (max((getattr(row, kind) for row in seen), default=0) for kind in Day.__slots__[1:])
        days.append(Day(day.weekday(), *worst))
    known = [row for at, row in rows.items() if looked and looked[0] <= at < midnight]
    return Own(
        day=now.date(),
        days=tuple(days),
        steps=sum(row.steps for row in known),
        low=max((row.low for row in known), default=0),
        falls=sum(row.falls for row in known),
    )


def _then_of(rows: Mapping[datetime, Hour], looked: Sequence[datetime], now: datetime) -> tuple[int, ...]:
    hours = (now - timedelta(days=7 * week) for week in range(KEPT_DAYS // 7, 0, -1))
    return tuple(rows[hour].changed if hour in rows else 0 for hour in hours if _looks(looked, hour, hour))


def _least_of(
    rows: Mapping[datetime, Hour], looked: Sequence[datetime], last: datetime | None, step: Step
) -> int | None:
    """The fewest changes in spans as long as the one without any, so many whole weeks or days ago."""
    now = hour_of(step.at)
    # A capture shows all that happened before it; of an hour that is followed the end is still to come.
    end = now if step.kind in ("capture", "snapshot") else now - _HOUR
    if last is None or last >= end or not looked:
        return None
    covered = _looks(looked, last + _HOUR, now - _HOUR) + (end == now)
    hours = range((end - last) // _HOUR)
    for shift, least in ((timedelta(days=7), _WEEKS_LEAST), (timedelta(days=1), _COMPARABLE_DAYS_LEAST)):
        found = []
        for number in range(1, KEPT_DAYS // shift.days + 1):
            first, until = last + _HOUR - number * shift, end - number * shift
            if until <= last and first >= looked[0] and _looks(looked, first, until) >= covered:
                then = (rows.get(first + hour * _HOUR) for hour in hours)
                found.append(sum(row.moved for row in then if row))
        if len(found) >= least:
            return min(found)
    return None


def _looks(looked: Sequence[datetime], first: datetime, last: datetime) -> int:
    """In how many of these hours somebody looked."""
    return bisect_right(looked, last) - bisect_left(looked, first)
