"""Builds a whole database: definitions, records, then what stands on records.

* It is built beside the one that is meant, under a name of its own (`place`): tables, their records, and, to be tried,
  all that stands on them. Nothing is there to see or to fire before it is moved to its name (`completing`).
* Killed before that, it leaves nothing under its name, and what lies beside is removed by the next restore. Killed in
  the moment after, it has all of its records, and the list of what is still to be made; `recover` makes it.
* Triggers are made when the records are in, events last of all. Users are never made: a right of one who is not there
  is left out and named.
* In the end everything is asked of the server again: what is not as it was captured is named.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from holdfast.connectors.mysql.catalog import RESERVED, Catalog, load_catalog
from holdfast.connectors.mysql.completing import complete
from holdfast.connectors.mysql.connection import quoted, shown, translated
from holdfast.connectors.mysql.counters import advance_counters
from holdfast.connectors.mysql.definitions import SCHEMA, SEQUENCE, schema_records, sequence_records
from holdfast.connectors.mysql.filling import count_dangling, fill
from holdfast.connectors.mysql.making import placed, prepare_to_define
from holdfast.connectors.mysql.pending import Step, keep, step_of
from holdfast.connectors.mysql.place import DRILL, Place, open_place
from holdfast.connectors.mysql.redefine import Definitions, Row, collating, named
from holdfast.connectors.mysql.sqltext import relative, with_counter
from holdfast.core.ports import Created, View
from holdfast.errors import Damaged, Usage

__all__ = ["create_database"]

_UTF8 = "CHARACTER SET utf8mb4"
_MERGED = "MRG_MyISAM"
# In a place for drills nothing acts by itself, and nobody gets in.
_KEPT_BACK = ("EVENT", "GRANT")
_TOLD = 8


def create_database(url: str, views: Iterable[View]) -> Created:
    """Build the database that `url` names: complete, or not at all.

    Raises Refused if it holds anything already, or if a definition can't be made on this server.
    """
    by_name = {view.name: view for view in views}
    if SCHEMA not in by_name:
        raise Usage("a database can't be built without its definitions", hint=f"restore {SCHEMA} with its collections")
    definitions = _rows(by_name[SCHEMA])
    options = next((_options(row["sql"]) for row in definitions if row["type"] == "DATABASE"), _UTF8)
    with translated(shown(url)), open_place(url, options) as place:
        return _Building(place, by_name, definitions).build(options)


class _Building:
    """A new database, in the order in which it is built."""

    def __init__(self, place: Place, views: Mapping[str, View], definitions: Sequence[Row]) -> None:
        self._place = place
        self._connection = place.connection
        self._views = views
        self._rows = definitions
        self._counters = _rows(views[SEQUENCE]) if SEQUENCE in views else []
        self._catalog: Catalog = load_catalog(place.connection)
        self._moved_on: list[str] = []  # sequences, as SQL names them

    def build(self, options: str) -> Created:
        connection, partial = self._connection, self._place.partial
        collation = self._catalog.server.collation
        prepare_to_define(connection)
        self._make_tables(Definitions(connection, partial, collation))
        records = self._fill()
        dangling, absent = count_dangling(connection, partial)
        definitions = Definitions(connection, partial, collation)
        definitions.make_all(self._rows)
        for row in self._of("TRIGGER"):
            # A table with triggers can't be moved.
            self._run(f"DROP TRIGGER {quoted(row['name'])}")
        tables = self._moved()
        keep(connection, partial, self._pending(definitions.steps))
        told = complete(self._place, options, tables)
        left_out = (*definitions.not_covered, *absent, *told)
        told = (*left_out, *self._otherwise(" ".join(left_out)))
        return Created(records, told, dangling, definitions.unmakeable)

    def _make_tables(self, definitions: Definitions) -> None:
        for row in self._of("SEQUENCE"):
            definitions.make(row)
        for row in self._counters:
            if row["type"] == "SEQUENCE" and any(each["name"] == row["name"] for each in self._of("SEQUENCE")):
                self._run(f"SELECT SETVAL({quoted(row['name'])}, {int(row['value'])}, 0, {int(row['round'])})")
        for row in self._of("TABLE"):
            definitions.make(row, self._counted(row))

    def _counted(self, row: Row) -> str:
        """A table's definition with the number that its next record gets."""
        sql = str(row["sql"])
        for counter in self._counters:
            if counter["type"] == "AUTO_INCREMENT" and counter["name"] == row["name"]:
                return with_counter(sql, counter["value"])
        return sql

    def _fill(self) -> int:
        self._catalog = load_catalog(self._connection)
        by_name = {row["name"]: row for row in self._of("TABLE")}
        count = 0
        for name, view in self._views.items():
            if name.startswith(RESERVED):
                continue
            table = self._catalog.tables.get(name)
            if table is None:
                raise Damaged(f"no definition for the records of {name}", hint="holdfast verify")
            if {column.name for column in table.stored} != set(view.schema.names):
                raise Damaged(f"{name}: its records have other columns than its definition", hint="holdfast verify")
            sql = placed("TABLE", self._counted(by_name[table.name]), self._place.partial)
            count += fill(self._connection, table, view, sql)
            # Counters are of the last snapshot, records of what was followed since.
            self._moved_on += advance_counters(self._connection, table)
        return count

    def _moved(self) -> list[str]:
        """The tables and counters that can be moved as they are."""
        found = self._ask(_BASE_TABLES, self._place.partial)
        return [name for name, engine in found if engine != _MERGED]

    def _pending(self, made: Sequence[Step]) -> list[Step]:
        """What is to be made under the database's own name, in order; events at last."""
        found = [*self._defaults()]
        merged = {name for name, engine in self._ask(_BASE_TABLES, self._place.partial) if engine == _MERGED}
        found += [step_of(row) for row in self._of("TABLE") if row["name"] in merged]
        found += [step for step in made if step.type != "EVENT"]
        found += map(step_of, self._of("GRANT"))
        found += self._events([step for step in made if step.type == "EVENT"])
        database = self._place.database
        is_drill = database.startswith(DRILL)
        return [
            step._replace(
                statement=placed(step.type, step.statement, database),
                is_withheld=is_drill and step.type in _KEPT_BACK,
            )
            for step in found
        ]

    def _events(self, events: Sequence[Step]) -> list[Step]:
        """Events, each under the collation that the database had when it was made, and then its own again."""
        own = before = self._catalog.server.collation
        found = []
        for step in events:
            wanted = step.database_collation or before
            if wanted != before:
                found.append(collating(wanted))
            found.append(step)
            before = wanted
        return found if before == own else [*found, collating(own)]

    def _defaults(self) -> list[Step]:
        """Defaults that draw from a counter name the database that they were made in."""
        partial, changes = self._place.partial, defaultdict(list)
        for table, column, default in self._ask(_DRAWN, partial, f"%{quoted(partial)}.%"):
            changes[table].append(f"ALTER COLUMN {quoted(column)} SET DEFAULT ({relative(default, partial)})")
        # All of a table at once: while one names a counter that is gone, the server takes no change of another.
        statements = {table: f"ALTER TABLE {quoted(table)} {', '.join(each)}" for table, each in changes.items()}
        return [
            step_of({"type": "TABLE", "name": table, "position": 0, "sql": sql}) for table, sql in statements.items()
        ]

    def _otherwise(self, told: str) -> list[str]:
        """What is not as it was captured, unless it was told of already."""
        self._catalog = load_catalog(self._connection)
        schema = {
            (row["type"], row["name"]): row for row in schema_records(self._connection, self._catalog).to_pylist()
        }
        differing = [
            named(row) for row in self._rows if schema.get((row["type"], row["name"])) != row and named(row) not in told
        ]
        counters = {
            (row["type"], row["name"]): row for row in sequence_records(self._connection, self._catalog).to_pylist()
        }
        here = {row["name"] for row in self._rows if row["type"] in ("TABLE", "SEQUENCE")}
        differing += [
            f"the counter of {row['name']}"
            for row in self._counters
            if row["name"] in here and not self._stands(row, counters.get((row["type"], row["name"])))
        ]
        if not differing:
            return []
        more = f" and {len(differing) - _TOLD} more" if len(differing) > _TOLD else ""
        return [f"not as it was captured: {', '.join(differing[:_TOLD])}{more}"]

    def _stands(self, wanted: Row, found: Row | None) -> bool:
        """Whether a counter stands where it stood, or is ahead of that for the sake of records that are newer."""
        if found is None or found == wanted:
            return found is not None
        if wanted["type"] == "AUTO_INCREMENT":
            return int(found["value"]) > int(wanted["value"])
        return any(each.endswith(quoted(wanted["name"])) for each in self._moved_on)

    def _of(self, kind: str) -> list[Row]:
        return [row for row in self._rows if row["type"] == kind]

    def _ask(self, sql: str, *arguments: str) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql, arguments)
            return list(cursor.fetchall())

    def _run(self, sql: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(sql)


def _options(sql: str) -> str:
    """What a CREATE DATABASE says behind the name."""
    return sql.partition("`holdfast:database`")[2].strip()


def _rows(view: View) -> list[Row]:
    return [row for batch in view.batches() for row in batch.to_pylist()]


_BASE_TABLES = """
    SELECT TABLE_NAME, coalesce(ENGINE, '') FROM information_schema.TABLES
    WHERE TABLE_SCHEMA = %s AND TABLE_TYPE <> 'VIEW' ORDER BY TABLE_NAME
"""
_DRAWN = """
    SELECT TABLE_NAME, COLUMN_NAME, COLUMN_DEFAULT FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = %s AND COLUMN_DEFAULT LIKE %s
"""
