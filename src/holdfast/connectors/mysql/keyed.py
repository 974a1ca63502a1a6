"""Records of a table with a key: found, locked and written many at a time inside one transaction.

Rows are found through a temporary table of keys and the key's own index, then told apart by canonical key bytes: an
index for which `a` is `A` finds candidates, never a wrong record.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from holdfast.connectors.mysql.connection import quoted
from holdfast.connectors.mysql.references import References
from holdfast.connectors.mysql.staging import ORDINAL, Staging
from holdfast.connectors.mysql.writes import Writes
from holdfast.core.canonical import key_bytes, row_digests, slices

__all__ = ["KeyedTable"]


class KeyedTable:
    """One keyed table of the target. `references` is told what is written: the server does not look."""

    def __init__(self, staging: Staging, references: References, writes: Writes) -> None:
        self._staging = staging
        self._writes = writes
        self._references = references
        self._name = staging.table.name
        self._match = " AND ".join(map(self._equal, staging.schema.key))

    def find(self, rows: pa.RecordBatch) -> Mapping[bytes, bytes]:
        """Lock what the table holds under the keys of these rows, in their order: digests by canonical key."""
        return self._read(self._staging.stage(rows, self._staging.schema.key_columns))

    def insert(self, rows: pa.RecordBatch) -> Mapping[bytes, bytes]:
        """Write new rows; returns the digests that they have in the table, by key."""
        stage = self._staging.stage(rows, self._staging.schema.columns)
        self._references.insert(self._name, stage, self._staging.staged)
        self._writes.insert(stage)
        return self._read(stage)

    def update(self, rows: pa.RecordBatch) -> Mapping[bytes, bytes]:
        """Write all columns but the key of rows that `find` has found; returns the digests, by key."""
        stage = self._staging.stage(rows, self._staging.schema.columns)
        self._references.update(self._name, self._joined(stage), self._staging.staged)
        self._writes.update(stage, self._match)
        return self._read(stage)

    def delete(self, rows: pa.RecordBatch) -> Mapping[bytes, bytes]:
        """Delete rows that `find` has found; returns what is there under their keys now: nothing."""
        stage = self._staging.stage(rows, self._staging.schema.key_columns)
        self._references.delete(self._name, self._joined(stage))
        self._writes.delete(stage, self._match)
        return self._read(stage)

    def _read(self, stage: str) -> Mapping[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        # The server takes no other lock on a table with its past; nobody can change what is locked so either.
        lock = "LOCK IN SHARE MODE" if self._staging.table.versioning else "FOR UPDATE"
        sql = f"SELECT {self._staging.records_sql} FROM {self._joined(stage)} ORDER BY s.{quoted(ORDINAL)} {lock}"
        for records, schema in self._staging.records(sql):
            digests = slices(row_digests(records, schema).cast(pa.binary()))
            found.update(zip(slices(key_bytes(records, schema)), digests, strict=True))
        return found

    def _joined(self, stage: str) -> str:
        """A stage (s) with the rows of the table (t) under its keys, found through the index of the key."""
        return f"{stage} s STRAIGHT_JOIN {self._staging.table.sql_source} t ON {self._match}"

    def _equal(self, name: str) -> str:
        own, staged = f"t.{quoted(name)}", f"s.{self._staging.staged[name]}"
        # As text the error value of an ENUM is the empty label.
        is_label = self._staging.column(name).data_type == "enum"
        return f"{own} = {staged}" + (f" AND {own} + 0 = {staged} + 0" if is_label else "")
