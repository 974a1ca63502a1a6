"""A sample shop whose platform is set back two days and trades on: both histories, and what is true of them.

* Numbers begin anew where the backup left off, so orders, invoices and all else get numbers that were given before.
* The bank goes on as if nothing had happened: money comes in for invoices that no longer exist.
* The truth is read from the shop itself at three moments, by SQL of our own.

    shop = RolledBackShop(Path("shop.db"), Path("platform.db"), orders=2_000, seed=1)
    for hours in shop.first_hours(): ...        # a capture after each
    shop.roll_back(); shop.trade_on()
"""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from holdfast.sample.opening import opened, transaction
from holdfast.sample.schema import COLUMNS
from holdfast.sample.shop import make_shop
from holdfast.sample.trade import Span, trade

__all__ = [
    "KEYS",
    "RECEIPTS",
    "Held",
    "Receipt",
    "RolledBackShop",
    "Row",
    "States",
    "attach_receipts",
    "columns_of",
    "read_states",
]

RECEIPTS = "bank_receipts"
_TABLE = f"""
CREATE TABLE {RECEIPTS} (
  id INTEGER PRIMARY KEY, reference TEXT NOT NULL, amount_cents INTEGER NOT NULL, currency TEXT NOT NULL,
  received_at TEXT NOT NULL, invoice_id INTEGER REFERENCES invoices (id)
)"""
KEYS: Mapping[str, tuple[str, ...]] = {
    **{table: ("id",) for table, columns in COLUMNS.items() if "id" in columns},
    "settings": ("tenant_id", "name"),
    "order_lines": ("order_id", "line_no"),
    "clicks": (),
    RECEIPTS: ("id",),
}
_OPENING = 3 * 365 * 24 + 24  # hours of the shop's calendar before the first of these days
_BEFORE, _NIGHT = (0, 4), (4, 6)  # the backup is made at the end of the night
_DAYS = tuple((6 + 8 * part, 14 + 8 * part) for part in range(6))
_HOUR = (54, 55)
_A_DAY, _AN_HOUR = 60, 15  # orders

Row = tuple[object, ...]
Held = Mapping[str, Mapping[Row, Row]]


@dataclass(frozen=True, slots=True)
class Receipt:
    """Money that came in by bank: the number that the payer gave, the sum, and the invoice that he meant."""

    reference: str
    amount_cents: int
    currency: str
    received_at: str
    invoice: int  # its number within the shop before the rollback: only the payer knows


@dataclass(frozen=True, slots=True)
class States:
    """Every record by table and key, at the backup, before the rollback, and an hour after it. Records without a key
    are their own keys, with a number among equals.
    """

    base: Held
    first: Held
    second: Held


