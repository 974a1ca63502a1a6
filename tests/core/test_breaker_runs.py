"""The breaker in simulated outages: what a text-book window misses (notes on outages, 3.3), the three rules find."""

from __future__ import annotations

from itertools import pairwise

import pytest

from holdfast.core.breaker import Mode
from holdfast.core.outage import BreakerLimits, Canary
from tests.core.closed_loop import Call, ClosedLoop, Platform, fine

FAULT, RECOVERY = 12.0, 32.0
OURS = BreakerLimits()
# 50 % of 10 s, and nothing else: what the breakers of other libraries do.
WINDOW = BreakerLimits(consecutive=0, in_flight=0, canaries_bad=0)


def killed(call: Call) -> tuple[float, bool]:
    return (0.0005, False) if FAULT <= call.at < RECOVERY else fine(call)


def hanging(call: Call) -> tuple[float, bool]:
    # Who asks while it hangs is answered when it is well again: never, for those who have a deadline.
    return (RECOVERY - call.at + 0.1, True) if FAULT <= call.at < RECOVERY else fine(call)


def run(platform: Platform, limits: BreakerLimits, deadline: float = 10.0, clients: int = 16) -> ClosedLoop:
    loop = ClosedLoop(platform, limits, Canary("/health"), deadline)
    loop.clients("orders", clients)
    loop.run(55.0)
    return loop


@pytest.mark.parametrize(
    ("platform", "deadline", "within"),
    [(killed, 10.0, 0.1), (hanging, 10.0, 1.3), (hanging, 1.0, 1.3), (hanging, 0.3, 0.7)],
)
def test_under_traffic_the_copy_answers_within_two_seconds(platform: Platform, deadline: float, within: float) -> None:
    """The promise is 2 s, whatever the deadline; and nobody waits longer than that for any answer."""
    loop = run(platform, OURS, deadline)
    first = loop.seen.first_copy(FAULT)
    assert first is not None
    assert first <= within
    assert max(loop.seen.waited) <= 2.0
    assert loop.seen.moved(Mode.OPEN, FAULT) is not None


@pytest.mark.parametrize("platform", [killed, hanging])
def test_the_business_is_back_on_the_platform_soon_after_it_answers(platform: Platform) -> None:
    """Right canaries open the ramp within seconds of recovery, and the ramp ends."""
    loop = run(platform, OURS)
    back = loop.seen.moved(Mode.RAMP, RECOVERY)
    closed = loop.seen.moved(Mode.CLOSED, RECOVERY)
    assert back is not None
    assert closed is not None
    assert back <= 4.0
    assert closed <= 15.0
    assert loop.breaker.mode is Mode.CLOSED


@pytest.mark.parametrize("platform", [killed, hanging])
def test_no_user_request_tries_whether_the_platform_is_back(platform: Platform) -> None:
    """From opening to recovery only canaries go there."""
    seen = run(platform, OURS).seen
    opened = next(at for at, moved in seen.moves if moved.now is Mode.OPEN)
    assert [at for at in seen.asked if opened < at < RECOVERY] == []


def test_a_window_alone_waits_out_the_whole_deadline_under_a_hang() -> None:
    """Why there is a stall rule: with 10 s of patience the window learns of a hang after 10 s."""
    first = run(hanging, WINDOW).seen.first_copy(FAULT)
    assert first is not None
    assert first >= 10.0


def test_a_window_alone_does_not_open_under_a_hang_that_fails_slowly() -> None:
    """Successes from before the fault outweigh the few failures: for 8 s and more it does not open at all."""
    opened = run(hanging, WINDOW, deadline=1.0).seen.moved(Mode.OPEN, FAULT)
    assert opened is None or opened > 8.0


def test_a_burst_after_a_quiet_time_does_not_open_it() -> None:
    """The silence before a burst is nobody's fault: it counts from when those who wait began to."""

    def slowly(call: Call) -> tuple[float, bool]:
        return (0.9 if call.at > 600.0 else 0.005), True

    loop = ClosedLoop(slowly, OURS, Canary("/health"))
    loop.clients("orders", 16, until=10.0)
    loop.clients("orders", 40, begins=650.0)
    assert loop.run(660.0).moves == []


def test_slow_exports_do_not_open_it() -> None:
    """An endpoint that always takes half a minute is not stalled after a second, even if nobody asks for else."""
    loop = ClosedLoop(fine, OURS, Canary("/health"), deadline=120.0)
    loop.clients("exports", 5)
    loop.clients("orders", 5, until=30.0)
    loop.clients("exports", 20, begins=200.0)
    assert loop.run(400.0).moves == []


