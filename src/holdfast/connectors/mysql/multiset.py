"""Records of a table without a key, found by row digest and occurrence number inside one transaction.

* Every row is locked, and the table read once, by a second session: one that answers can't write meanwhile.
* MariaDB has no name for a row. One that is to go is found by its values, all of them and to the last bit; which of
  several equal rows goes makes no difference.
* A temporary table holds digests, never values, and may outgrow memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import pyarrow as pa

from holdfast.connectors._sql.multiset import split, surplus
from holdfast.connectors._sql.steps import changed
from holdfast.connectors.mysql.catalog import TableColumn
from holdfast.connectors.mysql.connection import Connection, quoted
from holdfast.connectors.mysql.loading import Lines, Loading, Target, load
from holdfast.connectors.mysql.references import References
from holdfast.connectors.mysql.staging import ORDINAL, Staging, listed, run
from holdfast.connectors.mysql.writes import Events, Writes
from holdfast.core.canonical import row_digests, slices
from holdfast.core.records import Column

__all__ = ["MultisetTable"]


class MultisetTable:
    """One table of the target. `is_gone` and `is_new` in its temporary table say what this transaction did.

    `reader` is a session that sees what is committed.
    """

    def __init__(self, staging: Staging, references: References, writes: Writes, reader: Connection) -> None:
        self._staging = staging
        self._writes = writes
        self._references = references
        self._connection = staging.connection
        self._rows = staging.temporary("rows")
        self._keys = staging.temporary("keys")
        self._load(reader)

    def find(self, keys: pa.Array) -> list[bool]:
        """Whether a record with each key was there at first and still is."""
        self._stage_keys(keys)
        sql = (
            f"SELECT r.digest IS NOT NULL FROM {self._keys} k LEFT JOIN {self._rows} r "
            f"ON r.digest = k.digest AND r.occurrence = k.occurrence AND NOT r.is_new ORDER BY k.{quoted(ORDINAL)}"
        )
        return [bool(is_there) for (is_there,) in run(self._connection, sql)]

    def delete(self, keys: pa.Array, rows: pa.RecordBatch) -> None:
        """Delete the rows that `find` has found for these keys."""
        self._stage_keys(keys)
        digests = [key[:32] for key in slices(keys)]
        events = self._writes if isinstance(self._writes, Events) else None
        gone = self._delete_by_events(events, rows) if events else self._delete(digests, rows)
        if gone != len(digests):
            raise changed(self._staging.table.name, f"{gone} records were found where {len(digests)} were to go")
        run(
            self._connection,
            f"UPDATE {self._rows} r JOIN {self._keys} k ON r.digest = k.digest AND r.occurrence = k.occurrence "
            "SET r.is_gone = 1",
        )

    def insert(self, keys: pa.Array, rows: pa.RecordBatch) -> list[bytes]:
        """Write new rows; returns the digests that they have in the table."""
        staging, names = self._staging, self._staging.schema.names
        stage = staging.stage(rows, staging.schema.columns)
        self._references.insert(staging.table.name, stage, staging.staged)
        if isinstance(self._writes, Events):
            digests = self._insert_by_events(self._writes, stage, [key[:32] for key in slices(keys)])
        else:
            digests = self._digests(
                f"INSERT INTO {staging.table.sql_name} ({listed(names)}) "
                f"SELECT {', '.join(map(staging.value, names))} FROM {stage} ORDER BY {quoted(ORDINAL)} "
                f"RETURNING {staging.records_sql}"
            )
        self._stage_keys(keys)
        run(self._connection, f"INSERT INTO {self._rows} SELECT digest, occurrence, 0, 1 FROM {self._keys}")
        return digests

    def _insert_by_events(self, events: Events, stage: str, digests: Sequence[bytes]) -> list[bytes]:
        """An event tells nothing of what it wrote: the table is asked for all records that are equal to these."""
        events.insert(stage)
        first = {digest: at for at, digest in reversed([*enumerate(digests)])}
        numbers = ", ".join(map(str, first.values()))
        sql = f"SELECT {self._staging.records_sql} FROM {self._joined(stage)} WHERE s.{quoted(ORDINAL)} IN ({numbers})"
        found = Counter(self._digests(sql))
        found.subtract(self._held(digests))
        return list(found.elements())

    def _digests(self, statement: str) -> list[bytes]:
        found: list[bytes] = []
        for records, schema in self._staging.records(statement):
            found += slices(row_digests(records, schema).cast(pa.binary()))
        return found

    def _delete_by_events(self, events: Events, rows: pa.RecordBatch) -> int:
        """An event that finds no row fails."""
        stage = self._staging.stage(rows, self._staging.schema.columns)
        self._references.delete(self._staging.table.name, self._joined(stage))
        events.delete_equal(stage)
        return int(rows.num_rows)

    def _delete(self, digests: Sequence[bytes], rows: pa.RecordBatch) -> int:
        """Delete rows with these digests, as many as there are of each; returns how many went."""
        going, held = Counter(digests), self._held(digests)
        first = {digest: at for at, digest in reversed([*enumerate(digests)])}
        left = {digest: held[digest] - count for digest, count in going.items()}
        # The table is read once for all of these: those of them that stay are written again.
        at_once = [digest for digest in first if left[digest] <= _AGAIN]
        numbers = pa.array([first[digest] for digest in first], pa.int64())
        places = {digest: place for place, digest in enumerate(first)}
        stage = self._staging.stage(rows.take(numbers), self._staging.schema.columns)
        joined = self._joined(stage)
        self._references.delete(self._staging.table.name, joined)
        gone = 0
        for digest in set(first).difference(at_once):
            gone += self._affected(self._delete_some(stage, places[digest], going[digest]))
        if at_once:
            chosen = ", ".join(str(places[digest]) for digest in at_once)
            gone += self._affected(f"DELETE t FROM {joined} WHERE s.{quoted(ORDINAL)} IN ({chosen})")
        again = [first[digest] for digest in at_once for _ in range(left[digest])]
        for start in range(0, len(again), _AGAIN):
            some = rows.take(pa.array(again[start : start + _AGAIN], pa.int64()))
            self._writes.insert(self._staging.stage(some, self._staging.schema.columns))
        return gone - len(again)

    def surplus(self) -> str | None:
        """In words why the table is not what the plan wants, though each step was done; None if it is."""
        return surplus(lambda sql: int(run(self._connection, sql)[0][0]), self._rows)

    def _load(self, reader: Connection) -> None:
        staging, connection = self._staging, self._connection
        # What others put in from now on is as if it came after the plan: no record of it goes.
        lock = "LOCK IN SHARE MODE" if staging.table.versioning else "FOR UPDATE"
        run(connection, f"SELECT count(*) FROM {staging.table.sql_source} {lock}")
        found = staging.temporary("found")
        run(connection, f"CREATE TEMPORARY TABLE {found} (digest binary(32)) ENGINE=InnoDB")
        loading = Loading(connection, found, [Target(_DIGEST, _column("digest", "binary"))])

        def digests() -> Iterator[Lines]:
            for records, schema in staging.records(
                f"SELECT {staging.records_sql} FROM {staging.table.sql_source}", reader
            ):
                values = row_digests(records, schema).cast(pa.binary())
                yield from loading.lines(pa.RecordBatch.from_arrays([values], names=["digest"]))

        load(connection, loading, digests())
        run(
            connection,
            f"CREATE TEMPORARY TABLE {self._rows} (KEY (digest, occurrence)) ENGINE=InnoDB AS SELECT digest, "
            "row_number() OVER (PARTITION BY digest ORDER BY digest) - 1 AS occurrence, 0 AS is_gone, 0 AS is_new "
            f"FROM {found}",
        )
        run(connection, f"DROP TEMPORARY TABLE {found}")
        run(
            connection,
            f"CREATE TEMPORARY TABLE {self._keys} (digest binary(32), occurrence bigint, "
            f"{quoted(ORDINAL)} bigint PRIMARY KEY) ENGINE=InnoDB",
        )

    def _held(self, digests: Sequence[bytes]) -> dict[bytes, int]:
        """How many rows with each of these digests the table has."""
        each = ", ".join(f"x'{digest.hex()}'" for digest in {*digests})
        sql = f"SELECT digest, count(*) FROM {self._rows} WHERE digest IN ({each}) AND NOT is_gone GROUP BY digest"
        return {bytes(digest): int(count) for digest, count in run(self._connection, sql)}

    def _stage_keys(self, keys: pa.Array) -> None:
        run(self._connection, f"DELETE FROM {self._keys}")
        targets = [Target(_DIGEST, _column("digest", "binary")), Target(_NUMBER, _column("occurrence", "bigint"))]
        loading = Loading(self._connection, self._keys, targets, [ORDINAL])
        load(self._connection, loading, loading.lines(split(keys), pa.array(range(len(keys)), pa.int64())))

    def _joined(self, stage: str) -> str:
        """A stage (s) with the rows of the table (t) that are equal to one of its own.

        Sums of rows tell which may be equal: without an index every row would be held against every other.
        """
        staging, sums = self._staging, self._staging.temporary("sums")
        staged = ", ".join(f"CRC32({staging.staged[name]})" for name in staging.schema.names)
        own = ", ".join(f"CRC32(t.{quoted(name)})" for name in staging.schema.names)
        run(self._connection, f"DROP TEMPORARY TABLE IF EXISTS {sums}")
        run(
            self._connection,
            f"CREATE TEMPORARY TABLE {sums} (KEY (sum)) ENGINE=InnoDB AS "
            f"SELECT MD5(CONCAT_WS(',', {staged})) AS sum, {quoted(ORDINAL)} AS number FROM {stage}",
        )
        same = " AND ".join(
            condition
            for name in staging.schema.names
            for condition in _same(f"t.{quoted(name)}", f"s.{staging.staged[name]}", staging.column(name))
        )
        return (
            f"{staging.table.sql_source} t STRAIGHT_JOIN {sums} x ON x.sum = MD5(CONCAT_WS(',', {own})) "
            f"STRAIGHT_JOIN {stage} s ON s.{quoted(ORDINAL)} = x.number AND {same}"
        )

    def _delete_some(self, stage: str, number: int, count: int) -> str:
        """A statement that deletes so many of the rows equal to one of the stage."""
        conditions: list[str] = []
        for name in self._staging.schema.names:
            staged = f"(SELECT {self._staging.staged[name]} FROM {stage} WHERE {quoted(ORDINAL)} = {number})"
            conditions += _same(quoted(name), staged, self._staging.column(name))
        return f"DELETE FROM {self._staging.table.sql_name} WHERE {' AND '.join(conditions)} LIMIT {count}"

    def _affected(self, statement: str) -> int:
        with self._connection.cursor() as cursor:
            return int(cursor.execute(statement))


# Of so many equal rows those that stay are written again; of more the table is read for each.
_AGAIN = 10_000
_DIGEST = Column("digest", "bytes")
_NUMBER = Column("occurrence", "int")


def _column(name: str, data_type: str) -> TableColumn:
    """A column of a temporary table of ours."""
    flags = (True, False, False, False, False)
    return TableColumn(name, 1, data_type, data_type, "", "", *flags, 32, 0, 0, 0, ())


def _same(own: str, other: str, column: TableColumn) -> Sequence[str]:
    """Conditions that two values are one and the same: by the type's own comparison, which an index may serve, and
    then by what that passes over."""
    if (
        column.kind == "bytes"
        and column.data_type not in ("binary", "varbinary")
        and not column.data_type.endswith("blob")
    ):
        # Geometries are compared by their shapes.
        return [f"CAST({own} AS BINARY) <=> CAST({other} AS BINARY)"]
    same = [f"{own} <=> {other}"]
    if column.data_type in ("enum", "set"):
        same.append(f"{own} + 0 <=> {other} + 0")
    elif column.charset:
        same.append(f"CAST({own} AS BINARY) <=> CAST({other} AS BINARY)")
    return same
