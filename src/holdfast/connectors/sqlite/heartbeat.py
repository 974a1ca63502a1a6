"""The table of a heartbeat, as a statement."""

from __future__ import annotations

from holdfast.connectors.sqlite.connection import quoted

__all__ = ["heartbeat_statements"]


def heartbeat_statements(collection: str) -> str:
    """What makes the table."""
    columns = "id INTEGER PRIMARY KEY, counter INTEGER NOT NULL, nonce TEXT NOT NULL, at TEXT NOT NULL"
    return f"CREATE TABLE {quoted(collection)} ({columns})"
