"""What the sample platform tells of its database, in the shape of its API: lists with filters, order and paging."""

from __future__ import annotations

import hmac
import secrets
import sqlite3
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from holdfast.sample.billing import hashed

__all__ = ["Books", "Wrong", "money"]

Row = dict[str, Any]
_PAGE_MAX = 100
_ORDERS_BY = {"id": "id", "created_at": "created_at", "total": "total_cents"}


class Wrong(Exception):
    """The request can't be met as it is: the status of the answer, and what it says."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class Books:
    """Questions to the database."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def orders(self, query: Mapping[str, str], customer: int | None = None) -> Row:
        """A page of orders: `status`, `customer`, `min_total`, `sort` (`-` for descending), `page`, `per_page`."""
        _check(query, {"status", "customer", "min_total", "sort", "page", "per_page"})
        where, values = _condition(query, {"status": "status = ?", "customer": "customer_id = ?"})
        if "min_total" in query:
            where.append("total_cents >= ?")
            values.append(_number(query["min_total"], "min_total") * 100)
        if customer is not None:
            where.append("customer_id = ?")
            values.append(customer)
        sort = query.get("sort", "id")
        column = _ORDERS_BY.get(sort.removeprefix("-"))
        if column is None:
            raise Wrong(400, f"can't sort by {sort}")
        direction = "DESC" if sort.startswith("-") else "ASC"
        page, size = _number(query.get("page", "1"), "page"), _size(query.get("per_page", "20"))
        if page < 1:
            raise Wrong(400, "page must be 1 or more")
        text = f" FROM orders{_and(where)}"
        total = self._one(f"SELECT count(*) AS n{text}", values)["n"]
        rows = self._all(f"SELECT *{text} ORDER BY {column} {direction}, id LIMIT ? OFFSET ?",
                         [*values, size, (page - 1) * size])  # fmt: skip
        return {"orders": [_order(row) for row in rows], "page": page, "per_page": size, "total": total}

    def order(self, number: int, customer: int | None = None) -> Row:
        """One order with its lines."""
        row = self._found("SELECT * FROM orders WHERE id = ?", [number], "order")
        if customer is not None and row["customer_id"] != customer:
            raise Wrong(404, "no such order")
        return {"order": {**_order(row), "lines": self.lines(number)["lines"]}}

    def lines(self, number: int) -> Row:
        """The lines of an order."""
        rows = self._all("SELECT * FROM order_lines WHERE order_id = ? ORDER BY line_no", [number])
        return {"lines": [{"line": row["line_no"], "sku": row["sku"], "name": row["name"], "quantity": row["quantity"],
                           "unit": money(row["unit_cents"])} for row in rows]}  # fmt: skip

    def invoices(self, query: Mapping[str, str], customer: int | None = None) -> Row:
        """Invoices, newest first: `customer`, `unpaid`, `limit`, `offset`."""
        _check(query, {"customer", "unpaid", "limit", "offset"})
        where, values = _condition(query, {"customer": "customer_id = ?"})
        if query.get("unpaid") == "1":
            where.append("is_paid = 0")
        if customer is not None:
            where.append("customer_id = ?")
            values.append(customer)
        size, offset = _size(query.get("limit", "20")), _number(query.get("offset", "0"), "offset")
        rows = self._all(f"SELECT * FROM invoices{_and(where)} ORDER BY id DESC LIMIT ? OFFSET ?",
                         [*values, size, offset])  # fmt: skip
        return {"invoices": [_invoice(row) for row in rows], "limit": size, "offset": offset}

    def invoice(self, number: int, customer: int | None = None) -> Row:
        """One invoice."""
        row = self._found("SELECT * FROM invoices WHERE id = ?", [number], "invoice")
        if customer is not None and row["customer_id"] != customer:
            raise Wrong(404, "no such invoice")
        return {"invoice": _invoice(row)}

    def subscription(self, number: int) -> Row:
        """One subscription, with the version that a change must name."""
        row = self._found("SELECT * FROM subscriptions WHERE id = ?", [number], "subscription")
        return {"subscription": {"id": row["id"], "customer": row["customer_id"], "plan": row["plan"],
                                 "seats": row["seats"], "monthly": money(row["monthly_cents"]),
                                 "version": row["version"], "updated_at": row["updated_at"]}}  # fmt: skip

    def products(self) -> Row:
        """What is sold."""
        return {"products": [_product(row) for row in self._all("SELECT * FROM products ORDER BY sku", [])]}

    def product(self, sku: str) -> Row:
        """One product."""
        return {"product": _product(self._found("SELECT * FROM products WHERE sku = ?", [sku], "product"))}

    def cart(self, customer: int) -> Row:
        """What is in a customer's cart."""
        rows = self._all("SELECT sku, quantity FROM cart_items WHERE customer_id = ? ORDER BY sku", [customer])
        return {"cart": {"customer": customer, "items": [dict(row) for row in rows]}}

    def ledger(self, query: Mapping[str, str]) -> Row:
        """Effects in the order in which they came to be: `after` an id, `limit`."""
        _check(query, {"after", "limit"})
        values = [_number(query.get("after", "0"), "after"), _size(query.get("limit", "100"))]
        rows = self._all("SELECT * FROM ledger WHERE id > ? ORDER BY id LIMIT ?", values)
        return {"ledger": [dict(row) for row in rows]}

    def applied(self, key: str) -> Row:
        """What came of writes with an idempotency key."""
        rows = self._all("SELECT * FROM ledger WHERE key = ? ORDER BY id", [key])
        if not rows:
            raise Wrong(404, "no write with that key was applied")
        return {"applied": [dict(row) for row in rows]}

    def sign_in(self, email: str, password: str) -> tuple[str, Row]:
        """A new session's token, and whose it is."""
        row = self._connection.execute("SELECT * FROM customers WHERE email = ?", [email]).fetchone()
        if row is None or not hmac.compare_digest(hashed(password, row["salt"]), row["password"]):
            raise Wrong(401, "no such customer, or another password")
        token, now = secrets.token_urlsafe(24), datetime.now(UTC).isoformat()
        self._connection.execute("INSERT INTO sessions VALUES (?, ?, ?)", [token, row["id"], now])
        return token, _me(row)

    def sign_out(self, token: str) -> None:
        """End a session."""
        self._connection.execute("DELETE FROM sessions WHERE token = ?", [token])

    def me(self, token: str) -> Row:
        """Whose session that is."""
        text = "SELECT c.* FROM sessions AS s JOIN customers AS c ON c.id = s.customer_id WHERE s.token = ?"
        row = self._connection.execute(text, [token]).fetchone()
        if row is None:
            raise Wrong(401, "sign in first")
        return _me(row)

    def _all(self, text: str, values: list[Any]) -> list[sqlite3.Row]:
        return self._connection.execute(text, values).fetchall()

    def _one(self, text: str, values: list[Any]) -> Any:
        return self._connection.execute(text, values).fetchone()

    def _found(self, text: str, values: list[Any], what: str) -> Any:
        row = self._one(text, values)
        if row is None:
            raise Wrong(404, f"no such {what}")
        return row


