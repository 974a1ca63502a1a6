"""A house to crash: a tiny shop, its host, three sites of three owners; and what must hold of it after a crash."""

from __future__ import annotations

import shutil
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import pytest

from holdfast.connectors.sqlite import SqliteReader, SqliteWriter, connection
from holdfast.core.policy import Policy
from holdfast.core.ports import Store
from holdfast.errors import Damaged, HoldfastError, Unreachable
from holdfast.operations.capture import Manner, capture
from holdfast.operations.check import mend
from holdfast.operations.found import found_vault
from holdfast.operations.proof import Print, fingerprint_of
from holdfast.operations.restore import Choice, Target, restore_live, restore_new, vault_views
from holdfast.operations.scratch import sealed_scratch
from holdfast.sample import make_shop
from holdfast.state import index
from holdfast.vault.findings import Finding
from holdfast.vault.keys import parse_card
from holdfast.vault.names import Kind, parse_name, sha256_hex
from holdfast.vault.signing import SigningKey
from holdfast.vault.sites import Site
from holdfast.vault.stores.folder import FolderStore
from holdfast.vault.stores.memory import MemoryStore
from holdfast.vault.vault import Vault
from holdfast.vault.verify import Report, verify
from holdfast.vault.view import VaultView
from tests.crash.faults import Fault, HostDisk, Seams, SeamStore, SiteDisk, replace_folder

OWNERS = {"a": "anna", "b": "bela", "c": "cleo"}
POLICY = Policy(confirm_above=1_000_000)
_KEPT = {"tenants", "settings", "partners", "customers", "top_ups", "clicks"}
_COUNTED_STATEMENTS = ("BEGIN IMMEDIATE", "INSERT", "UPDATE", "DELETE", "CREATE", "DROP", "ANALYZE", "COMMIT")

Prints = dict[str, Print]
Verb = Callable[["House", Vault], object]


@dataclass(frozen=True)
class Secrets:
    """What only people hold: the vault's id, the recovery identity and the writer's key."""

    vault: str
    identity: str
    writer: SigningKey


@dataclass
class Attempt:
    """One run of a verb under a fault: whether the fault struck, and how the run ended (died: neither)."""

    seams: Seams
    result: Any = None
    error: HoldfastError | None = None

    @property
    def was_struck(self) -> bool:
        return bool(self.seams.struck)


