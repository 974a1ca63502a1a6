"""The disaster: a script gone wrong (or a person) in the shop's own database, with references not enforced."""

from __future__ import annotations

import os
import random
import sqlite3
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from holdfast.sample.opening import opened, transaction

__all__ = ["DestroyCounts", "destroy"]

_RUN_SHARE = 0.02  # of the orders, lost in one run of ids
_SCATTERED = 500  # at most: orders, customers, payments hit here and there
_CHILDREN = ("licence_keys", "commissions", "payments", "invoices", "order_lines")
_GARBLE = "UPDATE customers SET name = ?1, street = ?1, city = '' WHERE id = ?2 AND name <> ?1"
_ZERO = "UPDATE payments SET amount_cents = 0 WHERE id = ? AND amount_cents <> 0"


@dataclass(frozen=True, slots=True)
class DestroyCounts:
    """Records by table that differ from before, and that are no more. Nothing is added."""

    changed: Mapping[str, int]
    gone: Mapping[str, int]


def destroy(path: str | os.PathLike[str], *, seed: int) -> DestroyCounts:
    """Delete orders with all their children and one tenant's licence keys, garble customers, zero payments.

    All in one transaction; the counts are exact. Raises Usage (no sample shop), Unreachable or Damaged.
    """
    rng = random.Random(seed)
    changed: Counter[str] = Counter()
    gone: Counter[str] = Counter()
    with opened(path, foreign_keys=False) as connection, transaction(connection):
        _choose_orders(connection, rng)
        for table in _CHILDREN:
            gone[table] += _run(connection, f"DELETE FROM {table} WHERE order_id IN (SELECT id FROM temp.doomed)")
        gone["orders"] += _run(connection, "DELETE FROM orders WHERE id IN (SELECT id FROM temp.doomed)")
        tenants = [tenant for (tenant,) in connection.execute("SELECT DISTINCT tenant_id FROM licence_keys ORDER BY 1")]
        if tenants:
            hit = rng.choice(tenants)
            gone["licence_keys"] += _run(connection, "DELETE FROM licence_keys WHERE tenant_id = ?", hit)
        for number in _some_ids(connection, rng, "customers"):
            garbage = "\ufffd" * rng.randrange(3, 12) + f"{rng.getrandbits(32):08x}"
            changed["customers"] += _run(connection, _GARBLE, garbage, number)
        for number in _some_ids(connection, rng, "payments"):
            changed["payments"] += _run(connection, _ZERO, number)
    return DestroyCounts(changed=dict(+changed), gone=dict(+gone))


def _choose_orders(connection: sqlite3.Connection, rng: random.Random) -> None:
    """Fill temp.doomed: a run of orders in the younger half of the shop, and some anywhere."""
    connection.execute("CREATE TEMP TABLE doomed (id INTEGER PRIMARY KEY)")
    last = connection.execute("SELECT max(id) FROM orders").fetchone()[0] or 0
    length = int(last * _RUN_SHARE) + 1
    start = rng.randrange(last // 2, last + 1)
    ids = set(range(start, start + length)).union(_some_ids(connection, rng, "orders"))
    connection.executemany("INSERT INTO temp.doomed VALUES (?)", ((number,) for number in sorted(ids)))


def _some_ids(connection: sqlite3.Connection, rng: random.Random, table: str) -> list[int]:
    """One id in a hundred, at most `_SCATTERED`; a few may belong to nobody."""
    last = connection.execute(f"SELECT max(id) FROM {table}").fetchone()[0] or 0
    return sorted(rng.sample(range(1, last + 1), min(last, _SCATTERED, 1 + last // 100)))


def _run(connection: sqlite3.Connection, statement: str, *values: int | str) -> int:
    return connection.execute(statement, values).rowcount
