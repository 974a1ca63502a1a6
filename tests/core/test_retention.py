"""What a site may let go of: laws that hold for every history, whoever pushes what (C3, C16, F14, F15)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.retention import Era, Hold, Judged, Retention, Vouched, judge, received, tail_due

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
few = settings(max_examples=80, deadline=None)
rules = st.builds(
    Retention,
    keep_days=st.integers(1, 250),
    daily=st.integers(0, 40),
    weekly=st.integers(0, 10),
    monthly=st.integers(0, 14),
)


def ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def eras_of(times: list[datetime | None], sizes: list[int], reach: list[int], drilled: list[bool]) -> list[Era]:
    """Eras of these sizes over commits received at these times; each may need some commits before its first."""
    found: list[Era] = []
    first = 0
    for number, size in enumerate(sizes):
        since = max(first - reach[number], found[-1].since if found else 0)
        found.append(Era(since, first, tuple(times[first : first + size]), drilled[number]))
        first += size
    return found


@st.composite
def histories(draw: st.DrawFn) -> list[Era]:
    """Eras as receipts make them: later commits were received later, the newest perhaps by nobody yet."""
    sizes = draw(st.lists(st.integers(1, 4), min_size=1, max_size=7))
    count = sum(sizes)
    hours = sorted(draw(st.lists(st.integers(0, 24 * 420), min_size=count, max_size=count)), reverse=True)
    unseen = draw(st.integers(0, 3))
    times = [None if place >= count - unseen else ago(each / 24) for place, each in enumerate(hours)]
    reach = draw(st.lists(st.integers(0, 3), min_size=len(sizes), max_size=len(sizes)))
    drilled = draw(st.lists(st.booleans(), min_size=len(sizes), max_size=len(sizes)))
    return eras_of(times, sizes, reach, drilled)


def kept(judged: Judged) -> set[int]:
    return {each.era for each in judged.kept}


def dropped_commits(judged: Judged) -> set[int]:
    return {place for first, last in judged.ranges for place in range(first, last + 1)}


@few
@given(histories(), rules)
def test_exactly_the_commits_go_that_no_kept_era_needs(eras: list[Era], retention: Retention) -> None:
    """Each commit adds one object, a state needs all from `since` to its own: all others go, none of these."""
    judged = judge(eras, retention, NOW)
    assert kept(judged).isdisjoint(judged.dropped)
    assert sorted({*kept(judged), *judged.dropped}) == list(range(len(eras)))
    needed: set[int] = set()
    for number in kept(judged):
        for place in range(eras[number].first, eras[number].last + 1):
            needed |= set(range(eras[number].since, place + 1))
    assert dropped_commits(judged) == set(range(eras[-1].last + 1)) - needed


@few
@given(histories(), st.integers(1, 250))
def test_C16_every_moment_of_the_kept_days_can_be_had(eras: list[Era], days: int) -> None:
    """Whatever slept for fewer days than are kept: what stood before it did is there, by those days alone."""
    eras, retention = [replace(each, is_drilled=True) for each in eras], Retention(keep_days=days, monthly=0)
    judged = judge(eras, retention, NOW)
    places = [(each, at) for era in eras for each, at in enumerate(era.received, era.first)]
    owner = {place: number for number, era in enumerate(eras) for place in range(era.first, era.last + 1)}
    begin = ago(retention.keep_days)
    for moment in {begin, NOW, *(at for _, at in places if at is not None and at > begin)}:
        stood = [place for place, at in places if at is not None and at <= moment]
        assert not stood or owner[stood[-1]] in kept(judged)
    for number in judged.dropped:
        assert all(at is not None and at <= ago(retention.keep_days) for at in eras[number].received)


@few
@given(histories(), rules)
def test_the_newest_era_and_what_nobody_else_received_always_stay(eras: list[Era], retention: Retention) -> None:
    """A commit without a receipt by others than its writer is never old."""
    judged = judge(eras, retention, NOW + timedelta(days=10_000))
    assert len(eras) - 1 in kept(judged)
    assert {number for number, era in enumerate(eras) if None in era.received} <= kept(judged)


@few
@given(histories(), rules, st.data())
def test_C3_junk_that_is_pushed_as_the_newest_evicts_nothing(
    eras: list[Era], retention: Retention, data: st.DataObject
) -> None:
    """Seven empty captures, received or not, and whatever they claim: each era that was kept before them still is."""
    before = kept(judge(eras, retention, NOW))
    newest = eras[-1].received[-1]
    if newest is not None:
        hours = data.draw(st.lists(st.integers(0, int((NOW - newest) / timedelta(hours=1))), min_size=7, max_size=7))
        times = [NOW - timedelta(hours=each) for each in sorted(hours, reverse=True)]
        seen = data.draw(st.integers(0, 7))
    else:
        times, seen = [NOW] * 7, 0
    junk = [
        Era(eras[-1].last + 1 + number, eras[-1].last + 1 + number, (times[number] if number < seen else None,))
        for number in range(7)
    ]
    assert before <= kept(judge([*eras, *junk], retention, NOW))


@few
@given(histories(), rules)
def test_C3_even_junk_that_was_drilled_pushes_no_bucket_out(eras: list[Era], retention: Retention) -> None:
    """An unattended drill proves junk too: the first era of each bucket stays all the same."""
    junk = [Era(eras[-1].last + 1 + number, eras[-1].last + 1 + number, (NOW,), is_drilled=True) for number in range(7)]
    eras = [replace(each, received=tuple(at or NOW for at in each.received)) for each in eras]
    first_of: dict[str, int] = {}
    for number, era in enumerate(eras):
        for at in era.received:
            if at is not None:
                first_of.setdefault(f"{at:%Y-%m}", number)
    judged = judge([*eras, *junk], retention, NOW)
    months = [f"{NOW:%Y-%m}"]
    month = NOW.replace(day=1)
    for _ in range(retention.monthly - 1):
        month = (month - timedelta(days=1)).replace(day=1)
        months.append(f"{month:%Y-%m}")
    for each in months[: retention.monthly]:
        assert each not in first_of or first_of[each] in kept(judged)


@few
@given(histories(), rules, st.data())
def test_a_hold_stops_and_so_does_a_drill_that_is_missing(
    eras: list[Era], retention: Retention, data: st.DataObject
) -> None:
    """A hold on everything lets nothing go, one on a commit keeps its era; a later drill comes first."""
    everything = range(len(eras))
    assert not judge(eras, retention, NOW, holds=[Hold("audit")], released=everything).ranges
    place = data.draw(st.integers(0, eras[-1].last))
    held = judge(eras, retention, NOW, holds=[Hold("audit", place)], released=everything)
    assert place not in dropped_commits(held)
    assert any(eras[number].first <= place <= eras[number].last for number in kept(held))
    for number in judge(eras, retention, NOW).dropped:
        assert any(era.is_drilled for era in eras[number + 1 :])
    undrilled = [replace(era, is_drilled=False) for era in eras]
    assert judge(undrilled, retention, NOW + timedelta(days=9_999)).dropped == ()


@few
@given(histories(), rules, rules, st.integers(0, 500))
def test_keeping_longer_keeps_more_and_time_lets_go(
    eras: list[Era], retention: Retention, more: Retention, days: int
) -> None:
    """Monotone in each number of the rules, and in time; no kept era goes before the end it names."""
    longer = Retention(
        keep_days=max(retention.keep_days, more.keep_days),
        daily=max(retention.daily, more.daily),
        weekly=max(retention.weekly, more.weekly),
        monthly=max(retention.monthly, more.monthly),
    )
    now = judge(eras, retention, NOW)
    assert kept(now) <= kept(judge(eras, longer, NOW))
    later = NOW + timedelta(days=days)
    assert kept(judge(eras, retention, later)) <= kept(now)
    for each in now.kept:
        if each.until is not None:
            just_before = judge(eras, retention, each.until - timedelta(microseconds=1))
            assert each.era in kept(just_before)


@few
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.integers(0, 300)), max_size=14),
    st.integers(0, 9),
)
def test_F14_one_clock_that_is_wrong_makes_nothing_older(told: list[tuple[str, int, int]], place: int) -> None:
    """A clock 400 days behind vouches for everything: as long as two others know better, what they say counts."""
    seen = [Vouched(clock, commit, ago(days)) for clock, commit, days in told]
    honest = received(seen, 10)
    for commit in range(10):
        covers = [each.at for each in seen if each.commit >= commit]
        assert honest[commit] == min(covers, default=None)
    lying = [*seen, Vouched("liar", place, ago(400))]
    agreed = received(lying, 10, clocks=2)
    for commit in range(10):
        others = {each.clock for each in seen if each.commit >= commit}
        if others:
            assert commit > place or (agreed[commit] or ago(999)) >= (honest[commit] or NOW)
    for before, after in zip(honest, received(lying, 10), strict=True):
        # More receipts never take back what fewer had shown.
        assert before is None or (after is not None and after <= before)


def test_a_request_lets_go_before_time_but_neither_the_newest_nor_what_is_held() -> None:
    """What many have agreed on goes although it is young; a hold and the newest era stand against it."""
    eras = eras_of([ago(9), ago(6), ago(3)], [1, 1, 1], [0, 0, 0], [False] * 3)
    assert judge(eras, Retention(), NOW).dropped == ()
    assert judge(eras, Retention(), NOW, released={0, 1, 2}).dropped == (0, 1)
    assert judge(eras, Retention(), NOW, released={0, 1, 2}, holds=[Hold("audit", 0)]).dropped == (1,)


def test_buckets_keep_their_first_and_their_last_as_many_as_are_asked_for() -> None:
    """Thinning: of an older month the first and the last era stay; a month beyond the count has none."""
    times: list[datetime | None] = [
        datetime(2026, month, day, 12, tzinfo=UTC) for month in (8, 9, 10) for day in (3, 10, 17, 24)
    ]
    eras = eras_of([*times, NOW], [1] * 13, [0] * 13, [False] * 12 + [True])
    judged = judge(eras, Retention(keep_days=1, monthly=3), NOW)
    # October's last is what stood a day ago, too.
    assert [each.era for each in judged.kept] == [4, 7, 8, 11, 12]
    assert judged.kept[0].reason == "the first of 2026-09"
    assert judged.kept[0].until == datetime(2026, 12, 1, tzinfo=UTC)
    assert judged.ranges == ((0, 3), (5, 6), (9, 10))
    weekly = judge(eras, Retention(keep_days=1, monthly=0, weekly=6), NOW)
    assert weekly.kept[0].reason == "the first of the week of 2026-10-12"


def test_a_tail_goes_so_many_days_after_others_received_what_closed_it() -> None:
    """Without such a receipt it stays."""
    assert tail_due(ago(8), Retention(tail_days=7), is_drilled=True) == ago(1)
    assert tail_due(ago(8), Retention(keep_days=60, tail_days=7), is_drilled=False) == ago(-52)
    assert tail_due(None, Retention(tail_days=0), is_drilled=True) is None
