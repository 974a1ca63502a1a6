"""Draws orders and all that belongs to them, row by row and cheaply: the one place where sample rows are made.

Rows depend only on the catalogue, the known customers, the next ids, the clock and the seeded generator.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from holdfast.sample.catalogue import Partner, Tenant, Value, stamp

__all__ = ["FRESH", "RECENT", "SETTLED", "Customer", "Outcome", "Rows", "Trader"]

_KNOWN_MAX = 16_384  # customers who may order again, so that memory does not grow with the shop
_LINE_COUNTS = (1,) * 16 + (2,) * 9 + (3,) * 5 + (4, 5)
_QUANTITIES = (1,) * 12 + (2, 2, 3, 6)
_METHODS = ("post", "courier", "parcel shop", "freight")
_PROVIDERS = ("cardpay", "cardpay", "bank transfer", "mobile wallet")
_DAY = 86_400
_FREE_SHIPPING = 40_000
_IS_NEW, _ONLY_REGISTERS = 277, 30  # of 1,024 orders
_TOPS_UP = 6  # of 64 orders


class Outcome(NamedTuple):
    """How far an order has come. `tries` counts failed payments before; `is_invoiced` may precede payment."""

    status: str
    is_paid: bool
    is_shipped: bool
    is_invoiced: bool
    tries: int = 0


_DELIVERED = Outcome("delivered", True, True, True)
_SHIPPED = Outcome("shipped", True, True, True)
_PAID = Outcome("paid", True, False, True)
_OPEN = Outcome("new", False, False, True)
_CART = Outcome("new", False, False, False)
_CANCELLED = Outcome("cancelled", False, False, False)

# 64 outcomes each, drawn with equal chance: of old orders, of the last weeks' and of today's.
SETTLED = (
    (_DELIVERED,) * 50
    + (Outcome("delivered", True, True, True, 1),) * 2
    + (Outcome("refunded", True, True, True),) * 3
    + (_PAID, _PAID, _OPEN, _CANCELLED, _CANCELLED, _CANCELLED)
    + (Outcome("cancelled", False, False, False, 1), _DELIVERED, _CART)
)
RECENT = (_DELIVERED,) * 16 + (_SHIPPED,) * 24 + (_PAID,) * 16 + (_OPEN,) * 4 + (_CART,) * 2 + (_CANCELLED,) * 2
FRESH = (_PAID,) * 48 + (_OPEN,) * 8 + (_CART,) * 5 + (Outcome("paid", True, False, True, 1),) * 3


class Customer(NamedTuple):
    """What an order copies from a customer."""

    id: int
    tenant: Tenant
    partner: Partner | None
    email: str
    phone: str
    name: str
    street: str
    city: str
    postcode: str
    country: str


@dataclass(slots=True)
class Rows:
    """New rows by table, in an order that respects references (except the deferred ones)."""

    customers: list[tuple[Value, ...]] = field(default_factory=list)
    orders: list[tuple[Value, ...]] = field(default_factory=list)
    order_lines: list[tuple[Value, ...]] = field(default_factory=list)
    payments: list[tuple[Value, ...]] = field(default_factory=list)
    invoices: list[tuple[Value, ...]] = field(default_factory=list)
    commissions: list[tuple[Value, ...]] = field(default_factory=list)
    licence_keys: list[tuple[Value, ...]] = field(default_factory=list)
    top_ups: list[tuple[Value, ...]] = field(default_factory=list)
    clicks: list[tuple[Value, ...]] = field(default_factory=list)

    def tables(self) -> dict[str, list[tuple[Value, ...]]]:
        return {name: getattr(self, name) for name in self.__slots__}


class Trader:
    """Makes one order after another. `known` are the customers who may come back; `last` the ids used so far."""

    def __init__(
        self,
        tenants: Mapping[int, Tenant],
        known: list[Customer],
        last: Mapping[str, int],
        clock: float,
        rng: random.Random,
    ) -> None:
        self.known = known
        self.clock = clock
        self.rows = Rows()
        self._last = dict(last)
        self._bits = rng.getrandbits
        self._random_bytes = rng.randbytes
        # The first tenants are the large ones: the n-th has about 1/(n+2) of their trade.
        self._shares = [tenant for rank, tenant in enumerate(tenants.values()) for _ in range(1 + 256 // (rank + 2))]

    def taken_rows(self) -> Rows:
        """The rows made since the last call; the trader begins anew with none."""
        rows, self.rows = self.rows, Rows()
        return rows

    def make_order(self, pace: float, outcomes: tuple[Outcome, ...]) -> None:
        """Add one order with its children, *pace* seconds after the last, with one of 64 outcomes."""
        bits = self._bits(64)
        self.clock += pace
        now = int(self.clock)
        customer = self._customer(bits & 0x3FF, now)
        tenant = customer.tenant
        partner = customer.partner
        outcome = outcomes[(bits >> 10) & 63]
        created = updated = stamp(now)
        paid = shipped = tracking = note = None
        if outcome.is_paid:
            # One payment in four is a bank transfer: it arrives up to five days after the order.
            later = 40 if (bits >> 40) & 3 or outcomes is not SETTLED else ((bits >> 25) & 0x7FFF) * 13
            paid = updated = stamp(now + later)
            if outcome.is_shipped:
                shipped = updated = stamp(now + later + _DAY // 2 + ((bits >> 25) & 0x1FFFF))
                tracking = f"{customer.country}{(bits >> 16) & 0xFFFFFFFFFF:013d}"
        if (bits >> 42) & 3 == 0:
            note = tenant.language.notes[(bits >> 46) % 6]
        order = self._next("orders")
        invoice = self._next("invoices") if outcome.is_invoiced else None
        goods = self._make_lines(order, tenant, paid)
        shipping = 0 if goods > _FREE_SHIPPING else 390 + 10 * ((bits >> 16) & 63)
        discount = goods // 10 if (bits >> 22) & 7 == 0 else 0
        total = goods + shipping - discount
        self.rows.orders.append((
            order, tenant.id, customer.id, partner.id if partner else None, invoice, f"{tenant.slug}-{order:07d}",
            outcome.status, tenant.currency, goods, shipping, discount, customer.name, customer.street, customer.city,
            customer.postcode, customer.country, _METHODS[(bits >> 50) & 3], customer.email, customer.phone,
            tracking, note, created, paid, shipped, updated,
        ))  # fmt: skip
        if invoice:
            self._make_invoice((invoice, order, total), customer, created, paid)
        if outcome.tries:
            self._make_payment((order, total, tenant.currency), "failed", created)
        if paid:
            status = "refunded" if outcome.status == "refunded" else "settled"
            self._make_payment((order, total, tenant.currency), status, paid)
            if partner:
                self._make_commission(order, partner, goods - discount, tenant.currency, paid)
        self._make_visits(bits >> 52, customer, now)

    def settle(self, order: int, total: int, currency: str, at: str) -> None:
        """Add the payment for an order made before this trader's time."""
        self._make_payment((order, total, currency), "settled", at)

    def _next(self, table: str) -> int:
        number = self._last[table] + 1
        self._last[table] = number
        return number

    def _customer(self, bits: int, now: int) -> Customer:
        """Who orders: in 27 of 100 cases somebody new, else one of those known; now and then one only registers."""
        if bits < _ONLY_REGISTERS:
            self._new_customer(now)
        if bits >= _IS_NEW and self.known:
            return self.known[self._bits(32) % len(self.known)]
        customer = self._new_customer(now)
        if len(self.known) < _KNOWN_MAX:
            self.known.append(customer)
        else:
            self.known[self._bits(32) % _KNOWN_MAX] = customer
        return customer

    def _new_customer(self, now: int) -> Customer:
        bits = self._bits(128)
        tenant = self._shares[(bits & 0xFFFF) % len(self._shares)]
        language = tenant.language
        partner = tenant.partners[(bits >> 18) % len(tenant.partners)] if (bits >> 16) & 3 == 0 else None
        before, after = language.streets[(bits >> 28) % len(language.streets)]
        number = self._next("customers")
        place = language.places[(bits >> 36) % len(language.places)]
        customer = Customer(
            number, tenant, partner, f"{language.code}{number}.{(bits >> 90) & 0xFFFFF:x}@mail.example",
            f"+{place.dial} {100_000_000 + (bits >> 70) % 899_999_999}",
            language.names[(bits >> 40) % len(language.names)], f"{before}{1 + (bits >> 56) % 240}{after}", place.city,
            str(10**place.digits + (bits >> 64) % 10**place.digits)[1:], place.country,
        )  # fmt: skip
        created = stamp(now - 300)
        self.rows.customers.append((
            number, tenant.id, partner.id if partner else None, customer.email, customer.name, customer.phone,
            customer.street, customer.city, customer.postcode, customer.country, language.code, (bits >> 101) & 1,
            created, created,
        ))  # fmt: skip
        return customer

    def _make_lines(self, order: int, tenant: Tenant, paid: str | None) -> int:
        """Add an order's lines and the licence keys of what is digital and paid; the sum of the lines."""
        products = tenant.products
        lines = self.rows.order_lines
        bits = self._bits(128)
        goods = 0
        for number in range(1, 1 + _LINE_COUNTS[bits & 31]):
            bits >>= 20
            product = products[(bits & 0xFFFF) % len(products)]
            quantity = 1 if product.is_digital else _QUANTITIES[(bits >> 16) & 15]
            goods += quantity * product.price_cents
            lines.append((order, number, product.id, product.sku, product.name, quantity, product.price_cents))
            if product.is_digital and paid:
                self._make_licence_key(order, number, tenant.id, paid)
        return goods

    def _make_licence_key(self, order: int, line: int, tenant: int, paid: str) -> None:
        number = self._next("licence_keys")
        code = f"{self._bits(100):025X}"
        code = f"{code[:5]}-{code[5:10]}-{code[10:15]}-{code[15:20]}-{code[20:]}"
        activated = paid if number & 3 else None
        self.rows.licence_keys.append((number, tenant, order, line, code, self._random_bytes(64), activated))

    def _make_invoice(self, sums: tuple[int, int, int], customer: Customer, issued: str, paid: str | None) -> None:
        invoice, order, total = sums
        tenant = customer.tenant
        bill_to = f"{customer.name}\n{customer.street}\n{customer.postcode} {customer.city}\n{customer.country}"
        number = f"{tenant.slug.upper()}/{invoice:08d}"
        self.rows.invoices.append((invoice, tenant.id, order, number, bill_to, total, tenant.currency, issued, paid))

    def _make_payment(self, due: tuple[int, int, str], status: str, at: str) -> None:
        order, total, currency = due
        bits = self._bits(96)
        fee = 0 if status == "failed" else 30 + total // 40
        reference = f"pay_{bits >> 16:020x}"
        number = self._next("payments")
        self.rows.payments.append((number, order, _PROVIDERS[bits & 3], reference, total, fee, currency, status, at))

    def _make_commission(self, order: int, partner: Partner, base: int, currency: str, at: str) -> None:
        number = self._next("commissions")
        status = "due" if number & 3 else "paid out"
        amount = round(base * partner.rate)
        self.rows.commissions.append((number, partner.id, order, partner.rate, amount, currency, status, at))

    def _make_visits(self, bits: int, customer: Customer, now: int) -> None:
        """Add, for some orders, a top-up bought beside it, and the clicks that led here."""
        tenant = customer.tenant
        if bits & 63 < _TOPS_UP:
            number = self._next("top_ups")
            # An odd factor permutes the numbers below 10^10, so that codes look drawn and never repeat.
            code = f"{number * 7_310_594_327 % 10**10:010d}"
            used = stamp(now + 7200) if number % 5 else None
            self.rows.top_ups.append((
                number, tenant.id, customer.id, code, 500 * (1 + number % 40), tenant.currency,
                "used" if used else "open", stamp(now), used,
            ))  # fmt: skip
        if (bits >> 6) & 3 == 0:
            partner = customer.partner
            product = tenant.products[now % len(tenant.products)]
            page = f"/p/{product.sku.lower()}"
            click = (tenant.id, partner.id if partner else None, product.id, page, stamp(now - 90))
            # A double click leaves two rows that nothing tells apart.
            self.rows.clicks.extend((click, click) if (bits >> 8) & 7 == 0 else (click,))
