"""One run of the index: an immutable SQLite file that holds what one capture changed, or the whole index.

* Written without a journal and synced once at the end; until the pointer database names it, it does not exist.
* `groups` is small and holds what is read at every capture; the packed keys and digests lie apart in `payloads`.
* A group is whole, a patch (new digests on the keys of an older run), an edit of an older run's by key, or gone; a
  bucket is whole or an edit.
* A lying disk must not pass as a change of the source, so sums form a chain: the pointer database holds one over
  `collections`, that holds sums over the heads of groups and the digests of buckets, and those cover the content
  as it reads after patches and edits.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from holdfast.core.fingerprint import BUCKETS
from holdfast.errors import Damaged
from holdfast.state.disk import REBUILD_HINT, Disk, reading, translated

__all__ = ["EDIT", "GONE", "PATCH", "WHOLE", "Run", "RunFile", "StoredBucket", "StoredGroup"]

GONE, WHOLE, PATCH, EDIT = 0, 1, 2, 3
_FORMAT = 2
_APPLICATION = 0x486F6C64
_KINDS = ("application_id", "user_version")
_SETTINGS = ("page_size=8192", "journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", "cache_size=-8000")
_TABLES = """
CREATE TABLE collections (
  number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, replaced INTEGER NOT NULL DEFAULT 0,
  groups_sum INTEGER, buckets_sum INTEGER);
CREATE TABLE groups (
  collection INTEGER, first_key BLOB, rows INTEGER, kind INTEGER, seal BLOB, sum INTEGER, payload INTEGER,
  PRIMARY KEY (collection, first_key)) WITHOUT ROWID;
