"""Creates the sample shop: a seeded SQLite database of as many orders as wanted, the same for the same seed."""

from __future__ import annotations

import os
import random
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

from holdfast.errors import Refused, Unreachable, Usage
from holdfast.sample.catalogue import Tenant, fill_catalogue, read_catalogue
from holdfast.sample.schema import APPLICATION_ID, DEPENDENTS, TABLES, USER_VERSION, insert_statement
from holdfast.sample.trader import RECENT, SETTLED, Customer, Rows, Trader

__all__ = ["Progress", "insert_rows", "make_shop"]

Progress = Callable[[int, int], None]

_CHUNK = 4_096  # orders written at a time: bounds memory
_SPAN = 3 * 365 * 86_400  # seconds of trade before the shop is handed over
_RECENT_SHARE = 0.03
_JOURNALS = ("wal", "delete", "truncate", "persist")


def make_shop(
    path: str | os.PathLike[str],
    *,
    orders: int = 20_000,
    seed: int = 1,
    journal: str = "wal",
    progress: Progress | None = None,
) -> None:
    """Create a shop with *orders* orders at *path*, which must be free; the same seed gives the same content.

    *progress* is called with (orders written, orders wanted). The file appears complete or not at all.
    Raises Refused if something is there already, Unreachable if the place can't be written.
    """
    target = Path(path)
    if orders < 1 or journal not in _JOURNALS:
        raise Usage(
            f"no shop of {orders} orders with journal {journal!r} can be made",
            hint=f"ask for at least one order and one of {', '.join(_JOURNALS)}",
        )
    if target.exists():
        raise Refused(f"{target} exists already", hint="name a new file, or move that one away")
    making = target.with_name(f"{target.name}.making")
    try:
        making.unlink(missing_ok=True)
        with closing(sqlite3.connect(making, isolation_level=None)) as connection:
            _fill(connection, orders, seed, progress or _silent)
        with closing(sqlite3.connect(making)) as connection:
            connection.execute(f"PRAGMA journal_mode = {journal}")
        # A link, unlike a rename, never replaces a file that appeared meanwhile.
        os.link(making, target)
    except FileExistsError as error:
        raise Refused(f"{target} appeared while the shop was made", hint="name a new file") from error
    except (OSError, sqlite3.OperationalError) as error:
        hint = "check that its folder exists and has room"
        raise Unreachable(f"{target} can't be written: {error}", hint=hint) from error
    finally:
        making.unlink(missing_ok=True)


def insert_rows(connection: sqlite3.Connection, rows: Rows) -> None:
    """Insert what a trader made, parents first."""
    for table, values in rows.tables().items():
        connection.executemany(insert_statement(table), values)


def _fill(connection: sqlite3.Connection, orders: int, seed: int, progress: Progress) -> None:
    rng = random.Random(seed)
    connection.executescript(
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA locking_mode = EXCLUSIVE;"
        "PRAGMA cache_size = -65536; PRAGMA threads = 2;"
        f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {USER_VERSION}; BEGIN;{TABLES}"
    )
    fill_catalogue(connection, orders=orders, rng=rng)
    tenants = read_catalogue(connection)
    last = dict.fromkeys(Rows.__slots__, 0)
    # The first day belongs to setting up.
    trader = Trader(tenants, [], last, 86_400.0, rng)
    pace = _SPAN / orders
    settled = orders - max(1, int(orders * _RECENT_SHARE))
    for start in range(0, orders, _CHUNK):
        end = min(start + _CHUNK, orders)
        for number in range(start, end):
            trader.make_order(pace, SETTLED if number < settled else RECENT)
        insert_rows(connection, trader.taken_rows())
        progress(end, orders)
    _name_partners_customers(connection, tenants, trader.known)
    _log_recent_changes(connection, first=settled + 1)
    # The lines were written before there was a trigger to count them; the drawn stock is today's.
    connection.execute(
        "UPDATE products SET sold = s.sold FROM"
        " (SELECT product_id, sum(quantity) AS sold FROM order_lines GROUP BY product_id) AS s WHERE s.product_id = id"
    )
    connection.execute("COMMIT")
    connection.executescript(DEPENDENTS)


def _name_partners_customers(
    connection: sqlite3.Connection, tenants: dict[int, Tenant], known: Iterable[Customer]
) -> None:
    """Every third partner is a customer too: the references run in a circle."""
    waiting = {tenant.id: [partner.id for partner in tenant.partners[::3]] for tenant in tenants.values()}
    pairs = [(customer.id, waiting[customer.tenant.id].pop()) for customer in known if waiting[customer.tenant.id]]
    connection.executemany("UPDATE partners SET customer_id = ? WHERE id = ?", pairs)


def _log_recent_changes(connection: sqlite3.Connection, *, first: int) -> None:
    """The audit log keeps the last weeks only, so old orders have no entries in it."""
    connection.execute(
        "INSERT INTO audit_log (tenant_id, order_id, old_status, new_status, at)"
        " SELECT tenant_id, id, 'new', status, updated_at FROM orders WHERE id >= ? AND status <> 'new' ORDER BY id",
        (first,),
    )


def _silent(done: int, wanted: int) -> None:
    """Nobody watches."""
