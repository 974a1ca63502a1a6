"""Binlogs that are purged, begun anew, lost in a crash or another server's: no follower goes on as if nothing were."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from holdfast.connectors.mysql.position import parse_position
from holdfast.core.feed import Break
from holdfast.errors import Refused, Unreachable
from tests.connectors.mysql.following import Mirror
from tests.mariadb_server import Database, Server
from tests.waiting import eventually

SAFE = {"innodb_flush_log_at_trx_commit": "1", "sync_binlog": "1"}
TABLES = ("CREATE TABLE orders (id int PRIMARY KEY, n int)", "INSERT INTO orders SELECT seq, 0 FROM seq_1_to_50")


@pytest.fixture
def shop(mariadb_servers: Callable[..., Server]) -> Callable[..., Database]:
    """A database on a server of this test's own."""

    def start(**settings: str) -> Database:
        server = mariadb_servers(**settings)
        Database(server, "mysql").run("CREATE DATABASE shop")
        database = Database(server, "shop")
        database.run(*TABLES)
        return database

    return start


def broken(mirror: Mirror) -> str:
    """Why following breaks; read anew, it goes on."""
    found = mirror.catch_up()
    assert found is not None
    mirror.read_anew()
    mirror.database.run("UPDATE orders SET n = n + 1")
    assert mirror.catch_up() is None
    mirror.prove()
    return found.why


def purge(database: Database) -> None:
    """Let the server forget all but its newest binlog."""
    database.run("FLUSH LOGS")
    newest = database.rows("SHOW BINARY LOGS")[-1][0]

    def is_purged() -> bool:
        database.run(f"PURGE BINARY LOGS TO '{newest}'")
        return len(database.rows("SHOW BINARY LOGS")) == 1

    eventually(is_purged, "older binlogs are gone")


def test_purged_while_nobody_followed(shop: Callable[..., Database]) -> None:
    """What lay in the purged binlog was told to nobody, and is read anew; `kept` says that it is gone."""
    database = shop()
    mirror = Mirror(database)
    database.run("UPDATE orders SET n = 1")
    purge(database)
    with mirror.feed() as feed:
        assert feed.kept is not None
        assert "was purged" in feed.kept.shortage
    assert "is gone" in broken(mirror)


def test_reset_while_nobody_followed(shop: Callable[..., Database]) -> None:
    """The new files have the same names: shorter ones, and ones that have come farther."""
    database = shop()
    mirror = Mirror(database)
    database.run("RESET MASTER")
    assert "ends at" in broken(mirror)
    database.run("RESET MASTER", *["UPDATE orders SET n = n + 1"] * 60)
    assert "bin.000001" in broken(mirror)


def test_the_same_place_in_a_file_begun_anew_is_another(shop: Callable[..., Database]) -> None:
    """The same offset and the same GTID: only when the file was begun tells them apart."""
    database = shop()
    database.run("RESET MASTER", "INSERT INTO orders VALUES (100, 0)")
    mirror = Mirror(database)
    before = parse_position(mirror.position)
    eventually(lambda: database.value("SELECT UNIX_TIMESTAMP()") > before.begun + 1, "another second")
    database.run("RESET MASTER", "INSERT INTO orders VALUES (101, 0)")
    assert database.rows("SHOW MASTER STATUS")[0][:2] == (before.file, before.offset)
    assert "begun anew" in broken(mirror)


def test_purged_and_reset_under_a_running_follower(shop: Callable[..., Database]) -> None:
    """The stream does not go on silently in a log that began anew."""
    database = shop()
    mirror = Mirror(database)
    with mirror.feed() as feed:
        database.run("UPDATE orders SET n = 1")
        eventually(lambda: mirror.take(feed)[1], "the change is told")
        purge(database)
        database.run("UPDATE orders SET n = 2")
        eventually(lambda: mirror.take(feed)[1], "what is read already may be purged")
        database.run("RESET MASTER", "UPDATE orders SET n = 3")
        eventually(lambda: broke_or_gone(mirror, feed), "the log that began anew is noticed")
    assert broken(mirror)


def broke_or_gone(mirror: Mirror, feed: Any) -> bool:
    """Whether a feed has ended, by a break or as a lost connection, and told nothing in its place."""
    try:
        found, transactions = mirror.take(feed)
    except Unreachable:
        return True
    assert not transactions
    return found is not None


def test_another_server_behind_the_same_url_is_named(shop: Callable[..., Database]) -> None:
    """Its tables and binlogs have the same names."""
    first, second = shop(), shop(server_id="8")
    mirror = Mirror(first)
    moved = Mirror(second)
    moved.position, moved.schemas, moved.state = mirror.position, mirror.schemas, mirror.state
    assert "another server" in broken(moved)


