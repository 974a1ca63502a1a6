"""What stands in the way of capturing and following a MariaDB or MySQL database, each with what mends it.

Nothing is changed. The least rights that Holdfast's own user needs are in `privileges`; `check` names those that are
missing as GRANT statements. Settings of the server are altered by whoever administers it, and belong into its
configuration file too: `SET GLOBAL` lasts until it restarts, and sessions that are open keep what they had.

What is marked as blocking must be mended first; the rest is followed less exactly or with more reading, and says how.
MySQL 8 differs in names of settings and rights: written by its documentation, and not run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pymysql

from holdfast.connectors.mysql.catalog import Catalog, load_catalog
from holdfast.connectors.mysql.connection import Connection, connect, session, shown, translated
from holdfast.connectors.mysql.following import load_tables
from holdfast.connectors.mysql.hazards import table_hazards, view_hazards
from holdfast.connectors.mysql.position import replica_id
from holdfast.connectors.mysql.privileges import may_ask_for_log, missing
from holdfast.core.feed import Obstacle

__all__ = ["Kind", "check", "hides"]

_EXPIRE_SECONDS_MIN = 2 * 86_400


class Kind(StrEnum):
    """What is in the way."""

    LOG = "log"
    FORMAT = "format"
    IMAGE = "image"
    FILTER = "filter"
    EXPIRE = "expire"
    REPLICA = "replica"
    REPLICA_ID = "replica-id"
    FORGETS = "forgets"
    GTID = "gtid"
    SWITCHING = "switching"
    LOADING = "loading"
    RIGHTS = "rights"
    ENGINE = "engine"
    VERSIONED = "versioned"
    NO_KEY = "no-key"
    CASCADE = "cascade"
    VIEW = "view"


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the server was asked before anything was judged."""

    connection: Connection
    catalog: Catalog
    settings: Mapping[str, str]

    def setting(self, name: str) -> str:
        """A global setting in capitals; "" where the server has none of that name."""
        return self.settings.get(name, "").upper()


def check(url: str, name: str | None = "holdfast") -> list[Obstacle]:
    """Everything found at once, the blocking first; empty if nothing is in the way.

    `name` is the follower's; None before there is a vault. Raises Unreachable or Refused when this user can't connect
    at all, Unsupported for a server that is too old.
    """
    with connect(url) as connection, translated(shown(url)):
        catalog = load_catalog(connection)
        asked = _ask(connection, catalog)
        found = [
            *_log(asked),
            *_filters(asked),
            *_replica(asked),
            *_server(asked, name),
            *_gtids(asked, url),
            *(Obstacle(Kind.RIGHTS, *each) for each in missing(connection, catalog)),
            *(
                Obstacle(Kind(kind), fact, mend, is_blocking=False)
                for kind, fact, mend in (
                    *table_hazards(load_tables(connection, catalog)),
                    *view_hazards(connection, catalog.server),
                )
            ),
        ]
    return sorted(found, key=lambda each: not each.is_blocking)


def hides(connection: Connection, catalog: Catalog) -> tuple[str, str]:
    """Why the server's binlog, though it is there, is without what happens to the database, and why it may be without
    a part of it; "" if it has it.
    """
    with translated("the settings"):
        asked = _ask(connection, catalog)
        found = [*_filters(asked), *_replica(asked)]
    facts = {each.is_blocking: each.fact for each in reversed(found)}
    return facts.get(True, ""), facts.get(False, "")


def _ask(connection: Connection, catalog: Catalog) -> _Asked:
    with connection.cursor() as cursor:
        cursor.execute("SHOW GLOBAL VARIABLES")
        return _Asked(connection, catalog, {key.lower(): value for key, value in cursor.fetchall()})


def _log(asked: _Asked) -> Iterator[Obstacle]:
    """Whether the binlog holds what following needs."""
    if asked.setting("log_bin") != "ON":
        fact = "the server keeps no binlog (log_bin is off). Then restart the server"
        mend = "log_bin = bin and server_id = 1, below [mariadbd] in the server's configuration file"
        yield Obstacle(Kind.LOG, fact, mend, is_blocking=True)
        return
    for kind, name, wanted, why in _WANTED:
        if (value := asked.setting(name)) and value != wanted:
            fact = f"{name} is {value}: {why}. Sessions that are open keep theirs until they connect anew"
            yield Obstacle(kind, fact, f"SET GLOBAL {name} = {_literal(wanted)}", is_blocking=True)
    seconds = int(float(asked.setting("binlog_expire_logs_seconds") or 0))
    seconds = seconds or int(float(asked.setting("expire_logs_days") or 0) * 86_400)
    if 0 < seconds < _EXPIRE_SECONDS_MIN:
        fact = (
            f"the server purges binlogs after {seconds:,} seconds: were Holdfast away for longer, all would be read "
            "anew, and what happened meanwhile known by its outcome only"
        )
        yield Obstacle(Kind.EXPIRE, fact, f"SET GLOBAL {_expiry(asked)}", is_blocking=False)
    if int(asked.setting("max_binlog_total_size") or 0):
        fact = "the server purges binlogs when all together are larger than max_binlog_total_size, read or not"
        yield Obstacle(Kind.EXPIRE, fact, "SET GLOBAL max_binlog_total_size = 0", is_blocking=False)
    lasting = ("innodb_flush_log_at_trx_commit", "sync_binlog")
    if loose := [each for each in lasting if asked.setting(each) not in ("", "1")]:
        fact = (
            f"by {' and '.join(loose)} the server may lose committed transactions when it dies, and its binlog others: "
            "after a crash all is read anew"
        )
        mend = ";\n".join(f"SET GLOBAL {each} = 1" for each in loose)
        yield Obstacle(Kind.FORGETS, fact, mend, is_blocking=False)


