"""Carries out the steps of a plan on the database's own definitions, around those on records.

The server commits with each definition, so it can't take them and the records as one. Therefore:

* Only what is missing is made; none that is there is altered or dropped.
* New tables and counters are made first, empty, and go again if the records can't be written. What stands on records is
  made when they are committed. Cut off in between, the next plan finds what is there, and does the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import pyarrow as pa
import pymysql

from holdfast.connectors._sql.definitions import definitions_missing
from holdfast.connectors.mysql.apply import NEW_PLACE
from holdfast.connectors.mysql.catalog import load_catalog
from holdfast.connectors.mysql.connection import Connection, quoted
from holdfast.connectors.mysql.definitions import (
    SCHEMA,
    SCHEMA_SCHEMA,
    SEQUENCE,
    SEQUENCE_SCHEMA,
    schema_records,
    sequence_records,
)
from holdfast.connectors.mysql.making import prepare_to_define
from holdfast.connectors.mysql.redefine import Definitions
from holdfast.connectors.mysql.sqltext import with_counter
from holdfast.core.plan import Steps
from holdfast.core.ports import Applied
from holdfast.errors import HoldfastError

__all__ = ["Restated"]

_Row = Mapping[str, Any]
_NEW = ("SEQUENCE", "TABLE")


class Restated:
    """The steps on definitions: checked at once against what the target holds, done when the records allow."""

    def __init__(self, connection: Connection, steps: Sequence[Steps]) -> None:
        """`connection` is for definitions alone: each of them commits whatever was begun on it."""
        self._connection = connection
        self._steps = steps
        self._catalog = load_catalog(connection)
        self._already = 0
        self._made: list[_Row] = []
        self._schema = self._due(SCHEMA)
        self._counters = self._due(SEQUENCE)
        server = self._catalog.server
        self._definitions = Definitions(connection, server.database, server.collation, is_live=True)

    @property
    def applied(self) -> Applied:
        """How many definitions are written, and how many were as wanted already."""
        return Applied(len(self._schema) + len(self._counters), self._already)

    def before_records(self) -> None:
        """Make the tables and counters that are missing. Raises Refused, and makes none, if one can't be made."""
        prepare_to_define(self._connection)
        try:
            for kind in _NEW:
                for row in self._schema:
                    if row["type"] == kind:
                        self._definitions.make(row, self._counted(row))
                        self._made.append(row)
            self._set_sequences()
        except BaseException:
            self.undo()
            raise

    def undo(self) -> None:
        """Remove what `before_records` made: the records were not written. What went wrong is told, come what may."""
        with suppress(pymysql.Error), self._connection.cursor() as cursor:
            for row in reversed(self._made):
                cursor.execute(f"DROP {row['type']} IF EXISTS {quoted(row['name'])}")

    def after_records(self) -> None:
        """Make what stands on records, events last. What can't be had here is left out: a comparison shows it.

        Raises Refused or Unreachable if a definition can't be made: the records are written by then.
        """
        try:
            self._definitions.make_all(self._schema)
            self._definitions.grant(self._schema)
        except HoldfastError as error:
            told = error.message.removesuffix("; nothing was written")
            raise type(error)(
                f"{told}; all records are written, and the definitions before it", hint=error.hint
            ) from error

    def _counted(self, row: _Row) -> str:
        for counter in self._counters:
            if (row["type"], counter["type"], counter["name"]) == ("TABLE", "AUTO_INCREMENT", row["name"]):
                return with_counter(row["sql"], counter["value"])
        return str(row["sql"])

    def _set_sequences(self) -> None:
        new = {row["name"] for row in self._made if row["type"] == "SEQUENCE"}
        with self._connection.cursor() as cursor:
            for row in self._counters:
                if row["type"] == "SEQUENCE" and row["name"] in new:
                    place = f"{int(row['value'])}, 0, {int(row['round'])}"
                    cursor.execute(f"SELECT SETVAL({quoted(row['name'])}, {place})")

    def _due(self, name: str) -> list[_Row]:
        """The definitions of one collection that are still to be made."""
        schema = SCHEMA_SCHEMA if name == SCHEMA else SEQUENCE_SCHEMA
        due, already = definitions_missing(self._steps, name, schema, lambda: self._held(name), NEW_PLACE)
        self._already += already
        return due

    def _held(self, name: str) -> pa.RecordBatch:
        read = schema_records if name == SCHEMA else sequence_records
        return read(self._connection, self._catalog)
