"""Where a gateway listens and where its platform is: with TLS under a private authority, and by IPv6."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path

import pytest

from holdfast.api import open_vault
from holdfast.begin import Wishes, begin_project
from holdfast.core.exchange import Asked, NotSent
from holdfast.core.outage import GatewayConfig
from holdfast.errors import Usage
from holdfast.gates import authority_of, upstream_of
from holdfast.operations.nginx import Front, nginx_config
from holdfast.sample.billing import make_billing
from holdfast.sample.processes import started
from tests.certificates import private_authority
from tests.gateway.test_serve import GATEWAY, running, status
from tests.waiting import eventually


@contextmanager
def spoken_with_in_tls(folder: Path, port: int) -> Iterator[int]:
    """A port of ::1 at which what listens at that port of 127.0.0.1 speaks TLS; the authority lies in the folder."""
    _, context = private_authority(folder)

    async def relayed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)

        async def passed(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            with suppress(OSError):
                while data := await source.read(1 << 16):
                    target.write(data)
                    await target.drain()
            target.close()

        try:
            await asyncio.gather(passed(reader, back), passed(there, writer))
        finally:
            for each in (back, writer):
                each.transport.abort()

    found: Future[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def main() -> None:
        stop = asyncio.Event()
        server = await asyncio.start_server(relayed, "::1", 0, ssl=context)
        found.set_result((server.sockets[0].getsockname()[1], asyncio.get_running_loop(), stop))
        await stop.wait()
        server.close()

    with ThreadPoolExecutor(1) as thread:
        running = thread.submit(asyncio.run, main())
        listening, loop, stop = found.result(10)
        try:
            yield listening
        finally:
            loop.call_soon_threadsafe(stop.set)
            running.result(10)


def is_from_copy(port: int) -> bool:
    """Whether the gateway believes who comes from 127.0.0.1 that the platform failed."""
    with closing(HTTPConnection("127.0.0.1", port, timeout=30)) as front:
        front.request("GET", "/api/orders/1", headers={"holdfast-front": "failed"})
        return front.getresponse().getheader("holdfast-copy") is not None


def test_a_platform_behind_tls_of_a_private_authority_is_reached_by_ipv6(tmp_path: Path) -> None:
    """Listened to by IPv6 too; without its authority no request goes out to it."""
    make_billing(tmp_path / "billing.db", orders=20, customers=3)
    begin_project(tmp_path, "billing.db", ("me=one",), Wishes(card=Path("card.txt")))
    open_vault(tmp_path / "holdfast.toml").capture()
    config = tmp_path / "gateway.toml"
    with (
        started("platform", "--database", tmp_path / "billing.db") as platform,
        spoken_with_in_tls(tmp_path, platform.port) as port,
    ):
        upstream = f"https://[::1]:{port}"
        declared = GATEWAY.format(upstream=upstream, port=0, workers=1).replace("127.0.0.1:0", "[::]:0")
        declared = declared.replace("workers = 1", 'ca = "authority.pem"\nfronts = ["127.0.0.1"]')
        config.write_text((tmp_path / "holdfast.toml").read_text() + declared)
        with running(config) as gateway, closing(HTTPConnection("::1", gateway.port, timeout=30)) as connection:
            connection.request("GET", "/api/orders/1")
            answer = connection.getresponse()
            assert (answer.status, answer.getheader("holdfast-copy")) == (200, None), answer.read()
            # Within IPv6, IPv4 is the same address as ever: a proxy there says what the platform failed to answer.
            assert eventually(lambda: is_from_copy(gateway.port), "an answer from the copy")
            assert eventually(lambda: "last canary" in status(config).stdout, "a canary")
            assert ": right" in status(config).stdout

        async def unknown() -> None:
            async with upstream_of(GatewayConfig(upstream), "") as stranger:
                with pytest.raises(NotSent, match="certificate"):
                    await stranger.send(Asked("POST", "/api/purchases", headers=(("host", "shop"),)), 5)

        asyncio.run(unknown())
    made = nginx_config(
        GatewayConfig(upstream, "[::1]:8080", fronts=("::1",)), (), Front(Path("/run/h"), authority=tmp_path / "a.pem")
    )
    assert f"server [::1]:{port} max_fails" in made
    assert "server [::1]:8080 max_fails" in made
    assert f"proxy_ssl_trusted_certificate {tmp_path / 'a.pem'};" in made


def test_an_authority_that_is_none_is_told_at_the_start(tmp_path: Path) -> None:
    """Not by requests that fail."""
    (tmp_path / "broken.pem").write_text("no certificate")
    for name in ("broken.pem", "nosuch.pem"):
        with pytest.raises(Usage, match=r"gateway\.ca: .*pem is no PEM file"):
            authority_of(GatewayConfig("https://127.0.0.1:1", ca=name), tmp_path)
