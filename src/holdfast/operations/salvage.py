"""Salvage: a new database of all that can still be read of a damaged one, the rest from the copy.

* Every record that is read is held against the copy. What was read from a whole part stands, newer or not; what stands
  beside damage and differs from the copy gives way to it, and is named.
* What the copy has and could not be read comes from the copy, unless it is certain that it was deleted before.
* A byte that changed inside a value, where the system keeps no checksums, is no damage that shows: such a record is
  among those that are newer than the copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from holdfast.core.canonical import key_bytes, row_digests, slices
from holdfast.core.events import Progress
from holdfast.core.ports import Created, View, Writer
from holdfast.core.projection import project
from holdfast.core.records import Schema
from holdfast.core.salvaged import Torn, Wreck, Wreckage
from holdfast.core.where import render_key
from holdfast.operations.proof import Compared, compare_views, fingerprint_of
from holdfast.operations.scratch import SealedScratch
from holdfast.operations.spool import DifferenceSpool
from holdfast.operations.target import Target

__all__ = ["Salvaged", "SalvagedCollection", "salvage"]

Emit = Callable[[Progress], None]
_NAMED = 20


@dataclass(slots=True)
class SalvagedCollection:
    """What became of one collection. With a copy: records read that equal it, that are `newer` (or not in it), that
    came from it as they could not be read or were doubtful, and that it has and were deleted before. `unproven` are
    doubtful ones that it does not have. Without a copy only `read`, `unproven` and `torn` say anything.
    """

    name: str
    torn: tuple[Torn, ...]
    read: int = 0
    equal: int = 0
    newer: int = 0
    lost: int = 0
    replaced: int = 0
    deleted: int = 0
    unproven: int = 0
    keys: dict[str, list[str]] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether nothing of it was damaged."""
        return not self.torn

    def name_keys(self, kind: str, keys: pa.Array, schema: Schema) -> None:
        """Keep the first keys of a kind, as people write them."""
        named = self.keys.setdefault(kind, [])
        named += [render_key(key, schema) for key in keys.slice(0, _NAMED - len(named)).to_pylist()]


@dataclass(frozen=True, slots=True)
class Salvaged:
    """A new database of what was salvaged. `is_proven`: it was read back and holds exactly that."""

    collections: tuple[SalvagedCollection, ...]
    created: Created
    remarks: tuple[str, ...]
    with_copy: bool
    is_proven: bool

    @property
    def is_whole(self) -> bool:
        """Whether nothing was damaged where records lie, so that nothing can be missing."""
        return not self.remarks and all(each.is_whole for each in self.collections)


def salvage(wreck: Wreck, copies: Mapping[str, View], target: Target, scratch: SealedScratch, emit: Emit) -> Salvaged:
    """Build at an empty place what is left of a wreck, with what `copies` have of the rest (none: without a copy).

    Raises Refused if something is at the place already.
    """
    views: list[View] = []
    facts: list[SalvagedCollection] = []
    for number, name in enumerate(wreck.names, 1):
        emit(Progress("salvage", number, len(wreck.names), "collections"))
        copy = copies.get(name)
        left = wreck.wreckage(name, copy.schema.key if copy is not None else None)
        fact = SalvagedCollection(name, tuple(left.torn))
        views.append(_alone(left, fact) if copy is None else _held(left, copy, fact, scratch))
        facts.append(fact)
    created = _built(target.writer, [*wreck.definitions, *views])
    is_proven = _is_as(views, target, scratch)
    return Salvaged(tuple(facts), created, tuple(wreck.remarks), bool(copies), is_proven)


def _built(writer: Writer, views: Sequence[View]) -> Created:
    return writer.create(views)


def _is_as(views: Sequence[View], target: Target, scratch: SealedScratch) -> bool:
    """Whether the new database, read back, holds the records that were meant for it and no others."""
    with target.reader.snapshot() as snapshot:
        for view in views:
            live = snapshot.read(snapshot.collection(view.name))
            wanted = _Under(view, live.schema.key)
            if fingerprint_of(wanted, scratch) != fingerprint_of(live, scratch):
                return False
    return True


