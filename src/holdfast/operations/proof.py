"""Two states side by side, collection by collection: proofs by fingerprint, and every difference by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

import pyarrow as pa

from holdfast.core.align import Keyed
from holdfast.core.canonical import key_bytes, row_digests
from holdfast.core.compare import Tally, compare
from holdfast.core.fingerprint import bucket_digests, entries, fingerprint
from holdfast.core.ports import View
from holdfast.core.projection import SchemaChange, common_schema, schema_changes
from holdfast.core.records import Schema, is_definition
from holdfast.core.where import Condition, matches
from holdfast.operations.scratch import SealedScratch
from holdfast.operations.spool import DifferenceSpool
from holdfast.operations.streams import keyed, prefetched

__all__ = [
    "Basis",
    "Compared",
    "Narrowed",
    "Print",
    "Proof",
    "Signed",
    "compare_views",
    "fingerprint_of",
    "proof_of",
    "prove",
]


@dataclass(frozen=True, slots=True)
class Print:
    """The fingerprint of a view under a schema, and the number of its records."""

    rows: int
    fingerprint: str


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """One collection compared. A side that lacks the collection counts as empty, and `absent` names it.

    `differences` can be read again and again; rows are in `schema`, which holds the columns of both sides.
    """

    name: str
    schema: Schema
    tally: Tally
    differences: DifferenceSpool
    changes: tuple[SchemaChange, ...]
    absent: str = ""

    @property
    def is_equal(self) -> bool:
        """Whether records and columns are the same on both sides."""
        return self.tally.is_equal and not self.changes and not self.absent


class Basis(StrEnum):
    """What a proof holds the live records against."""

    SIGNED = "signed"  # the fingerprint that a commit signed
    INSTANT = "instant"  # the fingerprint of what the vault holds for an instant, of which nothing is signed
    RECORDS = "records"  # the records themselves, one by one, where only some of a collection are wanted


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether a live collection is what the vault holds of it, and how many records each side has.

    Where it has not, `tally` says what differs: records added since are no failure of a restore that keeps them.
    `has_gone_on`: these are counters of the last snapshot, which records that were followed since have moved on.
    `unmakeable`: so many of these definitions nobody could make of all that is kept; see `Created`.
    """

    name: str
    wanted: Print
    found: Print
    tally: Tally | None
    basis: Basis = Basis.SIGNED
    has_gone_on: bool = False
    unmakeable: int = 0

    @property
    def is_equal(self) -> bool:
        """The same records, every value of them."""
        return self.wanted == self.found and (self.tally is None or self.tally.is_equal)

    @property
    def is_as_wanted(self) -> bool:
        """Nothing differs but what records that are newer explain, and what nobody could make."""
        return self.is_equal or self.has_gone_on or self.is_as_can_be

    @property
    def is_as_can_be(self) -> bool:
        """The same but for definitions that nobody could make."""
        return (
            bool(self.unmakeable)
            and self.tally is not None
            and self.tally == replace(self.tally, missing=self.unmakeable, changed=0, added=0)
        )

    @property
    def is_whole(self) -> bool:
        """Every record of the commit is there as it was; others may have been added."""
        return self.is_equal or (self.tally is not None and not self.tally.missing and not self.tally.changed)

    @property
    def is_back(self) -> bool:
        """The same; of definitions, that none is missing: those that changed since, such as a counter that went on, are
        left alone.
        """
        are_there = self.tally is not None and self.tally.missing == self.unmakeable
        return self.is_whole or (is_definition(self.name) and are_there)


class Signed(View, Protocol):
    """A view of which a commit signed the fingerprint and the number of records; "" and None where none did."""

    @property
    def rows(self) -> int | None: ...

    @property
    def fingerprint(self) -> str: ...


