"""The beginning of a gateway's configuration is one that works, with every line of it in use."""

from __future__ import annotations

import re

import pytest

from holdfast.core.config import Config, parse_config
from holdfast.core.gatewaydraft import drafted_gateway
from holdfast.core.outage import EndpointClass
from holdfast.core.records import Column, Schema
from holdfast.errors import Usage

VAULT = '[vault]\nname = "v"\n[[site]]\nname = "s"\nurl = "s"\nowner = "me"\n'
ODD = """na"me's {x} \\ ]]"""


def parsed(draft: str) -> Config:
    return parse_config(VAULT + draft)


def schema(*columns: str, key: tuple[str, ...]) -> Schema:
    return Schema(tuple(Column(name, "text", "TEXT") for name in columns), key)


def uncommented(draft: str) -> str:
    """The draft with its examples in force; prose stays a comment."""
    return re.sub(r"^# (?=\[|\w+ = )", "", draft, flags=re.MULTILINE)


def test_what_is_drafted_is_a_configuration_with_and_without_its_examples() -> None:
    """As it stands only the platform is declared; with all comments in force each example is understood."""
    collections = {
        "orders": schema("id", "status", ODD, key=("id",)),
        "lines": schema("order_id", "line", "sku", key=("order_id", "line")),
        "log": schema("text", key=()),
        ODD: schema("a", ODD, key=("a",)),
    }
    draft = drafted_gateway("http://127.0.0.1:9000", collections)
    plain = parsed(draft)
    assert plain.gateway is not None
    assert (plain.gateway.upstream, plain.routes) == ("http://127.0.0.1:9000", ())
    whole = parsed(uncommented(draft))
    assert whole.gateway is not None
    assert (whole.gateway.canary.path, whole.gateway.sessions.cookie) == ("/api/health", "sid")
    found = {route.name: route for route in whole.routes}
    assert set(found) == {"purchase", "orders-list", "orders", "lines-list", "lines"}
    assert {route.kind for name, route in found.items() if name != "purchase"} == {EndpointClass.READ_FROM_COPY}
    assert {route.access for name, route in found.items() if name != "purchase"} == {"staff"}
    assert found["lines"].path == "/api/lines/{key1}/{key2}"
    assert found["lines"].key == {"order_id": "{key1}", "line": "{key2}"}
    assert found["orders"].template == '{"id": "{id}", "status": "{status}"}'


def test_nothing_is_drafted_that_looks_like_a_secret() -> None:
    """Uncommented in haste, it would show every live session and each password's hash to whoever is of the staff."""
    collections = {
        "sessions": schema("token", "customer_id", key=("token",)),
        "customers": schema("id", "name", "password", "salt", "apiKey", "reset\ntoken", "otp", key=("id",)),
        "places": schema("id", "spinning", key=("id",)),
    }
    draft = drafted_gateway("http://127.0.0.1:9000", collections)
    found = {route.name: route for route in parsed(uncommented(draft)).routes}
    assert set(found) == {"purchase", "customers-list", "customers", "places-list", "places"}
    assert found["customers"].template == found["customers-list"].item == '{"id": "{id}", "name": "{name}"}'
    assert found["places"].template == '{"id": "{id}", "spinning": "{spinning}"}'
    assert "# There is no route for sessions: its key may be a secret." in draft
    assert r'"password", "salt", "apiKey", "reset\ntoken", "otp"' in draft


@pytest.mark.parametrize("url", ["", "shop", "ftp://shop", "http://", "http://shop:port", "http://[::1"])
def test_what_is_no_platform_is_refused(url: str) -> None:
    """A typing mistake is named before anything is written."""
    with pytest.raises(Usage, match="no URL of a platform"):
        drafted_gateway(url, {})
