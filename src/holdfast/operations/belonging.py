"""Whose a record is and when it came: from its own declared columns, or from the record that its references lead to.

Records that are referred to are looked up by key, some at a time: in what differs and in the last good state.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.align import Keyed
from holdfast.core.declared import Declared, declared_of
from holdfast.core.keyed import leads_by_key, target_keys
from holdfast.core.plain import rows_of, shown_value
from holdfast.core.projection import project
from holdfast.core.records import Column, Reference, Schema
from holdfast.operations.lost import Losses
from holdfast.vault.view import VaultView

__all__ = ["Belonging", "Path", "Side"]

Side = Literal["good", "live"]
_Text = Callable[[pa.Array, Column], pa.Array]
_DATE = r"^\d{4}-\d\d-\d\d"


@dataclass(frozen=True, slots=True)
class Path:
    """The references from one collection to another, one after the other, and the collection they end at."""

    references: tuple[Reference, ...]
    end: str


class Belonging:
    """Looks up tenants and days for the records of one `Losses`."""

    def __init__(self, losses: Losses, good: Mapping[str, VaultView], declared: Mapping[str, Declared]) -> None:
        self._good = good
        self._differing = {each.name: each for each in losses.collections}
        self._declared = declared
        schemas = {name: view.schema for name, view in good.items()}
        self._schemas: dict[str, Schema] = schemas | {each.name: each.schema for each in losses.collections}
        # What the tenants' columns refer to stands for the tenants themselves.
        self._homes = {
            reference.target
            for name, schema in self._schemas.items()
            for reference in schema.references
            if reference.columns == (declared_of(declared, name).tenant,)
        }

    def tenants(self, name: str, rows: pa.RecordBatch, side: Side) -> pa.Array:
        """The tenant of each record as text, NULL where it can't be told."""
        path = self.path(name, lambda end: bool(self._tenant_column(end)))
        end = self._tenant_column(path.end) if path is not None else ""
        return (
            pa.nulls(rows.num_rows, pa.string())
            if path is None
            else self._at_end(path, name, (rows, side), end, _texts)
        )

    def days(self, name: str, rows: pa.RecordBatch, side: Side) -> pa.Array:
        """The day on which each record came (UTC, ISO), or that did whose part it is: to which its key refers. NULL
        where it can't be told.
        """
        path = self.path(name, lambda end: bool(self._created_column(end)), is_part=True)
        end = self._created_column(path.end) if path is not None else ""
        return (
            pa.nulls(rows.num_rows, pa.string()) if path is None else self._at_end(path, name, (rows, side), end, _days)
        )

    def roots(self, name: str, rows: pa.RecordBatch, side: Side, root: str) -> pa.Array | None:
        """The key of the record of another collection that each belongs to, NULL where it belongs to none; None where
        no references lead there.
        """
        path = self.path(name, lambda each: each == root)
        if path is None or not path.references:
            return None
        return self._follow(self._schemas[name], rows, side, path.references)

    def refers_to(self, name: str, rows: pa.RecordBatch) -> Iterator[tuple[str, Schema, pa.Array]]:
        """For each reference of a collection that leads to a key: where to, the schema there, and each record's key."""
        for reference in self._schemas[name].references:
            target = self._schemas.get(reference.target)
            if target is not None and leads_by_key(reference, target):
                yield reference.target, target, target_keys(rows, self._schemas[name], reference, target)

    def path(self, name: str, is_end: Callable[[str], bool], *, is_part: bool = False) -> Path | None:
        """The shortest way by references from a collection to one that is wanted, itself included; with `is_part` only
        by those that a key holds.
        """
        waiting, seen = deque([Path((), name)]), {name}
        while waiting:
            path = waiting.popleft()
            if is_end(path.end):
                return path
            schema = self._schemas[path.end]
            # What a key holds is what a record is part of.
            for reference in sorted(schema.references, key=lambda each: not set(each.columns) <= set(schema.key)):
                target = self._schemas.get(reference.target)
                if target is None or not leads_by_key(reference, target) or reference.target in seen:
                    continue
                if set(reference.columns) <= set(schema.key) or not is_part:
                    seen.add(reference.target)
                    waiting.append(Path((*path.references, reference), reference.target))
        return None

    def fetch(self, name: str, keys: pa.Array, side: Side) -> Iterator[Keyed]:
        """The records under these keys (ascending): as a side holds those that differ, else as the vault does."""
        differing = self._differing.get(name)
        if differing is not None and side == "live":
            for rows in differing.live():
                found = rows.filter(pc.is_in(rows.keys, value_set=keys))
                if len(found.keys):
                    yield found
                    keys = keys.filter(pc.invert(pc.is_in(keys, value_set=found.keys)))
        if name in self._good and len(keys):
            view, schema = self._good[name], self._schemas[name]
            for rows in view.keyed(keys):
                yield Keyed(rows.keys, project(rows.batch, view.schema, schema))

    def _tenant_column(self, name: str) -> str:
        own, schema = declared_of(self._declared, name).tenant, self._schemas[name]
        if own and schema.column(own) is not None:
            return own
        return schema.key[0] if name in self._homes and len(schema.key) == 1 else ""

    def _created_column(self, name: str) -> str:
        own = declared_of(self._declared, name).created
        return own if own and self._schemas[name].column(own) is not None else ""

    def _at_end(self, path: Path, name: str, some: tuple[pa.RecordBatch, Side], column: str, text: _Text) -> pa.Array:
        """A column of what each record leads to, put into words."""
        rows, side = some
        kind = self._schemas[path.end].column(column)
        assert kind is not None
        if not path.references:
            return text(rows.column(column), kind)
        keys = self._follow(self._schemas[name], rows, side, path.references)
        found = [
            (each.keys, text(each.batch.column(column), kind)) for each in self.fetch(path.end, _ascending(keys), side)
        ]
        if not found:
            return pa.nulls(rows.num_rows, pa.string())
        held, values = (pa.concat_arrays(arrays) for arrays in zip(*found, strict=True))
        return values.take(pc.index_in(keys, value_set=held, skip_nulls=True))

    def _follow(self, schema: Schema, rows: pa.RecordBatch, side: Side, references: tuple[Reference, ...]) -> pa.Array:
        """For each record the key at the end of the references, NULL where one leads nowhere."""
        keys = target_keys(rows, schema, references[0], self._schemas[references[0].target])
        for before, reference in pairwise(references):
            held, values = [pa.array([], pa.binary())], [pa.array([], pa.binary())]
            for each in self.fetch(before.target, _ascending(keys), side):
                held.append(each.keys)
                own = self._schemas[before.target]
                values.append(target_keys(each.batch, own, reference, self._schemas[reference.target]))
            keys = pa.concat_arrays(values).take(pc.index_in(keys, value_set=pa.concat_arrays(held), skip_nulls=True))
        return keys


def _ascending(keys: pa.Array) -> pa.Array:
    keys = pc.unique(pc.drop_null(keys))
    return keys.take(pc.sort_indices(keys))


def _texts(values: pa.Array, column: Column) -> pa.Array:
    """Values as people read them. Few differ, so only those are put into words."""
    encoded = values.dictionary_encode()
    schema = Schema((column,))
    batch = pa.RecordBatch.from_arrays([encoded.dictionary], schema=schema.arrow())
    words = [shown_value(row[column.name]) for row in rows_of(batch, schema)]
    return pa.array(words, pa.string()).take(encoded.indices)


def _days(values: pa.Array, column: Column) -> pa.Array:
    """The day of times, and of text that begins with an ISO date."""
    if pa.types.is_temporal(values.type) and not pa.types.is_time(values.type):
        return values.cast(pa.date32()).cast(pa.string())
    if pa.types.is_string(values.type):
        return pc.if_else(pc.match_substring_regex(values, _DATE), pc.utf8_slice_codeunits(values, 0, 10), None)
    texts = _texts(values, column)
    return pc.if_else(pc.match_substring_regex(texts, _DATE), pc.utf8_slice_codeunits(texts, 0, 10), None)
