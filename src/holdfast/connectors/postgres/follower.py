"""Follows a PostgreSQL database: snapshots with the position that belongs to them, and every change after.

* Followed are logged tables whose records have a key that the log names (the primary key, or REPLICA IDENTITY FULL).
  All others are read with each snapshot only, and no change of theirs is told: `unfollowed` names them.
* A change that can't be told exactly is a break: another definition, TRUNCATE, a value beyond its column's type, a slot
  that is gone, lost, moved on or of another server. Definitions that no row tells of are looked at between commits.
* What an update left alone out of line is not in the log: `unsent` looks it up.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from holdfast.connectors._sql.ahead import ReadAhead
from holdfast.connectors._sql.drift import difference
from holdfast.connectors.postgres.budget import kept_for
from holdfast.connectors.postgres.catalog import RESERVED, Catalog, Table, load_catalog
from holdfast.connectors.postgres.connection import Connection, connect
from holdfast.connectors.postgres.counting import count_now
from holdfast.connectors.postgres.marks import definition_marks, log_end
from holdfast.connectors.postgres.pgoutput import INSERTED, UPDATED, Block, Relation, Truncate
from holdfast.connectors.postgres.position import Position, lsn_text, parse_position
from holdfast.connectors.postgres.publication import (
    candidates,
    publication_names,
    publication_statements,
    publish,
    sendable,
)
from holdfast.connectors.postgres.reader import PostgresReader
from holdfast.connectors.postgres.replication import PublicationGone, Stream, stream
from holdfast.connectors.postgres.slot import Trouble, create_slot, drop_slot, examine
from holdfast.connectors.postgres.standing import standing
from holdfast.connectors.postgres.unsent import Piece, Unsent
from holdfast.connectors.postgres.values import Misfit, decode, decode_mixed
from holdfast.core.feed import Break, BreakKind, Kept, Moved, Told
from holdfast.core.observed import Marks
from holdfast.core.ports import Snapshot
from holdfast.core.records import MIXED, Schema

__all__ = ["PostgresChanges"]

_UNPUBLISHED = "the publications no longer send every change of every table"
_OTHER_MARKS = "tables, publications or rights were altered in a way of which no row in the log tells"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WINDOW_BYTES = 64 << 20
_LOOK_SECONDS = 5.0
_WAITING = 2
_BUSY_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class _Baseline:
    snapshot: Snapshot
    position: str


class PostgresChanges:
    """A PostgreSQL database whose changes can be followed, through a slot and publications of this name."""

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = name

    @contextmanager
    def baseline(self) -> Iterator[_Baseline]:
        """See `ChangeSource.baseline`. The old slot is dropped first: from here on a snapshot replaces what it kept."""
        with connect(self._url) as connection:
            # As `check` says: who may not publish can have it done by the owner of the tables.
            publish(connection, self._name, sendable(connection, self._name, candidates(connection)))
            # Its reader, who has just left, may hold it for a moment.
            drop_slot(connection, self._name, patience=_BUSY_SECONDS)
        with (
            create_slot(self._url, self._name) as made,
            PostgresReader(self._url).snapshot(on=made.snapshot, lsn=lsn_text(made.position.lsn)) as snapshot,
        ):
            with connect(self._url) as connection:
                marks = definition_marks(connection, self._name, made.snapshot)
            yield _Baseline(snapshot, f"{made.position}, definitions {marks}")

    def count(self, collections: Sequence[str]) -> Mapping[str, int]:
        """See `Counted`."""
        return count_now(self._url, collections)

    @contextmanager
    def feed(self, position: str, schemas: Mapping[str, Schema], since: datetime | None = None) -> Iterator[_Feed]:
        """See `ChangeSource.feed`."""
        start = parse_position(position)
        with connect(self._url) as connection:
            marks = definition_marks(connection, self._name)
            with connect(self._url, replication=True) as replication:
                finding = examine(replication, self._name, start)
            catalog = load_catalog(connection)
            why = finding.fact if finding else difference(catalog.tables, schemas, RESERVED)
            tables = sendable(connection, self._name, candidates(connection))
            if not why and publication_statements(connection, self._name, tables):
                why = _UNPUBLISHED
            if not why and not position.endswith(f", definitions {marks}"):
                why = _OTHER_MARKS
            if why:
                kind = _KINDS.get(finding.trouble, "") if finding else ""
                feed = _Feed(None, connection, schemas, start, Break(why, kind=kind))
                feed.learn(catalog)
                yield feed
                return
            with stream(self._url, self._name, publication_names(self._name), start) as changes:
                feed = _Feed(changes, connection, schemas, start)
                feed.traces = self._name, marks
                feed.learn(catalog)
                if since is not None:
                    feed.moment((since - _EPOCH) // timedelta(microseconds=1))
                try:
                    yield feed
                finally:
                    feed.close()


class _Feed:
    """Changes read ahead in a thread. See `ChangeFeed`."""

    def __init__(
        self,
        changes: Stream | None,
        connection: Connection,
        schemas: Mapping[str, Schema],
        start: Position,
        broke: Break | None = None,
    ) -> None:
        self._changes = changes
        self._connection = connection
        self._schemas = schemas
        self._start = start
        self._broke = broke
        self._confirmed = self._reached = start.lsn
        self._goal = log_end(connection)
        self._looked = time.monotonic()
        self._catalog: Catalog
        self._tables: dict[tuple[str, str], Table] = {}
        self.traces = "", ""  # the name of the publications, and the digest of all that no row tells of
        self._latest = 0  # the greatest commit time so far, in microseconds since 1970
        self._ahead = ReadAhead(changes.blocks, _WAITING) if changes is not None else None

    def close(self) -> None:
        """Stop reading ahead."""
        if self._ahead is not None:
            self._ahead.close()

    @property
    def is_caught_up(self) -> bool:
        """See `ChangeFeed.is_caught_up`."""
        return self._reached >= self._goal

    @property
    def unfollowed(self) -> Mapping[str, str]:
        """See `ChangeFeed.unfollowed`."""
        tables = {table.collection: table for table in self._tables.values()}
        return {name: why for name in self._schemas if name in tables and (why := tables[name].untold)}

    @property
    def kept(self) -> Kept | None:
        """See `ChangeFeed.kept`."""
        return kept_for(self._connection, self.traces[0], self._confirmed)

    def marks(self) -> Marks:
        """See `Identified`: of now, rights as they were when the catalog was last looked at."""
        return standing(self._connection, self._catalog)

    def confirm(self, position: str) -> None:
        """See `ChangeFeed.confirm`."""
        self._confirmed = parse_position(position).lsn
        if self._changes is not None:
            self._changes.confirm(self._confirmed)

    def read(self, seconds: float) -> Iterator[Told | Moved | Break]:
        """See `ChangeFeed.read`. A window ends between transactions, sooner when it has become large."""
        if self._changes is None or self._broke is not None:
            assert self._broke is not None, "without changes there is a reason"
            yield self._broke
            return
        window = _Window(self)
        deadline = time.monotonic() + seconds
        try:
            while not window.is_between or (not window.is_full and time.monotonic() < deadline):
                block = self._next(max(deadline - time.monotonic(), 0.05))
                if block is not None:
                    yield from window.take(block)
            yield from self._settle(window)
            self._look()
        except _Broken as broken:
            self._broke = Break(broken.why, broken.collections)
            yield self._broke
            return
        self._reached = max(window.end_lsn, self._reached)
        if not self.is_caught_up:
            self._changes.ask()
        position = Position(self._reached, self._start.system, self._start.timeline)
        until = _EPOCH + timedelta(microseconds=self._latest) if window.transactions else None
        yield Moved(f"{position}, definitions {self.traces[1]}", until, window.transactions, tuple(window.notes))

    def _settle(self, window: _Window) -> Iterator[Told]:
        """Look up what updates left unsent, reading on until what was found is known to be of this moment."""
        assert self._changes is not None
        while window.unsent.is_waiting:
            mark = window.unsent.look_up(self._connection)
            window.refuse_too_much()
            self._changes.ask()
            while window.end_lsn < mark or not window.is_between:
                block = self._next(1.0)
                if block is None:
                    self._changes.ask()
                else:
                    yield from window.take(block)
            window.unsent.settle()
        for piece in window.unsent.pieces():
            yield self.told(piece)
        window.notes += window.unsent.notes

    def _next(self, seconds: float) -> Block | None:
        assert self._ahead is not None
        try:
            return self._ahead.next(seconds)
        except PublicationGone as error:
            raise _Broken(_UNPUBLISHED) from error

    def _look(self) -> None:
        """A definition can change without a row that tells: look at the catalog now and then."""
        if time.monotonic() - self._looked < _LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        catalog = load_catalog(self._connection)
        why = difference(catalog.tables, self._schemas, RESERVED)
        if not why and definition_marks(self._connection, self.traces[0]) != self.traces[1]:
            why = _OTHER_MARKS
        if why:
            raise _Broken(why)
        self.learn(catalog)

    def learn(self, catalog: Catalog) -> None:
        """Take the tables as they are now, which must be those that the vault holds."""
        self._catalog = catalog
        self._tables = {(table.schema, table.name): table for table in catalog.tables.values()}

    def table_of(self, relation: Relation) -> Table:
        """The table of a relation message. Raises a break if it is not what the vault holds."""
        table = self._tables.get((relation.schema, relation.name))
        if table is not None and not table.is_readable:
            return table
        if table is None or table.collection not in self._schemas:
            raise _Broken(f"{relation.schema}.{relation.name} is new")
        schema = self._schemas[table.collection]
        named = {column.name for column in relation.columns if column.is_identity}
        if not table.untold and not {*table.key} <= named:
            raise _Broken("the log no longer names its key", (table.collection,))
        types = {column.name: column.type_oid for column in table.stored}
        if {column.name: column.type_oid for column in relation.columns} != types or {*types} != {*schema.names}:
            raise _Broken("its definition changed", (table.collection,))
        return table

    def moment(self, committed: int) -> int:
        """The time of a transaction, never before the one before it."""
        self._latest = max(self._latest, committed)
        return self._latest

    def told(self, piece: Piece) -> Told:
        """A piece in canonical types."""
        name, changes = piece.table.collection, piece.changes
        schema = self._schemas[name]
        places = {column.name: number for number, column in enumerate(changes.relation.columns)}
        kinds = {column.name: column.kind for column in piece.table.stored}
        columns = []
        for column in schema.columns:
            texts = changes.column(places[column.name])
            try:
                if column.type == MIXED:
                    columns.append(decode_mixed(texts, kinds[column.name]))
                else:
                    columns.append(decode(texts, column.type))
            except Misfit as misfit:
                raise _Broken(f"column {column.name}: {misfit}", (name,)) from misfit
        rows = pa.RecordBatch.from_arrays(columns, schema=schema.arrow())
        ops = pa.array([_OPS.get(kind, 3) for kind in changes.kinds], pa.int8())
        owners = pa.array(changes.owners, pa.uint32())
        return Told(
            name,
            rows,
            ops,
            pa.array(piece.at, pa.timestamp("us", tz="UTC")).take(owners),
            pa.array(piece.tx, pa.string()).take(owners),
            pa.array(piece.order, pa.int64()).take(owners),
        )


class _Window:
    """What was read since the last commit: whole transactions, counted."""

    def __init__(self, feed: _Feed) -> None:
        self._feed = feed
        self._bytes = 0
        self._last_commit = -1
        self.unsent = Unsent()
        self.transactions = 0
        self.end_lsn = 0
        self.is_between = True
        self.notes: list[str] = []

    @property
    def is_full(self) -> bool:
        """Whether a commit is due for size."""
        return self._bytes >= _WINDOW_BYTES

    def take(self, block: Block) -> Iterator[Told]:
        """Number a block's transactions and hand out what is complete."""
        at, tx, order = [], [], []
        for each in block.transactions:
            if each.commit_lsn != self._last_commit:
                self.transactions += 1
                self._last_commit = each.commit_lsn
            at.append(self._feed.moment(each.committed))
            tx.append(str(each.xid))
            order.append(self.transactions)
        for part in block.parts:
            if isinstance(part, Truncate):
                tables = [self._feed.table_of(each) for each in part.relations]
                if names := tuple(table.collection for table in tables if not table.untold):
                    raise _Broken("emptied by TRUNCATE", names)
                continue
            piece = Piece(self._feed.table_of(part.relation), part, at, tx, order)
            if not piece.table.untold and not self.unsent.holds(piece):
                yield self._feed.told(piece)
        self.refuse_too_much()
        self._bytes += block.size
        self.is_between = block.is_last
        self.end_lsn = max(self.end_lsn, block.end_lsn)

    def refuse_too_much(self) -> None:
        """Raise a break if more waits for values than memory should hold."""
        if self.unsent.is_too_much:
            raise _Broken("updates left more large values unsent than can be looked up at once", self.unsent.names)


class _Broken(Exception):
    """What comes next can't be told exactly."""

    def __init__(self, why: str, collections: tuple[str, ...] = ()) -> None:
        super().__init__(why)
        self.why = why
        self.collections = collections


_KINDS: Mapping[Trouble, BreakKind] = {
    Trouble.OTHER_SYSTEM: "identity",
    Trouble.OTHER_TIMELINE: "timeline",
    Trouble.BEHIND: "behind",
}
_OPS = {INSERTED: 1, UPDATED: 2}
