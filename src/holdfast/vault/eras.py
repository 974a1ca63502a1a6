"""The history cut into eras, and what everybody but the writers said of its commits: all that retention goes by.

* An era is commits in a row with one `since`: nobody needs to read what they hold to know what they need.
* Receipts of grade observed and attested tell when a commit was there, each by the clock of who signed it.
* A receipt for a commit in a closed tail counts for what came before that tail: a rollup stands for the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import accumulate, groupby
from typing import NamedTuple

from holdfast.core.events import CommitRef, Event
from holdfast.core.retention import Era, Vouched
from holdfast.core.statements import DrillProven
from holdfast.errors import Damaged
from holdfast.vault.chain import Signed, SignedEvents
from holdfast.vault.format import Link
from holdfast.vault.names import Kind, parse_name
from holdfast.vault.receipts import Grade, Receipt, read_receipts
from holdfast.vault.scan import Closing
from holdfast.vault.trust import TrustDocument

__all__ = [
    "Arrivals",
    "Line",
    "Span",
    "Word",
    "drills_of",
    "link_of",
    "no_arrivals",
    "said_in",
    "words_of",
]

Span = tuple[Link, Link]
Arrivals = Callable[[str], datetime | None]  # when the judge first saw an object of this name, by his own clock


def no_arrivals(_: str) -> None:
    """Of a judge who keeps no such times."""


class Word(NamedTuple):
    """A receipt, and when it arrived at the judge by his own clock, if he knows."""

    receipt: Receipt
    arrived: datetime | None = None


class Line:
    """The certain history, oldest first; commits go by their places in it, from 0."""

    def __init__(self, commits: Sequence[Signed], closings: Iterable[Closing] = ()) -> None:
        self.commits = tuple(commits)
        self._places = {signed.link: place for place, signed in enumerate(self.commits)}
        self._begins = {signed.place: place for place, signed in enumerate(self.commits)}
        self.closings = tuple(closings)
        self._closed = {tail: each.before.link for each in self.closings for tail in each.tails}
        self._earliest = tuple(accumulate((signed.clock for signed in self.commits), max))

    def place(self, link: Link) -> int | None:
        """Where a commit stands; None if it is not in the history."""
        return self._places.get(link)

    def span(self, ends: Span) -> range | None:
        """The places from the first to the last of two commits; None if they are no such ends."""
        first, last = (self.place(each) for each in ends)
        return None if first is None or last is None or first > last else range(first, last + 1)

    def ends(self, span: tuple[int, int]) -> Span:
        """The first and the last commit of a range of places."""
        return self.commits[span[0]].link, self.commits[span[1]].link

    def covered(self, link: Link) -> int | None:
        """The place up to which a receipt for a commit tells of the history."""
        place = self.place(link)
        return place if place is not None else self.place(self._closed.get(link.stream, link))

    def seen(self, words: Iterable[Word], until: datetime) -> list[Vouched]:
        """What others than the writers say was there, up to a time; what arrived later counts from then.

        Nobody saw a commit before its writer made it, nor before he made one that it follows: who has a reader's key
        makes nothing older than that.
        """
        found = []
        for receipt, arrived in words:
            place = self.covered(receipt.commit)
            if place is None:
                continue
            at = max(receipt.moment, self._earliest[place], arrived or receipt.moment)
            if at <= until:
                clock = receipt.owner if receipt.grade is Grade.ATTESTED else receipt.signer
                found.append(Vouched(clock, place, at))
        return found

    def eras(self, times: Sequence[datetime | None], drilled: Iterable[int]) -> list[Era]:
        """The eras of the first commits, as many as there are times."""
        proven = set(drilled)
        found = []
        for since, group in groupby(range(len(times)), key=lambda place: self.commits[place].commit.since):
            places = list(group)
            found.append(
                Era(
                    self._begins.get(since, 0),
                    places[0],
                    tuple(times[place] for place in places),
                    is_drilled=not proven.isdisjoint(places),
                )
            )
        return found

    def objects(self, places: Iterable[int], known: Iterable[Signed]) -> dict[str, int]:
        """The segments outside tails, with their sizes, that commits at these places added and no other commit known
        names.
        """
        chosen = {self.commits[place].sha256 for place in places}
        found: dict[str, int] = {}
        needed: set[str] = set()
        for signed in known:
            if signed.sha256 not in chosen:
                needed.update(name for name, _ in signed.commit.objects)
                continue
            for text, size in signed.commit.objects:
                name = parse_name(text)
                if name is not None and name.kind is Kind.OBJECT and not name.tail:
                    found[text] = size
        return {text: size for text, size in found.items() if text not in needed}


def words_of(
    objects: Iterable[SignedEvents], document: TrustDocument, arrivals: Arrivals = no_arrivals
) -> tuple[Word, ...]:
    """The receipts that tell how old a commit is: by others than its writer, each with when it arrived at the judge."""
    return tuple(
        Word(receipt, arrivals(signed.name))
        for signed in objects
        for receipt in read_receipts([signed], document)
        if receipt.grade is not Grade.SELF
    )


def drills_of(objects: Iterable[SignedEvents], document: TrustDocument) -> list[tuple[datetime, Link]]:
    """The commits that a reader or root proved by a drill, and when."""
    may = {*document.observers, *document.roles.root.keys, *document.retired("reader", "root")}
    return [
        (event.at, link_of(event.commit))
        for signed in objects
        if signed.events.signer in may
        for event in said_in(signed)
        if isinstance(event, DrillProven) and event.is_proven
    ]


def said_in(signed: SignedEvents) -> Iterator[Event]:
    """The public events of an object; one that is malformed says nothing."""
    for value in signed.events.public:
        try:
            yield Event.from_json(value)
        except Damaged:
            continue


def link_of(commit: CommitRef) -> Link:
    """A commit as links name it."""
    return Link(commit.stream, commit.sequence, commit.sha256)
