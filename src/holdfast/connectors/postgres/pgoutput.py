"""Decodes the messages of pgoutput, PostgreSQL's own output plugin, protocol version 1, into columns of row images.

Pure: bytes in, values out. Every value stays PostgreSQL's own text as bytes; what it means is told by its column.

* A relation's changes are a log of *images* in the order of the commits: an image says that a row is there (insert,
  update) or that a row with this key or content is gone (delete, or what an update replaced). Whoever carries the log
  out image by image has the table; no image needs to be understood together with another.
* Under REPLICA IDENTITY FULL a large value that an update left alone is missing from the new row but stands in the old
  one: it is filled in. Under any other identity it is named in `unchanged`, and nobody may take it for NULL.
* Messages of one transaction come together and whole; rolled back ones, savepoints too, never come.
* A message that is unknown, cut or too long raises; the decoder then is of no further use.

See "Logical Replication Message Formats" in PostgreSQL's documentation.
"""

from __future__ import annotations

import struct
from array import array
from dataclasses import dataclass, field
from typing import NoReturn

import pyarrow as pa

from holdfast.errors import Damaged, Unsupported

__all__ = [
    "DELETED",
    "INSERTED",
    "REPLACED",
    "UPDATED",
    "Block",
    "Changes",
    "Decoder",
    "Relation",
    "RelationColumn",
    "Transaction",
    "Truncate",
]

INSERTED = ord("I")  # a new row is there
UPDATED = ord("U")  # the new content of a row is there
REPLACED = ord("R")  # what the update next in the log replaces: a whole row, or a key that changes
DELETED = ord("D")  # a row is gone


@dataclass(frozen=True, slots=True)
class RelationColumn:
    """One published column; `is_identity` if the replica identity has it: old images of kind `K` have only those."""

    name: str
    type_oid: int
    modifier: int
    is_identity: bool


@dataclass(frozen=True, slots=True)
class Relation:
    """A table as the server describes it before its first row and after every change of its definition."""

    oid: int
    schema: str
    name: str
    identity: str
    columns: tuple[RelationColumn, ...]


@dataclass(frozen=True, slots=True)
class Transaction:
    """One commit of the source, `committed` in microseconds since 1970, UTC; `end_lsn` is 0 until its end is here."""

    xid: int
    commit_lsn: int
    committed: int
    end_lsn: int = 0


@dataclass(slots=True)
class Changes:
    """Images of one table in order; image n is of transaction `transactions[owners[n]]` of its block.

    `values` holds the images row by row. `keys_only` are the images that hold nothing but identity columns, the others
    None; `unchanged` are the (image, column) that have a value which was not sent.
    """

    relation: Relation
    kinds: bytearray = field(default_factory=bytearray)
    owners: array[int] = field(default_factory=lambda: array("I"))
    values: list[bytes | None] = field(default_factory=list)
    keys_only: set[int] = field(default_factory=set)
    unchanged: set[tuple[int, int]] = field(default_factory=set)

    def column(self, number: int) -> pa.Array:
        """The text of one column in all images."""
        return pa.array(self.values[number :: len(self.relation.columns)], pa.binary())


@dataclass(frozen=True, slots=True)
class Truncate:
    """Tables emptied at one stroke by a transaction (its number in the block)."""

    relations: tuple[Relation, ...]
    owner: int
    is_cascade: bool
    restarts_identity: bool


@dataclass(slots=True)
class Block:
    """What was decoded since the last block: transactions in commit order, and for each table what they did, in order.

    `is_last` is False while the last transaction goes on in the next block. Of different tables the order is kept only
    around a Truncate that names them. `end_lsn` is where the stream goes on once the block is kept.
    """

    transactions: list[Transaction] = field(default_factory=list)
    parts: list[Changes | Truncate] = field(default_factory=list)
    is_last: bool = True
    end_lsn: int = 0
    size: int = 0


