"""What happens beside the rows of plain transactions: XA, references that cascade, tables that can't be followed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest

from holdfast.connectors.mysql.cascades import Acting
from holdfast.connectors.mysql.catalog import load_catalog
from holdfast.connectors.mysql.connection import connect
from tests.connectors.mysql.following import INSERT, Mirror
from tests.mariadb_server import Database
from tests.waiting import eventually

TABLES = (
    "CREATE TABLE customers (id int PRIMARY KEY, name varchar(20))",
    "CREATE TABLE orders (id int PRIMARY KEY, customer int)",
    "ALTER TABLE orders ADD FOREIGN KEY (customer) REFERENCES customers (id) ON DELETE CASCADE ON UPDATE CASCADE",
    "CREATE TABLE items (id int PRIMARY KEY, o int, FOREIGN KEY (o) REFERENCES orders (id) ON DELETE CASCADE)",
    "CREATE TABLE notes (id int PRIMARY KEY, customer int, FOREIGN KEY (customer) REFERENCES customers (id))",
    "INSERT INTO customers SELECT seq, 'x' FROM seq_1_to_30",
    "INSERT INTO orders SELECT seq, seq % 30 + 1 FROM seq_1_to_90",
    "INSERT INTO items SELECT seq, seq % 90 + 1 FROM seq_1_to_180",
)


@pytest.fixture
def plain(mariadb: Database) -> Mirror:
    """One table that is followed."""
    mariadb.run("CREATE TABLE t (id int PRIMARY KEY, v longtext)", "INSERT INTO t VALUES (1, 'a'), (2, 'b')")
    return Mirror(mariadb)


@pytest.fixture
def shop(mariadb: Database) -> Mirror:
    """Tables that reference one another."""
    mariadb.run(*TABLES)
    return Mirror(mariadb)


@contextmanager
def prepared(database: Database, name: str, *statements: str) -> Iterator[None]:
    """An XA transaction that waits for its verdict."""
    with database.session() as session, session.cursor() as cursor:
        cursor.execute(f"XA START '{name}'")
        for each in statements:
            cursor.execute(each)
        cursor.execute(f"XA END '{name}'")
        cursor.execute(f"XA PREPARE '{name}'")
        number = session.thread_id()
    # Until the server has let go of the session, nobody else can decide on its transaction.
    seek = f"SELECT ID FROM information_schema.PROCESSLIST WHERE ID = {number}"
    eventually(lambda: not database.rows(seek), "the session ends")
    yield


def test_an_xa_transaction_is_told_when_it_is_committed(plain: Mirror) -> None:
    """Not when it is prepared, and not at all when it is rolled back; others come in between."""
    with plain.feed() as feed:
        with prepared(plain.database, "kept", "INSERT INTO t VALUES (3, 'c')"):
            plain.database.run("INSERT INTO t VALUES (5, 'e')")
        with prepared(plain.database, "dropped", "INSERT INTO t VALUES (4, 'd')"):
            eventually(lambda: plain.take(feed)[1], "the one in between is told")
        assert [row["id"] for _, row in plain.records("t")] == [5]
        plain.database.run("XA ROLLBACK 'dropped'", "XA COMMIT 'kept'", "DELETE FROM t WHERE id = 3")
        eventually(lambda: plain.take(feed)[1] and len(plain.records("t")) == 3, "the verdict is told")
    assert plain.breaks == []
    assert plain.records("t")[1] == (INSERT, {"id": 3, "v": "c"})
    plain.prove()


def test_an_xa_transaction_in_one_phase_is_one_like_any(plain: Mirror) -> None:
    """It never waits."""
    plain.database.run("XA START 'one'", "INSERT INTO t VALUES (3, 'c')", "XA END 'one'", "XA COMMIT 'one' ONE PHASE")
    assert plain.catch_up() is None
    plain.prove()


def test_what_was_prepared_before_is_a_break_when_it_is_committed(plain: Mirror) -> None:
    """Before the snapshot, or before a follower that is gone: nobody holds its rows any more."""
    with prepared(plain.database, "early", "INSERT INTO t VALUES (3, 'c')"):
        plain.read_anew()
    with prepared(plain.database, "lost", "INSERT INTO t VALUES (4, 'd')"):
        assert plain.catch_up() is None
    plain.database.run("XA ROLLBACK 'lost'")
    assert plain.catch_up() is None
    plain.database.run("XA COMMIT 'early'")
    found = plain.catch_up()
    assert found is not None
    assert "prepared before" in found.why
    plain.read_anew()
    plain.prove()


def test_an_xa_transaction_too_large_to_wait_is_a_break(plain: Mirror) -> None:
    """It is not held in memory; if it is rolled back nothing is lost."""
    large = "INSERT INTO t SELECT seq + {start}, repeat('x', 8000000) FROM seq_1_to_5"
    with plain.feed() as feed:
        with prepared(plain.database, "a", large.format(start=10)):
            plain.database.run("XA ROLLBACK 'a'", "INSERT INTO t VALUES (7, 'x')")
        eventually(lambda: plain.take(feed)[1], "what comes after is told")
        with prepared(plain.database, "b", large.format(start=20)):
            plain.database.run("XA COMMIT 'b'")
        eventually(lambda: plain.take(feed)[0], "it breaks")
    assert "too large" in plain.breaks[0].why
    plain.read_anew()
    plain.prove()


def test_rows_that_go_with_others_are_a_break(shop: Mirror) -> None:
    """The binlog has the customer's deletion only: orders and items that went with it are named, and read anew."""
    shop.database.run("UPDATE customers SET name = 'y'", "DELETE FROM customers WHERE id = 4")
    found = shop.catch_up()
    assert found is not None
    assert "ON DELETE" in found.why
    assert found.collections == ("items", "orders")
    shop.read_anew()
    shop.prove()


