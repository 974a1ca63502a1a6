"""Where a whole database is built: in an empty one, or in a new one that gets its name when it is complete."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import conninfo

from holdfast.connectors.postgres.connection import Connection, connect, quoted, shown, translated
from holdfast.connectors.postgres.script import DATABASE_NAME, statements
from holdfast.errors import HoldfastError, Refused, Unreachable

__all__ = ["Place", "is_taken", "open_place"]

_MAINTENANCE = ("postgres", "template1")
_Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """A database to build in, with nothing in it, and what could not be had there.

    `spare` is a second connection to it, if nobody else can see the database before it is complete.
    """

    connection: Connection
    notes: tuple[str, ...] = ()
    spare: Connection | None = None


@contextmanager
def open_place(url: str, definitions: Sequence[_Row]) -> Iterator[Place]:
    """The database that `url` names, or a new one that gets that name at the end and is gone again if the body fails.

    Raises Refused if the database holds anything.
    """
    try:
        connection = connect(url)
    except Unreachable:
        name = str(conninfo.conninfo_to_dict(url).get("dbname") or "")
        with _maintenance(url, name) as server:
            if server is None:
                raise
            with _partial(server, url, definitions, name) as made:
                yield made
        return
    with connection:
        _refuse_taken(connection, url)
        yield Place(connection)


@contextmanager
def _maintenance(url: str, name: str) -> Iterator[Connection | None]:
    """A connection to another database of the server, if it answers and has none of that name."""
    for other in _MAINTENANCE:
        try:
            server = connect(conninfo.make_conninfo(url, dbname=other))
        except HoldfastError:
            continue
        with server:
            is_there = server.execute("SELECT FROM pg_database WHERE datname = %s", (name,)).fetchone() is not None
            yield None if is_there or not name else server
        return
    yield None


@contextmanager
def _partial(server: Connection, url: str, definitions: Sequence[_Row], name: str) -> Iterator[Place]:
    """A new database under a name of its own, which gets `name` when the body has come to its end."""
    partial = f"holdfast_partial_{secrets.token_hex(8)}"
    try:
        notes = _make(server, partial, definitions)
    except psycopg.errors.InsufficientPrivilege as error:
        user = server.info.user
        raise Refused(
            f"{shown(url)}: the role {user} may make no database: {error.diag.message_primary}",
            hint=f"ALTER ROLE {quoted(user)} CREATEDB, or name a role that may",
        ) from error
    try:
        inside = conninfo.make_conninfo(url, dbname=partial)
        with connect(inside) as connection, connect(inside) as spare:
            yield Place(connection, notes, spare)
        try:
            server.execute(f"ALTER DATABASE {quoted(partial)} RENAME TO {quoted(name)}".encode())
        except psycopg.errors.DuplicateDatabase as error:
            raise Refused(f"{shown(url)} is there already", hint="name a database that does not exist") from error
    except BaseException:
        # What went wrong is told, even if the server is gone and the partial database stays.
        with suppress(psycopg.Error):
            server.execute(f"DROP DATABASE {quoted(partial)} WITH (FORCE)".encode())
        raise


def _make(server: Connection, name: str, definitions: Sequence[_Row]) -> tuple[str, ...]:
    """Make the empty database with the source's encoding and locale, or say which of them the server lacks."""
    for row in definitions:
        if row["type"] == "DATABASE":
            sql = next(iter(statements(str(row["sql"]))))
            try:
                server.execute(sql.replace(DATABASE_NAME, quoted(name), 1).encode())
            except (psycopg.ProgrammingError, psycopg.DataError, psycopg.NotSupportedError) as error:
                if isinstance(error, psycopg.errors.InsufficientPrivilege):
                    raise
                note = f"the database's locale and tablespace: {error.diag.message_primary}"
                break
            return ()
    else:
        note = ""
    server.execute(f"CREATE DATABASE {quoted(name)} TEMPLATE template0 ENCODING 'UTF8'".encode())
    return (note,) if note else ()


def is_taken(url: str) -> bool:
    """Whether the database that `url` names exists and holds anything. Raises Unreachable or Refused."""
    try:
        with translated(shown(url)), connect(url) as connection:
            return connection.execute(_TAKEN).fetchone() is not None
    except HoldfastError:
        with _maintenance(url, str(conninfo.conninfo_to_dict(url).get("dbname") or "")) as server:
            if server is None:
                raise
        return False


def _refuse_taken(connection: Connection, url: str) -> None:
    found = connection.execute(_TAKEN).fetchone()
    if found is not None:
        raise Refused(
            f"{shown(url)} is not empty: it has {found[0]}",
            hint="name a database that does not exist yet or is empty; a live one is restored without --to",
        )


_TAKEN = """
    SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.relpersistence <> 't'
        AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
        AND NOT EXISTS (SELECT FROM pg_depend d
            WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
    ORDER BY c.oid LIMIT 1
"""
