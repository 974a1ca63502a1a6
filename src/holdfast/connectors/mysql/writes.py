"""The two ways rows that lie in a stage get into their table: by statements, or as row events that fire no trigger."""

from __future__ import annotations

from typing import Protocol

from holdfast.connectors.mysql.connection import quoted
from holdfast.connectors.mysql.replay import Replay
from holdfast.connectors.mysql.staging import ORDINAL, Staging, listed, run
from holdfast.errors import Refused

__all__ = ["Events", "Statements", "Writes"]


class Writes(Protocol):
    """Writes what a stage holds. `match` tells the row of the table (t) that belongs to one of the stage (s)."""

    def insert(self, stage: str) -> None:
        """Write the rows of a stage."""

    def update(self, stage: str, match: str) -> None:
        """Write all columns of a stage but the key."""

    def delete(self, stage: str, match: str) -> None:
        """Delete the rows that belong to those of a stage."""


class Statements:
    """For tables without triggers."""

    def __init__(self, staging: Staging) -> None:
        self._staging = staging

    def insert(self, stage: str) -> None:
        """Write the rows of a stage in their order."""
        staging, names = self._staging, self._staging.schema.names
        values = ", ".join(map(staging.value, names))
        sql = f"INSERT INTO {staging.table.sql_name} ({listed(names)}) SELECT {values} FROM {stage}"
        run(staging.connection, f"{sql} ORDER BY {quoted(ORDINAL)}")

    def update(self, stage: str, match: str) -> None:
        """Write all columns of a stage but the key."""
        staging = self._staging
        rest = [name for name in staging.schema.names if name not in staging.schema.key]
        changes = ", ".join(f"t.{quoted(name)} = {staging.value(name, 's.')}" for name in rest)
        run(staging.connection, f"UPDATE {stage} s STRAIGHT_JOIN {staging.table.sql_name} t ON {match} SET {changes}")

    def delete(self, stage: str, match: str) -> None:
        """Delete the rows that belong to those of a stage."""
        sql = f"DELETE t FROM {stage} s STRAIGHT_JOIN {self._staging.table.sql_name} t ON {match}"
        run(self._staging.connection, sql)


class Events:
    """For tables with triggers or with a past of their own.

    The rows go through a temporary table like the target's, which has its rules and computes its generated columns.
    """

    def __init__(self, staging: Staging, replay: Replay) -> None:
        self._staging = staging
        self._replay = replay
        table = staging.table
        what = "is versioned" if table.versioning else "is partitioned" if table.is_partitioned else ""
        if not what and run(staging.connection, _UNLIKE, (table.database, table.name) * 2):
            what = "is compressed or has a full-text index, as no temporary table may,"
        self._is_plain = not what
        if replay.has_generated and what:
            raise Refused(
                f"{table.name}: it {what} and has generated columns, which can't be computed for a table that is to "
                "be written past its triggers; nothing was written",
                hint="restore to a new place",
            )

    def insert(self, stage: str) -> None:
        """Write the rows of a stage."""
        self._replay.insert(self._staging.raw(f"SELECT {self._replay.row_sql} FROM {self._image(stage)}"))

    def update(self, stage: str, match: str) -> None:
        """Write all columns of a stage."""
        before = self._rows(stage, self._staging.table.sql_source, match)
        self._replay.update(before, self._rows(stage, self._image(stage), match))

    def delete(self, stage: str, match: str) -> None:
        """Delete the rows that belong to those of a stage."""
        self._replay.delete(self._rows(stage, self._staging.table.sql_source, match))

    def delete_equal(self, stage: str) -> None:
        """Delete one row equal to each of a stage; the stage has all columns."""
        self._replay.delete(self._staging.raw(f"SELECT {self._replay.row_sql} FROM {self._image(stage)}"))

    def _rows(self, stage: str, source: str, match: str) -> list[tuple[bytes | None, ...]]:
        joined = f"{stage} s STRAIGHT_JOIN {source} t ON {match} ORDER BY s.{quoted(ORDINAL)}"
        return self._staging.raw(f"SELECT {self._replay.row_sql} FROM {joined}")

    def _image(self, stage: str) -> str:
        """A temporary table with the rows of a stage as the target's own; its name for SQL."""
        staging, names = self._staging, self._staging.schema.names
        image = staging.temporary("image")
        values = ", ".join(map(staging.value, names))
        run(staging.connection, f"DROP TEMPORARY TABLE IF EXISTS {image}")
        if self._is_plain:
            run(staging.connection, f"CREATE TEMPORARY TABLE {image} LIKE {staging.table.sql_name}")
        else:
            key = f"(KEY ({listed(staging.schema.key)}))" if staging.schema.key else ""
            sql = f"SELECT {listed(names)} FROM {staging.table.sql_name} LIMIT 0"
            run(staging.connection, f"CREATE TEMPORARY TABLE {image} {key} ENGINE=InnoDB AS {sql}")
        run(staging.connection, f"INSERT INTO {image} ({listed(names)}) SELECT {values} FROM {stage}")
        return image


_UNLIKE = """
    SELECT 1 FROM information_schema.STATISTICS
    WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s AND INDEX_TYPE = 'FULLTEXT'
    UNION SELECT 1 FROM information_schema.TABLES
    WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s
    AND (ROW_FORMAT = 'Compressed' OR CREATE_OPTIONS REGEXP 'key_block_size|row_format=compressed')
"""
