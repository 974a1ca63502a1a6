"""Rows written as a replica writes them: as row events, which fire no trigger and keep the past of a versioned table.

MariaDB has no switch that silences triggers. It does not fire them for row events, and a BINLOG statement carries out
row events inside a transaction like any other statement. So a table with triggers, or with a past of its own, is
written by events made here. That needs the right BINLOG REPLAY; without it such a table is refused.

* An event has whole rows as the server's own text tells them, packed: to be found the old one, to be written the new.
* What such an event does not look at is looked at before: rules and generated columns by a temporary table like the
  target's, references by `references`, and each record afterwards by its digest.
"""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Iterator, Sequence

import pymysql

from holdfast.connectors.mysql.catalog import Server, Table
from holdfast.connectors.mysql.connection import Connection
from holdfast.connectors.mysql.packs import pack_of
from holdfast.connectors.mysql.rights import account
from holdfast.connectors.mysql.staging import run
from holdfast.connectors.mysql.values import selected
from holdfast.errors import Unsupported

__all__ = ["Replay", "may_replay"]

Row = tuple[bytes | None, ...]

_TABLE_MAP, _INSERT, _UPDATE, _DELETE = 19, 23, 24, 25
# Ends a statement; looks after no foreign keys.
_ROWS_FLAGS = 0x01 | 0x02
# Says that the events were made where the triggers had fired.
_HAS_TRIGGERS = 0x4000
_HEADER = "<IBIIIH"
_HEADER_BYTES = 19
# How long what follows the header of each type of event is; of the others the server asks nothing here.
_POST_HEADERS = {1: 56, 2: 13, 4: 8, 6: 18, 15: 0, 17: 4, 18: 26, 19: 8, 23: 8, 24: 8, 25: 8, 26: 2}
_TYPES = 163
_AT_ONCE_BYTES = 512 << 10
_TABLE_NUMBER = 1 << 40


def may_replay(connection: Connection, server: Server) -> str:
    """Say in words why this session can't write rows as events, or prepare it to; "" if it can."""
    if not server.is_mariadb:
        return "how MySQL takes row events was not tried"
    ((exec_mode, triggers),) = run(connection, "SELECT @@slave_exec_mode, @@slave_run_triggers_for_rbr")
    if exec_mode != "STRICT":
        return f"slave_exec_mode is {exec_mode}, under which records that collide are overwritten"
    if triggers == "ENFORCE":
        return "slave_run_triggers_for_rbr is ENFORCE, under which triggers fire for all that is replayed"
    ((version,),) = run(connection, "SELECT VERSION()")
    lengths = bytes(_POST_HEADERS.get(number, 0) for number in range(1, _TYPES + 1))
    body = struct.pack("<H50sIB", 4, version.encode()[:49], 0, _HEADER_BYTES) + lengths + bytes(5)
    try:
        run(connection, _statement([_event(15, body, server)]))
    except pymysql.OperationalError as error:
        if error.args[0] not in (1227, 1044):
            raise
        return f"this user may not write past them; mend it with: GRANT BINLOG REPLAY ON *.* TO {account(server)}"
    return ""


class Replay:
    """Writes rows of one table as events. The session is prepared by `may_replay`."""

    def __init__(self, connection: Connection, table: Table, server: Server) -> None:
        self._connection = connection
        self._table = table
        self._server = server
        packs = [pack_of(column) for column in table.columns]
        for column, pack in zip(table.columns, packs, strict=True):
            if pack is None:
                raise Unsupported(
                    f"{table.name}: its column {column.name} ({column.declared}) can't be written past triggers",
                    hint="restore to a new place",
                )
        self._packs = [pack for pack in packs if pack is not None]
        # Columns computed at each reading too: their indexes are written by what the event says.
        self._bits = _bits([True] * len(self._packs))
        self._map = self._table_map()
        # What stands in a SELECT for a row as `insert`, `update` and `delete` take it.
        self.row_sql = ", ".join(map(selected, table.columns))
        self.has_generated = any(column.is_generated for column in table.columns)

    def insert(self, rows: Sequence[Row]) -> None:
        """Write new rows."""
        self._write(_INSERT, map(self._image, rows), 1)

    def update(self, before: Sequence[Row], after: Sequence[Row]) -> None:
        """Put each row of `after` in the place of that of `before`."""
        pairs = zip(before, after, strict=True)
        self._write(_UPDATE, (self._image(old) + self._image(new) for old, new in pairs), 2)

    def delete(self, rows: Sequence[Row]) -> None:
        """Delete one row for each."""
        self._write(_DELETE, map(self._image, rows), 1)

    def _write(self, kind: int, images: Iterator[bytes], bitmaps: int) -> None:
        pieces: list[bytes] = []
        size = 0
        for image in images:
            pieces.append(image)
            size += len(image)
            if size > _AT_ONCE_BYTES:
                self._send(kind, b"".join(pieces), bitmaps)
                pieces, size = [], 0
        if pieces:
            self._send(kind, b"".join(pieces), bitmaps)

    def _send(self, kind: int, images: bytes, bitmaps: int) -> None:
        head = struct.pack("<Q", _TABLE_NUMBER)[:6] + struct.pack("<H", _ROWS_FLAGS) + _length(len(self._packs))
        events = [_event(_TABLE_MAP, self._map, self._server)]
        events.append(_event(kind, head + self._bits * bitmaps + images, self._server))
        run(self._connection, _statement(events))

    def _image(self, row: Row) -> bytes:
        values = [pack.pack(value) for pack, value in zip(self._packs, row, strict=True) if value is not None]
        return _bits([value is None for value in row]) + b"".join(values)

    def _table_map(self) -> bytes:
        names = (self._table.database.encode(), self._table.name.encode())
        told = b"".join(bytes([len(name)]) + name + b"\0" for name in names)
        types = bytes(pack.type for pack in self._packs)
        meta = b"".join(pack.meta for pack in self._packs)
        nullable = _bits([not column.not_null for column in self._table.columns])
        head = struct.pack("<Q", _TABLE_NUMBER)[:6] + struct.pack("<H", 1 | _HAS_TRIGGERS)
        return head + told + _length(len(types)) + types + _length(len(meta)) + meta + nullable


def _event(kind: int, body: bytes, server: Server) -> bytes:
    size = _HEADER_BYTES + len(body)
    return struct.pack(_HEADER, 0, kind, server.server_id, size, 0, 0) + body


def _statement(events: Sequence[bytes]) -> str:
    return f"BINLOG '{b64encode(b''.join(events)).decode()}'"


def _length(count: int) -> bytes:
    return bytes([count]) if count < 251 else b"\xfc" + struct.pack("<H", count)


def _bits(flags: Sequence[bool]) -> bytes:
    return sum(1 << place for place, flag in enumerate(flags) if flag).to_bytes((len(flags) + 7) // 8, "little")
