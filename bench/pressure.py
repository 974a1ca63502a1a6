"""A follower beside sysbench on MariaDB: what it kept when, what it costs the server, and how long the lock is held.

* sysbench's read-write transactions load the server; beside it a client of our own commits a row now and then. Lag
  counts from the moment when that client was told of its commit to the moment when the follower told of a commit that
  holds it for sure, at two sites of two owners: safe. The binlog tells whole seconds, so that is one of a later second:
  up to a second more than it was.
* Slowdown compares sysbench with and without a follower, in turn, the order turned round each time. Server, sysbench
  and follower share the processors: a follower on a host of its own takes less.
* The lock is that of a snapshot's start, taken again and again under the same load: its 99th percentile.
"""

from __future__ import annotations

import bisect
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from bench.following import HOLDFAST, Follower, Step
from bench.mariaserver import MariaServer
from bench.process import measured
from holdfast.connectors.mysql.reader import MysqlReader

__all__ = ["Pressed", "begin_trade", "press"]

MARKET = "market"
_CLIENTS, _TABLES, _ROWS = 4, 4, 100_000
_PAIRS, _LOCKS, _PROBES_PER_SECOND = 2, 20, 50
_TPS = re.compile(r"transactions: +\d+ +\(([0-9.]+) per sec")


@dataclass(frozen=True, slots=True)
class Pressed:
    """One round of sysbench with and without a follower."""

    lag_p99_ms: float
    slowdown_percent: float
    lock_ms: float
    peak_mb: float


def begin_trade(server: MariaServer, folder: Path) -> None:
    """sysbench's tables, and a vault of its own at two sites that has begun to follow them."""
    server.run("mysql", f"CREATE DATABASE {MARKET} CHARACTER SET utf8mb4")
    server.run(MARKET, "CREATE TABLE probe (id int PRIMARY KEY AUTO_INCREMENT, at datetime(6) NOT NULL)")
    measured(f"{_sysbench(server)} prepare", folder=folder)
    sites = "--site me=one --site other=two --card card.txt"
    measured(f"{HOLDFAST} init {server.url(MARKET)} {sites}", folder=folder)
    measured(f"{HOLDFAST} follow --once --seconds 0.2", folder=folder)


def press(server: MariaServer, folder: Path, seconds: int) -> Pressed:
    """Run sysbench with and without a follower, in turn; then take snapshots beside it."""
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
            with _probing(server) as ends:
                tps = _trade(server, folder, seconds)
            (followed if is_followed else alone).append(tps)
            _say(f"sysbench, {'followed' if is_followed else 'alone'}: {tps:.0f} tps")
            if follower is not None:
                time.sleep(max(0.0, _sure(max(ends)) - time.time()))
                server.run(MARKET, "INSERT INTO probe (at) VALUES (now(6))")
                follower.wait_for(until=_sure(max(ends)))
                follower.end()
                lags += _lags(follower.steps, ends)
                peak_mb = max(peak_mb, follower.peak_mb)
    slower = 100 * (1 - mean(followed) / mean(alone))
    return Pressed(1000 * _p99(lags), slower, 1000 * _locked(server, folder, seconds), peak_mb)


def _locked(server: MariaServer, folder: Path, seconds: int) -> float:
    """Seconds for which a snapshot's start held the writers, under load."""
    load = threading.Thread(target=_trade, args=(server, folder, seconds))
    load.start()
    held = []
    for _ in range(_LOCKS):
        with MysqlReader(server.url(MARKET)).snapshot() as snapshot:
            held.append(snapshot.lock_seconds)
    is_loaded = load.is_alive()
    load.join()
    if not is_loaded:
        sys.exit("bench: sysbench had ended before the last snapshot: give it more seconds")
    _say(f"the lock was held for {1000 * mean(held):.1f} ms, at most {1000 * max(held):.1f} ms")
    return _p99(held)


@contextmanager
def _probing(server: MariaServer) -> Iterator[list[float]]:
    """Commit a row now and then; the list fills with the times at which the client was told of it."""
    ends: list[float] = []
    stop = threading.Event()

    def probe() -> None:
        with server.session(MARKET) as cursor:
            while not stop.wait(1 / _PROBES_PER_SECOND):
                cursor.execute("INSERT INTO probe (at) VALUES (now(6))")
                ends.append(time.time())

    thread = threading.Thread(target=probe, daemon=True)
    thread.start()
    try:
        yield ends
    finally:
        stop.set()
        thread.join()


def _trade(server: MariaServer, folder: Path, seconds: int) -> float:
    """Transactions a second."""
    server.settle()
    measured(f"{_sysbench(server)} --time={seconds} run > sysbench.txt", folder=folder)
    found = _TPS.search((folder / "sysbench.txt").read_text())
    if not found:
        sys.exit("bench: sysbench said nothing")
    return float(found[1])


def _sysbench(server: MariaServer) -> str:
    where = f"--mysql-host=127.0.0.1 --mysql-port={server.port} --mysql-user=root --mysql-db={MARKET}"
    size = f"--threads={_CLIENTS} --tables={_TABLES} --table-size={_ROWS} --rand-seed=1"
    return f"sysbench oltp_read_write {where} {size} --events=0 --mysql-ignore-errors=1213,1020,1205"


def _lags(steps: list[Step], ends: list[float]) -> list[float]:
    """For each transaction the seconds until a commit that reaches as far was told of."""
    commits = [each for each in steps if each.until]
    reached = [each.until for each in commits]
    return [commits[bisect.bisect_left(reached, _sure(end))].told - end for end in ends]


def _sure(end: float) -> float:
    """The time, in whole seconds, from which on a commit holds what had ended by then."""
    return int(end) + 1.0


def _p99(figures: list[float]) -> float:
    return sorted(figures)[int(len(figures) * 0.99)]


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)