def test_slow_exports_do_not_hide_a_hang_of_all_else() -> None:
    """Patience is each endpoint's own: those who wait for half a minute anyway prove nothing."""
    loop = ClosedLoop(hanging, OURS, Canary("/health"), deadline=10.0)
    loop.clients("orders", 5)
    loop.clients("exports", 3)
    seen = loop.run(40.0)
    assert (seen.first_copy(FAULT) or 99.0) <= 2.0


@pytest.mark.parametrize("canary_takes", [0.005, 0.3, 0.6])
def test_one_table_that_is_locked_for_a_moment_is_no_outage(canary_takes: float) -> None:
    """Orders wait six times as long as ever, all else is answered, and a canary is right if it is let finish."""

    def locked(call: Call) -> tuple[float, bool]:
        if call.endpoint == "orders" and FAULT <= call.at < FAULT + 1.8:
            return FAULT + 1.8 - call.at, True
        return (canary_takes if call.endpoint == "" else 0.01), True

    loop = ClosedLoop(locked, OURS, Canary("/health"))
    loop.clients("orders", 8)
    loop.clients("products", 8)
    assert loop.run(20.0).moves == []


@pytest.mark.parametrize(("clients", "platform"), [(0, killed), (0, hanging), (2, hanging), (1, killed)])
def test_with_few_or_no_requests_canaries_find_out_within_twenty_seconds(clients: int, platform: Platform) -> None:
    """Fewer than three who wait are no stall: that is what canaries are for."""
    loop = run(platform, OURS, clients=clients)
    opened = loop.seen.moved(Mode.OPEN, FAULT)
    assert opened is not None
    assert opened <= 20.0


def test_a_platform_that_is_dead_from_the_start_is_found_out() -> None:
    """A gateway that starts in the middle of an outage knows nothing usual, and stands in within seconds."""
    loop = ClosedLoop(lambda _: (1e9, True), OURS, Canary("/health"))
    loop.clients("orders", 16)
    assert (loop.run(30.0).first_copy(0.0) or 99.0) <= 5.0


def test_one_broken_page_does_not_put_the_business_into_stand_in() -> None:
    """Somebody who reloads a page that always fails is no outage while canaries are right."""

    def one_broken(call: Call) -> tuple[float, bool]:
        return (0.02, False) if call.endpoint == "broken" else (0.02, True)

    loop = ClosedLoop(one_broken, OURS, Canary("/health"))
    loop.resting = 1.0
    loop.clients("broken", 1, begins=100.0)
    loop.clients("orders", 1, until=50.0)
    assert loop.run(400.0).moves == []


@pytest.mark.parametrize("others", [0, 1, 10])
def test_one_broken_page_is_no_outage_however_often_it_is_asked_for(others: int) -> None:
    """A widget that polls a broken page, or who means ill, takes nothing from anybody else: the canary is right."""

    def one_broken(call: Call) -> tuple[float, bool]:
        return (0.005, call.endpoint != "broken")

    loop = ClosedLoop(one_broken, OURS, Canary("/health"))
    loop.status = lambda _: 500
    loop.clients("broken", 8, begins=3.0)
    loop.clients("orders", others)
    assert loop.run(60.0).moves == []


@pytest.mark.parametrize(("takes", "others"), [(0.005, 1), (14.0, 3)])
def test_one_page_that_the_platform_fails_is_no_outage_whatever_it_answers(takes: float, others: int) -> None:
    """It says 503, or takes longer than anybody waits, and many ask for it: others are answered, the canary is right,
    and now and then something else fails.
    """

    def one_bad(call: Call) -> tuple[float, bool]:
        if call.endpoint == "bad":
            return takes, False
        return 0.005, call.endpoint == "" or int(call.at * 1000) % 997 != 0

    loop = ClosedLoop(one_bad, OURS, Canary("/health"))
    loop.status = lambda _: 503 if takes < 1 else 0
    loop.clients("orders", others)
    loop.clients("bad", 6, begins=3.0)
    assert loop.run(30.0).moves == []


def test_one_client_whom_the_platform_turns_away_is_no_outage() -> None:
    """Who asks too often gets 503 for himself, wherever he asks; nobody else is stood in for."""

    def limited(call: Call) -> tuple[float, bool]:
        return 0.005, call.endpoint not in ("carts", "stock")

    loop = ClosedLoop(limited, OURS, Canary("/health"))
    loop.status, loop.who = lambda _: 503, {"carts": "one", "stock": "one"}
    loop.clients("orders", 1)
    loop.clients("carts", 2, begins=3.0)
    loop.clients("stock", 2, begins=3.0)
    assert loop.run(20.0).moves == []


