"""Rows into a table by COPY, the fastest way PostgreSQL takes them.

Every value is quoted and NULL alone is not, so '' and NULL stay apart. COPY writes the values of identity columns as
given, fires no rules, and lets a partitioned table find the partition itself.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pyarrow as pa
from pyarrow import csv

from holdfast.connectors.postgres.connection import Connection, quoted
from holdfast.connectors.postgres.values import encode
from holdfast.core.records import Column

__all__ = ["ahead", "as_csv", "copy_in", "copy_in_twice"]

_Item = TypeVar("_Item")
# About what the server takes at once without a wait.
_CHUNK_BYTES = 1 << 20
_WRITING = csv.WriteOptions(include_header=False, quoting_style="all_valid", batch_size=8192)


def as_csv(rows: pa.RecordBatch, columns: Sequence[Column], *more: pa.Array) -> pa.Buffer:
    """The rows as CSV lines with these columns, and after them those of `more`."""
    texts = [encode(rows.column(column.name), column) for column in columns]
    texts += [values.cast(pa.string()) for values in more]
    sink = pa.BufferOutputStream()
    csv.write_csv(pa.RecordBatch.from_arrays(texts, names=[str(at) for at in range(len(texts))]), sink, _WRITING)
    return sink.getvalue()


def copy_in(
    connection: Connection, table: str, columns: Sequence[str], lines: Iterable[pa.Buffer], rest: str = ""
) -> int:
    """Copy CSV lines into a table, named for SQL; `rest` are more options of COPY. Returns the number of rows."""
    names = ", ".join(map(quoted, columns))
    with connection.cursor() as cursor:
        with cursor.copy(f"COPY {table} ({names}) FROM STDIN (FORMAT csv{rest})".encode()) as copy:
            for each in lines:
                whole = memoryview(each)
                for start in range(0, len(whole), _CHUNK_BYTES):
                    copy.write(whole[start : start + _CHUNK_BYTES])
        return cursor.rowcount


def copy_in_twice(
    connections: tuple[Connection, Connection],
    table: str,
    columns: Sequence[str],
    batches: Iterator[pa.RecordBatch],
    lines: Callable[[pa.RecordBatch], pa.Buffer],
) -> int:
    """Copy batches, made into CSV by `lines`, through two connections at once, each in a transaction of its own."""
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


def ahead(items: Iterator[_Item]) -> Iterator[_Item]:
    """The same items, the next one made in a thread of its own while the last one is on its way to the server."""
    end = object()
    with ThreadPoolExecutor(1, thread_name_prefix="holdfast-copy") as pool:
        future = pool.submit(next, items, end)
        while (item := future.result()) is not end:
            future = pool.submit(next, items, end)
            yield item  # type: ignore[misc]
