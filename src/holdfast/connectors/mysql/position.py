"""A place in one server's binlog: what is kept of it, and whether the server still has what came after it.

* A file's name and an offset say nothing by themselves: RESET MASTER begins the same names anew, another server has
  its own. So a position holds the GTIDs up to there, the server's id, and when that file was begun.
* A file that is purged takes with it what nobody has read yet. Nothing on the server is kept for a follower.
* With the URL's option `position=gtid` another server of the same replication domain may go on (a replica that became
  the primary). It has to send the last transaction once more, the same name and time, before it is believed.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pymysql

from holdfast.connectors.mysql.connection import Connection, literal, translated
from holdfast.core.feed import BreakKind
from holdfast.errors import Refused, Usage

__all__ = [
    "Last",
    "Log",
    "Position",
    "Trouble",
    "binlogs",
    "examine",
    "file_number",
    "log_end",
    "parse_position",
    "replica_id",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?\+00:00"
_POSITION = re.compile(
    rf"binlog (.+):(\d+), GTID (\S+), server (\d+), begun ({_TIME})"
    rf"(?:, last (\S+) at ({_TIME}) after (\S+))?(?:, definitions ([0-9a-f]{{16}}))?"
)
_NONE = "none"
# Replicas of people have small numbers; a server's own is at most 2^32 - 1.
_REPLICAS_FROM, _REPLICAS = 1 << 30, 3 << 30


@dataclass(frozen=True, slots=True)
class Last:
    """The newest transaction before a position: its GTID, its time in microseconds, and the GTIDs before it."""

    gtid: str
    at: int
    before: str


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the binlog of one server, between two transactions.

    `gtids` are those of the last transaction of each domain; `begun` is when the file was (seconds since 1970);
    `definitions` the digest of what `marks` watches.
    """

    file: str
    offset: int
    gtids: str
    server: int
    begun: int
    last: Last | None = None
    definitions: str = ""

    def __str__(self) -> str:
        begun = _told(self.begun * 1_000_000)
        text = f"binlog {self.file}:{self.offset}, GTID {self.gtids or _NONE}, server {self.server}, begun {begun}"
        if self.last is not None:
            text += f", last {self.last.gtid} at {_told(self.last.at)} after {self.last.before or _NONE}"
        return f"{text}, definitions {self.definitions}" if self.definitions else text

    @property
    def place(self) -> tuple[int, int]:
        """What places of one server compare by."""
        return file_number(self.file), self.offset


@dataclass(frozen=True, slots=True)
class Log:
    """A binlog that the server has, and its size."""

    file: str
    size: int


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why what came after a position can't be had from this server by file and offset; `kind` as a `Break` has it."""

    why: str
    kind: BreakKind = ""


def parse_position(text: str) -> Position:
    """The position that `str(Position)` wrote. Raises Usage."""
    found = _POSITION.fullmatch(text)
    if found is None:
        raise Usage(f"{text!r} is no position in the binlog of a MariaDB server", hint="follow anew")
    last = Last(found[6], _number(found[7]), _state(found[8])) if found[6] else None
    begun = _number(found[5]) // 1_000_000
    return Position(found[1], int(found[2]), _state(found[3]), int(found[4]), begun, last, found[9] or "")


def examine(connection: Connection, kept: Position, *, is_mariadb: bool = True) -> Trouble | None:
    """Whether the server has the position that was kept. That its file is the same one only the file itself tells.

    The gravest trouble is told, others may be behind it.
    """
    with translated("the binlog"), connection.cursor() as cursor:
        cursor.execute("SELECT @@server_id, @@log_bin")
        server, has_log = cursor.fetchone() or (0, 0)
    if int(server) != kept.server:
        return Trouble(
            f"this is another server: its id is {server}, and what was read came from {kept.server}", "identity"
        )
    if not has_log:
        return Trouble("the server keeps no binlog any more (log_bin is off)")
    logs = binlogs(connection)
    size = next((each.size for each in logs if each.file == kept.file), None)
    if size is None:
        first = logs[0].file if logs else "none"
        why = f"the binlog {kept.file} is gone, purged or reset; the oldest that the server has is {first}"
        is_before = not logs or file_number(logs[-1].file) < file_number(kept.file)
        return Trouble(why, "behind" if is_before else "")
    if kept.offset > size:
        return Trouble(
            f"the binlog {kept.file} ends at {size}, before {kept.offset} where reading ended: the server was set "
            "back, or its log was begun anew",
            "behind",
        )
    if is_mariadb:
        return _same_gtids(connection, kept)
    with translated("the binlog"), connection.cursor() as cursor:
        cursor.execute(f"SELECT GTID_SUBSET({literal(kept.gtids)}, @@global.gtid_executed)")
        (is_there,) = cursor.fetchone() or (0,)
    return None if is_there else Trouble("the server does not have all transactions that were read from it", "behind")


def binlogs(connection: Connection) -> list[Log]:
    """The binlogs that the server has, the oldest first. Raises Refused without the right to ask."""
    with translated("the binlog"), connection.cursor() as cursor:
        try:
            cursor.execute("SHOW BINARY LOGS")
        except pymysql.MySQLError as error:
            if error.args and error.args[0] == _NO_LOG:
                return []
            raise
        return [Log(row[0], int(row[1])) for row in cursor.fetchall()]


def log_end(connection: Connection) -> tuple[str, int]:
    """Where the binlog ends now: all that can be seen was written before. Raises Refused if there is none."""
    logs = binlogs(connection)
    if not logs:
        raise Refused("the server keeps no binlog", hint='"holdfast check SOURCE" says what to set')
    return logs[-1].file, logs[-1].size


def file_number(file: str) -> int:
    """The number at the end of a binlog's name, by which they follow one another."""
    digits = file.rpartition(".")[2]
    return int(digits) if digits.isdecimal() else 0


def replica_id(name: str) -> int:
    """The number under which the server knows a follower of this name: two with one number cut each other off."""
    return _REPLICAS_FROM + zlib.crc32(name.encode()) % _REPLICAS


def _same_gtids(connection: Connection, kept: Position) -> Trouble | None:
    with translated("the binlog"), connection.cursor() as cursor:
        cursor.execute(f"SELECT BINLOG_GTID_POS({literal(kept.file)}, {kept.offset})")
        (found,) = cursor.fetchone() or (None,)
    if found is None:
        return Trouble(
            f"no transaction of the binlog {kept.file} ends at {kept.offset}: it is another file of that name",
            "timeline",
        )
    if _sorted(found) != _sorted(kept.gtids):
        return Trouble(
            f"the binlog {kept.file} holds other transactions: up to {kept.offset} its last is {found or _NONE}, and "
            f"{kept.gtids or _NONE} was read",
            "timeline",
        )
    return None


def _sorted(gtids: str) -> list[str]:
    return sorted(gtids.split(","))


def _state(text: str) -> str:
    return "" if text == _NONE else text


def _told(microseconds: int) -> str:
    return (_EPOCH + timedelta(microseconds=microseconds)).isoformat()


def _number(text: str) -> int:
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(microseconds=1)


_NO_LOG = 1381
