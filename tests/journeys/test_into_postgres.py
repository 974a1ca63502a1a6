"""SQLite shops restored into PostgreSQL, and on into SQLite again, by the command line on a real server."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.connectors.postgres.edges import EDGES
from tests.journeys.desk import Desk
from tests.journeys.plain import ask
from tests.postgres_server import Database, Server

CARD = ("--identity", "card.txt")
LONG = "a name of seventy characters, which is more than PostgreSQL would take 70"
HARD = f"""
CREATE TABLE plain (id INTEGER PRIMARY KEY AUTOINCREMENT, name NVARCHAR(9) NOT NULL DEFAULT 'x', n INT CHECK (n > 0));
CREATE TABLE odd (k, v);
CREATE TABLE texts (id INTEGER PRIMARY KEY, t TEXT, b BLOB, r REAL);
CREATE TABLE pairs (a TEXT, b INT, up_a TEXT, up_b INT, PRIMARY KEY (a, b), FOREIGN KEY (up_a, up_b) REFERENCES pairs);
CREATE TABLE empty ("" TEXT, "q""q" NUMERIC, xmin REAL, "Select" BLOB, PRIMARY KEY ("q""q"));
CREATE TABLE "Select" (plain REFERENCES plain, "sales.orders" TEXT);
CREATE TABLE "sales.orders" ("{LONG}" INT, "{LONG}b" INT UNIQUE);
CREATE INDEX "{LONG}" ON "sales.orders" ("{LONG}");
CREATE INDEX loud ON plain (name COLLATE NOCASE);
CREATE VIEW v AS SELECT 1;
"""


@pytest.fixture
def place(postgres_server: Server, postgres: Database) -> Iterator[Database]:
    """A database of PostgreSQL that does not exist yet."""
    there = Database(postgres_server, f"{postgres.name}_new")
    yield there
    postgres.run(f'DROP DATABASE IF EXISTS "{there.name}" WITH (FORCE)')


def hard(path: Path) -> None:
    """A database with everything that SQLite takes and PostgreSQL has no place for."""
    odd = [
        (1, 2.0), (-0.0, "1"), ("2.0", "abc"), (b"\x00\xff", ""), (None, None), (1 << 62, float("inf")), (1, 2.0),
        ("2026-03-01", "\\x"), ("a\x00b", -float("inf")), (5e-324, 1.7976931348623157e308), ("nan", "-0"),
    ]  # fmt: skip
    texts = [
        (1, "", b"", -0.0), (2, None, None, None), (3, "a\x00b", b"\x00", float("inf")), (4, "\\x41", b"\\x", 0.1),
        (5, "\\N\t\n\r\\", b"\n", float("-inf")), (6, "量 😀", b"\xff", 1e-300), (7, "\x00", bytes(range(256)), 1.0),
    ]  # fmt: skip
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(HARD)
        connection.executemany("INSERT INTO odd VALUES (?, ?)", odd)
        connection.execute("INSERT INTO odd VALUES (CAST(x'ff61' AS TEXT), 'not UTF-8')")
        connection.executemany("INSERT INTO texts VALUES (?, ?, ?, ?)", texts)
        connection.executemany("INSERT INTO plain (name, n) VALUES (?, ?)", [("ä", 1), ("Ä", (1 << 63) - 1)])
        rows = [("a", 1, None, None), ("a", 2, "a", 1), ("A", 1, "a", None), ("x", 0, "lost", 9)]
        connection.executemany("INSERT INTO pairs VALUES (?, ?, ?, ?)", rows)
        connection.executemany('INSERT INTO "Select" VALUES (?, ?)', [(1, "x"), (None, None)])
        connection.executemany('INSERT INTO "sales.orders" VALUES (?, ?)', [(1, 1), (1, None), (None, None)])


def moved(desk: Desk, place: Database, *words: str, code: int | None = 0) -> dict[str, Any]:
    """Restore with these words into the new database; the facts."""
    return dict(desk("restore", *words, "--to", place.url, *CARD, "--json", code=code).facts[-1])


def test_what_sqlite_takes_and_postgresql_does_not_is_proven_there_and_back(desk: Desk, place: Database) -> None:
    """Mixed columns, NULs, bytes that are no text, odd names, self references: all proven at both stations."""
    hard(desk.shop)
    desk.begin()
    desk("capture")
    planned = desk("restore", "--plan", "--to", place.url, *CARD).out
    for line in (
        "mapping sqlite-to-postgres-1: 7 collections, 21 columns",
        "kept as text, each value as its kind is written: odd.k, odd.v",
        "text with a NUL in it, or that begins with \\x, is kept as \\x and its bytes in hexadecimal",
        "empty. is called _",
        "empty.xmin is called _xmin",
        f"sales.orders.{LONG} is called {LONG[:63]}",
        f"sales.orders.{LONG}b is called {LONG[:61]}_2",
    ):
        assert line in planned
    done = moved(desk, place)
    assert [each["name"] for each in done["proofs"] if not each["is_equal"]] == []
    kinds = {each["kind"] for each in done["mapping"]["left_out"]}
    assert kinds == {"check", "counter", "default", "index", "view"}
    found = place.rows("SELECT k, v FROM odd WHERE v IN ('abc', '2.0', 'inf') ORDER BY v COLLATE \"C\", k")
    assert found == [("1", "2.0"), ("1", "2.0"), ("\\x40322e30", "abc"), ("4611686018427387904", "inf")]
    assert place.rows("SELECT b, r FROM texts WHERE id IN (1, 6) ORDER BY id") == [(b"", -0.0), (b"\xff", 1e-300)]
    assert place.value("SELECT count(*) FROM pg_constraint WHERE contype = 'f' AND NOT convalidated") == 1
    again = onward(desk, place)
    assert [each["name"] for each in again["proofs"] if not each["is_equal"]] == []
    clear = "SELECT *, typeof(r) FROM texts WHERE id NOT IN (3, 4, 7) ORDER BY 1"
    for question in ("SELECT * FROM plain ORDER BY 1", clear):
        assert ask(desk.folder / "on" / "back.db", question) == ask(desk.shop, question)


def onward(desk: Desk, place: Database) -> dict[str, Any]:
    """What was restored into PostgreSQL is kept in a vault of its own, and restored from there into SQLite."""
    on = desk.folder / "on"
    on.mkdir()
    desk("init", place.url, "--site", "me=site", "--card", "card.txt", at=on)
    desk("capture", at=on)
    return dict(desk("restore", "--to", "sqlite:///back.db", *CARD, "--json", at=on).facts[-1])


def test_the_real_shop_goes_into_postgresql_and_comes_back(desk: Desk, place: Database, chinook: Path) -> None:
    """Chinook's SQLite file, restored into PostgreSQL and from there into SQLite: proven, and the same answers."""
    chinook.rename(desk.shop)
    desk.begin()
    desk("capture")
    said = desk("restore", "--to", place.url, *CARD).out
    assert said.startswith("mapping sqlite-to-postgres-1: 11 collections")
    assert "proven: all 11 collections" in said
    again = onward(desk, place)
    assert len(again["proofs"]) == 11
    assert all(each["is_equal"] for each in again["proofs"])
    tables = [name for (name,) in ask(desk.shop, "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1")]
    for name in tables:
        question = f'SELECT * FROM "{name}" ORDER BY 1, 2'
        assert ask(desk.folder / "on" / "back.db", question) == ask(desk.shop, question)
    keys = "SELECT count(*) FROM pg_constraint WHERE contype = '{}' AND connamespace = 'public'::regnamespace"
    assert place.value(keys.format("p")) == 11
    declared = sum(len({row[0] for row in ask(desk.shop, f'PRAGMA foreign_key_list("{name}")')}) for name in tables)
    assert place.value(f"{keys.format('f')} AND convalidated") == declared == 11
    joined = (
        'SELECT g."Name", count(*) FROM "InvoiceLine" l JOIN "Track" t ON t."TrackId" = l."TrackId"'
        ' JOIN "Genre" g ON g."GenreId" = t."GenreId" GROUP BY g."Name" ORDER BY 2, 1'
    )
    assert sorted(place.rows(joined)) == sorted(ask(desk.shop, joined))


