"""Records of a table without a key, found by row digest and occurrence number inside one transaction.

The table is read once. Temporary tables hold its digests and rowids, never its values, and may outgrow memory.
"""

from __future__ import annotations

import pyarrow as pa

from holdfast.connectors._sql.multiset import split, surplus
from holdfast.connectors.sqlite.bands import bands
from holdfast.connectors.sqlite.binding import Binding
from holdfast.connectors.sqlite.catalog import Table
from holdfast.connectors.sqlite.connection import Session, quoted
from holdfast.connectors.sqlite.keyed import KEYS, create_keys, loose_schema, read_joined
from holdfast.connectors.sqlite.projection import Projection
from holdfast.connectors.sqlite.proof import prove
from holdfast.core.canonical import decode, row_digests, slices
from holdfast.core.records import Schema
from holdfast.errors import Unsupported

__all__ = ["MultisetTable"]

_ROW_MAX = (1 << 63) - 1


class MultisetTable:
    """One table of the target. `is_gone` and `is_new` in its temporary table say what this transaction did."""

    def __init__(self, session: Session, table: Table, schema: Schema, encoding: str) -> None:
        if table.row_id is None:
            raise Unsupported(
                f"{table.name}: there is no way to name a single row, as its columns have taken all names of the rowid",
                hint="restore to a new place",
            )
        self._session = session
        self._table = table
        self._schema = schema
        self._loose = loose_schema(table, schema)
        self._encoding = encoding
        self._projection = Projection(self._loose, encoding, prefix="t.")
        self._binding = Binding(table.name, schema.columns)
        self._rows = f"temp.{quoted(f'holdfast rows of {table.name}')}"
        self._load()

    def find(self, keys: pa.Array) -> list[bool]:
        """Whether a record with each key was there at first."""
        session = self._session
        create_keys(session, ["digest", "occurrence"])
        session.run_many(f"INSERT INTO {KEYS} VALUES (?, ?)", split(keys))
        sql = (
            f"SELECT r.row IS NOT NULL FROM {KEYS} AS k LEFT JOIN {self._rows} AS r "
            "ON r.digest = k.digest AND r.occurrence = k.occurrence AND NOT r.is_new ORDER BY k.rowid"
        )
        return [bool(is_there) for (is_there,) in session.rows(sql)]

    def delete(self, keys: pa.Array, rows: pa.RecordBatch) -> None:  # noqa: ARG002
        """Delete the rows that `find` has found for these keys, by where they lie."""
        which, parameters = "digest = ? AND occurrence = ?", split(keys)
        row = f"(SELECT row FROM {self._rows} WHERE {which})"
        self._session.run_many(f"DELETE FROM {self._table.sql_name} WHERE {self._table.row_id} = {row}", parameters)
        self._session.run_many(f"UPDATE {self._rows} SET is_gone = 1 WHERE {which}", parameters)

    def insert(self, keys: pa.Array, rows: pa.RecordBatch) -> list[bytes]:
        """Write new rows and return the digests that they have in the table. Raises ValueTaken or RuleBroken."""
        columns, bound = [*map(quoted, self._schema.names)], self._binding.parameters(rows)
        placeholders = [*self._binding.placeholders]
        if self._table.integer_key:
            numbers = self._integers(rows.column(self._table.integer_key))
        else:
            numbers = self._free_numbers(rows.num_rows)
            bound = self._binding.parameters(rows, numbers)
            columns.append(str(self._table.row_id))
            placeholders.append("?")
        self._session.run_many(
            f"INSERT INTO {self._table.sql_name} ({', '.join(columns)}) VALUES ({', '.join(placeholders)})", bound
        )
        new = pa.RecordBatch.from_arrays([*split(keys).columns, numbers], names=["digest", "occurrence", "row"])
        self._session.run_many(f"INSERT INTO {self._rows} VALUES (?, ?, ?, 0, 1)", new)
        return self._written(new)

    def surplus(self) -> str | None:
        """In words why the table is not what the plan wants, though each step was done; None if it is."""
        return surplus(self._session.value, self._rows)

    def _load(self) -> None:
        session, found = self._session, f"temp.{quoted(f'holdfast found in {self._table.name}')}"
        session.run(f"CREATE TABLE {found} (digest, row)")
        proof = prove(session, self._table, self._encoding)
        projection = Projection(self._loose, self._encoding)
        for band in bands(len(self._loose.columns), proof.longest, session.file_bytes):
            sql = (
                f"SELECT {self._table.row_id}, {', '.join(projection.expressions)} "
                f"FROM {self._table.sql_name} WHERE {band.where}"
            )
            for batch in session.batches(sql, band.batch_rows):
                if batch.num_rows:
                    digests = row_digests(projection.records(batch, start=1), self._loose).cast(pa.binary())
                    entries = pa.RecordBatch.from_arrays([digests, batch.column(0)], names=["digest", "row"])
                    session.run_many(f"INSERT INTO {found} VALUES (?, ?)", entries)
        session.run(
            f"CREATE TABLE {self._rows} (digest, occurrence, row, is_gone, is_new, "
            "PRIMARY KEY (digest, occurrence)) WITHOUT ROWID"
        )
        session.run(
            f"INSERT INTO {self._rows} "
            f"SELECT digest, row_number() OVER (PARTITION BY digest ORDER BY row) - 1, row, 0, 0 FROM {found}"
        )
        session.run(f"DROP TABLE {found}")

    def _free_numbers(self, count: int) -> pa.Array:
        """Rowids above all that are taken."""
        last = self._session.value(f"SELECT max({self._table.row_id}) FROM {self._table.sql_name}") or 0
        if last > _ROW_MAX - count:
            raise Unsupported(f"{self._table.name}: its highest rowid is taken", hint="restore to a new place")
        return pa.array(range(last + 1, last + 1 + count), pa.int64())

    def _integers(self, values: pa.Array) -> pa.Array:
        if pa.types.is_int64(values.type):
            return values
        return pa.array([decode(value)[1] for value in slices(values)], pa.int64())

    def _written(self, new: pa.RecordBatch) -> list[bytes]:
        """The digest that each of these rows has in the table, in their order."""
        create_keys(self._session, ["row"])
        self._session.run_many(f"INSERT INTO {KEYS} VALUES (?)", new.select(["row"]))
        found: dict[int, bytes] = {}
        source = f"{KEYS} AS k CROSS JOIN {self._table.sql_name} AS t ON t.{self._table.row_id} = k.row"
        for numbers, records in read_joined(self._session, f"t.{self._table.row_id}", source, self._projection):
            found.update(zip(numbers, slices(row_digests(records, self._loose).cast(pa.binary())), strict=True))
        return [found.get(row, b"") for row in new.column("row").to_pylist()]
