"""A table of the target and temporary tables beside it: keys and rows go in by COPY, records come out by COPY.

What comes out goes through the reader's own decoding, so a record here has the digest it has in a capture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from holdfast.connectors.postgres.catalog import Table, TableColumn
from holdfast.connectors.postgres.connection import Connection, quoted
from holdfast.connectors.postgres.copying import copied, copy_sql
from holdfast.connectors.postgres.loading import as_text, copy_in
from holdfast.connectors.postgres.values import Misfit, decode, decode_mixed
from holdfast.core.records import MIXED, Column, Schema

__all__ = ["ORDINAL", "Staging", "listed"]

ORDINAL = "holdfast:n"


class Staging:
    """One table, seen through the columns and key of a collection."""

    def __init__(self, connection: Connection, table: Table, schema: Schema, encoding: str) -> None:
        self.connection = connection
        self.table = table
        self.schema = schema
        self._encoding, self._arrow = ("SQL_ASCII", pa.binary()) if encoding == "SQL_ASCII" else ("UTF8", pa.string())
        self._stages: dict[tuple[str, ...], str] = {}

    def stage(self, rows: pa.RecordBatch, columns: Sequence[Column]) -> str:
        """Put these columns of the rows into a temporary table with the target's own types; returns its name for SQL.

        It is emptied at the next call with the same columns. Its column `ORDINAL` numbers the rows.
        """
        names = tuple(column.name for column in columns)
        run = self.connection.execute
        if names in self._stages:
            stage = self._stages[names]
            run(f"TRUNCATE {stage}".encode())
        else:
            own = quoted(f"holdfast stage {self.table.oid} {len(self._stages)}")
            stage = self._stages[names] = f"pg_temp.{own}"
            run(
                f"CREATE TEMP TABLE {own} ON COMMIT DROP AS SELECT {listed(names)}, 0::int AS {quoted(ORDINAL)} "
                f"FROM {self.table.sql_source} WITH NO DATA".encode()
            )
        numbers = pa.array(range(rows.num_rows), pa.int32())
        copy_in(self.connection, stage, [*names, ORDINAL], iter([as_text(rows, columns, numbers)]))
        run(f"ANALYZE {stage}".encode())
        return stage

    def records(self, statement: str, before: int = 0) -> Iterator[tuple[pa.RecordBatch, Schema, pa.RecordBatch]]:
        """The records that a statement gives in the order of `table.stored`, with the schema that fits them.

        The first `before` columns are none of theirs and come beside them as text.
        """
        stored = self.table.stored
        sql = copy_sql(statement, encoding=self._encoding)
        for batch in copied(self.connection, sql, before + len(stored), self._arrow):
            columns, arrays = [], []
            for number, column in enumerate(stored, before):
                values, kind = _decoded(batch.column(number), column)
                columns.append(Column(column.name, kind, column.declared))
                arrays.append(values)
            schema = Schema(tuple(columns), self.schema.key)
            yield pa.RecordBatch.from_arrays(arrays, schema=schema.arrow()), schema, batch.select(range(before))


def listed(names: Sequence[str], prefix: str = "") -> str:
    """Names of columns for SQL."""
    return ", ".join(prefix + quoted(name) for name in names)


def _decoded(values: pa.Array, column: TableColumn) -> tuple[pa.Array, str]:
    try:
        return decode(values, column.kind), column.kind
    except Misfit:
        return decode_mixed(values, column.kind), MIXED