def _filters(asked: _Asked) -> Iterator[Obstacle]:
    """Databases that the server leaves out of its binlog."""
    if asked.setting("log_bin") != "ON" or not may_ask_for_log(asked.connection):
        return
    with asked.connection.cursor() as cursor:
        cursor.execute("SHOW MASTER STATUS" if asked.catalog.server.is_mariadb else _mysql_status(asked))
        (_, _, chosen, ignored, *_) = cursor.fetchone() or ("", 0, "", "")
    database = asked.catalog.server.database
    kept, left_out = ([each for each in text.split(",") if each] for text in (chosen, ignored))
    if not kept and not left_out:
        return
    hides = (kept and database not in kept) or database in left_out
    fact = (
        f"the server leaves {database} out of its binlog (binlog_do_db, binlog_ignore_db)"
        if hides
        else "binlog_do_db or binlog_ignore_db is set: what sessions in another database do to "
        "definitions of this one, and TRUNCATE, may not be told"
    )
    mend = "take binlog_do_db and binlog_ignore_db out of the server's configuration file, then restart the server"
    yield Obstacle(Kind.FILTER, fact, mend, is_blocking=bool(hides))


def _replica(asked: _Asked) -> Iterator[Obstacle]:
    """Whether the server tells what it replicates."""
    if asked.setting("log_slave_updates") == "OFF" and _is_replica(asked):
        fact = "this server is a replica that does not write into its binlog what it replicates (log_slave_updates)"
        yield Obstacle(Kind.REPLICA, fact, "name the primary in the URL", is_blocking=True)


def _server(asked: _Asked, name: str | None) -> Iterator[Obstacle]:
    """Who else may be in the way of following this server, or of restoring into it."""
    if name and str(replica_id(name)) in _ids(asked):
        fact = f"another replica has the number {replica_id(name)}, under which this host would follow"
        yield Obstacle(Kind.REPLICA_ID, fact, "give that replica another server_id", is_blocking=True)
    if asked.setting("local_infile") == "OFF":
        fact = "local_infile is off: nothing could be restored into this server"
        yield Obstacle(Kind.LOADING, fact, "SET GLOBAL local_infile = 1", is_blocking=False)
    with asked.connection.cursor() as cursor:
        cursor.execute(_SWITCHING)
        others = [row[0] for row in cursor.fetchall() if not row[0].startswith(_SYSTEM_USERS)]
    if others and asked.setting("log_bin") == "ON":
        fact = (
            f"{_some(others)} may write changes as statements, or none into the binlog at all: what is written without "
            "binlog is told to nobody, and what is told as a statement is read anew"
        )
        mend = f"REVOKE SUPER, BINLOG ADMIN ON *.* FROM {others[0]}, unless that is what it is for"
        yield Obstacle(Kind.SWITCHING, fact, mend, is_blocking=False)


def _gtids(asked: _Asked, url: str) -> Iterator[Obstacle]:
    if session(url).options.get("position") == "gtid" and asked.setting("gtid_strict_mode") == "OFF":
        fact = (
            "gtid_strict_mode is off: a replica may have transactions of its own under GTIDs of others, and following "
            "would end there if it became the primary"
        )
        yield Obstacle(Kind.GTID, fact, "SET GLOBAL gtid_strict_mode = 1", is_blocking=False)


def _is_replica(asked: _Asked) -> bool:
    """Whether the server replicates another; where that may not be asked, by what it says of itself."""
    try:
        with asked.connection.cursor() as cursor:
            cursor.execute("SHOW ALL SLAVES STATUS" if asked.catalog.server.is_mariadb else "SHOW REPLICA STATUS")
            return bool(cursor.fetchall())
    except pymysql.MySQLError:
        return asked.setting("read_only") not in ("", "OFF") and bool(asked.setting("gtid_slave_pos"))


def _ids(asked: _Asked) -> list[str]:
    """The numbers of replicas that are registered; none where that may not be asked."""
    try:
        with asked.connection.cursor() as cursor:
            cursor.execute("SHOW SLAVE HOSTS" if asked.catalog.server.is_mariadb else "SHOW REPLICAS")
            return [str(row[0]) for row in cursor.fetchall()]
    except pymysql.MySQLError:
        return []


def _expiry(asked: _Asked) -> str:
    name = "binlog_expire_logs_seconds" if "binlog_expire_logs_seconds" in asked.settings else "expire_logs_days"
    return f"{name} = {7 * 86_400 if name.endswith('seconds') else 7}"


def _mysql_status(asked: _Asked) -> str:
    return "SHOW BINARY LOG STATUS" if asked.catalog.server.version >= (8, 4) else "SHOW MASTER STATUS"


def _literal(value: str) -> Any:
    return value if value.isdecimal() else f"'{value}'"


def _some(names: Sequence[str]) -> str:
    """The first few of many names."""
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + rest


_WANTED = (
    (Kind.FORMAT, "binlog_format", "ROW", "changes are written as statements, which tell no records"),
    (Kind.IMAGE, "binlog_row_image", "FULL", "the binlog has parts of rows only"),
    (Kind.IMAGE, "binlog_row_value_options", "", "the binlog has parts of JSON values only"),
    (Kind.FORMAT, "binlog_transaction_compression", "OFF", "transactions come compressed in a way that is not known"),
)
_SYSTEM_USERS = ("'root'@", "'mariadb.sys'@", "'mysql'@", "'mysql.", "'debian-sys-maint'@")
_SWITCHING = """
    SELECT DISTINCT GRANTEE FROM information_schema.USER_PRIVILEGES
    WHERE PRIVILEGE_TYPE IN ('SUPER', 'BINLOG ADMIN', 'SYSTEM_VARIABLES_ADMIN') ORDER BY GRANTEE
"""
