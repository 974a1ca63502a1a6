"""Which records are new, changed or gone since the last capture, told from keys and row digests alone.

The index holds groups of about 512 records that lie next to each other by key. A group's seal is the SHA-256 of its
columns' names and types and of its rows in Arrow's own serialisation: an equal seal proves equal rows and spares a
digest each. A seal that differs (also because a library changed) proves nothing and costs only time: row digests
decide.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.align import Keyed, cut
from holdfast.core.canonical import row_digests
from holdfast.core.fingerprint import entries
from holdfast.core.records import Schema
from holdfast.state.index import Index
from holdfast.state.remembered import Group, GroupHead
from holdfast.state.runwriter import RunWriter
from holdfast.state.spool import DigestSpool
from holdfast.vault.merge import DELETE, INSERT, UPDATE

__all__ = ["Changed", "Ledger", "Pass", "Watcher", "changed_rows", "every_row", "group_rows"]

_GROUP_ROWS = 512
_PIECE_ROWS = 1 << 16
_BLOCK_ROWS = 1 << 14
# Not by `pa.array`: that imports pandas where there is one, even for commands that read no record.
_NO_DIGESTS = pa.nulls(0, pa.binary(32))


class Changed(NamedTuple):
    """Rows to store, ascending by key, with their operations; a deleted row holds NULLs beside its key."""

    rows: Keyed
    ops: pa.Array


@dataclass(slots=True)
class Ledger:
    """What one pass over a collection adds up: counts, and the digests that enter and leave each bucket."""

    added: DigestSpool
    removed: DigestSpool
    rows: int = 0
    new: int = 0
    changed: int = 0
    gone: int = 0


class Watcher(Protocol):
    """Who looks at what differs, where it is at hand."""

    def seen(self, keys: pa.Array, before: pa.Array | None, after: pa.Array | None) -> None:
        """Keys whose records came, changed or went, with their digests before and after, NULL or None for none."""

    def held(self, rows: Keyed, is_changed: pa.Array) -> None:
        """Records as they are now that came, or (`is_changed`) changed; a pass over keys alone has none to show."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One collection on its way through a capture: where its new index goes, what it adds up to, and who looks on."""

    name: str
    schema: Schema
    run: RunWriter
    ledger: Ledger
    watcher: Watcher | None = None


class _Piece(NamedTuple):
    head: GroupHead
    rows: Keyed
    begins: bool
    ends: bool


def every_row(into: Pass, stream: Iterator[Keyed]) -> Iterator[Changed]:
    """Yield every row as new and write a fresh index of the collection."""
    into.run.replace_collection(into.name)
    for rows in stream:
        digests = row_digests(rows.batch, into.schema)
        _put_groups(into, None, rows, digests)
        into.ledger.added.add(entries(rows.keys, digests))
        into.ledger.rows += len(rows.keys)
        into.ledger.new += len(rows.keys)
        yield _as_new(rows)


def changed_rows(into: Pass, stream: Iterator[Keyed], index: Index, *, every: bool = False) -> Iterator[Changed]:
    """Yield what differs from the index, ascending by key, and write the groups that changed.

    With `every`, yield all rows as new instead, for a new base; counts still tell what differs.
    """
    nothing = Keyed(pa.array([], pa.binary()), pa.RecordBatch.from_pylist([], schema=into.schema.arrow()))
    keys, digests = nothing.keys, _NO_DIGESTS
    block = _Block(into)
    for head, rows, begins, ends in _by_group(stream, index.groups(into.name), nothing):
        into.ledger.rows += len(rows.keys)
        if every and len(rows.keys):
            yield _as_new(rows)
        if begins and ends and len(rows.keys) == head.rows and _seal(rows, into.schema) == head.seal:
            continue
        was = index.group(into.name, head) if begins and head.rows else None
        if was is not None:
            keys, digests = was.keys, was.digests
        here = len(keys) if ends else cut(keys, rows.keys[-1].as_py(), side="right")
        block.add(rows, keys.slice(0, here), digests.slice(0, here), was)
        keys, digests = keys.slice(here), digests.slice(here)
        if block.rows >= _BLOCK_ROWS and (difference := block.settle()) is not None and not every:
            yield difference
    if (difference := block.settle()) is not None and not every:
        yield difference


def group_rows(count: int) -> int:
    """How many rows each group gets when so many are written in place of one."""
    return max(count, 1) if count <= 2 * _GROUP_ROWS else _GROUP_ROWS


class _Block:
    """Pieces whose rows may differ, gathered so that digests and comparison cost their overhead once for many groups.

    Pieces come in key order and share no keys.
    """

    def __init__(self, into: Pass) -> None:
        self._into = into
        self._pieces: list[tuple[Keyed, Group | None]] = []
        self._known: list[tuple[pa.Array, pa.Array]] = []
        self.rows = 0

    def add(self, rows: Keyed, keys: pa.Array, digests: pa.Array, was: Group | None) -> None:
        """One more piece: its rows, the keys and digests the index knew in its range, and the group it follows."""
        self._pieces.append((rows, was))
        self._known.append((keys, digests))
        self.rows += max(len(rows.keys), len(keys))

    def settle(self) -> Changed | None:
        """Compare what was gathered, write its groups anew, and give what differs."""
        if not self._pieces:
            return None
        rows = Keyed(
            pa.concat_arrays([piece.keys for piece, _ in self._pieces]),
            pa.concat_batches([piece.batch for piece, _ in self._pieces]),
        )
        found = row_digests(rows.batch, self._into.schema)
        keys, digests = (pa.concat_arrays(each) for each in zip(*self._known, strict=True))
        difference = _difference(rows, found, keys, digests, self._into)
        start = 0
        for piece, was in self._pieces:
            count = len(piece.keys)
            # A group lies under its first key: with another one it is another group, and the old one has to go.
            if was is not None and (not count or piece.keys[0].as_py() != was.first_key):
                self._into.run.drop_group(self._into.name, was.first_key)
            if count:
                _put_groups(self._into, was, piece, found.slice(start, count))
            start += count
        self._pieces, self._known, self.rows = [], [], 0
        return difference


