"""A small SQLite shop with everything that is hard to keep, and what happens to it from capture to capture."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

STAGES = 6

_BEGIN = """
PRAGMA user_version = 7;
PRAGMA application_id = 1212501072;
CREATE TABLE customers (email TEXT PRIMARY KEY COLLATE NOCASE NOT NULL, name TEXT, since INT) WITHOUT ROWID;
CREATE TABLE orders (id INTEGER PRIMARY KEY AUTOINCREMENT, email TEXT REFERENCES customers, total REAL, paid INT,
    twice AS (total * 2), CHECK (total IS NULL OR total < 1e300 OR total > 1e300));
CREATE TABLE lines (shop TEXT NOT NULL, number INT NOT NULL, what ANY, PRIMARY KEY (number, shop));
CREATE TABLE clicks (at INT, page TEXT);
CREATE TABLE settings (name TEXT NOT NULL UNIQUE, value);
CREATE TABLE "odd ""name"", имя" (id INTEGER PRIMARY KEY, "a ""column"", имя" BLOB);
CREATE TABLE empty (id INTEGER PRIMARY KEY, later TEXT);
CREATE INDEX orders_of ON orders (email, total DESC);
CREATE INDEX paid_orders ON orders (total) WHERE paid = 1;
CREATE VIEW open_orders AS SELECT id, email FROM orders WHERE paid = 0;
CREATE TABLE told (what TEXT);
CREATE TRIGGER on_pay AFTER UPDATE OF paid ON orders BEGIN INSERT INTO told VALUES ('paid ' || new.id); END;
CREATE TRIGGER on_new AFTER INSERT ON orders BEGIN INSERT INTO told VALUES ('new ' || new.id); END;
CREATE VIRTUAL TABLE found USING fts5(page, body);
"""
_VALUES: list[Any] = [
    None, 0, -1, 9007199254740993, 2**63 - 1, -(2**63), 0.1, -0.0, float("inf"), float("-inf"), 5e-324, 1e300,
    "", "5", "a\0b", "Ünïcode — 王小明 مرحبا", b"", b"\0\xff", "x" * 70_000, b"y" * 1_100_000,
]  # fmt: skip


def change(path: Path, stage: int) -> None:
    """What happens before capture number `stage`, from 1 on."""
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        if stage == 1:
            database.executescript(_BEGIN)
        database.execute("BEGIN")
        (_begin, _trade, _redefine, _drop, _go_on, _go_on)[stage - 1](database)
        database.execute("COMMIT")


def _begin(database: sqlite3.Connection) -> None:
    people = [(f"p{n}@example.com", f"Person {n}", 2020 + n) for n in range(20)]
    database.executemany("INSERT INTO customers VALUES (?, ?, ?)", people)
    orders = [(n, f"p{n % 20}@example.com", n / 8 if n % 5 else None, n % 2) for n in range(1, 201)]
    database.executemany("INSERT INTO orders VALUES (?, ?, ?, ?)", orders)
    lines = [(f"s{n % 3}", n, value) for n, value in enumerate(_VALUES)]
    database.executemany("INSERT INTO lines VALUES (?, ?, ?)", lines)
    database.execute("INSERT INTO lines VALUES ('raw', 90, CAST(x'ff00fe' AS TEXT))")
    database.executemany("INSERT INTO clicks VALUES (?, ?)", [(n % 4 or None, "/home") for n in range(40)])
    database.executemany("INSERT INTO settings VALUES (?, ?)", [("color", "red"), ("size", 5), ("ratio", 0.5)])
    database.executemany('INSERT INTO "odd ""name"", имя" VALUES (?, ?)', [(1, b"1"), (-5, None), (2**40, b"\0")])
    database.execute("INSERT INTO found VALUES ('/home', 'welcome to the shop'), ('/about', 'who we are')")


def _trade(database: sqlite3.Connection) -> None:
    database.execute("UPDATE orders SET paid = 1 WHERE id % 7 = 0")
    database.execute("DELETE FROM orders WHERE id IN (3, 50, 200)")
    database.execute("INSERT INTO orders (email, total, paid) VALUES ('p1@example.com', 99.5, 0)")
    database.execute("DELETE FROM clicks WHERE rowid IN (SELECT rowid FROM clicks WHERE at = 2 LIMIT 3)")
    database.execute("INSERT INTO clicks VALUES (3, '/home'), (3, '/home'), (9, '/new')")
    database.execute("UPDATE settings SET value = x'05' WHERE name = 'size'")
    database.execute("INSERT INTO found VALUES ('/new', 'all is new')")


def _redefine(database: sqlite3.Connection) -> None:
    """Columns come and go; one column of integers gets a text, so that it becomes mixed."""
    database.execute("ALTER TABLE orders ADD COLUMN note TEXT")
    database.execute("UPDATE orders SET note = 'first' WHERE id = 1")
    database.execute("ALTER TABLE customers DROP COLUMN name")
    database.execute("UPDATE customers SET since = 'long ago' WHERE email = 'p3@example.com'")
    database.execute("ALTER TABLE clicks ADD COLUMN referrer")
    database.execute("CREATE TABLE refunds (id INTEGER PRIMARY KEY, total REAL)")
    database.execute("INSERT INTO refunds VALUES (1, 2.5)")
    database.execute("DROP VIEW open_orders")


def _drop(database: sqlite3.Connection) -> None:
    database.execute("DROP TABLE refunds")
    database.execute("DELETE FROM settings")
    database.execute("DELETE FROM orders WHERE id < 20")
    database.execute("UPDATE customers SET since = 1 WHERE email = 'p4@example.com'")
    database.execute("PRAGMA user_version = 8")


def _go_on(database: sqlite3.Connection) -> None:
    database.execute("UPDATE orders SET total = total + 1 WHERE id % 9 = 0")
    database.execute("INSERT INTO clicks (at, page) VALUES (9, '/new'), (NULL, NULL)")


def contents(path: Path) -> dict[str, list[Any]]:
    """All of a database, by plain sqlite3: every value's storage class and bytes, every definition, the header."""
    with closing(sqlite3.connect(path)) as database:
        names = ("encoding", "user_version", "application_id", "auto_vacuum", "page_size", "journal_mode")
        found = {name: database.execute(f"PRAGMA {name}").fetchall() for name in names}
        definitions = "SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type, name"
        found["definitions"] = database.execute(definitions).fetchall()
        for kind, name, *_ in found["definitions"]:
            if kind == "table" and (not name.startswith("found_") or name == "found_content"):
                table = _quoted(name)
                columns = [_quoted(row[1]) for row in database.execute(f"PRAGMA table_xinfo({table})") if row[6] != 1]
                cells = ", ".join(f"typeof({each}), {_exactly(each)}" for each in columns)
                found[f"table {name}"] = sorted(database.execute(f"SELECT {cells} FROM {table}"), key=repr)
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return found


def _exactly(column: str) -> str:
    whole = f"CASE typeof({column}) WHEN 'integer' THEN {column} WHEN 'real' THEN printf('%!.20g', {column})"
    return f"{whole} ELSE hex(CAST({column} AS BLOB)) END"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
