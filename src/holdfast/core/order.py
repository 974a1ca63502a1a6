"""The order of collections by their foreign keys, and how to open the cycles among them.

>>> from holdfast.core.records import Column, Reference
>>> customers = Collection("customers", Schema((Column("id", "int"),), key=("id",)))
>>> to_customers = Reference(("customer",), "customers", ("id",))
>>> columns = (Column("id", "int"), Column("customer", "int"))
>>> reference_order([Collection("orders", Schema(columns, ("id",), (to_customers,))), customers]).names
('customers', 'orders')
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from holdfast.core.records import Collection, Schema

__all__ = ["Cycle", "Order", "reference_order"]


@dataclass(frozen=True, slots=True)
class Cycle:
    """Collections whose references form a cycle, parents first once the `deferred` references are left out.

    `deferred` names each collection with the columns to leave NULL at first. A cycle that is not `is_breakable` has
    references through keys or NOT NULL columns alone, and only a target that checks at the end can take it.
    """

    collections: tuple[str, ...]
    deferred: tuple[tuple[str, tuple[str, ...]], ...]
    is_breakable: bool


@dataclass(frozen=True, slots=True)
class Order:
    """Collection names, parents before children, and the cycles among them."""

    names: tuple[str, ...]
    cycles: tuple[Cycle, ...] = ()

    def deferred(self, name: str) -> tuple[str, ...]:
        """The columns of a collection that are left NULL at first, in a two-phase insert."""
        deferred = [columns for cycle in self.cycles for owner, columns in cycle.deferred if owner == name]
        return tuple(column for columns in deferred for column in columns)


def reference_order(collections: Iterable[Collection]) -> Order:
    """The order in which records can be inserted, by foreign keys; equal input in any order gives the same order.

    References to collections that are not given are ignored. As few references of a cycle are deferred as a greedy
    choice finds. A column may be left NULL if it is not in the key and its declared type does not say NOT NULL.
    """
    schemas = {each.name: each.schema for each in collections}
    edges = _edges(schemas)
    parents: dict[str, set[str]] = {name: set() for name in sorted(schemas)}
    for edge in edges:
        parents[edge.child].add(edge.parent)
    names: list[str] = []
    cycles: list[Cycle] = []
    for group in _components(parents):
        within = [edge for edge in edges if edge.child in group and edge.parent in group]
        if not within:
            names.extend(group)
            continue
        cycle = _break(group, within)
        cycles.append(cycle)
        names.extend(cycle.collections)
    return Order(tuple(names), tuple(cycles))


class _Edge(NamedTuple):
    child: str
    parent: str
    nullable: tuple[str, ...]


def _edges(schemas: Mapping[str, Schema]) -> list[_Edge]:
    """Every reference between two of the collections, in a fixed order, with the columns that may be NULL."""
    edges = []
    for child, schema in sorted(schemas.items()):
        for reference in schema.references:
            if reference.target in schemas:
                nullable = tuple(name for name in reference.columns if _is_nullable(schema, name))
                edges.append(_Edge(child, reference.target, nullable))
    return edges


def _is_nullable(schema: Schema, name: str) -> bool:
    # A record without a key can't be found again to be updated, so nothing of it can be deferred.
    if not schema.key or name in schema.key:
        return False
    column = schema.column(name)
    return column is not None and "NOT NULL" not in column.declared.upper()


def _break(group: Sequence[str], edges: Sequence[_Edge]) -> Cycle:
    """Choose references to defer until the rest of the group has an order."""
    kept: dict[str, set[str]] = {name: set() for name in sorted(group)}
    deferred: dict[str, list[str]] = {}
    is_breakable = True
    for edge in sorted(edges, key=lambda edge: bool(edge.nullable)):
        if not _reaches(kept, edge.parent, edge.child):
            kept[edge.child].add(edge.parent)
        elif edge.nullable:
            chosen = deferred.setdefault(edge.child, [])
            chosen.extend(name for name in edge.nullable if name not in chosen)
        else:
            is_breakable = False
    names = tuple(name for part in _components(kept) for name in part)
    return Cycle(names, tuple((name, tuple(columns)) for name, columns in sorted(deferred.items())), is_breakable)


def _reaches(parents: Mapping[str, set[str]], start: str, goal: str) -> bool:
    """Whether `goal` is `start` or one of its ancestors."""
    seen = {start}
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name == goal:
            return True
        waiting.extend(parents[name] - seen)
        seen |= parents[name]
    return False


def _components(parents: Mapping[str, set[str]]) -> list[list[str]]:
    """Strongly connected groups, parents before children (Tarjan, without recursion), names sorted where free."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    open_names: list[str] = []
    groups: list[list[str]] = []
    for root in sorted(parents):
        work = [] if root in index else [(root, iter(sorted(parents[root])))]
        if work:
            index[root] = low[root] = len(index)
            open_names.append(root)
        while work:
            name, following = work[-1]
            for parent in following:
                if parent not in index:
                    index[parent] = low[parent] = len(index)
                    open_names.append(parent)
                    work.append((parent, iter(sorted(parents[parent]))))
                    break
                if parent in open_names:
                    low[name] = min(low[name], index[parent])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[name])
                if low[name] == index[name]:
                    start = open_names.index(name)
                    groups.append(sorted(open_names[start:]))
                    del open_names[start:]
    return groups
