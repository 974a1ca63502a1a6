"""Makes definitions, one by one: what can't be brought back here is left out and named, or stops everything.

* Left out, and named: rights of users and roles that are not there; views that stand on what is not there; events whose
  time is past; the word on whose account something works, where this user may not give it.
* Anything else that fails ends in Refused: what is built would not be what was captured.
* A view can't be made over one that works on the account of somebody who is not there, though it may well lie over it.
  So all that others may stand on is first made on this user's own account, and then again on the right one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pymysql

from holdfast.connectors._sql.definitions import left_out
from holdfast.connectors.mysql.connection import Connection, quoted
from holdfast.connectors.mysql.making import EXISTS, carry_out, placed
from holdfast.connectors.mysql.pending import Step, step_of
from holdfast.connectors.mysql.sqltext import event_state, without_definer
from holdfast.errors import HoldfastError, Refused, Unreachable

__all__ = ["Definitions", "Row", "collating", "named", "refused"]

Row = Mapping[str, Any]

ROUTINES = ("PACKAGE", "PACKAGE BODY", "FUNCTION", "PROCEDURE")
# No table, column, routine, database or counter of that name; rights or users that are not there.
_NOT_THERE = (1049, 1054, 1109, 1146, 1305, 1356, 1449, 4091, 4092)
_DENIED = (1044, 1142, 1143, 1227, 1370)
_NO_GRANTEE = (1133, 1269, 1410, 1959)
_NO_ZONE = 1298
_NO_DEFINER_RIGHT = 1227
_UNSAFE = (1418, 1419)
_BUSY = (1205, 1213, 1317)
_LACKING = (1021, 1037, 1038, 1041, 1114)


class Definitions:
    """Makes definitions in one database, and keeps the steps that made them, to be taken again in another one."""

    def __init__(self, connection: Connection, database: str, collation: str, *, is_live: bool = False) -> None:
        """`collation` is the database's own. In one that is live it stays so, and events that are on happen."""
        self._connection = connection
        self._database = database
        self._own_collation = self._collation = collation
        self._is_live = is_live
        self._left_out: dict[str, list[str]] = defaultdict(list)
        self.unmakeable = 0  # views that stand on what is not among all that was made here
        self.steps: list[Step] = []
        with connection.cursor() as cursor:
            cursor.execute("SELECT CURRENT_USER()")
            user, _, host = str(cursor.fetchall()[0][0]).rpartition("@")
        self._me = f"{quoted(user)}@{quoted(host)}"

    @property
    def not_covered(self) -> tuple[str, ...]:
        """What was left out, by cause, in words."""
        return left_out(self._left_out)

    def make(self, row: Row, sql: str | None = None) -> None:
        """Carry out one definition, or another way to write it. Raises Refused, naming it, if it can't be done."""
        self._do(row, row["sql"] if sql is None else sql)

    def make_all(self, rows: Sequence[Row]) -> None:
        """Make routines, views, triggers and events of these, in an order in which they can be made."""
        routines = sorted(_of(rows, *ROUTINES), key=lambda row: (ROUTINES.index(row["type"]), row["name"]))
        stand_ins = [row for row in routines if not self._make_own(row)]
        views, owed = self._make_views(_of(rows, "VIEW"))
        for row in reversed(views):
            if row["name"] in owed:
                self._make_exact(row, row["sql"].replace("CREATE ", "CREATE OR REPLACE ", 1))
        for row in stand_ins:
            self._make_exact(row, row["sql"], drop=f"DROP {row['type']} IF EXISTS {quoted(row['name'])}")
        for row in sorted(_of(rows, "TRIGGER"), key=lambda row: (row["table_name"], row["position"])):
            self._make_exact(row, row["sql"])
        for row in _of(rows, "EVENT"):
            self._make_event(row)
        self._keep_collation(self._own_collation)

    def grant(self, rows: Iterable[Row]) -> None:
        """Give the rights of these. What nobody here can have is left out and named."""
        for row in _of(list(rows), "GRANT"):
            try:
                self._try(row, row["sql"])
            except pymysql.MySQLError as error:
                if _number(error) not in (*_NO_GRANTEE, *_NOT_THERE, *_DENIED):
                    raise refused(row, error) from error
                self._leave_out(row, _text(error))

    def _make_own(self, row: Row) -> bool:
        """Make it on this user's own account; whether that is the right one."""
        sql, definer = without_definer(row["sql"])
        is_right = definer.replace('"', "`") in ("", self._me)
        self._do(row, row["sql"] if is_right else sql)
        return is_right

    def _make_views(self, rows: Sequence[Row]) -> tuple[list[Row], set[str]]:
        """Make views, those first on which others stand; returns them, and whose account is yet to be put right."""
        waiting, made, owed = list(rows), [], set()
        errors: dict[str, pymysql.MySQLError] = {}
        while waiting:
            before = len(waiting)
            for row in list(waiting):
                sql, definer = without_definer(row["sql"])
                is_right = definer in ("", self._me)
                try:
                    self._try(row, row["sql"] if is_right else sql)
                except pymysql.MySQLError as error:
                    if _number(error) not in (*_NOT_THERE, *_DENIED):
                        raise refused(row, error) from error
                    errors[row["name"]] = error
                    continue
                waiting.remove(row)
                made.append(row)
                if not is_right:
                    owed.add(row["name"])
            if len(waiting) == before:
                break
        here = f"{self._database}."
        are_own = all(
            _number(errors[row["name"]]) in _NOT_THERE and here in _text(errors[row["name"]]) for row in waiting
        )
        self.unmakeable = len(waiting) if are_own else 0
        for row in waiting:
            text = _text(errors[row["name"]])
            self._leave_out(row, f"{text.replace(here, '')}, though all else was made" if are_own else text)
        return made, owed

    def _make_exact(self, row: Row, sql: str, drop: str = "") -> None:
        """Make it on the account that it names; where this user may not, on his own, and say so."""
        try:
            if drop:
                # Whether it may be made so is tried before what stands in for it is gone.
                self._may_define_for(without_definer(sql)[1])
                self._do(row, drop)
            self._try(row, sql)
        except pymysql.MySQLError as error:
            if _number(error) != _NO_DEFINER_RIGHT:
                raise refused(row, error) from error
            own, definer = without_definer(sql)
            self._left_out[f"this user may not make anything on another's account ({_text(error)})"].append(
                f"the account {definer} of {named(row)}"
            )
            if not drop:
                self._do(row, own)

    def _may_define_for(self, definer: str) -> None:
        """Raise the driver's error 1227 if this user may not define anything on that account."""
        with self._connection.cursor() as cursor:
            probe = f"{quoted(self._database)}.`holdfast:probe`"
            cursor.execute(f"CREATE DEFINER={definer.replace(chr(34), '`')} PROCEDURE {probe}() SELECT 1")
            cursor.execute(f"DROP PROCEDURE {probe}")

    def _make_event(self, row: Row) -> None:
        """Prove that the event can be made, without letting it happen: here it stays off."""
        before, state, after = event_state(row["sql"])
        try:
            self._make_exact(row, f"{before} {state if self._is_live else 'DISABLE'}{after}")
        except Refused as error:
            if not isinstance(error.__cause__, pymysql.MySQLError) or _number(error.__cause__) != _NO_ZONE:
                raise
            self._leave_out(row, _text(error.__cause__))
            return
        # On whose account it was made, and what is to be made where it shall happen.
        made = self.steps.pop()
        head, _, tail = event_state(made.statement)
        self.steps.append(made._replace(statement=f"{head} {state}{tail}"))

    def _do(self, row: Row, sql: str) -> None:
        try:
            self._try(row, sql)
        except pymysql.MySQLError as error:
            raise refused(row, error) from error

    def _try(self, row: Row, sql: str) -> None:
        if row.get("database_collation"):
            self._keep_collation(row["database_collation"])
        step = step_of(row, sql)
        carry_out(self._connection, step._replace(statement=placed(step.type, sql, self._database)))
        self.steps.append(step)

    def _keep_collation(self, collation: str) -> None:
        """Let the database have the collation that it had when what comes next was made there."""
        if collation != self._collation and not self._is_live:
            self._collation = collation
            step = collating(collation)
            self._do(step._asdict(), step.statement)

    def _leave_out(self, row: Row, cause: str) -> None:
        self._left_out[cause].append(named(row))


