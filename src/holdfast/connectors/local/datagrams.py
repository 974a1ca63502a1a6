"""Datagrams between processes of one host: each arrives whole or not at all, and who sends them never waits.

ear = Ear(folder / "keeper.sock", keeper.hear)      # in a running event loop
if not mouth.send(b"..."): ...                      # nobody listens, or he is busy
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from holdfast.errors import Unreachable

__all__ = ["Ear", "Mouth"]

_BYTES_MAX = 1 << 16
_AT_ONCE = 256  # datagrams, before others have their turn
_BUFFER_BYTES = 1 << 20
_NAME_BYTES_MAX = 100  # a socket's name has room for 108


class Ear:
    """Listens at *path*, which it takes over from whoever listened there before, and calls *heard* with each datagram,
    within the event loop that runs. `mode` says who may send. Raises Unreachable if the path can't be had.
    """

    def __init__(self, path: Path, heard: Callable[[bytes], None], mode: int = 0o700) -> None:
        self._path = path
        self._heard = heard
        self._loop = asyncio.get_running_loop()
        self._socket = _datagrams()
        try:
            path.unlink(missing_ok=True)
            with _short(path) as name:
                self._socket.bind(name)
            path.chmod(mode)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
            self._inode = path.stat().st_ino
        except OSError as err:
            self._socket.close()
            raise Unreachable(f"{path}: {err.strerror or err}", hint="check the folder, then try again") from err
        self._loop.add_reader(self._socket.fileno(), self._read)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Listen no more. What another one made of the path meanwhile stays."""
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        with suppress(OSError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()

    def _read(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                data = self._socket.recv(_BYTES_MAX)
            except OSError:  # none is left
                return
            self._heard(data)


class Mouth:
    """Sends to whoever listens at *path* at that moment."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = _datagrams()

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()

    def send(self, data: bytes) -> bool:
        """Whether it was taken. False, at once, if nobody listens or he is too busy."""
        try:
            with _short(self._path) as name:
                self._socket.sendto(data, name)
        except OSError:
            return False
        return True


def _datagrams() -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
    return made


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """The path as the kernel takes it for a socket: a longer one by way of its folder."""
    if len(os.fsencode(path)) <= _NAME_BYTES_MAX:
        yield str(path)
        return
    number = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{number}/{path.name}"
    finally:
        os.close(number)
