"""The pointer database `state.db`: which runs count, what waits for its commit, and the last known state.

Each change is one transaction, synced before it returns. Facts under run 0 are current; facts under another number
belong to that pending run and become current with it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from holdfast.core.records import Schema
from holdfast.errors import Damaged, Unreachable, Usage
from holdfast.state.disk import REBUILD_HINT, Disk, translated
from holdfast.state.remembered import CollectionState, PendingRun, StreamState

__all__ = ["Database", "RunRow"]

_VERSION = 1
_CURRENT = 0
_TABLES = f"""
CREATE TABLE runs (
  id INTEGER PRIMARY KEY AUTOINCREMENT, file TEXT NOT NULL, bytes INTEGER NOT NULL, sum INTEGER NOT NULL,
  commit_name TEXT NOT NULL, status TEXT NOT NULL CHECK (status IN ('pending', 'applied')),
  created TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')));
CREATE TABLE stream (run INTEGER PRIMARY KEY, id TEXT NOT NULL, sequence INTEGER NOT NULL, head TEXT NOT NULL);
CREATE TABLE collections (
  name TEXT, run INTEGER, schema TEXT, rows INTEGER, fingerprint TEXT, generation INTEGER,
  base_stream TEXT, base_sequence INTEGER,
  base_rows INTEGER, delta_rows INTEGER, deltas INTEGER,
  PRIMARY KEY (name, run)) WITHOUT ROWID;
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
PRAGMA user_version = {_VERSION};
"""
_INSERT_RUN = "INSERT INTO runs (file, bytes, sum, commit_name, status) VALUES (?,?,?,?,?)"
_INSERT_MERGED = "INSERT INTO runs (id, file, bytes, sum, commit_name, status) VALUES (?,?,?,?,?,?)"


class RunRow(NamedTuple):
    """One run as the database lists it; `file` is empty when the capture changed nothing in the index."""

    id: int
    file: str
    bytes: int
    sum: int
    commit: str


class Database:
    """state.db, open. After a change that failed, whether it is on disk is unknown, so all further ones are refused."""

    def __init__(self, path: Path, disk: Disk, *, read_only: bool = False) -> None:
        self.path = path
        self._disk = disk
        self._is_broken = False
        if read_only and not path.exists():
            raise Usage(f"nothing has been captured here yet: {path} does not exist", hint="holdfast capture")
        with translated(path):
            if not path.exists():
                disk.create(path)
                disk.sync_folder(path.parent)
            mode = "ro" if read_only else "rw"
            self._connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False
            )
        try:
            self._prepare(read_only=read_only)
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        with translated(self.path):
            self._connection.close()

    def applied(self) -> list[RunRow]:
        """The runs that count and have a file, newest first."""
        return [row for row in self._runs("applied") if row.file]

    def pending(self) -> list[PendingRun]:
        """The runs that wait for their commit, oldest first."""
        return [PendingRun(row.id, row.commit) for row in reversed(self._runs("pending"))]

    def files(self) -> set[str]:
        """Every run file that is named, pending ones among them."""
        return {row.file for status in ("applied", "pending") for row in self._runs(status) if row.file}

    def stream(self) -> StreamState | None:
        """The stream as of the last applied commit."""
        rows = self._rows("SELECT id, sequence, head FROM stream WHERE run = ?", _CURRENT)
        return StreamState(*rows[0]) if rows else None

    def collections(self) -> list[CollectionState]:
        """Every collection as of the last applied commit, by name."""
        query = "SELECT * FROM collections WHERE run = ? AND schema IS NOT NULL ORDER BY name"
        return [self._state(row) for row in self._rows(query, _CURRENT)]

    def collection(self, name: str) -> CollectionState | None:
        """One collection as of the last applied commit, or None."""
        rows = self._rows("SELECT * FROM collections WHERE name = ? AND run = ? AND schema IS NOT NULL", name, _CURRENT)
        return self._state(rows[0]) if rows else None

    def recall(self, key: str) -> str | None:
        """The value remembered under the key, or None."""
        rows = self._rows("SELECT value FROM meta WHERE key = ?", key)
        return str(rows[0][0]) if rows else None

    def remember(self, key: str, value: str) -> None:
        """Keep the value under the key, durably, in place of an older one."""
        with self._changed() as change:
            change("INSERT OR REPLACE INTO meta VALUES (?,?)", key, value)

    def add_pending(
        self, run: RunRow, stream: StreamState, collections: Iterable[CollectionState], dropped: Iterable[str]
    ) -> PendingRun:
        """List a run, and the facts that become current with it, under its commit's name."""
        with self._changed() as change:
            row = change(_INSERT_RUN, run.file, run.bytes, run.sum, run.commit, "pending")
            number = int(row.lastrowid or 0)
            change("INSERT INTO stream VALUES (?,?,?,?)", number, stream.id, stream.sequence, stream.head)
            for name in dropped:
                change("INSERT INTO collections (name, run) VALUES (?,?)", name, number)
            for c in collections:
                schema = json.dumps(c.schema.to_json(), ensure_ascii=False)
                sizes = (c.base_rows, c.delta_rows, c.deltas)
                facts = (schema, c.rows, c.fingerprint, c.generation, c.base_stream, c.base_sequence, *sizes)
                change("INSERT INTO collections VALUES (?,?,?,?,?,?,?,?,?,?,?)", c.name, number, *facts)
        return PendingRun(number, run.commit)

    def apply(self, run: int) -> None:
        """Make a pending run and its facts current."""
        with self._changed() as change:
            change("UPDATE runs SET status = 'applied' WHERE id = ?", run)
            change("DELETE FROM runs WHERE id = ? AND file = ''", run)
            change("DELETE FROM stream WHERE run = ?", _CURRENT)
            change("UPDATE stream SET run = ? WHERE run = ?", _CURRENT, run)
            names = "(SELECT name FROM collections WHERE run = ?)"
            change(f"DELETE FROM collections WHERE run = ? AND name IN {names}", _CURRENT, run)
            change("UPDATE collections SET run = ? WHERE run = ?", _CURRENT, run)
            change("DELETE FROM collections WHERE run = ? AND schema IS NULL", _CURRENT)

    def drop(self, run: int) -> None:
        """Forget a pending run and its facts."""
        with self._changed() as change:
            for table, column in (("runs", "id"), ("stream", "run"), ("collections", "run")):
                change(f"DELETE FROM {table} WHERE {column} = ?", run)

    def swap(self, runs: Iterable[int], run: RunRow) -> None:
        """Let one run stand for these applied ones, which follow on one another, in the place of the newest."""
        replaced = list(runs)
        with self._changed() as change:
            for number in replaced:
                change("DELETE FROM runs WHERE id = ?", number)
            change(_INSERT_MERGED, max(replaced), run.file, run.bytes, run.sum, run.commit, "applied")

    def _prepare(self, *, read_only: bool) -> None:
        with translated(self.path):
            version = self._connection.execute("PRAGMA user_version").fetchone()[0]
            if version > _VERSION:
                raise Usage(f"{self.path} was written by a newer Holdfast", hint="use that version on this host")
            found = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            if found != "ok":
                raise Damaged(f"{self.path} is damaged: {found}", hint=REBUILD_HINT)
            if read_only:
                return
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=FULL")
        if version == 0:
            with self._changed() as change:
                for statement in filter(str.strip, _TABLES.split(";")):
                    change(statement)

    @contextmanager
    def _changed(self) -> Iterator[Any]:
        """One durable transaction; yields what executes a statement in it."""
        if self._is_broken:
            raise Unreachable(
                f"an earlier write to {self.path} failed", hint="check the disk, then run the command again"
            )
        with translated(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                with self._connection:
                    yield lambda query, *values: self._connection.execute(query, values)
                    self._disk.commit(self._connection)
            except BaseException:
                self._is_broken = True
                raise

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with translated(self.path):
            return self._connection.execute(query, values).fetchall()

    def _runs(self, status: str) -> list[RunRow]:
        query = "SELECT id, file, bytes, sum, commit_name FROM runs WHERE status = ? ORDER BY id DESC"
        return [RunRow(*row) for row in self._rows(query, status)]

    def _state(self, row: tuple[Any, ...]) -> CollectionState:
        name, _, schema, *facts = row
        try:
            return CollectionState(name, Schema.from_json(json.loads(schema)), *facts)
        except (ValueError, KeyError, TypeError) as err:
            raise Damaged(f"{self.path} is damaged: the schema of {name} can't be read", hint=REBUILD_HINT) from err
