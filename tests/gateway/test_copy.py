"""The stand-in's copy: made from the vault, encrypted, kept up, and asked the platform's own questions."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.exchange import Subject
from holdfast.core.incident import IncidentOpened
from holdfast.core.lookups import Select
from holdfast.core.outage import EndpointClass, Route
from holdfast.errors import Refused
from holdfast.operations.incident import open_incident
from holdfast.state.copies import CopyReader
from tests.gateway.copied import ORDER, ORDERS, House

# What of a text is asked of the platform, and the same for one that compares bytes.
TEXTS: dict[str, dict[str, Any]] = {
    "filtered": {"collection": "orders", "filters": {"status": "status ="}, "item": '"{id}"'},
    "sorted": {"collection": "orders", "order": ("status",), "item": '"{id}"'},
    "plain": {"collection": "products", "item": '"{sku}"'},
}
BINARY = (
    Route(
        "by-bytes",
        "/by-bytes",
        ORDERS.kind,
        collection="orders",
        filters={"status": "status = binary"},
        order=("note binary desc nulls last", "id desc"),
        item='"{id}"',
    ),
)
COPY = {"collection": "orders", "id": "{id}"}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    """A shop of ten orders, copied."""
    house = House(tmp_path_factory.mktemp("house"))
    house.copier.refresh()
    return house


def test_a_record_is_answered_from_the_copy_in_the_platforms_own_shape(house: House) -> None:
    """One order with its lines, its NULL as null, and of when the copy is."""
    lines = [{"sku": "s1", "count": 7}, {"sku": "s2", "count": 7}]
    assert house.told("order", id="7") == {"id": 7, "status": "paid", "note": None, "lines": lines}
    answer = house.ask("order", id="7")
    assert answer is not None
    assert answer.header("content-type") == "application/json"
    as_of = house.stand_in.as_of("orders")
    assert as_of is not None
    assert abs((datetime.now(UTC) - as_of).total_seconds()) < 60
    assert datetime.fromisoformat(answer.header("holdfast-copy")) == as_of.replace(microsecond=0)


def test_a_list_is_answered_piece_by_piece(house: House) -> None:
    """In its order, by pages and by cursor, with filters and totals."""
    first = house.told("orders")
    assert [each["id"] for each in first["orders"]] == [10, 9, 8]
    assert (first["total"], first["page"], first["pages"], first["next"]) == (10, 1, 4, "8")
    assert house.ask("orders").body.startswith(b'{"orders":[{"id":10,"total":10.00}')  # type: ignore[union-attr]
    assert house.told("orders", "page=4")["orders"] == [{"id": 1, "total": 1.0}]
    assert [each["id"] for each in house.told("orders", "after=8&size=2")["orders"]] == [7, 6]
    assert [each["id"] for each in house.told("orders", "status=paid&above=150")["orders"]] == [10, 7, 4]
    assert [each["id"] for each in house.told("orders", "status=paid&after=7")["orders"]] == [4, 1]
    assert house.ask("orders", "status=paid&after=8") is None
    by_status = house.told("orders", "sort=status&size=10")["orders"]
    assert [each["id"] for each in by_status] == [9, 6, 3, 10, 7, 4, 1, 8, 5, 2]


NAMES = st.sampled_from(["status", "above", "page", "after", "size", "sort", "x", ""])
TEXT = st.one_of(st.text(), st.integers().map(str), st.sampled_from(["paid", "7", "-1", "1e9", "%00", "status", "é"]))


@given(st.lists(st.tuples(NAMES, TEXT), max_size=4), st.text(st.characters(codec="ascii"), max_size=12), TEXT)
def test_no_request_makes_the_stand_in_fail(house: House, pairs: list[tuple[str, str]], raw: str, name: str) -> None:
    """Whatever a query or a segment of the path holds: JSON is answered, or nothing."""
    queries = ("&".join(f"{key}={value}" for key, value in pairs), urlencode(pairs), raw)
    for answer in (house.ask("order", id=name), *(house.ask("orders", query) for query in queries)):
        assert answer is None or json.loads(answer.body)


def test_what_lies_beyond_the_end_of_a_list_is_told_only_where_it_is_known(tmp_path: Path) -> None:
    """Some platforms give an empty list there, others an error."""
    empty = replace(ORDERS, name="empty", paging=replace(ORDERS.paging, empty_beyond=True))
    house = House(tmp_path, routes=(ORDER, ORDERS, empty))
    house.copier.refresh()
    assert house.ask("orders", "page=5") is None
    assert house.told("empty", "page=5") == {"orders": [], "total": 10, "page": 5, "pages": 4, "next": None}
    assert house.told("orders", "above=99999") == {"orders": [], "total": 0, "page": 1, "pages": 0, "next": None}


def test_whoever_is_signed_in_sees_his_own_records_and_nobody_else_s(tmp_path: Path) -> None:
    """Another's record is neither shown nor said to be absent: which of the two it is must not show."""
    own = replace(ORDER, name="own", path="/my/orders/{id}", owner="owner", access="session")
    owned = replace(ORDERS, name="owned", path="/my/orders", owner="owner", access="session")
    house = House(tmp_path, routes=(own, owned))
    house.copier.refresh()
    first, staff = Subject("session", "u1"), Subject("staff", "Ana")
    answer = house.ask("owned", "size=10", first)
    assert answer is not None
    assert [each["id"] for each in json.loads(answer.body)["orders"]] == [9, 7, 5, 3, 1]
    assert json.loads(answer.body)["total"] == 5
    # Nor where another's would stand in a list of one's own: it is no more there than one that there is not.
    after = house.ask("owned", "after=7&size=10", first)
    assert after is not None
    assert [each["id"] for each in json.loads(after.body)["orders"]] == [5, 3, 1]
    assert [house.ask("owned", f"after={number}", first) for number in (8, 99)] == [None, None]
    assert house.ask("own", subject=first, id="7") is not None
    assert house.ask("own", subject=first, id="8") is None
    assert house.ask("own", subject=first, id="99") is None
    assert house.ask("own", subject=Subject("session", ""), id="7") is None
    assert house.ask("own", subject=Subject("session", "u9"), id="7") is None
    assert house.ask("own", subject=staff, id="8") is not None
    assert house.ask("own", subject=staff, id="99").status == 404  # type: ignore[union-attr]


