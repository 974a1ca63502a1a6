"""A shop whose pages lie on another origin than its API reads what the gateway answers itself; other pages don't."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.core.breaker import Mode
from holdfast.core.config import parse_config
from holdfast.errors import Usage
from tests.connectors.http.raw import RawServer
from tests.gateway.inside import CONFIG, Inside, Reply, inside

SHOP, OTHER = "https://shop.example", "https://evil.example"
ALLOWED, CREDENTIALS = "access-control-allow-origin", "access-control-allow-credentials"
BUYING = {"origin": SHOP, "access_control_request_method": "POST", "access_control_request_headers": "idempotency-key"}


async def sharing(server: RawServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A platform that lets every page read."""
    await server.request(reader)
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\naccess-control-allow-origin: *\r\n\r\n"
    writer.write(head + b"{}")
    await writer.drain()


def run(folder: Path, use: Callable[[Inside], Awaitable[None]], origins: tuple[str, ...] = (SHOP,)) -> None:
    async def main() -> None:
        async with inside(folder, sharing, replace(CONFIG, origins=origins)) as gateway:
            await use(gateway)

    asyncio.run(main())


async def own_answers(gateway: Inside, origin: str) -> Mapping[str, Reply]:
    """All that the gateway says itself: from the copy, a receipt, what became of it, refusals, and a repetition."""
    headers = {"origin": origin, "cookie": "sid=ana"}
    await gateway.ask("POST", "/api/orders", b"1", idempotency_key="k1", **headers)
    gateway.show(Mode.OPEN)
    kept = await gateway.ask("POST", "/api/orders", b"2", **headers)
    return {
        "copy": await gateway.ask("GET", "/api/orders/7", **headers),
        "kept": kept,
        "fate": await gateway.ask("GET", f"/.holdfast/receipts/{kept.headers['holdfast-receipt']}", **headers),
        "not in the copy": await gateway.ask("GET", "/api/orders/8", **headers),
        "not admitted": await gateway.ask("GET", "/api/mine", **headers),
        "refused": await gateway.ask("POST", "/api/card", b"3", **headers),
        "unclear": await gateway.ask("GET", "/api/../x", **headers),
        "again": await gateway.ask("POST", "/api/orders", b"1", idempotency_key="k1", **headers),
    }


def test_a_page_of_a_declared_origin_reads_what_the_gateway_says(tmp_path: Path) -> None:
    """Once each, and with the headers in which the age and the receipt stand."""

    async def use(gateway: Inside) -> None:
        for name, reply in (await own_answers(gateway, SHOP)).items():
            assert reply.headers.get(ALLOWED) == SHOP, name
            assert reply.headers[CREDENTIALS] == "true"
            assert {"age", "holdfast-copy", "holdfast-receipt"} <= set(
                reply.headers["access-control-expose-headers"].split(", ")
            )
            assert reply.headers["vary"] == "Origin"

    run(tmp_path, use)


@pytest.mark.parametrize("origin", [OTHER, "null", "https://shop.example.evil.example", "http://shop.example"])
def test_a_page_of_another_origin_reads_nothing_of_it(tmp_path: Path, origin: str) -> None:
    """Nor is it told that it may ask; what the platform itself lets it read, it reads."""

    async def use(gateway: Inside) -> None:
        assert (await gateway.ask("GET", "/api/checked", origin=origin)).headers[ALLOWED] == "*"
        replies = await own_answers(gateway, origin)
        assert replies.pop("again").headers[ALLOWED] == "*"
        for name, reply in replies.items():
            assert not {ALLOWED, CREDENTIALS} & set(reply.headers), name
            assert reply.headers["vary"] == "Origin"
        asking = await gateway.ask("OPTIONS", "/api/orders", **{**BUYING, "origin": origin})
        assert (asking.status, asking.headers.get(ALLOWED)) == (503, None)

    run(tmp_path, use)


def test_preflights_are_answered_while_the_platform_is_away(tmp_path: Path) -> None:
    """For declared routes, and by the platform as long as it answers; also before the breaker has opened."""

    async def use(gateway: Inside) -> None:
        healthy = await gateway.ask("OPTIONS", "/api/orders", **BUYING)
        assert (healthy.status, healthy.headers[ALLOWED], len(gateway.platform.heads)) == (200, "*", 1)
        gateway.platform.close()
        for mode in (Mode.CLOSED, Mode.OPEN):
            gateway.show(mode)
            may = await gateway.ask("OPTIONS", "/api/orders", **BUYING)
            assert (may.status, may.headers[ALLOWED], may.headers[CREDENTIALS]) == (204, SHOP, "true")
            assert may.headers["access-control-allow-methods"] == "POST"
            assert may.headers["access-control-allow-headers"] == "idempotency-key"
        for path, method in (("/api/orders", "DELETE"), ("/elsewhere", "POST")):
            asked = {**BUYING, "access_control_request_method": method}
            assert (await gateway.ask("OPTIONS", path, **asked)).status == 503
        receipt = {"origin": SHOP, "access_control_request_method": "GET"}
        assert (await gateway.ask("OPTIONS", "/.holdfast/receipts/7F3K", **receipt)).status == 204

    run(tmp_path, use)


def test_without_declared_origins_nothing_is_shared(tmp_path: Path) -> None:
    """No page of another origin reads what the owner did not say that it may."""

    async def use(gateway: Inside) -> None:
        gateway.show(Mode.OPEN)
        reply = await gateway.ask("GET", "/api/orders/7", origin=SHOP)
        assert (reply.status, json.loads(reply.body)) == (200, {"id": 7})
        assert not [name for name in reply.headers if name.startswith("access-control") or name == "vary"]

    run(tmp_path, use, ())


@pytest.mark.parametrize(
    "origin", ["*", "null", "shop.example", "https://shop.example/", "https://Shop.example", "https://shop.example:443"]
)
def test_what_is_no_exact_origin_is_a_mistake(origin: str) -> None:
    """No pattern, and nothing that no browser ever sends."""
    text = f'[vault]\nname = "v"\n[gateway]\nupstream = "http://127.0.0.1:1"\norigins = ["{origin}"]\n'
    with pytest.raises(Usage, match=r"gateway\.origins"):
        parse_config(text)
