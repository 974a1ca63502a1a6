"""The sample platform's billing vendor: accounts and charges. It keeps its sessions in a cache, and works only with it.

python -m holdfast.sample.vendor --database vendor.db --cache redis://127.0.0.1:6379/0
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

import aiohttp
import redis.asyncio
from redis.exceptions import RedisError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from holdfast.sample.serving import options, serve

__all__ = ["Cache", "make_app", "open_cache"]

_CHARGES = """
CREATE TABLE IF NOT EXISTS charges (key TEXT PRIMARY KEY, customer TEXT NOT NULL, cents INTEGER NOT NULL) WITHOUT ROWID
"""


class Cache(Protocol):
    """Where the vendor keeps what it must find quickly. Raises OSError where it does not answer."""

    async def swap(self, name: str, value: str) -> None:
        """Put a value, and read it back."""
        ...

    async def close(self) -> None:
        """Let go of it."""
        ...


def open_cache(url: str, seconds: float) -> Cache:
    """A Redis (`redis://`) or the sample's own cache (`http://`). Opened where an event loop runs."""
    if url.startswith("redis://"):
        return _Redis(url, seconds)
    return _Small(url, seconds)


def make_app(database: str, cache_url: str, seconds: float) -> Starlette:
    """The vendor's API: whose account is in good standing, and charges, once for each key."""
    connection = sqlite3.connect(database, isolation_level=None)
    connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;" + _CHARGES)
    caches: list[Cache] = []

    @asynccontextmanager
    async def life(_: Starlette) -> AsyncIterator[None]:
        caches.append(open_cache(cache_url, seconds))
        yield
        await caches.pop().close()

    async def standing(request: Request) -> Response:
        await caches[0].swap("session", "open")
        return JSONResponse({"customer": request.path_params["customer"], "standing": "good"})

    async def charge(request: Request) -> Response:
        asked = await request.json()
        await caches[0].swap("session", "open")
        with connection:
            row = (str(asked["key"]), str(asked["customer"]), int(asked["cents"]))
            connection.execute("INSERT OR IGNORE INTO charges VALUES (?, ?, ?)", row)
        return JSONResponse({"reference": f"CH-{asked['key']}"}, 201)

    async def health(request: Request) -> Response:  # noqa: ARG001 as Starlette has it
        await caches[0].swap("session", "open")
        return JSONResponse({"status": "ok"})

    async def broken(request: Request, err: Exception) -> Response:  # noqa: ARG001 as Starlette has it
        return JSONResponse({"error": f"cache: {type(err).__name__}"}, 500)

    routes = [
        Route("/accounts/{customer}", standing, methods=["GET"]),
        Route("/charges", charge, methods=["POST"]),
        Route("/health", health, methods=["GET"]),
    ]
    return Starlette(routes=routes, exception_handlers={OSError: broken}, lifespan=life)


class _Redis:
    def __init__(self, url: str, seconds: float) -> None:
        self._client = redis.asyncio.Redis.from_url(url, socket_timeout=seconds, socket_connect_timeout=seconds)

    async def swap(self, name: str, value: str) -> None:
        try:
            await self._client.set(name, value)
            await self._client.get(name)
        except RedisError as err:
            raise ConnectionError(str(err)) from err

    async def close(self) -> None:
        await self._client.aclose()


class _Small:
    def __init__(self, url: str, seconds: float) -> None:
        self._url = url.rstrip("/")
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=seconds))

    async def swap(self, name: str, value: str) -> None:
        try:
            async with self._session.put(f"{self._url}/{name}", data=value) as answer:
                answer.raise_for_status()
            async with self._session.get(f"{self._url}/{name}") as answer:
                answer.raise_for_status()
                await answer.read()
        except (TimeoutError, aiohttp.ClientError) as err:
            raise ConnectionError(str(err)) from err

    async def close(self) -> None:
        await self._session.close()


if __name__ == "__main__":
    parser = options("the billing vendor of the sample platform")
    parser.add_argument("--database", required=True, help="the file of its charges")
    parser.add_argument("--cache", required=True, help="redis://… or http://…")
    parser.add_argument("--cache-seconds", type=float, default=30.0, help="how long it waits for its cache")
    given = parser.parse_args()
    serve(make_app(given.database, given.cache, given.cache_seconds), given.listen, with_parent=given.with_parent)
