"""Durable writes a second: the outbox, and the same disk with a commit for each write, in turn.

Both keep the same requests in SQLite with synchronous=FULL. The outbox seals them, finds double deliveries and keeps
the order of records besides; the peer only stores the bytes under their key.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from statistics import quantiles

import uvloop

from bench.report import Line
from holdfast.core.exchange import Asked
from holdfast.core.outbox import KEY_HEADER, Write
from holdfast.operations.sealing import open_sealing
from holdfast.state.outbox import OutboxFile

__all__ = ["outbox_lines"]

ROUNDS = 5
AT_ONCE = 256
_OURS, _THEIRS = 10_000, 400
_BODY_BYTES = 512
_RECORDS = 500


def outbox_lines() -> list[Line]:
    """How fast writes are made durable with 256 clients waiting, how long 99 of 100 of them wait, and with one."""
    rates: list[float] = []
    waits: list[float] = []
    alone: list[float] = []
    singles: list[float] = []
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-", dir=Path.cwd()) as name:
        folder = Path(name)
        for number in range(ROUNDS):
            rate, wait = _submitted(folder / f"many-{number}", _OURS, AT_ONCE)
            rates.append(rate)
            waits.append(wait)
            alone.append(_submitted(folder / f"one-{number}", _THEIRS, 1)[0])
            singles.append(_single(folder / f"single-{number}.db"))
    peer = "a commit each"
    return [
        Line("outage.outbox.writes-per-second", "writes/s", peer, tuple(rates), tuple(singles), more_is_better=True),
        Line("outage.outbox.one-client", "writes/s", peer, tuple(alone), tuple(singles), more_is_better=True),
        Line(
            "outage.outbox.p99-ms",
            "ms",
            "as many in turn",
            tuple(waits),
            tuple(1e3 * AT_ONCE / each for each in singles),
        ),
    ]


def _submitted(folder: Path, count: int, at_once: int) -> tuple[float, float]:
    """Writes a second, and how many milliseconds 99 of 100 took."""
    folder.mkdir()
    with closing(OutboxFile(folder, open_sealing(folder), lambda: datetime.now(UTC))) as outbox:
        waits: list[float] = []
        numbers = iter(range(count))

        async def client() -> None:
            for number in numbers:
                begun = time.perf_counter()
                await outbox.submit(_write(number), sending=False)
                waits.append(time.perf_counter() - begun)

        async def clients() -> float:
            begun = time.perf_counter()
            await asyncio.gather(*(client() for _ in range(at_once)))
            return time.perf_counter() - begun

        seconds = uvloop.run(clients())
    return count / seconds, 1e3 * quantiles(waits, n=100)[98]


def _single(path: Path) -> float:
    """Writes a second with a commit for each."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE writes (key TEXT PRIMARY KEY, body BLOB NOT NULL)")
        writes = [_write(number) for number in range(_THEIRS)]
        begun = time.perf_counter()
        for each in writes:
            connection.execute("INSERT INTO writes VALUES (?, ?)", (each.key, each.asked.body))
        return _THEIRS / (time.perf_counter() - begun)


def _write(number: int) -> Write:
    headers = (("content-type", "application/json"), (KEY_HEADER, f"key-{number}"))
    body = b'{"note": "%s"}' % os.urandom(_BODY_BYTES // 2).hex().encode()
    asked = Asked("POST", "/api/purchases", "", headers, body, "127.0.0.1")
    return Write(asked, "purchase", "client", f"customers/{number % _RECORDS}", f"key-{number}")
