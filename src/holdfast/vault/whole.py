"""What a site has found whole and durable itself, so that it need not be read or synced again.

A name can be visible and yet not survive a power cut: its writer may have died before the folder was synced. So what
this process did not write is synced anew before anything is built on it.
"""

from __future__ import annotations

from threading import Lock

from holdfast.errors import Damaged, Refused
from holdfast.vault.names import Name, parse_name
from holdfast.vault.sites import Site, get_checked

__all__ = ["Whole"]

_KNOWN_MAX = 100_000


class Whole:
    """The names at one site that this process knows to be durable there."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._durable: set[str] = set()
        self._lock = Lock()

    def trust(self, name: str) -> None:
        """This process stored it whole."""
        with self._lock:
            if len(self._durable) >= _KNOWN_MAX:
                self._durable.clear()  # costs a second look at some, and bounds memory
            self._durable.add(name)

    def require(self, text: str, size: int | None = None) -> None:
        """Raise Refused if the name is not here with that size, Damaged if its bytes are not its own; on return it is
        durable. What this process stored is not read again.
        """
        if text not in self._durable:
            self.read(text, size)
        else:
            self.look(text, size)

    def look(self, text: str, size: int | None = None) -> None:
        """Raise Refused if the name is not here, Damaged if it has another size; its bytes are not read."""
        entry = self._site.store.stat(text)
        if entry is None:
            raise _missing(text)
        _check_size(text, entry.size, size)

    def read(self, text: str, size: int | None = None) -> bytes:
        """The bytes of a name, read and checked now, and durable. Raises as `require` does."""
        name = parse_name(text)
        assert name is not None, f"not a name: {text}"
        data = self._checked(name)
        _check_size(text, len(data), size)
        if text not in self._durable:
            self._site.store.put(text, data)
            self.trust(text)
        return data

    def _checked(self, name: Name) -> bytes:
        try:
            return get_checked(self._site, name)
        except KeyError as err:
            raise _missing(name.text) from err
        except Damaged as err:
            raise Damaged(f"{name.text}: {err.message}", hint="run holdfast heal, then check the disk") from err


def _missing(text: str) -> Refused:
    return Refused(f"{text} is not here", hint="run holdfast heal, which brings the site up to date")


def _check_size(text: str, found: int, signed: int | None) -> None:
    if signed is not None and found != signed:
        raise Damaged(f"{text}: {found} bytes where {signed} were signed", hint="run holdfast heal")
