"""A store in memory: the same contract as a folder, for tests, for trying things out and for scratch."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from holdfast.core.ports import Entry
from holdfast.errors import Refused
from holdfast.vault.names import is_prunable, is_site_name, quarantine_name, sha256_hex

__all__ = ["MemoryStore"]


class MemoryStore:
    """Names and bytes in a dictionary; it lasts as long as the process. `objects` is open to tests that damage it."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def put(self, name: str, data: bytes) -> bool:
        """See `Store.put`; durable means until the process ends."""
        _check(name)
        with self._lock:
            if name in self.objects:
                return False
            self.objects[name] = bytes(data)
            return True

    def get(self, name: str) -> bytes:
        """See `Store.get`."""
        _check(name)
        return self.objects[name]

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """See `Store.list`: the names there are when it is called."""
        with self._lock:
            found = sorted((name, len(data)) for name, data in self.objects.items() if name.startswith(prefix))
        return iter([Entry(name, size) for name, size in found])

    def stat(self, name: str) -> Entry | None:
        """See `Store.stat`."""
        _check(name)
        data = self.objects.get(name)
        return None if data is None else Entry(name, len(data))

    def mend(self, name: str, data: bytes) -> None:
        """See `Store.mend`."""
        _check(name)
        if not name.endswith(sha256_hex(data)):
            raise Refused(f"{name}: only bytes whose SHA-256 is the name may replace it")
        with self._lock:
            damaged = self.objects.get(name)
            if damaged == data:
                return
            if damaged is not None:
                taken = (number for number in range(1, 1_000_000) if quarantine_name(name, number) not in self.objects)
                self.objects[quarantine_name(name, next(taken))] = damaged
            self.objects[name] = bytes(data)

    def delete(self, name: str) -> None:
        """See `Deleter.delete`."""
        if not is_prunable(name):
            raise Refused(f"{name}: only segments and what lies in tails can be deleted")
        with self._lock:
            self.objects.pop(name, None)


def _check(name: str) -> None:
    if not is_site_name(name):
        raise Refused(f"{name!r} is no name for a store", hint="names are parts of [a-z0-9.-] joined by /")
