"""The table of a heartbeat, as statements."""

from __future__ import annotations

from holdfast.connectors.postgres.connection import qualified, quoted, session

__all__ = ["heartbeat_statements"]


def heartbeat_statements(url: str, collection: str) -> str:
    """What makes the table, and lets the URL's user write to it."""
    schema, _, name = collection.rpartition(".")
    table, user = qualified(schema or "public", name), session(url).get("user")
    columns = "id integer PRIMARY KEY, counter bigint NOT NULL, nonce text NOT NULL, at text NOT NULL"
    who = quoted(str(user)) if user else "USER"
    return f"CREATE TABLE {table} ({columns}); GRANT SELECT, INSERT, UPDATE ON {table} TO {who}"
