"""Disks that fail at a chosen step, and one piece of work on the index to be interrupted."""

from __future__ import annotations

import errno
import os
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

from holdfast.state.disk import Disk
from holdfast.state.index import Index
from holdfast.state.remembered import PendingRun
from tests.state.facts import compact_youngest, entries_of, group, state, stream


class Stop(BaseException):
    """The power went, or the process was killed."""


class FaultyDisk(Disk):
    """Counts the durable steps, and calls *fault* with the step's name before the step numbered *at*.

    A fault that returns lets the step happen. With *late* a commit takes effect and is reported as failed.
    """

    def __init__(self, at: int, fault: Callable[[str], None], *, late: bool = False) -> None:
        self._at = at
        self._fault = fault
        self._late = late
        self.steps: list[str] = []

    def create(self, path: Path) -> None:
        self._step("create", path)
        super().create(path)

    def sync_file(self, path: Path) -> None:
        self._step("sync", path)
        super().sync_file(path)

    def sync_folder(self, path: Path) -> None:
        self._step("sync", path)
        super().sync_folder(path)

    def commit(self, connection: sqlite3.Connection) -> None:
        if self._late:
            super().commit(connection)
            self._step("commit", Path("state.db"))
        else:
            self._step("commit", Path("state.db"))
            super().commit(connection)

    def remove(self, path: Path) -> None:
        self._step("remove", path)
        super().remove(path)

    @property
    def was_reached(self) -> bool:
        return len(self.steps) >= self._at

    def _step(self, verb: str, path: Path) -> None:
        name = path.name if path.suffix != ".db" or path.name == "state.db" else "run"
        self.steps.append(f"{verb} {name}")
        if len(self.steps) == self._at:
            self._fault(self.steps[-1])


class DeadDisk(FaultyDisk):
    """Stops at a step, and at every one after it. Run files that were never synced are torn, as in a power cut."""

    def __init__(self, at: int) -> None:
        super().__init__(at, lambda _: None)
        self._unsynced: list[Path] = []

    def _step(self, verb: str, path: Path) -> None:
        super()._step(verb, path)
        if self.was_reached:
            for torn in self._unsynced:
                if torn.exists():
                    os.truncate(torn, torn.stat().st_size // 2)
            raise Stop
        if verb == "create" and path.name != "state.db":
            self._unsynced.append(path)
        elif verb == "sync" and path in self._unsynced:
            self._unsynced.remove(path)


def kill(_: str) -> None:
    os.kill(os.getpid(), 9)


def full_disk(step: str) -> None:
    """No space left, as the system or SQLite says it."""
    if step.startswith("commit"):
        raise _sqlite_error(sqlite3.SQLITE_FULL, "database or disk is full")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def failing_disk(step: str) -> None:
    """An I/O error, as the system or SQLite says it."""
    if step.startswith("commit"):
        raise _sqlite_error(sqlite3.SQLITE_IOERR, "disk I/O error")
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def _sqlite_error(code: int, text: str) -> sqlite3.OperationalError:
    err = sqlite3.OperationalError(text)
    err.sqlite_errorcode = code
    return err


def capture(folder: Path, sequence: int, disk: Disk | None = None) -> None:
    """One capture against a vault that is the folder `vault`: settle what waits, write, commit, settle, compact.

    What it writes depends on the sequence only, so that doing it again after a crash gives the same.
    """
    vault = folder / "vault"
    vault.mkdir(exist_ok=True)
    with Index.open(folder / "state", disk=disk) as index:
        for waiting in index.pending():
            index.settle(waiting, applied=(vault / waiting.commit).exists())
        if (vault / str(sequence)).exists():
            return
        pending = write(index, sequence)
        (vault / str(sequence)).touch()
        index.settle(pending, applied=True)
        # In turn all runs, the youngest alone on older ones, and the two youngest.
        compact_youngest(index, (sequence - 1) % 3 or 99)


def write(index: Index, sequence: int) -> PendingRun:
    """The run of one capture, finished: other records than the capture before, and a collection of its own."""
    numbers = range(sequence, sequence + 10)
    with index.begin() as run:
        if sequence == 1:
            run.replace_collection("orders")
            run.put_buckets("orders", [entries_of(numbers, sequence)])
        else:
            gone = entries_of(range(sequence - 1, sequence + 9), sequence - 1)
            run.edit_buckets("orders", [gone], [entries_of(numbers, sequence)])
        for head in index.groups("orders"):
            run.drop_group("orders", head.first_key)
        run.put_group("orders", group(numbers, sequence))
        run.replace_collection(f"of {sequence}")
        states = [state("orders", sequence), state(f"of {sequence}", 0)]
        return run.finish(str(sequence), stream(sequence), states)


def settle(folder: Path) -> None:
    """What every process does first: ask the vault about what waits."""
    with Index.open(folder / "state") as index:
        for waiting in index.pending():
            index.settle(waiting, applied=(folder / "vault" / waiting.commit).exists())


if __name__ == "__main__":
    capture(Path(sys.argv[1]), int(sys.argv[2]), FaultyDisk(int(sys.argv[3]), kill))
