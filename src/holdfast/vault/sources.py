"""From which of several sites to read next: the one that is likely to be done first, by what it did so far.

A copy is believed for its SHA-256 alone, whichever site it came from: damage at one source goes no further.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Sequence

from holdfast.errors import HoldfastError
from holdfast.vault.names import Name
from holdfast.vault.sites import Site, get_checked

__all__ = ["Sources"]

_WEIGHT = 0.3  # of the newest reading in a site's pace


class Sources:
    """How fast each site has been, and how much it is asked for just now. Calls may come from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: dict[str, int] = defaultdict(int)
        self._failed: dict[str, int] = defaultdict(int)
        self._seconds_a_byte: dict[str, float] = {}

    def read(self, sites: Sequence[Site], name: Name, size: int) -> bytes | None:
        """The bytes of a name from whichever of these sites gives them intact, the fastest first; None if none does."""
        left = list(sites)
        while left:
            site = self._next(left, size)
            began = time.monotonic()
            try:
                data = get_checked(site, name)
            except (KeyError, HoldfastError):
                left.remove(site)  # it was whole when it was looked at; the next verify names it
                self._done(site, size, None)
                continue
            self._done(site, size, time.monotonic() - began)
            return data
        return None

    def _next(self, sites: Sequence[Site], size: int) -> Site:
        with self._lock:
            site = min(sites, key=lambda each: (self._failed[each.name], self._expected(each, size)))
            self._asked[site.name] += size
            return site

    def _expected(self, site: Site, size: int) -> float:
        """The seconds until it is done. One that was never asked comes first, so that it shows what it can do."""
        return (self._asked[site.name] + size) * self._seconds_a_byte.get(site.name, 0.0)

    def _done(self, site: Site, size: int, seconds: float | None) -> None:
        with self._lock:
            self._asked[site.name] -= size
            if seconds is None:
                self._failed[site.name] += 1
                return
            pace, known = seconds / max(size, 1), self._seconds_a_byte.get(site.name)
            self._seconds_a_byte[site.name] = pace if known is None else known + _WEIGHT * (pace - known)
