"""The platform over HTTP: what goes out, what comes back, and what is known of a request when no answer comes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from holdfast.connectors.http.upstream import Upstream
from holdfast.core.exchange import Answer, Asked, NoAnswer, NotSent
from holdfast.errors import Usage
from tests.connectors.http.raw import RawServer, Talk, raw_server

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = Asked("GET", "/a")
POST = Asked("POST", "/a", body=b"{}")


def says(*answers: bytes, pause: float = 0.0) -> Talk:
    """Answer each request of a connection with the next of these, then hang up."""

    async def talk(server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await server.request(reader)
            await asyncio.sleep(pause)
            writer.write(answer)
            await writer.drain()

    return talk


def run(talk: Talk, use: Callable[[Upstream], Awaitable[object]]) -> RawServer:
    """Use the client against such a server."""

    async def main() -> RawServer:
        async with raw_server(talk) as server, Upstream(server.url, answer_bytes_max=1000) as upstream:
            await use(upstream)
            return server

    return asyncio.run(main())


def test_a_request_goes_out_as_it_came() -> None:
    """Path, query and headers are not rewritten, nothing is added but the host and the length."""
    asked = Asked("POST", "/a//b;x=1/%2Fc", "q=%41&r=[1]", (("cookie", "a=1"), ("x-y", "ü"), ("cookie", "b=2")), b"{}")
    server = run(says(OK), lambda upstream: upstream.send(asked, 5))
    assert server.heads[0].split(b"\r\n") == [
        b"POST /a//b;x=1/%2Fc?q=%41&r=[1] HTTP/1.1", b"Host: 127.0.0.1:%d" % server.port,
        b"cookie: a=1", "x-y: ü".encode(), b"cookie: b=2", b"Content-Length: 2", b"", b"",
    ]  # fmt: skip
    assert server.bodies == [b"{}"]


@pytest.mark.parametrize(("host", "named", "told"), [("", "shop", b"shop"), ("a.example", "shop", b"a.example")])
def test_the_platform_is_asked_by_the_host_that_was_named(host: str, named: str, told: bytes) -> None:
    """By the client, or by who declared the gateway; once."""

    async def main() -> None:
        async with raw_server(says(OK)) as server, Upstream(server.url, host=host) as upstream:
            await upstream.send(Asked("GET", "/a", headers=(("host", named),)), 5)
            assert server.heads[0].lower().split(b"\r\n")[1:] == [b"host: " + told, b"", b""]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("told", "seen"),
    [
        *(("{url}/b?x=1", "/b?x=1"), ("{url}", "{url}"), ("{url}.evil/", "{url}.evil/"), ("/b", "/b")),
        *(("{url}//evil.example/", "{url}//evil.example/"), ("{url}/\\evil.example/", "{url}/\\evil.example/")),
    ],
)
def test_a_place_on_the_platform_lies_behind_the_gateway(told: str, seen: str) -> None:
    """A redirect there must not lead past the gateway; one to elsewhere stays."""

    async def main() -> None:
        async def talk(server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            place = told.replace("{url}", server.url).encode()
            await says(b"HTTP/1.1 302 Found\r\nLocation: " + place + b"\r\nContent-Length: 0\r\n\r\n")(
                server, reader, writer
            )

        async with raw_server(talk) as server, Upstream(server.url) as upstream:
            answer = await upstream.send(GET, 5)
            assert answer.header("location") == seen.replace("{url}", server.url)

    asyncio.run(main())


def test_an_answer_comes_back_as_it_was() -> None:
    """Packed bodies stay packed, cookies repeat, a redirect is an answer; what belonged to the connection is gone."""
    head = b"HTTP/1.1 302 Found\r\nLocation: /b\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Encoding: gzip\r\n"
    rest = b"Connection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nContent-Length: 3\r\n\r\n\x1f\x8bx"
    found: list[Answer] = []

    async def use(upstream: Upstream) -> None:
        found.append(await upstream.send(GET, 5))
        found.append(await upstream.send(GET, 5))

    server = run(says(head + rest, OK), use)
    headers = [("location", "/b"), ("set-cookie", "a=1"), ("set-cookie", "b=2"), ("content-encoding", "gzip")]
    assert found[0] == Answer(302, (*headers, ("content-length", "3")), b"\x1f\x8bx")
    assert found[1].body == b"ok"
    assert b"cookie" not in server.heads[1].lower()
    assert server.connections == 1


async def _resets(server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await server.request(reader)
    raw = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    writer.transport.abort()


@pytest.mark.parametrize(
    "talk",
    [
        pytest.param(says(b""), id="hangs up"),
        pytest.param(_resets, id="resets"),
        pytest.param(says(OK, pause=3), id="hangs"),
        pytest.param(says(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok"), id="half"),
        pytest.param(says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"), id="half in chunks"),
        pytest.param(says(b"HTTP/1.1 200 OK\r\nContent-Le"), id="half a head"),
        pytest.param(says(b"nonsense\r\n\r\n"), id="nonsense"),
        pytest.param(says(b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"), id="upgrade"),
        pytest.param(says(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nok"), id="two lengths"),
        pytest.param(says(b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + b"x" * 2000), id="too large"),
        pytest.param(says(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2000), id="too large, without a length"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_write_that_went_out_without_a_whole_answer_is_not_known_and_not_sent_again(talk: Talk, method: str) -> None:
    """Whatever happens after the first byte, the platform may have done it: it gets it once."""

    async def use(upstream: Upstream) -> None:
        with pytest.raises(NoAnswer):
            await upstream.send(Asked(method, "/a", body=b"{}"), 0.3)

    assert run(talk, use).connections == 1


def test_a_write_on_a_connection_that_was_kept_is_not_sent_again() -> None:
    """A platform that closes an idle connection as the write goes out may have read it."""

    async def use(upstream: Upstream) -> None:
        assert (await upstream.send(POST, 5)).status == 200
        with pytest.raises(NoAnswer):
            await upstream.send(Asked("PUT", "/a"), 5)

    server = run(says(OK, b""), use)
    assert [head.split()[0] for head in server.heads] == [b"POST", b"PUT"]


def test_a_reading_on_a_connection_that_was_closed_meanwhile_is_tried_again() -> None:
    """That is no fault of the platform, and nothing can take effect twice."""

    async def use(upstream: Upstream) -> None:
        assert (await upstream.send(GET, 5)).status == 200
        assert (await upstream.send(GET, 5)).status == 200

    turns = iter([says(OK, b""), says(OK)])

    async def talk(server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await next(turns)(server, reader, writer)

    assert run(talk, use).connections == 2


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://nowhere.invalid", "https://127.0.0.1:{port}"])
def test_what_never_went_out_is_not_sent(url: str) -> None:
    """Nobody listens, the name leads nowhere, or TLS is not agreed on: the platform knows nothing of it."""

    async def main() -> None:
        async with raw_server(says(OK)) as server:
            place = url.replace("{port}", str(server.port))
            async with Upstream(place, connect_seconds=0.5) as upstream:
                with pytest.raises(NotSent):
                    await upstream.send(POST, 5)
                assert server.heads == []

    asyncio.run(main())


def test_a_connection_that_is_not_taken_up_is_not_sent() -> None:
    """A full queue of connections holds nothing of the request."""

    async def main() -> None:
        with socket.socket() as full, socket.socket() as first, socket.socket() as second:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            for each in (first, second):
                each.setblocking(False)
                each.connect_ex(full.getsockname())
            async with Upstream(f"http://127.0.0.1:{full.getsockname()[1]}", connect_seconds=0.2) as upstream:
                with pytest.raises(NotSent):
                    await upstream.send(POST, 5)

    asyncio.run(main())


def test_an_answer_in_a_stream_may_take_its_time_but_not_fall_silent() -> None:
    """The deadline is for its beginning and for each silence, not for the whole."""

    async def talk(server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await server.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        for _ in range(5):
            await asyncio.sleep(0.2)
            writer.write(b"x")
        await asyncio.sleep(5)

    async def use(upstream: Upstream) -> None:
        incoming = await upstream.begin(GET, 0.6)
        pieces = incoming.pieces()
        assert [await anext(pieces) for _ in range(5)] == [b"x"] * 5
        with pytest.raises(NoAnswer):
            await anext(pieces)
        incoming.close()

    run(talk, use)


@pytest.mark.parametrize("length", [(("content-length", "5"),), ()])
def test_a_body_in_a_stream_may_take_longer_than_the_deadline(length: tuple[tuple[str, str], ...]) -> None:
    """The platform's time begins when it has all."""

    async def body() -> AsyncIterator[bytes]:
        for piece in (b"ab", b"cd", b"e"):
            await asyncio.sleep(0.2)
            yield piece

    async def use(upstream: Upstream) -> None:
        incoming = await upstream.begin(Asked("PUT", "/a", headers=length), 0.4, body())
        assert await incoming.whole(10) == b"ok"
        incoming.close()

    server = run(says(OK), use)
    assert server.bodies == [b"abcde" if length else b"2\r\nab\r\n2\r\ncd\r\n1\r\ne\r\n0\r\n\r\n"]


def test_a_body_that_breaks_off_is_no_whole_request() -> None:
    """A client who leaves halfway must not leave behind a request that looks complete."""

    async def body() -> AsyncIterator[bytes]:
        yield b"ab"
        raise ConnectionResetError

    async def use(upstream: Upstream) -> None:
        with pytest.raises(NoAnswer):
            await upstream.begin(Asked("PUT", "/a"), 1, body())

    assert run(says(OK), use).bodies == []


@pytest.mark.parametrize(
    "url", ["shop", "ftp://shop", "http://", "http://shop?x=1", "http://u:p@shop", "http://shop:x"]
)
def test_what_is_no_url_of_a_platform_is_refused(url: str) -> None:
    """The mistake is named before anything is served."""

    async def main() -> None:
        with pytest.raises(Usage):
            Upstream(url)

    asyncio.run(main())
