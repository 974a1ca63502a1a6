"""A disk that failed once: nobody lives on with an outbox that keeps nothing any more, and it is said."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from holdfast.core.exchange import Asked
from holdfast.core.outage import GatewayConfig
from holdfast.core.outbox import Verdict, Write
from holdfast.gateway.worker import end_when_failed
from holdfast.keeping import replay_alone
from holdfast.operations.outbox import Replayer, Replaying
from holdfast.operations.sealing import open_sealing
from holdfast.state.disk import Disk
from holdfast.state.outbox import OutboxFile
from holdfast.state.outboxlanes import OutboxLanes
from tests.connectors.http.raw import RawServer
from tests.gateway.inside import ROUTES, Given, inside


class FailingDisk(Disk):
    """Fails from the commit of that number on."""

    def __init__(self, first: int) -> None:
        self._left = first - 1

    def commit(self, connection: sqlite3.Connection) -> None:
        self._left -= 1
        if self._left < 0:
            raise OSError(5, "Input/output error")
        super().commit(connection)


class Away:
    """A platform that nobody asks."""

    async def send(self, asked: Asked, seconds: float) -> None:
        raise AssertionError(f"{asked} within {seconds}")


def now() -> datetime:
    return datetime.now(UTC)


def written() -> Write:
    return Write(Asked("POST", "/api/orders", "", (), b"{}"), "buy", "ana", "ana")


async def hello(server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await server.request(reader)
    writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}")


def test_a_worker_whose_outbox_failed_ends_and_the_next_one_keeps_writes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The request at work gets its answer; the reason is said; who opens the outbox afresh keeps writes again."""

    async def work() -> None:
        async with inside(tmp_path, hello, given=Given(FailingDisk(1))) as gateway:
            writer = gateway.outbox.writer
            ending = asyncio.create_task(end_when_failed(gateway.server, lambda: writer.has_failed, 0.0))
            assert (await gateway.ask("POST", "/api/orders", b"{}")).status == 201
            async with asyncio.timeout(10):
                await ending
                while gateway.server.servers and gateway.server.servers[0].is_serving():
                    await asyncio.sleep(0.01)
            assert gateway.server.should_exit
        with closing(OutboxFile(tmp_path, open_sealing(tmp_path), now)) as outbox:
            assert (await outbox.submit(written(), sending=True)).verdict is Verdict.SEND

    asyncio.run(work())
    assert "this worker keeps no writes any more" in caplog.text


def test_a_replay_that_its_host_does_not_let_go_on_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It stops in silence otherwise: the queue only grows, and nothing says why."""
    caplog.set_level(logging.WARNING)

    async def work() -> None:
        with closing(OutboxFile(tmp_path, open_sealing(tmp_path), now, FailingDisk(2))) as outbox:
            await outbox.submit(written(), sending=False)
            routes = {each.name: each for each in ROUTES}
            config = GatewayConfig("http://127.0.0.1:1")
            stop = asyncio.Event()
            replayer = Replayer(Replaying(OutboxLanes(outbox), Away(), routes, config, lambda: True))  # type: ignore[arg-type]
            replaying = asyncio.create_task(replay_alone(replayer, stop))
            async with asyncio.timeout(10):
                while "the replay of writes: " not in caplog.text:
                    await asyncio.sleep(0.02)
            stop.set()
            await replaying

    asyncio.run(work())
    assert "outbox.db" in caplog.text
