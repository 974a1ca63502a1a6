"""A table of the target and temporary tables beside it: keys and rows go in as loads, records come out as the reader's.

* A temporary table has the target's own types. Its columns have names that no table has, so that what stands in a
  SELECT for a column of the table means that one.
* What comes out goes through the reader's own decoding, so a record here has the digest it has in a capture.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pymysql
from pymysql.cursors import SSCursor

from holdfast.connectors.mysql.catalog import SYSTEM_PREFIX, Table, TableColumn
from holdfast.connectors.mysql.charsets import Charsets
from holdfast.connectors.mysql.connection import Connection, qualified, quoted
from holdfast.connectors.mysql.loading import Loading, Target, load
from holdfast.connectors.mysql.values import Misfit, decode, decode_mixed, selected
from holdfast.core.records import MIXED, Column, Schema

__all__ = ["ORDINAL", "Staging", "listed", "run"]

ORDINAL = f"{SYSTEM_PREFIX}n"
_AT_ONCE_BYTES = 16 << 20
_STAGED = re.compile(rf"{SYSTEM_PREFIX}c(\d+)")


class Staging:
    """One table, seen through the columns and key of a collection. `number` tells it from others of its session.

    `staged` has the names for SQL of its columns in a stage, `records_sql` what stands in a SELECT for a record.
    """

    def __init__(self, connection: Connection, table: Table, schema: Schema, charsets: Charsets, number: int) -> None:
        self.connection = connection
        self.table = table
        self.schema = schema
        self.number = number
        self._charsets = charsets
        self._columns = {column.name: column for column in table.stored}
        self.staged: Mapping[str, str] = {name: quoted(_staged(at)) for at, name in enumerate(schema.names)}
        self.records_sql = ", ".join(map(selected, table.stored))

    def column(self, name: str) -> TableColumn:
        """A column of the table."""
        return self._columns[name]

    def value(self, name: str, stage: str = "") -> str:
        """What stands in SQL for a staged value that goes into its column; `stage` goes before the name."""
        # As text a SET with an empty label is not what it is as bits.
        return f"{stage}{self.staged[name]}" + (" + 0" if self._columns[name].data_type == "set" else "")

    def temporary(self, name: str) -> str:
        """The name for SQL of a temporary table of this one's own."""
        return qualified(self.table.database, f"{SYSTEM_PREFIX}{name} {self.number}")

    def stage(self, rows: pa.RecordBatch, columns: Sequence[Column]) -> str:
        """Put these columns of the rows into a temporary table; returns its name for SQL.

        It is emptied at the next call. Its column `ORDINAL` numbers the rows from 0.
        """
        stage = self.temporary("stage")
        named = ", ".join(f"{quoted(column.name)} AS {self.staged[column.name]}" for column in columns)
        run(self.connection, f"DROP TEMPORARY TABLE IF EXISTS {stage}")
        run(
            self.connection,
            f"CREATE TEMPORARY TABLE {stage} (PRIMARY KEY ({quoted(ORDINAL)})) ENGINE=InnoDB AS "
            f"SELECT {named}, CAST(0 AS SIGNED) AS {quoted(ORDINAL)} FROM {self.table.sql_name} LIMIT 0",
        )
        numbers = map(self.schema.names.index, (column.name for column in columns))
        into = [replace(self._columns[self.schema.names[at]], name=_staged(at)) for at in numbers]
        targets = [Target(*pair) for pair in zip(columns, into, strict=True)]
        loading = Loading(self.connection, stage, targets, [ORDINAL])
        try:
            load(self.connection, loading, loading.lines(rows, pa.array(range(rows.num_rows), pa.int64())))
        except pymysql.DataError as error:
            # To people a column has the name that it has in its table.
            text = _STAGED.sub(lambda name: self.schema.names[int(name[1])], str(error.args[1]))
            raise pymysql.DataError(error.args[0], f"{self.table.name}: {text}") from error
        return stage

    def records(self, statement: str, connection: Connection | None = None) -> Iterator[tuple[pa.RecordBatch, Schema]]:
        """The records that a statement gives by `records_sql`, with the schema that fits them, a part at a time.

        Another `connection` may be asked, since one that answers can do nothing else meanwhile.
        """
        with _raw(connection or self.connection) as cursor:
            cursor.execute(statement)
            for rows in _parts(cursor):
                yield self._decoded(rows)

    def raw(self, statement: str) -> list[tuple[bytes | None, ...]]:
        """The rows that a statement gives, each value as the server's own bytes."""
        with _raw(self.connection) as cursor:
            cursor.execute(statement)
            return list(cursor.fetchall_unbuffered())

    def _decoded(self, rows: Sequence[tuple[bytes | None, ...]]) -> tuple[pa.RecordBatch, Schema]:
        columns, arrays = [], []
        for column, told in zip(self.table.stored, zip(*rows, strict=True), strict=True):
            values = pa.array(told, pa.binary())
            try:
                found, kind = decode(values, column, self._charsets), column.kind
            except Misfit:
                found, kind = decode_mixed(values, column, self._charsets), MIXED
            columns.append(Column(column.name, kind, column.declared))
            arrays.append(found)
        schema = Schema(tuple(columns), self.schema.key)
        return pa.RecordBatch.from_arrays(arrays, schema=schema.arrow()), schema


def run(connection: Connection, sql: str, arguments: Sequence[Any] | None = None) -> list[tuple[Any, ...]]:
    """Carry out a statement; returns its rows, if it has any."""
    with connection.cursor() as cursor:
        cursor.execute(sql, arguments)
        return list(cursor.fetchall())


def _staged(number: int) -> str:
    return f"{SYSTEM_PREFIX}c{number}"


def listed(names: Iterable[str], prefix: str = "") -> str:
    """Names of columns for SQL."""
    return ", ".join(prefix + quoted(name) for name in names)


@contextmanager
def _raw(connection: Connection) -> Iterator[Any]:
    """A cursor that gives every value as the server's own bytes, of a session that otherwise does not."""
    driver: Any = connection
    kept = driver.decoders, driver.use_unicode
    with connection.cursor() as cursor:
        cursor.execute("SET character_set_results = NULL")
    driver.decoders, driver.use_unicode = {}, False
    try:
        # Closing it reads what is left of the answer.
        with connection.cursor(SSCursor) as cursor:
            yield cursor
    finally:
        driver.decoders, driver.use_unicode = kept


def _parts(cursor: SSCursor) -> Iterator[list[tuple[bytes | None, ...]]]:
    """The rows of an answer, as many at a time as fit into `_AT_ONCE_BYTES`."""
    rows: list[tuple[bytes | None, ...]] = []
    size = 0
    for row in cursor.fetchall_unbuffered():
        rows.append(row)
        size += 64 * len(row) + sum(map(len, filter(None, row)))
        if size > _AT_ONCE_BYTES:
            yield rows
            rows, size = [], 0
    if rows:
        yield rows
