"""Records of a table with a key, found and written many at a time inside one transaction.

Rows are found through a temporary table of keys and the table's own unique index, then told apart by canonical key
bytes: an index that ignores case or takes 1 for 1.0 finds candidates, never a wrong record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa

from holdfast.connectors.sqlite.bands import BATCH_BYTES, BATCH_ROWS, total_length
from holdfast.connectors.sqlite.binding import Binding
from holdfast.connectors.sqlite.catalog import Table
from holdfast.connectors.sqlite.connection import Session, quoted
from holdfast.connectors.sqlite.projection import Projection
from holdfast.core.canonical import key_bytes, row_digests, slices
from holdfast.core.records import MIXED, Column, Schema
from holdfast.errors import Unsupported

__all__ = ["KEYS", "KeyedTable", "create_keys", "loose_schema", "read_joined"]

KEYS = 'temp."holdfast keys"'


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
        self._row_ids: dict[bytes, int] = {}

    def find(self, rows: pa.RecordBatch) -> Mapping[bytes, bytes]:
        """Digests of what the table holds now under the keys of these rows, by canonical key."""
        session, names = self._session, [f"k{number}" for number in range(len(self._schema.key))]
        create_keys(session, names)
        values = ", ".join(self._key.placeholders)
        session.run_many(f"INSERT INTO {KEYS} VALUES ({values})", self._key.parameters(rows))
        row = f"t.{self._table.row_id}" if self._table.row_id else "0"
        match = self._match([f"k.{name}" for name in names], "t.")
        source = f"{KEYS} AS k CROSS JOIN {self._table.sql_name} AS t ON {match}"
        found: dict[bytes, bytes] = {}
        self._row_ids = {}
        for numbers, records in read_joined(session, row, source, self._projection):
            keys = slices(key_bytes(records, self._loose))
            found.update(zip(keys, slices(row_digests(records, self._loose).cast(pa.binary())), strict=True))
            self._row_ids.update(zip(keys, numbers, strict=True))
        return found

    def insert(self, rows: pa.RecordBatch) -> Mapping[bytes, bytes]:
        """Write new rows; returns the digests that they have in the table, by key. Raises ValueTaken or RuleBroken."""
        self._session.run_many(
            f"INSERT INTO {self._table.sql_name} ({_listed(self._schema.columns)}) "
            f"VALUES ({', '.join(self._all.placeholders)})",
            self._all.parameters(rows),
        )
        return self.find(rows)

    def update(self, rows: pa.RecordBatch) -> Mapping[bytes, bytes]:
        """Write all columns but the key of rows that the last `find` has found; returns the digests, by key.

        Raises ValueTaken or RuleBroken.
        """
        if self._rest:
            rest = Binding(self._table.name, self._rest)
            pairs = zip(self._rest, rest.placeholders, strict=True)
            changes = ", ".join(f"{quoted(column.name)} = {value}" for column, value in pairs)
            where, which = self._which(rows)
            sql = f"UPDATE {self._table.sql_name} SET {changes} WHERE {where}"
            self._session.run_many(sql, rest.parameters(rows, *which))
        return self.find(rows)

    def delete(self, rows: pa.RecordBatch) -> Mapping[bytes, bytes]:
        """Delete rows that the last `find` has found; returns what is there under their keys now: nothing."""
        where, which = self._which(rows)
        sql = f"DELETE FROM {self._table.sql_name} WHERE {where}"
        self._session.run_many(sql, Binding(self._table.name, ()).parameters(rows, *which))
        return self.find(rows)

    def _which(self, rows: pa.RecordBatch) -> tuple[str, Sequence[pa.Array]]:
        """A condition that names one row, and its parameters."""
        if self._table.row_id:
            keys = slices(key_bytes(rows, self._schema))
            return f"{self._table.row_id} = ?", [pa.array([self._row_ids[key] for key in keys], pa.int64())]
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
