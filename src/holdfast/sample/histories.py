"""Twelve shops through months in which nothing goes wrong and much looks as if it did: false alarms are counted here.

Each is seeded and always the same. What happens in them beside trade is what happens in companies: imports, clean-ups,
archives, new prices, sales, migrations.

    for shop, step in lived(HISTORIES[0]): ...
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from holdfast.core.observed import Step
from holdfast.sample.trading import Shop, Trade

__all__ = ["HISTORIES", "History", "lived"]

Event = tuple[int, int, Callable[[Shop], None]]  # on this day, at this hour
_START = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday


@dataclass(frozen=True, slots=True)
class History:
    """A shop's months: `minutes` between two looks, and what somebody does on a day at an hour."""

    name: str
    trade: Trade
    days: int
    minutes: int
    seed: int
    events: tuple[Event, ...] = ()

    def moment(self, day: int, hour: float = 0) -> datetime:
        """A time of this history, by the number of its day from 0."""
        return _START + timedelta(days=day, hours=hour)


def lived(history: History) -> Iterator[tuple[Shop, Step]]:
    """Every look at the shop, with the shop as it is then; to go on in another way, copy it."""
    shop = Shop(history.trade, _START, history.seed)
    events = sorted(((history.moment(day, hour), do) for day, hour, do in history.events), key=lambda each: each[0])
    yield shop, replace(shop.look(), kind="snapshot")
    for number in range(1, history.days * 24 * 60 // history.minutes + 1):
        until = _START + timedelta(minutes=number * history.minutes)
        while events and events[0][0] <= until:
            at, do = events.pop(0)
            shop.go_on(at)
            do(shop)
        shop.go_on(until)
        yield shop, shop.look()


def _import(count: int, dropped: float) -> Callable[[Shop], None]:
    """A supplier's list: new products, many with a new text, and some that he no longer has."""

    def do(shop: Shop) -> None:
        shop.delete("products", shop.numbers("products", dropped))
        shop.change("products", shop.numbers("products", 0.25), None)
        shop.add("products", count)

    return do


def _archive(share: float) -> Callable[[Shop], None]:
    """The oldest orders with all that belongs to them go into another system."""

    def do(shop: Shop) -> None:
        for table in ("orders", "order_lines", "payments"):
            numbers = shop.numbers(table)
            shop.delete(table, numbers[: round(len(numbers) * share)])

    return do


def _forget(share: float) -> Callable[[Shop], None]:
    """Customers who asked for it, or did not come for years, are deleted; their orders lose the name."""

    def do(shop: Shop) -> None:
        shop.delete("customers", shop.numbers("customers", share))
        shop.change("orders", shop.numbers("orders", share), "somebody")

    return do


def _new_prices(shop: Shop) -> None:
    shop.change("products", shop.numbers("products"), None)


def _backfill(shop: Shop) -> None:
    """A column more in a table, filled in pieces over an hour."""
    numbers = shop.numbers("orders")
    for piece in range(12):
        shop.later(piece * 300, "change", "orders", numbers[piece::12], f"migrated {shop.now:.0f}")


def _stock_take(shop: Shop) -> None:
    """Everything is counted, section by section through an evening; what can't be found any more goes."""
    numbers = shop.numbers("products", 0.9)
    for piece in range(8):
        shop.later(piece * 1_800, "change", "products", numbers[piece::8], None)
    shop.later(8 * 1_800, "delete", "products", shop.numbers("products", 0.03))


def _mistake(shop: Shop) -> None:
    """Somebody deletes the two newest orders, with their lines and payments."""
    orders = shop.numbers("orders")[-2:]
    for table in ("order_lines", "payments"):
        live = shop.tables[table].live.items()
        shop.delete(table, [number for number, value in live if isinstance(value, tuple) and value[0] in orders])
    shop.delete("orders", orders)


def _second_thoughts(shop: Shop) -> None:
    """A third of the products is marked down, and two hours later nobody wants that."""
    before = {number: shop.tables["products"].live[number] for number in shop.numbers("products", 0.3)}
    shop.change("products", list(before), "sale")
    for number, value in before.items():
        shop.later(7_200, "put_back", "products", number, value)


def _settings(shop: Shop) -> None:
    shop.change("settings", shop.numbers("settings", 0.1), None)


def _every(
    days: int, hour: int, do: Callable[[Shop], None], until: int
) -> tuple[tuple[int, int, Callable[[Shop], None]], ...]:
    return tuple((day, hour, do) for day in range(days, until, days))


HISTORIES = (
    History(
        "seasonal shop",
        Trade(orders=60, season=lambda day: 1 + 4 * math.exp(-(((day - 95) / 9) ** 2))),
        120,
        60,
        1,
        _every(30, 10, _settings, 120),
    ),
    History("bulk import", Trade(orders=40, products=4_000), 90, 1_440, 2, _every(14, 22, _import(600, 0.04), 90)),
    History("yearly archive", Trade(orders=80, past_orders=12_000), 100, 60, 3, ((60, 3, _archive(0.35)),)),
    History("GDPR clean-up", Trade(orders=50, customers=6_000), 100, 60, 4, _every(30, 2, _forget(0.04), 100)),
    History(
        "new prices for all", Trade(orders=50, products=1_500), 100, 60, 5, ((40, 6, _new_prices), (75, 6, _new_prices))
    ),
    History(
        "quiet weekends",
        Trade(orders=70, weekend=0.0, hours=(7, 19), beats=False, season=lambda day: 0.0 if day in (45, 88) else 1.0),
        100,
        60,
        6,
    ),
    History("sessions", Trade(orders=40, visits=1_500, kind="changes"), 60, 5, 7),
    History("migrations", Trade(orders=60), 80, 60, 8, ((30, 4, _backfill), (62, 4, _backfill))),
    History(
        "flash sale",
        Trade(orders=50, visits=400, kind="changes", season=lambda day: 20.0 if day in (25, 50) else 1.0),
        60,
        5,
        9,
    ),
    History(
        "stock-take", Trade(orders=40, products=2_500, beats=False), 120, 1_440, 10, _every(45, 18, _stock_take, 120)
    ),
    History(
        "small shop",
        Trade(orders=4, customers=70, products=40, past_orders=160),
        150,
        60,
        11,
        (
            *_every(9, 23, _mistake, 150),
            *_every(11, 20, _second_thoughts, 150),
            *_every(16, 15, _forget(0.02), 150),
            *_every(7, 17, _settings, 150),
        ),
    ),
    History(
        "small shop, nightly",
        Trade(orders=3, customers=50, products=30, past_orders=60),
        150,
        1_440,
        12,
        (*_every(9, 23, _mistake, 150), *_every(11, 20, _second_thoughts, 150), *_every(7, 17, _settings, 150)),
    ),
)
