"""Records back into a live system: only what was asked for, only if nothing moved, and proven afterwards."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.core.plan import Plan
from holdfast.core.policy import Ruling
from holdfast.core.ports import Applied
from holdfast.core.where import parse_where
from holdfast.errors import TargetChanged, Usage
from holdfast.operations.proof import Proof, prove
from holdfast.operations.restore import Choice, RestoreDone, Target, restore_live, vault_views
from holdfast.operations.scratch import sealed_scratch
from holdfast.vault.view import VaultView
from tests.operations.shop import POLICY, Office, Records, Shop, Table, clicks, digests_of, orders, wanted


@pytest.fixture
def office(tmp_path: Path) -> Office:
    """A captured shop that lost one order, holds another changed, gained one, and lost a click."""
    office = Office(tmp_path, Shop({"orders": orders(*range(8)), "clicks": clicks("home", "home", "cart")}))
    office.capture()
    rows = [*orders(*range(6))[1], *orders(6, 9, note="changed")[1]]
    office.shop.tables = {"orders": (orders()[0], rows), "clicks": clicks("home", "cart")}
    return office


def restored(office: Office, choice: Choice | None = None, at: int | None = None) -> RestoreDone:
    target = Target("shop", office.shop, office.shop)
    choice, vault = choice or Choice(policy=POLICY), office.vault()
    with sealed_scratch(office.folder) as scratch:
        views = vault_views(vault, vault.state(at), choice.collections)
        return restore_live(views, target, choice, scratch, lambda _: None)


def proven(view: VaultView, table: Table | None, folder: Path) -> Proof:
    """The proof of a commit's collection against rows that a live system holds."""
    live = None if table is None else Records(view.name, *table)
    with sealed_scratch(folder) as scratch:
        return prove(view, live, scratch)


def numbers(office: Office) -> list[int]:
    return sorted(row["id"] for row in office.shop.tables["orders"][1])


def test_what_was_lost_comes_back_and_what_came_since_stays(office: Office) -> None:
    """Nothing is deleted unless it is asked for; the proof says that all of the commit is there, and more."""
    done = restored(office)
    assert done.applied == Applied(written=3, already=0)
    assert numbers(office) == [*range(8), 9]
    assert {row["note"] for row in office.shop.tables["orders"][1] if row["id"] != 9} == {""}
    assert done.is_proven
    assert {proof.name: proof.is_equal for proof in done.proofs} == {"orders": False, "clicks": True}


def test_deleting_is_done_only_when_it_is_asked_for(office: Office) -> None:
    """With it the shop is what the commit was, record for record."""
    done = restored(office, Choice(may_delete=True, policy=POLICY))
    assert numbers(office) == list(range(8))
    captured = {"orders": orders(*range(8)), "clicks": clicks("home", "home", "cart")}
    assert wanted(office) == {name: digests_of(table) for name, table in captured.items()}
    assert all(proof.is_equal for proof in done.proofs)


def test_a_plan_that_is_only_shown_writes_nothing(office: Office) -> None:
    """Not even what a crash left in the target is touched."""
    before = wanted(office)
    done = restored(office, Choice(plan_only=True, policy=POLICY))
    assert done.planned is not None
    assert (done.planned.plan.writes, done.planned.plan.deletes) == (3, 0)
    assert not done.is_proven
    assert (wanted(office), office.shop.recovered) == (before, 0)


def test_a_large_change_waits_for_an_approval_of_this_very_plan(office: Office) -> None:
    """More than the policy lets pass is not written; the id of the plan that was shown lets it pass, once."""
    office.shop.tables["orders"] = orders(note="none is left")
    office.shop.tables["clicks"] = clicks()
    before = wanted(office)
    asked = restored(office)
    assert asked.decision.ruling is Ruling.NEEDS_APPROVAL
    assert wanted(office) == before
    assert asked.planned is not None
    approval = asked.planned.plan.id[:8]
    office.shop.tables["clicks"] = clicks("home")
    assert restored(office, Choice(approval=approval, policy=POLICY)).decision.ruling is Ruling.REFUSE
    office.shop.tables["clicks"] = clicks()
    assert restored(office, Choice(approval=approval, policy=POLICY)).is_proven


