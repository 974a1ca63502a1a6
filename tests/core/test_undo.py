"""What an undo writes: every record of both histories is there once, and every reference leads where it led."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.declared import Conflict, Declared
from holdfast.core.records import Column, Reference, Schema
from holdfast.core.settle import Settling
from holdfast.core.undo import NewKeys, Rules, Stop, Way, stop, way_of
from tests.core.histories import SCHEMAS, MemoryHistories, Shop, undone
from tests.core.shapes import Row

REFERRING: Mapping[str, Mapping[str, str]] = {
    "customers": {"invited_by": "customers"},
    "orders": {"customer": "customers", "invoice": "invoices"},
    "invoices": {"order": "orders"},
    "lines": {"order": "orders"},
    "licences": {},
    "visits": {"customer": "customers"},
    "settings": {},
}
# What is told apart by content in these laws; keys and references are what an undo may change.
CONTENT = ("what", "more", "stock", "name", "line")


def by_id(shop: Shop, name: str) -> dict[Any, Row]:
    key = SCHEMAS[name].key
    return {tuple(row[each] for each in key): row for row in shop.get(name, [])}


KEYED = tuple(name for name, schema in SCHEMAS.items() if schema.key)


class Seen:
    """A shop as somebody sees it who follows references and never looks at a number."""

    def __init__(self, shop: Shop) -> None:
        self._tables = {name: by_id(shop, name) for name in KEYED}
        self._shop = shop

    def told(self, name: str, row: Row, depth: int = 4) -> tuple[Any, ...]:
        content = tuple((column, row[column]) for column in CONTENT if column in row)
        if not depth:
            return content
        led = [
            None if row[column] is None else self.told(target, self._tables[target][(row[column],)], depth - 1)
            for column, target in REFERRING[name].items()
        ]
        if name == "licences":
            led.append(self.told("lines", self._tables["lines"][(row["order"], row["line"])], depth - 1))
        return (*content, *led)

    def all(self) -> dict[str, Counter[tuple[Any, ...]]]:
        return {name: Counter(self.told(name, row) for row in self._shop.get(name, [])) for name in SCHEMAS}


def same_in_both(good: Shop, live: Shop, base: Shop) -> set[tuple[str, Any]]:
    """Records that came in both histories alike, and belong to the same: they are one record."""
    alike = {
        (name, key) for name in KEYED for key, row in by_id(good, name).items() if by_id(live, name).get(key) == row
    }
    old = {(name, key) for name in SCHEMAS if SCHEMAS[name].key for key in by_id(base, name)}
    while True:
        left = {(name, key) for name, key in alike if (name, key) in old or _refers_within(name, key, good, alike, old)}
        if left == alike:
            return alike
        alike = left


def _refers_within(name: str, key: Any, good: Shop, alike: set[tuple[str, Any]], old: set[tuple[str, Any]]) -> bool:
    row = by_id(good, name)[key]
    led = [(target, (row[column],)) for column, target in REFERRING[name].items() if row[column] is not None]
    led += [("lines", (row["order"], row["line"]))] if name == "licences" else []
    return all(each in alike or each in old for each in led)


STEPS = ("customers", "orders", "orders", "invoices", "lines", "lines", "licences", "visits", "change")


def traded(rng: Random, base: Shop, column: str) -> Shop:
    """A shop some steps later. Of what was there before only *column*, and with "what" an order's invoice, change."""
    shop = {name: [dict(row) for row in base.get(name, [])] for name in SCHEMAS}
    old = {name: len(base.get(name, [])) for name in SCHEMAS}
    for kind in rng.choices(STEPS, k=rng.randint(3, 10)):
        row: Row = {"id": max([each["id"] for each in shop[kind]], default=0) + 1} if "id" in _key(kind) else {}
        row |= {"what": rng.choice("ab"), "more": ""}
        if kind == "customers":
            shop[kind].append(row | {"invited_by": rng.choice([None, *(each["id"] for each in shop[kind])])})
        elif kind == "orders" and shop["customers"]:
            customer = rng.choice(shop["customers"][-2:])["id"]
            shop[kind].append(row | {"stock": 0, "customer": customer, "invoice": None})
        elif kind in ("invoices", "lines") and shop["orders"]:
            order = rng.choice(shop["orders"][old["orders"] :] or shop["orders"])
            is_own = order["id"] > old["orders"]
            if kind == "invoices" and order["invoice"] is None and (column == "what" or is_own):
                shop[kind].append(row | {"order": order["id"]})
                order["invoice"] = row["id"]
            elif kind == "lines" and is_own:
                line = sum(each["order"] == order["id"] for each in shop[kind]) + 1
                shop[kind].append(row | {"order": order["id"], "line": line})
        elif kind == "licences" and shop["lines"]:
            line_row = rng.choice(shop["lines"])
            shop[kind].append({"id": row["id"], "order": line_row["order"], "line": line_row["line"]})
        elif kind == "visits" and shop["customers"]:
            shop[kind].append({"what": column + row["what"], "customer": rng.choice(shop["customers"])["id"]})
        elif kind == "change" and old["customers"]:
            shop["customers"][rng.randrange(old["customers"])][column] = column + row["what"]
    return shop


