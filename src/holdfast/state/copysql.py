"""How a collection lies in the copy, and the SQL that asks for it. Names of columns come from a vault, so none stands
in a statement: columns are numbered.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple, Self

from holdfast.core.lookups import RECORD_DIGEST, RECORD_KEY, By, Index, Select, Shape, Texts
from holdfast.core.stored import Stored

__all__ = ["Layout", "Statement"]

INDEXES_MAX = 24  # of one collection: each makes every change dearer


@dataclass(frozen=True)
class Layout:
    """A collection's columns with their types, its key, by which decimals records are compared, its indexes."""

    columns: tuple[tuple[str, str], ...]
    key: tuple[str, ...]
    ordered: tuple[str, ...] = ()
    indexes: tuple[Index, ...] = ()
    texts: str = Texts.BINARY
    table: str = ""
    # As many as routes have orders and filters together.
    _statements: dict[Select, Statement] = field(default_factory=dict, compare=False, repr=False)

    def at(self, table: str) -> Self:
        """The same in a table of that name."""
        return replace(self, table=table, _statements={})

    def to_json(self) -> str:
        """A text that `from_json` reads."""
        indexes = [list(map(list, index)) for index in self.indexes]
        columns = list(map(list, self.columns))
        return json.dumps([columns, list(self.key), list(self.ordered), indexes, self.texts, self.table])

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The layout of a text."""
        columns, key, ordered, indexes, texts, table = json.loads(text)
        return cls(
            tuple((name, kind) for name, kind in columns),
            tuple(key),
            tuple(ordered),
            tuple(tuple((name, bool(desc)) for name, desc in index) for index in indexes),
            texts,
            table,
        )

    @cached_property
    def shape(self) -> Shape:
        """What routes see of it."""
        return Shape(dict(self.columns), self.key, Texts(self.texts))

    @cached_property
    def shown(self) -> dict[str, str]:
        """Where each column's values lie."""
        return {RECORD_KEY: "k", RECORD_DIGEST: "d"} | {
            name: f"v{number}" for number, (name, _) in enumerate(self.columns)
        }

    @cached_property
    def compared(self) -> dict[str, str]:
        """Where what each column is compared and ordered by lies."""
        return self.shown | {name: f"o{number}" for number, name in enumerate(self.ordered)}

    def create(self) -> list[str]:
        """What makes the table. No column has a type: values stay what they are."""
        columns = ["k BLOB NOT NULL", "d", *(self.shown[name] for name, _ in self.columns)]
        columns += [self.compared[name] for name in self.ordered]
        return [f"CREATE TABLE {self.table} ({', '.join(columns)})"]

    def index(self) -> list[str]:
        """What makes its indexes, once it is filled."""
        made = [f"CREATE UNIQUE INDEX {self.table}k ON {self.table} (k)"]
        for number, index in enumerate([each for each in self.indexes if each][:INDEXES_MAX]):
            columns = [f"{self.compared[name]}{' DESC' if desc else ''}" for name, desc in index]
            made.append(f"CREATE INDEX {self.table}i{number} ON {self.table} ({', '.join([*columns, 'k'])})")
        return made

    def insert(self) -> str:
        """What adds a record: key, digest, columns, and what decimals are ordered by."""
        marks = ", ".join("?" * (2 + len(self.columns) + len(self.ordered)))
        return f"INSERT INTO {self.table} VALUES ({marks})"

    def delete(self) -> str:
        """What takes a record away."""
        return f"DELETE FROM {self.table} WHERE k = ?"

    def selected(self, select: Select) -> Statement:
        """What asks for the records of a select; the last two values are how many, and after how many."""
        found = self._statements.get(select)
        if found is None:
            found = self._statements[select] = _selected(select, self)
        return found

    def counted(self, select: Select) -> str:
        """What counts them."""
        return f"SELECT count(*) FROM {self.table}{_where(_conditions(select, self))}"


class Statement(NamedTuple):
    """A statement, and which of the values given it takes, in its order; None: all of them."""

    text: str
    places: tuple[int, ...] | None

    def taken(self, values: Sequence[Stored]) -> Sequence[Stored]:
        """The values it takes."""
        return values if self.places is None else [values[place] for place in self.places]


def _selected(select: Select, layout: Layout) -> Statement:
    places: list[int] | None = None
    conditions = _conditions(select, layout)
    if select.after is not None:
        places = list(range(sum(op in _TAKING for _, op in select.terms)))
        conditions.append(_after(select, layout, places))
    where = layout.compared if select.as_compared else layout.shown
    columns = ", ".join(where[name] for name in select.columns) or "1"
    order = ", ".join(_by(by, layout) for by in select.order)
    text = f"SELECT {columns} FROM {layout.table}{_where(conditions)}{' ORDER BY ' + order if order else ''}"
    return Statement(f"{text} LIMIT ? OFFSET ?", None if places is None else tuple(places))


_TAKING = frozenset({"=", "!=", "<", "<=", ">", ">="})
_NULL = {"is null": "IS NULL", "not null": "IS NOT NULL"}


def _where(conditions: Sequence[str]) -> str:
    return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def _conditions(select: Select, layout: Layout) -> list[str]:
    where = layout.compared
    return [f"{where[name]} {op} ?" if op in _TAKING else f"{where[name]} {_NULL[op]}" for name, op in select.terms]


def _by(by: By, layout: Layout) -> str:
    usual = by.has_nulls_last == by.is_descending
    nulls = "" if usual else f" NULLS {'LAST' if by.has_nulls_last else 'FIRST'}"
    return f"{layout.compared[by.column]}{' DESC' if by.is_descending else ''}{nulls}"


def _after(select: Select, layout: Layout, places: list[int]) -> str:
    """What comes after a record, column by column of the order: equal so far, then later."""
    assert select.after is not None
    first = len(places)
    ways: list[str] = []
    taken: list[int] = []
    equal = ""
    for number, (by, is_null) in enumerate(zip(select.order, select.after, strict=True)):
        column, sign = layout.compared[by.column], "<" if by.is_descending else ">"
        later = ""
        if not is_null:
            later = f"({column} {sign} ? OR {column} IS NULL)" if by.has_nulls_last else f"{column} {sign} ?"
        elif not by.has_nulls_last:
            later = f"{column} IS NOT NULL"
        if later:
            ways.append(f"({equal}{later})")
            places += [*taken, *([] if is_null else [first + number])]
        equal += f"{column} IS NULL AND " if is_null else f"{column} = ? AND "
        taken += [] if is_null else [first + number]
    return f"({' OR '.join(ways)})"
