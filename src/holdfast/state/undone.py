"""What undoing wrote into a live system, by plan: kept before the deed, so that no record is put back twice.

A record that was put back is the live system's own from then on: it may be changed there, or deleted. An undo that is
run again must know which those were, also if the one before died right after the deed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Self

import pyarrow as pa

from holdfast.core.packed import packed, unpacked
from holdfast.errors import Usage
from holdfast.state.disk import Disk, make_private_folder, translated

__all__ = ["Deed", "PutBack", "Undone"]

_VERSION = 1
_NAME = "undone.db"
_UNREAD, _PROVEN, _FAILED = "unread", "proven", "failed"
_TABLES = f"""
CREATE TABLE deeds (
  id INTEGER PRIMARY KEY, plan TEXT NOT NULL, target TEXT NOT NULL, good TEXT NOT NULL, parting TEXT NOT NULL,
  is_done INTEGER NOT NULL DEFAULT 0, is_told INTEGER NOT NULL DEFAULT 0,
  sums TEXT NOT NULL DEFAULT '', proof TEXT NOT NULL DEFAULT '{_UNREAD}',
  made TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')));
CREATE TABLE records (deed INTEGER NOT NULL, collection TEXT NOT NULL, moved INTEGER NOT NULL, rows BLOB NOT NULL);
CREATE INDEX records_deed ON records (deed);
PRAGMA user_version = {_VERSION};
"""


class Deed(NamedTuple):
    """One plan that was to be applied; if not `is_done`, whether it was is open. `is_told`: the journal has it.
    `parting` is where the plan had it that histories parted, and `sums` what the source is to be afterwards, in the
    words of who kept them. If the source was read again since, and was that, it `is_proven`.
    """

    id: int
    plan: str
    parting: str
    is_done: bool = False
    is_told: bool = False
    sums: str = ""
    is_proven: bool = False
    has_failed: bool = False


class PutBack(NamedTuple):
    """Records of one collection that a plan writes, in `rows`: `key` in the vault, `live` in the source, the digests
    `wanted` there and `was` there before (NULL: nothing), and of those that `moved` the columns of the new key.
    """

    collection: str
    moved: bool
    rows: pa.RecordBatch


class Undone:
    """Deeds on this host. Use it as a block; each change is durable when it returns."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / _NAME
        disk = Disk()
        with translated(self._path):
            make_private_folder(folder)
            if not self._path.exists():
                disk.create(self._path)
                disk.sync_folder(folder)
            self._connection = sqlite3.connect(self._path, isolation_level=None)
            self._connection.execute("PRAGMA synchronous = FULL")
            (version,) = self._connection.execute("PRAGMA user_version").fetchone()
            if version == 0:
                self._connection.executescript(f"BEGIN; {_TABLES} COMMIT;")
        if version > _VERSION:
            self._connection.close()
            raise Usage(f"a newer Holdfast wrote {self._path}", hint="use that version here")

    @staticmethod
    def is_in(folder: Path) -> bool:
        """Whether anything was ever undone from here."""
        return (folder / _NAME).is_file()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with translated(self._path):
            self._connection.close()

    def deeds(self, target: str, good: str) -> list[Deed]:
        """What was to be put back into a system from one state of the vault, oldest first."""
        with translated(self._path):
            rows = self._connection.execute(
                "SELECT id, plan, parting, is_done, is_told, sums, proof = ?, proof = ? FROM deeds"
                " WHERE target = ? AND good = ? ORDER BY id",
                (_PROVEN, _FAILED, target, good),
            ).fetchall()
        return [
            Deed(number, plan, parting, bool(is_done), bool(is_told), sums, bool(is_proven), bool(has_failed))
            for number, plan, parting, is_done, is_told, sums, is_proven, has_failed in rows
        ]

    def records(self, deed: Deed) -> Iterator[PutBack]:
        """What a deed writes."""
        with translated(self._path):
            for name, moved, data in self._connection.execute(
                "SELECT collection, moved, rows FROM records WHERE deed = ? ORDER BY rowid", (deed.id,)
            ):
                yield PutBack(name, bool(moved), unpacked(data))

    def begin(self, plan: str, place: tuple[str, str], parting: str, records: Iterable[PutBack]) -> Deed:
        """Keep what a plan is about to write into a system from a state (`place`)."""
        with self._changed() as connection:
            number = connection.execute(
                "INSERT INTO deeds (plan, target, good, parting) VALUES (?, ?, ?, ?)", (plan, *place, parting)
            ).lastrowid
            connection.executemany(
                "INSERT INTO records VALUES (?, ?, ?, ?)",
                ((number, each.collection, each.moved, packed(each.rows)) for each in records),
            )
        return Deed(int(number or 0), plan, parting)

    def end(self, deed: Deed) -> None:
        """The plan was applied."""
        with self._changed() as connection:
            connection.execute("UPDATE deeds SET is_done = 1 WHERE id = ?", (deed.id,))

    def expect(self, deed: Deed, sums: str) -> None:
        """Keep what the source is to be after a deed."""
        with self._changed() as connection:
            connection.execute("UPDATE deeds SET sums = ? WHERE id = ?", (sums, deed.id))

    def proven(self, deeds: Iterable[Deed], *, failed: bool = False) -> None:
        """The source was read again after these: it is as expected, or it is not."""
        with self._changed() as connection:
            proof = _FAILED if failed else _PROVEN
            connection.executemany("UPDATE deeds SET proof = ? WHERE id = ?", [(proof, each.id) for each in deeds])

    def told(self, deed: Deed) -> None:
        """The journal has what was put back."""
        with self._changed() as connection:
            connection.execute("UPDATE deeds SET is_told = 1 WHERE id = ?", (deed.id,))

    def forget(self, deed: Deed) -> None:
        """The plan was not applied, and will not be."""
        with self._changed() as connection:
            for table, column in (("records", "deed"), ("deeds", "id")):
                connection.execute(f"DELETE FROM {table} WHERE {column} = ?", (deed.id,))

    @contextmanager
    def _changed(self) -> Iterator[sqlite3.Connection]:
        with translated(self._path):
            self._connection.execute("BEGIN IMMEDIATE")
            with self._connection:
                yield self._connection
