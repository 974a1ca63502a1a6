"""The key of this host under which the gateway keeps what it must not keep in the clear: a file for its user only.

* Each use has a key of its own, derived from the file's: what is sealed for one use opens under no other.
* What is sealed is bound to what it is about. Bytes moved to another place, altered, or sealed under another key are
  named, never opened as something else.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from holdfast.errors import Damaged, Unreachable
from holdfast.vault.durable import sync_folder, write_new

__all__ = ["Box", "HostKey"]

_BYTES = 32
_MARK = "holdfast host key 1 "
_VERSION = b"\x01"
_ID_BYTES = 8
_NONCE_BYTES = 12  # random: two in 2^32 messages would meet once in 2^33 hosts
_HEAD = len(_VERSION) + _ID_BYTES
_HINT = "put the file back from where you keep it, or move it away with all that was sealed under it"


class HostKey:
    """A key from which others are derived."""

    def __init__(self, secret: bytes) -> None:
        assert len(secret) == _BYTES, "a host's key has 32 bytes"
        self._secret = secret

    @classmethod
    def made_once(cls, path: Path) -> HostKey:
        """The key in the file, which is made if there is none: the same for all who ask at the same time."""
        if not path.exists():
            fresh = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
            write_new(fresh, f"{_MARK}{secrets.token_hex(_BYTES)}\n".encode(), 0o600)
            try:
                # The name appears with the whole file behind it, and for the first of several only.
                with suppress(FileExistsError):
                    os.link(fresh, path)
                sync_folder(path.parent)
            except OSError as err:
                raise Unreachable(f"{path} can't be made: {err.strerror}", hint="it needs a local disk") from err
            finally:
                fresh.unlink()
        return cls.read(path)

    @classmethod
    def read(cls, path: Path) -> HostKey:
        """The key in the file. Raises Damaged if it holds none, Unreachable if it can't be read."""
        try:
            text = path.read_text(encoding="ascii")
            if not text.startswith(_MARK) or len(secret := bytes.fromhex(text.removeprefix(_MARK))) != _BYTES:
                raise ValueError("it is not whole")
        except OSError as err:
            raise Unreachable(f"{path} can't be read: {err.strerror}", hint="run as the owner of the file") from err
        except ValueError as err:
            raise Damaged(f"{path} holds no key of a host: {err}", hint=_HINT) from err
        return cls(secret)

    def derived(self, use: str) -> bytes:
        """The 32 bytes of that use."""
        return HKDF(hashes.SHA256(), _BYTES, salt=None, info=f"holdfast/1 {use}".encode()).derive(self._secret)

    def box(self, use: str) -> Box:
        """What seals for that use."""
        return Box(self.derived(use))


class Box:
    """Seals bytes under one key (ChaCha20-Poly1305) and opens them again."""

    def __init__(self, key: bytes) -> None:
        self._cipher = ChaCha20Poly1305(key)
        self._id = hashlib.sha256(b"holdfast/1 id of a key" + key).digest()[:_ID_BYTES]

    def seal(self, data: bytes, about: str) -> bytes:
        """The bytes sealed, to be opened only with the same *about*."""
        nonce = os.urandom(_NONCE_BYTES)
        return _VERSION + self._id + nonce + self._cipher.encrypt(nonce, data, about.encode())

    def open(self, sealed: bytes, about: str) -> bytes:
        """What was sealed. Raises Damaged if it was altered, is about something else, or is under another key."""
        if sealed[: len(_VERSION)] == _VERSION and sealed[len(_VERSION) : _HEAD] != self._id:
            raise Damaged(f"what is kept about {about} was sealed under another key of this host", hint=_HINT)
        nonce, data = sealed[_HEAD : _HEAD + _NONCE_BYTES], sealed[_HEAD + _NONCE_BYTES :]
        try:
            if sealed[: len(_VERSION)] != _VERSION or len(nonce) != _NONCE_BYTES:
                raise InvalidTag
            return self._cipher.decrypt(nonce, data, about.encode())
        except InvalidTag as err:
            raise Damaged(
                f"what is kept about {about} was altered or cut", hint="it is lost; nothing was used"
            ) from err
