"""`holdfast gateway status|open|close|auto` before a gateway that really runs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.breaker import Mode
from holdfast.errors import Unreachable
from holdfast.operations.orders import Order, breaker_status, order_breaker
from holdfast.state.breakers import BreakerFiles
from tests.gateway.echo import Echo, echo
from tests.waiting import eventually

Holdfast = Callable[..., subprocess.CompletedProcess[str]]
_SERVE = (sys.executable, "-c", "from holdfast.cli.main import main; main()", "gateway", "serve")
_MINIMAL = """
[vault]
name = "shop"

[[site]]
name = "me"
url = "usb"
owner = "me"
"""
_CONFIG = """
[gateway]
upstream = "http://127.0.0.1:{port}"
listen = "127.0.0.1:0"

[gateway.canary]
path = "/health"
expect = "platform GET"
every_seconds = 0.1

[gateway.breaker]
open_seconds = 0.2
ramp_seconds = 0.2
"""


@pytest.fixture
def platform() -> Iterator[Echo]:
    with echo("platform") as server:
        yield server


@pytest.fixture
def shop(tmp_path: Path, holdfast: Holdfast, platform: Echo) -> Holdfast:
    """A project with a gateway before the platform."""
    (tmp_path / "shop.db").touch()
    done = holdfast("init", "shop.db", "--site", "me=usb", "--card", "card.txt")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "holdfast.toml").open("a") as file:
        file.write(_CONFIG.format(port=platform.port))
    return holdfast


@contextmanager
def serving(folder: Path) -> Iterator[None]:
    process = subprocess.Popen(_SERVE, cwd=folder, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        said = process.stderr.readline()
        assert "the gateway listens at" in said, said
        yield
    finally:
        process.terminate()
        process.communicate(timeout=40)


def until_mode(folder: Path, mode: Mode) -> None:
    eventually(lambda: breaker_status(folder / ".holdfast" / "gateway").mode is mode, f"a breaker that is {mode}")


def told(shop: Holdfast) -> dict[str, Any]:
    """The status, as JSON."""
    found: dict[str, Any] = json.loads(shop("gateway", "status", "--json").stdout)
    return found


def test_a_person_opens_and_leaves_maintenance_mode(tmp_path: Path, shop: Holdfast, platform: Echo) -> None:
    """An order waits for the gateway, says who gave it and until when, and is taken back; then canaries decide."""
    ordered = shop("gateway", "open", "--for", "30m", "--reason", "the vendor moves", "--by", "ann")
    assert (ordered.returncode, "no gateway runs" in ordered.stdout) == (0, True)
    with serving(tmp_path):
        until_mode(tmp_path, Mode.OPEN)
        found = told(shop)
        stands = (found["mode"], found["runs"], found["forced_by"], found["reason"], found["share"])
        assert stands == ("open", True, "ann", "the vendor moves", 0)
        said = shop("gateway", "status").stdout
        assert "breaker: open since" in said
        assert "by hand, by ann, until" in said
        assert "0 % of requests" in said
        assert shop("gateway", "auto").returncode == 0
        until_mode(tmp_path, Mode.CLOSED)
        platform.status = 503
        until_mode(tmp_path, Mode.OPEN)
        found = told(shop)
        assert (found["forced_by"], "canaries in a row failed" in found["reason"]) == ("", True)
        assert found["wrong"] == "it answered with the status 503"
        forced = shop("gateway", "close", "--for", "10m")
        assert (forced.returncode, "by hand for 10 min 0 s" in forced.stdout) == (0, True)
        until_mode(tmp_path, Mode.CLOSED)
    assert "no gateway runs; start one with: holdfast gateway serve" in shop("gateway", "status").stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("open", "--for", "0s"), "an order lasts from 1s to 30d"),
        (("close", "--for", "long"), "no length of time"),
        (("auto",), "there is nothing to take back"),
    ],
)
def test_an_order_without_an_end_or_an_object_is_refused(
    tmp_path: Path, holdfast: Holdfast, arguments: tuple[str, ...], says: str
) -> None:
    """Nobody leaves maintenance mode on by mistake."""
    (tmp_path / "holdfast.toml").write_text(_MINIMAL + _CONFIG.format(port=9))
    done = holdfast("gateway", *arguments)
    assert (done.returncode, says in done.stderr) == (2, True), done.stderr


def test_an_order_that_a_running_gateway_does_not_take_is_told(tmp_path: Path) -> None:
    """Who ordered maintenance mode must know that it is not on."""
    with BreakerFiles(tmp_path), pytest.raises(Unreachable, match="did not take the order"):
        order_breaker(tmp_path, Order(Mode.OPEN, "ann", "", 60.0))


@pytest.mark.parametrize(
    ("copy", "code", "says"),
    [
        ({"as_of": {"orders": "2026-03-01T09:00:00+00:00"}}, 0, "copy of orders: of 2026-03-01T09:00:00Z ("),
        ({"as_of": {"orders": "2026-03-01T09:00:00+00:00"}, "problem": "damaged"}, 3, "can't be kept up: damaged"),
        ({"as_of": {"orders": None}, "problem": "no site"}, 4, "copy of orders: there is none"),
        ({"wrong": {"order": "no column x"}}, 4, "route order can't be answered from it: no column x"),
    ],
)
def test_a_copy_that_can_t_stand_in_is_told_by_the_exit_code_too(
    tmp_path: Path, holdfast: Holdfast, copy: dict[str, Any], code: int, says: str
) -> None:
    """Whoever looks in good times learns what would be missing in bad ones."""
    (tmp_path / "holdfast.toml").write_text(_MINIMAL + _CONFIG.format(port=9))
    with BreakerFiles(tmp_path / ".holdfast" / "gateway") as files:
        files.tell({"mode": "closed", "share": 100, "copy": copy, "beat": time.monotonic()})
        done = holdfast("gateway", "status")
    assert (done.returncode, says in done.stdout) == (code, True), done.stdout + done.stderr


@pytest.mark.parametrize(
    ("told", "code", "says"),
    [
        ({"problem": "the disk is full"}, 3, "not kept: the disk is full"),
        ({"ended": ["the upkeep of the copy"]}, 3, "the upkeep of the copy has ended"),
        ({"unkept": time.time() - 5}, 3, "writes can't be kept, the last one "),
        ({"beat": time.monotonic() - 600}, 6, "the keeper says nothing since "),
        ({"beat": time.monotonic() + 600}, 6, "the keeper says nothing since "),  # it is of before this host started
    ],
)
def test_a_gateway_that_does_not_do_its_work_is_not_green(
    tmp_path: Path, holdfast: Holdfast, told: dict[str, Any], code: int, says: str
) -> None:
    """Whoever only looks at the exit code learns of a full disk, of a keeper that hangs, of a part that has ended."""
    (tmp_path / "holdfast.toml").write_text(_MINIMAL + _CONFIG.format(port=9))
    with BreakerFiles(tmp_path / ".holdfast" / "gateway") as files:
        files.tell({"mode": "closed", "share": 100, "beat": time.monotonic()} | told)
        done = holdfast("gateway", "status")
    assert (done.returncode, says in done.stdout) == (code, True), done.stdout + done.stderr


@pytest.mark.parametrize("kept", ['{"mode": "ajar"}', '{"mode": "open", "forced": 7}', '{"share": "much"}', "["])
def test_a_damaged_state_is_told_and_not_fatal(tmp_path: Path, kept: str) -> None:
    """`status` works at 3 o'clock whatever is on the disk."""
    (tmp_path / "breaker.json").write_text(kept)
    assert breaker_status(tmp_path).mode is Mode.CLOSED
