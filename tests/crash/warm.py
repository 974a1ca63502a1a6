"""The command line as processes of their own, forked from one warm interpreter; each may be killed (-9) on its way.

A job is a JSON line on standard input, its outcome one on standard output. A process to be killed counts its events:
files opened to be written, made, linked, renamed and removed, and statements to a database. When the event comes that
the job names, the process is killed so many microseconds later, wherever it is then.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from holdfast.connectors.sqlite import connection

__all__ = ["Done", "Warm"]

ROOT = Path(__file__).resolve().parents[2]
EVENTS = frozenset({"os.link", "os.rename", "os.remove", "os.mkdir", "sqlite3.connect"})
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


@dataclass(frozen=True, slots=True)
class Done:
    """How a process ended: its exit code (-9: killed), what it printed, and the events it counted if it was not."""

    code: int
    stdout: str
    stderr: str
    events: int

    def facts(self) -> Any:
        """The JSON that it printed, one value a line."""
        return [json.loads(line) for line in self.stdout.splitlines()]


class Warm:
    """The warm interpreter, for as long as the block runs."""

    def __enter__(self) -> Self:
        environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "120", "TERM": "dumb"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.warm"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, at: TracebackType | None) -> None:
        self._process.communicate()
        assert self._process.returncode == 0

    def run(self, folder: Path, *arguments: str, event: int = 0, microseconds: int = 0) -> Done:
        """Run `holdfast ARGUMENT …` in a folder; with an event, kill it at that one; with -1, only count events."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        job = {"arguments": arguments, "folder": str(folder), "event": event, "microseconds": microseconds}
        print(json.dumps(job), file=self._process.stdin, flush=True)
        return Done(**json.loads(self._process.stdout.readline()))


class Killer:
    """Counts events in every thread and kills the process at the one wanted."""

    def __init__(self, event: int, microseconds: int) -> None:
        self.count = 0
        self._left = event
        self._seconds = microseconds / 1_000_000
        self._lock = threading.Lock()

    def install(self) -> None:
        """Watch this process from now on."""
        tick = self._tick

        class CountedSession(connection.Session):
            def run(self, sql: str, parameters: Any = ()) -> None:
                tick()
                super().run(sql, parameters)

            def run_many(self, sql: str, rows: Any) -> None:
                tick()
                super().run_many(sql, rows)

        connection.Session = CountedSession  # type: ignore[misc]
        sys.addaudithook(self._audit)

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in EVENTS or (event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITES):
            self._tick()

    def _tick(self) -> None:
        with self._lock:
            self.count += 1
            self._left -= 1
            is_due = self._left == 0
        if not is_due:
            return
        if self._seconds:
            timer = threading.Timer(self._seconds, _die)
            timer.daemon = True
            timer.start()
        else:
            _die()


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _serve() -> None:
    # What every command needs is loaded once, before the first fork.
    import rich.table

    import holdfast.begin
    import holdfast.operations as ops
    import holdfast.views
    from holdfast.cli.main import run
    from holdfast.connectors import sqlite
    from holdfast.vault.stores import folder

    assert all((rich.table, holdfast.begin, holdfast.open_vault, holdfast.views, sqlite, folder))
    assert all(getattr(ops, name) for name in ops.__all__)

    for line in sys.stdin:
        job = json.loads(line)
        reads = {name: os.memfd_create(name) for name in ("stdout", "stderr", "events")}
        process = os.fork()
        if process == 0:
            _child(job, reads, run)
        _, status = os.waitpid(process, 0)
        told = {name: _all_of(number) for name, number in reads.items()}
        outcome = {**told, "code": os.waitstatus_to_exitcode(status), "events": int(told["events"] or 0)}
        print(json.dumps(outcome), flush=True)


def _child(job: dict[str, Any], files: dict[str, int], run: Any) -> None:
    code = 1
    try:
        os.chdir(job["folder"])
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(files["stdout"], 1)
        os.dup2(files["stderr"], 2)
        sys.argv = ["holdfast", *job["arguments"]]
        killer = Killer(job["event"], job["microseconds"])
        if job["event"]:
            killer.install()
        try:
            run()
        except SystemExit as end:
            code = int(end.code or 0)
        sys.stdout.flush()
        os.write(files["events"], str(killer.count).encode())
    finally:
        # The fork must not go on as the server, whatever came up to here; what it was is told.
        if sys.exc_info()[0] is not None:
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(code)


def _all_of(number: int) -> str:
    with os.fdopen(number, "rb") as file:
        file.seek(0)
        return file.read().decode("utf-8", "replace")


if __name__ == "__main__":
    _serve()
