"""Customers of the sample platform: they view, fill carts, buy and sign in, and remember what each request came to.

with Customers(url, Crowd(orders=500, customers=50)) as customers:
    customers.of("view")
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Self

import aiohttp

from holdfast.sample.billing import password_of

__all__ = ["Crowd", "Customers", "Seen", "Source"]

_PATIENCE_SECONDS = 15.0
_TWICE = 0.2  # of all purchases are sent again: somebody clicked twice, or missed the answer


class Source(StrEnum):
    """Where an answer came from, as its headers tell."""

    LIVE = "live"
    COPY = "copy"
    QUEUED = "queued"
    REFUSED = "refused"
    NOTHING = "no answer"


@dataclass(frozen=True, slots=True)
class Seen:
    """One request and what came of it. `at` is when it was answered, by the monotonic clock. Of a write there are its
    `key` and what was `sent`, and where it was not applied at once the `receipt` it was given for it.
    """

    kind: str
    path: str
    at: float
    seconds: float
    status: int
    source: Source
    body: bytes = b""
    key: str = ""
    sent: Mapping[str, Any] = field(default_factory=dict)
    receipt: str = ""
    retry_after: str = ""


@dataclass(frozen=True, slots=True)
class Crowd:
    """How many there are to ask for, how many of each kind ask, and by which chance."""

    orders: int
    customers: int
    seed: int = 1
    viewers: int = 3
    buyers: int = 2


_Visit = Callable[["_Visitor"], Awaitable[Sequence[Seen]]]


class Customers:
    """Visitors of the platform at *url*, each asking one thing after the other until the block ends. The first of them
    is signed in before it begins: raises KeyError if the platform does not let him.
    """

    def __init__(self, url: str, crowd: Crowd) -> None:
        self.seen: list[Seen] = []
        self._url = url
        self._crowd = crowd
        self._ended = threading.Event()
        self._begun = threading.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="customers")

    def __enter__(self) -> Self:
        self._visiting = self._thread.submit(lambda: asyncio.run(self._run()))
        self._visiting.add_done_callback(lambda _: self._begun.set())
        self._begun.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.shutdown()
        self._visiting.result()

    def of(self, *kinds: str) -> list[Seen]:
        """What requests of these kinds came to, in the order in which they were answered."""
        return [each for each in tuple(self.seen) if each.kind in kinds]

    async def _run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=_PATIENCE_SECONDS)
        chance = random.Random(self._crowd.seed)
        async with aiohttp.ClientSession(self._url, timeout=timeout) as session:
            first = _Visitor(session, self._crowd, 1, random.Random(chance.random()))
            self.seen += await first.sign_in()
            first.token = str(json.loads(self.seen[-1].body)["token"])
            # The platform's own answer proves whose session this is, before anything happens to it.
            self.seen.append(await first.ask("me", "GET", "/api/me"))
            self._begun.set()
            visits: list[tuple[_Visit, float]] = [(_Visitor.view, 0.1)] * self._crowd.viewers
            visits += [(_Visitor.buy, 0.5)] * self._crowd.buyers
            visits += [(_Visitor.fill_cart, 0.5)] * 2
            visits += [(_Visitor.sign_in, 1.0), (_Visitor.leave, 2.0), (_Visitor.pry, 0.5)]
            async with asyncio.TaskGroup() as group:
                group.create_task(self._go_on(first, _Visitor.view_own, 0.1))
                for number, (visit, pause) in enumerate(visits, 2):
                    visitor = _Visitor(session, self._crowd, number, random.Random(chance.random()))
                    group.create_task(self._go_on(visitor, visit, pause))

    async def _go_on(self, visitor: _Visitor, visit: _Visit, pause: float) -> None:
        while not self._ended.is_set():
            self.seen += await visit(visitor)
            await asyncio.sleep(pause)


class _Visitor:
    """One of them: a customer with a number, and a token where he is signed in."""

    def __init__(self, session: aiohttp.ClientSession, crowd: Crowd, number: int, chance: random.Random) -> None:
        self.token = ""
        self._session = session
        self._crowd = crowd
        self._number = number
        self._chance = chance
        self._writes = 0

    async def view(self) -> Sequence[Seen]:
        """An order, a page of orders, an invoice, a subscription or what is sold."""
        one, customer = self._chance.randrange(1, self._crowd.orders), self._chance.randrange(1, self._crowd.customers)
        paths = (
            f"/api/orders/{one}",
            f"/api/orders?status=paid&customer={customer}&sort=-created_at",
            f"/api/orders?page={1 + one % 5}&per_page=10",
            f"/api/invoices?customer={customer}&limit=5",
            f"/api/subscriptions/{customer}",
            "/api/products",
        )
        return [await self.ask("view", "GET", self._chance.choice(paths))]

    async def view_own(self) -> Sequence[Seen]:
        """His own orders, for which he must be signed in."""
        return [await self.ask("own", "GET", "/api/my/orders?per_page=10")]

    async def pry(self) -> Sequence[Seen]:
        """The same without being signed in."""
        return [await self.ask("stranger", "GET", "/api/my/orders?per_page=10")]

    async def buy(self) -> Sequence[Seen]:
        """Something; at times the same purchase is sent again, right behind the first or at the same moment."""
        customer = self._chance.randrange(1, self._crowd.customers)
        sent = {"customer": customer, "sku": f"SKU-{self._chance.randrange(1, 41):03d}", "quantity": 1}
        key = self._key()
        drawn = self._chance.random()
        purchase = ("purchase", "POST", "/api/purchases", sent, key)
        if drawn < _TWICE / 2:
            return await asyncio.gather(self.ask(*purchase), self.ask(*purchase))
        if drawn < _TWICE:
            return [await self.ask(*purchase), await self.ask(*purchase)]
        return [await self.ask(*purchase)]

    async def fill_cart(self) -> Sequence[Seen]:
        """One more of the same product each time, so that the order of his writes can be seen in the end."""
        sent = {"quantity": 1 + self._writes % 1_000}
        path = f"/api/carts/{self._number}/items/SKU-007"
        return [await self.ask("cart", "PUT", path, sent, self._key())]

    async def sign_in(self) -> Sequence[Seen]:
        """With his password: only the platform itself can tell whether it is right."""
        customer = 1 + self._number % self._crowd.customers
        sent = {"email": f"customer{customer}@shop.example", "password": password_of(customer)}
        return [await self.ask("sign-in", "POST", "/api/sign-in", sent)]

    async def leave(self) -> Sequence[Seen]:
        """Ask for a copy of everything, as people do who leave: too much for a day like this."""
        return [await self.ask("export", "GET", "/api/exports/orders")]

    async def ask(
        self, kind: str, method: str, path: str, sent: Mapping[str, Any] | None = None, key: str = ""
    ) -> Seen:
        """Send one request and see what comes of it."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if key:
            headers["Idempotency-Key"] = key
        began = time.monotonic()
        try:
            async with self._session.request(method, path, json=sent, headers=headers) as answer:
                body = await answer.read()
        except (aiohttp.ClientError, TimeoutError) as err:
            at = time.monotonic()
            return Seen(kind, path, at, at - began, 0, Source.NOTHING, repr(err).encode(), key, sent or {})
        at, receipt = time.monotonic(), answer.headers.get("Holdfast-Receipt", "")
        retry = answer.headers.get("Retry-After", "")
        return Seen(kind, path, at, at - began, answer.status, _source(answer), body, key, sent or {}, receipt, retry)

    def _key(self) -> str:
        self._writes += 1
        return f"{self._crowd.seed}-{self._number}-{self._writes}"


def _source(answer: aiohttp.ClientResponse) -> Source:
    if "Holdfast-Copy" in answer.headers:
        return Source.COPY
    if answer.status == 202:
        return Source.QUEUED
    return Source.LIVE if answer.status < 400 else Source.REFUSED
