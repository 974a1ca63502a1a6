"""Connections to PostgreSQL under settings that make every value read the same, in a snapshot and in a stream.

* The settings go in with the connection itself, so no role's or database's own settings can alter how values look.
* Row security is off: a table of which policies would hide rows is refused, never read in part.
* psycopg's errors end here: each becomes one of Holdfast's own. No message shows a password.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import psycopg
from psycopg import conninfo, errors

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
    "Connection",
    "RuleBroken",
    "ValueTaken",
    "connect",
    "qualified",
    "quoted",
    "session",
    "shown",
    "translated",
]

Connection: TypeAlias = psycopg.Connection[tuple[Any, ...]]

_SETTINGS = {
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "1",
    "bytea_output": "hex",
    "xmloption": "content",
    "standard_conforming_strings": "on",
    "quote_all_identifiers": "off",
    "row_security": "off",
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "lock_timeout": "10s",
    "search_path": "",
}
_CONNECT_SECONDS = 10


# Without a handler of its own psycopg's remarks on connections that are lost anyway would go to the terminal.
logging.getLogger("psycopg").addHandler(logging.NullHandler())


class RuleBroken(Refused):
    """A record breaks a rule that the database has now. Nothing is committed."""


class ValueTaken(TargetChanged):
    """Another record already holds a value that must be unique. Nothing is committed."""


def connect(url: str, *, replication: bool = False) -> Connection:
    """Open a connection in autocommit mode, for SQL or for the replication protocol of the same database.

    Raises Usage (the URL can't be read), Unreachable (no answer), Absent (no such database) or Refused (who we are is
    denied).
    """
    parts = session(url)
    if replication:
        parts["replication"] = "database"
    try:
        connection = psycopg.connect(autocommit=True, prepare_threshold=None, **parts)
    except psycopg.Error as error:
        raise _unconnected(url, error) from None
    return connection


def session(url: str) -> dict[str, Any]:
    """What `connect` tells the server and libpq, by name of parameter. Raises Usage if the URL can't be read."""
    parts = _parts(url)
    settings = " ".join(f"-c {name}={_escaped(value)}" for name, value in _SETTINGS.items())
    parts["options"] = f"{parts.get('options') or ''} {settings}".strip()
    parts["client_encoding"] = "UTF8"
    parts["application_name"] = "holdfast"
    parts.setdefault("connect_timeout", _CONNECT_SECONDS)
    return parts


def quoted(name: str) -> str:
    """A name as an identifier of SQL, whatever characters it has."""
    return '"' + name.replace('"', '""') + '"'


def qualified(schema: str, name: str) -> str:
    """A name within its schema, for SQL."""
    return f"{quoted(schema)}.{quoted(name)}"


def shown(url: str) -> str:
    """The URL as people may see it: without password and options."""
    try:
        parts = conninfo.conninfo_to_dict(url)
    except psycopg.Error:
        return "the PostgreSQL source"
    user = f"{parts['user']}@" if parts.get("user") else ""
    port = f":{parts['port']}" if parts.get("port") else ""
    return f"postgresql://{user}{parts.get('host') or parts.get('hostaddr') or ''}{port}/{parts.get('dbname') or ''}"


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Turn the driver's errors into ours, told as of `place`; what is not known stays as it is: a bug of ours."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise Unsupported(f"{place}: it has a name that is not UTF-8 text", hint="rename it in the source") from error
    except psycopg.Error as error:
        for kinds, ours, hint in _RULES:
            if isinstance(error, kinds):
                raise ours(f"{place}: {_told(error)}", hint=hint) from error
        if isinstance(error, psycopg.OperationalError):
            raise Unreachable(f"{place}: {_told(error)}", hint="try again; the server's log says more") from error
        raise


def _parts(url: str) -> dict[str, Any]:
    try:
        return dict(conninfo.conninfo_to_dict(url))
    except psycopg.Error:
        # The driver's own words would repeat the URL, its password included.
        raise Usage(
            "the URL of the PostgreSQL source can't be read",
            hint="write it as postgresql://USER@HOST:PORT/DATABASE, special characters as %XX",
        ) from None


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace(" ", "\\ ")


def _unconnected(url: str, error: psycopg.Error) -> HoldfastError:
    password = str(_parts(url).get("password") or "")
    text = _told(error)
    if password:
        text = text.replace(password, "…")
    message = f"{shown(url)}: {text}"
    if any(words in text for words in _DENIED):
        return Refused(message, hint="check the user, the password and pg_hba.conf of the server")
    if _NO_DATABASE.search(text):
        return Absent(message, hint="find out who dropped it; the vault keeps what it held")
    return Unreachable(message, hint="check host, port and name of the database, and that the server runs")


# The protocol's code for it (3D000) does not get as far as libpq's callers.
_NO_DATABASE = re.compile(r'FATAL: +database ".*" does not exist')
_DENIED = (
    "authentication failed",
    "pg_hba.conf",
    "permission denied",
    "no password supplied",
    "is not permitted",
    "must be superuser or replication role",
    'FATAL: role "',
)
_AGAIN = "it is safe to try again"
_RIGHTS = (
    'grant this user what it lacks: to read, what "holdfast check" names; to restore, INSERT, UPDATE and DELETE ON the '
    "tables, or ownership where something is defined"
)
_RULES: tuple[tuple[tuple[type[psycopg.Error], ...], type[HoldfastError], str], ...] = (
    ((errors.InsufficientPrivilege,), Refused, _RIGHTS),
    ((errors.UniqueViolation,), ValueTaken, "another record holds that value now: compare, and make a new plan"),
    (
        (errors.IntegrityConstraintViolation, errors.RaiseException, errors.WithCheckOptionViolation),
        RuleBroken,
        "the database has a rule now that these records break: restore to a new place",
    ),
    ((errors.SerializationFailure, errors.DeadlockDetected, errors.LockNotAvailable), Unreachable, _AGAIN),
    ((errors.DiskFull, errors.OutOfMemory, errors.TooManyConnections), Unreachable, "free what the server lacks"),
    ((errors.DataCorrupted, errors.IndexCorrupted), Corrupt, "the database itself is corrupt there: amcheck says more"),
    (
        (errors.UntranslatableCharacter, errors.CharacterNotInRepertoire),
        Unsupported,
        "a text in the database is not valid in its encoding: mend it in the source",
    ),
    (
        (errors.UndefinedTable, errors.UndefinedColumn, errors.InvalidSchemaName),
        TargetChanged,
        "it was changed meanwhile: try again",
    ),
    ((errors.ReadOnlySqlTransaction,), Refused, "this server is a standby or read-only: name the primary"),
)


def _told(error: psycopg.Error) -> str:
    """The server's own words: the first line, and its detail where it gives one."""
    if error.diag.message_primary:
        detail = f" ({error.diag.message_detail})" if error.diag.message_detail else ""
        return error.diag.message_primary + detail
    return " ".join(str(error).split()) or type(error).__name__
