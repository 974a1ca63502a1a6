"""A program of the owner's as a probe: it ends with 0 if all is well."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from holdfast.core.health import NotWell

__all__ = ["Command"]

_OUTPUT_MAX = 1 << 16
_SECRETS = ("HOLDFAST_IDENTITY", "HOLDFAST_TOKEN")


@dataclass(frozen=True, slots=True)
class Command:
    """A program, run in a folder. It must end with 0 and say `expect`; with all that it started it is killed when
    nobody waits for it any more.
    """

    arguments: Sequence[str]
    folder: Path
    expect: str = ""

    async def ask(self) -> str:
        """The last line that it printed."""
        starting = asyncio.ensure_future(self._start())
        try:
            # Cancelled half-way it would be there, and nobody would know of it.
            process = await asyncio.shield(starting)
        except asyncio.CancelledError:
            with suppress(OSError):
                await _kill(await starting)
            raise
        except (OSError, ValueError) as err:
            why = err.strerror if isinstance(err, OSError) else err
            raise NotWell(f"{self.arguments[0]} can't be run: {why}") from err
        try:
            said = await _heard(process)
            code = await process.wait()
        finally:
            await _kill(process)
        last = (said.decode(errors="replace").strip().splitlines() or [""])[-1][:200]
        if code:
            raise NotWell(f"ended with {code}: {last}" if code > 0 else f"killed by signal {-code}: {last}")
        if self.expect and self.expect.encode() not in said:
            raise NotWell(f"did not say {self.expect!r}: {last}")
        return last or "ended with 0"

    async def _start(self) -> asyncio.subprocess.Process:
        environment = {name: value for name, value in os.environ.items() if name not in _SECRETS}
        return await asyncio.create_subprocess_exec(
            *self.arguments,
            cwd=self.folder,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )


async def _kill(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


async def _heard(process: asyncio.subprocess.Process) -> bytes:
    """The end of what it says; more than that it may not fill our memory with."""
    assert process.stdout is not None
    said = b""
    while piece := await process.stdout.read(_OUTPUT_MAX):
        said = (said + piece)[-_OUTPUT_MAX:]
    return said
