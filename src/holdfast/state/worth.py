"""What records are worth, by key: whose they are and their money, of collections whose owner declared it.

A host that can't decrypt tells by it what a finding touched. Deleted records stay for 35 days.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from holdfast.state.ledgerfile import LedgerFile

__all__ = ["Sums", "Value", "Worth"]

TABLES = (
    (
        "CREATE TABLE worth (collection INTEGER, key BLOB, at INTEGER NOT NULL, op INTEGER NOT NULL,"
        " tenant TEXT NOT NULL, currency TEXT NOT NULL, amounts TEXT NOT NULL, was TEXT,"
        " was_until INTEGER,"
        " PRIMARY KEY (collection, key)) WITHOUT ROWID"
    ),
    "CREATE INDEX worth_gone ON worth (collection, at) WHERE op = 3",
)
_CHANGED, _GONE = 2, 3  # 1: as it was when it was seen first
_KEPT = 35 * 86_400_000_000
_AT_ONCE = 500


class Value(NamedTuple):
    """A record's declared values; amounts in the order of the declared columns, as JSON."""

    key: bytes
    tenant: str
    currency: str
    amounts: str


class Sums(NamedTuple):
    """Records, and their sums: by tenant, and by place of the money column and currency."""

    records: int
    tenants: Counter[str]
    money: Counter[tuple[int, str]]


class Worth:
    """The declared values of all collections, in the ledger's file."""

    def __init__(self, file: LedgerFile) -> None:
        self._file = file

    def put(self, collection: int, at: int, values: Iterable[Value]) -> None:
        """Records as they are from now on. The values from before a change are kept beside the new ones, with the time
        up to which they were true. What had gone and is back is as if it had come.
        """
        self._file.run_each(
            "INSERT INTO worth VALUES (?1,?3,?2,1,?4,?5,?6,NULL,NULL) ON CONFLICT DO UPDATE SET at = excluded.at,"
            f" op = CASE op WHEN {_GONE} THEN 1 ELSE {_CHANGED} END,"
            f" was = CASE WHEN op = {_GONE} THEN NULL WHEN amounts = excluded.amounts THEN was ELSE amounts END,"
            " was_until = CASE WHEN amounts = excluded.amounts THEN was_until ELSE excluded.at END,"
            " tenant = excluded.tenant, currency = excluded.currency, amounts = excluded.amounts",
            ((collection, at, *each) for each in values),
        )

    def see(self, collection: int, at: int, values: Iterable[Value]) -> None:
        """Records as a whole reading shows them, changed or not."""
        self._file.run_each(
            "INSERT INTO worth VALUES (?1,?3,?2,1,?4,?5,?6,NULL,NULL) ON CONFLICT DO UPDATE SET at = excluded.at,"
            " op = 1, was = NULL, tenant = excluded.tenant, currency = excluded.currency, amounts = excluded.amounts",
            ((collection, at, *each) for each in values),
        )

    def gone(self, collection: int, at: int, keys: Sequence[bytes]) -> None:
        """These records are no longer there."""
        for start in range(0, len(keys), _AT_ONCE):
            part = keys[start : start + _AT_ONCE]
            marks = ",".join("?" * len(part))
            update = f"UPDATE worth SET op = 3, at = ? WHERE collection = ? AND op <> 3 AND key IN ({marks})"
            self._file.run(update, (at, collection, *part))

    def all_gone(self, collection: int, at: int) -> None:
        """None of the records that were not seen at this time is there any more."""
        update = "UPDATE worth SET op = 3, at = ?2 WHERE collection = ?1 AND op <> 3 AND at <> ?2"
        self._file.run(update, (collection, at))

    def forget(self, collection: int) -> None:
        """Nothing is declared of the collection any more, or something else."""
        self._file.run("DELETE FROM worth WHERE collection = ?", (collection,))

    def sums(self, collection: int, since: int, *, gone: bool) -> Sums:
        """What the records that went, or else changed, since a time came to, before that."""
        rows = self._file.rows(
            "SELECT tenant, currency, coalesce(CASE WHEN was_until >= ?2 THEN was END, amounts), count(*) FROM worth"
            f" WHERE collection = ?1 AND at >= ?2 AND op = {_GONE if gone else _CHANGED} GROUP BY 1, 2, 3",
            (collection, since),
        )
        records, tenants, money = 0, Counter[str](), Counter[tuple[int, str]]()
        for tenant, currency, amounts, count in rows:
            records += count
            if tenant:
                tenants[tenant] += count
            for place, amount in enumerate(json.loads(amounts)):
                money[place, currency] += count * amount
        return Sums(records, tenants, money)

    def purge(self, now: int) -> None:
        """Let go of records that are gone for long."""
        self._file.run("DELETE FROM worth WHERE op = 3 AND at < ?", (now - _KEPT,))