def collating(collation: str) -> Step:
    """The step that gives the database a collation."""
    row = {"type": "DATABASE", "name": "", "sql": "", "position": 0}
    return step_of(row, f"ALTER DATABASE `holdfast:database` COLLATE {collation}")


def named(row: Row) -> str:
    """A definition in words."""
    if row["type"] == "GRANT":
        return f"«{row['sql'].replace('`holdfast:database`.', '')}»"
    return f"the {str(row['type']).lower()} {row['name']}".rstrip()


def refused(row: Row, error: pymysql.MySQLError) -> HoldfastError:
    """What to tell where a definition can't be made, and the way out."""
    message, number = f"{named(row)} can't be made here: {_text(error)}; nothing was written", _number(error)
    if number in _BUSY or number < 1000 or 2000 <= number < 3000:
        return Unreachable(message, hint="it is safe to try again")
    if number in _LACKING:
        return Unreachable(message, hint="free or raise what the server lacks, and try again")
    if number in _UNSAFE:
        return Refused(message, hint="SET GLOBAL log_bin_trust_function_creators = 1, or name a user with SUPER")
    if number in EXISTS:
        return Refused(message, hint="restore to a database that is empty, or does not exist yet")
    return Refused(message, hint="restore to a server of the same version, as a user who may do this")


def _of(rows: Sequence[Row], *kinds: str) -> list[Row]:
    return [row for row in rows if row["type"] in kinds]


def _number(error: pymysql.MySQLError) -> int:
    return error.args[0] if error.args and isinstance(error.args[0], int) else 0


def _text(error: pymysql.MySQLError) -> str:
    return " ".join(str(error.args[1] if len(error.args) > 1 else error).split())
