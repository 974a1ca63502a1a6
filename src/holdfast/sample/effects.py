"""What writes do on the sample platform, each in one transaction with its row in the ledger, and its faults."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import signal
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from holdfast.sample.books import Books, Wrong, money
from holdfast.sample.serving import hang_up

__all__ = ["Done", "Effects", "Faults", "Write"]

Endpoint = Callable[[Request], Awaitable[Response]]
_QUANTITY_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Write:
    """What is asked for, and the Idempotency-Key it came with ("" without one)."""

    kind: str
    key: str
    content: dict[str, Any]

    @property
    def digest(self) -> str:
        """The same for the same content."""
        return hashlib.sha256(f"{self.kind} {json.dumps(self.content, sort_keys=True)}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Done:
    """What a write is answered."""

    status: int
    body: Any


class Effects:
    """Writes to the database. Without *once_per_key* a write that comes twice is applied twice."""

    def __init__(self, connection: sqlite3.Connection, *, once_per_key: bool) -> None:
        self._connection = connection
        self._books = Books(connection)
        self._once_per_key = once_per_key

    def known(self, write: Write) -> Done | None:
        """What the write was answered when it came before, where keys are minded."""
        if not (self._once_per_key and write.key):
            return None
        row = self._connection.execute("SELECT * FROM answers WHERE key = ?", [write.key]).fetchone()
        if row is None:
            return None
        if row["digest"] != write.digest:
            raise Wrong(422, "this Idempotency-Key came with another content")
        return Done(row["status"], json.loads(row["body"]))

    def price(self, asked: dict[str, Any]) -> int:
        """What a purchase costs, in cents; what is wrong with it is said."""
        customer, sku, quantity = asked.get("customer"), asked.get("sku"), asked.get("quantity")
        if type(customer) is not int or type(quantity) is not int or not 1 <= quantity <= _QUANTITY_MAX:
            raise Wrong(422, "a purchase is of a customer, a sku and a quantity")
        self._must_be("customers", "id", customer)
        row = self._connection.execute("SELECT price_cents FROM products WHERE sku = ?", [sku]).fetchone()
        if row is None:
            raise Wrong(422, "no such product")
        return int(row["price_cents"]) * quantity

    def purchase(self, write: Write, cents: int, reference: str) -> Done:
        """A customer buys."""
        asked = write.content

        def work() -> Done:
            values = [asked["customer"], asked["sku"], asked["quantity"], cents, write.key, reference, _now()]
            text = (
                "INSERT INTO purchases (customer_id, sku, quantity, total_cents, key, reference, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)"
            )
            number = self._connection.execute(text, values).lastrowid
            told = {"id": number, **asked, "total": money(cents), "reference": reference}
            return Done(201, {"purchase": told})

        return self._apply(write, f"customers/{asked['customer']}", work)

    def put_item(self, write: Write) -> Done:
        """So many of a product are in the cart, however many there were."""
        asked = write.content
        quantity = asked.get("quantity")
        if type(quantity) is not int or not 1 <= quantity <= _QUANTITY_MAX:
            raise Wrong(422, "quantity must be a number")
        self._must_be("customers", "id", asked["customer"])
        self._must_be("products", "sku", asked["sku"])

        def work() -> Done:
            text = (
                "INSERT INTO cart_items VALUES (?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET quantity = excluded.quantity, added_at = excluded.added_at"
            )
            self._connection.execute(text, [asked["customer"], asked["sku"], quantity, _now()])
            return Done(200, self._books.cart(asked["customer"]))

        return self._apply(write, f"carts/{asked['customer']}", work)

    def remove_item(self, write: Write) -> Done:
        """A product is not in the cart, whether it was or not."""
        asked = write.content

        def work() -> Done:
            values = [asked["customer"], asked["sku"]]
            self._connection.execute("DELETE FROM cart_items WHERE customer_id = ? AND sku = ?", values)
            return Done(200, self._books.cart(asked["customer"]))

        return self._apply(write, f"carts/{asked['customer']}", work)

    def change_seats(self, write: Write, version: str) -> Done:
        """A subscription has so many seats. With a *version* only if it is still that one."""
        number, seats = write.content["subscription"], write.content.get("seats")
        if type(seats) is not int or not 1 <= seats <= _QUANTITY_MAX:
            raise Wrong(422, "seats must be a number")
        if version and version.strip('"') != str(self._books.subscription(number)["subscription"]["version"]):
            raise Wrong(412, "the subscription was changed meanwhile")
        self._must_be("subscriptions", "id", number)

        def work() -> Done:
            text = (
                "UPDATE subscriptions SET seats = ?, monthly_cents = ? * unit_cents, version = version + 1,"
                " updated_at = ? WHERE id = ?"
            )
            self._connection.execute(text, [seats, seats, _now(), number])
            return Done(200, self._books.subscription(number))

        return self._apply(write, f"subscriptions/{number}", work)

    def _apply(self, write: Write, record: str, work: Callable[[], Done]) -> Done:
        """All of a write or nothing of it; what was applied once by its key is not applied again where keys count."""
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            known = self.known(write)
            if known is not None:
                return known
            done = work()
            self._connection.execute(
                "INSERT INTO ledger (kind, key, record, content, at) VALUES (?, ?, ?, ?, ?)",
                [write.kind, write.key, record, json.dumps(write.content, sort_keys=True), _now()],
            )
            if self._once_per_key and write.key:
                row = [write.key, write.digest, done.status, json.dumps(done.body)]
                self._connection.execute("INSERT INTO answers VALUES (?, ?, ?, ?)", row)
            return done

    def _must_be(self, table: str, column: str, value: object) -> None:
        if self._connection.execute(f"SELECT 1 FROM {table} WHERE {column} = ?", [value]).fetchone() is None:
            raise Wrong(404, f"nothing of {table} is {value}")


class Faults:
    """How the platform misbehaves, as switched by PUT /.faults: {"fail": 503}, {"hang_seconds": 30}, {"lie": true}
    (200 with an error in the body), {"hang_up_after": 0.5} (so many of all writes are applied and get no answer),
    {"die_after": 0.1} (the same, and the process is killed). {} ends all of it. It is never slow to be switched.
    """

    def __init__(self) -> None:
        self._now: dict[str, Any] = {}
        self._chance = random.Random(1)

    def set(self, asked: dict[str, Any]) -> None:
        """Misbehave like this from now on."""
        known = {"fail", "hang_seconds", "lie", "hang_up_after", "die_after", "seed"}
        if asked.keys() - known:
            raise Wrong(400, f"there are: {', '.join(sorted(known))}")
        self._now = asked
        if "seed" in asked:
            self._chance = random.Random(asked["seed"])

    def before(self, endpoint: Endpoint) -> Endpoint:
        """The endpoint, misbehaving."""

        async def asked(request: Request) -> Response:
            now = self._now
            if "hang_seconds" in now:
                await asyncio.sleep(now["hang_seconds"])
            if "fail" in now:
                return JSONResponse({"error": "switched to fail"}, now["fail"])
            if now.get("lie"):
                return JSONResponse({"error": "something went wrong"}, 200)
            answer = await endpoint(request)
            if request.method not in ("GET", "HEAD") and answer.status_code < 400:
                if self._chance.random() < now.get("die_after", 0.0):
                    os.kill(os.getpid(), signal.SIGKILL)
                if self._chance.random() < now.get("hang_up_after", 0.0):
                    hang_up(request)
            return answer

        return asked


def _now() -> str:
    return datetime.now(UTC).isoformat()
