"""Undo, from two histories in a vault and a source to records that are back, once, whatever happens on the way."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.core.declared import Conflict, Declared
from holdfast.core.plan import Plan
from holdfast.core.policy import Policy, Ruling
from holdfast.core.ports import Applied
from holdfast.core.records import Schema
from holdfast.core.threeway import Fate
from holdfast.errors import Refused, TargetChanged, Usage
from holdfast.operations.deeds import parting_from, put_back_before
from holdfast.operations.lost import NEVER_PARTED, Question, find_losses
from holdfast.operations.newkeys import new_keys
from holdfast.operations.scratch import sealed_scratch
from holdfast.operations.shares import Wish
from holdfast.operations.target import Target
from holdfast.operations.tenants import Turns
from holdfast.operations.undo import UndoDone, carry_out, plan_undo
from holdfast.state.undone import Undone
from tests.core.histories import SCHEMAS
from tests.core.histories import Shop as Rows
from tests.operations.shop import Office, Shop, Stopped

MANY = Policy(confirm_above=1_000)
DECLARED = {"orders": Declared(add=("stock",)), "customers": Declared()}


def customer(number: int, what: str = "old", **more: object) -> dict[str, object]:
    return {"id": number, "what": what, "more": "", "invited_by": None, **more}


def order(number: int, of: int, what: str = "old", **more: object) -> dict[str, object]:
    return {"id": number, "what": what, "more": "", "stock": 10, "customer": of, "invoice": None, **more}


def line(of: int, number: int, what: str = "tea") -> dict[str, object]:
    return {"order": of, "line": number, "what": what, "more": ""}


BASE: Rows = {
    "customers": [customer(number) for number in range(1, 31)],
    "orders": [order(number, number) for number in range(1, 31)],
    "lines": [line(number, 1) for number in range(1, 31)],
}
# The vault saw twelve more orders, and two old ones move on; the source, set back, sold to others under their numbers.
GOOD: Rows = {
    "customers": [*BASE["customers"], *(customer(number, "anna") for number in range(31, 43))],
    "orders": [
        order(1, 1, stock=8),
        *(order(number, number, more="paid") for number in (2, 3)),
        *(order(number, number) for number in range(4, 31)),
        *(order(number, number, "anna's") for number in range(31, 43)),
    ],
    "lines": [*BASE["lines"], *(line(number, 1) for number in range(31, 43))],
}
LIVE: Rows = {
    "customers": [*BASE["customers"], customer(31, "bela"), customer(32, "bela")],
    "orders": [
        order(1, 1, stock=7),
        *(order(number, number) for number in range(2, 31)),
        *(order(number, number, "bela's") for number in (31, 32)),
    ],
    "lines": [*BASE["lines"], line(31, 1), line(32, 1), line(32, 2)],
}


class Rolled:
    """A shop that was kept, went on, was kept again, was set back and traded on; and its host."""

    def __init__(
        self,
        folder: Path,
        states: tuple[Rows, Rows, Rows] = (BASE, GOOD, LIVE),
        schemas: Mapping[str, Schema] = SCHEMAS,
    ) -> None:
        self.schemas = schemas
        base, good, live = states
        self.office = Office(folder, self.shop(base))
        self.office.capture()
        self.office.shop.tables = self.shop(good).tables
        self.office.capture()
        self.office.shop.tables = self.shop(live).tables
        self.writer: Callable[[Plan], Applied] | None = None

    def shop(self, rows: Rows) -> Shop:
        return Shop({name: (schema, copy.deepcopy(rows.get(name, []))) for name, schema in self.schemas.items()})

    def rows(self, name: str) -> dict[object, Mapping[str, object]]:
        schema, rows = self.office.shop.tables[name]
        return {tuple(row[key] for key in schema.key): row for row in rows}

    def change(self, name: str, number: int, **values: object) -> None:
        for row in self.office.shop.tables[name][1]:
            if row["id"] == number:
                row.update(values)

    def undo(
        self,
        wish: Wish | None = None,
        declared: Mapping[str, Declared] = DECLARED,
        said: Callable[[Question], Question] = lambda asked: asked,
    ) -> UndoDone:
        vault, folder, shop = self.office.vault(), self.office.folder, self.office.shop
        target = Target("shop", shop, Carried(shop, self.writer) if self.writer else shop)
        question = said(Question(vault.state(), declared=declared))
        wish = wish or Wish(policy=MANY)
        with sealed_scratch(folder) as scratch, Undone(folder) as undone:
            planned = plan_undo(vault, target, (question, wish), (undone, scratch), lambda _: None)
            return carry_out(vault, target, planned, (wish, undone, scratch), lambda _: None)

    def keys_given(self) -> list[tuple[str, str, str]]:
        with Undone(self.office.folder) as undone:
            good = self.office.vault().state().signed.sha256
            deeds = [deed for deed in undone.deeds("shop", good) if deed.is_done]
            return [tuple(each) for deed in deeds for each in new_keys(undone.records(deed), SCHEMAS)]  # type: ignore[misc]


class Carried(Shop):
    """The shop's writer with something in the way."""

    def __init__(self, shop: Shop, way: Callable[[Plan], Applied]) -> None:
        self.shop, self.way = shop, way

    def apply(self, plan: Plan) -> Applied:
        return self.way(plan)


