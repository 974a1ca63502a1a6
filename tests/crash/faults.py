"""Faults at the seams: the N-th operation on any site's disk or store, on the host's disk, or on a database written to.

One counter runs through all seams of a house (three sites and a host). What a fault does:

* stop    the process dies before the operation. Nothing after it runs: every later operation at any seam dies too, and
          the host's folder is put back to what it was at that moment, for closing a database writes.
          A write is two operations, so a stop between them leaves a torn tail.
* power   the same, and then everything is dropped that was not fsynced, at every site and on the host.
* full    the disk of this operation has no room from then on.
* sync    this fsync reports an I/O error and keeps nothing, nor does a later one of the same bytes or names; power goes
          when the run has ended.
* late    this commit of the host's pointer database takes effect and is reported as failed.
* away    the site of this operation does not answer from then on (stores in memory only).
* once    it does not answer this time (stores in memory only).

SQLite's own fsyncs are taken at their word: what a commit of the pointer database has written counts as durable.
"""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from holdfast.core.ports import Entry, Store
from holdfast.errors import Unreachable
from holdfast.state import disk as state_disk
from holdfast.vault.stores.disk import Disk
from tests.vault.powercut import PowerCut, Stopped

__all__ = ["Fault", "HostDisk", "SeamStore", "Seams", "SiteDisk", "replace_folder"]

SPACE = frozenset({"make_folder", "create", "write", "link", "fsync", "commit", "put", "statement"})
WRITES = SPACE | {"rename", "unlink", "remove"}


class Fault(StrEnum):
    """What befalls an operation."""

    STOP = "stop"
    POWER = "power"
    FULL = "full"
    SYNC = "sync"
    LATE = "late"
    AWAY = "away"
    ONCE = "once"


COUNTED = {
    Fault.STOP: WRITES,
    Fault.POWER: WRITES,
    Fault.FULL: SPACE,
    Fault.SYNC: frozenset({"fsync", "commit"}),
    Fault.LATE: frozenset({"commit"}),
    Fault.AWAY: frozenset({"put", "read"}),
    Fault.ONCE: frozenset({"put", "read"}),
}


class Seams:
    """The counter of one run: strikes at operation `number` (0: never). `freeze` keeps the host as it is then."""

    def __init__(self, fault: Fault, number: int = 0, freeze: Callable[[], object] = lambda: None) -> None:
        self.fault = fault
        self.number = number
        self.count = 0
        self.struck = ""
        self.is_dead = False
        self._freeze = freeze
        self._spoiled: object = None
        # One operation at a time, at any seam: what is frozen is one moment of everything.
        self._lock = threading.RLock()

    @contextmanager
    def step(self, verb: str, place: object, what: str = "") -> Iterator[None]:
        """One operation of a kind at a place, named for messages. Raises Stopped, or OSError as a disk would."""
        with self._lock:
            if self.is_dead:
                raise Stopped
            self._refuse_spoiled(verb, place)
            is_due = False
            if verb in COUNTED[self.fault]:
                self.count += 1
                is_due = self.count == self.number
            if is_due:
                self.struck = f"{self.fault} at operation {self.number}: {verb} {what} of {place}"
                if self.fault in (Fault.FULL, Fault.AWAY):
                    self._spoiled = place
                    self._refuse_spoiled(verb, place)
                elif self.fault is not Fault.LATE:
                    self._strike()
            yield
            if is_due and self.fault is Fault.LATE:
                raise OSError(errno.EIO, "reported as failed")

    def _strike(self) -> None:
        if self.fault in (Fault.SYNC, Fault.ONCE):
            code = errno.EIO if self.fault is Fault.SYNC else errno.EHOSTDOWN
            raise OSError(code, os.strerror(code))
        self.is_dead = True
        self._freeze()
        raise Stopped

    def _refuse_spoiled(self, verb: str, place: object) -> None:
        if self._spoiled != place:
            return
        if self.fault is Fault.FULL and verb in SPACE:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self.fault is Fault.AWAY:
            raise OSError(errno.EHOSTDOWN, os.strerror(errno.EHOSTDOWN))


