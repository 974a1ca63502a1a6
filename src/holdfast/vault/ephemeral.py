"""Bytes sealed to a key that lives only in this process: for scratch that must not hold plaintext."""

from __future__ import annotations

import pyrage
from pyrage import x25519

from holdfast.errors import Damaged

__all__ = ["Ephemeral"]


class Ephemeral:
    """A key made here, kept in memory and never written down."""

    def __init__(self) -> None:
        self._identity = x25519.Identity.generate()
        self._recipient = self._identity.to_public()

    def seal(self, data: bytes) -> bytes:
        """*data* encrypted, to be opened by this object only."""
        return bytes(pyrage.encrypt(data, [self._recipient]))

    def open(self, sealed: bytes) -> bytes:
        """What `seal` was given. Raises Damaged if the bytes were altered."""
        try:
            return bytes(pyrage.decrypt(sealed, [self._identity]))
        except pyrage.DecryptError as err:
            raise Damaged(f"scratch space was altered: {err}", hint="check the disk, then try again") from err
