"""Records of a table without a key, found by row digest and occurrence number inside one transaction.

The table is locked against other writers and read once. A temporary table holds digests and where each row lies, never
values, and may outgrow memory.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from holdfast.connectors._sql.multiset import split, surplus
from holdfast.connectors.postgres.connection import qualified, quoted
from holdfast.connectors.postgres.loading import as_text, copy_in
from holdfast.connectors.postgres.references import References
from holdfast.connectors.postgres.staging import ORDINAL, Staging, listed
from holdfast.core.canonical import row_digests, slices
from holdfast.core.records import Column

__all__ = ["MultisetTable"]

# 32 MB of the table's own storage.
_BLOCKS = 4096
_PARTS = """
    WITH RECURSIVE part (oid) AS (
        SELECT %s::oid
        UNION ALL SELECT i.inhrelid FROM part p JOIN pg_inherits i ON i.inhparent = p.oid
            JOIN pg_class c ON c.oid = i.inhrelid AND c.relispartition)
    SELECT c.oid::bigint, n.nspname, c.relname, pg_relation_size(c.oid) / current_setting('block_size')::int + 1
    FROM part p JOIN pg_class c ON c.oid = p.oid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r'
"""
_DIGEST = Column("digest", "bytes")
_NUMBER = Column("occurrence", "int")


class MultisetTable:
    """One table of the target. `is_gone` and `is_new` in its temporary table say what this transaction did."""

    def __init__(self, staging: Staging, references: References | None) -> None:
        self._staging = staging
        self._references = references
        self._connection = staging.connection
        oid = staging.table.oid
        self._rows = f"pg_temp.{quoted(f'holdfast rows {oid}')}"
        self._keys = f"pg_temp.{quoted(f'holdfast keys {oid}')}"
        self._load()

    def find(self, keys: pa.Array) -> list[bool]:
        """Whether a record with each key was there at first and still is."""
        self._stage_keys(keys)
        sql = (
            f"SELECT r.digest IS NOT NULL FROM {self._keys} k LEFT JOIN {self._rows} r "
            f"ON r.digest = k.digest AND r.occurrence = k.occurrence AND NOT r.is_new ORDER BY k.{quoted(ORDINAL)}"
        )
        return [is_there for (is_there,) in self._connection.execute(sql.encode()).fetchall()]

    def delete(self, keys: pa.Array, rows: pa.RecordBatch) -> None:  # noqa: ARG002
        """Delete the rows that `find` has found for these keys, by where they lie."""
        self._stage_keys(keys)
        source = self._staging.table.sql_source
        which = f"{self._keys} k JOIN {self._rows} r ON r.digest = k.digest AND r.occurrence = k.occurrence"
        place = "t.ctid = r.place AND t.tableoid = r.part"
        if self._references:
            self._references.delete(self._staging.table.oid, f"{which} JOIN {source} t ON {place}")
        self._connection.execute(f"DELETE FROM {source} t USING {which} WHERE {place}".encode())
        self._connection.execute(
            f"UPDATE {self._rows} r SET is_gone = true FROM {self._keys} k "
            "WHERE r.digest = k.digest AND r.occurrence = k.occurrence".encode()
        )

    def insert(self, keys: pa.Array, rows: pa.RecordBatch) -> list[bytes]:
        """Write new rows; returns the digests that they have in the table."""
        names = listed(self._staging.schema.names)
        stage = self._staging.stage(rows, self._staging.schema.columns)
        if self._references:
            self._references.insert(self._staging.table.oid, stage)
        stored = listed([column.name for column in self._staging.table.stored], "t.")
        statement = (
            f"INSERT INTO {self._staging.table.sql_name} AS t ({names}) OVERRIDING SYSTEM VALUE "
            f"SELECT {names} FROM {stage} ORDER BY {quoted(ORDINAL)} RETURNING {stored}"
        )
        digests: list[bytes] = []
        for records, schema, _ in self._staging.records(statement):
            digests += slices(row_digests(records, schema).cast(pa.binary()))
        self._stage_keys(keys)
        self._connection.execute(
            f"INSERT INTO {self._rows} SELECT digest, occurrence, NULL, NULL, false, true FROM {self._keys}".encode()
        )
        return digests

    def surplus(self) -> str | None:
        """In words why the table is not what the plan wants, though each step was done; None if it is."""

        def count(sql: str) -> int:
            return int(self._connection.execute(sql.encode()).fetchall()[0][0])

        return surplus(count, self._rows)

    def _load(self) -> None:
        run, table = self._connection.execute, self._staging.table
        run(f"LOCK TABLE {table.sql_name} IN SHARE ROW EXCLUSIVE MODE".encode())
        found = quoted(f"holdfast found {table.oid}")
        run(f"CREATE TEMP TABLE {found} (digest bytea, place tid, part oid) ON COMMIT DROP".encode())
        stored = listed([column.name for column in table.stored])
        for part, source in self._pieces():
            # One connection can't read and write at once: a piece is read whole, and then its digests are written.
            lines = [
                as_text(
                    pa.RecordBatch.from_arrays([row_digests(records, schema).cast(pa.binary())], names=["digest"]),
                    [_DIGEST],
                    places.column(0),
                    pa.array([str(part)] * records.num_rows, pa.string()),
                )
                for records, schema, places in self._staging.records(f"SELECT ctid, {stored} FROM {source}", before=1)
            ]
            copy_in(self._connection, f"pg_temp.{found}", ["digest", "place", "part"], lines)
        run(
            f"CREATE TEMP TABLE {self._rows.removeprefix('pg_temp.')} ON COMMIT DROP AS SELECT digest, "
            "row_number() OVER (PARTITION BY digest ORDER BY part, place) - 1 AS occurrence, part, place, "
            f"false AS is_gone, false AS is_new FROM pg_temp.{found}".encode()
        )
        run(f"DROP TABLE pg_temp.{found}".encode())
        run(f"CREATE INDEX ON {self._rows} (digest, occurrence)".encode())
        run(f"ANALYZE {self._rows}".encode())
        run(
            f"CREATE TEMP TABLE {self._keys.removeprefix('pg_temp.')} (digest bytea, occurrence bigint, "
            f"{quoted(ORDINAL)} int) ON COMMIT DROP".encode()
        )

    def _pieces(self) -> list[tuple[int, str]]:
        """Each part of the table in ranges of its blocks: the part's number, and what stands after FROM."""
        found = []
        for oid, schema, name, blocks in self._connection.execute(_PARTS, (self._staging.table.oid,)).fetchall():
            for first in range(0, blocks, _BLOCKS):
                # The last piece is open, so that nothing depends on how the size was counted.
                end = f" AND ctid < '({first + _BLOCKS},0)'" if first + _BLOCKS < blocks else ""
                found.append((oid, f"ONLY {qualified(schema, name)} WHERE ctid >= '({first},0)'{end}"))
        return found

    def _stage_keys(self, keys: pa.Array) -> None:
        self._connection.execute(f"TRUNCATE {self._keys}".encode())
        lines = as_text(split(keys), _KEY_COLUMNS, pa.array(range(len(keys)), pa.int32()))
        copy_in(self._connection, self._keys, ["digest", "occurrence", ORDINAL], [lines])


_KEY_COLUMNS: Sequence[Column] = (_DIGEST, _NUMBER)
