"""What stands in the way is found before anything is touched, and the statement that goes with it mends it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from holdfast.connectors.mysql.check import Kind, check
from holdfast.connectors.mysql.follower import MysqlChanges
from holdfast.core.feed import Obstacle
from holdfast.errors import Refused
from tests.connectors.mysql.following import Mirror
from tests.mariadb_server import Database, Server

SAFE = {"innodb_flush_log_at_trx_commit": "1", "sync_binlog": "1"}


def obstacles(url: str, kind: Kind) -> list[Obstacle]:
    return [each for each in check(url) if each.kind is kind]


def mend(database: Database, obstacle: Obstacle) -> None:
    """Do what the obstacle says, as an administrator."""
    database.run(*obstacle.mend.split(";\n"))


def assert_mended(database: Database, kind: Kind, *, blocking: bool) -> str:
    """One obstacle of that kind is found; after its statement none is. Its fact."""
    (found,) = obstacles(database.url, kind)
    assert found.is_blocking is blocking
    mend(database, found)
    assert obstacles(database.url, kind) == []
    return found.fact


@pytest.fixture
def server(mariadb_servers: Callable[..., Server]) -> Callable[..., Database]:
    """A server set up otherwise, and a database on it."""

    def start(**settings: str) -> Database:
        database = Database(mariadb_servers(**settings), "mysql")
        database.run("CREATE DATABASE shop")
        return Database(database.server, "shop")

    return start


def test_a_database_in_order_has_nothing_in_the_way(server: Callable[..., Database]) -> None:
    """A keyed table, a log that outlives a crash: the list is empty."""
    database = server(**SAFE)
    database.run("CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t VALUES (1, 'x')")
    assert check(database.url) == []


def test_a_view_that_can_not_be_used_is_told(mariadb: Database) -> None:
    """Its table is gone: a restore can't make it."""
    mariadb.run("CREATE TABLE t (id int)", "CREATE VIEW v AS SELECT id FROM t", "DROP TABLE t")
    assert "The definition of v is kept" in assert_mended(mariadb, Kind.VIEW, blocking=False)


def test_checking_changes_nothing(mariadb: Database) -> None:
    """The binlog is where it was."""
    mariadb.run("CREATE TABLE t (v text)")
    before = mariadb.rows("SHOW MASTER STATUS")
    check(mariadb.url)
    assert mariadb.rows("SHOW MASTER STATUS") == before


def test_a_server_without_binlog_is_named(server: Callable[..., Database]) -> None:
    """That is set in a file: the setting is named, and that a restart is needed."""
    (found,) = obstacles(server(skip_log_bin="").url, Kind.LOG)
    assert found.is_blocking
    assert "log_bin" in found.mend
    assert "restart" in found.fact


def test_settings_of_the_binlog_are_found_and_mended(server: Callable[..., Database]) -> None:
    """Format, images, age, and what a crash may lose."""
    database = server(binlog_format="MIXED", binlog_row_image="MINIMAL", binlog_expire_logs_seconds="3600")
    assert "MIXED" in assert_mended(database, Kind.FORMAT, blocking=True)
    assert "MINIMAL" in assert_mended(database, Kind.IMAGE, blocking=True)
    assert "3,600" in assert_mended(database, Kind.EXPIRE, blocking=False)
    assert "sync_binlog" in assert_mended(database, Kind.FORGETS, blocking=False)


@pytest.mark.parametrize(
    ("settings", "blocking"),
    [
        ({"binlog_do_db": "other"}, True),
        ({"binlog_ignore_db": "shop"}, True),
        ({"binlog_ignore_db": "other"}, False),
        ({"binlog_do_db": "shop"}, False),
    ],
)
def test_filters_of_the_binlog_are_named(
    server: Callable[..., Database], settings: dict[str, str], blocking: bool
) -> None:
    """One that hides this database is blocking; any other still hides what is done to it from other databases."""
    database = server(**settings)
    (found,) = obstacles(database.url, Kind.FILTER)
    assert found.is_blocking is blocking
    if not blocking:
        database.run("CREATE TABLE orders (id int PRIMARY KEY)")
        with Mirror(database).feed() as feed:
            assert feed.unfollowed == {"mysql:schema": found.fact}


def test_a_replica_that_tells_nothing_is_not_followed(server: Callable[..., Database]) -> None:
    """Without log_slave_updates its binlog lacks what it replicates; with it, it may be followed."""
    primary = server()
    replica = server(server_id="8")
    start = f"CHANGE MASTER TO MASTER_HOST='127.0.0.1', MASTER_PORT={primary.server.port}, MASTER_USER='root'"
    replica.run(start)
    (found,) = obstacles(replica.url, Kind.REPLICA)
    assert found.is_blocking
    assert obstacles(primary.url, Kind.REPLICA) == []
    telling = server(server_id="9", log_slave_updates="1")
    telling.run(start)
    assert obstacles(telling.url, Kind.REPLICA) == []


