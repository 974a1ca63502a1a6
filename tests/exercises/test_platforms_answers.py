"""What the exercise vendor-down declares of the sample platform gives the platform's own answers, to the byte."""

from __future__ import annotations

from collections.abc import Iterator
from http.client import HTTPConnection
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from holdfast.api import OpenVault, open_vault
from holdfast.begin import Wishes, begin_project
from holdfast.core.exchange import Answer, Asked, Subject
from holdfast.core.outage import EndpointClass
from holdfast.core.routing import RouteTable
from holdfast.operations.standin import CopyStandIn
from holdfast.sample.billing import make_billing
from holdfast.sample.processes import Server, started
from holdfast.standins import copier, copy_key, stand_in

ORDERS = 150
ASKED = (
    *(f"/api/orders/{number}" for number in (1, 2, 77, ORDERS)),
    "/api/orders",
    "/api/orders?page=3&per_page=10",
    "/api/orders?page=15&per_page=10",
    "/api/orders?status=paid&customer=3&sort=-created_at",
    "/api/orders?sort=created_at&per_page=100&page=2",
    "/api/orders?status=unheard-of",
    "/api/invoices",
    "/api/invoices?customer=4&limit=5&offset=5",
    "/api/subscriptions/5",
    "/api/products",
    "/api/carts/6",
)
REFUSED = (
    "/api/orders?min_total=5",
    "/api/orders?sort=total",
    "/api/orders?page=0",
    "/api/orders?page=2&page=3",
    "/api/orders?customer=x",
    "/api/orders/9999",
    "/api/invoices?unpaid=1",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A captured platform, with the routes of the exercise."""
    folder = tmp_path_factory.mktemp("declared")
    make_billing(folder / "billing.db", orders=ORDERS, customers=10)
    begin_project(folder, "billing.db", ("me=one", "ana=two"), Wishes(card=Path("card.txt")))
    open_vault(folder / "holdfast.toml").capture()
    routes = files("holdfast.exercises").joinpath("routes.toml").read_text(encoding="utf-8")
    with (folder / "holdfast.toml").open("a", encoding="utf-8") as config:
        config.write('\n[gateway]\nupstream = "http://127.0.0.1:1"\n' + routes)
    return folder


@pytest.fixture(scope="module")
def vault(folder: Path) -> OpenVault:
    """The vault, as a gateway opens it."""
    return open_vault(folder / "holdfast.toml")


@pytest.fixture(scope="module")
def standing_in(folder: Path, vault: OpenVault) -> CopyStandIn:
    """What answers from the copy."""
    key = copy_key()
    copier(vault, folder / "copy", key).refresh()
    found = stand_in(vault.project.config, folder / "copy", key)
    assert found.look()
    assert found.wrong == {}
    return found


@pytest.fixture(scope="module")
def platform(folder: Path) -> Iterator[Server]:
    """The platform itself."""
    with started("platform", "--database", folder / "billing.db") as server:
        yield server


def from_copy(vault: OpenVault, standing_in: CopyStandIn, target: str, subject: Subject) -> Answer | None:
    parts = urlsplit(target)
    matched = RouteTable(vault.project.config.routes).match("GET", parts.path)
    assert matched is not None
    assert matched.route.kind is EndpointClass.READ_FROM_COPY
    return standing_in.answer(matched, Asked("GET", parts.path, parts.query), subject)


def from_platform(server: Server, target: str) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", target)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


@pytest.mark.parametrize("target", ASKED)
def test_the_copy_answers_as_the_platform_does(
    vault: OpenVault, standing_in: CopyStandIn, platform: Server, target: str
) -> None:
    """Status and body, every byte of it."""
    answer = from_copy(vault, standing_in, target, Subject("anybody"))
    assert answer is not None, standing_in.why
    assert (answer.status, answer.body) == from_platform(platform, target)


@pytest.mark.parametrize("target", REFUSED)
def test_what_is_not_declared_is_never_guessed(vault: OpenVault, standing_in: CopyStandIn, target: str) -> None:
    """A parameter, an order or a value that the routes don't know, and a record that may be newer than the copy."""
    assert from_copy(vault, standing_in, target, Subject("anybody")) is None


def test_who_is_signed_in_sees_his_own_orders_alone(vault: OpenVault, standing_in: CopyStandIn) -> None:
    """The customer that his session was proven to be, and no other."""
    answer = from_copy(vault, standing_in, "/api/my/orders?per_page=100", Subject("session", "3"))
    assert answer is not None, standing_in.why
    assert b'"customer":3,' in answer.body
    assert all(f'"customer":{other},'.encode() not in answer.body for other in range(1, 11) if other != 3)
