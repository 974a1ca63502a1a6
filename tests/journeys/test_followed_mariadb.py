"""A MariaDB database followed: whatever the application does, the vault holds the same, value by value."""

from __future__ import annotations

import random
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pymysql
import pytest

from holdfast.vault.heal import catch_up
from tests.connectors.mysql.edges import EDGES
from tests.journeys.follower import MariaHouse
from tests.journeys.test_follow_crashes import Process, nothing_lost_nothing_twice

ORDERS = (
    "CREATE TABLE orders (id int PRIMARY KEY, tenant int NOT NULL, total decimal(12,2), note text)",
    "CREATE TABLE `lines` (orders int, line int, item varchar(80), PRIMARY KEY (orders, line))",
)
FILL = (
    "INSERT INTO orders SELECT seq, seq % 10, seq * 1.10, concat('note ', seq) FROM seq_1_to_500",
    "INSERT INTO `lines` SELECT i.seq, j.seq, 'item' FROM seq_1_to_100 i, seq_1_to_3 j",
)


@pytest.fixture
def shop(maria: MariaHouse) -> MariaHouse:
    """A shop with orders, followed from here on."""
    maria.database.run(*ORDERS, *FILL)
    maria.catch_up()
    return maria


def test_inserts_updates_deletes_and_changed_keys_arrive_as_they_happen(shop: MariaHouse) -> None:
    """After each of them, and all of them in one transaction, the vault equals the database."""
    with shop.at_work():
        shop.database.run(
            "INSERT INTO orders VALUES (1001, 1, NULL, ''), (1002, 1, -0.01, NULL)",
            "UPDATE orders SET total = total + 1, note = NULL WHERE id <= 20",
            "UPDATE orders SET id = -id WHERE id BETWEEN 30 AND 40",
            "DELETE FROM orders WHERE id BETWEEN 50 AND 60",
            "UPDATE `lines` SET line = line + 10 WHERE orders = 7",
            "DELETE FROM `lines` WHERE orders = 8",
            "REPLACE INTO orders VALUES (1, 3, 7, 'replaced')",
            "INSERT INTO orders VALUES (2, 3, 7, 'x') ON DUPLICATE KEY UPDATE note = 'turned'",
        )
        shop.safe()
        with shop.database.session(autocommit=False) as application, application.cursor() as cursor:
            for statement in (
                "UPDATE orders SET id = id + 100000",
                "UPDATE orders SET id = id - 100000",
                "DELETE FROM orders WHERE id = 100",
                "INSERT INTO orders VALUES (100, 9, 1, 'again')",
                "INSERT INTO orders VALUES (2000, 9, 1, 'gone at once')",
                "DELETE FROM orders WHERE id = 2000",
                "UPDATE `lines` SET item = 'x' WHERE orders < 5",
            ):
                cursor.execute(statement)
            application.commit()
        shop.safe()
    assert shop.reasons == ["no changes were followed before"]
    shop.prove()


def test_what_was_rolled_back_never_arrives(shop: MariaHouse) -> None:
    """Transactions and savepoints that were rolled back leave nothing; what stands around them does."""
    with shop.database.session(autocommit=False) as application, application.cursor() as cursor:
        cursor.execute("INSERT INTO orders VALUES (3001, 1, 1, 'stays')")
        cursor.execute("SAVEPOINT a")
        cursor.execute("UPDATE orders SET note = 'never'")
        cursor.execute("ROLLBACK TO a")
        cursor.execute("UPDATE orders SET note = 'kept' WHERE id = 1")
        application.commit()
        cursor.execute("DELETE FROM orders")
        application.rollback()
    shop.catch_up()
    assert shop.held("orders", where="id = 1")[0][3] == "kept"
    shop.prove()


def test_a_prepared_transaction_counts_from_its_commit(shop: MariaHouse) -> None:
    """While it is prepared nothing of it is told; then all of it; one that is rolled back never."""
    for name, change in (("yes", "UPDATE orders SET note = 'yes'"), ("no", "DELETE FROM `lines`")):
        xid = f"'{shop.database.name}-{name}'"
        shop.database.run(f"XA START {xid}", change, f"XA END {xid}", f"XA PREPARE {xid}")
    shop.catch_up()
    assert shop.held("orders", where="id = 1")[0][3] == "note 1"
    shop.database.run(f"XA COMMIT '{shop.database.name}-yes'", f"XA ROLLBACK '{shop.database.name}-no'")
    shop.catch_up()
    assert shop.held("orders", where="id = 1")[0][3] == "yes"
    shop.prove()


