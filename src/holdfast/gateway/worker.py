"""One worker of the gateway: a process that answers requests until it is told to stop or its keeper ends.

    python -m holdfast.gateway.worker      # its setup comes as one line on standard input; see `gates.Setup`

It says "ready" on standard output. Asked to stop (SIGTERM, or the end of standard input), it takes no more requests
and finishes those at work.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import uvicorn
import uvloop

from holdfast.core.footprint import connections_each, held_bytes
from holdfast.core.hops import Fronts
from holdfast.core.listening import SERVER
from holdfast.core.tally import Tally
from holdfast.errors import HoldfastError
from holdfast.gates import Setup, WorkerDoors, worker_doors
from holdfast.gateway.app import Gateway
from holdfast.gateway.pages import Pages
from holdfast.gateway.parts import Parts
from holdfast.gateway.room import Bodies, Room
from holdfast.gateway.wire import Guarded, Patience, WireConfig

__all__ = ["end_when_failed", "make_server", "parts_of", "run"]

_LOOK_SECONDS = 0.02
_TELL_SECONDS = 0.25
_STOPPING_SECONDS = 30
# The next one is started at once after a life that long (`gateway.serve`): a disk that fails on must not keep all out.
_LIFE_SECONDS_MIN = 15.0
_log = logging.getLogger(__name__)
# What clients do wrong is no matter for the log.
_USUAL = ("ASGI callable returned without", "Invalid HTTP request", "Exceeded concurrency limit")


class _Server(uvicorn.Server):
    """Tells when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    async def startup(self, sockets: list[Any] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self.ready.set()


def parts_of(doors: WorkerDoors, worker: str) -> Parts:
    """The parts of a worker of that name."""
    gateway = doors.gateway
    tally = Tally(worker, gateway.breaker, doors.view.standing.epoch)
    pages = Pages(gateway.languages)
    return Parts(
        gateway,
        doors.config.routes,
        doors.platform,
        doors.view,
        tally,
        doors.outbox,
        doors.stand_in,
        doors.door,
        pages,
        Room(held_bytes(gateway.workers)),
        Bodies(held_bytes(gateway.workers)),
    )


def make_server(
    gateway: Gateway, connections_max: int, patience: Patience | None = None, fronts: Sequence[str] = ()
) -> _Server:
    """The server of HTTP over an application, not started yet. One address has half of the connections at most, unless
    it is one of *fronts*.
    """
    config = WireConfig(
        gateway,
        http=Guarded,
        loop="none",
        date_header=False,
        limit_concurrency=connections_max,
        timeout_keep_alive=(patience or Patience()).idle_seconds,
        timeout_graceful_shutdown=_STOPPING_SECONDS,
        **SERVER,
    )
    config.patience = patience or config.patience
    config.fronts, config.share = Fronts(fronts), max(connections_max // 2, 1)
    return _Server(config)


async def end_when_failed(server: uvicorn.Server, has_failed: Callable[[], bool], earliest: float) -> None:
    """Stop a server whose outbox failed, not before that time of the monotonic clock: its worker finishes the requests
    at work and ends, and the next one opens the outbox afresh.
    """
    while not has_failed():
        await asyncio.sleep(_LOOK_SECONDS)
    _log.error("the outbox could not be synced: this worker keeps no writes any more; another one takes its place")
    await asyncio.sleep(max(earliest - time.monotonic(), 0.0))
    server.should_exit = True


def run() -> None:
    """The worker's process."""
    logging.basicConfig(format="holdfast: %(message)s", level=logging.WARNING)
    logging.getLogger("uvicorn.error").addFilter(lambda record: not record.getMessage().startswith(_USUAL))
    setup = Setup.decoded(sys.stdin.buffer.readline())
    try:
        uvloop.run(_work(setup))
    except KeyboardInterrupt:
        return  # the server took the signal itself and stopped in order
    except HoldfastError as err:
        print(f"holdfast: error: {err.message}", file=sys.stderr)
        raise SystemExit(err.exit_code) from err


async def _work(setup: Setup) -> None:
    async with worker_doors(setup) as doors:
        parts = parts_of(doors, setup.worker)
        gateway = Gateway(parts)
        server = make_server(gateway, connections_each(doors.gateway), fronts=doors.gateway.fronts)
        # What was made so far lives as long as the process: no collection needs to look at it again.
        gc.collect()
        gc.freeze()
        ending = end_when_failed(server, lambda: doors.outbox.writer.has_failed, time.monotonic() + _LIFE_SECONDS_MIN)
        tasks = [asyncio.create_task(each) for each in (_keep_up(gateway, doors, parts.tally), _mind(server), ending)]
        try:
            await server.serve(sockets=[doors.listening])
        finally:
            for task in tasks:
                task.cancel()
            _tell(doors, parts.tally, time.monotonic())


async def _keep_up(gateway: Gateway, doors: WorkerDoors, tally: Tally) -> None:
    """See how the breaker stands, and tell the keeper how the platform answers."""
    while True:
        gateway.look()
        now = time.monotonic()
        if tally.is_due(now, _TELL_SECONDS):
            _tell(doors, tally, now)
        await asyncio.sleep(_LOOK_SECONDS)


def _tell(doors: WorkerDoors, tally: Tally, now: float) -> None:
    if doors.keeper.send(tally.report(now).encoded()):
        tally.told()


async def _mind(server: _Server) -> None:
    """Say that the server is ready; stop it when the keeper is gone."""
    try:
        await server.ready.wait()
        # A keeper that was killed meanwhile does not hear it.
        print("ready", flush=True)
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        await reader.read()
    except BrokenPipeError:
        return
    finally:
        server.should_exit = True


if __name__ == "__main__":
    run()
