"""Takes the events of a binlog one after the other and tells transactions: `items` says what comes out.

* Checksums are verified where the server sends them. What is altered, cut or makes no sense raises Damaged.
* A kind of event that is not known here raises Unsupported, unless the server says that it may be passed over.
* A large transaction is not held: an event is taken, told and forgotten.

    with dump(url, Start("bin.000003", 4), server_id=7001) as stream:
        for item in Events("bin.000003", 4).read(stream.packets(stop)):
            ...
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import NoReturn

from pymysql.charset import charset_by_id

from holdfast.connectors.mysql.bodies import (
    HEADER,
    Gtid,
    Query,
    TableMap,
    description,
    gtid,
    inflated,
    lenenc,
    query,
    table_map,
)
from holdfast.connectors.mysql.items import (
    COMMITTED,
    PREPARED,
    ROLLED_BACK,
    TORN,
    Begin,
    End,
    File,
    Incident,
    Item,
    Quiet,
    Rows,
    Statement,
)
from holdfast.connectors.mysql.rows import DELETED, INSERTED, UPDATED
from holdfast.errors import Damaged, Unsupported

__all__ = ["Events"]


class Events:
    """The events of one dump, from the place where it was begun: `file` may be left open, and is told first."""

    def __init__(self, file: str = "", position: int = 4) -> None:
        self.file = file
        self.position = position
        self._has_checksums: bool | None = None  # not known before the first description
        self._maps: dict[bytes, TableMap] = {}
        self._tables: dict[int, TableMap] = {}
        self._begin: Begin | None = None
        self._is_alone = False  # the transaction has no end of its own: it is its one statement
        self._is_open = False  # nothing has told yet whether it is its one statement: MySQL's GTIDs don't
        self._is_ended = True  # the file before the one that comes has its end, or is not known
        self._more: list[Item] = []  # what comes after the item that is told now
        self._readers: dict[int, Callable[[bytes, int], Item | None]] = {
            **dict.fromkeys(_PASSED, _pass),
            **dict.fromkeys(_ROWS, self._rows),
            2: self._query,
            3: self._stop,
            4: self._rotate,
            15: self._describe,
            16: self._commit,
            18: self._load,
            19: self._map,
            26: self._incident,
            33: self._gtid,
            34: self._gtid,
            38: self._prepare,
            162: self._gtid,
            165: self._compressed_query,
        }

    def read(self, packets: Iterable[bytes | None]) -> Iterator[Item]:
        """Yield what the events tell; None among them stands for a moment in which none came."""
        take = self.take
        for data in packets:
            if data is None:
                yield Quiet(self.file, self.position)
                continue
            item = take(data)
            if item is not None:
                # Who takes a large event is the only one to hold it.
                data = None
                yield item
                item = None
                if self._more:
                    more, self._more = self._more, []
                    yield from more

    def take(self, data: bytes) -> Item | None:
        """Take one event. Raises Damaged or Unsupported: then no more can be taken."""
        try:
            _, kind, length, place, flags = _HEADER.unpack_from(data)
            if self._has_checksums and zlib.crc32(data) == _WHOLE and not flags & _ARTIFICIAL and kind != _DESCRIPTION:
                end = length - 4
            else:
                end = self._checked(data, kind, length, flags)
            # A file may be larger than the 32 bits that an event has for its place.
            ahead = (place - self.position) & 0xFFFF_FFFF
            if place and not flags & _ARTIFICIAL and (ahead >= length or kind not in _HEARTBEATS):
                if ahead < length:
                    _damaged(f"an event at {place} that begins before {self.position}, where the last one ends")
                self.position += ahead
            reader = self._readers.get(kind)
            if reader is None:
                _refuse_unknown(kind, flags)
                return None
            return reader(data, end)
        except (struct.error, IndexError, ValueError, zlib.error) as error:
            _damaged(f"an event of kind {data[4] if len(data) > 4 else 0} that can't be read ({error})")

    def _checked(self, data: bytes, kind: int, length: int, flags: int) -> int:
        """Where the body ends, once its length and checksum are found to be right."""
        if length != len(data):
            _damaged(f"an event of {len(data):,} bytes that says it has {length:,}")
        if kind == _DESCRIPTION:
            # The bit that says that the file is in use is set and cleared without another checksum.
            unused = data[:17] + bytes([flags & 0xFF & ~_IN_USE]) + data[18:]
            if data[-5] and not is_whole(data) and not is_whole(unused):
                _damaged("a description of a binlog whose checksum is wrong")
            return length - 4
        # What the server makes up on the way may have a checksum or none, whatever the file has.
        is_sure = self._has_checksums is not None and not (flags & _ARTIFICIAL and kind in _MADE_UP)
        if is_sure and self._has_checksums and not is_whole(data):
            _damaged(f"an event of kind {kind} whose checksum is wrong")
        if not (self._has_checksums if is_sure else is_whole(data)):
            return length
        return length - 4

    def _describe(self, data: bytes, _end: int) -> Item:
        found = description(data)
        for kind, width in _FIXED.items():
            if len(found.fixed) >= kind and found.fixed[kind - 1] != width:
                raise ValueError(f"events of kind {kind} have another layout")
        self._has_checksums = found.has_checksums
        self._maps.clear()
        self._tables.clear()
        file = File(self.file, _HEADER.unpack_from(data)[0], found.version, not self._is_ended)
        self._is_ended = False
        begin, self._begin = self._begin, None
        if begin is None:
            return file
        # The server died within a transaction, and took it for not committed when it started again.
        self._more.append(file)
        return End(TORN, begin.file, begin.position)

    def _stop(self, _data: bytes, _end: int) -> None:
        self._is_ended = True

    def _rotate(self, data: bytes, end: int) -> None:
        # One that the server makes up says only which file it goes on with.
        self._is_ended |= not _HEADER.unpack_from(data)[4] & _ARTIFICIAL
        (self.position,) = _PLACE.unpack_from(data, HEADER)
        self.file = data[HEADER + 8 : end].decode()

    def _gtid(self, data: bytes, end: int) -> Item:
        begin = self._start(gtid(data, end), data)
        self._is_open = data[4] != _MARIADB
        return begin

    def _start(self, found: Gtid, data: bytes) -> Begin:
        if self._begin is not None:
            _damaged("a transaction that begins within another")
        self._is_alone, self._is_open = found.is_alone, False
        begin = self._begin = Begin(
            found.name,
            self.file,
            self.position - len(data),
            found.at,
            found.prepares,
            found.settles,
        )
        return begin

    def _map(self, data: bytes, end: int) -> None:
        body = data[HEADER:end]
        table = self._maps.get(body)
        if table is None:
            if len(self._maps) >= _MAPS_MAX:
                self._maps.clear()
            table = self._maps[body] = table_map(data, HEADER, end)
        self._tables[table.id] = table

    def _rows(self, data: bytes, end: int) -> Item | None:
        kind, is_second, is_compressed = _ROWS[data[4]]
        low, high, _ = _TABLE.unpack_from(data, HEADER)
        at = HEADER + 8
        if is_second:
            at += _SHORT.unpack_from(data, at)[0]
        count, at = (data[at], at + 1) if data[at] < _LONG else lenenc(data, at)
        width = (count + 7) >> 3
        columns = after = data[at : at + width]
        at += width
        if kind == UPDATED:
            after = data[at : at + width]
            at += width
        table = self._tables.get(low | high << 32)
        if table is None:
            if low == _NO_TABLE:
                return None  # It only says that a statement has ended.
            _damaged(f"rows of a table that was not described ({low | high << 32})")
        if self._begin is None:
            _damaged(f"rows of {table.name} outside a transaction")
        if count != len(table.fields) or at > end:
            _damaged(f"rows of {count} columns for {table.name}, which has {len(table.fields)}")
        self._is_open = False
        if is_compressed:
            data = inflated(data, at, end)
            at, end = 0, len(data)
        return Rows(table, kind, data, at, end, columns, after)

    def _query(self, data: bytes, end: int) -> Item | None:
        return self._run(query(data, end), data)

    def _compressed_query(self, data: bytes, end: int) -> Item | None:
        found = query(data, end)
        text = inflated(found.text, 0, len(found.text))
        return self._run(Query(found.schema, text, found.charset, found.error), data)

    def _load(self, data: bytes, end: int) -> Item | None:
        return self._run(query(data, end, extra=_LOAD_BYTES), data)

    def _run(self, found: Query, data: bytes) -> Item | None:
        """A statement; those that begin and end transactions are told as that."""
        text = found.text
        begin = self._begin
        if begin is not None and begin.settles:
            return self._end(COMMITTED if text.startswith(b"XA COMMIT") else ROLLED_BACK)
        if text == b"BEGIN":
            if begin is None:
                return self._start(_unnamed(data), data)
            self._is_open = False
            return None
        if begin is not None and not self._is_alone:
            if text == b"COMMIT":
                return self._end(COMMITTED)
            if text == b"ROLLBACK":
                return self._end(ROLLED_BACK)
            if text.startswith(_WITHIN):
                return None
        statement = Statement(found.schema.decode(errors="replace"), _text(found), found.error)
        if begin is None:
            first: Item = self._start(_unnamed(data), data)
            self._more += [statement, self._end(COMMITTED)]
            return first
        if self._is_alone or self._is_open:
            self._more.append(self._end(COMMITTED))
        return statement

    def _commit(self, _data: bytes, _end: int) -> Item:
        return self._end(COMMITTED)

    def _prepare(self, data: bytes, _end: int) -> Item:
        is_one_phase = data[HEADER] == 1
        return self._end(COMMITTED if is_one_phase else PREPARED)

    def _end(self, outcome: str) -> End:
        if self._begin is None:
            _damaged("a transaction that ends without having begun")
        self._begin = None
        if len(self._tables) > _MAPS_MAX:
            self._tables.clear()
        return End(outcome, self.file, self.position)

    def _incident(self, data: bytes, end: int) -> Item:
        return Incident(data[HEADER + 3 : end].decode(errors="replace"))


def is_whole(data: bytes) -> bool:
    """Whether the bytes end with their own CRC-32: the CRC over both is always the same."""
    return zlib.crc32(data) == _WHOLE


def _unnamed(data: bytes) -> Gtid:
    """What begins a transaction where the server gives no GTIDs."""
    return Gtid("", _HEADER.unpack_from(data)[0] * 1_000_000)


def _text(found: Query) -> str:
    """The statement in its client's character set, which names of tables depend on."""
    try:
        return found.text.decode(charset_by_id(found.charset).encoding or "utf-8", errors="replace")
    except LookupError:
        # One that Python has no codec for, as `binary`: the words that matter are ASCII in it, and most names.
        return found.text.decode(errors="replace")


