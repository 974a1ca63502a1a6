"""The sample platform's database: customers, products, orders, invoices, subscriptions, carts, purchases, a ledger.

The ledger has one row for every effect that a write had, in the transaction that had it: what is in it once was applied
once. It is the truth that exercises and tests count by.
"""

from __future__ import annotations

import hashlib
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

__all__ = ["hashed", "ledger", "make_billing", "open_billing", "password_of"]

_EPOCH = datetime(2024, 9, 1, tzinfo=UTC)
_STATUSES = ("paid", "paid", "paid", "shipped", "shipped", "open", "cancelled")
_WORDS = ("Teapot", "Lamp", "Chair", "Kettle", "Scarf", "Notebook", "Bowl", "Клавиша", "茶壶", "إبريق")
_PLANS = (("team", 1900), ("business", 4900), ("enterprise", 11500))

_TABLES = """
CREATE TABLE customers (
  id INTEGER PRIMARY KEY, email TEXT NOT NULL UNIQUE, name TEXT NOT NULL, salt BLOB NOT NULL, password BLOB NOT NULL
);
CREATE TABLE products (
  sku TEXT PRIMARY KEY, name TEXT NOT NULL, price_cents INTEGER NOT NULL, is_digital INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE orders (
  id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers (id), number TEXT NOT NULL UNIQUE,
  status TEXT NOT NULL, currency TEXT NOT NULL, total_cents INTEGER NOT NULL, note TEXT, is_gift INTEGER NOT NULL,
  created_at TEXT NOT NULL
);
CREATE TABLE order_lines (
  order_id INTEGER NOT NULL REFERENCES orders (id), line_no INTEGER NOT NULL, sku TEXT NOT NULL, name TEXT NOT NULL,
  quantity INTEGER NOT NULL, unit_cents INTEGER NOT NULL, PRIMARY KEY (order_id, line_no)
);
CREATE TABLE invoices (
  id INTEGER PRIMARY KEY, order_id INTEGER NOT NULL UNIQUE REFERENCES orders (id),
  customer_id INTEGER NOT NULL REFERENCES customers (id), number TEXT NOT NULL UNIQUE, total_cents INTEGER NOT NULL,
  issued_on TEXT NOT NULL, paid_at TEXT, is_paid INTEGER NOT NULL
);
CREATE TABLE subscriptions (
  id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers (id), plan TEXT NOT NULL,
  seats INTEGER NOT NULL, unit_cents INTEGER NOT NULL,
  monthly_cents INTEGER NOT NULL, version INTEGER NOT NULL, updated_at TEXT NOT NULL
);
CREATE TABLE cart_items (
  customer_id INTEGER NOT NULL REFERENCES customers (id), sku TEXT NOT NULL REFERENCES products (sku),
  quantity INTEGER NOT NULL CHECK (quantity > 0), added_at TEXT NOT NULL, PRIMARY KEY (customer_id, sku)
) WITHOUT ROWID;
CREATE TABLE purchases (
  id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers (id), sku TEXT NOT NULL,
  quantity INTEGER NOT NULL, total_cents INTEGER NOT NULL, key TEXT NOT NULL, reference TEXT, created_at TEXT NOT NULL
);
CREATE TABLE sessions (
  token TEXT PRIMARY KEY, customer_id INTEGER NOT NULL REFERENCES customers (id), created_at TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE answers (
  key TEXT PRIMARY KEY, digest TEXT NOT NULL, status INTEGER NOT NULL, body BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE ledger (
  id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, key TEXT NOT NULL, record TEXT NOT NULL,
  content TEXT NOT NULL, at TEXT NOT NULL
);
CREATE INDEX orders_customer ON orders (customer_id, id);
CREATE INDEX invoices_customer ON invoices (customer_id, id);
CREATE INDEX purchases_key ON purchases (key);
CREATE INDEX ledger_key ON ledger (key);
"""