def test_a_transaction_over_several_tables_is_one_commit_of_the_vault(shop: MariaHouse) -> None:
    """No state of the vault ever has one half of a transaction of the source."""
    with shop.at_work():
        for number in range(12):
            with shop.database.session(autocommit=False) as application, application.cursor() as cursor:
                cursor.execute(f"UPDATE orders SET tenant = {number} WHERE id = 1")
                cursor.execute(f"UPDATE `lines` SET item = '{number}' WHERE orders = 1")
                application.commit()
        shop.safe()
    for number in [entry.number for entry in shop.open().log()][1:]:
        (order,) = shop.held("orders", number, "id = 1")
        assert {row[2] for row in shop.held("lines", number, "orders = 1")} == {str(order[1])}
    shop.prove()


def test_records_that_a_foreign_key_takes_with_it_are_gone(maria: MariaHouse) -> None:
    """The server tells no row of a cascade: the copy has it nevertheless, exactly."""
    maria.database.run(
        "CREATE TABLE p (id int PRIMARY KEY)",
        "CREATE TABLE c (id int PRIMARY KEY, p int, FOREIGN KEY (p) REFERENCES p (id) ON DELETE CASCADE)",
        "CREATE TABLE n (id int PRIMARY KEY, c int, FOREIGN KEY (c) REFERENCES c (id) ON DELETE SET NULL)",
        "INSERT INTO p SELECT seq FROM seq_1_to_20",
        "INSERT INTO c SELECT seq, 1 + seq % 20 FROM seq_1_to_100",
        "INSERT INTO n SELECT seq, seq FROM seq_1_to_100",
    )
    maria.catch_up()
    maria.database.run("DELETE FROM p WHERE id < 5", "UPDATE n SET id = id + 1000 WHERE id > 90")
    maria.catch_up()
    assert maria.database.value("SELECT count(*) FROM n WHERE c IS NULL") > 0
    maria.catch_up()
    differing = {each.split(":")[0] for each in maria.differing()}
    named = {word.split(":")[0] for word in maria.gaps()}
    assert differing <= named, "what is not exact is named as a gap"
    maria.open().capture()
    maria.prove()


def test_any_name_is_followed(maria: MariaHouse) -> None:
    """Quoted, non-Latin, reserved and very long names of tables and columns."""
    long = "n" * 64
    maria.database.run(
        "CREATE TABLE `Ta``ble; --` (`co l` text, `ключ` int PRIMARY KEY, `select` text, `%s` text)",
        "CREATE TABLE `Ж` (`量` varchar(80) PRIMARY KEY, `é.'\"` text)",
        f"CREATE TABLE `{long}` (`{long}` int PRIMARY KEY)",
    )
    maria.catch_up()
    maria.database.run(
        "INSERT INTO `Ta``ble; --` VALUES ('a', 1, 's', repeat(md5('x'), 400)), ('b', 2, 's', '')",
        "UPDATE `Ta``ble; --` SET `co l` = '%s'",
        "INSERT INTO `Ж` VALUES ('鍵', '😀'), ('', NULL)",
        "UPDATE `Ж` SET `量` = '别' WHERE `量` = ''",
        f"INSERT INTO `{long}` VALUES (1)",
    )
    maria.catch_up()
    assert len(maria.reasons) == 1
    maria.prove()


def _large(maria: MariaHouse, rows: int) -> None:
    maria.database.run("CREATE TABLE big (id int PRIMARY KEY, v text, n decimal(20,4))")
    maria.database.run("INSERT INTO big SELECT seq, md5(seq), seq FROM seq_1_to_1000")
    maria.catch_up()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with maria.database.session(autocommit=False) as application, application.cursor() as cursor:
        cursor.execute(f"INSERT INTO big SELECT seq, md5(seq), seq FROM seq_1001_to_{rows}")
        cursor.execute("UPDATE big SET v = repeat(v, 4) WHERE id % 2 = 0")
        cursor.execute("DELETE FROM big WHERE id % 7 = 0")
        application.commit()
    maria.catch_up()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert len(maria.reasons) == 1
    assert maria.kinds == ["snapshot", "changes", "rolled up"], "no commit ends in the middle of a transaction"
    assert grown < 250_000, f"{grown:,} kB more"
    maria.prove()


