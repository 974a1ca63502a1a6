"""Load on a server over HTTP, by wrk, and what it cost the server's processes."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Load", "cpu_seconds", "family", "load", "peak_mb"]

_UNITS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


@dataclass(frozen=True, slots=True)
class Load:
    """What a round of requests found: answers a second, how long 99 of 100 took, how many were no good, and the CPU
    that each took of the server's processes.
    """

    per_second: float
    p99_ms: float
    failed: int
    cpu_us: float


def load(url: str, processes: Sequence[int], *, connections: int = 32, seconds: int = 2, script: str = "") -> Load:
    """Ask for *url* as fast as it goes, over so many connections; *processes* are the server's."""
    program = shutil.which("wrk")
    if program is None:
        sys.exit("bench: wrk is not installed: apt-get install wrk")
    before = sum(map(cpu_seconds, processes))
    command = [program, "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "15s", "--latency"]
    text = subprocess.run(
        [*command, *(["-s", script] if script else []), url], capture_output=True, text=True, check=True
    )
    spent = sum(map(cpu_seconds, processes)) - before
    count = int(_found(r"(\d+) requests in", text.stdout))
    number, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", text.stdout).groups()  # type: ignore[union-attr]
    failed = int(_found(r"Non-2xx or 3xx responses: (\d+)", text.stdout, "0"))
    for errors in re.findall(r"Socket errors: (.*)", text.stdout):
        failed += sum(map(int, re.findall(r"\d+", errors)))
    return Load(
        float(_found(r"Requests/sec:\s+([\d.]+)", text.stdout)),
        float(number) * _UNITS[unit],
        failed,
        spent * 1e6 / max(count, 1),
    )


def family(process: int) -> list[int]:
    """A process and all that it began and that lives, whoever of them began it."""
    parents = {int(each.name): _parent(each) for each in Path("/proc").iterdir() if each.name.isdecimal()}
    found = [process]
    for one in found:
        found += [number for number, parent in parents.items() if parent == one]
    return found


def cpu_seconds(process: int) -> float:
    """What the threads of a process that live used so far; 0 if it is gone."""
    spent = 0
    for task in Path(f"/proc/{process}/task").glob("*"):
        with suppress(FileNotFoundError, ProcessLookupError):
            spent += int((task / "schedstat").read_text().split()[0])
    return spent / 1e9


def peak_mb(process: int) -> float:
    """The most memory that a process had."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def _parent(folder: Path) -> int:
    stat = _stat(folder)
    return int(stat[1]) if stat else 0


def _stat(folder: Path) -> list[str]:
    """The fields of `stat` after the name, the state first; none if the process is gone."""
    try:
        return (folder / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _found(pattern: str, text: str, otherwise: str | None = None) -> str:
    found = re.search(pattern, text)
    if found is None:
        if otherwise is None:
            sys.exit(f"bench: wrk said something else:\n{text}")
        return otherwise
    return found[1]
