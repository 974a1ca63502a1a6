"""A small billing platform over HTTP: something real for a gateway to stand before. Its ledger says what was applied.

python -m holdfast.sample.platform --database billing.db --listen 127.0.0.1:0

The port is printed. Reads: /api/orders, /api/orders/ID, /api/orders/ID/lines, /api/invoices, /api/products,
/api/subscriptions/ID, /api/carts/CUSTOMER, /api/my/orders and /api/my/invoices (signed in), /api/exports/orders,
/api/ledger, /api/ledger/KEY, /api/health. Writes: POST /api/purchases, PUT and DELETE /api/carts/CUSTOMER/items/SKU,
PATCH /api/subscriptions/ID. With --vendor each of them but signing in asks the vendor first, as in incident 4.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from holdfast.sample.billing import make_billing, open_billing
from holdfast.sample.books import Books, Wrong
from holdfast.sample.effects import Effects, Faults, Write
from holdfast.sample.serving import options, serve

__all__ = ["make_app"]

Asked = Callable[[Request], Awaitable[Response]]
_BODY_MAX = 1 << 20


class _Vendor:
    """The vendor as the platform sees it; None for a URL means that there is none."""

    def __init__(self, url: str, seconds: float) -> None:
        self._url = url.rstrip("/")
        self._seconds = seconds
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._seconds))

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def check(self) -> None:
        """Asked before everything, and cached by nobody: that is the fault which incident 4 was about."""
        await self._send("GET", "/accounts/platform", None)

    async def charge(self, key: str, customer: int, cents: int) -> str:
        """The vendor's reference of a charge; the same for the same key."""
        told = await self._send("POST", "/charges", {"key": key, "customer": customer, "cents": cents})
        return str(told.get("reference", "")) or f"LOCAL-{key}"

    async def _send(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        if not self._url or self._session is None:
            return {}
        try:
            async with self._session.request(method, self._url + path, json=body) as answer:
                if answer.status >= 400:
                    raise Wrong(503, f"the billing vendor answers {answer.status}")
                told = await answer.json()
                assert isinstance(told, dict)
                return told
        except (TimeoutError, aiohttp.ClientError) as err:
            raise Wrong(503, "the billing vendor does not answer") from err


class _Platform:
    """The endpoints."""

    def __init__(self, books: Books, effects: Effects, vendor: _Vendor) -> None:
        self._books = books
        self._effects = effects
        self.vendor = vendor

    async def health(self, request: Request) -> Response:  # noqa: ARG002 as Starlette has it
        await self.vendor.check()
        return JSONResponse({"status": "ok", "orders": self._books.orders({"per_page": "1"})["total"]})

    async def sign_in(self, request: Request) -> Response:
        asked = await _json(request)
        token, me = self._books.sign_in(str(asked.get("email")), str(asked.get("password")))
        answer = JSONResponse({"token": token, **me})
        answer.set_cookie("session", token, httponly=True, samesite="lax")
        return answer

    async def sign_out(self, request: Request) -> Response:
        self._books.sign_out(_token(request))
        answer = Response(status_code=204)
        answer.delete_cookie("session")
        return answer

    async def me(self, request: Request) -> Response:
        return JSONResponse(self._books.me(_token(request)))

    async def my_orders(self, request: Request) -> Response:
        return JSONResponse(self._books.orders(_query(request), customer=self._customer(request)))

    async def my_order(self, request: Request) -> Response:
        return JSONResponse(self._books.order(_id(request), customer=self._customer(request)))

    async def my_invoices(self, request: Request) -> Response:
        return JSONResponse(self._books.invoices(_query(request), customer=self._customer(request)))

    async def orders(self, request: Request) -> Response:
        return JSONResponse(self._books.orders(_query(request)))

    async def order(self, request: Request) -> Response:
        return JSONResponse(self._books.order(_id(request)))

    async def lines(self, request: Request) -> Response:
        return JSONResponse(self._books.lines(_id(request)))

    async def invoices(self, request: Request) -> Response:
        return JSONResponse(self._books.invoices(_query(request)))

    async def invoice(self, request: Request) -> Response:
        return JSONResponse(self._books.invoice(_id(request)))

    async def products(self, request: Request) -> Response:  # noqa: ARG002 as Starlette has it
        return JSONResponse(self._books.products())

    async def product(self, request: Request) -> Response:
        return JSONResponse(self._books.product(request.path_params["sku"]))

    async def subscription(self, request: Request) -> Response:
        return JSONResponse(self._books.subscription(_id(request)))

    async def cart(self, request: Request) -> Response:
        return JSONResponse(self._books.cart(_id(request)))

    async def ledger(self, request: Request) -> Response:
        return JSONResponse(self._books.ledger(_query(request)))

    async def applied(self, request: Request) -> Response:
        return JSONResponse(self._books.applied(request.path_params["key"]))

    async def export(self, request: Request) -> Response:
        """All orders as CSV. `seconds`: how long it takes until the first line, for exports are made when asked for."""
        seconds = float(request.query_params.get("seconds", "0"))
        await asyncio.sleep(min(seconds, 60.0))

        async def lines() -> AsyncIterator[str]:
            yield "id,number,status,amount\n"
            page = 1
            rows: list[dict[str, Any]] = [{}]
            while rows:
                rows = self._books.orders({"page": str(page), "per_page": "100"})["orders"]
                for row in rows:
                    yield f"{row['id']},{row['number']},{row['status']},{row['total']['amount']}\n"
                page += 1

        return StreamingResponse(lines(), media_type="text/csv")

    async def purchase(self, request: Request) -> Response:
        asked = await _json(request)
        write = Write("purchase", request.headers.get("idempotency-key", ""), asked)
        if not write.key:
            raise Wrong(400, "a purchase needs an Idempotency-Key")
        known = self._effects.known(write)
        if known is None:
            cents = self._effects.price(asked)
            reference = await self.vendor.charge(write.key, asked["customer"], cents)
            known = self._effects.purchase(write, cents, reference)
        return JSONResponse(known.body, known.status)

    async def put_item(self, request: Request) -> Response:
        asked = {**await _json(request), "customer": _id(request), "sku": request.path_params["sku"]}
        done = self._effects.put_item(Write("cart-put", request.headers.get("idempotency-key", ""), asked))
        return JSONResponse(done.body, done.status)

    async def remove_item(self, request: Request) -> Response:
        asked = {"customer": _id(request), "sku": request.path_params["sku"]}
        done = self._effects.remove_item(Write("cart-remove", request.headers.get("idempotency-key", ""), asked))
        return JSONResponse(done.body, done.status)

    async def change_seats(self, request: Request) -> Response:
        asked = {**await _json(request), "subscription": _id(request)}
        done = self._effects.change_seats(
            Write("seats", request.headers.get("idempotency-key", ""), asked), request.headers.get("if-match", "")
        )
        return JSONResponse(done.body, done.status)

    def _customer(self, request: Request) -> int:
        return int(self._books.me(_token(request))["me"]["id"])


def make_app(
    database: Path, *, vendor: str = "", vendor_seconds: float = 10.0, once_per_key: bool = False
) -> Starlette:
    """The platform over its database. *once_per_key*: a write whose Idempotency-Key is known is not applied again."""
    connection = open_billing(database)
    faults = Faults()
    platform = _Platform(
        Books(connection), Effects(connection, once_per_key=once_per_key), _Vendor(vendor, vendor_seconds)
    )

    @asynccontextmanager
    async def life(_: Starlette) -> AsyncIterator[None]:
        await platform.vendor.open()
        yield
        await platform.vendor.close()

    async def switch(request: Request) -> Response:
        faults.set(await _json(request))
        return Response(status_code=204)

    routes = [
        Route("/api/health", faults.before(platform.health), methods=["GET"]),
        Route("/api/sign-in", faults.before(platform.sign_in), methods=["POST"]),
        Route("/api/sign-out", faults.before(platform.sign_out), methods=["POST"]),
        Route("/api/me", faults.before(platform.me), methods=["GET"]),
        Route("/.faults", switch, methods=["PUT"]),
    ]
    for path, methods in _table(platform).items():
        for method, endpoint in methods.items():
            routes.append(Route(path, faults.before(_after_vendor(platform.vendor, endpoint)), methods=[method]))
    return Starlette(routes=routes, exception_handlers={Wrong: _wrong}, lifespan=life)


def _table(platform: _Platform) -> dict[str, dict[str, Asked]]:
    """What is asked of the vendor first: everything that concerns money."""
    return {
        "/api/orders": {"GET": platform.orders},
        "/api/orders/{id:int}": {"GET": platform.order},
        "/api/orders/{id:int}/lines": {"GET": platform.lines},
        "/api/invoices": {"GET": platform.invoices},
        "/api/invoices/{id:int}": {"GET": platform.invoice},
        "/api/my/orders": {"GET": platform.my_orders},
        "/api/my/orders/{id:int}": {"GET": platform.my_order},
        "/api/my/invoices": {"GET": platform.my_invoices},
        "/api/products": {"GET": platform.products},
        "/api/products/{sku}": {"GET": platform.product},
        "/api/subscriptions/{id:int}": {"GET": platform.subscription, "PATCH": platform.change_seats},
        "/api/carts/{id:int}": {"GET": platform.cart},
        "/api/carts/{id:int}/items/{sku}": {"PUT": platform.put_item, "DELETE": platform.remove_item},
        "/api/purchases": {"POST": platform.purchase},
        "/api/exports/orders": {"GET": platform.export},
        "/api/ledger": {"GET": platform.ledger},
        "/api/ledger/{key}": {"GET": platform.applied},
    }


def _after_vendor(vendor: _Vendor, endpoint: Asked) -> Asked:
    async def asked(request: Request) -> Response:
        await vendor.check()
        return await endpoint(request)

    return asked


async def _json(request: Request) -> dict[str, Any]:
    if int(request.headers.get("content-length", "0")) > _BODY_MAX:
        raise Wrong(413, "too much")
    try:
        told = await request.json()
    except ValueError as err:
        raise Wrong(400, "no JSON") from err
    if not isinstance(told, dict):
        raise Wrong(400, "no JSON object")
    return told


def _query(request: Request) -> dict[str, str]:
    return dict(request.query_params)


def _id(request: Request) -> int:
    return int(request.path_params["id"])


def _token(request: Request) -> str:
    kind, _, token = request.headers.get("authorization", "").partition(" ")
    return token if kind.lower() == "bearer" else request.cookies.get("session", "")


async def _wrong(request: Request, err: Exception) -> Response:  # noqa: ARG001 as Starlette has it
    assert isinstance(err, Wrong)
    return JSONResponse({"error": err.message}, err.status)


if __name__ == "__main__":
    parser = options("a small billing platform")
    parser.add_argument("--database", type=Path, required=True, help="made with so many orders if it is not there")
    parser.add_argument("--orders", type=int, default=500)
    parser.add_argument("--vendor", default="", help="URL of the billing vendor that everything depends on")
    parser.add_argument("--vendor-seconds", type=float, default=10.0, help="how long it waits for its vendor")
    parser.add_argument("--once-per-key", action="store_true", help="apply a write once for each Idempotency-Key")
    given = parser.parse_args()
    if not given.database.exists():
        make_billing(given.database, orders=given.orders)
    serve(
        make_app(
            given.database, vendor=given.vendor, vendor_seconds=given.vendor_seconds, once_per_key=given.once_per_key
        ),
        given.listen,
        with_parent=given.with_parent,
    )
