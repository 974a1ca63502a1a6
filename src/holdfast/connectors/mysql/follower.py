"""Follows a MariaDB or MySQL database: snapshots with the position that belongs to them, and every change after.

* Followed are tables of engines with transactions whose records have a key. All others are read with each snapshot
  only, and no change of theirs is told: `unfollowed` names them.
* A change that can't be told exactly is a break: a definition, TRUNCATE, a change in statement format, parts of rows, a
  value beyond its column's type, rows that the server altered by itself (ON DELETE CASCADE), a binlog that is gone, was
  begun anew or is another server's. What no statement tells is looked at between commits.
* Nothing on the server is kept for a follower: it purges its binlog as it is set to.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from holdfast.connectors._sql.ahead import ReadAhead
from holdfast.connectors._sql.drift import difference
from holdfast.connectors.mysql.ahead import read_ahead
from holdfast.connectors.mysql.budget import kept_for
from holdfast.connectors.mysql.catalog import RESERVED, Catalog, Table, load_catalog
from holdfast.connectors.mysql.charsets import load_charsets
from holdfast.connectors.mysql.check import check, hides
from holdfast.connectors.mysql.clock import ServerClock
from holdfast.connectors.mysql.connection import Connection, connect, session, shown, translated
from holdfast.connectors.mysql.counting import count_now
from holdfast.connectors.mysql.definitions import SCHEMA
from holdfast.connectors.mysql.dump import Dump, Start, dump
from holdfast.connectors.mysql.events import Events
from holdfast.connectors.mysql.following import Broken, Tables, load_tables
from holdfast.connectors.mysql.items import File
from holdfast.connectors.mysql.marks import altered, definition_marks
from holdfast.connectors.mysql.position import Position, examine, file_number, log_end, parse_position, replica_id
from holdfast.connectors.mysql.reader import MysqlReader
from holdfast.connectors.mysql.rows import REPLACED, UPDATED, Images
from holdfast.connectors.mysql.standing import place_now, standing
from holdfast.connectors.mysql.transactions import Block, Gathering
from holdfast.connectors.mysql.values import Misfit
from holdfast.core.feed import Break, BreakKind, Kept, Moved, Told
from holdfast.core.observed import Marks
from holdfast.core.ports import Snapshot
from holdfast.core.records import MIXED, Schema
from holdfast.errors import Refused, Unreachable

__all__ = ["MysqlChanges"]

_OTHER_MARKS = "tables or rights were altered in a way of which nothing in the binlog tells"
_CAPPED = "a transaction told a time that had yet to come (SET timestamp): it is kept under that of its reading"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WINDOW_BYTES = 64 << 20
_LOOK_SECONDS = 5.0
ANSWER_SECONDS = 60.0  # that the server may take for a question about its tables
_CLOCKS_DIFFER = 60_000_000  # microseconds
_CASCADES, _CASCADE_SECONDS = 2, 3600.0


@dataclass(frozen=True, slots=True)
class _Baseline:
    snapshot: Snapshot
    position: str


class MysqlChanges:
    """A MariaDB or MySQL database whose changes can be followed; the server takes the follower for a replica.

    `name` is whence its number as a replica comes.
    """

    def __init__(self, url: str, name: str) -> None:
        self._url = url
        self._name = name
        self._cascaded: dict[str, list[float]] = defaultdict(list)

    @contextmanager
    def baseline(self) -> Iterator[_Baseline]:
        """See `ChangeSource.baseline`."""
        for obstacle in check(self._url, self._name):
            if obstacle.is_blocking:
                raise Refused(f"{shown(self._url)}: {obstacle.fact}", hint=f"mend it with: {obstacle.mend}")
        with MysqlReader(self._url).snapshot() as snapshot:
            place = snapshot.place
            if place is None:
                raise Refused(
                    f"{shown(self._url)}: the server does not say where its binlog was when it was read",
                    hint='"holdfast check SOURCE" names what is missing',
                )
            begun = self._begun(place.file)
            marks = definition_marks(snapshot.catalog)
            server = snapshot.catalog.server.server_id
            position = Position(place.file, place.position, place.gtid, server, begun, definitions=marks)
            yield _Baseline(snapshot, str(position))

    def count(self, collections: Sequence[str]) -> Mapping[str, int]:
        """See `Counted`."""
        return count_now(self._url, collections)

    @contextmanager
    def feed(self, position: str, schemas: Mapping[str, Schema], since: datetime | None = None) -> Iterator[_Feed]:
        """See `ChangeSource.feed`."""
        start = parse_position(position)
        with ExitStack() as stack:
            connection = stack.enter_context(_closing(connect(self._url, read_timeout=ANSWER_SECONDS)))
            catalog = load_catalog(connection)
            tables = load_tables(connection, catalog, self._too_often())
            trouble = examine(connection, start, is_mariadb=catalog.server.is_mariadb)
            by_gtid = session(self._url).options.get("position") == "gtid" and catalog.server.is_mariadb
            why = trouble.why if trouble and not by_gtid else difference(catalog.tables, schemas, RESERVED)
            if trouble and by_gtid and start.last is None:
                why = f"{trouble.why}; no transaction was read yet by whose GTID another server could be known"
            if not why and definition_marks(catalog) != start.definitions:
                why = _OTHER_MARKS
            # Settings of the server are others when it was started anew, and nothing in the binlog tells.
            hidden, in_part = hides(connection, catalog)
            why = why or hidden
            feed = _Feed(connection, tables, schemas, start, self._cascaded)
            if in_part:
                feed.leave_untold(in_part)
            if since is not None:
                feed.go_on_from((since - _EPOCH) // timedelta(microseconds=1))
            if why:
                feed.break_off(why, trouble.kind if trouble else "")
                yield feed
                return
            begin, events = Start(start.file, start.offset), Events(start.file, start.offset)
            proof = start.last if trouble else None
            if proof is not None:
                begin, events = Start(gtids=proof.before), Events()
            stream = stack.enter_context(dump(self._url, begin, replica_id(self._name)))
            charsets = load_charsets(
                connection, {each.charset for table in catalog.tables.values() for each in table.stored}
            )
            here = start if proof is None else replace(start, file="", offset=4, server=catalog.server.server_id)
            gathering = Gathering(tables, charsets, here, forgets=_forgets(connection), proof=proof)
            feed.begin(stream, events, gathering)
            stack.callback(feed.close)
            yield feed

    def _begun(self, file: str) -> int:
        """When the server began a binlog, by the file's own word."""
        with dump(self._url, Start(file, 4), replica_id(f"{self._name} looking")) as stream:
            for item in Events(file, 4).read(stream.packets(threading.Event())):
                if isinstance(item, File):
                    return item.begun
        raise Unreachable(f"{shown(self._url)}: the binlog {file} can't be read", hint="it is safe to try again")

    def _too_often(self) -> dict[str, str]:
        """Tables whose rows the server altered by itself so often that all can't be read again each time."""
        now = time.monotonic()
        often = [
            name
            for name, times in self._cascaded.items()
            if sum(now - each < _CASCADE_SECONDS for each in times) >= _CASCADES
        ]
        why = "its rows go or change along with those of other tables, often, and untold by the binlog"
        return dict.fromkeys(often, why)


