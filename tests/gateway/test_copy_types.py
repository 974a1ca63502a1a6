"""Values of every type in the copy: as they are shown, compared and ordered."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from decimal import Decimal
from typing import Any

import pytest

from holdfast.core.canonical import decode, tagged_value
from holdfast.core.literals import render
from holdfast.core.lookups import By, Index, Need, Select
from holdfast.core.records import MIXED, TYPES, Column, Schema
from holdfast.core.stored import COMPARED, Stored, asked
from holdfast.core.where import matches, parse_where
from holdfast.operations.copy import Copier, Wishes
from holdfast.state.copies import CopyReader, CopyWriter, Moment, copy_key
from holdfast.vault.states import State
from tests.core.shapes import batch_of
from tests.operations.shop import Office, Shop

HIGH, LOW = (1 << 63) - 1, -(1 << 63)
DAYS = 86_400_000_000
EDGES: dict[str, list[Any]] = {
    "bool": [True, False],
    "int": [0, 1, -1, 10, 9, HIGH, LOW],
    "uint": [0, 1, HIGH, HIGH + 1, (1 << 64) - 1, 10, 9],
    "float": [0.0, -0.0, 0.1, -1.5, 1e308, 5e-324, math.inf, -math.inf, math.nan],
    "float32": [0.0, 0.10000000149011612, -1.5, math.inf, math.nan],
    "decimal": ["0", "-0.00", "1.5", "1.50", "10", "9", "-2", "-10", "1E+400", "1e-400", "NaN", "-Infinity"],
    "text": ["", "a", "A", "B", "ä", "z\x00y", "😀", "￿", "10", "9", "a'b", "%_"],
    "rawtext": [b"", b"\xff"],
    "bytes": [b"", b"\x00", b"ab"],
    "date": [0, -1, 20_000, -(1 << 31)],
    "time": [0, DAYS - 1, 3_600_000_001],
    "timestamp": [0, -1, 1_772_000_000_000_001, LOW, HIGH],
    "timestamptz": [0, -1, 1_772_000_000_000_000, LOW, HIGH],
    "uuid": [bytes(16), b"\xff" * 16, bytes(range(16))],
    "json": ['{"a": 1}', "null"],
    "source": ["(1,2)", ""],
    MIXED: [tagged_value(*each) for each in (("int", 5), ("float", 0.5), ("text", "x"), ("bytes", b"\x01"))],
}
COUNT = 1 + max(map(len, EDGES.values()))
SCHEMA = Schema((Column("id", "int"), *(Column(f"c_{name}", name) for name in [*TYPES, MIXED])), key=("id",))
ROWS: list[dict[str, Any]] = [
    {"id": number} | {f"c_{name}": values[number] if number < len(values) else None for name, values in EDGES.items()}
    for number in range(COUNT)
]


@pytest.fixture(scope="module")
def moment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moment]:
    """The copy of a collection with a column of each type, holding its limits and NULL."""
    office = Office(tmp_path_factory.mktemp("office"), Shop({"all": (SCHEMA, ROWS)}))
    office.capture()
    vault, key, folder = office.vault(), copy_key(), office.folder / "gateway"

    def states(names: Collection[str]) -> tuple[State, bool]:
        return vault.state(collections=names), True

    indexes: dict[Index, None] = {((f"c_{name}", False),): None for name in sorted(COMPARED)}
    need = Need(dict.fromkeys(SCHEMA.names), {f"c_{name}": None for name in COMPARED}, indexes, is_versioned=True)
    Copier(vault, states, Wishes({}, {"all": need}), CopyWriter(folder, key)).refresh()
    with CopyReader(folder, key).moment() as found:
        assert found is not None
        yield found


def ids(moment: Moment, column: str, op: str, value: Stored) -> set[Stored]:
    """The records for which a comparison holds."""
    return {row[0] for row in moment.find(Select("all", ("id",), ((column, op),)), (value,), COUNT)}


@pytest.mark.parametrize("kind", sorted(COMPARED))
def test_a_comparison_in_the_copy_is_the_same_as_in_the_vault(moment: Moment, kind: str) -> None:
    """Every value of a column against every other, by each operator, NULL among them."""
    batch, column = batch_of(SCHEMA, ROWS), f"c_{kind}"
    tried = 0
    for value in EDGES[kind]:
        text = render(tagged_value(kind, value), type_name=kind)
        plain = text.replace("''", "'")[1:-1] if text.startswith("'") else text
        try:
            wanted = asked(kind, plain)
        except (ValueError, OverflowError):
            continue
        for op in ("=", "!=", "<", "<=", ">", ">="):
            mask = matches(batch, parse_where(f"{column} {op} '{plain.replace(chr(39), chr(39) * 2)}'"), SCHEMA)
            expected = {row["id"] for row, holds in zip(ROWS, mask.to_pylist(), strict=True) if holds}
            assert ids(moment, column, op, wanted) == expected, (value, op)
            tried += 1
    assert tried >= 12


@pytest.mark.parametrize("kind", sorted(COMPARED))
@pytest.mark.parametrize("is_descending", [False, True])
@pytest.mark.parametrize("nulls_last", [False, True])
def test_an_order_goes_on_after_any_record(moment: Moment, kind: str, is_descending: bool, nulls_last: bool) -> None:
    """By the values of the type, NULL where it is wanted; from each record on come exactly those after it."""
    column = f"c_{kind}"
    order = (By(column, is_descending, nulls_last), By("holdfast:key"))
    every = [row[0] for row in moment.find(Select("all", ("id",), order=order), (), COUNT)]
    assert every == sorted(every, key=lambda number: _place(kind, ROWS[number], is_descending, nulls_last))  # type: ignore[index,arg-type]
    for at, number in enumerate(every):
        here = Select("all", (column, "holdfast:key"), (("id", "="),), as_compared=True)
        (last,) = moment.find(here, (number,), 2)
        after = Select("all", ("id",), order=order, after=tuple(value is None for value in last))
        assert [row[0] for row in moment.find(after, last, COUNT)] == every[at + 1 :]


def _place(kind: str, row: dict[str, Any], is_descending: bool, nulls_last: bool) -> tuple[Any, ...]:
    value = row[f"c_{kind}"]
    if value is None:
        return (nulls_last, 0, row["id"])
    if kind == "decimal":
        value = Decimal(value)
        value = float("inf") if value.is_nan() else Decimal("1e500") if value == Decimal("inf") else value
    elif kind in ("float", "float32") and math.isnan(value):
        value = (1, 0.0)
    elif kind in ("float", "float32"):
        value = (0, value)
    elif kind in ("text", "source"):
        value = value.encode()
    return (not nulls_last, _Turned(value) if is_descending else value, row["id"])


class _Turned:
    """A value that is less where it was greater."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __lt__(self, other: _Turned) -> bool:
        return bool(other.value < self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Turned) and bool(self.value == other.value)

    def __hash__(self) -> int:
        return hash(self.value)


def test_every_value_comes_back(moment: Moment) -> None:
    """What the vault holds can be made again from what the copy holds; a digest tells every record from the others."""
    found = moment.find(Select("all", SCHEMA.names, order=(By("id"),)), (), COUNT)
    for row, wanted in zip(found, ROWS, strict=True):
        for column, value in zip(SCHEMA.columns, row, strict=True):
            assert repr(value) == repr(_stored(column.type, wanted[column.name]))
    digests = [moment.digest("all", ("id",), (number,)) for number in range(COUNT)]
    assert len({digest for each in digests for digest in each}) == COUNT


def _stored(kind: str, value: Any) -> Stored:
    if kind == MIXED:
        return None if value is None else decode(value)[1]  # type: ignore[no-any-return]
    if kind == "uint" and value is not None and value > HIGH:
        return f"{value:020d}"
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    return int(value) if isinstance(value, bool) else value  # type: ignore[no-any-return]
