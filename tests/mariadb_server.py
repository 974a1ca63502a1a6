"""Real MariaDB servers for tests: private, on a free loopback port, gone when the process that asked for them ends.

`mariadb` is a fresh database on the one server of this test process; `mariadb_servers` starts servers of a test's own,
to be stopped, killed, filled or set up otherwise. Nothing of a server that the machine has is touched.

    def test_rows_are_read(mariadb: Database) -> None:
        mariadb.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
        assert mariadb.rows("SELECT id FROM t") == [(1,)]
        MysqlReader(mariadb.url)
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pymysql
import pytest

from holdfast.sample.processes import free_port
from tests.made_once import copy_made_once
from tests.waiting import PATIENCE_SECONDS, eventually

__all__ = ["Database", "Server", "mariadb", "mariadb_server", "mariadb_servers", "plugin"]

SETTINGS = {
    "bind_address": "127.0.0.1",
    "binlog_format": "ROW",
    "innodb_buffer_pool_size": "64M",
    "innodb_flush_log_at_trx_commit": "0",
    "innodb_log_file_size": "48M",
    "local_infile": "1",
    "log_bin": "bin",
    "log_warnings": "1",
    "max_allowed_packet": "128M",
    "max_connections": "100",
    "performance_schema": "0",
    "server_id": "7",
    "skip_name_resolve": "1",
    "sync_binlog": "0",
}
_numbers = itertools.count(1)


class Database:
    """One database of a server; `url` names it to whoever shall connect."""

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.name = name
        self.url = server.url(name)

    @contextmanager
    def session(self, **options: Any) -> Iterator[pymysql.connections.Connection[Any]]:
        """A connection of one's own, in autocommit mode unless told otherwise."""
        # If it may encrypt, the driver reads every certificate that the machine trusts: longer than a statement takes.
        ours = {"autocommit": True, "charset": "utf8mb4", "local_infile": True, "ssl_disabled": True}
        chosen = {**ours, **options}
        connection = pymysql.connect(host="127.0.0.1", port=self.server.port, user="root", database=self.name, **chosen)
        try:
            yield connection
        finally:
            connection.close()

    def run(self, *statements: str) -> None:
        """Carry out statements one by one in one session, each in a transaction of its own."""
        with self.session() as connection, connection.cursor() as cursor:
            for each in statements:
                cursor.execute(each)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """All rows of a result."""
        with self.session() as connection, connection.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())

    def value(self, query: str) -> Any:
        """The first column of the first row."""
        return self.rows(query)[0][0]

    def kill(self, which: str) -> None:
        """End the other sessions of the server for which this holds, as PROCESSLIST tells of them."""
        query = f"SELECT ID FROM information_schema.PROCESSLIST WHERE ({which}) AND ID <> CONNECTION_ID()"
        for (number,) in self.rows(query):
            # It may end by itself meanwhile.
            with suppress(pymysql.OperationalError):
                self.run(f"KILL {number}")

    def user(self, name: str, *grants: str, password: str = "") -> str:
        """The URL of this database as a user of its own; `{db}` in a grant is the database. Dropped with it."""
        user = f"{self.name}_{name}"
        self.run(f"CREATE USER '{user}'@'%' IDENTIFIED BY '{password}'")
        for each in grants:
            self.run(f"GRANT {each.format(db=f'`{self.name}`')} TO '{user}'@'%'")
        return self.server.url(self.name, user, password)


