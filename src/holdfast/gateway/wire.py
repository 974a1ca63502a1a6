"""The gateway's side of a connection: what may come in, how large, and how slowly.

uvicorn and llhttp parse; this decides what of it is let in. A request whose head can be read in two ways is answered
with a refusal, and the connection ends: who stands before or behind the gateway might read the other one.
"""

from __future__ import annotations

import re
from asyncio import BaseTransport, TimerHandle
from collections import Counter
from collections.abc import Container
from dataclasses import dataclass
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from holdfast.core.hops import address_of

__all__ = ["Guarded", "Patience", "WireConfig"]

_HEAD_BYTES_MAX = 32 << 10
_HEADERS_MAX = 100
_WAITING_MAX = 32  # requests of one connection, behind the one at work
_HOST = re.compile(rb"[A-Za-z0-9._~-]*(?::[0-9]*)?|\[[0-9A-Fa-f:.]+\](?::[0-9]*)?")
_METHODS_REFUSED = frozenset((b"CONNECT", b"TRACE"))


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a client is waited for: for the head of a request, between two requests, for him to read what he asked
    for, and for either when the gateway stops; and how many bytes a second the body of a request has to come with.
    """

    head_seconds: float = 15.0
    idle_seconds: int = 75
    reading_seconds: float = 60.0
    body_bytes: int = 256  # a second, taken over `body_seconds`
    body_seconds: float = 10.0
    stopping_seconds: float = 5.0


class WireConfig(uvicorn.Config):
    """What uvicorn is told; how patient it is; and how many connections one address may have, those of `fronts`
    excepted.
    """

    patience = Patience()
    fronts: Container[str] = ()
    share = 500

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.at_once: Counter[str] = Counter()


class Guarded(HttpToolsProtocol):
    """A connection. The scope of each request has `target`, what was asked for byte for byte, `flaw`, the status with
    which it must be refused (0: it need not be), and `is_gone`, which says whether nobody reads the answer.
    """

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        config = cast(WireConfig, self.config)
        self._patience = config.patience
        peer = address_of(self.client[0]) if self.client else ""
        self._peer = peer if peer not in config.fronts else ""
        self._asking: TimerHandle | None = None
        self._sending: TimerHandle | None = None
        self._reading: TimerHandle | None = None
        self._stopping: TimerHandle | None = None
        self._is_head = True
        self._head_bytes = 0
        self._body_bytes = 0
        self._expect_head()
        if self._peer:
            config.at_once[self._peer] += 1
            if config.at_once[self._peer] > config.share:
                self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._asking, self._sending, self._reading, self._stopping):
            if timer is not None:
                timer.cancel()
        at_once = cast(WireConfig, self.config).at_once
        if self._peer:
            at_once[self._peer] -= 1
            if not at_once[self._peer]:
                del at_once[self._peer]
        super().connection_lost(exc)

    def shutdown(self) -> None:
        super().shutdown()
        # What is not asked yet can be asked again; it must not keep all others waiting for the next gateway.
        self._stopping = self.loop.call_later(self._patience.stopping_seconds, self._cut_off)

    def data_received(self, data: bytes) -> None:
        # What follows a request that ends the connection is read by nobody.
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.keep_alive and not cycle.more_body:
            return
        if self._is_head:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._is_head and self._head_bytes > _HEAD_BYTES_MAX and not self.transport.is_closing():
            self.send_400_response("The head of the request is too large.")

    def send_400_response(self, msg: str) -> None:
        # An answer must not get between the parts of the one before it, nor be taken for it.
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is None or cycle.response_complete:
            super().send_400_response(msg)
            return
        cycle.keep_alive = False
        if cycle.more_body:
            self.transport.abort()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._is_head = True
        self._expect_head()

    def on_header(self, name: bytes, value: bytes) -> None:
        # What follows a body in chunks is no part of the head: there it would change what the head was let in for.
        if self._is_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None
        if len(self.pipeline) >= _WAITING_MAX:
            raise BufferError("too many requests wait on one connection")  # the parser makes a fault of it, and ends
        scope = cast(dict[str, Any], self.scope)
        scope["target"] = self.url
        flaw = scope["flaw"] = self._flaw()
        scope["is_gone"] = self.transport.is_closing
        self._is_head = False
        self._head_bytes = 0
        if flaw:
            self.url = b"/"  # which uvicorn can take apart; nothing looks at it
        super().on_headers_complete()
        if flaw or self.parser.should_upgrade():
            self.cycle.keep_alive = False
        self._body_bytes = 0
        if self._sending is None:
            self._sending = self.loop.call_later(self._patience.body_seconds, self._see_body, 0)

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None
        super().on_message_complete()
        if not self.parser.should_keep_alive():
            # Said behind the body, it counts all the same: what follows is not read.
            self.cycle.keep_alive = False
            if self.cycle.response_complete:
                self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._reading = self.loop.call_later(self._patience.reading_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
        super().resume_writing()

    def _unsupported_upgrade_warning(self) -> None:
        """Nothing: such a request is an ordinary one, or refused."""

    def _expect_head(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
        self._asking = self.loop.call_later(self._patience.head_seconds, self.timeout_keep_alive_handler)

    def _cut_off(self) -> None:
        """End the connection of who is still asking, unless it is us who does not read it, or of who does not read."""
        is_asking = self._sending is not None and not self.flow.read_paused
        if is_asking or self._reading is not None:
            self.transport.abort()

    def _see_body(self, before: int) -> None:
        """Cut off who sends a body by drops; while we are who does not read it, he has time."""
        expected = self._patience.body_bytes * self._patience.body_seconds
        if not self.flow.read_paused and self._body_bytes - before < expected:
            self._sending = None
            self.transport.abort()
        else:
            self._sending = self.loop.call_later(self._patience.body_seconds, self._see_body, self._body_bytes)

    def _flaw(self) -> int:
        """The status with which this head must be refused; 0 if it need not be."""
        said: dict[bytes, list[bytes]] = {b"host": [], b"content-length": [], b"transfer-encoding": [], b"upgrade": []}
        size = len(self.url)
        for name, value in self.headers:
            size += len(name) + len(value) + 4
            if name in said:
                said[name].append(value)
        if size > _HEAD_BYTES_MAX or len(self.headers) > _HEADERS_MAX:
            return 431
        version = self.parser.get_http_version()
        if version not in ("1.0", "1.1"):
            return 505
        if self.parser.get_method() in _METHODS_REFUSED or b"websocket" in b",".join(said[b"upgrade"]).lower():
            return 501
        hosts = said[b"host"]
        if len(hosts) > 1 or (not hosts and version == "1.1") or not all(map(_HOST.fullmatch, hosts)):
            return 400
        lengths, codings = said[b"content-length"], said[b"transfer-encoding"]
        if len(lengths) + len(codings) > 1 or (codings and version == "1.0"):
            return 400
        if codings and codings[0].lower() != b"chunked":
            return 501
        if self.parser.should_upgrade() and (codings or lengths not in ([], [b"0"])):
            return 501
        return 0 if self.url.startswith(b"/") else 400
