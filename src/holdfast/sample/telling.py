"""A seeded business in memory that tells its changes: what following is tried on where no server is wanted.

It knows what it held after each of its transactions, so every instant that a vault gives can be held against it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple

import pyarrow as pa

from holdfast.core.feed import Break, Kept, Moved, Told
from holdfast.core.ports import View
from holdfast.core.records import Collection, Column, Schema

__all__ = ["SCHEMA", "Change", "TellingShop", "Transaction"]

SCHEMA = Schema((Column("id", "int"), Column("tenant", "int"), Column("note", "text")), key=("id",))
_INSERT, _UPDATE, _DELETE = 1, 2, 3

Held = dict[int, tuple[int, str]]


class Change(NamedTuple):
    """A record that a transaction left behind, or deleted (`left` is None)."""

    collection: str
    op: int
    id: int
    left: tuple[int, str] | None


class Transaction(NamedTuple):
    """What the source committed at once."""

    name: str
    at: datetime
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class _View:
    name: str
    schema: Schema
    held: Mapping[int, tuple[int, str]]
    ordered: bool = True

    def batches(self) -> Iterator[pa.RecordBatch]:
        ids = sorted(self.held)
        if ids:
            yield _rows([(each, self.held[each]) for each in ids])


class _Snapshot:
    """Everything at one position; also the baseline that a feed goes on from."""

    def __init__(self, shop: TellingShop, taken: datetime) -> None:
        self.position = str(len(shop.told))
        self.taken = taken
        self._held = {name: dict(held) for name, held in shop.held.items()}
        self.names = tuple(sorted(self._held))

    @property
    def snapshot(self) -> _Snapshot:
        return self

    def collection(self, name: str) -> Collection:
        return Collection(name, SCHEMA)

    @property
    def collections(self) -> tuple[Collection, ...]:
        return tuple(map(self.collection, self.names))

    def read(self, collection: Collection) -> View:
        return _View(collection.name, SCHEMA, self._held[collection.name])


class TellingShop:
    """Collections of records with a key; `trade` makes a transaction, `mark` ends a commit's worth of them.

    A feed tells what was traded up to the next mark at each reading, and a break where one was put. `told` are all
    transactions ever made: a position is a number of them.
    """

    def __init__(self, collections: Sequence[str], clock: Sequence[datetime], *, seed: int = 1) -> None:
        self.held: dict[str, Held] = {name: {} for name in collections}
        self.told: list[Transaction] = []
        self.confirmed = 0
        self.budget: int | None = None  # how many transactions it keeps for who has not confirmed them
        self.meanwhile: Callable[[], object] = lambda: None  # what the business does while a snapshot of it is read
        self._clock = clock
        self._marks: list[int] = []
        self._breaks: dict[int, str] = {}
        self._random = random.Random(seed)
        self._next_id = 1

    def trade(self, changes: int, among: Sequence[str] = ()) -> Transaction:
        """Commit a transaction of so many changes, in some of the collections: new, changed and deleted records."""
        names = list(among or self.held)
        return self._commit(tuple(self._change(self._random.choice(names)) for _ in range(changes)))

    def delete(self, name: str, ids: Iterable[int]) -> Transaction:
        """Commit a transaction that deletes these records of a collection."""
        for each in (ids := list(ids)):
            del self.held[name][each]
        return self._commit(tuple(Change(name, _DELETE, each, None) for each in ids))

    def put(self, name: str, records: Mapping[int, tuple[int, str]]) -> Transaction:
        """Commit a transaction that leaves these records behind, new or changed."""
        held = self.held[name]
        made = tuple(Change(name, _UPDATE if each in held else _INSERT, each, left) for each, left in records.items())
        held.update(records)
        self._next_id = max(self._next_id, *records)
        return self._commit(made)

    def _commit(self, made: tuple[Change, ...]) -> Transaction:
        done = Transaction(f"tx{len(self.told) + 1}", self._clock[-1], made)
        self.told.append(done)
        return done

    def mark(self) -> None:
        """What was traded so far is for one commit."""
        self._marks.append(len(self.told))

    def break_off(self, why: str) -> None:
        """What was traded so far, and comes next, can't be told: only a snapshot shows it."""
        self._breaks[len(self.told)] = why

    @contextmanager
    def baseline(self) -> Iterator[_Snapshot]:
        """A snapshot of now. What is traded while it is read the feed tells after it."""
        self._marks = []
        self._breaks = {}
        snapshot = _Snapshot(self, self._clock[-1])
        self.meanwhile()
        yield snapshot

    @contextmanager
    def feed(self, position: str, schemas: Mapping[str, Schema], since: datetime | None = None) -> Iterator[_Feed]:
        """The transactions after a position."""
        yield _Feed(self, int(position), schemas, since)

    def until(self, position: int) -> int:
        """The next mark after a position, or all there is."""
        return next((mark for mark in self._marks if mark > position), len(self.told))

    def breaks(self, after: int, until: int) -> str | None:
        """Why what lies between two positions can't be told."""
        return next((why for at, why in self._breaks.items() if after <= at < until), None)

    def _change(self, name: str) -> Change:
        held = self.held[name]
        draw = self._random.random()
        if not held or draw < 0.4:
            self._next_id += 1
            return self._left(name, _INSERT, self._next_id)
        chosen = self._random.choice(list(held)) if len(held) < 1000 else self._some(held)
        if draw < 0.85:
            return self._left(name, _UPDATE, chosen)
        del held[chosen]
        return Change(name, _DELETE, chosen, None)

    def _some(self, held: Held) -> int:
        # A choice among many without a list of all of them: the first at or after a random number.
        wanted = self._random.randint(2, self._next_id)
        while wanted not in held:
            wanted = wanted + 1 if wanted < self._next_id else 2
        return wanted

    def _left(self, name: str, op: int, id_: int) -> Change:
        left = self._random.randint(1, 50), f"note {self._random.getrandbits(40):x}"
        self.held[name][id_] = left
        return Change(name, op, id_, left)


