"""Probes of pages, connections, certificates and names tell what is well from what only looks like it."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from socket import AF_INET, SOCK_DGRAM, socket
from threading import Thread

import dns.message
import dns.rrset
import pytest

from holdfast.errors import Usage
from tests.certificates import private_authority
from tests.connectors.probes.asked import ask, good, wrong


@contextmanager
def saying(said: bytes, tls: ssl.SSLContext | None = None, *, hears: bool = True) -> Iterator[int]:
    """A server that hears a request out, says this to everybody, and hangs up; yields its port."""
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, int]] = Future()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):  # whoever asked does not trust us, or has gone
            if hears:
                await reader.read(65536)
            writer.write(said)
            await writer.drain()
        writer.close()

    async def serve() -> None:
        async with await asyncio.start_server(talk, "127.0.0.1", 0, ssl=tls) as server:
            stop = asyncio.Event()
            started.set_result((asyncio.get_running_loop(), stop, server.sockets[0].getsockname()[1]))
            await stop.wait()

    thread = Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    loop, stop, port = started.result(10)
    try:
        yield port
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


def page(body: str, status: str = "200 OK", length: int | None = None) -> bytes:
    size = len(body.encode()) if length is None else length
    return f"HTTP/1.1 {status}\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n{body}".encode()


def web(folder: Path, said: bytes, kind: str = "http", *, well: bool = False, **keys: object) -> str:
    with saying(said) as port:
        return (good if well else wrong)(folder, kind, url=f"http://127.0.0.1:{port}/x?a=%2F", **keys)


def test_a_page_must_have_the_content_that_it_is_known_by(tmp_path: Path) -> None:
    """An error page with status 200 is no health."""
    assert web(tmp_path, page("<h1>Orders</h1>"), well=True, expect="Orders") == "200"
    assert web(tmp_path, page("we will be back soon"), expect="Orders") == "200, without 'Orders'"


def test_a_page_that_answers_wrongly_or_not_is_told_apart(tmp_path: Path) -> None:
    """Status, silence, half an answer, nonsense: what is wrong is said in a few words."""
    assert web(tmp_path, page("", "503 Down")) == "status 503"
    assert web(tmp_path, page("", "302 Found"), well=True) == "302"
    assert web(tmp_path, page("", "302 Found"), status=200) == "status 302"
    assert web(tmp_path, page("half", length=99)) == "its answer broke off"
    assert web(tmp_path, b"") == "it hung up without an answer"
    assert web(tmp_path, b"SSH-2.0-nonsense\r\n\r\n").startswith("ClientResponseError")
    with closing(socket()) as free:
        free.bind(("127.0.0.1", 0))
        assert wrong(tmp_path, "http", url=f"http://127.0.0.1:{free.getsockname()[1]}") == "connection refused"
    assert wrong(tmp_path, "http", url="http://no-such-host.invalid") == "its name does not resolve"


def test_headers_and_secrets_go_out_and_are_taken_from_where_they_lie(tmp_path: Path) -> None:
    """No secret needs to stand in the configuration; one that is not there is named before anything is asked."""
    (tmp_path / "token").write_text("s3cret\n")

    heard: list[bytes] = []

    async def main() -> None:
        async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(page("ok"))
            writer.close()

        server = await asyncio.start_server(hear, "127.0.0.1", 0)
        async with server:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
            await ask(tmp_path, "http", url=url, headers={"Authorization": "file:token"})()

    asyncio.run(main())
    assert b"Authorization: s3cret\r\n" in heard[0]
    with pytest.raises(Usage, match=r"probe\.it\.headers\.X: the environment has no NOT_THERE"):
        ask(tmp_path, "http", url="http://127.0.0.1/", headers={"X": "env:NOT_THERE"})


def test_a_certificate_must_be_trusted_and_stay_good_for_some_time(tmp_path: Path) -> None:
    """One that ends tomorrow is told while there is time; one of a stranger is none."""
    authority, context = private_authority(tmp_path)
    with saying(b"", context) as port:
        place = {"url": f"tls://127.0.0.1:{port}", "ca": str(authority)}
        assert "ends in 1 days" in good(tmp_path, "tls", days=0, **place)
        assert "ends in 1 days" in wrong(tmp_path, "tls", **place)
        assert "not good: unable to get local issuer" in wrong(tmp_path, "tls", url=f"127.0.0.1:{port}")
        assert "not good" in wrong(tmp_path, "tls", url=f"localhost:{port}", ca=str(authority), days=0)
    old, expired = private_authority(tmp_path, days=-1)
    with saying(b"", expired) as port:
        assert "has expired" in wrong(tmp_path, "tls", url=f"127.0.0.1:{port}", ca=str(old), days=0)
    authority, context = private_authority(tmp_path, days=30)
    with saying(page("ok"), context) as port:
        assert "ends in 30 days" in good(tmp_path, "tls", url=f"127.0.0.1:{port}", ca=str(authority))
    with saying(page("ok"), context) as port:
        assert good(tmp_path, "http", url=f"https://127.0.0.1:{port}/", ca=str(authority)) == "200"
        assert wrong(tmp_path, "http", url=f"https://127.0.0.1:{port}/").startswith("its certificate is not good")
    with pytest.raises(Usage, match=r"probe\.it\.ca: .* is no PEM file"):
        ask(tmp_path, "tls", url="127.0.0.1:1", ca="missing.pem")


def test_a_connection_may_have_to_greet(tmp_path: Path) -> None:
    """A mail server that takes connections and says nothing is not well."""
    with saying(b"220 mail ready\r\n", hears=False) as port:
        assert good(tmp_path, "tcp", url=f"tcp://127.0.0.1:{port}") == "connected"
        assert good(tmp_path, "tcp", url=f"127.0.0.1:{port}", expect="220 ") == "220 mail ready"
        assert wrong(tmp_path, "tcp", url=f"127.0.0.1:{port}", expect="250 ") == "connected, but without '250 '"
    assert wrong(tmp_path, "tcp", url=f"127.0.0.1:{port}") == "connection refused"


@contextmanager
def name_server(**records: str) -> Iterator[int]:
    """A server of names that knows these addresses; yields its port."""
    with socket(AF_INET, SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def serve() -> None:
            while (asked := server.recvfrom(4096))[0] != b"end":
                query = dns.message.from_wire(asked[0])
                answer = dns.message.make_response(query)
                name = query.question[0].name.to_text().rstrip(".")
                if name in records:
                    answer.answer.append(dns.rrset.from_text(f"{name}.", 60, "IN", "A", records[name]))
                else:
                    answer.set_rcode(dns.rcode.NXDOMAIN)
                server.sendto(answer.to_wire(), asked[1])

        thread = Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.sendto(b"end", server.getsockname())
            thread.join()


def test_a_name_must_lead_where_it_should(tmp_path: Path) -> None:
    """A domain that was lost, or points elsewhere, is told from one that is well."""
    with name_server(shop="192.0.2.7") as port:
        server = f"127.0.0.1:{port}"
        assert good(tmp_path, "dns", url="shop", server=server) == "192.0.2.7"
        assert good(tmp_path, "dns", url="dns://shop", server=server, expect="192.0.2.7") == "192.0.2.7"
        assert "is 192.0.2.7, not 192.0.2.8" in wrong(tmp_path, "dns", url="shop", server=server, expect="192.0.2.8")
        assert "NXDOMAIN" in wrong(tmp_path, "dns", url="lost", server=server)
        assert "shop has no record MX" in wrong(tmp_path, "dns", url="shop", server=server, query="MX")


def test_another_holdfast_says_how_it_fares(tmp_path: Path) -> None:
    """A site server, a gateway, or a watch elsewhere: alive is not enough where one of its probes is meant."""
    ok = '{"status": "ok", "probes": {"shop": {"verdict": "down"}, "mail": {"verdict": "up"}}}'
    assert web(tmp_path, page(ok), "holdfast", well=True) == "ok"
    assert web(tmp_path, page(ok), "holdfast", well=True, expect="mail") == "mail is up"
    assert web(tmp_path, page(ok), "holdfast", expect="shop") == "it says that shop is down"
    assert web(tmp_path, page(ok), "holdfast", expect="bank") == "it has no probe bank"
    assert web(tmp_path, page('{"status": "stale"}'), "holdfast") == "it says stale"
    odd = page('{"status": "ok", "probes": {"shop": {"verdict": []}}}')
    assert web(tmp_path, odd, "holdfast", expect="shop") == "it says that shop is []"
    assert web(tmp_path, page("[]"), "holdfast") == "what answers there is no Holdfast"
    assert web(tmp_path, page("{"), "holdfast") == "its answer is no JSON"


def test_places_that_are_none_are_named(tmp_path: Path) -> None:
    """Before anything is asked, with the key path."""
    for keys in ({"kind": "tcp", "url": "vendor"}, {"kind": "tls", "url": "https://[x"}, {"kind": "tcp", "url": "a:b"}):
        with pytest.raises(Usage, match=r"probe\.it: .* is no place"):
            ask(tmp_path, **keys)
    with pytest.raises(Usage, match=r"probe\.it\.url: no http"):
        ask(tmp_path, "http", url="ftp://vendor")
    with pytest.raises(Usage, match=r"probe\.it\.url: no redis"):
        ask(tmp_path, "redis", url="vendor:6379")
    assert "is no name of a host" in wrong(tmp_path, "tcp", url=f"{'a' * 64}.example:1")
    with pytest.raises(Usage, match=r"probe\.it\.url: no database of that kind"):
        ask(tmp_path, "sql", url="oracle://vendor")
