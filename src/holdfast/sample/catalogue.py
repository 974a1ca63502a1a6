"""What a shop has before its first order: tenants, settings, partners, products; drawn once, then read back."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import NamedTuple

from holdfast.sample.schema import insert_statement
from holdfast.sample.words import LANGUAGES, Language

__all__ = [
    "SETTINGS",
    "Partner",
    "Product",
    "Tenant",
    "Value",
    "fill_catalogue",
    "partner_row",
    "read_catalogue",
    "stamp",
]

Value = int | float | str | bytes | None

_EPOCH = date(2023, 1, 1)
_DAYS = [f"{_EPOCH + timedelta(days=day)}T" for day in range(40 * 365)]
_MINUTES = [f"{minute // 60:02d}:{minute % 60:02d}:" for minute in range(1440)]
_SECONDS = [f"{second:02d}Z" for second in range(60)]

# Each setting's possible values; the types differ within the one column, as they do in real settings tables.
SETTINGS: dict[str, tuple[Value, ...]] = {
    "checkout.guest": (0, 1),
    "checkout.terms_url": ("https://shop.example/terms", "https://shop.example/conditions"),
    "commission.default_rate": (0.1, 0.15, 0.25),
    "commission.second_level_rate": (0.0, 0.05),
    "commission.hold_days": (14, 30, 45),
    "invoice.due_days": (5, 7, 14, 30),
    "invoice.prefix": ("INV", "A", "2025"),
    "invoice.seal": (b"\x89SEAL\x00\x01\x02\xff\xfe", b"\x89SEAL\x00\x07\x08\xfd\xfc", None),
    "mail.sender": ("orders@shop.example", "hello@shop.example"),
    "mail.signature": (None, "Ваша лавка", "您的商店", "متجركم", "Su tienda"),
    "payment.card": (0, 1),
    "payment.bank_account": ("XX00 1111 2222 3333", "XX00 4444 5555 6666", None),
    "payment.wallet": (None, "wallet-7730112", "wallet-5519034"),
    "shipping.free_above_cents": (5000, 10000, 250000),
    "shipping.handling_days": (1, 2, 3),
    "stock.reserve_minutes": (15, 30, 60),
    "tax.rate": (0.0, 0.05, 0.19, 0.2),
    "tax.included": (0, 1),
    "theme.colour": ("#204060", "#a03020", "#308050"),
    "theme.logo_width": (120, 180.5, 240),
}


@dataclass(frozen=True, slots=True)
class Product:
    """What an order line copies from a product."""

    id: int
    sku: str
    name: str
    price_cents: int
    is_digital: int


class Partner(NamedTuple):
    """Who brings customers, and the share of their orders he is due."""

    id: int
    rate: float


@dataclass(frozen=True, slots=True)
class Tenant:
    """One merchant on the platform, with what he sells and who sells for him."""

    id: int
    slug: str
    language: Language
    currency: str
    products: list[Product] = field(default_factory=list)
    partners: list[Partner] = field(default_factory=list)


def stamp(seconds: int) -> str:
    """The ISO time that many seconds after the shop's first day began; the shop's calendar has 40 years."""
    minute, second = divmod(seconds, 60)
    day, minute = divmod(minute, 1440)
    return _DAYS[day] + _MINUTES[minute] + _SECONDS[second]


def fill_catalogue(connection: sqlite3.Connection, *, orders: int, rng: random.Random) -> None:
    """Write tenants, settings, partners and products for a shop that will have that many orders."""
    tenants = 12 + orders // 250_000
    products = 2_000 + orders // 500
    partners = 48 + orders // 200
    connection.executemany(insert_statement("tenants"), map(_tenant_row, range(1, tenants + 1)))
    connection.executemany(
        insert_statement("settings"),
        (
            (tenant, name, rng.choice(values), stamp(rng.randrange(86_400)))
            for tenant in range(1, tenants + 1)
            for name, values in SETTINGS.items()
        ),
    )
    connection.executemany(
        insert_statement("partners"),
        (partner_row(number, tenant=1 + number % tenants, at=0, rng=rng) for number in range(1, partners + 1)),
    )
    # Every seventh partner was recruited by an earlier one of the same tenant: affiliates of two levels.
    connection.execute("UPDATE partners SET recruited_by = id - ? WHERE id % 7 = 0 AND id > ?", (tenants, tenants))
    connection.executemany(insert_statement("products"), _product_rows(products, tenants, rng))


def partner_row(number: int, *, tenant: int, at: int, rng: random.Random) -> tuple[Value, ...]:
    """A new partner of *tenant*, not yet a customer and recruited by nobody."""
    name = rng.choice(LANGUAGES[(tenant - 1) % len(LANGUAGES)].names)
    wallet = f"W{rng.getrandbits(40):013d}" if rng.getrandbits(2) else None
    return (number, tenant, None, None, name, f"p{number:05d}", rng.choice((0.05, 0.1, 0.15, 0.3)), wallet, stamp(at))


def read_catalogue(connection: sqlite3.Connection) -> dict[int, Tenant]:
    """Every tenant by id, with its products and partners, as the database has them now."""
    languages = {language.code: language for language in LANGUAGES}
    tenants = {
        tenant: Tenant(tenant, slug, languages[code], currency)
        for tenant, slug, code, currency in connection.execute(
            "SELECT id, slug, language, currency FROM tenants ORDER BY id"
        )
    }
    for tenant, *product in connection.execute(
        "SELECT tenant_id, id, sku, name, price_cents, is_digital FROM products ORDER BY id"
    ):
        tenants[tenant].products.append(Product(*product))
    for tenant, number, rate in connection.execute("SELECT tenant_id, id, rate FROM partners ORDER BY id"):
        tenants[tenant].partners.append(Partner(number, rate))
    return tenants


def _tenant_row(number: int) -> tuple[Value, ...]:
    language = LANGUAGES[(number - 1) % len(LANGUAGES)]
    turn = (number - 1) // len(LANGUAGES)
    branch = turn // len(language.shops)
    name = language.shops[turn % len(language.shops)] + (f" {branch + 1}" if branch else "")
    plan = ("basic", "pro", "premium")[number % 3]
    return (number, f"{language.code}-{turn + 1}", name, language.code, language.currency, plan, stamp(number * 311))


def _product_rows(count: int, tenants: int, rng: random.Random) -> Iterator[tuple[Value, ...]]:
    for number in range(1, count + 1):
        tenant = 1 + number % tenants
        language = LANGUAGES[(tenant - 1) % len(LANGUAGES)]
        # One product in nine of each tenant is a download with a licence key; it weighs nothing and never runs out.
        is_digital = number // tenants % 9 == 0
        if is_digital:
            name = f"{rng.choice(language.downloads)} {rng.randrange(1, 10)}"
        else:
            name = f"{rng.choice(language.products)} {rng.choice(('S', 'M', 'L', 'XL', 'No. 2', 'No. 5'))}"
        weight = None if is_digital else round(rng.lognormvariate(-0.3, 0.9), 3)
        price = rng.randrange(2, 400) * 50 - rng.randrange(2)
        stock = 0 if is_digital else rng.randrange(20, 4_000)
        yield (number, tenant, f"{language.code.upper()}-{number:06d}", name, price, weight, int(is_digital), stock, 0,
               stamp(rng.randrange(86_400)))  # fmt: skip
