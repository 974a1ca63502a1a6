"""Reads changes ahead, in a thread of its own, into blocks that wait for whoever asks.

Whatever ends the thread is told to who asks next: a feed never takes a reader that has died for a server that is idle.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Generic, TypeVar

from holdfast.errors import Unreachable

__all__ = ["ReadAhead"]

T = TypeVar("T")


class ReadAhead(Generic[T]):
    """The blocks that `read` makes until its event is set, of which so many wait. It begins at once and goes on until
    `close`, or trouble.
    """

    def __init__(self, read: Callable[[threading.Event], Iterator[T]], waiting: int) -> None:
        self._stop = threading.Event()
        self._blocks: queue.Queue[T | BaseException] = queue.Queue(waiting)
        self._thread = threading.Thread(target=self._read, args=(read,), name="holdfast-changes", daemon=True)
        self._thread.start()

    def next(self, seconds: float) -> T | None:
        """The next block, None if there is none for so long. Raises whatever ended the reading."""
        try:
            found = self._blocks.get(timeout=seconds)
        except queue.Empty:
            if self._thread.is_alive() or not self._blocks.empty():
                return None
            raise Unreachable("changes are not read any more", hint="it is safe to try again") from None
        if isinstance(found, BaseException):
            raise found
        return found

    def close(self) -> None:
        """Stop reading."""
        self._stop.set()
        while self._thread.is_alive():
            if not self._blocks.empty():
                self._blocks.get_nowait()
            self._thread.join(0.05)

    def _read(self, read: Callable[[threading.Event], Iterator[T]]) -> None:
        with ExitStack() as stack:
            stack.push(self._raised)
            for block in read(self._stop):
                self._put(block)
                # It may be large, and is not ours any more while the next one is made.
                del block

    def _raised(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        """Whatever ends the reading is raised where the blocks are taken: by `next`."""
        if error is not None:
            self._put(error)
        return True

    def _put(self, item: T | BaseException) -> None:
        while not self._stop.is_set():
            try:
                self._blocks.put(item, timeout=0.2)
            except queue.Full:
                continue
            return
