"""The site server against nginx: fifty writers store objects at once, on the loopback, without TLS on either side.

Measured are the CPU seconds of the server's processes, by the kernel, for the bytes that were stored. The two don't do
the same: ours admits each request by its token, hashes every byte, counts it for its writer, and syncs file and folder
before it answers; nginx (its WebDAV PUT, one worker) writes a file and renames it, and syncs nothing. So the wall times
are not compared, and half of nginx is the goal.
"""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from bench.report import Line
from holdfast.core.policy import Policy
from holdfast.operations.found import found_vault
from holdfast.operations.hosting import SiteFile, begin_site, new_token
from holdfast.sample.processes import free_port
from holdfast.vault.names import Kind, name_for, sha256_hex
from holdfast.vault.sites import Site
from holdfast.vault.stores.http import open_http_store

__all__ = ["run"]

ROUNDS = 3
WRITERS = 50
SIZES = {"8 MB": (8_000_000, 1), "256 KB": (256_000, 8)}  # bytes of an object, and how many each writer stores
MEMORY_LIMIT_MB = 512.0
_PATIENCE_SECONDS = 60.0
_TICKS = os.sysconf("SC_CLK_TCK")
_NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off; client_max_body_size 0; client_body_temp_path {folder}/tmp; keepalive_requests 100000;
  server {{ listen 127.0.0.1:{port}; root {folder}/data;
    location / {{ dav_methods PUT; create_full_put_path on; }} }}
}}
"""


@dataclass(frozen=True, slots=True)
class _Server:
    """A server that runs: where, who its processes are, and where and as whom each writer puts a name."""

    port: int
    process: int
    path: Callable[[str], str]
    tokens: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Cost:
    """What a round cost the server, and its memory at most."""

    mb_per_cpu_second: float
    peak_mb: float


def run() -> list[Line]:
    """All lines of the suite."""
    found: dict[tuple[str, str], list[_Cost]] = {}
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as name:
        for number in range(ROUNDS):
            for label, (size, count) in SIZES.items():
                for side, serving in (("ours", _ours), ("nginx", _nginx)):
                    _say(f"round {number + 1} of {ROUNDS}: {WRITERS} writers, {label}: {side}")
                    folder = Path(name, f"{side}-{number}-{size}")
                    folder.mkdir()
                    with serving(folder) as server:
                        cost = _measured(server, size, count)
                    found.setdefault((label, side), []).append(cost)
                    shutil.rmtree(folder)
    peak = max(each.peak_mb for (_, side), costs in found.items() if side == "ours" for each in costs)
    lines = [
        Line(
            f"stored by {WRITERS} writers, {label}",
            "MB/CPU s",
            "nginx, which syncs nothing",
            tuple(each.mb_per_cpu_second for each in found[label, "ours"]),
            tuple(each.mb_per_cpu_second for each in found[label, "nginx"]),
            more_is_better=True,
        )
        for label in SIZES
    ]
    return [*lines, Line("memory at most", "MB", "the limit", (peak,), (MEMORY_LIMIT_MB,))]


def _measured(server: _Server, size: int, count: int) -> _Cost:
    """Fifty writers at once, each over one connection; the server's CPU seconds for it."""
    before = _cpu(server.process)
    failed: list[str] = []
    base = os.urandom(size)
    threads = [threading.Thread(target=_write, args=(server, number, base, count, failed)) for number in range(WRITERS)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    if failed:
        sys.exit(f"bench: a writer failed: {failed[0]}")
    seconds = _cpu(server.process) - before
    return _Cost(WRITERS * count * size / 1e6 / seconds, _peak_mb(server.process))


def _write(server: _Server, number: int, base: bytes, count: int, failed: list[str]) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=_PATIENCE_SECONDS)) as connection:
        for each in range(count):
            data = b"%08d%08d" % (number, each) + base[16:]
            name = name_for(Kind.OBJECT, sha256_hex(data))
            headers = {"authorization": f"Bearer {server.tokens[number]}"}
            connection.request("PUT", server.path(name), body=data, headers=headers)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 201:
                failed.append(f"{answer.status} {text[:200]!r}")
                return


@contextmanager
def _ours(folder: Path) -> Iterator[_Server]:
    site = folder / "site"
    begin_site(site, SiteFile("bench", "bench"))
    tokens = tuple(new_token(site, f"writer{number}", vault="main")[0] for number in range(WRITERS))
    port = free_port()
    command = [f"{Path(sys.executable).parent / 'holdfast'}", "site", "serve", "--folder", str(site)]
    with _running([*command, "--listen", f"127.0.0.1:{port}"], port, folder) as process:
        store = open_http_store(f"http://127.0.0.1:{port}/main", tokens[0])
        found_vault("bench", [Site("bench", "bench", store)], Policy(), lambda: datetime.now(UTC), with_reader=False)
        yield _Server(port, process, lambda name: f"/v1/main/names/{name}", tokens)


@contextmanager
def _nginx(folder: Path) -> Iterator[_Server]:
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        sys.exit("bench: nginx is not installed: apt-get install nginx-light")
    port = free_port()
    for each in ("data", "tmp"):
        (folder / each).mkdir()
    config = folder / "nginx.conf"
    # Its worker must be able to write there whoever it runs as.
    user = "user root; " if os.geteuid() == 0 else ""
    config.write_text(user + _NGINX.format(folder=folder, port=port))
    with _running([program, "-c", str(config), "-p", str(folder)], port, folder) as process:
        yield _Server(port, process, lambda name: f"/{name}", ("",) * WRITERS)


@contextmanager
def _running(command: list[str], port: int, folder: Path) -> Iterator[int]:
    """A server that answers at the port, stopped afterwards; the number of its process."""
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"bench: {command[0]} did not start:\n{(folder / 'log').read_text()}")
                time.sleep(0.05)
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(_PATIENCE_SECONDS)


def _cpu(number: int) -> float:
    """CPU seconds of a process and of those that it began, as long as they live."""
    own = _stat(number)
    children = [stat for each in Path("/proc").iterdir() if each.name.isdecimal() and (stat := _stat(int(each.name)))]
    stats = [own, *(each for each in children if each[1] == str(number))]
    return sum(int(part) for stat in stats for part in stat[11:13]) / _TICKS


def _stat(number: int) -> list[str]:
    """The fields of /proc/PID/stat after the name, the state first; none if the process is gone."""
    try:
        return Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _peak_mb(number: int) -> float:
    lines = Path(f"/proc/{number}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
