"""What a snapshot of any SQL database is: named views, each made once, when it is first asked for."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol

from holdfast.core.ports import View
from holdfast.core.records import Collection
from holdfast.errors import Unsupported, Usage

__all__ = ["VALUE_BYTES_MAX", "OwnView", "Views", "too_long"]

VALUE_BYTES_MAX = 32 << 20


class OwnView(View, Protocol):
    """A view that knows its collection."""

    @property
    def collection(self) -> Collection: ...


class Views(ABC):
    """The collections of one snapshot and their views."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._views: dict[str, OwnView] = {}

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """All tables with records of their own, and the definitions, in order."""

    @abstractmethod
    def _view(self, name: str) -> OwnView:
        """The view of one of `names`; its records may be read once to prove its schema."""

    def collection(self, name: str) -> Collection:
        """A collection with its schema, proven on its records where the engine's own word is not enough."""
        if name not in self.names:
            raise Usage(f"{self._place} has no collection {name}", hint="look at what it has")
        if name not in self._views:
            self._views[name] = self._view(name)
        return self._views[name].collection

    @property
    def collections(self) -> tuple[Collection, ...]:
        """All of them, by name."""
        return tuple(self.collection(name) for name in self.names)

    def read(self, collection: Collection) -> View:
        """The live view of one of `collections`."""
        self.collection(collection.name)
        return self._views[collection.name]


def too_long(collection: str, column: str, where: str, length: int) -> Unsupported:
    """The error for a value longer than `VALUE_BYTES_MAX`, which nobody here holds in memory."""
    return Unsupported(
        f"{collection}: column {column} of {where} holds {length:,} bytes, more than {VALUE_BYTES_MAX:,}",
        hint="keep values of that size in files, and protect the files",
    )
