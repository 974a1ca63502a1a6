"""Which server a connection leads to, and where its log stands: a copy's position means nothing on another one."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.connectors.postgres.connection import Connection
from holdfast.errors import Unsupported

__all__ = ["Server", "load_server", "log_position"]

_OLDEST = 130000


@dataclass(frozen=True, slots=True)
class Server:
    """A server and the database on it. The identifier is empty, the timeline 0, where this user may not ask."""

    version: int
    database: str
    user: str
    encoding: str
    system_identifier: str
    timeline: int
    is_standby: bool


def load_server(connection: Connection) -> Server:
    """Ask the server who it is. Raises Unsupported for a version older than any that Holdfast knows."""
    version = connection.info.server_version
    if version < _OLDEST:
        raise Unsupported(
            f"PostgreSQL {version // 10000} is older than any version Holdfast can read",
            hint=f"upgrade the server to {_OLDEST // 10000} or later",
        )
    (row,) = connection.execute(_WHO).fetchall()
    database, user, encoding, is_standby, may_identify, may_checkpoint = row
    identifier = timeline = 0
    if may_identify:
        identifier = _number(connection, "SELECT system_identifier FROM pg_control_system()")
    if not is_standby:
        # The control file learns of a new timeline only with the first checkpoint on it.
        timeline = _number(connection, "SELECT ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int")
    elif may_checkpoint:
        timeline = _number(connection, "SELECT timeline_id FROM pg_control_checkpoint()")
    return Server(version, database, user, encoding, str(identifier or ""), timeline, is_standby)


def log_position(connection: Connection) -> str:
    """Where the server's log ends now (or, on a standby, has been replayed to), as PostgreSQL writes it."""
    (row,) = connection.execute(
        "SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END"
    ).fetchall()
    return str(row[0] or "0/0")


def _number(connection: Connection, sql: str) -> int:
    (row,) = connection.execute(sql).fetchall()
    return int(row[0])


_WHO = """
    SELECT current_database(), current_user::text, getdatabaseencoding(), pg_is_in_recovery(),
        has_function_privilege('pg_control_system()', 'EXECUTE'),
        has_function_privilege('pg_control_checkpoint()', 'EXECUTE')
"""
