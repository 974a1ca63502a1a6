"""A named mapping: how records of one engine's schema are kept by another engine, said before anything is written.

* The target's part is a `Dialect`: which of its types keeps each canonical type, in which form, and what names it can
  take. The source's part is `Definitions`: what its own definitions say beyond schemas, and what of them stays behind.
* Records go `forward` and come `back`: through the mapping the target has the source's schema again, so the
  fingerprints that the source's commit signed prove it.
* Nothing is dropped in silence: what is not carried is in `left_out`, with its kind and its name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Protocol

import pyarrow as pa

from holdfast.core.forms import FORMS, Form, read_back
from holdfast.core.records import Column, Reference, Schema
from holdfast.core.written import Misfit
from holdfast.errors import Damaged

__all__ = [
    "CollectionMap",
    "ColumnMap",
    "Definitions",
    "Dialect",
    "Index",
    "Kept",
    "LeftOut",
    "NamedMapping",
    "Verdict",
    "Viewed",
    "make_mapping",
]

# Of these two values are equal in any engine exactly if they are the same, however they are written.
_PLAINLY_EQUAL = ("bool", "int", "uint", "text", "bytes", "uuid", "date", "time", "timestamp", "timestamptz")


class Verdict(StrEnum):
    """What becomes of a column's values in the target."""

    ITSELF = "as itself"
    OTHERWISE = "exact in another form"
    LEFT_OUT = "left out"


class Viewed(Protocol):
    """What a mapping needs to know of a collection."""

    @property
    def name(self) -> str: ...

    @property
    def schema(self) -> Schema: ...


@dataclass(frozen=True, slots=True)
class Kept:
    """How a target keeps one canonical type: the form's name in `FORMS`, and the type it declares for it."""

    form: str
    declared: str


@dataclass(frozen=True, slots=True)
class Dialect:
    """A target's part of a mapping. `kept` is by canonical type, `mixed` among them; what it lacks is left out.

    `usable` makes of any name one that the target takes; names that are equal under `folded` are one name to it.
    """

    engine: str
    kept: Mapping[str, Kept]
    usable: Callable[[str], str]
    folded: Callable[[str], str]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """One thing that the target will not have, and why, where that is not plain from what it is."""

    kind: str
    name: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Index:
    """A plain index over columns of a collection."""

    name: str
    columns: tuple[str, ...]
    is_unique: bool


@dataclass(frozen=True, slots=True)
class Definitions:
    """What a source's own definitions say beyond the schemas of its collections, by collection.

    `not_null` are columns, `computed` those that the source computes and the vault holds no values of.
    """

    engine: str
    not_null: Mapping[str, frozenset[str]] = field(default_factory=dict)
    computed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    indexes: Mapping[str, tuple[Index, ...]] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """One column on its way. `name` and `declared` are the target's; without a form it is left out."""

    source: Column
    name: str
    declared: str
    form: Form | None
    not_null: bool

    @property
    def verdict(self) -> Verdict:
        if self.form is None:
            return Verdict.LEFT_OUT
        return Verdict.ITSELF if self.form.is_itself else Verdict.OTHERWISE

    @property
    def stored(self) -> Column:
        """The column as the target holds it."""
        assert self.form is not None, "a column that is left out is nowhere stored"
        return Column(self.name, self.form.stored or self.source.type, self.declared)


