"""A private PostgreSQL server for measurements: durable, sized like one at work, with its CPU seconds on record."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

__all__ = ["Server", "program", "running_server"]

_PATIENCE_SECONDS = 60.0
_TICKS = os.sysconf("SC_CLK_TCK")
# Cleaning and checkpoints come between the measured commands, not within some of them by chance.
_SETTINGS = {
    "autovacuum": "off",
    "checkpoint_timeout": "1h",
    "fsync": "on",
    "listen_addresses": "127.0.0.1",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "16GB",
    "shared_buffers": "1GB",
    "wal_level": "logical",
}


class Server:
    """One server; whoever is called postgres may do everything."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.port = port
        self._process = process

    def url(self, database: str) -> str:
        """Where to connect to."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def run(self, database: str, *statements: str) -> None:
        """Carry out statements, each in a transaction of its own."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            for each in statements:
                connection.execute(each.encode())

    def rows(self, database: str, query: str) -> list[tuple[Any, ...]]:
        """All rows of a result."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            return connection.execute(query.encode()).fetchall()

    def settle(self) -> None:
        """Write back all that waits, so that nobody pays for the one before him."""
        self.run("postgres", "CHECKPOINT")
        os.sync()

    def processes(self) -> set[int]:
        """The processes that work for the server now."""
        parents = ((int(each.name), _stat(each)) for each in Path("/proc").iterdir() if each.name.isdecimal())
        return {number for number, stat in parents if stat and int(stat[1]) == self._process.pid}

    def cpu(self) -> float:
        """CPU seconds of the server since its start: of all processes that there are, and of all that have ended."""
        own = _stat(Path(f"/proc/{self._process.pid}"))
        stats = [_stat(Path(f"/proc/{number}")) for number in self.processes()]
        ticks = sum(map(int, own[11:15])) + sum(int(part) for stat in stats if stat for part in stat[11:13])
        return ticks / _TICKS

    def wait_for_ends(self, staying: set[int]) -> None:
        """Return when nobody but those who stay works for the server: a session outlives its client a moment."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while left := self.processes() - staying:
            if time.monotonic() > deadline:
                sys.exit(f"bench: {len(left)} processes of the server never ended: what they cost would not be counted")
            time.sleep(0.005)


@contextmanager
def running_server(folder: Path, port: int = 0) -> Iterator[Server]:
    """A server with new data in a new folder, or with those that lie there; stopped afterwards."""
    if not folder.exists():
        _make_data(folder)
    port = port or _free_port()
    settings = {**_SETTINGS, "port": str(port), "unix_socket_directories": str(folder)}
    flags = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [*_as_server_user(), program("postgres"), "-D", str(folder / "data"), *flags], stdout=log, stderr=log
        )
    try:
        server = Server(process, port)
        _wait_for_start(server, process, folder / "log")
        yield server
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(_PATIENCE_SECONDS)


def _make_data(folder: Path) -> None:
    folder.mkdir()
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8"]
    initdb = [*_as_server_user(), program("initdb"), "-D", str(folder / "data"), *options]
    subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd=folder)


def program(name: str) -> str:
    """A program of the newest PostgreSQL installed, itself and no wrapper that would be measured with it."""
    found = [each for each in Path("/usr/lib/postgresql").glob(f"*/bin/{name}") if each.parts[-3].isdecimal()]
    newest = max(found, key=lambda each: int(each.parts[-3]), default=None)
    path = str(newest) if newest else shutil.which(name)
    if path is None:
        sys.exit(f"bench: no {name} on this machine: scripts/setup.sh bench installs it")
    return path


def _wait_for_start(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            server.run("postgres")
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"bench: PostgreSQL does not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
        else:
            return


def _stat(process: Path) -> list[str]:
    """The kernel's figures of a process from its state on; none if it has just ended."""
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _as_server_user() -> list[str]:
    """What to put before a program of the server: it refuses to run as root, and must not outlive this process."""
    user = ["--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    return ["setpriv", *user, "--pdeathsig=INT", "--"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
