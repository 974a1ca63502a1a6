"""What findings are worth: false alarms, misses and delay, and what mending costs.

HOLDFAST_BENCH_FINDINGS says which parts (default: all).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from bench import alarms, detection, lost, undoing
from bench.report import Line

__all__ = ["run"]

_PARTS: dict[str, Callable[[], list[Line]]] = {
    "alarms": alarms.run,
    "detection": detection.run,
    "lost": lost.run,
    "undo": undoing.run,
}


def run() -> list[Line]:
    """All lines of the suite."""
    wanted = os.environ.get("HOLDFAST_BENCH_FINDINGS", " ".join(_PARTS)).split()
    if unknown := sorted(set(wanted) - set(_PARTS)):
        sys.exit(f"bench: no part called {', '.join(unknown)}; there are: {', '.join(_PARTS)}")
    return [line for name in wanted for line in _PARTS[name]()]
