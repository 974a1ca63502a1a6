"""Whether the stand-in would answer as the platform does: asked while the platform is well, route by route."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from holdfast.core.exchange import Answer, Asked, Headers, Matched, NoAnswer, NotSent, Platform, Subject
from holdfast.core.trying import Question, differences

__all__ = ["Agreed", "Manner", "Tried", "agreement"]


@dataclass(frozen=True, slots=True)
class Manner:
    """How routes are asked: for about how many records each, as whom, with which headers of the platform's, how long it
    may take, and at which places (JSON pointers) answers may differ.
    """

    count: int = 10
    subject: Subject = field(default_factory=lambda: Subject("staff", "check"))
    headers: Headers = ()
    seconds: float = 10.0
    ignored: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Agreed:
    """What came of a route: how many questions were asked, how many the copy could not answer, why not, and how answers
    differ: each with the path that was asked.
    """

    route: str
    asked: int
    untold: tuple[tuple[str, str], ...]
    differing: tuple[tuple[str, str], ...]

    @property
    def is_good(self) -> bool:
        """Whether every answer was the platform's."""
        return bool(self.asked) and not self.untold and not self.differing


class Tried(Protocol):
    """A stand-in that can say by which requests to try a route, and why it could not answer the last one."""

    why: str

    def questions(self, name: str, subject: Subject, count: int) -> list[Question]:
        """Requests to try a route by, for about so many records."""
        ...

    def answer(self, matched: Matched, asked: Asked, subject: Subject) -> Answer | None:
        """The platform's own answer as the copy has it; None where it can't tell."""
        ...


async def agreement(
    stand_in: Tried, platform: Platform | None, names: Sequence[str], manner: Manner
) -> AsyncIterator[Agreed]:
    """Ask each route, of the platform too where one is given; the answers of both are held against one another."""
    for name in names:
        untold: list[tuple[str, str]] = []
        differing: list[tuple[str, str]] = []
        asked = stand_in.questions(name, manner.subject, manner.count)
        for each in asked:
            place = f"{each.asked.path}?{each.asked.query}".rstrip("?")
            ours = stand_in.answer(each.matched, each.asked, manner.subject)
            if ours is None:
                untold.append((place, stand_in.why))
            elif platform is not None:
                try:
                    sent = replace(each.asked, headers=(*each.asked.headers, *manner.headers))
                    theirs = await platform.send(sent, manner.seconds)
                    found = differences(theirs, ours, manner.ignored)
                except (NotSent, NoAnswer) as err:
                    found = [f"the platform did not answer: {err}"]
                differing += [(place, line) for line in found]
        yield Agreed(name, len(asked), tuple(untold), tuple(differing))