class Server:
    """One MariaDB server with data of its own."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.settings = {**SETTINGS, **settings}
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str, user: str = "root", password: str = "") -> str:
        """Where to connect to."""
        secret = f":{password}" if password else ""
        return f"mariadb://{user}{secret}@127.0.0.1:{self.port}/{database}"

    @property
    def process(self) -> int:
        """The number of the server's process."""
        assert self._process
        return self._process.pid

    def start(self) -> None:
        """Start, or start again on the same data and port; returns when connections are taken."""
        self.port = self.port or free_port()
        settings = {**self.settings, "port": str(self.port), "datadir": str(self.folder / "data")}
        settings |= {"socket": str(self.folder / "socket"), "pid_file": str(self.folder / "pid")}
        # Servers that share a folder for these delete one another's.
        settings["tmpdir"] = str(self.folder)
        # A setting without a value is a bare option: `skip_log_bin=""`.
        options = [f"--{name}={value}" if value else f"--{name}" for name, value in settings.items()]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                # It must not outlive this process.
                ["setpriv", "--pdeathsig=KILL", "--", program("mariadbd"), "--no-defaults", *user_option(), *options],
                stdout=log,
                stderr=log,
            )
        eventually(self._answers, f"the server in {self.folder} takes connections")

    def stop(self) -> None:
        """Shut down in order."""
        self._end(signal.SIGTERM)

    def crash(self) -> None:
        """End as in a power cut: recovery at the next start."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Let the server answer nobody until `thaw`."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it answer again."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    @contextmanager
    def database(self, options: str = "CHARACTER SET utf8mb4") -> Iterator[Database]:
        """A fresh database, dropped afterwards with its users and copies (`NAME_…`), whoever still uses it."""
        name = f"test_{os.getpid()}_{next(_numbers)}"
        main = Database(self, "mysql")
        main.run(f"CREATE DATABASE `{name}` {options}")
        try:
            yield Database(self, name)
        finally:
            if self._process:
                drop(main, name)

    def _answers(self) -> bool:
        assert self._process
        if self._process.poll() is not None:
            pytest.fail(f"MariaDB ended:\n{(self.folder / 'log').read_text(errors='replace')[-2000:]}")
        try:
            pymysql.connect(host="127.0.0.1", port=self.port, user="root", connect_timeout=5, ssl_disabled=True).close()
        except pymysql.OperationalError:
            return False
        return True

    def _end(self, how: signal.Signals) -> None:
        if self._process:
            self._process.send_signal(how)
            self._process.send_signal(signal.SIGCONT)
            self._process.wait(PATIENCE_SECONDS)
            self._process = None


def drop(main: Database, name: str) -> None:
    """Drop a database of that server, those whose names begin with its own and `_`, and its users; sessions end.

    And what Holdfast left beside it, if it did: a test that fails so must not make others fail.
    """
    for *_, xid in main.rows("XA RECOVER FORMAT='SQL'"):
        main.run(f"XA ROLLBACK {xid}")
    gone = f"= '{name}' OR {{0}} LIKE '{name}\\_%' OR {{0}} LIKE 'holdfast\\_%'"
    main.kill(f"DB {gone.format('DB')}")
    named = f"SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME {gone.format('SCHEMA_NAME')}"
    for (each,) in main.rows(named):
        # A session that was told to end may drop it itself.
        main.run(f"DROP DATABASE IF EXISTS `{each}`")
    for (user,) in main.rows(f"SELECT User FROM mysql.user WHERE User LIKE '{name}\\_%'"):
        main.run(f"DROP USER '{user}'@'%'")


def program(name: str) -> str:
    """A program of the server; without one the run fails and says what to install."""
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if not found:
        pytest.fail(f"no MariaDB server on this machine ({name}): scripts/setup.sh test installs one", pytrace=False)
    return found


def plugin(name: str) -> dict[str, str]:
    """The settings with which the server loads a plugin, of the system or unpacked by the set-up of tests."""
    unpacked = Path(sys.prefix) / "lib/mariadb"
    return {"plugin_load_add": name} | ({"plugin_dir": str(unpacked)} if (unpacked / f"{name}.so").exists() else {})


def user_option() -> list[str]:
    """What tells the server that it may run as root, if we do."""
    return ["--user=root"] if os.geteuid() == 0 else []


def make_data(folder: Path) -> None:
    """Make the data of a new server below an empty folder."""
    options = ["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]
    command = [
        program("mariadb-install-db"),
        *options,
        *user_option(),
        # A log of another size would be made anew at every first start.
        f"--innodb-log-file-size={SETTINGS['innodb_log_file_size']}",
        f"--datadir={folder / 'data'}",
        f"--tmpdir={folder}",
    ]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)


@contextmanager
def new_server(**settings: str) -> Iterator[Server]:
    """A running server with new data; stopped and removed afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="holdfast-maria-"))
    try:
        copy_made_once("mariadb", make_data, folder / "data")
        server = Server(folder, **settings)
        try:
            server.start()
            yield server
        finally:
            # Nothing of it is kept: an orderly end would only take longer.
            server.crash()
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[Server]:
    """The one server of this test process. Its settings are everybody's: change none."""
    with new_server() as server:
        yield server


@pytest.fixture
def mariadb(mariadb_server: Server) -> Iterator[Database]:
    """A fresh database; its `url` is for the code under test."""
    with mariadb_server.database() as database:
        yield database


@pytest.fixture
def mariadb_servers() -> Iterator[Callable[..., Server]]:
    """Start servers of this test's own: `mariadb_servers(binlog_format="STATEMENT")`."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(new_server(**settings))
