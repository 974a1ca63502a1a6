"""A MariaDB shop kept, destroyed, brought back and moved from engine to engine, by the command line on real servers."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pymysql
import pytest

from tests.conftest import Holdfast
from tests.mariadb_server import Database, mariadb, mariadb_server, mariadb_servers
from tests.postgres_server import Database as Postgres
from tests.postgres_server import postgres, postgres_server

__all__ = ["mariadb", "mariadb_server", "mariadb_servers", "postgres", "postgres_server"]

CHINOOK = "Chinook_MySql.sql"
CARD = ("--identity", "card.txt")


@pytest.fixture
def shop(mariadb: Database, holdfast: Holdfast) -> Database:
    """A small shop with what a restore easily loses, under protection."""
    mariadb.run(
        "CREATE TABLE customers (id int AUTO_INCREMENT PRIMARY KEY, name varchar(80) NOT NULL, joined date)",
        "CREATE TABLE orders (id bigint AUTO_INCREMENT PRIMARY KEY, customer int, total decimal(12, 2),"
        " twice decimal(13, 2) AS (total * 2) VIRTUAL, state enum('open', 'paid') DEFAULT 'open', at datetime(6),"
        " extra json, KEY orders_of (customer), FOREIGN KEY (customer) REFERENCES customers (id))"
        " COMMENT 'every order there ever was'",
        "CREATE TABLE seen (page text)",
        "CREATE TABLE told (what text)",
        "CREATE SEQUENCE receipt START WITH 1000",
        "CREATE TRIGGER tell AFTER INSERT ON orders FOR EACH ROW INSERT INTO told VALUES (NEW.id)",
        "INSERT INTO customers (name, joined) SELECT concat('Person ', seq), '2024-01-01' + INTERVAL seq DAY"
        " FROM seq_1_to_50",
        "INSERT INTO orders (customer, total, at, extra) SELECT 1 + seq % 50, seq / 4.0,"
        " '2026-01-01' + INTERVAL seq HOUR, json_object('n', seq) FROM seq_1_to_300",
        "DELETE FROM orders WHERE id = 300",
        "INSERT INTO seen SELECT '/home' FROM seq_1_to_5",
        "SELECT NEXTVAL(receipt)",
        "CREATE VIEW open_orders AS SELECT id, total FROM orders WHERE state = 'open'",
    )
    done = holdfast("init", mariadb.url, "--site", "anna=a", "--site", "bela=b", "--card", "card.txt")
    assert done.returncode == 0, done.stderr
    return mariadb


def kept(holdfast: Holdfast, *arguments: str) -> str:
    done = holdfast(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def dumped(database: Database) -> dict[str, list[Any]]:
    """All records, told by the server itself."""
    names = [name for name, kind in database.rows("SHOW FULL TABLES") if kind == "BASE TABLE"]
    return {name: sorted(database.rows(f"SELECT * FROM `{name}`"), key=repr) for name in names}


def copy_of(database: Database, name: str) -> Database:
    """Another database on the same server, gone with the first."""
    return Database(database.server, f"{database.name}_{name}")


def test_a_shop_comes_back_whole_in_a_new_database(shop: Database, holdfast: Holdfast) -> None:
    """Records, keys, counters, indexes, triggers, views and comments are what they were, and the proof says so."""
    kept(holdfast, "capture")
    found = copy_of(shop, "copy")
    done = json.loads(kept(holdfast, "restore", "--to", found.url, *CARD, "--json"))
    assert done["is_proven"]
    assert dumped(found) == dumped(shop)
    for each in ("TABLE orders", "VIEW open_orders", "TRIGGER tell", "SEQUENCE receipt"):
        there, here = (database.rows(f"SHOW CREATE {each}")[0][1:3] for database in (found, shop))
        assert str(there).replace(found.name, shop.name) == str(here)
    for database in (shop, found):
        database.run("INSERT INTO orders (customer, total) VALUES (1, 5)")
    last = "SELECT max(id), count(*) FROM orders"
    assert found.rows(last) == shop.rows(last), "the numbers go on as they would have"
    assert found.value("SELECT count(*) FROM told") == 301, "the trigger fires again, and fired for no record restored"
    assert found.value("SELECT NEXTVAL(receipt)") > 1000


def test_records_that_were_lost_come_back_into_the_live_shop(shop: Database, holdfast: Holdfast) -> None:
    """What was deleted and changed is put back without the triggers firing; what came since stays."""
    kept(holdfast, "capture")
    before = dumped(shop)
    shop.run(
        "DELETE FROM orders WHERE id BETWEEN 10 AND 60",
        "UPDATE orders SET total = 0 WHERE id > 250",
        "INSERT INTO orders (customer, total) VALUES (2, 9)",
        "TRUNCATE told",
    )
    planned = holdfast("restore", "orders", "--plan", *CARD, "--json")
    assert json.loads(planned.stdout)["plan"], planned.stderr
    kept(holdfast, "restore", "orders", *CARD)
    after = dumped(shop)
    assert {repr(row) for row in before["orders"]} < {repr(row) for row in after["orders"]}
    assert len(after["orders"]) == 300
    assert after["told"] == []
    assert shop.rows("SHOW TRIGGERS") != []


def test_a_drill_proves_a_restore_beside_the_shop_and_leaves_nothing(shop: Database, holdfast: Holdfast) -> None:
    """The scratch database is gone afterwards, and the journal has the figures."""
    kept(holdfast, "capture")
    assert json.loads(kept(holdfast, "drill", *CARD, "--json"))["is_proven"]
    assert shop.rows("SHOW DATABASES LIKE 'holdfast%'") == []


def test_a_view_that_was_of_no_use_is_a_gap_and_no_difference(mariadb: Database, holdfast: Holdfast) -> None:
    """Its table is gone: all else comes back and is proven, and whoever restores is told what could not be made."""
    mariadb.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)", "CREATE TABLE u (id int)")
    mariadb.run("CREATE VIEW v AS SELECT id FROM u", "CREATE VIEW w AS SELECT id FROM t", "DROP TABLE u")
    kept(holdfast, "init", mariadb.url, "--site", "anna=a", "--card", "card.txt")
    kept(holdfast, "capture")
    found = copy_of(mariadb, "copy")
    for done in (holdfast("restore", "--to", found.url, *CARD), holdfast("drill", *CARD)):
        assert done.returncode == 3, done.stderr
        assert "not brought back: Table 'u' doesn't exist, though all else was made: left out the view v" in done.stdout
    assert found.rows("SELECT id FROM w") == [(1,)]
    assert "last drill" in (status := holdfast("status").stdout)
    assert "NOT EQUAL" not in status


def test_a_drill_under_the_least_rights_proves_every_record(mariadb: Database, holdfast: Holdfast) -> None:
    """Refused with the statements to run; once that is done, every record is proven, and what differs has its cause."""
    mariadb.run("CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    mariadb.run("CREATE VIEW w AS SELECT * FROM t")
    url = mariadb.user("keeper", "SELECT, SHOW VIEW, TRIGGER, EVENT ON {db}.*")
    kept_with = holdfast("init", url, "--site", "anna=a", "--site", "bela=b", "--card", "card.txt")
    assert kept_with.returncode == 0, kept_with.stderr
    assert holdfast("capture").returncode == 3, "who has which rights may not be read, and is named"
    refused = holdfast("drill")
    assert (refused.returncode, refused.stdout) == (5, ""), refused.stderr
    statements = re.findall(r"GRANT ALL ON \S+ TO [^;,]+'", refused.stderr)
    assert len(statements) == 2, refused.stderr
    mariadb.run(*statements)
    done = holdfast("drill")
    assert done.returncode == 4, done.stderr
    assert "NOT EQUAL in definitions; every record proven equal by fingerprint" in done.stdout
    assert "left out the account" in done.stdout
    assert mariadb.rows("SHOW DATABASES LIKE 'holdfast%'") == []


def test_the_next_capture_stores_only_what_changed(shop: Database, holdfast: Holdfast) -> None:
    """A second snapshot compares every record with the index and keeps the differences."""
    kept(holdfast, "capture")
    shop.run("UPDATE orders SET state = 'paid' WHERE id < 4")
    done = json.loads(kept(holdfast, "capture", "--json"))
    assert (done["new"], done["changed"], done["gone"]) == (0, 3, 0)
    assert holdfast("compare", *CARD).returncode == 0


def put_back(holdfast: Holdfast, *words: str) -> None:
    """Restore into the live shop, once the plan for so many records was looked at."""
    plan = json.loads(kept(holdfast, "restore", *words, "--plan", *CARD, "--json"))["plan"]
    kept(holdfast, "restore", *words, "--approve", plan["id"] if isinstance(plan, dict) else plan, *CARD)


def load_chinook(database: Database, script: Path) -> None:
    """The real shop, by the server's own client, into this database."""
    statements = script.read_text(encoding="utf-8")
    for line in ("DROP DATABASE IF EXISTS `Chinook`;", "CREATE DATABASE `Chinook`;", "USE `Chinook`;"):
        assert line in statements
        statements = statements.replace(line, "")
    client = ["mariadb", "--no-defaults", "--protocol=tcp", "-h127.0.0.1", f"-P{database.server.port}", "-uroot"]
    options = ["--default-character-set=utf8mb4", database.name]
    subprocess.run([*client, *options], input=statements.encode(), check=True)


