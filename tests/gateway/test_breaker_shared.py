"""One breaker for all workers of a gateway, and for the next gateway: with real processes."""

from __future__ import annotations

import socket
import time
from pathlib import Path

from holdfast.state.breakers import kept_state
from tests.gateway.stage import CANARY, running, staged
from tests.gateway.visitors import visiting
from tests.outage_proxy import Status
from tests.waiting import eventually

OPTIONS = "workers = 2\n[gateway.breaker]\nramp_seconds = 0.3\nopen_seconds_max = 2.0"


def test_two_workers_have_one_breaker_and_a_killed_gateway_leaves_it_to_the_next(tmp_path: Path) -> None:
    """Once it is open, no worker sends a user's request to the platform; nor does the gateway that is started after
    kill -9, until canaries find that the platform is well.
    """
    with staged(tmp_path / "shop", OPTIONS) as stage:
        stage.await_closed()
        begun = time.monotonic()
        with visiting(stage.url, stage.wanted()) as visitors:
            eventually(lambda: len(visitors.since(begun)) > 40, "visitors who were answered")
            stage.proxy.begin(Status(503))
            eventually(lambda: not stage.is_closed, "an open breaker")
            opened = time.monotonic()
            eventually(lambda: len(visitors.since(opened)) > 80, "visitors of both workers")
        assert visitors.failed(begun) == []
        eventually(lambda: kept_state(stage.state).get("mode") == "open", "a state that was kept")
        stage.process.kill()
        stage.process.wait()
        eventually(lambda: not _listens(stage.port), "the end of its workers")
        with running(stage.folder, stage.port):
            again = time.monotonic()
            with visiting(stage.url, stage.wanted()) as visitors:
                eventually(lambda: len(visitors.since(again)) > 80, "visitors of the next gateway")
                tried = {path for _, path in stage.proxy.asked_since(opened + 0.2)}
                stage.proxy.end()
                stage.await_closed()
                live = time.monotonic()
                eventually(lambda: visitors.first(live, is_copy=False), "a live answer")
            assert tried == {CANARY}
            assert visitors.failed(again) == []


def _listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0