def test_a_gtid_that_is_left_out_is_a_break(shop: Callable[..., Database]) -> None:
    """Transactions of one domain count up by ones; another domain counts for itself."""
    database = shop()
    mirror = Mirror(database)
    database.run("SET gtid_domain_id = 5", "UPDATE orders SET n = 1", "UPDATE orders SET n = 2")
    assert mirror.catch_up() is None
    database.run("SET gtid_seq_no = 1000", "UPDATE orders SET n = 3")
    assert "after GTID 0-7-" in broken(mirror)


def test_an_incident_is_a_break(shop: Callable[..., Database]) -> None:
    """The server says itself that its binlog lacks what a table without transactions has."""
    database = shop(max_binlog_stmt_cache_size="4096", binlog_stmt_cache_size="4096")
    database.run("CREATE TABLE isam (id int PRIMARY KEY, t longtext) ENGINE = MyISAM")
    mirror = Mirror(database)
    with pytest.raises(Exception, match="cache"):
        database.run("INSERT INTO isam SELECT seq, repeat('x', 1000) FROM seq_1_to_500")
    assert "lacks changes" in broken(mirror)


def test_a_server_that_stops_in_order_is_followed_on(shop: Callable[..., Database]) -> None:
    """The feed ends as a lost connection; the next goes on where it was."""
    database = shop()
    mirror = Mirror(database)
    with mirror.feed() as feed:
        database.run("UPDATE orders SET n = 1")
        eventually(lambda: mirror.take(feed)[1], "the change is told")
        database.server.stop()
        with pytest.raises(Unreachable):
            eventually(lambda: mirror.take(feed)[0], "the server is gone")
    database.server.start()
    database.run("UPDATE orders SET n = 2")
    assert mirror.catch_up() is None
    mirror.prove()


def test_a_server_that_dies_is_followed_on_if_it_forgets_nothing(shop: Callable[..., Database]) -> None:
    """With logs that are written at each commit, what the binlog has is what the tables have."""
    database = shop(**SAFE)
    mirror = Mirror(database)
    for number in range(3):
        database.run(f"UPDATE orders SET n = {number + 1}")
        database.server.crash()
        database.server.start()
        database.run("DELETE FROM orders WHERE id = (SELECT min(id) FROM orders)")
        assert mirror.catch_up() is None
    mirror.prove()


def test_a_server_that_dies_and_may_have_forgotten_is_read_anew(shop: Callable[..., Database]) -> None:
    """Its tables may lack what its binlog has told."""
    database = shop(innodb_flush_log_at_trx_commit="0", sync_binlog="0")
    mirror = Mirror(database)
    database.run("UPDATE orders SET n = 1")
    assert mirror.catch_up() is None
    database.server.crash()
    database.server.start()
    database.run("UPDATE orders SET n = 2 WHERE id = 1")
    assert "died" in broken(mirror)


def test_a_server_without_binlog_is_refused_and_one_that_lost_it_breaks(shop: Callable[..., Database]) -> None:
    """Nothing can be followed there, and it is said what to set."""
    database = shop()
    mirror = Mirror(database)
    database.server.stop()
    database.server.settings = {k: v for k, v in database.server.settings.items() if k != "log_bin"} | {
        "skip_log_bin": ""
    }
    database.server.start()
    found = mirror.catch_up()
    assert isinstance(found, Break)
    assert "keeps no binlog" in found.why
    with pytest.raises(Refused, match="log_bin is off"), mirror.source.baseline():
        pass


@pytest.mark.parametrize(
    "settings", [{"binlog_ignore_db": "shop"}, {"binlog_do_db": "other"}, {"binlog_do_db": "other,more"}]
)
def test_a_server_that_hides_the_database_since_it_was_started_anew(
    shop: Callable[..., Database], settings: dict[str, str]
) -> None:
    """Its binlog is the same one and goes on, without what happens here: a break, and no snapshot to go on from."""
    database = shop()
    mirror = Mirror(database)
    database.server.stop()
    own = {**database.server.settings}
    database.server.settings |= settings
    database.server.start()
    database.run("UPDATE orders SET n = 1")
    found = mirror.catch_up()
    assert found is not None
    assert "leaves shop out of its binlog" in found.why
    with pytest.raises(Refused, match="leaves shop out"):
        mirror.read_anew()
    database.server.stop()
    database.server.settings = own
    database.server.start()
    mirror.read_anew()
    database.run("UPDATE orders SET n = 2")
    assert mirror.catch_up() is None
    mirror.prove()


def test_a_server_that_has_become_a_replica_and_does_not_tell_so(shop: Callable[..., Database]) -> None:
    """What it replicates is not in its binlog: a break, until it is a replica no more."""
    primary, database = shop(), shop(server_id="8")
    mirror = Mirror(database)
    database.run(f"CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={primary.server.port}, MASTER_USER='root'")
    found = mirror.catch_up()
    assert found is not None
    assert "log_slave_updates" in found.why
    database.run("RESET SLAVE ALL")
    assert mirror.catch_up() is None
