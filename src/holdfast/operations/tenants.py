"""Whose each record is: by its own declared column, or through what it refers to.

A record that stands for a tenant, because tenants' columns refer to it, is that tenant's own. One that leads to none
is shared. Memory holds the keys of collections that others find their tenant through, each with its tenant's name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.align import Keyed
from holdfast.core.canonical import decode, slices
from holdfast.core.declared import Declared, declared_of
from holdfast.core.keyed import KeyTable, leads_by_key, target_keys
from holdfast.core.records import MIXED, Column, Reference, Schema
from holdfast.errors import Usage

__all__ = ["SHARED", "Tenants", "Turns"]

Read = Callable[[str], Iterator[Keyed]]
_TENANT = "tenant"
SHARED = ""  # in place of a tenant: what belongs to none


@dataclass(frozen=True, slots=True)
class Turns:
    """Whose turn it is: only these tenants (none: all), and in which order: `new` the last that came first, `largest`
    those with most records first, and before all of them those that are listed. Without any of it there are no turns.
    """

    only: tuple[str, ...] = ()
    order: Literal["", "new", "largest"] = ""
    listed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.only or self.order or self.listed)

    def takes(self, tenant: str) -> bool:
        """Whether a tenant has a turn."""
        return not self.only or tenant in self.only

    def of(self, tenants: Tenants, counts: Mapping[str, int]) -> Sequence[str]:
        """The tenants that have records, so many each, in their turn."""
        rest = sorted(counts, key=lambda each: (-counts[each], each)) if self.order == "largest" else sorted(counts)
        newest = tenants.newest() if self.order == "new" else ()
        found = [*self.listed, *newest, *(() if self.order else self.only), *rest]
        return [each for each in dict.fromkeys(found) if each in counts and each != SHARED and self.takes(each)]


class Tenants:
    """Tenants of records, by name: a tenant is what its column holds, as text.

    `read` gives all records of a collection, of one state, in its schema; to tell whose records are it is called once
    for each collection that others find their tenant through.
    """

    def __init__(self, schemas: Mapping[str, Schema], declared: Mapping[str, Declared], read: Read) -> None:
        self.schemas = schemas
        self._declared = declared
        self._read = read
        self._known = KeyTable(schemas)
        self._was_read: set[str] = set()
        self.homes = {reference.target for _, reference in self._own_references()}

    @property
    def are_declared(self) -> bool:
        """Whether any collection says whose its records are."""
        return bool(self.owned)

    @property
    def owned(self) -> tuple[str, ...]:
        """The collections whose own column says whose their records are."""
        return tuple(name for name in self.schemas if self._own_column(name) is not None)

    def of(self, name: str, rows: pa.RecordBatch) -> pa.Array:
        """The tenant of each record, as text; NULL for those that all share."""
        return self._of(name, rows, frozenset())

    def crossing(self, name: str) -> list[Reference]:
        """The references by which a record may lead to another tenant's."""
        schema, own, found = self.schemas[name], self._own_column(name), []
        for reference in schema.references:
            target = self.schemas.get(reference.target)
            is_own = own is not None and reference.columns == (own.name,)
            if target is None or is_own or not leads_by_key(reference, target):
                continue
            if self._has_tenants(reference.target, frozenset({name})):
                found.append(reference)
        # What finds its tenant along its only reference leads to him and nobody else.
        return found if own is not None or name in self.homes or len(found) > 1 else []

    def others(self, name: str, reference: Reference, rows: pa.RecordBatch, tenant: str) -> pa.Array:
        """The keys that records lead to along a reference and that are neither this tenant's nor shared."""
        keys = target_keys(rows, self.schemas[name], reference, self.schemas[reference.target])
        whose = self._led(reference, keys, frozenset())
        return keys.filter(pc.fill_null(pc.not_equal(whose, tenant), False))

    def newest(self) -> list[str]:
        """All tenants that have a record of their own, the one that came last first: by its declared creation, else by
        its key.
        """
        found: dict[str, tuple[bool, Any, bytes]] = {}
        for name in sorted(self.homes):
            created = declared_of(self._declared, name).created
            for each in self._read(name):
                own = self.of(name, each.batch).to_pylist()
                times = each.batch.column(created).to_pylist() if created in each.batch.schema.names else own
                is_known = created in each.batch.schema.names
                for tenant, at, key in zip(own, times, each.keys.to_pylist(), strict=True):
                    known = is_known and at is not None
                    found[tenant] = known, at if known else 0, key
        return sorted(found, key=found.__getitem__, reverse=True)

    def check(self, turns: Turns) -> None:
        """Raises Usage if turns are asked for and nothing says whose a record is, or for tenants that have none."""
        if turns and not self.are_declared:
            raise Usage(
                "no collection says whose its records are, so there are no tenants to tell apart",
                hint='say so in holdfast.toml: [collection.NAME] and tenant = "COLUMN"',
            )
        if unknown := self._unknown((*turns.only, *turns.listed)):
            raise Usage(
                f"no record belongs to {', '.join(unknown)}: no such tenant in the last good state",
                hint="name tenants as their column has them; --order knows new and largest beside a list of them",
            )

    def _unknown(self, asked: Sequence[str]) -> list[str]:
        """Those of some tenants that no record belongs to by its own column; nothing is read on once all are found."""
        left = dict.fromkeys(asked)
        for name in (*sorted(self.homes), *(each for each in self.owned if each not in self.homes)):
            for each in self._read(name) if left else ():
                for tenant in self.of(name, each.batch).unique().to_pylist():
                    left.pop(tenant, None)
                if not left:
                    break
        return list(left)

    def _of(self, name: str, rows: pa.RecordBatch, asked: frozenset[str]) -> pa.Array:
        schema, own = self.schemas[name], self._own_column(name)
        if own is not None:
            return _texts(own, rows.column(own.name))
        if name in self.homes and len(schema.key) == 1:
            return _texts(schema.key_columns[0], rows.column(schema.key[0]))
        found = pa.nulls(rows.num_rows, pa.string())
        for reference in sorted(schema.references, key=lambda each: not set(each.columns) <= set(schema.key)):
            target = self.schemas.get(reference.target)
            if found.null_count and target is not None and leads_by_key(reference, target):
                led = self._led(reference, target_keys(rows, schema, reference, target), asked | {name})
                found = pc.coalesce(found, led)
        return found

    def _led(self, reference: Reference, keys: pa.Array, asked: frozenset[str]) -> pa.Array:
        """The tenants of the records with these keys."""
        target = reference.target
        if target in asked or not self._has_tenants(target, asked):
            return pa.nulls(len(keys), pa.string())
        if target not in self._was_read:
            self._was_read.add(target)
            for each in self._read(target):
                facts = pa.RecordBatch.from_arrays([self._of(target, each.batch, asked)], names=[_TENANT])
                self._known.add(target, each.keys, facts)
        if not self._known.has(target):
            return pa.nulls(len(keys), pa.string())
        _, facts = self._known.all(target)
        return facts.column(_TENANT).take(self._known.find(target, keys))

    def _has_tenants(self, name: str, asked: frozenset[str]) -> bool:
        if self._own_column(name) is not None or name in self.homes:
            return True
        below = asked | {name}
        targets = {each.target for each in self.schemas[name].references} & self.schemas.keys() - below
        return any(self._has_tenants(each, below) for each in targets)

    def _own_column(self, name: str) -> Column | None:
        declared = declared_of(self._declared, name)
        return self.schemas[name].column(declared.tenant) if declared.tenant else None

    def _own_references(self) -> Iterator[tuple[str, Reference]]:
        """References that are a tenant's column, with their collections."""
        for name, schema in self.schemas.items():
            own = self._own_column(name)
            for reference in schema.references:
                if own is not None and reference.columns == (own.name,):
                    yield name, reference


def _texts(column: Column, values: pa.Array) -> pa.Array:
    """Values as text; NULL stays NULL."""
    if column.type == MIXED:
        told = [None if not values[at].is_valid else _text(decode(each)[1]) for at, each in enumerate(slices(values))]
        return pa.array(told, pa.string())
    if pa.types.is_binary(values.type) or pa.types.is_fixed_size_binary(values.type):
        return pa.array([None if each is None else each.hex() for each in values.to_pylist()], pa.string())
    return values.cast(pa.string())


def _text(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)
