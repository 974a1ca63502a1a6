"""What the stand-in asks its copy, without a word of SQL, and what the copy must hold for it.

Values stand beside a `Select`, so that one of them is one statement, however often it is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

from holdfast.core.stored import Stored

__all__ = ["RECORD_DIGEST", "RECORD_KEY", "By", "Index", "Need", "Records", "Select", "Shape", "Texts"]

RECORD_KEY = "holdfast:key"  # a record's canonical key, by which every collection can be put in order
RECORD_DIGEST = "holdfast:digest"  # which changes when anything in the record does


class By(NamedTuple):
    """One column of an order. Where nothing is said of NULL it comes first, and last if the order descends.
    `is_binary`: the platform orders text by its code points too.
    """

    column: str
    is_descending: bool = False
    nulls_last: bool | None = None
    is_binary: bool = False

    @property
    def has_nulls_last(self) -> bool:
        """Where NULL stands."""
        return self.is_descending if self.nulls_last is None else self.nulls_last


Index = tuple[tuple[str, bool], ...]  # columns, and whether each descends


@dataclass(frozen=True, slots=True)
class Select:
    """Which records of a collection, and what of them. `terms` are columns with one of = != < <= > >= (each takes a
    value) or `is null` and `not null` (which take none). With `after` only what comes, in the order, after a record:
    then the values of its columns in the order follow those of the terms, and `after` says which of them are NULL.
    With `as_compared` the columns come as they are compared, not as they are shown.
    """

    collection: str
    columns: tuple[str, ...]
    terms: tuple[tuple[str, str], ...] = ()
    order: tuple[By, ...] = ()
    after: tuple[bool, ...] | None = None
    as_compared: bool = False


class Records(Protocol):
    """The copy at one moment."""

    def find(self, select: Select, values: Sequence[Stored], limit: int, offset: int = 0) -> list[tuple[Stored, ...]]:
        """The records, at most so many, without the first few."""
        ...

    def count(self, select: Select, values: Sequence[Stored]) -> int:
        """How many there are."""
        ...


class Texts(StrEnum):
    """How the platform's own database compares texts, as far as that is known."""

    BINARY = "binary"  # by code points, as the copy does
    COLLATED = "collated"  # equal ones are the same bytes, their order is a language's
    FOLDED = "folded"  # some that differ, in case or accents, may be equal


@dataclass(frozen=True, slots=True)
class Shape:
    """The columns of a collection with their types, its key, and how its platform compares texts."""

    columns: Mapping[str, str]
    key: tuple[str, ...]
    texts: Texts = Texts.BINARY


@dataclass(slots=True)
class Need:
    """What routes need of a collection: columns that are shown, those that are compared or ordered, indexes, and
    whether it must be told when a record changed.
    """

    shown: dict[str, None] = field(default_factory=dict)
    compared: dict[str, None] = field(default_factory=dict)
    indexes: dict[Index, None] = field(default_factory=dict)
    is_versioned: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """All of them, once."""
        return tuple({**self.shown, **self.compared})
