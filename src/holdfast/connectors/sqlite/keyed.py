"""Records of a table with a key, found and written many at a time inside one transaction.

Rows are found through a temporary table of keys and the table's own unique index, then told apart by canonical key
bytes: an index that ignores case or takes 1 for 1.0 finds candidates, never a wrong record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import pyarrow as pa

from holdfast.connectors.sqlite.bands import BATCH_BYTES, BATCH_ROWS, total_length
from holdfast.connectors.sqlite.binding import Binding
from holdfast.connectors.sqlite.catalog import Table
from holdfast.connectors.sqlite.connection import Session, quoted
from holdfast.connectors.sqlite.projection import Projection
from holdfast.core.canonical import key_bytes, row_digests, slices
from holdfast.core.records import MIXED, Column, Schema
from holdfast.errors import Unsupported

__all__ = ["KEYS", "Found", "KeyedTable", "create_keys", "loose_schema", "read_joined"]

KEYS = 'temp."holdfast keys"'


class Found(NamedTuple):
    """The record that a key has now: its digest, and its rowid where the table has one."""

    digest: bytes
    row: int


class KeyedTable:
    """One table of the target, seen through the key and columns of a collection."""

    def __init__(self, session: Session, table: Table, schema: Schema, encoding: str) -> None:
        self._session = session
        self._table = table
        self._schema = schema
        self._loose = loose_schema(table, schema)
        self._projection = Projection(self._loose, encoding, prefix="t.")
        self._key = Binding(table.name, schema.key_columns)
        self._all = Binding(table.name, schema.columns)
        self._rest = [column for column in schema.columns if column.name not in schema.key]
        self._index = next((each for each in table.unique if set(each.columns) == set(schema.key)), None)
        if table.row_id is None and self._index is None:
            raise Unsupported(
                f"{table.name}: there is no way to name a single row, as its columns have taken all names of the rowid",
                hint="restore to a new place",
            )

    def find(self, rows: pa.RecordBatch) -> Mapping[bytes, Found]:
        """What the table holds now under the keys of these rows, by canonical key."""
        session, names = self._session, [f"k{number}" for number in range(len(self._schema.key))]
        create_keys(session, names)
        values = ", ".join(self._key.placeholders)
        session.run_many(f"INSERT INTO {KEYS} VALUES ({values})", self._key.parameters(rows))
        row = f"t.{self._table.row_id}" if self._table.row_id else "0"
        match = self._match([f"k.{name}" for name in names], "t.")
        source = f"{KEYS} AS k CROSS JOIN {self._table.sql_name} AS t ON {match}"
        found: dict[bytes, Found] = {}
        for numbers, records in read_joined(session, row, source, self._projection):
            digests = slices(row_digests(records, self._loose).cast(pa.binary()))
            found.update(zip(slices(key_bytes(records, self._loose)), map(Found, digests, numbers), strict=True))
        return found

    def insert(self, rows: pa.RecordBatch) -> None:
        """Write new rows. Raises ValueTaken or RuleBroken."""
        self._session.run_many(
            f"INSERT INTO {self._table.sql_name} ({_listed(self._schema.columns)}) "
            f"VALUES ({', '.join(self._all.placeholders)})",
            self._all.parameters(rows),
        )

    def update(self, rows: pa.RecordBatch, found: Sequence[Found]) -> None:
        """Write all columns but the key of rows that `find` has found. Raises ValueTaken or RuleBroken."""
        if self._rest:
            rest = Binding(self._table.name, self._rest)
            pairs = zip(self._rest, rest.placeholders, strict=True)
            changes = ", ".join(f"{quoted(column.name)} = {value}" for column, value in pairs)
            where, which = self._which(rows, found)
            sql = f"UPDATE {self._table.sql_name} SET {changes} WHERE {where}"
            self._session.run_many(sql, rest.parameters(rows, *which))

    def delete(self, rows: pa.RecordBatch, found: Sequence[Found]) -> None:
        """Delete rows that `find` has found."""
        where, which = self._which(rows, found)
        sql = f"DELETE FROM {self._table.sql_name} WHERE {where}"
        self._session.run_many(sql, Binding(self._table.name, ()).parameters(rows, *which))

    def _which(self, rows: pa.RecordBatch, found: Sequence[Found]) -> tuple[str, Sequence[pa.Array]]:
        """A condition that names one row, and its parameters."""
        if self._table.row_id:
            return f"{self._table.row_id} = ?", [pa.array([each.row for each in found], pa.int64())]
        return self._match(self._key.placeholders, ""), self._key.parameters(rows).columns

    def _match(self, keys: Sequence[str], prefix: str) -> str:
        """A condition that a row has a key, in the collations of the index that makes it unique."""
        collations: Mapping[str, str] = {}
        if self._index is not None and not (self._table.integer_key and self._schema.key == (self._table.integer_key,)):
            collations = dict(zip(self._index.columns, self._index.collations, strict=True))
        return " AND ".join(
            f"{prefix}{quoted(name)} = {key} COLLATE {quoted(collations.get(name, 'BINARY'))}"
            for name, key in zip(self._schema.key, keys, strict=True)
        )


def create_keys(session: Session, names: Sequence[str]) -> None:
    """Make the temporary table `KEYS` anew, with columns that leave every value as it is."""
    session.run(f"DROP TABLE IF EXISTS {KEYS}")
    session.run(f"CREATE TABLE {KEYS} ({', '.join(names)})")


def read_joined(
    session: Session, row: str, source: str, projection: Projection
) -> Iterator[tuple[list[int], pa.RecordBatch]]:
    """Rows of a join in which the table is `t`: the number that `row` gives, and the records."""
    batch_rows = BATCH_ROWS
    if session.file_bytes > BATCH_BYTES:
        length = total_length([f"t.{quoted(name)}" for name in projection.names])
        longest = session.value(f"SELECT max({length}) FROM {source}") or 0
        batch_rows = max(1, min(BATCH_ROWS, BATCH_BYTES // (longest + 16 * len(projection.names))))
    sql = f"SELECT {row}, {', '.join(projection.expressions)} FROM {source}"
    for batch in session.batches(sql, batch_rows):
        if batch.num_rows:
            yield batch.column(0).to_pylist(), projection.records(batch, start=1)


def loose_schema(table: Table, schema: Schema) -> Schema:
    """The schema with every column mixed that can hold anything but integers: reads whatever is there."""
    integers = {column.name for column in table.columns if column.proven == "integer"}
    columns = [Column(each.name, "int" if each.name in integers else MIXED, each.declared) for each in schema.columns]
    return Schema(tuple(columns), schema.key)


def _listed(columns: Sequence[Column]) -> str:
    return ", ".join(quoted(column.name) for column in columns)
