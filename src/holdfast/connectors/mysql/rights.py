"""What of a database's definitions this user can't see, each with the statement that mends it.

The server does not refuse: it leaves out what one may not see. So it is asked for the rights themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import pymysql

from holdfast.connectors.mysql.catalog import Server
from holdfast.connectors.mysql.connection import Connection, literal, qualified, quoted, translated
from holdfast.connectors.mysql.grants import RIGHTS

__all__ = ["account", "held", "invisible", "readable", "unseen"]


def unseen(connection: Connection, server: Server) -> tuple[str, ...]:
    """What may be missing from the definitions, in words. Raises Unreachable."""
    with translated("the rights"):
        return tuple(_unseen(connection, server))


def account(server: Server) -> str:
    """This user, as GRANT names him."""
    user, _, host = server.user.rpartition("@")
    return f"{literal(user)}@{literal(host)}"


def held(connection: Connection, database: str | None) -> set[str]:
    """What this user may do with all of the database, or (None) with the whole server, by right of his own or of the
    role that he has on.
    """
    found_rights: set[str] = set()
    for (told,) in _grants_shown(connection):
        found = _GRANT.match(told)
        is_here = found and database is not None and found[2] != "*"
        if found and (found[2] == "*" or (is_here and _fits(_unquoted(found[2]), database or ""))):
            found_rights |= {right.strip().upper() for right in found[1].split(",")}
    return found_rights


def readable(connection: Connection, server: Server) -> Iterator[str]:
    """What lets this user see records and definitions: a line each, the same whatever gives him the right."""
    database = server.database
    rights = held(connection, database)
    everything = "ALL PRIVILEGES" in rights
    yield "CONNECT"
    yield from (f"{right} ON {quoted(database)}.*" for right in _NEEDED if everything or right in rights)
    yield from (f"SELECT ON mysql.{table}" for table in ("proc", *RIGHTS) if _may_read(connection, table))
    for (told,) in _grants_shown(connection):
        found = _TABLE_GRANT.match(told)
        if found and _unquoted(found[2]) == database and (selects := _SELECT.search(found[1])):
            yield f"{selects[0]} ON {found[3]}"


def invisible(connection: Connection, server: Server, names: Sequence[str]) -> dict[str, str]:
    """Which of these tables may be there unseen, and why: the server says of them that they are not for this user, and
    not that there are none.
    """
    found = {}
    with translated("the rights"):
        for name in names:
            place = qualified(server.database, name)
            try:
                with connection.cursor() as cursor:
                    cursor.execute(f"SELECT 1 FROM {place} LIMIT 0")
            except pymysql.MySQLError as error:
                if error.args and error.args[0] in _NOT_SEEN:
                    mend = f"GRANT SELECT ON {place} TO {account(server)}"
                    found[name] = f"it is no longer visible to this user; mend it with: {mend}"
                elif not error.args or error.args[0] not in _GONE:
                    raise
    return found


def _unseen(connection: Connection, server: Server) -> Iterator[str]:
    grantee = account(server)
    rights = held(connection, server.database)
    for right, what in _NEEDED.items():
        if not rights & {right, "ALL PRIVILEGES"}:
            mend = f"GRANT {right} ON {quoted(server.database)}.* TO {grantee}"
            yield f"{what} that this user has no right to see; mend it with: {mend}"
    bodies = "SELECT ON mysql.proc" if server.is_mariadb else "SHOW_ROUTINE ON *.*"
    if not (_may_read(connection, "proc") if server.is_mariadb else rights & {"SHOW_ROUTINE", "ALL PRIVILEGES"}):
        yield f"functions and procedures of other users; mend it with: GRANT {bodies} TO {grantee}"
    hidden = [table for table in RIGHTS if not _may_read(connection, table)]
    if hidden:
        mend = "; ".join(f"GRANT SELECT ON {qualified('mysql', table)} TO {grantee}" for table in hidden)
        yield f"who has which rights here; mend it with: {mend}"


def _grants_shown(connection: Connection) -> Sequence[tuple[str]]:
    with connection.cursor() as cursor:
        cursor.execute("SHOW GRANTS")
        return list(cursor.fetchall())


def _unquoted(name: str) -> str:
    return name[1:-1].replace("``", "`")


def _fits(pattern: str, database: str) -> bool:
    """Whether a right on that pattern is one on this database: `_` and `%` stand for any letters, unless escaped."""
    signs = {"_": ".", "%": ".*"}
    parts = (signs.get(each, re.escape(each[-1])) for each in re.findall(r"\\.|.", pattern, re.DOTALL))
    return re.fullmatch("".join(parts), database, re.DOTALL) is not None


def _may_read(connection: Connection, table: str) -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT * FROM {qualified('mysql', table)} LIMIT 0")
    except pymysql.MySQLError as error:
        if error.args and error.args[0] in _NOT_SEEN:
            return False
        raise
    return True


_NOT_SEEN = (1044, 1142, 1143)
_GONE = (1146, 1356, 1932)  # no such table, a view of that name that shows nothing, a table whose files are gone
_GRANT = re.compile(r"GRANT (.+?) ON (\*|`(?:[^`]|``)*`)\.\* TO ", re.DOTALL)
_TABLE_GRANT = re.compile(r"GRANT (.+?) ON (`(?:[^`]|``)*`)\.(`(?:[^`]|``)*`) TO ", re.DOTALL)
_SELECT = re.compile(r"SELECT(?: \([^)]*\))?")
_NEEDED = {
    "SELECT": "tables and views",
    "SHOW VIEW": "the definitions of views",
    "TRIGGER": "triggers",
    "EVENT": "events",
}
