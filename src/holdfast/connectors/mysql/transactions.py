"""Gathers what a binlog tells into blocks: whole transactions of the tables that are followed, in order.

* A transaction is held until it ends, as long as it is small; then it comes whole or, rolled back, not at all. A large
  one comes in pieces while it goes on: `is_last` is False until a block has its end.
* An XA transaction that waits for its verdict is held within limits, and comes when it is committed.
* What can't be told exactly ends it: `trouble` in the last block. What was whole before it is in that block still.
* GTIDs of one domain count up by ones; one that is left out is a transaction that nobody told.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from holdfast.connectors.mysql.bodies import TableMap
from holdfast.connectors.mysql.catalog import Table
from holdfast.connectors.mysql.charsets import Charsets
from holdfast.connectors.mysql.following import Broken, Tables
from holdfast.connectors.mysql.items import (
    COMMITTED,
    PREPARED,
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
from holdfast.connectors.mysql.position import Last, Position
from holdfast.connectors.mysql.rows import DELETED, REPLACED, UPDATED, Images, Layout, OtherTable
from holdfast.connectors.mysql.statements import judge

__all__ = ["Block", "Gathering"]

BLOCK_BYTES = 8 << 20
_HELD_BYTES = 1 << 20  # of a transaction that may yet be rolled back
_VALUE_BYTES = 16  # that a value takes in memory beside its own bytes
_RIPE_SECONDS = 0.2  # that small transactions are gathered: a block costs much the same, however small it is
_MOVED_SECONDS = 1.0  # between blocks that only say how far the server is
_PROOF_SECONDS = 10.0  # that another server has to send what proves that it goes on
_WAITING_BYTES = 32 << 20  # of XA transactions together


_Row: TypeAlias = tuple[Table, Layout, Rows]


@dataclass(slots=True)
class Block:
    """What was gathered since the last block. `transactions` are times in microseconds and names; `goes_on` if the
    first is the one within which the last block ended. `images` are by table, each layout of it apart, in order; their
    owners number the transactions. `end` is where the last one that is whole ended. `opened` are tables that the server
    opened anew: their rows may be of another definition.
    """

    end: Position
    transactions: list[tuple[int, str]] = field(default_factory=list)
    images: list[tuple[Table, Images]] = field(default_factory=list)
    goes_on: bool = False
    is_last: bool = True
    size: int = 0
    looks: bool = False
    opened: set[str] = field(default_factory=set)
    trouble: Broken | None = None


class Gathering:
    """Takes item after item of one dump; `block` is due when `take` says so.

    `forgets` says that the server may lose what is committed if it dies. With `proof` the first transaction has to be
    that one: the dump was begun before it.
    """

    def __init__(
        self, tables: Tables, charsets: Charsets, start: Position, *, forgets: bool = False, proof: Last | None = None
    ) -> None:
        self.tables = tables
        self._charsets = charsets
        self._layouts: dict[TableMap, tuple[Table, Layout]] = {}
        self._open_images: dict[str, Images] = {}
        self._before_end = start
        self._end: End | None = None  # of the last whole transaction: a position is made of it when one is asked for
        self._forgets = forgets
        self._proof = proof
        self._patience_ends = time.monotonic() + _PROOF_SECONDS
        self._is_same_server = proof is None
        self._gtids = {each.split("-")[0]: each for each in start.gtids.split(",") if each.count("-") == 2}
        self._begin: Begin | None = None
        self._held: list[_Row] = []
        self._held_bytes = 0
        self._is_open = False  # rows of the transaction that goes on are in a block
        self._is_too_large = False
        self._waiting: dict[bytes, list[_Row] | None] = {}
        self._waiting_bytes: dict[bytes, int] = {}
        self._before = ""  # the GTID before the last, of its domain
        self._ended: tuple[str, int] | None = None
        self._due_at = time.monotonic()
        self._moved_at = time.monotonic()
        self._block = Block(start)

    @property
    def _here(self) -> Position:
        if self._end is not None:
            self._before_end = replace(self._before_end, file=self._end.file, offset=self._end.position)
            self._end = None
        return self._before_end

    @_here.setter
    def _here(self, position: Position) -> None:
        self._before_end, self._end = position, None

    @property
    def here(self) -> Position:
        """Where the last whole transaction ended."""
        if self._ended is None:
            return self._here
        gtid, at = self._ended
        if gtid.count("-") != 2:
            return self._here
        state = dict(self._gtids)
        now = ",".join(state.values())
        domain = gtid.split("-")[0]
        if self._before:
            state[domain] = self._before
        else:
            state.pop(domain)
        return replace(self._here, gtids=now, last=Last(gtid, at, ",".join(state.values())))

    def take(self, item: Item) -> bool:
        """Take one item; whether a block is due now. After trouble nothing more may be taken."""
        try:
            return self._take(item)
        except Broken as broken:
            self._block.trouble = broken
            return True

    def block(self) -> Block:
        """What was gathered; a new block begins."""
        block = self._block
        block.end = self.here
        block.is_last = not self._is_open
        self._here, self._ended = block.end, None
        self._block = Block(block.end, goes_on=self._is_open)
        self._open_images = {}
        for _, images in block.images:
            images.ripen()
        if self._is_open:
            assert self._begin
            self._block.transactions.append((self._begin.at, self._begin.name))
        self._due_at = time.monotonic() + _RIPE_SECONDS
        self._moved_at = time.monotonic() + _MOVED_SECONDS
        return block

    def _take(self, item: Item) -> bool:
        kind = type(item)
        if kind is Rows:
            assert isinstance(item, Rows)
            return self._rows(item)
        if kind is Begin:
            assert isinstance(item, Begin)
            return self._started(item)
        if kind is End:
            assert isinstance(item, End)
            return self._over(item)
        if isinstance(item, Quiet):
            return self._quiet(item)
        if isinstance(item, File):
            return self._file(item)
        if isinstance(item, Statement):
            return self._statement(item)
        assert isinstance(item, Incident)
        raise Broken(f"the server itself says that its binlog lacks changes: {item.why}")

    def _file(self, item: File) -> bool:
        here = self._here
        if self._is_same_server and item.name == here.file and item.begun != here.begun:
            raise Broken(
                f"the binlog {item.name} was begun anew since it was read: RESET MASTER, or another server's",
                kind="timeline",
            )
        if item.after_crash and self._forgets:
            raise Broken(
                "the server died, and by its settings may have lost transactions that its binlog has "
                "(innodb_flush_log_at_trx_commit, sync_binlog)"
            )
        self._is_same_server = True
        # What the file holds before its first transaction belongs to none.
        self._here = replace(self.here, file=item.name, offset=4 if item.name != here.file else here.offset)
        self._here = replace(self._here, begun=item.begun)
        self._ended = None
        return False

    def _started(self, begin: Begin) -> bool:
        if self._proof is not None:
            self._prove(begin, self._proof)
        domain, _, number = begin.gtid.partition("-")
        last = self._gtids.get(domain) if number else None
        if last is not None:
            now, before = int(begin.gtid.rpartition("-")[2]), int(last.rpartition("-")[2])
            if now != before + 1:
                raise Broken(
                    f"transactions are missing in the binlog: after GTID {last} comes {begin.gtid}",
                    kind="behind" if now <= before else "",
                )
        self._begin = begin
        self._is_too_large = False
        return False

    def _prove(self, begin: Begin, proof: Last) -> None:
        """The first transaction of another server has to be the last one that was read from the one before it."""
        if (begin.gtid, begin.at) != (proof.gtid, proof.at):
            raise Broken(
                f"this server's binlog goes on with GTID {begin.gtid}, where {proof.gtid} of the same moment was read",
                kind="timeline",
            )
        domain = proof.gtid.split("-")[0]
        self._gtids = {each.split("-")[0]: each for each in proof.before.split(",") if each}
        self._before = self._gtids.get(domain, "")

    def _rows(self, item: Rows) -> bool:
        table = self.tables.of(item.table)
        if table is None:
            return False
        if item.kind == DELETED and not self._proof:
            self._refuse_cascade(table)
        if not self.tables.is_followed(table.name):
            return False
        layout = self._layout(item, table)
        size = item.end - item.at
        if self._is_open:
            self._keep(table, layout, item)
            return self._block.size >= BLOCK_BYTES
        if not self._is_too_large:
            self._held.append((table, layout, item))
            self._held_bytes += size
        return self._held_bytes >= _HELD_BYTES and self._release()

    def _release(self) -> bool:
        """What is held has become large: whether a block is due."""
        assert self._begin
        if self._proof is not None:
            self._forget()
            return False
        if not self._begin.prepares:
            self._open()
            return self._block.size >= BLOCK_BYTES
        if self._held_bytes + sum(self._waiting_bytes.values()) > _WAITING_BYTES:
            self._is_too_large = True
            self._forget()
        return False

    def _refuse_cascade(self, table: Table) -> None:
        reached = self.tables.cascades.deleting.get(table.name, ())
        followed = tuple(name for name in reached if self.tables.is_followed(name))
        if followed:
            raise Broken(
                f"rows of {table.name} were deleted, and with them rows that reference it (ON DELETE), of which "
                "nothing tells",
                followed,
                is_cascade=True,
            )

    def _layout(self, item: Rows, table: Table) -> Layout:
        """How the rows are packed. Raises Broken if they are not whole, or not of the table that the vault holds."""
        known = self._layouts.get(item.table)
        if known is None or known[0] is not table:
            if len(self._layouts) >= _LAYOUTS_MAX:
                self._layouts.clear()
            try:
                known = self._layouts[item.table] = table, Layout(item.table, table, self._charsets)
            except OtherTable as other:
                raise Broken(f"its definition changed: {other}", (table.name,)) from other
            self._block.opened.add(table.name)
        layout = known[1]
        if item.columns != layout.full or item.columns_after != layout.full:
            raise Broken(
                "the binlog has parts of its rows only (a session's binlog_row_image is not FULL)", (table.name,)
            )
        return layout

    def _statement(self, item: Statement) -> bool:
        if self._proof is not None:
            return False
        if item.text.startswith("ROLLBACK"):
            if self._held or self._is_open:
                raise Broken("a part of a transaction was rolled back after the binlog had told it")
            return False
        verdict = judge(item.schema, item.text, self.tables.reach)
        if verdict.why:
            raise Broken(verdict.why, verdict.collections)
        self._block.looks |= verdict.looks
        if verdict.enters:
            self.tables = replace(self.tables, reach=replace(self.tables.reach, is_entered=True))
        return False

    def _over(self, end: End) -> bool:
        begin = self._begin
        assert begin is not None
        if end.outcome == TORN:
            return self._torn()
        is_proof, self._proof = self._proof is not None, None
        if is_proof:
            self._forget()
        elif begin.settles:
            self._settle(begin, end)
        elif end.outcome == COMMITTED:
            if self._held:
                self._open()
        elif end.outcome == PREPARED:
            self._wait(begin)
        elif self._is_open:
            raise Broken("a large transaction was rolled back after the binlog had told it")
        self._forget()
        self._begin, self._is_open = None, False
        if begin.gtid:
            domain = begin.gtid.partition("-")[0]
            self._before = self._gtids.get(domain, "")
            self._gtids[domain] = begin.gtid
        self._ended = begin.gtid, begin.at
        self._end = end
        # Where others write all the time it is never quiet: that the position moves has to be told as well.
        due_at = self._due_at if self._block.transactions else self._moved_at
        return self._block.size >= BLOCK_BYTES or time.monotonic() >= due_at

    def _torn(self) -> bool:
        """The server died within the transaction: it never was, and its GTID names the next one."""
        if self._is_open:
            raise Broken("a large transaction was rolled back after the binlog had told it")
        self._forget()
        self._begin = None
        return False

    def _settle(self, begin: Begin, end: End) -> None:
        """A verdict on an XA transaction that was prepared earlier."""
        if begin.settles not in self._waiting:
            if end.outcome == COMMITTED:
                raise Broken("an XA transaction was committed that was prepared before the changes that are told begin")
            return
        rows = self._waiting.pop(begin.settles)
        self._waiting_bytes.pop(begin.settles, None)
        if end.outcome != COMMITTED:
            return
        if rows is None:
            raise Broken("an XA transaction was committed that was too large to wait for its verdict")
        self._held = rows
        if rows:
            self._open()

    def _wait(self, begin: Begin) -> None:
        self._waiting[begin.prepares] = None if self._is_too_large else self._held
        self._waiting_bytes[begin.prepares] = self._held_bytes
        self._held = []

    def _open(self) -> None:
        """Move what is held into the block."""
        begin = self._begin
        assert begin
        self._block.transactions.append((begin.at, begin.name))
        self._is_open = True
        for row in self._held:
            self._keep(*row)
        self._forget()

    def _keep(self, table: Table, layout: Layout, item: Rows) -> None:
        block, name = self._block, table.name
        images = self._open_images.get(name)
        if images is None or images.layout is not layout:
            images = self._open_images[name] = Images(layout)
            block.images.append((table, images))
        count = len(images.kinds)
        images.add(item, len(block.transactions) - 1)
        block.size += item.end - item.at + _VALUE_BYTES * len(layout.columns) * (len(images.kinds) - count)
        if item.kind == UPDATED and name in self.tables.altering and REPLACED in images.kinds[count:]:
            followed = tuple(each for each in self.tables.altering[name] if self.tables.is_followed(each))
            if followed:
                why = f"keys of {name} were altered, and with them rows that reference it, of which nothing tells"
                raise Broken(why, followed, is_cascade=True)

    def _forget(self) -> None:
        self._held, self._held_bytes = [], 0

    def _quiet(self, item: Quiet) -> bool:
        if self._proof is not None and time.monotonic() >= self._patience_ends:
            raise Broken(f"this server does not send the last transaction that was read, GTID {self._proof.gtid}")
        if self._begin is not None or self._proof is not None:
            return False
        has_moved = (item.file, item.position) != (self._here.file, self._here.offset)
        if has_moved and item.file == self._here.file:
            self._here = replace(self.here, offset=item.position)
            self._ended = None
        is_news = has_moved or self._block.end.place != self._here.place
        return bool(self._block.transactions) or (is_news and time.monotonic() >= self._moved_at)


_LAYOUTS_MAX = 4096
