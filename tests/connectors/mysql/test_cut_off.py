"""A restore that is cut off, by its own end or the server's, is whole or not there, and the next run mends it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from holdfast.connectors.mysql.completing import recover
from holdfast.connectors.mysql.definitions import SCHEMA
from holdfast.connectors.mysql.pending import TABLE
from holdfast.connectors.mysql.place import is_taken, partial_name
from holdfast.connectors.mysql.reader import MysqlReader
from holdfast.errors import Unreachable
from tests.connectors.mysql.building import absent, databases, rebuilt, records, shown
from tests.connectors.mysql.meddling import as_it_is_sent
from tests.mariadb_server import Database, Server
from tests.waiting import eventually

_MOMENTS = (200, 500, 1000, 3000, 5000, 8000, 12000, 20000)
SHOP = (
    "CREATE SEQUENCE number",
    "CREATE TABLE p (id int AUTO_INCREMENT PRIMARY KEY, n bigint DEFAULT nextval(number))",
    "CREATE TABLE c (id int PRIMARY KEY, p int, FOREIGN KEY (p) REFERENCES p (id))",
    "CREATE TABLE m (id int PRIMARY KEY) ENGINE=MyISAM",
    "CREATE FUNCTION f(x int) RETURNS int DETERMINISTIC RETURN x",
    "CREATE DEFINER=nobody@`%` FUNCTION g(x int) RETURNS int DETERMINISTIC RETURN x",
    "CREATE VIEW w AS SELECT id, f(id) FROM p",
    "CREATE VIEW v AS SELECT * FROM w",
    "CREATE OR REPLACE DEFINER=nobody@`%` VIEW w AS SELECT id, f(id) AS `f(id)` FROM p",
    "CREATE TRIGGER t BEFORE INSERT ON p FOR EACH ROW INSERT INTO m VALUES (NEW.id)",
    "CREATE EVENT e ON SCHEDULE EVERY 1 YEAR DO DELETE FROM p",
    "INSERT INTO p (id) VALUES (1), (2), (3)",
    "DELETE FROM p WHERE id = 3",
    "INSERT INTO c VALUES (1, 1)",
)


def cut_off(source: Database, target: Database, statement: int, process: int = 0, microseconds: int = 0) -> list[str]:
    """The statements that a restore sent before it was cut off at that one."""
    arguments = [source.url, target.url, *map(str, (statement, process, microseconds))]
    command = [sys.executable, "-m", "tests.connectors.mysql.cut_off", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, -9) or process, done.stderr
    return done.stdout.splitlines()


def mended(source: Database, target: Database) -> bool:
    """Whether a second run finds or makes the whole; asserts that the first left nothing half under its name.

    Whether the first one had come so far that only the rest was to be made.
    """
    eventually(lambda: is_free(target), "the server has noticed the end of the first run")
    if is_taken(target.url):
        assert {"p", "c", "m", "number"} <= {name for (name,) in target.rows("SHOW TABLES")}
        is_rest = (TABLE,) in target.rows("SHOW TABLES")
        recover(target.url)
    else:
        is_rest = False
        rebuilt(source, target)
    assert shown(target, source.name) == shown(source)
    assert records(target) == records(source)
    assert not [name for name in databases(target) if name.startswith("holdfast")]
    target.run("INSERT INTO c VALUES (2, 2)", "INSERT INTO p () VALUES ()")
    assert target.rows("SELECT max(id) FROM p") == [(4,)]
    return is_rest


def is_free(target: Database) -> bool:
    """Whether nobody builds it."""
    main = Database(target.server, "mysql")
    return bool(main.value(f"SELECT IS_FREE_LOCK('{partial_name(target.name)}')"))


class Sent:
    """What a restore of the shop sends, and where in it the decisive statements are."""

    def __init__(self, source: Database) -> None:
        with absent(source.server, f"{source.name}_0") as target:
            self.statements = cut_off(source, target, 0)
        self.created = self._first("CREATE DATABASE", 0)
        self.move = self._first("RENAME TABLE", self.created)
        self.end = self._first("DROP TABLE", self.move)

    def _first(self, word: str, after: int) -> int:
        return next(at for at, sql in enumerate(self.statements, 1) if at > after and sql.startswith(word))


def killed(source: Database, number: int) -> bool:
    """A restore killed at that statement, then mended: whether only the rest was to be made."""
    with absent(source.server, f"{source.name}_{number}") as target:
        assert len(cut_off(source, target, number)) == number
        return mended(source, target)


def test_a_restore_killed_at_a_decisive_statement_is_whole_or_not_there(mariadb: Database) -> None:
    """Up to the move nothing is under its name; after it, all records are, and the next run makes what is left."""
    mariadb.run(*SHOP)
    sent = Sent(mariadb)
    places = [sent.move, sent.move + 1, (sent.move + sent.end) // 2, sent.end]
    assert [killed(mariadb, number) for number in places] == [False, True, True, True]


@pytest.mark.soak
def test_a_restore_killed_at_any_statement_is_whole_or_not_there(mariadb: Database) -> None:
    """At each of its statements."""
    mariadb.run(*SHOP)
    sent = Sent(mariadb)
    for number in range(1, len(sent.statements) + 1):
        assert killed(mariadb, number) == (sent.move < number <= sent.end)


@pytest.mark.parametrize("microseconds", [0, 2000, *(pytest.param(each, marks=pytest.mark.soak) for each in _MOMENTS)])
def test_a_server_that_dies_in_the_move_has_moved_all_or_nothing(
    mariadb_servers: Callable[..., Server], microseconds: int
) -> None:
    """However far it was, after its recovery the next run finds or makes the whole."""
    server = mariadb_servers(innodb_flush_log_at_trx_commit="1", sync_binlog="1")
    with server.database() as source:
        source.run(*SHOP)
        move = Sent(source).move
        with absent(server, f"{source.name}_copy") as target:
            cut_off(source, target, move, server.process, microseconds)
            server.crash()
            server.start()
            mended(source, target)


def test_a_restore_at_work_is_not_taken_for_one_cut_off(mariadb: Database) -> None:
    """Who finds its list while its lock is held waits; a place that nobody has touched needs nothing."""
    mariadb.run("CREATE TABLE t (id int)")
    recover(mariadb.url)
    with absent(mariadb.server, f"{mariadb.name}_copy") as target:
        recover(target.url)
        mariadb.run(f"CREATE DATABASE {partial_name(target.name)}")
        with mariadb.session() as connection, connection.cursor() as cursor:
            cursor.execute(f"SELECT GET_LOCK('{partial_name(target.name)}', 0)")
            with pytest.raises(Unreachable, match="another restore into it is under way"):
                recover(target.url)
        recover(target.url)
        assert partial_name(target.name) not in databases(mariadb)


def test_a_restore_tried_again_at_once_waits_for_the_end_of_the_one_that_died(mariadb: Database) -> None:
    """Its session is gone, but the server has not noticed yet: the next one does not take it for one at work."""
    place = partial_name(mariadb.name)
    waits = f"SELECT 1 FROM information_schema.PROCESSLIST WHERE STATE = 'User lock' AND INFO LIKE '%{place}%'"
    with mariadb.session() as connection, connection.cursor() as cursor, ThreadPoolExecutor(1) as pool:
        cursor.execute(f"CREATE DATABASE {place}")
        cursor.execute(f"SELECT GET_LOCK('{place}', 0)")
        mending = pool.submit(recover, mariadb.url)
        eventually(lambda: mending.done() or mariadb.rows(f"{waits} AND ID <> CONNECTION_ID()"), "it asks for the lock")
        cursor.execute(f"SELECT RELEASE_LOCK('{place}')")
        mending.result()
    assert place not in databases(mariadb)


def test_a_capture_of_a_restore_that_was_cut_off_names_the_gap(mariadb: Database) -> None:
    """What is not made yet is not in the copy: it says so, until the rest is made."""
    mariadb.run(*SHOP)
    with absent(mariadb.server, f"{mariadb.name}_copy") as target:
        cut_off(mariadb, target, Sent(mariadb).move + 1)
        eventually(lambda: is_free(target), "the server has noticed the end of the first run")
        (gap,) = gaps(target)
        assert "a restore was cut off here" in gap
        assert "run it again: holdfast restore" in gap
        recover(target.url)
        assert gaps(target) == ()


def gaps(database: Database) -> tuple[str, ...]:
    """What a capture of it says of its definitions."""
    with MysqlReader(database.url).snapshot() as snapshot:
        return next(each.not_covered for each in snapshot.collections if each.name == SCHEMA)


def test_the_rest_is_made_once(mariadb: Database) -> None:
    """Another one makes it in the moment before this one has the lock: then nothing is left to do."""
    mariadb.run(*SHOP)
    with absent(mariadb.server, f"{mariadb.name}_copy") as target:
        cut_off(mariadb, target, Sent(mariadb).move + 1)
        eventually(lambda: is_free(target), "the server has noticed the end of the first run")
        with as_it_is_sent("SELECT GET_LOCK", lambda: recover(target.url)):
            recover(target.url)
        assert shown(target, mariadb.name) == shown(mariadb)


def test_one_database_has_one_lock_however_its_name_is_spelled() -> None:
    """A server may take both names for the same."""
    assert partial_name("Shop") == partial_name("shop") != partial_name("shop2")
