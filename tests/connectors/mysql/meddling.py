"""For the tests of what others do in the worst moment: something happens as a certain statement is on its way."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from pymysql import connections

__all__ = ["as_it_is_sent", "lost_in_commit"]

# What sends every statement, and what reads the server's word on a COMMIT; the driver's types don't tell of them.
_SENDS: Any = vars(connections.Connection)["_execute_command"]
_COMMITS: Any = vars(connections.Connection)["commit"]
_READS: Any = vars(connections.Connection)["_read_ok_packet"]


@contextmanager
def as_it_is_sent(beginning: str, act: Callable[[], object]) -> Iterator[None]:
    """Act once, just before this process sends its first statement that begins so; it must come to that."""

    def acts(frame: FrameType) -> bool:
        if frame.f_code is not _SENDS.__code__:
            return False
        sql = frame.f_locals["sql"]
        is_it = (sql if isinstance(sql, str) else sql.decode(errors="replace")).startswith(beginning)
        if is_it:
            act()
        return is_it

    with _watched(acts):
        yield


@contextmanager
def lost_in_commit() -> Iterator[None]:
    """Lose the first connection that commits, when the server has committed and before it is heard."""

    def loses(frame: FrameType) -> bool:
        caller = frame.f_back
        if frame.f_code is not _READS.__code__ or caller is None or caller.f_code is not _COMMITS.__code__:
            return False
        driver: Any = frame.f_locals["self"]
        # It says so when it is done.
        driver._rfile.read1()
        driver._sock.shutdown(socket.SHUT_RDWR)
        return True

    with _watched(loses):
        yield


@contextmanager
def _watched(acts: Callable[[FrameType], bool]) -> Iterator[None]:
    """Let *acts* see each call that this thread makes, until it says that it has acted; it must come to that."""
    waiting = [acts]

    def watch(frame: FrameType, event: str, _: Any) -> None:
        if waiting and event == "call" and waiting[0](frame):
            waiting.clear()

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        yield
    finally:
        sys.setprofile(before)
    assert not waiting, "it never came to that"