def _key(name: str) -> tuple[str, ...]:
    return SCHEMAS[name].key if name in SCHEMAS else ()


def histories(seed: int) -> tuple[Shop, Shop, Shop]:
    """A shop, and two ways in which it traded on."""
    rng = Random(seed)
    base = traded(rng, {}, "what")
    return base, traded(rng, base, "what"), traded(rng, base, "more")


@given(st.integers(0, 1 << 32), st.integers(1, 5))
def test_every_record_of_both_histories_is_there_once_and_refers_to_what_it_did(seed: int, batch_rows: int) -> None:
    """Told by a reader who follows references and knows no numbers: the union of both, and what is one counts once."""
    base, good, live = states = histories(seed)
    after, stopped = undone(MemoryHistories(states, batch_rows=batch_rows))
    one = same_in_both(good, live, base)
    stuck = stuck_in(base, good, live, one)
    assert Counter(each.collection for each in stopped) == Counter(name for name, _ in stuck)
    wanted = Seen(merged(base, good, live, one)).all()
    assert Seen(after).all() == wanted
    for name in KEYED:
        came = [row for key, row in by_id(live, name).items() if key not in by_id(base, name)]
        assert all(row in after[name] for row in came), "what came since stays as it is"


def stuck_in(base: Shop, good: Shop, live: Shop, one: set[tuple[str, Any]]) -> set[tuple[str, Any]]:
    """Lines of one order under one number in both histories, and what belongs to them: a person must look at those."""
    lines = {
        ("lines", key)
        for key, row in by_id(good, "lines").items()
        if ("orders", key[:1]) in one and by_id(live, "lines").get(key, row) != row and key not in by_id(base, "lines")
    }
    own = [(key, row) for key, row in by_id(good, "licences").items() if ("licences", key) not in one]
    return lines | {("licences", key) for key, row in own if ("lines", (row["order"], row["line"])) in lines}


