"""Plans: applied to a target that checks every reference at once, they reach what is wanted, once and safely."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.compare import Difference, compare
from holdfast.core.order import reference_order
from holdfast.core.plan import CollectionDifferences, Op, Plan, make_plan
from holdfast.core.records import Collection, Column, Reference, Schema
from holdfast.errors import TargetChanged, Unsupported
from tests.core.fakes import MemoryTarget, ReferenceBroken
from tests.core.shapes import Row, batch_of, held, stream
from tests.drawn import drawn

Rows = dict[str, list[dict[str, Any]]]


def collection(name: str, *links: str, nullable: bool = True) -> Collection:
    """A collection with `id`, `note` and a reference to each of `links`, in a column of that name."""
    declared = "INTEGER" if nullable else "INTEGER NOT NULL"
    columns = (Column("id", "int"), Column("note", "text"), *(Column(link, "int", declared) for link in links))
    return Collection(name, Schema(columns, ("id",), tuple(Reference((link,), link, ("id",)) for link in links)))


# A shop with a strict line of parents, a record that refers to itself, and two collections that refer to each other.
SHOP = [
    collection("lines", "orders", "customers", nullable=False),
    collection("orders", "customers", nullable=False),
    collection("customers", "customers", "partners"),
    collection("partners", "customers"),
]
STRICT = {("lines", "orders"), ("lines", "customers"), ("orders", "customers")}


@st.composite
def shops(draw: st.DrawFn) -> Rows:
    """Records in which every reference leads to a record."""
    ids = {each.name: draw(st.sets(st.integers(0, 4))) for each in SHOP}
    ids["orders"] = ids["orders"] if ids["customers"] else set()
    ids["lines"] = ids["lines"] if ids["orders"] else set()
    rows: Rows = {}
    for each in SHOP:
        links = [reference.target for reference in each.schema.references]
        choices = {
            link: (st.nothing() if (each.name, link) in STRICT else st.none())
            | (st.sampled_from(sorted(ids[link])) if ids[link] else st.nothing())
            for link in links
        }
        rows[each.name] = [
            {"id": number, "note": draw(st.sampled_from("ab"))} | {link: draw(choices[link]) for link in links}
            for number in sorted(ids[each.name])
        ]
    return rows


def plan_for(
    target: MemoryTarget, wanted: Mapping[str, Sequence[Row]], *, deletes: bool = True, can_defer: bool = False
) -> Plan:
    """The plan that brings the target to the wanted records."""

    def differences(name: str) -> Iterator[Difference]:
        schema = target.schemas[name]
        return compare(stream(schema, wanted.get(name, ()), [2]), target.read(name), schema)

    sources = [
        CollectionDifferences(Collection(name, schema), partial(differences, name))
        for name, schema in target.schemas.items()
    ]
    return make_plan("memory:shop", sources, deletes=deletes, can_defer=can_defer)


def state(target: MemoryTarget) -> dict[str, dict[bytes, bytes]]:
    return {name: held(schema, list(target.records[name].values())) for name, schema in target.schemas.items()}


@drawn(40, 2_000)
@given(shops(), shops(), st.booleans())
def test_a_plan_reaches_what_is_wanted_and_a_second_run_writes_nothing(
    before: Rows, wanted: Rows, can_defer: bool
) -> None:
    """Whatever the references, cycles among them, no step breaks one, and running the plan again changes nothing."""
    target = MemoryTarget(SHOP, before, checks_at_end=can_defer)
    goal = state(MemoryTarget(SHOP, wanted))
    counts = _counts(state(target), goal)
    plan = _frozen(plan_for(target, wanted, can_defer=can_defer))
    assert {each.collection.name: (each.inserts, each.updates, each.deletes) for each in plan.collections} == counts
    applied = target.apply(plan)
    assert state(target) == goal
    assert applied.already == 0
    assert applied.written >= plan.writes
    again = target.apply(plan)
    assert (again.written, again.already) == (0, applied.written)
    assert state(target) == goal


@drawn(40, 2_000)
@given(shops(), shops(), st.booleans())
def test_without_deleting_added_records_stay(before: Rows, wanted: Rows, can_defer: bool) -> None:
    """Every wanted record is put back, every other one is left as it is, and the plan says how many those are."""
    target = MemoryTarget(SHOP, before, checks_at_end=can_defer)
    first, goal = state(target), state(MemoryTarget(SHOP, wanted))
    plan = plan_for(target, wanted, deletes=False, can_defer=can_defer)
    target.apply(_frozen(plan))
    assert state(target) == {name: first[name] | goal[name] for name in first}
    assert plan.deletes == 0
    assert sum(each.kept for each in plan.collections) == sum(len(set(first[name]) - set(goal[name])) for name in first)


@drawn(40, 2_000)
@given(shops(), shops(), shops(), st.booleans())
def test_a_plan_is_refused_whole_when_the_target_changed(
    before: Rows, wanted: Rows, meanwhile: Rows, can_defer: bool
) -> None:
    """If a record is neither what the plan expects nor what it wants, nothing at all is written."""
    target = MemoryTarget(SHOP, before, checks_at_end=can_defer)
    plan = _frozen(plan_for(target, wanted, can_defer=can_defer))
    first, goal, other = state(target), state(MemoryTarget(SHOP, wanted)), state(MemoryTarget(SHOP, meanwhile))
    touched = [(name, key) for name in first for key in first[name] | goal[name]]
    is_changed = any(
        first[name].get(key) != goal[name].get(key)
        and other[name].get(key) not in (first[name].get(key), goal[name].get(key))
        for name, key in touched
    )
    changed = MemoryTarget(SHOP, meanwhile, checks_at_end=can_defer)
    if is_changed:
        with pytest.raises((TargetChanged, ReferenceBroken)):
            changed.apply(plan)
        assert state(changed) == other


def test_reading_a_plan_over_another_state_ends_in_refusal() -> None:
    """Records that turn up between the plan and the deed were in no plan anyone saw, so nothing is written."""
    target = MemoryTarget(SHOP, {"customers": [{"id": 1}]})
    plan = plan_for(target, {"customers": [{"id": 2}]})
    late = {"id": 3, "note": None, "customers": None, "partners": None}
    target.records["customers"] |= MemoryTarget(SHOP, {"customers": [late]}).records["customers"]
    before = state(target)
    with pytest.raises(TargetChanged, match="changed meanwhile"):
        target.apply(plan)
    assert state(target) == before


@drawn(40, 2_000)
@given(shops(), shops(), st.lists(st.integers(1, 5)))
def test_the_id_is_that_of_the_steps_and_not_of_their_batches(before: Rows, wanted: Rows, cuts: list[int]) -> None:
    """The same change has the same id however it was read, and another change has another."""

    def identity(target: str, goal: Rows, places: list[int]) -> str:
        sources = []
        for each in SHOP:

            def read(each: Collection = each) -> Iterator[Difference]:
                sides = [stream(each.schema, rows.get(each.name, ()), places) for rows in (goal, before)]
                return compare(sides[0], sides[1], each.schema)

            sources.append(CollectionDifferences(each, read))
        return make_plan(target, sources, deletes=True, can_defer=False).id

    first = identity("shop", wanted, [])
    assert identity("shop", wanted, cuts) == first
    assert identity("other", wanted, cuts) != first
    more = dict(wanted) | {"partners": [*wanted["partners"], {"id": 9}]}
    assert identity("shop", more, cuts) != first


def test_deletes_come_first_and_parents_before_children() -> None:
    """For a target that checks at the end, a unique value is free again before another record takes it."""
    target = MemoryTarget(SHOP, {"customers": [{"id": 1}], "orders": [{"id": 1, "customers": 1}]}, checks_at_end=True)
    plan = plan_for(
        target, {"customers": [{"id": 2}], "orders": [{"id": 2, "customers": 2}]}, deletes=True, can_defer=True
    )
    assert [(each.op, each.collection) for each in plan.steps()] == [
        (Op.DELETE, "orders"),
        (Op.DELETE, "customers"),
        (Op.INSERT, "customers"),
        (Op.INSERT, "orders"),
    ]


def test_a_cycle_is_inserted_in_two_phases() -> None:
    """First without the reference, with the digest of that record; then the reference, expecting that digest."""
    target = MemoryTarget(SHOP, {})
    wanted = {"customers": [{"id": 1, "partners": 7}], "partners": [{"id": 7, "customers": 1}]}
    steps = [each for each in plan_for(target, wanted).steps() if each.collection == "partners"]
    assert [each.op for each in steps] == [Op.INSERT, Op.UPDATE]
    first, second = steps
    assert first.rows.column("customers").to_pylist() == [None]
    assert first.expected.to_pylist() == [None]
    assert first.wanted.equals(second.expected)
    assert first.final is not None
    assert first.final.equals(second.wanted)
    assert second.rows.equals(batch_of(SHOP[3].schema, wanted["partners"]))


def test_a_cycle_without_a_nullable_column_is_refused_by_name() -> None:
    """If the target checks at once and no column can wait, the plan says which collections, before any write."""
    knot = [collection("eggs", "hens", nullable=False), collection("hens", "eggs", nullable=False)]
    target = MemoryTarget(knot, {}, checks_at_end=True)
    wanted = {"eggs": [{"id": 1, "hens": 1}], "hens": [{"id": 1, "eggs": 1}]}
    with pytest.raises(Unsupported, match=r"eggs and hens|hens and eggs"):
        plan_for(target, wanted)
    target.apply(plan_for(target, wanted, can_defer=True))
    assert state(target) == state(MemoryTarget(knot, wanted))


def test_records_without_a_key_are_inserted_and_deleted_only() -> None:
    """Changing a record of a multiset is taking one away and putting another in."""
    logs = [Collection("logs", Schema((Column("x", "int"),)))]
    target = MemoryTarget(logs, {"logs": [{"x": 1}, {"x": 1}, {"x": 2}]})
    wanted = {"logs": [{"x": 1}, {"x": 3}]}
    plan = plan_for(target, wanted)
    assert {each.op for each in plan.steps()} == {Op.INSERT, Op.DELETE}
    target.apply(plan)
    assert state(target) == state(MemoryTarget(logs, wanted))


def test_nothing_to_do_is_a_plan_without_steps() -> None:
    """An equal target gives an empty plan, with an id all the same."""
    plan = plan_for(MemoryTarget(SHOP, {}), {})
    assert list(plan.steps()) == []
    assert plan.writes == 0
    assert len(plan.id) == 64


def _frozen(plan: Plan) -> Plan:
    """The plan with the steps it has now: a fake target in memory changes under a plan that reads it live."""
    steps = list(plan.steps())
    return Plan(plan.id, plan.target, plan.collections, lambda: iter(steps))


def _counts(
    before: Mapping[str, Mapping[bytes, bytes]], goal: Mapping[str, Mapping[bytes, bytes]]
) -> dict[str, tuple[int, int, int]]:
    counts = {}
    for name in before:
        new, gone = set(goal[name]) - set(before[name]), set(before[name]) - set(goal[name])
        changed = [key for key in set(goal[name]) & set(before[name]) if goal[name][key] != before[name][key]]
        counts[name] = (len(new), len(changed), len(gone))
    return counts


def _positions(names: Sequence[str]) -> dict[str, int]:
    return {name: place for place, name in enumerate(names)}


@given(st.data())
def test_parents_come_before_children_and_cycles_are_opened(data: st.DataObject) -> None:
    """Every reference that is not deferred leads to an earlier collection, whatever order the collections come in."""
    names = "abcdef"
    collections = []
    for name in names:
        links = data.draw(st.lists(st.sampled_from(names), max_size=3, unique=True))
        collections.append(collection(name, *links, nullable=data.draw(st.booleans())))
    order = reference_order(collections)
    assert reference_order(data.draw(st.permutations(collections))) == order
    assert sorted(order.names) == list(names)
    place = _positions(order.names)
    stuck = {name for cycle in order.cycles if not cycle.is_breakable for name in cycle.collections}
    for each in collections:
        for reference in each.schema.references:
            is_deferred = set(reference.columns) <= set(order.deferred(each.name))
            if not is_deferred and not {each.name, reference.target} <= stuck:
                assert place[reference.target] < place[each.name]
        assert not set(order.deferred(each.name)) & set(each.schema.key)
    assert all(order.deferred(name) == () for name in set(names) - {n for c in order.cycles for n in c.collections})


def test_references_out_of_the_given_collections_are_ignored() -> None:
    """A restore of one collection has an order too."""
    assert reference_order([collection("orders", "customers")]).names == ("orders",)
