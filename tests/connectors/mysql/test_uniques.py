"""Which columns must be unique, as the engine says."""

from __future__ import annotations

from holdfast.connectors.mysql.reader import MysqlReader
from tests.connectors.uniques import TABLES, unique_in
from tests.mariadb_server import Database


def test_mariadb_says_which_columns_must_be_unique(mariadb: Database) -> None:
    """Not those of which only the beginning must be."""
    mariadb.run(*TABLES)
    mariadb.run("CREATE UNIQUE INDEX t_begin ON t (tag(3))")
    reader = MysqlReader(mariadb.url)
    assert unique_in(reader, "t") == {("id",), ("shop", "code")}
    assert unique_in(reader, "u") == {("b",)}
