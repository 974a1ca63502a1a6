"""A vault with a week of real states, at a site server or in folders; whoever is to be trusted; and a clock that moves.

Everything is real but the time: keys, files, requests over HTTP. All of a world lies in one folder, so that each attack
meets a copy of it. The week ended some days ago, so that what its keeper does days later lies in the past of whoever
looks at it now.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.redteam.attacks import DAYS, GRANTED
from holdfast.api import OpenVault
from holdfast.assemble import Project, load_project, open_source
from holdfast.core.config import Config, SiteConfig, SourceConfig, VaultConfig, render_config
from holdfast.core.policy import Policy
from holdfast.errors import HoldfastError
from holdfast.operations.capture import Manner, capture
from holdfast.operations.found import found_vault
from holdfast.operations.hosting import SiteFile, SiteHost, begin_site, new_token
from holdfast.operations.restore import Choice
from holdfast.operations.sitefiles import read_site
from holdfast.places import open_site
from holdfast.site.server import make_server
from holdfast.state.index import erase
from holdfast.vault.amend import Amendment
from holdfast.vault.coding import time_text
from holdfast.vault.eras import Arrivals, no_arrivals
from holdfast.vault.keys import parse_card
from holdfast.vault.pruning import Judge, Step, prune_here
from holdfast.vault.signing import ROOT, SigningKey
from holdfast.vault.sites import Site
from holdfast.vault.stores.folder import FolderStore
from holdfast.vault.trust import seal_trust
from holdfast.vault.vault import Vault
from holdfast.vault.verify import judge, read_all
from holdfast.vault.writer import VaultWriter

__all__ = ["SECRET", "Kept", "World", "begun", "serving", "told"]

SECRET = "only the first states say: "
_PATIENCE_SECONDS = 30.0
_AFTER = timedelta(days=2)  # between the attack and what retention does: nothing is of the last `keep_days` any more
_KEPT = {"keep_days": "1", "daily": str(DAYS + _AFTER.days + 1), "monthly": "0", "wait_hours": "1"}


@dataclass(frozen=True)
class Kept:
    """A state that was acknowledged: its commit, and the shop as SQLite itself tells it."""

    sha256: str
    shop: tuple[str, ...]


@dataclass
class World:
    """One vault. `host` is the folder of the capture host that will be stolen, `kept` the states that must stay: first
    one too old for the rules, then `DAYS` that are not, the newest by the other host.
    """

    folder: Path
    port: int  # of the site server, which has another each time; 0: folders
    clock: list[datetime]
    ended: datetime
    vault: str = ""
    kept: list[Kept] = field(default_factory=list)
    running: SiteHost | None = None

    @property
    def host(self) -> Path:
        return self.folder / "host"

    @property
    def place(self) -> Path:
        """Where what the thief's host writes to lies on the disk of whoever keeps it."""
        return self.folder / "site" / "vaults" / "shop" if self.port else self.folder / "site"

    def now(self) -> datetime:
        """The time in this world."""
        self.clock[0] += timedelta(seconds=1)
        return self.clock[0]

    def copied(self, folder: Path) -> World:
        """The same world once more, at the same moment."""
        shutil.copytree(self.folder, folder)
        return World(folder, self.port, list(self.clock), self.ended, self.vault, self.kept)

    def site(self) -> Site:
        """The site as its keeper sees it."""
        return Site("otto", "otto", FolderStore(self.place))

    def trusted(self) -> OpenVault:
        """The vault for whoever has the card: over the wire with a token of his own, or by the folder alone."""
        if self.port:
            place = SiteConfig("otto", f"http://127.0.0.1:{self.port}/shop", "otto", "file:admin.token")
        else:
            place = SiteConfig("otto", "site", "otto")
        project = Project(
            self.folder / "nowhere",
            Config(VaultConfig("restored", self.vault), (), (place,)),
            (open_site(place, self.folder),),
        )
        return OpenVault(project, self.identity)

    @property
    def identity(self) -> str:
        """The recovery identity, from the card."""
        return parse_card((self.folder / "host.card").read_text(encoding="utf-8")).identity

    def unrestorable(self, first: int = 0) -> list[str]:
        """Which of the real states, from this one on, do not come back as they were, each with why."""
        lost = []
        for number, kept in list(enumerate(self.kept))[first:]:
            target = self.folder / f"restored-{number}.db"
            target.unlink(missing_ok=True)
            try:
                self.trusted().restore(Choice(), kept.sha256, to=f"sqlite:///{target}")
                if told(target) != kept.shop:
                    lost.append(f"state {number} is another")
            except HoldfastError as err:
                lost.append(f"state {number}: {err.message}")
        return lost

    def pruned(self) -> int:
        """The keeper's next steps two days after the week: a drill of the newest state, and what its rules let go of.

        How many objects went.
        """
        self.clock[0] = max(self.clock[0], self.ended + _AFTER)
        root = SigningKey.derive(self.identity, ROOT)
        vault = Vault([self.site()], self.vault, now=self.now)
        head = vault.head
        assert head is not None
        commit = {"stream": head.commit.stream, "sequence": head.commit.sequence, "sha256": head.sha256}
        said = {"kind": "drilled", "at": time_text(self.now()), "commit": commit, "is_proven": True}
        VaultWriter(vault, root).write_events("ad" * 8, [said])
        gone, key = 0, root
        arrivals: Arrivals = no_arrivals
        if self.running is not None:
            key, arrivals = read_site(self.folder / "site")[1], self.running.hosted("shop").arrival
        for step in (Step.MARK, Step.DELETE):
            done = prune_here(self.site(), self.vault, Judge(key, self.now(), arrivals), step)
            gone += sum(each.deleted.objects for each in done)
            self.clock[0] += timedelta(hours=2)
        return gone

    def findings(self) -> set[str]:
        """What whoever verifies both sites, or the one there is, finds wrong: kinds of findings."""
        sites = [self.site(), *([] if self.port else [Site("ana", "ana", FolderStore(self.folder / "far"))])]
        report = judge(read_all(sites, self.vault, now=self.now()), now=self.now())
        return {str(each.kind) for each in report.all_findings if not each.kind.is_note}