class RolledBackShop:
    """The shop at *path*, whose platform keeps its only backup at *backup*. It is made between two captures, in a
    quiet night, or while there is trade that no capture sees before it: then nobody but the platform knows that state.
    """

    def __init__(self, path: Path, backup: Path, *, orders: int, seed: int, is_quiet: bool = True) -> None:
        self.path = path
        self.backup = backup
        self._seed = seed
        self._is_quiet = is_quiet
        make_shop(path, orders=orders, seed=seed)
        with opened(path, foreign_keys=True) as connection:
            connection.execute(_TABLE)
        self.base: Held = {}
        self.first: Held = {}

    def first_hours(self) -> Iterator[tuple[int, int]]:
        """Trade some hours, then yield them, again and again, for two days; the backup is made after the first."""
        self._trade(_BEFORE, _orders_in(_BEFORE), 0)
        yield _BEFORE
        if not self._is_quiet:
            self._trade(_NIGHT, _orders_in(_NIGHT), 1)
        self._back_up()
        for number, hours in enumerate(_DAYS, 2):
            self._trade(hours, _orders_in(hours), number)
            yield hours
        self.first = read_states(self.path)

    def roll_back(self) -> None:
        """The platform is down; it comes back with what its backup holds."""
        for ending in ("-wal", "-shm"):
            self.path.with_name(self.path.name + ending).unlink(missing_ok=True)
        shutil.copyfile(self.backup, self.path)

    def trade_on(self) -> Sequence[Receipt]:
        """An hour of trade with numbers that were given before, then the bank's statement is booked; its receipts."""
        last = {
            table: max((int(str(key[0])) for key in self.base[table]), default=0) for table in ("partners", "top_ups")
        }
        self._trade(_HOUR, _AN_HOUR, 99, share_updated=0.005)
        receipts = self._statement()
        with opened(self.path, foreign_keys=True) as connection, transaction(connection):
            # Codes are drawn and not counted: that two are the same would be a bug of the shop.
            connection.execute("UPDATE partners SET code = 'n' || code WHERE id > ?", (last["partners"],))
            connection.execute("UPDATE top_ups SET payment_code = 'n' || payment_code WHERE id > ?", (last["top_ups"],))
            connection.executemany(
                f"INSERT INTO {RECEIPTS} (reference, amount_cents, currency, received_at) VALUES (?, ?, ?, ?)",
                [(each.reference, each.amount_cents, each.currency, each.received_at) for each in receipts],
            )
        return receipts

    def states(self) -> States:
        """The truth so far."""
        return States(self.base, self.first, read_states(self.path))

    def _trade(self, hours: tuple[int, int], orders: int, number: int, share_updated: float = 0.01) -> None:
        # What is deleted after it and was ordered or paid for before it, only a person can decide on.
        span = Span(_OPENING + hours[0], _OPENING + hours[1], deletes=hours != _HOUR)
        trade(self.path, orders=orders, seed=self._seed * 1000 + number, share_updated=share_updated, span=span)

    def _back_up(self) -> None:
        with closing(sqlite3.connect(self.path)) as source, closing(sqlite3.connect(self.backup)) as target:
            source.backup(target)
        self.base = read_states(self.path)

    def _statement(self) -> list[Receipt]:
        """Payments for invoices that were open when the platform failed: most were sent after the backup."""
        columns = COLUMNS["invoices"]
        places = {name: columns.index(name) for name in ("id", "number", "total_cents", "currency", "paid_at")}
        is_open = [row for row in self.first["invoices"].values() if row[places["paid_at"]] is None]
        lost = [row for row in is_open if (row[places["id"]],) not in self.base["invoices"]]
        known = [row for row in is_open if (row[places["id"]],) in self.base["invoices"]]
        chosen = lost + random.Random(self._seed).sample(known, min(3, len(known)))
        return [
            Receipt(
                str(row[places["number"]]), int(str(row[places["total_cents"]])), str(row[places["currency"]]),
                "2026-01-04T09:00:00Z", int(str(row[places["id"]])),
            )
            for row in chosen
        ]  # fmt: skip


def _orders_in(hours: tuple[int, int]) -> int:
    return _A_DAY * (hours[1] - hours[0]) // 24


def read_states(path: Path) -> Held:
    """Every record as it is now, with the columns that are written (`COLUMNS`), by table and key."""
    found: dict[str, dict[Row, Row]] = {}
    with closing(sqlite3.connect(path)) as connection:
        present = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        for table, key in KEYS.items():
            if table not in present:
                continue
            columns = columns_of(table)
            places = [columns.index(name) for name in key]
            seen: Counter[Row] = Counter()
            found[table] = {}
            for row in connection.execute(f"SELECT {', '.join(columns)} FROM {table}"):
                seen[row] += 1
                found[table][tuple(row[place] for place in places) or (*row, seen[row])] = row
    return found


def columns_of(table: str) -> tuple[str, ...]:
    """The columns that are written, in order."""
    return COLUMNS.get(table, ("id", "reference", "amount_cents", "currency", "received_at", "invoice_id"))


def attach_receipts(path: Path, new_numbers: Mapping[int, int]) -> list[tuple[str, int]]:
    """Book receipts that belong to no invoice yet: by number and sum; where two invoices share both, the one that came
    back under a new number of its own. Returns reference and invoice of each that found one.

    *new_numbers* are invoices that got new ids, by their old ones.
    """
    attached = []
    back = set(new_numbers.values())
    with opened(path, foreign_keys=True) as connection, transaction(connection):
        waiting = connection.execute(
            f"SELECT id, reference, amount_cents, currency, received_at FROM {RECEIPTS}"
            " WHERE invoice_id IS NULL ORDER BY id"
        ).fetchall()
        for number, reference, amount, currency, at in waiting:
            fitting = [
                invoice
                for (invoice,) in connection.execute(
                    "SELECT id FROM invoices WHERE number = ? AND total_cents = ? AND currency = ?",
                    (reference, amount, currency),
                )
            ]
            chosen = [invoice for invoice in fitting if invoice in back] if len(fitting) > 1 else fitting
            if len(chosen) == 1:
                connection.execute(f"UPDATE {RECEIPTS} SET invoice_id = ? WHERE id = ?", (chosen[0], number))
                connection.execute("UPDATE invoices SET paid_at = ifnull(paid_at, ?) WHERE id = ?", (at, chosen[0]))
                attached.append((reference, chosen[0]))
    return attached
