"""Carries out definitions, one by one: what can't be brought back here is left out and named, or stops everything.

* A statement may be left out if the records stand without it: an owner or grant of a role that is not there, an
  extension that is not installed, an event trigger or publication that this user may not make.
* Anything else that fails ends in Refused: what is built would not be what was captured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg
from psycopg import errors

from holdfast.connectors._sql.definitions import left_out
from holdfast.connectors.postgres.connection import Connection, quoted
from holdfast.connectors.postgres.script import DATABASE_NAME, statements
from holdfast.errors import HoldfastError, Refused, Unreachable

__all__ = ["Definitions", "made_in_order"]

_Row = Mapping[str, Any]
_MISSING = (
    errors.UndefinedObject,
    errors.InsufficientPrivilege,
    errors.InvalidParameterValue,
    errors.FeatureNotSupported,
    errors.UndefinedFile,
    errors.InvalidGrantOperation,
)
_OPTIONAL_TYPES = frozenset(
    (
        "ACL",
        "DATABASE PROPERTIES",
        "DEFAULT ACL",
        "EVENT TRIGGER",
        "EXTENSION",
        "FOREIGN DATA WRAPPER",
        "FOREIGN TABLE",
        "POLICY",
        "PUBLICATION",
        "PUBLICATION TABLE",
        "PUBLICATION TABLES IN SCHEMA",
        "SECURITY LABEL",
        "SERVER",
        "USER MAPPING",
    )
)
_STANDS_ON_OTHERS = frozenset(("FK CONSTRAINT", "TRIGGER", "RULE", "POLICY"))
_SAVEPOINT = '"holdfast definition"'
_LACKING = (errors.OutOfMemory, errors.DiskFull, errors.ConfigurationLimitExceeded)
_BUSY = (errors.SerializationFailure, errors.DeadlockDetected, errors.LockNotAvailable)


class Definitions:
    """Makes definitions inside an open transaction; a failed statement leaves nothing behind."""

    def __init__(self, connection: Connection, database: str, *, is_partial: bool = False) -> None:
        """`is_partial`: only some tables are wanted, so what speaks of others may be left out too."""
        self._connection = connection
        self._database = quoted(database)
        self._is_partial = is_partial
        self._left_out: dict[str, list[str]] = {}
        self._extensions: list[str] = []

    @property
    def not_covered(self) -> tuple[str, ...]:
        """What was left out, by cause, in words."""
        return left_out(self._left_out)

    def make(self, row: _Row) -> None:
        """Carry out one definition. Raises Refused, naming it, if it can't be done without."""
        sql = str(row["sql"]).replace(DATABASE_NAME, self._database)
        if row["type"] == "DATABASE":
            # It is there already; what else is said of it is its owner.
            sql = "\n".join(each for each in statements(sql) if not each.startswith("CREATE DATABASE"))
        try:
            self._attempt(sql)
        except errors.ForeignKeyViolation as error:
            self._make_unproven(row, sql, error)
        except psycopg.Error:
            self._make_in_parts(row, sql)
        if sql.startswith("SET default_"):
            self._connection.execute(b"RESET default_tablespace; RESET default_table_access_method")

    def _make_in_parts(self, row: _Row, sql: str) -> None:
        """Each statement by itself: an owner that is not there is no reason to go without the table."""
        is_borrowed = False
        for statement in statements(sql):
            if is_borrowed:
                # What another role granted, and that role is not there.
                is_borrowed = not statement.startswith("RESET SESSION AUTHORIZATION")
                self._leave_out(row, statement, "its role is not there")
                continue
            try:
                self._attempt(statement)
            except psycopg.Error as found:
                if not (_is_optional(row["type"], statement, found) or self._speaks_of_others(row, found)):
                    raise self._refused(row, found) from found
                self._leave_out(row, statement, _told(found))
                is_borrowed = statement.startswith("SET SESSION AUTHORIZATION")

    def _speaks_of_others(self, row: _Row, error: psycopg.Error) -> bool:
        """Whether it may fail only because tables are not there that nobody asked for."""
        stands_apart = row["table_name"] is None or row["type"] in _STANDS_ON_OTHERS
        return self._is_partial and stands_apart and isinstance(error, psycopg.ProgrammingError)

    def _make_unproven(self, row: _Row, sql: str, error: psycopg.Error) -> None:
        """References that lead nowhere did so in the source: the foreign key holds from now on."""
        try:
            self._attempt(sql.rstrip().removesuffix(";") + " NOT VALID;")
        except psycopg.Error as found:
            raise self._refused(row, error) from found
        self._leave_out(row, "its check of the records that are there", _told(error))

    def _attempt(self, sql: str) -> None:
        run = self._connection.execute
        run(f"SAVEPOINT {_SAVEPOINT}".encode())
        try:
            run(sql.encode())
        except psycopg.Error:
            run(f"ROLLBACK TO {_SAVEPOINT}; RELEASE {_SAVEPOINT}".encode())
            raise
        run(f"RELEASE {_SAVEPOINT}".encode())

    def _leave_out(self, row: _Row, statement: str, cause: str) -> None:
        if row["type"] == "EXTENSION" and statement.startswith("CREATE"):
            self._extensions.append(row["name"])
        what = statement if statement.startswith("its ") else f"«{' '.join(statement.split())[:80]}»"
        self._left_out.setdefault(cause, []).append(f"{what} of {_name(row)}")

    def _refused(self, row: _Row, error: psycopg.Error) -> HoldfastError:
        message = f"{_name(row)} can't be made here: {_told(error)}; nothing was written"
        if self._connection.closed or isinstance(error, _BUSY):
            return Unreachable(message, hint="it is safe to try again")
        if isinstance(error, _LACKING):
            return Unreachable(message, hint="free or raise what the server lacks, and try again")
        if self._extensions:
            return Refused(message, hint=f"install these extensions on the server: {', '.join(self._extensions)}")
        if isinstance(error, (errors.DuplicateObject, errors.DuplicateTable, errors.DuplicateFunction)):
            return Refused(message, hint="restore to a database that is empty, or does not exist yet")
        return Refused(message, hint="restore to a server of the same version, as a role that may do this")


def made_in_order(rows: Sequence[_Row], section: str) -> list[_Row]:
    """The definitions of one section in the order in which pg_dump makes them."""
    return sorted((row for row in rows if row["section"] == section), key=lambda row: row["position"])


def _is_optional(kind: str, statement: str, error: psycopg.Error) -> bool:
    if kind == "MATERIALIZED VIEW DATA":
        return not isinstance(error, psycopg.OperationalError)
    if not isinstance(error, _MISSING):
        return False
    if kind in _OPTIONAL_TYPES or statement.startswith(("GRANT ", "REVOKE ", "SET default_", "COMMENT ON EXTENSION")):
        return True
    return statement.startswith("ALTER ") and " OWNER TO " in statement


def _name(row: _Row) -> str:
    name = f"{row['schema']}.{row['name']}" if row["schema"] else row["name"]
    return f"the {str(row['type']).lower()} {name}".rstrip()


def _told(error: psycopg.Error) -> str:
    return error.diag.message_primary or " ".join(str(error).split())
