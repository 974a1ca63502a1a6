"""The stand-in's copy: some columns of some collections in an encrypted SQLite file, for a gateway to answer from.

* Every page, the write-ahead log and what a transaction spills are encrypted under a key that only the processes of one
  gateway know; nothing temporary touches the disk. What is left of a process that died nobody can read.
* One process writes (`CopyWriter`), others read (`CopyReader`), each at one moment: what is told of several collections
  is of one state, and an answer never mixes two.
* Whatever is asked, and of however many records: `CopyReader` gives up after the time it is given.
* The name of the newest file stands in `copy.now`. A reader that finds it damaged says so in `copy.damaged`, and it is
  left for a new one beside it.
"""

from __future__ import annotations

import math
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import apsw

from holdfast.core.lookups import RECORD_DIGEST, Select, Shape
from holdfast.core.stored import Stored
from holdfast.errors import Damaged, Unreachable
from holdfast.state.copysql import Layout
from holdfast.state.disk import Disk, make_private_folder, translated

__all__ = ["CHUNK_ROWS", "CopyDamaged", "CopyReader", "CopyWriter", "Kept", "Moment", "TooLong", "copy_key"]

COUNTS_MAX = 10_000  # that are remembered, until the copy changes
SORTED_ROWS_MAX = 2_000_000  # of a collection whose indexes are made when it is filled
CHUNK_ROWS = 20_000  # that are written in one transaction while a collection is filled
_POINTER = "copy.now"
_DAMAGED = "copy.damaged"
_CACHE_KIB = 16 << 10
_KEY_BYTES = 32
_BUSY_MS = 200
_TIMES = 10
_STEPS = 500  # of SQLite between two looks at the clock: a millisecond at most, and no single record takes so many
_TABLES = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB 'c[0-9]*'"
_DAMAGE = (apsw.CorruptError, apsw.NotADBError, apsw.FormatError)
Row = Sequence[Stored]


def copy_key() -> bytes:
    """A new key, for one run of a gateway."""
    return secrets.token_bytes(_KEY_BYTES)


class CopyDamaged(Damaged):
    """The copy's own bytes are not what they must be."""


class TooLong(Unreachable):
    """What was asked takes longer to find than there is time for."""


class Kept(NamedTuple):
    """A collection in the copy: how it lies there, what of the vault it is (`told`, JSON of whoever fills it), and the
    moment it is of.
    """

    layout: Layout
    told: str
    taken: str


