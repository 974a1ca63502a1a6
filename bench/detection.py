"""How soon a followed database that is destroyed under load is held: seconds from the bad transaction to the hold.

Each case has a database, a vault and a follower of its own. Two sessions write orders all the time, some 100
transactions a second. The clock starts before the deed's first statement, and stops with the time of the public hold.
Of a stream that somebody stops the figure is the time until the follower has read everything anew, for no hold is due.

HOLDFAST_BENCH_CASES says which, as ENGINE.CASE (default: all).
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pymysql

from bench.deeds import DEEDS, dump, put_back, shop, trade
from bench.following import Follower
from bench.mariaserver import MariaServer, running_mariadb
from bench.report import Line
from bench.server import Server, running_server
from holdfast.api import open_vault
from holdfast.begin import Wishes, begin_project

__all__ = ["run"]

LIMIT_SECONDS = 60.0
_PATIENCE_SECONDS = 120.0
_ORDERS = 20_000
_WRITERS, _PAUSE_SECONDS = 2, 0.02
_DATABASE = "shop"
_Served = Callable[..., AbstractContextManager[Any]]
_SERVED: dict[str, _Served] = {"postgres": running_server, "mariadb": running_mariadb}
_UNTOLD = {
    "postgres": {
        "publication-altered": "ALTER PUBLICATION {slot} DROP TABLE orders",
        "slot-dropped": "",
    },
    "mariadb": {"statements-logged": "SET SESSION binlog_format = STATEMENT; UPDATE orders SET total_cents = 1"},
}


@dataclass(frozen=True, slots=True)
class _Shop:
    """A shop under watch: its server, and the folder of its vault."""

    engine: str
    server: Server | MariaServer
    folder: Path

    @property
    def url(self) -> str:
        return self.server.url(_DATABASE)

    def run(self, *statements: str) -> None:
        self.server.run(_DATABASE, *statements)


def run() -> list[Line]:
    """A line for each case."""
    cases = {f"{engine}.{name}": (engine, name) for engine in _SERVED for name in _cases(engine)}
    wanted = os.environ.get("HOLDFAST_BENCH_CASES", " ".join(cases)).split()
    if unknown := sorted(set(wanted) - set(cases)):
        sys.exit(f"bench: no case called {', '.join(unknown)}; there are: {', '.join(cases)}")
    lines = []
    for case in wanted:
        seconds = _measured(*cases[case])
        print(f"bench: {case}: {seconds:.2f} s", file=sys.stderr)
        lines.append(Line(f"findings.detect-seconds.{case}", "s", "the limit", (seconds,), (LIMIT_SECONDS,)))
    return lines


def _cases(engine: str) -> list[str]:
    return [*DEEDS, "dump-put-back", "drop-database", "another-server", *_UNTOLD[engine]]


def _measured(engine: str, case: str) -> float:
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        first = stack.enter_context(ExitStack())
        server = first.enter_context(_SERVED[engine](folder / "server"))
        server.run("postgres" if engine == "postgres" else "mysql", f"CREATE DATABASE {_DATABASE}")
        watched = _Shop(engine, server, folder / "vault")
        watched.folder.mkdir()
        watched.run(*shop(engine, _ORDERS))
        begin_project(watched.folder, watched.url, ("me=one", "other=two"), Wishes(card=Path("card.txt")))
        follower = Follower(watched.folder, "--seconds", "3")
        stack.callback(follower.end)
        follower.wait_for("snapshot")
        if case == "another-server":
            return _moved(watched, first, stack)
        if case in _UNTOLD[engine]:
            return _untold(watched, follower, _UNTOLD[engine][case])
        if case == "dump-put-back":
            dump(watched.url, folder / "old.sql")
            for day in range(2):
                watched.run(*trade(engine, day))
                time.sleep(4)
        with _load(watched):
            time.sleep(5)
            began = time.time()
            _strike(watched, case)
            return _held(watched) - began


def _strike(watched: _Shop, case: str) -> None:
    if case == "dump-put-back":
        put_back(watched.url, watched.folder.parent / "old.sql")
    elif case == "drop-database":
        _drop(watched)
    else:
        for statement in DEEDS[case].statements(watched.engine):
            watched.run(statement)


def _drop(watched: _Shop) -> None:
    if watched.engine == "mariadb":
        watched.server.run("mysql", f"DROP DATABASE {_DATABASE}")
        return
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{_DATABASE}'"
        with suppress(psycopg.errors.ObjectInUse):
            watched.server.run("postgres", end, f"DROP DATABASE {_DATABASE} WITH (FORCE)")
            return
    sys.exit("bench: the database can't be dropped")


def _moved(watched: _Shop, first: ExitStack, stack: ExitStack) -> float:
    """The server goes, and another one with an older state of the shop answers at its place."""
    folder = watched.folder.parent
    dump(watched.url, folder / "old.sql")
    served = _SERVED[watched.engine]
    with served(folder / "other") as other:
        other.run("postgres" if watched.engine == "postgres" else "mysql", f"CREATE DATABASE {_DATABASE}")
        put_back(other.url(_DATABASE), folder / "old.sql")
    with _load(watched):
        time.sleep(5)
    first.close()
    stack.enter_context(served(folder / "other", watched.server.port))
    began = time.time()
    return _held(watched) - began


def _untold(watched: _Shop, follower: Follower, statement: str) -> float:
    with _load(watched):
        time.sleep(5)
        steps = len(follower.steps)
        began = time.time()
        slot = f"holdfast_{open_vault(watched.folder / 'holdfast.toml').project.config.vault.id[:12]}"
        if statement:
            with _session(watched) as run_one:
                for each in statement.format(slot=slot).split("; "):
                    run_one(each)
        else:
            _drop_slot(watched, slot)
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < deadline:
            if told := [step for step in follower.steps[steps:] if step.facts["kind"] == "snapshot"]:
                return told[0].told - began
            time.sleep(0.1)
    sys.exit("bench: nobody noticed")


def _drop_slot(watched: _Shop, slot: str) -> None:
    while True:
        end = f"SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '{slot}'"
        try:
            watched.run(end, f"SELECT pg_drop_replication_slot('{slot}')")
        except psycopg.errors.ObjectInUse:
            continue
        return


def _held(watched: _Shop) -> float:
    """When the hold was made."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        found = [each for each in open_vault(watched.folder / "holdfast.toml").findings() if each.is_open]
        if found:
            rules = {each.rule.value for each in found[0].incident.findings} if found[0].incident else set()
            print(f"bench: held for {', '.join(sorted(rules))}", file=sys.stderr)
            return found[0].at.timestamp()
        time.sleep(0.25)
    return float("inf")


@contextmanager
def _session(watched: _Shop) -> Iterator[Callable[[str], object]]:
    """A session of one's own, whatever the engine."""
    if watched.engine == "postgres":
        with psycopg.connect(watched.url, autocommit=True) as connection:
            yield lambda statement: connection.execute(statement.encode())
        return
    assert isinstance(watched.server, MariaServer)
    with watched.server.session(_DATABASE) as cursor:
        yield cursor.execute


@contextmanager
def _load(watched: _Shop) -> Iterator[None]:
    """Sessions that write orders until the end, or until there are none to be written to."""
    ended = threading.Event()

    def write() -> None:
        while not ended.wait(_PAUSE_SECONDS):
            with suppress(psycopg.Error, pymysql.MySQLError), _session(watched) as run_one:
                number = 0
                while not ended.wait(_PAUSE_SECONDS):
                    number += 1
                    run_one("INSERT INTO orders (customer, total_cents, status) VALUES (7, 100, 'new')")
                    run_one(f"UPDATE orders SET status = 'paid' WHERE id = {number}")

    threads = [threading.Thread(target=write, daemon=True) for _ in range(_WRITERS)]
    for each in threads:
        each.start()
    try:
        yield
    finally:
        ended.set()
        for each in threads:
            each.join(10)
