"""An HTTP proxy that misbehaves on request: between a client and a real server, so that everything else is real.

with fault_proxy(server.endpoint) as proxy:
    proxy.fail(Status(503, "SlowDown"), times=2)
"""

from __future__ import annotations

import http.client
import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

__all__ = ["ALWAYS", "Cut", "Fault", "FaultProxy", "Lost", "Silence", "Status", "fault_proxy"]

ALWAYS = 1_000_000


@dataclass(frozen=True)
class Status:
    """Answer so in place of the server, which hears nothing of it."""

    status: int
    code: str


@dataclass(frozen=True)
class Cut:
    """End the connection after so many bytes of the answer's body."""

    size: int


@dataclass(frozen=True)
class Lost:
    """The server does as asked; its answer is lost."""


@dataclass(frozen=True)
class Silence:
    """Take the request and say nothing."""


Fault = Status | Cut | Lost | Silence


class FaultProxy:
    """Where to connect to, what was asked for so far, and what shall go wrong next."""

    def __init__(self, upstream: str) -> None:
        self.upstream = urlsplit(upstream).netloc
        self.endpoint = ""
        self.asked: list[str] = []
        self.ended = threading.Event()
        self._faults: list[tuple[Fault, str]] = []
        self._lock = threading.Lock()

    def fail(self, fault: Fault, *, times: int = 1, method: str = "") -> None:
        """Let the next requests go wrong, those with a method if one is named; forgets what was planned before."""
        self._faults = [(fault, method)] * times

    def next(self, method: str) -> Fault | None:
        """What shall happen to this request."""
        with self._lock:
            self.asked.append(method)
            if not self._faults or self._faults[0][1] not in ("", method):
                return None
            return self._faults.pop(0)[0]


class Handler(http.server.BaseHTTPRequestHandler):
    """One request; the connection ends with it."""

    proxy: FaultProxy
    protocol_version = "HTTP/1.1"

    def forward(self) -> None:
        """Pass the request on, and its answer back, unless something shall go wrong."""
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        fault = self.proxy.next(self.command)
        self.close_connection = True
        match fault:
            case Silence():
                self.proxy.ended.wait()
                return
            case Status(status, code):
                text = f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>".encode()
                self.answer(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(text)))], text)
                return
        upstream = http.client.HTTPConnection(self.proxy.upstream, timeout=30)
        try:
            upstream.request(self.command, self.path, body, dict(self.headers.items()))
            found = upstream.getresponse()
            headers, data = found.getheaders(), found.read()
        finally:
            upstream.close()
        match fault:
            case Lost():
                return
            case Cut(size):
                data = data[:size]
        self.answer(found.status, headers, data)

    def answer(self, status: int, headers: list[tuple[str, str]], data: bytes) -> None:
        """Send an answer; one to HEAD has a length and no body."""
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("connection", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            with suppress(OSError):
                self.wfile.write(data)

    do_DELETE = do_GET = do_HEAD = do_POST = do_PUT = forward

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Server(http.server.ThreadingHTTPServer):
    """Clients that give up are no errors."""

    def handle_error(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def fault_proxy(upstream: str, *, tls: ssl.SSLContext | None = None) -> Iterator[FaultProxy]:
    """A proxy before a server, on a free port of the loopback interface; with *tls* clients must speak that to it."""
    proxy = FaultProxy(upstream)
    handler = type("BoundHandler", (Handler,), {"proxy": proxy})
    with Server(("127.0.0.1", 0), handler) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        proxy.endpoint = f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield proxy
        finally:
            proxy.ended.set()
            server.shutdown()
            thread.join()