@pytest.fixture
def rolled(tmp_path: Path) -> Rolled:
    return Rolled(tmp_path)


def assert_both_histories(rolled: Rolled) -> None:
    orders, customers, lines = (rolled.rows(name) for name in ("orders", "customers", "lines"))
    assert sorted(row["what"] for row in orders.values()) == ["anna's"] * 12 + ["bela's"] * 2 + ["old"] * 30
    assert len(customers) == 44
    for key, row in orders.items():
        owner = customers[row["customer"],]["what"]
        assert row["what"] == {"old": "old"}.get(str(owner), f"{owner}'s")
        assert (key[0], 1) in lines  # type: ignore[index]
    assert len(lines) == 45
    assert (orders[1,]["stock"], orders[2,]["more"]) == (5, "paid")


def test_orders_of_both_histories_are_there_and_proven_and_what_got_a_new_number_is_told(rolled: Rolled) -> None:
    """Twelve orders come back, two of them under new numbers, their lines and customers with them."""
    done = rolled.undo()
    assert done.is_proven
    assert not done.planned.stopped
    assert_both_histories(rolled)
    given = rolled.keys_given()
    assert [each for each in given if each[0] == "orders"] == [("orders", "31", "43"), ("orders", "32", "44")]
    assert ("lines", "order=31,line=1", "order=43,line=1") in given


def test_stock_that_both_sold_one_of_loses_two_though_nothing_differs(rolled: Rolled) -> None:
    """Ten, and eight in both: six are left, proven, and still after a second undo."""
    rolled.change("orders", 1, stock=8)
    assert rolled.undo().is_proven
    assert rolled.rows("orders")[1,]["stock"] == 6
    rolled.undo()
    assert rolled.rows("orders")[1,]["stock"] == 6


def test_run_again_an_undo_finds_nothing_to_do(rolled: Rolled) -> None:
    """Not even where the shop has changed or deleted since what was put back."""
    rolled.undo()
    rolled.change("orders", 1, stock=4)
    rolled.change("orders", 43, what="shipped")
    del rolled.office.shop.tables["lines"][1][-1]  # type: ignore[attr-defined]
    before = copy.deepcopy(rolled.office.shop.tables)
    done = rolled.undo()
    assert (done.planned.writes, done.planned.stopped) == (0, ())
    assert (done.is_proven, done.is_sound) == (False, True)
    assert rolled.office.shop.tables == before


def test_what_is_still_lost_after_an_undo_is_told_and_what_is_back_is_not(rolled: Rolled) -> None:
    """Where histories parted is known from the undo: what it put back would hide it."""
    rolled.change("orders", 2, more="refunded")
    rolled.undo()
    vault, shop = rolled.office.vault(), rolled.office.shop
    question = Question(vault.state(), declared=DECLARED)
    with sealed_scratch(rolled.office.folder) as scratch, Undone(rolled.office.folder) as undone:
        with shop.snapshot() as snapshot:
            back = put_back_before(undone, ("shop", question.good.signed.sha256), snapshot, scratch)
            known = replace(question, parting=parting_from(back.partings[0], vault), back=back.done)
            losses = find_losses(vault, known, snapshot, scratch)
        found = {each.name: {fate: count for fate, count in each.tally.items() if count} for each in losses.collections}
    assert found["orders"] == {Fate.BOTH: 1, Fate.CREATED: 2}
    assert [each.name for each in losses.collections if not each.is_nothing] == ["orders"]


