"""Tests run by processes that are forked from one which has loaded what others made, and nothing of this project.

To start Python and load pytest, its plugins, Arrow and the drivers takes longer than most tests that catch a bug. What
a test loads of the project itself, its run loads anew and from its own copy: `_run` looks that up when it has run.

A job is a JSON line on standard input, its outcome one on standard output.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import hypothesis
import pytest

__all__ = ["FOREIGN", "Warm"]

ROOT = Path(__file__).resolve().parent.parent
OURS = ("holdfast", "reader", "tests")
FOREIGN = 99  # an exit code that pytest does not have
THEIRS = (
    "_hypothesis_pytestplugin", "adbc_driver_sqlite.dbapi", "cryptography.hazmat.primitives.asymmetric.ed25519",
    "dateutil.tz", "hypothesis.strategies", "msgspec", "pandas", "psycopg", "psycopg_binary", "pyarrow.compute",
    "pyarrow.dataset", "pyarrow.parquet", "pymysql", "pyrage", "rich.console", "rich.progress", "rich.table",
    "securesystemslib.dsse", "securesystemslib.signer", "typer.main", "xdist.plugin",
)  # fmt: skip


class Warm:
    """The process to fork from; it ends with this one, or when it is closed."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bugs.warm"],
            cwd=ROOT,
            # Whatever is read from a copy, its bytecode included, is shared by all runs.
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def pytest(
        self, tests: Sequence[str], copy: Path, environment: Mapping[str, str], *, seconds: float
    ) -> tuple[int | None, str]:
        """Run tests in a copy of the project against its own code: pytest's exit code, or None if it did not end in
        time; FOREIGN if the run loaded anything of the project from elsewhere. And what it printed.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        job = {"tests": list(tests), "copy": str(copy), "environment": dict(environment), "seconds": seconds}
        print(json.dumps(job), file=self._process.stdin, flush=True)
        outcome = json.loads(self._process.stdout.readline())
        return outcome["code"], outcome["said"]


def _serve() -> None:
    for plugin in entry_points(group="pytest11"):
        plugin.load()
    for name in THEIRS:
        import_module(name)
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        job = json.loads(line)
        said = os.memfd_create("said")
        process = os.fork()
        if process == 0:
            _child(job, said)
        code = _awaited(process, job["seconds"])
        with os.fdopen(said, "rb") as file:
            file.seek(0)
            print(json.dumps({"code": code, "said": file.read().decode(errors="replace")}), flush=True)


def _awaited(process: int, seconds: float) -> int | None:
    """The exit code of a process; None if it did not end in time: then all that it started ends with it."""
    ended = os.pidfd_open(process)
    has_ended = False
    try:
        has_ended = bool(select.select([ended], [], [], seconds)[0])
    finally:
        os.close(ended)
        if not has_ended:
            os.killpg(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    return os.waitstatus_to_exitcode(status) if has_ended else None


def _child(job: dict[str, Any], said: int) -> None:
    code = int(pytest.ExitCode.INTERNAL_ERROR)
    try:
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(said, 1)
        os.dup2(said, 2)
        code = _run(Path(job["copy"]), job["tests"], job["environment"])
    finally:
        # The fork must not go on as the server, whatever came up to here; what it was is told.
        if sys.exc_info()[0] is not None:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


class _NoShrinking:
    """Whether a test fails is all that is asked: Hypothesis need not find the simplest case that does."""

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self) -> None:
        """After the project has chosen how tests are drawn."""
        drawn = hypothesis.settings()
        phases = [each for each in drawn.phases if each not in (hypothesis.Phase.shrink, hypothesis.Phase.explain)]
        hypothesis.settings.register_profile("bug", drawn, phases=phases)
        hypothesis.settings.load_profile("bug")


def _run(copy: Path, tests: Sequence[str], environment: Mapping[str, str]) -> int:
    os.chdir(copy)
    os.environ.update(environment)
    # An installation for development leads to the project itself.
    elsewhere = [each for each in sys.path if Path(each).resolve() not in (ROOT, ROOT / "src")]
    sys.path[:] = [str(copy / "src"), *elsewhere]
    options = ["-q", "-x", "--no-header", "-p", "no:cacheprovider", "--assert=plain", "--tb=native"]
    code = pytest.main([*options, f"--basetemp={copy.parent / 'tmp'}", *tests], plugins=[_NoShrinking()])
    found = [module for name, module in sys.modules.items() if name.partition(".")[0] in OURS]
    foreign = [each for each in found if each.__file__ and not Path(each.__file__).is_relative_to(copy)]
    if not found or foreign:
        print(f"what was tested is not what lies in {copy}: {foreign}")
        return FOREIGN
    return int(code)


if __name__ == "__main__":
    _serve()
