"""Which sessions were proven: a keyed hash of each credential, whose it is, and until when. Several processes use it.

A session that ended stays ended: for a minute no proof counts that may have been under way when it did. What is
proven is written by a thread, many at a time; that one ended is on the disk before the caller goes on.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Full, Queue

from holdfast.errors import HoldfastError, Unreachable
from holdfast.state.disk import translated
from holdfast.state.lock import release, try_lock
from holdfast.state.sound import Form, open_sound

__all__ = ["SessionStore"]

_log = logging.getLogger(__name__)

_FORM = Form(
    "the memory of proven sessions",
    1,
    # Without a subject: it ended, and until then nothing is believed about it.
    (
        "CREATE TABLE sessions (digest BLOB PRIMARY KEY, subject TEXT, until REAL NOT NULL) WITHOUT ROWID",
        "CREATE INDEX sessions_until ON sessions (until)",
    ),
    "FULL",
)
_FIND = "SELECT subject, until FROM sessions WHERE digest = ?"
_PROVE = """INSERT INTO sessions VALUES (:digest, :subject, :until)
ON CONFLICT (digest) DO UPDATE SET subject = excluded.subject, until = excluded.until
WHERE sessions.subject IS NOT NULL OR sessions.until <= :now"""
_END = "INSERT OR REPLACE INTO sessions VALUES (:digest, NULL, :until)"
_PURGE = "DELETE FROM sessions WHERE until <= ?"
_Row = tuple[str | None, float]
_NOBODY: _Row = (None, 0.0)
_ANYBODY: _Row = ("", float("inf"))
_ENDED_SECONDS = 60.0
_FRESH = 0.9  # a proof is written again only when the last one lost a tenth of its time
_WAITING_MAX = 10_000
_BATCH_MAX = 1000
_PURGE_SECONDS = 60.0
_BUSY_SECONDS = 3.0
_ENDING_SECONDS = 5.0


@dataclass(frozen=True, slots=True, eq=False)
class _Change:
    digest: bytes
    subject: str | None
    until: float
    now: float
    is_done: Future[None] = field(default_factory=Future)


class SessionStore:
    """Sessions in a file, for one process and the thread that opened it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # One process at a time makes the file, or begins a damaged one anew.
        with translated(path):
            lock = try_lock(path.with_name(f"{path.name}.lock"), wait=True)
        assert lock is not None, "who waits for a lock has it"
        try:
            self._reader = open_sound(path, _FORM)
        finally:
            release(lock)
        self._waiting: Queue[_Change | None] = Queue(_WAITING_MAX)
        self._ahead: dict[bytes, _Change] = {}  # what this process knows and the file does not yet
        self._purged = 0.0
        self._is_failing = False
        self._writer = threading.Thread(target=self._write, name="sessions", daemon=True)
        self._writer.start()

    def close(self) -> None:
        """Write what waits, and let go of the file."""
        self._waiting.put(None)
        self._writer.join()
        self._reader.close()

    def subject(self, digest: bytes, now: float) -> str | None:
        """Whose session that is, if it was proven and has not ended. What can't be read was not."""
        subject, until = self._row(digest) or _NOBODY
        # What can't be written may be that somebody's session is over: then nobody's is believed.
        return subject if until > now and not self._is_failing else None

    def prove(self, digest: bytes, subject: str, until: float, now: float) -> None:
        """Somebody's session was proven, and is believed until then; not if it ended a moment ago."""
        found = self._row(digest)
        if found is None:
            return
        known, end = found
        if known is None and end > now:
            return
        is_fresh = known == subject and (until - now) * _FRESH <= end - now <= until - now
        if not is_fresh:
            # Where too many wait the next proof will do.
            self._put(_Change(digest, subject, until, now))

    def end(self, digest: bytes, now: float, *, is_known: bool = False) -> None:
        """The session is over; returns when that is on the disk, and raises if it can't be. With *is_known* nothing is
        done about one that was never proven; otherwise that, too, is remembered for a minute.
        """
        known, until = self._row(digest) or _ANYBODY
        is_live = known is not None and until > now
        if not is_live and (is_known or until > now):
            return
        change = _Change(digest, None, now + _ENDED_SECONDS, now)
        if not is_live:
            self._put(change)
        else:
            self._ahead[digest] = change
            try:
                self._waiting.put(change, timeout=_ENDING_SECONDS)
                change.is_done.result(_ENDING_SECONDS)
            except (Full, TimeoutError) as err:
                raise Unreachable(f"{self._path} can't be written in time", hint="check the disk") from err

    def _row(self, digest: bytes) -> _Row | None:
        """Whose session and until when; None if the file can't be read."""
        change = self._ahead.get(digest)
        if change is not None:
            return change.subject, change.until
        try:
            row: _Row | None = self._reader.execute(_FIND, (digest,)).fetchone()
        except sqlite3.Error as err:
            # A platform that answers must not seem to be away because our memory is damaged.
            _log.warning("%s can't be read, and nobody's session is believed: %s", self._path, err)
            return None
        return _NOBODY if row is None else row

    def _put(self, change: _Change) -> None:
        self._ahead[change.digest] = change
        try:
            self._waiting.put_nowait(change)
        except Full:
            del self._ahead[change.digest]

    def _write(self) -> None:
        is_last = False
        with closing(sqlite3.connect(self._path, isolation_level=None, timeout=_BUSY_SECONDS)) as connection:
            while not is_last:
                batch = [self._waiting.get()]
                with suppress(Empty):
                    while len(batch) < _BATCH_MAX:
                        batch.append(self._waiting.get_nowait())
                is_last = None in batch
                self._commit(connection, [each for each in batch if each is not None])

    def _commit(self, connection: sqlite3.Connection, changes: Sequence[_Change]) -> None:
        failed: Exception | None = None
        try:
            with translated(self._path):
                self._changed(connection, changes)
        except (HoldfastError, sqlite3.Error) as err:
            failed = err
        self._is_failing = failed is not None
        for each in changes:
            # That a session is over stays in force here although it could not be written.
            is_kept = failed is not None and each.subject is None
            if self._ahead.get(each.digest) is each and not is_kept:
                del self._ahead[each.digest]
            if failed is None:
                each.is_done.set_result(None)
            else:
                each.is_done.set_exception(failed)

    def _changed(self, connection: sqlite3.Connection, changes: Sequence[_Change]) -> None:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            for each in changes:
                values = {"digest": each.digest, "subject": each.subject, "until": each.until, "now": each.now}
                connection.execute(_END if each.subject is None else _PROVE, values)
            if changes and changes[-1].now >= self._purged + _PURGE_SECONDS:
                self._purged = changes[-1].now
                connection.execute(_PURGE, (self._purged,))
