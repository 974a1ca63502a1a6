"""What Holdfast's own user needs on a MariaDB or MySQL server, and what of it is missing.

* To read: SELECT on the database; SHOW VIEW, TRIGGER, EVENT and the rest that `rights` names, for its definitions;
  LOCK TABLES where tables know no transactions.
* To begin in several sessions at one moment: RELOAD.
* To follow: BINLOG MONITOR (MySQL: REPLICATION CLIENT) to ask where the binlog is, REPLICATION SLAVE to be sent it.
"""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.connectors.mysql.catalog import Catalog
from holdfast.connectors.mysql.connection import Connection, quoted, translated
from holdfast.connectors.mysql.rights import account, held, unseen

__all__ = ["may_ask_for_log", "missing"]

_MEND = "; mend it with: "
_MONITOR = ("BINLOG MONITOR", "REPLICATION CLIENT", "SUPER")
_ALL = "ALL PRIVILEGES"


def missing(connection: Connection, catalog: Catalog) -> Iterator[tuple[str, str, bool]]:
    """What is missing: the fact, the statement that mends it, and whether nothing goes without it."""
    server = catalog.server
    with translated("the rights"):
        everywhere, here = held(connection, None), held(connection, server.database)
    user, database = account(server), quoted(server.database)
    readable = [table for table in catalog.tables.values() if table.is_readable]
    for told in unseen(connection, server):
        what, _, mend = told.partition(_MEND)
        is_closed = "SELECT" in mend.split(" ON ")[0] and database in mend and not readable
        yield f"{user} can't see {what.removesuffix(' that this user has no right to see')}", mend, is_closed
    for table in catalog.tables.values():
        if not table.is_readable:
            fact, _, mend = table.refusal.partition(_MEND)
            yield f"{table.name}: {fact}", mend or f"ALTER TABLE {table.sql_name}: {fact}", bool(mend)
    log = [] if may_ask_for_log(connection) else [_MONITOR[0] if server.is_mariadb else _MONITOR[1]]
    if not everywhere & {"REPLICATION SLAVE", _ALL}:
        log.append("REPLICATION SLAVE")
    if log:
        yield (
            f"{user} lacks {' and '.join(log)}, to be told of changes",
            f"GRANT {', '.join(log)} ON *.* TO {user}",
            True,
        )
    if not everywhere & {"RELOAD", _ALL}:
        fact = (
            f"{user} lacks RELOAD: a snapshot is read in one session instead of several, and tables without "
            "transactions not at the same moment"
        )
        yield fact, f"GRANT RELOAD ON *.* TO {user}", False
    is_loose = any(not table.is_transactional for table in readable)
    if is_loose and not here & {"LOCK TABLES", _ALL}:
        fact = f"{user} lacks LOCK TABLES: tables without transactions may change while they are read"
        yield fact, f"GRANT LOCK TABLES ON {database}.* TO {user}", False


def may_ask_for_log(connection: Connection) -> bool:
    """Whether this user may ask where the binlog is."""
    with translated("the rights"):
        return bool(held(connection, None) & {*_MONITOR, _ALL})
