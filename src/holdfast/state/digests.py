"""The current bucket digests of each collection, read from the runs once a process and then kept up."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.state.layers import EMPTY_BUCKET, Layers
from holdfast.state.packing import DIGEST, split
from holdfast.state.runfile import Run

__all__ = ["BucketDigests"]


class BucketDigests:
    """What `Layers.bucket_digests` tells, remembered: 128 KiB for each collection that was asked for."""

    def __init__(self) -> None:
        self._held: dict[str, bytearray] = {}

    def of(self, name: str, runs: Sequence[Run]) -> list[bytes]:
        """The 4,096 digests of a collection as these runs, the current ones, have it."""
        packed = self._held.get(name)
        if packed is None:
            packed = self._held[name] = bytearray(b"".join(Layers(name, runs).bucket_digests()))
        return split(bytes(packed))

    def add(self, run: Run) -> None:
        """A run was put on top of the current ones."""
        for name, packed in self._held.items():
            if not run.holds(name):
                continue
            if run.replaces(name):
                packed[:] = EMPTY_BUCKET * (len(packed) // DIGEST)
            for number, digest in run.bucket_digests(name):
                packed[number * DIGEST : (number + 1) * DIGEST] = digest