def test_every_edge_value_goes_into_sqlite_and_back_into_postgresql(
    desk: Desk, postgres: Database, place: Database
) -> None:
    """One table for each type of PostgreSQL with its values at the edges: at each station all of them are proven."""
    for number, (declared, (_, before, values)) in enumerate(EDGES.items()):
        postgres.run(*before, f"CREATE TABLE edge_{number} (n int PRIMARY KEY, v {declared})")
        rows = ", ".join(f"({at}, {value})" for at, value in enumerate(values))
        postgres.run(f"INSERT INTO edge_{number} VALUES {rows}, (9999, NULL)")
    desk("init", postgres.url, "--site", "me=site", "--card", "card.txt")
    desk("capture")
    desk("export", "shop.db", *CARD)
    on = desk.folder / "on"
    on.mkdir()
    desk("init", "../shop.db", "--site", "me=site", "--card", "card.txt", at=on)
    desk("capture", at=on)
    done = desk("restore", "--to", place.url, *CARD, "--json", at=on).facts[-1]
    assert len(done["proofs"]) == len(EDGES)
    assert [each["name"] for each in done["proofs"] if not each["is_equal"]] == []
    double = f"edge_{list(EDGES).index('double precision')}"
    assert place.rows(f"SELECT v FROM {double} WHERE n IN (0, 1, 2, 3, 9999) ORDER BY n") == [
        ("0.0",), ("-0.0",), ("NaN",), ("inf",), (None,),
    ]  # fmt: skip


