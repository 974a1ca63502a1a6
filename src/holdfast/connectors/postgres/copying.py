"""Rows by COPY: the server's CSV in blocks of whole rows, as columns of text.

PostgreSQL sends one message a row, so a block is cut at the ends of rows without reading it, and the rows that Arrow
finds in it must be as many as were sent. Every value is quoted, NULL alone is not: '' and NULL differ.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

import pyarrow as pa
from psycopg import Copy, errors
from psycopg.pq import ExecStatus
from pyarrow import csv

from holdfast.connectors.postgres.connection import Connection, quoted
from holdfast.errors import HoldfastError

__all__ = ["BLOCK_BYTES", "copied", "copy_sql"]

BLOCK_BYTES = 4 << 20


def copy_sql(columns: Sequence[str], source: str, rest: str = "", *, encoding: str = "UTF8") -> str:
    """The statement that reads these columns of `source`: what stands after FROM; `rest` is its WHERE and ORDER BY."""
    selected = ", ".join(map(quoted, columns))
    options = f"FORMAT csv, FORCE_QUOTE *, ENCODING '{encoding}'"
    return f"COPY (SELECT {selected} FROM {source} {rest}) TO STDOUT ({options})"


def copied(connection: Connection, sql: str, columns: int, arrow: pa.DataType) -> Generator[pa.RecordBatch, None, None]:
    """The rows of a statement made by `copy_sql`, as batches of *columns* columns of text (`arrow`: string or binary).

    A batch holds about `BLOCK_BYTES`, more only where a single row does. It is text still: NULL is null.
    """
    names = [str(number) for number in range(columns)]
    rows: list[bytes | bytearray | memoryview] = []
    size = 0
    with connection.cursor() as cursor, cursor.copy(sql) as copy:
        for row in _rows(connection, copy):
            rows.append(row)
            size += len(row)
            if size >= BLOCK_BYTES:
                # Whoever works on the batch must not find its text in memory a second and a third time.
                row = b""
                size = 0
                yield _parsed(rows, names, arrow)
        if rows:
            yield _parsed(rows, names, arrow)


def _parsed(rows: list[bytes | bytearray | memoryview], names: Sequence[str], arrow: pa.DataType) -> pa.RecordBatch:
    """The rows as columns. Takes them out of the list."""
    count = len(rows)
    block = b"".join(rows)
    rows.clear()
    reading = csv.ReadOptions(column_names=names, use_threads=False, block_size=len(block) + 1)
    parsing = csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False)
    converting = csv.ConvertOptions(
        column_types=dict.fromkeys(names, arrow),
        null_values=[""],
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    (batch,) = csv.read_csv(pa.BufferReader(block), reading, parsing, converting).to_batches()
    if batch.num_rows != count:
        raise HoldfastError(f"PostgreSQL sent {count} rows, and {batch.num_rows} were understood")
    return batch


def _rows(connection: Connection, copy: Copy) -> Iterator[bytes | bytearray | memoryview]:
    """Each row. What has arrived already is taken straight from libpq: `Copy.read` costs twice as much a row."""
    take = connection.pgconn.get_copy_data
    row: bytes | bytearray | memoryview
    while True:
        state, row = take(1)
        if state == 0:
            # Nothing is there yet: psycopg waits, so that it can be interrupted.
            row = copy.read()
        if state < 0 or not row:
            break
        yield row
        row = b""
    if state < 0:
        _raise_failure(connection)


def _raise_failure(connection: Connection) -> None:
    """Take the end of the command from libpq, which has told it to us, so that psycopg won't ask how it went."""
    error = None
    while (result := connection.pgconn.get_result()) is not None:
        if result.status != ExecStatus.COMMAND_OK:
            error = errors.error_from_result(result)
    if error:
        raise error
