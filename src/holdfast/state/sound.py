"""SQLite files that are a memory, no record: sound when they are opened, or else begun anew."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from holdfast.errors import Damaged
from holdfast.state.disk import Disk, translated

__all__ = ["Form", "open_beside", "open_sound", "open_whole"]

_SHARED_SECONDS = 30.0  # that a file may be held by somebody else


@dataclass(frozen=True, slots=True)
class Form:
    """What such a file is, in words, its version, its tables, and how it syncs (`PRAGMA synchronous`). `is_shared`: by
    threads, which take turns, and by processes, which wait for each other.
    """

    what: str
    version: int
    tables: tuple[str, ...]
    synchronous: str
    is_shared: bool = False


def open_sound(path: Path, form: Form) -> sqlite3.Connection:
    """The file, in which no transaction begins by itself; made, or made anew, where there is none that is whole and of
    this version. Who calls it is the only one who writes.
    """
    try:
        return open_whole(path, form)
    except Damaged:
        for each in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
            each.unlink(missing_ok=True)
        return open_whole(path, form)


def open_beside(path: Path, form: Form) -> sqlite3.Connection:
    """The file, to be read beside who writes it: whatever it looks like, nothing of it is made, mended or taken away.
    Raises Damaged if it is of another version; other damage shows where it is read.
    """
    with translated(path):
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        try:
            if connection.execute("PRAGMA user_version").fetchone()[0] != form.version:
                raise Damaged(f"{path} is not {form.what}")
        except BaseException:
            connection.close()
            raise
        return connection


def open_whole(path: Path, form: Form) -> sqlite3.Connection:
    """The file, in which no transaction begins by itself, made if absent. Raises Damaged if it is not whole, or of
    another version.
    """
    connection: sqlite3.Connection | None = None
    given: dict[str, Any] = {"check_same_thread": False, "timeout": _SHARED_SECONDS} if form.is_shared else {}
    with translated(path):
        try:
            connection = sqlite3.connect(path, isolation_level=None, **given)
            path.chmod(0o600)
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, form.version) or connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise Damaged(f"{path} is not {form.what}")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(f"PRAGMA synchronous={form.synchronous}")
            if version == 0:
                connection.execute("BEGIN IMMEDIATE")
                for table in form.tables:
                    connection.execute(table)
                connection.execute(f"PRAGMA user_version = {form.version}")
                connection.execute("COMMIT")
                Disk().sync_folder(path.parent)
        except BaseException:
            if connection is not None:
                connection.close()
            raise
        return connection
