"""For the tests that write: what a system held, as its reader tells it, and what differs between two such states."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.align import Keyed
from holdfast.core.canonical import key_bytes, row_digests
from holdfast.core.compare import Difference, compare
from holdfast.core.fingerprint import multiset_keys
from holdfast.core.plan import CollectionDifferences
from holdfast.core.ports import Reader
from holdfast.core.projection import common_schema, project
from holdfast.core.records import Collection, Schema, is_definition

__all__ = ["Held", "differences", "digests_of", "held_by", "is_business"]

Side = tuple[Schema, list[pa.RecordBatch]]
Held = dict[str, Side]


def held_by(reader: Reader) -> Held:
    """All that a system holds now."""
    with reader.snapshot() as snapshot:
        views = [snapshot.read(each) for each in snapshot.collections]
        return {view.name: (view.schema, list(view.batches())) for view in views}


def digests_of(held: Held) -> dict[str, tuple[tuple[str, ...], list[bytes]]]:
    """Key and sorted row digests of every collection."""
    return {
        name: (schema.key, sorted(digest for batch in batches for digest in row_digests(batch, schema).to_pylist()))
        for name, (schema, batches) in held.items()
    }


def is_business(name: str) -> bool:
    """Whether a collection holds no definitions."""
    return not is_definition(name)


def differences(wanted: Held, actual: Held, only: Callable[[str], bool]) -> list[CollectionDifferences]:
    """What differs in each of these collections."""
    return [_of_one(name, wanted.get(name), actual.get(name)) for name in sorted({*wanted, *actual}) if only(name)]


def _of_one(name: str, wanted: Side | None, actual: Side | None) -> CollectionDifferences:
    known = actual or wanted
    assert known is not None, f"{name} is on neither side"
    wanted, actual = wanted or (known[0], []), actual or (known[0], [])
    schema = common_schema(actual[0], wanted[0])
    found: list[Difference] = list(compare(_sorted(wanted, schema), _sorted(actual, schema), schema))
    return CollectionDifferences(Collection(name, schema), lambda: iter(found))


def _sorted(side: Side, schema: Schema) -> Iterator[Keyed]:
    source, batches = side
    projected = [project(batch, source, schema) for batch in batches]
    if projected:
        rows = pa.concat_batches(projected)
        keys = key_bytes(rows, schema) if schema.key else row_digests(rows, schema).cast(pa.binary())
        order = pc.sort_indices(keys)
        keys, rows = keys.take(order), rows.take(order)
        yield Keyed(keys if schema.key else multiset_keys(keys)[0], rows)
