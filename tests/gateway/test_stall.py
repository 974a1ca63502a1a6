"""The stall rule, in the gateway's own path: a hang is felt long before any deadline, and only a hang is taken for one.

A window of failures can't see a hang: those who wait neither fail nor succeed, and what succeeded before still counts.
"""

from __future__ import annotations

import http.client
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.gateway.stage import PATHS, Stage, ask, staged
from tests.gateway.visitors import visiting
from tests.outage_proxy import Hang
from tests.waiting import eventually

DEADLINE_SECONDS = 10
# Canaries come so seldom that what opens the breaker are requests.
SELDOM = "every_seconds = 30.0\nidle_seconds = 30.0"
OPTIONS = f"deadline_seconds = {DEADLINE_SECONDS}.0\n[gateway.breaker]\nramp_seconds = 0.5\nopen_seconds_max = 2.0"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with staged(tmp_path_factory.mktemp("stall") / "shop", OPTIONS, canary=SELDOM) as made:
        yield made


def at_once(stage: Stage, path: str, count: int) -> list[tuple[int, float]]:
    """Status and seconds of so many requests that are sent together."""
    found: list[tuple[int, float]] = []

    def one() -> None:
        begun = time.monotonic()
        with closing(http.client.HTTPConnection("127.0.0.1", stage.port, timeout=30)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
        found.append((answer.status, time.monotonic() - begun))

    threads = [threading.Thread(target=one) for _ in range(count)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    return found


def test_slow_exports_are_no_outage(stage: Stage) -> None:
    """Four exports at a time, three seconds each, and nothing else is asked: no answer for seconds, and all is well."""
    for _ in range(3):
        found = at_once(stage, "/api/exports/orders?seconds=3", 4)
        assert [status for status, _ in found] == [200] * 4
        assert min(seconds for _, seconds in found) >= 3
        assert stage.is_closed


def test_a_burst_after_an_idle_time_is_no_outage(stage: Stage) -> None:
    """Nobody asked for a while, then forty at once, and each waits for most of a second: the time before they came does
    not count against the platform.
    """
    for _ in range(20):
        assert ask(stage.port, PATHS[2])[0] == 200
    last = time.monotonic()
    eventually(lambda: time.monotonic() - last > 3, "an idle time")
    stage.proxy.slow["/api/orders/7"] = 0.7
    found = at_once(stage, "/api/orders/7", 40)
    del stage.proxy.slow["/api/orders/7"]
    assert [status for status, _ in found] == [200] * 40
    assert min(seconds for _, seconds in found) >= 0.7
    assert stage.is_closed


def test_a_hang_is_felt_long_before_the_deadline(stage: Stage) -> None:
    """Readers who wait when the platform hangs are answered from the copy within two seconds, though its deadline is
    ten; and it was the stall that told.
    """
    begun = time.monotonic()
    with visiting(stage.url, stage.wanted()) as visitors:
        eventually(lambda: len(visitors.since(begun)) > 150, "visitors who were answered")
        failed = stage.proxy.begin(Hang())
        found = eventually(lambda: visitors.first(failed, is_copy=True), "an answer from the copy")
        assert found.ended - failed <= 2.0
        eventually(lambda: "wait longer than usual" in stage.reason, f"a stall: {stage.reason}")
        eventually(lambda: len(visitors.since(found.ended)) > 60, "visitors who go on")
    waited = max(each.ended - each.began for each in visitors.since(begun))
    assert waited <= 2.0 < DEADLINE_SECONDS
    assert visitors.failed(begun) == []
