"""A named mapping: how records of one engine's schema are kept by another engine, said before anything is written.

* The target's part is its `Dialect`, the source's its `Definitions` (`core/dialect.py`); a mapping is what follows from
  both and from the schemas. No record is read for it.
* Records go `forward` and come `back`: through the mapping the target has the source's schema again, so the
  fingerprints that the source's commit signed prove it.
* Nothing is dropped in silence: what is not carried is in `left_out`, with its kind and its name. A value that its
  column's form can't take raises `Unfit`; `revised` is the mapping that keeps the column otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from holdfast.core.dialect import Definitions, Dialect, Index, LeftOut
from holdfast.core.forms import FORMS, mixed_as_text
from holdfast.core.records import MIXED, Reference, Schema
from holdfast.core.ways import CollectionMap, ColumnMap, Revision, Unfit
from holdfast.errors import Unsupported

__all__ = ["NamedMapping", "Viewed", "make_mapping"]

# Of these two values are equal in any engine exactly if they are the same, however they are written.
_PLAINLY_EQUAL = ("bool", "int", "uint", "text", "bytes", "uuid", "date", "time", "timestamp", "timestamptz")


class Viewed(Protocol):
    """What a mapping needs to know of a collection."""

    @property
    def name(self) -> str: ...

    @property
    def schema(self) -> Schema: ...


@dataclass(frozen=True, slots=True)
class NamedMapping:
    """Every collection's way from one engine to another, and what stays behind. `name` says which mapping it is.

    `revisions` are columns of which records decided, in the order in which that was found.
    """

    name: str
    target: str
    collections: tuple[CollectionMap, ...]
    left_out: tuple[LeftOut, ...]
    definitions: Definitions
    dialect: Dialect
    revisions: tuple[Revision, ...] = ()

    def of(self, collection: str) -> CollectionMap:
        """The way of one collection, by the source's name for it."""
        return next(each for each in self.collections if each.name == collection)

    @property
    def values_left_out(self) -> tuple[LeftOut, ...]:
        """What is left out of the records themselves: columns, for definitions stay readable in the vault."""
        return tuple(each for each in self.left_out if each.kind == "column")

    def revised(self, found: Unfit) -> NamedMapping | None:
        """The mapping that keeps the column of that value otherwise; None if there is no other way."""
        one = self.of(found.revision.collection)
        column = next(each for each in one.columns if each.source.name == found.revision.column)
        if column.otherwise is None:
            return None
        views = [_View(each.name, each.source) for each in self.collections]
        return make_mapping(views, self.definitions, self.dialect, (*self.revisions, found.revision))


@dataclass(frozen=True, slots=True)
class _View:
    name: str
    schema: Schema


def make_mapping(
    collections: Sequence[Viewed], definitions: Definitions, dialect: Dialect, revisions: Sequence[Revision] = ()
) -> NamedMapping:
    """The mapping of these collections, decided by their schemas and definitions alone: no record is read.

    `revisions` say of which columns records have decided since. Raises Unsupported for what no table there can be.
    """
    return _Making(definitions, dialect, tuple(revisions)).make(collections)


