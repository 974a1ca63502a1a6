"""The vendor's vendor: the exercise is lost where a write is lost or doubled, or an answer says what is not so.

`docs/guide/16-exercises.md` plays it whole, and is run by the tests of the documents.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from holdfast.errors import Usage
from holdfast.exercises import exercise
from holdfast.exercises.customers import Seen, Source
from holdfast.exercises.frame import Ground
from holdfast.exercises.outcome import Run, Truth, check_reads, check_writes
from holdfast.sample.billing import make_billing, open_billing
from holdfast.sample.books import Books
from holdfast.sample.effects import Effects, Write

COPY, LIVE, QUEUED, REFUSED = Source.COPY, Source.LIVE, Source.QUEUED, Source.REFUSED
CART = "/api/carts/2/items/SKU-007"
PURCHASE = {"customer": 3, "sku": "SKU-001", "quantity": 1}


class Played:
    """An outage that ended well: what customers saw, and a platform that applied all they sent."""

    def __init__(self, folder: Path) -> None:
        self.database = folder / "billing.db"
        make_billing(self.database, orders=30, customers=5)
        self.ground = Ground(folder, 30, 1, lambda _: None)
        with closing(open_billing(self.database)) as connection:
            effects = Effects(connection, once_per_key=False)
            for key in ("p1", "p2"):
                effects.purchase(Write("purchase", key, PURCHASE), 500, "CH")
            for number in (1, 2):
                effects.put_item(self.put(number))
            orders = Books(connection).orders({"page": "1"})
        self.seen = [
            self.saw("view", "/api/orders?page=1", LIVE, 1.0, 200, body=orders),
            self.saw("view", "/api/orders?page=1", COPY, 11.5, 200, body=orders),
            self.saw("stranger", "/api/my/orders", REFUSED, 12.0, 401),
            self.saw("sign-in", "/api/sign-in", REFUSED, 13.0, 503, retry_after="30"),
            self.saw("purchase", "/api/purchases", LIVE, 2.0, 201, key="p1"),
            self.saw("purchase", "/api/purchases", QUEUED, 12.0, 202, key="p2", receipt="R2"),
            self.saw("purchase", "/api/purchases", QUEUED, 12.1, 202, key="p2", receipt="R2"),
            self.saw("cart", "/api/carts/2/items/SKU-007", LIVE, 2.0, 200, key="c1", sent={"quantity": 1}),
            self.saw(
                "cart", "/api/carts/2/items/SKU-007", QUEUED, 12, 202, key="c2", sent={"quantity": 2}, receipt="C"
            ),
        ]
        self.fates = {"R2": "applied", "C": "applied"}

    @staticmethod
    def put(number: int) -> Write:
        return Write("cart-put", f"c{number}", {"customer": 2, "sku": "SKU-007", "quantity": number})

    @staticmethod
    def saw(kind: str, path: str, source: Source, at: float, status: int, **more: Any) -> Seen:
        body = json.dumps(more.pop("body", {})).encode()
        return Seen(kind, path, at, 0.1, status, source, body, **more)

    def apply(self, work: Callable[[Effects], object]) -> None:
        with closing(open_billing(self.database)) as connection:
            work(Effects(connection, once_per_key=False))

    def forget(self, key: str) -> None:
        with closing(open_billing(self.database)) as connection:
            connection.execute("DELETE FROM ledger WHERE key = ?", [key])

    def untrue(self) -> list[str]:
        """The claims that don't hold."""
        run = Run(10.0, 20.0, 10.0, 20.0, 21.0, 22.0, tuple(self.seen), self.fates, opened=11.0)
        truth = Truth(self.database)
        check_reads(self.ground, run, truth)
        check_writes(self.ground, run, truth)
        return [each.text for each in self.ground.claims if not each.holds]


@pytest.fixture
def played(tmp_path: Path) -> Played:
    return Played(tmp_path)


def test_an_outage_in_which_all_went_on_is_won(played: Played) -> None:
    """What the other tests spoil is a win."""
    assert played.untrue() == []


def test_a_purchase_that_was_taken_and_never_applied_loses_it(played: Played) -> None:
    """202 is a promise."""
    played.forget("p2")
    assert played.untrue() == ["the platform's ledger has each of them once: 1 are lost, 0 are there twice"]


def test_a_purchase_that_was_applied_twice_loses_it(played: Played) -> None:
    """Also one of which the customer was told that it failed."""
    played.apply(lambda effects: effects.purchase(Write("purchase", "p2", PURCHASE), 500, "CH"))
    assert played.untrue() == ["the platform's ledger has each of them once: 0 are lost, 1 are there twice"]


def test_a_cart_that_was_changed_out_of_order_loses_it(played: Played) -> None:
    """The last click counts, and not the last that was sent."""
    played.forget("c1")
    played.apply(lambda effects: effects.put_item(Played.put(1)))
    assert played.untrue() == ["every cart holds what its customer put there last, in the order of his clicks"]


def test_an_answer_that_is_not_what_the_books_say_loses_it(played: Played) -> None:
    """However plausible it looks."""
    told = json.loads(played.seen[1].body)
    told["orders"][0]["total"]["amount"] = "0.01"
    played.seen[1] = Played.saw("view", "/api/orders?page=1", COPY, 11.5, 200, body=told)
    assert played.untrue() == ["every view, from the platform or the copy, is what the platform's own books say"]


def test_an_answer_that_came_late_or_failed_loses_it(played: Played) -> None:
    """Two seconds are what is promised, and that no view fails."""
    late = Played.saw("view", "/api/orders?page=1", COPY, 13.5, 200)
    played.seen[1] = Seen(**{**{name: getattr(played.seen[1], name) for name in Seen.__slots__}, "at": late.at})
    played.seen.append(Played.saw("view", "/api/orders/1", REFUSED, 14.0, 503))
    told = played.untrue()
    assert told[:2] == [
        "no view failed, before, during or after: 3 were asked for",
        "the first answer came from the copy 3.5 s after the cache failed",
    ]


def test_a_stranger_who_sees_orders_loses_it(played: Played) -> None:
    """Never wider than before."""
    played.seen[2] = Played.saw("stranger", "/api/my/orders", COPY, 12.0, 200)
    assert played.untrue() == ["who was not signed in saw nobody's orders, with the platform's login away too"]


def test_a_receipt_that_tells_no_fate_loses_it(played: Played) -> None:
    """Each receipt number is answerable at any time."""
    played.fates["C"] = ""
    assert played.untrue() == ["each of 2 receipts tells its fate: applied"]


def test_without_what_it_needs_the_exercise_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Holdfast alone plays the other exercises; this one names what it lacks before it begins."""
    for name in ("vendor_down", "customers", "outcome"):
        monkeypatch.delitem(sys.modules, f"holdfast.exercises.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    with pytest.raises(Usage, match="vendor-down needs aiohttp") as refused:
        exercise("vendor-down")
    assert refused.value.hint == 'pip install "holdfast[outage]"'


@pytest.mark.soak
@pytest.mark.parametrize("seed", [2, 3])
def test_without_redis_a_small_cache_fails_in_its_place(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """The exercise needs nothing that does not come with Holdfast; it is played whole, with other chances."""
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    told: list[str] = []
    done = exercise("vendor-down", seed=seed, tell=told.append)
    assert "no redis-server is installed" in told[0]
    assert [each.text for each in done.claims if not each.holds] == []
