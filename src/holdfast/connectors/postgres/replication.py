"""Follows a database: the changes of its commits, whole and in order, from a kept position on.

* Blocks of at most about 8 MB (one row more) come as soon as the server has nothing further to say, or when they are
  full. Memory holds one block, whatever the size of a transaction; its parts but the last say `is_last=False`, and
  whoever takes them holds or spools them until the last is there.
* A position is confirmed to the server only when `confirm` was told that all before it is durable elsewhere; until
  then the server keeps its log. So nothing is lost by a crash of either side, and after one nothing comes twice that
  was kept: begin again at the position that was kept last.
* Where the server writes much that is not followed, blocks without changes come now and then: keep and confirm their
  `end_lsn` like any other, so that the server may recycle its log.
* While a block is being worked on, the server is told every few seconds that its reader lives. A server that shuts
  down in order waits until its reader has confirmed all: don't sit on a block.

    with stream(url, "holdfast", publication_names("holdfast"), kept) as changes:
        for block in changes.blocks(stop):
            ...                                     # make it durable, then
            changes.confirm(block.end_lsn)
"""

from __future__ import annotations

import select
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import psycopg
from psycopg import errors

from holdfast.connectors.postgres.connection import Connection, connect, quoted, shown, translated
from holdfast.connectors.postgres.pgoutput import Block, Decoder
from holdfast.connectors.postgres.position import Position, lsn_text
from holdfast.connectors.postgres.slot import examine
from holdfast.errors import Refused, Unreachable

__all__ = ["BLOCK_BYTES", "PublicationGone", "Stream", "stream"]

BLOCK_BYTES = 8 << 20
_ALIVE_SECONDS = 1.0  # between signs of life; a server's wal_sender_timeout may be short
_MOVED_SECONDS = 10.0  # between blocks that only say how far the server is
_RIPE_SECONDS = 0.2  # that small transactions are gathered: a block costs much the same, however small it is
_WAIT_SECONDS = 0.05  # between looks at `stop`
_BUSY_SECONDS = 3.0  # that a reader who just left may still hold the slot


class PublicationGone(Refused):
    """The server no longer knows what to send: a publication was dropped while its changes were followed."""


class Stream:
    """One open stream. `blocks` is for one thread; `confirm` may be called from any."""

    def __init__(self, connection: Connection, place: str, start: Position) -> None:
        self._connection = connection
        self._place = place
        self._confirmed = start.lsn
        self._told = -1  # what the server was last told to be confirmed
        self._received = start.lsn
        self._handed_out = start.lsn
        self._lock = threading.Lock()  # of the connection: held by whoever uses it
        self._moved_at = 0.0
        self._is_asked = False

    def ask(self) -> None:
        """Let the server say how far it is: the next block, or one without changes, tells it by its `end_lsn`."""
        self._is_asked = True

    def confirm(self, lsn: int) -> None:
        """Everything before `lsn` (a block's `end_lsn`) is durable: the server may forget it. Never goes back."""
        self._confirmed = max(self._confirmed, lsn)

    def blocks(self, stop: threading.Event) -> Iterator[Block]:
        """Yield what was committed, block by block, until `stop` is set: it ends within a second, between two blocks.

        Raises Unreachable when the connection is lost (safe: begin again at the last position that was kept), Refused
        when the server can't serve the slot any more, Damaged or Unsupported for messages that can't be read.
        """
        decoder = Decoder()
        ended = threading.Event()
        keeper = threading.Thread(target=self._stay_alive, args=(ended,), name="holdfast-alive", daemon=True)
        keeper.start()
        try:
            while not stop.is_set():
                with self._lock, translated(self._place):
                    if self._is_asked:
                        self._tell(again=True, asks=True)
                    is_due = self._gather(decoder)
                    self._tell()
                if is_due:
                    block = decoder.take()
                    self._handed_out = block.end_lsn = max(block.end_lsn, self._handed_out)
                    self._moved_at = time.monotonic()
                    yield block
        finally:
            ended.set()
            keeper.join()

    def close(self) -> None:
        """Tell the server what was confirmed last, if it still listens, and leave."""
        with self._lock:
            with suppress(psycopg.Error):
                self._tell()
            # The driver's own way would wait for an end of the stream that never comes.
            self._connection.pgconn.finish()

    def _gather(self, decoder: Decoder) -> bool:
        """Take in what has arrived, waiting a moment if nothing has; whether a block is to be handed out."""
        connection, feed = self._connection.pgconn, decoder.feed
        get = connection.get_copy_data
        while decoder.block.size < BLOCK_BYTES:
            size, data = get(1)
            if size > 0:
                if data[0] == _DATA:
                    feed(bytes(data), _DATA_HEADER)
                elif self._hear_keepalive(bytes(data)) and decoder.is_between and not decoder.block.transactions:
                    decoder.block.end_lsn = self._received
                    self._is_asked = False
                    return True
                continue
            if size < 0:
                raise _ended(connection, self._place)
            is_ripe = time.monotonic() - self._moved_at >= _RIPE_SECONDS or self._is_asked
            if decoder.is_between and decoder.block.transactions and is_ripe:
                return True
            if not select.select([connection.socket], [], [], _WAIT_SECONDS)[0]:
                return False
            connection.consume_input()
        return True

    def _hear_keepalive(self, data: bytes) -> bool:
        """Answer if asked to; whether the server has come so far without changes that this is to be kept."""
        _, received, _, is_urgent = _KEEPALIVE.unpack(data)
        self._received = max(self._received, received)
        if is_urgent:
            self._tell(again=True)
        # A server that shuts down asks, and waits until all that it wrote is confirmed: not for our sake.
        if self._is_asked:
            return True
        is_time = is_urgent or time.monotonic() - self._moved_at >= _MOVED_SECONDS
        return is_time and received > self._handed_out

    def _tell(self, *, again: bool = False, asks: bool = False) -> None:
        """Tell the server what is confirmed, if that is news or `again`; one who `asks` wants an answer at once."""
        confirmed = self._confirmed
        if confirmed == self._told and not again:
            return
        written = max(self._received, confirmed)
        now = int(time.time() * 1e6) - _EPOCH
        connection = self._connection.pgconn
        connection.put_copy_data(_STATUS.pack(_STATUS_KIND, written, confirmed, confirmed, now, asks))
        while connection.flush():
            select.select([], [connection.socket], [], _WAIT_SECONDS)
        self._told = confirmed

    def _stay_alive(self, ended: threading.Event) -> None:
        """Give signs of life while the connection is not in use, until `ended`; an error is for `blocks` to meet."""
        while not ended.wait(_ALIVE_SECONDS):
            with self._lock:
                try:
                    self._tell(again=True)
                except psycopg.Error:
                    return


