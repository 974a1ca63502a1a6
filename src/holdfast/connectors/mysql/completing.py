"""The last part of a restore: everything under its own name, and what can only be made there.

The server has no name to give to a whole database, and each statement that defines something stands for itself. So:

* All tables, counters, and the list of what is still to be made, get their place by one RENAME TABLE: all or none,
  a crash of the server included. Before it, nothing is there under the name that is meant.
* What is left then, short of anything to load, was tried beside it: views, routines, triggers, rights, events, in this
  order. As long as the list is there the database says of itself that it is not complete, and `recover` makes the rest.
* If a statement is refused after all, everything that was made is taken back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

import pymysql

from holdfast.connectors.mysql.connection import Connection, connect, qualified, quoted, session, shown, translated
from holdfast.connectors.mysql.grants import grants, revoking
from holdfast.connectors.mysql.making import EXISTS, carry_out, placed, prepare_to_define
from holdfast.connectors.mysql.pending import TABLE, Step, done, is_there, steps
from holdfast.connectors.mysql.place import DRILL, Place, content, exists, held, partial_name, use
from holdfast.connectors.mysql.redefine import named, refused
from holdfast.errors import Refused

__all__ = ["complete", "recover"]

_DROPPED = ("TABLE", "VIEW", "PACKAGE", "FUNCTION", "PROCEDURE", "EVENT")
_NOT_SEEN = (1044, 1142, 1143, 1146, 1370)
_NOT_HAD = (1044, 1049, 1054, 1109, 1133, 1142, 1143, 1146, 1227, 1269, 1305, 1370, 1410, 1959)
_PAST = (1544, 1588)
_EMPTY = "name a database that does not exist yet or is empty"


def complete(place: Place, options: str, tables: Sequence[str]) -> tuple[str, ...]:
    """Move the tables, and the list of what is pending, to the database that is meant, and make what is pending.

    Returns what could not be brought back, in words. Raises Refused if anything came there meanwhile; what others made
    stays as it is.
    """
    connection, database = place.connection, place.database
    was_there = exists(connection, database)
    before = _options(connection, database) if was_there else ""
    rights = _rights(connection, database)
    _refuse_content(connection, database)
    # If this fails, as it does where somebody else made the database in this moment, there is nothing to take back.
    _run(connection, f"{'ALTER' if was_there else 'CREATE'} DATABASE {quoted(database)} {options}")
    made: list[Step] = []
    try:
        _move(place, tables)
        try:
            return _finish(connection, database, made)
        except BaseException:
            _revoke(connection, database, made, rights)
            _drop(connection, database, made, tables)
            raise
    except BaseException:
        _take_back(connection, database, before)
        raise


def recover(url: str) -> None:
    """Make what a restore into the database of `url` that was cut off has left to be made, if there was one.

    A database that it had not named yet is removed. Raises Unreachable while that restore is still at work.
    """
    database = session(url).database
    partial = partial_name(database)
    with translated(shown(url)), connect(url, database=False) as connection:
        if not is_there(connection, database) and not exists(connection, partial):
            return
        with held(connection, url):
            # Only now it is sure that nobody else has done it meanwhile.
            if is_there(connection, database) and not database.startswith(DRILL):
                prepare_to_define(connection)
                _finish(connection, database, [], may_be_made=True)
            _run(connection, f"DROP DATABASE IF EXISTS {quoted(partial)}")


def _refuse_content(connection: Connection, database: str) -> None:
    """Raise Refused if anything is in the database that is meant: it was empty in the beginning."""
    found = content(connection, database)
    if found:
        raise Refused(f"{database} is not empty any more: it has {found}; nothing was written", hint=_EMPTY)


def _move(place: Place, tables: Sequence[str]) -> None:
    """Give all tables, and the list, their place. Raises Refused if one of that name is there."""
    _refuse_content(place.connection, place.database)
    names = (*tables, TABLE)
    moved = [f"{qualified(place.partial, name)} TO {qualified(place.database, name)}" for name in names]
    try:
        _run(place.connection, f"RENAME TABLE {', '.join(moved)}")
    except pymysql.MySQLError as error:
        if error.args[0] not in EXISTS:
            raise
        raise Refused(f"{place.database} is not empty any more: {error.args[1]}", hint=_EMPTY) from error


def _finish(connection: Connection, database: str, made: list[Step], *, may_be_made: bool = False) -> tuple[str, ...]:
    """Make what is pending, and at the end let go of the list; `made` gets what is made here.

    `may_be_made`: a run that was cut off may have made something, and not come to say so.
    """
    use(connection, database)
    waiting = steps(connection, database)
    told = []
    for at, step in waiting.items():
        if step.is_withheld:
            continue
        row = step._asdict()
        # Beforehand: if this ends in the middle, it may be there.
        made.append(step)
        try:
            for number, text in carry_out(connection, step):
                if step.type == "EVENT" and number in _PAST:
                    told.append(f"{named(row)}: {text}")
        except pymysql.MySQLError as error:
            made.pop()
            number = error.args[0] if error.args else 0
            if step.type == "GRANT" and number in _NOT_HAD:
                told.append(f"{error.args[1]}: left out {named(row)}")
            elif not (may_be_made and number in EXISTS):
                raise refused(row, error) from error
        done(connection, database, at)
    if not any(step.is_withheld for step in waiting.values()):
        _run(connection, f"DROP TABLE IF EXISTS {qualified(database, TABLE)}")
    return tuple(told)


def _revoke(connection: Connection, database: str, made: Sequence[Step], before: Mapping[str, str]) -> None:
    """Let everybody have the rights that he had: they stay when what they are on is dropped."""
    for step in reversed(made):
        if step.type == "GRANT":
            again = [placed("GRANT", before[step.name], database)] if step.name in before else []
            with suppress(pymysql.Error):
                _run(connection, revoking(step.statement), *again)


def _drop(connection: Connection, database: str, made: Sequence[Step], tables: Sequence[str]) -> None:
    """Remove what this restore has made in a database, and nothing else.

    What went wrong is told, even if the server is gone meanwhile: the list then says that the rest is to be made.
    """
    with suppress(pymysql.Error):
        _run(connection, "SET foreign_key_checks = 0")
        for step in made:
            if step.type in _DROPPED:
                if step.type == "PACKAGE":
                    # Only in this mode are there packages.
                    _run(connection, "SET sql_mode = 'ORACLE'")
                _run(connection, f"DROP {step.type} IF EXISTS {qualified(database, step.name)}")
        for name in (*tables, TABLE):
            _run(connection, f"DROP TABLE IF EXISTS {qualified(database, name)}")


def _take_back(connection: Connection, database: str, before: str) -> None:
    """Let a database be as it was, or remove it if this restore made it and nothing of somebody else is in it."""
    with suppress(pymysql.Error):
        if before:
            _run(connection, f"ALTER DATABASE {quoted(database)} {before}")
        elif not content(connection, database):
            _run(connection, f"DROP DATABASE IF EXISTS {quoted(database)}")


def _rights(connection: Connection, database: str) -> dict[str, str]:
    """The rights on a database by name, as far as this user may read them."""
    try:
        return {each.name: each.sql for each in grants(connection, database)}
    except pymysql.MySQLError as error:
        if error.args[0] not in _NOT_SEEN:
            raise
        return {}


def _options(connection: Connection, database: str) -> str:
    """What a database says of itself behind its name."""
    with connection.cursor() as cursor:
        cursor.execute(f"SHOW CREATE DATABASE {quoted(database)}")
        ((name, sql),) = cursor.fetchall()
    return str(sql).partition(quoted(name))[2]


def _run(connection: Connection, *statements: str) -> None:
    with connection.cursor() as cursor:
        for each in statements:
            cursor.execute(each)
