"""One process at a time: a lock that names its holder and that a crash releases.

The kernel keeps the lock (flock) as long as the holder's file is open; the text in the file only tells who it is.
The file itself is never removed: whoever waits for a removed file would lock a name nobody else sees.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.errors import Refused
from holdfast.state.disk import make_private_folder, translated

__all__ = ["exclusive", "release", "try_lock"]

_NOTE_MAX = 200


@contextmanager
def exclusive(folder: Path, what: str) -> Iterator[None]:
    """Hold *folder* for this process while the block runs; *what* tells others what goes on, such as `capture`.

    Raises Refused at once, naming the holder's process and its work, if another holds it; a second lock of the same
    folder by this process is refused alike. The end of the process, however it comes, frees the folder.
    """
    path = folder / "lock"
    with translated(path):
        make_private_folder(folder)
        number = try_lock(path)
    if number is None:
        raise _held(folder, path)
    try:
        with translated(path):
            os.ftruncate(number, 0)
            os.pwrite(number, f"{os.getpid()} {what}".encode()[:_NOTE_MAX], 0)
        yield
    finally:
        release(number)


def try_lock(path: Path, *, wait: bool = False) -> int | None:
    """Lock the file, made if absent, and return its number; None if another holds it and *wait* is not set."""
    number = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        os.close(number)
        return None
    except BaseException:
        os.close(number)
        raise
    return number


def release(number: int) -> None:
    """Free a lock taken with `try_lock`."""
    os.close(number)


def _held(folder: Path, path: Path) -> Refused:
    pid, _, what = path.read_text(errors="replace").partition(" ")
    # The holder writes its note just after it has the lock, so the note may still be missing.
    holder = f"process {pid} ({what})" if pid else "another process"
    return Refused(f"{folder} is in use by {holder}", hint="wait for it to finish, then run the command again")
