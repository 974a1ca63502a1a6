"""The way of one collection from its source into another engine: forward, and back for the proof.

What a column's form can't take raises `Unfit`, with the value; what the target holds and nothing is written as raises
Damaged.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.dialect import Index, Kept
from holdfast.core.forms import Form, read_back
from holdfast.core.records import Column, Reference, Schema
from holdfast.core.written import Misfit
from holdfast.errors import Damaged

__all__ = ["CollectionMap", "ColumnMap", "Revision", "Unfit", "Verdict"]

# What readers take: they refuse longer values, so what would become longer than that in another form is refused too.
_VALUE_BYTES_MAX = 32 << 20


class Verdict(StrEnum):
    """What becomes of a column's values in the target."""

    ITSELF = "as itself"
    OTHERWISE = "exact in another form"
    LEFT_OUT = "left out"


@dataclass(frozen=True, slots=True)
class Revision:
    """A column that is kept otherwise than its schema alone would have it, and the value that decided it."""

    collection: str
    column: str
    reason: str


class Unfit(Exception):
    """A record holds a value that its column's form can't take. No error for people: who moves records catches it."""

    def __init__(self, collection: str, column: str, reason: str) -> None:
        super().__init__(f"{collection}.{column}: {reason}")
        self.revision = Revision(collection, column, reason)


@dataclass(frozen=True, slots=True)
class ColumnMap:
    """One column on its way. `name` and `declared` are the target's; without a form it is left out.

    `otherwise` is how it is kept should a value not fit; `key_bytes` as in `Kept`.
    """

    source: Column
    name: str
    declared: str
    form: Form | None
    not_null: bool
    key_bytes: int | None = 0
    otherwise: Kept | None = None

    @property
    def verdict(self) -> Verdict:
        if self.form is None:
            return Verdict.LEFT_OUT
        return Verdict.ITSELF if self.form.is_itself else Verdict.OTHERWISE

    @property
    def stored(self) -> Column:
        """The column as the target holds it."""
        assert self.form is not None, "a column that is left out is nowhere stored"
        return Column(self.name, self.form.stored or self.source.type, self.declared)

    def forward(self, values: pa.Array) -> pa.Array:
        """The source's values as the target holds them. Raises Misfit."""
        assert self.form is not None, "a column that is left out goes nowhere"
        found = self.form.forward(values, self.source)
        if found is not values and (pa.types.is_binary(found.type) or pa.types.is_string(found.type)):
            longest = pc.max(pc.binary_length(found)).as_py() or 0
            if longest > _VALUE_BYTES_MAX:
                raise Misfit(f"in this form a value would have {longest:,} bytes, more than {_VALUE_BYTES_MAX:,}")
        return found


@dataclass(frozen=True, slots=True)
class CollectionMap:
    """One collection on its way. Names in `key`, `unique`, `references` and `indexes` are the target's.

    `table` is its name there, `called` the collection that the target's reader makes of it. `unique` are columns that a
    reference leads to and that neither the key nor an index makes unique, in whatever order those have them.
    """

    name: str
    table: str
    called: str
    columns: tuple[ColumnMap, ...]
    source: Schema
    key: tuple[str, ...] = ()
    unique: tuple[tuple[str, ...], ...] = ()
    references: tuple[Reference, ...] = ()
    indexes: tuple[Index, ...] = ()

    @property
    def carried(self) -> tuple[ColumnMap, ...]:
        """The columns that are not left out."""
        return tuple(column for column in self.columns if column.form is not None)

    @property
    def is_whole(self) -> bool:
        """Whether every column is carried."""
        return len(self.carried) == len(self.columns)

    @property
    def comparable(self) -> Schema:
        """The source's schema of what is carried: all of it, unless columns are left out."""
        if self.is_whole:
            return self.source
        names = {column.source.name for column in self.carried}
        key = self.source.key if names.issuperset(self.source.key) else ()
        return Schema(tuple(column.source for column in self.carried), key)

    @property
    def stored(self) -> Schema:
        """The schema of the records as the target holds them."""
        return Schema(tuple(column.stored for column in self.carried), self.key, self.references)

    def forward(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Records of the source as the target holds them. Raises Unfit for what it can't hold so."""
        columns = []
        for column in self.carried:
            try:
                columns.append(column.forward(batch.column(column.source.name)))
            except Misfit as error:
                raise Unfit(self.name, column.source.name, str(error)) from error
        return pa.RecordBatch.from_arrays(columns, schema=self.stored.arrow())

    def back(self, batch: pa.RecordBatch, found: Schema) -> pa.RecordBatch:
        """What the target holds, read as `found`, as records of `comparable`. Raises Damaged for what can't be."""
        columns = []
        for column in self.carried:
            held = found.column(column.name)
            if held is None or column.form is None:
                raise Damaged(f"{self.table}: the column {column.name} is missing", hint="restore to another new place")
            try:
                columns.append(read_back(batch.column(column.name), held.type, column.form, column.source))
            except Misfit as error:
                raise Damaged(
                    f"{self.table}: column {column.name}: {error}", hint="restore to another new place"
                ) from error
        return pa.RecordBatch.from_arrays(columns, schema=self.comparable.arrow())
