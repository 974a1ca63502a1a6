"""The register of a site server: who stored what, and when each control object first came, by the site's clock.

Nothing stored depends on it. If it is lost, what lies in the folders is counted again, and every arrival begins anew:
later, never earlier, so that no delay becomes shorter. Hence it is not synced at each write.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import RLock
from typing import Any, Protocol

from holdfast.core.ports import Entry
from holdfast.errors import Damaged, OverQuota
from holdfast.state.disk import make_private_folder, translated

__all__ = ["Sender", "SiteRegister", "Usage", "VaultRegister"]

_CONTROL = re.compile(r"(tails/[^/]*/)?(trust|commits|events)/")
_KNOWN = "SELECT 1 FROM names WHERE vault = ? AND name = ?"
_TOGETHER = 64  # names written down in one transaction
Usage = dict[str, tuple[int, int]]  # writer → objects, bytes
_TABLES = """
CREATE TABLE IF NOT EXISTS names (
  vault TEXT, name TEXT, writer TEXT NOT NULL, size INTEGER NOT NULL, PRIMARY KEY (vault, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS used (
  vault TEXT, writer TEXT, objects INTEGER NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY (vault, writer)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS arrivals (vault TEXT, name TEXT, at TEXT NOT NULL, PRIMARY KEY (vault, name)) WITHOUT ROWID;
CREATE TRIGGER IF NOT EXISTS counted AFTER INSERT ON names BEGIN
  INSERT INTO used VALUES (new.vault, new.writer, 1, new.size)
  ON CONFLICT DO UPDATE SET objects = objects + 1, bytes = bytes + new.size;
END;
CREATE TRIGGER IF NOT EXISTS discounted AFTER DELETE ON names BEGIN
  UPDATE used SET objects = objects - 1, bytes = bytes - old.size WHERE vault = old.vault AND writer = old.writer;
END;
"""


class Sender(Protocol):
    """Who stores something, and how many bytes he may store in all (None: any number)."""

    @property
    def name(self) -> str: ...

    @property
    def quota(self) -> int | None: ...


class SiteRegister:
    """The register of all vaults of a site, in the file at *path*. Close it. Who keeps the site puts a damaged one
    aside and begins anew.
    """

    def __init__(self, path: Path, *, is_keeper: bool = True) -> None:
        self._path = path
        self._turn = RLock()
        self._vaults: dict[str, VaultRegister] = {}
        with translated(path):
            make_private_folder(path.parent)
        try:
            self._connection = self._open()
        except Damaged:
            if not is_keeper:
                raise
            os.replace(path, path.with_suffix(".damaged"))
            for each in ("-wal", "-shm"):
                path.with_name(path.name + each).unlink(missing_ok=True)
            self._connection = self._open()

    def close(self) -> None:
        """Write down all there is, and give the file back."""
        for each in self._vaults.values():
            each.flush()
        with self._turn, translated(self._path):
            self._connection.close()

    def vault(self, vault: str) -> VaultRegister:
        """The part of it that is about one vault of the site: always the same one."""
        with self._turn:
            if vault not in self._vaults:
                self._vaults[vault] = VaultRegister(self._changed, self._rows, vault)
            return self._vaults[vault]

    @contextmanager
    def _changed(self) -> Iterator[Callable[..., sqlite3.Cursor]]:
        """One transaction; yields what executes a statement in it."""
        with self._turn, translated(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            with self._connection:
                yield self._connection.execute

    def _rows(self, query: str, values: tuple[object, ...]) -> list[Any]:
        with self._turn, translated(self._path):
            return self._connection.execute(query, values).fetchall()

    def _open(self) -> sqlite3.Connection:
        with translated(self._path):
            connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            try:
                self._path.chmod(0o600)
                if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                    raise Damaged(f"{self._path} is damaged", hint="start the site anew: it counts again")
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=NORMAL")
                connection.executescript(_TABLES)
            except BaseException:
                connection.close()
                raise
        return connection


class VaultRegister:
    """What the register says of one vault. Calls may come from several threads.

    What was stored last is written down together with more: a crash forgets some, and the next start counts it again.
    """

    def __init__(self, changed: Callable[[], Any], rows: Callable[..., list[Any]], vault: str) -> None:
        self._changed = changed
        self._rows = rows
        self._vault = vault
        self._turn = RLock()
        self._new: dict[str, tuple[str, int]] = {}  # name → writer, size: not written down yet
        self._bytes = {writer: size for writer, (_, size) in self.used().items()}

    def reserve(self, writer: Sender, name: str, size: int) -> bool:
        """Count a name that is about to be stored; whether it was not counted before. Raises OverQuota, and counts
        nothing, if that is too much.
        """
        with self._turn:
            if name in self._new or self._rows(_KNOWN, (self._vault, name)):
                return False
            before = self._bytes.get(writer.name, 0)
            if writer.quota is not None and before + size > writer.quota:
                raise OverQuota(
                    f"{writer.name} has stored {before} of {writer.quota} bytes here; {name} has {size} more",
                    hint="ask whoever keeps the site for a larger quota",
                )
            self._bytes[writer.name] = before + size
            self._new[name] = (writer.name, size)
            if len(self._new) >= _TOGETHER:
                self.flush()
            return True

    def release(self, name: str) -> None:
        """Count it no longer: it was not stored, or is gone."""
        with self._turn:
            self.flush()
            with self._changed() as change:
                row = change(
                    "SELECT writer, size FROM names WHERE vault = ? AND name = ?", (self._vault, name)
                ).fetchone()
                change("DELETE FROM names WHERE vault = ? AND name = ?", (self._vault, name))
            if row is not None:
                self._bytes[row[0]] -= row[1]

    def flush(self) -> None:
        """Write down what was stored last."""
        with self._turn, self._changed() as change:
            for name, (writer, size) in self._new.items():
                change("INSERT OR IGNORE INTO names VALUES (?,?,?,?)", (self._vault, name, writer, size))
            self._new.clear()

    def arrived(self, name: str, at: datetime) -> None:
        """Note when a control object is here; only the first time counts."""
        with self._changed() as change:
            change("INSERT OR IGNORE INTO arrivals VALUES (?,?,?)", (self._vault, name, _text(at)))

    def arrival(self, name: str) -> datetime | None:
        """When a control object first arrived, or None."""
        with self._changed() as change:
            found = change("SELECT at FROM arrivals WHERE vault = ? AND name = ?", (self._vault, name)).fetchone()
        return datetime.fromisoformat(found[0]) if found else None

    def used(self) -> Usage:
        """How many objects and bytes each writer has stored."""
        self.flush()
        with self._changed() as change:
            rows = change("SELECT writer, objects, bytes FROM used WHERE vault = ? AND objects > 0", (self._vault,))
            return {writer: (objects, size) for writer, objects, size in rows.fetchall()}

    def recount(self, entries: Iterable[Entry], writer: str, at: datetime) -> None:
        """Count what lies in the folder, and nothing else. What nobody is known to have stored, *writer* did; control
        objects that are not known to have arrived did so at *at*.
        """
        self.flush()
        with self._changed() as change:
            change("CREATE TEMP TABLE IF NOT EXISTS here (name TEXT PRIMARY KEY, size INTEGER) WITHOUT ROWID")
            change("DELETE FROM here")
            for entry in entries:
                # Two files that are none of ours may be shown under one name.
                change("INSERT OR IGNORE INTO here VALUES (?,?)", (entry.name, entry.size))
                if _CONTROL.match(entry.name):
                    change("INSERT OR IGNORE INTO arrivals VALUES (?,?,?)", (self._vault, entry.name, _text(at)))
            gone = "vault = ? AND name NOT IN (SELECT name FROM here)"
            change(f"DELETE FROM names WHERE {gone}", (self._vault,))
            change(f"DELETE FROM arrivals WHERE {gone}", (self._vault,))
            known = "SELECT name FROM names WHERE vault = ?"
            new = f"SELECT ?, name, ?, size FROM here WHERE name NOT IN ({known})"
            change(f"INSERT INTO names {new}", (self._vault, writer, self._vault))
        with self._turn:
            self._bytes = {writer: size for writer, (_, size) in self.used().items()}


def _text(moment: datetime) -> str:
    assert moment.tzinfo is not None, "a moment needs its zone"
    return moment.astimezone(UTC).isoformat()