def merged(base: Shop, good: Shop, live: Shop, one: set[tuple[str, Any]]) -> Shop:
    """What should be there: numbers of the vault's own records are moved far away from those of the source."""
    stuck = stuck_in(base, good, live, one)
    far = {
        (name, key): (key[0] + 1000,)
        for name in KEYED
        for key in by_id(good, name)
        if name != "lines" and (name, key) not in one and key not in by_id(base, name)
    }
    far |= {
        ("lines", key): (far[parent][0], key[1])
        for key in by_id(good, "lines")
        if (parent := ("orders", key[:1])) in far and key not in by_id(base, "lines")
    }

    def moved(name: str, row: Row) -> Row:
        row = dict(row)
        if SCHEMAS[name].key:
            own = far.get((name, tuple(row[each] for each in SCHEMAS[name].key)))
            row |= dict(zip(SCHEMAS[name].key, own, strict=True)) if own else {}
        for column, target in REFERRING[name].items():
            if column not in SCHEMAS[name].key and (target, (row[column],)) in far:
                row[column] = far[target, (row[column],)][0]
        if name == "licences" and ("lines", (row["order"], row["line"])) in far:
            row["order"], row["line"] = far["lines", (row["order"], row["line"])]
        return row

    shop: Shop = {}
    for name, schema in SCHEMAS.items():
        if not schema.key:
            shop[name] = base[name] + [moved(name, row) for row in good[name][len(base[name]) :]]
            shop[name] += live[name][len(base[name]) :]
            continue
        rows = dict(by_id(live, name))
        for key, row in by_id(good, name).items():
            if key in by_id(base, name):
                was, mine, theirs = by_id(base, name)[key], moved(name, row), rows[key]
                rows[key] = {each: mine[each] if mine[each] != was[each] else theirs[each] for each in schema.names}
            elif (name, key) not in one | stuck:
                rows[far.get((name, key), key)] = moved(name, row)
        shop[name] = list(rows.values())
    return shop


ANNA = {"id": 1, "what": "anna", "more": "", "invited_by": None}
ORDER = {"id": 1, "what": "tea", "more": "", "stock": 10, "customer": 1, "invoice": None}


def of(stops: list[Stop]) -> list[tuple[str, str, bool]]:
    return [(each.collection, each.why, each.waits) for each in stops]


def test_columns_that_one_side_changed_come_from_that_side_and_numbers_add_up() -> None:
    """Stock that both sold from loses what both sold; a text that only the vault changed comes back."""
    base: Shop = {"customers": [ANNA], "orders": [ORDER]}
    good: Shop = {"customers": [ANNA], "orders": [ORDER | {"what": "coffee", "stock": 8}]}
    live: Shop = {"customers": [ANNA], "orders": [ORDER | {"more": "call", "stock": 7}]}
    declared = {"orders": Declared(add=("stock",))}
    after, stopped = undone(MemoryHistories((base, good, live), declared))
    assert not stopped
    assert after["orders"] == [ORDER | {"what": "coffee", "more": "call", "stock": 5}]


def test_a_number_that_both_moved_by_as_much_moves_twice() -> None:
    """Both sold one of ten: eight are left, whether nothing else or something else differs. A change is no sum."""
    base: Shop = {"customers": [ANNA], "orders": [ORDER | {"id": number} for number in (1, 2, 3)]}
    sold = [ORDER | {"id": 1, "stock": 9}, ORDER | {"id": 2, "stock": 9}, ORDER | {"id": 3, "stock": 9, "what": "new"}]
    good: Shop = {"customers": [ANNA], "orders": [sold[0], sold[1] | {"what": "coffee"}, sold[2]]}
    live: Shop = {"customers": [ANNA], "orders": sold}
    after, stopped = undone(MemoryHistories((base, good, live), {"orders": Declared(add=("stock",))}))
    assert not stopped
    assert [(row["what"], row["stock"]) for row in after["orders"]] == [("tea", 8), ("coffee", 8), ("new", 9)]
    assert undone(MemoryHistories((base, live, live)))[0] == undone(MemoryHistories((None, live, live)))[0]


@pytest.mark.parametrize(
    ("conflict", "what", "told"),
    [
        (None, "milk", [("orders", "both changed what", True)]),
        (Conflict.LIVE, "milk", []),
        (Conflict.VAULT, "coffee", []),
    ],
)
def test_a_column_that_both_changed_waits_for_a_person_or_his_rule(
    conflict: Conflict | None, what: str, told: list[tuple[str, str, bool]]
) -> None:
    """Undecided, the record stays as the source has it, and is named with the column."""
    states: list[Shop] = [
        {"customers": [ANNA], "orders": [ORDER | {"what": each}]} for each in ("tea", "coffee", "milk")
    ]
    after, stopped = undone(MemoryHistories((states[0], states[1], states[2])), conflict)
    assert after["orders"] == [ORDER | {"what": what}]
    assert of(stopped) == told


