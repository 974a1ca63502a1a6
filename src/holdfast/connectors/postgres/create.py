"""Builds a whole database: definitions, records, then what stands on records.

* A database that does not exist yet is built under another name, `holdfast_partial_…`, and gets its own when it is
  complete. Nobody sees it before, so its records go in through two connections at once.
* One that exists must be empty, and stays so if anything fails: all of it is one transaction.
* Records go in before indexes, keys, foreign keys and triggers are made: nothing fires, and nothing is sorted twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import psycopg

from holdfast.connectors.postgres.catalog import Catalog, Table, load_catalog
from holdfast.connectors.postgres.connection import shown, translated
from holdfast.connectors.postgres.definitions import RESERVED, SCHEMA, SEQUENCE
from holdfast.connectors.postgres.loading import copy_all
from holdfast.connectors.postgres.place import Place, open_place
from holdfast.connectors.postgres.redefine import Definitions, made_in_order
from holdfast.connectors.postgres.references import count_unproven
from holdfast.connectors.postgres.sequences import advance_sequences, set_sequences
from holdfast.connectors.postgres.silence import may_be_silent
from holdfast.core.ports import Created, View
from holdfast.errors import Damaged, Usage

__all__ = ["create_database"]

_SETTINGS = (
    "SET LOCAL check_function_bodies = off",
    "SET LOCAL client_min_messages = warning",
    "SET LOCAL synchronous_commit = on",
    "SET LOCAL maintenance_work_mem = '256MB'",
)
_Row = Mapping[str, Any]


def create_database(url: str, views: Iterable[View]) -> Created:
    """Build the database that `url` names: complete, or not at all.

    Raises Refused if it holds anything already, or if a definition can't be made on this server.
    """
    by_name = {view.name: view for view in views}
    if SCHEMA not in by_name:
        raise Usage("a database can't be built without its definitions", hint=f"restore {SCHEMA} with its collections")
    definitions = _rows(by_name[SCHEMA])
    with translated(shown(url)), open_place(url, definitions) as place:
        return _Building(place, by_name, definitions).build()


class _Building:
    """The inside of a new database, in the order in which it is built."""

    def __init__(self, place: Place, views: Mapping[str, View], definitions: Sequence[_Row]) -> None:
        self._place = place
        self._connection = place.connection
        self._views = views
        self._rows = definitions
        is_partial = not any(row["type"] == "DATABASE" for row in definitions)
        self._definitions = Definitions(place.connection, place.connection.info.dbname, is_partial=is_partial)
        self._records = 0

    def build(self) -> Created:
        connection = self._connection
        if self._place.spare is None:
            with connection.transaction():
                self._make("pre")
                self._fill(load_catalog(connection))
                dangling = self._finish()
        else:
            with connection.transaction():
                self._make("pre")
            self._fill(load_catalog(connection))
            with connection.transaction():
                dangling = self._finish()
        return Created(self._records, (*self._place.notes, *self._definitions.not_covered), dangling)

    def _make(self, section: str) -> None:
        for setting in _SETTINGS:
            self._connection.execute(setting.encode())
        # Event triggers made on the way stay silent with it; without that right they are made last anyhow.
        may_be_silent(self._connection)
        for row in made_in_order(self._rows, section):
            self._definitions.make(row)

    def _finish(self) -> int:
        self._make("post")
        if SEQUENCE in self._views:
            set_sequences(self._connection, _rows(self._views[SEQUENCE]))
            # They are of the last snapshot, records of what was followed since.
            for table in load_catalog(self._connection).tables.values():
                advance_sequences(self._connection, table.oid, table.sql_source)
        return count_unproven(self._connection)

    def _fill(self, catalog: Catalog) -> None:
        for name, view in self._views.items():
            if name.startswith(RESERVED):
                continue
            table = catalog.tables.get(name)
            if table is None:
                raise Damaged(f"no definition for the records of {name}", hint="holdfast verify")
            if {column.name for column in table.stored} != set(view.schema.names):
                raise Damaged(f"{name}: its records have other columns than its definition", hint="holdfast verify")
            self._copy(table, view)

    def _copy(self, table: Table, view: View) -> None:
        # A table made in this transaction can be written as if vacuumed already: nobody need do it later.
        rest = "" if table.is_partitioned else ", FREEZE"
        try:
            self._records += copy_all(self._place, table.sql_name, view, view.schema, rest)
        except (psycopg.IntegrityError, psycopg.DataError) as error:
            told = error.diag.message_primary or str(error)
            raise Damaged(f"{view.name}: its records do not fit its definition: {told}; nothing was written") from error


def _rows(view: View) -> list[_Row]:
    return [row for batch in view.batches() for row in batch.to_pylist()]
