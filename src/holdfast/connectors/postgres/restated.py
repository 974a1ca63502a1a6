"""Carries out the steps of a plan on the database's own definitions, around those on records.

Definitions that are missing are made: tables before the records are written, what stands on records after. None that
is there is altered or dropped: only its owner knows how its rows should change. What is made has the privileges it had,
and those that the database gives to all that is new.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from holdfast.connectors._sql.definitions import definitions_missing
from holdfast.connectors.postgres.apply import NEW_PLACE
from holdfast.connectors.postgres.connection import Connection
from holdfast.connectors.postgres.definitions import (
    SCHEMA,
    SCHEMA_SCHEMA,
    SEQUENCE,
    SEQUENCE_SCHEMA,
    schema_records,
    sequence_records,
)
from holdfast.connectors.postgres.redefine import Definitions, made_in_order
from holdfast.connectors.postgres.sequences import set_sequences
from holdfast.core.plan import Steps
from holdfast.core.ports import Applied
from holdfast.errors import Refused

__all__ = ["Restated"]

_Row = Mapping[str, Any]


class Restated:
    """The steps on definitions: checked at once against what the target holds, done when the records allow."""

    def __init__(self, connection: Connection, url: str, steps: Sequence[Steps]) -> None:
        self._connection = connection
        self._url = url
        self._steps = steps
        self._already = 0
        self._definitions = Definitions(connection, connection.info.dbname)
        self._schema = self._due(SCHEMA)
        self._sequences = self._due(SEQUENCE)

    @property
    def applied(self) -> Applied:
        """How many definitions are written, and how many were as wanted already."""
        return Applied(len(self._schema) + len(self._sequences), self._already)

    def before_records(self) -> None:
        """Make what records need: schemas, types, tables, and the keys of new tables, by which records are found."""
        self._connection.execute(b"SET LOCAL check_function_bodies = off")
        for row in made_in_order(self._schema, "pre"):
            self._definitions.make(row)
        new = self._new_tables()
        for row in made_in_order(self._schema, "post"):
            if _is_key(row, new):
                self._definitions.make(row)

    def after_records(self) -> None:
        """Make what stands on records, and set the counters. Raises Refused if anything had to be left out."""
        new = self._new_tables()
        for row in made_in_order(self._schema, "post"):
            if not _is_key(row, new):
                self._definitions.make(row)
        set_sequences(self._connection, self._sequences)
        if self._definitions.not_covered:
            raise Refused(
                f"{'; '.join(self._definitions.not_covered)}; nothing was written",
                hint="make the roles and extensions it needs, or restore to a new place",
            )

    def _new_tables(self) -> set[str]:
        return {row["table_name"] for row in self._schema if row["type"] == "TABLE"}

    def _due(self, name: str) -> list[_Row]:
        """The definitions of one collection that are still to be made."""
        schema = SCHEMA_SCHEMA if name == SCHEMA else SEQUENCE_SCHEMA
        due, already = definitions_missing(self._steps, name, schema, lambda: self._held(name), NEW_PLACE)
        self._already += already
        return due

    def _held(self, name: str) -> pa.RecordBatch:
        if name == SEQUENCE:
            return sequence_records(self._connection)
        snapshot = self._connection.execute(b"SELECT pg_export_snapshot()").fetchall()[0][0]
        return schema_records(self._url, snapshot)


def _is_key(row: _Row, new: set[str]) -> bool:
    return row["type"] in ("CONSTRAINT", "INDEX", "INDEX ATTACH") and row["table_name"] in new
