"""What a source says of itself rises while it goes on, and shows when another or an older one stands in its place."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from holdfast.connectors.sqlite import SqliteReader
from holdfast.core.doors import Identified
from holdfast.errors import Absent
from tests.connectors.counted import MANY, counts_its_own_moment, counts_what_is_few
from tests.connectors.standing import fallen, marks


def change(path: Path, *statements: str) -> None:
    """Write to a SQLite file as its owner does."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for each in statements:
            connection.execute(each)


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_a_sqlite_file_that_an_older_copy_replaced_has_counters_that_fell(tmp_path: Path, journal: str) -> None:
    """Rows, definitions and VACUUM raise them; the older copy, and a table emptied with its counter, lower them."""
    path, copy = tmp_path / "shop.db", tmp_path / "older.db"
    change(path, f"PRAGMA journal_mode={journal}", "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, v)")
    change(path, "INSERT INTO t (v) VALUES (1), (2)")
    older = marks(SqliteReader(path))
    shutil.copy(path, copy)
    change(path, "INSERT INTO t (v) VALUES (3)", "CREATE INDEX i ON t (v)", "DELETE FROM t", "VACUUM")
    newer = marks(SqliteReader(path))
    assert fallen(older, newer) == set()
    assert all(newer.counters[name] > value for name, value in older.counters.items())
    change(path, "DELETE FROM sqlite_sequence")
    assert fallen(newer, marks(SqliteReader(path))) == {"sequence:t"}
    shutil.copy(copy, path)
    assert fallen(newer, marks(SqliteReader(path))) == {"sequence:t", "schema version", "change counter"}


def test_a_read_of_the_change_counter_leaves_a_snapshot_its_locks(tmp_path: Path) -> None:
    """An owner who commits must wait for the snapshot still, or it would be torn."""
    path = tmp_path / "shop.db"
    change(path, "CREATE TABLE t (id INTEGER PRIMARY KEY)")
    with SqliteReader(path).snapshot() as snapshot:
        assert isinstance(snapshot, Identified)
        assert snapshot.marks().counters["change counter"] == 1
        # Locks hold between processes.
        writes = f"import sqlite3; sqlite3.connect({str(path)!r}, timeout=0).execute('BEGIN EXCLUSIVE')"
        owner = subprocess.run([sys.executable, "-c", writes], capture_output=True, text=True, check=False)
        assert "locked" in owner.stderr


def test_a_sqlite_file_that_is_gone_or_emptied_is_absent_and_not_without_tables(tmp_path: Path) -> None:
    """A new file of no bytes may be a database yet to be; one that had collections was emptied."""
    path = tmp_path / "shop.db"
    with pytest.raises(Absent), SqliteReader(path).snapshot():
        pass
    change(path, "CREATE TABLE t (id INTEGER PRIMARY KEY)")
    with SqliteReader(path).snapshot() as snapshot:
        known = {"t": snapshot.collection("t").schema}
    path.write_bytes(b"")
    with SqliteReader(path).snapshot() as snapshot:
        assert "t" not in snapshot.names
    with pytest.raises(Absent, match="empty"), SqliteReader(path).snapshot(known):
        pass


def test_what_is_few_is_counted(tmp_path: Path) -> None:
    """Bounded: of more nobody knows how many they are."""
    path = tmp_path / "shop.db"
    change(path, *(f"CREATE TABLE {name} (id)" for name in ("few", "most", "many")))
    series = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {}) SELECT i FROM n"
    for name, rows in (("few", 3), ("most", MANY - 1), ("many", MANY)):
        change(path, f"INSERT INTO {name} {series.format(rows)}")
    counts_what_is_few(SqliteReader(path))
    change(path, "PRAGMA journal_mode=wal")
    # Another process, for locks hold between them only.
    delete = f"import sqlite3; c = sqlite3.connect({str(path)!r}); c.execute('DELETE FROM few'); c.commit()"
    command = [sys.executable, "-c", delete]
    counts_its_own_moment(SqliteReader(path), lambda: subprocess.run(command, check=True) and None)
