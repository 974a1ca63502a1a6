"""References that no database declares: those that the owner declares instead (`refers` in holdfast.toml), and those
that the names and values of columns let suspect, where a record gets a new number.

* What is declared follows a new number as a foreign key does.
* A column whose name says that it refers, and that holds a number which becomes another's: its records wait, until it
  is declared that it refers there, or ("") that it does not.
* One that only its values let suspect is told: every number it holds is one of that collection's.

    >>> is_named_for("last_order_id", "shop.orders", "id"), is_named_for("quantity", "shop.orders", "id")
    (True, False)
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.canonical import decode
from holdfast.core.declared import Declared, declared_of
from holdfast.core.keyed import values_of
from holdfast.core.records import MIXED, Column, Reference, Schema
from holdfast.core.taken import Taken
from holdfast.core.threeway import Deviation, Fate
from holdfast.core.undo import Histories, NewKeys, Way, way_of

__all__ = ["Suspect", "is_named_for", "mistakes_in", "suspects", "with_declared"]

_RANGES = {"int": (-(1 << 63), (1 << 63) - 1), "uint": (0, (1 << 64) - 1)}
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+|[^\W\d_]+")
_PLAIN = ("id", "no", "nr", "num", "number", "ref", "key")
_IS_WRITTEN = (Fate.LOST, Fate.REUSED, Fate.REVERTED, Fate.BOTH)
_VALUES_MAX = 100_000


class Suspect(NamedTuple):
    """A column that may refer to a collection whose records get new numbers, and how many records that are written name
    such a number by it. They wait if its name says so, too.
    """

    collection: str
    column: str
    target: str
    keys: pa.Array
    is_named: bool

    @property
    def taken(self) -> Taken:
        """Why its records wait."""
        said = f'[collection.{self.collection}] refers = {{ {self.column} = "{self.target}" }}'
        why = (
            f'its {self.column} names one of {self.target} that gets a new number: declare {said}, or "" if it does not'
        )
        return Taken(self.collection, self.keys, why)


def mistakes_in(schemas: Mapping[str, Schema], declared: Mapping[str, Declared]) -> Iterator[str]:
    """What keeps declared references from leading anywhere; of collections that are there."""
    for name, schema in schemas.items():
        for own, target in declared_of(declared, name).refers.items():
            column, led = schema.column(own), schemas.get(target)
            if column is None:
                yield f"{name} has no column {own}, which holdfast.toml says refers to {target or 'nothing'}"
            elif target and led is None:
                yield f"{name}.{own}: there is no collection {target}, to which holdfast.toml says it refers"
            elif led is not None and len(led.key) != 1:
                yield f"{name}.{own} can't refer to {target}, which has no key of one column"
            elif led is not None and not _fits(column, led.key_columns[0]):
                held = led.key_columns[0].type
                yield f"{name}.{own} can't refer to {target}: it is {column.type}, and the key {held}"


def with_declared(schemas: Mapping[str, Schema], declared: Mapping[str, Declared]) -> dict[str, Schema]:
    """The schemas, with references that are declared beside their own. None of them is a mistake."""
    found = {}
    for name, schema in schemas.items():
        own = {each.columns for each in schema.references}
        more = [
            Reference((column,), target, schemas[target].key)
            for column, target in declared_of(declared, name).refers.items()
            if target and (column,) not in own
        ]
        found[name] = replace(schema, references=(*schema.references, *more)) if more else schema
    return found


def suspects(histories: Histories, new: NewKeys, declared: Mapping[str, Declared]) -> list[Suspect]:
    """Columns by which records that are written may name others that get new numbers, and that no reference covers."""
    schemas = histories.schemas
    numbered = {
        name: _Old(new.all(name)[0]) for name in schemas if way_of(schemas[name]) is Way.NUMBER and new.has(name)
    }
    asked = [
        _Asked(name, column, target, is_named_for(column.name, target, schemas[target].key[0]), old)
        for name in (schemas if numbered else ())
        for column in _uncovered(schemas[name], declared_of(declared, name))
        for target, old in numbered.items()
        if (name, (column.name,)) != (target, schemas[target].key)
    ]
    # Numbers of its own are in any collection those of others, too.
    asked = [
        each
        for each in asked
        if each.is_named
        or ((each.column.name,) != schemas[each.name].key and not _is_another(each.column.name, each.target, schemas))
    ]
    for name in {each.name: None for each in asked}:
        here = [each for each in asked if each.name == name]
        for piece in histories.pieces(name):
            if piece.fate in _IS_WRITTEN and piece.good is not None:
                for each in here:
                    each.look(piece)
    found = [each for each in asked if each.keys]
    for target in {each.target: None for each in found if not each.is_named}:
        _look_for(histories, target, [each for each in found if each.target == target and not each.is_named])
    return [each.suspect for each in found if each.is_named or each.is_within]


def is_named_for(column: str, target: str, key: str) -> bool:
    """Whether a column's name says that it holds the key of a collection: order_id, last_order, OrderNo for orders."""
    words = _words(column)
    tails = {"".join(words[start:]) for start in range(len(words))}
    own, id_of = _words(target.rpartition(".")[2]), "".join(_words(key))
    nouns = {form for start in range(len(own)) for form in _forms("".join(own[start:]))}
    wanted = {noun + more for noun in nouns for more in ("", *_PLAIN, id_of)}
    return bool(tails & wanted) or (id_of not in _PLAIN and id_of in tails)


