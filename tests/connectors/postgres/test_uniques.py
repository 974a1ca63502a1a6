"""Which columns must be unique, as the engine says."""

from __future__ import annotations

from holdfast.connectors.postgres.reader import PostgresReader
from tests.connectors.uniques import TABLES, unique_in
from tests.postgres_server import Database


def test_postgres_says_which_columns_must_be_unique(postgres: Database) -> None:
    """Not those of an index over an expression or over some rows, and not what an index only carries along."""
    postgres.run(*TABLES)
    postgres.run(
        "CREATE UNIQUE INDEX t_lower ON t (lower(tag))",
        "CREATE UNIQUE INDEX t_some ON t (tag) WHERE id > 5",
        "CREATE UNIQUE INDEX t_more ON t (code) INCLUDE (tag)",
    )
    reader = PostgresReader(postgres.url)
    assert unique_in(reader, "t") >= {("shop", "code"), ("code",)}
    assert unique_in(reader, "t") <= {("id",), ("shop", "code"), ("code",)}
    assert unique_in(reader, "u") == {("b",)}
