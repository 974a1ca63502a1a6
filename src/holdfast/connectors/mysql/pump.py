"""Rows through the program `mariadb`: a process of its own takes them from the server, a pipe brings them in blocks.

* One process is one session: it takes statements one after the other, so it can begin a transaction at a moment and
  read from it later. It never connects again by itself, for that would be another moment.
* The program writes a line a row; a tab, a line end, a zero byte and a backslash in a value as a backslash and a sign.
  A carriage return it leaves as it is: for Arrow that ends a row, so it is written like the others before it is parsed.
* NULL is the word NULL. Whoever selects values that may be that word tells NULL otherwise: see `projection`.
* A result has ended when a row of our own, that nobody can guess, comes after it. Anything else is a failure.
"""

from __future__ import annotations

import fcntl
import re
import secrets
import subprocess
from collections.abc import Generator, Iterator
from contextlib import suppress
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.compute as pc
import pymysql
from pyarrow import csv
from pymysql.constants import CR

from holdfast.connectors.mysql.connection import SETTINGS, session
from holdfast.connectors.mysql.programs import command
from holdfast.errors import HoldfastError

__all__ = ["BLOCK_BYTES", "NoPump", "Pump", "parsed"]

BLOCK_BYTES = 4 << 20
# Arrow skips one such mark at the beginning of a text. Without it, it would skip one that belongs to a value.
_MARK = b"\xef\xbb\xbf"
_OPTIONS = (
    "--batch", "--quick", "--skip-column-names", "--unbuffered", "--skip-reconnect", "--max-allowed-packet=1G",
    "--connect-timeout=10",
)  # fmt: skip
_PARSING = csv.ParseOptions(delimiter="\t", quote_char=False, escape_char=False, ignore_empty_lines=False)
# No text of the program's holds a tab within a value, so one can stand for a backslash until all else is done.
_MEANT = {"n": b"\n", "r": b"\r", "0": b"\0"}
_SWAPPED = bytes.maketrans(b"\t\\", b"\\\t")
_ERROR = re.compile(r"^ERROR (\d+) \([0-9A-Z]{5}\)(?: at line \d+)?: (.*)$", re.MULTILINE)
_PIPE_BYTES = 1 << 20
# Arrow's reader and its functions on text would hold ten copies of one huge value at a time.
_HUGE = 4 * BLOCK_BYTES


class NoPump(Exception):
    """The program is not here, or gave no session. What else reads may still do."""


