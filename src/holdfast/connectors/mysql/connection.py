"""Connections to MariaDB and MySQL under settings that make every value read the same, whatever the server's own are.

* Times are UTC, text is UTF-8 both ways, and no mode of SQL alters what a value looks like or what a quote means. No
  limit that the server sets for everybody cuts a result.
* The driver's errors end here: each becomes one of Holdfast's own. No message shows a password.
"""

from __future__ import annotations

import configparser
import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

import pymysql
from pymysql.constants import CLIENT, ER
from pymysql.optionfile import Parser

from holdfast.errors import (
    Absent,
    Corrupt,
    HoldfastError,
    Refused,
    TargetChanged,
    Unreachable,
    Unsupported,
    Usage,
)

__all__ = [
    "SETTINGS",
    "Connection",
    "Place",
    "RuleBroken",
    "ValueTaken",
    "connect",
    "literal",
    "qualified",
    "quoted",
    "session",
    "shown",
    "translated",
]

Connection: TypeAlias = "pymysql.connections.Connection[Any]"

SCHEMES = ("mariadb", "mysql")
_PORT = 3306
_CONNECT_SECONDS = 10
# A statement of MariaDB's own, which MySQL takes for a comment.
SETTINGS = (
    "SET time_zone = '+00:00', sql_mode = 'NO_ENGINE_SUBSTITUTION', sql_quote_show_create = 1, "
    "sql_select_limit = 18446744073709551615, sql_big_selects = 1, sql_safe_updates = 0, "
    "lock_wait_timeout = 10, innodb_lock_wait_timeout = 10, wait_timeout = 86400, net_read_timeout = 600, "
    "net_write_timeout = 600 /*M!100300 , max_statement_time = 0, idle_transaction_timeout = 0, "
    "idle_readonly_transaction_timeout = 0, idle_write_transaction_timeout = 0 */"
)
_OPTIONS = ("defaults_file", "position", "socket", "ssl_ca", "ssl_cert", "ssl_key")


class RuleBroken(Refused):
    """A record breaks a rule that the database has now. Nothing is committed."""


class ValueTaken(TargetChanged):
    """Another record already holds a value that must be unique. Nothing is committed."""


@dataclass(frozen=True, slots=True)
class Place:
    """What a URL says. `options` are those that follow its question mark."""

    host: str
    port: int
    user: str
    password: str
    database: str
    options: dict[str, str]


def session(url: str) -> Place:
    """The parts of a URL. Raises Usage, without repeating it, if it can't be read or names no database.

    What it leaves out is as for the server's own programs: the port from MYSQL_TCP_PORT, the password from the option
    file that the URL names (`defaults_file`), or from MYSQL_PWD.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or int(os.environ.get("MYSQL_TCP_PORT") or _PORT)
        options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    except ValueError:
        raise _unreadable("it can't be read") from None
    database = unquote(parts.path[1:])
    if parts.scheme not in SCHEMES or not database:
        raise _unreadable("it names no database")
    if unknown := sorted(set(options) - set(_OPTIONS)):
        raise _unreadable(f"the option {unknown[0]} is not known (known are {', '.join(_OPTIONS)})")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if parts.password is None:
        kept = options.get("defaults_file")
        password = _kept_password(kept) if kept else os.environ.get("MYSQL_PWD", "")
    return Place(parts.hostname or "localhost", port, user, password, database, options)


def connect(url: str, *, raw: bool = False, database: bool = True, read_timeout: float | None = None) -> Connection:
    """Open a connection in autocommit mode; `raw` gives every value as the server's own bytes.

    Without `database` it is to the server only: the database need not be there. A server that says nothing for
    `read_timeout` seconds counts as lost.
    Raises Usage (the URL can't be read), Unreachable (no answer), Absent (no such database) or Refused (who we are is
    denied).
    """
    place = session(url)
    options = place.options
    secure: dict[str, Any] = {name: options[name] for name in _OPTIONS if name.startswith("ssl_") and name in options}
    if "ssl_ca" in secure:
        secure |= {"ssl_verify_cert": True, "ssl_verify_identity": True}
    settings: dict[str, Any] = {
        "host": place.host,
        "port": place.port,
        "user": place.user,
        "password": place.password,
        "database": place.database if database else None,
        "unix_socket": options.get("socket"),
        "charset": "utf8mb4",
        "autocommit": True,
        # The right to send lines, but not the driver's own way: a server may ask it for any file of this machine.
        "client_flag": CLIENT.LOCAL_FILES,
        "connect_timeout": _CONNECT_SECONDS,
        "read_timeout": read_timeout,
        "init_command": SETTINGS,
        "program_name": "holdfast",
        **({"conv": {}, "use_unicode": False} if raw else {}),
        **secure,
    }
    try:
        return _Session(**settings)
    except (pymysql.MySQLError, OSError, RuntimeError) as error:
        raise _unconnected(url, error) from None


def quoted(name: str) -> str:
    """A name as an identifier of SQL, whatever characters it has."""
    return "`" + name.replace("`", "``") + "`"


def qualified(database: str, name: str) -> str:
    """A name within its database, for SQL."""
    return f"{quoted(database)}.{quoted(name)}"


def literal(text: str) -> str:
    """A text as SQL, under the modes that `connect` sets."""
    return "'" + text.replace("\\", "\\\\").replace("'", "''").replace("\0", "\\0") + "'"


def shown(url: str) -> str:
    """The URL as people may see it: without password and options."""
    try:
        place = session(url)
    except Usage:
        return "the MariaDB source"
    user = f"{place.user}@" if place.user else ""
    port = f":{place.port}" if place.port != _PORT else ""
    return f"{urlsplit(url).scheme}://{user}{place.host}{port}/{place.database}"


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Turn the driver's errors into ours, told as of `place`; what is not known stays as it is: a bug of ours."""
    try:
        yield
    except pymysql.MySQLError as error:
        number, text = _told(error)
        if number in _PACKET:
            hint = "raise max_allowed_packet of the server"
            raise Unsupported(f"{place}: {text}", hint=hint) from error
        for numbers, ours, hint in _RULES:
            if number in numbers:
                raise ours(f"{place}: {text}", hint=hint) from error
        if isinstance(error, pymysql.OperationalError | pymysql.InterfaceError):
            raise Unreachable(f"{place}: {text}", hint="try again; the server's log says more") from error
        raise