@dataclass
class House:
    """Folders `host` and `sites/a` … below one; with `in_memory` the sites live in memory stores instead.

    `signed` is every commit and journal link ever offered to any site: place → the hashes signed for it.
    """

    folder: Path
    secrets: Secrets
    in_memory: bool = False
    signed: dict[tuple[Kind, str, int], set[str]] = field(default_factory=lambda: defaultdict(set))

    def __post_init__(self) -> None:
        self.host, self.sites = self.folder / "host", self.folder / "sites"
        self.shop, self.state = self.host / "shop.db", self.host / "state"
        self.memory = {name: MemoryStore() for name in OWNERS} if self.in_memory else {}
        for name, store in self.memory.items():
            for path in filter(Path.is_file, (self.sites / name).rglob("*")):
                store.objects[path.relative_to(self.sites / name).as_posix()] = path.read_bytes()

    @classmethod
    def found(cls, folder: Path) -> Self:
        """A shop and an empty vault for it."""
        for name in OWNERS:
            (folder / "sites" / name).mkdir(parents=True)
        (folder / "host").mkdir()
        tiny_shop(folder / "host" / "shop.db")
        sites = [Site(name, owner, FolderStore(folder / "sites" / name)) for name, owner in OWNERS.items()]
        founded = found_vault("shop", sites, POLICY, lambda: datetime.now(UTC), with_reader=False)
        return cls(folder, Secrets(founded.vault, parse_card(founded.card).identity, founded.writer))

    def copy(self, folder: Path, *, in_memory: bool = False) -> House:
        """The same house at another place."""
        shutil.copytree(self.folder, folder)
        for site, store in self.memory.items():
            shutil.rmtree(folder / "sites" / site)
            for name, data in {".": b"", **store.objects}.items():
                path = folder / "sites" / site / name
                path.parent.mkdir(parents=True, exist_ok=True)
                if name != ".":
                    path.write_bytes(data)
        return House(folder, self.secrets, in_memory)

    def run(self, verb: Verb) -> Any:
        """Do it undisturbed, as a new process would."""
        return verb(self, self.vault())

    def attempt(self, verb: Verb, fault: Fault, number: int) -> Attempt:
        """Do it with a fault at the N-th operation, and leave behind what the fault leaves."""
        frozen = self.folder / "frozen"
        seams = Seams(fault, number, lambda: shutil.copytree(self.host, frozen))
        host = HostDisk(seams)
        disks = [] if self.in_memory else [SiteDisk(self.sites / name, seams) for name in OWNERS]
        stores = self._stores(seams, disks)
        attempt = Attempt(seams)
        with _seams_of_the_host(seams, host, self.host):
            try:
                attempt.result = verb(self, self.vault(stores))
            except HoldfastError as err:
                attempt.error = err
            except BaseException:
                # What the dead do on their way out is of no account.
                if not seams.is_dead:
                    raise
        if seams.is_dead:
            replace_folder(self.host, by=frozen)
            shutil.rmtree(frozen)
        if fault in (Fault.POWER, Fault.SYNC) and seams.struck:
            for disk in disks:
                disk.cut()
            host.cut()
        return attempt

    def vault(self, stores: dict[str, Store] | None = None, *, identity: str | None = None) -> Vault:
        """The vault, opened anew."""
        stores = stores or self._stores(None, [])
        sites = [Site(name, OWNERS[name], store) for name, store in stores.items()]
        return Vault(sites, self.secrets.vault, identity=identity or self.secrets.identity)

    def verify(self) -> Report:
        return verify(self.vault().sites, self.secrets.vault, now=datetime.now(UTC))

    def problems(self) -> set[tuple[str, str]]:
        """What verify finds beyond notes: its kind, and the kind of name it is about."""
        return {(str(each.kind), each.name.split("/")[0]) for each in serious(self.verify())}

    def prints(self, at: int | None = None) -> Prints:
        """Every collection as it reads now, by fingerprint; {} before the first commit.

        Each is held against the fingerprint that its commit signed. Raises Damaged if one can't be opened.
        """
        vault = self.vault()
        if vault.head is None:
            return {}
        found = {}
        whole = vault.state(at)
        if whole.closed:
            raise Damaged(f"{len(whole.closed)} collections stay closed")
        for name, state in whole.collections.items():
            if state.part.dropped:
                continue
            with sealed_scratch(self.folder / "scratch") as scratch:
                found[name] = fingerprint_of(VaultView(vault, state), scratch)
            assert found[name] == Print(state.part.rows, state.part.fingerprint), f"{name} is not what was signed"
        return found

    def records(self, name: str = "shop.db") -> list[str]:
        """All of a database of the host."""
        return database_records(self.host / name)

    def contents(self, site: str) -> dict[str, bytes]:
        """Names and bytes at a site, but for quarantine and unfinished files."""
        store = self._stores(None, [])[site]
        return {each.name: store.get(each.name) for each in store.list() if not each.name.startswith("quarantine/")}

    def damage(self, site: str, name: str, data: bytes | None) -> None:
        """Put other bytes under a name at a site, or (None) take it away."""
        if self.in_memory:
            objects = self.memory[site].objects
            if data is None:
                del objects[name]
            else:
                objects[name] = data
            return
        path = self.sites / site / name
        if data is None:
            path.unlink()
        else:
            path.write_bytes(data)

    def wipe(self, site: str) -> None:
        """A new, empty disk in the place of a site's."""
        if self.in_memory:
            self.memory[site].objects.clear()
        else:
            shutil.rmtree(self.sites / site)
            (self.sites / site).mkdir()

    def _stores(self, seams: Seams | None, disks: list[SiteDisk]) -> dict[str, Store]:
        stores: dict[str, Store] = dict(self.memory)
        for name in () if self.in_memory else OWNERS:
            disk = next((disk for disk in disks if disk.root == self.sites / name), None)
            stores[name] = FolderStore(self.sites / name, disk=disk)
        counted = seams if self.in_memory else None
        return {name: SeamStore(store, self._note, counted, name) for name, store in stores.items()}

    def _note(self, text: str, data: bytes) -> None:
        name = parse_name(text)
        if name is not None and name.kind in (Kind.COMMIT, Kind.EVENTS):
            assert sha256_hex(data) == name.sha256
            self.signed[name.kind, name.group, name.number].add(name.sha256)


def take(house: House, vault: Vault) -> object:
    """Capture."""
    return capture(vault, house.secrets.writer, SqliteReader(house.shop), house.state, Manner())


def heal(house: House, vault: Vault) -> object:
    """Heal, with the journal told."""
    return mend(vault, house.secrets.writer, lambda _: None)


def restore_into_live(house: House, vault: Vault) -> object:
    """Restore everything as of the newest commit into the shop; what came since goes."""
    target = Target("shop", SqliteReader(house.shop), SqliteWriter(house.shop))
    choice = Choice(may_delete=True, policy=POLICY)
    with sealed_scratch(house.state) as scratch:
        return restore_live(vault_views(vault, vault.state()), target, choice, scratch, lambda _: None)