def test_a_second_restore_finds_nothing_to_do(office: Office) -> None:
    """Running it again after a crash, or for safety, writes nothing."""
    restored(office)
    before = wanted(office)
    again = restored(office)
    assert again.applied == Applied(0, 0)
    assert again.is_proven
    assert wanted(office) == before


def test_a_target_that_moved_between_plan_and_deed_is_left_alone(office: Office) -> None:
    """The shop sold on meanwhile: the deed is refused whole."""

    class Moving(Shop):
        def apply(self, plan: Plan) -> Applied:
            schema, rows = self.tables["orders"]
            self.tables["orders"] = (schema, [row | {"note": "sold on"} if row["id"] == 6 else row for row in rows])
            return super().apply(plan)

    office.shop = Moving(office.shop.tables)
    before = office.shop.tables["clicks"]
    with pytest.raises(TargetChanged):
        restored(office)
    assert numbers(office) == [*range(7), 9]
    assert office.shop.tables["clicks"] == before


def test_a_target_that_loses_what_it_acknowledged_is_not_proven(office: Office) -> None:
    """The proof reads all back: an acknowledgement is none."""
    office.shop.loses = ("orders", 0)
    assert not restored(office).is_proven


def test_as_many_records_are_not_the_same_records(office: Office) -> None:
    """A proof is of every value; equal counts prove nothing."""
    view = office.views()["orders"]
    altered = (orders()[0], [*orders(*range(7))[1], *orders(7, note="altered")[1]])
    proof = proven(view, altered, office.folder)
    assert proof.wanted.rows == proof.found.rows == 8
    assert (proof.is_equal, proof.is_whole) == (False, False)
    assert proof.tally is not None
    assert (proof.tally.changed, proof.tally.equal) == (1, 7)
    assert proven(view, orders(*range(8)), office.folder).is_equal
    assert proven(view, orders(*range(9)), office.folder).is_whole


def test_one_equal_record_less_is_not_the_same(office: Office) -> None:
    """Of two equal clicks one is missing: told, for each counts."""
    view = office.views()["clicks"]
    assert proven(view, clicks("home", "home", "cart"), office.folder).is_equal
    for pages in (["home", "cart"], ["home", "cart", "cart"]):
        assert not proven(view, clicks(*pages), office.folder).is_whole


def test_a_collection_that_is_not_there_is_not_proven(office: Office) -> None:
    """Nothing to compare with counts as all missing."""
    proof = proven(office.views()["orders"], None, office.folder)
    assert not proof.is_whole
    assert proof.tally is not None
    assert proof.tally.missing == 8


def test_only_what_a_condition_names_is_put_back(office: Office) -> None:
    """Others stay as they are, and the proof is of those that were chosen."""
    done = restored(office, Choice(("orders",), parse_where("id = 6"), policy=POLICY))
    assert done.applied == Applied(written=1, already=0)
    assert numbers(office) == [*range(7), 9]
    assert done.is_proven


def test_only_the_collections_named_are_put_back(office: Office) -> None:
    """One collection comes back alone, and the others are not even compared."""
    done = restored(office, Choice(("clicks",), policy=POLICY))
    assert done.applied == Applied(written=1, already=0)
    assert [proof.name for proof in done.proofs] == ["clicks"]
    assert numbers(office) == [*range(7), 9]


def test_an_earlier_commit_can_be_put_back(office: Office) -> None:
    """What is restored is the commit that was asked for, not the newest."""
    office.capture()
    assert restored(office, Choice(may_delete=True, policy=POLICY), at=1).is_proven
    assert numbers(office) == list(range(8))


def test_a_name_that_is_none_is_told_with_the_nearest(office: Office) -> None:
    """A slip of the finger restores nothing and says what there is."""
    vault = office.vault()
    with pytest.raises(Usage, match="no collection 'order'") as raised:
        vault_views(vault, vault.state(), ("order",))
    assert raised.value.hint == "did you mean orders?"


def test_a_table_that_is_gone_is_not_restored_without_its_definition(office: Office) -> None:
    """Its records alone have nowhere to go; the way out is named."""
    del office.shop.tables["clicks"]
    with pytest.raises(Usage, match="shop has no clicks any more") as raised:
        restored(office, Choice(("clicks",), policy=POLICY))
    assert "--to" in str(raised.value.hint)