def test_a_version_changes_with_its_record_and_with_nothing_else(tmp_path: Path) -> None:
    """Whatever of it changed, and though its route shows little of it."""
    write = Route("change", "/orders/{id}", EndpointClass.QUEUE_WRITE, methods=("PUT",), copy=COPY)
    house = House(tmp_path, routes=(ORDER, write))
    house.copier.refresh()

    def versions() -> list[str | None]:
        return [house.stand_in.version("orders", {"id": str(number)}) for number in (1, 2, 99)]

    before = versions()
    assert before[0] != before[1]
    assert (bool(before[0]), bool(before[1]), before[2]) == (True, True, "")
    house.run("UPDATE orders SET cents = cents + 1 WHERE id = 2; INSERT INTO orders VALUES (99, 'new', NULL, 1, 'u1')")
    house.capture()
    house.copier.refresh()
    after = versions()
    assert (after[0], after[1] != before[1], bool(after[2])) == (before[0], True, True)
    assert house.stand_in.version("lines", {"order_id": "1"}) is None
    assert house.stand_in.version("orders", {"id": "x"}) is None


def test_while_an_incident_is_open_the_copy_is_of_the_last_good_state(tmp_path: Path) -> None:
    """What destroyed the platform's records must not be what its stand-in shows."""
    house = House(tmp_path)
    house.copier.refresh()
    house.run("DELETE FROM lines; DELETE FROM orders WHERE id > 2; UPDATE orders SET status = 'gone'")
    house.capture()
    assert house.opened().last_good() is not None
    house.copier.refresh()
    assert house.told("orders")["total"] == 10
    assert house.told("order", id="7")["lines"]
    house.vault.vault.refresh()