@pytest.mark.parametrize(
    ("conflict", "customers", "waits"), [(None, 0, True), (Conflict.LIVE, 0, False), (Conflict.VAULT, 1, False)]
)
def test_what_refers_to_a_record_that_the_source_deleted_waits_with_it(
    conflict: Conflict | None, customers: int, waits: bool
) -> None:
    """A customer who was forgotten since does not come back for a lost order, unless somebody decides so."""
    base: Shop = {"customers": [ANNA]}
    good: Shop = {"customers": [ANNA], "orders": [ORDER], "lines": [{"order": 1, "line": 1, "what": "", "more": ""}]}
    after, stopped = undone(MemoryHistories((base, good, {})), conflict)
    assert [len(after[name]) for name in ("customers", "orders", "lines")] == [customers] * 3
    why = "it refers to a record of customers that is not put back"
    lines = "it refers to a record of orders that is not put back"
    assert of(stopped) == ([] if customers else [("orders", why, waits), ("lines", lines, waits)])


def test_a_record_that_the_vault_changed_and_the_source_deleted_waits() -> None:
    """Neither side's will is known: it is restored only if the vault decides."""
    states: tuple[Shop, Shop, Shop] = ({"customers": [ANNA]}, {"customers": [ANNA | {"more": "new"}]}, {})
    after, stopped = undone(MemoryHistories(states))
    assert not after["customers"]
    assert of(stopped) == [("customers", "the vault has a later version, and the source deleted it since", True)]
    assert undone(MemoryHistories(states), Conflict.VAULT) == (after | {"customers": states[1]["customers"]}, [])


def test_a_key_that_is_no_number_waits_also_where_the_vault_decides() -> None:
    """Two settings that came under one name can't both be there, and the later one is not overwritten."""
    good: Shop = {"settings": [{"name": "seal", "what": "wax"}]}
    live: Shop = {"settings": [{"name": "seal", "what": "ink"}]}
    after, stopped = undone(MemoryHistories(({}, good, live)))
    assert (after["settings"], [each.waits for each in stopped]) == (live["settings"], [True])
    after, stopped = undone(MemoryHistories(({}, good, live)), Conflict.LIVE)
    assert (after["settings"], [each.waits for each in stopped]) == (live["settings"], [False])
    after, stopped = undone(MemoryHistories(({}, good, live)), Conflict.VAULT)
    assert (after["settings"], [each.waits for each in stopped]) == (live["settings"], [True])


def test_what_was_deleted_before_and_is_back_stays_unless_deleting_is_asked_for() -> None:
    """A customer who asked to be forgotten, in the vault's history, reappears with a rollback."""
    states: tuple[Shop, Shop, Shop] = ({"customers": [ANNA]}, {}, {"customers": [ANNA]})
    assert undone(MemoryHistories(states))[0]["customers"] == [ANNA]
    assert undone(MemoryHistories(states), delete=True)[0]["customers"] == []


def test_who_got_the_number_of_one_who_was_forgotten_comes_back_beside_him_and_keeps_her_orders() -> None:
    """Set back, the source has Anna again, who orders at once; Eve had her number by then, as the vault tells."""
    anna, eve = ANNA | {"more": "2026-03-01 09:00"}, ANNA | {"what": "eve", "more": "2026-03-04 10:00"}
    old, other = ORDER | {"more": "2026-03-04 10:01"}, ORDER | {"what": "milk", "more": "2026-03-06 09:00"}
    states: tuple[Shop, Shop, Shop] = (
        {"customers": [anna]},
        {"customers": [eve], "orders": [old]},
        {"customers": [anna], "orders": [other]},
    )
    declared = {name: Declared(created="more") for name in ("customers", "orders")}
    after, stopped = undone(MemoryHistories(states, declared), Conflict.VAULT)
    assert not stopped
    assert after["customers"] == [anna, eve | {"id": 2}]
    assert after["orders"] == [other, old | {"id": 2, "customer": 2}]


