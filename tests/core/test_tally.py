"""What a worker counts reaches the keeper whole, once, and only about the platform as it is since the breaker moved."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.outage import BreakerLimits
from holdfast.core.tally import Durations, Report, Tally

LIMITS = BreakerLimits()


def test_a_report_survives_the_way_to_the_keeper() -> None:
    """What the keeper reads is what the worker counted."""
    tally = Tally("1", LIMITS)
    tally.began("orders", 1.0)
    tally.ended(tally.began("orders", 2.0), 2.5, is_good=True)
    tally.ended(tally.began("", 3.0), 4.0, is_good=False)
    tally.ended(tally.began("", 4.1), 4.5, is_good=False, status=500)
    tally.ended(tally.began("", 4.1), 4.6, is_good=False, status=503)
    tally.stood_in("orders", 1_700_000_000.0)
    tally.refused("")
    report = tally.report(5.0)
    assert Report.decoded(report.encoded()) == report
    assert (report.good, report.bad, report.good_at) == (1, 2, 2.5)
    assert [each[::3] for each in report.failed] == [(4.0, False), (4.5, True), (4.6, False)]
    assert (report.errors, report.in_flight) == (1, 1)
    assert report.waiting == {"orders": (1.0,)}


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"[]", b"{}", b"\xff", b"[" * 9000),
        *(b'{"worker":"1","at":"x"}', b'{"worker":"1","at":1,"good":Infinity}', b'{"worker":"1","at":1,"waiting":[]}'),
    ],
)
def test_what_is_no_report_is_named_as_such(data: bytes) -> None:
    """Whoever writes to the keeper's socket can't make it fail."""
    with pytest.raises(ValueError, match="no report of a worker"):
        Report.decoded(data)


def test_a_report_that_was_not_told_is_told_with_the_next() -> None:
    """A keeper that was busy misses no count, and counts none twice."""
    tally = Tally("1", LIMITS)
    tally.ended(tally.began("", 1.0), 1.1, is_good=True)
    tally.report(1.2)
    tally.ended(tally.began("", 1.3), 1.4, is_good=True)
    assert tally.report(1.5).good == 2
    tally.told()
    assert (tally.report(1.6).good, tally.report(1.6).durations) == (0, {})


def test_calls_from_before_the_breaker_moved_say_nothing_however_they_end() -> None:
    """Requests that hung while the platform was away must not open the breaker again when their deadline comes."""
    tally = Tally("1", LIMITS)
    calls = [tally.began("", 1.0) for _ in range(5)]
    tally.turn(1)
    for call in calls:
        tally.ended(call, 11.0, is_good=False)
    report = tally.report(11.0)
    assert (report.epoch, report.failed, report.in_flight, report.waiting) == (1, (), 0, {})


def test_a_failure_is_told_at_once_and_all_else_now_and_then() -> None:
    """The breaker opens as soon as there is reason to, and a busy worker does not spend its time on reports."""
    tally = Tally("1", LIMITS)
    tally.report(0.0)
    tally.told()
    tally.ended(tally.began("", 0.01), 0.02, is_good=True)
    assert not tally.is_due(0.05, every=0.1)
    assert tally.is_due(0.1, every=0.1)
    tally.arrived(0.06)
    assert tally.is_due(0.06, every=0.1)


def test_a_worker_that_was_held_up_itself_does_not_blame_the_platform() -> None:
    """After a pause of this host answers lie unread: what waits counts from then on."""
    tally = Tally("1", LIMITS)
    for now in (1.0, 1.1, 1.2):
        tally.is_due(now, every=0.1)
    tally.began("", 1.15)
    assert tally.report(1.2).waiting == {"": (1.15,)}
    tally.is_due(4.0, every=0.1)
    assert tally.report(4.0).waiting == {"": (4.0,)}
    tally.is_due(4.1, every=0.1)
    assert tally.report(4.1).waiting == {"": (4.0,)}


def test_a_client_who_went_away_is_no_failure_of_the_platform() -> None:
    """A visitor who closes his browser does not put the business into stand-in."""
    tally = Tally("1", LIMITS)
    tally.let_go(tally.began("", 1.0))
    assert (tally.report(2.0).bad, tally.report(2.0).in_flight) == (0, 0)


@given(st.lists(st.floats(min_value=0.001, max_value=3600.0), min_size=1, max_size=300))
def test_p99_is_never_too_low_and_at_most_a_fifth_too_high(seconds: list[float]) -> None:
    """The stall rule waits as long as answers really take, and hardly longer."""
    durations = Durations()
    for each in seconds:
        durations.add({Durations.place(each): 1})
    exact = sorted(seconds)[-(-len(seconds) * 99 // 100) - 1]
    found = durations.p99()
    assert found is not None
    assert exact <= found * 1.000001
    assert found <= max(exact, 0.001) * 1.2000001


def test_newer_durations_outweigh_older_ones() -> None:
    """A platform that became faster is judged by what it is now."""
    durations = Durations()
    durations.add({Durations.place(30.0): 100})
    for _ in range(200):
        durations.add({Durations.place(0.01): 1000})
    assert (durations.p99() or 0.0) < 0.02
