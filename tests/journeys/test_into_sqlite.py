"""A PostgreSQL shop restored into SQLite, by the command line on a real server: shown first, done, proven."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.connectors.postgres.edges import EDGES
from tests.connectors.postgres.rich import RECORDS, definitions
from tests.journeys.desk import Desk
from tests.journeys.follower import House
from tests.journeys.plain import ask
from tests.journeys.test_postgres_shop import CHINOOK
from tests.postgres_server import Database

CARD = ("--identity", "card.txt")


def kept(desk: Desk, database: Database) -> None:
    """The database captured into a vault beside the desk."""
    desk("init", database.url, "--site", "me=site", "--card", "card.txt")
    desk("capture")


def mapped(desk: Desk, *words: str, code: int | None = 0) -> dict[str, Any]:
    """Restore with these words into new.db; the facts."""
    return dict(desk("restore", *words, "--to", "sqlite:///new.db", *CARD, "--json", code=code).facts[-1])


def test_the_real_shop_is_restored_into_sqlite(desk: Desk, postgres: Database, chinook_folder: Path) -> None:
    """Chinook is captured from PostgreSQL and restored into SQLite: proven, and SQLite alone gives the same answers."""
    script = (chinook_folder / CHINOOK).read_text(encoding="utf-8")
    lines = [each for each in script.splitlines() if not each.startswith(("DROP DATABASE", "CREATE DATABASE", "\\c"))]
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("\n".join(lines).encode())
    kept(desk, postgres)
    planned = desk("restore", "--plan", "--to", "sqlite:///new.db", *CARD).out
    assert "mapping postgres-to-sqlite-1: 11 collections" in planned
    assert "numeric(10,2), kept as text: invoice.total" in planned
    assert not (desk.folder / "new.db").exists()
    done = desk("restore", "--to", "sqlite:///new.db", *CARD).out
    assert done.startswith("mapping postgres-to-sqlite-1")
    assert "proven: all 11 collections" in done
    new = desk.folder / "new.db"
    for name in ("track", "invoice", "invoice_line", "playlist_track"):
        assert ask(new, f"SELECT count(*) FROM {name}") == postgres.rows(f"SELECT count(*) FROM {name}")
    billed = str(postgres.value("SELECT sum(total) FROM invoice"))
    assert ask(new, "SELECT printf('%.2f', sum(total)) FROM invoice") == [(billed,)]
    joined = (
        "SELECT g.name, count(*) FROM invoice_line l JOIN track t ON t.track_id = l.track_id"
        " JOIN genre g ON g.genre_id = t.genre_id GROUP BY g.name ORDER BY g.name"
    )
    assert ask(new, joined) == postgres.rows(joined.replace("ORDER BY g.name", 'ORDER BY g.name COLLATE "C"'))
    assert ask(new, "SELECT \"table\", \"from\", \"to\" FROM pragma_foreign_key_list('invoice_line') ORDER BY 1") == [
        ("invoice", "invoice_id", "invoice_id"), ("track", "track_id", "track_id"),
    ]  # fmt: skip
    assert ask(new, "PRAGMA foreign_key_check") == []
    indexes = ask(new, "SELECT count(*) FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL")
    assert indexes == postgres.rows(
        "SELECT count(*) FROM pg_indexes WHERE schemaname = 'public' AND indexname NOT LIKE '%_pkey'"
    )


@pytest.mark.parametrize("with_key", [True, False])
def test_every_edge_value_is_proven_in_sqlite(desk: Desk, postgres: Database, with_key: bool) -> None:
    """One table for each built-in type with its values at the edges: all read back as what the commit signed."""
    key = "n int PRIMARY KEY" if with_key else "n int"
    for number, (declared, (_, before, values)) in enumerate(EDGES.items()):
        postgres.run(*before, f"CREATE TABLE edge_{number} ({key}, v {declared})")
        rows = ", ".join(f"({at}, {value})" for at, value in enumerate(values))
        postgres.run(f"INSERT INTO edge_{number} VALUES {rows}, (9999, NULL)")
    kept(desk, postgres)
    done = mapped(desk)
    assert [each["name"] for each in done["proofs"] if not each["is_equal"]] == []
    assert len(done["proofs"]) == len(EDGES)
    numbers = list(EDGES)
    double = f"edge_{numbers.index('double precision')}"
    found = ask(desk.folder / "new.db", f"SELECT typeof(v), count(*) FROM {double} GROUP BY 1 ORDER BY 1")
    assert found == [("null", 1), ("real", 12), ("text", 1)], "NaN is kept as text, for SQLite would make it NULL"
    stamps = ask(desk.folder / "new.db", f"SELECT v FROM edge_{numbers.index('timestamptz')}")
    assert {("1969-12-31 22:00:00+00:00",), ("infinity",), ("-04713-11-24 00:00:00+00:00",)} <= set(stamps)


def test_what_can_not_be_carried_is_named_before_and_names_that_clash_are_shown(desk: Desk, postgres: Database) -> None:
    """One of everything that PostgreSQL can define: computed columns are left out, so it ends with gaps."""
    postgres.role("r")
    postgres.run(*definitions(f"{postgres.name}_r"), *RECORDS)
    postgres.run(
        'CREATE TABLE "sqlite_own" (id int PRIMARY KEY)',
        'CREATE TABLE "Customer" (a int, "A" text, "ä" int, "Ä" int)',
        "INSERT INTO \"Customer\" VALUES (1, 'x', 2, 3), (1, 'x', 2, 3)",
        "CREATE TABLE nothing (id numeric PRIMARY KEY)",
        "CREATE TABLE of_nothing (id int, n numeric REFERENCES nothing ON DELETE CASCADE)",
    )
    kept(desk, postgres)
    told = desk("restore", "--plan", "--to", "sqlite:///new.db", *CARD).out
    for line in (
        "left out: column sales.orders.twice: the source computes it, and the vault holds no values of it",
        "sqlite_own is called _sqlite_own",
        "customer is called customer_2",
        "Customer.A is called A_2",
        "not carried: foreign key of_nothing (n) to nothing (id)",
    ):
        assert line in told
    done = mapped(desk, code=3)
    assert all(each["is_equal"] for each in done["proofs"])
    kinds = {each["kind"] for each in done["mapping"]["left_out"]}
    assert {
        "column", "foreign key", "action of a foreign key", "view", "materialized view", "trigger", "function",
        "sequence", "grant", "policy", "rule", "domain", "type", "default", "index", "comment", "extension",
        "event trigger",
    } <= kinds  # fmt: skip
    new = desk.folder / "new.db"
    assert ask(new, 'SELECT "co l", "ключ" FROM """we.ird"".""Ta""""ble; Type: X"""') == [("x", 1)]
    assert ask(new, 'SELECT name, "notnull" FROM pragma_table_info(\'sales.orders\')') == [
        ("id", 1), ("customer", 1), ("total", 0),
    ]  # fmt: skip
    assert ask(new, "SELECT count(*) FROM ev") == [(150,)]
    assert ask(new, "SELECT count(*) FROM child") == [(2,)]
    assert ask(new, 'SELECT count(*), count(DISTINCT total) FROM "sales.orders"') == postgres.rows(
        "SELECT count(*), count(DISTINCT total) FROM sales.orders"
    )
    assert ask(new, "SELECT name FROM sqlite_schema WHERE type = 'index' AND name LIKE 'ev%' ORDER BY 1") == [
        ("ev_note",)
    ]


