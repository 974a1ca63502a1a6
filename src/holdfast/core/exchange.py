"""A request and its answer, as the parts of a gateway hand them to each other, and the doors between those parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from holdfast.core.outage import Route

__all__ = ["NO_BODY", "Answer", "Asked", "Door", "Matched", "NoAnswer", "NotSent", "Platform", "StandIn", "Subject"]

Headers = tuple[tuple[str, str], ...]
NO_BODY = (204, 205)  # answers in which HTTP allows none: nothing can be missing from it


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that was read whole. `path` is as it came, percent signs and all; names of headers are in lower case.
    `client` is the address it came from.
    """

    method: str
    path: str
    query: str = ""
    headers: Headers = ()
    body: bytes = b""
    client: str = ""

    def header(self, name: str) -> str:
        """The first header of that name (lower case), or ""."""
        return next((value for key, value in self.headers if key == name), "")


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that is whole."""

    status: int
    headers: Headers = ()
    body: bytes = b""

    def header(self, name: str) -> str:
        """The first header of that name (lower case), or ""."""
        return next((value for key, value in self.headers if key == name), "")


@dataclass(frozen=True, slots=True)
class Matched:
    """A request's route, and the segments of its path that the route names, decoded."""

    route: Route
    params: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Subject:
    """Who is asking, as far as it was proven: "anybody", a "session" with the text that its records bear, or "staff"
    with a name.
    """

    access: str
    name: str = ""


class NotSent(Exception):
    """The platform did not get the request: nothing came of it there, and it may be sent again."""


class NoAnswer(Exception):
    """The request went out, and no whole answer came back: the platform may have done what was asked."""


class Platform(Protocol):
    """The platform itself, as a client sees it."""

    async def send(self, asked: Asked, seconds: float) -> Answer:
        """Its answer, whole, within so many seconds. Raises NotSent or NoAnswer; never sends twice."""
        ...


class StandIn(Protocol):
    """What answers from the copy."""

    def as_of(self, collection: str) -> datetime | None:
        """The moment the copy of a collection is of; None while there is none."""
        ...

    def answer(self, matched: Matched, asked: Asked, subject: Subject) -> Answer | None:
        """The platform's own answer as the copy has it, for somebody who was admitted; None if the copy can't tell."""
        ...

    def version(self, collection: str, key: Mapping[str, str]) -> str | None:
        """A text that changes whenever that record does, "" if it is not there; None if the copy can't tell."""
        ...


class Door(Protocol):
    """Who may read from the copy, and have writes kept, while the platform's own login is away."""

    def learn(self, asked: Asked, answer: Answer) -> None:
        """See what the platform itself answered: it may prove whose session that is, or that it is over. Its body may
        be left out, but not where the path is that of `Sessions`.
        """
        ...

    def leave(self, asked: Asked) -> None:
        """See every request before it is passed on or answered: it may ask to be signed out, durably from here on."""
        ...

    def admit(self, matched: Matched, asked: Asked) -> Subject | None:
        """Who asks; None if he may not read this, or have it kept."""
        ...

    def known(self, asked: Asked) -> Subject | None:
        """Whose session the platform proved it to be, whatever a route names; None if nobody's."""
        ...
