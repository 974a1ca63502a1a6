"""The gateway's processes: the keeper, here, and its workers, which answer requests.

A worker that ends is started again, later each time it does so at once. Asked to stop (SIGTERM, SIGINT), the workers
take no more requests and finish those at work; asked again, they end at once. Workers end when this process does,
however that happens.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from holdfast.core.listening import parse_listen
from holdfast.errors import Unreachable
from holdfast.gates import Setup, bound, without_core_dumps
from holdfast.identities import Keys
from holdfast.keeping import Kept, keeping, read_gateway

__all__ = ["serve"]

_WORKER = (sys.executable, "-m", "holdfast.gateway.worker")
_LISTEN_HINT = 'such as listen = "127.0.0.1:8080" in [gateway]'
_AGAIN_SECONDS, _AGAIN_SECONDS_MAX = 0.5, 30.0
_STEADY_SECONDS = 10.0  # that a worker has to live, so that the next one comes at once
_READY_SECONDS = 60.0
_STOPPING_SECONDS = 35.0  # a little more than a worker takes for its last requests
_log = logging.getLogger(__name__)


def serve(config: Path, ready: Callable[[str], None], *, identity: Keys = None) -> None:
    """Keep the gateway of a configuration until told to stop; *ready* is told where it listens, once it does.

    Raises Usage for what the configuration declares wrong, Refused if this gateway is kept already, Unreachable if the
    place to listen at is taken or no worker comes up.
    """
    without_core_dumps()
    asyncio.run(_Serving(read_gateway(config)).run(ready, identity))


class _Serving:
    """One gateway at work."""

    def __init__(self, kept: Kept) -> None:
        self._kept = kept
        self._workers: dict[int, Process] = {}
        self._stopping = asyncio.Event()
        self._stops = 0

    async def run(self, ready: Callable[[str], None], identity: Keys) -> None:
        address, port = parse_listen(self._kept.gateway.listen, _LISTEN_HINT)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        async with keeping(self._kept, identity):
            with bound((address, port)) as listening:
                port = listening.getsockname()[1]
                begun = [asyncio.Event() for _ in range(max(self._kept.gateway.workers, 1))]
                tasks = [
                    asyncio.create_task(self._worker(number, listening.fileno(), each))
                    for number, each in enumerate(begun, 1)
                ]
                try:
                    await self._until_ready(begun, tasks)
                    if not self._stopping.is_set():
                        ready(f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}")
                    await self._stopping.wait()
                finally:
                    # Held open here, it would take connections that no worker answers any more.
                    listening.close()
                    await self._end(tasks)
            # A worker that never came up ends the gateway: what it says of it is on standard error already.
            for task in tasks:
                task.result()

    async def _until_ready(self, begun: list[asyncio.Event], tasks: list[asyncio.Task[None]]) -> None:
        """Wait for the first of every worker; a worker that can't come up ends that, and so does the order to stop."""

        async def all_begun() -> None:
            for each in begun:
                await each.wait()

        async def stopped() -> None:
            await self._stopping.wait()

        waiting = [asyncio.create_task(each) for each in (all_begun(), stopped())]
        await asyncio.wait([*waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for each in waiting:
            each.cancel()
        if any(task.done() for task in tasks):
            self._stopping.set()

    async def _worker(self, number: int, listening: int, begun: asyncio.Event) -> None:
        """Keep one worker alive until the gateway stops. Raises Unreachable if the first does not come up."""
        pause = _AGAIN_SECONDS
        while not self._stopping.is_set():
            since = time.monotonic()
            status = await self._life(self._kept.setup(str(number), listening), number, begun)
            if self._stopping.is_set():
                return
            if not begun.is_set():
                raise Unreachable(
                    f"worker {number} of the gateway ended with status {status} before it was ready",
                    hint="it said why above",
                )
            pause = _AGAIN_SECONDS if time.monotonic() - since > _STEADY_SECONDS else min(pause * 2, _AGAIN_SECONDS_MAX)
            _log.warning("worker %d ended with status %d; another one is started", number, status)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause if pause > _AGAIN_SECONDS else 0)

    async def _life(self, setup: Setup, number: int, begun: asyncio.Event) -> int:
        """One worker's life; the status with which it ended."""
        process = await asyncio.create_subprocess_exec(
            *_WORKER, stdin=PIPE, stdout=PIPE, pass_fds=(setup.listening,), start_new_session=True
        )
        self._workers[number] = process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            with suppress(ConnectionError):
                process.stdin.write(setup.encoded())
                await process.stdin.drain()
            if self._stopping.is_set():
                process.terminate()
            with suppress(TimeoutError):
                if await asyncio.wait_for(process.stdout.readline(), _READY_SECONDS) == b"ready\n":
                    begun.set()
            return await process.wait()
        finally:
            del self._workers[number]

    async def _end(self, tasks: list[asyncio.Task[None]]) -> None:
        """End all workers: those that do not in time are killed."""
        self._stopping.set()
        self._signal(signal.SIGTERM)
        await asyncio.wait(tasks, timeout=_STOPPING_SECONDS)
        self._signal(signal.SIGKILL)
        await asyncio.wait(tasks)

    def _stop(self) -> None:
        self._stops += 1
        self._stopping.set()
        if self._stops > 1:
            self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        for process in self._workers.values():
            with suppress(ProcessLookupError):
                process.send_signal(number)