def test_tables_that_can_t_be_followed_are_named(mariadb: Database) -> None:
    """No key, no transactions, versions by number: none is blocking, each says what it costs."""
    mariadb.run(
        "CREATE TABLE fine (id int PRIMARY KEY)",
        "CREATE TABLE plain (a int, UNIQUE (a))",
        "CREATE TABLE isam (id int PRIMARY KEY) ENGINE = MyISAM",
        "CREATE TABLE aria (id int PRIMARY KEY) ENGINE = Aria",
        "CREATE TABLE numbered (id int PRIMARY KEY, a bigint unsigned GENERATED ALWAYS AS ROW START, "
        "b bigint unsigned GENERATED ALWAYS AS ROW END, PERIOD FOR SYSTEM_TIME (a, b)) WITH SYSTEM VERSIONING",
    )
    found = [each for each in check(mariadb.url) if not each.is_blocking]
    assert [each.fact.split()[0] for each in found if each.kind is Kind.NO_KEY] == ["plain"]
    assert [each.fact.split()[0] for each in found if each.kind is Kind.ENGINE] == ["aria", "isam"]
    assert ["numbered" in each.fact for each in found if each.kind is Kind.VERSIONED] == [True]
    assert_mended_all(mariadb, Kind.ENGINE)


def assert_mended_all(database: Database, kind: Kind) -> None:
    """What all of that kind say is done; none is left."""
    for each in obstacles(database.url, kind):
        mend(database, each)
    assert obstacles(database.url, kind) == []


def test_rows_that_the_server_deletes_itself_are_named(mariadb: Database) -> None:
    """A reference that cascades, one that doesn't, and one below another."""
    mariadb.run(
        "CREATE TABLE a (id int PRIMARY KEY)",
        "CREATE TABLE b (id int PRIMARY KEY, a int, FOREIGN KEY (a) REFERENCES a (id) ON DELETE CASCADE)",
        "CREATE TABLE c (id int PRIMARY KEY, b int, FOREIGN KEY (b) REFERENCES b (id) ON DELETE SET NULL)",
        "CREATE TABLE d (id int PRIMARY KEY, a int, FOREIGN KEY (a) REFERENCES a (id))",
    )
    facts = [each.fact for each in obstacles(mariadb.url, Kind.CASCADE)]
    assert [fact.split(" go or")[0] for fact in facts] == ["rows of b", "rows of c"]
    assert "those of a, b" in facts[1]


def test_rights_that_are_missing_are_named_each_with_its_grant(mariadb: Database) -> None:
    """A user who may only connect and read one table: what check says, done by an administrator, is enough."""
    mariadb.run("CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE hidden (id int PRIMARY KEY)")
    url = mariadb.user("few", "SELECT ON {db}.t")
    found = obstacles(url, Kind.RIGHTS)
    assert any(each.is_blocking and "REPLICATION SLAVE" in each.mend for each in found)
    assert_granted(mariadb, url)


def test_what_check_asks_for_is_enough_and_no_more_than_needed(mariadb: Database) -> None:
    """A user without any right, given exactly what check names, captures and follows all of it."""
    mariadb.run(
        "CREATE TABLE t (id int PRIMARY KEY)",
        "CREATE TABLE isam (id int PRIMARY KEY) ENGINE = MyISAM",
        "CREATE VIEW v AS SELECT id FROM t",
        "CREATE TRIGGER g BEFORE INSERT ON t FOR EACH ROW SET @a = 1",
        "CREATE PROCEDURE p() SELECT 1",
        "CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO SELECT 1",
        "CREATE SEQUENCE s",
    )
    url = mariadb.user("least", "USAGE ON *.*", "SELECT ON {db}.t")
    blocking = [each for each in obstacles(url, Kind.RIGHTS) if each.is_blocking]
    assert blocking
    with pytest.raises(Refused, match="lacks"), MysqlChanges(url, "least").baseline():
        pass
    for each in blocking:
        mariadb.run(*each.mend.split("; "))
    assert not [each for each in obstacles(url, Kind.RIGHTS) if each.is_blocking]
    follow_all(mariadb, url)
    assert_granted(mariadb, url)
    follow_all(mariadb, url)
    granted = {line.split(" ON ")[0] for (line,) in mariadb.rows(f"SHOW GRANTS FOR '{mariadb.name}_least'@'%'")}
    assert "GRANT RELOAD, REPLICATION SLAVE, BINLOG MONITOR" in granted
    assert not [line for line in granted if "SUPER" in line or "ALL" in line or "INSERT" in line]


def follow_all(database: Database, url: str) -> None:
    """Capture as that user, and follow a change."""
    mirror = Mirror(database, "least", url)
    database.run("INSERT INTO t SELECT coalesce(max(id), 0) + 1 FROM t")
    assert mirror.catch_up() is None
    assert mirror.transactions == 1


def assert_granted(database: Database, url: str) -> None:
    """Everything that check says of rights is granted; then it says nothing of them any more."""
    for _ in range(2):  # what can't be seen at first may need something too
        for each in obstacles(url, Kind.RIGHTS):
            database.run(*each.mend.split("; "))
    assert obstacles(url, Kind.RIGHTS) == []


def test_a_user_who_may_switch_the_format_is_named(mariadb: Database) -> None:
    """What such a session writes as statements is a break, and what it hides is told to nobody."""
    mariadb.user("switcher", "BINLOG ADMIN ON *.*")
    (found,) = obstacles(mariadb.url, Kind.SWITCHING)
    assert f"{mariadb.name}_switcher" in found.fact
    assert not found.is_blocking


def test_following_by_gtid_asks_for_strict_gtids(mariadb: Database) -> None:
    """Only where the URL says that another server may go on."""
    assert obstacles(mariadb.url, Kind.GTID) == []
    (found,) = obstacles(f"{mariadb.url}?position=gtid", Kind.GTID)
    assert not found.is_blocking
