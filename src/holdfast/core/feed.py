"""The door to a source that tells its changes as they happen: what a follower asks of it, whoever implements it.

A feed begins where a snapshot ended, exactly: every transaction that committed is either in the snapshot or told by the
feed, once, in the source's order of commits. What can't be told exactly is told as a break, and closed by a new
snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol, TypeAlias

import pyarrow as pa

from holdfast.core.ports import Snapshot
from holdfast.core.records import Schema

__all__ = ["Baseline", "Break", "BreakKind", "ChangeFeed", "ChangeSource", "Kept", "Moved", "Obstacle", "Told"]

BreakKind: TypeAlias = Literal["", "identity", "timeline", "behind"]


@dataclass(frozen=True, slots=True)
class Told:
    """Changes of one collection, in the source's order: the record after each change, or NULLs beside the key of one
    that is gone.

    `rows` are in the collection's schema; for a deletion only key columns count. `ops` are 1 insert, 2 update, 3 delete
    (int8). `at` is the time of each change's transaction by the source's clock (timestamp us UTC), never falling;
    `order` (int64) counts transactions from the last `Moved` on, the same for all collections; `tx` is the source's
    name of the transaction (string). A record whose key changes is gone under the old one and new under the other.
    """

    collection: str
    rows: pa.RecordBatch
    ops: pa.Array
    at: pa.Array
    tx: pa.Array
    order: pa.Array


@dataclass(frozen=True, slots=True)
class Moved:
    """Everything up to here was told, in whole transactions: a commit may end here.

    `position` is where a feed goes on from; `until` is the source's time of the newest transaction, or None if there
    was none; `notes` say in words which versions of records were told inexactly, though their outcome is exact.
    """

    position: str
    until: datetime | None
    transactions: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Break:
    """What comes next can't be told exactly, for this reason: only a new snapshot tells where the source stands.

    `collections` are those concerned, none for all. `kind` says what kind of sign it is: another system behind the same
    name (`identity`), another line of its history (`timeline`), a system that stands before where it stood (`behind`),
    or nothing of these ("").
    """

    why: str
    collections: tuple[str, ...] = ()
    kind: BreakKind = ""


_LOW = 4  # the part of a budget below which whoever looks after it should know


@dataclass(frozen=True, slots=True)
class Kept:
    """What the source keeps for a follower: bytes of its log that are not confirmed yet.

    It keeps `budget` bytes at the most, of which `left` may still come before it gives up; None where it has no limit.
    `at_risk` says in words that it is about to give up, or has.
    """

    bytes_behind: int
    budget: int | None = None
    left: int | None = None
    at_risk: str = ""

    @property
    def shortage(self) -> str:
        """In words that the source may soon give up, and the way out; nothing while there is room."""
        is_low = self.budget is not None and self.left is not None and self.left * _LOW < self.budget
        if not self.at_risk and not is_low:
            return ""
        why = self.at_risk or f"only {self.left:,} of {self.budget:,} bytes are left"
        return f"the source may give up the log it keeps for the follower: {why}; let it follow, or raise the limit"


@dataclass(frozen=True, slots=True)
class Obstacle:
    """What stands in the way of keeping a source: the fact, and the statement or setting that mends it.

    A blocking one keeps Holdfast from following at all; of others the fact says what is less than it could be.
    """

    kind: str
    fact: str
    mend: str
    is_blocking: bool


class ChangeFeed(Protocol):
    """Changes as they come."""

    def read(self, seconds: float) -> Iterator[Told | Moved | Break]:
        """What was told within about so many seconds: pieces of at most about 8 MB, ended by a `Moved` or a `Break`.

        Raises Unreachable when the source goes away: begin again from the last position that was confirmed.
        """

    def confirm(self, position: str) -> None:
        """Everything up to here lies safe: the source need not keep it."""

    @property
    def is_caught_up(self) -> bool:
        """Whether all was told that the source had committed before this feed began."""

    @property
    def unfollowed(self) -> Mapping[str, str]:
        """Collections whose changes are not told, and why: the next snapshot shows what became of them."""

    @property
    def kept(self) -> Kept | None:
        """What the source keeps of its log for us, if it says so."""


class Baseline(Protocol):
    """A snapshot, and the position from which a feed goes on after it."""

    @property
    def snapshot(self) -> Snapshot: ...

    @property
    def position(self) -> str: ...


class ChangeSource(Protocol):
    """A business system whose changes can be followed."""

    def baseline(self) -> AbstractContextManager[Baseline]:
        """A new snapshot with the position that belongs to it; what the source kept for older positions is let go.

        Raises Refused or Unsupported where something stands in the way: `check` says what.
        """

    def feed(
        self, position: str, schemas: Mapping[str, Schema], since: datetime | None = None
    ) -> AbstractContextManager[ChangeFeed]:
        """The changes after a position. If the source no longer has them, the feed begins with a break.

        `schemas` are those that the vault holds; a collection that differs now is a break too. `since` is the time of
        the newest transaction that was told before: none that comes is told as older.
        """