class _Feed:
    """Changes read ahead in a thread. See `ChangeFeed`."""

    def __init__(
        self,
        connection: Connection,
        tables: Tables,
        schemas: Mapping[str, Schema],
        start: Position,
        cascaded: dict[str, list[float]],
    ) -> None:
        self._connection = connection
        self._tables = tables
        self._schemas = schemas
        self._confirmed = self._reached = start
        self._cascaded = cascaded
        self._trouble: Broken | None = None
        file, offset = log_end(connection) if tables.catalog.server.has_binlog else ("", 0)
        self._goal = file_number(file), offset
        self._is_elsewhere = False  # until another server's binlog has proved to go on from here
        self._looked = time.monotonic()
        self._has_other_indexes = False
        self._opened: set[str] = set()  # tables that were opened since they were held to their definitions
        self._clock = ServerClock(connection)
        self._untold: dict[str, str] = {}
        self._is_capped = False  # a transaction of the window told a time that has yet to come
        self._latest = 0  # the greatest commit time so far, in microseconds since 1970
        self._ahead: ReadAhead[Block] | None = None
        self._gathering: Gathering | None = None

    def begin(self, stream: Dump, events: Events, gathering: Gathering) -> None:
        """Read ahead from now on."""
        self._gathering = gathering
        self._is_elsewhere = not gathering.here.file
        self._ahead = read_ahead(stream, events, gathering)

    def break_off(self, why: str, kind: BreakKind) -> None:
        """Tell nothing but that break."""
        self._trouble = Broken(why, kind=kind)

    def leave_untold(self, why: str) -> None:
        """Say with each commit that, for that reason, not all that is done to definitions and whole tables is told."""
        self._untold[SCHEMA] = why

    def close(self) -> None:
        """Stop reading ahead."""
        if self._ahead is not None:
            self._ahead.close()

    @property
    def is_caught_up(self) -> bool:
        """See `ChangeFeed.is_caught_up`."""
        return not self._is_elsewhere and self._reached.place >= self._goal

    @property
    def unfollowed(self) -> Mapping[str, str]:
        """See `ChangeFeed.unfollowed`."""
        return {n: why for n, why in {**self._tables.unfollowed, **self._untold}.items() if n in self._schemas}

    @property
    def kept(self) -> Kept | None:
        """See `ChangeFeed.kept`."""
        return kept_for(self._connection, self._confirmed)

    def marks(self) -> Marks:
        """See `Identified`: of now."""
        catalog = self._tables.catalog
        return standing(self._connection, catalog, place_now(self._connection, is_mariadb=catalog.server.is_mariadb))

    def confirm(self, position: str) -> None:
        """See `ChangeFeed.confirm`. The server asks nobody before it purges: this is only counted from."""
        self._confirmed = parse_position(position)

    def read(self, seconds: float) -> Iterator[Told | Moved | Break]:
        """See `ChangeFeed.read`. A window ends between transactions, sooner when it has become large.

        What was whole before a break is told first, and the break by the next reading.
        """
        window = _Window(self)
        deadline = time.monotonic() + seconds
        try:
            while (
                self._trouble is None
                and self._ahead is not None
                and (not window.is_whole or (not window.is_full and time.monotonic() < deadline))
            ):
                block = self._ahead.next(max(deadline - time.monotonic(), 0.05))
                if block is not None:
                    yield from window.take(block)
            if self._trouble is None:
                self._look()
        except Broken as broken:
            self._trouble = broken
        if window.is_whole and window.transactions and (other := self._altered()):
            self._trouble, window.is_whole = other, False
        if self._trouble is not None and not (window.is_whole and window.transactions):
            self._count_cascades(self._trouble)
            yield Break(self._trouble.why, self._trouble.collections, self._trouble.kind)
            return
        if window.end is not None:
            self._reached, self._is_elsewhere = window.end, False
        until = _EPOCH + timedelta(microseconds=self._latest) if window.transactions else None
        notes, self._is_capped = (_CAPPED,) * self._is_capped, False
        yield Moved(str(self._reached), until, window.transactions, notes)

    def heed(self, block: Block) -> None:
        """Note what a block says beside its changes."""
        self._trouble = block.trouble
        self._opened |= block.opened
        if block.looks:
            self._looked, self._has_other_indexes = 0.0, True

    def go_on_from(self, since: int) -> None:
        """Tell no time before that one, unless it has yet to come by more than two servers' clocks differ."""
        capped = self._clock.capped(since)
        self._latest = since if since - capped < _CLOCKS_DIFFER else capped

    def moment(self, committed: int) -> int:
        """The time of a transaction, never before the one before it, and never to come."""
        capped = self._clock.capped(committed)
        self._is_capped |= capped < committed
        self._latest = max(self._latest, capped)
        return self._latest

    def told(self, table: Table, images: Images, at: list[int], names: list[str], order: list[int]) -> Told:
        """Images of a table in canonical types."""
        name = table.collection
        schema = self._schemas[name]
        columns = []
        for column in schema.columns:
            try:
                columns.append(images.column(column.name, mixed=column.type == MIXED))
            except Misfit as misfit:
                raise Broken(f"column {column.name}: {misfit}", (name,)) from misfit
        rows = pa.RecordBatch.from_arrays(columns, schema=schema.arrow())
        # What replaces a record of another key is new.
        kinds = bytes(images.kinds).replace(bytes([REPLACED, UPDATED]), b"RI")
        owners = pa.array(images.owners, pa.uint32())
        return Told(
            name,
            rows,
            pa.array(kinds.translate(_OPS), pa.int8()),
            pa.array(at, pa.timestamp("us", tz="UTC")).take(owners),
            pa.array(names, pa.string()).take(owners),
            pa.array(order, pa.int64()).take(owners),
        )

    def _look(self) -> None:
        """A definition can change without a statement that tells: look at the catalog now and then."""
        if time.monotonic() - self._looked < _LOOK_SECONDS or self._gathering is None:
            return
        self._looked = time.monotonic()
        self._clock.look(self._connection)
        catalog = load_catalog(self._connection)
        why = difference(catalog.tables, self._schemas, RESERVED)
        if not why and definition_marks(catalog) != self._reached.definitions:
            why = _OTHER_MARKS
        if not why and not catalog.server.has_binlog:
            why = "the server keeps no binlog any more (log_bin is off)"
        if why:
            raise Broken(why)
        if self._has_other_indexes:
            self._learn(catalog)

    def _altered(self) -> Broken | None:
        """Whether rows may lie under other columns than the server wrote them of, asked when they are here."""
        names, self._opened = sorted(self._opened), set()
        known = self._tables.catalog
        others = altered(known, load_catalog(self._connection, names), names) if names else ()
        # Of many the server looks for files: a table that is put in its own place has none for an instant.
        others = tuple(each for each in others if altered(known, load_catalog(self._connection, [each]), [each]))
        kind = self._trouble.kind if self._trouble else ""
        return Broken("its definition changed, untold by the binlog or since", others, kind=kind) if others else None

    def _learn(self, catalog: Catalog) -> None:
        """Take the tables as they are now, with the same columns and keys as before."""
        self._has_other_indexes = False
        left_out = {name: why for name, why in self._tables.unfollowed.items() if name in catalog.tables}
        self._tables = load_tables(self._connection, catalog, left_out)
        if self._gathering is not None:
            self._gathering.tables = self._tables

    def _count_cascades(self, broken: Broken) -> None:
        if broken.is_cascade:
            for name in broken.collections:
                self._cascaded[name].append(time.monotonic())


