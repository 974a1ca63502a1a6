"""A database as a probe: the first value that a query brings."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from holdfast.connectors.probes.threads import OneAtATime
from holdfast.core.health import NotWell

__all__ = ["Query", "Value", "sqlite"]


class Query(Protocol):
    """A query that can be asked again and again."""

    async def ask(self) -> Any:
        """The first value of the first row; None if there is none. Raises NotWell."""
        ...


@dataclass(frozen=True, slots=True)
class Value:
    """The first value of a query, that must be `expect` where that is given."""

    query: Query
    expect: str = ""

    async def ask(self) -> str:
        """The value as text."""
        value = await self.query.ask()
        text = "" if value is None else str(value)
        if self.expect and text != self.expect:
            raise NotWell(f"{text or 'nothing'}, not {self.expect}")
        return text


def sqlite(path: Path, query: str, seconds: float) -> Query:
    """A query to a SQLite file, which is not made if it is missing."""

    def asked() -> Any:
        place = f"{path.absolute().as_uri()}?mode=ro"
        try:
            with closing(sqlite3.connect(place, uri=True, timeout=seconds)) as connection:
                found = connection.execute(query).fetchone()
        except sqlite3.Error as err:
            raise NotWell(f"{path.name}: {err}") from err
        return found[0] if found else None

    return OneAtATime(asked)
