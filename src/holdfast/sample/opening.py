"""Opens an existing sample shop, and translates SQLite's errors at this edge."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from holdfast.errors import Damaged, Unreachable, Usage
from holdfast.sample.schema import APPLICATION_ID

__all__ = ["opened", "transaction"]

_BUSY_SECONDS = 30.0


@contextmanager
def opened(path: str | os.PathLike[str], *, foreign_keys: bool) -> Iterator[sqlite3.Connection]:
    """A connection to the shop at *path*, which must be one of ours; what is not committed is rolled back.

    Raises Usage (no such file, another kind of database), Unreachable (locked, full) or Damaged (corrupt).
    """
    target = Path(path)
    if not target.is_file():
        raise Usage(f"there is no database {target}", hint="make one with holdfast.sample.make_shop")
    try:
        uri = f"{target.absolute().as_uri()}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=_BUSY_SECONDS)) as connection:
            if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
                raise Usage(f"{target} is no sample shop", hint="make one with holdfast.sample.make_shop")
            connection.execute(f"PRAGMA foreign_keys = {int(foreign_keys)}")
            yield connection
    except sqlite3.OperationalError as error:
        raise Unreachable(f"{target} can't be written: {error}", hint="try again when it is free") from error
    except sqlite3.DatabaseError as error:
        raise Damaged(f"{target} is no sound database: {error}") from error


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All of it or nothing, holding the write lock from the start."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        # After a full disk SQLite has rolled back already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
