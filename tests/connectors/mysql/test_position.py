"""A position says where, of what, and since when; what the server has now is held against all of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from holdfast.connectors.mysql.connection import connect
from holdfast.connectors.mysql.position import Last, Position, examine, log_end, parse_position, replica_id
from holdfast.errors import Refused, Usage
from tests.mariadb_server import Database, Server
from tests.waiting import eventually

PLAIN = Position("bin.000003", 1234, "0-7-55", 7, 1_795_323_838)
FULL = Position(
    "my bin.000003", 4, "0-7-55,1-8-2", 7, 0, Last("0-7-55", 1_795_323_838_250_000, "0-7-54,1-8-2"), "0123456789abcdef"
)


@pytest.fixture
def database(mariadb_servers: Callable[..., Server]) -> Database:
    """A server whose binlog is this test's own."""
    database = Database(mariadb_servers(), "mysql")
    database.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)")
    return database


def here(database: Database) -> Position:
    """Where the binlog ends now."""
    ((file, offset, *_),) = database.rows("SHOW MASTER STATUS")
    gtids, server = database.rows(f"SELECT BINLOG_GTID_POS('{file}', {offset}), @@server_id")[0]
    return Position(file, offset, gtids, server, 0)


def trouble(database: Database, kept: Position) -> str:
    """Why what came after a position can't be had, "" if it can."""
    with connect(database.url) as connection:
        found = examine(connection, kept)
    return found.why if found else ""


@pytest.mark.parametrize("position", [PLAIN, FULL, Position("b", 4, "", 1, 0, Last("0-1-1", 1, ""))])
def test_a_position_reads_back_as_it_was_written(position: Position) -> None:
    """Names with blanks, several domains, no GTID at all, fractions of a second."""
    assert parse_position(str(position)) == position


def test_a_position_is_words_for_people() -> None:
    """The server's own names stand in it as the server writes them."""
    assert str(PLAIN) == "binlog bin.000003:1234, GTID 0-7-55, server 7, begun 2026-11-22T05:03:58+00:00"


@pytest.mark.parametrize("text", ["", "LSN 0/0, timeline 1, system 1", str(PLAIN) + "x"])
def test_what_is_no_position_is_refused(text: str) -> None:
    """Nothing is made of what another source wrote."""
    with pytest.raises(Usage, match="is no position"):
        parse_position(text)


def test_files_follow_one_another_by_number() -> None:
    """Not by their letters: the number may get another digit."""
    assert Position("bin.1000000", 4, "", 1, 0).place > Position("bin.999999", 400, "", 1, 0).place


def test_the_end_of_the_binlog_can_be_gone_on_from(database: Database) -> None:
    """Also after the server began a new file, or was started again."""
    kept = here(database)
    assert trouble(database, kept) == ""
    database.run("FLUSH LOGS", "INSERT INTO t VALUES (3)")
    assert trouble(database, kept) == ""
    with connect(database.url) as connection:
        assert log_end(connection) == (here(database).file, here(database).offset)


def test_a_purged_binlog_is_named(database: Database) -> None:
    """What it held was told to nobody."""
    kept = here(database)
    database.run("FLUSH LOGS", "FLUSH LOGS")

    def is_purged() -> bool:
        # The server keeps what it might need to recover, for a moment more.
        database.run("PURGE BINARY LOGS TO 'bin.000003'")
        return database.rows("SHOW BINARY LOGS")[0][0] == "bin.000003"

    eventually(is_purged, "the old binlogs are purged")
    assert "bin.000001 is gone" in trouble(database, kept)
    assert "bin.000003" in trouble(database, kept)


def test_reset_master_is_seen_however_far_the_new_file_has_come(database: Database) -> None:
    """Shorter than where reading ended, or longer with another transaction there, or ending within one."""
    kept = here(database)
    database.run("RESET MASTER")
    assert "ends at" in trouble(database, kept)
    database.run(*["INSERT INTO t SELECT max(id) + 1 FROM t"] * 20)
    assert "another file" in trouble(database, kept)
    database.run("RESET MASTER", "SET GLOBAL gtid_domain_id = 3")
    with database.session() as other, other.cursor() as cursor:
        cursor.execute("INSERT INTO t VALUES (1001)")
    other_place = here(database)
    beyond = Position(other_place.file, other_place.offset, "0-7-3", 7, 0)
    assert "other transactions" in trouble(database, beyond)


def test_another_server_is_named(database: Database) -> None:
    """Its binlogs have the same names."""
    kept = here(database)
    assert "another server" in trouble(database, Position(kept.file, kept.offset, kept.gtids, 8, 0))


def test_a_place_within_a_transaction_is_none(database: Database) -> None:
    """Nothing that was told ends there."""
    kept = here(database)
    assert "ends at" in trouble(database, Position(kept.file, kept.offset - 3, kept.gtids, kept.server, 0))


def test_a_server_without_binlog_has_no_position(mariadb_servers: Callable[..., Server]) -> None:
    """It is said what is missing."""
    database = Database(mariadb_servers(skip_log_bin=""), "mysql")
    assert "keeps no binlog" in trouble(database, Position("bin.000001", 4, "", 7, 0))
    with connect(database.url) as connection, pytest.raises(Refused, match="keeps no binlog"):
        log_end(connection)


def test_the_number_of_a_replica_comes_from_its_name() -> None:
    """The same name has the same number, two names have two, none is small as those of people are."""
    names = [f"holdfast_{number:012x}" for number in range(2000)]
    numbers = {replica_id(name) for name in names}
    assert len(numbers) == len(names)
    assert all(1 << 30 <= number < 1 << 32 for number in numbers)
    assert replica_id("holdfast_a") == replica_id("holdfast_a")