CREATE TABLE payloads (id INTEGER PRIMARY KEY, keys BLOB, digests BLOB);
CREATE TABLE buckets (id INTEGER PRIMARY KEY, whole INTEGER, digest BLOB, removed BLOB, added BLOB);
"""


class StoredGroup(NamedTuple):
    """A group as a run holds it. `keys` are packed keys, the positions of a patch, or the packed keys of an edit."""

    kind: int
    rows: int
    seal: bytes
    sum: int
    keys: bytes
    digests: bytes


class StoredBucket(NamedTuple):
    """A bucket as a run holds it: sorted digests, packed. In a whole one `added` is the content."""

    is_whole: bool
    digest: bytes
    removed: bytes
    added: bytes


class _Collection(NamedTuple):
    number: int
    name: str
    replaced: int
    groups_sum: int
    buckets_sum: int


class RunFile:
    """A run being written. Nothing of it counts before `close` and the commit that names it."""

    def __init__(self, path: Path, disk: Disk) -> None:
        self.path = path
        self._disk = disk
        self._numbers: dict[str, int] = {}
        self._payload = 0
        with translated(path):
            disk.create(path)
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            # A crash leaves a file that nothing names, so a journal would protect nothing.
            for setting in _SETTINGS:
                self._connection.execute(f"PRAGMA {setting}")
            self._connection.executescript(
                f"PRAGMA application_id={_APPLICATION}; PRAGMA user_version={_FORMAT}; BEGIN; {_TABLES}"
            )

    def put_group(self, name: str, first_key: bytes, group: StoredGroup) -> None:
        """Write a group; a second one under the same first key takes the place of the first."""
        number = self._number(name)
        with translated(self.path):
            payload = None
            if group.kind != GONE:
                self._payload += 1
                payload = self._payload
                self._connection.execute("INSERT INTO payloads VALUES (?,?,?)", (payload, group.keys, group.digests))
            row = (number, first_key, group.rows, group.kind, group.seal, group.sum, payload)
            self._connection.execute("INSERT OR REPLACE INTO groups VALUES (?,?,?,?,?,?,?)", row)

    def put_buckets(self, name: str, buckets: Iterable[tuple[int, StoredBucket]]) -> None:
        """Write buckets by number, each whole or as an edit of what older runs hold."""
        first = self._number(name) * BUCKETS
        with translated(self.path):
            # There are up to 4,096, and one statement for all costs half of one each.
            rows = ((first + number, *stored) for number, stored in buckets)
            self._connection.executemany("INSERT INTO buckets VALUES (?,?,?,?,?)", rows)

    def replace(self, name: str) -> None:
        """Declare everything that older runs hold of this collection void."""
        number = self._number(name)
        with translated(self.path):
            self._connection.execute("UPDATE collections SET replaced = 1 WHERE number = ?", (number,))

    def close(self) -> tuple[int, int]:
        """Make the file durable, name and bytes, and return its size and its sum."""
        with translated(self.path):
            for name, number in self._numbers.items():
                sums = (_sum(_heads(self._connection, number)), _buckets_sum(_bucket_digests(self._connection, number)))
                query = "UPDATE collections SET groups_sum = ?, buckets_sum = ? WHERE name = ?"
                self._connection.execute(query, (*sums, name))
            total = _sum(_collections(self._connection))
            self._connection.execute("COMMIT")
            self._connection.close()
            self._disk.sync_file(self.path)
            self._disk.sync_folder(self.path.parent)
            return self.path.stat().st_size, total

    def discard(self) -> None:
        """Give the file up."""
        self._connection.close()
        with translated(self.path):
            self._disk.remove(self.path)

    def _number(self, name: str) -> int:
        number = self._numbers.get(name)
        if number is None:
            number = self._numbers[name] = len(self._numbers) + 1
            with translated(self.path):
                self._connection.execute("INSERT INTO collections (number, name) VALUES (?,?)", (number, name))
        return number


class Run:
    """A finished run, opened to be read. Raises Damaged if the file is missing, cut short or of another kind."""

    def __init__(self, path: Path, size: int, total: int) -> None:
        self.path = path
        found = path.stat().st_size if path.exists() else 0
        if found != size:
            raise Damaged(f"{path} should hold {size:,} bytes and holds {found:,}", hint=REBUILD_HINT)
        with reading(path):
            self._connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=ro&immutable=1",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
            )
            kinds = [self._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in _KINDS]
            if kinds != [_APPLICATION, _FORMAT]:
                raise Damaged(f"{path} is not a run of the index that this version reads", hint=REBUILD_HINT)
            rows = list(_collections(self._connection))
        if _sum(rows) != total:
            raise self._damaged("its collections")
        self._collections = {row.name: row for row in rows}

    def close(self) -> None:
        self._connection.close()

    def holds(self, name: str) -> bool:
        """Whether the run says anything about the collection."""
        return name in self._collections

    def replaces(self, name: str) -> bool:
        """Whether what older runs hold of the collection is void."""
        return bool(self._collections[name].replaced)

    def heads(self, name: str) -> Iterator[tuple[bytes, int, bytes]]:
        """First key, rows (0: gone) and seal of each group, by first key. No payload is read.

        Raises Damaged at the end if the heads are not those written.
        """
        row, total = self._collections[name], 0
        with reading(self.path):
            for head in _heads(self._connection, row.number):
                total = _sum([head], total)
                yield head
        if total != row.groups_sum:
            raise self._damaged(f"the list of groups of {name}")

    def group(self, name: str, first_key: bytes) -> StoredGroup | None:
        """The group under that first key, or None if the run does not speak of it."""
        query = (
            "SELECT kind, rows, seal, sum, coalesce(CAST(keys AS BLOB), x''), coalesce(CAST(digests AS BLOB), x'')"
            " FROM groups LEFT JOIN payloads ON id = payload WHERE collection = ? AND first_key = ?"
        )
        with reading(self.path):
            row = self._connection.execute(query, (self._collections[name].number, first_key)).fetchone()
        return None if row is None else StoredGroup(*row)

    def bucket(self, name: str, bucket: int) -> StoredBucket | None:
        """The bucket, or None if the run does not speak of it."""
        number = self._collections[name].number * BUCKETS + bucket
        query = "SELECT whole, digest, CAST(removed AS BLOB), CAST(added AS BLOB) FROM buckets WHERE id = ?"
        with reading(self.path):
            row = self._connection.execute(query, (number,)).fetchone()
        return None if row is None else StoredBucket(bool(row[0]), *row[1:])

    def bucket_digests(self, name: str) -> list[tuple[int, bytes]]:
        """Number and digest of each bucket the run speaks of, ascending."""
        row = self._collections[name]
        with reading(self.path):
            found = _bucket_digests(self._connection, row.number)
        if _buckets_sum(found) != row.buckets_sum:
            raise self._damaged(f"the list of buckets of {name}")
        return found

    @property
    def names(self) -> list[str]:
        """The collections the run speaks of."""
        return list(self._collections)

    def number(self, name: str) -> int:
        """The number under which the tables hold the collection."""
        return self._collections[name].number

    def select(self, query: str, values: Sequence[object]) -> Iterator[tuple[Any, ...]]:
        """The rows of a query over the run's tables."""
        with reading(self.path):
            # Not `yield from`: that closes the cursor of a reading that was given up, and fails after `close`.
            for row in self._connection.execute(query, values):  # noqa: UP028
                yield row

    def select_all(self, query: str, values: Sequence[object]) -> list[tuple[Any, ...]]:
        """All rows of a query that gives few: in one step, which costs less than one by one."""
        with reading(self.path):
            return self._connection.execute(query, values).fetchall()

    def stored_groups(self, name: str) -> Iterator[tuple[bytes, StoredGroup]]:
        """First key and group, gone ones too, by first key. Raises Damaged at the end as `heads` does."""
        query = (
            "SELECT coalesce(CAST(first_key AS BLOB), x''), kind, rows, seal, sum, coalesce(CAST(keys AS BLOB), x''),"
            " coalesce(CAST(digests AS BLOB), x'') FROM groups LEFT JOIN payloads ON id = payload"
            " WHERE collection = ? ORDER BY first_key"
        )
        row, total = self._collections[name], 0
        for first_key, *facts in self.select(query, (row.number,)):
            stored = StoredGroup(*facts)
            total = _sum([(first_key, stored.rows, stored.seal)], total)
            yield first_key, stored
        if total != row.groups_sum:
            raise self._damaged(f"the list of groups of {name}")

    def stored_buckets(self, name: str) -> Iterator[tuple[int, StoredBucket]]:
        """Number and bucket, ascending. Raises Damaged if they are not those listed when the run was written."""
        first, listed = self.number(name) * BUCKETS, iter(self.bucket_digests(name))
        query = (
            "SELECT id - ?, whole, digest, CAST(removed AS BLOB), CAST(added AS BLOB) FROM buckets"
            " WHERE id BETWEEN ? AND ? ORDER BY id"
        )
        for number, whole, digest, *edit in self.select(query, (first, first, first + BUCKETS - 1)):
            if next(listed, None) != (number, digest):
                raise self._damaged(f"the list of buckets of {name}")
            yield number, StoredBucket(bool(whole), digest, *edit)
        if next(listed, None) is not None:
            raise self._damaged(f"the list of buckets of {name}")

    def _damaged(self, what: str) -> Damaged:
        return Damaged(f"{self.path} is damaged: {what} is not what was written", hint=REBUILD_HINT)


