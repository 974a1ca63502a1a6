"""The table of a heartbeat, as statements."""

from __future__ import annotations

from holdfast.connectors.mysql.connection import literal, qualified, quoted, session

__all__ = ["heartbeat_statements"]


def heartbeat_statements(url: str, collection: str) -> str:
    """What makes the table, and lets the URL's user write to it."""
    place = session(url)
    table, user = qualified(place.database, collection), f"{literal(place.user)}@'%'"
    columns = "id int PRIMARY KEY, counter bigint NOT NULL, nonce varchar(40) NOT NULL, at varchar(40) NOT NULL"
    return (
        f"CREATE TABLE {table} ({columns}) ENGINE=InnoDB; GRANT SELECT, INSERT, UPDATE ON {table} TO {user}; "
        f"GRANT CREATE TEMPORARY TABLES ON {quoted(place.database)}.* TO {user}"
    )
