"""What is usual, made of hours: today never counts, few days say nothing, and silence is measured by its like."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.anomaly import Finding, Level, Rule
from holdfast.core.baseline import KEPT_DAYS, NOTHING_KNOWN, Day, Hour, Own, own_limit, own_of, usual
from holdfast.core.limits import Limits
from holdfast.core.observed import Observed, Step
from holdfast.core.watching import Watch

MONDAY = datetime(2026, 11, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)


def at(day: float, hour: float = 0) -> datetime:
    return MONDAY + timedelta(days=day, hours=hour)


def looked(days: int, *, each: int = 1) -> list[datetime]:
    """Every so many hours from the first day on."""
    return [at(0, hour) for hour in range(0, days * 24, each)]


def rows(*hours: Hour) -> Mapping[datetime, Hour]:
    return {hour.at: hour for hour in sorted(hours, key=lambda each: each.at)}


def past(known: Mapping[datetime, Hour], when: datetime, *, each: int = 1, kind: str = "changes") -> Own:
    step = Step(when, "capture" if kind == "capture" else "changes")
    return own_of(known, looked((when - MONDAY).days + 2, each=each), MONDAY, step)


def test_what_happened_today_does_not_raise_todays_limits() -> None:
    """The worst hours of whole days count, 0 on days without any; this day's do not."""
    known = rows(Hour(at(1, 5), gone=30), Hour(at(1, 9), gone=70, gone_24h=90), Hour(at(6, 2), gone=4_000, low=9))
    own = past(known, at(6, 3))
    assert [day.gone for day in own.days] == [0, 70, 0, 0, 0, 0]
    assert (own.days[1].gone_24h, own.low, own.days[1].weekday) == (90, 0, 1)


def test_days_on_which_nobody_looked_are_none() -> None:
    """A host that was off for a week knows no more than before."""
    hours = [hour for hour in looked(20) if not 3 <= (hour - MONDAY).days < 15]
    own = own_of({}, hours, MONDAY, Step(at(19, 3), "changes"))
    assert len(own.days) == 7


def test_only_the_last_five_weeks_and_what_was_there_count() -> None:
    """An old day is forgotten, and of a new table nothing is said of the time before it."""
    assert len(past({}, at(50)).days) == KEPT_DAYS
    assert len(own_of({}, looked(50), at(45), Step(at(49, 3), "changes")).days) == 4