def test_rows_that_change_with_others_are_a_break(shop: Mirror) -> None:
    """A key that changes alters what references it; a change of anything else does not."""
    shop.database.run("UPDATE customers SET name = 'z' WHERE id = 5")
    assert shop.catch_up() is None
    shop.database.run("UPDATE customers SET id = 500 WHERE id = 5")
    found = shop.catch_up()
    assert found is not None
    assert "reference it" in found.why
    assert "orders" in found.collections
    shop.read_anew()
    shop.prove()


FOLLOWING = "REPLICATION SLAVE, BINLOG MONITOR, RELOAD ON *.*"


def test_rows_that_go_with_others_are_a_break_for_who_may_only_read(shop: Mirror) -> None:
    """The rules of references are told to those with more rights: the table's definition tells them to all."""
    database = shop.database
    mirror = Mirror(database, "few", database.user("few", "SELECT ON {db}.*", FOLLOWING))
    database.run("INSERT INTO notes VALUES (1, 20)", "DELETE FROM notes")
    assert mirror.catch_up() is None
    database.run("DELETE FROM customers WHERE id = 4")
    found = mirror.catch_up()
    assert found is not None
    assert found.collections == ("items", "orders")
    mirror.read_anew()
    database.run("UPDATE customers SET id = 500 WHERE id = 5")
    found = mirror.catch_up()
    assert found is not None
    assert "orders" in found.collections
    mirror.read_anew()
    mirror.prove()


def test_what_lies_below_a_table_that_nobody_may_see_is_not_followed(shop: Mirror) -> None:
    """Its deletions are told of no table that is known: orders and items would keep what is gone."""
    database, readable = shop.database, ("orders", "items", "notes")
    url = database.user("part", *(f"SELECT ON {{db}}.{name}" for name in readable), FOLLOWING)
    mirror = Mirror(database, "part", url)
    database.run("DELETE FROM customers WHERE id = 4", "INSERT INTO notes VALUES (1, 9)")
    with mirror.feed() as feed:
        assert {*feed.unfollowed} == {"orders", "items"}
        assert "customers, which this user can't see" in feed.unfollowed["items"]
    assert mirror.catch_up() is None
    assert len(mirror.records("notes")) == 1
    mirror.prove(but=("orders", "items", "customers"))


