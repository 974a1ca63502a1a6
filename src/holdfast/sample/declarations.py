"""What the owner of a sample shop declares of its collections: whose a record is, what it is worth, when it came, and
how two histories of it are brought together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from holdfast.core.declared import Conflict, Declared

__all__ = ["DECLARATIONS", "declared_with"]

_CREATED = "created_at"

DECLARATIONS: Mapping[str, Declared] = MappingProxyType({
    "tenants": Declared(tenant="id", created=_CREATED, number=("slug",)),
    "settings": Declared(tenant="tenant_id", settings=True),
    "partners": Declared(tenant="tenant_id", created=_CREATED, number=("code",)),
    "customers": Declared(tenant="tenant_id", created=_CREATED, number=("email",)),
    "products": Declared(tenant="tenant_id", created=_CREATED, add=("stock", "sold"), number=("sku",)),
    "orders": Declared(
        tenant="tenant_id", money=("goods_cents", "shipping_cents"), currency="currency", created=_CREATED,
        number=("number",),
    ),
    "payments": Declared(
        money=("amount_cents",), currency="currency", created=_CREATED, number=("provider_reference",)
    ),
    "invoices": Declared(
        tenant="tenant_id", money=("total_cents",), currency="currency", created="issued_at", number=("number",)
    ),
    "commissions": Declared(money=("amount_cents",), currency="currency", created=_CREATED),
    "licence_keys": Declared(tenant="tenant_id", number=("code",)),
    "top_ups": Declared(
        tenant="tenant_id", money=("amount_cents",), currency="currency", created=_CREATED, number=("payment_code",)
    ),
    "clicks": Declared(tenant="tenant_id", created="clicked_at", refers={"product_id": "products"}),
    "audit_log": Declared(tenant="tenant_id", created="at", refers={"order_id": "orders"}),
})  # fmt: skip


def declared_with(conflict: Conflict) -> dict[str, Declared]:
    """The same, with what decides where two histories changed the same column of a record."""
    return {name: replace(declared, conflict=conflict) for name, declared in DECLARATIONS.items()}
