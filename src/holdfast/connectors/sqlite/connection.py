"""One connection to a SQLite database, through the one SQLite library this process uses for business databases.

* POSIX locks belong to the process, not to the connection: a second SQLite library, or a plain `open` and `close` of
  the file, would drop the locks of a snapshot and let a writer tear it. So reading and writing both go through the
  driver's own SQLite, and nothing in this package opens a database file otherwise while a session may be open.
* The driver's errors end here: each becomes one of Holdfast's own, told by SQLite's fixed words for it.
"""

from __future__ import annotations

import os
import stat
import urllib.parse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
from adbc_driver_sqlite import dbapi

from holdfast.errors import Absent, Corrupt, HoldfastError, Refused, TargetChanged, Unreachable, Unsupported

__all__ = ["RuleBroken", "Session", "ValueTaken", "folded", "open_session", "quoted", "refuse_emptied"]

_BATCH_ROWS = "adbc.sqlite.query.batch_rows"


class RuleBroken(Refused):
    """A row breaks a rule that the database has now (not null, check). Nothing is committed."""


class ValueTaken(TargetChanged):
    """Another row already holds a value that must be unique. Nothing is committed."""


class Session:
    """One open connection in autocommit mode; transactions are begun and ended by statements."""

    def __init__(self, path: Path, connection: Any) -> None:
        self.path = path
        self._connection = connection
        self._cursors: set[Any] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close every statement, then the connection; an open transaction is rolled back."""
        for cursor in list(self._cursors):
            cursor.close()
        self._cursors.clear()
        self._connection.close()

    def rows(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a small result. A result column that mixes types comes as text."""
        with self._cursor() as cursor:
            cursor.execute(sql, tuple(parameters) or None)
            return [tuple(row) for row in cursor.fetchall()]

    def value(self, sql: str, parameters: Sequence[Any] = ()) -> Any:
        """The first column of the first row, or None where there is none."""
        found = self.rows(sql, parameters)
        return found[0][0] if found else None

    @property
    def file_bytes(self) -> int:
        """The size of the database in this transaction."""
        return int(self.value("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"))

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        """Carry out one statement."""
        with self._cursor() as cursor:
            cursor.execute(sql, tuple(parameters) or None)

    def run_many(self, sql: str, rows: pa.RecordBatch) -> None:
        """Carry out one statement for each row, its columns bound in order. Raises RuleBroken or ValueTaken."""
        if rows.num_rows:
            with self._cursor() as cursor:
                cursor.executemany(sql, rows)

    @contextmanager
    def stream(self, sql: str, batch_rows: int) -> Iterator[pa.RecordBatchReader]:
        """The result in batches of `batch_rows`, read as they are asked for.

        The driver guesses column types from the first batch alone; it raises or, for text, converts where that fails.
        """
        with self._cursor(batch_rows) as cursor:
            cursor.execute(sql)
            yield cursor.fetch_record_batch()

    def batches(self, sql: str, batch_rows: int) -> Iterator[pa.RecordBatch]:
        """Each batch of a result whose column types can't be guessed wrong."""
        with self.stream(sql, batch_rows) as reader:
            yield from reader

    @contextmanager
    def _cursor(self, batch_rows: int = 65_536) -> Iterator[Any]:
        with _translated(self.path):
            cursor = self._connection.cursor()
            self._cursors.add(cursor)
            try:
                cursor.adbc_statement.set_options(**{_BATCH_ROWS: str(batch_rows)})
                yield cursor
            finally:
                self._cursors.discard(cursor)
                cursor.close()


def open_session(path: Path, *, mode: str, busy_seconds: float) -> Session:
    """Connect to the file: `ro` and `rw` need it to be there, `rwc` makes it. Waits for locks up to `busy_seconds`."""
    if mode != "rwc":
        _check_file(path)
    uri = f"file:{urllib.parse.quote(os.path.abspath(path))}?mode={mode}"
    with _translated(path):
        session = Session(path, dbapi.connect(uri, autocommit=True))
    try:
        session.run(f"PRAGMA busy_timeout={int(busy_seconds * 1000)}")
        if mode == "ro":
            session.run("PRAGMA temp_store=MEMORY")
        else:
            # Sorts may outgrow memory, and plain text goes to no disk but the target's own.
            folder = os.path.dirname(os.path.abspath(path)).replace("'", "''")
            session.run("PRAGMA temp_store=FILE")
            session.run(f"PRAGMA temp_store_directory='{folder}'")
    except HoldfastError:
        session.close()
        raise
    return session


