"""The present moment of a database, held: transactions that begin while nobody can commit, and where the binlog stands.

* The lock (BACKUP STAGE; on MySQL FLUSH TABLES WITH READ LOCK) lasts only until every session has begun.
* Without the right to lock (RELOAD) one session reads, and the place in the binlog is that session's own: no lock.
* Tables whose engine keeps no moments are locked one by one within the lock, and read right after it, if they are
  small together. Others are read later, and said to be so.
* While a moment is held no table of it can be altered. Who reads and writes rows does not wait for it, unless somebody
  waits to alter that table: behind him all wait, as they would behind any long transaction.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pymysql

from holdfast.connectors.mysql.catalog import Catalog, Server, Table, load_catalog, load_server
from holdfast.connectors.mysql.connection import Connection, connect, literal, shown, translated
from holdfast.connectors.mysql.lanes import BinlogPlace, Held
from holdfast.connectors.mysql.projection import Projection
from holdfast.connectors.mysql.sessions import Lane, Session, opened
from holdfast.errors import TargetChanged, Unreachable

__all__ = ["hold"]

# Under any other level, which a server may have for everybody, a transaction holds no moment.
_LEVEL = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"
_BEGIN = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"
_READERS = 2
_ATTEMPTS = 3
_TABLES_AT_ONCE = 50
# Whoever writes to such a table waits until it is read.
_KEPT_BYTES = 32 << 20
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DENIED = (1044, 1142, 1227)
_TIMEOUT = 1205
# The table's definition has changed, or somebody who is about to change it stands before us.
_ALTERED = (1412, _TIMEOUT)
_SECONDS = 10
# While the lock is waited for, others wait for it too: whoever defines something, then whoever commits.
_SECONDS_TO_LOCK = 3
_HOLDS_START = (
    "another backup holds the server's backup lock (BACKUP STAGE, as mariadb-backup takes it), or a session holds "
    "tables for itself (LOCK TABLES … WRITE)"
)
_HOLDS_DEFINITIONS = "a statement that defines something, or writes to a table without transactions, is still at work"
_HOLDS_COMMITS = "a session keeps commits from being stopped (on MySQL any long query does)"
_HOLDS_KEPT = "a session writes to tables without transactions, or holds them for itself (LOCK TABLES … WRITE)"
_SECONDS_AWAY = 30


class _Altered(Exception):
    """A table is not what it was at the moment: it has to be taken anew."""


def hold(url: str) -> Held:
    """Hold the present moment.

    Raises Unreachable if tables are altered each time, or if somebody's statement keeps the lock away for too long.
    """
    place = shown(url)
    for _ in range(_ATTEMPTS):
        with ExitStack() as stack:
            try:
                with translated(place):
                    held = _held(url, stack)
            except (_Altered, TargetChanged):
                continue
            # Whoever holds the moment closes its sessions.
            stack.pop_all()
            return held
    raise Unreachable(
        f"{place}: its tables were altered, or held (LOCK TABLES … WRITE), just as they were to be read",
        hint="try again when no migration runs, and nobody holds them",
    )


def _held(url: str, stack: ExitStack) -> Held:
    questions = stack.enter_context(closing(connect(url)))
    with ExitStack() as passing:
        lock = passing.enter_context(closing(_Lock(url, load_server(questions))))
        lanes = [stack.enter_context(closing(opened(url))) for _ in range(_READERS if lock.is_allowed else 1)]
        lock.stop_definitions()
        # While a table is altered there are instants in which the catalog has no such table, or one without columns.
        before = load_catalog(questions)
        keeper = _Keeper(url, before, passing)
        keeper.lock()
        for lane in lanes:
            lane.run(_LEVEL)
        _run(questions, _LEVEL)
        lock.stop_commits()
        for lane in lanes:
            lane.run(_BEGIN)
        _run(questions, _BEGIN)
        place = _place(lanes[0], questions, before, "@@gtid_binlog_pos" if lock.is_allowed else "")
        ((taken,),) = _run(questions, "SELECT CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS SIGNED)")
        seconds = lock.release()
        kept = keeper.read()
    _touch(questions, lanes, before)
    after = load_catalog(questions)
    if _shapes(before) != _shapes(after):
        raise _Altered
    taken = _EPOCH + timedelta(microseconds=int(taken))
    return Held(questions, lanes, after, taken, place, seconds, kept, keeper.late)


class _Lock:
    """What stops others for an instant, if this user may: first definitions, and tables without transactions; then
    commits. MySQL stops all at once.
    """

    def __init__(self, url: str, server: Server) -> None:
        self._is_mariadb = server.is_mariadb
        self._place = shown(url)
        self._connection = connect(url)
        self._since = 0.0
        # Should this host be cut off just then, nobody else shall wait for long.
        self._run(f"SET lock_wait_timeout = {_SECONDS_TO_LOCK}, wait_timeout = {_SECONDS_AWAY}")
        try:
            # On MariaDB this stops nobody yet.
            with _awaited(self._place, _HOLDS_START if server.is_mariadb else _HOLDS_COMMITS):
                self._run("BACKUP STAGE START" if server.is_mariadb else "FLUSH TABLES WITH READ LOCK")
            self.is_allowed = True
        except pymysql.MySQLError as error:
            self.is_allowed = False
            if error.args[0] not in _DENIED:
                self.close()
                raise
        except Unreachable:
            self.close()
            raise
        if self.is_allowed and not server.is_mariadb:
            self._run("UNLOCK TABLES")

    def stop_definitions(self) -> None:
        """Let nobody create, alter or drop a table."""
        if self.is_allowed and self._is_mariadb:
            with _awaited(self._place, _HOLDS_DEFINITIONS):
                self._run("BACKUP STAGE BLOCK_DDL")

    def stop_commits(self) -> None:
        """Let nobody commit."""
        self._since = time.monotonic()
        if self.is_allowed:
            with _awaited(self._place, _HOLDS_COMMITS):
                self._run("BACKUP STAGE BLOCK_COMMIT" if self._is_mariadb else "FLUSH TABLES WITH READ LOCK")

    def release(self) -> float:
        """Let everybody go on. Returns for how many seconds nobody could commit."""
        if not self.is_allowed:
            return 0.0
        self._run("BACKUP STAGE END" if self._is_mariadb else "UNLOCK TABLES")
        return time.monotonic() - self._since

    def close(self) -> None:
        """End the session, and the lock with it."""
        self._connection.close()

    def _run(self, sql: str) -> None:
        _run(self._connection, sql)


class _Keeper:
    """Tables whose engine keeps no moments: locked at the moment, read after it. `late` are those that can't be."""

    def __init__(self, url: str, catalog: Catalog, stack: ExitStack) -> None:
        tables = [table for table in catalog.tables.values() if table.is_readable and not table.is_transactional]
        self.late = {table.name: f"its engine {table.engine} keeps no moments" for table in tables}
        is_small = sum(table.bytes_estimate for table in tables) <= _KEPT_BYTES
        self._tables = tables if is_small and catalog.server.is_mariadb else []
        self._session = stack.enter_context(closing(Session(url))) if self._tables else None
        self._place = shown(url)
        self._is_locked = False

    def lock(self) -> None:
        """Let nobody write to them. Comes when whoever writes such tables is stopped already, and commits are not."""
        if self._session is None:
            return
        tables = ", ".join(f"{table.sql_name} READ" for table in self._tables)
        self._session.run(f"SET lock_wait_timeout = {_SECONDS_TO_LOCK}, wait_timeout = {_SECONDS_AWAY}")
        try:
            with _awaited(self._place, _HOLDS_KEPT):
                self._session.run(f"LOCK TABLES {tables}")
        except pymysql.MySQLError as error:
            if error.args[0] not in _DENIED:
                raise
            self.late = {name: f"{why}, and this user may not lock it (LOCK TABLES)" for name, why in self.late.items()}
        else:
            self._is_locked = True

    def read(self) -> Mapping[str, Sequence[Sequence[pa.Array]]]:
        """Their rows, as the server sent them."""
        if self._session is None or not self._is_locked:
            return {}
        kept = {}
        for table in self._tables:
            projection = Projection(table.stored)
            rows = self._session.rows(projection.sql(table.sql_source), projection.width)
            kept[table.name] = [projection.values(batch) for batch in rows]
        self.late = {}
        return kept


