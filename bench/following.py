"""A follower at work: what it kept when, and what it costs the system it follows.

* Lag counts from the moment when the application was told of its commit (pgbench's log of every transaction) to the
  moment when the follower told of the commit that holds it, at two sites of two owners: safe.
* Slowdown compares pgbench with and without a follower, in turn, the order turned round each time. Server, pgbench and
  follower share the processors: a follower on a host of its own takes less.
"""

from __future__ import annotations

import bisect
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from statistics import mean
from typing import Any

from bench.process import measured
from bench.server import Server, program

__all__ = ["HOLDFAST", "Follower", "Pressed", "begin_bank", "press"]

HOLDFAST = f"{Path(sys.executable).parent / 'holdfast'}"
BANK = "bank"
_CLIENTS = 4
_PAIRS = 2
_PATIENCE_SECONDS = 300.0
# With fewer branches than clients they would wait for each other and nothing else.
_SCALE_MIN, _ROWS_PER_SCALE = 10, 100_000
_TPS = re.compile(r"^tps = ([0-9.]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Step:
    """What a follower told, and when: in seconds since 1970, as `until`, up to which it holds what happened."""

    told: float
    until: float
    facts: dict[str, Any]


class Follower:
    """A `holdfast follow` that runs in a folder until it is ended, or ends by itself with `--once`."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.steps: list[Step] = []
        self._news = threading.Condition()
        self._is_over = False
        self.began = time.time()
        self.peak_mb = 0.0
        self._log = folder / "bench.log"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig=TERM", "--", HOLDFAST, "follow", "--json", *options],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, kind: str = "", until: float = 0.0) -> None:
        """Return when it has told a step of a kind, or that it holds everything up to a time."""

        def is_told() -> bool:
            return any((kind and each.facts["kind"] == kind) or each.until >= until > 0 for each in self.steps)

        with self._news:
            self._news.wait_for(lambda: is_told() or self._is_over, _PATIENCE_SECONDS)
        if not is_told():
            self._process.kill()
            sys.exit(f"bench: the follower never came so far\n{self._tail()}")

    def end(self) -> None:
        """Ask it to stop, and wait."""
        self._process.send_signal(signal.SIGTERM)
        self.wait()

    def wait(self) -> None:
        """Wait for its end; an exit code other than 0 ends the benchmark."""
        self._reader.join()
        _, status, usage = os.wait4(self._process.pid, 0)
        self._process.returncode = os.waitstatus_to_exitcode(status)
        self.peak_mb = usage.ru_maxrss / 1024
        if self._process.returncode:
            sys.exit(f"bench: exit {self._process.returncode} from holdfast follow\n{self._tail()}")

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            told, facts = time.time(), json.loads(line)
            until = datetime.fromisoformat(facts["until"]).timestamp() if facts["until"] else 0.0
            with self._news:
                self.steps.append(Step(told, until, facts))
                self._news.notify_all()
        with self._news:
            self._is_over = True
            self._news.notify_all()

    def _tail(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]


@dataclass(frozen=True, slots=True)
class Pressed:
    """One round of pgbench with and without a follower."""

    lag_p99_ms: float
    slowdown_percent: float
    peak_mb: float


def begin_bank(server: Server, folder: Path, rows: int) -> None:
    """pgbench's database, and a vault of its own at two sites that has begun to follow it.

    Its history gets a key: without one no program could tell its records apart.
    """
    server.run("postgres", f"CREATE DATABASE {BANK}")
    scale = max(_SCALE_MIN, rows // _ROWS_PER_SCALE)
    measured(f"{program('pgbench')} -i -q -s {scale} {_where(server)}", folder=folder)
    server.run(BANK, "ALTER TABLE pgbench_history ADD id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY")
    sites = "--site me=one --site other=two --card card.txt"
    measured(f"{HOLDFAST} init {server.url(BANK)} {sites}", folder=folder)
    measured(f"{HOLDFAST} follow --once --seconds 0.2", folder=folder)


def press(server: Server, folder: Path, seconds: int) -> Pressed:
    """Run pgbench with and without a follower, in turn."""
    alone: list[float] = []
    followed: list[float] = []
    lags: list[float] = []
    peak_mb = 0.0
    for pair in range(_PAIRS):
        for is_followed in (False, True) if pair % 2 == 0 else (True, False):
            follower = None
            if is_followed:
                follower = Follower(folder)
                follower.wait_for("idle")
            tps, ends = _pgbench(server, folder, seconds)
            (followed if is_followed else alone).append(tps)
            print(
                f"bench: pgbench, {'followed' if is_followed else 'alone'}: {tps:.0f} tps", file=sys.stderr, flush=True
            )
            if follower is not None:
                server.run(BANK, "UPDATE pgbench_branches SET filler = 'last' WHERE bid = 1")
                follower.wait_for(until=max(ends))
                follower.end()
                lags += _lags(follower.steps, ends)
                peak_mb = max(peak_mb, follower.peak_mb)
    p99 = sorted(lags)[int(len(lags) * 0.99)]
    return Pressed(1000 * p99, 100 * (1 - mean(followed) / mean(alone)), peak_mb)


def _pgbench(server: Server, folder: Path, seconds: int) -> tuple[float, list[float]]:
    """Transactions a second, and when the client was told of each one's end."""
    server.settle()
    for old in folder.glob("pgbench*"):
        old.unlink()
    options = f"-n -c {_CLIENTS} -j 1 -T {seconds} --log --log-prefix=pgbench"
    measured(f"{program('pgbench')} {options} {_where(server)} > pgbench.txt", folder=folder)
    found = _TPS.search((folder / "pgbench.txt").read_text())
    lines = [line.split() for path in folder.glob("pgbench.[0-9]*") for line in path.read_text().splitlines()]
    if not found or not lines:
        sys.exit("bench: pgbench said nothing")
    return float(found[1]), [int(line[4]) + int(line[5]) / 1e6 for line in lines]


def _lags(steps: list[Step], ends: list[float]) -> list[float]:
    """For each transaction the seconds until a commit that reaches as far was told of."""
    commits = [each for each in steps if each.until]
    reached = [each.until for each in commits]
    return [commits[bisect.bisect_left(reached, end)].told - end for end in ends]


def _where(server: Server) -> str:
    return f"-h 127.0.0.1 -p {server.port} -U postgres {BANK}"