def test_where_nothing_tells_when_a_source_was_set_back_a_person_must_say(rolled: Rolled) -> None:
    """A finding says that it was: what is missing is not taken for lost since, as after a deletion."""
    schema, rows = rolled.office.shop.tables["orders"]
    rolled.office.shop.tables = rolled.shop(GOOD).tables | {"orders": (schema, rows[4:30])}
    vault, folder = rolled.office.vault(), rolled.office.folder
    question = Question(vault.state(), declared=DECLARED, is_set_back=True)
    target = Target("shop", rolled.office.shop, rolled.office.shop)
    with sealed_scratch(folder) as scratch, Undone(folder) as undone:
        kept = undone, scratch
        with pytest.raises(Usage, match="do not tell when"):
            plan_undo(vault, target, (question, Wish()), kept, lambda _: None)
        told = replace(question, since=vault.state(1))
        assert plan_undo(vault, target, (told, Wish()), kept, lambda _: None).losses.parting.is_told


def test_a_wrong_word_on_when_it_was_set_back_is_not_believed_for_ever(rolled: Rolled) -> None:
    """It was never set back, but lost old and new orders: who said so and was wrong is asked, and says it better."""
    gone = (*range(4, 14), 40, 41)
    kept = {"orders": [row for row in GOOD["orders"] if row["id"] not in gone]}
    kept["lines"] = [row for row in GOOD["lines"] if row["order"] not in gone]
    rolled.office.shop.tables = rolled.shop(GOOD | kept).tables
    done = rolled.undo(said=lambda asked: replace(asked, since=rolled.office.vault().state(1)))
    assert (done.written, done.is_proven) == (4, True)
    with pytest.raises(Usage, match="more is missing"):
        rolled.undo()
    assert rolled.undo(said=lambda asked: replace(asked, parting=NEVER_PARTED)).written == 20
    assert rolled.rows("orders") == {(row["id"],): row for row in GOOD["orders"]}
    assert rolled.undo().planned.writes == 0, "and with nothing missing there is nothing to ask"


def test_who_knows_that_a_source_was_never_set_back_gets_all_that_is_gone(rolled: Rolled) -> None:
    """A database made anew, and empty: a finding says that it was set back, and no record can say when."""
    rolled.office.shop.tables = rolled.shop({}).tables
    with pytest.raises(Usage, match="do not tell when"):
        rolled.undo(said=lambda asked: replace(asked, is_set_back=True))
    assert rolled.undo(said=lambda asked: replace(asked, is_set_back=True, parting=NEVER_PARTED)).is_proven
    assert rolled.rows("orders") == {(row["id"],): row for row in GOOD["orders"]}


def test_run_again_an_undo_that_failed_its_proof_is_not_proven_until_the_source_is_as_it_should_be(
    rolled: Rolled,
) -> None:
    """Nothing is written the second time, and what was missing still is; a person puts it there, and it is proven."""
    rolled.office.shop.loses = "orders", 40
    (schema, _), good = rolled.office.shop.tables["orders"], None
    assert not rolled.undo().is_proven
    rolled.office.shop.loses = None
    again = rolled.undo()
    assert (again.planned.writes, again.is_proven, again.is_sound) == (0, False, False)
    good = next(row for row in GOOD["orders"] if (row["id"],) not in rolled.rows("orders"))
    rolled.office.shop.tables["orders"] = schema, [*rolled.office.shop.tables["orders"][1], good]
    assert rolled.undo().is_proven


def test_an_undo_beside_a_shop_that_trades_is_proven_by_its_own_records(rolled: Rolled) -> None:
    """An order came while the undo wrote: the next one finds its own there. One that is gone again is another thing."""

    def trades(plan: Plan) -> Applied:
        applied = rolled.office.shop.apply(plan)
        rolled.office.shop.tables["orders"][1].append(order(900, 1, "new"))
        return applied

    rolled.writer = trades
    assert rolled.undo().differs == ("orders",)
    rolled.writer = None
    again = rolled.undo()
    assert (again.planned.writes, again.is_proven, again.is_by_record) == (0, True, True)


