"""What an owner declares of his collections: whose a record is, what it is worth, when it came, and how two versions of
it are brought together.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["NOTHING_DECLARED", "Conflict", "Declared", "declared_of", "not_there"]


class Conflict(StrEnum):
    """What becomes of a record that two histories changed in the same column."""

    WAIT = "wait"  # for a person
    LIVE = "live"  # what the source holds now stays
    VAULT = "vault"  # what the vault holds comes back


@dataclass(frozen=True, slots=True)
class Declared:
    """One collection: its columns for the tenant, for money (with the column of the currency), and for the time a
    record was created, "" where it has none. `settings`: any change is shown. `add` names numbers that two histories
    both moved and that are added up, such as stock; `number` the columns by which people know a record, such as an
    order's number. `conflict` decides on all else that both changed. `refers` says to which collection, by its key, a
    column leads though the database does not declare it, "" to none.
    """

    tenant: str = ""
    money: tuple[str, ...] = ()
    currency: str = ""
    created: str = ""
    settings: bool = False
    add: tuple[str, ...] = ()
    number: tuple[str, ...] = ()
    conflict: Conflict = Conflict.WAIT
    refers: Mapping[str, str] = field(default_factory=dict)


NOTHING_DECLARED = Declared()


def declared_of(collections: Mapping[str, Declared], name: str) -> Declared:
    """What is declared of a collection; of one that is not named: nothing."""
    return collections.get(name, NOTHING_DECLARED)


def not_there(declared: Declared, columns: Collection[str]) -> list[str]:
    """The columns that are declared of a collection and that it does not have."""
    named = (declared.tenant, *declared.money, declared.currency, declared.created, *declared.add, *declared.number)
    named += tuple(declared.refers)
    return [each for each in dict.fromkeys(named) if each and each not in columns]
