"""Instants between two commits: where changes tell when they happened, any moment of the source can be had.

Changes of one commit are whole transactions in the source's order, and their times never fall; so the rows up to a
time, or before a transaction, are what the source held at that instant. A commit with changes goes up to the time of
the source that they tell, another one up to its own clock. These two clocks may differ, by less than a day.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.errors import Damaged, Usage
from holdfast.vault.chain import AHEAD_MAX, Signed
from holdfast.vault.coding import parse_time
from holdfast.vault.format import Part
from holdfast.vault.latest import Until
from holdfast.vault.merge import ORDER_COLUMN, TX_COLUMN
from holdfast.vault.states import OpenPart, StoredSegment

__all__ = ["before_transaction", "instant_of"]

Parts = Callable[[Signed], Mapping[str, OpenPart]]
Read = Callable[[StoredSegment, Sequence[str]], pa.Table]


def instant_of(commits: Sequence[Signed], parts: Parts, at: datetime) -> tuple[int, Until | None]:
    """The number of the newest commit that goes up to no later than *at*, 0 if none does; where the next one holds
    changes, that one instead, and where to cut it.

    Opens only the parts of commits near that time.
    """
    number = sum(1 for signed in commits if signed.clock <= at)
    while number and (_followed_to(parts(commits[number - 1])) or at) > at:
        number -= 1
    # The host's clock may be ahead of the source's: look on, up to the first changes that go past the time.
    for place in range(number, len(commits)):
        taken = _followed_to(parts(commits[place]))
        is_later = commits[place].clock - AHEAD_MAX > at
        if taken is not None and (is_later or taken > at):
            return (number + 1, Until(at=at)) if number and place == number else (number, None)
        if is_later:
            break
        if taken is not None:
            number = place + 1
    return number, None


def before_transaction(commits: Sequence[Signed], parts: Parts, read: Read, tx: str) -> tuple[int, Until]:
    """The commit that holds a transaction of the source, and the cut just before it.

    Reads changes from the newest back until it is found. Raises Usage if no commit that can be opened holds it.
    """
    for number in range(len(commits), 0, -1):
        for opened in parts(commits[number - 1]).values():
            part = opened.part
            for ref in part.segments if _tells_when(part) else ():
                segment = StoredSegment(ref, opened.epoch, part.schema, number)
                table = read(segment, (TX_COLUMN, ORDER_COLUMN))
                if table.column_names != [TX_COLUMN, ORDER_COLUMN]:
                    raise Damaged(f"{ref.name}: changes that don't tell by whom", hint="run holdfast verify")
                order = pc.min(table.column(ORDER_COLUMN).filter(pc.equal(table.column(TX_COLUMN), tx))).as_py()
                if order is not None:
                    return number, Until(before=order)
    raise Usage(
        f"no change in the vault is of transaction {tx}",
        hint='"holdfast history COLLECTION KEY" shows the transactions of a record',
    )


def _followed_to(parts: Mapping[str, OpenPart]) -> datetime | None:
    """The time of the source up to which a commit of changes goes; None for one that holds no changes."""
    times = [parse_time(each.part.taken) for each in parts.values() if _tells_when(each.part)]
    return max(times, default=None)


def _tells_when(part: Part) -> bool:
    return part.kind == "changes" and not part.dropped