def test_an_undo_that_died_before_its_proof_is_proven_by_the_next_if_nothing_changed(rolled: Rolled) -> None:
    """The power goes right after the deed: the source is held against what it should be when it is read again."""

    def dies(plan: Plan) -> Applied:
        rolled.office.shop.apply(plan)
        raise Stopped

    rolled.writer = dies
    with pytest.raises(Stopped):
        rolled.undo()
    rolled.writer = None
    done = rolled.undo()
    assert (done.planned.writes, done.is_proven) == (0, True)


def test_a_source_that_is_set_back_once_more_gets_its_records_back_once_more(rolled: Rolled) -> None:
    """What was put back before counts for nothing then; a plan alone forgets nothing of it."""
    first = rolled.undo()
    then = rolled.office.shop.tables
    rolled.office.shop.tables = rolled.shop(LIVE).tables
    shown = rolled.undo(Wish(plan_only=True, policy=MANY))
    assert shown.planned.writes == first.planned.writes
    back, rolled.office.shop.tables = rolled.office.shop.tables, then
    assert rolled.undo().planned.writes == 0
    rolled.office.shop.tables = back
    assert rolled.undo().is_proven
    assert_both_histories(rolled)


def test_what_was_put_back_alone_and_deleted_since_waits(rolled: Rolled) -> None:
    """Somebody deleted it, or the source was set back: a person says which, and neither is taken for granted."""
    rolled.change("orders", 2, more="refunded")
    rolled.undo()
    assert rolled.undo(Wish(conflict=Conflict.VAULT, policy=MANY)).written == 1
    rolled.change("orders", 2, more="refunded")
    again = rolled.undo()
    assert [(each.why, each.waits) for each in again.planned.stopped] == [
        ("it was put back, and is as it was before that again", True)
    ]
    assert again.planned.writes == 0
    assert rolled.undo(Wish(conflict=Conflict.LIVE, policy=MANY)).planned.stopped == ()
    assert rolled.undo(Wish(conflict=Conflict.VAULT, policy=MANY)).written == 1
    assert rolled.rows("orders")[2,]["more"] == "paid"


@pytest.mark.parametrize("conflict", [None, Conflict.LIVE, Conflict.VAULT])
def test_an_undo_that_died_and_of_which_nothing_can_be_told_waits(rolled: Rolled, conflict: Conflict | None) -> None:
    """Trade changed all that it was to write: it may have been written before that, or never."""
    live = copy.deepcopy(GOOD)
    live["orders"][0]["stock"] = 10  # type: ignore[index]
    live["orders"][1]["more"] = ""  # type: ignore[index]
    rolled.office.shop.tables = rolled.shop(live).tables

    def dies(_: Plan) -> Applied:
        raise Stopped

    rolled.writer = dies
    with pytest.raises(Stopped):
        rolled.undo()
    rolled.writer = None
    rolled.change("orders", 1, stock=9)
    rolled.change("orders", 2, what="called")
    done = rolled.undo(Wish(conflict=conflict, policy=MANY))
    assert done.planned.waiting == (2 if conflict is None else 0)
    orders = rolled.rows("orders")
    assert (orders[1,]["stock"], orders[2,]["more"]) == ((8, "paid") if conflict is Conflict.VAULT else (9, ""))


@pytest.mark.parametrize("is_applied", [True, False])
def test_an_undo_that_died_in_the_deed_is_told_by_the_source(rolled: Rolled, is_applied: bool) -> None:
    """The power goes just before or just after the records are written: nothing comes back twice, and all once."""

    def dies(plan: Plan) -> Applied:
        if is_applied:
            rolled.office.shop.apply(plan)
        raise Stopped

    rolled.writer = dies
    with pytest.raises(Stopped):
        rolled.undo()
    rolled.writer = None
    # A person mends one of the records by hand, and trade goes on.
    rolled.change("orders", 2, what="called")
    rolled.change("orders", 1, stock=4 if is_applied else 6)
    done = rolled.undo()
    assert (done.planned.writes == 0) == is_applied
    assert done.is_proven != is_applied  # what was written was read only after it had been changed
    rolled.change("orders", 1, stock=5)
    rolled.change("orders", 2, what="old")
    assert_both_histories(rolled)
    assert len([each for each in rolled.keys_given() if each[0] == "orders"]) == 2


