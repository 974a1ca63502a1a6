"""Rows into a table by COPY, the fastest way PostgreSQL takes them.

A line is a row; what has a meaning in COPY's text stands behind a backslash, and NULL is a backslash and N. COPY
writes the values of identity columns as given, fires no rules, and lets a partitioned table find the partition itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.connectors.postgres.connection import Connection, quoted
from holdfast.connectors.postgres.place import Place
from holdfast.connectors.postgres.values import encode
from holdfast.core.ports import View
from holdfast.core.records import Column, Schema
from holdfast.errors import Damaged

__all__ = ["as_text", "copy_all", "copy_in"]

_Item = TypeVar("_Item")
# About what the server takes at once without a wait.
_CHUNK_BYTES = 1 << 20
# The backslash first: those that stand before the others are signs of their own.
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def as_text(rows: pa.RecordBatch, columns: Sequence[Column], *more: pa.Array) -> pa.Buffer:
    """The rows as lines of COPY's text with these columns, and after them those of `more`."""
    if not rows.num_rows:
        # Arrow gives even a buffer without a value some bytes, of which none is a line.
        return pa.py_buffer(b"")
    texts = [_escaped(encode(rows.column(column.name), column)) for column in columns]
    texts += [_escaped(values.cast(pa.string())) for values in more]
    pieces = [piece for values in texts for piece in (values, "\t")]
    pieces[-1] = "\n"
    lines = pc.binary_join_element_wise(*pieces, "", null_handling="replace", null_replacement="\\N")
    # The lines lie one after the other in memory already.
    return lines.buffers()[2] or pa.py_buffer(b"")


def copy_in(
    connection: Connection, table: str, columns: Sequence[str], lines: Iterable[pa.Buffer], rest: str = ""
) -> int:
    """Copy lines of `as_text` into a table, named for SQL; returns how many. `rest` are more options of COPY."""
    names = ", ".join(map(quoted, columns))
    with connection.cursor() as cursor:
        with cursor.copy(f"COPY {table} ({names}) FROM STDIN (FORMAT text{rest})".encode()) as copy:
            for each in lines:
                whole = memoryview(each)
                for start in range(0, len(whole), _CHUNK_BYTES):
                    copy.write(whole[start : start + _CHUNK_BYTES])
        return cursor.rowcount


def copy_all(place: Place, table: str, view: View, schema: Schema, rest: str) -> int:
    """Copy all records of a view into a new table of this schema; returns how many. `rest` are more options of COPY
    through one connection alone. Raises Damaged if the server did not take as many.
    """
    count = 0

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal count
        for batch in view.batches():
            count += batch.num_rows
            yield batch

    def lines(batch: pa.RecordBatch) -> pa.Buffer:
        return as_text(batch, schema.columns)

    if place.spare is not None:
        written = _copy_in_twice((place.connection, place.spare), table, schema.names, batches(), lines)
    else:
        written = copy_in(place.connection, table, schema.names, _ahead(map(lines, batches())), rest)
    if written != count:
        raise Damaged(f"{view.name}: {count} records went in, and {written} were taken; nothing was written")
    return count


def _copy_in_twice(
    connections: tuple[Connection, Connection],
    table: str,
    columns: Sequence[str],
    batches: Iterator[pa.RecordBatch],
    lines: Callable[[pa.RecordBatch], pa.Buffer],
) -> int:
    """Copy batches, made into text by `lines`, through two connections at once, each in a transaction of its own."""
    lock, end, stop = threading.Lock(), object(), threading.Event()

    def pulled() -> Iterator[pa.Buffer]:
        while not stop.is_set():
            with lock:
                batch = next(batches, end)
            if batch is end:
                return
            yield lines(batch)

    def copy(connection: Connection) -> int:
        try:
            return copy_in(connection, table, columns, pulled())
        except BaseException:
            # What the other one has copied goes with the database.
            stop.set()
            raise

    with ThreadPoolExecutor(1, thread_name_prefix="holdfast-copy") as pool:
        second = pool.submit(copy, connections[1])
        return copy(connections[0]) + second.result()


def _ahead(items: Iterator[_Item]) -> Iterator[_Item]:
    """The same items, the next one made in a thread of its own while the last one is on its way to the server."""
    end = object()
    with ThreadPoolExecutor(1, thread_name_prefix="holdfast-copy") as pool:
        future = pool.submit(next, items, end)
        while (item := future.result()) is not end:
            future = pool.submit(next, items, end)
            yield item  # type: ignore[misc]


def _escaped(values: pa.Array) -> pa.Array:
    data = values.buffers()[2]
    # One look at all bytes at once costs a fraction of asking each value.
    whole = b"" if data is None else data.to_pybytes()
    for sign, escape in _ESCAPES.items():
        if sign.encode() in whole:
            values = pc.replace_substring(values, pattern=sign, replacement=escape)
    return values
