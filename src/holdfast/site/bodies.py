"""Bodies of requests and answers: how many bytes of them are in memory at once, and how long a sender may take.

All of them together stay within one budget, and nobody may hold more than half of it. A sender who is slower than the
least rate is cut off, so that a few who dribble can't keep others out.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from starlette.requests import Request
from starlette.types import Receive, Scope, Send

__all__ = ["SINK", "Budget", "Limits", "SentBytes", "Sink", "Slow", "read_body", "skip_body"]

SINK = "holdfast.sink"  # in the scope of a request
_CHUNK = 256 << 10


@dataclass(frozen=True, slots=True)
class Limits:
    """What the server spends on its clients. `memory` is of bodies, `rate` the least bytes a second of one of them."""

    memory: int = 128 << 20
    rate: int = 128 << 10
    idle_seconds: float = 20.0
    patience_seconds: float = 60.0
    requests: int = 8  # of one token at work at a time
    connections: int = 1024

    def seconds(self, size: int) -> float:
        """How long a body of that size may take."""
        return self.idle_seconds + size / self.rate


class Slow(Exception):
    """A body did not come, or a turn was not to be had, in the time there is. `status` says it to the client."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.message = message
        self.status = status


class Budget:
    """Bytes in memory, and requests at work, of all clients together. Who waits is served in turn; only he whose own
    share is used up is passed over.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held: Counter[str] = Counter()
        self._at_work: Counter[str] = Counter()
        self._waiting: list[tuple[str, int, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def hold(self, who: str, size: int) -> AsyncIterator[None]:
        """Have room for so many bytes while the block runs. Raises Slow if there is none in time, and at once if there
        never is any.
        """
        if size > self._limits.memory:
            # He would wait at the head of the queue, and everybody behind him.
            raise Slow(f"the site has no room for {size} bytes at once", 503)
        await self._turn(who, size)
        try:
            yield
        finally:
            self._give_back(who, size)

    async def _turn(self, who: str, size: int) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((who, size, turn))
        self._serve()
        try:
            async with asyncio.timeout(self._limits.patience_seconds):
                await turn
        except (TimeoutError, asyncio.CancelledError) as err:
            if turn.cancelled():
                self._waiting.remove((who, size, turn))
                self._serve()
            else:
                self._give_back(who, size)
            if isinstance(err, TimeoutError):
                raise Slow("the site is busy", 503) from err
            raise

    def _give_back(self, who: str, size: int) -> None:
        self._held[who] -= size
        self._at_work[who] -= 1
        self._serve()

    def _serve(self) -> None:
        """Give room to those whose turn it is."""
        for each in list(self._waiting):
            who, size, turn = each
            if turn.done():  # cancelled: he goes himself
                continue
            if self._held.total() + size > self._limits.memory:
                break
            if self._has_share(who, size):
                self._waiting.remove(each)
                self._held[who] += size
                self._at_work[who] += 1
                turn.set_result(None)

    def _has_share(self, who: str, size: int) -> bool:
        limits = self._limits
        mine = not self._held[who] or self._held[who] + size <= limits.memory // 2
        return mine and self._at_work[who] < limits.requests


class Sink:
    """Where the connection puts the bytes of a body as they come, without waking anybody: there is room for all."""

    def __init__(self, size: int) -> None:
        self.data = bytearray(size)
        self.filled = 0

    def feed(self, piece: bytes) -> None:
        """Take what came next. What is more than was said is dropped, and makes the body too long."""
        end = self.filled + len(piece)
        if end <= len(self.data):
            self.data[self.filled : end] = piece
        self.filled = end


async def read_body(request: Request, size: int, limits: Limits) -> bytearray:
    """The body, which has said to be of this size. Raises Slow if it does not come in time, or ends early."""
    sink = Sink(size)
    clock = asyncio.get_running_loop().time
    end = clock() + limits.seconds(size)
    more = True
    while more:
        before = sink.filled
        try:
            async with asyncio.timeout_at(min(end, clock() + limits.idle_seconds)):
                message = await request.receive()
        except TimeoutError as err:
            if sink.filled > before and clock() < end:
                continue
            raise Slow("the body did not come in time", 408) from err
        sink.feed(message.get("body", b""))
        more = message.get("more_body", False)
        # From here on the connection fills it itself (`server.py`); before, it kept what came first.
        request.scope[SINK] = sink
    if sink.filled != size:
        raise Slow(f"{sink.filled} bytes came where {size} were said", 400)
    return sink.data


async def skip_body(request: Request, size: int, limits: Limits) -> None:
    """Read past a body that is not wanted, so that the answer reaches a client who is still sending."""
    try:
        async with asyncio.timeout(limits.seconds(size)):
            async for _ in request.stream():
                pass
    except TimeoutError as err:
        raise Slow("the body did not come in time", 408) from err


class SentBytes:
    """An answer of bytes, sent piece by piece; a reader who is too slow is cut off."""

    def __init__(self, data: bytes, limits: Limits) -> None:
        self._data = data
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 as ASGI has it
        size = len(self._data)
        headers = [(b"content-type", b"application/octet-stream"), (b"content-length", b"%d" % size)]
        # Whoever is too slow is left with half an answer, and the connection is closed.
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.seconds(size)):
                await send({"type": "http.response.start", "status": 200, "headers": headers})
                for start in range(0, size, _CHUNK):
                    body = self._data[start : start + _CHUNK]
                    await send({"type": "http.response.body", "body": body, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
