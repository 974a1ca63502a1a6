"""Many small durable changes of one SQLite file, at the price of a few: what is asked for while the disk is busy goes
into one transaction, and all who asked are answered when that is on the disk.

* One thread of the process writes; several processes take turns, by a lock that wakes who waits.
* A transaction is whole or was not: where one part fails, nobody in it was promised anything.
* A sync that failed is never tried again: then nothing more is written by this process.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, NamedTuple, TypeVar

from holdfast.errors import HoldfastError, Unreachable
from holdfast.state.disk import Disk, translated
from holdfast.state.lock import release, try_lock

__all__ = ["GroupWriter"]

T = TypeVar("T")
_TOGETHER_MAX = 512


class _Asked(NamedTuple):
    work: Callable[[sqlite3.Connection], Any]
    future: asyncio.Future[Any] | Future[Any] | None


class GroupWriter:
    """The writer of this process to the file that *connection* is open to. Any thread may ask it. Close it."""

    def __init__(self, path: Path, connection: sqlite3.Connection, disk: Disk | None = None) -> None:
        self._path = path
        self._connection = connection
        self._disk = disk or Disk()
        self._turn = Lock()
        self._is_closed = False
        self._has_failed = False
        self._waiting: SimpleQueue[_Asked | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()

    @property
    def has_failed(self) -> bool:
        """Whether a sync failed, so that this process writes nothing more: only one that opens the file afresh does."""
        return self._has_failed

    async def ask(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What *work* returns, once all it did is durable. Raises Unreachable if it could not be made so."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._put(_Asked(work, future))
        return await future

    def do(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """As `ask`, for a thread that waits."""
        future: Future[T] = Future()
        self._put(_Asked(work, future))
        return future.result()

    def tell(self, work: Callable[[sqlite3.Connection], object]) -> None:
        """Let *work* be done after all that was asked for before. Nobody hears whether it was."""
        self._put(_Asked(work, None))

    def close(self) -> None:
        """Finish what was asked for."""
        with self._turn:
            self._is_closed = True
            self._waiting.put(None)
        self._thread.join()

    def _put(self, asked: _Asked) -> None:
        # Nothing comes after the end that `close` puts: nobody would answer it.
        with self._turn:
            if self._is_closed:
                raise self._failure("was closed")
            self._waiting.put(asked)

    def _run(self) -> None:
        is_last = False
        while not is_last:
            together = [self._waiting.get()]
            with suppress(Empty):
                while len(together) < _TOGETHER_MAX:
                    together.append(self._waiting.get_nowait())
            is_last = None in together
            self._write([each for each in together if each is not None])

    def _write(self, asked: list[_Asked]) -> None:
        # Should this fail in a way that nobody thought of, those who wait are told all the same.
        results: list[Any] | Exception = self._failure("could not be written")
        try:
            if asked and not self._has_failed:
                with translated(self._path):
                    results = self._transaction(asked)
        except (HoldfastError, sqlite3.Error) as err:
            results = err
        finally:
            _answer(asked, results)

    def _transaction(self, asked: list[_Asked]) -> list[Any]:
        connection = self._connection
        turn = try_lock(self._path.with_name(f"{self._path.name}-turn"), wait=True)
        assert turn is not None
        try:
            connection.execute("BEGIN IMMEDIATE")
            results = [each.work(connection) for each in asked]
            self._commit()
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            release(turn)
        return results

    def _commit(self) -> None:
        try:
            self._disk.commit(self._connection)
        except (sqlite3.DatabaseError, OSError) as err:
            # After a full disk SQLite knows what it did; after any other failure nobody knows what is on the disk.
            self._has_failed = getattr(err, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_FULL
            raise

    def _failure(self, what: str) -> Unreachable:
        return Unreachable(f"{self._path} {what}", hint="check the disk, then start the gateway again")


def _answer(asked: list[_Asked], results: list[Any] | Exception) -> None:
    """Wake each who asked; those of one event loop together."""
    by_loop = defaultdict(list)
    for number, each in enumerate(asked):
        result = results if isinstance(results, Exception) else results[number]
        if isinstance(each.future, Future):
            _set(each.future, result)
        elif each.future is not None:
            by_loop[each.future.get_loop()].append((each.future, result))
    for loop, found in by_loop.items():
        # In a loop that was closed meanwhile nobody is left who waits.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_set_all, found)


def _set_all(found: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for future, result in found:
        if not future.done():
            _set(future, result)


def _set(future: asyncio.Future[Any] | Future[Any], result: Any) -> None:
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
