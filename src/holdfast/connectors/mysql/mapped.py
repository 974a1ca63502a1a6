"""A MariaDB database for records of another engine: tables as the mapping says, records, then what stands on them.

* It is built beside the one that is meant, and moved to its name when it is complete (`place`, `completing`).
* What MariaDB can't have is done without and told: an index that its pages are too small for, a reference that it does
  not take. A value that turns out not to fit (`kept`) has the mapping revised, and nothing has appeared.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pymysql

from holdfast.connectors.mysql.catalog import Table, load_catalog, load_server
from holdfast.connectors.mysql.completing import complete
from holdfast.connectors.mysql.connection import quoted, shown, translated
from holdfast.connectors.mysql.filling import count_dangling, fill
from holdfast.connectors.mysql.kept import COLLATION, DIALECT, JSON
from holdfast.connectors.mysql.making import prepare_to_define
from holdfast.connectors.mysql.pending import keep
from holdfast.connectors.mysql.place import Place, open_place
from holdfast.core.mapping import NamedMapping
from holdfast.core.ports import Created, View
from holdfast.core.records import Reference
from holdfast.core.ways import CollectionMap, Unfit
from holdfast.errors import Damaged, Refused, Unsupported

__all__ = ["DIALECT", "create_mapped"]

_LOWERED = 1
# Too many keys, or parts of one; too long; a type that can't be in one.
_NO_INDEX = (1069, 1070, 1071, 1167, 1170, 1709)
# A foreign key that is "incorrectly formed", or stands on no index.
_NO_REFERENCE = (150, 1005, 1070, 1071, 1215, 1822)
_ROW_TOO_LONG = (139, 1118)
# As a statement is refused, and as a load is warned of.
_CUT = re.compile(r"Data (?:too long|truncated) for column '(.*)' at row \d+", re.DOTALL)
_SHOWN = 40


def create_mapped(url: str, mapping: NamedMapping, views: Iterable[View]) -> Created:
    """Build the database that `url` names of views in the form that the mapping gives them: complete, or not at all.

    Raises Refused if it holds anything already, Unfit for a value that does not fit where the mapping puts it.
    """
    with translated(shown(url)), open_place(url, COLLATION) as place:
        return _Building(place, mapping).build(views)


class _Building:
    """The inside of a new database, in the order in which it is built."""

    def __init__(self, place: Place, mapping: NamedMapping) -> None:
        self._place = place
        self._connection = place.connection
        self._mapping = mapping
        self._not_covered: list[str] = []

    def build(self, views: Iterable[View]) -> Created:
        connection, partial, collections = self._connection, self._place.partial, self._mapping.collections
        self._refuse_unfit_server()
        prepare_to_define(connection)
        made = {one.table: self._make(one) for one in collections}
        tables = load_catalog(connection).tables
        records = sum(self._fill(self._mapping.of(view.name), view, tables, made) for view in views)
        prepare_to_define(connection)
        for one in collections:
            for reference in one.references:
                self._refer(one, reference)
        dangling, _ = count_dangling(connection, partial)
        keep(connection, partial, ())
        self._not_covered += complete(self._place, COLLATION, tuple(made))
        return Created(records, tuple(self._not_covered), dangling)

    def _refuse_unfit_server(self) -> None:
        """Raise Unsupported for a server that has no collation of ours, or would give tables other names."""
        if not load_server(self._connection).is_mariadb:
            raise Unsupported(
                "MySQL can't take records of another engine yet", hint="restore into MariaDB, PostgreSQL or SQLite"
            )
        names = [one.table for one in self._mapping.collections]
        ((folding,),) = self._ask("SELECT @@lower_case_table_names")
        if folding == _LOWERED and (folded := [name for name in names if name != name.lower()]):
            raise Unsupported(
                f"this server would call the table {folded[0]} otherwise (lower_case_table_names = 1)",
                hint="name a server that keeps the case of names",
            )

    def _make(self, one: CollectionMap) -> str:
        """Make a table; returns how. Keys and indexes that the server can't have are done without, and told."""
        wanted = list(_indexes(one))
        sql = _table(one, [part for _, part in wanted])
        try:
            self._run(sql)
            return sql
        except pymysql.MySQLError as error:
            if error.args[0] in _ROW_TOO_LONG:
                raise _refused(one.name, error) from error
            if error.args[0] not in _NO_INDEX:
                raise
        found: list[str] = []
        for told, part in wanted:
            try:
                self._run(_table(one, [*found, part]))
            except pymysql.MySQLError as error:
                if error.args[0] not in _NO_INDEX:
                    raise
                self._not_covered.append(f"{told} of {one.name}: {error.args[1]}")
                continue
            found.append(part)
            self._run(f"DROP TABLE {quoted(one.table)}")
        sql = _table(one, found)
        self._run(sql)
        return sql

    def _fill(self, one: CollectionMap, view: View, tables: Mapping[str, Table], made: Mapping[str, str]) -> int:
        try:
            count = fill(self._connection, tables[one.table], view, made[one.table])
        except (Damaged, pymysql.MySQLError) as error:
            cause = error if isinstance(error, pymysql.MySQLError) else error.__cause__
            if isinstance(cause, pymysql.MySQLError) and cause.args:
                _judge(one, cause)
            raise
        for column in one.carried:
            if column.declared == JSON:
                name = quoted(column.name)
                short = f"left({name}, {_SHOWN})"
                for (text,) in self._ask(
                    f"SELECT {short} FROM {quoted(one.table)} WHERE NOT json_valid({name}) LIMIT 1"
                ):
                    raise Unfit(one.name, column.source.name, f"MariaDB does not call it JSON: {text!r}")
        return count

    def _refer(self, one: CollectionMap, reference: Reference) -> None:
        """Declare a reference, in the order of the index that it leads to; records that lead nowhere may stay."""
        other = next(each for each in self._mapping.collections if each.table == reference.target)
        there = dict(zip(reference.target_columns, reference.columns, strict=True))
        unique = [other.key, *(each.columns for each in other.indexes if each.is_unique), *other.unique]
        led = next((columns for columns in unique if set(columns) == set(there)), reference.target_columns)
        try:
            self._run(
                f"ALTER TABLE {quoted(one.table)} ADD FOREIGN KEY ({_listed(there[name] for name in led)}) "
                f"REFERENCES {quoted(other.table)} ({_listed(led)})"
            )
        except pymysql.MySQLError as error:
            if error.args[0] not in _NO_REFERENCE:
                raise
            told = f"the reference of {one.name} ({', '.join(reference.columns)}) to {reference.target}"
            self._not_covered.append(f"{told}: {error.args[1]}")

    def _ask(self, sql: str) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def _run(self, sql: str) -> None:
        self._ask(sql)


