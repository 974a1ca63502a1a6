"""A database to try a restore in: on the source's own server, under a name of its own, gone afterwards.

Needs CREATEDB. The server then holds the records twice for a while.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from holdfast.connectors.postgres.connection import connect, quoted, shown, translated

__all__ = ["scratch_database"]


@contextmanager
def scratch_database(url: str) -> Iterator[str]:
    """The URL of a database that does not exist yet; whatever is made there is dropped at the end."""
    name = f"holdfast_drill_{secrets.token_hex(8)}"
    try:
        parts = urlsplit(url)
        query = urlencode([(key, value) for key, value in parse_qsl(parts.query) if key != "dbname"])
        yield urlunsplit(parts._replace(path=f"/{name}", query=query))
    finally:
        with translated(shown(url)), connect(url) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)".encode())