class _Making:
    """What is known so far while a mapping is made."""

    def __init__(self, definitions: Definitions, dialect: Dialect, revisions: tuple[Revision, ...]) -> None:
        self._definitions = definitions
        self._dialect = dialect
        self._target = dialect.shown or dialect.engine
        self._revisions = revisions
        self._left_out: list[LeftOut] = []
        self._found: dict[str, CollectionMap] = {}

    def make(self, collections: Sequence[Viewed]) -> NamedMapping:
        definitions, dialect, found = self._definitions, self._dialect, self._found
        tables = _names((each.name for each in collections), dialect)
        keyed = _keyed(collections, definitions)
        for each in collections:
            table = tables[each.name]
            columns = self._columns(each, keyed.get(each.name, set()))
            found[each.name] = CollectionMap(each.name, table, dialect.called(table), columns, each.schema)
        taken = {dialect.folded(name) for name in tables.values()}
        for name, one in found.items():
            found[name] = replace(one, key=self._key(one))
        for name, one in found.items():
            found[name] = replace(one, references=self._references(one))
        for name, one in found.items():
            found[name] = replace(one, indexes=self._indexes(one, set() if dialect.are_indexes_apart else taken))
        for name, one in found.items():
            found[name] = replace(one, unique=_led_to(one, found.values()))
        whole = f"{definitions.engine}-to-{dialect.engine}-1"
        left_out = (*self._left_out, *definitions.left_out)
        return NamedMapping(
            whole, dialect.engine, tuple(found.values()), left_out, definitions, dialect, self._revisions
        )

    def _lose(self, kind: str, name: str, reason: str) -> None:
        self._left_out.append(LeftOut(kind, name, reason))

    def _columns(self, one: Viewed, keyed: set[str]) -> tuple[ColumnMap, ...]:
        schema, definitions, dialect = one.schema, self._definitions, self._dialect
        if dialect.columns_max and len(schema.columns) > dialect.columns_max:
            raise Unsupported(
                f"{one.name} has {len(schema.columns):,} columns, and a table of {self._target} takes "
                f"{dialect.columns_max:,} at the most",
                hint="name the other collections, or restore to another engine",
            )
        names = _names(schema.names, dialect)
        not_null = definitions.not_null.get(one.name, frozenset()) | set(schema.key)
        found = []
        for column in schema.columns:
            is_not_null = column.name in not_null
            kept = dialect.kept(column, column.name in keyed)
            for revision in self._revisions:
                if kept is not None and (revision.collection, revision.column) == (one.name, column.name):
                    kept = kept.otherwise
            if kept is None:
                self._lose("column", f"{one.name}.{column.name}", f"{self._target} has no type for it")
                found.append(ColumnMap(column, names[column.name], "", None, is_not_null))
                continue
            is_written = column.type == MIXED and kept.form is FORMS["text"]
            form = mixed_as_text(definitions.readable(column)) if is_written else kept.form
            found.append(
                ColumnMap(column, names[column.name], kept.declared, form, is_not_null, kept.key_bytes, kept.otherwise)
            )
        for name in definitions.computed.get(one.name, ()):
            reason = "the source computes it, and the vault holds no values of it"
            self._lose("column", f"{one.name}.{name}", reason)
        return tuple(found)

    def _key(self, one: CollectionMap) -> tuple[str, ...]:
        """The key in the target's names, if it can declare it."""
        key = one.comparable.key
        if key and (reason := self._too_long(one, key)):
            self._lose("key", f"{one.name} ({', '.join(key)})", reason)
            return ()
        return tuple(_renamed(one)[column] for column in key)

    def _too_long(self, one: CollectionMap, columns: Sequence[str]) -> str:
        """Why these columns can't be a key or an index of the target's; "" if they can."""
        by_name = {column.source.name: column.key_bytes for column in one.carried}
        sizes = [by_name[name] for name in columns]
        most, columns_max = self._dialect.key_bytes_max, self._dialect.key_columns_max
        if columns_max and len(columns) > columns_max:
            return f"{self._target} can't have a key or an index over more than {columns_max} columns"
        if any(size is None for size in sizes) or (most and sum(size or 0 for size in sizes) > most):
            return f"{self._target} can't have a key or an index over values of that type and length"
        return ""

    def _indexes(self, one: CollectionMap, taken: set[str]) -> tuple[Index, ...]:
        columns = _renamed(one)
        fitting = []
        for each in self._definitions.indexes.get(one.name, ()):
            if each.is_unique and one.key and each.columns == one.source.key:
                continue
            reason = "a column of it is left out"
            if columns.keys() >= set(each.columns):
                reason = self._too_long(one, each.columns)
            if reason:
                self._lose("index", each.name, reason)
            else:
                fitting.append(each)
        names = _names((each.name for each in fitting), self._dialect, taken)
        return tuple(
            Index(names[each.name], tuple(columns[name] for name in each.columns), each.is_unique) for each in fitting
        )

    def _references(self, one: CollectionMap) -> tuple[Reference, ...]:
        """The references that the target can declare and hold to, in its names."""
        found = []
        for each in one.source.references:
            other = self._found.get(each.target)
            reason = self._obstacle(one, each, other)
            if reason or other is None:
                told = f"{one.name} ({', '.join(each.columns)}) to {each.target} ({', '.join(each.target_columns)})"
                self._lose("foreign key", told, reason)
                continue
            columns, target_columns = _renamed(one), _renamed(other)
            found.append(
                Reference(
                    tuple(columns[name] for name in each.columns),
                    other.table,
                    tuple(target_columns[name] for name in each.target_columns),
                )
            )
        return tuple(found)

    def _obstacle(self, one: CollectionMap, reference: Reference, other: CollectionMap | None) -> str:
        """Why the target can't hold to a reference; "" if it can."""
        if other is None:
            return f"{reference.target} is not among what is written"
        if reason := self._definitions.unfit.get(one.name, {}).get(reference):
            return reason
        here = {column.source.name: column for column in one.carried}
        there = {column.source.name: column for column in other.carried}
        for name, target_name in zip(reference.columns, reference.target_columns, strict=True):
            column, target = here.get(name), there.get(target_name)
            if column is None or target is None:
                return "a column of it is left out"
            kind = column.source.type
            if kind != target.source.type or kind not in _PLAINLY_EQUAL:
                told = column.source.declared or kind
                return f"values of {told} that the source calls equal may be written differently"
            if column.stored.type != target.stored.type:
                return "its columns are kept in different forms"
        return self._too_long(one, reference.columns) or self._too_long(other, reference.target_columns)


def _keyed(collections: Sequence[Viewed], definitions: Definitions) -> dict[str, set[str]]:
    """The columns of each collection that belong to a key, an index or a reference."""
    found: dict[str, set[str]] = {each.name: set(each.schema.key) for each in collections}
    for each in collections:
        for index in definitions.indexes.get(each.name, ()):
            found[each.name].update(index.columns)
        for reference in each.schema.references:
            found[each.name].update(reference.columns)
            found.get(reference.target, set()).update(reference.target_columns)
    return found


def _names(wanted: Iterable[str], dialect: Dialect, taken: set[str] | None = None) -> dict[str, str]:
    """A name in the target for each name: its own where that is free, the first to come first, else with a number."""
    taken = set() if taken is None else taken
    found: dict[str, str] = {}
    clashing = []
    for name in wanted:
        usable = dialect.usable(name, "")
        if dialect.folded(usable) in taken:
            clashing.append(name)
            continue
        taken.add(dialect.folded(usable))
        found[name] = usable
    for name in clashing:
        number = 2
        while dialect.folded(usable := dialect.usable(name, f"_{number}")) in taken:
            number += 1
        taken.add(dialect.folded(usable))
        found[name] = usable
    return found


def _renamed(one: CollectionMap) -> dict[str, str]:
    return {column.source.name: column.name for column in one.carried}


def _led_to(one: CollectionMap, all_of_them: Iterable[CollectionMap]) -> tuple[tuple[str, ...], ...]:
    """The columns that references lead to, beside the key: an engine wants to see that they are unique."""
    led = {each.target_columns for other in all_of_them for each in other.references if each.target == one.table}
    seen = {frozenset(one.key), *(frozenset(each.columns) for each in one.indexes if each.is_unique)}
    return tuple(sorted(columns for columns in led if frozenset(columns) not in seen))
