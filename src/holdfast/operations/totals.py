"""Losses in numbers: by collection, by tenant and by day, with the sums of money of what is lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.plain import rows_of
from holdfast.core.records import Schema
from holdfast.core.threeway import Deviation, Fate
from holdfast.operations.belonging import Belonging, Side
from holdfast.operations.lost import CollectionLosses

__all__ = ["MISSING", "Sum", "Totals", "lost_totals"]

MISSING = (Fate.LOST, Fate.REUSED)  # what the vault has of these the source has not at all
_ROWS = 131_072
Money = int | Decimal


@dataclass(slots=True)
class Sum:
    """Records by fate, and the money of those that are missing: by column and currency (`orders.total_cents EUR`)."""

    fates: Counter[Fate] = field(default_factory=Counter)
    money: dict[str, Money] = field(default_factory=dict)

    @property
    def missing(self) -> int:
        """How many records the vault has and the source has not at all."""
        return sum(self.fates[fate] for fate in MISSING)

    def to_json(self) -> dict[str, Any]:
        """As JSON can hold it: sums that are no whole numbers as text."""
        money = {name: int(each) if each == int(each) else str(each) for name, each in sorted(self.money.items())}
        return {"records": {fate.value: self.fates[fate] for fate in Fate if self.fates[fate]}, "missing": money}


@dataclass(slots=True)
class Totals:
    """Sums by collection, by tenant and by day; "" is the tenant, or the day, of records of which it can't be told."""

    collections: dict[str, Sum] = field(default_factory=dict)
    tenants: dict[str, Sum] = field(default_factory=dict)
    days: dict[str, Sum] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The same as JSON."""
        return {
            "collections": {name: each.to_json() for name, each in self.collections.items()},
            "tenants": {name: each.to_json() for name, each in sorted(self.tenants.items())},
            "days": {name: each.to_json() for name, each in sorted(self.days.items())},
        }


def lost_totals(losses: Iterable[CollectionLosses], belonging: Belonging) -> Totals:
    """Count every record that has a fate, once."""
    totals = Totals()
    for each in losses:
        whole = totals.collections.setdefault(each.name, Sum())
        for some in _chunks(each.deviations()):
            _add(totals, whole, each, some, belonging)
    return totals


def _chunks(deviations: Iterable[Deviation]) -> Iterator[list[Deviation]]:
    """Deviations of one fate after the other, so many that what they refer to is looked up in few readings."""
    held: dict[Fate, list[Deviation]] = {}
    rows: Counter[Fate] = Counter()
    for each in deviations:
        held.setdefault(each.fate, []).append(each)
        rows[each.fate] += len(each.keys)
        if rows[each.fate] >= _ROWS:
            yield held.pop(each.fate)
            rows[each.fate] = 0
    yield from held.values()


def _add(totals: Totals, whole: Sum, losses: CollectionLosses, some: list[Deviation], belonging: Belonging) -> None:
    fate, side = some[0].fate, "live" if some[0].good is None else "good"
    rows = pa.concat_batches([each.live if each.good is None else each.good for each in some])
    count = rows.num_rows
    tenants = belonging.tenants(losses.name, rows, _side(side))
    days = belonging.days(losses.name, rows, _side(side))
    whole.fates[fate] += count
    groups = ((totals.tenants, tenants), (totals.days, days))
    for sums, names in groups:
        for name, number in _counts(names).items():
            sums.setdefault(name, Sum()).fates[fate] += number
    if fate not in MISSING:
        return
    for column in losses.declared.money:
        if losses.schema.column(column) is None:
            continue
        amounts = _amounts(rows, losses.schema, column)
        labels = _labels(rows, losses, column)
        everything = pa.repeat(pa.scalar(""), count)
        for sums, names in (*groups, ({"": whole}, everything)):
            for (name, label), money in _sums(names, labels, amounts).items():
                found = sums[name].money
                found[label] = found.get(label, 0) + money


def _side(side: str) -> Side:
    return "live" if side == "live" else "good"


def _counts(names: pa.Array) -> dict[str, int]:
    return {each["values"] or "": each["counts"] for each in pc.value_counts(names).to_pylist()}


def _labels(rows: pa.RecordBatch, losses: CollectionLosses, column: str) -> pa.Array:
    """What the sum of a column is called, record by record: with the currency, if one is declared."""
    name, currency = f"{losses.name}.{column}", losses.declared.currency
    if not currency or losses.schema.column(currency) is None:
        return pa.repeat(pa.scalar(name), rows.num_rows)
    values = rows.column(currency)
    values = values.cast(pa.string()) if not pa.types.is_binary(values.type) else pa.nulls(rows.num_rows, pa.string())
    return pc.binary_join_element_wise(name, pc.fill_null(values, "?"), " ")


def _amounts(rows: pa.RecordBatch, schema: Schema, column: str) -> list[Money]:
    """The amounts, exactly; what is no number counts nothing."""
    kind = schema.column(column)
    assert kind is not None
    narrow = Schema((kind,))
    return [_money(row[column]) for row in rows_of(rows.select([column]), narrow)]


def _money(value: Any) -> Money:
    if isinstance(value, bool) or value is None:
        return 0
    if isinstance(value, int):
        return value
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        return 0
    return found if found.is_finite() else 0


def _sums(names: pa.Array, labels: pa.Array, amounts: list[Money]) -> dict[tuple[str, str], Money]:
    found: dict[tuple[str, str], Money] = {}
    for name, label, amount in zip(names.to_pylist(), labels.to_pylist(), amounts, strict=True):
        key = name or "", label
        found[key] = found.get(key, 0) + amount
    return found