def test_the_real_shop_is_followed_destroyed_and_restored(
    mariadb: Database, holdfast: Holdfast, chinook_folder: Path
) -> None:
    """Chinook is loaded, followed while it is changed, destroyed, and restored to the moment before, live and anew."""
    load_chinook(mariadb, chinook_folder / CHINOOK)
    assert holdfast("init", mariadb.url, "--site", "me=site", "--card", "card.txt").returncode == 0
    kept(holdfast, "follow", "--once", "--seconds", "0.3")
    with (
        pymysql.connect(
            host="127.0.0.1", port=mariadb.server.port, user="root", database=mariadb.name, charset="utf8mb4"
        ) as connection,
        connection.cursor() as cursor,
    ):
        for number in range(40):
            cursor.execute("UPDATE Track SET UnitPrice = UnitPrice + 0.10 WHERE TrackId %% 40 = %s", (number,))
            cursor.execute("DELETE FROM PlaylistTrack WHERE TrackId = %s", (3 * number,))
            cursor.execute("INSERT INTO Artist VALUES (%s, %s)", (1000 + number, f"Ärtist № {number} 🎵"[:-1]))
            connection.commit()
    kept(holdfast, "follow", "--once", "--seconds", "0.3")
    good = dumped(mariadb)
    assert len(good) == 11
    mariadb.run("DELETE FROM PlaylistTrack", "UPDATE Track SET Name = 'gone'")
    kept(holdfast, "follow", "--once", "--seconds", "0.3")
    versions = [json.loads(line) for line in kept(holdfast, "history", "Track", "7", "--json").splitlines()]
    last = versions[-1]["transaction"]
    found = copy_of(mariadb, "before")
    kept(holdfast, "restore", "--before-tx", last, "--to", found.url, *CARD)
    before = dumped(found)
    assert before["Track"] == good["Track"]
    assert before["PlaylistTrack"] == []
    put_back(holdfast, "Track", "--before-tx", last)
    assert dumped(mariadb)["Track"] == good["Track"]
    put_back(holdfast, "PlaylistTrack", "--at", str(versions[-2]["commit"]))
    assert dumped(mariadb) == good