class SiteDisk(PowerCut):
    """The disk of a folder site. Bytes and names whose fsync failed are never made durable afterwards."""

    def __init__(self, root: Path, seams: Seams) -> None:
        super().__init__(root)
        self._seams = seams
        self._place = f"site {root.name}"
        self._spoiled_bytes: set[int] = set()
        self._spoiled_names: set[Path] = set()

    def make_folder(self, name: str, at: int) -> None:
        with self._seams.step("make_folder", self._place, name):
            super().make_folder(name, at)

    def create(self, name: str, at: int) -> int:
        with self._seams.step("create", self._place, name):
            descriptor = super().create(name, at)
        # A file system gives the number of a file that is gone to the next one, whose bytes are not spoiled.
        self._spoiled_bytes.discard(os.fstat(descriptor).st_ino)
        return descriptor

    def write(self, descriptor: int, data: bytes) -> None:
        for half in (data[: len(data) // 2], data[len(data) // 2 :]):
            with self._seams.step("write", self._place):
                Disk.write(self, descriptor, half)

    def fsync(self, descriptor: int) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        try:
            with self._seams.step("fsync", self._place, path.name):
                if path.is_dir() or os.fstat(descriptor).st_ino not in self._spoiled_bytes:
                    super().fsync(descriptor)
        except OSError:
            self._spoil(path, descriptor)
            raise
        for name in self._spoiled_names:
            self._names.pop(name, None)

    def link(self, source: str, source_at: int, target: str, target_at: int) -> None:
        with self._seams.step("link", self._place, target):
            super().link(source, source_at, target, target_at)

    def rename(self, source: str, source_at: int, target: str, target_at: int) -> None:
        with self._seams.step("rename", self._place, target):
            super().rename(source, source_at, target, target_at)

    def unlink(self, name: str, at: int) -> None:
        with self._seams.step("unlink", self._place, name):
            super().unlink(name, at)

    def _spoil(self, path: Path, descriptor: int) -> None:
        if path.is_dir():
            self._spoiled_names |= {child for child in path.iterdir() if child not in self._names}
        else:
            self._spoiled_bytes.add(os.fstat(descriptor).st_ino)

    def _step(self) -> None:
        """Counting is done by the seams."""


class HostDisk(state_disk.Disk):
    """The disk of the state folder: what of the index's files a power cut would take, and give back."""

    def __init__(self, seams: Seams) -> None:
        self._seams = seams
        self._torn: set[Path] = set()
        self._unnamed: set[Path] = set()
        self._removed: dict[Path, bytes] = {}

    def create(self, path: Path) -> None:
        with self._step("create", path):
            super().create(path)
            self._unnamed.add(path)
            if path.name != "state.db":
                self._torn.add(path)

    def sync_file(self, path: Path) -> None:
        with self._step("fsync", path):
            super().sync_file(path)
            self._torn.discard(path)

    def sync_folder(self, path: Path) -> None:
        with self._step("fsync", path):
            super().sync_folder(path)
            self._unnamed = {each for each in self._unnamed if each.parent != path}
            self._removed = {each: data for each, data in self._removed.items() if each.parent != path}

    def commit(self, connection: sqlite3.Connection) -> None:
        try:
            with self._step("commit", Path("state.db")):
                super().commit(connection)
        except OSError as err:
            told = sqlite3.OperationalError(err.strerror)
            told.sqlite_errorcode = sqlite3.SQLITE_FULL if err.errno == errno.ENOSPC else sqlite3.SQLITE_IOERR
            raise told from err

    def remove(self, path: Path) -> None:
        with self._step("remove", path):
            if path.exists():
                self._removed[path] = path.read_bytes()
            super().remove(path)

    def cut(self) -> None:
        """Make the state folder what a power cut would leave of it."""
        for path in self._torn:
            if path.exists():
                os.truncate(path, path.stat().st_size // 2)
        for path in self._unnamed:
            path.unlink(missing_ok=True)
        for path, data in self._removed.items():
            path.write_bytes(data)

    @contextmanager
    def _step(self, verb: str, path: Path) -> Iterator[None]:
        name = path.name if path.name in ("state.db", "index") or path.suffix != ".db" else "run"
        with self._seams.step(verb, "the host", name):
            yield


class SeamStore:
    """A store that keeps what was ever put under the name of a signed object, and passes the seams if told to."""

    def __init__(self, inner: Store, note: Callable[[str, bytes], None], seams: Seams | None, name: str) -> None:
        self.inner = inner
        self._note = note
        self._seams = seams
        self._place = f"site {name}"

    def put(self, name: str, data: bytes) -> bool:
        self._note(name, data)
        with self._step("put", name):
            return self.inner.put(name, data)

    def mend(self, name: str, data: bytes) -> None:
        self._note(name, data)
        with self._step("put", name):
            self.inner.mend(name, data)

    def get(self, name: str) -> bytes:
        with self._step("read", name):
            return self.inner.get(name)

    def stat(self, name: str) -> Entry | None:
        with self._step("read", name):
            return self.inner.stat(name)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        with self._step("read", prefix):
            return iter(list(self.inner.list(prefix)))

    @contextmanager
    def _step(self, verb: str, name: str) -> Iterator[None]:
        if self._seams is None:
            yield
            return
        try:
            with self._seams.step(verb, self._place, name):
                yield
        except OSError as err:
            raise Unreachable(f"{self._place}: {err.strerror}", hint="free space, or connect it") from err


def replace_folder(folder: Path, by: Path) -> None:
    """Put a copy of *by* in the place of *folder*."""
    shutil.rmtree(folder)
    shutil.copytree(by, folder)
