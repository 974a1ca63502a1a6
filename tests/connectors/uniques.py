"""What every snapshot is asked of columns that must be unique."""

from __future__ import annotations

from holdfast.core.doors import Unique
from holdfast.core.ports import Reader

__all__ = ["TABLES", "unique_in"]

# Beginnings of texts, expressions and some rows are rules that no columns tell; engines differ in which they know.
TABLES = (
    "CREATE TABLE t (id int PRIMARY KEY, shop int NOT NULL, code varchar(20), tag varchar(20), UNIQUE (shop, code))",
    "CREATE INDEX t_tag ON t (tag)",
    "CREATE TABLE u (a int, b int)",
    "CREATE UNIQUE INDEX u_b ON u (b)",
)


def unique_in(reader: Reader, table: str) -> set[tuple[str, ...]]:
    """The columns of each rule of a table."""
    with reader.snapshot() as snapshot:
        assert isinstance(snapshot, Unique)
        found = {name.rpartition(".")[2]: rules for name, rules in snapshot.uniques().items()}
    return set(found.get(table, ()))