class CopyWriter:
    """Fills a copy in a folder and keeps it up. Raises Damaged and Unreachable; then what was there before stays."""

    def __init__(self, folder: Path, key: bytes) -> None:
        self._folder, self._key = folder, key
        with translated(folder):
            make_private_folder(folder)
            for left in [*folder.glob("copy-*.db*"), folder / _POINTER, folder / _DAMAGED]:
                left.unlink(missing_ok=True)
        self._connection: apsw.Connection | None = None
        self._next = 0

    def close(self) -> None:
        """Give the file back, and take it away: nobody could read it any more."""
        self._leave()
        with suppress(OSError):
            (self._folder / _POINTER).unlink(missing_ok=True)

    def kept(self) -> dict[str, Kept]:
        """What the copy holds, by collection. Raises CopyDamaged where a reader found it so: this process may have in
        memory what is no longer on the disk.
        """
        if self._connection is None:
            return {}
        damaged = self._folder / _DAMAGED
        with translated(damaged):
            if damaged.exists() and damaged.read_text() == Path(self._connection.filename).name:
                raise CopyDamaged("a gateway's worker found the copy damaged", hint="it is made anew from the vault")
        with _told(self._folder):
            return _kept(self._connection)

    def renew(self) -> None:
        """Begin an empty copy beside the one there is, which stays until `switch`."""
        self._leave()

    def fill(self, layout: Layout, rows: Iterable[Row], count: int | None) -> Layout:
        """Write a collection of about so many records beside what is there, where nobody sees it before `switch`. Rows
        are a record's key, its digest or None, and the values of the layout's columns.
        """
        connection = self._opened()
        with _told(self._folder):
            self._next += 1
            layout = layout.at(f"c{self._next}")
            # To make an index at once is several times faster, and sorts all of it in memory.
            is_small = count is not None and count <= SORTED_ROWS_MAX
            _run(connection, [*layout.create(), *([] if is_small else layout.index())])
            chunk: list[Row] = []
            for row in rows:
                chunk.append(row)
                if len(chunk) >= CHUNK_ROWS:
                    _insert(connection, layout, chunk)
                    chunk = []
            _insert(connection, layout, chunk)
            _run(connection, layout.index() if is_small else [])
        return layout

    def forget(self) -> None:
        """Give back the room of what was filled and never switched to: the outbox lies on the same disk."""
        connection = self._connection
        if connection is None:
            return
        name, pointer = Path(connection.filename).name, self._folder / _POINTER
        with suppress(apsw.Error, OSError):
            if pointer.exists() and pointer.read_text() == name:
                _drop(connection, _kept(connection))
                _run(connection, ["PRAGMA incremental_vacuum", "PRAGMA wal_checkpoint(TRUNCATE)"])
                return
            self._leave()
            for left in self._folder.glob(f"{name}*"):
                left.unlink(missing_ok=True)

    def switch(
        self,
        kept: Mapping[str, Kept],
        changes: Callable[[str], Iterable[tuple[bytes, Row | None]]],
        rows: Mapping[str, int | None],
    ) -> None:
        """From now on the copy holds these collections, at once; to each these changes are made before: a key, and its
        row or None where it is gone. Raises CopyDamaged where it then has not as many rows as it should, if known.
        """
        connection, counts = self._opened(), dict.fromkeys(kept, 0)
        with _told(self._folder), connection:
            for name, each in kept.items():
                insert, delete = each.layout.insert(), each.layout.delete()
                for key, row in changes(name):
                    connection.execute(delete, (key,))
                    if row is not None:
                        connection.execute(insert, row)
                counts[name] = count = int(_one(connection, f"SELECT count(*) FROM {each.layout.table}"))
                if count != (wanted := rows.get(name)) and wanted is not None:
                    raise CopyDamaged(f"the copy of {name} has {count} records instead of {wanted}")
            connection.execute("DELETE FROM kept")
            for name, each in kept.items():
                row = (name, each.layout.to_json(), each.told, each.taken, counts[name])
                connection.execute("INSERT INTO kept VALUES (?, ?, ?, ?, ?)", row)
            connection.execute("UPDATE now SET stamp = stamp + 1")
            _drop(connection, kept)
        self._point(connection)

    def _opened(self) -> apsw.Connection:
        if self._connection is None:
            path = self._folder / f"copy-{secrets.token_hex(8)}.db"
            with translated(path), _told(path):
                Disk().create(path)
                self._connection = _open(path, self._key)
                # Whoever loses power loses the key: what lies on the disk then is of no use, so nothing waits for it.
                settings = ("auto_vacuum = INCREMENTAL", "journal_mode = WAL", "synchronous = OFF")
                _run(self._connection, [f"PRAGMA {each}" for each in settings])
                columns = "name TEXT PRIMARY KEY, layout TEXT, told TEXT, taken TEXT, rows INTEGER"
                _run(self._connection, [f"CREATE TABLE kept ({columns})"])
                _run(self._connection, ["CREATE TABLE now (stamp INTEGER)", "INSERT INTO now VALUES (0)"])
        return self._connection

    def _point(self, connection: apsw.Connection) -> None:
        """Name this file as the newest, if it is not yet, and take others away."""
        name, pointer = Path(connection.filename).name, self._folder / _POINTER
        with translated(pointer):
            if pointer.exists() and pointer.read_text() == name:
                return
            _say(pointer, name)
            for left in [*self._folder.glob("copy-*.db*"), self._folder / _DAMAGED]:
                if not left.name.startswith(name):
                    left.unlink(missing_ok=True)

    def _leave(self) -> None:
        if self._connection is not None:
            with suppress(apsw.Error):
                self._connection.close()
        self._connection = None


class CopyReader:
    """Reads the copy in a folder, in one thread. Opened when first asked, and anew when another file takes over. What
    takes longer than so many seconds of work is given up, and at the latest after ten times as long: while others have
    the processor, a question that is quick must not pass for slow.
    """

    def __init__(self, folder: Path, key: bytes, seconds: float = math.inf) -> None:
        self._folder, self._key = folder, key
        self._seconds, self._until, self._latest = seconds, math.inf, math.inf
        self._pointer = str(folder / _POINTER)
        self._seen: tuple[int, int] | None = None
        self._connection: apsw.Connection | None = None
        self._moment: Moment | None = None

    @contextmanager
    def moment(self) -> Iterator[Moment | None]:
        """The copy as it is now, for as long as the block runs; None while there is none.

        Raises Damaged and Unreachable, of which TooLong is one.
        """
        try:
            with _told(self._folder):
                connection = self._current()
                if connection is None:
                    yield None
                    return
                connection.execute("BEGIN")
                self._until = time.thread_time() + self._seconds
                self._latest = time.monotonic() + _TIMES * self._seconds
                try:
                    yield self._now(connection)
                finally:
                    self._until = self._latest = math.inf
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
        except CopyDamaged:
            self._connection = None
            with suppress(OSError):
                _say(self._folder / _DAMAGED, Path(self._pointer).read_text())
            raise

    def _now(self, connection: apsw.Connection) -> Moment:
        stamp = int(_one(connection, "SELECT stamp FROM now"))
        if self._moment is None or self._moment.stamp != stamp:
            rows = dict(connection.execute("SELECT name, rows FROM kept"))
            self._moment = Moment(connection, stamp, _kept(connection), rows)
        return self._moment

    def _is_over(self) -> bool:
        return time.thread_time() > self._until or time.monotonic() > self._latest

    def _current(self) -> apsw.Connection | None:
        try:
            found = os.stat(self._pointer)
        except FileNotFoundError:
            self._seen = self._connection = self._moment = None
            return None
        seen = (found.st_ino, found.st_mtime_ns)
        if seen != self._seen or self._connection is None:
            self._moment = None
            path = self._folder / Path(self._pointer).read_text()
            self._connection = _open(path, self._key) if path.exists() else None
            if self._connection is not None:
                self._connection.set_progress_handler(self._is_over, _STEPS)
            self._seen = seen
        return self._connection


