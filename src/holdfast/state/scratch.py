"""Scratch space of one run: what is too much for memory and needed only until the run ends.

Its files have no names, so nothing is left behind, however the process ends. Plaintext never comes here: callers seal
what they put.
"""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock
from typing import IO, NamedTuple, Self

from holdfast.errors import Damaged
from holdfast.state.disk import make_private_folder, translated
from holdfast.state.spool import DigestSpool

__all__ = ["Scratch", "Token"]


class Token(NamedTuple):
    """Where a chunk lies."""

    offset: int
    size: int


class Scratch:
    """Chunks of sealed bytes, and spools of digests, in *folder*. Close it, or use it as a block.

    Chunks may be put and got by several threads; a spool belongs to one.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = None
        # Two sides of a comparison are read in two threads, and the file has one position.
        self._turn = Lock()
        self._spools: list[DigestSpool] = []
        with translated(folder):
            make_private_folder(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give everything back, the spools among it."""
        for spool in self._spools:
            spool.close()
        if self._file is not None:
            with translated(self._folder):
                self._file.close()

    def put(self, sealed: bytes) -> Token:
        """Keep bytes that the caller has encrypted. Raises Unreachable if the disk is full."""
        with self._turn, translated(self._folder):
            if self._file is None:
                self._file = TemporaryFile(dir=self._folder)  # noqa: SIM115
            offset = self._file.seek(0, os.SEEK_END)
            self._file.write(sealed)
            self._file.flush()
        return Token(offset, len(sealed))

    def get(self, token: Token) -> bytes:
        """The bytes of a token, as often as wanted."""
        assert self._file is not None, "a token comes from put"
        with self._turn, translated(self._folder):
            self._file.seek(token.offset)
            found = self._file.read(token.size)
        if len(found) != token.size:
            raise Damaged(f"scratch space in {self._folder} lost bytes", hint="check the disk, then try again")
        return found

    def spool(self) -> DigestSpool:
        """A spool of digests that is closed with this scratch space."""
        spool = DigestSpool(self._folder)
        self._spools.append(spool)
        return spool
