"""Rows through a process of its own: exactly those of the server, to the end or an error, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing

import pyarrow as pa
import pymysql
import pytest

from holdfast.connectors.mysql.connection import quoted
from holdfast.connectors.mysql.pump import BLOCK_BYTES, NoPump, Pump
from holdfast.connectors.mysql.reader import MysqlReader
from holdfast.connectors.mysql.sessions import Session
from tests.mariadb_server import Database
from tests.processes import children
from tests.waiting import eventually

_LINES = (
    "CREATE TABLE t (n int PRIMARY KEY, v mediumblob) AS "
    "SELECT seq n, REPEAT(CONCAT(x'0a5c09000d5c5c74', seq), seq % 400) v FROM seq_1_to_8000"
)
_WIDE = "CREATE TABLE t (n int PRIMARY KEY, v text) AS SELECT seq n, REPEAT('x', 1000) v FROM seq_1_to_20000"


def test_the_pump_gives_what_the_driver_gives(mariadb: Database) -> None:
    """Every sign that the program or Arrow could take for its own, in blocks that are cut elsewhere."""
    mariadb.run(_LINES)
    found = []
    for opened in (Pump, Session):
        with closing(opened(mariadb.url)) as lane:
            batches = list(lane.rows("SELECT n, v FROM t ORDER BY n", 2))
        assert len(batches) > 2
        found.append(pa.Table.from_batches(batches).combine_chunks())
    assert found[0].equals(found[1])
    assert found[0].column(1).to_pylist() == [
        b"\n\\\t\0\r\\\\t%d" % number * (number % 400) for number in range(1, 8_001)
    ]


@pytest.mark.parametrize(
    "value", ["\t", "\\", "\\t", "\t\\", "\\\t", "\\\\t", "\\\\\t", "\n\\n", "\r\\r\\\r", "\0\\0", "NULL\n"]
)
def test_each_sign_is_itself(mariadb: Database, value: str) -> None:
    """Whatever stands before and after it."""
    values = [value, value * 3, f"a{value}", f"{value}a", f"\\{value}\\", f"\t{value}\t"]
    with closing(Pump(mariadb.url)) as pump:
        sql = ", ".join(f"x'{each.encode().hex()}'" for each in values)
        (batch,) = pump.rows(f"SELECT {sql}", len(values))
    assert [column[0].as_py().decode() for column in batch.columns] == values


@pytest.mark.parametrize("bytes_over", [-2, -1, 0, 1, 3 * BLOCK_BYTES])
def test_a_row_may_fill_a_block_or_several(mariadb: Database, bytes_over: int) -> None:
    """Its neighbours come whole too, and so does the next result."""
    size = BLOCK_BYTES - 1 + bytes_over
    mariadb.run(
        "CREATE TABLE t (n int PRIMARY KEY, v longtext)",
        f"INSERT INTO t VALUES (1, 'before'), (2, REPEAT('x', {size})), (3, 'after'), (4, REPEAT('y', {BLOCK_BYTES})), "
        "(5, NULL)",
    )
    with closing(Pump(mariadb.url)) as pump:
        for _ in range(2):
            found = pa.Table.from_batches(pump.rows("SELECT v FROM t ORDER BY n", 1)).column(0).to_pylist()
            assert found == [b"before", b"x" * size, b"after", b"y" * BLOCK_BYTES, None]
        assert list(pump.rows("SELECT v FROM t WHERE n = 0", 1)) == []


def test_huge_values_are_read_as_small_ones_are(mariadb: Database) -> None:
    """Beside NULL, the word NULL, nothing at all, and rows of ordinary size."""
    value = "x'0a5c09000d5c5c74eda0804e554c4c'"
    huge = f"REPEAT({value}, 1500000)"
    rows = f"(1, 'a', NULL, ''), (2, {huge}, '', {value}), (3, {value}, {huge}, 'NULL')"
    mariadb.run(
        "CREATE TABLE t (n int PRIMARY KEY, a longblob, b longblob, c longblob)", f"INSERT INTO t VALUES {rows}"
    )
    mariadb.run(f"INSERT INTO t SELECT seq + 9, {value}, NULL, '' FROM seq_1_to_1000")
    found = []
    for opened in (Pump, Session):
        with closing(opened(mariadb.url)) as lane:
            batches = lane.rows("SELECT n, a, b, c, ISNULL(b), '' FROM t ORDER BY n", 6)
            found.append(pa.Table.from_batches(batches).combine_chunks())
    kept = found[1].set_column(3, "3", pa.array([None if v == b"NULL" else v for v in found[1].column(3).to_pylist()]))
    assert found[0].equals(kept.combine_chunks())


@pytest.mark.parametrize("rows", range(4094, 4099))
def test_a_result_that_ends_where_a_block_does_is_whole(mariadb: Database, rows: int) -> None:
    """Left in the middle or read to its end: the next result is the next one's."""
    line = 1024
    with closing(Pump(mariadb.url)) as pump:
        sql = f"SELECT REPEAT('x', {line - 1}) FROM seq_1_to_{rows}"
        assert sum(batch.num_rows for batch in pump.rows(sql, 1)) == rows
        with closing(pump.rows(sql, 1)) as batches:
            next(batches)
        (batch,) = pump.rows("SELECT 1, 2", 2)
        assert batch.to_pydict() == {"0": [b"1"], "1": [b"2"]}


