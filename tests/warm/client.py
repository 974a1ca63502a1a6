"""What stands for the program `holdfast` where commands are forked: it lends its files, waits, and ends as they end.

python -I -S client.py ADDRESS PROGRAM ARGUMENT …
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterable, Mapping, Sequence

__all__ = ["Begun", "main"]

SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)


class Begun:
    """A command that was begun in a folder, with these words (the first is the program's own) and standard files.

    Whoever closes it before it has ended kills it.
    """

    def __init__(
        self, address: str, folder: str, words: Sequence[str], environment: Mapping[bytes, bytes], files: Iterable[int]
    ) -> None:
        self._wire = socket.socket(socket.AF_UNIX)
        self._wire.connect(address)
        variables = [name + b"=" + value for name, value in environment.items()]
        parts = [os.fsencode(folder), b"%d" % len(words), *map(os.fsencode, words), *variables]
        data = b"\0".join(parts) + b"\0\0"
        sent = socket.send_fds(self._wire, [data], list(files))
        self._wire.sendall(data[sent:])
        self._told = self._wire.makefile("rb")
        self.process = self._number()

    def wait(self, seconds: float | None = None) -> int:
        """Its exit code when it has ended, negative if a signal ended it. Raises TimeoutError."""
        self._wire.settimeout(seconds)
        return self._number()

    def close(self) -> None:
        """Hang up."""
        self._told.close()
        self._wire.close()

    def _number(self) -> int:
        line = self._told.readline()
        if not line:
            raise ConnectionResetError("what forks the commands has ended")
        return int(line)


def main() -> None:
    """Be the program: signals go on to the command, its end is ours."""
    address, *words = sys.argv[1:]
    # They wait until there is a command for them.
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    begun = Begun(address, os.getcwd(), words, os.environb, (0, 1, 2))
    for number in SIGNALS:
        signal.signal(number, lambda number, _: os.kill(begun.process, number))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    code = begun.wait()
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


if __name__ == "__main__":
    main()
