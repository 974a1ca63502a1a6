"""The spool: what is on its way to the sites, as it will lie there, in one file of this host that survives a power cut.

It speaks as a store, so that a commit is written to it like to a site; what reached a site is let go of. Each record
of the file holds a name, the bytes and a SHA-256 over both: what a crash tore is cut off when it is opened.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from holdfast.core.ports import Entry
from holdfast.errors import Refused, Unreachable
from holdfast.state.disk import Disk, make_private_folder, translated

__all__ = ["Outgoing", "aside_of"]

_HEAD = struct.Struct("<32sIQ")  # SHA-256 of the rest, length of the name, length of the bytes
_LENGTHS = struct.Struct("<IQ")


def aside_of(path: Path, number: int = 0) -> Path:
    """Where what a spool held was set aside, for the number-th time; without one a pattern for all of these."""
    return path.with_name(f"{path.name}-aside-{number or '*'}")


class _Where(NamedTuple):
    offset: int
    size: int


class Outgoing:
    """Names and bytes in the file at *path*, made if absent. Close it. One process has it open at a time.

    Calls may come from several threads. Every method raises Unreachable if the disk is full or fails; after a
    write that failed nothing more is written.
    """

    def __init__(self, path: Path, disk: Disk | None = None) -> None:
        self._path = path
        self._disk = disk or Disk()
        self._turn = Lock()
        self._where: dict[str, _Where] = {}
        self._has_failed = False
        with translated(path):
            make_private_folder(path.parent)
            if not path.exists():
                self._disk.create(path)
                self._disk.sync_folder(path.parent)
            self._file = path.open("r+b", buffering=0)
            self._end = self._read()
            self._file.truncate(self._end)

    def close(self) -> None:
        """Give the file back; what lies in it stays."""
        self._file.close()

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits."""
        return not self._where

    @property
    def size(self) -> int:
        """How many bytes wait."""
        return self._end

    def clear(self) -> None:
        """Let go of everything: it lies at a site."""
        with self._turn, translated(self._path):
            if self._end:
                self._file.truncate(0)
                self._disk.sync_file(self._path)
            self._where.clear()
            self._end = 0

    def set_aside(self) -> Path:
        """Give all that waits a file of its own beside the spool, which is empty then; returns that file."""
        with self._turn, translated(self._path):
            numbers = (number for number in range(1, 1_000_000) if not aside_of(self._path, number).exists())
            kept = aside_of(self._path, next(numbers))
            self._file.close()
            self._path.rename(kept)
            self._disk.create(self._path)
            self._disk.sync_folder(self._path.parent)
            self._file = self._path.open("r+b", buffering=0)
            self._where.clear()
            self._end = 0
        return kept

    def put(self, name: str, data: bytes) -> bool:
        """See `Store.put`."""
        with self._turn:
            if name in self._where:
                return False
            self._append(name, data)
            return True

    def get(self, name: str) -> bytes:
        """See `Store.get`."""
        where = self._where[name]
        with translated(self._path):
            return os.pread(self._file.fileno(), where.size, where.offset)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """See `Store.list`: the names there are when it is called."""
        with self._turn:
            found = sorted((name, where.size) for name, where in self._where.items() if name.startswith(prefix))
        return iter([Entry(name, size) for name, size in found])

    def stat(self, name: str) -> Entry | None:
        """See `Store.stat`."""
        where = self._where.get(name)
        return None if where is None else Entry(name, where.size)

    def mend(self, name: str, data: bytes) -> None:
        """See `Store.mend`; what lay there damaged is not kept."""
        if not name.endswith(hashlib.sha256(data).hexdigest()):
            raise Refused(f"{name}: only bytes whose SHA-256 is the name may replace it")
        with self._turn:
            self._append(name, data)

    def _append(self, name: str, data: bytes) -> None:
        text = name.encode()
        rest = _LENGTHS.pack(len(text), len(data)) + text + data
        if self._has_failed:
            raise Unreachable(f"{self._path} could not be made durable before", hint="check the disk, then start again")
        # Until it is done: asking again whether bytes are durable, once that failed, proves nothing.
        self._has_failed = True
        with translated(self._path):
            record = hashlib.sha256(rest).digest() + rest
            written = 0
            while written < len(record):
                written += os.pwrite(self._file.fileno(), record[written:], self._end + written)
            self._disk.sync_file(self._path)
        self._has_failed = False
        self._where[name] = _Where(self._end + len(record) - len(data), len(data))
        self._end += len(record)

    def _read(self) -> int:
        """Learn what lies there; returns the end of what is whole."""
        end, total = 0, os.fstat(self._file.fileno()).st_size
        while end + _HEAD.size <= total:
            digest, name_size, size = _HEAD.unpack(os.pread(self._file.fileno(), _HEAD.size, end))
            whole = _HEAD.size + name_size + size
            if end + whole > total:
                break
            rest = os.pread(self._file.fileno(), whole - len(digest), end + len(digest))
            if hashlib.sha256(rest).digest() != digest:
                break
            name = rest[_LENGTHS.size : _LENGTHS.size + name_size].decode()
            self._where[name] = _Where(end + whole - size, size)
            end += whole
        return end
