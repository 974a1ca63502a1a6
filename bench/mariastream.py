"""What reading a backlog of the binlog costs: from the server to columns of values, each reader in its own process.

Ours gives canonical Arrow columns, every value typed and exact; mysql-replication gives a Python dict a row;
`mariadb-binlog -vv` writes pseudo-SQL. CPU seconds are those of the whole process, less those of the same process when
it has nothing to read: begun at the log's end. What either loads once, before the first row, is in both.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass

import pyarrow as pa
from pymysqlreplication import BinLogStreamReader
from pymysqlreplication.row_event import DeleteRowsEvent, UpdateRowsEvent, WriteRowsEvent

from bench.mariaserver import MariaServer
from holdfast.connectors.mysql.follower import MysqlChanges
from holdfast.core.feed import Break, Told

__all__ = ["Backlog", "Place", "place_now", "rows_per_cpu_second"]

_WINDOW_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the log: as Holdfast tells it, and as file and offset."""

    position: str
    file: str
    offset: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is to be read: the log from one place to another, with so many changed rows."""

    begin: Place
    end: Place
    rows: int


def place_now(server: MariaServer, database: str) -> Place:
    """Where the log ends."""
    with MysqlChanges(server.url(database), "bench").baseline() as baseline:
        position = baseline.position
    ((file, offset, *_),) = server.rows("mysql", "SHOW MASTER STATUS")
    return Place(position, file, int(offset))


def rows_per_cpu_second(server: MariaServer, database: str, backlog: Backlog) -> dict[str, float]:
    """Each reader's rate over the log from one place to the other."""
    python = [sys.executable, "-W", "ignore", "-m", "bench.mariastream"]
    dump = server.client("mariadb-binlog").split()
    dump += ["--read-from-remote-server", "-vv", "--base64-output=DECODE-ROWS", "--result-file=/dev/null"]

    def commands(place: Place) -> dict[str, list[str]]:
        where = [str(server.port), database, place.position, place.file, str(place.offset)]
        return {
            "holdfast": [*python, "holdfast", *where],
            "mysql-replication": [*python, "mysql-replication", *where],
            "mariadb-binlog -vv": [*dump, f"--start-position={place.offset}", place.file],
        }

    found = {}
    for name, command in commands(backlog.begin).items():
        idle, _ = _run(commands(backlog.end)[name])
        seconds, told = _run(command)
        if told and int(told.split()[-1]) != backlog.rows:
            sys.exit(f"bench: {name} read {told} of {backlog.rows} rows")
        found[name] = backlog.rows / max(0.001, seconds - idle)
    return found


def _run(command: list[str]) -> tuple[float, str]:
    """CPU seconds of a command, and what it says."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    assert child.stdout
    told = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"bench: exit {child.returncode} from {' '.join(command)}")
    return usage.ru_utime + usage.ru_stime, told


def _follow(port: int, database: str, position: str) -> int:
    """Every change from a position on, in canonical columns; returns how many there were."""
    told = 0
    # Given its first list, Arrow loads pandas where that is installed, as it is for the tests: a quarter of a second,
    # which is no part of reading and would hide it. Here it counts in both processes.
    pa.array([b""])
    source = MysqlChanges(f"mariadb://root@127.0.0.1:{port}/{database}", "bench")
    with source.baseline() as baseline:
        schemas = {each.name: each.schema for each in baseline.snapshot.collections}
    with source.feed(position, schemas) as feed:
        while not feed.is_caught_up:
            for each in feed.read(_WINDOW_SECONDS):
                if isinstance(each, Break):
                    sys.exit(f"bench: {each.why}")
                told += len(each.ops) if isinstance(each, Told) else 0
    return told


def _replicate(port: int, database: str, file: str, offset: int) -> int:
    """The same by the library."""
    told = 0
    where = {"host": "127.0.0.1", "port": port, "user": "root", "passwd": ""}
    reader = BinLogStreamReader(
        connection_settings=where,
        server_id=4_000_000_001,
        only_schemas=[database],
        only_events=[DeleteRowsEvent, UpdateRowsEvent, WriteRowsEvent],
        resume_stream=True,
        log_file=file,
        log_pos=offset,
        ignore_decode_errors=True,  # a BINARY is text to it
    )
    with closing(reader):
        for event in reader:
            told += len(event.rows)
    return told


def _main(which: str, port: str, database: str, *place: str) -> None:
    position, file, offset = place
    match which:
        case "holdfast":
            print(_follow(int(port), database, position))
        case "mysql-replication":
            print(_replicate(int(port), database, file, int(offset)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
