"""How many records are counted at the most: a table that has more is left out, once that is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

__all__ = ["COUNT_MAX", "COUNT_SECONDS", "count_sql", "within"]

COUNT_MAX = 200_000
COUNT_SECONDS = 10


def count_sql(source: str, number: int = 0) -> str:
    """A statement that gives its number, and how many rows a table has, or one more than are counted."""
    return f"SELECT {number}, count(*) FROM (SELECT 1 FROM {source} LIMIT {COUNT_MAX + 1}) counted"


def within(counted: Iterable[tuple[str, int]]) -> Mapping[str, int]:
    """Those that were counted to their end."""
    return {name: count for name, count in counted if count <= COUNT_MAX}
