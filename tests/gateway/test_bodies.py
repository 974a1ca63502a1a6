"""What clients send is held within limits, of which nobody takes all."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.gateway.room import Bodies
from tests.connectors.http.raw import RawServer
from tests.gateway.inside import CONFIG, Given, Inside, inside

SMALL, LARGE = 60 << 10, 200 << 10
HEAD = b"POST /api/orders HTTP/1.1\r\nHost: shop\r\n"


async def answers(server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        await server.request(reader)
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()


def run(folder: Path, bodies: Bodies, use: Callable[[Inside], Awaitable[object]]) -> None:
    async def main() -> None:
        async with inside(folder, answers, replace(CONFIG, connections_max=40), given=Given(bodies=bodies)) as gateway:
            await use(gateway)

    asyncio.run(main())


async def begun(gateway: Inside, head: bytes, size: int, times: int) -> list[asyncio.StreamReader]:
    """So many writes of which so many bytes came, and no more."""
    readers = []
    for _ in range(times):
        reader, writer = await gateway.connect()
        writer.write(HEAD + head + b"x" * size)
        await writer.drain()
        readers.append(reader)
    return readers


async def all_taken(bodies: Bodies) -> None:
    """Until there is no room left, be it for a byte."""
    async with asyncio.timeout(3):
        while True:
            try:
                async with asyncio.timeout(0.02):
                    await bodies.take("", 1)
            except TimeoutError:
                return
            bodies.give("", 1)
            await asyncio.sleep(0.01)


async def asked_from(address: str, port: int, more: bytes = b"") -> bytes:
    """What a large write from that address gets."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(address, 0))
    writer.write(HEAD + more + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % LARGE + b"z" * LARGE)
    found = await reader.read()
    writer.close()
    return found


LENGTH = b"Content-Length: %d\r\n\r\n" % (1 << 20)
CHUNKS = b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % (1 << 20)


@pytest.mark.parametrize("head", [LENGTH, CHUNKS])
def test_who_announces_a_body_and_drips_takes_no_room(tmp_path: Path, head: bytes) -> None:
    """Others' writes, small and large, are taken beside him."""

    async def use(gateway: Inside) -> None:
        await begun(gateway, head, 3000, 10)
        for size in (SMALL, LARGE):
            assert (await gateway.ask("POST", "/api/orders", b"y" * size)).status == 201

    run(tmp_path, Bodies(1 << 20, 1 << 20), use)


@pytest.mark.parametrize("head", [LENGTH, CHUNKS])
def test_bodies_have_room_or_wait_for_it(tmp_path: Path, head: bytes) -> None:
    """Sent by length or in chunks: what there is no room for in time is refused, a small one never; when those that
    held it did not come to an end in time either, there is room again.
    """

    bodies = Bodies(1 << 20, 1 << 20, seconds=0.8)

    async def use(gateway: Inside) -> None:
        (holding,) = await begun(gateway, head, SMALL * 2, 1)
        await all_taken(bodies)
        (waiting,) = await begun(gateway, head, SMALL * 2, 1)
        asking = asyncio.create_task(gateway.ask("POST", "/api/orders", b"y" * LARGE))
        assert (await gateway.ask("POST", "/api/orders", b"y" * SMALL)).status == 201
        assert not asking.done()
        assert len(gateway.platform.heads) == 1
        first = await holding.readuntil(b"\r\n\r\n")
        assert first.startswith(b"HTTP/1.1 408 ")
        assert (await waiting.readuntil(b"\r\n\r\n")).split()[1] in (b"408", b"503")
        assert (await asking).status in (201, 503)
        assert (await gateway.ask("POST", "/api/orders", b"y" * LARGE)).status == 201

    run(tmp_path, bodies, use)


def test_one_address_has_its_share_of_room(tmp_path: Path) -> None:
    """The others have the rest; whom no room came free for in time is told to come again."""
    bodies = Bodies(8 << 20, 1 << 20, seconds=0.5)

    async def use(gateway: Inside) -> None:
        await bodies.take("127.0.0.1", 1 << 20)
        refused = await gateway.ask("POST", "/api/orders", b"y" * LARGE)
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert json.loads(refused.body)["type"] == "urn:holdfast:no-room"
        assert gateway.platform.heads == []
        assert b" 201 " in await asked_from("127.0.0.2", gateway.port)
        asking = asyncio.create_task(gateway.ask("POST", "/api/orders", b"y" * LARGE))
        await asyncio.sleep(0.1)
        bodies.give("127.0.0.1", 1 << 20)
        assert (await asking).status == 201

    run(tmp_path, bodies, use)


def test_only_so_many_bodies_wait_for_room() -> None:
    """What has come of each is in memory; when one goes, another may wait."""

    async def main() -> None:
        bodies = Bodies(1, 1)
        await bodies.take("a", 1)
        waiting = [asyncio.create_task(bodies.take("b", 1)) for _ in range(32)]
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            await bodies.take("c", 1)
        waiting.pop().cancel()
        await asyncio.sleep(0)
        waiting.append(asyncio.create_task(bodies.take("c", 1)))
        await asyncio.sleep(0)
        assert not waiting[-1].done()
        bodies.give("a", 1)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert sum(each.done() for each in waiting) == 1
        for each in waiting:
            each.cancel()

    asyncio.run(main())


def test_clients_of_a_proxy_have_a_share_each_and_the_proxy_itself_none(tmp_path: Path) -> None:
    """Whoever speaks for many is not taken for one of them."""
    bodies = Bodies(8 << 20, 1 << 20, seconds=0.5)

    async def use(gateway: Inside) -> None:
        for name in ("127.0.0.9", "10.0.0.1"):
            await bodies.take(name, 1 << 20)
        assert b" 201 " in await asked_from("127.0.0.9", gateway.port)
        assert b" 503 " in await asked_from("127.0.0.9", gateway.port, b"X-Forwarded-For: 10.0.0.1\r\n")
        assert b" 201 " in await asked_from("127.0.0.9", gateway.port, b"X-Forwarded-For: 10.0.0.2\r\n")

    run(tmp_path, bodies, use)


def test_one_address_has_half_of_the_connections(tmp_path: Path) -> None:
    """Whoever opens all that he can leaves the others theirs."""

    async def use(gateway: Inside) -> None:
        opened = [await gateway.connect() for _ in range(20)]
        assert await gateway.raw(HEAD + b"Content-Length: 0\r\n\r\n") == b""
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, local_addr=("127.0.0.2", 0))
        writer.write(HEAD + b"Connection: close\r\nContent-Length: 0\r\n\r\n")
        assert b" 201 " in await reader.read()
        writer.close()
        # 127.0.0.9 is a front: it speaks for many.
        many = [
            await asyncio.open_connection("127.0.0.1", gateway.port, local_addr=("127.0.0.9", 0)) for _ in range(19)
        ]
        assert not any(each.at_eof() for each, _ in many)
        for _, each in many:
            each.close()
        opened[0][1].close()
        await opened[0][1].wait_closed()
        while not await gateway.raw(HEAD + b"Connection: close\r\nContent-Length: 0\r\n\r\n"):
            await asyncio.sleep(0.01)

    run(tmp_path, Bodies(), use)
