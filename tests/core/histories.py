"""Two histories of a small shop in memory, and an undo of one of them by nothing but the pure parts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from holdfast.core.align import Keyed
from holdfast.core.alike import keep_alike
from holdfast.core.canonical import key_bytes
from holdfast.core.declared import Conflict, Declared, declared_of
from holdfast.core.keyed import KeyTable, top_of
from holdfast.core.records import Column, Reference, Schema
from holdfast.core.settle import Settling
from holdfast.core.taken import Unlike, taken
from holdfast.core.threeway import Deviation, three_way
from holdfast.core.undo import NewKeys, Rules, Stop, give_keys, relevant, stop
from tests.core.shapes import Row, batch_of, stream

Shop = dict[str, list[Row]]


def _schema(key: Sequence[str], others: str, **references: str) -> Schema:
    names = [*key, *(name for name in [*others.split(), *references] if name not in key)]
    columns = tuple(Column(name, "text" if name in ("what", "more", "name") else "int") for name in names)
    found = tuple(Reference((name,), target, ("id",)) for name, target in references.items())
    return Schema(columns, tuple(key), found)


_LINE = Reference(("order", "line"), "lines", ("order", "line"))
SCHEMAS: Mapping[str, Schema] = {
    "customers": _schema(["id"], "what more", invited_by="customers"),
    "orders": _schema(["id"], "what more stock", customer="customers", invoice="invoices"),
    "invoices": _schema(["id"], "what more", order="orders"),
    "lines": _schema(["order", "line"], "what more", order="orders"),
    "licences": Schema((Column("id", "int"), *map(Column, ("order", "line"), ("int", "int"))), ("id",), (_LINE,)),
    "visits": _schema([], "what", customer="customers"),
    "settings": _schema(["name"], "what"),
}


@dataclass
class MemoryHistories:
    """Both histories as lists of rows; what a decision keeps is added to its pieces."""

    states: tuple[Shop | None, Shop, Shop]
    declared: Mapping[str, Declared] = field(default_factory=dict)
    schemas: Mapping[str, Schema] = field(default_factory=lambda: SCHEMAS)
    kept: dict[str, list[Deviation]] = field(default_factory=dict)
    batch_rows: int = 2
    uniques: Mapping[str, Sequence[tuple[str, ...]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.done = KeyTable(self.schemas)
        base, good, live = self.states
        for name, schema in self.schemas.items():
            found = three_way(
                None if base is None else self._stream(base, name),
                self._stream(good, name),
                self._stream(live, name),
                schema,
                declared_of(self.declared, name),
            )
            pieces = [piece for each in found for piece in relevant(each, schema, is_parted=base is not None)]
            self.kept[name] = [piece for piece in pieces if len(piece.keys)]

    def pieces(self, name: str) -> Iterator[Deviation]:
        return iter(list(self.kept[name]))

    def keep(self, name: str, piece: Deviation) -> None:
        self.kept[name].append(piece)

    def records(self, name: str, *, at_base: bool = False) -> Iterator[Keyed]:
        return self._stream((self.states[0] or {}) if at_base else self.states[1], name)

    def live(self, name: str) -> Iterator[Keyed]:
        return self._stream(self.states[2], name)

    def top(self, name: str) -> int | None:
        top = None
        for state in self.states[1:]:
            for each in self._stream(state or {}, name):
                top = top_of(top, each.batch, self.schemas[name])
        return top

    def _stream(self, state: Shop, name: str) -> Iterator[Keyed]:
        rows = state.get(name, [])
        return stream(self.schemas[name], rows, range(0, len(rows), self.batch_rows))


def undone(
    histories: MemoryHistories, conflict: Conflict | None = None, *, delete: bool = False
) -> tuple[Shop, list[Stop]]:
    """The source after an undo, and what was not put back. No record is written where another is, nor twice."""
    rules = Rules(histories.declared, conflict)
    new = give_keys(histories, NewKeys(histories.schemas))
    keep_alike(histories, rules, histories.schemas)
    stops = stop(histories, rules, new, taken(histories, new, Unlike(histories.uniques, histories.live), rules))
    after: Shop = {}
    stopped: list[Stop] = []
    for name, schema in histories.schemas.items():
        rows = {_key(schema, row, number): row for number, row in enumerate(histories.states[2].get(name, []))}
        settling = Settling(name, schema, rules, new, stops)
        for piece in histories.pieces(name):
            for settled in settling.settle(piece):
                each = settled.difference
                shown = each.wanted if each.wanted is not None else each.actual
                assert shown is not None
                assert len(each.keys) == len(settled.keys) == settled.rows.num_rows == shown.num_rows
                for row in shown.to_pylist():
                    key = _key(schema, row, len(rows))
                    assert (key in rows) == (each.kind != "missing"), "only what is missing is new"
                    if each.kind != "added":
                        rows[key] = row
                    elif delete:
                        del rows[key]
        stopped += settling.stopped
        after[name] = list(rows.values())
    return after, stopped


def _key(schema: Schema, row: Row, number: int) -> object:
    """A key of its own for each record without one."""
    return key_bytes(batch_of(schema, [row]), schema)[0].as_py() if schema.key else number
