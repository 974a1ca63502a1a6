"""Keys of records with something to say about each, by collection; and which records refer to one of them.

References lead to records by their keys; to those that are not put back by any columns.

    >>> from holdfast.core.records import Column
    >>> table = KeyTable({"orders": Schema((Column("id", "int"),), key=("id",))})
    >>> len(table), table.has("orders")
    (0, False)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.align import Keyed
from holdfast.core.canonical import key_bytes, tagged, untagged
from holdfast.core.records import MIXED, Column, Reference, Schema

__all__ = [
    "KeyTable",
    "Stop",
    "Stops",
    "as_type",
    "leads_by_key",
    "led_by_values",
    "target_keys",
    "top_of",
    "values_of",
]

_WHY = pa.schema([("why", pa.string()), ("waits", pa.bool_())])


class KeyTable:
    """Keys by collection, each with a row of facts; a key is added once. Memory holds all of them, and no records."""

    def __init__(self, schemas: Mapping[str, Schema]) -> None:
        self.schemas = schemas
        self._keys: dict[str, pa.Array] = {}
        self._facts: dict[str, pa.RecordBatch] = {}

    def __len__(self) -> int:
        return sum(map(len, self._keys.values()))

    def has(self, name: str) -> bool:
        """Whether there is any key of this collection."""
        return name in self._keys

    def count(self, name: str) -> int:
        """How many keys of this collection there are."""
        return len(self._keys.get(name, ()))

    def add(self, name: str, keys: pa.Array, facts: pa.RecordBatch) -> None:
        """Keep keys that are not there yet, with a row of facts each; all rows of a collection are of one form."""
        if not len(keys):
            return
        if name in self._keys:
            keys = pa.concat_arrays([self._keys[name], keys])
            facts = pa.concat_batches([self._facts[name], facts])
        self._keys[name], self._facts[name] = keys, facts

    def find(self, name: str, keys: pa.Array) -> pa.Array:
        """The place of each key, NULL for those that are not there."""
        if name not in self._keys:
            return pa.nulls(len(keys), pa.int32())
        return pc.index_in(keys, value_set=self._keys[name], skip_nulls=True)

    def holds(self, name: str, keys: pa.Array) -> pa.Array:
        """Which keys are there."""
        return pc.is_valid(self.find(name, keys))

    def all(self, name: str) -> tuple[pa.Array, pa.RecordBatch]:
        """Every key of a collection that has some, and their facts, in the order in which they were added."""
        return self._keys[name], self._facts[name]

    def leading(self, rows: pa.RecordBatch, schema: Schema) -> pa.Array:
        """Which records refer to a record whose key is here."""
        mask = pa.array([False] * rows.num_rows, pa.bool_())
        for _, places in self.led(rows, schema):
            mask = pc.or_(mask, pc.is_valid(places))
        return mask

    def led(self, rows: pa.RecordBatch, schema: Schema) -> Iterator[tuple[Reference, pa.Array]]:
        """For each reference to a collection with keys here: the place of the key it leads to, or NULL."""
        for reference in schema.references:
            target = self.schemas.get(reference.target)
            if target is not None and reference.target in self._keys and leads_by_key(reference, target):
                yield reference, self.find(reference.target, target_keys(rows, schema, reference, target))


class Stop(NamedTuple):
    """A record that is not put back, by its key in the vault, and why. It `waits` for a person unless it was decided
    that it stays as the source has it.
    """

    collection: str
    key: bytes
    why: str
    waits: bool = True


class Stops(KeyTable):
    """Keys of records that are not put back, each with why. References lead to them by other columns too, once what
    they hold there is learnt.
    """

    def __init__(self, schemas: Mapping[str, Schema]) -> None:
        super().__init__(schemas)
        self._values: dict[tuple[str, tuple[str, ...]], tuple[pa.Array, pa.Array]] = {}

    def stop(self, name: str, keys: pa.Array, why: str, *, waits: bool = True) -> bool:
        """Stop those of the records that are not stopped yet; tells whether there were any."""
        fresh = keys.filter(pc.invert(self.holds(name, keys)))
        facts = pa.RecordBatch.from_arrays([pa.array([why] * len(fresh)), pa.array([waits] * len(fresh))], schema=_WHY)
        self.add(name, fresh, facts)
        return len(fresh) > 0

    def told(self, name: str, keys: pa.Array) -> Iterator[Stop]:
        """Those of the keys that are stopped."""
        if not self.has(name):
            return
        _, facts = self.all(name)
        for key, place in zip(keys.to_pylist(), self.find(name, keys).to_pylist(), strict=True):
            if place is not None:
                yield Stop(name, key, facts.column(0)[place].as_py(), facts.column(1)[place].as_py())

    def learn(self, name: str, columns: tuple[str, ...], rows: Keyed) -> None:
        """Learn what those of the records that are stopped hold in these columns."""
        some = rows.filter(self.holds(name, rows.keys))
        if not set(columns) <= set(self.schemas[name].names) or not len(some.keys):
            return
        values, keys = values_of(some.batch, self.schemas[name], columns), some.keys
        known = self._values.get((name, columns))
        if known is not None:
            is_new = pc.invert(pc.is_in(keys, value_set=known[1]))
            values = pa.concat_arrays([known[0], values.filter(is_new)])
            keys = pa.concat_arrays([known[1], keys.filter(is_new)])
        self._values[name, columns] = values, keys

    def led(self, rows: pa.RecordBatch, schema: Schema) -> Iterator[tuple[Reference, pa.Array]]:
        """For each reference to a collection with stops: the place of the stopped record it leads to, or NULL."""
        yield from super().led(rows, schema)
        for reference in schema.references:
            known = self._values.get((reference.target, reference.target_columns))
            if known is not None:
                found = pc.index_in(values_of(rows, schema, reference.columns), value_set=known[0], skip_nulls=True)
                yield reference, self.find(reference.target, known[1].take(found))


def leads_by_key(reference: Reference, target: Schema) -> bool:
    """Whether a reference leads to the key of its target, and to no other columns."""
    return bool(target.key) and set(reference.target_columns) == set(target.key)


def led_by_values(schemas: Mapping[str, Schema]) -> set[tuple[str, tuple[str, ...]]]:
    """The columns beside keys that references lead to, each with its collection."""
    return {
        (each.target, each.target_columns)
        for schema in schemas.values()
        for each in schema.references
        if each.target in schemas and not leads_by_key(each, schemas[each.target])
    }


def target_keys(rows: pa.RecordBatch, schema: Schema, reference: Reference, target: Schema) -> pa.Array:
    """The canonical key each record refers to, NULL where a column of the reference is NULL."""
    own = dict(zip(reference.target_columns, reference.columns, strict=True))
    names = tuple(own[name] for name in target.key)
    rows, schema = _as_held(rows, schema, dict(zip(names, target.key_columns, strict=True)))
    return values_of(rows, schema, names)


def _as_held(rows: pa.RecordBatch, schema: Schema, keys: Mapping[str, Column]) -> tuple[pa.RecordBatch, Schema]:
    """The rows with numbers in the type of the keys that they lead to: where none is declared, one may have a sign that
    the other has not. What no such key can be is NULL.
    """
    for place, column in enumerate(schema.columns):
        key = keys.get(column.name)
        if key is not None and {column.type, key.type} == {"int", "uint"}:
            values = rows.column(place)
            least = pa.scalar(0, values.type)
            most = pa.scalar((1 << 63) - 1, values.type)
            fits = pc.and_(pc.greater_equal(values, least), pc.less_equal(values, most))
            held = pc.if_else(fits, values, pa.scalar(None, values.type)).cast(key.arrow)
            rows = rows.set_column(place, column.name, held)
            columns = (*schema.columns[:place], Column(column.name, key.type), *schema.columns[place + 1 :])
            schema = Schema(columns, schema.key, schema.references)
    return rows, schema


def values_of(rows: pa.RecordBatch, schema: Schema, names: tuple[str, ...]) -> pa.Array:
    """What each record holds in these columns as canonical bytes, as if they were its key; NULL where one is NULL."""
    columns = [column for name in names if (column := schema.column(name)) is not None]
    shape = Schema(tuple(Column(str(place), each.type) for place, each in enumerate(columns)))
    shape = Schema(shape.columns, shape.names)
    values = [rows.column(name) for name in names]
    is_set = pc.is_valid(values[0])
    for each in values[1:]:
        is_set = pc.and_(is_set, pc.is_valid(each))
    some = pa.RecordBatch.from_arrays([each.filter(is_set) for each in values], schema=shape.arrow())
    if some.num_rows == rows.num_rows:
        return key_bytes(some, shape)
    return pc.replace_with_mask(pa.nulls(rows.num_rows, pa.binary()), is_set, key_bytes(some, shape))


def as_type(values: pa.Array, held: Column, wanted: Column) -> pa.Array:
    """Key values of one column as another that refers to it holds them."""
    if held.type == wanted.type:
        return values
    if wanted.type == MIXED:
        return tagged(values, held.type)
    return untagged(values, wanted.type) if held.type == MIXED else values.cast(wanted.arrow)


def top_of(top: int | None, batch: pa.RecordBatch, schema: Schema) -> int | None:
    """The largest value of a key of one integer column, this batch included; None of any other key."""
    if len(schema.key) != 1 or schema.key_columns[0].type not in ("int", "uint") or not batch.num_rows:
        return top
    found = int(pc.max(batch.column(schema.key[0])).as_py())
    return found if top is None else max(top, found)
