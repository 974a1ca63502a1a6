"""The command `holdfast`, many times, without starting Python many times: each is forked from one warm process.

To start Python and load Arrow, the drivers and Holdfast takes longer than what most commands do then. Tests whose
promise is about the installed program, its start, its memory or signals run that.
"""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from tests.warm.client import Begun

__all__ = ["INSTALLED", "Commands", "warm_commands"]

HERE = Path(__file__).resolve().parent
INSTALLED = Path(sys.executable).parent / "holdfast"


class Commands:
    """Runs commands in forks of the process that listens at `address`; `folder` holds a program `holdfast` for others
    who shall do so, as a shell that has it in its PATH.
    """

    def __init__(self, address: str, folder: Path) -> None:
        self.address = address
        self.folder = folder
        program = folder / INSTALLED.name
        words = [sys.executable, "-I", "-S", str(HERE / "client.py"), address, str(INSTALLED)]
        program.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        program.chmod(0o755)

    def run(
        self, words: Sequence[str | Path], folder: Path, environment: Mapping[str, str], *, seconds: float
    ) -> subprocess.CompletedProcess[str]:
        """Run `holdfast WORDS` in a folder to its end. Raises TimeoutError."""
        command = [str(INSTALLED), *map(str, words)]
        variables = {os.fsencode(name): os.fsencode(value) for name, value in environment.items()}
        with ExitStack() as stack:
            nothing = stack.enter_context(open(os.devnull, "rb"))
            out, err = (stack.enter_context(open(os.memfd_create(each), "r+b")) for each in ("stdout", "stderr"))
            files = [each.fileno() for each in (nothing, out, err)]
            begun = stack.enter_context(closing(Begun(self.address, str(folder), command, variables, files)))
            code = begun.wait(seconds)
            out.seek(0)
            err.seek(0)
            return subprocess.CompletedProcess(command, code, out.read().decode(), err.read().decode())


@contextmanager
def warm_commands() -> Iterator[Commands]:
    """The warm process, for as long as the block runs."""
    with tempfile.TemporaryDirectory(prefix="holdfast-warm-") as folder, socket.socket(socket.AF_UNIX) as listening:
        address = f"{folder}/socket"
        listening.bind(address)
        listening.listen(100)
        process = subprocess.Popen(
            # Not its own folder: what lies there is no module.
            [sys.executable, "-P", HERE / "server.py", str(listening.fileno())],
            cwd=folder,
            env={**os.environ, "LANG": "C.UTF-8", "PYTHONUTF8": "1"},
            stdin=subprocess.PIPE,
            pass_fds=[listening.fileno()],
        )
        try:
            yield Commands(address, Path(folder))
        finally:
            process.communicate()
