"""The gateway in health and in an outage, against nginx alone and against what nginx itself can do in an outage.

* Health: wrk over 32 connections, against a platform that always says the same; the ways there in turn, so that what
  else the machine does falls on all of them.
* Standing in: the breaker is open, wrk reads one order from the encrypted copy; the peer says again what it had cached.
* Failover: eight visitors read through a proxy that fails; how long after the fault the last of them did not get a
  right answer within a second. nginx gets what it needs to be at its best: a second server with the same records, or a
  cache in which every page already is. Given up after `_WINDOW_SECONDS`.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from bench.fronts import Running, alone, before_gateway, next_upstream, still, use_stale
from bench.load import Load, family, load, peak_mb
from bench.outbox import outbox_lines
from bench.report import Line
from holdfast.sample.processes import free_port, started
from tests.gateway.stage import PATHS, Stage, ask, declare, prepared, running, staged
from tests.gateway.visitors import Seen, visiting
from tests.outage_proxy import Disguise, Drip, Fault, Half, Hang, Refuse, Reset, Status
from tests.waiting import eventually

__all__ = ["run"]

ROUNDS = 7
MEMORY_LIMIT_MB = 512.0
FAULTS: dict[str, Fault] = {
    "refuse": Refuse(),
    "hang": Hang(),
    "reset": Reset(),
    "503": Status(503),
    "drip": Drip(),
    "half-answer": Half(),
    "error-in-200": Disguise(),
}
_WINDOW_SECONDS = 6.0
_PATIENT_SECONDS = 1.0  # a right answer that takes longer is no good answer
_ORDER = "/api/orders/7"
# So that the next fault can begin; when the first is back it decides not.
_QUICK = "[gateway.breaker]\nramp_seconds = 0.5\nopen_seconds_max = 2.0"
_DIGITS = 820  # so that the order is as long as in the notes


def run() -> list[Line]:
    """All lines of the suite."""
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as name:
        folder = Path(name)
        lines = [*_health(folder / "health"), *_standing_in(folder / "copy"), *_failover(folder / "faults")]
    return [*lines, *outbox_lines()]


def _health(folder: Path) -> list[Line]:
    """Requests a second while all is well."""
    project = folder / "shop"
    prepared(project)
    answers = {"/api/health": b'{"status": "ok"}', _ORDER: b'{"order": {"id": 7, "note": "%s"}}' % (b"x" * _DIGITS)}
    port = free_port()
    with ExitStack() as stack:
        platform = stack.enter_context(still(folder / "platform", answers))
        # As the guide has it: a folder with a short path, for nginx looks there with each request.
        shared = stack.enter_context(tempfile.TemporaryDirectory(prefix="hf-"))
        declare(project, platform.url, port, f'fronts = ["127.0.0.1"]\nfront_folder = "{shared}"')
        gateway = stack.enter_context(running(project, port))
        ways = {
            "nginx": stack.enter_context(alone(folder / "alone", platform.port)),
            "front": stack.enter_context(before_gateway(folder / "front", project)),
            "python": Running(port, tuple(family(gateway.pid))),
        }
        found = _in_turn(ways)
        memory = sum(peak_mb(each) for each in family(gateway.pid))
    lines = [_rps(f"outage.healthy.{name}.rps", "nginx alone", found, key) for name, key in _SHOWN.items()]
    costs = [_cpu(f"outage.healthy.{name}.cpu-us", "nginx alone", found, key) for name, key in _SHOWN.items()]
    return [*lines, *costs, Line("outage.memory", "MB", "the limit", (memory,), (MEMORY_LIMIT_MB,))]


_SHOWN = {"nginx-in-front": "front", "python": "python"}


def _standing_in(folder: Path) -> list[Line]:
    """Requests a second from the copy."""
    with ExitStack() as stack:
        stage = stack.enter_context(staged(folder / "shop"))
        cache = stack.enter_context(use_stale(folder / "cache", stage.proxy.port))
        load(cache.url + _ORDER, (), connections=1, seconds=1)
        stage.proxy.begin(Refuse())
        eventually(lambda: _is_open(stage), "an open breaker")
        ways = {"cache": cache, "copy": Running(stage.port, tuple(family(stage.process.pid)))}
        found = _in_turn(ways)
        stage.proxy.end()
    p99 = {key: tuple(each.p99_ms for each in loads) for key, loads in found.items()}
    peer = "nginx proxy_cache_use_stale"
    return [
        _rps("outage.standin.rps", peer, found, "copy", "cache"),
        Line("outage.standin.p99-ms", "ms", peer, p99["copy"], p99["cache"]),
        _cpu("outage.standin.cpu-us", peer, found, "copy", "cache"),
    ]


def _is_open(stage: Stage) -> bool:
    ask(stage.port, _ORDER)
    return not stage.is_closed


def _in_turn(ways: dict[str, Running]) -> dict[str, list[Load]]:
    """Load on each way, one after the other, some rounds; a request that fails ends the bench."""
    found: dict[str, list[Load]] = {name: [] for name in ways}
    for number in range(ROUNDS):
        for name, way in ways.items():
            _say(f"round {number + 1} of {ROUNDS}: {name}")
            found[name].append(load(way.url + _ORDER, way.processes))
            if found[name][-1].failed:
                sys.exit(f"bench: {found[name][-1].failed} requests failed: {name}")
    return found


def _failover(folder: Path) -> list[Line]:
    """How long each fault is felt, and how soon the platform is back."""
    ours: dict[str, float] = {}
    second: dict[str, float] = {}
    stale: dict[str, float] = {}
    back: list[float] = []
    with ExitStack() as stack:
        stage = stack.enter_context(staged(folder / "shop", _QUICK))
        replica = stack.enter_context(started("platform", "--database", stage.database))
        peers = {
            "second": stack.enter_context(next_upstream(folder / "second", stage.proxy.port, replica.port)),
            "stale": stack.enter_context(use_stale(folder / "stale", stage.proxy.port)),
        }
        for name, fault in FAULTS.items():
            _say(f"failover: {name}")
            stage.await_closed()
            ours[name] = _felt(stage, stage.url, fault)
            back.append(_return(stage))
            stage.await_closed()
            second[name] = _felt(stage, peers["second"].url, fault)
            stage.proxy.end()
            stale[name] = _felt(stage, peers["stale"].url, fault)
            stage.proxy.end()
    lines = []
    for name in FAULTS:
        for peer, theirs in (("nginx proxy_next_upstream", second), ("nginx proxy_cache_use_stale", stale)):
            lines.append(Line(f"outage.failover-seconds.{name}", "s", peer, (ours[name],), (theirs[name],)))
    return [*lines, Line("outage.return-seconds", "s", "the limit", tuple(back), (120.0,))]


def _felt(stage: Stage, url: str, fault: Fault) -> float:
    """Seconds from a fault until the last visitor had no right answer in time."""
    with visiting(url, stage.wanted(PATHS), patience=_WINDOW_SECONDS) as visitors:
        begun = time.monotonic()
        eventually(lambda: len(visitors.since(begun)) > 60, "visitors")
        failed = stage.proxy.begin(fault)
        eventually(lambda: time.monotonic() - failed > _WINDOW_SECONDS, "the end of the window")
        now = time.monotonic()
    return _last_bad(visitors.since(failed), failed, now)


def _last_bad(seen: Sequence[Seen], failed: float, now: float) -> float:
    """A request that was still waiting when the window ended had no answer within it."""
    last = failed
    for each in seen:
        if not each.is_good or each.ended - max(each.began, failed) > _PATIENT_SECONDS:
            last = max(last, min(each.ended, now))
    return last - failed


def _return(stage: Stage) -> float:
    """Seconds from the platform's return until it answers somebody again."""
    with visiting(stage.url, stage.wanted(PATHS)) as visitors:
        mended = stage.proxy.end()
        found = eventually(lambda: visitors.first(mended, is_copy=False), "a live answer")
    return found.ended - mended


def _rps(name: str, peer: str, found: dict[str, list[Load]], ours: str, theirs: str = "nginx") -> Line:
    rates = {key: tuple(each.per_second for each in loads) for key, loads in found.items()}
    return Line(name, "1/s", peer, rates[ours], rates[theirs], more_is_better=True)


def _cpu(name: str, peer: str, found: dict[str, list[Load]], ours: str, theirs: str = "nginx") -> Line:
    costs = {key: tuple(each.cpu_us for each in loads) for key, loads in found.items()}
    return Line(name, "CPU us", peer, costs[ours], costs[theirs])


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
