"""Laws of the breaker, over any order of reports, canaries, orders by hand and restarts."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.breaker import Breaker, Forced, Mode, Tried
from holdfast.core.evidence import Evidence, Usual, wilson
from holdfast.core.outage import BreakerLimits
from holdfast.core.tally import Durations, Failed, Report
from holdfast.errors import Usage

LIMITS = BreakerLimits(canaries_good=2, canaries_bad=2, ramp_seconds=3.0)


@dataclass(frozen=True)
class Step:
    """Something that happens so many seconds after what came before."""

    after: float
    what: str


steps = st.lists(
    st.builds(
        Step,
        st.sampled_from([0.0, 0.1, 0.6, 2.5, 7.0]),
        st.sampled_from(
            ["good", "bad", "errors", "stall", *["right"] * 3, "wrong", "late", "open", "close", "auto", "restart"]
        ),
    ),
    max_size=60,
)


class Told:
    """A breaker that is told of steps, one after another, and what its canaries found since it last moved."""

    def __init__(self, limits: BreakerLimits = LIMITS) -> None:
        self.now = 1000.0
        self.limits = limits
        self.breaker = Breaker(limits, Usual(10.0, {}), now=self.now)
        self.right = 0  # canaries in a row since it last moved
        self.reports = 0

    def take(self, step: Step) -> None:
        self.now += step.after
        epoch = self.breaker.standing.epoch
        if step.what in ("good", "bad", "errors", "stall"):
            self.reports += 1
            told = {
                "good": Report("0", epoch, self.now, good=9, good_at=self.now),
                "bad": Report("0", epoch, self.now, failed=(Failed(self.now, times=9),)),
                "errors": Report("0", epoch, self.now, failed=(Failed(self.now, is_error=True, times=9),)),
                "stall": Report("0", epoch, self.now, in_flight=3, waiting={"": (self.now - 11.0,) * 3}),
            }[step.what]
            self.breaker.told(Report.decoded(told.encoded()))
        elif step.what in ("right", "wrong", "late"):
            wrong = "" if step.what == "right" else "refused"
            self.breaker.canary(Tried(self.now, self.now, wrong, is_late=step.what == "late"))
            self.right = self.right + 1 if step.what == "right" else 0
        elif step.what == "auto":
            self.breaker.release(self.now, "ann", "it is well")
        elif step.what == "restart":
            kept = json.loads(json.dumps(self.breaker.kept(5.0)))
            self.now += 1.0
            self.breaker = Breaker(self.limits, Usual(10.0, {}), now=self.now)
            self.breaker.restore(kept, self.now, 5.0)
            self.right = 0
        else:
            mode = Mode.OPEN if step.what == "open" else Mode.CLOSED
            self.breaker.force(Forced(mode, self.now + 5.0, "ann"), self.now)

    def tick(self) -> None:
        if self.breaker.tick(self.now) is not None:
            self.right = 0


@given(steps)
@settings(max_examples=150)
def test_only_right_canaries_let_users_back(taken: list[Step]) -> None:
    """Whatever users' requests meet, no more of them go to the platform than before until canaries were right in a row
    since it last moved, and the least open time is over.
    """
    told = Told()
    for step in taken:
        told.take(step)
        before, since, right = told.breaker.standing, told.breaker.since, told.right
        was_forced = told.breaker.forced is not None or step.what in ("auto", "close")
        told.tick()
        after = told.breaker.standing
        if after.share > before.share and not was_forced:
            assert right >= LIMITS.canaries_good
            if before.mode is Mode.OPEN:
                assert told.now - since >= LIMITS.open_seconds


@given(steps)
def test_whatever_happened_it_is_closed_two_minutes_after_the_platform_is_well(taken: list[Step]) -> None:
    """However often it opened before: no outage goes on because of the breaker."""
    told = Told(BreakerLimits())
    for step in taken:
        if step.what not in ("open", "close"):
            told.take(step)
            told.tick()
    well = told.now
    while told.breaker.mode is not Mode.CLOSED:
        told.take(Step(0.5, "right"))
        told.take(Step(0.0, "good"))
        told.tick()
    assert told.now - well <= 120.0


@given(steps)
def test_while_all_is_well_nothing_moves(taken: list[Step]) -> None:
    """A platform that answers is never stood in for."""
    told = Told()
    for step in taken:
        if step.what in ("good", "right", "restart"):
            told.take(step)
            told.tick()
            assert told.breaker.mode is Mode.CLOSED


@given(steps)
def test_errors_are_no_outage_while_canaries_are_right(taken: list[Step]) -> None:
    """Whatever pages of a platform are broken, and however often somebody asks for them: if a canary that was asked
    when they began is right, nobody else is stood in for.
    """
    told = Told()
    for step in taken:
        if step.what in ("good", "errors", "right", "late"):
            told.take(step)
            told.tick() if step.what != "late" else None
            told.take(Step(0.5, "right"))
            told.tick()
            assert told.breaker.mode is Mode.CLOSED


@given(steps, st.booleans())
def test_errors_of_everything_are_an_outage_within_two_seconds(taken: list[Step], is_canary_heard: bool) -> None:
    """Once everything is answered with an error, the canary too or not at all, nobody waits longer for the copy."""
    told = Told()
    for step in taken:
        if step.what not in ("open", "close"):
            told.take(step)
            told.tick()
    began = told.now
    while told.breaker.mode is not Mode.OPEN:
        told.take(Step(0.1, "errors"))
        told.tick()
        if is_canary_heard:
            told.take(Step(0.0, "wrong"))
            told.tick()
        assert told.now - began <= (0.2 if is_canary_heard else 1.8)


def test_who_opens_again_soon_after_it_closed_stays_open_for_longer() -> None:
    """Closing is not yet being back: a platform that fails again within a minute is left alone for longer each time,
    and one that fails a day later is not.
    """
    breaker = Breaker(BreakerLimits(ramp=()), Usual(10.0, {}), now=1000.0)
    now, took = 1000.0, []
    for pause in (0.0, 5.0, 5.0, 86400.0):
        now += pause
        epoch = breaker.standing.epoch
        breaker.told(Report("0", epoch, now, failed=(Failed(now, times=9),)))
        moved = breaker.tick(now)
        assert moved is not None
        assert moved.now is Mode.OPEN
        opened = now
        while breaker.mode is Mode.OPEN:
            now += 0.5
            breaker.canary(Tried(now, now))
            breaker.tick(now)
        took.append(now - opened)
    assert took == [2.0, 4.0, 8.0, 2.0]


@pytest.mark.parametrize(
    ("good", "bad", "is_answered_since", "is_late", "opens"),
    [
        (60, 0, True, True, False),
        (60, 1, True, True, False),  # one of many
        (60, 9, True, True, True),
        (9, 0, True, True, True),  # too few to know
        (60, 0, False, True, True),  # the answers came before
        (60, 0, True, False, True),  # it was answered, and wrongly
    ],
)
def test_a_slow_canary_is_only_a_doubt_while_requests_are_answered(
    good: int, bad: int, is_answered_since: bool, is_late: bool, opens: bool
) -> None:
    """A health page that takes its time is no outage; one that says that something is missing is, and so is one that
    does not answer while nobody else is answered either.
    """
    breaker = Breaker(LIMITS, Usual(10.0, {}), now=0.0)
    for now in (101.0, 102.5):
        at = now - 0.1 if is_answered_since else 99.0
        breaker.told(Report("0", 0, now - 0.05, good=good // 2, failed=_bad(now - 0.05, bad and 1), good_at=at))
        breaker.told(Report("0", 0, now, failed=_bad(now, max(bad // 2 - 1, 0)), good_at=at))
        breaker.canary(Tried(now - 1.0, now, "its answer was not whole within 1 s", is_late))
        assert breaker.is_in_doubt
    assert (breaker.tick(102.5) is not None) is opens


@given(steps)
def test_what_was_ordered_holds_until_its_time_and_no_longer(taken: list[Step]) -> None:
    """Nothing that is found moves it before, and nobody has to remember to take it back."""
    told = Told()
    for step in taken:
        told.take(step)
        forced = told.breaker.forced
        told.tick()
        if forced is not None and told.now < forced.until:
            assert told.breaker.mode is forced.mode
        if forced is not None and told.now >= forced.until:
            assert told.breaker.forced is None


@given(steps)
def test_a_restart_changes_neither_what_is_known_nor_what_was_ordered(taken: list[Step]) -> None:
    """A gateway that is started again in an outage goes on standing in; epochs never come again."""
    told = Told()
    for step in taken:
        told.take(step)
        told.tick()
        before, forced = told.breaker.standing, told.breaker.forced
        told.take(Step(0.0, "restart"))
        after = told.breaker.standing
        assert (after.mode is Mode.CLOSED) == (before.mode is Mode.CLOSED)
        assert after.epoch > before.epoch
        assert (told.breaker.forced is None) == (forced is None)
        if forced is not None and told.breaker.forced is not None:
            assert told.breaker.forced.until == pytest.approx(forced.until)


@given(st.lists(st.sampled_from(["good", "bad", "stall"]), max_size=30))
def test_what_was_seen_before_it_moved_counts_no_more(reports: list[str]) -> None:
    """Late failures of requests from before it opened do not open it again within the ramp."""
    breaker = Breaker(LIMITS, Usual(10.0, {}), now=0.0)
    breaker.force(Forced(Mode.OPEN, 1.0, "ann"), 0.0)
    breaker.tick(0.0)
    old = breaker.standing.epoch
    breaker.tick(1.0)
    for now in (4.0, 4.1):
        breaker.canary(Tried(now, now))
    breaker.tick(4.1)
    assert breaker.mode is Mode.RAMP
    for what in reports:
        failed = _bad(5.0, 9 if what == "bad" else 0)
        waiting = {"": (0.0,) * 5} if what == "stall" else {}
        breaker.told(Report("0", old, 5.0, failed=failed, waiting=waiting))
        assert breaker.tick(5.0) is None


def test_a_canary_from_before_it_opened_does_not_close_it() -> None:
    """An answer that was on its way when the platform died is no sign of life."""
    breaker = Breaker(LIMITS, Usual(10.0, {}), now=0.0)
    breaker.force(Forced(Mode.OPEN, 1.0, "ann"), 0.5)
    breaker.tick(0.5)
    breaker.tick(1.0)
    for _ in range(5):
        breaker.canary(Tried(0.9, 1.5))
    assert breaker.tick(30.0) is None


ENDLESS = {"mode": "open", "until": float("nan"), "by": "ann", "reason": ""}
WHOLE = Breaker(LIMITS, Usual(10.0, {}), now=0.0).kept(0.0) | {"mode": "open"}


@pytest.mark.parametrize(
    "kept",
    [{}, {"mode": "ajar"}, {"mode": "open", "epoch": "x"}, {"mode": "open", "epoch": 3}, WHOLE | {"forced": ENDLESS}],
)
def test_a_state_that_is_none_leaves_a_breaker_that_finds_out(kept: dict[str, object]) -> None:
    """A damaged memory costs a few canaries, not the gateway."""
    breaker = Breaker(LIMITS, Usual(10.0, {}), now=0.0)
    breaker.restore(kept, 0.0, 0.0)
    assert breaker.mode is Mode.CLOSED
    assert breaker.is_in_doubt


@pytest.mark.parametrize("ramp", [("x",), ("0",), ("100",), ("50", "10"), ("10", "10"), ("",), ("²",)])
def test_a_ramp_that_is_none_is_refused_before_anything_starts(ramp: tuple[str, ...]) -> None:
    """A mistake in the configuration is found at its start, not at the end of an outage."""
    with pytest.raises(Usage, match=r"gateway\.breaker\.ramp"):
        Breaker(BreakerLimits(ramp=ramp), Usual(10.0, {}), now=0.0)


def test_without_a_ramp_it_closes_at_once() -> None:
    """Who wants no ramp says `ramp = []`."""
    breaker = Breaker(BreakerLimits(ramp=()), Usual(10.0, {}), now=0.0)
    breaker.force(Forced(Mode.OPEN, 1.0, "ann"), 0.0)
    breaker.tick(0.0)
    breaker.tick(1.0)
    for now in (2.0, 2.5, 3.0):
        breaker.canary(Tried(now, now))
    moved = breaker.tick(3.0)
    assert moved is not None
    assert moved.now is Mode.CLOSED


@given(st.integers(0, 400), st.integers(0, 400))
def test_wilson_s_bound_proves_less_than_what_was_seen_and_more_the_more_was_seen(bad: int, good: int) -> None:
    """Few failures prove little: that is why no least number of requests is needed."""
    total = bad + good
    bound = wilson(bad, total)
    assert 0.0 <= bound <= (bad / total if total else 0.0)
    assert wilson(10 * bad, 10 * total) >= bound - 1e-12


def test_wilson_s_bound_is_the_published_one() -> None:
    """Ten failures of a hundred: the one-sided 95 % bound is 6.1 % (Wilson, 1927)."""
    assert wilson(10, 100) == pytest.approx(0.0610, abs=0.0005)


def test_the_window_forgets_what_is_older() -> None:
    """Failures of a quarter of an hour ago are no reason to open now."""
    evidence = Evidence(BreakerLimits(consecutive=0), Usual(10.0, {}), 0)
    evidence.told(Report("0", 0, 100.0, good=10, failed=(Failed(100.0, times=90),)))
    assert "90 of 100 requests failed within 10 s" in evidence.verdict(100.0)
    assert evidence.verdict(111.0) == ""


def test_patience_is_at_most_the_deadline_and_that_where_nothing_is_known() -> None:
    """A new endpoint is given all the time it was declared to need."""
    usual = Usual(10.0, {"exports": 60.0})
    assert (usual.patience("new", LIMITS), usual.patience("exports", LIMITS)) == (10.0, 60.0)
    usual.add("exports", {0: 100})
    assert usual.patience("exports", LIMITS) == LIMITS.stall_seconds


@pytest.mark.parametrize("is_right", [False, True])
def test_what_others_are_answered_hides_no_stall_unless_a_canary_is_right(is_right: bool) -> None:
    """People sign in while every order hangs: that is an outage if the canary hangs too. If it is right, orders are
    slow, and no more than that.
    """
    usual = Usual(10.0, {})
    usual.add("orders", {Durations.place(0.02): 100})
    evidence = Evidence(LIMITS, usual, 0)
    for step in range(1, 20):
        now = 100.0 + step / 10
        sign_in = {"sign-in": {Durations.place(0.01): 1}}
        waiting = {"orders": (100.0,) * 4}
        evidence.told(Report("1", 0, now, in_flight=4, good=1, good_at=now, durations=sign_in, waiting=waiting))
        if is_right and step % 5 == 0:
            evidence.canary(now, now)
    assert bool(evidence.verdict(now)) is not is_right


def _bad(at: float, count: int) -> tuple[Failed, ...]:
    return (Failed(at, times=count),) if count else ()
