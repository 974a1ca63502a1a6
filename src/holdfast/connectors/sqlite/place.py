"""Where a new database file is built: beside its place under another name, until it is whole and on disk."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from holdfast.connectors.sqlite.connection import Session
from holdfast.errors import Refused, Unreachable

__all__ = ["BUSY_SECONDS", "forgo_safety", "partial_place", "publish", "refuse_taken"]

BUSY_SECONDS = 1.0


def forgo_safety(session: Session) -> None:
    """Forgo every safety that a file without a name can, checks among them: what was held is put back as it was."""
    for setting in (
        # Not OFF: a statement that fails, as that of an absent module, must leave nothing behind.
        "journal_mode=MEMORY",
        "synchronous=OFF",
        "locking_mode=EXCLUSIVE",
        "cache_size=-65536",
        "foreign_keys=OFF",
        "ignore_check_constraints=ON",
    ):
        session.run(f"PRAGMA {setting}")


def refuse_taken(path: Path) -> None:
    """Raise Refused if anything is at `path` or would be read with it, Unreachable if there is no folder for it."""
    # A log or journal left beside a new database would be replayed into it.
    for each in (path, *_beside(path, ("-wal", "-journal", "-shm"))):
        if os.path.lexists(each):
            raise Refused(f"{each} is there already", hint="name a path where nothing is, or move it away first")
    if not path.parent.is_dir():
        raise Unreachable(f"there is no folder {path.parent}", hint="make the folder, or name another path")


@contextmanager
def partial_place(path: Path) -> Iterator[Path]:
    """A name beside `path` to build under; nothing is left of it afterwards."""
    partial = path.with_name(f"{path.name}.partial-{secrets.token_hex(8)}")
    try:
        yield partial
    finally:
        for each in (partial, *_beside(partial, ("-wal", "-journal", "-shm"))):
            each.unlink(missing_ok=True)


def publish(partial: Path, path: Path) -> None:
    """Give a finished file its name, durably, never in place of another."""
    try:
        _sync(partial)
        os.link(partial, path)
        partial.unlink()
        _sync(path.parent)
    except FileExistsError as error:
        raise Refused(f"{path} is there already", hint="name a path where nothing is") from error
    except OSError as error:
        raise Unreachable(f"{path}: {error.strerror}", hint="check the disk, and try again") from error


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _beside(path: Path, endings: Sequence[str]) -> list[Path]:
    return [path.with_name(path.name + ending) for ending in endings]