def refuse_emptied(path: Path) -> None:
    """Raise Absent for a file of no bytes: SQLite takes it for a database without tables."""
    if _check_file(path).st_size == 0:
        raise Absent(f"{path} is empty: the database that was there is gone", hint="find out who emptied it")


def quoted(name: str) -> str:
    """A name as an identifier of SQL, whatever characters it has."""
    return '"' + name.replace('"', '""') + '"'


def folded(name: str) -> str:
    """A name as SQLite compares names: without regard to case, but of ASCII letters only."""
    return name.translate(_LOWER)


def _check_file(path: Path) -> os.stat_result:
    try:
        found = path.stat()
    except OSError as error:
        kind = Absent if isinstance(error, FileNotFoundError | NotADirectoryError) else Unreachable
        raise kind(f"no database at {path}: {error.strerror}", hint="check the path of the source") from error
    if not stat.S_ISREG(found.st_mode):
        raise Unreachable(f"{path} is not a file", hint="name the database file itself")
    return found


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Turn the driver's errors into ours; what is not known stays as it is: a bug of ours."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise Unsupported(
            f"{path} has a name or definition that is not UTF-8 text",
            hint="rename it in the source; values that are not UTF-8 are kept, names are not",
        ) from error
    except (dbapi.Error, pa.ArrowException, OSError) as error:
        text = _told(str(error))
        for words, kind, hint in _RULES:
            if words in text:
                raise kind(f"{path}: {text}", hint=hint) from error
        raise


_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
_LOCKED = "another program holds it; try again, or stop that program's long transaction"
_RULES: tuple[tuple[str, type[HoldfastError], str], ...] = (
    ("UNIQUE constraint failed", ValueTaken, "another record holds that value now: compare, and make a new plan"),
    ("constraint failed", RuleBroken, "the database has a rule now that these records break: restore to a new place"),
    ("is locked", Unreachable, _LOCKED),
    ("database or disk is full", Unreachable, "free space on its disk and try again"),
    (
        "attempt to write a readonly database",
        Unreachable,
        "it is read-only, or a crash left a journal: open it once with the program that owns it, or check the rights",
    ),
    ("unable to open database file", Unreachable, "check that this user may read and write the file's folder"),
    ("disk I/O error", Unreachable, "the disk refused a read or write: check the disk and the system log"),
    ("access permission denied", Refused, "check the rights of this user on the file and its folder"),
    ("file is not a database", Corrupt, "check the path; an encrypted database must be decrypted first"),
    ("malformed", Corrupt, 'the file is corrupt: "PRAGMA integrity_check" says where, and a restore brings it back'),
    ("too many columns in result set", Unsupported, "a table this wide can't be read exactly: split it"),
    ("foreign key mismatch", Unsupported, "a foreign key leads to columns that are not unique"),
    ("no such collation sequence", Unsupported, "the owning program defines it; Holdfast can't sort or index by it"),
    ("no such module", Unsupported, "the database needs an extension that is not loaded here"),
    ("no such tokenizer", Unsupported, "the database needs an extension that is not loaded here"),
    ("no such function", Unsupported, "the owning program defines it; Holdfast can't call it"),
    ("unknown function", Unsupported, "the owning program defines it; Holdfast can't call it"),
)


def _told(text: str) -> str:
    """SQLite's own words, without the driver's."""
    if "failed to open" in text:
        # The driver asks for the words too late, when there is no connection left that has them.
        return "unable to open database file"
    return text.partition("\nquery:")[0].rpartition("query: ")[2].rpartition("statement: ")[2]