def test_a_transaction_of_a_hundred_thousand_rows_takes_bounded_memory(maria: MariaHouse) -> None:
    """It arrives whole, in one commit, through sealed scratch."""
    _large(maria, 100_000)


@pytest.mark.soak
def test_a_transaction_of_half_a_million_rows_takes_no_more_memory(maria: MariaHouse) -> None:
    """The same bound as for a fifth of it."""
    _large(maria, 500_000)


@contextmanager
def traded(maria: MariaHouse) -> Iterator[threading.Event]:
    """Two sessions that trade until the block ends, whatever the server does meanwhile."""
    stop, is_trading = threading.Event(), threading.Event()

    def trade(seed: int) -> None:
        chance = random.Random(seed)
        while not stop.is_set():
            with (
                suppress(pymysql.MySQLError),
                maria.database.session(autocommit=False) as session,
                session.cursor() as cursor,
            ):
                while not stop.wait(0.004):
                    cursor.execute("UPDATE counters SET n = n + 1 WHERE id = %s", (chance.randint(1, 8),))
                    cursor.execute(chance.choice(_ACTS), (chance.randint(1, 600),))
                    session.commit()
                    is_trading.set()

    threads = [threading.Thread(target=trade, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    assert is_trading.wait(60)
    try:
        yield stop
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)


_ACTS = (
    "UPDATE trades SET note = concat(note, '.') WHERE id = %s",
    "INSERT INTO trades (tenant, note) VALUES (%s, 'new')",
    "DELETE FROM trades WHERE id = %s",
)
COUNTED = (
    "CREATE TABLE trades (id bigint AUTO_INCREMENT PRIMARY KEY, tenant int, note text)",
    "CREATE TABLE counters (id int PRIMARY KEY, n bigint)",
    "INSERT INTO counters SELECT seq, 0 FROM seq_1_to_8",
    "INSERT INTO trades (tenant, note) SELECT seq % 8 + 1, concat('note ', seq) FROM seq_1_to_400",
)


def _kill_the_follower(maria: MariaHouse, seed: int, kills: int) -> None:
    maria.database.run(*COUNTED)
    maria.catch_up()
    chance = random.Random(seed)
    with traded(maria):
        for _ in range(kills):
            follower = Process(maria)
            follower.speaks()
            follower.lives(chance.uniform(0, 1.2))
            follower.kill()
    maria.catch_up()
    assert maria.reasons == ["no changes were followed before"]
    assert not [step for step in follower.steps() if step.get("kind") == "snapshot"]
    # Killed between two sites it leaves one without the end of its journal, which is named until heal brings it.
    catch_up(maria.open().vault)
    nothing_lost_nothing_twice(maria)


def test_a_follower_killed_at_any_moment_loses_and_repeats_nothing(maria: MariaHouse) -> None:
    """Killed again and again under load; whoever goes on needs no new snapshot."""
    _kill_the_follower(maria, 1, 3)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 22))
def test_twenty_more_followers_killed(maria: MariaHouse, seed: int) -> None:
    """The same for longer, at other moments."""
    _kill_the_follower(maria, seed, 10)


def test_every_type_is_told_by_the_stream_as_the_snapshot_tells_it(maria: MariaHouse) -> None:
    """Each edge value inserted, then put in the place of another: digests equal those of a new reading."""
    tables = []
    for number, (declared, (_, values)) in enumerate(EDGES.items()):
        # Values beyond the canonical type stand there from the beginning: their column is mixed then, and no break.
        maria.database.run(
            "SET sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00'",
            f"CREATE TABLE t{number} (id int PRIMARY KEY, v {declared}, w text)",
            *(f"INSERT INTO t{number} VALUES ({-n}, {text}, '')" for n, text in enumerate(values, 1)),
        )
        tables.append((number, values))
    maria.catch_up()
    for number, values in tables:
        turned = [*values[1:], values[0]]
        maria.database.run(
            "SET sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00'",
            *(f"INSERT INTO t{number} VALUES ({n}, {text}, 'x')" for n, text in enumerate(values, 1)),
            *(f"UPDATE t{number} SET v = {text} WHERE id = {-n}" for n, text in enumerate(turned, 1)),
            f"UPDATE t{number} SET w = 'x' WHERE id = -1",
            f"INSERT INTO t{number} VALUES (0, NULL, NULL)",
        )
    maria.catch_up()
    assert maria.reasons == ["no changes were followed before"]
    maria.prove()
