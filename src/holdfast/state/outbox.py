"""The outbox on this host: writes that are kept for the platform, in one SQLite file (WAL, synchronous=FULL).

Each process that opens it is a *sender*, known by a lock that the kernel frees when the process ends, however it does.
What a dead sender was sending is unknown from then on: it may have reached the platform.

    with closing(OutboxFile(folder, seals, clock)) as outbox:
        accepted = await outbox.submit(write, sending=False)
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, TypeVar

from holdfast.core.outbox import MOVES, Accepted, Fate, Item, Outcome, Verdict, Write
from holdfast.core.ports import Clock
from holdfast.core.receipts import CHANCE_BYTES, read_receipt, receipt_of
from holdfast.errors import HoldfastError
from holdfast.state.disk import Disk, make_private_folder
from holdfast.state.groupcommit import GroupWriter
from holdfast.state.lock import release, try_lock
from holdfast.state.outboxfile import (
    ITEM,
    Seals,
    item_of,
    open_file,
    opened_answer,
    packed_write,
    reading_file,
    sealed_answer,
)

__all__ = ["OUTBOX_NAME", "SENDERS", "OutboxFile", "lost", "noted"]

T = TypeVar("T")
OUTBOX_NAME = "outbox.db"
SENDERS = "senders"
# The same operation: under its key whatever became of it; without one only while it waits under a promise, and
# for a while: a person who is told that his order is kept, and orders again, means it. Nor where a later write of its
# record waits: one, two, and one again is to end as one.
_SAME_KEY = (
    "SELECT receipt, fate, content, means, is_promised, answer, reason FROM writes WHERE has_key AND operation = ?"
)
_SAME_CONTENT = """SELECT receipt, fate, content, means, is_promised, answer, reason FROM writes
 WHERE NOT has_key AND operation = ? AND accepted >= ?
 AND (fate IN ('queued', 'unknown') OR (fate = 'sending' AND is_promised))
 AND NOT EXISTS (SELECT 1 FROM writes AS later WHERE later.waits AND later.record = writes.record
  AND later.number > writes.number)
 ORDER BY number DESC LIMIT 1"""
# Others that a client sends this moment are no reason to wait: without a gateway they would go side by side too.
_EARLIER = """SELECT 1 FROM writes WHERE waits AND record = ?
 AND (fate IN ('queued', 'unknown') OR (fate = 'sending' AND is_promised)) LIMIT 1"""
# Those that went side by side with the one that is at the platform: sent now, they would undo it.
_OVERTAKEN = """UPDATE writes SET is_overtaken = 1, is_news = iif(fate = 'queued', is_promised, is_news),
 changed = iif(fate = 'queued', ?, changed), reason = iif(fate = 'queued', ?, reason),
 fate = iif(fate = 'queued', 'conflict', fate), waits = fate <> 'queued'
 WHERE waits AND is_ordered AND record = ? AND number < ? AND fate IN ('sending', 'queued', 'unknown')"""
_IS_LATER_THERE = "a later write of its record is at the platform"
_THERE = (Fate.APPLIED, Fate.UNKNOWN)  # or may be: what is older and not sent yet would undo it
_KEPT = (Fate.QUEUED, Fate.UNKNOWN, Fate.CONFLICT)
_CHANGED = (Fate.CONFLICT, Fate.QUEUED)
# An alias hides from the platform that it had the same before, from whom it answered too.
_ELSEWHERE = """SELECT 1 FROM writes WHERE has_key AND (is_promised OR ?3) AND content = ?1
 AND ifnull(means, ?2) = ?2 AND fate != 'dropped' LIMIT 1"""
_ANSWERED = "UPDATE writes SET answer = ? WHERE receipt = ? AND has_key AND fate = 'applied'"
_DOUBTED = "UPDATE writes SET fate = 'conflict', reason = ?, waits = 0 WHERE receipt = ?"
_MINE = "SELECT 1 FROM writes WHERE receipt = ? AND fate = 'sending' AND sender = ?"
_FIRST = "SELECT number, is_next FROM writes WHERE waits AND record = ? ORDER BY number LIMIT 1"
_INSERT = """INSERT INTO writes (receipt, operation, content, has_key, record, route, fate, waits, tries, sender,
 accepted, changed, sent, is_promised, is_news, version, sealed, is_ordered, means)
 VALUES (?,?,?,?,?,?,?,1,?,?,?,?,?,?,?,?,?,?,?)"""


class _Row(NamedTuple):
    """A write, ready to be kept."""

    receipt: str
    write: Write
    operation: bytes
    content: bytes
    record: bytes
    sealed: bytes
    at: float


class OutboxFile:
    """The outbox in a folder, made if absent, for one process. See `core.outbox.Outbox`; any thread may call it. Raises
    Damaged if the file is no outbox.
    """

    def __init__(self, folder: Path, seals: Seals, now: Clock, disk: Disk | None = None) -> None:
        self.path = folder / OUTBOX_NAME
        self.seals = seals
        self._now = now
        self._reading = Lock()
        self._owed: list[tuple[str, Outcome]] = []
        self.connection = open_file(self.path)
        self.sender, self._alive = _begin_sender(folder / SENDERS)
        self.writer = GroupWriter(self.path, open_file(self.path), disk)

    async def submit(self, write: Write, *, sending: bool) -> Accepted:
        """See `Outbox.submit`."""
        row = self._row(write)
        try:
            accepted, answer = await self.ask(lambda connection: self._submit(connection, row, sending=sending))
        except asyncio.CancelledError:
            # Nobody is left who would send it.
            self.writer.tell(lambda connection: _withdraw(connection, row))
            raise
        if answer is None:
            return accepted
        return replace(accepted, answer=opened_answer(self.seals, answer, accepted.receipt))

    async def note(self, receipt: str, outcome: Outcome) -> bool:
        """See `Outbox.note`."""
        at = self.at()
        answer = sealed_answer(self.seals, outcome.answer, receipt) if outcome.answer is not None else None

        def work(connection: sqlite3.Connection) -> bool:
            is_done = noted(connection, receipt, outcome, at=at, sender=self.sender)
            if is_done and answer is not None:
                connection.execute(_ANSWERED, (answer, receipt))
            return is_done

        try:
            return await self.ask(work)
        except HoldfastError:
            # Nobody else may note what this process sent, so it is noted as soon as the disk takes it.
            # Who got no receipt was told that it is unknown: what was not sent is not sent later either.
            self._owed.append((receipt, replace(outcome, forget=outcome.forget or outcome.fate is Fate.QUEUED)))
            raise

    def knows(self, write: Write) -> bool:
        """See `Outbox.knows`."""
        same = self.rows(*_same(write, write.operation, self.at()))
        return bool(same or self.rows(_EARLIER, _record(write, "")))

    def find(self, receipt: str) -> Item | None:
        """See `Outbox.find`."""
        number = read_receipt(receipt)
        found = self.rows(f"SELECT {ITEM} FROM writes WHERE receipt = ?", number) if number else []
        return item_of(found[0]) if found else None

    def close(self) -> None:
        """See `Outbox.close`."""
        at = self.at()
        # If that fails, whoever looks for dead senders finds this one.
        with suppress(HoldfastError):
            self.writer.do(lambda connection: lost(connection, self.sender, "the gateway was stopped meanwhile", at))
        self.writer.close()
        with self._reading:
            self.connection.close()
        release(self._alive)
        (self.path.parent / SENDERS / self.sender).unlink(missing_ok=True)

    @property
    def owes(self) -> bool:
        """Whether something that came of a write could not be noted yet."""
        return bool(self._owed)

    async def ask(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """See `GroupWriter.ask`; what could not be noted before is noted first."""
        owed, self._owed = self._owed, []
        at = self.at()

        def all_of_it(connection: sqlite3.Connection) -> T:
            for receipt, outcome in owed:
                if connection.execute(_MINE, (receipt, self.sender)).fetchone():
                    noted(connection, receipt, outcome, at=at, sender=self.sender)
            return work(connection)

        try:
            return await self.writer.ask(all_of_it if owed else work)
        except HoldfastError:
            self._owed += owed
            raise

    def at(self) -> float:
        """Now, in seconds since 1970."""
        return self._now().timestamp()

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """What a query finds in what is durable."""
        with self._reading, reading_file(self.path):
            return self.connection.execute(query, values).fetchall()

    def _row(self, write: Write) -> _Row:
        receipt = receipt_of(os.urandom(CHANCE_BYTES))
        sealed = self.seals.seal(packed_write(write), receipt)
        return _Row(receipt, write, write.operation, write.content, _record(write, receipt), sealed, self.at())

    def _submit(self, connection: sqlite3.Connection, row: _Row, *, sending: bool) -> tuple[Accepted, bytes | None]:
        key = row.write.key
        sent_under = row.write.alias or key or row.receipt
        query, *values = _same(row.write, row.operation, row.at)
        same = connection.execute(query, values).fetchone()
        if same is not None:
            return _again(connection, row, same)
        # Who renewed his credential and delivers again is not known for the same: that is for a person to say.
        elsewhere = (row.content, row.write.means, bool(row.write.alias))
        is_doubted = bool(key) and connection.execute(_ELSEWHERE, elsewhere).fetchone() is not None
        is_sent = sending and not is_doubted and connection.execute(_EARLIER, (row.record,)).fetchone() is None
        fate = Fate.SENDING if is_sent else Fate.QUEUED
        times = (row.at, row.at, row.at if is_sent else None)
        sender = (int(is_sent), self.sender if is_sent else "")
        promise = (not is_sent, not is_sent)
        connection.execute(
            _INSERT,
            (
                *(row.receipt, row.operation, row.content, bool(key), row.record, row.write.route, fate),
                *(
                    *sender,
                    *times,
                    *promise,
                    row.write.version,
                    row.sealed,
                    bool(row.write.record) and row.write.record != row.write.client,
                    row.write.means,
                ),
            ),
        )
        if is_doubted:
            fate = Fate.CONFLICT
            connection.execute(_DOUBTED, ("the same came under this key with another credential before", row.receipt))
        _advance(connection, row.record)
        return Accepted(Verdict.SEND if is_sent else Verdict.KEPT, row.receipt, fate, sent_under), None


def noted(connection: sqlite3.Connection, receipt: str, outcome: Outcome, *, at: float, sender: str) -> bool:
    """Note what came of a write, within a transaction; False if from its fate there is no way to this one, or another
    sender is sending it.
    """
    found = connection.execute(
        "SELECT fate, sender, is_promised, has_key, is_overtaken, number, record, version FROM writes"
        " WHERE receipt = ?",
        (receipt,),
    ).fetchone()
    if found is None or outcome.fate not in MOVES[was := Fate(found[0])]:
        return False
    _, holder, is_promised, has_key, is_overtaken, number, record, version = found
    if was is Fate.SENDING and holder != sender:
        return False
    if not is_promised and (outcome.forget or (outcome.fate is Fate.APPLIED and not has_key)):
        # The client has the platform's own answer, or nothing; nobody can ask for this receipt.
        connection.execute("DELETE FROM writes WHERE receipt = ?", (receipt,))
        if outcome.fate in _THERE:
            connection.execute(_OVERTAKEN, (at, _IS_LATER_THERE, record, number))
        _advance(connection, record)
        return True
    # A person, who is no sender, may decide otherwise.
    if is_overtaken and sender and outcome.fate is Fate.QUEUED:
        outcome = Outcome(Fate.CONFLICT, f"{outcome.reason}; {_IS_LATER_THERE}", outcome.status)
    # Nothing went out: whoever sends it is the first to do so.
    is_unsent = not is_promised and was is Fate.SENDING and outcome.fate is Fate.QUEUED
    # A try that did not reach the platform changes nothing that was told.
    is_try = bool(is_promised) and outcome.fate is Fate.QUEUED and was in (Fate.SENDING, Fate.QUEUED)
    is_promised = bool(is_promised) or (was is Fate.SENDING and outcome.fate in _KEPT)
    # A record that was changed meanwhile holds up what was meant for it; what failed or was overtaken holds up nobody.
    waits = outcome.fate in (Fate.QUEUED, Fate.SENDING, Fate.UNKNOWN) or (outcome.fate, was) == _CHANGED
    has_failed = was is Fate.SENDING and outcome.fate is Fate.UNKNOWN and outcome.status // 100 in (2, 3, 5)
    connection.execute(
        "UPDATE writes SET changed = iif(fate = 'queued' AND ?1 = fate AND ?2 = reason, changed, ?5),"
        " fate = ?1, reason = ?2, status = ?3, waits = ?4, sender = '', is_promised = ?6,"
        " failures = failures + ?7, is_news = max(is_news, ?8), sent = iif(fate = 'sending', ?9, sent),"
        " sealed = iif(?10, NULL, sealed), seen = ifnull(?11, seen), copies = copies + ?12 WHERE receipt = ?13",
        (
            *(outcome.fate, outcome.reason, outcome.status, waits, at, is_promised),
            *(has_failed, is_promised and not is_try, None if is_unsent else at, outcome.fate.is_final),
            *(outcome.seen.isoformat() if outcome.seen else None, outcome.seen is not None, receipt),
        ),
    )
    if outcome.fate is Fate.APPLIED:
        connection.execute(_OVERTAKEN, (at, _IS_LATER_THERE, record, number))
    _advance(connection, record)
    if outcome.fate is Fate.APPLIED and version is not None:
        # From here on the record differs from what it was because of us.
        connection.execute(
            "UPDATE writes SET is_free = 1 WHERE waits AND record = ? AND number > ? AND version IS ?",
            (record, number, version),
        )
    return True


def lost(connection: sqlite3.Connection, sender: str, reason: str, at: float) -> int:
    """What a sender was sending, and did not note, may have reached the platform; returns how many writes that were."""
    return connection.execute(
        "UPDATE writes SET fate = 'unknown', reason = ?, changed = ?, sent = ?, sender = '', is_news = is_promised"
        " WHERE fate = 'sending' AND sender = ?",
        (reason, at, at, sender),
    ).rowcount


def _same(write: Write, operation: bytes, at: float) -> tuple[Any, ...]:
    """What finds a write that is the same operation: a query and its values."""
    if write.key:
        return _SAME_KEY, operation
    return _SAME_CONTENT, operation, at - write.repeat_seconds if write.repeat_seconds else math.inf


def _record(write: Write, receipt: str) -> bytes:
    return hashlib.sha256((write.record or f"\0{receipt}").encode()).digest()[:16]


def _advance(connection: sqlite3.Connection, record: bytes) -> None:
    """Mark the first write of a record that waits."""
    first = connection.execute(_FIRST, (record,)).fetchone()
    if first is None or not first[1]:
        connection.execute("UPDATE writes SET is_next = 0 WHERE record = ? AND is_next", (record,))
    if first is not None and not first[1]:
        connection.execute("UPDATE writes SET is_next = 1 WHERE number = ?", (first[0],))


def _withdraw(connection: sqlite3.Connection, row: _Row) -> None:
    """Take back a write that nobody is left to send."""
    connection.execute("DELETE FROM writes WHERE receipt = ? AND fate = 'sending' AND NOT is_promised", (row.receipt,))
    _advance(connection, row.record)


def _again(connection: sqlite3.Connection, row: _Row, same: tuple[Any, ...]) -> tuple[Accepted, bytes | None]:
    """What is said to a write that was submitted before, and what the platform answered to it, as it is kept."""
    receipt, fate, content, means, is_promised, answer, reason = same
    key = row.write.alias or row.write.key or receipt
    if content != row.content or (means is not None and means != row.write.means):
        return Accepted(Verdict.OTHER, "", Fate(fate), key), None
    if fate == Fate.SENDING and not is_promised:
        return Accepted(Verdict.BUSY, receipt, Fate.SENDING, key), None
    # Who gets the platform's answer needs no receipt.
    if not is_promised and answer is None:
        connection.execute("UPDATE writes SET is_promised = 1, is_news = 1 WHERE receipt = ?", (receipt,))
    return Accepted(Verdict.AGAIN, receipt, Fate(fate), key, reason=reason), answer


def _begin_sender(folder: Path) -> tuple[str, int]:
    """A new sender's name, and the lock that says that he lives."""
    with reading_file(folder):
        make_private_folder(folder)
        while True:
            name = f"{os.getpid()}-{os.urandom(8).hex()}"
            alive = try_lock(folder / name)
            # Whoever clears away what the dead left may have taken the name before the lock was there.
            if alive is not None and os.fstat(alive).st_nlink:
                return name, alive
            if alive is not None:
                release(alive)
