"""A write that is delivered again under its key gets the platform's own answer again, and nobody else gets it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from holdfast.core.breaker import Mode
from holdfast.core.outage import Settle
from holdfast.core.replaying import reading_back
from holdfast.state.outbox import OUTBOX_NAME
from holdfast.state.outboxlanes import OutboxLanes
from tests.connectors.http.raw import RawServer
from tests.gateway.inside import CONFIG, Inside, Reply, inside

SECRET = b"the-answer-that-was-given"


async def counting(server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A platform that knows no keys: each order that it gets is another one. It compresses if it may."""
    while True:
        head = await server.request(reader)
        body = json.dumps({"id": len(server.heads), "by": SECRET.decode()}).encode()
        coding = b"content-encoding: gzip\r\n" if b"gzip" in head else b""
        more = b"set-cookie: cart=7\r\nx-order: 1\r\ncontent-type: application/json\r\n"
        writer.write(b"HTTP/1.1 201 Made\r\ncontent-length: %d\r\n%s%s\r\n%s" % (len(body), more, coding, body))
        await writer.drain()


def run(folder: Path, use: Callable[[Inside], Awaitable[None]]) -> None:
    async def main() -> None:
        async with inside(folder, counting) as gateway:
            await use(gateway)

    asyncio.run(main())


async def bought(gateway: Inside, key: str = "k1", **headers: str) -> Reply:
    return await gateway.ask(
        "POST", "/api/orders", b'{"sku":5}', idempotency_key=key, accept_encoding="gzip", user_agent="b", **headers
    )


def test_a_write_that_was_answered_is_answered_the_same_again(tmp_path: Path) -> None:
    """The number of the order is in it, and the platform, which knows no keys, sells once; in the outage too."""

    async def use(gateway: Inside) -> None:
        first = await bought(gateway, cookie="sid=ana")
        again = await bought(gateway, cookie="sid=ana")
        gateway.show(Mode.OPEN)
        later = await bought(gateway, cookie="sid=ana")
        for each in (again, later):
            assert (each.status, each.body) == (first.status, first.body) == (201, first.body)
            assert (each.headers["x-order"], each.headers["content-type"]) == ("1", "application/json")
            assert each.headers["idempotent-replayed"] == "true"
            assert "set-cookie" not in each.headers
        assert "idempotent-replayed" not in first.headers
        assert len(gateway.platform.heads) == 1

    run(tmp_path, use)


def test_what_is_meant_for_another_tenant_is_another_write(tmp_path: Path) -> None:
    """Its route keeps the header that says whose it is: both are kept, and under one key the second one is refused."""

    async def use(gateway: Inside) -> None:
        gateway.show(Mode.OPEN)
        cookie = "sid=ana"
        north, south = [await bought(gateway, "", cookie=cookie, x_tenant=each) for each in ("north", "south")]
        assert (north.status, south.status) == (202, 202)
        assert json.loads(north.body)["receipt"] != json.loads(south.body)["receipt"]
        keyed = [(await bought(gateway, cookie=cookie, x_tenant=each)).status for each in ("north", "south", "north")]
        assert keyed == [202, 422, 202]

    run(tmp_path, use)


def test_a_redirect_is_no_proof_that_a_write_was_done(tmp_path: Path) -> None:
    """The session was over, and a shop sends its visitor to its login: signed in, he sends his order again under its
    key, and it goes to the platform instead of "Done".
    """
    answers = [b"302 Found\r\nlocation: /login\r\ncontent-length: 0", b"201 Made\r\ncontent-length: 2"]

    async def login(server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await server.request(reader)
            said = answers[min(len(server.heads), len(answers)) - 1]
            writer.write(b"HTTP/1.1 " + said + b"\r\n\r\n" + (b"{}" if b"201" in said else b""))
            await writer.drain()

    async def main() -> None:
        async with inside(tmp_path, login) as gateway:
            first = await bought(gateway, cookie="sid=ana")
            assert (first.status, first.headers["location"]) == (302, "/login")
            again = await bought(gateway, cookie="sid=ana")
            assert (again.status, again.body) == (201, b"{}")
            assert len(gateway.platform.heads) == 2

    asyncio.run(main())


def test_nobody_sees_what_was_answered_to_somebody_else(tmp_path: Path) -> None:
    """Neither who has the same key and another credential, nor who can't be told from the first; and not the disk."""

    async def use(gateway: Inside) -> None:
        first, other = await bought(gateway, cookie="sid=ana"), await bought(gateway, cookie="sid=bob")
        assert (json.loads(first.body)["id"], json.loads(other.body)["id"]) == (1, 2)
        await bought(gateway, "k2")
        stranger = await bought(gateway, "k2")
        assert json.loads(stranger.body)["fate"] == "applied"
        assert SECRET not in stranger.body
        assert len(gateway.platform.heads) == 3
        for path in tmp_path.glob(f"{OUTBOX_NAME}*"):
            assert SECRET not in path.read_bytes()

    run(tmp_path, use)


async def hanging_up(server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A platform that hangs up on the first who asks, and makes what others want."""
    await server.request(reader)
    if len(server.heads) > 1:
        writer.write(b"HTTP/1.1 201 Made\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}")
        await writer.drain()


def test_two_customers_who_chose_one_key_are_two_while_the_platform_answers_too(tmp_path: Path) -> None:
    """Where the service asks what became of a write, the order of the one would be found as that of the other, whose
    own was lost. And who delivers again with a renewed credential buys nothing twice.
    """

    async def main() -> None:
        async with inside(tmp_path, hanging_up, replace(CONFIG, service={"authorization": "Bearer ours"})) as gateway:
            statuses = [(await bought(gateway, cookie=f"sid={who}", x_tenant=who)).status for who in ("ana", "bob")]
            assert statuses == [202, 201]
            keys = [re.findall(rb"idempotency-key: (\S+)", head.lower()) for head in gateway.platform.heads]
            assert len({b"k1", *(key for each in keys for key in each)}) == 3
            (kept,) = OutboxLanes(gateway.outbox).items(None, 10)
            write = OutboxLanes(gateway.outbox).kept(kept.receipt)
            assert write is not None
            asked = reading_back(write, Settle("/orders/{key}"), {})
            assert asked.path == f"/orders/{keys[0][0].decode()}"
            renewed = await bought(gateway, cookie="sid=bobs-next", x_tenant="bob")
            assert (renewed.status, len(gateway.platform.heads)) == (202, 2)

    asyncio.run(main())