def test_a_source_that_moved_is_not_written_to_and_the_next_plan_goes_on(rolled: Rolled) -> None:
    """An order under a number that the plan was to give: the plan is refused, and a new one numbers past it."""

    def moved(plan: Plan) -> Applied:
        rolled.office.shop.tables["orders"][1].append(order(43, 1, "new"))  # type: ignore[attr-defined]
        return rolled.office.shop.apply(plan)

    rolled.writer = moved
    with pytest.raises(TargetChanged):
        rolled.undo()
    rolled.writer = None
    assert rolled.undo().is_proven
    assert [new for name, _, new in rolled.keys_given() if name == "orders"] == ["44", "45"]


@pytest.mark.parametrize(("name", "place"), [("orders", 5), ("orders", 40), ("lines", 31)])
def test_an_undo_that_lost_a_record_is_not_proven(rolled: Rolled, name: str, place: int) -> None:
    """Whether it was there before or was just put back: the source is read again, and does not hold it."""
    rolled.office.shop.loses = name, place
    done = rolled.undo()
    assert (done.is_proven, done.differs) == (False, (name,))


def test_a_plan_is_shown_and_needs_approval_as_a_restore_does(rolled: Rolled) -> None:
    """Above the policy's number, or where others must allow it, nothing is written without."""
    few = Policy(confirm_above=10)
    before = copy.deepcopy(rolled.office.shop.tables)
    shown = rolled.undo(Wish(plan_only=True, policy=few))
    asked = rolled.undo(Wish(policy=few))
    assert shown.planned.id == asked.planned.id
    assert asked.decision.ruling is Ruling.NEEDS_APPROVAL
    wrong = rolled.undo(Wish(policy=few, approval="0" * 64))
    assert wrong.decision.ruling is Ruling.REFUSE
    assert rolled.undo(Wish(policy=few, is_granted=lambda _: False)).decision.ruling is Ruling.NEEDS_APPROVAL
    assert rolled.office.shop.tables == before
    assert rolled.undo(Wish(policy=few, approval=asked.planned.id)).is_proven


def test_what_waits_is_decided_later_and_nothing_else_is_written_again(rolled: Rolled) -> None:
    """A text that both changed waits; by then the shop has sold on from what was put back."""
    rolled.change("orders", 2, more="refunded")
    done = rolled.undo()
    assert [(each.why, each.waits) for each in done.planned.stopped] == [("both changed more", True)]
    assert done.is_proven
    rolled.change("orders", 1, stock=4)
    assert rolled.undo(Wish(conflict=Conflict.VAULT, policy=MANY)).written == 1
    assert (rolled.rows("orders")[2,]["more"], rolled.rows("orders")[1,]["stock"]) == ("paid", 4)


def test_a_writer_that_refuses_leaves_nothing_behind(rolled: Rolled) -> None:
    """What was not written is not taken for put back."""

    def refuses(plan: Plan) -> Applied:
        raise Refused(f"no plan of {plan.writes} records today")

    rolled.writer = refuses
    with pytest.raises(Refused):
        rolled.undo()
    rolled.writer = None
    rolled.undo()
    assert_both_histories(rolled)


def test_tenants_get_their_records_one_after_the_other_and_each_is_read_back(rolled: Rolled) -> None:
    """In the order asked for; what belongs to a record is its tenant's; one alone leaves the others' for later."""
    declared = {"orders": Declared(tenant="customer")}
    one = rolled.undo(Wish(Turns(only=("40",)), policy=MANY), declared)
    assert [share.tenant for share in one.planned.shares if share.plan.writes] == ["40"]
    assert (one.written, one.planned.left_out > 0, one.is_proven) == (3, True, True)
    rest = rolled.undo(Wish(Turns(order="largest", listed=("42", "41")), policy=MANY), declared)
    turns = [tenant for tenant, _ in rest.seconds]
    assert turns[:2] == ["42", "41"]
    assert len(turns) == len(set(turns))
    assert rest.is_proven
    rolled.change("orders", 1, stock=5)
    assert_both_histories(rolled)
