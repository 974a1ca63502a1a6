"""The ledger of a scrub: when this host last read each object at each site, and whether it was sound.

* A memory, no record: without it the next scrub begins with what it meets first. A damaged file is begun anew.
* A reading counts only for the size that was read: other bytes under the name were never read.
* One row is some 40 bytes: of a name only half of its SHA-256 is kept.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from holdfast.errors import Damaged, Unreachable
from holdfast.state.disk import translated
from holdfast.state.sound import Form, open_beside, open_sound

__all__ = ["Note", "Reading", "Readings", "Scrubbed", "readings_in"]

_NAME = "scrubbed.db"
_TABLE = (
    "CREATE TABLE readings (site TEXT, name BLOB, at INTEGER NOT NULL, size INTEGER NOT NULL, sound INTEGER NOT NULL,"
    " PRIMARY KEY (site, name)) WITHOUT ROWID"
)
# A power cut may take the last readings away. They are read again.
_FORM = Form("the ledger of a scrub", 1, (_TABLE,), "NORMAL")
_SECONDS_MAX = 253_402_300_799  # the last second of the year 9999


@dataclass(frozen=True, slots=True)
class Note:
    """An object was read now: its name, its size, and whether it was sound."""

    name: str
    size: int
    is_sound: bool


@dataclass(frozen=True, slots=True)
class Reading:
    """When an object was read, to the second, and whether it was sound."""

    at: datetime
    is_sound: bool


class Readings:
    """The last reading of each object at one site."""

    def __init__(self, rows: Mapping[bytes, tuple[int, int, int]]) -> None:
        self._rows = rows

    def last(self, name: str, size: int, *, now: datetime) -> Reading | None:
        """The last reading of a name that has this size now; None if it had another, or the time is yet to come."""
        at, read, sound = self._rows.get(_key(name), (0, -1, 0))
        if read != size or at > now.timestamp():
            return None
        return Reading(datetime.fromtimestamp(at, UTC), bool(sound))

    @property
    def damaged(self) -> int:
        """How many objects were not sound when they were read last."""
        return sum(not sound for _, _, sound in self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)


class Scrubbed:
    """The ledger, open. Sites are asked for by name; what was read at another place under that name counts nothing."""

    def __init__(self, connection: sqlite3.Connection, path: Path, places: Mapping[str, str]) -> None:
        self._connection = connection
        self._path = path
        self._places = {name: _placed(name, url) for name, url in places.items()}

    @classmethod
    @contextmanager
    def open(cls, folder: Path, places: Mapping[str, str]) -> Iterator[Scrubbed]:
        """The ledger in this host's folder, which is there; made, or made anew, where there is no sound one. *places*
        are the URLs of the sites, by name.
        """
        path = folder / _NAME
        with closing(open_sound(path, _FORM)) as connection:
            connection.isolation_level = "DEFERRED"  # each block of changes below is one transaction
            yield cls(connection, path, places)

    def readings(self, site: str) -> Readings:
        """All readings at one site."""
        with translated(self._path):
            return _readings(self._connection, self._places[site])

    def note(self, site: str, notes: Iterable[Note], at: datetime) -> None:
        """Keep what was read at a site at this time, in place of earlier readings."""
        second = int(at.timestamp())
        rows = [(self._places[site], _key(each.name), second, each.size, each.is_sound) for each in notes]
        with translated(self._path), self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO readings VALUES (?,?,?,?,?)", rows)

    def keep_only(self, site: str, names: Collection[str]) -> None:
        """Forget the readings of names that the site no longer lists."""
        keys, site = set(map(_key, names)), self._places[site]
        with translated(self._path), self._connection:
            held = self._connection.execute("SELECT name FROM readings WHERE site = ?", (site,)).fetchall()
            gone = [(site, name) for (name,) in held if name not in keys]
            self._connection.executemany("DELETE FROM readings WHERE site = ? AND name = ?", gone)

    def forget(self, site: str, names: Iterable[str]) -> None:
        """Forget the readings of names whose bytes were put there anew."""
        with translated(self._path), self._connection:
            rows = [(self._places[site], _key(name)) for name in names]
            self._connection.executemany("DELETE FROM readings WHERE site = ? AND name = ?", rows)


def readings_in(folder: Path, places: Mapping[str, str]) -> dict[str, Readings]:
    """What the ledger in a host's folder tells of each site, by name; nothing if there is none that can be read.
    *places* are their URLs.
    """
    path = folder / _NAME
    if not path.exists():
        return {}
    try:
        with translated(path), closing(open_beside(path, _FORM)) as connection:
            return {name: _readings(connection, _placed(name, url)) for name, url in places.items()}
    except (Damaged, Unreachable):
        return {}


def _readings(connection: sqlite3.Connection, site: str) -> Readings:
    rows = connection.execute("SELECT name, at, size, sound FROM readings WHERE site = ?", (site,))
    return Readings({name: (at, size, sound) for name, at, size, sound in rows if 0 <= at <= _SECONDS_MAX})


def _placed(name: str, url: str) -> str:
    return f"{name} {hashlib.sha256(url.encode()).hexdigest()[:16]}"


def _key(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()[:16]