def _pass(_data: bytes, _end: int) -> None:
    """What says nothing of records."""


def _refuse_unknown(kind: int, flags: int) -> None:
    if not flags & _IGNORABLE:
        name = _REFUSED.get(kind, "an unknown kind of event")
        raise Unsupported(
            f"the binlog has {name} (kind {kind}), which can't be followed",
            hint="capture instead of following, or let the server write row events as MariaDB 10.11 does",
        )


def _damaged(what: str) -> NoReturn:
    raise Damaged(
        f"the binlog makes no sense: {what}", hint="follow again: it goes on from the last position that is kept"
    )


_HEADER = struct.Struct("<IB4xIIH")
_PLACE = struct.Struct("<Q")
_TABLE = struct.Struct("<IHH")
_SHORT = struct.Struct("<H")
_WHOLE = 0x2144DF1C
_DESCRIPTION, _MARIADB = 15, 162
_HEARTBEATS, _MADE_UP = (27, 41), (4, 27, 163)
_ARTIFICIAL, _IGNORABLE, _IN_USE = 0x20, 0x80, 0x01
_NO_TABLE, _LONG = 0xFFFFFF, 0xFB
_MAPS_MAX = 4096
_LOAD_BYTES = 13
# The lengths of fixed parts, as all servers since MySQL 5.6 and MariaDB 10 have them.
_FIXED = {2: 13, 18: 26, 19: 8, 23: 8, 24: 8, 25: 8, 30: 10, 31: 10, 32: 10, 162: 19}
_WITHIN = (b"SAVEPOINT ", b"RELEASE SAVEPOINT ", b"XA START ", b"XA END ")
# (what the rows are, version 2 of the event, compressed)
_ROWS = {
    23: (INSERTED, False, False),
    24: (UPDATED, False, False),
    25: (DELETED, False, False),
    30: (INSERTED, True, False),
    31: (UPDATED, True, False),
    32: (DELETED, True, False),
    166: (INSERTED, False, True),
    167: (UPDATED, False, True),
    168: (DELETED, False, True),
    169: (INSERTED, True, True),
    170: (UPDATED, True, True),
    171: (DELETED, True, True),
}
# The parts of a LOAD DATA, variables of a statement that follows, heartbeats, text of statements, lists of GTIDs.
_PASSED = (5, 9, 11, 13, 14, 17, 27, 29, 35, 36, 37, 41, 160, 161, 163, 164)
_REFUSED = {
    20: "rows of MySQL 5.1's trials",
    21: "rows of MySQL 5.1's trials",
    22: "rows of MySQL 5.1's trials",
    39: "parts of JSON values (binlog_row_value_options=PARTIAL_JSON)",
    40: "compressed transactions (binlog_transaction_compression=ON)",
}