class Decoder:
    """Takes message after message of one stream and gathers blocks."""

    def __init__(self) -> None:
        self.relations: dict[int, Relation] = {}
        self.types: dict[int, tuple[str, str]] = {}
        self.block = Block()
        self._open: dict[int, Changes] = {}
        self._owner = -1  # number of the transaction that is going on, or -1
        self._readers = {
            ord("I"): self._insert,
            ord("U"): self._update,
            ord("D"): self._delete,
            ord("B"): self._begin,
            ord("C"): self._commit,
            ord("R"): self._relation,
            ord("T"): self._truncate,
            ord("Y"): self._type,
            ord("O"): self._origin,
            ord("M"): self._message,
        }

    @property
    def is_between(self) -> bool:
        """Whether no transaction is going on."""
        return self._owner < 0

    def feed(self, data: bytes, at: int = 0) -> None:
        """Take the message that stands in `data` from `at` to the end. Raises Damaged, or Unsupported if unknown."""
        try:
            reader = self._readers[data[at]]
        except KeyError:
            raise Unsupported(
                f"the change stream has a message of the unknown kind {chr(data[at])!r}",
                hint="the server speaks a newer protocol: update Holdfast",
            ) from None
        except IndexError:
            _cut(data, at)
        try:
            end = reader(data, at + 1)
        except (IndexError, ValueError, struct.error):
            _cut(data, at)
        if end != len(data):
            _cut(data, at)
        self.block.size += end - at

    def take(self) -> Block:
        """What was gathered since the last time. In the middle of a transaction the next block goes on with it."""
        block = self.block
        block.is_last = self.is_between
        self.block = Block(end_lsn=block.end_lsn)
        self._open = {}
        if not block.is_last:
            self.block.transactions.append(block.transactions[-1])
            self._owner = 0
        return block

    def _begin(self, data: bytes, at: int) -> int:
        if self._owner >= 0:
            _misplaced("a transaction begins inside another")
        lsn, committed, xid = _BEGIN.unpack_from(data, at)
        transactions = self.block.transactions
        self._owner = len(transactions)
        transactions.append(Transaction(xid, lsn, committed + _EPOCH))
        return at + 20

    def _commit(self, data: bytes, at: int) -> int:
        _, commit_lsn, end_lsn, _ = _COMMIT.unpack_from(data, at)
        begun = self.block.transactions[self._owner] if self._owner >= 0 else None
        if begun is None or begun.commit_lsn != commit_lsn:
            _misplaced("a commit without its beginning")
        self.block.transactions[self._owner] = Transaction(begun.xid, commit_lsn, begun.committed, end_lsn)
        self.block.end_lsn = end_lsn
        self._owner = -1
        return at + 25

    def _insert(self, data: bytes, at: int) -> int:
        oid, mark = _ROW.unpack_from(data, at)
        if mark != _NEW:
            raise ValueError(mark)
        return self._image(data, at + 5, oid, INSERTED)

    def _update(self, data: bytes, at: int) -> int:
        oid, mark = _ROW.unpack_from(data, at)
        at += 5
        if mark != _NEW:
            at = self._old(data, at - 1, oid, REPLACED)
            if data[at] != _NEW:
                raise ValueError(data[at])
            at = self._image(data, at + 1, oid, UPDATED)
            self._fill(self._open[oid], mark)
            return at
        return self._image(data, at, oid, UPDATED)

    def _delete(self, data: bytes, at: int) -> int:
        (oid,) = _OID.unpack_from(data, at)
        return self._old(data, at + 4, oid, DELETED)

    def _old(self, data: bytes, at: int, oid: int, kind: int) -> int:
        mark = data[at]
        if mark not in (_KEY, _OLD):
            raise ValueError(mark)
        end = self._image(data, at + 1, oid, kind)
        if mark == _KEY:
            changes = self._open[oid]
            changes.keys_only.add(len(changes.kinds) - 1)
        return end

    def _image(self, data: bytes, at: int, oid: int, kind: int) -> int:
        """Read one row and add it to the log of its table. This is where the time goes."""
        changes = self._open.get(oid) or self._open_changes(oid)
        if self._owner < 0:
            _misplaced("a row outside a transaction")
        values = changes.values
        append = values.append
        length_at = _OID.unpack_from
        count = data[at] << 8 | data[at + 1]
        if count != len(changes.relation.columns):
            _misplaced(f"a row of {count} columns for {changes.relation.name}")
        at += 2
        for number in range(count):
            mark = data[at]
            at += 1
            if mark == _TEXT:
                start = at + 4
                at = start + length_at(data, at)[0]
                append(data[start:at])
            elif mark == _NULL:
                append(None)
            elif mark == _UNCHANGED:
                changes.unchanged.add((len(changes.kinds), number))
                append(None)
            else:
                raise ValueError(mark)
        changes.kinds.append(kind)
        changes.owners.append(self._owner)
        return at

    def _open_changes(self, oid: int) -> Changes:
        changes = self._open[oid] = Changes(self._known(oid))
        self.block.parts.append(changes)
        return changes

    def _fill(self, changes: Changes, mark: int) -> None:
        """Take what the new row leaves out from the whole old row before it; an old row that holds keys has those."""
        if not changes.unchanged:
            return
        columns = changes.relation.columns
        new, old = len(changes.kinds) - 1, len(changes.kinds) - 2
        width = len(columns)
        for number, column in enumerate(columns):
            if (new, number) in changes.unchanged and (mark == _OLD or column.is_identity):
                changes.values[new * width + number] = changes.values[old * width + number]
                if (old, number) not in changes.unchanged:
                    changes.unchanged.discard((new, number))

    def _relation(self, data: bytes, at: int) -> int:
        (oid,) = _OID.unpack_from(data, at)
        schema, at = _text(data, at + 4)
        name, at = _text(data, at)
        identity, count = _IDENTITY.unpack_from(data, at)
        at += 3
        columns = []
        for _ in range(count):
            flags = data[at]
            column, at = _text(data, at + 1)
            type_oid, modifier = _COLUMN.unpack_from(data, at)
            columns.append(RelationColumn(column, type_oid, modifier, bool(flags & 1)))
            at += 8
        relation = Relation(oid, schema or "pg_catalog", name, chr(identity), tuple(columns))
        if self.relations.get(oid) != relation:
            self.relations[oid] = relation
            self._open.pop(oid, None)
        return at

    def _truncate(self, data: bytes, at: int) -> int:
        if self._owner < 0:
            _misplaced("a truncate outside a transaction")
        count, flags = _TRUNCATE.unpack_from(data, at)
        oids = struct.unpack_from(f">{count}I", data, at + 5)
        relations = tuple(self._known(oid) for oid in oids)
        self.block.parts.append(Truncate(relations, self._owner, bool(flags & 1), bool(flags & 2)))
        for oid in oids:
            self._open.pop(oid, None)
        return at + 5 + 4 * len(oids)

    def _type(self, data: bytes, at: int) -> int:
        (oid,) = _OID.unpack_from(data, at)
        schema, at = _text(data, at + 4)
        name, at = _text(data, at)
        self.types[oid] = (schema or "pg_catalog", name)
        return at

    def _origin(self, data: bytes, at: int) -> int:
        _LSN.unpack_from(data, at)
        return _text(data, at + 8)[1]

    def _message(self, data: bytes, at: int) -> int:
        _MESSAGE.unpack_from(data, at)
        at = _text(data, at + 9)[1]
        length: int = _OID.unpack_from(data, at)[0]
        return at + 4 + length

    def _known(self, oid: int) -> Relation:
        try:
            return self.relations[oid]
        except KeyError:
            _misplaced(f"a change of a table that was not described ({oid})")


