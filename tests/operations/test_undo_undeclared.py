"""Undo where a table names orders by their numbers and the database does not declare it: nothing leads elsewhere in
silence.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.core.declared import Declared
from holdfast.core.policy import Policy
from holdfast.core.records import Column, Schema
from holdfast.errors import Usage
from holdfast.operations.shares import Wish
from tests.core.histories import SCHEMAS
from tests.core.histories import Shop as Rows
from tests.operations.test_undo import BASE, DECLARED, GOOD, LIVE, MANY, Rolled

NOTES = Schema(
    (Column("id", "int"), Column("order_id", "uint"), Column("about", "int"), Column("what", "text")), ("id",)
)
SCANS = Schema((Column("parcel", "int"), Column("what", "text")))


def note(number: int, of: int, about: int = 0, what: str = "called") -> dict[str, object]:
    return {"id": number, "order_id": of, "about": about, "what": what}


def with_notes(rows: Rows, notes: list[dict[str, object]], scans: list[int]) -> Rows:
    return rows | {"notes": notes, "scans": [{"parcel": each, "what": "in"} for each in scans]}


@pytest.fixture
def rolled(tmp_path: Path) -> Rolled:
    """Anna's orders 31 and 32 get new numbers: bela has those by now. Note 3 is of anna's 31, as is bela's own."""
    states = (
        with_notes(BASE, [note(1, 1, 1), note(2, 30, 2)], [3, 7]),
        with_notes(GOOD, [note(1, 1, 1), note(2, 30, 2), note(3, 31, 4), note(4, 40, 5)], [3, 7, 31, 32]),
        with_notes(LIVE, [note(1, 1, 1), note(2, 30, 2), note(3, 31, 4)], [3, 7]),
    )
    found = Rolled(tmp_path, states, {**SCHEMAS, "notes": NOTES, "scans": SCANS})
    found.change("orders", 1, stock=10)  # so that nothing of what both changed waits
    return found


def test_a_column_whose_name_says_that_it_refers_keeps_its_records_waiting_until_that_is_declared(
    rolled: Rolled,
) -> None:
    """They wait by name while all else comes back; once it is declared they lead to what they led to."""
    rolled.office.shop.tables["notes"][1].append(note(5, 2))  # type: ignore[attr-defined]
    del rolled.office.shop.tables["notes"][1][2]  # type: ignore[attr-defined]
    done = rolled.undo()
    assert done.is_proven
    (stopped,) = done.planned.stopped
    assert (stopped.collection, stopped.waits) == ("notes", True)
    assert "order_id names one of orders that gets a new number" in stopped.why
    assert (3,) not in rolled.rows("notes")
    assert (31, 43) in {(int(was), int(new)) for name, was, new in rolled.keys_given() if name == "orders"}
    declared = DECLARED | {"notes": Declared(refers={"order_id": "orders"})}
    assert rolled.undo(declared=declared).is_proven
    assert rolled.rows("notes")[3,]["order_id"] == 43
    assert rolled.rows("notes")[4,]["order_id"] == 40


def test_a_declared_reference_follows_new_numbers_as_a_foreign_key_does(rolled: Rolled) -> None:
    """Also that of a record which both have alike under one number: the source's is bela's, and anna's comes beside."""
    declared = DECLARED | {
        "notes": Declared(refers={"order_id": "orders"}),
        "scans": Declared(refers={"parcel": "orders"}),
    }
    done = rolled.undo(declared=declared)
    assert (done.is_proven, done.planned.stopped, done.planned.suspects) == (True, (), ())
    orders = rolled.rows("orders")
    led = [orders[row["order_id"],]["what"] for row in rolled.rows("notes").values()]
    assert sorted(map(str, led)) == ["anna's", "anna's", "bela's", "old", "old"]
    assert sorted(row["parcel"] for row in rolled.office.shop.tables["scans"][1]) == [3, 7, 43, 44]


def test_a_column_that_only_its_values_let_suspect_is_told_and_comes_back_as_it_was(rolled: Rolled) -> None:
    """A parcel's number is an order's in this shop, and nothing but its values tells; what is declared is not told."""
    declared = DECLARED | {"notes": Declared(refers={"order_id": "orders", "about": ""})}
    done = rolled.undo(Wish(plan_only=True, policy=MANY), declared)
    # Customers 31 and 32 get new numbers too, and a parcel may as well be theirs.
    assert {(each.collection, each.column, each.target, len(each.keys)) for each in done.planned.suspects} == {
        ("scans", "parcel", "orders", 2),
        ("scans", "parcel", "customers", 2),
    }
    done = rolled.undo(Wish(policy=Policy(confirm_above=1_000)), declared)
    assert done.planned.waiting == 0
    assert done.is_proven
    dismissed = rolled.undo(declared=declared | {"scans": Declared(refers={"parcel": ""})})
    assert dismissed.planned.suspects == ()


@pytest.mark.parametrize(
    ("refers", "said"),
    [
        ({"order": "orders"}, "notes has no column order"),
        ({"order_id": "ordres"}, "there is no collection ordres"),
        ({"order_id": "lines"}, "no key of one column"),
        ({"what": "orders"}, "it is text, and the key int"),
    ],
)
def test_a_reference_declared_wrongly_is_refused_before_anything_is_planned(
    rolled: Rolled, refers: dict[str, str], said: str
) -> None:
    """It would let records lead elsewhere in silence."""
    with pytest.raises(Usage, match=said):
        rolled.undo(declared={"notes": Declared(refers=refers)})
