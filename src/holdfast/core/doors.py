"""What a store may do beside `Store`, and a snapshot or source beside `Snapshot` (core/ports.py): vouch for what it
holds, say what it does against loss, say who it is, count.

Whoever needs it asks with isinstance: a plain one does none of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from holdfast.core.observed import Marks

__all__ = [
    "Attestor",
    "Counted",
    "Deleter",
    "Demanding",
    "Graded",
    "Hold",
    "Identified",
    "Narrowed",
    "Prunable",
    "Unique",
    "Value",
]

Value = bool | int | float | str | None


@dataclass(frozen=True, slots=True)
class Hold:
    """What a place does against deletion: a folder only lets it be detected, a locked bucket holds for so long, a site
    server enforces the rules. `detail` says how in words.
    """

    kind: Literal["detects", "holds", "enforces"]
    detail: str = ""


@runtime_checkable
class Graded(Protocol):
    """A store that does more than let deletion be detected."""

    @property
    def grade(self) -> Hold:
        """What it does against deletion, as far as can be told without trying."""


@runtime_checkable
class Attestor(Protocol):
    """A store that vouches for what it holds: a site server."""

    def attest(self, name: str) -> tuple[str, bytes]:
        """The name and bytes of the site's signed events object: this commit, and all that it needs, lies there whole.

        Raises KeyError if the commit is not there, Refused or Damaged if something it needs is not; safe to repeat.
        """

    def about(self) -> Mapping[str, Any]:
        """What the site says of itself: `site`, `owner`, and its public `key`."""


@runtime_checkable
class Deleter(Protocol):
    """A store that can delete. Only prune receives it: append-only is a type."""

    def delete(self, name: str) -> None:
        """Remove *name*, durably; done if it is absent. Only segments outside tails and what lies in tails can go.

        Raises Refused for any other name, and while the place retains it, with until when.
        """


@runtime_checkable
class Prunable(Protocol):
    """A site that decides for itself what it lets go of, by its own key and clock: who asks changes nothing."""

    def prune(self, step: str) -> Mapping[str, Any]:
        """Take one step, `show`, `mark` or `delete`, and tell what was done, as vault/pruning.py does."""


@runtime_checkable
class Identified(Protocol):
    """A snapshot that knows who it is of: its source's own identity and numbers that never fall."""

    def marks(self) -> Marks:
        """What the source says of itself at this moment, in the snapshot's own transaction."""


@runtime_checkable
class Counted(Protocol):
    """A source, or a snapshot of it, that counts its records by itself, on another way than they are read."""

    def count(self, collections: Sequence[str]) -> Mapping[str, int]:
        """How many records each of these holds; those that it can't count cheaply are left out."""


@runtime_checkable
class Narrowed(Protocol):
    """A snapshot of a source that hides what its reading user has no right to, instead of refusing it."""

    def unseen(self, fewer: frozenset[str], gone: Sequence[str]) -> Mapping[str, str]:
        """The collections that may hold more than this user sees, and why: those of *gone* that may be there still,
        and those of which rights that he had before, the *fewer*, showed him a part.
        """


@runtime_checkable
class Demanding(Protocol):
    """A snapshot that knows how its source numbers records, and what it demands of them beside unique values."""

    def given(self) -> Mapping[str, int]:
        """By collection the largest number that its own counter has given for a key, also for what is there no more."""

    def demanded(self) -> Mapping[str, Mapping[str, Value]]:
        """By collection the columns that may not be NULL, each with its default: dates as ISO text, None where there is
        none that is always one value.
        """


@runtime_checkable
class Unique(Protocol):
    """A snapshot that knows which columns hold values that no two records share."""

    def uniques(self) -> Mapping[str, Sequence[tuple[str, ...]]]:
        """By collection the columns of each such rule, the key's own among them; rules that no columns tell are left
        out. NULL is equal to nothing.
        """

    def spelled(self, collection: str, column: str, texts: Sequence[str]) -> Iterator[tuple[str, str]]:
        """Each of the texts with another one that the column holds and that the source takes for the same, such as one
        in capitals; none where it compares bytes.
        """
