"""The main job on servers of databases. HOLDFAST_BENCH_ENGINES says which (default `postgres mariadb`)."""

from __future__ import annotations

import os
import sys

from bench import mariadb, postgres
from bench.report import Line

__all__ = ["run"]

_ENGINES = {"postgres": postgres.run, "mariadb": mariadb.run}


def run() -> list[Line]:
    """All lines of the suite."""
    wanted = os.environ.get("HOLDFAST_BENCH_ENGINES", " ".join(_ENGINES)).split()
    if unknown := sorted(set(wanted) - set(_ENGINES)):
        sys.exit(f"bench: no engine called {', '.join(unknown)}; there are: {', '.join(_ENGINES)}")
    return [line for name in wanted for line in _ENGINES[name]()]