class _Window:
    """What was read since the last commit: whole transactions, counted."""

    def __init__(self, feed: _Feed) -> None:
        self._feed = feed
        self._bytes = 0
        self.transactions = 0
        self.is_whole = True  # no transaction is told in part
        self.end: Position | None = None

    @property
    def is_full(self) -> bool:
        """Whether a commit is due for size."""
        return self._bytes >= _WINDOW_BYTES

    def take(self, block: Block) -> Iterator[Told]:
        """Number a block's transactions and hand out what it holds."""
        at, names, order = [], [], []
        for number, (committed, name) in enumerate(block.transactions):
            self.transactions += not (number == 0 and block.goes_on)
            at.append(self._feed.moment(committed))
            names.append(name)
            order.append(self.transactions)
        self.is_whole = False
        while block.images:
            # One at a time, so that large values lie in memory once.
            yield self._feed.told(*block.images.pop(0), at, names, order)
        self._bytes += block.size
        self.end = block.end
        self.is_whole = block.is_last
        self._feed.heed(block)


@contextmanager
def _closing(connection: Connection) -> Iterator[Connection]:
    try:
        yield connection
    finally:
        connection._force_close()  # type: ignore[attr-defined]


def _forgets(connection: Connection) -> bool:
    """Whether a server that dies may lose what it has committed, or its binlog what it has told."""
    with translated("the settings"), connection.cursor() as cursor:
        cursor.execute("SELECT @@innodb_flush_log_at_trx_commit, @@sync_binlog")
        return any(int(each) != 1 for each in cursor.fetchone() or ())


_OPS = bytes.maketrans(b"IURD", bytes([1, 2, 3, 3]))