def _table(one: CollectionMap, indexes: Sequence[str]) -> str:
    columns = [
        f"{quoted(each.name)} {each.declared}{' NOT NULL' if each.not_null else ' NULL'}" for each in one.carried
    ]
    lines = ",\n  ".join((*columns, *indexes))
    return f"CREATE TABLE {quoted(one.table)} (\n  {lines}\n) ENGINE=InnoDB ROW_FORMAT=DYNAMIC DEFAULT {COLLATION}"


def _indexes(one: CollectionMap) -> Iterable[tuple[str, str]]:
    """The key and the indexes, each in words and in SQL. Unnamed ones come last: they take names that are free."""
    if one.key:
        yield "the key", f"PRIMARY KEY ({_listed(one.key)})"
    for each in one.indexes:
        kind = "UNIQUE KEY" if each.is_unique else "KEY"
        yield f"the index {each.name}", f"{kind} {quoted(each.name)} ({_listed(each.columns)})"
    for columns in one.unique:
        yield f"that {', '.join(columns)} are unique", f"UNIQUE KEY ({_listed(columns)})"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(quoted, names))


def _judge(one: CollectionMap, error: pymysql.MySQLError) -> None:
    """Raise Unfit for a value that is too long for its column, Refused for a record that is too long for a table."""
    if error.args[0] in _ROW_TOO_LONG:
        raise _refused(one.name, error) from error
    cut = _CUT.fullmatch(str(error.args[1]))
    for column in one.carried if cut else ():
        if cut and column.name == cut[1] and column.otherwise is not None:
            raise Unfit(one.name, column.source.name, f"{column.declared} is too short for a value") from error


def _refused(collection: str, error: pymysql.MySQLError) -> Refused:
    return Refused(
        f"{collection}: MariaDB can't hold its records: {error.args[1]}; nothing was written",
        hint="name the other collections, or restore to another engine",
    )
