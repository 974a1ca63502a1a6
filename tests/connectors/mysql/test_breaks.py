"""What a binlog does not tell exactly is a break with its reason, and a new snapshot closes it; all else is none."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from holdfast.core.feed import Break
from tests.connectors.mysql.building import absent
from tests.connectors.mysql.following import Mirror
from tests.mariadb_server import Database, Server
from tests.waiting import eventually

TABLES = (
    "CREATE TABLE orders (id int PRIMARY KEY, note varchar(50), at date, amount int, code int NOT NULL)",
    "CREATE UNIQUE INDEX u ON orders (code)",
    "INSERT INTO orders SELECT seq, concat('note ', seq), '2026-01-01', seq, seq FROM seq_1_to_100",
    "CREATE TABLE items (code int NOT NULL, v int, UNIQUE by_code (code))",
    "INSERT INTO items SELECT seq, seq FROM seq_1_to_20",
    "CREATE TABLE parts (id int PRIMARY KEY, v int)",
    "ALTER TABLE parts PARTITION BY RANGE (id)(PARTITION low VALUES LESS THAN (99),PARTITION b VALUES LESS THAN (300))",
    "CREATE TABLE spare (id int PRIMARY KEY, v int)",
    "INSERT INTO parts SELECT seq * 10, seq FROM seq_1_to_20",
    "CREATE TABLE isam (id int PRIMARY KEY) ENGINE = MyISAM",
)
STATEMENTS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("SET SESSION binlog_format = STATEMENT; UPDATE orders SET amount = 0", "as a statement", ()),
    ("SET SESSION binlog_format = MIXED; DELETE FROM orders WHERE id = 3", "as a statement", ()),
    ("SET SESSION binlog_row_image = MINIMAL; UPDATE orders SET amount = -1 WHERE id = 1", "parts", ("orders",)),
    ("TRUNCATE orders", "emptied by TRUNCATE", ("orders",)),
    ("INSERT INTO orders VALUES (501, NULL, '0000-00-00', 1, 501)", "column at", ("orders",)),
)  # fmt: skip
DEFINITIONS = (
    ("ALTER TABLE orders ADD x int DEFAULT 7", "definition of orders"),
    ("SET sql_log_bin = 0; ALTER TABLE orders ADD y int DEFAULT 7", "definition of orders"),
    ("SET sql_log_bin = 0; ALTER TABLE orders MODIFY note varchar(50) NOT NULL", "nothing in the binlog tells"),
    ("ALTER TABLE orders DROP x, DROP y; UPDATE orders SET amount = 2 WHERE id = 1", "definition of orders"),
    ("CREATE TABLE fresh AS SELECT 1 AS a", "new: fresh"),
    ("DROP TABLE fresh", "gone: fresh"),
    ("RENAME TABLE spare TO other; RENAME TABLE other TO spare", "RENAME TABLE"),
    ("ALTER TABLE spare COMMENT 'spare ones'", "ALTER TABLE"),
    ("DROP TABLE spare; CREATE TABLE spare (id int PRIMARY KEY, v int)", "DROP TABLE"),
    ("CREATE OR REPLACE TABLE spare (id int PRIMARY KEY, v int)", "CREATE TABLE"),
    ("ALTER TABLE parts EXCHANGE PARTITION low WITH TABLE spare", "ALTER TABLE"),
    ("ALTER TABLE parts TRUNCATE PARTITION low", "ALTER TABLE"),
    ("ALTER TABLE parts DROP PARTITION low", "ALTER TABLE"),
    ("DROP INDEX by_code ON items", "definition of items"),
    ("CREATE UNIQUE INDEX by_code ON items (code)", "definition of items"),
)
SWAP = "ALTER TABLE orders CHANGE amount code int, CHANGE code amount int NOT NULL"
SWAP_BACK = "ALTER TABLE orders CHANGE amount code int NOT NULL, CHANGE code amount int"
ELSEWHERE = (
    "CREATE TABLE orders (id int); INSERT INTO orders VALUES (1); ALTER TABLE orders ADD x int; TRUNCATE orders; "
    "SET SESSION binlog_format = STATEMENT; INSERT INTO orders VALUES (2, 2)"
)
NONE = (
    "GRANT SELECT ON {db}.orders TO CURRENT_USER()",
    "ANALYZE TABLE orders",
    "OPTIMIZE TABLE orders",
    "CHECK TABLE orders",
    "FLUSH TABLES",
    "FLUSH LOGS",
    "CREATE TEMPORARY TABLE shadow (id int); INSERT INTO shadow VALUES (1); DROP TEMPORARY TABLE shadow",
    "CREATE VIEW seen AS SELECT id FROM orders; DROP VIEW seen",
    "CREATE TRIGGER t BEFORE UPDATE ON orders FOR EACH ROW SET NEW.note = 'touched'; UPDATE orders SET amount = 5",
    "CREATE PROCEDURE p() UPDATE orders SET amount = 6; CALL p(); DROP PROCEDURE p",
    "CREATE FUNCTION f() RETURNS int DETERMINISTIC RETURN 1; DROP FUNCTION f",
    "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM orders; DROP EVENT e",
    "CREATE INDEX i ON orders (amount); DROP INDEX i ON orders",
    "DROP INDEX u ON orders",
    "CREATE SEQUENCE s; SELECT NEXT VALUE FOR s; DO SETVAL(s, 50); DROP SEQUENCE s",
    "INSERT INTO isam VALUES (1); DELETE FROM isam; TRUNCATE isam",
    "DROP TABLE IF EXISTS never",
    "CREATE TABLE IF NOT EXISTS orders (id int)",
    "CREATE DATABASE IF NOT EXISTS {db}",
    f"CREATE DATABASE {{db}}_copy; USE {{db}}_copy; {ELSEWHERE}; DROP DATABASE {{db}}_copy",
    "SET sql_mode = ''; UPDATE orders SET note = 'x' WHERE id = 5",
)


@pytest.fixture
def mirror(mariadb: Database) -> Mirror:
    """A database that is followed."""
    mariadb.run(*TABLES)
    return Mirror(mariadb)


def broken(mirror: Mirror) -> Break:
    """The break that comes; a new snapshot closes it, and then nothing is in the way any more."""
    found = mirror.catch_up()
    assert found is not None, "nothing broke"
    again = mirror.catch_up()
    assert again is not None, "what broke stays broken until it is read anew"
    mirror.read_anew()
    assert mirror.catch_up() is None
    mirror.prove()
    return found


@pytest.mark.parametrize(("statements", "word", "collections"), STATEMENTS)
def test_what_rows_do_not_tell_is_a_break(
    mirror: Mirror, statements: str, word: str, collections: tuple[str, ...]
) -> None:
    """Changes as statements, parts of rows, TRUNCATE, values beyond their type; what else comes is told."""
    mirror.database.run("INSERT INTO items VALUES (900, 1)")
    mirror.database.run(*statements.split("; "))
    found = broken(mirror)
    assert word in found.why
    assert found.collections == collections


def test_definitions_that_change_are_breaks(mirror: Mirror) -> None:
    """Columns, tables, partitions, keys, with the binlog and without it: each is named, and read anew."""
    for statements, word in DEFINITIONS:
        mirror.database.run("UPDATE items SET v = v + 1")
        mirror.database.run(*statements.split("; "))
        assert word in broken(mirror).why, statements


def test_what_comes_before_a_break_is_told(mirror: Mirror) -> None:
    """Whole transactions before it are kept as they were; after it nothing is told."""
    with mirror.feed() as feed:
        mirror.database.run("DELETE FROM orders WHERE id = 1", "TRUNCATE items", "DELETE FROM orders WHERE id = 2")
        while not mirror.breaks:
            mirror.take(feed)
    assert [(op, row["id"]) for op, row in mirror.records("orders")] == [(3, 1)]
    assert mirror.transactions == 1


def test_a_definition_is_seen_while_nothing_else_happens(mirror: Mirror) -> None:
    """Without the binlog only the catalog tells: it is looked at now and then."""
    with mirror.feed() as feed:
        assert mirror.take(feed) == (None, 0)
        mirror.database.run("SET sql_log_bin = 0", "CREATE TABLE fresh (id int PRIMARY KEY)")
        eventually(lambda: mirror.take(feed)[0] is not None, "the new table is seen")
    assert "new: fresh" in mirror.breaks[0].why


def test_rows_are_never_told_under_the_names_of_other_columns(mirror: Mirror) -> None:
    """Two columns of one type change their names behind the binlog's back: not one row of theirs is believed."""
    database = mirror.database
    with mirror.feed() as feed:
        database.run("UPDATE orders SET amount = -1 WHERE id = 1")
        eventually(lambda: mirror.take(feed) and mirror.records("orders"), "the first change is told")
        database.run("SET sql_log_bin = 0", SWAP)
        database.run("UPDATE orders SET amount = 707 WHERE id = 7")
        found = eventually(lambda: mirror.take(feed)[0], "the other definition is seen")
    assert found.collections == ("orders",)
    assert [row["id"] for _, row in mirror.records("orders")] == [1]


