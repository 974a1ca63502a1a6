"""How much a worker holds in memory at a time: answers until they are whole, writes until they are durable.

A body that is small needs no room: there are only so many connections. A larger one has all that it may need from the
moment it has shown itself to be larger, and not before; so nobody takes room by announcing a body, and no two that are
under way wait for each other.
"""

from __future__ import annotations

import asyncio
from collections import Counter

from holdfast.core.footprint import held_bytes

__all__ = ["Bodies", "Room", "Shelf"]

_BYTES_MAX = held_bytes(1)
_SHARES = 4
_BODY_SECONDS = 60.0
_WAITING_MAX = 32


class Room:
    """So many bytes, given out and given back."""

    def __init__(self, size: int = _BYTES_MAX) -> None:
        self._left = size

    def take(self, size: int) -> int:
        """The size, if so much is free: it is taken until it is given back; otherwise 0."""
        taken = size if size <= self._left else 0
        self._left -= taken
        return taken

    def give(self, size: int) -> None:
        """Give back what was taken."""
        self._left += size


class Bodies:
    """Room for the bodies of writes, of which one address may have so large a *share* (by default a quarter), and how
    long a body may take until it is there.
    """

    def __init__(self, size: int = _BYTES_MAX, share: int = 0, seconds: float = _BODY_SECONDS) -> None:
        self.seconds = seconds
        self._size = size
        self._share = share or size // _SHARES
        self._taken: Counter[str] = Counter()
        self._given = asyncio.Event()
        self._waiting = 0

    def shelf(self, owner: str) -> Shelf:
        """Where one body of that address is put; "": one whose address is not known has no share of his own."""
        return Shelf(self, owner)

    async def take(self, owner: str, size: int) -> None:
        """Wait until there is so much room, and take it. Raises TimeoutError at once if too many wait already: what
        has come of each is held meanwhile.
        """
        if not self._fits(owner, size):
            if self._waiting >= _WAITING_MAX:
                raise TimeoutError
            self._waiting += 1
            try:
                while not self._fits(owner, size):
                    self._given.clear()
                    await self._given.wait()
            finally:
                self._waiting -= 1
        self._taken[owner] += size

    def give(self, owner: str, size: int) -> None:
        """Give back what was taken."""
        self._taken[owner] -= size
        if not self._taken[owner]:
            del self._taken[owner]
        self._given.set()

    def _fits(self, owner: str, size: int) -> bool:
        # What is larger than all there is must not wait for ever: it comes alone.
        if owner and self._taken[owner] and self._taken[owner] + size > self._share:
            return False
        taken = self._taken.total()
        return not taken or taken + size <= self._size


class Shelf:
    """The room that one body has."""

    def __init__(self, bodies: Bodies, owner: str) -> None:
        self._bodies = bodies
        self._owner = owner
        self._taken = 0
        self.waits = False  # for room

    async def take(self, size: int) -> None:
        """Have room for a body of that size, as soon as there is."""
        self.waits = True
        await self._bodies.take(self._owner, size)
        self._taken, self.waits = size, False

    def clear(self) -> None:
        """Give it back."""
        if self._taken:
            self._bodies.give(self._owner, self._taken)
        self._taken = 0
