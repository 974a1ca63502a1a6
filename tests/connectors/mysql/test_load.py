"""Followers and servers that die at any moment under load: no change is lost, and none is told twice."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pymysql
import pytest

from holdfast.core.feed import Moved
from holdfast.errors import Unreachable
from tests.connectors.mysql.following import Mirror
from tests.mariadb_server import Database, Server

TABLES = (
    "CREATE TABLE counters (id int PRIMARY KEY, n int NOT NULL)",
    "CREATE TABLE orders (id bigint AUTO_INCREMENT PRIMARY KEY, tenant int, note varchar(200))",
    "INSERT INTO counters SELECT seq, 0 FROM seq_1_to_4",
    "INSERT INTO orders (tenant, note) SELECT seq % 4, concat('note ', seq) FROM seq_1_to_500",
)
CLIENTS = 3


@contextmanager
def traded(database: Database) -> Iterator[None]:
    """Applications at work: each transaction moves a counter by one and does something to orders; some roll back."""
    is_over = threading.Event()
    threads = [threading.Thread(target=trade, args=(database, seed, is_over)) for seed in range(CLIENTS)]
    for each in threads:
        each.start()
    try:
        yield
    finally:
        is_over.set()
        for each in threads:
            each.join()


def trade(database: Database, seed: int, is_over: threading.Event) -> None:
    chance = random.Random(seed)
    while not is_over.is_set():
        # The server may be gone, or two clients in each other's way: an application begins again.
        with suppress(pymysql.MySQLError), database.session(autocommit=False) as session, session.cursor() as cursor:
            while not is_over.is_set():
                for statement in one_transaction(chance):
                    cursor.execute(statement)
                if chance.random() < 0.1:
                    session.rollback()
                else:
                    session.commit()
                is_over.wait(chance.random() * 0.01)


def one_transaction(chance: random.Random) -> Iterator[str]:
    yield f"UPDATE counters SET n = n + 1 WHERE id = {chance.randint(1, 4)}"
    id_, act = chance.randint(1, 700), chance.random()
    if act < 0.3:
        yield f"UPDATE orders SET note = left(concat(note, '.'), 150) WHERE id = {id_}"
    elif act < 0.7:
        yield f"INSERT INTO orders (tenant, note) VALUES ({chance.randint(0, 3)}, 'new'), (9, NULL)"
    elif act < 0.9:
        yield f"DELETE FROM orders WHERE id = {id_}"
    elif act < 0.95:
        yield f"UPDATE orders SET tenant = 1 - tenant WHERE id BETWEEN {id_} AND {id_ + 200}"
    else:
        yield f"UPDATE orders SET id = id + 1000000 * {chance.randint(1, 900)} WHERE id = {id_}"


def nothing_lost_nothing_twice(mirror: Mirror) -> None:
    """Each counter went up by ones to where it is; that every change fits what was there is looked at all the time."""
    assert mirror.catch_up() is None
    assert mirror.breaks == []
    told: dict[object, list[object]] = {}
    for _, row in mirror.records("counters"):
        told.setdefault(row["id"], []).append(row["n"])
    for id_, last in mirror.database.rows("SELECT id, n FROM counters"):
        assert told.get(id_, []) == list(range(1, last + 1))
    mirror.prove()


def abandon(mirror: Mirror, chance: random.Random) -> None:
    """Follow for a while, and be gone in the middle of it: what was not whole was never kept."""
    with mirror.feed() as feed:
        for _ in range(chance.randint(0, 4)):
            mirror.take(feed, chance.random() * 0.3)
        for each in feed.read(chance.random() * 0.4):
            if chance.random() < 0.3 or isinstance(each, Moved):
                return


@pytest.mark.parametrize("seed", [1, 2])
def test_a_follower_gone_at_any_moment_loses_and_repeats_nothing(mariadb: Database, seed: int) -> None:
    """Gone again and again under load; the next goes on from the position that was kept last."""
    mariadb.run(*TABLES)
    mirror, chance = Mirror(mariadb), random.Random(seed)
    with traded(mariadb):
        for _ in range(8):
            abandon(mirror, chance)
    nothing_lost_nothing_twice(mirror)
    assert mirror.transactions > 100


def test_a_snapshot_under_load_ends_exactly_where_its_changes_begin(mariadb: Database) -> None:
    """Taken again and again while applications write: each comes to the same."""
    mariadb.run(*TABLES)
    with traded(mariadb):
        mirrors = [Mirror(mariadb, f"mirror {number}") for number in range(4)]
    for mirror in mirrors:
        assert mirror.catch_up() is None
        mirror.prove()


@pytest.mark.parametrize("seed", [1])
def test_a_server_that_crashes_at_any_moment_is_followed_on(mariadb_servers: Callable[..., Server], seed: int) -> None:
    """Crashed and started again under load: the feed ends as a lost connection, and the next goes on."""
    server = mariadb_servers(innodb_flush_log_at_trx_commit="1", sync_binlog="1")
    with server.database() as database:
        database.run(*TABLES)
        mirror, chance = Mirror(database), random.Random(seed)
        for _ in range(3):
            with traded(database), suppress(Unreachable), mirror.feed() as feed:
                crash = threading.Timer(chance.uniform(0.3, 1.5), server.crash)
                crash.start()
                while crash.is_alive():
                    mirror.take(feed, 0.2)
            crash.join()
            server.start()
        nothing_lost_nothing_twice(mirror)
        assert mirror.transactions > 50