def test_names_that_the_binlog_tells_are_held_to_those_of_the_table(mariadb_servers: Callable[..., Server]) -> None:
    """With binlog_row_metadata = FULL not even a definition that is there and gone again is missed."""
    with mariadb_servers(binlog_row_metadata="FULL").database() as database:
        database.run(*TABLES)
        mirror = Mirror(database)
        database.run("UPDATE orders SET amount = -1 WHERE id = 1")
        assert mirror.catch_up() is None
        for definition in (SWAP, SWAP_BACK):
            database.run("SET sql_log_bin = 0", definition)
            database.run("UPDATE orders SET amount = -id WHERE id = 7")
        found = mirror.catch_up()
    assert found is not None
    assert "column amount was named code" in found.why


@pytest.mark.parametrize("statements", NONE)
def test_what_alters_no_record_is_no_break(mirror: Mirror, statements: str) -> None:
    """Following goes on, and what is told comes to what is there."""
    mirror.database.run(*statements.format(db=mirror.database.name).split("; "))
    mirror.database.run("UPDATE orders SET amount = amount + 1 WHERE id = 1")
    assert mirror.catch_up() is None
    assert mirror.records("orders")
    mirror.prove(but=("isam",))


def test_what_enters_from_elsewhere_is_a_break_from_when_it_is_made(mirror: Mirror) -> None:
    """A trigger of another database that changes ours, made while ours is followed, carries statements into it."""
    database = mirror.database
    with absent(database.server, f"{database.name}_other") as other:
        database.run(f"CREATE DATABASE {other.name}", f"CREATE TABLE {other.name}.x (id int)")
        with mirror.feed() as feed:
            other.run(f"CREATE TRIGGER tg AFTER INSERT ON x FOR EACH ROW UPDATE {database.name}.orders SET amount = -7")
            other.run("SET binlog_format = STATEMENT", "INSERT INTO x VALUES (1)")
            database.run("DELETE FROM orders WHERE id = 1")
            eventually(lambda: mirror.take(feed)[0] is not None or mirror.records("orders"), "what came after is told")
    assert "as a statement" in mirror.breaks[0].why