@contextmanager
def stream(url: str, slot: str, publications: Sequence[str], start: Position) -> Iterator[Stream]:
    """Open the stream of changes that were committed after `start`, through a slot and publications that are there.

    Raises Refused if `examine` finds that changes after `start` are out of reach, Unreachable if the server is not
    there or another reader has the slot.
    """
    place = shown(url)
    with connect(url, replication=True) as connection:
        if finding := examine(connection, slot, start):
            raise Refused(f"{place}: {finding.fact}", hint="capture anew: that closes the gap, and names it")
        names = ",".join(quoted(each) for each in publications).replace("'", "''")
        command = (
            f"START_REPLICATION SLOT {quoted(slot)} LOGICAL {lsn_text(start.lsn)} "
            f"(proto_version '1', publication_names '{names}')"
        )
        with translated(place):
            _start(connection, command)
        changes = Stream(connection, place, start)
        try:
            yield changes
        finally:
            changes.close()


def _start(connection: Connection, command: str) -> None:
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute(command.encode())
        except errors.ObjectInUse:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _ended(connection: psycopg.pq.abc.PGconn, place: str) -> Refused | Unreachable:
    """Why the server ended the stream, in its own words."""
    result = connection.get_result()
    state = words = b""
    if result is not None:
        state = result.error_field(psycopg.pq.DiagnosticField.SQLSTATE) or b""
        words = result.error_field(psycopg.pq.DiagnosticField.MESSAGE_PRIMARY) or b""
    fact = f"{place}: the server ended the stream: {words.decode(errors='replace') or 'without a word'}"
    if state == _UNDEFINED:
        return PublicationGone(fact, hint='"holdfast check SOURCE" says what stands in the way')
    if state[:2] in _PERMANENT:
        return Refused(fact, hint='"holdfast check SOURCE" says what stands in the way')
    return Unreachable(fact, hint=_AGAIN)


_AGAIN = "follow again: it goes on from the last position that was kept"
_UNDEFINED = b"42704"  # undefined_object: of a stream that runs, only its publications can become that
_PERMANENT = (b"0A", b"22", b"28", b"42", b"55")  # classes of errors that a retry meets again
_DATA = ord("w")
_DATA_HEADER = 25
_KEEPALIVE = struct.Struct(">BQqB")
_STATUS = struct.Struct(">BQQQqB")
_STATUS_KIND = ord("r")
_EPOCH = 946_684_800_000_000