def begun(folder: Path, *, server: bool) -> World:
    """A new world, with all its states, in a new folder."""
    noon = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - 2 * _AFTER
    world = World(folder, -1 if server else 0, [noon - timedelta(days=40)], noon)
    world.host.mkdir(parents=True)
    os.environ.setdefault("NO_COLOR", "1")
    if server:
        begin_site(folder / "site", SiteFile("otto", "otto"))
        for name in ("shop", "admin", "bo"):
            vault = "shop" if name == "admin" else name
            token, _ = new_token(folder / "site", name, vault=vault, quota=GRANTED)
            (folder / f"{name}.token").write_text(token)
        shutil.copyfile(folder / "shop.token", world.host / "token")
    with serving(world):
        _begin_vault(world)
        for days in (2 * DAYS, *range(DAYS - 1, -1, -1)):
            world.clock[0] = noon - timedelta(days=days)
            _capture(world, "host" if days else "second")
        if server:
            _begin_other(world)
    return world


@contextmanager
def serving(world: World) -> Iterator[None]:
    """The site server of this world, by its clock, until the block ends; nothing for folders."""
    if not world.port:
        yield
        return
    with SiteHost.opened(world.folder / "site", world.now) as host:
        server = make_server(host, ("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        try:
            deadline = time.monotonic() + _PATIENCE_SECONDS
            while not server.started:
                assert thread.is_alive(), "the site server did not start"
                assert time.monotonic() < deadline, "the site server does not come up"
                time.sleep(0.005)
            world.running = host
            _moved(world, server.servers[0].sockets[0].getsockname()[1])
            yield
        finally:
            world.running = None
            server.should_exit = True
            thread.join(_PATIENCE_SECONDS)


def _moved(world: World, port: int) -> None:
    """The hosts know the server where it is now."""
    for config in world.folder.glob("*/holdfast.toml"):
        text = config.read_text(encoding="utf-8")
        config.write_text(text.replace(f"//127.0.0.1:{world.port}/", f"//127.0.0.1:{port}/"), encoding="utf-8")
    world.port = port


def told(database: Path) -> tuple[str, ...]:
    """All of a SQLite database in SQLite's own words."""
    connection = sqlite3.connect(database)
    try:
        return tuple(connection.iterdump())
    finally:
        connection.close()


def _begin_vault(world: World) -> None:
    """The vault, without a reader key on the host, with a second writer, and rules that keep a state for each day."""
    shop = world.host / "shop.db"
    _run(shop, "CREATE TABLE orders (id INTEGER PRIMARY KEY, who TEXT NOT NULL)")
    url = f"http://127.0.0.1:{world.port}/shop"
    places = [SiteConfig("otto", url if world.port else "../site", "otto", "file:token" if world.port else "")]
    if not world.port:
        places.append(SiteConfig("ana", "../far", "ana"))
    project = _found(world, world.host, places)
    world.vault = project.config.vault.id
    second = SigningKey.generate()
    (world.folder / "second").mkdir()
    second.save(world.folder / "second" / "writer.key")
    vault = Vault(project.sites, world.vault, now=world.now)
    change = Amendment(vault.trusted.document)
    change.writer(second.public_hex)
    for name, value in _KEPT.items():
        change.set(name, value)
    name, data = seal_trust(change.document(world.now()), SigningKey.derive(world.identity, ROOT))
    for site in project.sites:
        site.store.put(name, data)


def _capture(world: World, who: str) -> None:
    """One real state. It stands alone, as each of a peer's does: else no rule could let go of one."""
    number, shop = len(world.kept) + 1, world.host / "shop.db"
    _run(shop, f"DELETE FROM orders; INSERT INTO orders VALUES ({number}, '{SECRET}{number}'), (100, 'all the same')")
    project = load_project(world.host / "holdfast.toml")
    own = world.folder / "second"
    state, key = (project.state, project.writer_key()) if who == "host" else (own, None)
    key = key or SigningKey.parse((own / "writer.key").read_text(encoding="utf-8"))
    erase(state)
    reader = open_source("shop", str(shop), world.host).reader
    vault = Vault(project.sites, world.vault, now=world.now)
    done = capture(vault, key, reader, state, Manner())
    assert not done.failed, done.failed
    world.kept.append(Kept(done.event.commit.sha256, told(shop)))
    # What the host holds now is not what older states held.
    _run(shop, "DELETE FROM orders; VACUUM")


def _begin_other(world: World) -> None:
    """Another host with a vault of its own at the same site."""
    folder = world.folder / "bo"
    folder.mkdir()
    shutil.copyfile(world.folder / "bo.token", folder / "token")
    _run(folder / "shop.db", "CREATE TABLE t (a INTEGER PRIMARY KEY)")
    _found(world, folder, [SiteConfig("otto", f"http://127.0.0.1:{world.port}/bo", "otto", "file:token")])


def _found(world: World, folder: Path, places: Sequence[SiteConfig]) -> Project:
    """What `holdfast init --no-reader` does, at this world's time; the card is put beside the host's folder."""
    sites = [open_site(each, folder, create=True) for each in places]
    policy = Policy(safe_sites=1, safe_owners=1)
    founded = found_vault("shop", sites, policy, world.now, with_reader=False)
    config = Config(VaultConfig("shop", founded.vault), (SourceConfig("shop", "shop.db"),), tuple(places), policy)
    (folder / ".holdfast").mkdir()
    founded.writer.save(folder / ".holdfast" / "writer.key")
    (folder / "holdfast.toml").write_text(render_config(config), encoding="utf-8")
    (folder.parent / f"{folder.name}.card").write_text(founded.card, encoding="utf-8")
    return load_project(folder / "holdfast.toml")


def _run(database: Path, statements: str) -> None:
    connection = sqlite3.connect(database)
    try:
        connection.executescript(statements)
    finally:
        connection.close()