def test_chosen_collections_and_instants_go_into_sqlite(desk: Desk, postgres: Database) -> None:
    """References to what is left out are named and not declared; an older commit is what it was."""
    postgres.run(
        "CREATE TABLE a (id int PRIMARY KEY, b numeric)", "CREATE TABLE c (id int PRIMARY KEY, a int REFERENCES a)",
        "INSERT INTO a VALUES (1, 1.10), (2, 2)", "INSERT INTO c VALUES (5, 1)",
    )  # fmt: skip
    kept(desk, postgres)
    postgres.run("UPDATE a SET b = 0", "INSERT INTO a VALUES (3, 3)")
    desk("capture")
    done = mapped(desk, "c", "--at", "1")
    assert done["mapping"]["left_out"] == [
        {"kind": "foreign key", "name": "c (a) to a (id)", "reason": "a is not among what is written"}
    ]
    assert ask(desk.folder / "new.db", "PRAGMA foreign_key_list(c)") == []
    desk("export", "then.db", "--at", "1", *CARD)
    assert ask(desk.folder / "then.db", "SELECT * FROM a") == [(1, "1.10"), (2, "2")]
    said = desk("export", "some.db", "a", "--where", "id >= 2", *CARD)
    assert "proven" in said.out
    assert ask(desk.folder / "some.db", "SELECT * FROM a") == [(2, "0"), (3, "3")]


def test_a_database_that_is_there_is_never_written_to(desk: Desk, postgres: Database) -> None:
    """Records of another engine go to a new place only."""
    postgres.run("CREATE TABLE a (id int PRIMARY KEY)", "INSERT INTO a VALUES (1)")
    kept(desk, postgres)
    with closing(sqlite3.connect(desk.folder / "new.db")) as connection, connection:
        connection.execute("CREATE TABLE a (id INTEGER PRIMARY KEY)")
    before = (desk.folder / "new.db").read_bytes()
    said = desk("restore", "--to", "sqlite:///new.db", *CARD, code=5)
    assert "another engine" in said.err
    desk("export", "new.db", *CARD, code=5)
    assert (desk.folder / "new.db").read_bytes() == before
    assert json.loads(desk("restore", "--plan", "--to", "sqlite:///other.db", *CARD, "--json").out)["written"] == 0


def test_any_instant_of_a_followed_database_goes_into_sqlite(house: House, desk: Desk) -> None:
    """What was there just before a transaction, within one commit of several: nobody signed it, and it is proven."""
    house.database.run("CREATE TABLE a (id int PRIMARY KEY, b text)", "INSERT INTO a VALUES (1, 'first')")
    house.catch_up()
    house.database.run("UPDATE a SET b = 'second'", "UPDATE a SET b = 'third'")
    house.catch_up()
    _, versions = house.open().history("a", "1")
    assert [each.kind for each in versions] == ["new", "changed", "changed"]
    said = desk("restore", "--before-tx", versions[-1].tx, "--to", "sqlite:///then.db", *CARD)
    assert "proven" in said.out
    assert ask(desk.folder / "then.db", "SELECT * FROM a") == [(1, "second")]
