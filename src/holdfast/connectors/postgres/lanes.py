"""One moment seen by several connections: a snapshot that is held, exported, and joined by as many as read from it."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pyarrow as pa
from psycopg import errors

from holdfast.connectors.postgres.catalog import Catalog, Table, load_catalog
from holdfast.connectors.postgres.connection import Connection, connect, shown, translated
from holdfast.connectors.postgres.pump import pumped
from holdfast.connectors.postgres.server import log_position
from holdfast.errors import TargetChanged, Unreachable

__all__ = ["Held", "Lanes", "hold"]

_BEGIN = "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
# Behind whoever waits to alter the table it would wait for the first connection, which has its lock and can read.
_SHORT_WAIT = "SET LOCAL lock_timeout = '500ms'"
_ATTEMPTS = 3
_TABLES_AT_ONCE = 500
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Lanes:
    """The connection that holds the moment, and more of the same moment where it is busy. Calls may come from threads.

    The first one has its locks already. Any other must wait for them, and behind whoever wants to alter a table and
    waits for the first to end: so it is opened only where two readers are at work at once.
    """

    def __init__(self, url: str, held: Held) -> None:
        self._url = url
        self._export = held.export
        self._first = held.connection
        self._idle = [held.connection]
        self._lock = threading.Lock()

    @contextmanager
    def lane(self) -> Iterator[Connection]:
        """A connection for one reader alone, who may leave in the middle of a result."""
        with self._lock:
            connection = self._idle.pop() if self._idle else None
        connection = connection or self._open()
        try:
            with connection.transaction():
                yield connection
        finally:
            with self._lock:
                # The first one stays the one that is used first.
                self._idle.insert(len(self._idle) if connection is self._first else 0, connection)

    def pumped(self, sql: str, columns: int, arrow: pa.DataType) -> Generator[pa.RecordBatch, None, None]:
        """The rows of a COPY in this moment, through a process of its own. Raises NoPump instead of the first batch."""
        return pumped(self._url, (_BEGIN, _join(self._export), _SHORT_WAIT, sql), columns, arrow)

    def close(self) -> None:
        """End the moment, and every connection with it."""
        with self._lock:
            while self._idle:
                self._idle.pop().close()
        self._first.close()

    def _open(self) -> Connection:
        connection = connect(self._url)
        try:
            join(connection, self._export, shown(self._url))
        except BaseException:
            connection.close()
            raise
        return connection


class Held:
    """The connection that holds the moment: what the catalog says then, the exported name, where the log stood, and
    the time by the server's clock, which also dates the changes that are told later.
    """

    def __init__(self, connection: Connection, export: str, lsn: str, taken: datetime) -> None:
        self.connection = connection
        self.export = export
        self.lsn = lsn
        self.taken = taken
        self.catalog = load_catalog(connection)


def hold(url: str, on: str = "") -> Held:
    """Take a snapshot (or join the one exported as *on*) and keep every readable table from being altered meanwhile.

    TRUNCATE and rewrites of a table do not wait for snapshots: an older one finds it empty. So each table is locked
    against them, as pg_dump does, and the snapshot is taken after that. Where it was taken before, the tables must
    still be what they were in it. Raises Unreachable if they are not, or if there are new ones each time.
    """
    place = shown(url)
    for _ in range(1 if on else _ATTEMPTS):
        connection = connect(url)
        try:
            with translated(place):
                held = _joined(connection, on, url) if on else _taken(connection)
        except TargetChanged:
            held = None
        except BaseException:
            connection.close()
            raise
        if held is not None:
            return held
        connection.close()
    raise Unreachable(
        f"{place}: its tables were altered or truncated just as they were to be read",
        hint="try again when no migration runs",
    )


def join(connection: Connection, export: str, place: str) -> None:
    """Begin a transaction inside an exported snapshot. Raises Unreachable if whoever exported it has ended."""
    with translated(place):
        try:
            connection.execute(_BEGIN)
            connection.execute(_join(export))
        except (errors.InvalidParameterValue, errors.UndefinedObject) as error:
            raise Unreachable(f"{place}: the snapshot {export} is gone", hint="try again from the start") from error


def _join(export: str) -> str:
    return f"SET TRANSACTION SNAPSHOT '{export}'"


def _taken(connection: Connection) -> Held | None:
    """A snapshot of now, or None if a table came that was not locked before it."""
    before = load_catalog(connection)
    lsn = log_position(connection)
    connection.execute(_BEGIN)
    # A lock takes no snapshot yet: the first question does.
    _lock(connection, before)
    held = _exported(connection, lsn)
    known = set(map(_what_is_locked, before.tables.values()))
    return held if known.issuperset(map(_what_is_locked, _readable(held.catalog))) else None


def _joined(connection: Connection, on: str, url: str) -> Held | None:
    """The snapshot of another session, or None if a table is no longer what it was in it."""
    lsn = log_position(connection)
    join(connection, on, shown(url))
    held = _exported(connection, lsn)
    _lock(connection, held.catalog)
    with connect(url) as other:
        now = load_catalog(other).tables
    return held if all(now.get(table.collection) == table for table in _readable(held.catalog)) else None


def _exported(connection: Connection, lsn: str) -> Held:
    ((export, microseconds),) = connection.execute(
        "SELECT pg_export_snapshot(), (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
    ).fetchall()
    return Held(connection, str(export), lsn, _EPOCH + timedelta(microseconds=int(microseconds)))


def _readable(catalog: Catalog) -> list[Table]:
    return [table for table in catalog.tables.values() if table.is_readable]


def _lock(connection: Connection, catalog: Catalog) -> None:
    sources = [table.sql_source for table in _readable(catalog)]
    for start in range(0, len(sources), _TABLES_AT_ONCE):
        connection.execute(f"LOCK TABLE {', '.join(sources[start : start + _TABLES_AT_ONCE])} IN ACCESS SHARE MODE")


def _what_is_locked(table: Table) -> tuple[object, ...]:
    """The table itself, and how many partitions it has: one that is attached later is not locked with it."""
    return table.oid, table.sql_source, table.is_readable, len(table.storage)
