"""A restore in a process of its own, which kills itself or the server (-9) at one of its statements.

    python -m tests.connectors.mysql.cut_off SOURCE TARGET STATEMENT PROCESS MICROSECONDS

Of every statement that it sends it prints the beginning. With STATEMENT 0 it comes to its end. PROCESS 0 is itself.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import Any

from pymysql import connections

from holdfast.connectors.mysql.create import create_database
from holdfast.connectors.mysql.reader import MysqlReader

__all__ = ["main"]

# What sends every statement; the driver's types don't tell of it.
_SENDS: Any = vars(connections.Connection)["_execute_command"]


class Killer:
    """Counts statements, and kills so many microseconds after it saw the one that was wanted on its way."""

    def __init__(self, statement: int, process: int, microseconds: int) -> None:
        self._left = statement
        self._process = process or os.getpid()
        self._seconds = microseconds / 1_000_000

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and frame.f_code is _SENDS.__code__:
            sql = frame.f_locals["sql"]
            told = sql if isinstance(sql, str) else sql.decode(errors="replace")
            print(" ".join(told.split())[:60], flush=True)
            self._left -= 1
            if self._left == 0:
                if not self._seconds:
                    self._kill()
                threading.Timer(self._seconds, self._kill).start()

    def _kill(self) -> None:
        os.kill(self._process, signal.SIGKILL)


def main(source: str, target: str, statement: int, process: int, microseconds: int) -> None:
    """Build *target* from a snapshot of *source*."""
    with MysqlReader(source).snapshot() as snapshot:
        views = [snapshot.read(each) for each in snapshot.collections]
        sys.setprofile(Killer(statement, process, microseconds))
        create_database(target, views)
        sys.setprofile(None)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
