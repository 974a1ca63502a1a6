"""The server's clock, as it runs on here between two looks at it.

A session may tell the binlog any time (SET timestamp): one that is still to come would stand for every later change.
"""

from __future__ import annotations

import time

from holdfast.connectors.mysql.connection import Connection, translated

__all__ = ["ServerClock"]

_SLACK = 1_000_000  # microseconds


class ServerClock:
    """What time it is by the server, in microseconds since 1970."""

    def __init__(self, connection: Connection) -> None:
        self.look(connection)

    def look(self, connection: Connection) -> None:
        """Ask the server for its time: it may have been set since."""
        with translated("the server's clock"), connection.cursor() as cursor:
            # Not NOW(): that is the session's.
            cursor.execute("SELECT CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS UNSIGNED)")
            (now,) = cursor.fetchone() or (0,)
        self._ahead = int(now) - time.monotonic_ns() // 1000

    def capped(self, at: int) -> int:
        """This time, or the present one where it has yet to come."""
        return min(at, time.monotonic_ns() // 1000 + self._ahead + _SLACK)
