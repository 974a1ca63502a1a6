"""The sample platform is something real to stand before: what it answers it holds, and its ledger tells the truth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import HTTPConnection, RemoteDisconnected
from pathlib import Path
from typing import Any

import pytest

from holdfast.sample.billing import ledger, make_billing, password_of
from holdfast.sample.processes import Server, started


def ask(server: Server, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    """Status and JSON of an answer. Underscores in names of headers stand for hyphens."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        sent = None if body is None else json.dumps(body)
        connection.request(method, path, sent, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        data = answer.read()
        return answer.status, json.loads(data) if data else None
    finally:
        connection.close()


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    """The platform without a vendor, which applies a write as often as it comes."""
    path = tmp_path_factory.mktemp("platform") / "billing.db"
    make_billing(path, orders=60, customers=5)
    with started("platform", "--database", path) as server:
        yield server, path


def test_lists_are_filtered_sorted_and_paged(platform: tuple[Server, Path]) -> None:
    """Pages together are the list; an unknown parameter or number is refused."""
    server, _ = platform
    pages = [ask(server, "GET", f"/api/orders?status=paid&sort=-total&per_page=7&page={n}")[1] for n in range(1, 9)]
    rows = [row for page in pages for row in page["orders"]]
    amounts = [float(row["total"]["amount"]) for row in rows]
    assert amounts == sorted(amounts, reverse=True)
    assert len({row["id"] for row in rows}) == len(rows) == pages[0]["total"] > 7
    assert {row["status"] for row in rows} == {"paid"}
    assert ask(server, "GET", "/api/orders?unheard=1")[0] == 400
    assert ask(server, "GET", "/api/orders/60")[0] == 200
    assert ask(server, "GET", "/api/orders/61")[0] == 404


def test_a_session_shows_its_own_customer_alone(platform: tuple[Server, Path]) -> None:
    """Whoever signed in sees his orders; who did not, or has another's number, sees none."""
    server, _ = platform
    asked = {"email": "customer2@shop.example", "password": password_of(2)}
    status, told = ask(server, "POST", "/api/sign-in", asked)
    assert (status, told["me"]["id"]) == (200, 2)
    session = {"Cookie": f"session={told['token']}"}
    rows = ask(server, "GET", "/api/my/orders?per_page=100", **session)[1]["orders"]
    assert {row["customer"] for row in rows} == {2}
    other = next(n for n in range(1, 61) if n not in {row["id"] for row in rows})
    assert ask(server, "GET", f"/api/my/orders/{other}", **session)[0] == 404
    assert ask(server, "GET", "/api/my/orders")[0] == 401
    assert ask(server, "POST", "/api/sign-in", {**asked, "password": "another"})[0] == 401


def test_a_purchase_that_comes_twice_is_applied_twice_and_the_ledger_says_so(platform: tuple[Server, Path]) -> None:
    """Only a platform that minds keys applies a write once; this one does not, as many don't."""
    server, path = platform
    asked = {"customer": 3, "sku": "SKU-001", "quantity": 1}
    for _ in range(2):
        assert ask(server, "POST", "/api/purchases", asked, Idempotency_Key="twice")[0] == 201
    assert [row["kind"] for row in ledger(path) if row["key"] == "twice"] == ["purchase", "purchase"]
    assert len(ask(server, "GET", "/api/ledger/twice")[1]["applied"]) == 2


def test_it_can_apply_a_write_and_hang_up(platform: tuple[Server, Path]) -> None:
    """The worst answer there is: none, though it was done."""
    server, path = platform
    assert ask(server, "PUT", "/.faults", {"hang_up_after": 1.0})[0] == 204
    with pytest.raises((RemoteDisconnected, ConnectionResetError)):
        ask(server, "PUT", "/api/carts/4/items/SKU-002", {"quantity": 2}, Idempotency_Key="no answer")
    assert ask(server, "PUT", "/.faults", {})[0] == 204
    assert [row["record"] for row in ledger(path) if row["key"] == "no answer"] == ["carts/4"]
    assert ask(server, "GET", "/api/carts/4")[1]["cart"]["items"] == [{"sku": "SKU-002", "quantity": 2}]


def test_without_the_cache_of_its_vendor_nothing_answers(tmp_path: Path) -> None:
    """Incident 4: the cache stops, the vendor fails, the platform with it; and all is well when the cache is back."""
    database = ("--database", tmp_path / "billing.db", "--orders", "20", "--once-per-key")
    with (
        started("cache") as cache,
        started("vendor", "--database", tmp_path / "vendor.db", "--cache", cache.url) as vendor,
        started("platform", *database, "--vendor", vendor.url) as server,
    ):
        asked = {"customer": 1, "sku": "SKU-001", "quantity": 1}
        told = [ask(server, "POST", "/api/purchases", asked, Idempotency_Key="once") for _ in range(2)]
        assert told[0] == told[1]
        assert told[0][1]["purchase"]["reference"] == "CH-once"
        cache.kill()
        assert ask(server, "GET", "/api/health")[0] == 503
        assert ask(server, "GET", "/api/orders")[0] == 503
        assert ask(server, "POST", "/api/purchases", asked, Idempotency_Key="lost")[0] == 503
        cache.restart()
        assert ask(server, "GET", "/api/health")[0] == 200
        assert [row["key"] for row in ledger(tmp_path / "billing.db")] == ["once"]
