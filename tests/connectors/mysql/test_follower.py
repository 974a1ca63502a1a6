"""What the binlog tells comes to what the tables hold: every change once, whole transactions, in order."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from holdfast.connectors.mysql.ahead import read_ahead
from holdfast.connectors.mysql.charsets import Charsets
from holdfast.connectors.mysql.dump import dump
from holdfast.connectors.mysql.events import Events
from holdfast.connectors.mysql.following import Tables
from holdfast.connectors.mysql.position import Position
from holdfast.connectors.mysql.transactions import Gathering
from holdfast.core.feed import Moved, Told
from holdfast.errors import Unreachable
from tests.connectors.mysql.binlogs import here
from tests.connectors.mysql.following import DELETE, INSERT, UPDATE, Mirror
from tests.mariadb_server import Database, Server
from tests.waiting import eventually

TABLES = (
    "CREATE TABLE orders (id int PRIMARY KEY, note varchar(50), paid datetime(3), amount decimal(12,2))",
    "CREATE TABLE items (a int, b varchar(20), n float, PRIMARY KEY (b, a))",
    "INSERT INTO orders SELECT seq, concat('note ', seq), NULL, seq / 4 FROM seq_1_to_300",
    "INSERT INTO items SELECT seq, concat('b', seq % 3), seq FROM seq_1_to_40",
)


@pytest.fixture
def mirror(mariadb: Database) -> Mirror:
    """A database that is followed."""
    mariadb.run(*TABLES)
    return Mirror(mariadb)


def test_changes_come_to_what_the_tables_hold(mirror: Mirror) -> None:
    """Inserts, updates, deletes, REPLACE and ON DUPLICATE KEY, many rows at a time."""
    mirror.database.run(
        "INSERT INTO orders VALUES (1001, NULL, '2026-02-03 04:05:06.789', -0.25)",
        "UPDATE orders SET note = upper(note), paid = '2026-01-01' WHERE id % 3 = 0",
        "DELETE FROM orders WHERE id BETWEEN 10 AND 50",
        "REPLACE INTO orders VALUES (11, 'back', NULL, 1), (60, 'other', NULL, 2)",
        "INSERT INTO orders VALUES (60, 'x', NULL, 3) ON DUPLICATE KEY UPDATE amount = amount + 1",
        "DELETE FROM items WHERE a > 30",
    )
    assert mirror.catch_up() is None
    assert mirror.transactions == 6
    mirror.prove()


def test_a_key_that_changes_is_gone_under_the_old_and_new_under_the_other(mirror: Mirror) -> None:
    """Also where keys move up one after the other, and where only letters change that compare equal."""
    mirror.database.run(
        "UPDATE orders SET id = id + 1000 WHERE id = 7",
        "UPDATE orders SET id = id + 1 WHERE id > 200 AND id < 1000 ORDER BY id DESC",
        "UPDATE items SET b = upper(b) WHERE a = 1",
    )
    assert mirror.catch_up() is None
    told = mirror.records("orders")
    assert [(op, row["id"]) for op, row in told[:2]] == [(DELETE, 7), (INSERT, 1007)]
    assert told[0][1]["note"] is None
    assert [(op, row["b"]) for op, row in mirror.records("items")] == [(DELETE, "b1"), (INSERT, "B1")]
    mirror.prove()


def test_a_transaction_is_told_whole_and_under_one_name(mirror: Mirror) -> None:
    """Its changes of all tables have one number, one time and the GTID; what it rolled back is not told."""
    with mirror.database.session(autocommit=False) as session, session.cursor() as cursor:
        cursor.execute("UPDATE orders SET amount = 0 WHERE id = 1")
        cursor.execute("SAVEPOINT s")
        cursor.execute("UPDATE orders SET amount = 0 WHERE id = 2")
        cursor.execute("ROLLBACK TO s")
        cursor.execute("DELETE FROM items WHERE a = 1")
        session.commit()
        cursor.execute("DELETE FROM orders")
        session.rollback()
    gtid = mirror.database.value("SELECT @@gtid_binlog_pos")
    assert mirror.catch_up() is None
    assert [(op, row["id"]) for op, row in mirror.records("orders")] == [(UPDATE, 1)]
    names = {name for each in mirror.told for name in each.tx.to_pylist()}
    assert names == {gtid}
    assert {each for piece in mirror.told for each in piece.order.to_pylist()} == {1}
    assert len({each for piece in mirror.told for each in piece.at.to_pylist()}) == 1
    mirror.prove()


def test_a_large_transaction_comes_in_pieces(mirror: Mirror) -> None:
    """It is held nowhere: no piece is larger than about 8 MB, all of it has one number, and it ends in one commit."""
    mirror.database.run(
        "INSERT INTO items VALUES (999, 'before', 0)",
        "INSERT INTO orders SELECT seq + 5000, repeat('x', 50), NULL, 1 FROM seq_1_to_160000",
    )
    pieces = []
    with mirror.feed() as feed:
        moved: list[Moved] = []
        while not feed.is_caught_up:
            for each in feed.read(0.2):
                if isinstance(each, Told):
                    pieces.append(each)
                else:
                    assert isinstance(each, Moved)
                    moved.append(each)
    orders = [each for each in pieces if each.collection == "orders"]
    assert len(orders) > 2
    assert max(each.rows.nbytes for each in orders) < 16 << 20
    assert sum(each.rows.num_rows for each in orders) == 160_000
    assert (
        len(
            {
                (number, name)
                for each in orders
                for number, name in zip(each.order.to_pylist(), each.tx.to_pylist(), strict=True)
            }
        )
        == 1
    )
    assert sum(each.transactions for each in moved) == 2
    assert mirror.catch_up() is None
    mirror.prove()


@pytest.mark.parametrize("charset", ["binary", "swe7", "dec8", "geostd8", "eucjpms"])
def test_a_session_in_any_character_set_is_followed(mirror: Mirror, charset: str) -> None:
    """Also one in a character set that Python can't read: its statements are judged, its changes told."""
    with mirror.feed() as feed:
        mirror.database.run(f"SET NAMES {charset}", "CREATE INDEX i ON orders (note)")
        mirror.database.run("INSERT INTO orders VALUES (2000, 'x', NULL, 2)")
        eventually(lambda: mirror.take(feed)[1] == 1, "the insert is told")
    mirror.prove()


