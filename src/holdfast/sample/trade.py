"""Lets the sample shop trade on: new orders, orders that move on, and the small changes of every day.

Everything goes through ordinary transactions, with references enforced and triggers firing.
"""

from __future__ import annotations

import os
import random
import sqlite3
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from holdfast.errors import Usage
from holdfast.sample.catalogue import SETTINGS, Tenant, Value, partner_row, read_catalogue, stamp
from holdfast.sample.opening import opened, transaction
from holdfast.sample.schema import COLUMNS, insert_statement
from holdfast.sample.shop import insert_rows
from holdfast.sample.trader import FRESH, Customer, Rows, Trader

__all__ = ["Span", "TradeCounts", "trade"]

_CHUNK = 1_024  # orders a transaction
_KNOWN = 4_096  # customers of the past who may order again
_RECENT_SHARE = 0.05  # of the orders, the last ones; they take most of the changes
_RECENT_CHANGES = 0.6


@dataclass(frozen=True, slots=True)
class TradeCounts:
    """Records by table that exist now and did not before, that differ from before, and that are no more."""

    new: Mapping[str, int]
    changed: Mapping[str, int]
    gone: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Before:
    """The shop when the trading began: ids used, range of order ids, time of the last order and seconds between two."""

    last: Mapping[str, int]
    first_order: int
    clock: float
    pace: float


@dataclass(frozen=True, slots=True)
class Span:
    """Hours of the shop's calendar, and whether carts and customers who never ordered are deleted meanwhile."""

    begin: float
    end: float
    deletes: bool = True


class _Day:
    """One run of trading: what it works with, and what it has done so far."""

    def __init__(self, connection: sqlite3.Connection, rng: random.Random, before: _Before) -> None:
        self.connection = connection
        self.rng = rng
        self.before = before
        self.new: Counter[str] = Counter()
        self.changed: Counter[str] = Counter()
        self.gone: Counter[str] = Counter()