def _as_new(rows: Keyed) -> Changed:
    return Changed(rows, pa.repeat(pa.scalar(INSERT, pa.int8()), len(rows.keys)))


def _by_group(stream: Iterator[Keyed], heads: Iterator[GroupHead], nothing: Keyed) -> Iterator[_Piece]:
    """Cut a key-ordered stream at the boundaries of known groups; a group that outgrew memory comes in pieces.

    A group reaches from its first key to the next group's; the first also takes what lies before it.
    """
    head = next(heads, None) or GroupHead(b"", 0, b"")
    following = next(heads, None)
    begins = True
    carry = nothing
    for rows in stream:
        while following is not None and (end := cut(rows.keys, following.first_key)) < len(rows.keys):
            # What is carried joins the end of its group, not the whole batch: that copies a group and no more.
            yield _Piece(head, _joined(carry, rows.slice(0, end)), begins, True)
            carry, rows = nothing, rows.slice(end)
            head, following, begins = following, next(heads, None), True
        carry = _joined(carry, rows)
        if len(carry.keys) >= _PIECE_ROWS:
            yield _Piece(head, carry, begins, False)
            carry, begins = nothing, False
    yield _Piece(head, carry, begins, True)
    while following is not None:
        yield _Piece(following, nothing, True, True)
        following = next(heads, None)


def _difference(rows: Keyed, found: pa.Array, keys: pa.Array, digests: pa.Array, into: Pass) -> Changed | None:
    """Compare rows with what the index knew of their range of keys, and add the outcome to the ledger."""
    ledger = into.ledger
    if rows.keys.equals(keys):
        before, is_gone = digests, pa.repeat(False, len(keys))
    else:
        before = digests.take(pc.index_in(rows.keys, value_set=keys)) if len(rows.keys) else digests.slice(0, 0)
        is_gone = pc.invert(pc.is_in(keys, value_set=rows.keys))
    is_new = pc.is_null(before)
    is_changed = pc.fill_null(pc.not_equal(found.cast(pa.binary()), before.cast(pa.binary())), False)
    written = pc.or_(is_new, is_changed)
    new, changed, gone = (pc.sum(mask).as_py() or 0 for mask in (is_new, is_changed, is_gone))
    if not new + changed + gone:
        return None
    ledger.new += new
    ledger.changed += changed
    ledger.gone += gone
    ledger.added.add(entries(rows.keys.filter(written), found.filter(written)))
    ledger.removed.add(entries(rows.keys.filter(is_changed), before.filter(is_changed)))
    gone_keys = keys.filter(is_gone)
    ledger.removed.add(entries(gone_keys, digests.filter(is_gone)))
    ops = pc.if_else(is_new, pa.scalar(INSERT, pa.int8()), pa.scalar(UPDATE, pa.int8())).filter(written)
    kept = Keyed(rows.keys.filter(written), rows.batch.filter(written))
    if into.watcher is not None:
        into.watcher.seen(kept.keys, before.filter(written), found.filter(written))
        into.watcher.seen(gone_keys, digests.filter(is_gone), None)
        into.watcher.held(kept, is_changed.filter(written))
    return _with_gone(kept, ops, gone_keys)


def _with_gone(kept: Keyed, ops: pa.Array, gone: pa.Array) -> Changed:
    if len(gone) == 0:
        return Changed(kept, ops)
    schema = kept.batch.schema
    nulls = pa.RecordBatch.from_arrays([pa.nulls(len(gone), field.type) for field in schema], schema=schema)
    keys = pa.concat_arrays([kept.keys, gone])
    all_ops = pa.concat_arrays([ops, pa.repeat(pa.scalar(DELETE, pa.int8()), len(gone))])
    order = pc.sort_indices(keys)
    return Changed(Keyed(keys.take(order), pa.concat_batches([kept.batch, nulls]).take(order)), all_ops.take(order))


def _put_groups(into: Pass, was: Group | None, rows: Keyed, digests: pa.Array) -> None:
    """Write rows as groups of about 512; the first takes the place of *was*, if given."""
    count = len(rows.keys)
    step = group_rows(count)
    for start in range(0, count, step):
        part = rows.slice(start, step)
        group = Group(_seal(part, into.schema), part.keys, digests.slice(start, step))
        into.run.put_group(into.name, group, was=was if start == 0 else None)


def _seal(rows: Keyed, schema: Schema) -> bytes:
    # Arrow's serialisation of rows has no names in it: without them a renamed column would pass as unchanged.
    seal = hashlib.sha256("\0".join(f"{column.name}\0{column.type}" for column in schema.columns).encode())
    seal.update(rows.batch.serialize())
    return seal.digest()


def _joined(first: Keyed, second: Keyed) -> Keyed:
    if len(first.keys) == 0 or len(second.keys) == 0:
        return second if len(first.keys) == 0 else first
    return Keyed(pa.concat_arrays([first.keys, second.keys]), pa.concat_batches([first.batch, second.batch]))
