"""What is still to be made in a database that has its records already: kept in the database itself, in one table.

* A restore writes there beforehand what can only be made once the tables lie under their own name. While the table
  is there the database says of itself that it is not complete; whoever finds it can make the rest, without the vault.
* In a place for drills, some of it stays kept back for good: what would act on its own (events), or let others in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from holdfast.connectors.mysql.connection import Connection, literal, qualified

__all__ = ["TABLE", "Step", "done", "is_there", "keep", "step_of", "steps", "unfinished", "withheld"]

TABLE = "holdfast:pending"


class Step(NamedTuple):
    """A statement, the settings under which it is made, and the definition that it makes.

    The statement is one for this very database. `is_withheld`: it is not to be made here.
    """

    is_withheld: bool
    statement: str
    type: str
    name: str
    table_name: str | None
    position: int
    sql: str
    sql_mode: str | None
    character_set_client: str | None
    collation_connection: str | None
    database_collation: str | None
    time_zone: str | None


def step_of(row: Mapping[str, Any], statement: str | None = None) -> Step:
    """The step that makes a definition: by its own SQL, or another way to write it."""
    rest: dict[str, Any] = {name: row.get(name) for name in Step._fields[2:]}
    return Step(False, rest["sql"] if statement is None else statement, **rest)


def keep(connection: Connection, database: str, rows: Sequence[Step]) -> None:
    """Make the table and put the steps into it, in the order in which they are to be made."""
    table = qualified(database, TABLE)
    kinds = {"is_withheld": "bool NOT NULL", "position": "bigint NOT NULL"}
    columns = ", ".join(f"`{name}` {kinds.get(name, 'longtext')}" for name in Step._fields)
    told = literal("Holdfast's own: while it is here, a restore into this database is not complete")
    with connection.cursor() as cursor:
        cursor.execute(
            f"CREATE TABLE {table} (step bigint PRIMARY KEY, {columns}) ENGINE=InnoDB CHARACTER SET utf8mb4 "
            f"COLLATE utf8mb4_bin COMMENT={told}"
        )
        marks = ", ".join(["%s"] * (len(Step._fields) + 1))
        for number, row in enumerate(rows):
            cursor.execute(f"INSERT INTO {table} VALUES ({marks})", (number, *row))


def is_there(connection: Connection, database: str) -> bool:
    """Whether a restore into that database has not come to its end, or it is a place for drills."""
    sql = "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s"
    with connection.cursor() as cursor:
        return bool(cursor.execute(sql, (database, TABLE)))


def steps(connection: Connection, database: str) -> dict[int, Step]:
    """What is kept, by number, in order; nothing where nothing is pending."""
    if not is_there(connection, database):
        return {}
    columns = ", ".join(f"`{name}`" for name in Step._fields)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT step, {columns} FROM {qualified(database, TABLE)} ORDER BY step")
        return {number: Step(bool(is_withheld), *rest) for number, is_withheld, *rest in cursor.fetchall()}


def done(connection: Connection, database: str, number: int) -> None:
    """Note that a step is done: it is not to be taken again."""
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {qualified(database, TABLE)} WHERE step = {number}")


def unfinished(connection: Connection, database: str) -> tuple[str, ...]:
    """What to say of a database in which something is still to be made: it is less than what was restored."""
    left = [step for step in steps(connection, database).values() if not step.is_withheld]
    if not left:
        return ()
    told = f"a restore was cut off here: {len(left)} of its steps are not done yet; run it again: holdfast restore"
    return (told,)


def withheld(connection: Connection, database: str) -> list[tuple[Any, ...]]:
    """The definitions that are not made here, and that count as if they were, as rows of the schema's records."""
    return [tuple(step[2:]) for step in steps(connection, database).values() if step.is_withheld]