@dataclass(frozen=True, slots=True)
class CollectionMap:
    """One collection on its way. Names in `key`, `unique`, `references` and `indexes` are the target's.

    `unique` are columns that a reference leads to and that are not the key.
    """

    name: str
    table: str
    columns: tuple[ColumnMap, ...]
    key: tuple[str, ...]
    unique: tuple[tuple[str, ...], ...]
    references: tuple[Reference, ...]
    indexes: tuple[Index, ...]
    source: Schema

    @property
    def carried(self) -> tuple[ColumnMap, ...]:
        """The columns that are not left out."""
        return tuple(column for column in self.columns if column.form is not None)

    @property
    def is_whole(self) -> bool:
        """Whether every column is carried."""
        return len(self.carried) == len(self.columns)

    @property
    def comparable(self) -> Schema:
        """The source's schema of what is carried: all of it, unless columns are left out."""
        if self.is_whole:
            return self.source
        names = {column.source.name for column in self.carried}
        key = self.source.key if names.issuperset(self.source.key) else ()
        return Schema(tuple(column.source for column in self.carried), key)

    @property
    def stored(self) -> Schema:
        """The schema of the records as the target holds them."""
        return Schema(tuple(column.stored for column in self.carried), self.key, self.references)

    def forward(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Records of the source as the target holds them."""
        columns = [column.form.forward(batch.column(column.source.name), column.source) for column in _formed(self)]
        return pa.RecordBatch.from_arrays(columns, schema=self.stored.arrow())

    def back(self, batch: pa.RecordBatch, found: Schema) -> pa.RecordBatch:
        """What the target holds, read as `found`, as records of `comparable`. Raises Damaged for what can't be."""
        columns = []
        for column in _formed(self):
            held = found.column(column.name)
            if held is None:
                raise Damaged(f"{self.table}: the column {column.name} is missing", hint="restore to another new place")
            try:
                columns.append(read_back(batch.column(column.name), held.type, column.form, column.source))
            except Misfit as error:
                raise Damaged(
                    f"{self.table}: column {column.name}: {error}", hint="restore to another new place"
                ) from error
        return pa.RecordBatch.from_arrays(columns, schema=self.comparable.arrow())


@dataclass(frozen=True, slots=True)
class NamedMapping:
    """Every collection's way from one engine to another, and what stays behind. `name` says which mapping it is."""

    name: str
    target: str
    collections: tuple[CollectionMap, ...]
    left_out: tuple[LeftOut, ...]

    def of(self, collection: str) -> CollectionMap:
        """The way of one collection, by the source's name for it."""
        return next(each for each in self.collections if each.name == collection)

    @property
    def values_left_out(self) -> tuple[LeftOut, ...]:
        """What is left out of the records themselves: columns, for definitions stay readable in the vault."""
        return tuple(each for each in self.left_out if each.kind == "column")


@dataclass(frozen=True, slots=True)
class _Formed:
    name: str
    form: Form
    source: Column


def make_mapping(collections: Sequence[Viewed], definitions: Definitions, dialect: Dialect) -> NamedMapping:
    """The mapping of these collections, decided by their schemas and definitions alone: no record is read."""
    tables = _names((each.name for each in collections), dialect)
    left_out: list[LeftOut] = []
    found: dict[str, CollectionMap] = {}
    for each in collections:
        columns = _columns(each.name, each.schema, definitions, dialect)
        found[each.name] = CollectionMap(each.name, tables[each.name], columns, (), (), (), (), each.schema)
        left_out += [
            LeftOut("column", f"{each.name}.{column.source.name}", f"{dialect.engine} has no type for it")
            for column in columns
            if column.form is None
        ]
        left_out += [
            LeftOut("column", f"{each.name}.{name}", "the source computes it, and the vault holds no values of it")
            for name in definitions.computed.get(each.name, ())
        ]
    taken = {dialect.folded(name) for name in tables.values()}
    for name, one in found.items():
        references, lost = _references(one, found)
        indexes, unfit = _indexes(one, definitions.indexes.get(name, ()), taken, dialect)
        left_out += [*lost, *unfit]
        key = tuple(_renamed(one)[column] for column in one.comparable.key)
        found[name] = replace(one, key=key, references=references, indexes=indexes)
    for name, one in found.items():
        found[name] = replace(one, unique=_led_to(one, found.values()))
    whole = f"{definitions.engine}-to-{dialect.engine}-1"
    return NamedMapping(whole, dialect.engine, tuple(found.values()), (*left_out, *definitions.left_out))


def _formed(one: CollectionMap) -> Iterator[_Formed]:
    return (_Formed(each.name, each.form, each.source) for each in one.columns if each.form is not None)


def _columns(name: str, schema: Schema, definitions: Definitions, dialect: Dialect) -> tuple[ColumnMap, ...]:
    names = _names(schema.names, dialect)
    not_null = definitions.not_null.get(name, frozenset()) | set(schema.key)
    found = []
    for column in schema.columns:
        kept = dialect.kept.get(column.type)
        form = FORMS[kept.form] if kept else None
        declared = kept.declared if kept else ""
        found.append(ColumnMap(column, names[column.name], declared, form, column.name in not_null))
    return tuple(found)


def _names(wanted: Iterable[str], dialect: Dialect, taken: set[str] | None = None) -> dict[str, str]:
    """A name in the target for each name: its own where that is free, the first to come first, else with a number."""
    taken = set() if taken is None else taken
    found: dict[str, str] = {}
    clashing = []
    for name in wanted:
        usable = dialect.usable(name)
        if dialect.folded(usable) in taken:
            clashing.append(name)
            continue
        taken.add(dialect.folded(usable))
        found[name] = usable
    for name in clashing:
        number = 2
        while dialect.folded(usable := f"{dialect.usable(name)}_{number}") in taken:
            number += 1
        taken.add(dialect.folded(usable))
        found[name] = usable
    return found


def _renamed(one: CollectionMap) -> dict[str, str]:
    return {column.source.name: column.name for column in one.carried}


def _references(
    one: CollectionMap, all_of_them: Mapping[str, CollectionMap]
) -> tuple[tuple[Reference, ...], list[LeftOut]]:
    """The references that the target can declare and hold to, in its names, and those it can't."""
    found, lost = [], []
    for each in one.source.references:
        other = all_of_them.get(each.target)
        reason = _obstacle(one, each, other)
        if reason or other is None:
            told = f"{one.name} ({', '.join(each.columns)}) to {each.target} ({', '.join(each.target_columns)})"
            lost.append(LeftOut("foreign key", told, reason))
            continue
        columns, target_columns = _renamed(one), _renamed(other)
        found.append(
            Reference(
                tuple(columns[name] for name in each.columns),
                other.table,
                tuple(target_columns[name] for name in each.target_columns),
            )
        )
    return tuple(found), lost


def _obstacle(one: CollectionMap, reference: Reference, other: CollectionMap | None) -> str:
    """Why the target can't hold to a reference; "" if it can."""
    if other is None:
        return f"{reference.target} is not among what is written"
    here, there = one.comparable, other.comparable
    for name, target_name in zip(reference.columns, reference.target_columns, strict=True):
        column, target = here.column(name), there.column(target_name)
        if column is None or target is None:
            return "a column of it is left out"
        if column.type != target.type or column.type not in _PLAINLY_EQUAL:
            return f"values of {column.declared or column.type} that the source calls equal may be written differently"
    return ""


def _led_to(one: CollectionMap, all_of_them: Iterable[CollectionMap]) -> tuple[tuple[str, ...], ...]:
    """The columns that references lead to, beside the key: an engine wants to see that they are unique."""
    led = {each.target_columns for other in all_of_them for each in other.references if each.target == one.table}
    return tuple(sorted(columns for columns in led if set(columns) != set(one.key)))


def _indexes(
    one: CollectionMap, indexes: Sequence[Index], taken: set[str], dialect: Dialect
) -> tuple[tuple[Index, ...], list[LeftOut]]:
    columns = _renamed(one)
    fitting = [each for each in indexes if columns.keys() >= set(each.columns)]
    names = _names((each.name for each in fitting), dialect, taken)
    found = tuple(
        Index(names[each.name], tuple(columns[name] for name in each.columns), each.is_unique) for each in fitting
    )
    lost = [LeftOut("index", each.name, "a column of it is left out") for each in indexes if each not in fitting]
    return found, lost
