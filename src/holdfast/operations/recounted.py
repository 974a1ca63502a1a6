"""Losses record by record, as people and files take them; and each with the records that belong to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.plain import json_value, rows_of
from holdfast.core.records import Schema
from holdfast.core.threeway import Deviation, Fate
from holdfast.core.where import render_key
from holdfast.operations.belonging import Belonging, Side
from holdfast.operations.lost import CollectionLosses, Losses

__all__ = ["Family", "Recounted", "families", "recounted"]

_AT_ONCE = 8_192  # records whose families are gathered in one reading of all that differs
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Recounted:
    """One record that has a fate: its key as people write it, whose it is and on which day it came ("" where that can't
    be told), and its versions; a side without the record is None.
    """

    collection: str
    fate: Fate
    key: str
    tenant: str
    day: str
    base: Row | None
    good: Row | None
    live: Row | None

    def to_json(self) -> dict[str, Any]:
        """The same as JSON: the vault's version and the source's, and that at the parting where there is one."""
        sides = {"parting": self.base, "vault": self.good, "source": self.live}
        versions = {
            name: {column: json_value(value) for column, value in row.items()}
            for name, row in sides.items()
            if row is not None
        }
        about = {"collection": self.collection, "key": self.key, "fate": self.fate.value}
        return about | {"tenant": self.tenant, "day": self.day} | versions


@dataclass(frozen=True, slots=True)
class Family:
    """A record with what belongs to it and has a fate, and the records that it refers to: collection, key as people
    write it, and the fate of that one, None where it is the same in both.
    """

    record: Recounted
    children: tuple[Recounted, ...]
    parents: tuple[tuple[str, str, Fate | None], ...]

    def to_json(self) -> dict[str, Any]:
        """The same as JSON."""
        parents = [
            {"collection": name, "key": key, "fate": None if fate is None else fate.value}
            for name, key, fate in self.parents
        ]
        return self.record.to_json() | {"with": [each.to_json() for each in self.children], "refers to": parents}


def recounted(
    losses: CollectionLosses, belonging: Belonging, fates: Sequence[Fate] = (), limit: int | None = None
) -> Iterator[Recounted]:
    """The records of one collection that have one of these fates (none: any), by ranges of keys that ascend; with a
    limit so many of each fate.
    """
    for each in _wanted(losses, fates, limit):
        yield from _records(each, losses, belonging)


def families(
    losses: Losses, belonging: Belonging, name: str, fates: Sequence[Fate] = (), limit: int | None = None
) -> Iterator[Family]:
    """The same for one collection by name, each record with those of other collections that have a fate and lead to it
    by references. All that differs is read once for some 8,000 records.
    """
    own = next(each for each in losses.collections if each.name == name)
    held: list[Deviation] = []
    for each in _wanted(own, fates, limit):
        held.append(each)
        if sum(len(some.keys) for some in held) >= _AT_ONCE:
            yield from _families(losses, belonging, own, held)
            held = []
    if held:
        yield from _families(losses, belonging, own, held)


def _families(
    losses: Losses, belonging: Belonging, own: CollectionLosses, held: Sequence[Deviation]
) -> Iterator[Family]:
    keys = pa.concat_arrays([each.keys for each in held])
    children: dict[bytes, list[Recounted]] = {key: [] for key in keys.to_pylist()}
    for other in losses.collections:
        if other.name == own.name:
            continue
        for each in other.deviations():
            roots = belonging.roots(other.name, _rows(each), _side(each), own.name)
            if roots is None:
                break
            where = pc.indices_nonzero(pc.is_in(roots, value_set=keys, skip_nulls=True))
            records = _records(_narrowed(each, where), other, belonging)
            for root, record in zip(roots.take(where).to_pylist(), records, strict=True):
                children[root].append(record)
    for each in held:
        parents = _parents(losses, belonging, own, each)
        records = _records(each, own, belonging)
        for key, record, leads_to in zip(each.keys.to_pylist(), records, parents, strict=True):
            yield Family(record, tuple(children[key]), leads_to)


def _parents(
    losses: Losses, belonging: Belonging, own: CollectionLosses, some: Deviation
) -> list[tuple[tuple[str, str, Fate | None], ...]]:
    """What each record refers to, and what became of it."""
    found: list[tuple[tuple[str, str, Fate | None], ...]] = [()] * len(some.keys)
    for target, schema, keys in belonging.refers_to(own.name, _rows(some)):
        fates: dict[bytes, Fate] = {}
        for other in losses.collections:
            for each in other.deviations() if other.name == target else ():
                fates |= dict.fromkeys(each.keys.filter(pc.is_in(each.keys, value_set=keys)).to_pylist(), each.fate)
        for place, key in enumerate(keys.to_pylist()):
            if key is not None:
                found[place] += ((target, render_key(key, schema), fates.get(key)),)
    return found


def _wanted(losses: CollectionLosses, fates: Sequence[Fate], limit: int | None) -> Iterator[Deviation]:
    """The deviations of these fates, so many records of each."""
    left = dict.fromkeys(fates or Fate, limit)
    for each in losses.deviations():
        room = left.get(each.fate, 0)
        if room is None:
            yield each
        elif room:
            left[each.fate] = max(0, room - len(each.keys))
            yield _narrowed(each, pa.array(range(min(room, len(each.keys))), pa.int32()))
        elif not any(left.values()) and limit is not None:
            return


def _records(some: Deviation, losses: CollectionLosses, belonging: Belonging) -> Iterator[Recounted]:
    rows, side = _rows(some), _side(some)
    about = (belonging.tenants(losses.name, rows, side), belonging.days(losses.name, rows, side))
    versions = [_plain(batch, losses.schema, len(some.keys)) for batch in (some.base, some.good, some.live)]
    columns = (each.to_pylist() for each in (some.keys, *about))
    for key, tenant, day, base, good, live in zip(*columns, *versions, strict=True):
        shown = render_key(key, losses.schema)
        yield Recounted(losses.name, some.fate, shown, tenant or "", day or "", base, good, live)


def _plain(batch: pa.RecordBatch | None, schema: Schema, count: int) -> Iterator[Row | None]:
    return iter(rows_of(batch, schema)) if batch is not None else repeat(None, count)


def _rows(some: Deviation) -> pa.RecordBatch:
    """The records as the vault has them, or as the source has what the vault has not."""
    return some.live if some.good is None else some.good


def _side(some: Deviation) -> Side:
    return "live" if some.good is None else "good"


def _narrowed(some: Deviation, where: pa.Array) -> Deviation:
    """Only the records at these places."""
    sides = (some.base, some.good, some.live, some.good_digests, some.live_digests)
    return Deviation(some.fate, some.keys.take(where), *(None if each is None else each.take(where) for each in sides))
