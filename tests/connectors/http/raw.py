"""A server that says what a test wants, byte for byte, and keeps what it was told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

__all__ = ["RawServer", "raw_server"]

Talk = Callable[["RawServer", asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class RawServer:
    """Where it listens, and the heads and bodies of requests that came, one connection after the other."""

    def __init__(self) -> None:
        self.port = 0
        self.connections = 0
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self.close: Callable[[], None] = lambda: None  # nobody can connect any more

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def request(self, reader: asyncio.StreamReader) -> bytes:
        """The next head, and its body by content-length or in chunks as they came."""
        head = await reader.readuntil(b"\r\n\r\n")
        self.heads.append(head)
        body = b""
        lower = head.lower()
        if b"content-length: " in lower:
            body = await reader.readexactly(int(lower.split(b"content-length: ")[1].split(b"\r\n")[0]))
        elif b"transfer-encoding: chunked" in lower:
            body = await reader.readuntil(b"0\r\n\r\n")
        self.bodies.append(body)
        return head


@asynccontextmanager
async def raw_server(talk: Talk) -> AsyncIterator[RawServer]:
    """A server that has this talk with everyone who connects."""
    server = RawServer()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        try:
            await talk(server, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(connected, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    server.close = listening.close
    try:
        yield server
    finally:
        listening.close()
