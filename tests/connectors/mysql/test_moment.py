"""A snapshot is one moment of a server that is being written to, and says which."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pymysql
import pytest

from holdfast.connectors.mysql.reader import MysqlReader, MysqlSnapshot
from holdfast.errors import HoldfastError, Unreachable
from tests.connectors.mysql.test_reader import rows
from tests.mariadb_server import Database, Server
from tests.waiting import eventually

_BANK = (
    "CREATE TABLE account (id int PRIMARY KEY, held bigint NOT NULL, pad char(200) NOT NULL DEFAULT 'x')",
    "INSERT INTO account (id, held) SELECT seq, 1000 FROM seq_1_to_5000",
    "CREATE TABLE audit LIKE account",
    "INSERT INTO audit SELECT * FROM account",
    "CREATE TABLE tally (n int PRIMARY KEY, transfers bigint NOT NULL)",
    "INSERT INTO tally VALUES (1, 0)",
    "CREATE TABLE counted (n bigint PRIMARY KEY)",
)


@contextmanager
def at_work(
    database: Database, work: Callable[[pymysql.cursors.Cursor, int], None], *, workers: int = 2
) -> Iterator[None]:
    """Write without a pause meanwhile, each worker in a session of its own."""
    stop, begun = threading.Event(), threading.Barrier(workers + 1)

    def run(worker: int) -> None:
        with database.session(autocommit=False) as connection, connection.cursor() as cursor:
            number = worker
            work(cursor, number)
            begun.wait()
            while not stop.is_set():
                number += workers
                work(cursor, number)

    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(run, worker) for worker in range(workers)]
        begun.wait()
        try:
            yield
        finally:
            stop.set()
        for each in futures:
            each.result()


def transfer(cursor: pymysql.cursors.Cursor, number: int) -> None:
    """Money from one account to another, in both ledgers; and its number, once more where nothing ever goes."""
    one, other = sorted((number * 7919 % 5000 + 1, number * 104_729 % 5000 + 1))
    for ledger in ("account", "audit"):
        cursor.execute(f"UPDATE {ledger} SET held = held - 1 WHERE id = {one}")
        cursor.execute(f"UPDATE {ledger} SET held = held + 1 WHERE id = {other}")
    cursor.execute("UPDATE tally SET transfers = transfers + 1")
    cursor.execute(f"INSERT INTO counted VALUES ({number})")
    cursor.execute("COMMIT")


def ledgers(snapshot: MysqlSnapshot) -> tuple[dict[int, int], dict[int, int], int, int]:
    """Both ledgers, read side by side, and how many transfers each of the others knows of."""
    with ThreadPoolExecutor(2) as pool:
        account, audit = pool.map(lambda name: rows(snapshot, name), ("account", "audit"))
    found = [
        dict(zip(each.column("id").to_pylist(), each.column("held").to_pylist(), strict=True))
        for each in (account, audit)
    ]
    return (
        found[0],
        found[1],
        rows(snapshot, "tally").column("transfers")[0].as_py(),
        rows(snapshot, "counted").num_rows,
    )


def test_money_that_moves_meanwhile_is_neither_lost_nor_made(mariadb: Database) -> None:
    """Several tables through several sessions agree to the last transfer, again and again."""
    mariadb.run(*_BANK)
    seen = set()
    with at_work(mariadb, transfer):
        for _ in range(40):  # two sessions that begin apart are a millisecond apart
            with MysqlReader(mariadb.url).snapshot() as snapshot:
                account, audit, transfers, counted = ledgers(snapshot)
            assert account == audit
            assert sum(account.values()) == 5_000_000
            assert transfers == counted
            seen.add(transfers)
    assert len(seen) > 4


@pytest.mark.parametrize("grants", [(), ("RELOAD ON *.*",)])
def test_the_place_in_the_binlog_is_exact(mariadb: Database, grants: tuple[str, ...]) -> None:
    """With a lock and without: what the binlog has after that place is what the snapshot lacks, no more and no less."""
    mariadb.run(*_BANK)
    url = mariadb.user("reader", "SELECT ON {db}.*", *grants)
    found = []
    with at_work(mariadb, transfer):
        for _ in range(6):
            with MysqlReader(url).snapshot() as snapshot:
                assert bool(snapshot.lock_seconds) == bool(grants)
                found.append((snapshot.place, set(rows(snapshot, "counted").column("n").to_pylist())))
    every = {number for (number,) in mariadb.rows("SELECT n FROM counted")}
    for place, counted in found:
        assert place is not None
        assert place.gtid == mariadb.value(f"SELECT BINLOG_GTID_POS('{place.file}', {place.position})")
        events = mariadb.rows(f"SHOW BINLOG EVENTS IN '{place.file}' FROM {place.position}")
        later = sum(e[2] == "Table_map" and e[5].endswith(f"({mariadb.name}.counted)") for e in events)
        assert counted <= every
        assert later == len(every - counted)
    assert len({place for place, _ in found}) > 3


def test_a_snapshot_stays_what_it_was(mariadb: Database) -> None:
    """Tables that are read later, through other sessions, are of the same moment as those read first."""
    mariadb.run(
        "CREATE TABLE a (n int)", "CREATE TABLE b (n int)", "INSERT INTO a VALUES (1)", "INSERT INTO b VALUES (1)"
    )
    with MysqlReader(mariadb.url).snapshot() as snapshot:
        mariadb.run("INSERT INTO a VALUES (2)", "DELETE FROM b", "CREATE TABLE c (n int)")
        assert rows(snapshot, "a").to_pydict() == {"n": [1]}
        mariadb.run("UPDATE a SET n = 3")
        assert rows(snapshot, "b").to_pydict() == {"n": [1]}
        assert rows(snapshot, "a").to_pydict() == {"n": [1]}
        assert "c" not in snapshot.names


def test_a_snapshot_is_dated_by_the_servers_clock(mariadb: Database) -> None:
    """After all that it holds was committed, and before all that is written later."""
    asked = "SELECT UNIX_TIMESTAMP(SYSDATE(6))"
    before = mariadb.value(asked)
    with MysqlReader(mariadb.url).snapshot() as snapshot:
        assert before < snapshot.taken.timestamp() < mariadb.value(asked)


def test_writers_wait_for_the_lock_and_no_longer(mariadb: Database) -> None:
    """While a snapshot is open everybody writes; only until it is open did they wait, and it says for how long."""
    mariadb.run("CREATE TABLE t (n int PRIMARY KEY)", "CREATE TABLE m (n int) ENGINE=MyISAM")
    with MysqlReader(mariadb.url).snapshot() as snapshot:
        mariadb.run("INSERT INTO t VALUES (1)", "INSERT INTO m VALUES (1)", "CREATE TABLE later (n int)")
        assert 0 < snapshot.lock_seconds < 5


def test_whoever_alters_a_table_waits_for_the_snapshot(mariadb: Database) -> None:
    """It is read as it was, by every session of the moment, and altered afterwards."""
    mariadb.run("CREATE TABLE t (n int)", "INSERT INTO t VALUES (1)")
    waiting = "SELECT 1 FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for table metadata lock%'"
    with ThreadPoolExecutor(1) as pool:
        with MysqlReader(mariadb.url).snapshot() as snapshot:
            altered = pool.submit(mariadb.run, "TRUNCATE t")
            eventually(lambda: mariadb.rows(waiting), "TRUNCATE waits")
            for _ in range(3):
                assert rows(snapshot, "t").num_rows == 1
        altered.result()
    assert mariadb.rows("SELECT n FROM t") == []


def test_a_snapshot_opens_while_tables_are_altered_again_and_again(mariadb: Database) -> None:
    """It is never of a moment in which a table is not what the catalog said."""
    mariadb.run("CREATE TABLE t (n int)", "INSERT INTO t VALUES (0)")

    def alter(cursor: pymysql.cursors.Cursor, number: int) -> None:
        cursor.execute(f"ALTER TABLE t ADD COLUMN c{number} int, ALGORITHM=COPY")
        cursor.execute(f"ALTER TABLE t DROP COLUMN c{number}, ALGORITHM=COPY")
        # Who alters without a breath lets nobody in; how long a snapshot tries is not what is asked here.
        cursor.execute("DO SLEEP(0.03)")

    opened = 0
    with at_work(mariadb, alter, workers=1):
        for _ in range(10):
            try:
                with MysqlReader(mariadb.url).snapshot() as snapshot:
                    found = rows(snapshot, "t")
            except Unreachable:
                continue
            assert found.num_rows == 1
            opened += 1
    assert opened


def test_a_backup_that_keeps_the_lock_away_is_told(mariadb: Database) -> None:
    """Whoever reads it knows what to wait for, and nobody waits behind us for ever."""
    mariadb.run("CREATE TABLE t (n int)")
    with mariadb.session() as other, other.cursor() as cursor:
        cursor.execute("BACKUP STAGE START")
        with (
            pytest.raises(Unreachable, match=r"another backup holds .*waited for 3 s"),
            MysqlReader(mariadb.url).snapshot(),
        ):
            pytest.fail("a snapshot was opened beside a backup")


def test_a_table_that_is_held_is_told(mariadb: Database) -> None:
    """Without the right to lock everything the same is said of LOCK TABLES."""
    mariadb.run("CREATE TABLE t (n int) ENGINE = MyISAM")
    user = mariadb.user("reader", "SELECT, LOCK TABLES ON {db}.*")
    with mariadb.session() as other, other.cursor() as cursor:
        cursor.execute("LOCK TABLES t WRITE")
        with (
            pytest.raises(Unreachable, match=r"tables without transactions.*LOCK TABLES.*waited for 3 s"),
            MysqlReader(user).snapshot(),
        ):
            pytest.fail("a snapshot was opened of a table that somebody holds")


@pytest.mark.parametrize("engine", ["MyISAM", "Aria", "MEMORY"])
def test_small_tables_of_engines_without_moments_are_of_the_moment_too(mariadb: Database, engine: str) -> None:
    """Nobody writes to them from the moment until they are read; and nobody waits for ever."""
    mariadb.run(f"CREATE TABLE m (n int) ENGINE={engine}", "CREATE TABLE t (n int PRIMARY KEY)")

    def work(cursor: pymysql.cursors.Cursor, number: int) -> None:
        # Each number is in `m` before it is in `t`.
        cursor.execute(f"INSERT INTO m VALUES ({number})")
        cursor.execute(f"INSERT INTO t VALUES ({number})")
        cursor.execute("COMMIT")

    with at_work(mariadb, work, workers=3):
        for _ in range(10):
            with MysqlReader(mariadb.url).snapshot() as snapshot:
                assert snapshot.collection("m").not_covered == ()
                first = rows(snapshot, "m").column("n").to_pylist()
                then = rows(snapshot, "t").column("n").to_pylist()
            assert set(then) <= set(first)
            assert len(first) - len(then) <= 3


def test_large_tables_of_such_engines_are_read_later_and_said_to_be(mariadb: Database) -> None:
    """They would be locked for too long."""
    mariadb.run(
        "CREATE TABLE m (n int, v char(255), w date) ENGINE=MyISAM CHARACTER SET latin1",
        "INSERT INTO m SELECT seq, 'x', '2026-03-01' FROM seq_1_to_140000",
    )
    with MysqlReader(mariadb.url).snapshot() as snapshot:
        (told,) = snapshot.collection("m").not_covered
        assert "m: its records may be of a later moment" in told
        mariadb.run("INSERT INTO m VALUES (0, 'later', NULL)")
        assert rows(snapshot, "m").num_rows == 140_001


def test_who_may_not_lock_such_tables_is_told_which_right_is_missing(mariadb: Database) -> None:
    """They are read all the same."""
    mariadb.run("CREATE TABLE m (n int) ENGINE=MyISAM", "INSERT INTO m VALUES (1)")
    with MysqlReader(mariadb.user("reader", "SELECT ON {db}.*")).snapshot() as snapshot:
        assert "LOCK TABLES" in snapshot.collection("m").not_covered[0]
        assert rows(snapshot, "m").num_rows == 1


def test_a_server_without_a_binlog_has_no_place(mariadb_servers: Callable[..., Server]) -> None:
    """It is one moment all the same."""
    with mariadb_servers(skip_log_bin="", log_bin="").database() as database:
        database.run("CREATE TABLE t (n int)", "INSERT INTO t VALUES (1)")
        with MysqlReader(database.url).snapshot() as snapshot:
            assert snapshot.place is None
            assert snapshot.position == "no binlog, server 7"
            assert rows(snapshot, "t").num_rows == 1


def test_more_large_tables_at_once_than_sessions_are_refused_not_awaited(mariadb: Database) -> None:
    """Whoever waits for himself would wait for ever; small tables need no session while they are read."""
    for name in "abcd":
        mariadb.run(
            f"CREATE TABLE {name} AS SELECT seq n, REPEAT('x', 1000) v FROM seq_1_to_{20_000 if name < 'd' else 5}"
        )
    with MysqlReader(mariadb.url).snapshot() as snapshot:
        views = [snapshot.read(snapshot.collection(name)).batches() for name in "abcd"]
        for each in views[:2]:
            next(each)
        with pytest.raises(HoldfastError, match="side by side"):
            next(views[2])
        views[0].close()  # type: ignore[attr-defined]
        assert sum(batch.num_rows for batch in views[3]) == 5
        assert sum(batch.num_rows for batch in views[1]) > 0


@pytest.mark.parametrize("level", ["READ-COMMITTED", "SERIALIZABLE"])
def test_a_servers_own_isolation_makes_no_difference(mariadb_servers: Callable[..., Server], level: str) -> None:
    """What is committed while the snapshot is open is not in it, and nobody waits for who reads."""
    with mariadb_servers(transaction_isolation=level).database() as database:
        database.run("CREATE TABLE a (id int PRIMARY KEY)", "INSERT INTO a VALUES (1)")
        with MysqlReader(database.url).snapshot() as snapshot:
            database.run("SET innodb_lock_wait_timeout = 1", "INSERT INTO a VALUES (2)", "DELETE FROM a WHERE id = 1")
            assert rows(snapshot, "a").to_pylist() == [{"id": 1}]


def test_a_servers_own_limits_cut_nothing(mariadb_servers: Callable[..., Server]) -> None:
    """Neither rows nor time: what the server sets for everybody does not count."""
    limits = {"sql_select_limit": "5", "idle_readonly_transaction_timeout": "1"}
    with mariadb_servers().database() as database:
        database.run("CREATE TABLE a (id int PRIMARY KEY)", "INSERT INTO a SELECT seq FROM seq_1_to_200")
        database.run(*(f"SET GLOBAL {name} = {value}" for name, value in limits.items()))
        with MysqlReader(database.url).snapshot() as snapshot:
            assert rows(snapshot, "a").num_rows == 200