class _Old:
    """Numbers that are given anew: the old keys, as bytes and as numbers."""

    def __init__(self, keys: pa.Array) -> None:
        self._keys = keys
        self._numbers = [int(decode(each)[1]) for each in keys.to_pylist()]

    def held(self, values: pa.Array, column: Column) -> pa.Array:
        """Which values of a column are one of them."""
        if column.type == MIXED:
            rows = pa.RecordBatch.from_arrays([values], names=[column.name])
            return pc.is_in(values_of(rows, Schema((column,)), (column.name,)), value_set=self._keys)
        least, most = _RANGES[column.type]
        fitting = pa.array([each for each in self._numbers if least <= each <= most], column.arrow)
        return pc.is_in(values, value_set=fitting)


class _Asked:
    """One column that may refer to one collection, while records are looked at."""

    def __init__(self, name: str, column: Column, target: str, is_named: bool, old: _Old) -> None:
        self.name, self.column, self.target, self.is_named = name, column, target, is_named
        self.keys: list[pa.Array] = []
        # All that the column holds; None where that is too much to look into, or nothing that can be looked for.
        self.values = None if is_named or column.type == MIXED else pa.array([], column.arrow)
        self._old = old

    def look(self, piece: Deviation) -> None:
        """Look at records that are written."""
        assert piece.good is not None, "what is written is in the vault"
        own = piece.good.column(self.column.name)
        is_old = pc.and_(self._old.held(own, self.column), _differs(piece, self.column.name))
        if pc.any(is_old).as_py():
            self.keys.append(piece.keys.filter(is_old))
        if self.values is not None:
            values = pc.unique(pa.concat_arrays([self.values, pc.drop_null(own)]))
            self.values = values if len(values) <= _VALUES_MAX else None

    def without(self, numbers: pa.Array) -> None:
        """Forget values that are these keys of the collection."""
        if self.values is not None and len(self.values):
            held = pc.cast(numbers, self.values.type, safe=False)
            self.values = self.values.filter(pc.invert(pc.is_in(self.values, value_set=held)))

    @property
    def is_within(self) -> bool:
        """Whether every value was found to be a key of the collection."""
        return self.values is not None and not len(self.values)

    @property
    def suspect(self) -> Suspect:
        """What came of it."""
        return Suspect(self.name, self.column.name, self.target, pa.concat_arrays(self.keys), self.is_named)


def _uncovered(schema: Schema, declared: Declared) -> Iterator[Column]:
    """Columns that may refer without a word: numbers that are no reference, and not declared as something else."""
    covered = {own for each in schema.references for own in each.columns}
    covered |= {*declared.refers, *declared.money, *declared.add, declared.tenant, declared.created}
    for column in schema.columns:
        if column.type in (*_RANGES, MIXED) and column.name not in covered:
            yield column


def _is_another(column: str, target: str, schemas: Mapping[str, Schema]) -> bool:
    """Whether a column's name says that it refers to some other collection."""
    return any(
        is_named_for(column, name, schema.key[0])
        for name, schema in schemas.items()
        if name != target and len(schema.key) == 1
    )


def _differs(piece: Deviation, column: str) -> pa.Array:
    """Where what is written is not what the source holds in this column already."""
    if piece.good is None or piece.live is None or piece.fate not in (Fate.REVERTED, Fate.BOTH):
        return pa.array([True] * len(piece.keys), pa.bool_())
    return pc.fill_null(pc.not_equal(piece.good.column(column), piece.live.column(column)), True)


def _look_for(histories: Histories, target: str, found: Sequence[_Asked]) -> None:
    """Forget all values that are keys of records that the vault has."""
    for each in histories.records(target):
        for asked in found:
            asked.without(each.batch.column(histories.schemas[target].key[0]))


def _fits(column: Column, key: Column) -> bool:
    """Whether values of a column can be those of a key, and change to others of it."""
    return column.type == key.type or MIXED in (column.type, key.type) or {column.type, key.type} <= {"int", "uint"}


def _words(name: str) -> list[str]:
    return [each.lower() for each in _WORDS.findall(name)]


def _forms(noun: str) -> set[str]:
    """A noun as it stands, and in the singular as English has it."""
    found = {noun, noun.removesuffix("s"), noun.removesuffix("es")}
    return found | ({f"{noun[:-3]}y"} if noun.endswith("ies") else set())