def money(cents: int) -> str:
    """Whole cents as the API writes amounts: "12.50"."""
    return f"{cents // 100}.{cents % 100:02d}"


def _order(row: sqlite3.Row) -> Row:
    return {"id": row["id"], "number": row["number"], "customer": row["customer_id"], "status": row["status"],
            "total": {"amount": money(row["total_cents"]), "currency": row["currency"]}, "note": row["note"],
            "gift": bool(row["is_gift"]), "created_at": row["created_at"]}  # fmt: skip


def _invoice(row: sqlite3.Row) -> Row:
    return {"id": row["id"], "number": row["number"], "order": row["order_id"], "customer": row["customer_id"],
            "total": money(row["total_cents"]), "issued_on": row["issued_on"], "paid_at": row["paid_at"],
            "is_paid": bool(row["is_paid"])}  # fmt: skip


def _product(row: sqlite3.Row) -> Row:
    return {"sku": row["sku"], "name": row["name"], "price": money(row["price_cents"]),
            "digital": bool(row["is_digital"])}  # fmt: skip


def _me(row: sqlite3.Row) -> Row:
    return {"me": {"id": row["id"], "email": row["email"], "name": row["name"]}}


def _check(query: Mapping[str, str], known: set[str]) -> None:
    unknown = sorted(query.keys() - known)
    if unknown:
        raise Wrong(400, f"no parameter {unknown[0]}")


def _condition(query: Mapping[str, str], columns: Mapping[str, str]) -> tuple[list[str], list[Any]]:
    read: dict[str, Callable[[str], Any]] = {"customer": lambda text: _number(text, "customer")}
    chosen = [name for name in columns if name in query]
    return [columns[name] for name in chosen], [read.get(name, str)(query[name]) for name in chosen]


def _and(where: list[str]) -> str:
    return " WHERE " + " AND ".join(where) if where else ""


def _number(text: str, name: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise Wrong(400, f"{name} must be a number")
    return int(text)


def _size(text: str) -> int:
    size = _number(text, "the size of a page")
    if not 1 <= size <= _PAGE_MAX:
        raise Wrong(400, f"a page has 1 to {_PAGE_MAX}")
    return size
