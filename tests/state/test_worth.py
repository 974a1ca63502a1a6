"""What records are worth, as it was just before something happened to them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.state.observed import ObservedLedger
from holdfast.state.worth import Value, Worth


@pytest.fixture
def worth(tmp_path: Path) -> Iterator[Worth]:
    with ObservedLedger.open(tmp_path) as ledger:
        yield ledger.worth


def order(cents: int, tenant: str = "ana") -> list[Value]:
    return [Value(b"1", tenant, "EUR", f"[{cents}]")]


def money(worth: Worth, since: int, *, gone: bool) -> list[int]:
    return list(worth.sums(7, since, gone=gone).money.values())


def test_an_amount_from_before_an_earlier_change_counts_in_no_later_sum(worth: Worth) -> None:
    """An order was 100, later 200, and is deleted a month after that: 200 is what is lost."""
    worth.see(7, 10, order(100))
    worth.put(7, 20, order(200))
    assert money(worth, 20, gone=False) == [100]
    worth.gone(7, 30, [b"1"])
    assert money(worth, 30, gone=True) == [200]
    assert money(worth, 15, gone=True) == [100]


def test_a_change_that_leaves_the_amount_alone_does_not_bring_an_older_one_back(worth: Worth) -> None:
    """Only the tenant changed: the money that was touched is the money that is there."""
    worth.see(7, 10, order(100))
    worth.put(7, 20, order(200))
    worth.put(7, 30, order(200, "bo"))
    assert money(worth, 30, gone=False) == [200]


def test_what_came_back_is_not_what_went(worth: Worth) -> None:
    """A number is given out anew: the record that had it before counts in nothing any more."""
    worth.see(7, 10, order(100))
    worth.gone(7, 20, [b"1"])
    worth.put(7, 30, order(300))
    assert money(worth, 30, gone=False) == []
    worth.gone(7, 40, [b"1"])
    assert money(worth, 15, gone=True) == [300]
