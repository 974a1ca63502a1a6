"""The bytes of a binlog from the server, event by event, as a replica gets them.

* The server is asked as a replica asks: by file and position, or by GTIDs. It sends what is there, then what comes.
* Nothing is confirmed: the server deletes its binlogs by age or size, whoever still needs them.
* While nothing happens the server says so every second, so that a lost connection shows; `packets` yields None.
* Packets are cut out of large reads. An event of more than 16 MB comes in several packets and is put together.
"""

from __future__ import annotations

import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import pymysql

from holdfast.connectors.mysql.connection import Connection, connect, shown, translated
from holdfast.errors import HoldfastError, Refused, Unreachable, Unsupported, Usage

__all__ = ["EVENT_BYTES_MAX", "Dump", "LogGone", "Start", "dump"]

EVENT_BYTES_MAX = 192 << 20  # a row of two values of 32 MB, before and after an update, and something to spare
_READ_BYTES = 1 << 20
_WAIT_SECONDS = 0.05
SILENT_SECONDS = 30.0
_HEARTBEAT_SECONDS = 1


class LogGone(Refused):
    """The server can't go on from there: that part of its binlog is purged, never was, or can't be read."""


@dataclass(frozen=True, slots=True)
class Start:
    """Where to begin: after these GTIDs (one for each domain, with commas), or else at a position in a file."""

    file: str = ""
    position: int = 4
    gtids: str | None = None


