"""The sessions of one moment: who reads rows of it takes one, and waits if all are taken."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from holdfast.connectors.mysql.catalog import Catalog
from holdfast.connectors.mysql.connection import Connection
from holdfast.connectors.mysql.sessions import Lane, opened
from holdfast.errors import HoldfastError

__all__ = ["BinlogPlace", "Held", "Lanes"]


@dataclass(frozen=True, slots=True)
class BinlogPlace:
    """Where a server's log of changes stood: what comes after it is not in the snapshot, all before it is."""

    file: str
    position: int
    gtid: str


@dataclass(frozen=True, slots=True)
class Held:
    """A moment: the session for questions, those that read rows, and what was to be had only at that moment.

    `kept` are the rows of small tables whose engine keeps no moments, `late` those tables that are read later, and why.
    `lock_seconds` is for how long nobody could commit.
    """

    questions: Connection
    lanes: Sequence[Lane]
    catalog: Catalog
    taken: datetime
    place: BinlogPlace | None
    lock_seconds: float
    kept: Mapping[str, Sequence[Sequence[pa.Array]]]
    late: Mapping[str, str]


class Lanes:
    """The sessions of one moment, each for one reader at a time. Calls may come from threads."""

    def __init__(self, url: str, held: Held) -> None:
        self.held = held
        self._url = url
        self._asking = threading.Lock()
        self._idle = list(held.lanes)
        self._busy: dict[Lane, int] = {}
        self._freed = threading.Condition()

    @contextmanager
    def questions(self) -> Iterator[Connection]:
        """The session that answers questions, within the moment."""
        with self._asking:
            yield self.held.questions

    @contextmanager
    def lane(self) -> Iterator[Lane]:
        """A session for one reader of rows alone, who may leave in the middle of a result; waits for one to be free."""
        own = threading.get_ident()
        with self._freed:
            while not self._idle:
                if all(owner == own for owner in self._busy.values()):
                    raise HoldfastError("more large tables are read side by side than this moment has sessions")
                self._freed.wait()
            lane = self._idle.pop()
            self._busy[lane] = own
        try:
            yield lane
        finally:
            with self._freed:
                del self._busy[lane]
                self._idle.append(lane)
                self._freed.notify()

    @contextmanager
    def later(self) -> Iterator[Lane]:
        """A session of its own, outside the moment."""
        with closing(opened(self._url)) as lane:
            yield lane

    def close(self) -> None:
        """End the moment, and every session with it."""
        for session in (*self.held.lanes, self.held.questions):
            session.close()