def _collections(connection: sqlite3.Connection) -> Iterator[_Collection]:
    query = "SELECT number, name, replaced, groups_sum, buckets_sum FROM collections ORDER BY number"
    return map(_Collection._make, connection.execute(query))


def _heads(connection: sqlite3.Connection, collection: int) -> Iterator[tuple[bytes, int, bytes]]:
    query = "SELECT first_key, rows, seal FROM groups WHERE collection = ? ORDER BY first_key"
    return connection.execute(query, (collection,))


def _bucket_digests(connection: sqlite3.Connection, collection: int) -> list[tuple[int, bytes]]:
    first = collection * BUCKETS
    query = "SELECT id - ?, coalesce(CAST(digest AS BLOB), x'') FROM buckets WHERE id BETWEEN ? AND ? ORDER BY id"
    return connection.execute(query, (first, first, first + BUCKETS - 1)).fetchall()


def _sum(rows: Iterable[tuple[object, ...]], start: int = 0) -> int:
    for row in rows:
        start = crc32(repr(tuple(row)).encode(), start)
    return start


def _buckets_sum(found: Sequence[tuple[int, bytes]]) -> int:
    # Thousands in every collection, read at every capture: as `_sum` would, in a fifth of its time.
    try:
        numbers = struct.pack(f"={len(found)}H", *[number for number, _ in found])
    except struct.error:
        return -1  # some are numbers of no bucket: the sum of nothing that was written
    return crc32(b"".join([digest for _, digest in found]), crc32(numbers))
