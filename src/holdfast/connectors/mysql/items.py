"""What a server's binlog tells: transactions with the rows they changed, in the order of their commits.

`Events.read` yields, in this order and no other:

    File                          the events that follow lie in this binlog
    Begin (Rows | Statement)* End one transaction; nothing of another lies in between
    Incident                      the server says itself that its binlog misses changes
    Quiet                         nothing has come for a moment; may come anywhere, within a transaction too

* Nothing is held back: rows come while their transaction goes on, and whether they count is known at its `End`.
  COMMITTED is the usual one. ROLLED_BACK: nothing of it happened. (Rows of tables that know no transactions come in
  transactions of their own.) PREPARED: an XA transaction, named by `Begin.prepares`, waits for its verdict. That comes,
  maybe much later, as a transaction without rows: `Begin.settles` has the name, `End.outcome` is the verdict.
* A `Statement` is what rows do not tell: a definition, TRUNCATE, or a change in statement format. SAVEPOINT is left
  out; ROLLBACK TO is not: rows before it may be void.
* `End.file` and `End.position` are where the next transaction begins: go on from there, never from within one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from holdfast.connectors.mysql.bodies import TableMap

__all__ = [
    "COMMITTED",
    "PREPARED",
    "ROLLED_BACK",
    "TORN",
    "Begin",
    "End",
    "File",
    "Incident",
    "Item",
    "Quiet",
    "Rows",
    "Statement",
]

COMMITTED, ROLLED_BACK, PREPARED = "committed", "rolled back", "prepared"
TORN = "torn"  # the server died before its end, and did not commit it: its GTID comes again


@dataclass(frozen=True, slots=True)
class File:
    """A binlog: its name, when the server began it (seconds since 1970), and the version of the server.

    `after_crash`: the one before it in this dump has no end; the server died then.
    """

    name: str
    begun: int
    version: str
    after_crash: bool = False


# The next three are made for every transaction; a frozen class costs three times as much to make.


@dataclass(slots=True, eq=False)
class Begin:
    """A transaction begins, at `position` of `file`. `gtid` is its name among all servers; empty if it has none.

    `at` is when, by the server's clock, in microseconds since 1970: MariaDB tells the second in which its last
    statement, often the commit, began.
    """

    gtid: str
    file: str
    position: int
    at: int
    prepares: bytes = b""
    settles: bytes = b""

    @property
    def name(self) -> str:
        """The source's name of the transaction."""
        return self.gtid or f"{self.file}:{self.position}"


@dataclass(slots=True, eq=False)
class Rows:
    """Rows of one table that one statement changed, packed in `data` from `at` to `end`: `rows` takes them apart.

    `kind` is INSERTED, UPDATED or DELETED of `rows`. `columns` has a bit for each column that the images hold;
    `columns_after` those that the new images of an update hold.
    """

    table: TableMap
    kind: int
    data: bytes
    at: int
    end: int
    columns: bytes
    columns_after: bytes


@dataclass(slots=True, eq=False)
class End:
    """A transaction is whole, or void; the next begins at `position`, or after it if this one was torn."""

    outcome: str
    file: str
    position: int


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement that the server wrote as such, with the schema it ran in; `error` is what it failed with, or 0."""

    schema: str
    text: str
    error: int


@dataclass(frozen=True, slots=True)
class Incident:
    """The server lost changes before they came into its binlog; these are its words."""

    why: str


@dataclass(frozen=True, slots=True)
class Quiet:
    """Nothing has come for a moment: all that the server had written up to here was told."""

    file: str
    position: int


Item: TypeAlias = File | Begin | Rows | Statement | End | Incident | Quiet
