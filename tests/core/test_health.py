"""Verdicts have hysteresis: one bad answer alarms nobody, and what fails every other time is not well."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.health import Health, Result, Verdict, judged

START = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
RESULTS = st.lists(st.booleans(), max_size=40)
COUNTS = st.integers(1, 5)


def after(results: list[bool], bad: int = 3, good: int = 2) -> list[Health]:
    """What is believed after each result, one a second."""
    health, beliefs = Health(), []
    for number, is_good in enumerate(results):
        result = Result(START + timedelta(seconds=number), float(number), 0.1, is_good)
        health = judged(health, result, bad=bad, good=good)
        beliefs.append(health)
    return beliefs


def verdicts(text: str) -> str:
    """Verdicts by their first letters, of results written as g and b."""
    return "".join(each.verdict[0] for each in after([each == "g" for each in text]))


def test_three_bad_results_make_it_down_and_two_good_ones_up_again() -> None:
    """With `bad = 3` and `good = 2`, as is usual."""
    assert verdicts("ggbbbbgbgg") == "uussdddddu"


def test_a_single_bad_result_is_a_suspicion_that_good_ones_clear() -> None:
    """A blip of one answer is seen, and is no outage."""
    assert verdicts("gbgggbgg") == "ussuussu"


def test_what_fails_every_other_time_goes_down_and_stays_there() -> None:
    """Flapping is not health, and does not come and go in the journal."""
    assert verdicts("ggbgbgbgbgbgbgb") == "uu" + "ssss" + "d" * 9


def test_the_first_result_is_believed_when_it_is_good_and_doubted_when_it_is_bad() -> None:
    """A watch that starts in an outage says what it sees, after as many bad results as at any other time."""
    assert verdicts("g") == "u"
    assert verdicts("bbb") == "ssd"


def test_when_it_began_is_told() -> None:
    """`since` is when the verdict came, `first_bad` when the trouble began."""
    last = after([True, False, False, False])[-1]
    assert (last.verdict, last.first_bad) == (Verdict.DOWN, START + timedelta(seconds=1))
    assert last.since == START + timedelta(seconds=3)


@given(RESULTS, COUNTS, COUNTS)
def test_down_needs_so_many_bad_ones_and_up_so_many_good_ones(results: list[bool], bad: int, good: int) -> None:
    """Whatever comes: no verdict without the results that it takes."""
    was = Verdict.UNKNOWN
    for number, health in enumerate(after(results, bad, good), 1):
        seen = results[:number]
        if was is not Verdict.DOWN and health.verdict is Verdict.DOWN:
            assert seen.count(False) >= bad
            assert not seen[-1]
        if was in (Verdict.DOWN, Verdict.SUSPECTED) and health.verdict is Verdict.UP:
            assert all(seen[-good:])
            assert len(seen) >= good
        if was is Verdict.DOWN:
            assert health.verdict in (Verdict.DOWN, Verdict.UP)
        was = health.verdict


@given(RESULTS, COUNTS, COUNTS)
def test_enough_good_results_always_end_it_and_enough_bad_ones_always_begin_it(
    results: list[bool], bad: int, good: int
) -> None:
    """There is no state without a way out."""
    assert after([*results, *[True] * good], bad, good)[-1].verdict is Verdict.UP
    assert after([*results, *[False] * bad], bad, good)[-1].verdict is Verdict.DOWN