@pytest.mark.parametrize("is_canary_right", [False, True])
def test_a_platform_that_turns_everybody_away_is_stood_in_for_at_once(is_canary_right: bool) -> None:
    """Two clients at two places are enough, and then nobody asks what the canary says."""

    def away(call: Call) -> tuple[float, bool]:
        return 0.005, call.at < FAULT or (call.endpoint == "" and is_canary_right)

    loop = ClosedLoop(away, OURS, Canary("/health"))
    loop.status = lambda _: 503
    loop.clients("orders", 8)
    loop.clients("carts", 8)
    opened = loop.run(20.0).moved(Mode.OPEN, FAULT)
    assert opened is not None
    assert opened <= 0.3


def test_one_client_alone_sees_an_outage_within_two_seconds() -> None:
    """What fails for him alone is asked of the canary; if it is not answered, it is no matter of his."""

    def hanging_for_all(call: Call) -> tuple[float, bool]:
        if call.at < FAULT:
            return fine(call)
        return (30.0, True) if call.endpoint == "" else (0.005, False)

    loop = ClosedLoop(hanging_for_all, OURS, Canary("/health"))
    loop.status = lambda _: 503
    loop.clients("orders", 4, until=FAULT)
    loop.clients("carts", 1)
    opened = loop.run(20.0).moved(Mode.OPEN, FAULT)
    assert opened is not None
    assert opened <= 2.0


@pytest.mark.parametrize("canary_takes", [0.0005, 30.0])
@pytest.mark.parametrize("every", [0.5, 30.0])
def test_a_platform_that_answers_everything_with_an_error_is_stood_in_for_within_two_seconds(
    canary_takes: float, every: float
) -> None:
    """The canary is asked at once, and is wrong too; one that is not answered at all is not waited for."""

    def broken(call: Call) -> tuple[float, bool]:
        if call.at < FAULT:
            return fine(call)
        return (canary_takes if call.endpoint == "" else 0.0005), False

    loop = ClosedLoop(broken, OURS, Canary("/health", every_seconds=every, idle_seconds=max(every, 5.0)))
    loop.status = lambda _: 500
    loop.clients("orders", 16)
    opened = loop.run(20.0).moved(Mode.OPEN, FAULT)
    assert opened is not None
    assert opened <= (0.7 if canary_takes < 1 else 1.6)


def test_a_slow_health_page_is_no_outage() -> None:
    """It begins to take longer than a canary waits, and users are answered at once: two or three a second."""

    def slow(call: Call) -> tuple[float, bool]:
        return (1.3 if call.endpoint == "" and call.at > FAULT else 0.005), True

    loop = ClosedLoop(slow, OURS, Canary("/health"))
    loop.resting = 0.4
    loop.clients("orders", 1)
    assert loop.run(120.0).moves == []


def test_a_slow_health_page_hides_no_hang() -> None:
    """Canaries were late all along, and now nobody is answered: two clients are too few for a stall."""

    def slow(call: Call) -> tuple[float, bool]:
        return (1.3, True) if call.endpoint == "" else hanging(call)

    loop = ClosedLoop(slow, OURS, Canary("/health"))
    loop.clients("orders", 2)
    seen = loop.run(30.0)
    assert [each.now for _, each in seen.moves] == [Mode.OPEN]
    assert (seen.first_copy(FAULT) or 99.0) <= 4.0


def test_two_workers_know_of_each_other_s_answers() -> None:
    """Failures of one worker are not in a row while the other one is answered."""

    def every_other(call: Call) -> tuple[float, bool]:
        return (0.002, call.endpoint != "broken")

    loop = ClosedLoop(every_other, OURS, Canary("/health"))
    loop.workers(2)
    loop.clients("orders", 1)
    loop.clients("orders", 1)
    loop.clients("broken", 2)  # the second of these is the other worker's only one
    seen = loop.run(30.0)
    assert [moved.reason for _, moved in seen.moves if "in a row" in moved.reason] == []


def test_a_platform_that_flaps_is_left_for_longer_each_time() -> None:
    """Users are not sent to and fro: who fails again within the ramp has to be well for longer."""

    def flapping(call: Call) -> tuple[float, bool]:
        return (0.0005, False) if call.at >= FAULT and int(call.at / 4.0) % 2 else fine(call)

    loop = ClosedLoop(flapping, OURS, Canary("/health"))
    loop.clients("orders", 16)
    seen = loop.run(240.0)
    gaps = [after - before for before, after in pairwise(at for at, each in seen.moves if each.now is Mode.OPEN)]
    assert gaps[0] < 10.0
    assert all(after > 0.9 * before for before, after in pairwise(gaps))
    assert gaps[-1] > OURS.open_seconds_max
