"""Records that vault and source hold alike, and that both changed all the same: numbers that moved by as much in each.

Both histories sold one: 100 became 99 twice, and 98 is right. Only numbers that are declared to add up may say so, and
only in records where nothing else changed: what changed alike beside them is one change, which both have.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.align import Keyed, aligned
from holdfast.core.compare import rows_differ
from holdfast.core.records import Schema
from holdfast.core.threeway import Deviation, Fate
from holdfast.core.undo import Histories, Rules

__all__ = ["keep_alike"]


def keep_alike(histories: Histories, rules: Rules, names: Iterable[str]) -> Mapping[str, pa.Array]:
    """Add these records of some collections to what both changed; their keys, by collection. Read are the vault's state
    and that at the parting, of collections with numbers to add up.
    """
    kept = {}
    for name in names:
        schema = histories.schemas[name]
        add = tuple(column for column in rules.of(name).add if column in schema.names and column not in schema.key)
        if not add or not schema.key:
            continue
        known = [piece.keys for piece in histories.pieces(name)]
        known += [histories.done.all(name)[0]] if histories.done.has(name) else []
        found = list(_moved(histories, name, add, pa.concat_arrays([pa.array([], pa.binary()), *known])))
        for each in found:
            histories.keep(name, each)
        kept[name] = pa.concat_arrays([pa.array([], pa.binary()), *(each.keys for each in found)])
    return kept


def _moved(histories: Histories, name: str, add: tuple[str, ...], known: pa.Array) -> Iterator[Deviation]:
    schema = histories.schemas[name]
    rest = tuple(column for column in schema.names if column not in add)
    for was, now in aligned([histories.records(name, at_base=True), histories.records(name)]):
        if was is None or now is None:
            continue
        now = now.filter(pc.and_not(pc.is_in(now.keys, value_set=was.keys), pc.is_in(now.keys, value_set=known)))
        was = was.filter(pc.is_in(was.keys, value_set=now.keys))
        is_moved = pc.and_not(_differ(was, now, schema, add), _differ(was, now, schema, rest))
        if pc.any(is_moved).as_py():
            was, now = was.filter(is_moved), now.filter(is_moved)
            yield Deviation(Fate.BOTH, now.keys, was.batch, now.batch, now.batch, None, None)


def _differ(was: Keyed, now: Keyed, schema: Schema, names: tuple[str, ...]) -> pa.Array:
    """Which records differ in some of their columns."""
    shape = Schema(tuple(column for column in schema.columns if column.name in names))
    sides = [
        pa.RecordBatch.from_arrays([each.batch.column(column) for column in shape.names], schema=shape.arrow())
        for each in (was, now)
    ]
    mask = rows_differ(sides[0], sides[1], shape)
    return pa.array([False] * len(now.keys), pa.bool_()) if mask is None else mask
