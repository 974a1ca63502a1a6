"""The durable steps of the state package, in one place, and the errors of disk and SQLite as errors of ours.

Every act that orders a crash (create, sync, commit, remove) is a method of `Disk`, so that a test can stop the run
before any of them. An fsync that failed is never tried again on the same file: the kernel may have dropped the pages.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.errors import Damaged, HoldfastError, Refused, Unreachable

__all__ = ["REBUILD_HINT", "Disk", "make_private_folder", "reading", "translated", "write_over"]

REBUILD_HINT = "the index holds no data of its own and can be rebuilt from the vault: holdfast reindex"
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_DENIED = {sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}
_DISK = {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY}


class Disk:
    """The real disk. Each method is one durable step."""

    def create(self, path: Path) -> None:
        """Make an empty file that only its owner may read. Raises FileExistsError if the name is taken."""
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))

    def sync_file(self, path: Path) -> None:
        """Make the file's bytes survive a power cut."""
        _sync(path, os.O_RDONLY)

    def sync_folder(self, path: Path) -> None:
        """Make the folder's names survive a power cut."""
        _sync(path, os.O_RDONLY | os.O_DIRECTORY)

    def commit(self, connection: sqlite3.Connection) -> None:
        """Make the open transaction durable, whole."""
        connection.execute("COMMIT")

    def remove(self, path: Path) -> None:
        """Take the name away, if it is there."""
        path.unlink(missing_ok=True)


def make_private_folder(path: Path) -> None:
    """Make the folder, and those above it, readable by its owner only; an existing one stays as it is."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def write_over(path: Path, text: str, beside: Path, disk: Disk) -> None:
    """Put *text* in place of what is there, by way of a file *beside* it: whoever reads, and whatever happens, sees old
    or new. Durable when this returns.
    """
    with translated(path):
        disk.remove(beside)
        disk.create(beside)
        beside.write_text(text, encoding="utf-8")
        disk.sync_file(beside)
        beside.replace(path)
        disk.sync_folder(path.parent)


@contextmanager
def translated(place: Path) -> Iterator[None]:
    """Raise errors of SQLite and the system as Damaged, Refused or Unreachable, naming *place*.

    SQLite's own complaints about a wrong call stay as they are: they are bugs of ours.
    """
    try:
        yield
    except sqlite3.DatabaseError as err:
        ours = _from_sqlite(err, place)
        if ours is None:
            raise
        raise ours from err
    except UnicodeDecodeError as err:
        # SQLite's text, or its message about broken text, is not UTF-8.
        raise Damaged(f"{place} is damaged: {err}", hint=REBUILD_HINT) from err
    except OSError as err:
        raise _from_system(err, place) from err


@contextmanager
def reading(place: Path) -> Iterator[None]:
    """As `translated`, for a file that nobody writes any more: what SQLite can't make sense of is damage."""
    try:
        with translated(place):
            yield
    except sqlite3.DatabaseError as err:
        raise Damaged(f"{place} is damaged: {err}", hint=REBUILD_HINT) from err


def _sync(path: Path, flags: int) -> None:
    number = os.open(path, flags)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _from_sqlite(err: sqlite3.Error, place: Path) -> HoldfastError | None:
    code = getattr(err, "sqlite_errorcode", 0) & 0xFF
    if code in _DAMAGE:
        return Damaged(f"{place} is damaged: {err}", hint=REBUILD_HINT)
    if code in _BUSY:
        return Unreachable(f"{place} is in use by another process", hint="wait for it to finish, then try again")
    if code in _DENIED:
        return _denied(place)
    if code == sqlite3.SQLITE_FULL:
        return _full(place)
    if code in _DISK:
        return Unreachable(f"{place} can't be read or written: {err}", hint="check the disk, then try again")
    return None


def _from_system(err: OSError, place: Path) -> HoldfastError:
    if err.errno in (errno.ENOSPC, errno.EDQUOT):
        return _full(place)
    if isinstance(err, PermissionError):
        return _denied(place)
    cause = err.strerror or err
    return Unreachable(f"{place} can't be read or written: {cause}", hint="check the disk, then try again")


def _denied(place: Path) -> Refused:
    return Refused(f"{place} may not be read or written by this user", hint="run as the owner of the folder")


def _full(place: Path) -> Unreachable:
    return Unreachable(f"the disk that holds {place} is full", hint="free space there, then try again")
