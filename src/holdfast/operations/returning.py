"""Records that were deleted, are there again, and are in use again: they are not deleted once more.

Somebody who was forgotten and has ordered since, or changed his address, is a customer again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.compare import rows_differ
from holdfast.core.keyed import KeyTable
from holdfast.core.records import Schema
from holdfast.core.threeway import Deviation, Fate
from holdfast.operations.lost import CollectionLosses

__all__ = ["needed_again"]

_CAME_SINCE = (Fate.CREATED, Fate.CHANGED, Fate.REUSED, Fate.BOTH)


def needed_again(collections: Sequence[CollectionLosses], schemas: Mapping[str, Schema]) -> KeyTable:
    """The keys of returned records that were changed since, that what came since refers to, that such a one refers to,
    or that belong to one.
    """
    returned, needed = KeyTable(schemas), KeyTable(schemas)
    known = [each for each in collections if each.name in schemas and schemas[each.name].key]
    for each in known:
        for piece in each.deviations():
            if piece.fate is Fate.RETURNED:
                returned.add(each.name, piece.keys, _facts(piece.keys))
                changed = rows_differ(piece.base, piece.live, each.schema) if piece.base is not None else None
                if changed is not None:
                    needed.add(each.name, piece.keys.filter(changed), _facts(piece.keys.filter(changed)))
    if not len(returned):
        return needed
    for each in known:
        for piece in each.deviations():
            if piece.fate in _CAME_SINCE:
                _need(returned, needed, schemas[each.name], piece)
    grown = -1
    while grown < len(needed):
        grown = len(needed)
        for each in known:
            for piece in each.deviations() if returned.has(each.name) else ():
                if piece.fate is Fate.RETURNED:
                    _belong(needed, schemas[each.name], each.name, piece)
                    kept = needed.holds(each.name, piece.keys)
                    _need(returned, needed, schemas[each.name], piece, kept)
    return needed


def _need(returned: KeyTable, needed: KeyTable, schema: Schema, piece: Deviation, some: pa.Array | None = None) -> None:
    """Keep what these records refer to."""
    rows = piece.live if some is None or piece.live is None else piece.live.filter(some)
    for reference, places in returned.led(rows, schema) if rows is not None else ():
        keys, _ = returned.all(reference.target)
        led = keys.take(pc.unique(pc.drop_null(places)))
        led = led.filter(pc.invert(needed.holds(reference.target, led)))
        needed.add(reference.target, led, _facts(led))


def _belong(needed: KeyTable, schema: Schema, name: str, piece: Deviation) -> None:
    """Keep records whose keys hold the key of one that is kept, such as the lines of an order."""
    for reference, places in needed.led(piece.live, schema) if piece.live is not None else ():
        if set(reference.columns) <= set(schema.key):
            keys = piece.keys.filter(pc.is_valid(places))
            keys = keys.filter(pc.invert(needed.holds(name, keys)))
            needed.add(name, keys, _facts(keys))


def _facts(keys: pa.Array) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([keys], names=["key"])
