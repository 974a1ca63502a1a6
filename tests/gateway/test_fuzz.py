"""Requests that were damaged at random: h11 reads the same bytes, on the client's side and on the platform's.

Whatever comes in, what reaches the platform is clean, and is what h11 too finds in the bytes that the client sent, in
that order. A request that only one of the two sees is one that somebody smuggled.
"""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import NamedTuple

import h11
import pytest

from holdfast.gateway.wire import Patience
from tests.connectors.http.raw import RawServer
from tests.gateway.inside import Inside, inside

SEEDS = (
    b"GET /a HTTP/1.1\r\nHost: shop\r\nAccept: */*\r\n\r\n",
    b"POST /b?x=1 HTTP/1.1\r\nHost: shop\r\nContent-Length: 5\r\n\r\nhello",
    b"PUT /c HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
    b"POST /api/orders HTTP/1.1\r\nHost: shop\r\nContent-Length: 2\r\nIdempotency-Key: k\r\n\r\n{}",
    b"GET /api/orders/7 HTTP/1.1\r\nHost: shop\r\nCookie: a=1\r\nConnection: keep-alive\r\n\r\n",
    b"DELETE /d HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n0\r\nX: y\r\n\r\n",
)
PARTS = (
    *(b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b"\x00", b"\x0b", b"\x7f", b"\x80", b"\xff", b":", b";", b","),
    *(b"0", b"Content-Length: 0\r\n", b"Content-Length: 44\r\n", b"Transfer-Encoding: chunked\r\n", b"X" * 300),
    *(b"Transfer-Encoding: x\r\n", b"Content-Length", b"transfer-encoding", b" chunked", b"Connection: close\r\n"),
    *(b"Connection: content-length\r\n", b"Host: b\r\n", b"Expect: 100-continue\r\n", b"HTTP/1.0", b"HTTP/1.1"),
    *(b"http://b/", b"/../", b"%2e%2e/", b"%00", b"Upgrade: h2c\r\nConnection: upgrade\r\n", b"0\r\n\r\n"),
    b"GET /smuggled HTTP/1.1\r\nHost: shop\r\n\r\n",
)
LAST = b"GET /last HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Seen(NamedTuple):
    """A request, as somebody read it."""

    method: bytes
    target: bytes
    body: bytes


def damaged(chance: random.Random) -> bytes:
    """Some requests in a row, with a few changes, and one that is well at the end."""
    data = bytearray(b"".join(chance.choice(SEEDS) for _ in range(chance.randint(1, 3))))
    for _ in range(chance.randint(0, 4)):
        at = chance.randrange(len(data) + 1)
        kind = chance.randrange(4)
        if kind == 0:
            data[at:at] = chance.choice(PARTS)
        elif kind == 1:
            del data[at : at + chance.randint(1, 4)]
        elif kind == 2:
            data[at : at + 1] = bytes([chance.randrange(256)])
        else:
            # Where a line ends, what is put in is a line of its own.
            ends = [place + 2 for place in range(len(data) - 1) if data[place : place + 2] == b"\r\n"]
            place = chance.choice(ends) if ends else 0
            data[place:place] = chance.choice(PARTS)
    return bytes(data) + LAST


def read_by_h11(data: bytes) -> list[Seen]:
    """The requests that h11 finds before it finds a fault. Empty lines between them and blanks between the words of a
    first line mean nothing (RFC 9112, 2.2 and 3).
    """
    found: list[Seen] = []
    while data:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        line, _, more = data.lstrip(b"\r\n").partition(b"\r\n")
        connection.receive_data(b" ".join(filter(None, line.split(b" "))) + b"\r\n" + more)
        request, body, event = None, b"", None
        while not isinstance(event, h11.EndOfMessage):
            try:
                event = connection.next_event()
            except h11.RemoteProtocolError:
                return found
            if isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif not isinstance(event, h11.EndOfMessage):
                return found
        assert request is not None
        # An empty query is none.
        found.append(Seen(request.method, request.target.removesuffix(b"?"), body))
        # An offer of another protocol need not be taken up.
        is_over = connection.their_state not in (h11.DONE, h11.MIGHT_SWITCH_PROTOCOL)
        data = b"" if is_over else connection.trailing_data[0]
    return found


class Platform:
    """A platform that reads with h11, and keeps what it read and what it could not."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.faults: list[str] = []

    async def talk(self, _: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        request, body = None, b""
        while True:
            try:
                event = connection.next_event()
            except h11.RemoteProtocolError as err:
                # A client who goes halfway makes the gateway break off too: that is no fault.
                if connection.trailing_data[1] is False:
                    self.faults.append(str(err))
                return
            if event is h11.NEED_DATA:
                data = await reader.read(65536)
                if not data and request is None:
                    return
                connection.receive_data(data)
            elif isinstance(event, h11.Request):
                request, body = event, b""
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                self.seen.append(Seen(request.method, request.target, body))
                connection.send(h11.Response(status_code=200, headers=[("content-length", "2")]))
                connection.send(h11.Data(b"ok"))
                connection.send(h11.EndOfMessage())
                writer.write(ANSWER)
                await writer.drain()
                if connection.our_state is not h11.DONE:
                    return
                connection.start_next_cycle()
                request = None
            else:
                return


async def send(gateway: Inside, data: bytes, chance: random.Random) -> None:
    """Send these bytes in a few pieces, and wait until the connection ends."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    try:
        cuts = sorted(chance.randrange(len(data)) for _ in range(chance.randint(0, 3)))
        for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
            writer.write(data[begin:end])
            await asyncio.sleep(0)
        async with asyncio.timeout(20):
            await reader.read()
    except ConnectionError:
        return
    finally:
        writer.close()


async def fuzz(folder: Path, count: int, first: int) -> int:
    """Send so many, and hold what came through against what h11 reads; returns how many requests came through."""
    platform, through = Platform(), 0
    async with inside(folder, platform.talk, patience=Patience(head_seconds=0.15, body_seconds=0.15)) as gateway:
        for number in range(first, first + count):
            chance = random.Random(number)
            data = damaged(chance)
            await send(gateway, data, chance)
            while gateway.server.server_state.tasks:
                await asyncio.sleep(0.001)
            assert platform.faults == [], (number, data, platform.faults)
            expected = read_by_h11(data)
            # What is kept as a write, or refused by its path, does not come through; nothing else may come instead.
            rest = iter(expected)
            assert all(each in rest for each in platform.seen), (number, data, expected, platform.seen)
            through += len(platform.seen)
            platform.seen.clear()
    return through


def test_what_reaches_the_platform_is_what_another_reader_finds_in_the_bytes(tmp_path: Path) -> None:
    """A sample of damaged requests; `make soak` tries many more."""
    assert asyncio.run(fuzz(tmp_path, 500, 0)) > 250


@pytest.mark.soak
def test_nothing_is_smuggled_past_another_reader(tmp_path: Path) -> None:
    """Many damaged requests, the same ones each time."""
    assert asyncio.run(fuzz(tmp_path, 60_000, 100_000)) > 30_000