def restore_to_new(house: House, vault: Vault) -> object:
    """Restore everything as of the newest commit into a database that is not there yet."""
    path = house.host / "new.db"
    target = Target("new", SqliteReader(path), SqliteWriter(path))
    with sealed_scratch(house.state) as scratch:
        return restore_new(vault_views(vault, vault.state()), target, Choice(), scratch, lambda _: None)


def database_records(path: Path) -> list[str]:
    """All of a database, by another program, read from a copy; what a crash left beside it goes along."""
    with TemporaryDirectory(dir=path.parent) as looked:
        for each in path.parent.glob(f"{path.name}*"):
            shutil.copy(each, looked)
        with closing(sqlite3.connect(Path(looked) / path.name)) as database:
            database.text_factory = bytes
            assert database.execute("PRAGMA integrity_check").fetchall() == [(b"ok",)]
            tables = database.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
            found = [
                f"{name} {row}" for (name,) in tables for row in database.execute(f'SELECT * FROM "{name.decode()}"')
            ]
            found += map(str, database.execute("SELECT type, name, sql FROM sqlite_schema"))
    return sorted(found)


def serious(report: Report) -> list[Finding]:
    """What a verification found but for notes."""
    return [each for each in report.all_findings if not each.kind.is_note]


def tiny_shop(path: Path) -> None:
    """A corner of the sample shop that is quick to capture: keys of one and two columns, none, a circle of references,
    mixed types, AUTOINCREMENT; with a rollback journal, whose remains after a crash are the harder ones.
    """
    make_shop(path, orders=30, journal="delete")
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA foreign_keys = OFF")
        things = database.execute("SELECT type, name FROM sqlite_schema WHERE type IN ('view', 'trigger')").fetchall()
        tables = database.execute("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        things += [("table", name) for (name,) in tables if name not in _KEPT]
        for kind, name in things:
            database.execute(f"DROP {kind} {name}")
        database.execute("CREATE VIEW towns AS SELECT city, count(*) AS customers FROM customers GROUP BY city")


def change_shop(path: Path) -> None:
    """A day of trade: records new, changed and gone, one more equal record, a column more, and a table gone."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.executescript(
            "PRAGMA foreign_keys = OFF; BEGIN;"
            "UPDATE customers SET city = upper(city), newsletter = 1 WHERE id % 3 = 0;"
            "DELETE FROM customers WHERE id % 7 = 1;"
            "INSERT INTO clicks SELECT * FROM clicks LIMIT 3;"
            "UPDATE settings SET value = x'00ff' WHERE tenant_id = 1;"
            "ALTER TABLE tenants ADD COLUMN closed_at TEXT;"
            "DROP TABLE top_ups;"
            "COMMIT;"
        )


def destroy_shop(path: Path) -> None:
    """A script gone wrong: records lost, changed and added."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.executescript(
            "PRAGMA foreign_keys = OFF; BEGIN;"
            "DELETE FROM customers WHERE id % 2 = 0; UPDATE partners SET name = 'x'; DELETE FROM clicks;"
            "INSERT INTO settings SELECT tenant_id, 'junk', 1, '' FROM settings GROUP BY tenant_id;"
            "DROP VIEW towns; COMMIT;"
        )


@contextmanager
def _seams_of_the_host(seams: Seams, host: HostDisk, folder: Path) -> Iterator[None]:
    """The host's disk, and the statements that write to a database of his, on the seams."""

    class CountedSession(connection.Session):
        def run(self, sql: str, parameters: Any = ()) -> None:
            with self._counted(sql):
                super().run(sql, parameters)

        def run_many(self, sql: str, rows: Any) -> None:
            with self._counted(sql):
                super().run_many(sql, rows)

        @contextmanager
        def _counted(self, sql: str) -> Iterator[None]:
            if not sql.startswith(_COUNTED_STATEMENTS):
                yield
                return
            try:
                # A commit is also an fsync.
                with seams.step("fsync" if sql == "COMMIT" else "statement", "the database", sql[:40]):
                    yield
            except OSError as err:
                raise Unreachable(f"{self.path}: {err.strerror}", hint="check the disk") from err

    assert folder.is_dir()
    with pytest.MonkeyPatch.context() as patch:
        # Neither capture nor a connector takes a disk, so the seams are put in by name.
        patch.setattr(index, "Disk", lambda: host)
        patch.setattr(connection, "Session", CountedSession)
        yield
