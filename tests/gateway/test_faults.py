"""Whatever becomes of the platform, whoever reads what the copy has gets it: at once, right, and live again soon after.

Real processes throughout: visitors, the gateway, a proxy that fails as outages do, the platform.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.gateway.stage import CANARY, PATHS, Stage, ask, staged
from tests.gateway.visitors import Visitors, visiting
from tests.outage_proxy import Disguise, Drip, Fault, Flap, Half, Hang, Lost, Refuse, Reset, Status
from tests.waiting import eventually

UNDER_TRAFFIC_SECONDS = 2.0
IDLE_SECONDS = 20.0
RETURN_SECONDS = 120.0
# A ramp that is over soon: its steps are the same. One outage follows the other here, within a minute.
QUICK = "[gateway.breaker]\nramp_seconds = 0.5\nopen_seconds_max = 4.0"

FAULTS: tuple[Fault, ...] = (Refuse(), Hang(), Drip(), Reset(), Status(500), Status(503), Disguise(), Half(), Lost())


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("faults") / "shop", QUICK) as made:
        yield made


def first_from_copy(visitors: Visitors, since: float) -> float:
    """Seconds from a moment until somebody had a right answer from the copy."""
    found = eventually(lambda: visitors.first(since, is_copy=True), "an answer from the copy")
    return found.ended - since


def first_live(visitors: Visitors, since: float) -> float:
    """Seconds from a moment until somebody had a right answer of the platform."""
    found = eventually(lambda: visitors.first(since, is_copy=False), "a live answer")
    return found.ended - since


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{type(fault).__name__}{getattr(fault, 'status', '')}")
def test_no_read_fails_whatever_the_platform_does(stage: Stage, fault: Fault) -> None:
    """The copy answers within two seconds; nobody is ever sent to try the platform; it is back without anybody's
    doing; and in between each visitor has a right answer to each request.
    """
    stage.await_closed()
    begun = time.monotonic()
    with visiting(stage.url, stage.wanted()) as visitors:
        first_live(visitors, begun)
        failed = stage.proxy.begin(fault)
        assert first_from_copy(visitors, failed) <= UNDER_TRAFFIC_SECONDS
        eventually(lambda: not stage.is_closed, "an open breaker")
        opened = time.monotonic()
        assert opened - failed <= UNDER_TRAFFIC_SECONDS + 1
        eventually(lambda: len(visitors.since(opened)) > 40, "visitors who go on")
        asked = stage.proxy.asked_since(opened + 0.2)
        mended = stage.proxy.end()
        assert first_live(visitors, mended) <= RETURN_SECONDS
        assert {path for _, path in asked} <= {CANARY}, "no user's request tries the platform"
        stage.await_closed()
        assert time.monotonic() - mended <= RETURN_SECONDS
        back = time.monotonic()
        eventually(lambda: len(visitors.since(back)) > 20, "visitors who go on")
    assert visitors.failed(begun) == []


def test_a_platform_that_comes_and_goes_takes_no_reader_along(stage: Stage) -> None:
    """It refuses for a moment, answers for a moment, and so on: no read fails, and the breaker does not follow it."""
    stage.await_closed()
    with visiting(stage.url, stage.wanted()) as visitors:
        failed = stage.proxy.begin(Flap())
        first_from_copy(visitors, failed)
        eventually(lambda: not stage.is_closed, "an open breaker")
        eventually(lambda: time.monotonic() - failed > 8, "some turns")
        mended = stage.proxy.end()
        assert first_live(visitors, mended) <= RETURN_SECONDS
        stage.await_closed()
    assert visitors.failed(failed) == []


def test_what_the_copy_can_not_tell_is_refused_and_never_guessed(stage: Stage) -> None:
    """A parameter that the route does not know, a route that nobody declared: 503 and when to come again."""
    stage.await_closed()
    assert ask(stage.port, "/api/orders?min_total=100")[0] == 200
    stage.proxy.begin(Refuse())
    with visiting(stage.url, stage.wanted()):
        eventually(lambda: not stage.is_closed, "an open breaker")
    for path in ("/api/orders?min_total=100", "/api/ledger", "/api/exports/orders", "/api/orders?page=1&page=2"):
        assert ask(stage.port, path)[0] == 503, path
    stage.proxy.end()
    stage.await_closed()


def test_nobody_asks_and_still_it_is_noticed(stage: Stage) -> None:
    """Without a single visitor the breaker opens within twenty seconds: the first one does not wait for it."""
    stage.await_closed()
    failed = stage.proxy.begin(Hang())
    eventually(lambda: not stage.is_closed, "an open breaker")
    assert time.monotonic() - failed <= IDLE_SECONDS
    asked = time.monotonic()
    assert ask(stage.port, PATHS[0]) == (200, stage.wanted()[PATHS[0]])
    assert time.monotonic() - asked <= 0.5
    stage.proxy.end()
    stage.await_closed()
