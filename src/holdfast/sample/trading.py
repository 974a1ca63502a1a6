"""A shop that only a watcher sees: how its tables move by the hour, through weeks and seasons, by a seed.

Customers come and order, orders go their way to the door, stock falls and is filled up, staff edit products, mails wait
a while to be sent, visitors' sessions begin and are swept away. Nothing here knows a rule.

    shop = Shop(Trade(orders=60), start, seed=1)
    shop.go_on(until)
    step = shop.look()
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from holdfast.core.observed import Step
from holdfast.sample.tables import Table

__all__ = ["Shop", "Trade"]

_HOUR, _DAY = 3_600.0, 86_400.0
_BEAT = 120.0  # seconds between two heartbeats
_TIDES = tuple(0.15 + max(0.0, math.sin((hour - 6) / 16 * math.pi)) for hour in range(24))  # nights are quiet
_FULL = 40  # of a product, after its stock was filled up


@dataclass(frozen=True, slots=True)
class Trade:
    """How a shop trades: orders and visits on an average day, its size when it opens, and how days differ.

    `weekend` is the share of a weekday's trade that is left on Saturday and Sunday. `hours`: when there is trade at
    all. `season`: by the number of the day, how many times the usual.
    """

    orders: float = 60
    visits: float = 0
    customers: int = 3_000
    products: int = 800
    past_orders: int = 6_000
    weekend: float = 0.7
    hours: tuple[int, int] = (0, 24)
    season: Callable[[int], float] = lambda _: 1.0
    beats: bool = True
    kind: Literal["capture", "changes"] = "capture"


class Shop:
    """Tables, and what is due in them. `is_frozen`: who reads sees an old state, as on a replica that got stuck."""

    def __init__(self, trade: Trade, start: datetime, seed: int) -> None:
        self.trade = trade
        self.chance = random.Random(seed)
        self.start = self.now = start.timestamp()
        self.is_frozen = False
        self.dumps: tuple[dict[str, dict[int, Hashable]], ...] = ()  # of the last nights, newest last
        self.tables = {
            name: Table(name, is_settings=name == "settings")
            for name in ("customers", "products", "orders", "order_lines", "payments", "sessions", "jobs", "settings")
        }
        self._due: list[tuple[float, int, str, tuple[object, ...]]] = []
        self._count = 0
        self._open()

    def go_on(self, until: datetime) -> None:
        """Trade up to this moment, what is due in its order."""
        end = until.timestamp()
        self._trade(end)
        while self._due and self._due[0][0] <= end:
            self.now, _, what, arguments = heapq.heappop(self._due)
            getattr(self, what)(*arguments)
        self.now = end

    def look(self) -> Step:
        """What a capture, or the stream's next commit, shows of all tables now."""
        at = datetime.fromtimestamp(self.now, UTC)
        seen = () if self.is_frozen else tuple(each for t in self.tables.values() if (each := t.look(self.now)))
        beat = int((self.now - self.start) // _BEAT) if self.trade.beats and not self.is_frozen else None
        kind = "idle" if not seen and self.trade.kind == "changes" else self.trade.kind
        return Step(at, kind, observed=seen, beat=beat)

    def later(self, seconds: float, what: str, *arguments: object) -> None:
        """Have something done in so many seconds: the name of a method, and what it is given."""
        self._count += 1
        heapq.heappush(self._due, (self.now + seconds, self._count, what, arguments))

    def copy(self) -> Shop:
        """The same shop, to go on in another way."""
        twin = Shop.__new__(Shop)
        twin.__dict__.update(self.__dict__)
        twin.chance = random.Random()
        twin.chance.setstate(self.chance.getstate())
        twin.tables = {name: table.copy() for name, table in self.tables.items()}
        twin._due = self._due.copy()
        return twin

    def numbers(self, table: str, share: float = 1.0) -> list[int]:
        """The numbers of a share of a table's records, oldest first where it is all of them, drawn otherwise."""
        found = sorted(self.tables[table].live)
        return found if share >= 1 else self.chance.sample(found, round(len(found) * share))

    # What is due calls these by name.

    def delete(self, table: str, numbers: list[int]) -> None:
        """Records that go."""
        for number in numbers:
            self.tables[table].delete(number)

    def change(self, table: str, numbers: list[int], mark: object) -> None:
        """One column of these records takes the same value, or (None) each one of its own."""
        for number in numbers:
            if (value := self.tables[table].live.get(number)) is not None:
                first, *rest = value if isinstance(value, tuple) else (value,)
                other = self.chance.random() if mark is None else mark
                self.tables[table].put(number, (first, *rest[:-1], other), self.now)

    def put_back(self, table: str, number: int, value: Hashable) -> None:
        """What a record was before, if it is still there."""
        if number in self.tables[table].live:
            self.tables[table].put(number, value, self.now)

    def add(self, table: str, count: int) -> None:
        """So many new records."""
        for _ in range(count):
            self.tables[table].insert((self._amount(), 0, self.chance.random()), self.now)

    def _open(self) -> None:
        put, at = self.tables, self.now - 400 * _DAY
        for _ in range(self.trade.customers):
            put["customers"].insert((self.chance.random(), ""), at)
        for _ in range(self.trade.products):
            put["products"].insert((self._amount(), self.chance.randrange(5, _FULL), ""), at)
        for number in range(self.trade.past_orders):
            order = put["orders"].insert(("done", self._amount(), ""), at)
            put["payments"].insert((order, ""), at)
            for _ in range(1 + number % 3):
                put["order_lines"].insert((order, ""), at)
        for _ in range(25):
            put["settings"].insert((self.chance.random(), ""), at)
        self.later(_DAY / 5, "_night")
        self.later(_HOUR, "_sweep")

    def _trade(self, end: float) -> None:
        moment = datetime.fromtimestamp(self.now, UTC)
        first, last = self.trade.hours
        rate = _TIDES[moment.hour] / (sum(_TIDES) / 24) if first <= moment.hour < last else 0.0
        rate *= self.trade.weekend if moment.weekday() > 4 else 1.0
        rate *= self.trade.season(int((self.now - self.start) // _DAY)) * (end - self.now) / _DAY
        span = end - self.now
        for name, often in (
            ("_order", self.trade.orders),
            ("_visit", self.trade.visits),
            ("_edit", 8),
            ("_leave", 0.4),
        ):
            for _ in range(self._many(rate * often)):
                self.later(self.chance.random() * span, name)

    def _order(self) -> None:
        put, chance = self.tables, self.chance
        if chance.random() < 0.3 or not put["customers"].live:
            put["customers"].insert((chance.random(), ""), self.now)
        elif chance.random() < 0.2:
            self.change("customers", [self._any("customers")], None)
        order = put["orders"].insert(("new", self._amount(), ""), self.now)
        for _ in range(chance.randint(1, 4)):
            put["order_lines"].insert((order, chance.random()), self.now)
            self._stock(self._any("products"), -1)
        job = put["jobs"].insert(("mail", order), self.now)
        self.later(_HOUR / 2 * chance.random(), "delete", "jobs", [job])
        for state, hours in (("paid", 3), ("packed", 20), ("sent", 30), ("done", 200)):
            self.later(hours * _HOUR * (0.5 + chance.random()), "_state", order, state)

    def _state(self, order: int, state: str) -> None:
        value = self.tables["orders"].live.get(order)
        if isinstance(value, tuple):
            self.tables["orders"].put(order, (state, *value[1:]), self.now)
            if state == "paid":
                self.tables["payments"].insert((order, self.now), self.now)

    def _visit(self) -> None:
        session = self.tables["sessions"].insert((self.now, 0), self.now)
        for page in range(self.chance.randrange(4)):
            self.later((page + 1) * 400 * self.chance.random(), "_click", session)

    def _click(self, session: int) -> None:
        if session in self.tables["sessions"].live:
            self.tables["sessions"].put(session, (self.now, 1), self.now)

    def _sweep(self) -> None:
        """Every hour: sessions that nobody used for a day."""
        sessions = self.tables["sessions"]
        old = [number for number, value in sessions.live.items() if value[0] < self.now - _DAY]  # type: ignore[index]
        self.delete("sessions", old)
        self.later(_HOUR, "_sweep")

    def _edit(self) -> None:
        """Staff change a product's text, or switch it off and on again."""
        product = self._any("products")
        value = self.tables["products"].live.get(product)
        if isinstance(value, tuple):
            text = self.chance.choice(("", "off", self.chance.random()))
            self.tables["products"].put(product, (*value[:2], text), self.now)

    def _leave(self) -> None:
        """A customer closes his account."""
        self.tables["customers"].delete(self._any("customers"))

    def _night(self) -> None:
        """Every night: what runs low is filled up, and a dump is made."""
        for product, value in self.tables["products"].live.items():
            if isinstance(value, tuple) and isinstance(value[1], int) and value[1] < 5:
                self._stock(product, _FULL - value[1])
        self.dumps = (*self.dumps[-2:], {name: dict(table.live) for name, table in self.tables.items()})
        self.later(_DAY, "_night")

    def _stock(self, product: int, by: int) -> None:
        value = self.tables["products"].live.get(product)
        if isinstance(value, tuple) and isinstance(value[1], int):
            self.tables["products"].put(product, (value[0], value[1] + by, value[2]), self.now)

    def _any(self, table: str) -> int:
        """A number that is likely to be there: nobody asks for those that are gone."""
        found = self.tables[table]
        for _ in range(20):
            number = self.chance.randrange(1, found.next)
            if number in found.live:
                return number
        return min(found.live, default=0)

    def _amount(self) -> int:
        return round(self.chance.lognormvariate(8, 0.8))

    def _many(self, mean: float) -> int:
        """How often something happens by itself that happens so often on average."""
        if mean > 60:
            return max(0, round(self.chance.gauss(mean, math.sqrt(mean))))
        limit, count, product = math.exp(-mean), 0, self.chance.random()
        while product > limit:
            count, product = count + 1, product * self.chance.random()
        return count
