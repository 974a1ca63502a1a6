"""What may come in: requests that can be read in two ways, too large, or too slow are not let in."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from holdfast.core.breaker import Mode
from holdfast.gateway.wire import Patience
from tests.connectors.http.raw import RawServer
from tests.gateway.inside import Inside, inside

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HOST = b"Host: shop\r\n"


async def answers(server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    for _ in range(1000):
        await server.request(reader)
        writer.write(OK)
        await writer.drain()


def run(folder: Path, use: Callable[[Inside], Awaitable[object]], patience: Patience | None = None) -> None:
    async def main() -> None:
        async with inside(folder, answers, patience=patience) as gateway:
            await use(gateway)

    asyncio.run(main())


def statuses(data: bytes) -> list[int]:
    return [int(each) for each in re.findall(rb"HTTP/1\.1 (\d{3})", data)]


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: shop\r\n\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
REFUSED = {
    "length and chunks": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 4\r\n" + CHUNKED + b"\r\n0\r\n\r\n",
    "chunks and length": b"POST / HTTP/1.1\r\n" + HOST + CHUNKED + b"Content-Length: 4\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\nContent-Length: 44\r\n\r\n",
    "two equal lengths": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 0\r\nContent-Length: 0\r\n\r\n",
    "a list of lengths": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 0, 44\r\n\r\n",
    "a length with a sign": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: +0\r\n\r\n",
    "a length below zero": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n",
    "a length in hex": b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 0x0\r\n\r\n",
    "two codings": b"POST / HTTP/1.1\r\n" + HOST + CHUNKED + CHUNKED + b"\r\n0\r\n\r\n",
    "another coding": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a coding that is none": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: xchunked\r\n\r\n",
    "identity": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: identity\r\n\r\n",
    "a coding with a tab": b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding:\x0bchunked\r\n\r\n0\r\n\r\n",
    "chunks in 1.0": b"POST / HTTP/1.0\r\n" + HOST + CHUNKED + b"\r\n0\r\n\r\n",
    "a space before the colon": b"GET / HTTP/1.1\r\nHost: shop\r\nContent-Length : 0\r\n\r\n",
    "a folded line": b"GET / HTTP/1.1\r\nHost: shop\r\nX: a\r\n b\r\n\r\n",
    "a folded coding": b"POST / HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "a bare line feed": b"GET / HTTP/1.1\nHost: shop\n\n",
    "a bare line feed in the head": b"GET / HTTP/1.1\r\nHost: shop\nX: y\r\n\r\n",
    "a bare carriage return": b"GET / HTTP/1.1\r\nHost: shop\r\nX: a\rb\r\n\r\n",
    "a NUL in a value": b"GET / HTTP/1.1\r\nHost: shop\r\nX: a\x00b\r\n\r\n",
    "a NUL in a name": b"GET / HTTP/1.1\r\nHost: shop\r\nX\x00: b\r\n\r\n",
    "a header without a name": b"GET / HTTP/1.1\r\nHost: shop\r\n: b\r\n\r\n",
    "a header without a colon": b"GET / HTTP/1.1\r\nHost: shop\r\nnonsense\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\nX: y\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: shop\r\nHost: other\r\n\r\n",
    "an odd host": b"GET / HTTP/1.1\r\nHost: shop/@other\r\n\r\n",
    "an absolute form": b"GET http://other/x HTTP/1.1\r\nHost: shop\r\n\r\n",
    "an asterisk": b"OPTIONS * HTTP/1.1\r\nHost: shop\r\n\r\n",
    "a tunnel": b"CONNECT other:443 HTTP/1.1\r\nHost: other:443\r\n\r\n",
    "a trace": b"TRACE / HTTP/1.1\r\nHost: shop\r\n\r\n",
    "a web socket": b"GET / HTTP/1.1\r\nHost: shop\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    "an upgrade with a body": b"POST / HTTP/1.1\r\nHost: shop\r\nConnection: upgrade\r\nUpgrade: h2c\r\n"
    b"Content-Length: 44\r\n\r\n",
    "dot segments": b"GET /a/../b HTTP/1.1\r\nHost: shop\r\n\r\n",
    "hidden dot segments": b"GET /a/%2e%2E/b HTTP/1.1\r\nHost: shop\r\n\r\n",
    "a hidden NUL": b"GET /a%00b HTTP/1.1\r\nHost: shop\r\n\r\n",
    "a backslash": b"GET /a\\..\\b HTTP/1.1\r\nHost: shop\r\n\r\n",
    "a space in the path": b"GET /a b HTTP/1.1\r\nHost: shop\r\n\r\n",
    "a fragment": b"GET /a#b HTTP/1.1\r\nHost: shop\r\n\r\n",
    "bytes beyond ASCII": b"GET /\xc3\xbc HTTP/1.1\r\nHost: shop\r\n\r\n",
    "another version": b"GET / HTTP/1.2\r\nHost: shop\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "an unknown method": b"STEAL / HTTP/1.1\r\nHost: shop\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\nHost: shop\r\n" + b"X: y\r\n" * 101 + b"\r\n",
    "a large header": b"GET / HTTP/1.1\r\nHost: shop\r\nX: " + b"y" * 33_000 + b"\r\n\r\n",
    "a large target": b"GET /" + b"y" * 33_000 + b" HTTP/1.1\r\nHost: shop\r\n\r\n",
    "a head without end": b"GET / HTTP/1.1\r\nHost: shop\r\n" + b"X: y\r\n" * 20_000,
}


def test_what_can_be_read_in_two_ways_is_refused_and_ends_the_connection(tmp_path: Path) -> None:
    """The platform sees nothing of it, nor of what was hidden behind it."""

    async def use(gateway: Inside) -> None:
        found = {name: statuses(await gateway.raw(data + SMUGGLED)) for name, data in REFUSED.items()}
        assert {
            name: each for name, each in found.items() if len(each) > 1 or not set(each) < set(range(400, 600))
        } == {}
        assert sum(map(len, found.values())) > len(REFUSED) // 2
        assert gateway.platform.heads == []

    run(tmp_path, use)


CHUNKS = (
    *(b"5\nhello\r\n0\r\n\r\n", b"5 \r\nhello\r\n0\r\n\r\n", b"+5\r\nhello\r\n0\r\n\r\n", b"-1\r\n\r\n"),
    *(b"0x5\r\nhello\r\n0\r\n\r\n", b"ffffffffffffffffff\r\nhello\r\n0\r\n\r\n", b"5\r\nhello0\r\n\r\n"),
    *(b"5\r\nhelloXX0\r\n\r\n", b"\r\n5\r\nhello\r\n0\r\n\r\n"),
)


def test_chunks_that_are_none_are_no_body(tmp_path: Path) -> None:
    """The platform never gets a whole request made of them, nor what comes after."""

    async def use(gateway: Inside) -> None:
        head = b"POST /a HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n"
        for body in CHUNKS:
            await gateway.raw(head + body + SMUGGLED)
        assert gateway.platform.bodies == []
        assert not any(b"smuggled" in head for head in gateway.platform.heads)

    run(tmp_path, use)


def test_plain_requests_pass_one_after_the_other(tmp_path: Path) -> None:
    """Several on one connection, at once or not, each answered in turn."""

    async def use(gateway: Inside) -> None:
        one = b"GET /a HTTP/1.1\r\nHost: shop\r\n\r\n"
        body = b"POST /b HTTP/1.1\r\nHost: shop\r\nContent-Length: 2\r\n\r\nhi"
        chunked = b"PUT /c HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nhi\r\n0\r\n\r\n"
        last = b"GET /d HTTP/1.1\r\nHost: [::1]:80\r\nConnection: close\r\n\r\n"
        found = await gateway.raw(one + body + chunked + last + SMUGGLED)
        assert statuses(found) == [200, 200, 200, 200]
        assert [head.split()[1] for head in gateway.platform.heads] == [b"/a", b"/b", b"/c", b"/d"]
        assert gateway.platform.bodies == [b"", b"hi", b"2\r\nhi\r\n0\r\n\r\n", b""]

    run(tmp_path, use)


def test_what_follows_a_body_in_chunks_is_no_part_of_the_head(tmp_path: Path) -> None:
    """A host or a credential that comes after the head was judged does not count, and is not passed on."""

    async def use(gateway: Inside) -> None:
        head = b"POST /a HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        trailers = b"Host: other\r\nAuthorization: Basic x\r\nX-Last: y\r\n\r\n"
        assert statuses(await gateway.raw(head + b"2\r\nhi\r\n0\r\n" + trailers)) == [200]
        (told,) = gateway.platform.heads
        assert not any(each in told.lower() for each in (b"other", b"authorization", b"x-last"))
        assert gateway.platform.bodies == [b"2\r\nhi\r\n0\r\n\r\n"]

    run(tmp_path, use)


def test_an_offer_of_another_protocol_is_passed_over(tmp_path: Path) -> None:
    """Some clients offer HTTP/2 with every first request: they are answered in what they speak now, once."""

    async def use(gateway: Inside) -> None:
        offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
        found = await gateway.raw(b"GET /a HTTP/1.1\r\nHost: shop\r\n" + offer + b"\r\n" + SMUGGLED)
        assert statuses(found) == [200]
        assert len(gateway.platform.heads) == 1
        assert b"upgrade" not in gateway.platform.heads[0].lower()
        assert b"http2" not in gateway.platform.heads[0].lower()

    run(tmp_path, use)


def test_an_answer_never_gets_into_another_ones_place(tmp_path: Path) -> None:
    """What is wrong behind a request that is at work is not answered before it, and ends the connection after it."""

    async def use(gateway: Inside) -> None:
        found = await gateway.raw(b"GET /a HTTP/1.1\r\nHost: shop\r\n\r\nNONSENSE\r\n\r\n")
        assert statuses(found) == [200]
        assert found.endswith(b"ok")

    run(tmp_path, use)


def test_who_asks_without_waiting_for_answers_is_cut_off(tmp_path: Path) -> None:
    """Some requests may wait behind the one at work; thousands would fill our memory at the price of a packet."""

    async def use(gateway: Inside) -> None:
        found = await gateway.raw(b"GET /a HTTP/1.1\r\nHost: shop\r\n\r\n" * 5000)
        assert statuses(found) == [200] * len(gateway.platform.heads)
        assert len(gateway.platform.heads) <= 40

    run(tmp_path, use)


async def ended(reader: asyncio.StreamReader) -> bool:
    """Whether the other side ends the connection in time."""
    try:
        async with asyncio.timeout(5):
            await reader.read()
    except ConnectionResetError:
        return True
    return True


@pytest.mark.parametrize(
    "begun",
    [
        pytest.param(b"", id="says nothing"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: shop\r\nX: ", id="half a head"),
        pytest.param(b"POST /a HTTP/1.1\r\nHost: shop\r\nContent-Length: 9\r\n\r\nhalf", id="half a body"),
        pytest.param(b"POST /api/orders HTTP/1.1\r\nHost: shop\r\nContent-Length: 9\r\n\r\nhalf", id="half a write"),
        pytest.param(b"POST /a HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nh", id="half a chunk"),
    ],
)
def test_who_does_not_finish_asking_is_cut_off(tmp_path: Path, begun: bytes) -> None:
    """However slowly he drips, he holds neither the gateway nor the platform for long, and half of it is nothing."""

    async def use(gateway: Inside) -> None:
        reader, writer = await gateway.connect()
        writer.write(begun)
        dripping = asyncio.create_task(drip(writer))
        assert await ended(reader)
        dripping.cancel()
        assert gateway.platform.bodies in ([], [b""])
        assert gateway.outbox.rows("SELECT count(*) FROM writes") == [(0,)]
        report = gateway.tally.report(1.0)
        assert (report.good, report.bad, report.in_flight) == (0, 0, 0)

    async def drip(writer: asyncio.StreamWriter) -> None:
        while begun.endswith(b"X: "):
            writer.write(b"x")
            await asyncio.sleep(0.05)

    run(tmp_path, use, Patience(head_seconds=0.4, body_seconds=0.4))


def test_who_does_not_read_his_answer_is_cut_off(tmp_path: Path) -> None:
    """A client who asks and does not read must not hold an answer of the platform for ever."""

    async def use(gateway: Inside) -> None:
        gateway.show(Mode.OPEN)
        gateway.shelf.answers["/api/orders/7"] = b"x" * (4 << 20)
        reader, writer = await gateway.connect()
        writer.write(b"GET /api/orders/7 HTTP/1.1\r\nHost: shop\r\n\r\n" * 4)
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        async with asyncio.timeout(5):
            while gateway.server.server_state.connections:
                await asyncio.sleep(0.02)

    run(tmp_path, use, Patience(reading_seconds=0.3))


def test_who_is_still_asking_when_it_stops_does_not_hold_it_up(tmp_path: Path) -> None:
    """A body that comes by drops, and fast enough for good times, is cut off soon: nothing of it was acknowledged."""

    async def use(gateway: Inside) -> None:
        reader, writer = await gateway.connect()
        writer.write(b"POST /api/orders HTTP/1.1\r\nHost: shop\r\nContent-Length: 9999\r\n\r\nx")
        async with asyncio.timeout(10):
            while not any(each.cycle for each in gateway.server.server_state.connections):
                await asyncio.sleep(0.01)
            gateway.server.should_exit = True
            assert await ended(reader)
        assert gateway.outbox.rows("SELECT count(*) FROM writes") == [(0,)]

    run(tmp_path, use, Patience(stopping_seconds=0.2))


def test_a_slow_platform_is_not_a_slow_client(tmp_path: Path) -> None:
    """While the platform takes its time over a body, its client is not cut off."""

    async def slow(server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(1.0)
        await server.request(reader)
        writer.write(OK)

    async def main() -> None:
        async with inside(tmp_path, slow, patience=Patience(body_seconds=0.2)) as gateway:
            reply = await gateway.ask("PUT", "/a", b"x" * (8 << 20))
            assert reply.status == 200

    asyncio.run(main())
