"""A business in memory: its records, what reads and writes them, a host that captures them, sites that keep them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa

from holdfast.core.canonical import row_digests
from holdfast.core.plan import Plan
from holdfast.core.policy import Policy
from holdfast.core.ports import Applied, Created, Misread, Snapshot, Store, View
from holdfast.core.records import Collection, Column, Schema
from holdfast.errors import HoldfastError
from holdfast.operations.capture import Captured, Manner, capture
from holdfast.operations.found import found_vault
from holdfast.operations.proof import Print, fingerprint_of
from holdfast.operations.restore import vault_views
from holdfast.operations.scratch import sealed_scratch
from holdfast.vault.keys import parse_card
from holdfast.vault.sites import Site
from holdfast.vault.stores.folder import FolderStore
from holdfast.vault.stores.memory import MemoryStore
from holdfast.vault.vault import Vault
from holdfast.vault.view import VaultView
from tests.core.fakes import MemoryTarget
from tests.core.shapes import Row, batch_of, by_key, held

ORDERS = Schema((Column("id", "int"), Column("note", "text"), Column("paid", "mixed")), key=("id",))
CLICKS = Schema((Column("page", "text"),))
POLICY = Policy(safe_sites=2, safe_owners=2, confirm_above=10)
START = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)

Table = tuple[Schema, Sequence[Row]]


class Stopped(BaseException):
    """The power went. Not an Exception, so nothing in the product catches it."""


@dataclass
class Records:
    """A live view of plain rows, in batches of `batch_rows`; `fails` is raised once that many batches were read."""

    name: str
    schema: Schema
    rows: Sequence[Row]
    ordered: bool = False
    batch_rows: int = 3
    fails: tuple[int, Exception] | None = None

    def batches(self) -> Iterator[pa.RecordBatch]:
        starts = range(0, len(self.rows), self.batch_rows)
        for number, start in enumerate(starts):
            if self.fails is not None and number == self.fails[0]:
                raise self.fails[1]
            yield batch_of(self.schema, self.rows[start : start + self.batch_rows])
        if self.fails is not None and len(starts) <= self.fails[0]:
            raise self.fails[1]


@dataclass
class Shop:
    """The business: collections by name. `fails` says of some of them after how many batches reading fails, and how;
    `misleads`, after how many batches it turns out that what was known of them holds no longer.

    As a writer it does what a plan says, all or nothing. With `loses` it acknowledges, and then loses that record.
    """

    tables: dict[str, Table] = field(default_factory=dict)
    fails: dict[str, tuple[int, HoldfastError]] = field(default_factory=dict)
    misleads: dict[str, int] = field(default_factory=dict)
    loses: tuple[str, int] | None = None
    recovered: int = 0
    now: datetime = START

    @contextmanager
    def snapshot(self, known: Mapping[str, Schema] = MappingProxyType({})) -> Iterator[Snapshot]:
        misled = {name: (at, Misread(f"{name}: odd text")) for name, at in self.misleads.items() if name in known}
        yield ShopSnapshot(dict(self.tables), {**self.fails, **misled}, self.now)

    def recover(self) -> None:
        self.recovered += 1

    def apply(self, plan: Plan) -> Applied:
        collections = [Collection(name, schema) for name, (schema, _) in self.tables.items()]
        rows = {name: rows for name, (_, rows) in self.tables.items()}
        target = MemoryTarget(collections, rows, checks_at_end=True)
        applied = target.apply(plan)
        for name, (schema, _) in list(self.tables.items()):
            self.tables[name] = (schema, list(target.records[name].values()))
        if self.loses is not None:
            name, place = self.loses
            schema, found = self.tables[name]
            self.tables[name] = (schema, [row for number, row in enumerate(found) if number != place])
        return applied

    def create(self, views: Iterable[View]) -> Created:
        raise AssertionError(f"a shop that is there is not made anew from {views}")


class ShopSnapshot:
    """The shop at one moment."""

    position = "now"

    def __init__(
        self, tables: Mapping[str, Table], fails: Mapping[str, tuple[int, Exception]], taken: datetime
    ) -> None:
        self._tables, self._fails, self.taken = tables, fails, taken
        self.names = tuple(sorted(tables))

    def collection(self, name: str) -> Collection:
        return Collection(name, self._tables[name][0])

    @property
    def collections(self) -> tuple[Collection, ...]:
        return tuple(map(self.collection, self.names))

    def read(self, collection: Collection) -> View:
        schema, rows = self._tables[collection.name]
        batch_rows = max(3, len(rows) // 8)
        return Records(collection.name, schema, rows, batch_rows=batch_rows, fails=self._fails.get(collection.name))


class DyingStore(MemoryStore):
    """A site at which the power goes just before a name that begins so is written; `dies` may be changed at will."""

    dies: str | None = None

    def put(self, name: str, data: bytes) -> bool:
        if self.dies is not None and name.startswith(self.dies):
            raise Stopped
        return super().put(name, data)


@dataclass
class Office:
    """A shop, the host that captures it (state in `folder`), and its sites in memory: name → (owner, store)."""

    folder: Path
    shop: Shop = field(default_factory=Shop)
    sites: dict[str, tuple[str, Store]] = field(
        default_factory=lambda: {"a": ("anna", DyingStore()), "b": ("bela", DyingStore())}
    )
    now: datetime = START

    def __post_init__(self) -> None:
        founded = found_vault("shop", self._sites, POLICY, lambda: self.now, with_reader=True)
        assert founded.reader is not None
        self.id, self.writer, self.reader = founded.vault, founded.writer, founded.reader
        self.identity = parse_card(founded.card).identity

    @property
    def _sites(self) -> list[Site]:
        return [Site(name, owner, store) for name, (owner, store) in self.sites.items()]

    def vault(self, identity: str | None = None) -> Vault:
        """The vault, opened anew a minute later; by default with the recovery identity."""
        self.now += timedelta(minutes=1)
        return Vault(self._sites, self.id, identity=identity or self.identity, now=lambda: self.now)

    def capture(self, manner: Manner | None = None) -> Captured:
        """A capture, as a new process does it: without a key that decrypts."""
        self.now += timedelta(minutes=1)
        self.shop.now = self.now
        vault = Vault(self._sites, self.id, now=lambda: self.now)
        return capture(vault, self.writer, self.shop, self.folder, manner or Manner())

    def views(self, at: int | None = None) -> dict[str, VaultView]:
        """Every collection of a commit."""
        vault = self.vault()
        return vault_views(vault, vault.state(at))

    def objects(self, site: str) -> dict[str, bytes]:
        """The bytes of a site, open to damage."""
        store = self.sites[site][1]
        assert isinstance(store, MemoryStore)
        return store.objects

    def send_away(self, site: str) -> tuple[str, Store]:
        """Make a site one that does not answer, as a drive that is not mounted; gives what brings it back."""
        before = self.sites[site]
        self.sites[site] = (before[0], FolderStore(self.folder / "not mounted"))
        return before

    def dying(self, site: str) -> DyingStore:
        """A site whose power can be made to go."""
        store = self.sites[site][1]
        assert isinstance(store, DyingStore)
        return store


def orders(*ids: int, note: str | None = "", paid: bytes | None = None) -> Table:
    """Orders of these numbers, all alike."""
    return ORDERS, [{"id": each, "note": note, "paid": paid} for each in ids]


def clicks(*pages: str) -> Table:
    """Clicks on these pages: records without a key."""
    return CLICKS, [{"page": each} for each in pages]


def digests_of(table: Table) -> dict[bytes, bytes]:
    """Key to digest of plain rows."""
    schema, rows = table
    return held(schema, rows)


def held_in(office: Office, at: int | None = None) -> dict[str, dict[bytes, bytes]]:
    """Each collection of a commit as its view gives it, held against the fingerprint that the commit signed."""
    found = {}
    for name, view in office.views(at).items():
        found[name] = by_key((each.keys, row_digests(each.batch, view.schema)) for each in view.keyed())
        with sealed_scratch(office.folder) as scratch:
            assert fingerprint_of(view, scratch) == Print(view.rows, view.fingerprint)
    return found


def wanted(office: Office) -> dict[str, dict[bytes, bytes]]:
    """The same of the shop as it is now."""
    return {name: digests_of(table) for name, table in office.shop.tables.items()}
