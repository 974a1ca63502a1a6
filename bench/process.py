"""Whole commands, measured by the kernel: wall seconds, CPU seconds of every process, peak memory of the largest."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Figures", "measured", "stored_bytes"]


@dataclass(frozen=True, slots=True)
class Figures:
    """One run of a command, descendants included in `cpu`."""

    wall: float
    cpu: float
    peak_mb: float


def measured(command: str, *, folder: Path, environment: Mapping[str, str] | None = None) -> Figures:
    """Run a shell command in *folder* and wait for it; an exit code other than 0 ends the benchmark."""
    log = folder / "bench.log"
    with log.open("ab") as output:
        began = time.monotonic()
        child = subprocess.Popen(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**os.environ, **(environment or {})},
        )
        _, status, usage = os.wait4(child.pid, 0)
        wall = time.monotonic() - began
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        tail = log.read_text(errors="replace")[-2000:]
        sys.exit(f"bench: exit {child.returncode} from: {command}\n{tail}")
    return Figures(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def stored_bytes(folder: Path) -> int:
    """The bytes of all files below a folder, or of one file."""
    files = [folder] if folder.is_file() else [path for path in folder.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in files)