class _Feed:
    """One reading of a shop's transactions."""

    def __init__(self, shop: TellingShop, at: int, schemas: Mapping[str, Schema], since: datetime | None) -> None:
        self._shop = shop
        self._at = at
        self._began = len(shop.told)
        self._until = since
        self.unfollowed: Mapping[str, str] = MappingProxyType({})
        self._schemas = schemas

    def read(self, _seconds: float) -> Iterator[Told | Moved | Break]:
        end = self._shop.until(self._at)
        why = self._shop.breaks(self._at, end)
        if why is not None:
            yield Break(why)
            return
        transactions = self._shop.told[self._at : end]
        by_collection: dict[str, list[tuple[int, Transaction, Change]]] = {}
        for order, transaction in enumerate(transactions):
            for change in transaction.changes:
                by_collection.setdefault(change.collection, []).append((order, transaction, change))
        for name, rows in by_collection.items():
            yield _told(name, rows)
        self._at = end
        self._until = transactions[-1].at if transactions else self._until
        yield Moved(str(end), self._until, len(transactions))

    def confirm(self, position: str) -> None:
        self._shop.confirmed = int(position)

    @property
    def is_caught_up(self) -> bool:
        return self._at >= self._began

    @property
    def kept(self) -> Kept | None:
        waiting, budget = len(self._shop.told) - self._shop.confirmed, self._shop.budget
        return Kept(waiting, budget, None if budget is None else max(0, budget - waiting))


def _told(name: str, rows: Sequence[tuple[int, Transaction, Change]]) -> Told:
    return Told(
        name,
        _rows([(change.id, change.left or (None, None)) for _, _, change in rows]),
        pa.array([change.op for _, _, change in rows], pa.int8()),
        pa.array([transaction.at for _, transaction, _ in rows], pa.timestamp("us", "UTC")),
        pa.array([transaction.name for _, transaction, _ in rows], pa.string()),
        pa.array([order for order, _, _ in rows], pa.int64()),
    )


def _rows(rows: Sequence[tuple[int, tuple[int, str] | tuple[None, None]]]) -> pa.RecordBatch:
    columns = [[each[0] for each in rows], [each[1][0] for each in rows], [each[1][1] for each in rows]]
    schema = SCHEMA.arrow()
    return pa.RecordBatch.from_arrays(
        [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)], schema=schema
    )
