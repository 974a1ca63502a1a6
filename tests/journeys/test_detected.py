"""Whatever destroys a shop is found while it is followed, or by the next capture; what it held before is in view."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from bench.deeds import DEEDS, dump, put_back, trade
from holdfast.api import open_vault
from holdfast.begin import Wishes, begin_project
from holdfast.core.anomaly import Rule
from holdfast.errors import Absent
from tests.journeys.follower import House, MariaHouse
from tests.journeys.plain import ask, run_script
from tests.journeys.watched import TRADED, Watched, tables_of
from tests.mariadb_server import Database as MariaDatabase
from tests.mariadb_server import Server as MariaServer
from tests.postgres_server import Database, Server
from tests.waiting import eventually

ROLLED_BACK = frozenset({Rule.HARD_ROLLBACK, Rule.SOFT_ROLLBACK})
MISSING = frozenset({Rule.SHRINKAGE})


def watched_of(house: House, engine: str) -> Watched:
    """A shop in the database of a house."""
    house.database.run(*tables_of(engine))
    return Watched(engine, house.open, house.database.run, house.database.rows)


def each_deed(watched: Watched, settle: Callable[[], object], notice: Callable[[], object]) -> None:
    """Every deed in its own tables, one after the other; `settle` brings all into the vault, `notice` looks again."""
    for name, deed in DEEDS.items():
        settle()
        before = watched.orders(name)
        watched.strike(name)
        notice()
        watched.accept(watched.held(name, deed.rules, before))


def rolled_back(watched: Watched, url: str, folder: Path, settle: Callable[[], object]) -> None:
    """Two days of business, and then the dump of before is put in their place."""
    settle()
    dump(url, folder / "old.sql")
    for day in (1, 2):
        watched.run(*watched.named(trade(watched.engine, day), TRADED))
        settle()
    before = watched.orders(TRADED)
    put_back(url, folder / "old.sql")
    watched.accept(watched.held(TRADED, ROLLED_BACK, before))


def test_what_destroys_a_followed_postgres_shop_is_found(house: House, tmp_path: Path) -> None:
    """Each deed; then a dump of two days ago is put in place; then the database is dropped."""
    watched = watched_of(house, "postgres")
    with house.at_work():
        each_deed(watched, house.safe, house.safe)
        watched.run(*watched.named(trade("postgres", 0), TRADED))
        rolled_back(watched, house.database.url, tmp_path, house.safe)
        house.safe()
        before = watched.orders(TRADED)
        server = house.database.server
        assert isinstance(server, Server)
        main = Database(server, "postgres")

        def is_dropped() -> bool:
            end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{house.database.name}'"
            try:
                main.run(end, f'DROP DATABASE IF EXISTS "{house.database.name}" WITH (FORCE)')
            except psycopg.errors.ObjectInUse:
                return False
            return True

        eventually(is_dropped, "the database is dropped")
        watched.held(TRADED, MISSING, before)


def test_what_destroys_a_followed_mariadb_shop_is_found(maria: MariaHouse, tmp_path: Path) -> None:
    """The same on MariaDB."""
    watched = watched_of(maria, "mariadb")
    with maria.at_work():
        each_deed(watched, maria.safe, maria.safe)
        watched.run(*watched.named(trade("mariadb", 0), TRADED))
        rolled_back(watched, maria.database.url, tmp_path, maria.safe)
        maria.safe()
        before = watched.orders(TRADED)
        MariaDatabase(maria.database.server, "mysql").run(f"DROP DATABASE `{maria.database.name}`")
        watched.held(TRADED, MISSING, before)


def test_what_destroys_a_captured_sqlite_shop_is_found_by_the_next_capture(tmp_path: Path) -> None:
    """Each deed; then an older copy of the file lies in its place; then the file is empty, or gone."""
    path, config = tmp_path / "shop.db", tmp_path / "holdfast.toml"

    def run(*statements: str) -> None:
        run_script(path, ";".join(statements))

    def capture() -> None:
        open_vault(config).capture()

    run(*tables_of("sqlite"))
    begin_project(tmp_path, str(path), ("me=site-me", "ana=site-ana"), Wishes(card=Path("card.txt")))
    watched = Watched("sqlite", lambda: open_vault(config), run, lambda query: ask(path, query))
    each_deed(watched, capture, capture)
    run(*watched.named(trade("sqlite", 0), TRADED))
    capture()
    shutil.copy(path, tmp_path / "older.db")
    for day in (1, 2):
        run(*watched.named(trade("sqlite", day), TRADED))
        capture()
    before = watched.orders(TRADED)
    shutil.copy(tmp_path / "older.db", path)
    capture()
    watched.accept(watched.held(TRADED, ROLLED_BACK, before))
    before = watched.orders(TRADED)
    for lose in (lambda: path.write_bytes(b""), path.unlink):
        lose()
        with pytest.raises(Absent):
            capture()
        watched.accept(watched.held(TRADED, MISSING, before))
        shutil.copy(tmp_path / "older.db", path)
        capture()


def another_in_its_place(house: House, engine: str, other: Server | MariaServer) -> None:
    """A shop that is followed; then a server with an older state of it answers at the place of its own."""
    first = house.database.server
    watched = watched_of(house, engine)
    dump(first.url("shop"), house.folder / "old.sql")
    put_back(other.url("shop"), house.folder / "old.sql")
    with house.at_work():
        watched.run(*watched.named(trade(engine, 1), TRADED))
        house.safe()
        before = watched.orders(TRADED)
        for server in (first, other):
            server.stop()
        other.port = first.port
        other.start()
        found = watched.held(TRADED, frozenset({Rule.HARD_ROLLBACK}), before)
        assert found.incident
        assert "another" in " ".join(each.text for each in found.incident.findings)


def test_another_postgres_server_of_the_same_name_is_found(
    tmp_path: Path, postgres_servers: Callable[..., Server]
) -> None:
    """A server with an older state of the shop answers at the place of the one that was followed."""
    first, second = postgres_servers(), postgres_servers()
    for server in (first, second):
        Database(server, "postgres").run("CREATE DATABASE shop")
    another_in_its_place(House(tmp_path, Database(first, "shop")), "postgres", second)


def test_another_mariadb_server_of_the_same_name_is_found(
    tmp_path: Path, mariadb_servers: Callable[..., MariaServer]
) -> None:
    """The same on MariaDB, with the same server_id: by its log it is another one."""
    first, second = mariadb_servers(), mariadb_servers()
    for server in (first, second):
        MariaDatabase(server, "mysql").run("CREATE DATABASE shop")
    another_in_its_place(MariaHouse(tmp_path, MariaDatabase(first, "shop")), "mariadb", second)
