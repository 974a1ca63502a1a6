"""What waits in the binlog is counted from what is confirmed, and it is said in time that the server will purge it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from holdfast.connectors.mysql.budget import kept_for
from holdfast.connectors.mysql.connection import connect
from holdfast.connectors.mysql.position import Position, parse_position
from holdfast.core.feed import Kept
from tests.connectors.mysql.following import Mirror
from tests.mariadb_server import Database, Server, new_server


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server that purges binlogs after 1,000 seconds."""
    with new_server(binlog_expire_logs_seconds="1000") as found:
        Database(found, "mysql").run("CREATE DATABASE shop", "CREATE TABLE shop.t (id int PRIMARY KEY, v text)")
        yield found


@pytest.fixture
def shop(server: Server) -> Database:
    """Its one database, nothing confirmed of its newest binlog."""
    database = Database(server, "shop")
    database.run("FLUSH LOGS", "DELETE FROM t")
    return database


def kept(database: Database, confirmed: Position) -> Kept:
    with connect(database.url) as connection:
        return kept_for(connection, confirmed)


def test_what_is_behind_grows_until_it_is_confirmed(shop: Database) -> None:
    """Over several files too; confirmed, next to nothing is left: the server notes that it began a file."""
    mirror = Mirror(shop)
    with mirror.feed() as feed:
        shop.run("INSERT INTO t SELECT seq, repeat('x', 100) FROM seq_1_to_1000", "FLUSH LOGS", "DELETE FROM t")
        assert feed.kept is not None
        assert feed.kept.bytes_behind > 200_000
        assert not feed.kept.shortage
    assert mirror.catch_up() is None
    assert kept(shop, parse_position(mirror.position)).bytes_behind < 100


def test_a_file_about_to_go_for_its_age_is_named(shop: Database) -> None:
    """Only one that the server no longer writes to, and only when most of its time is over."""
    mirror = Mirror(shop)
    position = parse_position(mirror.position)
    old = replace(position, begun=position.begun - 900)
    assert kept(shop, old).shortage == ""
    shop.run("FLUSH LOGS", "INSERT INTO t VALUES (1, 'x')")
    assert kept(shop, position).shortage == ""
    assert "purges binlogs older than 1,000 seconds" in kept(shop, old).shortage
    assert "at any moment" in kept(shop, replace(position, begun=position.begun - 2000)).shortage


def test_a_file_that_is_gone_is_named(shop: Database) -> None:
    """What lay in it was told to nobody."""
    gone = replace(parse_position(Mirror(shop).position), file="bin.000000")
    assert "was purged" in kept(shop, gone).shortage