def _alone(left: Wreckage, fact: SalvagedCollection) -> View:
    """What is left, without a copy to hold it against."""
    fact.unproven = len(left.doubtful)
    return _Counted(left, fact)


def _held(left: Wreckage, copy: View, fact: SalvagedCollection, scratch: SealedScratch) -> View:
    """What is left, held against the copy, with what of the copy takes the place of the rest."""
    (compared,) = compare_views({left.name: copy}, {left.name: left}, scratch, [left.name])
    fact.equal = compared.tally.equal
    fact.read = compared.tally.equal + compared.tally.added + compared.tally.changed
    spool = DifferenceSpool(scratch)
    dropped: set[bytes] = set()
    for each in compared.differences.read():
        if each.kind == "missing" and each.wanted is not None:
            may_be = pa.array(left.may_be_lost(each.wanted, compared.schema))
            back = _only(each, may_be)
            fact.deleted += len(each.keys) - len(back.keys)
            fact.lost += len(back.keys)
            fact.name_keys("lost", back.keys, compared.schema)
            spool.add(back)
            continue
        is_doubtful = pa.array([key in left.doubtful for key in _names(each.actual, compared.schema, left)])
        doubtful = _only(each, is_doubtful)
        fact.newer += len(each.keys) - len(doubtful.keys)
        if each.kind == "added":
            fact.unproven += len(doubtful.keys)
            fact.name_keys("unproven", doubtful.keys, compared.schema)
        else:
            fact.replaced += len(doubtful.keys)
            fact.name_keys("replaced", doubtful.keys, compared.schema)
            dropped.update(slices(doubtful.keys))
            spool.add(doubtful)
            newer = _only(each, pa.array([not each for each in is_doubtful.to_pylist()]))
            fact.name_keys("changed", newer.keys, compared.schema)
    return _Completed(left, compared, spool, frozenset(dropped))


def _names(rows: pa.RecordBatch | None, schema: Schema, left: Wreckage) -> list[bytes]:
    """By what the wreckage tells its doubtful records: keys, or digests where there are none."""
    assert rows is not None, "a record that was read has a side"
    return slices(key_bytes(rows, schema) if left.schema.key else row_digests(rows, schema).cast(pa.binary()))


def _only(difference: Any, mask: pa.Array) -> Any:
    def part(values: Any) -> Any:
        return None if values is None else values.filter(mask)

    return type(difference)(
        difference.kind,
        difference.keys.filter(mask),
        part(difference.wanted),
        part(difference.actual),
        part(difference.wanted_digests),
        part(difference.actual_digests),
    )


class _Counted:
    """A view that counts its records into a fact."""

    def __init__(self, view: View, fact: SalvagedCollection) -> None:
        self._view = view
        self._fact = fact
        self.name, self.schema, self.ordered = view.name, view.schema, view.ordered

    def batches(self) -> Iterator[pa.RecordBatch]:
        read = 0
        for batch in self._view.batches():
            read += batch.num_rows
            yield batch
        self._fact.read = read


class _Completed:
    """What is left, but for those that gave way to the copy; then what the copy has for them and for what is lost."""

    ordered = False

    def __init__(self, left: Wreckage, compared: Compared, spool: DifferenceSpool, dropped: frozenset[bytes]) -> None:
        self._left = left
        self._compared = compared
        self._spool = spool
        self._dropped = dropped
        self.name, self.schema = left.name, left.schema

    def batches(self) -> Iterator[pa.RecordBatch]:
        for batch in self._left.batches():
            if self._dropped:
                stays = [key not in self._dropped for key in slices(key_bytes(batch, self.schema))]
                batch = batch.filter(pa.array(stays))
            yield batch
        for each in self._spool.read():
            yield project(each.wanted, self._compared.schema, self.schema)


class _Under:
    """A view under the key that the new database has for it."""

    def __init__(self, view: View, key: tuple[str, ...]) -> None:
        self._view = view
        self.name = view.name
        self.schema = Schema(view.schema.columns, key, view.schema.references)
        self.ordered = view.ordered

    def batches(self) -> Iterator[pa.RecordBatch]:
        return self._view.batches()
