"""nginx before the real gateway: healthy reads never touch it, and still no read fails that nginx can see failing."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.fronts import before_gateway
from bench.load import cpu_seconds, family
from holdfast.core.front import FLAG, LOG
from holdfast.state.breakers import kept_state
from tests.gateway.stage import CANARY, PATHS, Stage, ask, staged
from tests.gateway.visitors import Visitors, visiting
from tests.outage_proxy import Disguise, Fault, Half, Hang, Refuse, Reset, Status
from tests.waiting import eventually

OPTIONS = 'fronts = ["127.0.0.1"]\n[gateway.breaker]\nramp_seconds = 0.5\nopen_seconds_max = 2.0'


@dataclass
class Fronted:
    """The stage, and where its nginx listens."""

    stage: Stage
    port: int
    url: str


@pytest.fixture(scope="module")
def short() -> Iterator[Path]:
    """A folder of few letters: the name of a socket may not have many."""
    with tempfile.TemporaryDirectory(prefix="front-") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def fronted(short: Path) -> Iterator[Fronted]:
    with staged(short / "shop", OPTIONS) as stage, before_gateway(short / "nginx", stage.folder) as front:
        yield Fronted(stage, front.port, front.url)


@contextmanager
def visited(fronted: Fronted) -> Iterator[tuple[Visitors, float]]:
    """Visitors whom the platform answers, and since when."""
    fronted.stage.await_closed()
    begun = time.monotonic()
    with visiting(fronted.url, fronted.stage.wanted()) as visitors:
        # So long that the keeper has heard of it, and sends its canaries as often as it does behind nginx.
        eventually(lambda: len(visitors.since(begun)) > 60, "visitors who were answered")
        yield visitors, begun


def test_healthy_reads_never_touch_python(fronted: Fronted) -> None:
    """The gateway's processes hardly work, whatever is read; and a worker that is not needed hears nothing of it."""
    fronted.stage.await_closed()
    workers = [each for each in family(fronted.stage.process.pid) if each != fronted.stage.process.pid]
    with visited(fronted) as (visitors, begun):
        before = sum(map(cpu_seconds, workers))
        moment = time.monotonic()
        eventually(lambda: len(visitors.since(moment)) > 300, "visitors who were answered")
        spent = sum(map(cpu_seconds, workers)) - before
    # Three hundred requests would cost a worker more than that.
    assert spent < 0.1
    assert visitors.failed(begun) == []


@pytest.mark.parametrize("fault", [Refuse(), Hang(), Reset(), Status(503)], ids=lambda fault: type(fault).__name__)
def test_no_read_fails_that_nginx_sees_failing(fronted: Fronted, fault: Fault) -> None:
    """The copy answers within two seconds, through the error page before the breaker opened and by the flag after it;
    only canaries try the platform; and it is back without anybody's doing.
    """
    stage = fronted.stage
    with visited(fronted) as (visitors, begun):
        failed = stage.proxy.begin(fault)
        found = eventually(lambda: visitors.first(failed, is_copy=True), "an answer from the copy")
        assert found.ended - failed <= 2.0
        eventually(lambda: not stage.is_closed, "an open breaker")
        opened = time.monotonic()
        assert opened - failed <= 4.0
        eventually(lambda: len(visitors.since(opened)) > 60, "visitors who go on")
        asked = stage.proxy.asked_since(opened + 0.2)
        mended = stage.proxy.end()
        eventually(lambda: visitors.first(mended, is_copy=False), "a live answer")
        stage.await_closed()
        assert time.monotonic() - mended <= 120
    assert {path for _, path in asked} <= {CANARY}
    # What nginx was sending on at that moment is half an answer, which it can't take back: the guide says so.
    assert [each for each in visitors.failed(begun) if not each.began <= failed <= each.ended] == []
    assert max(each.ended - each.began for each in visitors.since(begun)) <= 2.5


@pytest.mark.parametrize("fault", [Half(), Disguise()], ids=lambda fault: type(fault).__name__)
def test_what_nginx_can_not_see_canaries_find(fronted: Fronted, fault: Fault) -> None:
    """Half an answer, or an error that says 200, goes through; canaries come twice a second, and two seconds later
    nobody has it any more.
    """
    stage = fronted.stage
    with visited(fronted) as (visitors, _):
        failed = stage.proxy.begin(fault)
        eventually(lambda: not stage.is_closed, "an open breaker")
        opened = time.monotonic()
        assert opened - failed <= 2.0
        eventually(lambda: len(visitors.since(opened)) > 60, "visitors who go on")
        stage.proxy.end()
        stage.await_closed()
    assert [each for each in visitors.failed(failed) if each.began > opened] == []


def test_an_nginx_of_another_user_finds_the_breaker_and_is_heard() -> None:
    """As Debian has it: nginx serves as www-data, and may not look into the gateway's own folder. A folder that is
    given to its group is enough, in which nobody else can do anything.
    """
    with ExitStack() as stack:
        name = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="holdfast-front-")))
        name.chmod(0o755)
        shared = name / "shared"
        shared.mkdir()
        if os.geteuid() == 0:
            shutil.chown(shared, group="www-data")
        shared.chmod(0o2750)
        stage = stack.enter_context(staged(name / "shop", f'front_folder = "{shared}"\n{OPTIONS}'))
        stage.folder.chmod(0o700)
        front = stack.enter_context(before_gateway(name / "nginx", stage.folder, user="www-data"))
        assert ask(front.port, PATHS[2])[0] == 200
        assert stat.S_IMODE((shared / LOG).stat().st_mode) == 0o770
        stage.proxy.begin(Refuse())
        eventually((shared / FLAG).exists, "an open breaker")
        # No worker read that route: it is nginx that told how long it takes.
        eventually(lambda: "order" in kept_state(stage.state).get("usual", {}), "a keeper who heard what nginx logs")
        moment = time.monotonic()
        for path in PATHS:
            status, told = ask(front.port, path)
            assert (status, told) == (200, stage.wanted((path,))[path])
        assert {path for _, path in stage.proxy.asked_since(moment)} <= {CANARY}


def test_reads_go_on_when_the_gateway_is_killed(fronted: Fronted) -> None:
    """Neither its keeper nor its workers are needed while the platform answers."""
    stage = fronted.stage
    with visited(fronted) as (visitors, begun):
        stage.process.kill()
        stage.process.wait()
        killed = time.monotonic()
        eventually(lambda: len(visitors.since(killed)) > 60, "visitors who go on")
    assert visitors.failed(begun) == []


def test_nginx_opens_a_breaker(short: Path) -> None:
    """Where canaries come too seldom to find out, the failures that arrive from nginx are enough."""
    seldom = "every_seconds = 30.0\nidle_seconds = 30.0"
    with (
        staged(short / "seldom", OPTIONS, canary=seldom) as stage,
        before_gateway(short / "seldom-nginx", stage.folder) as front,
        visiting(front.url, stage.wanted()) as visitors,
    ):
        begun = time.monotonic()
        eventually(lambda: len(visitors.since(begun)) > 60, "visitors who were answered")
        failed = stage.proxy.begin(Reset())
        eventually(lambda: not stage.is_closed, "an open breaker")
        assert time.monotonic() - failed <= 2.0
        eventually(lambda: "canar" not in stage.reason and stage.reason, "a reason")
        moment = time.monotonic()
        eventually(lambda: len(visitors.since(moment)) > 60, "visitors who go on")
    assert visitors.failed(begun) == []