def test_the_real_shop_moves_through_all_engines_and_comes_back_equal(
    mariadb: Database, postgres: Postgres, holdfast: Holdfast, chinook_folder: Path, tmp_path: Path
) -> None:
    """MariaDB → PostgreSQL → SQLite → MariaDB: at each station proven under the mapping, at the end what it was."""
    load_chinook(mariadb, chinook_folder / CHINOOK)
    back = copy_of(mariadb, "back")
    stations = [mariadb.url, f"{postgres.url}_moved", "sqlite:///moved.db", back.url]
    for number, (here, there) in enumerate(pairwise(stations)):
        shutil.rmtree(tmp_path / ".holdfast", ignore_errors=True)
        (tmp_path / "holdfast.toml").unlink(missing_ok=True)
        begun = holdfast("init", here, "--site", f"me=site-{number}", "--card", f"card-{number}.txt")
        assert begun.returncode == 0, begun.stderr
        kept(holdfast, "capture")
        card = ("--identity", f"card-{number}.txt")
        planned = holdfast("restore", "--plan", "--to", there, *card)
        assert planned.stdout.startswith("mapping "), planned.stderr
        done = json.loads(kept(holdfast, "restore", "--to", there, *card, "--json"))
        assert done["is_proven"]
        assert len(done["proofs"]) == 11
    wanted, found = dumped(mariadb), dumped(back)
    assert {name: [_plain(row) for row in rows] for name, rows in found.items()} == {
        name: [_plain(row) for row in rows] for name, rows in wanted.items()
    }


def _plain(row: tuple[Any, ...]) -> tuple[str | None, ...]:
    """A record as texts: what was a DECIMAL or a DATETIME may be another type's text after three moves."""
    return tuple(None if value is None else str(value) for value in row)