class _Session(pymysql.connections.Connection):
    def _create_ssl_ctx(self, sslp: dict[str, Any]) -> ssl.SSLContext:
        # The driver would read all certificates that this machine trusts, which takes longer than to connect, and
        # then verify none.
        return super()._create_ssl_ctx(sslp) if sslp else _unverified()  # type: ignore[misc]


@cache
def _unverified() -> ssl.SSLContext:
    """Encrypts where the server can; who the server is, only `ssl_ca` proves."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _kept_password(file: str) -> str:
    """The password in an option file's part for clients."""
    parser = Parser(strict=False)
    try:
        with open(file, encoding="utf-8") as lines:
            parser.read_file(lines)
        return str(parser.get("client", "password"))
    except (OSError, UnicodeDecodeError, configparser.Error) as error:
        why = "it has no password under [client]" if isinstance(error, configparser.Error) else str(error)
        raise _unreadable(f"of the option file {file}: {why}") from None


def _unreadable(why: str) -> Usage:
    return Usage(
        f"the URL of the MariaDB source can't be used: {why}",
        hint="write it as mariadb://USER@HOST:PORT/DATABASE, special characters as %XX",
    )


def _unconnected(url: str, error: Exception) -> HoldfastError:
    number, text = _told(error)
    password = session(url).password
    if password:
        text = text.replace(password, "…")
    message = f"{shown(url)}: {text}"
    if number in _DENIED:
        return Refused(message, hint="check the user, the password and from which hosts the server lets this user in")
    if number == ER.BAD_DB_ERROR:
        return Absent(message, hint="find out who dropped it; the vault keeps what it held")
    return Unreachable(message, hint="check host, port and name of the database, and that the server runs")


def _told(error: Exception) -> tuple[int, str]:
    """The server's number and its own words."""
    if len(error.args) >= 2 and isinstance(error.args[0], int):
        return error.args[0], " ".join(str(error.args[1]).split())
    return 0, " ".join(str(error).split()) or type(error).__name__


_DENIED = (1044, 1045, 1130, 1227, 1251, 1524, 1698, 1820, 1862, 2059, 2061, 4151)
_PACKET = (1153, 1301, 2020)
_AGAIN = "it is safe to try again"
_RIGHTS = (
    'grant this user what it lacks: to read, what "holdfast check" names; to restore, INSERT, UPDATE, DELETE and '
    "CREATE TEMPORARY TABLES on the database, or CREATE and DROP where something is defined"
)
_RULES: tuple[tuple[tuple[int, ...], type[HoldfastError], str], ...] = (
    ((1044, 1045, 1142, 1143, 1227, 1370, 1410, 1419), Refused, _RIGHTS),
    ((1007,), Refused, "name a database that does not exist yet or is empty"),
    ((ER.DUP_ENTRY, 1586), ValueTaken, "another record holds that value now: compare, and make a new plan"),
    (
        (1048, 1216, 1217, 1263, 1264, 1265, 1292, 1364, 1366, 1406, 1416, 1451, 1452, 1644, 1690, 4025),
        RuleBroken,
        "the database has a rule now that these records break: restore to a new place",
    ),
    ((1205, 1213, 1317, 1412, 1637, 1684, 1969), Unreachable, _AGAIN),
    ((1021, 1037, 1038, 1040, 1041, 1114, 1203), Unreachable, "free what the server lacks"),
    ((126, 127, 144, 145, 1034, 1194, 1195, 1712), Corrupt, "the table itself is corrupt: CHECK TABLE says more"),
    ((1032, 1049, 1054, 1051, 1091, 1146, 1176), TargetChanged, "it was changed meanwhile: try again"),
    ((1665,), Refused, "let the server log rows, which a follower needs too: SET GLOBAL binlog_format = ROW"),
    ((1290, 1792, 1836), Refused, "this server is read-only, or refuses that by its settings: name the primary"),
)
