"""Rows into a table by LOAD DATA LOCAL from memory, or by INSERT where the server takes no local data.

* A load is never believed. The server turns what it can't take into something else and calls it a warning; here every
  warning is an error, and so is any other count of rows than was sent. The error values of ENUMs, which can't go in
  without a warning, are counted.
* Only lines that were handed over are ever sent: a server that asks for a file of this machine gets none.
* A line is a row; what has a meaning in it stands behind a backslash, and NULL is a backslash and N.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pymysql
from pymysql.connections import MySQLResult
from pymysql.constants import COMMAND, ER

from holdfast.connectors.mysql.catalog import TableColumn
from holdfast.connectors.mysql.connection import Connection, quoted
from holdfast.connectors.mysql.texts import NO_LABEL, assigned, encode
from holdfast.core.records import Column

__all__ = ["Lines", "Loading", "Target", "load", "prepare_to_write"]

# Strict, but for what columns may hold already: dates that are none, and 0 in a column that counts by itself.
_MODE = "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ALLOW_INVALID_DATES,NO_AUTO_VALUE_ON_ZERO"
_SETTINGS = (
    f"SET sql_mode = '{_MODE}', sql_notes = 1, max_error_count = 64, foreign_key_checks = 0, unique_checks = 1, "
    "sql_safe_updates = 0, sql_big_selects = 1, sql_select_limit = DEFAULT "
    "/*M!101100 , system_versioning_insert_history = 1 */"
)
_PACKET_BYTES = 1 << 20
_INSERT_BYTES = 4 << 20
# The backslash first: those that stand before the others are signs of their own.
_IN_LINES = {b"\\": b"\\\\", b"\n": b"\\n", b"\t": b"\\t"}
_IN_QUOTES = {b"\\": b"\\\\", b"'": b"\\'", b"\0": b"\\0"}
_NULL = b"\\N"
_FILE = "holdfast"


@dataclass(frozen=True, slots=True)
class Target:
    """A column of records, and the column of the table that it goes into."""

    column: Column
    into: TableColumn


@dataclass(frozen=True, slots=True)
class Lines:
    """Some rows as text. `warnings` is how many the server must give for them: one for each error value of an ENUM."""

    text: pa.Buffer
    rows: int
    warnings: int


class Loading:
    """How rows go into one table, named for SQL, by which statement and as which text.

    `more` names columns of numbers that come after those of the records.
    """

    def __init__(self, connection: Connection, table: str, targets: Sequence[Target], more: Sequence[str] = ()) -> None:
        self._targets = targets
        self.is_local = _takes_local_data(connection)
        variables = [f"@c{number}" for number in range(len(targets))]
        parts, changes = [], []
        for target, variable in zip(targets, variables, strict=True):
            name = quoted(target.into.name)
            sql = assigned(target.column, target.into, variable)
            parts.append(variable if sql else name)
            if sql:
                changes.append(f"{name} = {sql}")
        names = ", ".join(quoted(name) for name in (*(target.into.name for target in targets), *more))
        parts += map(quoted, more)
        change = f" SET {', '.join(changes)}" if changes else ""
        self.load = (
            f"LOAD DATA LOCAL INFILE '{_FILE}' INTO TABLE {table} CHARACTER SET binary ({', '.join(parts)}){change}"
        )
        self.insert = f"INSERT IGNORE INTO {table} ({names}) VALUES "

    def lines(self, rows: pa.RecordBatch, *more: pa.Array) -> Iterator[Lines]:
        """The rows as text for `load`, in as many pieces as the server's statements need.

        Raises RuleBroken for a label that the table's column does not have.
        """
        if not rows.num_rows:
            # Arrow gives even a buffer without a value some bytes, of which none is a line.
            return
        half = rows.num_rows // 2
        if not self.is_local and half and rows.nbytes > _INSERT_BYTES:
            for start, count in ((0, half), (half, rows.num_rows - half)):
                yield from self.lines(rows.slice(start, count), *(values.slice(start, count) for values in more))
            return
        warnings, texts = 0, []
        for target in self._targets:
            values = encode(rows.column(target.column.name), target.column, target.into)
            if target.into.data_type == "enum":
                warnings += pc.sum(pc.equal(values, NO_LABEL)).as_py() or 0
            texts.append(values)
        texts += [values.cast(pa.string()).cast(pa.binary()) for values in more]
        joined = _joined(texts) if self.is_local else self._tuples(texts)
        yield Lines(joined.buffers()[2] or pa.py_buffer(b""), rows.num_rows, warnings)

    def _tuples(self, texts: Sequence[pa.Array]) -> pa.Array:
        """Rows as they stand after VALUES, each ended by a comma and a newline."""
        columns = []
        for number, values in enumerate(texts):
            value = pc.binary_join_element_wise(b"_binary'", _escaped(values, _IN_QUOTES), b"'", b"")
            if number < len(self._targets):
                target = self._targets[number]
                before, sign, after = assigned(target.column, target.into, "\0").encode().partition(b"\0")
                if sign:
                    pieces = [before, value]
                    while sign:
                        part, sign, after = after.partition(b"\0")
                        pieces += [part, *([value] if sign else [])]
                    value = pc.binary_join_element_wise(*pieces, b"")
            columns.append(value)
        pieces = [piece for values in columns for piece in (values, b",")]
        pieces[-1] = b"),\n"
        return pc.binary_join_element_wise(b"(", *pieces, b"", null_handling="replace", null_replacement=b"NULL")


def prepare_to_write(connection: Connection) -> None:
    """Make the session take exactly what is written, or refuse it: for whoever loads, before the first load."""
    with connection.cursor() as cursor:
        cursor.execute(_SETTINGS)


def load(connection: Connection, loading: Loading, lines: Iterable[Lines]) -> int:
    """Write rows made into text by `loading.lines`; returns how many.

    The driver's error, as if the statement had failed, if the server took any of them otherwise than as it was sent, or
    not at all: what it took meanwhile is for the caller to roll back.
    """
    return _load(connection, loading, lines) if loading.is_local else _insert(connection, loading, lines)


def _load(connection: Connection, loading: Loading, lines: Iterable[Lines]) -> int:
    sent = warnings = 0
    # The driver itself would only send files, whichever the server names.
    driver: Any = connection
    driver._execute_command(COMMAND.COM_QUERY, loading.load)
    # An error before the first line, such as a table that is not there, is raised here.
    packet = driver._read_packet()
    assert packet.is_load_local_packet(), "the server answers LOAD DATA LOCAL by asking for the data"
    try:
        for each in lines:
            sent, warnings = sent + each.rows, warnings + each.warnings
            whole = memoryview(each.text)
            for start in range(0, len(whole), _PACKET_BYTES):
                driver.write_packet(bytes(whole[start : start + _PACKET_BYTES]))
    finally:
        driver.write_packet(b"")
        answer = driver._read_packet()
    told: Any = MySQLResult(connection)
    told._read_ok_packet(answer)
    _believe(connection, (told.affected_rows or 0, told.warning_count), (sent, warnings))
    return sent


def _insert(connection: Connection, loading: Loading, lines: Iterable[Lines]) -> int:
    count = 0
    for each in lines:
        if not each.rows:
            continue
        statement = loading.insert.encode() + memoryview(each.text)[:-2]
        with connection.cursor() as cursor:
            affected = cursor.execute(statement)
            warnings = cursor.warning_count
        _believe(connection, (affected, warnings), (each.rows, each.warnings))
        count += each.rows
    return count


def _believe(connection: Connection, told: tuple[int, int], expected: tuple[int, int]) -> None:
    """Raise what the server's warnings say, unless rows and warnings are as many as were to be."""
    # The packet has two bytes for it.
    if told == (expected[0], min(expected[1], 0xFFFF)):
        return
    with connection.cursor() as cursor:
        cursor.execute("SHOW WARNINGS")
        found = [(int(number), text) for _, number, text in cursor.fetchall()]
    serious = [each for each in found if each[0] != ER.WARN_DATA_TRUNCATED] or found
    if not serious:
        raise pymysql.DataError(
            ER.WARN_DATA_TRUNCATED, f"{told[0]} of {expected[0]} rows were taken, without a warning"
        )
    # Loss of a whole row names its cause last, and that decides.
    number, text = serious[-1] if told[0] < expected[0] else serious[0]
    raise pymysql.DataError(number, text)


def _takes_local_data(connection: Connection) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@local_infile + 0")
        return int(cursor.fetchone()[0]) == 1


def _joined(texts: Sequence[pa.Array]) -> pa.Array:
    """Rows as lines; they lie one after the other in memory already."""
    pieces = [piece for values in texts for piece in (_escaped(values, _IN_LINES), b"\t")]
    pieces[-1] = b"\n"
    return pc.binary_join_element_wise(*pieces, b"", null_handling="replace", null_replacement=_NULL)


def _escaped(values: pa.Array, escapes: dict[bytes, bytes]) -> pa.Array:
    data = values.buffers()[2]
    # One look at all bytes at once costs a fraction of asking each value.
    whole = b"" if data is None else data.to_pybytes()
    for sign, escape in escapes.items():
        if sign in whole:
            values = pc.replace_substring(values, pattern=sign, replacement=escape)
    return values
