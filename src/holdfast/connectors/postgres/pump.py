"""COPY through psql: a process of its own takes the rows from the server, and a pipe brings them in large pieces.

libpq gives rows one by one, and each costs Python a call and its lock: five times the CPU of a pipe, and other threads
wait meanwhile. Starting psql costs more than a small table does, so it is for large ones. It ends when nobody reads
its pipe any more, also by the death of this process.
"""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from typing import Any

import psycopg
import pyarrow as pa
from psycopg import errors

from holdfast.connectors.postgres.connection import session
from holdfast.connectors.postgres.copying import BLOCK_BYTES, MARK, parsed
from holdfast.connectors.postgres.programs import address, programs

__all__ = ["NoPump", "pumped"]

_OPTIONS = ("--no-psqlrc", "--no-password", "--quiet", "--set=ON_ERROR_STOP=1", "--set=VERBOSITY=verbose")
_SECONDS_TO_END = 5.0
_ERROR = re.compile(r"^(?:psql: )?(?:ERROR|FATAL):  ([0-9A-Z]{5}): (.*)$", re.MULTILINE)


class NoPump(Exception):
    """psql gave nothing: it is not here, could not connect, or was refused. What else reads may still do."""


def pumped(
    url: str, statements: Sequence[str], columns: int, arrow: pa.DataType
) -> Generator[pa.RecordBatch, None, None]:
    """The batches that `copied` gives, from a session of its own in which the last statement is one of `copy_sql`.

    Raises NoPump instead of the first batch; later psycopg's error for what the server says.
    """
    target, environment = address(session(url))
    commands = [f"--command={each}" for each in statements]
    try:
        process = subprocess.Popen(
            [str(_psql()), *_OPTIONS, f"--dbname={target}", *commands],
            env=environment,
            bufsize=0,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    except OSError as error:
        raise NoPump(str(error)) from error
    given = 0

    def check() -> None:
        told = process.communicate()[1].decode(errors="replace")
        if process.returncode:
            raise _failure(told) if given else NoPump(told)

    with process:
        try:
            for block, lines in _blocks(process.stdout, check):
                yield parsed(block, lines, columns, arrow)
                given += 1
        finally:
            _end(process)


def _psql() -> str:
    found = programs("psql")
    if not found:
        raise FileNotFoundError("no psql is here")
    return str(found[max(found)])


def _blocks(pipe: Any, check: Callable[[], None]) -> Iterator[tuple[memoryview, int]]:
    """Whole lines of about a block behind a mark, and how many; overwritten when the next ones are asked for.

    `check` is called when the pipe has ended, before its last lines are believed.
    """
    held, start = bytearray(MARK + bytes(BLOCK_BYTES)), len(MARK)
    filled = start
    while read := pipe.readinto(memoryview(held)[filled:]):
        filled += read
        if filled < len(held):
            continue
        end = held.rfind(b"\n", start) + 1
        if not end:
            held = held + bytes(len(held))
            continue
        yield memoryview(held)[:end], held.count(b"\n", start, end)
        rest = held[end:]
        if len(rest) < BLOCK_BYTES < len(held) - start:
            held = bytearray(MARK + bytes(BLOCK_BYTES))
        filled = start + len(rest)
        held[start:filled] = rest
    check()
    if filled > start:
        yield memoryview(held)[:filled], held.count(b"\n", start, filled)


def _failure(told: str) -> psycopg.Error:
    """What the server said, as the driver would say it."""
    if found := _ERROR.search(told):
        with suppress(KeyError):
            return errors.lookup(found[1])(found[2])
    return psycopg.OperationalError(" ".join(told.split()) or "psql ended")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Let psql ask the server to stop; it can't wait for us once nobody reads."""
    if process.poll() is None:
        if process.stdout is not None:
            process.stdout.close()
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            process.kill()