def make_billing(path: Path, *, orders: int = 500, customers: int = 50, seed: int = 1) -> None:
    """A new database at *path*, which must be free, with so many orders; the same seed gives the same content."""
    rng = random.Random(seed)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript("PRAGMA journal_mode = WAL; BEGIN;" + _TABLES)
        products = [
            (f"SKU-{n:03d}", f"{rng.choice(_WORDS)} {n}", rng.randrange(500, 20_000), int(n % 4 == 0))
            for n in range(1, 41)
        ]
        connection.executemany("INSERT INTO products VALUES (?, ?, ?, ?)", products)
        connection.executemany("INSERT INTO customers VALUES (?, ?, ?, ?, ?)", _customers(customers, rng))
        connection.executemany(
            "INSERT INTO subscriptions VALUES (?, ?, ?, ?, ?, ?, 1, ?)",
            [(n, n, *_subscription(rng), _time(0)) for n in range(1, customers + 1)],
        )
        for number in range(1, orders + 1):
            _order(connection, number, rng.randrange(1, customers + 1), (products, rng))
        connection.execute("COMMIT")


def open_billing(path: Path) -> sqlite3.Connection:
    """The database, for the platform's own process. What it committed outlives the process, if not the machine."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.row_factory = sqlite3.Row
    connection.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON")
    return connection


def ledger(path: Path) -> list[dict[str, Any]]:
    """Every effect that any write had, in the order in which they came to be."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute("SELECT * FROM ledger ORDER BY id")]


def password_of(customer: int) -> str:
    """What a customer of the sample signs in with."""
    return f"sample-{customer}"


def hashed(password: str, salt: bytes) -> bytes:
    """What is kept of a password. Cheap on purpose: a sample has many customers, and no secrets."""
    return hashlib.scrypt(password.encode(), salt=salt, n=64, r=8, p=1, dklen=32)


def _customers(count: int, rng: random.Random) -> Iterator[tuple[int, str, str, bytes, bytes]]:
    for number in range(1, count + 1):
        salt = rng.randbytes(16)
        name = f"{rng.choice(_WORDS)} & Co {number}"
        yield number, f"customer{number}@shop.example", name, salt, hashed(password_of(number), salt)


def _subscription(rng: random.Random) -> tuple[str, int, int, int]:
    plan, cents = rng.choice(_PLANS)
    seats = rng.randrange(1, 60)
    return plan, seats, cents, seats * cents


def _order(
    connection: sqlite3.Connection,
    number: int,
    customer: int,
    drawn: tuple[list[tuple[str, str, int, int]], random.Random],
) -> None:
    """One order with its lines, and its invoice unless it was cancelled."""
    products, rng = drawn
    lines = [(rng.choice(products), rng.choice((1, 1, 1, 2, 3))) for _ in range(rng.choice((1, 1, 2, 3)))]
    total = sum(product[2] * quantity for product, quantity in lines)
    status = rng.choice(_STATUSES)
    at = _time(number * 977)
    note = rng.choice((None, None, None, "", 'Say "hello", please', "Ring twice\nthen wait", "謝謝 <b>100 %</b>"))
    connection.execute(
        "INSERT INTO orders VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (number, customer, f"A-{number:06d}", status, "EUR", total, note, int(rng.random() < 0.1), at),
    )
    connection.executemany(
        "INSERT INTO order_lines VALUES (?, ?, ?, ?, ?, ?)",
        [
            (number, line, product[0], product[1], quantity, product[2])
            for line, (product, quantity) in enumerate(lines, 1)
        ],
    )
    if status != "cancelled":
        paid = None if status == "open" else _time(number * 977 + 3_600)
        connection.execute(
            "INSERT INTO invoices (order_id, customer_id, number, total_cents, issued_on, paid_at, is_paid)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (number, customer, f"INV-{number:06d}", total, at[:10], paid, int(paid is not None)),
        )


def _time(seconds: float) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
