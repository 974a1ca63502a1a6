"""The rows of one table in a snapshot, as canonical batches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass

import pyarrow as pa

from holdfast.connectors._sql.views import too_long
from holdfast.connectors.postgres.catalog import Table
from holdfast.connectors.postgres.connection import Connection, quoted, translated
from holdfast.connectors.postgres.copying import copied, copy_sql, selected
from holdfast.connectors.postgres.lanes import Lanes
from holdfast.connectors.postgres.proof import Proof
from holdfast.connectors.postgres.pump import NoPump
from holdfast.connectors.postgres.values import Misfit, decode, decode_mixed
from holdfast.core.ports import Misread
from holdfast.core.records import MIXED, Collection, Schema
from holdfast.errors import Unsupported

__all__ = ["TableView"]

# Below, a process of its own costs more than it spares.
_LARGE = 16 << 20


@dataclass(frozen=True, slots=True)
class TableView:
    """The rows of one table, inside the snapshot of `lanes`.

    `order` is SQL that delivers them by canonical key at no cost, or "". `is_raw` says that text may not be UTF-8.
    """

    lanes: Lanes
    table: Table
    proof: Proof
    order: str
    is_raw: bool

    @property
    def collection(self) -> Collection:
        return Collection(self.table.collection, self.proof.schema)

    @property
    def name(self) -> str:
        return self.table.collection

    @property
    def schema(self) -> Schema:
        return self.proof.schema

    @property
    def ordered(self) -> bool:
        """Whether the server delivers the rows in the order of canonical keys without sorting them."""
        return bool(self.order)

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Every record once.

        Raises Unsupported, naming it, for a table that this user can't read whole, and for a value longer than
        `VALUE_BYTES_MAX`; Misread for a value beyond the type that its column was known to have.
        """
        if self.table.refusal:
            raise Unsupported(f"{self.name}: {self.table.refusal}", hint="then capture again")
        with translated(self.name), self.lanes.lane() as connection:
            self._refuse_long_values(connection)
            yield from self._rows(connection)

    def _rows(self, connection: Connection) -> Iterator[pa.RecordBatch]:
        encoding, arrow = ("SQL_ASCII", pa.binary()) if self.is_raw else ("UTF8", pa.string())
        sql = copy_sql(selected(self.schema.names, self.table.sql_source, self.order), encoding=encoding)
        wanted = sql, len(self.schema.columns), arrow
        if _size(connection, self.table) >= _LARGE:
            with suppress(NoPump), closing(self.lanes.pumped(*wanted)) as texts:
                yield from map(self._records, texts)
                return
        with closing(copied(connection, *wanted)) as texts:
            yield from map(self._records, texts)

    def _records(self, texts: pa.RecordBatch) -> pa.RecordBatch:
        columns = []
        for column, stored, values in zip(self.schema.columns, self.table.stored, texts.columns, strict=True):
            try:
                read = decode_mixed if column.type == MIXED else decode
                columns.append(read(values, stored.kind))
            except Misfit as error:
                if column.name in self.proof.unseen:
                    raise Misread(f"{self.name}: column {column.name}: {error}") from error
                raise Unsupported(
                    f"{self.name}: column {column.name}: {error}",
                    hint="mend the value in the source, or change the column's type there",
                ) from error
        return pa.RecordBatch.from_arrays(columns, schema=self.schema.arrow())

    def _refuse_long_values(self, connection: Connection) -> None:
        for name, longest in self.proof.too_long:
            raise too_long(self.name, name, self._first_longer(connection, name), longest)

    def _first_longer(self, connection: Connection, name: str) -> str:
        key = self.schema.key
        if not key:
            return "a record"
        size = f"octet_length({quoted(name)}{'' if self._kind(name) == 'bytes' else '::text'})"
        selected = ", ".join(f"{quoted(each)}::text" for each in key)
        found = connection.execute(
            f"SELECT {selected} FROM {self.table.sql_source} ORDER BY {size} DESC NULLS LAST LIMIT 1"
        ).fetchall()
        return ", ".join(f"{column}={value!r}" for column, value in zip(key, found[0], strict=True))

    def _kind(self, name: str) -> str:
        return next(column.kind for column in self.table.stored if column.name == name)


def _size(connection: Connection, table: Table) -> int:
    """The bytes of the table's own rows, those of its partitions and of large values too."""
    sources = "SELECT relid FROM pg_partition_tree(%s::oid)" if table.is_partitioned else "SELECT %s::oid"
    query = f"SELECT coalesce(sum(pg_table_size(part.oid)), 0) FROM ({sources}) part (oid)"
    return int(connection.execute(query.encode(), (table.oid,)).fetchall()[0][0])
