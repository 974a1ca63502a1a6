"""A query to PostgreSQL as a probe."""

from __future__ import annotations

from typing import Any

import psycopg

from holdfast.core.health import NotWell

__all__ = ["Postgres"]


class Postgres:
    """A query to PostgreSQL, read-only, on a connection of its own."""

    def __init__(self, url: str, query: str) -> None:
        self._url = url
        self._query = query

    async def ask(self) -> Any:
        """The first value of the first row; None if there is none."""
        try:
            connection = await psycopg.AsyncConnection.connect(self._url, autocommit=False)
            try:
                await connection.set_read_only(True)
                found = await (await connection.execute(self._query.encode())).fetchone()
            finally:
                await connection.close()
        except psycopg.Error as err:
            raise NotWell(_first_line(err)) from err
        return found[0] if found else None


def _first_line(err: Exception) -> str:
    return (str(err).strip().splitlines() or [type(err).__name__])[0][:300]
