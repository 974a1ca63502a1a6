"""Large tables come through a process of its own: the same rows, nothing left behind, and other ways where it fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg
import pyarrow as pa
import pytest

from holdfast.connectors.postgres.connection import connect
from holdfast.connectors.postgres.copying import BLOCK_BYTES, copied, copy_sql
from holdfast.connectors.postgres.pump import NoPump, pumped
from holdfast.connectors.postgres.reader import PostgresReader
from tests.postgres_server import Database
from tests.processes import children
from tests.waiting import eventually

_LINES = (
    "CREATE TABLE t AS SELECT n, repeat(chr(10) || chr(92) || chr(9) || n, n % 500) AS v"
    " FROM generate_series(1, 30000) n"
)
_WIDE = "CREATE TABLE t AS SELECT repeat('x', 1000) AS v FROM generate_series(1, 60000)"
_SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'holdfast' AND datname = current_database()"


def test_the_pump_gives_what_the_driver_gives(postgres: Database) -> None:
    """Blocks are cut elsewhere, between the same rows."""
    postgres.run(_LINES)
    sql = copy_sql("SELECT n, v FROM public.t ORDER BY n")
    through = list(pumped(postgres.url, [sql], 2, pa.string()))
    with connect(postgres.url) as connection:
        direct = pa.Table.from_batches(copied(connection, sql, 2, pa.string()))
    assert len(through) > 2
    assert pa.Table.from_batches(through).combine_chunks().equals(direct.combine_chunks())
    found = direct.to_pydict()
    assert found["0"] == [str(n) for n in range(1, 30001)]
    assert found["1"] == [f"\n\\\t{n}" * (n % 500) for n in range(1, 30001)]


@pytest.mark.parametrize("bytes_over", [-1, 0, 1, 3 * BLOCK_BYTES])
def test_a_row_may_fill_a_block_or_several(postgres: Database, bytes_over: int) -> None:
    """Its neighbours come whole too."""
    size = BLOCK_BYTES - 1 + bytes_over
    rows = f"VALUES (1, 'before'), (2, repeat('x', {size})), (3, 'after'), (4, repeat('y', {BLOCK_BYTES})), (5, NULL)"
    sql = copy_sql(f"SELECT v FROM ({rows}) t (n, v) ORDER BY n")
    found = pa.Table.from_batches(pumped(postgres.url, [sql], 1, pa.string())).column(0).to_pylist()
    assert found == ["before", "x" * size, "after", "y" * BLOCK_BYTES, None]


def test_a_large_table_is_read_as_of_the_snapshot(postgres: Database) -> None:
    """The process of its own sees the moment that the snapshot holds, not its own."""
    postgres.run(_WIDE)
    with PostgresReader(postgres.url).snapshot() as snapshot:
        view = snapshot.read(snapshot.collection("t"))
        postgres.run("DELETE FROM t")
        assert sum(batch.num_rows for batch in view.batches()) == 60_000


def test_who_stops_in_the_middle_leaves_no_process_and_no_session(postgres: Database) -> None:
    """The pump and its session end with whoever read from it."""
    postgres.run(_WIDE)
    batches = pumped(postgres.url, [copy_sql("SELECT v FROM public.t")], 1, pa.string())
    with closing(batches):
        next(batches)
        assert len(_pumps()) == 1
    assert _pumps() == []
    eventually(lambda: postgres.value(_SESSIONS) == 0, "the session ends")


def test_a_reader_that_is_killed_takes_its_pump_along(postgres: Database) -> None:
    """Nobody is left who reads from the pipe, so psql ends, and its session with it."""
    postgres.run(_WIDE)
    script = (
        "import sys, pyarrow as pa; from holdfast.connectors.postgres.pump import pumped;"
        "batches = pumped(sys.argv[1], [sys.argv[2]], 1, pa.string()); next(batches); print('read', flush=True);"
        "sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, postgres.url, copy_sql("SELECT v FROM public.t")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == b"read\n"
        assert postgres.value(_SESSIONS) == 1
        reader.kill()
    eventually(lambda: postgres.value(_SESSIONS) == 0, "the session ends")


def test_what_the_server_says_in_the_middle_is_the_error(postgres: Database) -> None:
    """As the driver would raise it; rows that came before do not pass for all there are."""
    postgres.run(_WIDE)
    sql = copy_sql(
        "SELECT CASE WHEN row_number() OVER () = 50000 THEN (1 / (length(v) - 1000))::text ELSE v END FROM public.t"
    )
    batches = pumped(postgres.url, [sql], 1, pa.string())
    next(batches)
    with pytest.raises(psycopg.errors.DivisionByZero, match="division by zero"):
        list(batches)


def test_a_pump_that_is_killed_is_no_end_of_the_table(postgres: Database) -> None:
    """Its rows so far are not taken for the whole."""
    postgres.run(_WIDE)
    batches = pumped(postgres.url, [copy_sql("SELECT v FROM public.t")], 1, pa.string())
    next(batches)
    (pump,) = _pumps()
    os.kill(pump, signal.SIGKILL)
    with pytest.raises(psycopg.OperationalError):
        list(batches)


def test_a_session_that_can_not_be_opened_is_no_pump(postgres: Database) -> None:
    """Nothing was given, so whoever asked may still read by other means."""
    with pytest.raises(NoPump, match="does not exist"):
        next(pumped(f"{postgres.url}_gone", [copy_sql("SELECT 1")], 1, pa.string()))


def test_a_large_table_is_read_though_somebody_waits_to_truncate_it(postgres: Database) -> None:
    """A second session would stand in line behind him for as long as the first one reads; that one has its lock."""
    postgres.run(_WIDE)
    waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query = 'TRUNCATE t'"
    with ThreadPoolExecutor(1) as pool:
        with PostgresReader(postgres.url).snapshot() as snapshot:
            truncated = pool.submit(postgres.run, "TRUNCATE t")
            eventually(lambda: postgres.rows(waiting), "TRUNCATE waits")
            view = snapshot.read(snapshot.collection("t"))
            assert sum(batch.num_rows for batch in view.batches()) == 60_000
        truncated.result()


def _pumps() -> list[int]:
    return [number for number, name in children() if name == "psql"]
