"""Records for tests: drawn by Hypothesis, and built from plain Python values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from hypothesis import strategies as st

from holdfast.core.align import Keyed
from holdfast.core.canonical import key_bytes, row_digests, tagged_value
from holdfast.core.fingerprint import multiset_keys
from holdfast.core.records import MIXED, TYPES, Column, Schema

Row = dict[str, Any]

_INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)

VALUES: Mapping[str, st.SearchStrategy[Any]] = {
    "bool": st.booleans(),
    "int": _INT64 | st.integers(-3, 3),
    "uint": st.integers(0, (1 << 64) - 1),
    "float": st.floats(width=64),
    "float32": st.floats(width=32),
    "decimal": st.decimals(allow_nan=False).map(str),
    "text": _TEXT,
    "rawtext": st.binary(max_size=8),
    "bytes": st.binary(max_size=8),
    "date": st.integers(-(1 << 31), (1 << 31) - 1),
    "time": st.integers(0, 86_400_000_000),
    "timestamp": _INT64,
    "timestamptz": _INT64,
    "uuid": st.binary(min_size=16, max_size=16),
    "json": _TEXT,
    "source": _TEXT,
}


def mixed_values() -> st.SearchStrategy[bytes]:
    """Tagged values of any type."""
    return st.sampled_from(sorted(VALUES)).flatmap(
        lambda name: VALUES[name].map(lambda value: tagged_value(name, value))
    )


def values_of(type_name: str) -> st.SearchStrategy[Any]:
    return mixed_values() if type_name == MIXED else VALUES[type_name]


@st.composite
def schemas(draw: st.DrawFn, *, has_key: bool | None = None) -> Schema:
    """A schema of one to five columns; with a key, without one, or either."""
    names = draw(st.lists(_TEXT.filter(bool), min_size=1, max_size=5, unique=True))
    columns = tuple(Column(name, draw(st.sampled_from([*sorted(TYPES), MIXED]))) for name in names)
    with_key = draw(st.booleans()) if has_key is None else has_key
    key = tuple(draw(st.permutations(names))[: draw(st.integers(1, len(names)))]) if with_key else ()
    return Schema(columns, key)


@st.composite
def rows_of(draw: st.DrawFn, schema: Schema, *, max_size: int = 12) -> list[dict[str, Any]]:
    """Rows of a schema, each key once."""
    cells = {
        column.name: values_of(column.type) if column.name in schema.key else st.none() | values_of(column.type)
        for column in schema.columns
    }
    rows = draw(st.lists(st.fixed_dictionaries(cells), max_size=max_size))
    if not schema.key:
        return rows
    keys = key_bytes(batch_of(schema, rows), schema).to_pylist()
    return [row for number, row in enumerate(rows) if keys[number] not in keys[:number]]


def batch_of(schema: Schema, rows: Sequence[Row]) -> pa.RecordBatch:
    """A batch of plain rows; an absent column is NULL. Dates and times are counts."""
    arrays = [pa.array([row.get(column.name) for row in rows], column.arrow) for column in schema.columns]
    return pa.RecordBatch.from_arrays(arrays, schema=schema.arrow())


def keyed(schema: Schema, rows: Sequence[Row]) -> Keyed:
    """All rows with their keys, ascending."""
    batch = batch_of(schema, rows)
    if schema.key:
        keys = key_bytes(batch, schema)
        order = pc.sort_indices(keys)
        return Keyed(keys.take(order), batch.take(order))
    digests = row_digests(batch, schema)
    order = pc.sort_indices(digests)
    keys, _ = multiset_keys(digests.take(order))
    return Keyed(keys, batch.take(order))


def stream(schema: Schema, rows: Sequence[Row], cuts: Iterable[int] = ()) -> Iterator[Keyed]:
    """The rows in key order, cut into batches at these places."""
    whole = keyed(schema, rows)
    places = sorted({cut for cut in cuts if 0 < cut < len(whole.keys)})
    for start, end in zip([0, *places], [*places, len(whole.keys)], strict=True):
        yield whole.slice(start, end - start)


def by_key(batches: Iterable[tuple[pa.Array, pa.Array]]) -> dict[bytes, bytes]:
    """Key to digest, from arrays of both."""
    found: dict[bytes, bytes] = {}
    for keys, digests in batches:
        found.update(zip(keys.to_pylist(), digests.to_pylist(), strict=True))
    return found


def held(schema: Schema, rows: Sequence[Row]) -> dict[bytes, bytes]:
    """Key to digest of these rows."""
    whole = keyed(schema, rows)
    return by_key([(whole.keys, row_digests(whole.batch, schema))])
