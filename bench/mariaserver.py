"""A private MariaDB server for measurements: durable, sized like one at work, with its CPU seconds on record."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymysql

from holdfast.sample.processes import free_port

__all__ = ["MariaServer", "running_mariadb"]

_PATIENCE_SECONDS = 60.0
_FEW_PAGES = 100
_TICKS = os.sysconf("SC_CLK_TCK")
_SETTINGS = {
    "bind_address": "127.0.0.1",
    "binlog_format": "ROW",
    "character_set_server": "utf8mb4",
    "innodb_buffer_pool_size": "1G",
    "innodb_flush_log_at_trx_commit": "1",
    "innodb_io_capacity": "20000",
    "innodb_io_capacity_max": "40000",
    "innodb_log_file_size": "2G",
    "local_infile": "1",
    "log_bin": "bin",
    "max_allowed_packet": "128M",
    "performance_schema": "0",
    "server_id": "7",
    "skip_name_resolve": "1",
    "sync_binlog": "1",
}


class MariaServer:
    """One server; root may do everything, without a password."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.port = port
        self._process = process

    def url(self, database: str) -> str:
        """Where to connect to."""
        return f"mariadb://root@127.0.0.1:{self.port}/{database}"

    def client(self, program: str) -> str:
        """The beginning of a shell command that runs one of the server's programs against it."""
        return f"{_program(program)} --no-defaults --protocol=tcp -h 127.0.0.1 -P {self.port} -u root"

    @contextmanager
    def session(self, database: str = "mysql") -> Iterator[pymysql.cursors.Cursor]:
        """A connection of one's own, in autocommit mode."""
        connection = pymysql.connect(
            host="127.0.0.1", port=self.port, user="root", database=database, autocommit=True, charset="utf8mb4"
        )
        try:
            yield connection.cursor()
        finally:
            connection.close()

    def run(self, database: str, *statements: str) -> None:
        """Carry out statements one by one."""
        with self.session(database) as cursor:
            for each in statements:
                cursor.execute(each)

    def rows(self, database: str, query: str) -> list[tuple[Any, ...]]:
        """All rows of a result."""
        with self.session(database) as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())

    def settle(self) -> None:
        """Write back what waits, so that nobody pays for the one before him."""
        flush, rest = "SET GLOBAL innodb_max_dirty_pages_pct = {}", ", innodb_max_dirty_pages_pct_lwm = {}"
        self.run("mysql", (flush + rest).format(0, 0))
        deadline = time.monotonic() + _PATIENCE_SECONDS
        dirty = "SHOW GLOBAL STATUS LIKE 'Innodb_buffer_pool_pages_dirty'"
        while int(self.rows("mysql", dirty)[0][1]) > _FEW_PAGES and time.monotonic() < deadline:
            time.sleep(0.05)
        self.run("mysql", (flush + rest).format(90, 0))
        os.sync()

    def cpu(self) -> float:
        """CPU seconds of the server since its start."""
        stat = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return sum(map(int, stat[11:13])) / _TICKS


@contextmanager
def running_mariadb(folder: Path, port: int = 0) -> Iterator[MariaServer]:
    """A server with new data in a new folder, or with those that lie there; ended afterwards."""
    data = f"--datadir={folder / 'data'}"
    user = ["--user=root"] if os.geteuid() == 0 else []
    if not folder.exists():
        folder.mkdir()
        options = ["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"]
        install = [_program("mariadb-install-db"), *options, *user, data]
        subprocess.run(install, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)
    port = port or free_port()
    settings = {
        **_SETTINGS,
        "port": str(port),
        "socket": str(folder / "socket"),
        "pid_file": str(folder / "pid"),
        "tmpdir": str(folder),
    }
    flags = [data, *user, *(f"--{name}={value}" for name, value in settings.items())]
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig=KILL", "--", _program("mariadbd"), "--no-defaults", *flags], stdout=log, stderr=log
        )
    try:
        server = MariaServer(process, port)
        _wait_for_start(server, process, folder / "log")
        yield server
    finally:
        process.kill()
        process.wait(_PATIENCE_SECONDS)


def _program(name: str) -> str:
    path = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if path is None:
        sys.exit(f"bench: no {name} on this machine: scripts/setup.sh bench installs it")
    return path


def _wait_for_start(server: MariaServer, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            server.rows("mysql", "SELECT 1")
        except pymysql.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"bench: MariaDB does not start:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.05)
        else:
            return
