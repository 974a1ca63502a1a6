"""Shops of other engines restored into MariaDB, and MariaDB's into others, by the command line on real servers."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from tests.connectors.mysql.building import absent
from tests.connectors.mysql.edges import EDGES
from tests.connectors.mysql.rich import RECORDS, make_rich
from tests.connectors.postgres.edges import EDGES as OF_POSTGRES
from tests.journeys.desk import Desk
from tests.journeys.plain import ask
from tests.journeys.test_into_postgres import LONG, hard
from tests.mariadb_server import Database, Server
from tests.postgres_server import Database as Postgres

CARD = ("--identity", "card.txt")


@pytest.fixture
def place(mariadb_server: Server, mariadb: Database) -> Iterator[Database]:
    """A database of MariaDB that does not exist yet."""
    with absent(mariadb_server, f"{mariadb.name}_new") as there:
        yield there


def kept(desk: Desk, url: str, station: str) -> None:
    """What is there captured into a vault of its own, in a folder of that name."""
    (desk.folder / station).mkdir()
    desk("init", url, "--site", "me=site", "--card", "card.txt", at=desk.folder / station)
    desk("capture", at=desk.folder / station)


def moved(desk: Desk, station: str, url: str, *words: str, code: int | None = 0) -> dict[str, Any]:
    """The state of that vault restored elsewhere, all of it proven equal; the facts."""
    at = desk.folder / station
    done = dict(desk("restore", *words, "--to", url, *CARD, "--json", code=code, at=at).facts[-1])
    assert [each["name"] for each in done["proofs"] if not each["is_equal"]] == []
    return done


def test_every_edge_value_of_mariadb_goes_into_the_others_and_comes_back(
    desk: Desk, mariadb: Database, place: Database, postgres: Postgres
) -> None:
    """One table for each type with its values at the edges, impossible dates among them: proven at each station."""
    with mariadb.session(sql_mode="") as connection, connection.cursor() as cursor:
        for number, (declared, (_, literals)) in enumerate(EDGES.items()):
            cursor.execute(f"CREATE TABLE edge_{number} (n int PRIMARY KEY, v {declared} NULL)")
            for at, value in enumerate((*literals, "NULL")):
                cursor.execute(f"INSERT INTO edge_{number} VALUES ({at}, {value})")
    kept(desk, mariadb.url, "first")
    for url in (postgres.url, "sqlite:///../moved.db"):
        assert len(moved(desk, "first", url)["proofs"]) == len(EDGES)
    kept(desk, "../moved.db", "second")
    assert len(moved(desk, "second", place.url)["proofs"]) == len(EDGES)
    dates = f"edge_{list(EDGES).index('date')}"
    for found in (postgres.rows(f"SELECT v FROM {dates}"), place.rows(f"SELECT v FROM {dates}")):
        assert {("0001-01-01",), ("9999-12-31",), ("0000-00-00",), ("2023-02-00",)} <= set(found)


def test_every_edge_value_of_postgresql_goes_into_mariadb_and_comes_back(
    desk: Desk, postgres: Postgres, place: Database
) -> None:
    """NaN, infinities, years before 1 and after 9999, numbers of a thousand digits: proven at each station."""
    for number, (declared, (_, before, values)) in enumerate(OF_POSTGRES.items()):
        key = ", PRIMARY KEY (n)" if number % 2 else ""
        postgres.run(*before, f"CREATE TABLE edge_{number} (n int, v {declared}{key})")
        rows = ", ".join(f"({at}, {value})" for at, value in enumerate(values))
        postgres.run(f"INSERT INTO edge_{number} VALUES {rows}, (9999, NULL)")
    kept(desk, postgres.url, "first")
    assert len(moved(desk, "first", place.url)["proofs"]) == len(OF_POSTGRES)
    kinds = list(OF_POSTGRES)
    for kind, value in (("numeric(12,2)", "NaN"), ("real", "-0.0"), ("date", "infinity")):
        assert (value,) in place.rows(f"SELECT v FROM edge_{kinds.index(kind)}")
    kept(desk, place.url, "second")
    for url in (f"{postgres.url}_back", "sqlite:///../back.db"):
        assert len(moved(desk, "second", url)["proofs"]) == len(OF_POSTGRES)
    postgres.run(f'DROP DATABASE "{postgres.name}_back"')


def test_what_sqlite_takes_and_mariadb_does_not_is_proven_there_and_back(desk: Desk, place: Database) -> None:
    """Mixed columns, NULs, bytes that are no text, odd names, self references: all proven at both stations."""
    hard(desk.shop)
    desk.begin()
    desk("capture")
    planned = desk("restore", "--plan", "--to", place.url, *CARD).out
    for line in (
        "mapping sqlite-to-mysql-1: 7 collections, 21 columns",
        "kept as text, each value as its kind is written: odd.k, odd.v",
        "should a value be too long for its column, that gets a longer type or is no key: this is told (",
        "empty. is called _",
        f"sales.orders.{LONG} is called {LONG[:64]}",
        f"sales.orders.{LONG}b is called {LONG[:62]}_2",
    ):
        assert line in planned
    assert place.name not in {name for (name,) in Database(place.server, "mysql").rows("SHOW DATABASES")}
    done = dict(desk("restore", "--to", place.url, *CARD, "--json").facts[-1])
    assert [each["name"] for each in done["proofs"] if not each["is_equal"]] == []
    assert {each["kind"] for each in done["mapping"]["left_out"]} == {"check", "counter", "default", "index", "view"}
    assert [(each["column"], each["reason"]) for each in done["mapping"]["revisions"]] == [
        ("r", "the type double can't hold 'inf'")
    ]
    assert place.rows("SELECT k, v FROM odd WHERE v IN ('abc', '2.0', 'inf') ORDER BY v, k") == [
        ("1", "2.0"), ("1", "2.0"), ("\\x40322e30", "abc"), ("4611686018427387904", "inf"),
    ]  # fmt: skip
    with pytest.raises(Exception, match="foreign key constraint fails"):
        place.run("INSERT INTO pairs VALUES ('z', 9, 'A', 2)")
    kept(desk, place.url, "on")
    moved(desk, "on", "sqlite:///back.db")
    clear = "SELECT * FROM plain ORDER BY 1"
    assert ask(desk.folder / "on" / "back.db", clear) == ask(desk.shop, clear)


def test_one_of_everything_goes_on_into_the_others_and_what_does_not_is_named(
    desk: Desk, mariadb: Database, postgres: Postgres
) -> None:
    """Computed columns are left out, so it ends with gaps; versions of a record are records, each with its end."""
    make_rich(mariadb)
    mariadb.run(*RECORDS)
    kept(desk, mariadb.url, "first")
    told = desk("restore", "--plan", "--to", postgres.url, *CARD, at=desk.folder / "first").out
    assert "left out: column customer.big: the source computes it, and the vault holds no values of it" in told
    for url in (postgres.url, "sqlite:///../moved.db"):
        done = moved(desk, "first", url, code=3)
        assert {
            "event", "function", "grant", "package", "package body", "procedure", "sequence", "trigger", "view",
            "collation", "counter", "default", "check", "comment", "partitions", "versioning", "fulltext index",
            "action of a foreign key", "hidden column", "period", "index", "column",
        } == {each["kind"] for each in done["mapping"]["left_out"]}  # fmt: skip
    for rows in (postgres.rows("SELECT id, v FROM past"), ask(desk.folder / "moved.db", "SELECT id, v FROM past")):
        assert sorted(rows) == [(1, "new"), (1, "old"), (2, "gone")]
    for sql, error in (
        ("INSERT INTO orders (id, customer) VALUES (5, 77)", "foreign key"),
        ("INSERT INTO customer (id, name) VALUES (77, 'Ada')", "unique"),
    ):
        with pytest.raises(Exception, match=error):
            postgres.run(sql)


def test_mariadb_takes_records_only_where_nothing_is(desk: Desk, mariadb: Database) -> None:
    """An empty database is taken, one with a table in it is refused and stays as it is; chosen collections alone go."""
    with closing(sqlite3.connect(desk.shop)) as connection, connection:
        connection.execute("CREATE TABLE a (id INTEGER PRIMARY KEY, price NUMERIC(10, 2), was DECIMAL)")
        connection.execute("INSERT INTO a VALUES (1, 5, 5), (2, 5.5, 'on request'), (3, NULL, 2.5)")
        connection.execute("CREATE TABLE b (a REFERENCES a)")
    desk.begin()
    desk("capture")
    said = desk("restore", "a", "--to", mariadb.url, *CARD).out
    revised = "revised: a.was is kept as text, each value as its kind is written: it holds values that are no numbers"
    assert revised in said.splitlines()
    assert said.index(revised) < said.index("written: 3 records")
    assert mariadb.rows("SELECT price, was FROM a ORDER BY id") == [(5.0, "5"), (5.5, "on request"), (None, "2.5")]
    assert "another engine" in desk("restore", "--to", mariadb.url, *CARD, code=5).err
    assert mariadb.rows("SHOW TABLES") == [("a",)]
