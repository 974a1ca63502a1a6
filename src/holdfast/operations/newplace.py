"""A system built anew, tenant by tenant: definitions, what all share and the first tenant's records at once, so that he
can work; all others follow as plans into a system that is in use.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.core.canonical import key_bytes
from holdfast.core.declared import Declared
from holdfast.core.events import Progress
from holdfast.core.ports import View
from holdfast.core.records import is_definition
from holdfast.errors import Refused
from holdfast.operations.parting import Parting
from holdfast.operations.proof import compare_views
from holdfast.operations.scratch import SealedScratch
from holdfast.operations.streams import keyed, prefetched
from holdfast.operations.target import Target
from holdfast.operations.tenants import SHARED, Tenants, Turns
from holdfast.state.undone import PutBack, Undone
from holdfast.vault.states import State
from holdfast.vault.vault import Vault
from holdfast.vault.view import VaultView

__all__ = ["First", "NewPlace", "nothing_before"]

Emit = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class First:
    """The first tenant of a new place, "" if only what all share was there to be put back: his records and theirs, the
    seconds until they were there and proven, and collections in which they are not as they should be.
    """

    tenant: str
    records: int
    seconds: float
    differs: tuple[str, ...]


class NewPlace:
    """Builds a place from a state of the vault, as far as its first tenant needs it."""

    def __init__(self, vault: Vault, good: State, declared: Mapping[str, Declared], scratch: SealedScratch) -> None:
        self._views = {name: VaultView(vault, each) for name, each in good.collections.items() if not each.part.dropped}
        self._good = good
        self._scratch = scratch
        records = {name: view for name, view in self._views.items() if not is_definition(name)}
        schemas = {name: view.schema for name, view in records.items()}
        self._tenants = Tenants(schemas, declared, lambda name: keyed(records[name], scratch))
        if not self._tenants.are_declared:
            raise Refused(
                "no collection says whose its records are",
                hint='say so in holdfast.toml: [collection.NAME] and tenant = "COLUMN"; or holdfast restore --to',
            )

    def build(self, target: Target, turns: Turns, undone: Undone, emit: Emit) -> First:
        """Make the place with all that the first tenant needs, and prove it. It appears complete for him, or not at
        all. What was put there is kept on this host, so that the others can follow.
        """
        began = time.monotonic()
        self._tenants.check(turns)
        tenant = next(iter(turns.of(self._tenants, self._counts(turns))), SHARED)
        emit(Progress(f"put back {tenant or 'what is shared'}", 0, None, "records"))
        needed = self._needed(tenant)
        chosen: dict[str, View] = {
            name: view if is_definition(name) else _Chosen(view, self._tenants, tenant, needed.get(name))
            for name, view in self._views.items()
        }
        place = target.name, self._good.signed.sha256
        deed = undone.begin("", place, "", self._put_back(chosen))
        try:
            created = target.writer.create(chosen.values())
        except Refused:
            undone.forget(deed)
            raise
        undone.end(deed)
        names = [name for name in chosen if not is_definition(name)]
        with target.reader.snapshot() as snapshot:
            there = {each.name: snapshot.read(each) for each in snapshot.collections}
            compared = list(compare_views(chosen, there, self._scratch, names))
        differs = tuple(each.name for each in compared if not each.tally.is_equal)
        return First(tenant, created.records, time.monotonic() - began, differs)

    def _needed(self, tenant: str) -> Mapping[str, pa.Array]:
        """The keys of other tenants' records that the first one's refer to, and those refer to, and so on."""
        needed: dict[str, set[bytes]] = {}
        crossing = {name: self._tenants.crossing(name) for name in self._views if not is_definition(name)}
        todo: dict[str, pa.Array | None] = {name: None for name, references in crossing.items() if references}
        while todo:
            found: dict[str, set[bytes]] = {}
            for name, keys in todo.items():
                view = _Chosen(self._views[name], self._tenants, tenant, keys, is_only=keys is not None)
                for batch in view.batches():
                    for each in crossing[name]:
                        others = self._tenants.others(name, each, batch, tenant)
                        found.setdefault(each.target, set()).update(others.to_pylist())
            fresh = {name: keys - needed.get(name, set()) for name, keys in found.items()}
            for name, new in fresh.items():
                needed.setdefault(name, set()).update(new)
            todo = {name: pa.array(sorted(new), pa.binary()) for name, new in fresh.items() if new and crossing[name]}
        return {name: pa.array(sorted(keys), pa.binary()) for name, keys in needed.items() if keys}

    def _counts(self, turns: Turns) -> Mapping[str, int]:
        """How many records tenants have; whom it is not asked for, one."""
        if turns.order != "largest":
            return dict.fromkeys((*turns.only, *turns.listed, *self._tenants.newest()), 1)
        found: Counter[str] = Counter()
        for name in self._tenants.owned:
            for batch in self._views[name].batches():
                for each in pc.value_counts(self._tenants.of(name, batch)).to_pylist():
                    found[each["values"] or SHARED] += each["counts"]
        return found

    def _put_back(self, chosen: Mapping[str, View]) -> Iterator[PutBack]:
        for name, view in chosen.items():
            if not is_definition(name):
                for each in keyed(view, self._scratch):
                    nothing = pa.nulls(len(each.keys), pa.binary(32))
                    columns = {"key": each.keys, "live": each.keys, "wanted": nothing, "was": nothing, "good": nothing}
                    yield PutBack(name, False, pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns)))


def nothing_before(good: State) -> Parting:
    """The parting of a place that was empty: whatever is in it came since, or was put back."""
    return Parting(replace(good, collections={}), is_told=True)


class _Chosen:
    """A vault's view, narrowed to what all share, what is one tenant's, and records of these keys; or to them only."""

    def __init__(
        self, view: VaultView, tenants: Tenants, tenant: str, keys: pa.Array | None, *, is_only: bool = False
    ) -> None:
        self._keys = keys
        self._is_only = is_only
        self._view = view
        self._tenants = tenants
        self._tenant = tenant
        self.name = view.name
        self.schema = view.schema
        self.ordered = view.ordered

    def batches(self) -> Iterator[pa.RecordBatch]:
        for batch in prefetched(self._view.batches()):
            is_named = None
            if self._keys is not None:
                is_named = pc.is_in(key_bytes(batch, self.schema), value_set=self._keys)
                if self._is_only:
                    yield batch.filter(is_named)
                    continue
            whose = self._tenants.of(self.name, batch).fill_null(SHARED)
            is_his = pc.or_(pc.equal(whose, SHARED), pc.equal(whose, self._tenant))
            yield batch.filter(is_his if is_named is None else pc.or_(is_his, is_named))
