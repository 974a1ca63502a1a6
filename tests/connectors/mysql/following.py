"""A follower as small as can be: it keeps what a vault would keep, as digests by key, and holds each change against it.

mirror = Mirror(database)                  # a snapshot, and the position after it
database.run("UPDATE orders SET …")
mirror.catch_up()                          # every change is told once, and fits what was there
mirror.prove()                             # the same as a new snapshot
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from holdfast.connectors.mysql.follower import MysqlChanges
from holdfast.connectors.mysql.reader import MysqlReader
from holdfast.core.canonical import key_bytes, row_digests
from holdfast.core.feed import Break, ChangeFeed, Moved, Told
from holdfast.core.ports import Snapshot
from holdfast.core.records import Schema, is_definition
from tests.mariadb_server import Database
from tests.waiting import PATIENCE_SECONDS

__all__ = ["Mirror", "State", "digests", "state_of"]

INSERT, UPDATE, DELETE = 1, 2, 3
State = dict[str, dict[bytes, bytes]]


class Mirror:
    """Follows a database from where it is made."""

    def __init__(self, database: Database, name: str = "mirror", url: str = "") -> None:
        self.database = database
        self.source = MysqlChanges(url or database.url, name)
        self.told: list[Told] = []
        self.breaks: list[Break] = []
        self.transactions = 0
        self.until: datetime | None = None
        self.read_anew()

    def read_anew(self) -> None:
        """Begin with a new snapshot."""
        with self.source.baseline() as baseline:
            self.position = baseline.position
            self.schemas: dict[str, Schema] = {}
            self.state: State = state_of(baseline.snapshot, self.schemas)

    @contextmanager
    def feed(self) -> Iterator[ChangeFeed]:
        """The changes after what is kept."""
        with self.source.feed(self.position, self.schemas, self.until) as feed:
            yield feed

    def catch_up(self) -> Break | None:
        """Take all that was committed before; the break that ended it, if one did."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        with self.feed() as feed:
            while time.monotonic() < deadline:
                found, transactions = self.take(feed)
                if found is not None:
                    return found
                if feed.is_caught_up and not transactions:
                    return None
        pytest.fail(f"the feed does not catch up: {self.position}")

    def take(self, feed: ChangeFeed, seconds: float = 0.2) -> tuple[Break | None, int]:
        """One reading: what is whole is kept, what a break ends is not. The break, and how many transactions it had."""
        pieces: list[Told] = []
        for each in feed.read(seconds):
            if isinstance(each, Told):
                pieces.append(each)
            elif isinstance(each, Break):
                self.breaks.append(each)
                return each, 0
            else:
                self._keep(pieces, each)
                feed.confirm(each.position)
                return None, each.transactions
        pytest.fail("a reading ends with a word of where it is")

    def prove(self, *, but: tuple[str, ...] = ()) -> None:
        """What was told comes to the same as a new snapshot, but for some collections."""
        with MysqlReader(self.database.url).snapshot() as snapshot:
            now = state_of(snapshot, {})
        for name in {*self.state, *now} - {*but}:
            assert self.state[name] == now[name], f"{name}: {len(self.state[name])} and {len(now[name])} records"

    def records(self, name: str) -> list[tuple[int, dict[str, object]]]:
        """What was told of one collection: operations and records, in order."""
        return [
            (op, row)
            for each in self.told
            if each.collection == name
            for op, row in zip(each.ops.to_pylist(), each.rows.to_pylist(), strict=True)
        ]

    def _keep(self, pieces: list[Told], moved: Moved) -> None:
        orders: list[int] = []
        for piece in pieces:
            self._apply(piece)
            orders += piece.order.to_pylist()
        assert not orders or max(orders) <= moved.transactions, "more transactions are numbered than were counted"
        self.told += pieces
        self.transactions += moved.transactions
        self.position = moved.position
        if moved.until is not None:
            assert self.until is None or moved.until >= self.until, "time does not fall"
            self.until = moved.until

    def _apply(self, piece: Told) -> None:
        """Each change fits what is there: new records are new, others are there, and those gone were."""
        schema, rows = self.schemas[piece.collection], self.state[piece.collection]
        assert piece.rows.schema.equals(schema.arrow())
        times, orders = piece.at.to_pylist(), piece.order.to_pylist()
        assert times == sorted(times)
        assert orders == sorted(orders)
        assert piece.at.type == pa.timestamp("us", "UTC")
        assert not times or times[-1] <= datetime.now(UTC)
        keys, records = key_bytes(piece.rows, schema).to_pylist(), row_digests(piece.rows, schema).to_pylist()
        for op, key, record in zip(piece.ops.to_pylist(), keys, records, strict=True):
            assert (key in rows) == (op != INSERT), f"{piece.collection}: operation {op} on {key!r}"
            if op == DELETE:
                del rows[key]
            else:
                rows[key] = record


def state_of(snapshot: Snapshot, schemas: dict[str, Schema]) -> State:
    """Digests by key of every collection with a key that holds records; their schemas too."""
    state: State = {}
    for collection in snapshot.collections:
        schemas[collection.name] = collection.schema
        if is_definition(collection.name) or not collection.schema.key:
            continue
        state[collection.name] = digests(collection.schema, snapshot.read(collection).batches())
    return state


def digests(schema: Schema, batches: Iterable[pa.RecordBatch]) -> dict[bytes, bytes]:
    """What records are, by key."""
    found: dict[bytes, bytes] = {}
    for batch in batches:
        keys, rows = key_bytes(batch, schema), row_digests(batch, schema)
        found.update(zip(keys.to_pylist(), rows.to_pylist(), strict=True))
    return found
