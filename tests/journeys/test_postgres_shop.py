"""A PostgreSQL shop kept, destroyed and brought back, by the command line on a real server."""

from __future__ import annotations

import json
import re
from pathlib import Path

import psycopg
import pytest

from tests.conftest import Holdfast
from tests.postgres_server import Database, postgres, postgres_server, postgres_servers

__all__ = ["postgres", "postgres_server", "postgres_servers"]

CHINOOK = "Chinook_PostgreSql.sql"


@pytest.fixture
def shop(postgres: Database, holdfast: Holdfast) -> Database:
    """A small shop with what a restore easily loses, under protection."""
    postgres.run(
        "CREATE TYPE state AS ENUM ('open', 'paid')",
        "CREATE TABLE customers (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text NOT NULL, joined date)",
        "CREATE TABLE orders (id bigserial PRIMARY KEY, customer int REFERENCES customers, total numeric(12, 2),"
        " state state DEFAULT 'open', at timestamptz, extra jsonb)",
        "CREATE TABLE seen (page text)",
        "CREATE TABLE told (what text)",
        "CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN INSERT INTO told VALUES (NEW.id::text); RETURN NEW; END $$",
        "INSERT INTO customers (name, joined)"
        " SELECT 'Person ' || g, date '2024-01-01' + g FROM generate_series(1, 50) g",
        "INSERT INTO orders (customer, total, at, extra) SELECT 1 + g % 50, g / 4.0, '2026-01-01'::timestamptz"
        " + g * interval '1 hour', jsonb_build_object('n', g) FROM generate_series(1, 300) g",
        "INSERT INTO seen SELECT '/home' FROM generate_series(1, 5)",
        "CREATE INDEX orders_of ON orders (customer) WHERE state = 'open'",
        "CREATE VIEW open_orders AS SELECT id, total FROM orders WHERE state = 'open'",
        "CREATE TRIGGER on_order AFTER INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION tell()",
        "COMMENT ON TABLE orders IS 'every order there ever was'",
    )
    done = holdfast("init", postgres.url, "--site", "anna=a", "--site", "bela=b", "--card", "card.txt")
    assert done.returncode == 0, done.stderr
    return postgres


def kept(holdfast: Holdfast, *arguments: str) -> str:
    done = holdfast(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def dumped(database: Database) -> dict[str, list[str]]:
    """All records, told by the server itself."""
    names = [name for (name,) in database.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
    return {name: sorted(row[0] for row in database.rows(f'SELECT t::text FROM "{name}" t')) for name in names}


def test_a_shop_comes_back_whole_in_a_new_database(shop: Database, holdfast: Holdfast) -> None:
    """Records, keys, counters, indexes, triggers, views and comments are what they were, and the proof says so."""
    kept(holdfast, "capture")
    copy = f"{shop.name}_copy"
    done = json.loads(kept(holdfast, "restore", "--to", shop.server.url(copy), "--identity", "card.txt", "--json"))
    assert done["is_proven"]
    found = Database(shop.server, copy)
    assert dumped(found) == dumped(shop)
    with psycopg.connect(found.url, autocommit=True) as connection:
        connection.execute("INSERT INTO orders (customer, total) VALUES (1, 5) RETURNING id")
        assert connection.execute("SELECT max(id), count(*) FROM orders").fetchone() == (301, 301)
        assert connection.execute("SELECT count(*) FROM told").fetchone() == (1,), "the trigger fires again"
        assert connection.execute("SELECT obj_description('orders'::regclass)").fetchone() == (
            "every order there ever was",
        )
    found.run("SELECT 1")


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
    refused = holdfast("restore", "orders", "--plan", "--identity", "card.txt", "--json")
    assert json.loads(refused.stdout)["plan"], refused.stderr
    kept(holdfast, "restore", "orders", "--identity", "card.txt")
    after = dumped(shop)
    assert set(before["orders"]) < set(after["orders"])
    assert len(after["orders"]) == 301
    assert after["told"] == []


def test_a_drill_proves_a_restore_beside_the_shop_and_leaves_nothing(shop: Database, holdfast: Holdfast) -> None:
    """The scratch database is gone afterwards, and the journal has the figures."""
    kept(holdfast, "capture")
    assert json.loads(kept(holdfast, "drill", "--identity", "card.txt", "--json"))["is_proven"]
    assert shop.rows("SELECT datname FROM pg_database WHERE datname LIKE 'holdfast%'") == []


def test_a_drill_under_the_least_rights_proves_every_record(postgres: Database, holdfast: Holdfast) -> None:
    """Refused with the statement to run; once that is done, every record is proven, and what differs has its cause."""
    postgres.run("CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    url, role = postgres.role("keeper", "REPLICATION"), f'"{postgres.name}_keeper"'
    postgres.run(f"GRANT pg_read_all_data TO {role}")
    kept(holdfast, "init", url, "--site", "anna=a", "--site", "bela=b", "--card", "card.txt")
    kept(holdfast, "capture")
    refused = holdfast("drill")
    assert (refused.returncode, refused.stdout) == (5, ""), refused.stderr
    (statement,) = re.findall(r"hint: (ALTER ROLE .* CREATEDB),", refused.stderr) or [refused.stderr]
    postgres.run(statement)
    done = holdfast("drill")
    assert done.returncode == 4, done.stderr
    assert "NOT EQUAL in definitions; every record proven equal by fingerprint" in done.stdout
    assert "postgres:schema: fingerprints differ: " in done.stdout
    assert "not brought back: must be member of role" in done.stdout
    assert postgres.rows("SELECT datname FROM pg_database WHERE datname LIKE 'holdfast%'") == []


def test_the_next_capture_stores_only_what_changed(shop: Database, holdfast: Holdfast) -> None:
    """A second snapshot compares every record with the index and keeps the differences."""
    kept(holdfast, "capture")
    shop.run("UPDATE orders SET state = 'paid' WHERE id < 4", "DELETE FROM customers WHERE id = 50 AND false")
    done = json.loads(kept(holdfast, "capture", "--json"))
    assert (done["new"], done["changed"], done["gone"]) == (3, 3, 0), "three orders, and what the trigger told of them"
    assert holdfast("compare", "--identity", "card.txt").returncode == 0


def test_the_real_shop_survives_in_postgres(postgres: Database, holdfast: Holdfast, chinook_folder: Path) -> None:
    """Chinook is loaded, captured, changed, destroyed and restored, equal by the server's own word."""
    script = (chinook_folder / CHINOOK).read_text(encoding="utf-8")
    statements = "\n".join(
        line for line in script.splitlines() if not line.startswith(("DROP DATABASE", "CREATE DATABASE", "\\c"))
    )
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(statements.encode())
    assert holdfast("init", postgres.url, "--site", "me=site", "--card", "card.txt").returncode == 0
    kept(holdfast, "capture")
    first = dumped(postgres)
    tables = sorted(first)
    assert len(tables) == 11
    postgres.run("DELETE FROM playlist_track", "UPDATE track SET name = 'gone'")
    plan = json.loads(kept(holdfast, "restore", "--plan", "--identity", "card.txt", "--json"))["plan"]
    kept(holdfast, "restore", "--approve", plan["id"] if isinstance(plan, dict) else plan, "--identity", "card.txt")
    assert dumped(postgres) == first
    copy = f"{postgres.name}_copy"
    kept(holdfast, "restore", "--to", postgres.server.url(copy), "--identity", "card.txt")
    assert dumped(Database(postgres.server, copy)) == first
