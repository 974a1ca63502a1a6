"""What an undo writes, in shares: one for each tenant that gets its records back by itself, one for what all share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.canonical import row_digests, slices
from holdfast.core.compare import Difference
from holdfast.core.declared import Conflict
from holdfast.core.keyed import target_keys
from holdfast.core.plan import CollectionDifferences, Plan, make_plan
from holdfast.core.policy import Policy
from holdfast.core.records import Collection, Schema
from holdfast.core.settle import Settled
from holdfast.operations.batches import BatchSpool
from holdfast.operations.scratch import SealedScratch
from holdfast.operations.spool import DifferenceSpool
from holdfast.operations.tenants import SHARED, Tenants, Turns
from holdfast.state.undone import PutBack

__all__ = ["Parts", "Share", "Wish"]


@dataclass(frozen=True, slots=True)
class Wish:
    """How far an undo may go: tenant by tenant or all at once, who decides on conflicts, and as for a restore whether
    records may be deleted, what was approved, and so on. `is_live`: the place is in use, not made for this. `at` is the
    state to put back, None the last good one.
    """

    turns: Turns = field(default_factory=Turns)
    conflict: Conflict | None = None
    may_delete: bool = False
    approval: str = ""
    plan_only: bool = False
    policy: Policy = field(default_factory=Policy)
    is_granted: Callable[[str], bool] | None = None
    is_live: bool = True
    at: datetime | int | str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Share:
    """The part of an undo that is one tenant's, or what all share (`tenant` is ""): its plan, and what that writes."""

    tenant: str
    plan: Plan
    writes: BatchSpool

    def put_back(self) -> Iterator[PutBack]:
        """What the plan writes, as this host keeps it."""
        for kept in self.writes.read():
            name, _, moved = kept.label.rpartition(" ")
            rows = kept.batches[0]
            assert rows is not None, "what is kept has rows"
            yield PutBack(name, moved == "moved", rows)


