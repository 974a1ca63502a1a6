"""How a table is read in pieces that fit into memory, though the driver counts rows and not bytes.

One batch of `batch_rows` rows must stay under `BATCH_BYTES` even if each row is as long as the longest. Where a few
long rows would make every batch tiny, rows are read in bands of similar length, a scan for each band.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from holdfast.connectors.sqlite.connection import quoted

__all__ = ["BATCH_BYTES", "BATCH_ROWS", "Band", "bands", "total_length"]

BATCH_BYTES = 24 << 20
# Larger batches read no faster: they outgrow the processor's cache.
BATCH_ROWS = 16_384
_FEW_ROWS = 512
_LIMITS = (4 << 10, 256 << 10)


@dataclass(frozen=True, slots=True)
class Band:
    """Rows of similar length: a condition on them, and how many fit into a batch."""

    where: str
    batch_rows: int


def bands(columns: int, longest: Mapping[str, int], stored_bytes: int) -> tuple[Band, ...]:
    """Bands that together hold each row once. `longest` has the longest value of each column of text or bytes.

    `stored_bytes` is the size of the whole database: nothing in it can be longer.
    """
    fixed = 16 * columns
    widest = fixed + sum(longest.values())
    batch_rows = _fitting(widest)
    if batch_rows >= _FEW_ROWS or stored_bytes <= BATCH_BYTES:
        return (Band("1", max(batch_rows, _FEW_ROWS)),)
    length = total_length([quoted(name) for name in longest])
    edges = [limit for limit in _LIMITS if limit < widest]
    uppers = [*edges, widest]
    return tuple(
        Band(_between(length, lower, upper if upper != widest else None), _fitting(fixed + upper))
        for lower, upper in zip([None, *edges], uppers, strict=True)
    )


def total_length(columns: Sequence[str]) -> str:
    """SQL for the bytes of a row in these columns, in brackets by halves: SQLite allows only so deep an expression."""
    if len(columns) > 1:
        middle = len(columns) // 2
        return f"({total_length(columns[:middle])} + {total_length(columns[middle:])})"
    return f"ifnull(octet_length({columns[0]}), 0)" if columns else "0"


def _fitting(row_bytes: int) -> int:
    return max(1, min(BATCH_ROWS, BATCH_BYTES // max(1, row_bytes)))


def _between(length: str, lower: int | None, upper: int | None) -> str:
    parts = [f"{length} > {lower}"] * (lower is not None) + [f"{length} <= {upper}"] * (upper is not None)
    return " AND ".join(parts)
