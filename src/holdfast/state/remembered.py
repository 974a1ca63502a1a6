"""The facts that the index remembers, as values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa

from holdfast.core.records import Schema

__all__ = ["FOLLOWING", "SPOOL", "CollectionState", "Group", "GroupHead", "PendingRun", "StreamState"]

FOLLOWING = "following"  # under which a follower leaves word for whoever asks how it fares
SPOOL = "spool"  # the file in which commits wait for the sites
CHAIN = "chain"  # the folder with a copy of the chain as the sites last had it


@dataclass(frozen=True, slots=True)
class StreamState:
    """This host's own stream: its id, its last sequence and the SHA-256 (hex) of that commit."""

    id: str
    sequence: int
    head: str


@dataclass(frozen=True, slots=True)
class CollectionState:
    """One collection as its last commit left it. `base_stream` and `base_sequence` name where its generation began;
    base and delta sizes are what policy weighs when it decides on a new generation.
    """

    name: str
    schema: Schema
    rows: int
    fingerprint: str
    generation: int
    base_stream: str
    base_sequence: int
    base_rows: int = 0
    delta_rows: int = 0
    deltas: int = 0


@dataclass(frozen=True, slots=True)
class PendingRun:
    """Index changes that wait for their commit: applied if the vault holds a commit of that name, dropped if not."""

    id: int
    commit: str


class GroupHead(NamedTuple):
    """What the index tells of a group without opening it."""

    first_key: bytes
    rows: int
    seal: bytes


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Consecutive records by key: their keys (binary, ascending), their row digests (32 bytes each), and a seal.

    The seal is the caller's: equal seals mean that nothing in the group has changed. `packed` holds keys and digests as
    the index does, of a group that came from there.
    """

    seal: bytes
    keys: pa.Array
    digests: pa.Array
    packed: tuple[bytes, bytes] | None = None

    @property
    def first_key(self) -> bytes:
        return bytes(self.keys[0].as_py())

    @property
    def rows(self) -> int:
        return len(self.keys)