@pytest.mark.parametrize("rule", ["ON DELETE CASCADE", "ON UPDATE SET NULL"])
def test_a_reference_that_comes_or_goes_without_binlog_is_a_break(mariadb: Database, rule: str) -> None:
    """By it is judged what else a change alters: seen while following goes on, and by who was away."""
    mariadb.run("CREATE TABLE p (id int PRIMARY KEY)", "CREATE TABLE c (id int PRIMARY KEY, p int, KEY (p))")
    mariadb.run("INSERT INTO p VALUES (1), (2)", "INSERT INTO c VALUES (1, 1), (2, 2)")
    mirror = Mirror(mariadb)
    add = f"ALTER TABLE c ADD CONSTRAINT f FOREIGN KEY (p) REFERENCES p (id) {rule}"
    with mirror.feed() as feed:
        assert mirror.take(feed) == (None, 0)
        mariadb.run("SET sql_log_bin = 0", add)
        eventually(lambda: mirror.take(feed)[0], "the new reference is seen")
    mirror.read_anew()
    mariadb.run("DELETE FROM c WHERE id = 1", "SET sql_log_bin = 0", "ALTER TABLE c DROP FOREIGN KEY f")
    found = mirror.catch_up()
    assert found is not None
    assert "nothing in the binlog tells" in found.why
    mirror.read_anew()
    mirror.prove()


def test_what_was_altered_before_a_reference_went_is_read_anew(shop: Mirror) -> None:
    """A follower that was away finds the reference gone, and can't know what it did before."""
    (name,) = [each.name for each in acting(shop.database) if each.child == "items"]
    shop.database.run("DELETE FROM orders WHERE id = 3", f"ALTER TABLE items DROP FOREIGN KEY {name}")
    assert shop.catch_up() is not None
    shop.read_anew()
    shop.prove()


def acting(database: Database) -> tuple[Acting, ...]:
    """The references that act."""
    with connect(database.url) as connection:
        return load_catalog(connection).acting


def test_where_rows_go_with_others_often_they_are_followed_no_more(shop: Mirror) -> None:
    """Two breaks in an hour are enough: then what is altered that way is named as not followed; the rest goes on."""
    for number in (6, 7):
        shop.database.run(f"DELETE FROM customers WHERE id = {number}")
        assert shop.catch_up() is not None
        shop.read_anew()
    shop.database.run("DELETE FROM customers WHERE id = 8", "INSERT INTO notes VALUES (1, 9)")
    with shop.feed() as feed:
        assert {*feed.unfollowed} == {"orders", "items"}
    assert shop.catch_up() is None
    shop.prove(but=("orders", "items"))


def test_a_table_below_one_that_deletes_itself_is_reached(mariadb: Database) -> None:
    """A tree of categories: a row takes all below it with it."""
    mariadb.run(
        "CREATE TABLE tree (id int PRIMARY KEY, up int, FOREIGN KEY (up) REFERENCES tree (id) ON DELETE CASCADE)",
        "INSERT INTO tree VALUES (1, NULL), (2, 1), (3, 2)",
    )
    mirror = Mirror(mariadb)
    mariadb.run("INSERT INTO tree VALUES (4, 3)", "DELETE FROM tree WHERE id = 1")
    found = mirror.catch_up()
    assert found is not None
    assert found.collections == ("tree",)
    mirror.read_anew()
    mirror.prove()


def test_versions_of_a_table_are_told_exactly(mariadb: Database) -> None:
    """What an update leaves in the past, what a deletion ends, and what is cleared away of it."""
    mariadb.run("CREATE TABLE v (id int PRIMARY KEY, a int) WITH SYSTEM VERSIONING")
    mariadb.run("INSERT INTO v SELECT seq, seq FROM seq_1_to_20")
    mirror = Mirror(mariadb)
    mariadb.run(
        "UPDATE v SET a = a + 1 WHERE id < 10",
        "UPDATE v SET a = a + 1, id = id + 100 WHERE id = 12",
        "DELETE FROM v WHERE id IN (3, 4)",
        "INSERT INTO v VALUES (3, 0)",
        "REPLACE INTO v VALUES (5, 0), (50, 0)",
        "INSERT INTO v VALUES (6, 0) ON DUPLICATE KEY UPDATE a = 99",
    )
    assert mirror.catch_up() is None
    mirror.prove()
    mariadb.run("DELETE HISTORY FROM v")
    assert mirror.catch_up() is None
    mirror.prove()


