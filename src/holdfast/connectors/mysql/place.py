"""Where a whole database is built: beside the one that is meant, under a name of Holdfast's own.

* The name follows from the one that is meant, and a lock of the server's goes with it: whoever holds the lock builds
  there, and what lies there while nobody holds it was cut off and goes before the next one begins.
* What is meant must not be there yet, or be empty, and stays so until everything is made and tried beside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from urllib.parse import quote, urlsplit, urlunsplit

import pymysql

from holdfast.connectors.mysql.connection import Connection, connect, literal, quoted, session, shown, translated
from holdfast.errors import Refused, Unreachable

__all__ = [
    "DRILL",
    "PARTIAL",
    "Place",
    "beside",
    "content",
    "exists",
    "held",
    "is_taken",
    "open_place",
    "partial_name",
    "use",
]

DRILL = "holdfast_drill_"
PARTIAL = "holdfast_partial_"
# The server gives a lock free a moment after its session has ended, and who sees a restore die tries again at once.
_LOCK_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Place:
    """A connection to the empty database `partial`, its URL, and the name of the database that is meant."""

    connection: Connection
    url: str
    partial: str
    database: str


def is_taken(url: str) -> bool:
    """Whether the database that `url` names exists and holds anything. Raises Unreachable or Refused."""
    with translated(shown(url)), connect(url, database=False) as connection:
        return bool(content(connection, session(url).database))


@contextmanager
def open_place(url: str, options: str) -> Iterator[Place]:
    """An empty database beside the one that `url` names, made with *options*, and gone at the end.

    Raises Refused if the one that is meant holds anything, Unreachable while another restore into it is under way.
    """
    database = session(url).database
    partial = partial_name(database)
    with connect(url, database=False) as connection, held(connection, url):
        found = content(connection, database)
        if found:
            raise Refused(
                f"{shown(url)} is not empty: it has {found}",
                hint="name a database that does not exist yet or is empty; a live one is restored without --to",
            )
        try:
            with connection.cursor() as cursor:
                # What a restore that was cut off has left.
                cursor.execute(f"DROP DATABASE IF EXISTS {quoted(partial)}")
                cursor.execute(f"CREATE DATABASE {quoted(partial)} {options}")
        except pymysql.MySQLError as error:
            if not error.args or error.args[0] != 1044:
                raise
            user = str(session(url).user)
            raise Refused(
                f"{shown(url)}: it is built as {partial} first, and this user may not make that: {error.args[1]}",
                hint=f"GRANT ALL ON `holdfast\\_%`.* TO {literal(user)}, or name a user that may",
            ) from error
        try:
            use(connection, partial)
            yield Place(connection, beside(url, partial), partial, database)
        finally:
            # What went wrong is told, even if the server is gone and the partial database stays.
            with suppress(pymysql.Error), connection.cursor() as cursor:
                cursor.execute(f"DROP DATABASE IF EXISTS {quoted(partial)}")


@contextmanager
def held(connection: Connection, url: str) -> Iterator[None]:
    """Hold the lock of whoever builds the database that `url` names; Unreachable if somebody else keeps it."""
    name = partial_name(session(url).database)
    with connection.cursor() as cursor:
        cursor.execute("SELECT GET_LOCK(%s, %s)", (name, _LOCK_SECONDS))
        ((got,),) = cursor.fetchall()
        if not got:
            raise Unreachable(f"{shown(url)}: another restore into it is under way", hint="wait until it is done")
        try:
            yield
        finally:
            with suppress(pymysql.Error):
                cursor.execute("SELECT RELEASE_LOCK(%s)", (name,))


def partial_name(database: str) -> str:
    """The name under which the database is built: one for all ways to spell its own in upper and lower case.

    Where the server tells those apart, two that differ in nothing else are not built at the same time.
    """
    return PARTIAL + hashlib.sha256(database.casefold().encode()).hexdigest()[:16]


def beside(url: str, database: str) -> str:
    """The URL of another database of the same server."""
    return urlunsplit(urlsplit(url)._replace(path="/" + quote(database, safe="")))


def exists(connection: Connection, database: str) -> bool:
    """Whether there is a database of that name."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s", (database,))
        return cursor.fetchone() is not None


def content(connection: Connection, database: str) -> str:
    """Something that the database holds, or "" if it is empty or not there."""
    with connection.cursor() as cursor:
        cursor.execute(_TAKEN, (database,) * 3)
        found = cursor.fetchone()
        return "" if found is None else str(found[0])


def use(connection: Connection, database: str) -> None:
    """Let unqualified names mean those of that database."""
    with connection.cursor() as cursor:
        cursor.execute(f"USE {quoted(database)}")


_TAKEN = """
    SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s
    UNION ALL SELECT ROUTINE_NAME FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = %s
    UNION ALL SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = %s
    LIMIT 1
"""
