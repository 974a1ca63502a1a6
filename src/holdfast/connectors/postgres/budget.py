"""What the server keeps of its log for a slot, and how much more it will keep before it gives the slot up."""

from __future__ import annotations

from holdfast.connectors.postgres.connection import Connection, translated
from holdfast.connectors.postgres.position import lsn_number
from holdfast.connectors.postgres.slot import inspect_slot
from holdfast.core.feed import Kept

__all__ = ["kept_for"]

_RISKS = {
    "unreserved": "it grew past max_slot_wal_keep_size, and the next checkpoint may remove it",
    "lost": "it grew past max_slot_wal_keep_size, and was removed",
}
_LIMIT = b"""
SELECT pg_catalog.pg_current_wal_lsn()::text,
    (SELECT setting::bigint FROM pg_catalog.pg_settings WHERE name = 'max_slot_wal_keep_size')
"""


def kept_for(connection: Connection, name: str, confirmed: int) -> Kept | None:
    """What is kept for the slot, counted from what is confirmed; None if the server has no such slot."""
    slot = inspect_slot(connection, name)
    if slot is None:
        return None
    with translated(f"slot {name}"):
        row = connection.execute(_LIMIT).fetchone()
    assert row
    end, megabytes = lsn_number(row[0]), row[1]
    budget = None if megabytes < 0 else megabytes << 20
    left = None if slot.safe_bytes is None else max(0, slot.safe_bytes)
    return Kept(max(0, end - confirmed), budget, left, _RISKS.get(slot.wal_status, ""))
