"""A server that says what it was asked, byte for byte where that matters, in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiohttp import web

__all__ = ["Echo", "echo"]


@dataclass
class Echo:
    """Where it listens, what it was asked (method, path as it came, headers, body), and how it answers."""

    name: str
    port: int = 0
    asked: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    status: int = 200
    hangs: bool = False

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        headers = {name.decode().lower(): value.decode() for name, value in request.raw_headers}
        self.asked.append((request.method, request.raw_path, headers, body))
        if self.hangs:
            await asyncio.sleep(30)
        return web.Response(status=self.status, text=f"{self.name} {request.method} {request.raw_path}")

    async def start(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", self.answer)
        runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port)
        await site.start()
        self.port = runner.addresses[0][1]
        return runner


@contextmanager
def echo(name: str, port: int = 0) -> Iterator[Echo]:
    """Run one, on a free port unless one is named, until the block ends."""
    server, loop = Echo(name, port), asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        runner = asyncio.run_coroutine_threadsafe(server.start(), loop).result(10)
        try:
            yield server
        finally:
            asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
