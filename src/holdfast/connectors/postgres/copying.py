"""Rows by COPY: the server's text in blocks of whole rows, as columns of text.

In COPY's text a line is a row, whatever its values hold: line ends, tabs and backslashes in them are written as a
backslash and a sign. So a block is cut at line ends, and the rows that Arrow finds must be as many as its lines.
NULL alone is a backslash and N: '' and NULL differ.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
from psycopg import Copy, errors
from psycopg.pq import ExecStatus
from pyarrow import csv

from holdfast.connectors.postgres.connection import Connection, quoted
from holdfast.errors import HoldfastError

__all__ = ["BLOCK_BYTES", "MARK", "copied", "copy_sql", "parsed", "selected"]

BLOCK_BYTES = 4 << 20
# Arrow skips one such mark at the beginning of a text. Without it, it would skip one that belongs to a value.
MARK = b"\xef\xbb\xbf"
_PARSING = csv.ParseOptions(delimiter="\t", quote_char=False, escape_char=False, ignore_empty_lines=False)
_MEANT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
# No text of PostgreSQL's holds this character.
_NOWHERE = "\0"


def copy_sql(statement: str, *, encoding: str = "UTF8") -> str:
    """The COPY whose text `parsed` reads."""
    return f"COPY ({statement}) TO STDOUT (FORMAT text, ENCODING '{encoding}')"


def selected(columns: Sequence[str], source: str, rest: str = "") -> str:
    """The SELECT of these columns of `source`: what stands after FROM; `rest` is its WHERE and ORDER BY."""
    return f"SELECT {', '.join(map(quoted, columns))} FROM {source} {rest}"


def copied(connection: Connection, sql: str, columns: int, arrow: pa.DataType) -> Generator[pa.RecordBatch, None, None]:
    """The rows of a statement made by `copy_sql`, as batches of *columns* columns of text (`arrow`: string or binary).

    A batch holds about `BLOCK_BYTES`, more only where a single row does. It is text still: NULL is null.
    """
    with connection.cursor() as cursor, cursor.copy(sql) as copy:
        for rows in _blocks(connection, copy):
            lines, block = len(rows) - 1, b"".join(rows)
            rows.clear()
            yield parsed(block, lines, columns, arrow)


def parsed(block: bytes | memoryview, lines: int, columns: int, arrow: pa.DataType) -> pa.RecordBatch:
    """So many lines, which stand behind a `MARK`, as columns."""
    names = [str(number) for number in range(columns)]
    reading = csv.ReadOptions(column_names=names, use_threads=False, block_size=len(block) + 1)
    converting = csv.ConvertOptions(
        column_types=dict.fromkeys(names, arrow), null_values=["\\N"], strings_can_be_null=True
    )
    (batch,) = csv.read_csv(pa.BufferReader(block), reading, _PARSING, converting).to_batches()
    if batch.num_rows != lines:
        raise HoldfastError(f"PostgreSQL sent {lines} rows, and {batch.num_rows} were understood")
    return pa.RecordBatch.from_arrays([_unescaped(values) for values in batch.columns], names)


def _unescaped(values: pa.Array) -> pa.Array:
    """The values as they are in the table: what a backslash and a letter stand for in place of both."""
    if not _has_backslash(values):
        return values
    chosen = pc.fill_null(pc.match_substring(values, pattern="\\"), False)
    # In pairs from the left, so that the second of a pair is not taken for the first of something else.
    texts = pc.replace_substring(values.filter(chosen), pattern="\\\\", replacement=_NOWHERE)
    if _has_backslash(texts):
        for letter, meant in _MEANT.items():
            texts = pc.replace_substring(texts, pattern="\\" + letter, replacement=meant)
        if _has_backslash(texts):
            raise HoldfastError("PostgreSQL wrote a sign after a backslash that is not known")
    return pc.replace_with_mask(values, chosen, pc.replace_substring(texts, pattern=_NOWHERE, replacement="\\"))


def _has_backslash(values: pa.Array) -> bool:
    data = values.buffers()[2]
    # One look at all bytes at once costs a tenth of asking each value.
    return data is not None and b"\\" in data.to_pybytes()


def _blocks(connection: Connection, copy: Copy) -> Iterator[list[bytes | bytearray | memoryview]]:
    """Lines of about a block, behind a mark. What has arrived is taken from libpq: `Copy.read` costs twice as much."""
    take = connection.pgconn.get_copy_data
    rows: list[bytes | bytearray | memoryview] = [MARK]
    size = 0
    while True:
        row: bytes | bytearray | memoryview
        state, row = take(1)
        if state == 0:
            # Nothing is there yet: psycopg waits, so that it can be interrupted.
            row = copy.read()
            state = len(row)
        if state <= 0:
            break
        rows.append(row)
        size += state
        if size >= BLOCK_BYTES:
            # Whoever works on the block must not find its text in memory a second time.
            row = b""
            yield rows
            rows, size = [MARK], 0
    if state < 0:
        _raise_failure(connection)
    if size:
        yield rows


def _raise_failure(connection: Connection) -> None:
    """Take the end of the command from libpq, which has told it to us, so that psycopg won't ask how it went."""
    error = None
    while (result := connection.pgconn.get_result()) is not None:
        if result.status != ExecStatus.COMMAND_OK:
            error = errors.error_from_result(result)
    if error:
        raise error