def test_without_a_parting_all_that_is_missing_is_lost_and_nothing_else_changes() -> None:
    """A mass deletion by hand: no record is taken for one that the source was right to delete."""
    good: Shop = {"customers": [ANNA, ANNA | {"id": 2}], "orders": [ORDER]}
    live: Shop = {"customers": [ANNA | {"what": "Anna"}]}
    after, stopped = undone(MemoryHistories((None, good, live)))
    assert not stopped
    assert (after["customers"], after["orders"]) == ([ANNA | {"what": "Anna"}, ANNA | {"id": 2}], [ORDER])


def test_an_old_record_that_both_lead_to_another_under_one_number_waits() -> None:
    """The order was there before; each history gave it an invoice of its own under the same number."""
    invoice = {"id": 7, "what": "old", "more": "", "order": 1}
    base: Shop = {"customers": [ANNA], "orders": [ORDER]}
    good: Shop = {"customers": [ANNA], "orders": [ORDER | {"invoice": 7}], "invoices": [invoice]}
    live: Shop = {"customers": [ANNA], "orders": [ORDER | {"invoice": 7}], "invoices": [invoice | {"what": "new"}]}
    after, stopped = undone(MemoryHistories((base, good, live)))
    assert [each["id"] for each in after["invoices"]] == [7, 8]
    assert of(stopped) == [("orders", "both changed invoice", True)]
    assert undone(MemoryHistories((base, good, live)), Conflict.VAULT)[0]["orders"][0]["invoice"] == 8


def test_records_without_a_key_are_told_apart_by_their_references() -> None:
    """The visit of a customer who got a new number is another visit than the equal one that the source has."""
    visits = [{"what": "/tea", "customer": 1}] * 2
    good: Shop = {"customers": [ANNA], "visits": visits}
    live: Shop = {"customers": [ANNA | {"what": "bela"}], "visits": visits[:1]}
    after, _ = undone(MemoryHistories(({}, good, live)))
    assert Counter(each["customer"] for each in after["visits"]) == {1: 1, 2: 2}


def test_of_equal_records_without_a_key_as_many_come_back_as_came_and_leave_no_gap() -> None:
    """Two visits, of which the source deleted one; the vault saw a third. It comes back as the second."""
    shops = [{"customers": [ANNA], "visits": [{"what": "/tea", "customer": 1}] * count} for count in (2, 3, 1)]
    histories = MemoryHistories((shops[0], shops[1], shops[2]))
    rules, new = Rules({}), NewKeys(SCHEMAS)
    settling = Settling("visits", SCHEMAS["visits"], rules, new, stop(histories, rules, new))
    settled = [each for piece in histories.pieces("visits") for each in settling.settle(piece)]
    numbers = [key[32:] for each in settled for key in each.difference.keys.to_pylist()]
    assert numbers == [bytes([0, 0, 0, 1])]


