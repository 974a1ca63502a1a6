"""Instants between two commits: where changes tell when they happened, any moment of the source can be had.

Changes of one commit are whole transactions in the source's order, and their times never fall; so the rows up to a
time, or before a transaction, are what the source held at that instant. A commit goes up to the time at which what it
says was taken from the source, however much later it was signed; so rolling up changes no answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
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

__all__ = ["before_transaction", "goes_up_to", "instant_of"]

Parts = Callable[[Signed], Mapping[str, OpenPart]]
Reach = Callable[[Signed], datetime | None]
Read = Callable[[StoredSegment, Sequence[str]], pa.Table]


def instant_of(commits: Sequence[Signed], reach: Reach, parts: Parts, at: datetime) -> tuple[int, Until | None]:
    """The number of the last commit before the first that goes up to later than *at*, 0 if there is none; where that
    first one holds changes, its number instead, and where to cut it.

    `reach` is `goes_up_to`. It is asked of the commits from a day before that time on, up to that first one.
    """
    # The clock of whoever took it is less than a day behind the source's.
    start = next((place for place, signed in enumerate(commits) if signed.clock + AHEAD_MAX >= at), len(commits))
    later = (place for place in range(start, len(commits)) if (reach(commits[place]) or at) > at)
    number = next(later, len(commits))
    if all(reach(each) is None for each in reversed(commits[:number])):
        # Nothing that this identity opens says when it was.
        return next((place for place in range(number) if commits[place].clock > at), number), None
    if 0 < number < len(commits) and any(_tells_when(each.part) for each in parts(commits[number]).values()):
        return number + 1, Until(at=at)
    return number, None


def goes_up_to(signed: Signed, parts: Iterable[OpenPart]) -> datetime | None:
    """The time at which what a commit says was taken from the source; None if none of its parts is open.

    All its parts say the same time, so the first tells; but of one that rolls up each says its own.
    """
    times = (parse_time(each.part.taken) for each in parts)
    return next(times, None) if signed.commit.rolls is None else max(times, default=None)


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


def _tells_when(part: Part) -> bool:
    return part.kind == "changes" and not part.dropped
