"""References by which the server alters or deletes rows itself: of that the binlog says nothing.

`ON DELETE CASCADE` and `SET NULL`, `ON UPDATE CASCADE` and `SET NULL` are carried out inside the engine. The binlog has
the change of the row that was referenced, and each replica is expected to do the rest once more by itself.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pymysql

from holdfast.connectors.mysql.connection import Connection, quoted

__all__ = ["Acting", "Cascades", "cascades_of", "load_acting"]


@dataclass(frozen=True, slots=True)
class Acting:
    """A reference that acts. `above` is the parent's database, "" for the child's own; `columns` are the parent's."""

    name: str
    child: str
    above: str
    parent: str
    columns: tuple[str, ...]
    on_update: str
    on_delete: str


@dataclass(frozen=True, slots=True)
class Cascades:
    """What happens to which tables when a row that they reference is deleted, or one of its columns altered.

    `deleting` has, by referenced table, all tables that lose or alter rows with it, however far down; `updating` the
    same with the columns that are referenced. `from_elsewhere` are tables with something above them of which the
    binlog tells this user nothing, and in words of what.
    """

    deleting: Mapping[str, tuple[str, ...]]
    updating: Mapping[str, tuple[tuple[frozenset[str], tuple[str, ...]], ...]]
    from_elsewhere: Mapping[str, str]


def load_acting(connection: Connection, names: Iterable[str]) -> tuple[Acting, ...]:
    """The references that act, of the database that the connection is in, whatever rights this user has.

    `names` are its tables, as it spells them.
    """
    with connection.cursor() as cursor:
        cursor.execute(_RULES)
        rules = {(name, child): (update, delete) for name, child, update, delete in cursor.fetchall()}
        cursor.execute(_COLUMNS)
        columns: dict[tuple[str, str, str, str], list[str]] = defaultdict(list)
        for *key, column in cursor.fetchall():
            columns[key[0], key[1], key[2], key[3]].append(column)
    spelled = {name.casefold(): name for name in names} | {name: name for name in names}
    found = []
    for (name, child, above, parent), referenced in columns.items():
        # Who may only read a table is not told the rules of its references there, but by its definition.
        update, delete = rules.get((name, child)) or _defined(connection, name, child)
        if update in _ACTING or delete in _ACTING:
            own = parent if above else spelled.get(parent) or spelled.get(parent.casefold(), parent)
            found.append(Acting(name, child, above, own, tuple(referenced), update, delete))
    return tuple(found)


def cascades_of(acting: Sequence[Acting], readable: Iterable[str]) -> Cascades:
    """What follows from references; `readable` are the tables that this user may read whole."""
    children: dict[str, set[str]] = defaultdict(set)
    columns: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    seen, untold = {*readable}, {}
    for each in acting:
        if each.above:
            untold[each.child] = "those of another database"
            continue
        if each.parent not in seen:
            untold[each.child] = f"those of {each.parent}, which this user can't see"
        if each.on_delete in _ACTING:
            children[each.parent].add(each.child)
        if each.on_update in _ACTING:
            columns[each.parent, each.child, each.name] = {*each.columns}
    # What a cascade alters or deletes may be referenced itself.
    below = {parent: _below(parent, children, columns) for parent in {*children, *(each[0] for each in columns)}}
    updating: dict[str, list[tuple[frozenset[str], tuple[str, ...]]]] = defaultdict(list)
    for (parent, child, _), names in columns.items():
        updating[parent].append((frozenset(names), tuple(sorted({child, *below.get(child, ())}))))
    reached = {name: why for child, why in untold.items() for name in below.get(child, ())}
    return Cascades(
        {parent: tuple(sorted(below[parent])) for parent in children},
        {parent: tuple(each) for parent, each in updating.items()},
        reached | untold,
    )


def _defined(connection: Connection, name: str, child: str) -> tuple[str, str]:
    """The rules of a reference (on update, on delete) by the table's definition; the worst where it doesn't say."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(f"SHOW CREATE TABLE {quoted(child)}")
            (_, text, *_) = cursor.fetchone() or ("", "")
    except pymysql.MySQLError as error:
        if not error.args or error.args[0] not in _DENIED:
            raise
        return _WORST
    found = re.search(rf"^ *CONSTRAINT {re.escape(quoted(name))} {_DEFINED}", text, re.MULTILINE)
    return (found[2] or _NONE, found[1] or _NONE) if found else _WORST


def _below(
    parent: str, children: Mapping[str, set[str]], columns: Mapping[tuple[str, str, str], set[str]]
) -> frozenset[str]:
    """All tables that a change of this one may reach."""
    next_to: dict[str, set[str]] = defaultdict(set)
    for name, found in children.items():
        next_to[name] |= found
    for name, child, _ in columns:
        next_to[name].add(child)
    reached: set[str] = set()
    waiting: list[str] = list(_sorted(next_to.get(parent, ())))
    while waiting:
        each = waiting.pop()
        if each not in reached:
            reached.add(each)
            waiting.extend(_sorted(next_to.get(each, ())))
    return frozenset(reached)


def _sorted(names: Iterable[str]) -> list[str]:
    return sorted(names)


_ACTING = ("CASCADE", "SET NULL", "SET DEFAULT")
_NONE = "RESTRICT"
_WORST = ("CASCADE", "CASCADE")
_DENIED = (1044, 1142, 1143, 1146)
_ACTION = r"(CASCADE|SET NULL|SET DEFAULT|NO ACTION|RESTRICT)"
_DEFINED = rf"FOREIGN KEY \(.*\) REFERENCES .*\)(?: ON DELETE {_ACTION})?(?: ON UPDATE {_ACTION})?,?$"
_RULES = """
    SELECT CONSTRAINT_NAME, TABLE_NAME, UPDATE_RULE, DELETE_RULE FROM information_schema.REFERENTIAL_CONSTRAINTS
    WHERE CONSTRAINT_SCHEMA = DATABASE()
"""
_COLUMNS = """
    SELECT CONSTRAINT_NAME, TABLE_NAME, IF(REFERENCED_TABLE_SCHEMA = TABLE_SCHEMA, '', REFERENCED_TABLE_SCHEMA),
        REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME
    FROM information_schema.KEY_COLUMN_USAGE
    WHERE TABLE_SCHEMA = DATABASE() AND REFERENCED_COLUMN_NAME IS NOT NULL
    ORDER BY TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION
"""
