"""How each server of the sample is run: on uvicorn, telling its port, ending with who started it, able to hang up."""

from __future__ import annotations

import os
import sys
import threading
from argparse import ArgumentParser
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["hang_up", "options", "serve"]

_HANG_UP = "holdfast.hang_up"


class _Rude(HttpToolsProtocol):
    """A connection that the application may cut off without an answer."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope[_HANG_UP] = self.transport.abort  # type: ignore[literal-required]


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[Any] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(self.servers[0].sockets[0].getsockname()[1], flush=True)


def hang_up(request: Request) -> None:
    """Cut the connection off: whoever asked gets no answer, not even half of one."""
    request.scope[_HANG_UP]()


def options(what: str) -> ArgumentParser:
    """The options that every server of the sample has."""
    parser = ArgumentParser(description=what)
    parser.add_argument("--listen", default="127.0.0.1:0", help="ADDRESS:PORT; port 0 is any; the port is printed")
    parser.add_argument("--with-parent", action="store_true", help="end when standard input is closed")
    return parser


def serve(app: Starlette, listen: str, *, with_parent: bool = False) -> None:
    """Serve until told to stop. The first line on standard output is the port, once it listens."""
    host, _, port = listen.rpartition(":")
    if with_parent:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    config = uvicorn.Config(
        app,
        host=host,
        port=int(port),
        http=_Rude,
        ws="none",
        loop="uvloop",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=1,
    )
    _Server(config).run()


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)
