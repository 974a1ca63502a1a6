"""A replica that becomes the primary: with `position=gtid` following goes on there, if it proves to be the same log."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from holdfast.connectors.mysql.follower import MysqlChanges
from tests.connectors.mysql.following import Mirror
from tests.mariadb_server import Database, Server
from tests.waiting import eventually

TABLES = ("CREATE TABLE orders (id int PRIMARY KEY, n int)", "INSERT INTO orders SELECT seq, 0 FROM seq_1_to_50")


@pytest.fixture
def pair(mariadb_servers: Callable[..., Server]) -> tuple[Database, Database]:
    """A primary and its replica, which writes a binlog of its own."""
    primary = mariadb_servers(gtid_strict_mode="1")
    replica = mariadb_servers(server_id="8", log_slave_updates="1", gtid_strict_mode="1")
    Database(replica, "mysql").run(
        f"CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={primary.port}, MASTER_USER='root',"
        " MASTER_USE_GTID=slave_pos, MASTER_CONNECT_RETRY=1",
        "START SLAVE",
    )
    Database(primary, "mysql").run("CREATE DATABASE shop")
    shop, copy = Database(primary, "shop"), Database(replica, "shop")
    shop.run(*TABLES)
    catch_up(shop, copy)
    return shop, copy


def catch_up(primary: Database, replica: Database) -> None:
    """Wait until the replica has all that the primary has."""
    main = Database(replica.server, "mysql")
    wanted = primary.value("SELECT @@gtid_binlog_pos")
    eventually(lambda: main.value("SELECT @@gtid_binlog_pos") == wanted, "the replica has caught up")


def follow_there(mirror: Mirror, replica: Database, option: str = "?position=gtid") -> None:
    """Name the other server from now on."""
    mirror.database = replica
    mirror.source = MysqlChanges(f"{replica.url}{option}", "mirror")


def test_following_goes_on_at_the_replica_that_took_over(pair: tuple[Database, Database]) -> None:
    """Nothing is lost, nothing told twice, and after it the position is the other server's own."""
    primary, replica = pair
    mirror = Mirror(primary)
    primary.run("UPDATE orders SET n = 1 WHERE id < 20", "DELETE FROM orders WHERE id = 3")
    assert mirror.catch_up() is None
    primary.run("INSERT INTO orders VALUES (100, 1)")
    catch_up(primary, replica)
    primary.server.crash()
    replica.run("STOP SLAVE", "INSERT INTO orders VALUES (101, 1)", "UPDATE orders SET n = 7")
    follow_there(mirror, replica)
    assert mirror.catch_up() is None
    assert ", server 8," in mirror.position
    replica.run("DELETE FROM orders WHERE id = 101")
    assert mirror.catch_up() is None
    mirror.prove()


def test_a_replica_that_lacks_what_was_read_is_not_believed(pair: tuple[Database, Database]) -> None:
    """What was told never happened there: it has other transactions under those GTIDs, or none."""
    primary, replica = pair
    mirror = Mirror(primary)
    replica.run("STOP SLAVE")
    primary.run("UPDATE orders SET n = 1", "UPDATE orders SET n = 2")
    assert mirror.catch_up() is None
    replica.run("UPDATE orders SET n = 3", "UPDATE orders SET n = 4", "UPDATE orders SET n = 5")
    follow_there(mirror, replica)
    found = mirror.catch_up()
    assert found is not None
    assert "GTID" in found.why
    mirror.read_anew()
    mirror.prove()


def test_a_replica_that_is_behind_is_not_believed(pair: tuple[Database, Database]) -> None:
    """It does not have the last transaction that was read."""
    primary, replica = pair
    mirror = Mirror(primary)
    replica.run("STOP SLAVE")
    primary.run("UPDATE orders SET n = 1", "UPDATE orders SET n = 2")
    assert mirror.catch_up() is None
    follow_there(mirror, replica)
    found = mirror.catch_up()
    assert found is not None
    assert "GTID" in found.why


def test_without_the_option_another_server_is_a_break(pair: tuple[Database, Database]) -> None:
    """Whoever did not ask for it is told, and reads anew."""
    primary, replica = pair
    mirror = Mirror(primary)
    primary.run("UPDATE orders SET n = 1")
    assert mirror.catch_up() is None
    catch_up(primary, replica)
    follow_there(mirror, replica, "")
    found = mirror.catch_up()
    assert found is not None
    assert "another server" in found.why


def test_before_any_transaction_was_read_nothing_proves_the_other_server(pair: tuple[Database, Database]) -> None:
    """A snapshot alone does not say what the last transaction was."""
    primary, replica = pair
    mirror = Mirror(primary)
    follow_there(mirror, replica)
    found = mirror.catch_up()
    assert found is not None
    assert "no transaction was read" in found.why
    mirror.read_anew()
    mirror.prove()
