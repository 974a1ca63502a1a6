"""Records of a table with a key: found, locked and written many at a time inside one transaction.

Rows are found through a temporary table of keys and the key's own index, then told apart by canonical key bytes: an
index for which 1.0 is 1.00 finds candidates, never a wrong record.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from holdfast.connectors.postgres.connection import quoted
from holdfast.connectors.postgres.references import References
from holdfast.connectors.postgres.staging import ORDINAL, Staging, listed
from holdfast.core.canonical import key_bytes, row_digests, slices

__all__ = ["KeyedTable"]

_EQUALITY = """
    SELECT i.indexrelid, a.attname, format('OPERATOR(%%I.%%s)', n.nspname, o.oprname)
    FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey::int2[], i.indclass::oid[]) AS k (number, class)
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
        JOIN pg_opclass c ON c.oid = k.class
        JOIN pg_amop m ON m.amopfamily = c.opcfamily AND m.amopstrategy = 3
            AND m.amoplefttype = c.opcintype AND m.amoprighttype = c.opcintype
        JOIN pg_operator o ON o.oid = m.amopopr JOIN pg_namespace n ON n.oid = o.oprnamespace
    WHERE i.indrelid = %s AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
"""


class KeyedTable:
    """One keyed table of the target. `references` is told what is written, where PostgreSQL does not look itself."""

    def __init__(self, staging: Staging, references: References | None) -> None:
        self._staging = staging
        self._references = references
        table, schema = staging.table, staging.schema
        self._oid = table.oid
        self._own = listed([column.name for column in table.stored], "t.")
        self._rest = [name for name in schema.names if name not in schema.key]
        # PostgreSQL lets nobody update such a column, but takes it in a new row.
        self._is_fixed = any(column.identity == "a" and column.name in self._rest for column in table.columns)
        self._match = self._equal()

    def find(self, rows: pa.RecordBatch) -> Mapping[bytes, bytes]:
        """Lock what the table holds under the keys of these rows, in their order: digests by canonical key."""
        stage = self._staging.stage(rows, self._staging.schema.key_columns)
        return self._read(
            f"SELECT {self._own} FROM {stage} s JOIN {self._staging.table.sql_source} t ON {self._match} "
            f"ORDER BY s.{quoted(ORDINAL)} FOR UPDATE OF t"
        )

    def insert(self, rows: pa.RecordBatch) -> Mapping[bytes, bytes]:
        """Write new rows; returns the digests that they have in the table, by key."""
        stage = self._stage_all(rows)
        if self._references:
            self._references.insert(self._oid, stage)
        return self._insert_from(stage)

    def update(self, rows: pa.RecordBatch) -> Mapping[bytes, bytes]:
        """Write all columns but the key of rows that `find` has found; returns the digests, by key."""
        stage, source = self._stage_all(rows), self._staging.table.sql_source
        if self._references:
            self._references.update(self._oid, f"{stage} s JOIN {source} t ON {self._match}")
        if self._is_fixed:
            self._staging.connection.execute(f"DELETE FROM {source} t USING {stage} s WHERE {self._match}".encode())
            return self._insert_from(stage)
        changes = ", ".join(f"{quoted(name)} = s.{quoted(name)}" for name in self._rest)
        return self._read(f"UPDATE {source} t SET {changes} FROM {stage} s WHERE {self._match} RETURNING {self._own}")

    def delete(self, rows: pa.RecordBatch) -> Mapping[bytes, bytes]:
        """Delete rows that `find` has found; returns what is there under no key any more: nothing."""
        stage, source = self._staging.stage(rows, self._staging.schema.key_columns), self._staging.table.sql_source
        if self._references:
            self._references.delete(self._oid, f"{stage} s JOIN {source} t ON {self._match}")
        self._staging.connection.execute(f"DELETE FROM {source} t USING {stage} s WHERE {self._match}".encode())
        return {}

    def _stage_all(self, rows: pa.RecordBatch) -> str:
        return self._staging.stage(rows, self._staging.schema.columns)

    def _insert_from(self, stage: str) -> Mapping[bytes, bytes]:
        names = listed(self._staging.schema.names)
        return self._read(
            f"INSERT INTO {self._staging.table.sql_name} AS t ({names}) OVERRIDING SYSTEM VALUE "
            f"SELECT {names} FROM {stage} ORDER BY {quoted(ORDINAL)} RETURNING {self._own}"
        )

    def _read(self, statement: str) -> Mapping[bytes, bytes]:
        found: dict[bytes, bytes] = {}
        for records, schema, _ in self._staging.records(statement):
            digests = slices(row_digests(records, schema).cast(pa.binary()))
            found.update(zip(slices(key_bytes(records, schema)), digests, strict=True))
        return found

    def _equal(self) -> str:
        """A condition that a row of the table (t) has the key of a staged row (s), by the key's own index."""
        key = self._staging.schema.key
        indexes: dict[int, dict[str, str]] = {}
        for index, name, operator in self._staging.connection.execute(_EQUALITY, (self._oid,)).fetchall():
            indexes.setdefault(index, {})[name] = operator
        operators = next((each for each in indexes.values() if set(each) == set(key)), {})
        return " AND ".join(
            f"t.{quoted(name)} {operators.get(name, 'OPERATOR(pg_catalog.=)')} s.{quoted(name)}" for name in key
        )
