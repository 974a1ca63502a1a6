"""What the gateway keeps of people's requests is sealed at rest, under a key of this host.

>>> from pathlib import Path
>>> from tempfile import TemporaryDirectory
>>> with TemporaryDirectory() as folder:
...     sealing = open_sealing(Path(folder))
...     sealed = sealing.seal(b"two sacks of oats", "7F3K-Q2M9")
...     sealing.open(sealed, "7F3K-Q2M9")
b'two sacks of oats'
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from holdfast.errors import Damaged, Unreachable
from holdfast.vault.hostkey import HostKey

__all__ = ["KEY_FILE", "Sealer", "Sealing", "open_sealing"]

KEY_FILE = "gateway.key"
_OUTBOX = "outbox.db"


class Sealer(Protocol):
    """What is sealed opens with the same *about* only: the number of the receipt it belongs to."""

    def seal(self, data: bytes, about: str) -> bytes: ...

    def open(self, sealed: bytes, about: str) -> bytes:
        """Raises Damaged if it was altered, moved, or sealed under another key."""
        ...


@dataclass(frozen=True, slots=True)
class Sealing:
    """The seals of one host: of the outbox, and the key under which credentials are hashed."""

    _outbox: Sealer
    sessions_key: bytes

    def seal(self, data: bytes, about: str) -> bytes:
        """The bytes of a request, sealed for the outbox."""
        return self._outbox.seal(data, about)

    def open(self, sealed: bytes, about: str) -> bytes:
        """What `seal` was given. Raises Damaged if it was altered, moved, or sealed under another key."""
        return self._outbox.open(sealed, about)


def open_sealing(folder: Path) -> Sealing:
    """The seals of the gateway whose state is in *folder*. Its key is made at first use, before the outbox is: an
    outbox without its key is Damaged, for a new key would open nothing of it.
    """
    path = (folder / KEY_FILE).resolve()  # it may be a link to where the key is to lie
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as err:
        raise Unreachable(f"{folder} can't be made: {err.strerror}", hint="choose a folder you can write to") from err
    # Asked in this order: another process may make the key, and then the outbox, between the two.
    if (folder / _OUTBOX).exists() and not path.exists():
        raise Damaged(
            f"{path} is gone, and {folder / _OUTBOX} was sealed under it",
            hint="put the key back; or move the outbox away and settle its writes with the platform's own records",
        )
    key = HostKey.made_once(path)
    return Sealing(key.box("outbox"), key.derived("sessions"))
