"""The rows of one table in a snapshot, as canonical batches."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import NoReturn

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.connectors._sql.views import VALUE_BYTES_MAX, too_long
from holdfast.connectors.mysql.catalog import Table, TableColumn
from holdfast.connectors.mysql.charsets import Charsets
from holdfast.connectors.mysql.connection import quoted, translated
from holdfast.connectors.mysql.lanes import Lanes
from holdfast.connectors.mysql.projection import Projection
from holdfast.connectors.mysql.proof import Proof
from holdfast.connectors.mysql.pump import BLOCK_BYTES
from holdfast.connectors.mysql.sessions import Lane
from holdfast.connectors.mysql.values import Misfit, decode, decode_mixed
from holdfast.core.canonical import decode as plain
from holdfast.core.ports import Misread
from holdfast.core.records import MIXED, Collection, Schema
from holdfast.errors import Unreachable, Unsupported

__all__ = ["TableView"]


@dataclass(frozen=True, slots=True)
class TableView:
    """The rows of one table, inside the snapshot of `lanes`.

    `order` is SQL that delivers them by canonical key at no cost, or "". `not_covered` says what is not of its moment.
    """

    lanes: Lanes
    table: Table
    proof: Proof
    charsets: Charsets
    order: str
    not_covered: Sequence[str] = ()

    @property
    def collection(self) -> Collection:
        return Collection(self.table.collection, self.proof.schema, self.not_covered)

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
        for name in self.proof.unnamed:
            raise Unsupported(
                f"{self.name}: column {name} has labels that the server's catalog can't tell: characters beyond U+FFFF",
                hint="rename those labels in the source",
            )
        with translated(self.name):
            self._refuse_long_values()
            for values in self._rows():
                yield self._records(values)

    def _rows(self) -> Iterator[Sequence[pa.Array]]:
        """The columns as the server sent them, in batches."""
        held = self.lanes.held
        if self.name in held.kept:
            yield from held.kept[self.name]
        elif self.name in held.late:
            with self.lanes.later() as lane:
                yield from self._read(lane)
        else:
            with self.lanes.lane() as lane, closing(self._read(lane)) as rows:
                begun, size = [], 0
                for values in rows:
                    begun.append(values)
                    size += sum(each.nbytes for each in values)
                    del values
                    if size > BLOCK_BYTES:
                        while begun:
                            yield begun.pop(0)
                        yield from rows
                        return
            # All of a small table is here already: it needs no session any more.
            yield from begun

    def _read(self, lane: Lane) -> Generator[Sequence[pa.Array], None, None]:
        projection = Projection(self.table.stored)
        with closing(lane.rows(projection.sql(self.table.sql_source, self.order), projection.width)) as rows:
            yield from map(projection.values, rows)

    def _records(self, values: Sequence[pa.Array]) -> pa.RecordBatch:
        columns = []
        for column, stored, each in zip(self.schema.columns, self.table.stored, values, strict=True):
            try:
                read = decode_mixed if column.type == MIXED else decode
                columns.append(read(each, stored, self.charsets))
            except Misfit as error:
                self._raise_misfit(column.name, error)
        batch = pa.RecordBatch.from_arrays(columns, schema=self.schema.arrow())
        for stored, each in zip(self.table.stored, values, strict=True):
            if each.nbytes > VALUE_BYTES_MAX:
                self._refuse_long_value(stored, each, batch)
        return batch

    def _raise_misfit(self, name: str, error: Misfit) -> NoReturn:
        told = f"{self.name}: column {name}: {error}"
        if name in self.proof.unseen:
            raise Misread(told) from error
        if self.name in self.lanes.held.late:
            raise Unreachable(f"{told}; it was written while it was read", hint="it is safe to try again") from error
        raise Unsupported(told, hint="mend the value in the source, or change the column's type there") from error

    def _refuse_long_values(self) -> None:
        """What the proof has found, before anything is read."""
        for name, longest in self.proof.too_long:
            where = "a record"
            if self.schema.key:
                keys = ", ".join(map(quoted, self.schema.key))
                longer = f"OCTET_LENGTH({quoted(name)}) = {longest}"
                with self.lanes.questions() as connection, connection.cursor() as cursor:
                    cursor.execute(f"SELECT {keys} FROM {self.table.sql_source} WHERE {longer} LIMIT 1")
                    found = cursor.fetchall()
                where = _where(self.schema.key, found[0] if found else ())
            raise too_long(self.name, name, where, longest)

    def _refuse_long_value(self, column: TableColumn, values: pa.Array, batch: pa.RecordBatch) -> None:
        """What nobody looked for."""
        lengths = pc.binary_length(values)
        longest = pc.max(lengths).as_py() or 0
        if longest > VALUE_BYTES_MAX:
            at = pc.index(lengths, pa.scalar(longest, lengths.type)).as_py()
            key = [batch.column(name)[at].as_py() for name in self.schema.key]
            told = [plain(v)[1] if c.type == MIXED else v for c, v in zip(self.schema.key_columns, key, strict=True)]
            raise too_long(self.name, column.name, _where(self.schema.key, told), longest)


def _where(key: Iterable[str], values: Iterable[object]) -> str:
    return ", ".join(f"{column}={str(value)!r}" for column, value in zip(key, values, strict=False)) or "a record"
