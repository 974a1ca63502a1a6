"""What a MariaDB or MySQL database says of itself: which server it is on, and numbers that only rise.

* MariaDB's identity is the server's number, which its owner gives; MySQL's is its own. Neither has an identity for a
  database, so one that was made anew shows by its counters.
* GTIDs count by domain (MySQL: by server), binlogs by the number of the newest. A SEQUENCE that counts down is told by
  its negative; one that has started over by itself is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from holdfast.connectors.mysql.catalog import SYSTEM_PREFIX, Catalog
from holdfast.connectors.mysql.connection import Connection, qualified, translated
from holdfast.connectors.mysql.lanes import BinlogPlace
from holdfast.connectors.mysql.position import binlogs, file_number
from holdfast.connectors.mysql.rights import readable
from holdfast.core.observed import Marks
from holdfast.errors import Refused

__all__ = ["place_now", "standing"]

_AT_ONCE = 200
_AUTO_INCREMENT = """
    SELECT TABLE_NAME, AUTO_INCREMENT FROM information_schema.TABLES
    WHERE TABLE_SCHEMA = %s AND AUTO_INCREMENT IS NOT NULL
"""
_SEQUENCES = "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_TYPE = 'SEQUENCE'"


def standing(connection: Connection, catalog: Catalog, place: BinlogPlace | None) -> Marks:
    """The marks of the database, at a place of its binlog (see `place_now`); its counters are always of now."""
    server = catalog.server
    with translated("the database itself"):
        told = "" if server.is_mariadb else f", {_ask(connection, 'SELECT @@server_uuid')[0][0]}"
        counters = {f"sequence:{name}": value for name, value in _counters(connection, server.database)}
        if place is not None:
            counters |= _of_log(connection, place, is_mariadb=server.is_mariadb)
        rights = frozenset(readable(connection, server))
    return Marks(identity=f"server {server.server_id}{told}", counters=counters, rights=rights)


def place_now(connection: Connection, *, is_mariadb: bool) -> BinlogPlace | None:
    """Where the binlog ends now, or None for a server without one, or that does not say."""
    try:
        logs = binlogs(connection)
    except Refused:
        return None
    if not logs:
        return None
    with translated("the binlog"):
        gtids = _ask(connection, "SELECT @@gtid_binlog_pos" if is_mariadb else "SELECT @@global.gtid_executed")
    return BinlogPlace(logs[-1].file, logs[-1].size, str(gtids[0][0] or ""))


def _of_log(connection: Connection, place: BinlogPlace, *, is_mariadb: bool) -> dict[str, int]:
    """The newest number of each domain. A log that was begun anew has none yet: the server's own stands at 0."""
    found = {"binlog": file_number(place.file)}
    if is_mariadb:
        found[f"gtid:{_ask(connection, 'SELECT @@global.gtid_domain_id')[0][0]}"] = 0
    for each in filter(None, re.split(r"[,\s]+", place.gtid)):
        # 0-1-270; MySQL names a server, and ranges: UUID:1-5:7-9.
        name, numbers = each.split("-", 1) if is_mariadb else each.split(":", 1)
        found[f"gtid:{name}"] = int(re.findall(r"\d+", numbers)[-1])
    return found


def _counters(connection: Connection, database: str) -> Iterator[tuple[str, int]]:
    """Where each counter stands: an AUTO_INCREMENT at the next number, a SEQUENCE at the first that nobody can have."""
    for name, value in _ask(connection, _AUTO_INCREMENT, database):
        if not name.startswith(SYSTEM_PREFIX):
            yield name, int(value)
    names = [name for (name,) in _ask(connection, _SEQUENCES, database)]
    for start in range(0, len(names), _AT_ONCE):
        parts = [
            f"SELECT {number}, next_not_cached_value, increment, cycle_option FROM {qualified(database, name)}"
            for number, name in enumerate(names[start : start + _AT_ONCE], start)
        ]
        for number, value, step, cycles in _ask(connection, " UNION ALL ".join(parts)):
            if not cycles:
                yield names[number], int(value) if step >= 0 else -int(value)


def _ask(connection: Connection, sql: str, *arguments: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, arguments or None)
        return list(cursor.fetchall())