@contextmanager
def _awaited(place: str, holder: str) -> Iterator[None]:
    """Tell who holds what is waited for."""
    try:
        yield
    except pymysql.MySQLError as error:
        if error.args[0] != _TIMEOUT:
            raise
        raise Unreachable(
            f"{place}: {holder}; it was waited for {_SECONDS_TO_LOCK} s, for others wait meanwhile",
            hint="try again when it has ended; SHOW PROCESSLIST shows to root who that is",
        ) from error


def _place(lane: Lane, questions: Connection, catalog: Catalog, gtids: str) -> BinlogPlace | None:
    """Where the binlog stood when this session began, by its own word on MariaDB; None without a binlog.

    `gtids` is SQL for the GTIDs up to there, where nobody can commit; else the binlog is searched for them.
    """
    if not catalog.server.has_binlog:
        return None
    if not catalog.server.is_mariadb:
        return _place_of_mysql(questions)
    (rows,) = lane.rows("SHOW STATUS LIKE 'binlog\\_snapshot\\_%'", 2)
    told = {name.decode().lower(): value.decode() for name, value in zip(*map(_listed, rows.columns), strict=True)}
    file, position = told["binlog_snapshot_file"], int(told["binlog_snapshot_position"])
    ((gtid,),) = _run(questions, f"SELECT {gtids or f'BINLOG_GTID_POS({literal(file)}, {position})'}")
    return BinlogPlace(file, position, gtid or "")