@dataclass(frozen=True, slots=True)
class Moment:
    """The copy at one moment: `core.lookups.Records`. `stamp` differs whenever what it holds does."""

    connection: apsw.Connection
    stamp: int
    kept: Mapping[str, Kept]
    rows: Mapping[str, int]
    counts: dict[tuple[object, ...], int] = field(default_factory=dict)  # to count takes long, and changes with `stamp`

    @property
    def shapes(self) -> dict[str, Shape]:
        """What it holds, as routes see it."""
        return {name: each.layout.shape for name, each in self.kept.items()}

    def find(self, select: Select, values: Sequence[Stored], limit: int, offset: int = 0) -> list[tuple[Stored, ...]]:
        """The records, at most so many, without the first few."""
        statement = self.kept[select.collection].layout.selected(select)
        return list(self.connection.execute(statement.text, (*statement.taken(values), limit, offset)))

    def count(self, select: Select, values: Sequence[Stored]) -> int:
        """How many there are."""
        if not select.terms:
            # To count them all is one step of SQLite, however many there are, and can't be given up.
            return self.rows[select.collection]
        asked = (select, *values)
        found = self.counts.get(asked)
        if found is None:
            statement = self.kept[select.collection].layout.counted(select)
            found = int(next(iter(self.connection.execute(statement, values)))[0])
            if len(self.counts) < COUNTS_MAX:
                self.counts[asked] = found
        return found

    def digest(self, collection: str, columns: Sequence[str], values: Sequence[Stored]) -> list[Stored]:
        """The digests of the records that have these values."""
        layout = self.kept[collection].layout
        terms = tuple((name, "=") for name in columns)
        text = layout.selected(Select(collection, (RECORD_DIGEST,), terms)).text
        return [row[0] for row in self.connection.execute(text, (*values, 2, 0))]


def _say(path: Path, text: str) -> None:
    """A file with this text, there at once."""
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    beside.write_text(text)
    beside.replace(path)


def _open(path: Path, key: bytes) -> apsw.Connection:
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
    # The key comes before anything is read. It is chance, no word that somebody chose: stretching it would add nothing.
    connection.pragma("key", f"raw:{key.hex()}")
    connection.set_busy_timeout(_BUSY_MS)
    _run(connection, ["PRAGMA temp_store = MEMORY", f"PRAGMA cache_size = -{_CACHE_KIB}"])
    return connection


def _run(connection: apsw.Connection, statements: Iterable[str]) -> None:
    # A cursor runs on only while it is read: unread, the last statement would not have happened.
    for statement in statements:
        list(connection.execute(statement))


def _drop(connection: apsw.Connection, kept: Mapping[str, Kept]) -> None:
    """Take away what nothing names: what was replaced, what was not filled to its end."""
    used = {each.layout.table for each in kept.values()}
    _run(connection, [f"DROP TABLE {table}" for (table,) in list(connection.execute(_TABLES)) if table not in used])


def _insert(connection: apsw.Connection, layout: Layout, rows: list[Row]) -> None:
    if rows:
        with connection:
            connection.executemany(layout.insert(), rows)


def _one(connection: apsw.Connection, statement: str) -> Any:
    return next(iter(connection.execute(statement)))[0]


def _kept(connection: apsw.Connection) -> dict[str, Kept]:
    rows = connection.execute("SELECT name, layout, told, taken FROM kept")
    return {str(name): Kept(Layout.from_json(str(layout)), str(told), str(taken)) for name, layout, told, taken in rows}


@contextmanager
def _told(place: Path) -> Iterator[None]:
    """Raise errors of the encrypted SQLite as errors of ours."""
    try:
        yield
    except _DAMAGE as err:
        raise CopyDamaged(f"the copy in {place} is damaged: {err}", hint="it is made anew from the vault") from err
    except apsw.InterruptError as err:
        raise TooLong("it takes too long to find", hint="an order or a filter less makes it quicker") from err
    except apsw.FullError as err:
        raise Unreachable(f"the disk that holds {place} is full", hint="free space there, then try again") from err
    except (apsw.BusyError, apsw.LockedError, apsw.IOError, apsw.CantOpenError, apsw.ReadOnlyError) as err:
        raise Unreachable(f"the copy in {place} can't be read or written: {err}", hint="check the disk") from err