class Pump:
    """A session of the program `mariadb`. One statement at a time; ends with this process at the latest."""

    def __init__(self, url: str) -> None:
        try:
            arguments, environment = command("mariadb", url)
            self._process = subprocess.Popen(
                [*arguments, *_OPTIONS, f"--database={session(url).database}"],
                env=environment,
                bufsize=0,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as error:
            raise NoPump(str(error)) from error
        assert self._process.stdout is not None
        self._pipe: Any = self._process.stdout
        with suppress(OSError, AttributeError):
            fcntl.fcntl(self._pipe.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._end, self._rest, self._held = b"", b"", _space()
        try:
            self.run(SETTINGS, "SET character_set_results = NULL")
        except pymysql.MySQLError as error:
            self.close()
            raise NoPump(str(error)) from error

    def run(self, *statements: str) -> None:
        """Carry out statements without names or values in them, and wait until all are done; their rows are dropped."""
        self._send("".join(f"{each};\n" for each in statements))
        for _ in self._rows():
            pass

    def rows(self, statement: str, columns: int) -> Generator[pa.RecordBatch, None, None]:
        """The rows of a statement as columns of bytes, in batches of about a block. Raises pymysql's errors.

        Whoever leaves in the middle leaves the rest to whoever asks next, who passes over it.
        """
        # In hexadecimal the program finds nothing in a statement that it would take for its own.
        text = f"SET @holdfast = CONVERT(x'{statement.encode().hex()}' USING utf8mb4);\n"
        self._send(f"{text}PREPARE holdfast FROM @holdfast;\nEXECUTE holdfast;\n")
        for block, lines in self._rows():
            batch = parsed(block, lines, columns)
            # Its memory can't grow while anybody looks at it.
            del block
            yield batch
            del batch

    def close(self) -> None:
        """End the session, whatever it is doing."""
        self._process.kill()
        self._process.communicate()

    def _send(self, statements: str) -> None:
        if self._process.returncode is not None:
            raise pymysql.OperationalError(CR.CR_SERVER_GONE_ERROR, "the session has ended before")
        if self._end:
            for _ in self._rows():
                pass
        token = secrets.token_hex(16)
        self._end = f"{token}\n".encode()
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{statements}SELECT '{token}';\n".encode())
        except BrokenPipeError:
            self._fail()

    def _rows(self) -> Iterator[tuple[memoryview, int]]:
        """Whole rows of about a block behind a mark, and how many; overwritten when the next ones are asked for."""
        held, start = self._held, len(_MARK)
        filled = start + len(self._rest)
        held[start:filled] = self._rest
        while not self._has_ended(held, start, filled):
            end = held.rfind(b"\n", start) + 1 if filled == len(held) else 0
            if end:
                # If nobody asks for more, this is where the rest begins.
                self._rest = bytes(held[end:])
                yield memoryview(held)[:end], held.count(b"\n", start, end)
                if len(self._rest) < BLOCK_BYTES < len(held) - start:
                    held = self._held = _space()
                filled = start + len(self._rest)
                held[start:filled] = self._rest
            elif filled == len(held):
                held.extend(bytes(len(held) // 2))
            read = self._pipe.readinto(memoryview(held)[filled:])
            if not read:
                self._fail()
            filled += read
        filled -= len(self._end)
        self._end, self._rest = b"", b""
        if filled > start:
            yield memoryview(held)[:filled], held.count(b"\n", start, filled)

    def _has_ended(self, held: bytearray, start: int, filled: int) -> bool:
        is_alone = filled - start == len(self._end)
        return held.endswith(self._end if is_alone else b"\n" + self._end, start, filled)

    def _fail(self) -> NoReturn:
        """Raise what the server said, as the driver would: the program writes it last of all."""
        told = self._process.communicate()[1].decode(errors="replace")
        self._end = b""
        if found := _ERROR.search(told):
            raise pymysql.OperationalError(int(found[1]), found[2])
        raise pymysql.OperationalError(0, " ".join(told.split()) or "the program mariadb ended")


def _space() -> bytearray:
    """Room for a block behind a mark."""
    return bytearray(_MARK + bytes(BLOCK_BYTES))


def parsed(block: memoryview, lines: int, columns: int) -> pa.RecordBatch:
    """So many rows, which stand behind a mark, as columns of bytes. The word NULL is null."""
    if len(block) > _HUGE:
        return _parsed_singly(block, columns)
    text = bytes(block)
    if b"\r" in text:
        # A backslash of the data is always two, so this one can't be taken for one of them.
        text = text.replace(b"\r", b"\\r")
    names = [str(number) for number in range(columns)]
    reading = csv.ReadOptions(column_names=names, use_threads=False, block_size=len(text) + 1)
    converting = csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.binary()), null_values=["NULL"], strings_can_be_null=True
    )
    (batch,) = csv.read_csv(pa.BufferReader(text), reading, _PARSING, converting).to_batches()
    if batch.num_rows != lines:
        raise HoldfastError(f"MariaDB sent {lines} rows, and {batch.num_rows} were understood")
    return pa.RecordBatch.from_arrays([_unescaped(values) for values in batch.columns], names)


def _parsed_singly(block: memoryview, columns: int) -> pa.RecordBatch:
    """The same, value by value, with as few copies of each as can be: there are few rows in so long a block."""
    found: list[list[bytes | None]] = [[] for _ in range(columns)]
    start = len(_MARK)
    # The memory that is looked at: to search it needs no copy.
    data: Any = block.obj
    while start < len(block):
        for number, column in enumerate(found):
            end = data.find(b"\n" if number == columns - 1 else b"\t", start)
            value = bytes(block[start:end])
            column.append(None if value == b"NULL" else _unescaped_value(value))
            start = end + 1
    return pa.RecordBatch.from_arrays([pa.array(each, pa.binary()) for each in found], list(map(str, range(columns))))


def _unescaped_value(value: bytes) -> bytes:
    if b"\\" not in value:
        return value
    value = value.replace(b"\\\\", b"\t")
    for letter, meant in _MEANT.items():
        value = value.replace(b"\\" + letter.encode(), meant)
    return value.replace(b"\\t", b"\\").translate(_SWAPPED)


def _unescaped(values: pa.Array) -> pa.Array:
    """The values as they are in the table: what a backslash and a sign stand for in place of both."""
    if not _has_backslash(values):
        return values
    chosen = pc.fill_null(pc.match_substring(values, pattern=b"\\"), False)
    # In pairs from the left, so that the second of a pair is not taken for the first of something else.
    texts = pc.replace_substring(values.filter(chosen), pattern=b"\\\\", replacement=b"\t")
    if _has_backslash(texts):
        for letter, meant in _MEANT.items():
            texts = pc.replace_substring(texts, pattern=b"\\" + letter.encode(), replacement=meant)
        # What a backslash still stands before is a tab: the backslash alone stays, to change places with the tabs.
        texts = pc.replace_substring(texts, pattern=b"\\t", replacement=b"\\")
    validity, ends, data = texts.buffers()
    body = pa.py_buffer(data.to_pybytes().translate(_SWAPPED))
    texts = pa.Array.from_buffers(pa.binary(), len(texts), [validity, ends, body], offset=texts.offset)
    return pc.replace_with_mask(values, chosen, texts)


def _has_backslash(values: pa.Array) -> bool:
    data = values.buffers()[2]
    # One look at all bytes at once costs a tenth of asking each value.
    return data is not None and b"\\" in data.to_pybytes()
