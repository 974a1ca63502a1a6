"""The process from which commands are forked: it has loaded what others made, and Holdfast once that pays.

    python -P server.py SOCKET

SOCKET is the number of one that listens. Whoever connects sends his standard files, and where, with which words and in
which environment `holdfast` shall run. What is forked is that process from then on: it calls the function that the
installed program calls, and ends by the interpreter's own rules. Told back are its number and then its exit code, a
line each. Who hangs up kills it (-9). All end with the standard input of this process.

The first commands load Holdfast themselves, each as much as it needs. Later ones find it loaded, and could not tell:
every name is imported where it is used, modules in no circle, and none that is loaded late adds to what others know
(tests/house/test_loading.py).
"""

from __future__ import annotations

import array
import atexit
import gc
import os
import pkgutil
import selectors
import signal
import socket
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module

NOT_NEEDED = ("boto3", "numpy", "pandas", "polars")
THEIRS = (
    "adbc_driver_sqlite.dbapi", "argparse", "concurrent.futures.thread", "cryptography.hazmat.primitives.ciphers.aead",
    "cryptography.hazmat.primitives.asymmetric.x25519", "cryptography.hazmat.primitives.kdf.hkdf", "dateutil.tz",
    "msgspec", "psycopg", "pyarrow.compute", "pyarrow.dataset", "pyarrow.parquet", "pymysql", "pyrage", "rich.console",
    "rich._emoji_codes", "rich.progress", "rich.table", "secrets", "securesystemslib.dsse", "sqlite3", "sshsig",
    "subprocess", "tomllib", "typer.main", "urllib3", "uuid", "zoneinfo",
)  # fmt: skip
# To load all of Holdfast takes as long as three commands take to load their part of it.
THEMSELVES = 3
# What few commands need, and what these need of others.
SELDOM = (
    "holdfast.connectors.http", "holdfast.connectors.probes", "holdfast.exercises", "holdfast.gateway",
    "holdfast.sample", "holdfast.site", "holdfast.standins", "holdfast.vault.stores.object",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Running:
    """One forked process, whoever waits for it, and what tells that it has ended."""

    process: int
    client: socket.socket
    ended: int


class Server:
    """Forks, and tells of the forked."""

    def __init__(self, listening: int) -> None:
        self._selector = selectors.DefaultSelector()
        self._listening = socket.socket(fileno=listening)
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._selector.register(0, selectors.EVENT_READ)
        self._running: list[Running] = []
        self._begun = 0

    def serve(self) -> bool:
        """True in each process that was forked; False at the end of this one."""
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._listening:
                    if self._begin():
                        return True
                elif key.fileobj == 0:
                    for each in self._running:
                        os.kill(each.process, signal.SIGKILL)
                    return False
                else:
                    self._hear(key)

    def _begin(self) -> bool:
        client, _ = self._listening.accept()
        if self._begun == THEMSELVES:
            load_holdfast()
        self._begun += 1
        message, files = received(client)
        process = os.fork()
        if process == 0:
            self._selector.close()
            self._listening.close()
            client.close()
            for each in self._running:
                each.client.close()
                os.close(each.ended)
            become(message, files)
            return True
        for each in files:
            os.close(each)
        running = Running(process, client, os.pidfd_open(process))
        self._running.append(running)
        self._selector.register(running.ended, selectors.EVENT_READ, running)
        self._selector.register(client, selectors.EVENT_READ, running)
        client.sendall(b"%d\n" % process)
        return False

    def _hear(self, key: selectors.SelectorKey) -> None:
        running: Running = key.data
        if running not in self._running:
            # Both were ready at once.
            return
        if key.fileobj is running.client:
            # Nothing more is ever sent: it has hung up.
            os.kill(running.process, signal.SIGKILL)
        _, status = os.waitpid(running.process, 0)
        self._running.remove(running)
        for each in (running.ended, running.client):
            self._selector.unregister(each)
        os.close(running.ended)
        if key.fileobj is not running.client:
            running.client.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))
        running.client.close()


def received(client: socket.socket) -> tuple[list[bytes], list[int]]:
    """The parts of what a client sends, and the files that come with it."""
    data, files = b"", array.array("i")
    while not data.endswith(b"\0\0"):
        part, controls, *_ = client.recvmsg(1 << 16, socket.CMSG_SPACE(3 * files.itemsize))
        for _, _, control in controls:
            files.frombytes(control)
        data += part
    return data[:-2].split(b"\0"), list(files)


def end(said: list[object]) -> None:
    """End the process with the code that a command gave; if it gave none, leave it to the interpreter.

    Called when all else is done that the interpreter does at the end; what is left is to take apart all that is loaded,
    and that would first copy every page of it.
    """
    for code in said:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 0)


def become(message: list[bytes], files: list[int]) -> None:
    """Be the process that is wanted: its folder, words, environment and standard files."""
    folder, count, *rest = message
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(folder)
    words, variables = rest[: int(count)], rest[int(count) :]
    sys.argv = [os.fsdecode(each) for each in words]
    os.environb.clear()
    os.environb.update(each.split(b"=", 1) for each in variables)
    time.tzset()


def load(names: Iterable[str]) -> None:
    """Load what commands need as they load it: without what Arrow and others look for wherever it is installed."""
    for name in NOT_NEEDED:
        sys.modules[name] = None  # type: ignore[assignment]
    for name in names:
        import_module(name)
    for name in NOT_NEEDED:
        del sys.modules[name]
    gc.collect()
    gc.freeze()


def load_holdfast() -> None:
    """Load all of Holdfast but SELDOM."""
    import holdfast

    found = (each.name for each in pkgutil.walk_packages(holdfast.__path__, "holdfast."))
    load(name for name in found if not name.startswith(SELDOM))


if __name__ == "__main__":
    said: list[object] = []
    # The first to be registered is called last.
    atexit.register(end, said)
    load(THEIRS)
    if Server(int(sys.argv[1])).serve():
        from holdfast.cli.main import main

        try:
            main()
        except SystemExit as ended:
            said.append(ended.code)
            raise