def test_postgresql_takes_records_only_where_nothing_is(desk: Desk, postgres: Database) -> None:
    """An empty database is taken, one with a table in it is refused and stays as it is; --plan writes nothing."""
    hard(desk.shop)
    desk.begin()
    desk("capture")
    desk("restore", "--plan", "--to", postgres.url, *CARD)
    assert postgres.rows("SELECT FROM pg_tables WHERE schemaname = 'public'") == []
    done = moved(desk, postgres, "texts", "pairs")
    assert done["is_proven"]
    assert [each["name"] for each in done["proofs"]] == ["texts", "pairs"]
    assert "another engine" in desk("restore", "--to", postgres.url, *CARD, code=5).err
    assert postgres.value("SELECT count(*) FROM texts") == 7


def test_what_was_never_unique_or_compares_otherwise_in_sqlite_is_named(desk: Desk, place: Database) -> None:
    """References that only SQLite could hold to, actions and computed columns: all said, and the records are proven."""
    with closing(sqlite3.connect(desk.shop)) as connection, connection:
        connection.executescript(
            "CREATE TABLE a (id INTEGER PRIMARY KEY, code TEXT COLLATE NOCASE UNIQUE, n INT, g AS (n + 1));"
            "CREATE TABLE b (code TEXT REFERENCES a (code), n INT REFERENCES a (n),"
            " a INT REFERENCES a ON DELETE CASCADE);"
            "INSERT INTO a VALUES (1, 'EUR', 5), (2, 'usd', 5); INSERT INTO b VALUES ('eur', 5, 1), (NULL, 6, NULL);"
        )
    desk.begin()
    desk("capture")
    said = desk("restore", "--to", place.url, *CARD, code=3).out
    for line in (
        "left out: column a.g: the source computes it, and the vault holds no values of it",
        "not carried: foreign key b (code) to a (code): a compares by a collation of SQLite's own",
        "not carried: foreign key b (n) to a (n): what it leads to is not unique",
        "not carried: action of a foreign key 1, collation 1, index 1;",
        "proven: all 2 collections",
    ):
        assert line in said
    assert place.rows("SELECT conname FROM pg_constraint WHERE contype = 'f'") == [("b_a_fkey",)]


def test_a_column_that_records_do_not_fit_is_kept_otherwise_and_told(desk: Desk, place: Database) -> None:
    """Prices of 5 and 5.5 are numbers in PostgreSQL; where one of them is a word, the column is text, said before."""
    with closing(sqlite3.connect(desk.shop)) as connection, connection:
        connection.execute("CREATE TABLE a (id INTEGER PRIMARY KEY, price NUMERIC(10, 2), was DECIMAL)")
        connection.execute("INSERT INTO a VALUES (1, 5, 5), (2, 5.5, 'on request'), (3, NULL, 2.5)")
    desk.begin()
    desk("capture")
    planned = desk("restore", "--plan", "--to", place.url, *CARD).out
    assert "kept as decimal numbers, those with a fraction with a point: a.price" in planned
    assert "should a value not fit its column's type, the whole column is kept as text" in planned
    done = moved(desk, place)
    assert [(each["column"], each["reason"]) for each in done["mapping"]["revisions"]] == [
        ("was", "it holds values that are no numbers")
    ]
    assert done["is_proven"]
    assert place.rows("SELECT price::text, was FROM a ORDER BY id") == [
        ("5", "5"),
        ("5.5", "on request"),
        (None, "2.5"),
    ]
    place.run("DROP TABLE a")
    said = desk("restore", "--to", place.url, *CARD).out
    revised = "revised: a.was is kept as text, each value as its kind is written: it holds values that are no numbers"
    assert revised in said.splitlines()
    assert said.index(revised) < said.index("written: 3 records")