def _place_of_mysql(questions: Connection) -> BinlogPlace | None:
    try:
        ((file, position, *_, gtid),) = _run(questions, "SHOW MASTER STATUS")
    except pymysql.MySQLError as error:
        if error.args[0] in _DENIED:
            return None
        raise
    return BinlogPlace(file, int(position), gtid)


def _listed(values: pa.Array) -> list[bytes]:
    found: list[bytes] = values.to_pylist()
    return found


def _touch(questions: Connection, lanes: Sequence[Lane], catalog: Catalog) -> None:
    """Keep every table from being altered, and see that none was since the moment began."""
    names = [table.sql_name for table in catalog.tables.values() if table.is_readable and table.is_transactional]
    # Behind whoever waits to alter a table each would wait for the one before it, and that one for all of them.
    _set_patience(questions, lanes, 1)
    for start in range(0, len(names), _TABLES_AT_ONCE):
        some = names[start : start + _TABLES_AT_ONCE]
        sql = " UNION ALL ".join(f"(SELECT 1 FROM {name} LIMIT 1)" for name in some)
        try:
            _run(questions, sql)
            for lane in lanes:
                for _ in lane.rows(sql, 1):
                    pass
        except pymysql.MySQLError as error:
            if error.args[0] in _ALTERED:
                raise _Altered from error
            raise
    _set_patience(questions, lanes, _SECONDS)


def _set_patience(questions: Connection, lanes: Sequence[Lane], seconds: int) -> None:
    told = f"SET lock_wait_timeout = {seconds}"
    _run(questions, told)
    for lane in lanes:
        lane.run(told)


def _shapes(catalog: Catalog) -> Mapping[str, Table]:
    """The tables without what the server only estimates."""
    return {name: replace(table, rows_estimate=0, bytes_estimate=0) for name, table in catalog.tables.items()}


def _run(connection: Connection, sql: str) -> Sequence[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())
