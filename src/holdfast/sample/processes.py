"""Starts the servers of the sample as processes, and ends them: in order, at once, or for a while.

A real Redis is one of them where it is installed.

with started("platform", "--database", "billing.db") as platform:
    platform.url
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from holdfast.errors import Unreachable

__all__ = ["Server", "free_port", "has_redis", "start", "started"]

_ENDING_SECONDS = 10
_BEGINNING_SECONDS = 20
_PORTS = (10_000, 32_000)


class Server:
    """A server of the sample that runs as a process of its own."""

    def __init__(self, name: str, arguments: tuple[str, ...], process: subprocess.Popen[bytes], port: int) -> None:
        self.name = name
        self.port = port
        self._arguments = arguments
        self._process = process

    @property
    def url(self) -> str:
        """Where it answers."""
        scheme = "redis" if self.name == "redis" else "http"
        return f"{scheme}://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether its process has not ended."""
        return self._process.poll() is None

    def kill(self) -> None:
        """End it in the middle of whatever it does."""
        self._process.kill()
        self._end()

    def pause(self) -> None:
        """Let it take connections and answer nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """End a pause."""
        os.kill(self.pid, signal.SIGCONT)

    def restart(self) -> None:
        """Start it again, at the same port, after it ended."""
        self.kill()
        self._process, self.port = _launch(self.name, self._arguments, self.port)

    def stop(self) -> None:
        """End it in order."""
        if self.is_running:
            self.go_on()
            self._process.terminate()
        try:
            self._process.wait(_ENDING_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._end()

    def _end(self) -> None:
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def start(name: str, *arguments: str | Path) -> Server:
    """Start `platform`, `vendor`, `cache` or `redis`, and wait until it listens.

    Raises Unreachable where it ended instead of listening.
    """
    given = tuple(str(each) for each in arguments)
    return Server(name, given, *_launch(name, given, free_port()))


@contextmanager
def started(name: str, *arguments: str | Path) -> Iterator[Server]:
    """The same until the block ends."""
    server = start(name, *arguments)
    try:
        yield server
    finally:
        server.stop()


def has_redis() -> bool:
    """Whether a real Redis can be started."""
    return shutil.which("redis-server") is not None


def free_port() -> int:
    """A port of the loopback interface at which nobody listens. None of those that the system gives to clients: before
    a server is started there, or while it is down, one of them might have it.
    """
    while True:
        port = random.SystemRandom().randrange(*_PORTS)
        with socket.socket() as tried, suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return port


def _launch(name: str, arguments: tuple[str, ...], port: int) -> tuple[subprocess.Popen[bytes], int]:
    if name == "redis":
        return _launch_redis(arguments, port)
    command = [sys.executable, "-m", f"holdfast.sample.{name}", *arguments]
    process = subprocess.Popen(
        [*command, "--listen", f"127.0.0.1:{port}", "--with-parent"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise _ended(name, process)
    return process, int(line)


def _launch_redis(arguments: tuple[str, ...], port: int) -> tuple[subprocess.Popen[bytes], int]:
    """A Redis that keeps nothing on the disk."""
    options = ("--bind", "127.0.0.1", "--port", str(port), "--save", "", "--appendonly", "no")
    process = subprocess.Popen(["redis-server", *options, *arguments], stdout=subprocess.DEVNULL)
    give_up = time.monotonic() + _BEGINNING_SECONDS
    while time.monotonic() < give_up and process.poll() is None:
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return process, port
        time.sleep(0.01)
    process.kill()
    raise _ended("redis", process)


def _ended(name: str, process: subprocess.Popen[bytes]) -> Unreachable:
    code = process.wait()
    return Unreachable(
        f"the sample's {name} ended instead of listening (exit code {code})",
        hint='what it said is above; it needs pip install "holdfast[outage]"',
    )