@pytest.mark.parametrize(
    "name",
    ["a;b", "a\\", "it's", 'q"', "back`tick", "new\nline", "a--b", "#x", "/*", "Größe", "量", "\\G", "DELIMITER"],
)
def test_no_name_is_a_command_to_the_program(mariadb: Database, name: str) -> None:
    """Statements hold names of any signs."""
    mariadb.run(f"CREATE TABLE {quoted(name)} ({quoted(name)} int)", f"INSERT INTO {quoted(name)} VALUES (7)")
    with closing(Pump(mariadb.url)) as pump:
        (batch,) = pump.rows(f"SELECT {quoted(name)} FROM {quoted(name)}", 1)
    assert batch.to_pydict() == {"0": [b"7"]}


def test_a_large_table_is_read_as_of_the_snapshot(mariadb: Database) -> None:
    """The process of its own sees the moment that the snapshot holds, not its own."""
    mariadb.run(_WIDE)
    with MysqlReader(mariadb.url).snapshot() as snapshot:
        view = snapshot.read(snapshot.collection("t"))
        mariadb.run("DELETE FROM t")
        assert sum(batch.num_rows for batch in view.batches()) == 20_000


def test_who_stops_in_the_middle_leaves_no_process_and_no_session(mariadb: Database) -> None:
    """The pump goes on with the next result; it and its session end with whoever opened it."""
    mariadb.run(_WIDE)
    with closing(Pump(mariadb.url)) as pump:
        with closing(pump.rows("SELECT v FROM t", 1)) as batches:
            next(batches)
        (batch,) = pump.rows("SELECT 5", 1)
        assert batch.to_pydict() == {"0": [b"5"]}
        assert len(pumps()) == 1
    assert pumps() == []
    eventually(lambda: sessions(mariadb) == 0, "the session ends")


def test_a_reader_that_is_killed_takes_its_pump_along(mariadb: Database) -> None:
    """Nobody is left who reads from the pipe, so the program ends, and its session with it."""
    mariadb.run(_WIDE)
    script = (
        "import sys; from holdfast.connectors.mysql.pump import Pump;"
        "batches = Pump(sys.argv[1]).rows('SELECT v FROM t', 1); next(batches); print('read', flush=True);"
        "sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, mariadb.url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == b"read\n"
        eventually(lambda: sessions(mariadb) == 1, "no other session is there")
        reader.kill()
    eventually(lambda: sessions(mariadb) == 0, "the session ends")


def test_what_the_server_says_in_the_middle_is_the_error(mariadb: Database) -> None:
    """As the driver would raise it; rows that came before do not pass for all there are."""
    mariadb.run(_WIDE)
    with closing(Pump(mariadb.url)) as pump:
        batches = pump.rows("SELECT IF(n = 15000, (SELECT 1 UNION SELECT 2 FROM t), v) FROM t ORDER BY n", 1)
        with pytest.raises(pymysql.OperationalError, match="more than 1 row") as caught:
            list(batches)
        assert caught.value.args[0] == 1242
        with pytest.raises(pymysql.OperationalError):
            list(pump.rows("SELECT 1", 1))


def test_a_pump_whose_session_is_ended_does_not_begin_another(mariadb: Database) -> None:
    """Another session would be of another moment: it is an error, and what came is not the whole."""
    mariadb.run(_WIDE)
    with closing(Pump(mariadb.url)) as pump:
        batches = pump.rows("SELECT v FROM t", 1)
        next(batches)
        mariadb.kill("DB = DATABASE()")
        with pytest.raises(pymysql.OperationalError):
            list(batches)
    with closing(Pump(mariadb.url)) as pump:
        list(pump.rows("SELECT 1", 1))
        mariadb.kill("DB = DATABASE()")
        with pytest.raises(pymysql.OperationalError):
            list(pump.rows("SELECT 1", 1))


def test_a_pump_that_is_killed_is_no_end_of_the_table(mariadb: Database) -> None:
    """Its rows so far are not taken for the whole."""
    mariadb.run(_WIDE)
    with closing(Pump(mariadb.url)) as pump:
        batches = pump.rows("SELECT v FROM t", 1)
        next(batches)
        (number,) = pumps()
        os.kill(number, signal.SIGKILL)
        with pytest.raises(pymysql.OperationalError):
            list(batches)


def test_a_session_that_can_not_be_opened_is_no_pump(mariadb: Database) -> None:
    """Nothing was given, so whoever asked may still read by other means."""
    with pytest.raises(NoPump, match="Unknown database"):
        Pump(f"{mariadb.url}_gone")


_OTHERS = "SELECT ID FROM information_schema.PROCESSLIST WHERE DB = DATABASE() AND ID <> CONNECTION_ID()"


def sessions(database: Database) -> int:
    """How many there are in that database, but for the one that asks."""
    return len(database.rows(_OTHERS))


def pumps() -> list[int]:
    """The number of each pump that this process started and that has not ended."""
    return [number for number, name in children() if name == "mariadb"]