def trade(
    path: str | os.PathLike[str],
    *,
    orders: int,
    seed: int,
    share_updated: float = 0.01,
    span: Span | None = None,
) -> TradeCounts:
    """Add *orders* orders with their children, and move *share_updated* of the older ones on; count exactly.

    Six of ten moved orders are among the last 5 % (at 1 %: every eighth of them), the others anywhere. They come as
    fast as orders did, or spread over a *span* of the shop's calendar. The same state and seed give the same result.
    Raises Usage (no sample shop, no orders asked for), Unreachable or Damaged.
    """
    if orders < 1 or not 0 <= share_updated <= 1:
        raise Usage(f"can't trade {orders} orders and update a share of {share_updated}", hint="1 or more; 0 to 1")
    with opened(path, foreign_keys=True) as connection:
        before = _read_before(connection)
        if span is not None:
            before = replace(before, clock=span.begin * 3600, pace=(span.end - span.begin) * 3600 / orders)
        day = _Day(connection, random.Random(seed), before)
        with transaction(connection):
            _add_partners(day, 1 + orders // 500)
        tenants = read_catalogue(connection)
        trader = Trader(tenants, _some_customers(day, tenants), day.before.last, day.before.clock, day.rng)
        sold: set[Value] = set()
        for start in range(0, orders, _CHUNK):
            for _ in range(min(_CHUNK, orders - start)):
                trader.make_order(day.before.pace, FRESH)
            sold.update(line[2] for line in trader.rows.order_lines)
            with transaction(connection):
                _write(day, trader)
        # The trigger that takes stock changes a product once or often: it is one changed record.
        day.changed["products"] = len(sold)
        with transaction(connection):
            moved = _move_orders(day, trader, share_updated)
            at = stamp(int(trader.clock) + 60)
            customers = _move_customers(day, 2 + orders // 50, at)
            _change_settings(day, tenants, at)
            _use_top_ups(day, 1 + orders // 50, at)
            if span is None or span.deletes:
                _drop_carts(day, moved, 1 + orders // 200)
                _forget_customers(day, customers, 1 + orders // 500)
        entries = connection.execute("SELECT count(*) FROM audit_log WHERE id > ?", (day.before.last["audit_log"],))
        day.new["audit_log"] = entries.fetchone()[0]
    return TradeCounts(new=dict(+day.new), changed=dict(+day.changed), gone=dict(+day.gone))


def _read_before(connection: sqlite3.Connection) -> _Before:
    def one(query: str) -> int:
        return int(connection.execute(query).fetchone()[0] or 0)

    numbered = [table for table in (*Rows.__slots__, "partners") if "id" in COLUMNS[table]]
    last = {table: one(f"SELECT max(id) FROM {table}") for table in numbered}
    # AUTOINCREMENT: a number that was used once is not used again, even if its row is gone.
    for table in ("top_ups", "audit_log"):
        last[table] = one(f"SELECT max(seq) FROM sqlite_sequence WHERE name = '{table}'")
    ends = connection.execute(
        "SELECT id, created_at FROM orders WHERE id IN ((SELECT min(id) FROM orders), (SELECT max(id) FROM orders))"
        " ORDER BY id"
    ).fetchall()
    if not ends:
        return _Before(last, first_order=1, clock=86_400.0, pace=600.0)
    (first, began), (latest, ended) = ends[0], ends[-1]
    pace = (_seconds(ended) - _seconds(began)) / max(1, latest - first)
    return _Before(last, first_order=first, clock=float(_seconds(ended)), pace=max(1.0, pace))


def _seconds(text: str) -> int:
    """The inverse of `stamp`."""
    return int((datetime.fromisoformat(text) - datetime(2023, 1, 1, tzinfo=UTC)).total_seconds())


def _some_customers(day: _Day, tenants: Mapping[int, Tenant]) -> list[Customer]:
    partners = {partner.id: partner for tenant in tenants.values() for partner in tenant.partners}
    known = []
    for number in _sample(day.rng, 1, day.before.last["customers"], _KNOWN):
        row = day.connection.execute(
            "SELECT id, tenant_id, partner_id, email, phone, name, street, city, postcode, country"
            " FROM customers WHERE id = ?",
            (number,),
        ).fetchone()
        if row:
            known.append(Customer(row[0], tenants[row[1]], partners.get(row[2]), *row[3:]))
    return known


def _sample(rng: random.Random, first: int, last: int, count: int) -> list[int]:
    """Up to *count* different ids between *first* and *last*, ascending."""
    ids = range(first, last + 1)
    return sorted(rng.sample(ids, min(count, len(ids))))


def _write(day: _Day, trader: Trader) -> None:
    rows = trader.taken_rows()
    insert_rows(day.connection, rows)
    day.new.update({table: len(values) for table, values in rows.tables().items()})


def _add_partners(day: _Day, count: int) -> None:
    tenants = [number for (number,) in day.connection.execute("SELECT id FROM tenants ORDER BY id")]
    first = day.before.last["partners"] + 1
    at = int(day.before.clock)
    rows = [partner_row(first + n, tenant=day.rng.choice(tenants), at=at, rng=day.rng) for n in range(count)]
    day.connection.executemany(insert_statement("partners"), rows)
    day.new["partners"] = count


def _move_orders(day: _Day, trader: Trader, share: float) -> set[int]:
    """Move orders on, most of them recent; the ids of those chosen."""
    first, last = day.before.first_order, day.before.last["orders"]
    wanted = round(share * (last - first + 1))
    border = last - int((last - first + 1) * _RECENT_SHARE)
    recent = _sample(day.rng, border + 1, last, round(wanted * _RECENT_CHANGES))
    chosen = recent + _sample(day.rng, first, border, wanted - len(recent))
    for number in chosen:
        trader.clock += 1
        _move_order(day, trader, number)
    _write(day, trader)
    return set(chosen)


def _move_order(day: _Day, trader: Trader, number: int) -> None:
    """One step on: new, paid, shipped, delivered; whoever is at the end gets a note."""
    order = day.connection.execute(
        "SELECT status, total_cents, currency, note, paid_at, shipped_at, tracking, updated_at"
        " FROM orders WHERE id = ?",
        (number,),
    ).fetchone()
    if order is None:
        return
    status, total, currency, note, paid, shipped, tracking, updated = order
    at = stamp(int(trader.clock))
    if status == "new" and day.rng.getrandbits(2):
        status, paid = "paid", at
        trader.settle(number, total, currency, at)
        day.changed["invoices"] += day.connection.execute(
            "UPDATE invoices SET paid_at = ? WHERE order_id = ? AND paid_at IS NULL", (at, number)
        ).rowcount
    elif status == "new":
        status = "cancelled"
    elif status == "paid":
        status, shipped, tracking = "shipped", at, f"XX{number:013d}"
    elif status == "shipped":
        status = "delivered"
    else:
        note = f"{note or ''} [{at[:10]}: ok]".lstrip()
    if (status, at) != (order[0], updated):
        day.connection.execute(
            "UPDATE orders SET status = ?, note = ?, paid_at = ?, shipped_at = ?, tracking = ?, updated_at = ?"
            " WHERE id = ?",
            (status, note, paid, shipped, tracking, at, number),
        )
        day.changed["orders"] += 1


def _move_customers(day: _Day, count: int, at: str) -> set[int]:
    """Some customers have a new address; their ids."""
    moved = _sample(day.rng, 1, day.before.last["customers"], count)
    day.changed["customers"] += day.connection.executemany(
        "UPDATE customers SET street = street || ?, updated_at = ? WHERE id = ?",
        [(f" / {day.rng.randrange(1, 99)}", at, number) for number in moved],
    ).rowcount
    return set(moved)


def _change_settings(day: _Day, tenants: Mapping[int, Tenant], at: str) -> None:
    places = [(tenant, name) for tenant in tenants for name in SETTINGS]
    for tenant, name in day.rng.sample(places, 2 + len(tenants) // 3):
        row = day.connection.execute(
            "SELECT value FROM settings WHERE tenant_id = ? AND name = ?", (tenant, name)
        ).fetchone()
        if row:
            value = day.rng.choice([each for each in SETTINGS[name] if each != row[0]])
            day.changed["settings"] += day.connection.execute(
                "UPDATE settings SET value = ?, updated_at = ? WHERE tenant_id = ? AND name = ?",
                (value, at, tenant, name),
            ).rowcount


def _use_top_ups(day: _Day, count: int, at: str) -> None:
    day.changed["top_ups"] += day.connection.execute(
        "UPDATE top_ups SET status = 'used', used_at = ? WHERE id IN"
        " (SELECT id FROM top_ups WHERE status = 'open' AND id <= ? ORDER BY id DESC LIMIT ?)",
        (at, day.before.last["top_ups"], count),
    ).rowcount


def _drop_carts(day: _Day, moved: set[int], count: int) -> None:
    """Delete abandoned carts among the last orders; their lines go with them."""
    first, last = day.before.first_order, day.before.last["orders"]
    border = last - int((last - first + 1) * _RECENT_SHARE)
    carts = [
        number
        for (number,) in day.connection.execute(
            "SELECT id FROM orders AS o WHERE id > ? AND id <= ? AND status = 'new' AND invoice_id IS NULL"
            " AND NOT EXISTS (SELECT 1 FROM payments WHERE order_id = o.id)"
            " AND NOT EXISTS (SELECT 1 FROM invoices WHERE order_id = o.id) ORDER BY id",
            (border, last),
        )
        if number not in moved
    ]
    for number in carts[:count]:
        lines = day.connection.execute("SELECT count(*) FROM order_lines WHERE order_id = ?", (number,)).fetchone()[0]
        day.connection.execute("DELETE FROM orders WHERE id = ?", (number,))
        day.gone.update(orders=1, order_lines=lines)


def _forget_customers(day: _Day, moved: set[int], count: int) -> None:
    """Delete some customers who asked to be forgotten and never ordered."""
    last = day.before.last["customers"]
    start = day.rng.randrange(1, last + 2)
    wishes = day.connection.execute(
        "SELECT id FROM customers AS c WHERE id BETWEEN ? AND ?"
        " AND NOT EXISTS (SELECT 1 FROM orders WHERE customer_id = c.id)"
        " AND NOT EXISTS (SELECT 1 FROM top_ups WHERE customer_id = c.id)"
        " AND NOT EXISTS (SELECT 1 FROM partners WHERE customer_id = c.id) ORDER BY id LIMIT ?",
        (start, last, count + len(moved)),
    ).fetchall()
    forgotten = [row for row in wishes if row[0] not in moved][:count]
    day.connection.executemany("DELETE FROM customers WHERE id = ?", forgotten)
    day.gone["customers"] += len(forgotten)