class Narrowed:
    """A view narrowed to the records that meet a condition."""

    def __init__(self, view: View, condition: Condition) -> None:
        self._view = view
        self._condition = condition
        self.name = view.name
        self.schema = view.schema
        self.ordered = view.ordered

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The records that meet the condition, as the view gives them."""
        for batch in self._view.batches():
            yield batch.filter(matches(batch, self._condition, self.schema))


def fingerprint_of(view: View, scratch: SealedScratch) -> Print:
    """The fingerprint of all records of a view, read once, in whatever order they come."""
    schema = view.schema
    rows = 0
    with scratch.digests() as spool:
        for part in prefetched(_with_keys(view) if schema.key else keyed(view, scratch)):
            spool.add(entries(part.keys, row_digests(part.batch, schema)))
            rows += len(part.keys)
        buckets = bucket_digests(spool.partitions())
    return Print(rows, fingerprint(schema.key, schema.names, rows, buckets))


def prove(wanted: Signed, found: View | None, scratch: SealedScratch) -> Proof:
    """Hold a live view against the fingerprint of a commit; only if they differ is every record compared.

    Of an instant between two commits nothing is signed: its fingerprint is that of its records as they are read here.
    """
    basis = Basis.INSTANT if wanted.rows is None else Basis.SIGNED
    held = fingerprint_of(wanted, scratch) if wanted.rows is None else Print(wanted.rows, wanted.fingerprint)
    if found is None:
        return Proof(wanted.name, held, Print(0, ""), Tally(missing=held.rows), basis)
    # Types need not agree: a value's bytes are the same in an int and in a mixed column.
    same_form = found.schema.key == wanted.schema.key and set(found.schema.names) == set(wanted.schema.names)
    live = fingerprint_of(found, scratch) if same_form else Print(0, "")
    if live == held:
        return Proof(wanted.name, held, live, None, basis)
    compared = _compared(wanted.name, wanted, found, scratch)
    return Proof(wanted.name, held, live, compared.tally, basis)


def proof_of(compared: Compared) -> Proof:
    """The same for records that were chosen by a condition: there is no signed fingerprint of those, so each counts."""
    tally = compared.tally
    rows = tally.equal + tally.missing + tally.changed
    found = Print(tally.equal + tally.added + tally.changed, "")
    return Proof(compared.name, Print(rows, ""), found, tally, Basis.RECORDS)


def compare_views(
    wanted: Mapping[str, View], actual: Mapping[str, View], scratch: SealedScratch, names: Iterable[str]
) -> Iterator[Compared]:
    """Compare collections by name, one after the other; every difference is kept for reading again."""
    for name in names:
        yield _compared(name, wanted.get(name), actual.get(name), scratch)


def _compared(name: str, wanted: View | None, actual: View | None, scratch: SealedScratch) -> Compared:
    known = wanted or actual
    assert known is not None, f"{name} is on neither side"
    schema, absent = known.schema, "wanted" if wanted is None else "actual"
    changes: list[SchemaChange] = []
    if wanted is not None and actual is not None:
        schema, absent = common_schema(wanted.schema, actual.schema), ""
        changes = _changes(wanted, actual)
    tally, spool = Tally(), DifferenceSpool(scratch)
    sides = [_stream(view, schema, scratch) for view in (wanted, actual)]
    for difference in compare(sides[0], sides[1], schema, tally):
        spool.add(difference)
    return Compared(name, schema, tally, spool, tuple(changes), absent)


def _with_keys(view: View) -> Iterator[Keyed]:
    for batch in view.batches():
        yield Keyed(key_bytes(batch, view.schema), batch)


def _stream(view: View | None, schema: Schema, scratch: SealedScratch) -> Iterator[Keyed]:
    return iter(()) if view is None else prefetched(keyed(view, scratch, schema=schema))


def _changes(wanted: View, actual: View) -> list[SchemaChange]:
    """Changes of columns and keys; a storage type that only follows from the values is no change of schema."""
    return [change for change in schema_changes(wanted.schema, actual.schema) if not _is_only_storage(change)]


def _is_only_storage(change: SchemaChange) -> bool:
    declared = [side.partition(", declared ")[2] for side in (change.before, change.after)]
    return change.kind.value == "type changed" and declared[0] == declared[1]