def test_where_the_last_good_state_is_not_known_the_copy_stays_as_it_was(tmp_path: Path) -> None:
    """The newest is what the incident left of it, and nothing says that it is not."""
    house = House(tmp_path)
    house.copier.refresh()
    vault = house.opened()
    key = vault.signing_key()
    assert key is not None
    now = vault.vault.now()
    opened = IncidentOpened(now, "1a2b3c4d", "shop", None, None, now, (), (), "", None)
    open_incident(vault.vault, key, opened, "by hand")
    assert (good := house.opened().last_good()) is not None
    assert not good.is_known
    house.run("UPDATE orders SET status = 'gone' WHERE id = 7")
    house.capture()
    with pytest.raises(Refused, match="incident 1a2b3c4d is open"):
        house.copier.refresh()
    assert house.told("order", id="7")["status"] == "paid"


def test_an_answer_never_mixes_two_states(tmp_path: Path) -> None:
    """Orders and their lines change while an order was looked up already, and its lines not yet."""
    house = House(tmp_path)
    house.copier.refresh()
    house.run("UPDATE orders SET note = 'new'; UPDATE lines SET count = 0")
    house.capture()
    lines = Select("lines", ("count",), (("order_id", "="),))
    reader = CopyReader(house.place, house.key)
    with reader.moment() as moment:
        assert moment is not None
        assert moment.find(Select("orders", ("note",), (("id", "="),)), (8,), 2) == [("note 8",)]
        house.copier.refresh()
        assert moment.find(lines, (8,), 9) == [(8,), (8,)]
    with reader.moment() as moment:
        assert moment is not None
        assert moment.find(lines, (8,), 9) == [(0,), (0,)]


@pytest.mark.parametrize(
    "query",
    [
        *("nosuch=1", "status=paid&status=open", "status=", "above=x", "above=1.5", "Status=paid", "status", "="),
        *("page=0", "page=-1", "page=1&after=3", "size=11", "size=0", "size=ten", "after=99", "after=x", "after=1,2"),
        *(
            "sort=id",
            "sort=status&sort=status",
            "status=%ff",
            "status=paid;above=1",
            "page=1&&size=2",
            "status=paid%00",
            "&".join("a" * 60),
        ),
    ],
)
def test_a_parameter_that_a_route_does_not_know_is_refused_and_never_guessed(house: House, query: str) -> None:
    """Unknown, repeated, malformed, empty or beyond a limit: what the platform makes of it nobody declared."""
    assert house.ask("orders", query) is None
    assert house.stand_in.why
    assert house.ask("order", "nosuch=1", id="7") is None


@pytest.mark.parametrize(("url", "wrong"), [("", set()), ("postgresql:", {"sorted", "plain"}), ("mariadb:", {*TEXTS})])
def test_texts_are_compared_only_as_the_platform_does(tmp_path: Path, url: str, wrong: set[str]) -> None:
    """PostgreSQL orders them by a language, MariaDB also takes other letters for the same: an owner says that he means
    bytes, or the route is not answered.
    """
    routes = {name: Route(name, f"/{name}", ORDERS.kind, **what) for name, what in TEXTS.items()}
    one = Route("product", "/products/{sku}", ORDERS.kind, collection="products", key={"sku": "{sku}"})
    one = replace(one, template='{"name": "{name}"}', absent="null")
    house = House(tmp_path, routes=(*routes.values(), *BINARY, one), url=url)
    assert {*house.copier.refresh().wrong} == wrong
    assert [house.ask(name) is None for name in TEXTS] == [name in wrong for name in TEXTS]
    assert house.told("by-bytes", "status=paid") == [4, 10, 7, 1]
    assert house.told("product", sku="a-1") == {"name": "Lamp"}
    # It may be there under a-1, which we hold.
    assert (house.ask("product", sku="A-1") is None) == (url == "mariadb:")


def test_a_worker_loads_neither_the_vault_nor_arrow() -> None:
    """Many workers are to fit into little memory."""
    heavy = ("pyarrow", "holdfast.vault", "cryptography")
    code = f"import sys, holdfast.standins; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
