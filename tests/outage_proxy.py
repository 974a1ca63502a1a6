"""A proxy before a real platform, that does to connections what an outage does: everything else stays real.

    with outage_proxy(("127.0.0.1", 9000)) as proxy:
        proxy.begin(Hang())
        ...
        proxy.end()

It passes bytes on, and takes what a client sends in one piece for a request. A fault holds for open connections too.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Coroutine, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

__all__ = [
    "Disguise", "Drip", "Fault", "Flap", "Half", "Hang", "Lost", "OutageProxy", "Refuse", "Reset", "Status",
    "outage_proxy",
]  # fmt: skip

T = TypeVar("T")
_CHUNK = 1 << 16
_AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: close with a reset


@dataclass(frozen=True)
class Refuse:
    """Nobody listens, and open connections are reset: the platform's process is gone."""


@dataclass(frozen=True)
class Hang:
    """Connections are taken, requests are read, nothing is said."""


@dataclass(frozen=True)
class Drip:
    """The answer comes, a byte at a time."""

    seconds: float = 0.2


@dataclass(frozen=True)
class Reset:
    """A request is answered by a reset."""


@dataclass(frozen=True)
class Status:
    """A request is answered so, and the platform hears nothing of it."""

    status: int = 503


@dataclass(frozen=True)
class Disguise:
    """A request is answered 200, and the body says that it failed."""

    body: bytes = b'{"error": "the database can not be reached"}'


@dataclass(frozen=True)
class Half:
    """The platform's answer, and in the midst of its body the end of the connection."""


@dataclass(frozen=True)
class Lost:
    """The platform does as asked; its answer is lost with the connection."""


@dataclass(frozen=True)
class Flap:
    """Now it refuses, now it answers."""

    seconds: float = 0.7


Fault = Refuse | Hang | Drip | Reset | Status | Disguise | Half | Lost | Flap


@dataclass
class OutageProxy:
    """Where to connect to, what was asked for and when, and what goes wrong now. `slow` delays answers to paths."""

    upstream: tuple[str, int]
    port: int = 0
    asked: list[tuple[float, str, str]] = field(default_factory=list)  # when (monotonic), method, path
    slow: dict[str, float] = field(default_factory=dict)
    _fault: Fault | None = None
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.new_event_loop)
    _listener: socket.socket | None = None
    _open: set[asyncio.StreamWriter] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _flapping: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def begin(self, fault: Fault) -> float:
        """Let it go wrong from now on, which is told (monotonic)."""
        return self._run(self._set(fault))

    def end(self) -> float:
        """Let everything be well again, from now on."""
        return self._run(self._set(None))

    def asked_since(self, moment: float) -> list[tuple[str, str]]:
        """Method and path of what came after a moment, whether or not it was answered."""
        return [(method, path) for at, method, path in list(self.asked) if at > moment]

    async def _set(self, fault: Fault | None) -> float:
        if self._flapping is not None:
            self._flapping.cancel()
            self._flapping = None
        self._fault = fault
        if isinstance(fault, Flap):
            self._flapping = asyncio.create_task(self._flap(fault.seconds))
        elif isinstance(fault, Refuse):
            self._leave()
        else:
            self._listen()
            if fault is None:
                # Who hung is not answered late: the platform was started anew.
                self._abort()
        return time.monotonic()

    async def _flap(self, seconds: float) -> None:
        while True:
            self._leave()
            await asyncio.sleep(seconds)
            self._listen()
            await asyncio.sleep(seconds)

    def _listen(self) -> None:
        # Not asyncio's own server: who is taken in just as that is closed leaves a socket that nobody closes.
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port), backlog=512)
            self._listener.setblocking(False)
            self.port = self._listener.getsockname()[1]
            self._loop.add_reader(self._listener, self._accept, self._listener)

    def _leave(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        self._abort()

    def _abort(self) -> None:
        for writer in list(self._open):
            _reset(writer)

    def _accept(self, listener: socket.socket) -> None:
        with suppress(BlockingIOError, ConnectionAbortedError):
            taken, _ = listener.accept()
            task = self._loop.create_task(self._connected(taken))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connected(self, taken: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=taken)
        self._open.add(writer)
        try:
            if self._listener is None:
                _reset(writer)
                return
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._serve(reader, writer)
        finally:
            self._open.discard(writer)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Everything that comes over a connection, with the platform's answers."""
        up_reader, up_writer = await asyncio.open_connection(*self.upstream)
        delays = [0.0]
        answers = asyncio.create_task(self._answers(up_reader, writer, delays))
        try:
            while data := await reader.read(_CHUNK):
                words = data.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
                if len(words) == 3 and words[2].startswith("HTTP/"):
                    self.asked.append((time.monotonic(), words[0], words[1]))
                    delays[0] = self.slow.get(words[1].partition("?")[0], 0.0)
                match self._fault:
                    case Hang():
                        continue
                    case Reset():
                        _reset(writer)
                        return
                    case Status(status):
                        await _say(writer, status, b'{"error": "out of order"}')
                        return
                    case Disguise(body):
                        await _say(writer, 200, body)
                        return
                up_writer.write(data)
                await up_writer.drain()
        finally:
            answers.cancel()
            with suppress(asyncio.CancelledError, OSError):
                await answers
            up_writer.close()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delays: list[float]) -> None:
        while data := await reader.read(_CHUNK):
            if delays[0]:
                await asyncio.sleep(delays[0])
            match self._fault:
                case Hang():
                    continue
                case Lost():
                    _reset(writer)
                    return
                case Half():
                    head, _, body = data.partition(b"\r\n\r\n")
                    while not body:
                        body = await reader.read(_CHUNK)
                    writer.write(head + b"\r\n\r\n" + body[: len(body) // 2])
                    await writer.drain()
                    writer.close()
                    return
                case Drip(seconds):
                    for each in data:
                        writer.write(bytes([each]))
                        await writer.drain()
                        await asyncio.sleep(seconds)
                case _:
                    writer.write(data)
                    await writer.drain()
        writer.close()

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(30)

    async def _stop(self) -> None:
        await self._set(None)
        self._leave()
        await asyncio.sleep(0)  # whoever was just taken in has begun, and ends what it began
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _reset(writer: asyncio.StreamWriter) -> None:
    raw = writer.get_extra_info("socket")
    with suppress(OSError):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    writer.transport.abort()


async def _say(writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    writer.write(head.encode() + b"Connection: close\r\n\r\n" + body)
    await writer.drain()


@contextmanager
def outage_proxy(upstream: tuple[str, int]) -> Iterator[OutageProxy]:
    """A proxy before what listens there, on a free port of the loopback interface."""
    proxy = OutageProxy(upstream)
    thread = threading.Thread(target=proxy._loop.run_forever)
    thread.start()
    try:
        proxy.end()
        yield proxy
    finally:
        proxy._run(proxy._stop())
        proxy._loop.call_soon_threadsafe(proxy._loop.stop)
        thread.join()
        with closing(proxy._loop):
            pass