def test_whatever_ends_the_reading_is_seen(mariadb: Database) -> None:
    """An error that nobody thought of reaches whoever asks for the next block, and no later asking finds all quiet."""
    start = here(mariadb)
    mariadb.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    none = cast(Tables, None)
    gathering = Gathering(none, Charsets({}), Position("", 4, "", 0, 0))
    with dump(mariadb.url, start, 7002) as stream:
        ahead = read_ahead(stream, Events(start.file, start.position), gathering)
        with pytest.raises(AttributeError):
            eventually(lambda: ahead.next(0.1) is not None, "the error is told")
        with pytest.raises(Unreachable):
            eventually(lambda: ahead.next(0.1) is not None, "the end is told")
        ahead.close()


def test_a_time_that_has_yet_to_come_stands_for_no_change(mirror: Mirror) -> None:
    """What a session dates ahead is told as of its reading, in words too; what follows has its own time, and so has
    what follows a time that was kept.
    """
    mirror.database.run("SET timestamp = UNIX_TIMESTAMP() + 315360000", "DELETE FROM orders WHERE id = 1")
    before = datetime.now(UTC)
    with mirror.feed() as feed:
        assert any(isinstance(each, Moved) and "SET timestamp" in str(each.notes) for each in feed.read(2))
        mirror.database.run("DELETE FROM orders WHERE id = 2")
    with mirror.source.feed(mirror.position, mirror.schemas, before + timedelta(days=3650)) as feed:
        told = [each for each in feed.read(2) if isinstance(each, Told)]
    times = [at for each in told for at in each.at.to_pylist()]
    assert len(times) == 2
    assert all(abs(at - before) < timedelta(seconds=30) for at in times)


def test_where_others_write_all_the_time_the_position_moves_on(mariadb: Database) -> None:
    """While a table that is not followed changes without a pause, the feed catches up with what was there."""
    mariadb.run(*TABLES, "CREATE TABLE loose (n int)")
    mirror = Mirror(mariadb)
    stop = threading.Event()

    def write() -> None:
        with mariadb.session() as session, session.cursor() as cursor:
            while not stop.is_set():
                cursor.execute("INSERT INTO loose VALUES (1)")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        eventually(lambda: len(mariadb.rows("SELECT 1 FROM loose LIMIT 50")) == 50)
        with mirror.feed() as feed:
            begun = time.monotonic()
            while not feed.is_caught_up and time.monotonic() - begun < 20:
                assert mirror.take(feed) == (None, 0)
            assert feed.is_caught_up
            assert not stop.is_set()
            assert writer.is_alive()
    finally:
        stop.set()
        writer.join()


def test_a_column_of_which_the_binlog_is_not_told_is_a_break(mirror: Mirror) -> None:
    """Rows that have more columns than the table that is known are not told without them."""
    with mirror.feed() as feed:
        mirror.database.run("SET sql_log_bin = 0", "ALTER TABLE orders ADD x int")
        mirror.database.run("INSERT INTO orders VALUES (2000, 'x', NULL, 2, 77)")
        found = eventually(lambda: mirror.take(feed)[0])
    assert found is not None
    assert found.collections == ("orders",)
    assert "had 5 columns" in found.why
    assert mirror.transactions == 0


def test_a_server_that_stops_answering_is_unreachable(
    mariadb_servers: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether the stream is silent or a question waits for its answer, the feed ends."""
    monkeypatch.setattr("holdfast.connectors.mysql.dump.SILENT_SECONDS", 15.0)
    monkeypatch.setattr("holdfast.connectors.mysql.follower.ANSWER_SECONDS", 3.0)
    server = mariadb_servers()
    with server.database() as database:
        database.run(*TABLES)
        mirror = Mirror(database)
        begun = time.monotonic()
        try:
            with mirror.feed() as feed:
                server.freeze()
                with pytest.raises(Unreachable):
                    eventually(lambda: mirror.take(feed)[0])
            assert time.monotonic() - begun < 50
        finally:
            server.thaw()
