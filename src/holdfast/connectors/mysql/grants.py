"""Who may do what in one database, as GRANT statements: made from the server's own tables of rights, without passwords.

Rights on everything, and those given by a pattern that fits several databases, belong to the server and are left out.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pymysql

from holdfast.connectors.mysql.connection import Connection, qualified, quoted

__all__ = ["RIGHTS", "Grant", "grants", "revoking"]

RIGHTS = ("db", "tables_priv", "columns_priv", "procs_priv")

_OWN = {"Create_tmp_table": "CREATE TEMPORARY TABLES", "Delete versioning rows": "DELETE HISTORY"}
_PLACE = "`holdfast:database`"
_NAME = "`(?:[^`]|``)*`"
_GRANT = re.compile(
    rf"GRANT ((?:{_NAME}|[^`])*?) ON ([A-Z ]*{_NAME}\.(?:\*|{_NAME})) "
    rf"TO (PUBLIC|{_NAME}(?:@{_NAME})?)( WITH GRANT OPTION)?"
)


class Grant(NamedTuple):
    """What one grantee may do with one thing. `table` is empty unless that is a table or view."""

    name: str
    table: str
    sql: str


def grants(connection: Connection, database: str) -> list[Grant]:
    """All rights on a database and what is in it. Raises the driver's error where this user may not read them."""
    found = []
    for row in _rows(connection, "db", database):
        rights = sorted(_right(name[:-5]) for name, value in row.items() if name.endswith("_priv") and value == "Y")
        found.append(_grant(row, rights, "*"))
    columns: dict[tuple[str, ...], dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for row in _rows(connection, "columns_priv", database):
        for right in _listed(row["Column_priv"]):
            columns[_who(row), row["Table_name"]][right].append(row["Column_name"])
    for row in _rows(connection, "tables_priv", database):
        rights = sorted(_listed(row["Table_priv"]))
        for right, names in sorted(columns[_who(row), row["Table_name"]].items()):
            rights.append(f"{right} ({', '.join(map(quoted, sorted(names)))})")
        if rights:
            found.append(_grant(row, rights, quoted(row["Table_name"]), row["Table_name"]))
    for row in _rows(connection, "procs_priv", database):
        kind = f"{row['Routine_type']} "
        found.append(_grant(row, sorted(_listed(row["Proc_priv"])), quoted(row["Routine_name"]), kind=kind))
    return sorted(found)


def revoking(sql: str) -> str:
    """The statement that takes away what a grant of `grants` gives, in whatever database."""
    found = _GRANT.fullmatch(sql)
    assert found is not None, "it is written below"
    option = ", GRANT OPTION" if found[4] else ""
    return f"REVOKE {found[1]}{option} ON {found[2]} FROM {found[3]}"


def _grant(row: Mapping[str, Any], rights: Sequence[str], name: str, table: str = "", kind: str = "") -> Grant:
    who, may_grant = _who(row), "GRANT" in rights
    listed = ", ".join(right for right in rights if right != "GRANT") or "USAGE"
    rest = " WITH GRANT OPTION" if may_grant else ""
    sql = f"GRANT {listed} ON {kind}{_PLACE}.{name} TO {who}{rest}"
    return Grant(f"{who} ON {kind}{name}", table, sql)


def _who(row: Mapping[str, Any]) -> str:
    if not row["Host"]:
        return "PUBLIC" if row["User"] == "PUBLIC" else quoted(row["User"])
    return f"{quoted(row['User'])}@{quoted(row['Host'])}"


def _right(name: str) -> str:
    return _OWN.get(name, name.replace("_", " ").upper())


def _listed(value: str) -> Iterator[str]:
    return map(_right, filter(None, value.split(",")))


def _rows(connection: Connection, table: str, database: str) -> list[dict[str, Any]]:
    """The rows of this database, however its name is written: `_` and `%` may stand behind a backslash."""
    sql = f"SELECT * FROM {qualified('mysql', table)} WHERE Db IN (%s, %s)"
    with connection.cursor(pymysql.cursors.DictCursor) as cursor:
        cursor.execute(sql, (database, re.sub(r"([_%\\])", r"\\\1", database)))
        return list(cursor.fetchall())