def test_what_must_be_unique_and_is_anothers_by_now_waits_with_what_belongs_to_it() -> None:
    """Both histories gave away one code. Whether the vault or a person decides: there can't be two."""
    base: Shop = {"customers": [ANNA | {"id": 9, "what": "old"}]}
    lost = [ANNA | {"id": 10, "what": "code"}, ANNA | {"id": 11, "what": "own"}]
    good: Shop = {"customers": [ANNA | {"id": 9, "what": "freed"}, *lost], "orders": [ORDER | {"customer": 10}]}
    live: Shop = {"customers": [*base["customers"], ANNA | {"id": 12, "what": "code"}, ANNA | {"id": 13, "what": "x"}]}
    histories = (base, good, live)
    for conflict, waits in ((None, True), (Conflict.VAULT, True), (Conflict.LIVE, False)):
        after, stopped = undone(MemoryHistories(histories, uniques={"customers": [("id",), ("what",)]}), conflict)
        assert [each["what"] for each in after["customers"]] == ["freed", "code", "x", "own"]
        assert after["orders"] == []
        assert [(each.collection, each.waits) for each in stopped] == [("customers", waits), ("orders", waits)]
    # A value that its holder gives up by the same undo is free.
    moved: Shop = {"customers": [ANNA | {"id": 9, "what": "freed"}, ANNA | {"id": 10, "what": "old"}]}
    after, stopped = undone(MemoryHistories((base, moved, base), uniques={"customers": [("what",)]}))
    assert (after["customers"], stopped) == (moved["customers"], [])


def test_a_unique_value_that_another_has_waits_also_where_both_changed_the_record() -> None:
    """The vault gave it a code, the source changed its text, and gave the code to another."""
    base: Shop = {"customers": [ANNA, ANNA | {"id": 2, "what": "b"}]}
    good: Shop = {"customers": [ANNA | {"what": "code"}, ANNA | {"id": 2, "what": "b"}]}
    live: Shop = {"customers": [ANNA | {"more": "called"}, ANNA | {"id": 2, "what": "code"}]}
    after, stopped = undone(MemoryHistories((base, good, live), uniques={"customers": [("what",)]}))
    assert after["customers"] == live["customers"]
    assert of(stopped) == [("customers", "another record of the source has its what", True)]


NUMBERED = {
    "orders": Schema((Column("id", "int"), Column("number", "text"), Column("what", "text")), ("id",)),
    "lines": Schema(
        (Column("id", "int"), Column("number", "text"), Column("what", "text")),
        ("id",),
        (Reference(("number",), "orders", ("number",)),),
    ),
}


@pytest.mark.parametrize("uniques", [{"orders": [("number",)]}, {}])
@pytest.mark.parametrize("conflict", [None, Conflict.VAULT])
def test_a_line_waits_with_its_order_also_where_it_names_it_by_another_column_than_its_key(
    uniques: Mapping[str, list[tuple[str, ...]]], conflict: Conflict | None
) -> None:
    """Both histories gave away one order number. Anna's line does not go to the order that has the number by now."""
    old = {"id": 1, "number": "N-1", "what": "old"}
    anna: Shop = {
        "orders": [old, {"id": 2, "number": "N-2", "what": "anna"}, {"id": 3, "number": "N-3", "what": "carl"}],
        "lines": [{"id": at, "number": of, "what": of} for at, of in ((1, "N-2"), (2, "N-2"), (3, "N-3"))],
    }
    zoe: Shop = {
        "orders": [old, {"id": 2, "number": "N-2", "what": "zoe"}],
        "lines": [{"id": 1, "number": "N-2", "what": "zoe's"}],
    }
    states = ({"orders": [old]}, anna, zoe)
    after, stopped = undone(MemoryHistories(states, schemas=NUMBERED, uniques=uniques), conflict)
    assert [(each.collection, each.waits) for each in stopped] == [("orders", True), ("lines", True), ("lines", True)]
    assert after == {"orders": [*zoe["orders"], anna["orders"][2]], "lines": [*zoe["lines"], anna["lines"][2]]}


def test_how_a_record_gets_a_new_key_follows_from_its_key() -> None:
    """One number, or what it refers to; else none."""
    ways = {name: way_of(schema) for name, schema in SCHEMAS.items()}
    assert {name for name, way in ways.items() if way is Way.NUMBER} == {"customers", "orders", "invoices", "licences"}
    assert {name for name, way in ways.items() if way is Way.FOLLOW} == {"lines"}
    pair = Schema((Column("shop", "int"), Column("id", "int")), key=("shop", "id"))
    assert way_of(pair) is ways["settings"] is Way.NONE
