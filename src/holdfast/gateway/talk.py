"""One request to the gateway and the answer to it: read from uvicorn, written to it, HTTP's own rules kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Container, MutableMapping
from contextlib import suppress
from email.utils import formatdate
from typing import Any, Protocol

from holdfast.core.exchange import Answer, Asked, Headers
from holdfast.core.hops import address_of, client_of
from holdfast.core.origins import sharing

__all__ = ["Arriving", "Gone", "Receive", "Scope", "Send", "Talk"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
RawHeaders = list[tuple[bytes, bytes]]

_NO_BODY = (204, 304)
_SMALL_BYTES = 64 << 10
_LINGERING_SECONDS = 2.0


class Gone(Exception):
    """The client went before he had asked, or had been answered."""


class Arriving(Protocol):
    """An answer of the platform whose head is there: see `connectors/http/upstream.py`."""

    status: int
    headers: Headers

    @property
    def size(self) -> int | None: ...

    async def held(self, size_max: int) -> tuple[bytes, bool]: ...

    def pieces(self) -> AsyncIterator[bytes]: ...

    def close(self) -> None: ...


class Talk:
    """A request, and how it is answered. Only one of the ways to answer may be taken, once."""

    __slots__ = ("_receive", "_scope", "_send", "asked", "has_left", "is_front", "peer", "sharing")

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, fronts: Container[str], origins: tuple[str, ...] = ()
    ) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        path, _, query = scope["target"].decode("latin-1").partition("?")
        headers = tuple((name.decode("latin-1"), _text(value)) for name, value in scope["headers"])
        self.peer: str = address_of((scope["client"] or ("",))[0])
        self.is_front = self.peer in fronts  # a proxy that is believed
        self.has_left = False  # the client, before he had asked
        client = client_of(headers, self.peer, fronts) if self.is_front else self.peer
        self.asked = Asked(scope["method"], path, query, headers, b"", client)
        self.sharing = sharing(origins, self.asked)  # with a page of another origin, what is ours

    @property
    def scheme(self) -> str:
        """By which scheme the connection speaks."""
        return str(self._scope["scheme"])

    @property
    def is_secure(self) -> bool:
        """Whether the client himself speaks TLS."""
        return self.scheme == "https" or (self.is_front and self.asked.header("x-forwarded-proto") == "https")

    @property
    def is_gone(self) -> bool:
        """Whether nobody reads the answer any more."""
        return bool(self._scope["is_gone"]())

    @property
    def body_size(self) -> int | None:
        """How long the body of the request says that it is; None if it comes in chunks."""
        if self.asked.header("transfer-encoding"):
            return None
        return int(self.asked.header("content-length") or 0)

    @property
    def has_body(self) -> bool:
        """Whether the request has a body."""
        return self.body_size != 0

    @property
    def is_small(self) -> bool:
        """Whether the body is worth reading before anything is done with the request."""
        size = self.body_size
        return size is not None and size <= _SMALL_BYTES

    async def read(self, size_max: int, has_room: Callable[[int], Awaitable[None]] | None = None) -> bytes | None:
        """The whole body; None if it is larger. *has_room* is waited for when a body turns out not to be small, and
        told how large it may become. Raises Gone if the client went.
        """
        size = self.body_size
        if size == 0:
            return b""
        if size is not None and size > size_max:
            return None
        body = bytearray()
        async for piece in self.stream():
            body += piece
            if len(body) > size_max:
                return None
            if has_room is not None and len(body) > _SMALL_BYTES:
                await has_room(size or size_max)
                has_room = None
        return bytes(body)

    async def stream(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises Gone if it breaks off."""
        is_more = True
        while is_more:
            message = await self._receive()
            if message["type"] != "http.request":
                self.has_left = True
                raise Gone
            is_more = message["more_body"]
            if message["body"]:
                yield message["body"]

    async def answer(self, answer: Answer, *more: tuple[str, str], is_ours: bool = True, is_last: bool = False) -> None:
        """Send an answer that is whole, with more headers; *is_ours*: it is not the platform's own, and bears no date
        yet; *is_last*: the connection ends with it, read to its end or not.
        """
        kept = [(name, value) for name, value in (*answer.headers, *more) if name != "content-length"]
        if self.asked.method == "HEAD":
            # What the platform's body would measure, only the platform can say.
            said = [each for each in answer.headers if each[0] == "content-length"]
            kept += said or (_length(len(answer.body)) if is_ours else [])
        elif answer.status not in _NO_BODY:
            kept += _length(len(answer.body))
        if is_ours:
            kept += self.sharing
            kept.append(("date", formatdate(usegmt=True)))
        await self._begin(answer.status, tuple(kept))
        body, sent = b"" if answer.status in _NO_BODY else answer.body, 0
        if is_last and self.has_body:
            # Closed on what is still coming, the connection would be reset, and the client might never see the answer.
            await self._send({"type": "http.response.body", "body": body, "more_body": True})
            with suppress(TimeoutError, Gone):
                async with asyncio.timeout(_LINGERING_SECONDS):
                    async for _ in self.stream():
                        pass
            body = b""
        # What a slow reader has not taken yet is in memory, beside what others were given: a piece at a time.
        for at in range(0, len(body) - _SMALL_BYTES, _SMALL_BYTES):
            await self._send({"type": "http.response.body", "body": body[at : at + _SMALL_BYTES], "more_body": True})
            sent = at + _SMALL_BYTES
        await self._send({"type": "http.response.body", "body": body[sent:]})

    async def close_after(self, answer: Answer) -> None:
        """Send an answer, and end the connection: what else the client sends is thrown away."""
        await self.answer(answer, ("connection", "close"), is_last=True)

    async def pass_on(self, arriving: Arriving, begun: bytes, *more: tuple[str, str]) -> None:
        """Send an answer as it comes, after the part of it that is here already. If it breaks off, so does this: the
        connection ends, and nobody takes it for whole. Raises NoAnswer and Gone.
        """
        headers = arriving.headers
        if arriving.status in _NO_BODY:
            headers = tuple(each for each in headers if each[0] != "content-length")
        await self._begin(arriving.status, (*headers, *more))
        if begun:
            await self._send({"type": "http.response.body", "body": begun, "more_body": True})
        async for piece in arriving.pieces():
            if self.is_gone:
                raise Gone
            await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        await self._send({"type": "http.response.body", "body": b""})

    async def _begin(self, status: int, headers: Headers) -> None:
        raw: RawHeaders = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        await self._send({"type": "http.response.start", "status": status, "headers": raw})


def _length(size: int) -> list[tuple[str, str]]:
    return [("content-length", str(size))]


def _text(value: bytes) -> str:
    """A header's value. What is no UTF-8 is read as the bytes that it is made of."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")
