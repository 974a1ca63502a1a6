"""A worker of the gateway within the test's own event loop, before a platform that says what the test wants."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import uvicorn

from holdfast.core.breaker import Mode, Standing
from holdfast.core.exchange import Answer, Asked, Matched, Subject
from holdfast.core.footprint import connections_each
from holdfast.core.outage import EndpointClass, GatewayConfig, Route, Settle
from holdfast.core.tally import Tally
from holdfast.gates import bound, upstream_of
from holdfast.gateway.app import Gateway
from holdfast.gateway.pages import Pages
from holdfast.gateway.parts import Parts
from holdfast.gateway.room import Bodies, Room
from holdfast.gateway.wire import Patience
from holdfast.gateway.worker import make_server
from holdfast.operations.door import GatewayDoor
from holdfast.operations.sealing import open_sealing
from holdfast.state.breakers import BreakerFiles, BreakerView
from holdfast.state.disk import Disk
from holdfast.state.outbox import OutboxFile
from tests.connectors.http.raw import RawServer, Talk, raw_server

__all__ = ["AS_OF", "CONFIG", "ROUTES", "Given", "Inside", "Reply", "inside"]

AS_OF = datetime(2026, 3, 1, 9, tzinfo=UTC)
ROUTES = (
    Route("order", "/api/orders/{id}", EndpointClass.READ_FROM_COPY, collection="orders", access="anybody"),
    Route("mine", "/api/mine", EndpointClass.READ_FROM_COPY, collection="orders", access="session"),
    Route("buy", "/api/orders", EndpointClass.QUEUE_WRITE, ("POST",), keep=("x-tenant",), settle=Settle("/x")),
    Route("note", "/api/mine", EndpointClass.QUEUE_WRITE, ("PUT",), access="session", settle=Settle("/x")),
    Route("card", "/api/card", EndpointClass.REFUSE, methods=("POST",)),
    Route("checked", "/api/checked", EndpointClass.LIVE_ONLY, expect="/ok"),
    Route("seen", "/api/seen/{id}", EndpointClass.READ_FROM_COPY, collection="orders", access="anybody", expect="/ok"),
)
CONFIG = GatewayConfig("http://127.0.0.1:1", deadline_seconds=2.0, fronts=("127.0.0.9",), languages=("en",))


class Shelf:
    """A stand-in that holds a few answers, by what was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {"/api/orders/7": b'{"id": 7}', "/api/seen/7": b'{"ok": 7}'}

    def as_of(self, collection: str) -> datetime | None:
        return AS_OF if collection == "orders" else None

    def answer(self, matched: Matched, asked: Asked, subject: Subject) -> Answer | None:
        assert subject.access in matched.route.access
        body = self.answers.get(asked.path)
        return None if body is None else Answer(200, (("content-type", matched.route.media),), body)

    async def answered(self, matched: Matched, asked: Asked, subject: Subject) -> Answer | None:
        return self.answer(matched, asked, subject)

    def version(self, collection: str, key: Mapping[str, str]) -> str | None:
        return f"{collection} {dict(key)}"

    async def versioned(self, collection: str, key: Mapping[str, str]) -> str | None:
        return self.version(collection, key)


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back over a connection."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Given:
    """What a test has instead of the usual."""

    disk: Disk | None = None
    bodies: Bodies | None = None


NOTHING = Given()


@dataclass(slots=True)
class Inside:
    """The gateway at work, and all that a test may look at."""

    port: int
    platform: RawServer
    files: BreakerFiles
    gateway: Gateway
    tally: Tally
    outbox: OutboxFile
    shelf: Shelf
    server: uvicorn.Server
    room: Room
    epoch: int = 0
    opened: list[asyncio.StreamWriter] = field(default_factory=list)

    def show(self, mode: Mode, share: int = 0) -> None:
        """The breaker moves, and the worker sees it."""
        self.epoch += 1
        self.files.show(Standing(mode, {Mode.CLOSED: 100, Mode.OPEN: 0}.get(mode, share), self.epoch))
        self.gateway.look()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection to it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.opened.append(writer)
        return reader, writer

    async def raw(self, data: bytes) -> bytes:
        """All that comes back for these bytes, until the connection ends."""
        reader, writer = await self.connect()
        writer.write(data)
        try:
            async with asyncio.timeout(10):
                return await reader.read()
        except ConnectionResetError:
            return b""

    async def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> Reply:
        """The answer to one request on a connection of its own."""
        named = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        length = f"Content-Length: {len(body)}\r\n" if body or method == "POST" else ""
        head = f"{method} {path} HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n{named}{length}\r\n"
        return read(await self.raw(head.encode() + body))


def read(data: bytes) -> Reply:
    """An answer with a length, or one that ends with its connection."""
    head, _, body = data.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    if headers.get("transfer-encoding") == "chunked":
        pieces = body.split(b"\r\n")
        body = b"".join(pieces[1::2]) if body.endswith(b"0\r\n\r\n") else b"cut off: " + body
    return Reply(int(first.split()[1]), headers, body)


@asynccontextmanager
async def inside(
    folder: Path,
    talk: Talk,
    config: GatewayConfig = CONFIG,
    patience: Patience | None = None,
    given: Given = NOTHING,
) -> AsyncIterator[Inside]:
    """A gateway whose breaker is closed, before a platform that has this talk with everyone."""
    async with AsyncExitStack() as stack:
        platform = await stack.enter_async_context(raw_server(talk))
        config = replace(config, upstream=platform.url)
        upstream = await stack.enter_async_context(upstream_of(config, ""))
        files = stack.enter_context(closing(BreakerFiles(folder)))
        files.show(Standing(Mode.CLOSED, 100, 0))
        files.beat(time.monotonic() + 3600.0, is_well=True)  # as if a keeper were at work
        view = stack.enter_context(closing(BreakerView(folder)))
        sealing = open_sealing(folder)
        door = stack.enter_context(closing(GatewayDoor(folder, config.sessions, sealing, lambda: datetime.now(UTC))))
        outbox = stack.enter_context(closing(OutboxFile(folder, sealing, lambda: datetime.now(UTC), given.disk)))
        tally, shelf, room = Tally("1", config.breaker), Shelf(), Room()
        pages = Pages(config.languages)
        gateway = Gateway(
            Parts(config, ROUTES, upstream, view, tally, outbox, shelf, door, pages, room, given.bodies or Bodies())
        )
        listening = stack.enter_context(bound(("127.0.0.1", 0)))
        server = make_server(gateway, connections_each(config), patience, config.fronts)
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        await server.ready.wait()
        found = Inside(listening.getsockname()[1], platform, files, gateway, tally, outbox, shelf, server, room)
        try:
            yield found
        finally:
            for writer in found.opened:
                writer.close()
            server.should_exit = True
            await serving
