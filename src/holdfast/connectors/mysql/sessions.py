"""Sessions that read the rows of a statement as columns of bytes: the program `mariadb`, or the driver in its place."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from typing import Any, TypeAlias

import pyarrow as pa
from pymysql.cursors import SSCursor

from holdfast.connectors.mysql.connection import connect
from holdfast.connectors.mysql.pump import BLOCK_BYTES, NoPump, Pump

__all__ = ["Lane", "Session", "opened"]


class Session:
    """A session of the driver that reads as a `Pump` does, at a higher price: where the program is not here."""

    def __init__(self, url: str) -> None:
        self._connection = connect(url, raw=True)
        self.run("SET character_set_results = NULL")

    def run(self, *statements: str) -> None:
        """Carry out statements."""
        with self._connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def rows(self, statement: str, columns: int) -> Generator[pa.RecordBatch, None, None]:
        """The rows of a statement as columns of bytes, in batches of about a block."""
        names = [str(number) for number in range(columns)]
        with closing(SSCursor(self._connection)) as cursor:
            cursor.execute(statement)
            rows: list[tuple[Any, ...]] = []
            size = 0
            for row in cursor:
                rows.append(row)
                size += sum(map(len, filter(None, row)))
                if size >= BLOCK_BYTES:
                    yield _batch(rows, names)
                    rows, size = [], 0
            if rows:
                yield _batch(rows, names)

    def close(self) -> None:
        """End the session."""
        self._connection.close()


Lane: TypeAlias = Pump | Session


def opened(url: str) -> Lane:
    """A session that reads rows: the program, or the driver where the program is not here."""
    try:
        return Pump(url)
    except NoPump:
        return Session(url)


def _batch(rows: Sequence[tuple[Any, ...]], names: Sequence[str]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array(values, pa.binary()) for values in zip(*rows, strict=True)], names)