class Parts:
    """What is to be done, by tenant and collection. Raises Usage for turns of tenants that are none."""

    def __init__(self, wish: Wish, tenants: Tenants | None, scratch: SealedScratch) -> None:
        if tenants is not None:
            tenants.check(wish.turns)
        self._wish = wish
        self._tenants = tenants
        self._scratch = scratch
        self._spools: dict[str, dict[str, tuple[Schema, DifferenceSpool]]] = {SHARED: {}}
        self._writes: dict[str, BatchSpool] = {SHARED: BatchSpool(scratch)}
        self._counts: dict[str, int] = {}
        self._schemas = {} if tenants is None else tenants.schemas
        self._crossing = {} if tenants is None else {name: tenants.crossing(name) for name in tenants.schemas}
        # Whose lost records are that another tenant's may refer to, by key, and the shares that are complete.
        crossed = {each.target for references in self._crossing.values() for each in references}
        self._owners: dict[str, dict[bytes, str]] = {name: {} for name in crossed}
        self._done: set[str] = set()
        self.left_out = 0

    def add(self, name: str, schema: Schema, settled: Settled) -> None:
        """Keep what is to be done about some records with the tenants they belong to."""
        if self._tenants is None:
            self._keep(SHARED, name, schema, settled)
            return
        whose = self._tenants.of(name, settled.rows).fill_null(SHARED)
        for tenant in whose.unique().to_pylist():
            some = _only(settled, pc.equal(whose, tenant))
            is_taken = tenant == SHARED or self._wish.turns.takes(tenant)
            if not is_taken:
                self.left_out += len(some.keys)
            if is_taken or name in self._owners:
                self._keep(tenant, name, schema, some)

    def define(self, name: str, schema: Schema, difference: Difference) -> None:
        """Keep definitions that are missing, with what is shared."""
        self._spool(SHARED, name, schema).add(difference)

    def shares(self, target: str) -> Iterator[Share]:
        """What is shared first, then tenant by tenant."""
        tenants = self._wish.turns.of(self._tenants, self._counts) if self._tenants is not None else ()
        for tenant in (SHARED, *tenants):
            self._complete(tenant)
        for tenant in (SHARED, *tenants):
            spools = self._spools.get(tenant)
            if spools or (tenant == SHARED and not tenants):
                differences = [
                    CollectionDifferences(Collection(name, schema), spool.read)
                    for name, (schema, spool) in (spools or {}).items()
                ]
                plan = make_plan(target, differences, deletes=self._wish.may_delete)
                yield Share(tenant, plan, self._writes[tenant])

    def _complete(self, tenant: str) -> None:
        """Bring lost records that a share's own refer to, and that are in no share before it, into this one."""
        self._done.add(tenant)
        while needed := self._needed(tenant):
            for (owner, name), keys in needed.items():
                self._move((owner, tenant), name, pa.array(sorted(keys), pa.binary()))
                self._owners[name] |= dict.fromkeys(keys, tenant)

    def _needed(self, tenant: str) -> dict[tuple[str, str], set[bytes]]:
        """The keys of such records, by whose they are and collection."""
        found: dict[tuple[str, str], set[bytes]] = {}
        for name, (schema, spool) in self._spools.get(tenant, {}).items():
            for difference in spool.read() if self._crossing.get(name) else ():
                for each in self._crossing[name] if difference.wanted is not None else ():
                    keys = target_keys(difference.wanted, schema, each, self._schemas[each.target]).drop_null()
                    owners = self._owners.get(each.target, {})
                    for key in keys.to_pylist():
                        owner = owners.get(key, tenant)
                        if owner not in self._done:
                            found.setdefault((owner, each.target), set()).add(key)
        return found

    def _move(self, way: tuple[str, str], name: str, keys: pa.Array) -> None:
        """Move records that are to be inserted from one share to another."""
        owner, to = way
        schema, spool = self._spools[owner].pop(name)
        for each in spool.read():
            is_moved = pc.is_in(each.keys, value_set=keys)
            for whom, chosen in ((to, is_moved), (owner, pc.invert(is_moved))):
                if chosen.true_count:
                    self._spool(whom, name, schema).add(_some(each, chosen))
        kept, self._writes[owner] = self._writes[owner], BatchSpool(self._scratch, 1 << 16)
        for label, (rows, *_) in kept.read():
            assert rows is not None, "what is kept has rows"
            is_moved = pc.is_in(rows.column("live"), value_set=keys)
            if label.rpartition(" ")[0] != name:
                is_moved = pa.repeat(False, rows.num_rows)
            for whom, chosen in ((to, is_moved), (owner, pc.invert(is_moved))):
                if chosen.true_count:
                    self._writes_of(whom).add(label, [rows.filter(chosen)])
        if not self._wish.turns.takes(owner):
            self.left_out -= len(keys)

    def _writes_of(self, tenant: str) -> BatchSpool:
        return self._writes.setdefault(tenant, BatchSpool(self._scratch, 1 << 16))

    def _keep(self, tenant: str, name: str, schema: Schema, settled: Settled) -> None:
        self._spool(tenant, name, schema).add(settled.difference)
        if name in self._owners and settled.difference.kind == "missing":
            self._owners[name] |= dict.fromkeys(slices(settled.difference.keys), tenant)
        self._counts[tenant] = self._counts.get(tenant, 0) + len(settled.keys)
        writes = self._writes_of(tenant)
        writes.add(f"{name} {'moved' if settled.moved else 'stayed'}", [_put_back(settled, schema)])

    def _spool(self, tenant: str, name: str, schema: Schema) -> DifferenceSpool:
        known = self._spools.setdefault(tenant, {})
        if name not in known:
            known[name] = schema, DifferenceSpool(self._scratch, 1 << 16 if self._tenants else 1 << 20)
        return known[name][1]


def _only(settled: Settled, mask: pa.Array) -> Settled:
    some = _some(settled.difference, mask)
    return Settled(some, settled.keys.filter(mask), settled.rows.filter(mask), settled.moved)


def _some(difference: Difference, mask: pa.Array) -> Difference:
    sides = (difference.wanted, difference.actual, difference.wanted_digests, difference.actual_digests)
    wanted, actual, *digests = (None if each is None else each.filter(mask) for each in sides)
    return replace(
        difference,
        keys=difference.keys.filter(mask),
        wanted=wanted,
        actual=actual,
        wanted_digests=digests[0],
        actual_digests=digests[1],
    )


def _put_back(settled: Settled, schema: Schema) -> pa.RecordBatch:
    """What a plan does about some records, as keys and digests."""
    difference = settled.difference
    nothing = pa.nulls(len(settled.keys), pa.binary(32))
    wanted = nothing if difference.wanted_digests is None else difference.wanted_digests
    was = nothing if difference.actual_digests is None else difference.actual_digests
    good = nothing if difference.kind == "added" else row_digests(settled.rows, schema)
    columns = {"key": settled.keys, "live": difference.keys, "wanted": wanted, "was": was, "good": good}
    if settled.moved and difference.wanted is not None:
        columns |= {f"new {name}": difference.wanted.column(name) for name in schema.key}
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
