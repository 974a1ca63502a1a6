"""Which columns must be unique, as the engine says."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from holdfast.connectors.sqlite import SqliteReader
from tests.connectors.uniques import TABLES, unique_in

OTHERS = ("CREATE UNIQUE INDEX t_lower ON t (lower(tag))", "CREATE UNIQUE INDEX t_some ON t (tag) WHERE id > 5")


def test_sqlite_says_which_columns_must_be_unique(tmp_path: Path) -> None:
    """Not those of an index over an expression or over some rows."""
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        for each in (
            *TABLES,
            "CREATE UNIQUE INDEX t_lower ON t (lower(tag))",
            "CREATE UNIQUE INDEX t_some ON t (tag) WHERE id > 5",
        ):
            connection.execute(each)
    reader = SqliteReader(tmp_path / "shop.db")
    assert unique_in(reader, "t") == {("id",), ("shop", "code")}
    assert unique_in(reader, "u") == {("b",)}
