"""The outbox as those see it who replay it, look at it, or decide what becomes of a write."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, NamedTuple

from holdfast.core.outbox import Fate, Item, Lane, Outcome
from holdfast.core.replaying import Kept
from holdfast.core.uncaptured import WAITS, Uncaptured
from holdfast.errors import Damaged
from holdfast.state.disk import translated
from holdfast.state.lock import release, try_lock
from holdfast.state.outbox import SENDERS, OutboxFile, lost, noted
from holdfast.state.outboxfile import ITEM, item_of, unpacked_write

__all__ = ["News", "OutboxLanes"]

_GONE = "the gateway ended while it was sent"
# A later one that was sent beside it may be at the platform already: until that is known, it waits.
_READY = f"""SELECT {ITEM}, sealed FROM writes WHERE is_next AND fate = 'queued' AND number > ? AND is_approved >= ?
 AND NOT (is_ordered AND record IN (SELECT record FROM writes WHERE fate IN ('sending', 'unknown')))
 ORDER BY number LIMIT ?"""
_UNKNOWN = f"SELECT {ITEM} FROM writes WHERE fate = 'unknown' AND number > ? ORDER BY number LIMIT ?"

# Those that clients send this moment, or that were answered, are no matter of the outbox.
_OTHERS = "AND (is_promised OR fate = 'unknown')"
_DECIDED = "UPDATE writes SET is_free = 1, is_approved = 1, is_overtaken = 0, failures = 0 WHERE receipt = ?"
_UNANSWERED = """UPDATE writes SET answer = NULL WHERE number IN (
 SELECT number FROM writes WHERE answer NOT NULL AND is_promised AND changed < ? LIMIT 500)"""
_UNREADABLE = """UPDATE writes SET fate = 'conflict', reason = ?, changed = ?, waits = 1, is_news = is_promised
 WHERE receipt = ? AND fate = 'queued'"""


class News(NamedTuple):
    """A write whose fate the journal does not have yet, and its record as far as it is still known."""

    item: Item
    record: str


class OutboxLanes:
    """The lanes of an outbox that is open in this process. See `core.replaying.Lanes`."""

    def __init__(self, outbox: OutboxFile) -> None:
        self._outbox = outbox

    @contextmanager
    def replaying(self) -> Iterator[bool]:
        """Whether this process is the one that replays, while the block runs."""
        with translated(self._outbox.path):
            number = try_lock(self._outbox.path.with_name("replaying.lock"))
        try:
            yield number is not None
        finally:
            if number is not None:
                release(number)

    def ready(self, after: int, limit: int, *, approved: bool) -> Sequence[Kept]:
        """See `Lanes.ready`."""
        return self._opened(self._outbox.rows(_READY, after, approved, limit))

    def unknown(self, after: int, limit: int) -> Sequence[Item]:
        """See `Lanes.unknown`."""
        return [item_of(row) for row in self._outbox.rows(_UNKNOWN, after, limit)]

    def kept(self, receipt: str) -> Kept | None:
        """See `Lanes.kept`."""
        query = f"SELECT {ITEM}, sealed FROM writes WHERE receipt = ? AND sealed NOT NULL"
        return next(iter(self._opened(self._outbox.rows(query, receipt))), None)

    async def begin(self, receipt: str, *, is_renamed: bool = False) -> bool:
        """See `Lanes.begin`."""
        at = self._outbox.at()
        values = (self._outbox.sender, at, at, is_renamed, receipt)
        return await self._outbox.ask(lambda connection: _begun(connection, values))

    async def note(self, receipt: str, outcome: Outcome) -> bool:
        """See `Outbox.note`."""
        return await self._outbox.note(receipt, outcome)

    async def recover(self) -> int:
        """See `Lanes.recover`."""
        senders = self._outbox.rows("SELECT DISTINCT sender FROM writes WHERE fate = 'sending'")
        dead = [name for (name,) in senders if name != self._outbox.sender and self._is_dead(name)]
        if not (dead or self._outbox.owes):
            return 0
        at = self._outbox.at()
        return await self._outbox.ask(lambda connection: sum(lost(connection, each, _GONE, at) for each in dead))

    def items(self, lane: Lane | None, limit: int) -> list[Item]:
        """What lies in a lane, oldest first; without one, all that is not done with."""
        fates = lane.fates if lane else tuple(fate for each in Lane for fate in each.fates)
        marks = ", ".join("?" for _ in fates)
        query = f"SELECT {ITEM} FROM writes WHERE fate IN ({marks}) {_OTHERS} ORDER BY number LIMIT ?"
        return [item_of(row) for row in self._outbox.rows(query, *fates, limit)]

    def counts(self) -> Mapping[Fate, int]:
        """How many writes there are of each fate, but for those that only pass through."""
        query = f"SELECT fate, count(*) FROM writes WHERE 1 {_OTHERS} GROUP BY fate"
        return {Fate(fate): count for fate, count in self._outbox.rows(query)}

    def behind_unknown(self) -> int:
        """How many queued writes wait for one of their record of which nobody knows what became of it."""
        query = """SELECT count(*) FROM writes WHERE waits AND fate = 'queued'
 AND record IN (SELECT record FROM writes WHERE fate = 'unknown')"""
        return int(self._outbox.rows(query)[0][0])

    def uncaptured(self, way: str) -> Uncaptured | None:
        """The writes that wait for a capture, which *way* ends; None if none does."""
        query = "SELECT count(*), min(changed) FROM writes WHERE fate = 'queued' AND reason LIKE ?"
        ((records, since),) = self._outbox.rows(query, f"{WAITS}%")
        return Uncaptured(records, datetime.fromtimestamp(since, UTC), way) if records else None

    def plan(self, up_to: int | None = None) -> tuple[str, list[Item]]:
        """The queued writes that nobody let go yet, up to that place in the order, and a number for exactly these."""
        query = f"SELECT {ITEM} FROM writes WHERE fate = 'queued' AND NOT is_approved AND number <= ? ORDER BY number"
        items = [item_of(row) for row in self._outbox.rows(query, (1 << 62) if up_to is None else up_to)]
        if not items:
            return "", []
        digest = hashlib.sha256(" ".join(each.receipt for each in items).encode()).hexdigest()
        return f"{items[-1].order}-{digest[:8]}", items

    async def approve(self, items: Iterable[Item]) -> int:
        """Let queued writes go; returns how many these were."""
        receipts = [(each.receipt,) for each in items]
        query = "UPDATE writes SET is_approved = 1 WHERE receipt = ? AND fate = 'queued'"
        return await self._outbox.ask(lambda connection: connection.executemany(query, receipts).rowcount)

    async def decide(self, receipt: str, outcome: Outcome) -> bool:
        """What a person decided: to send a write after all (QUEUED: whatever became of its record), never to send it
        (DROPPED), or that the platform has it (APPLIED). False if that can't be, or if it is being sent this moment.
        """
        at = self._outbox.at()

        def work(connection: sqlite3.Connection) -> bool:
            is_done = noted(connection, receipt, outcome, at=at, sender="")
            if is_done and outcome.fate is Fate.QUEUED:
                connection.execute(_DECIDED, (receipt,))
            return is_done

        return await self._outbox.ask(work)

    def news(self, limit: int) -> list[News]:
        """Writes of which the journal does not know the newest fate."""
        rows = self._outbox.rows(f"SELECT {ITEM}, sealed FROM writes WHERE is_news ORDER BY number LIMIT ?", limit)
        found = []
        for row in rows:
            kept = self._kept_or_none(row) if row[-1] else None
            found.append(News(item_of(row[:-1]), kept.write.record if kept else ""))
        return found

    async def told(self, news: Iterable[News]) -> None:
        """The journal will have these; what changed meanwhile stays news."""
        rows = [(each.item.receipt, each.item.fate, each.item.reason) for each in news]
        query = "UPDATE writes SET is_news = 0 WHERE receipt = ? AND fate = ? AND reason = ?"
        await self._outbox.ask(lambda connection: connection.executemany(query, rows))

    async def forget(self, before: float) -> int:
        """Let go of keys whose writes the platform answered before that time, and whose receipts nobody holds, and of
        all its answers from before; some of them, so that nobody waits for it. Returns how many keys.
        """
        query = """DELETE FROM writes WHERE number IN (
 SELECT number FROM writes WHERE fate = 'applied' AND NOT is_promised AND changed < ? LIMIT 500)"""

        def work(connection: sqlite3.Connection) -> int:
            connection.execute(_UNANSWERED, (before,))
            return connection.execute(query, (before,)).rowcount

        return await self._outbox.ask(work)

    def _opened(self, rows: list[tuple[Any, ...]]) -> list[Kept]:
        """Those that can be read. One that can't must not hold up all others: it goes to the dead letters."""
        return [kept for row in rows if (kept := self._kept_or_none(row)) is not None]

    def _kept_or_none(self, row: tuple[Any, ...]) -> Kept | None:
        try:
            return self._kept(row)
        except Damaged as err:
            values = (err.message, self._outbox.at(), row[1])
            self._outbox.writer.tell(lambda connection: connection.execute(_UNREADABLE, values))
            return None

    def _kept(self, row: tuple[Any, ...]) -> Kept:
        item = item_of(row[:-1])
        return Kept(item, unpacked_write(self._outbox.seals.open(row[-1], item.receipt), item.receipt))

    def _is_dead(self, sender: str) -> bool:
        path = self._outbox.path.parent / SENDERS / sender
        with translated(path):
            if not path.exists():
                return True
            number = try_lock(path)
        if number is None:
            return False
        path.unlink(missing_ok=True)
        release(number)
        return True


def _begun(connection: sqlite3.Connection, values: tuple[object, ...]) -> bool:
    query = """UPDATE writes SET fate = 'sending', sender = ?, sent = ?, changed = ?, tries = tries + 1, reason = '',
 is_promised = 1, is_renamed = max(is_renamed, ?)
 WHERE receipt = ? AND fate IN ('queued', 'unknown')"""
    return connection.execute(query, values).rowcount == 1
