"""Whose a record is: its own column says, or what it refers to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from holdfast.core.align import Keyed
from holdfast.core.declared import Declared
from holdfast.core.records import Column, Reference, Schema
from holdfast.errors import Usage
from holdfast.operations.tenants import Tenants, Turns
from tests.core.shapes import Row, batch_of, stream


def schema(columns: str, key: str = "id", **references: str) -> Schema:
    found = tuple(Reference((name,), target, ("id",)) for name, target in references.items())
    return Schema(tuple(Column(name, "int") for name in columns.split()), tuple(key.split()), found)


SCHEMAS = {
    "tenants": schema("id"),
    "customers": schema("id tenant partner", tenant="tenants", partner="partners"),
    "partners": schema("id customer", customer="customers"),
    "orders": schema("id customer", customer="customers"),
    "lines": schema("order line product", "order line", order="orders", product="products"),
    "products": schema("id"),
    "clicks": schema("partner", "", partner="partners"),
}
ROWS: dict[str, list[Row]] = {
    "customers": [{"id": 1, "tenant": 7, "partner": 3}, {"id": 2, "tenant": 8}],
    "partners": [{"id": 3, "customer": 1}, {"id": 4}],
    "orders": [{"id": 10, "customer": 1}, {"id": 11, "customer": 2}],
}


@pytest.mark.parametrize(
    ("name", "row", "tenant"),
    [
        ("customers", {"id": 5, "tenant": 9}, "9"),
        ("tenants", {"id": 9}, "9"),
        ("orders", {"id": 12, "customer": 2}, "8"),
        ("lines", {"order": 11, "line": 1, "product": 1}, "8"),
        ("clicks", {"partner": 3}, "7"),
        ("clicks", {"partner": 4}, None),
        ("clicks", {"partner": None}, None),
        ("products", {"id": 1}, None),
    ],
)
def test_a_record_belongs_to_the_tenant_it_leads_to(name: str, row: Row, tenant: str | None) -> None:
    """Directly, or along references, circles among them; what leads to nobody is shared. Nothing is read twice."""
    read: list[str] = []

    def good(name: str) -> Iterator[Keyed]:
        read.append(name)
        return stream(SCHEMAS[name], ROWS.get(name, []))

    tenants = Tenants(SCHEMAS, {"customers": Declared(tenant="tenant")}, good)
    for _ in range(2):
        assert tenants.of(name, batch_of(SCHEMAS[name], [row])).to_pylist() == [tenant]
    assert len(read) == len(set(read))
    assert tenants.are_declared


@pytest.mark.parametrize(
    ("declared", "turns", "told"),
    [
        ({}, Turns(only=("7",)), "no collection says whose its records are"),
        ({}, Turns(order="new"), "no collection says whose its records are"),
        ({"customers": "tenant"}, Turns(only=("7", "9")), "no record belongs to 9:"),
        ({"customers": "tenant"}, Turns(listed=("largset",)), "no record belongs to largset:"),
        ({"orders": "customer"}, Turns(listed=("3", "1")), "no record belongs to 3:"),
    ],
)
def test_turns_of_tenants_that_are_none_are_refused(declared: dict[str, str], turns: Turns, told: str) -> None:
    """Nobody is told that a tenant is back who does not exist, and where no tenants are, everybody's records are not
    put back for one.
    """
    columns = {name: Declared(tenant=column) for name, column in declared.items()}
    tenants = Tenants(SCHEMAS, columns, lambda name: stream(SCHEMAS[name], ROWS.get(name, [])))
    with pytest.raises(Usage, match=told):
        tenants.check(turns)


def test_turns_of_tenants_that_have_records_are_granted() -> None:
    """Also of one that no record of its own stands for."""
    tenants = Tenants(
        SCHEMAS, {"customers": Declared(tenant="tenant")}, lambda name: stream(SCHEMAS[name], ROWS.get(name, []))
    )
    for turns in (Turns(only=("8",)), Turns(listed=("7", "8")), Turns(order="largest")):
        tenants.check(turns)
