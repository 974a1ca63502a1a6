"""The server itself: where it listens, its certificate, how long it waits, and how it ends.

Without a certificate it listens on this machine only. A client who opens a connection and does not finish asking is cut
off. Asked to stop (SIGTERM, SIGINT), it takes no more requests and finishes those at work.
"""

from __future__ import annotations

import ipaddress
import os
from asyncio import BaseTransport, TimerHandle
from collections.abc import Callable
from typing import Any, cast

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from holdfast.core.listening import SERVER
from holdfast.errors import Unreachable, Usage
from holdfast.operations.hosting import SiteHost
from holdfast.site.app import make_app
from holdfast.site.bodies import SINK, Limits, Sink

__all__ = ["make_server", "serve"]

_ASKING_SECONDS = 15.0  # for the head of a request
_IDLE_SECONDS = 75  # between two requests of one connection
_STOPPING_SECONDS = 30


class _Impatient(HttpToolsProtocol):
    """A connection whose client must finish the head of each request in time."""

    _asking: TimerHandle | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._wait()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._wait()

    def on_headers_complete(self) -> None:
        self._wait(0)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        sink: Sink | None = self.scope.get(SINK)  # type: ignore[assignment]
        if sink is None:
            super().on_body(body)
        else:
            sink.feed(body)

    def shutdown(self) -> None:
        # A farewell in TLS waits for the client's, who may be asleep: who is asked nothing and sent nothing is cut off.
        cycle: RequestResponseCycle | None = self.cycle
        if (cycle is None or cycle.response_complete) and not self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().shutdown()

    def _wait(self, seconds: float | None = None) -> None:
        """Close the connection after so long (by default the time to ask); 0: not at all."""
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None
        seconds = cast(_Config, self.config).asking_seconds if seconds is None else seconds
        if seconds:
            self._asking = self.loop.call_later(seconds, self.timeout_keep_alive_handler)


class _Config(uvicorn.Config):
    asking_seconds = _ASKING_SECONDS


class _Server(uvicorn.Server):
    ready: Callable[[int], None] = staticmethod(lambda _: None)

    async def startup(self, sockets: list[Any] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.ready(int(self.servers[0].sockets[0].getsockname()[1]))


def serve(host: SiteHost, listen: tuple[str, int], ready: Callable[[int], None]) -> None:
    """Serve the site until it is told to stop; *ready* is told the port once it listens.

    Raises Usage if that would be without TLS where others can listen, Unreachable if the place to listen at is taken.
    """
    server = make_server(host, listen)
    server.ready = ready
    try:
        server.run()
    except KeyboardInterrupt:
        return  # the server took the signal itself, stopped in order, and passes it on
    except SystemExit as err:
        raise Unreachable(
            f"nothing can listen at {listen[0]}:{listen[1]}", hint="is it taken? choose another with --listen"
        ) from err
    if not server.started:
        raise Unreachable(f"nothing can listen at {listen[0]}:{listen[1]}", hint="choose another with --listen")


def make_server(
    host: SiteHost, listen: tuple[str, int], limits: Limits | None = None, *, asking_seconds: float = _ASKING_SECONDS
) -> _Server:
    """The server over an open site, not started yet."""
    limits = limits or Limits()
    address, port = listen
    if host.tls is None and not _is_loopback(address):
        raise Usage(
            f"{address} can be reached from elsewhere, and this site has no certificate",
            hint="name tls_cert and tls_key in site.toml, or listen at 127.0.0.1 behind a proxy that speaks TLS",
        )
    for path in host.tls or ():
        if not os.access(path, os.R_OK):
            raise Usage(f"{path} can't be read", hint="site.toml names the certificate and its key as PEM files")
    config = _Config(
        make_app(host, limits),
        host=address,
        port=port,
        http=_Impatient,
        loop="uvloop",
        limit_concurrency=limits.connections,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=_STOPPING_SECONDS,
        ssl_certfile=host.tls[0] if host.tls else None,
        ssl_keyfile=host.tls[1] if host.tls else None,
        **SERVER,
    )
    config.asking_seconds = asking_seconds
    return _Server(config)


def _is_loopback(address: str) -> bool:
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
