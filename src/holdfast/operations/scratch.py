"""Scratch for one operation: chunks are sealed before they touch the disk, and gone when it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.state.scratch import Scratch, Token
from holdfast.state.spool import DigestSpool
from holdfast.vault.ephemeral import Ephemeral

__all__ = ["SealedScratch", "sealed_scratch"]


class SealedScratch:
    """A `Spill` over a scratch folder, with a key of its own."""

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self._key = Ephemeral()

    def put(self, chunk: bytes) -> Token:
        """Seal and keep a chunk; returns the token that gets it back."""
        return self._scratch.put(self._key.seal(chunk))

    def get(self, token: Token) -> bytes:
        """The chunk of that token, opened."""
        return self._key.open(self._scratch.get(token))

    def digests(self) -> DigestSpool:
        """A spool of digests that lives as long as this scratch."""
        return self._scratch.spool()


@contextmanager
def sealed_scratch(state: Path) -> Iterator[SealedScratch]:
    """Scratch below the state folder while the block runs."""
    with Scratch(state / "scratch") as scratch:
        yield SealedScratch(scratch)