def test_limits_need_five_days_and_know_their_weekday() -> None:
    """A weekly job is usual on its day, and not on others."""
    days = [Day(number % 7, gone=5_000 if number % 7 == 6 else 10) for number in range(28)]
    assert own_limit(days[:4], "gone", 0) is None
    assert own_limit(days, "gone", 0) == 14
    assert own_limit(days, "gone", 6) == 7_000


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=35), st.integers(10_000, 10**9))
def test_a_few_wild_days_do_not_move_what_is_usual(values: list[int], wild: int) -> None:
    """It lies between the median and far above it, and less than half of the days can't carry it away."""
    values.sort()
    few = (len(values) - 1) // 4
    disturbed = [*values[: len(values) - few], *[wild] * few]
    assert values[len(values) // 2] - 1 <= usual(values)
    assert usual(disturbed) <= 9 * max(values)


def test_a_day_with_an_earlier_past_of_the_same_day_is_the_same() -> None:
    """What is known of the days before is not read twice."""
    known = rows(*(Hour(at(day, 5), steps=2, gone=day, low=1) for day in range(9)))
    step = Step(at(8, 9), "changes")
    first = own_of(known, looked(9), MONDAY, Step(at(8, 1), "changes"))
    assert own_of(known, looked(9), MONDAY, step, first) == own_of(known, looked(9), MONDAY, step, NOTHING_KNOWN)


def test_silence_is_held_against_the_same_hours_of_other_weeks() -> None:
    """Three weeks at least; the quietest of them counts, and an hour that is not over does not."""
    busy = [Hour(hour, moved=20 + (hour.day % 5)) for hour in looked(29) if hour < at(28, 9)]
    assert past(rows(*busy), at(28, 10.5)).least == 21
    assert past(rows(*busy), at(28, 9.9)).least is None
    assert past(rows(*busy), at(28, 9.9), kind="capture").least is not None
    two_weeks = [hour for hour in busy if hour.at >= at(15)]
    own = own_of(rows(*two_weeks), looked(30), at(15), Step(at(28, 10.5), "changes"))
    assert own.least == 20  # seven days and more are enough while weeks are few
    own = own_of(rows(*two_weeks), looked(30), at(22), Step(at(28, 10.5), "changes"))
    assert own.least is None


def test_a_quiet_weekend_is_no_silence_where_weekends_are_quiet() -> None:
    """The least of comparable times is 0 where it was 0 once."""
    known = rows(*(Hour(hour, moved=50) for hour in looked(34) if hour.weekday() < 5))
    assert past(known, at(33, 12)).least == 0
    busy = rows(*(Hour(hour, moved=50) for hour in looked(28)))
    assert past(busy, at(33, 12)).least == 50 * 132


def test_hours_in_which_nobody_looked_say_nothing_of_silence() -> None:
    """A week in which the host was off is not comparable."""
    hours = [hour for hour in looked(30) if hour < at(21) or hour > at(27)]
    busy = rows(*(Hour(hour, moved=30) for hour in hours if hour < at(28, 9)))
    assert own_of(busy, hours, MONDAY, Step(at(28, 12.5), "changes")).least == 90


def stepped(number: int, gone: int, new: int) -> Step:
    observed = Observed("orders", 1_000, new, 0, gone, gone_30m=gone, gone_24h=gone) if gone or new else None
    return Step(at(0, number), "capture", observed=(observed,) if observed else (), beat=number)


moves = st.lists(st.tuples(st.sampled_from((0, 0, 3, 40, 150, 400)), st.sampled_from((0, 5, 20))), max_size=80)


@settings(max_examples=40, deadline=None)
@given(moves, st.integers(0, 80))
def test_the_same_steps_give_the_same_findings(steps: list[tuple[int, int]], turn: int) -> None:
    """Played again, and gone on with from a copy."""
    first, second = Watch(Limits()), Watch(Limits())
    found = [first.judge(stepped(number, *each)) for number, each in enumerate(steps)]
    again = []
    for number, each in enumerate(steps):
        second = second.copy() if number == turn else second
        again.append(second.judge(stepped(number, *each)))
    assert found == again


def test_what_was_accepted_passes_for_five_weeks_and_a_notice_is_told_once_a_day() -> None:
    """Then it is asked again."""

    def weight(day: int, gone: int) -> Level | None:
        found = watch.judge(Step(at(day), "capture", observed=(Observed("orders", 1_000, 0, 0, gone, gone_30m=gone),)))
        return found[0].level if found else None

    watch = Watch(Limits())
    watch.accept(Finding(Rule.MASS_DELETE, Level.HOLD, "orders", 300, 1_000, "", ""), at(0))
    assert weight(0, 60) is None
    assert weight(KEPT_DAYS, 300) is None
    assert weight(KEPT_DAYS + 1, 300) is Level.HOLD
    watch = Watch(Limits())
    assert [weight(0, 60), weight(0, 70), weight(0, 91), weight(2, 60)] == [Level.NOTICE, None, *[Level.NOTICE] * 2]


def test_a_stuck_stream_is_told_by_its_heartbeat() -> None:
    """The last beat that came through counts, however often the source is asked."""
    watch = Watch(Limits())
    assert watch.judge(stepped(0, 0, 5)) == ()
    seconds = [watch.judge(Step(at(0, second / 3_600), "idle", beat=0)) for second in (20, 40, 60)]
    assert [[each.rule for each in found] for found in seconds] == [[], [], [Rule.HEARTBEAT]]


def test_the_clock_of_the_source_says_nothing_of_its_heartbeat() -> None:
    """Who looks at a server whose clock is an hour behind counts by his own."""
    watch = Watch(Limits())
    watch.judge(Step(at(0, 8), "changes", beat=1, beat_at=at(0, 9)))
    assert watch.judge(Step(at(0, 9) + timedelta(seconds=30), "idle")) == ()
    late = watch.judge(Step(at(0, 9) + timedelta(seconds=60), "idle"))
    assert [each.rule for each in late] == [Rule.HEARTBEAT]
