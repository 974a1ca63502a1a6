"""Text as SQLite holds it: any bytes at all. What is valid is `text`, all else is `rawtext` with its exact bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.connectors.sqlite.bands import bands
from holdfast.connectors.sqlite.catalog import Table
from holdfast.connectors.sqlite.connection import Session, quoted
from holdfast.core.canonical import slices
from holdfast.core.records import TYPES

__all__ = ["is_utf8", "not_text", "tagged_texts"]

# concat_ws takes up to 1,000 arguments.
_COLUMNS_AT_ONCE = 500
_TEXT = bytes([TYPES["text"].tag])
_RAW = bytes([TYPES["rawtext"].tag])


def not_text(
    session: Session, table: Table, names: Sequence[str], longest: Mapping[str, int], encoding: str
) -> Iterator[str]:
    """Those of the columns, all of text, that hold a value which is not valid text in the database's encoding."""
    at_once = _COLUMNS_AT_ONCE if encoding == "UTF-8" else 1
    for start in range(0, len(names), at_once):
        group = names[start : start + at_once]
        if not _are_valid(session, table, group, longest, encoding):
            yield from (name for name in group if not _are_valid(session, table, [name], longest, encoding))


def is_utf8(values: pa.Array) -> bool:
    """Whether every text of a column is valid, whatever Arrow takes it for."""
    if _is_ascii(values):
        return True
    try:
        values.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def tagged_texts(values: pa.Array, encoding: str) -> pa.Array:
    """Texts, given as their bytes in the database, as values of a mixed column."""
    if encoding == "UTF-8" and is_utf8(values.cast(pa.string(), safe=False)):
        return pc.binary_join_element_wise(pa.scalar(_TEXT, pa.binary()), values, pa.scalar(b"", pa.binary()))
    return pa.array([_tagged(value, encoding) for value in slices(values)], pa.binary())


def _are_valid(session: Session, table: Table, names: Sequence[str], longest: Mapping[str, int], encoding: str) -> bool:
    columns = ", ".join(map(quoted, names))
    # In UTF-8, pieces joined by an ASCII character are valid together if and only if each is; SQLite would mend the
    # invalid ones of UTF-16 without a word, so those are looked at as bytes.
    sql = f"concat_ws(' ', {columns})" if encoding == "UTF-8" else f"ifnull(CAST({columns} AS BLOB), x'')"
    for band in bands(1, {name: longest.get(name, 0) for name in names}, session.file_bytes):
        for batch in session.batches(f"SELECT {sql} FROM {table.sql_name} WHERE {band.where}", band.batch_rows):
            values = batch.column(0)
            if encoding == "UTF-8":
                is_valid = is_utf8(values)
            else:
                is_valid = all(_tagged(value, encoding)[:1] == _TEXT for value in slices(values))
            if not is_valid:
                return False
    return True


def _tagged(value: bytes, encoding: str) -> bytes:
    try:
        return _TEXT + value.decode(encoding).encode()
    except UnicodeError:
        return _RAW + value


def _is_ascii(values: pa.Array) -> bool:
    """Whether all of it is ASCII, looked at as one long string: far cheaper than value by value."""
    _, offsets, data = values.buffers()
    if data is None or not len(values):
        return True
    ends = memoryview(offsets).cast("i")
    whole = struct.pack("=ii", ends[values.offset], ends[values.offset + len(values)])
    return bool(pc.string_is_ascii(pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(whole), data]))[0].as_py())
