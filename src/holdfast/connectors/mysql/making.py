"""Carries out one statement that defines something, under the settings with which it was first made.

A session in use for it is left with those settings: each statement sets its own.
"""

from __future__ import annotations

from holdfast.connectors.mysql.connection import Connection, literal
from holdfast.connectors.mysql.pending import Step
from holdfast.connectors.mysql.sqltext import absolute, event_state, header

__all__ = ["EXISTS", "carry_out", "placed", "prepare_to_define"]

# What the server says where a table or view, routine, trigger or event of that name is there already.
EXISTS = (1050, 1304, 1359, 1537)

_MODE = "NO_ENGINE_SUBSTITUTION"
# References and rows that break the server's stricter rules were in the source; a version that a table keeps is
# kept when an index is added to it. A timestamp means what its definition says.
_SETTINGS = (
    f"SET sql_mode = '{_MODE}', foreign_key_checks = 0, innodb_strict_mode = 0, explicit_defaults_for_timestamp = 1 "
    "/*M!100304 , system_versioning_alter_history = 'KEEP' */"
)
# Without it MariaDB makes a user, without password, for a GRANT to one who is not there.
_GRANT_MODE = "NO_AUTO_CREATE_USER"
_EARLY = "86400"
_ASCII = ("utf8mb4", "utf8mb3", "utf8", "ascii", "binary")


def prepare_to_define(connection: Connection) -> None:
    """Make the session take definitions as they are told: before the first of them."""
    with connection.cursor() as cursor:
        cursor.execute(_SETTINGS)


def placed(kind: str, sql: str, database: str) -> str:
    """The SQL of a definition in a database of that name. Bodies are what somebody wrote: they stay as they are."""
    if kind in ("FUNCTION", "PROCEDURE", "PACKAGE", "PACKAGE BODY", "EVENT"):
        return sql
    return absolute(sql, database, header(sql, "EACH") if kind == "TRIGGER" else None)


def carry_out(connection: Connection, step: Step) -> list[tuple[int, str]]:
    """Carry out the statement; returns what the server remarks on it, by number and in words."""
    charset = step.character_set_client or "utf8mb4"
    statement = _encoded(connection, step.statement, charset)
    mode = step.sql_mode if step.sql_mode is not None else _GRANT_MODE if step.type == "GRANT" else _MODE
    collation = f", collation_connection = {step.collation_connection}" if step.collation_connection else ""
    # An event that is off may be of a time long past: only then the server takes it.
    is_off = step.type == "EVENT" and event_state(step.statement)[1] != "ENABLE"
    with connection.cursor() as cursor:
        cursor.execute(
            f"SET sql_mode = {literal(mode)}, time_zone = {literal(step.time_zone or '+00:00')}, "
            f"timestamp = {_EARLY if is_off else 'DEFAULT'}, character_set_client = {charset}{collation}"
        )
    try:
        connection.query(statement)
        with connection.cursor() as cursor:
            cursor.execute("SHOW WARNINGS")
            return [(int(number), str(text)) for _, number, text in cursor.fetchall()]
    finally:
        # What is asked and read meanwhile is UTF-8.
        with connection.cursor() as cursor:
            cursor.execute(f"SET NAMES utf8mb4, sql_mode = '{_MODE}', time_zone = '+00:00', timestamp = DEFAULT")


def _encoded(connection: Connection, statement: str, charset: str) -> bytes:
    """The statement in the character set of the client that made it, by the server's own word."""
    if charset in _ASCII or statement.isascii():
        return statement.encode()
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT CAST(CONVERT(%s USING {charset}) AS BINARY)", (statement,))
        found = cursor.fetchone()
    assert found is not None, "a SELECT without FROM has one row"
    return bytes(found[0])