class Dump:
    """One dump that the server sends. `packets` is for one thread; `close` ends the server's side of it too."""

    def __init__(self, url: str, connection: Connection) -> None:
        self._url = url
        self._place = shown(url)
        self._connection = connection
        self._socket: socket.socket = connection._sock  # type: ignore[attr-defined]
        self._heard = time.monotonic()
        self._is_lost = False

    def begin(self, start: Start, server_id: int) -> None:
        """Ask for the dump, as the replica of that id: it must be no other replica's, and no server's."""
        settings = [
            f"@master_heartbeat_period = {int(_HEARTBEAT_SECONDS * 1e9)}",
            "@master_binlog_checksum = @@global.binlog_checksum, @source_binlog_checksum = @@global.binlog_checksum",
            "@mariadb_slave_capability = 4",  # GTIDs are sent as such
        ]
        if start.gtids is not None:
            if not _GTIDS.fullmatch(start.gtids):
                raise Usage(f"{start.gtids!r} are no GTIDs of a MariaDB server", hint="write them as 0-1-270,1-1-12")
            settings.append(f"@slave_connect_state = '{start.gtids}', @slave_gtid_strict_mode = 1")
        name, position = (start.file, start.position) if start.gtids is None else ("", 4)
        with translated(self._place):
            with self._connection.cursor() as cursor:
                cursor.execute(f"SET {', '.join(settings)}")
            # MySQL's own flag for "end at the end" is left out: wait for more.
            body = struct.pack("<BIHI", _COM_BINLOG_DUMP, position, 0, server_id) + name.encode()
            self._socket.sendall(struct.pack("<I", len(body)) + body)
        self._socket.settimeout(_WAIT_SECONDS)

    def packets(self, stop: threading.Event) -> Iterator[bytes | None]:
        """Yield events as they come, and None when none has come for a moment, until `stop` is set.

        Raises Unreachable when the connection is lost (safe: begin again where the last transaction ended), LogGone
        when the server can't go on from there, Refused if this user may not, Unsupported for an event too large.
        """
        data, at, sequence, parts = b"", 0, 1, list[bytes]()
        length_at = _LENGTH.unpack_from
        while True:
            size, after = len(data), 4
            while at + 4 <= size:
                head = length_at(data, at)[0]
                after = at + 4 + (head & _PACKET_MAX)
                if after > size:
                    break
                if parts or head & _PACKET_MAX == _PACKET_MAX:
                    parts.append(data[at + 4 : after])
                    if sum(map(len, parts)) > EVENT_BYTES_MAX:
                        raise self._too_large()
                    if head & _PACKET_MAX < _PACKET_MAX:
                        yield self._whole(parts)
                elif head >> 24 == sequence and after > at + 4 and not data[at + 4]:
                    yield data[at + 5 : after]
                else:
                    yield self._event(data[at + 4 : after])
                sequence = sequence + 1 & 0xFF
                at = after
            pieces, missing = [data[at:]], after - size if at + 4 <= size else 1
            while missing > 0:
                if stop.is_set():
                    return
                piece = self._receive()
                if piece is None:
                    yield None
                else:
                    pieces.append(piece)
                    missing -= len(piece)
            data, at = b"".join(pieces), 0

    def close(self) -> None:
        """Leave, and end the server's thread, which would notice only with its next heartbeat."""
        thread = self._connection.thread_id()  # type: ignore[no-untyped-call]
        # The driver's own way would wait for an end of the stream that never comes.
        self._connection._force_close()  # type: ignore[attr-defined]
        if self._is_lost:
            return  # A server that was started again numbers its threads anew: that one may be anybody's.
        with suppress(HoldfastError, pymysql.Error):
            other = connect(self._url, read_timeout=SILENT_SECONDS)
            try:
                with other.cursor() as cursor:
                    cursor.execute(_OURS, (thread,))
                    if cursor.fetchone():
                        cursor.execute(f"KILL {thread}")
            finally:
                other.close()

    def _receive(self) -> bytes | None:
        """What has arrived, None if that is nothing for a moment."""
        try:
            piece: bytes = self._socket.recv(_READ_BYTES)
        except TimeoutError:
            if time.monotonic() - self._heard > SILENT_SECONDS:
                raise self._lost(f"not a sign of life for {SILENT_SECONDS:.0f} s") from None
            return None
        except OSError as error:
            raise self._lost(str(error)) from error
        if not piece:
            raise self._lost("the connection was closed")
        self._heard = time.monotonic()
        return piece

    def _whole(self, parts: list[bytes]) -> bytes:
        """The event of several packets, which are let go: large ones lie in memory once."""
        if parts[0][:1] != b"\0":
            return self._event(parts[0])
        parts[0] = parts[0][1:]
        event = b"".join(parts)
        parts.clear()
        return event

    def _event(self, packet: bytes) -> bytes:
        """The event of a packet, whose first byte says that it is one. Raises what the server says instead."""
        if packet[:1] == b"\0":
            return packet[1:]
        if packet[:1] != b"\xff":
            raise self._lost("the server ended the stream")
        (code,) = struct.unpack_from("<H", packet, 1)
        words = packet[9 if packet[3:4] == b"#" else 3 :].decode(errors="replace")
        if code == _LOG_GONE:
            raise LogGone(f"{self._place}: {words}", hint="capture anew: that closes the gap, and names it")
        if code in _DENIED:
            raise Refused(f"{self._place}: {words}", hint="mend it with: GRANT REPLICATION SLAVE ON *.* TO this user")
        raise self._lost(words)

    def _lost(self, why: str) -> Unreachable:
        self._is_lost = True
        return Unreachable(f"{self._place}: the binlog stream ended: {why}", hint="it is safe to try again")

    def _too_large(self) -> Unsupported:
        return Unsupported(
            f"{self._place}: a change in the binlog has more than {EVENT_BYTES_MAX:,} bytes",
            hint="capture instead of following, or keep values of that size in files",
        )


@contextmanager
def dump(url: str, start: Start, server_id: int) -> Iterator[Dump]:
    """Open a dump from `start`. Raises Unreachable or Refused if the server can't be reached; else see `packets`."""
    connection = connect(url, read_timeout=SILENT_SECONDS)
    stream = Dump(url, connection)
    try:
        stream.begin(start, server_id)
        yield stream
    finally:
        stream.close()


_LENGTH = struct.Struct("<I")
_PACKET_MAX = 0xFF_FFFF
_COM_BINLOG_DUMP = 0x12
_OURS = """
    SELECT 1 FROM information_schema.PROCESSLIST
    WHERE ID = %s AND COMMAND LIKE 'Binlog Dump%%' AND USER = SUBSTRING_INDEX(USER(), '@', 1)
"""
_LOG_GONE = 1236
_DENIED = (1045, 1142, 1227)
_GTIDS = re.compile(r"(\d+-\d+-\d+(,\d+-\d+-\d+)*)?")