def test_what_can_t_be_followed_is_named_and_in_nobody_s_way(mariadb: Database) -> None:
    """No key, no transactions, versions by number, a table of another database above it or above that."""
    other = f"{mariadb.name}_above"
    mariadb.run(
        f"CREATE DATABASE {other}",
        f"CREATE TABLE {other}.p (id int PRIMARY KEY)",
        f"INSERT INTO {other}.p VALUES (1), (2)",
        "CREATE TABLE fine (id int PRIMARY KEY)",
        "CREATE TABLE plain (a int, UNIQUE (a))",
        "CREATE TABLE isam (id int PRIMARY KEY) ENGINE = MyISAM",
        f"CREATE TABLE below (id int PRIMARY KEY, p int, FOREIGN KEY (p) REFERENCES {other}.p (id) ON DELETE CASCADE)",
        "INSERT INTO below VALUES (1, 1), (2, 2)",
        "CREATE TABLE lowest (id int PRIMARY KEY, b int, FOREIGN KEY (b) REFERENCES below (id) ON DELETE CASCADE)",
        "INSERT INTO lowest VALUES (1, 1), (2, 2)",
    )
    mirror = Mirror(mariadb)
    mariadb.run(
        "INSERT INTO plain VALUES (1), (NULL)",
        "INSERT INTO isam VALUES (1)",
        f"DELETE FROM {other}.p WHERE id = 1",
        "INSERT INTO fine VALUES (1)",
    )
    with mirror.feed() as feed:
        assert {*feed.unfollowed} == {"plain", "isam", "below", "lowest"}
        assert "no key" in feed.unfollowed["plain"]
        assert "transactions" in feed.unfollowed["isam"]
        assert "another database" in feed.unfollowed["below"]
        assert "another database" in feed.unfollowed["lowest"]
    assert mirror.catch_up() is None
    assert {each.collection for each in mirror.told} == {"fine"}
    mirror.prove(but=("isam", "below", "lowest"))
    mariadb.run("DROP TABLE lowest, below", f"DROP DATABASE {other}")


def threads(database: Database, but: Iterable[int] = ()) -> set[int]:
    """The dumps that the server is sending, those apart that it was before: they may be ending."""
    return {row[0] for row in database.rows("SHOW PROCESSLIST") if row[4] == "Binlog Dump"} - {*but}


def test_a_closed_follower_leaves_nothing_at_the_server(plain: Mirror) -> None:
    """The server's own thread for it ends, without waiting for the next event."""
    before = threads(plain.database)
    with plain.feed() as feed:
        plain.take(feed)
        assert len(threads(plain.database, before)) == 1
    eventually(lambda: not threads(plain.database, before), "the server's thread is gone")


def test_a_killed_follower_leaves_nothing_at_the_server(plain: Mirror) -> None:
    """Nobody says goodbye: the server notices by itself within moments."""
    before = threads(plain.database)
    words = (
        "import sys; from holdfast.connectors.mysql.follower import MysqlChanges\n"
        "with MysqlChanges(sys.argv[1], 'killed').feed(sys.argv[2], {}) as feed: list(feed.read(600))"
    )
    # Nothing is kept there, so that no table is in the way.
    plain.database.run("DROP TABLE t")
    plain.read_anew()
    command = [sys.executable, "-c", words, plain.database.url, plain.position]
    with subprocess.Popen(command) as process:
        eventually(lambda: len(threads(plain.database, before)) == 1, "the follower is at work")
        process.kill()
    eventually(lambda: not threads(plain.database, before), "the server's thread is gone")


def test_two_followers_go_side_by_side(plain: Mirror) -> None:
    """Under two names they are two replicas; neither cuts the other off."""
    other = Mirror(plain.database, "another")
    with plain.feed() as first, other.feed() as second:
        for number in range(5):
            plain.database.run(f"INSERT INTO t VALUES ({number + 50}, 'x')")
            eventually(lambda: plain.take(first)[1], "the first is told")
            eventually(lambda: other.take(second)[1], "the second is told")
    plain.prove()
    other.prove()
