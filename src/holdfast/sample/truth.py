"""What must be true once both histories of a shop are brought together, worked out from three states alone.

Nothing of Holdfast is used here but what the owner declares: records are rows read by the shop's own engine.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from holdfast.core.declared import Conflict, Declared
from holdfast.sample.rollback import KEYS, Held, Row, States, columns_of

__all__ = ["Apart", "Table", "Truth", "compared", "tables_of"]

NewKeys = Mapping[str, Mapping[Row, Row]]


@dataclass(frozen=True, slots=True)
class Table:
    """Columns, key, and what leads to other tables: (columns, table, its columns)."""

    columns: Sequence[str]
    key: Sequence[str]
    references: Sequence[tuple[Sequence[str], str, Sequence[str]]]

    def of(self, row: Row, names: Sequence[str]) -> Row:
        """The values of these columns."""
        return tuple(row[self.columns.index(name)] for name in names)


@dataclass(frozen=True, slots=True)
class Apart:
    """How one table differs from what it must be: keys that are missing, too many, or hold something else."""

    missing: frozenset[Row]
    extra: frozenset[Row]
    other: frozenset[Row]

    def __bool__(self) -> bool:
        return bool(self.missing or self.extra or self.other)


class Truth:
    """Both histories of a shop that was set back to `states.base`."""

    def __init__(self, states: States, tables: Mapping[str, Table], declared: Mapping[str, Declared]) -> None:
        self._states = states
        self._tables = {name: _with_declared(name, each, tables, declared) for name, each in tables.items()}
        self._declared = declared

    def lost(self, name: str) -> frozenset[Row]:
        """Keys of records of the first history that the shop has no more, or has others under."""
        base, first, second = self._of(name)
        if not self._tables[name].key:
            return frozenset(first.keys() - second.keys())
        since = {key for key in first.keys() - base.keys() if second.get(key) != first[key]}
        return frozenset(
            since | {key for key in (first.keys() & base.keys()) - second.keys() if first[key] != base[key]}
        )

    def reused(self, name: str) -> frozenset[Row]:
        """Those of them under whose key the shop has another record by now."""
        return self.lost(name) & self._states.second[name].keys()

    def set_back(self, name: str) -> frozenset[Row]:
        """Keys of records that the first history changed, and of which the shop has not that version."""
        base, first, second = self._of(name)
        common = base.keys() & first.keys() & second.keys()
        return frozenset(key for key in common if first[key] != base[key] and first[key] != second[key])

    def since(self, name: str) -> frozenset[Row]:
        """Keys of records that came since, or that are there again though they were deleted."""
        base, first, second = self._of(name)
        return frozenset(second.keys() - first.keys() - (frozenset() if self._tables[name].key else base.keys()))

    def together(self, new: NewKeys) -> Held:
        """Every record there must be, if those of the first history have these new keys."""
        return {name: self._merged(name, new) for name in self._states.second}

    def _of(self, name: str) -> tuple[Mapping[Row, Row], Mapping[Row, Row], Mapping[Row, Row]]:
        return self._states.base[name], self._states.first[name], self._states.second[name]

    def _merged(self, name: str, new: NewKeys) -> dict[Row, Row]:
        base, first, second = self._of(name)
        if not self._tables[name].key:
            return self._counted(name, new)
        found, needed = dict(second), self._needed(name)
        for key, was in base.items():
            if key not in first:
                # Deleted then; it stays only if somebody changed it since, or something new refers to it.
                if second.get(key) == was and key not in needed:
                    del found[key]
            elif key in second:
                found[key] = self._one(name, was, self._led(name, first[key], new), second[key])
        for key in first.keys() - base.keys():
            row = self._led(name, first[key], new)
            place = self._place(name, key, new)
            found[place] = self._under(name, row, place)
        return found

    def _needed(self, name: str) -> set[Row]:
        """Keys in a table to which records refer that came in the second history."""
        found: set[Row] = set()
        for other, table in self._tables.items():
            base, _, second = self._of(other)
            for columns, target, _ in table.references if table.key else ():
                if target == name:
                    found |= {table.of(second[key], columns) for key in second.keys() - base.keys()}
        return found

    def _one(self, name: str, was: Row, first: Row, second: Row) -> Row:
        """One version of a record of both: column by column."""
        declared = self._declared.get(name, Declared())
        found: list[object] = []
        for column, base, then, now in zip(self._tables[name].columns, was, first, second, strict=True):
            if base in (then, now):
                found.append(now if then == base else then)
            elif column in declared.add:
                # Also where both are the same by now: each sold one.
                found.append(int(str(now)) + int(str(then)) - int(str(base)))
            elif then == now:
                found.append(now)
            elif declared.conflict is Conflict.WAIT:
                return second
            else:
                found.append(now if declared.conflict is Conflict.LIVE else then)
        return tuple(found)

    def _led(self, name: str, row: Row, new: NewKeys) -> Row:
        """The row with references that lead to records under their new keys."""
        table, found = self._tables[name], list(row)
        for columns, target, theirs in table.references:
            if tuple(theirs) == tuple(self._tables[target].key):
                for column, value in zip(columns, self._place(target, table.of(row, columns), new), strict=True):
                    found[table.columns.index(column)] = value
        return tuple(found)

    def _place(self, name: str, key: Row, new: NewKeys) -> Row:
        """The key that a record of the first history has now: the one it was given, or the one that it follows."""
        if key in new.get(name, {}):
            return new[name][key]
        table, first = self._tables[name], self._states.first[name]
        follows = set(table.key) & {column for columns, *_ in table.references for column in columns}
        if not follows or key not in first or key in self._states.base[name]:
            return key
        return table.of(self._led(name, first[key], new), table.key)

    def _under(self, name: str, row: Row, key: Row) -> Row:
        table, found = self._tables[name], list(row)
        for column, value in zip(table.key, key, strict=True):
            found[table.columns.index(column)] = value
        return tuple(found)

    def _counted(self, name: str, new: NewKeys) -> dict[Row, Row]:
        base, first, second = (Counter(side.values()) for side in self._of(name))
        came = Counter[Row]()
        for row, count in (first - base).items():
            came[self._led(name, row, new)] += count
        return _numbered(second + came - (base - first))


def compared(wanted: Held, found: Held) -> dict[str, Apart]:
    """Each table that is not what it must be."""
    apart = {}
    for name, rows in wanted.items():
        there = found.get(name, {})
        other = {key for key in rows.keys() & there.keys() if rows[key] != there[key]}
        each = Apart(frozenset(rows.keys() - there.keys()), frozenset(there.keys() - rows.keys()), frozenset(other))
        if each:
            apart[name] = each
    return apart


def _with_declared(name: str, table: Table, tables: Mapping[str, Table], declared: Mapping[str, Declared]) -> Table:
    """A table that leads also where its owner says that it does."""
    refers = declared.get(name, Declared()).refers.items()
    more = [((column,), target, tuple(tables[target].key)) for column, target in refers if target]
    return replace(table, references=[*table.references, *more])


def _numbered(rows: Counter[Row]) -> dict[Row, Row]:
    return {(*row, number): row for row, count in rows.items() for number in _numbers(count)}


def _numbers(count: int) -> Iterable[int]:
    return range(1, count + 1)


def tables_of(path: Path) -> dict[str, Table]:
    """Columns that are written, keys and references of every table of a sample shop, as its own engine tells them."""
    found = {}
    with closing(sqlite3.connect(path)) as connection:
        for name, key in KEYS.items():
            leads: dict[int, list[tuple[str, str, str]]] = defaultdict(list)
            for number, _, target, own, theirs, *_ in connection.execute(f"PRAGMA foreign_key_list({name})"):
                leads[number].append((target, own, theirs))
            references = [
                (tuple(own for _, own, _ in parts), parts[0][0], tuple(theirs for *_, theirs in parts))
                for parts in leads.values()
            ]
            found[name] = Table(columns_of(name), key, references)
    return found