_BEGIN = struct.Struct(">QqI")
_COMMIT = struct.Struct(">BQQq")
_ROW = struct.Struct(">IB")
_OID = struct.Struct(">I")
_LSN = struct.Struct(">Q")
_IDENTITY = struct.Struct(">BH")
_COLUMN = struct.Struct(">Ii")
_TRUNCATE = struct.Struct(">IB")
_MESSAGE = struct.Struct(">BQ")
_NEW, _KEY, _OLD = b"NKO"
_TEXT, _NULL, _UNCHANGED = b"tnu"
_EPOCH = 946_684_800_000_000  # 2000-01-01 in microseconds since 1970


def _text(data: bytes, at: int) -> tuple[str, int]:
    """The text that ends with a zero byte, and where it ended."""
    end = data.index(0, at)
    return data[at:end].decode(), end + 1


def _cut(data: bytes, at: int) -> NoReturn:
    raise Damaged(
        f"a message of the change stream is cut or altered (kind {data[at : at + 1]!r}, {len(data) - at:,} bytes)",
        hint="follow again: it goes on from the last position that is kept",
    )


def _misplaced(what: str) -> NoReturn:
    raise Damaged(
        f"the change stream makes no sense: {what}",
        hint="follow again: it goes on from the last position that is kept",
    )
