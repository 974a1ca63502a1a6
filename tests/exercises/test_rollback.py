"""Exercises whose command line is tried in tests/scenarios: here on shops where both histories meet in odd ways."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from holdfast.begin import Wishes
from holdfast.exercises import exercise
from holdfast.exercises.frame import Ground, protect
from holdfast.exercises.rollback import name_losses
from holdfast.operations.shares import Wish
from holdfast.sample.declarations import DECLARATIONS
from holdfast.sample.rollback import RolledBackShop, read_states
from holdfast.sample.truth import States, Table, Truth, tables_of


def failed(name: str, seed: int) -> list[str]:
    done = exercise(name, orders=200, seed=seed)
    assert done.claims
    return [each.text for each in done.claims if not each.holds]


def test_a_customer_who_was_forgotten_and_ordered_again_stays() -> None:
    """In this shop one was deleted before the rollback, came back with it, and has ordered since: undo leaves him."""
    assert failed("rollback", seed=3) == []


def test_a_backup_of_a_moment_that_no_copy_has_brings_no_wrong_number(tmp_path: Path) -> None:
    """The shop traded between the last capture and the backup. None too many or few are named lost; and what of stock
    can't be counted from a known number waits, and is never added up from a guess.
    """
    ground = Ground(tmp_path, 200, 2, lambda _: None)
    shop = RolledBackShop(ground.shop, tmp_path / "backup.db", orders=200, seed=2, is_quiet=False)
    vault = protect(ground, ("me=site",), dict(DECLARATIONS), Wishes(safe_owners=1))
    vault.capture()
    for _ in shop.first_hours():
        vault.capture()
    shop.roll_back()
    shop.trade_on()
    truth, second = Truth(shop.states(), tables_of(ground.shop), DECLARATIONS), read_states(ground.shop)["products"]
    name_losses(ground, vault, truth)
    assert [each.text for each in ground.claims if not each.holds] == []
    assert len(ground.claims) == 3
    done = vault.undo(Wish())
    wanted, found = truth.together({})["products"], read_states(ground.shop)["products"]
    is_waiting = {key for key in wanted if found[key] != wanted[key]}
    assert {key for key in is_waiting if found[key] != second[key]} == set()
    assert 0 < len(is_waiting) <= done.planned.waiting


def test_the_truth_is_worked_out_as_a_person_would() -> None:
    """Both histories of a small table: new ones of both, one changed in each, one in both, one deleted in each."""
    table = Table(("id", "stock", "name"), ("id",), ())
    rows = {number: (number, 10, "as it was") for number in range(1, 7)}
    first = rows | {1: (1, 7, "as it was"), 2: (2, 10, "first"), 7: (7, 1, "new in the first")}
    second = rows | {1: (1, 8, "as it was"), 3: (3, 10, "second"), 7: (7, 2, "new in the second")}
    del first[4], second[5]
    states = States(*({"goods": {(number,): row for number, row in each.items()}} for each in (rows, first, second)))
    truth = Truth(states, {"goods": table}, {"goods": DECLARATIONS["products"]})
    assert (truth.lost("goods"), truth.reused("goods")) == ({(7,)}, {(7,)})
    assert truth.set_back("goods") == {(1,), (2,)}
    assert truth.since("goods") == {(4,)}
    together = truth.together({"goods": {(7,): (8,)}})["goods"]
    names = Counter(str(row[2]) for row in together.values())
    assert together[1,] == (1, 5, "as it was")
    assert together[8,] == (8, 1, "new in the first")
    assert together.keys() == {(number,) for number in (1, 2, 3, 6, 7, 8)}
    assert names == {"as it was": 2, "first": 1, "second": 1, "new in the first": 1, "new in the second": 1}
