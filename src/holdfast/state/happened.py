"""Events on their way to the journal: durable on this host before they are believed, and kept until a site has them.

Several threads and processes note at once; one at a time tells. Events go in batches: a batch keeps its name and what
is in it until it was told, so that whoever stopped in between asks the sites for that name before he tells it again.

    with Happened.open(folder) as happened:
        happened.note(BreakerMoved(now, was="closed", now="open", reason="5 failures in a row"))
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, Self

from holdfast.core.events import Event
from holdfast.errors import Damaged
from holdfast.state.disk import make_private_folder, translated
from holdfast.state.lock import release, try_lock
from holdfast.state.sound import Form, open_whole

__all__ = ["Batch", "Happened"]

_FILE = "happened.db"
_TABLES = (
    "CREATE TABLE happened (id INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT NOT NULL, batch TEXT NOT NULL DEFAULT '')",
    "CREATE TABLE believed (who TEXT PRIMARY KEY, what TEXT NOT NULL) WITHOUT ROWID",
    "CREATE INDEX happened_batch ON happened (batch) WHERE batch <> ''",
)
_FORM = Form("what holds events on their way to the journal", 1, _TABLES, "FULL", is_shared=True)
_BATCH_MAX = 2000


class Batch(NamedTuple):
    """Events that go to the journal together, as it holds them. `again`: they may have been told before."""

    name: str
    events: tuple[dict[str, Any], ...]
    again: bool


class Happened:
    """The events of a host's folder that no site has yet. Close it.

    Raises Unreachable if the disk is full or fails. What is damaged is set aside, beside the file, and begun anew: a
    host that stands in for its platform must not fail for its diary.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._turn = Lock()
        with translated(path):
            make_private_folder(path.parent)
        with _alone(path):
            try:
                self._connection = open_whole(path, _FORM)
            except Damaged:
                _set_aside(path)
                self._connection = open_whole(path, _FORM)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """The queue in this folder, made if absent."""
        return cls(folder / _FILE)

    def close(self) -> None:
        """Let go of the file; what waits in it stays."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def note(self, *events: Event, believed: Mapping[str, Any] | None = None) -> None:
        """Keep events, and with them what a watch now believes; when this returns, both survive a power cut. From any
        thread.
        """
        rows = [(json.dumps(event.to_json(), ensure_ascii=False),) for event in events]
        if rows:
            with self._changed() as connection:
                connection.executemany("INSERT INTO happened (event) VALUES (?)", rows)
                if believed is not None:
                    connection.execute("INSERT OR REPLACE INTO believed VALUES ('watch', ?)", (json.dumps(believed),))

    @property
    def believed(self) -> dict[str, Any]:
        """What a watch believed when it noted its last event; empty before the first."""
        with self._turn, translated(self._path):
            row = self._connection.execute("SELECT what FROM believed WHERE who = 'watch'").fetchone()
        return dict(json.loads(row[0])) if row else {}

    @property
    def waiting(self) -> int:
        """How many events no site has yet."""
        with self._turn, translated(self._path):
            return int(self._connection.execute("SELECT count(*) FROM happened").fetchone()[0])

    @contextmanager
    def telling(self) -> Iterator[Callable[[], Batch | None] | None]:
        """What takes the next batch, for this process alone, or None while another one tells. A batch that was taken
        stays until `told`.
        """
        with translated(self._path):
            number = try_lock(self._path.with_name("telling.lock"))
        if number is None:
            yield None
            return
        try:
            yield self._next
        finally:
            release(number)

    def told(self, batch: str) -> None:
        """Let go of a batch: a site has it."""
        with self._changed() as connection:
            connection.execute("DELETE FROM happened WHERE batch = ?", (batch,))

    def _next(self) -> Batch | None:
        with self._changed() as connection:
            row = connection.execute("SELECT batch FROM happened WHERE batch <> '' ORDER BY id LIMIT 1").fetchone()
            name = str(row[0]) if row else secrets.token_hex(8)
            if row is None:
                connection.execute(
                    "UPDATE happened SET batch = ? WHERE id IN (SELECT id FROM happened ORDER BY id LIMIT ?)",
                    (name, _BATCH_MAX),
                )
            found = connection.execute("SELECT event FROM happened WHERE batch = ? ORDER BY id", (name,)).fetchall()
        return Batch(name, tuple(json.loads(each) for (each,) in found), row is not None) if found else None

    @contextmanager
    def _changed(self) -> Iterator[sqlite3.Connection]:
        """One durable transaction of one thread."""
        with self._turn, translated(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            with self._connection:
                yield self._connection


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Nobody else opens the file meanwhile: two would make its tables, or set it aside, at once."""
    with translated(path):
        number = try_lock(path.with_name("happened.lock"), wait=True)
        assert number is not None
    try:
        yield
    finally:
        release(number)


def _set_aside(path: Path) -> None:
    with translated(path):
        number = 1
        while path.with_name(f"{path.name}-aside-{number}").exists():
            number += 1
        path.rename(path.with_name(f"{path.name}-aside-{number}"))
        for end in ("-wal", "-shm"):
            path.with_name(path.name + end).unlink(missing_ok=True)
