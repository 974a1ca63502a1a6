"""Real PostgreSQL servers for tests: private, on a free loopback port, gone when the process that asked for them ends.

`postgres` is a fresh database on the one server of this test process; `postgres_servers` starts servers of a test's
own, to be stopped, killed, filled or set up otherwise. Nothing of a cluster that the machine has is touched.

    def test_rows_are_read(postgres: Database) -> None:
        postgres.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
        assert postgres.rows("SELECT id FROM t") == [(1,)]
        PostgresReader(postgres.url)
"""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from holdfast.sample.processes import free_port
from tests.made_once import copy_made_once
from tests.waiting import PATIENCE_SECONDS, eventually

__all__ = ["Database", "Server", "postgres", "postgres_server", "postgres_servers"]

SETTINGS = {
    "fsync": "off",
    "listen_addresses": "127.0.0.1",
    "log_line_prefix": "%m [%p] %d ",
    "max_connections": "60",
    "max_prepared_transactions": "10",
    "max_replication_slots": "20",
    "max_wal_senders": "20",
    "shared_buffers": "32MB",
    "unix_socket_permissions": "0777",
    "wal_level": "logical",
}

_numbers = itertools.count(1)


class Database:
    """One database of a server; `url` names it to whoever shall connect."""

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.name = name
        self.url = server.url(name)

    def run(self, *statements: str) -> None:
        """Carry out statements one by one, each in a transaction of its own."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for each in statements:
                connection.execute(each.encode())

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """All rows of a result."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(query.encode()).fetchall()

    def value(self, query: str) -> Any:
        """The first column of the first row."""
        return self.rows(query)[0][0]

    def role(self, name: str, attributes: str = "") -> str:
        """The URL of this database as another role, made anew for this database and dropped with it."""
        role = f"{self.name}_{name}"
        self.run(f'CREATE ROLE "{role}" LOGIN {attributes}')
        return self.server.url(self.name, role)


class Server:
    """One PostgreSQL server with data of its own."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.settings = {**SETTINGS, **settings}
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "postgres", role: str = "postgres") -> str:
        """Where to connect to."""
        return f"postgresql://{role}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Start, or start again on the same data and port; returns when connections are taken."""
        self.port = self.port or free_port()
        settings = {**self.settings, "port": str(self.port), "unix_socket_directories": str(self.folder)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*as_server_user(), program("postgres"), "-D", self.folder / "data", *options], stdout=log, stderr=log
            )
        eventually(self._answers, f"the server in {self.folder} takes connections")

    def stop(self) -> None:
        """Shut down in order, open sessions cut off."""
        self._end(signal.SIGINT)

    def crash(self) -> None:
        """End as in a power cut: no shutdown checkpoint, recovery at the next start."""
        self._end(signal.SIGQUIT)

    def restart_as_standby(self) -> None:
        """Come back following nobody: it can be read, not written to."""
        self.stop()
        signal_file = self.folder / "data" / "standby.signal"
        signal_file.touch()
        if os.geteuid() == 0:
            shutil.chown(signal_file, "postgres", "postgres")
        self.start()

    def promote(self) -> None:
        """Make a standby the primary, as in a failover: a new timeline begins."""
        main = Database(self, "postgres")
        main.rows("SELECT pg_promote()")
        eventually(lambda: not main.value("SELECT pg_is_in_recovery()"), "the server is promoted")

    def freeze(self) -> None:
        """Let the main process answer nobody until `thaw`; sessions that are open go on."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it answer again."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)

    @contextmanager
    def database(self) -> Iterator[Database]:
        """A fresh database, dropped afterwards with its slots and roles, whoever still uses it."""
        name = f"test_{os.getpid()}_{next(_numbers)}"
        main = Database(self, "postgres")
        # By files it takes half the time that it takes by the log, which versions before 15 don't know.
        way = "STRATEGY file_copy" if main.value("SHOW server_version_num") >= "150000" else ""
        main.run(f'CREATE DATABASE "{name}" {way}')
        try:
            yield Database(self, name)
        finally:
            if self._process:
                drop(main, name)

    def _answers(self) -> bool:
        assert self._process
        if self._process.poll() is not None:
            pytest.fail(f"PostgreSQL ended:\n{(self.folder / 'log').read_text(errors='replace')[-2000:]}")
        try:
            psycopg.connect(self.url(), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _end(self, how: signal.Signals) -> None:
        if self._process:
            self._process.send_signal(how)
            self._process.send_signal(signal.SIGCONT)
            self._process.wait(PATIENCE_SECONDS)
            self._process = None


def drop(main: Database, name: str) -> None:
    """Drop a database of that server with everything that hangs on it."""
    prepared = f"SELECT format('ROLLBACK PREPARED %L', gid) FROM pg_prepared_xacts WHERE database = '{name}'"
    for (statement,) in main.rows(prepared):
        Database(main.server, name).run(statement)

    def is_free() -> bool:
        slots = f"FROM pg_replication_slots WHERE database = '{name}'"
        main.rows(f"SELECT pg_terminate_backend(active_pid) {slots} AND active")
        try:
            main.rows(f"SELECT pg_drop_replication_slot(slot_name) {slots} AND NOT active")
        except psycopg.errors.ObjectInUse:
            return False
        return main.rows(f"SELECT 1 {slots}") == []

    eventually(is_free, f"the slots of {name} are dropped")
    # What Holdfast left beside it, if it did: a test that fails so must not make others fail.
    left = main.rows(f"SELECT datname FROM pg_database WHERE datname ~ '^({name}|holdfast)_'")
    for each in (name, *(found for (found,) in left)):
        main.run(f'DROP DATABASE IF EXISTS "{each}" WITH (FORCE)')
    for (role,) in main.rows(f"SELECT rolname FROM pg_roles WHERE starts_with(rolname, '{name}_')"):
        main.run(f'DROP ROLE "{role}"')


def program(name: str) -> Path:
    """A program of the newest server installed; without one the run fails and says what to install."""
    versions = [each for each in Path("/usr/lib/postgresql").glob("*") if (each / "bin" / name).exists()]
    newest = max(versions, key=lambda each: int(each.name), default=None)
    found = str(newest / "bin" / name) if newest else shutil.which(name)
    if not found:
        pytest.fail(f"no PostgreSQL server on this machine ({name}): scripts/setup.sh test installs one", pytrace=False)
    return Path(found)


def as_server_user() -> list[str]:
    """What to put before a program of the server: it refuses to run as root, and must not outlive this process."""
    user = ["--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    return ["setpriv", *user, "--pdeathsig=INT", "--"]


def make_cluster(folder: Path) -> None:
    """Make the data of a new server below an empty folder."""
    options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
    command = [*as_server_user(), str(program("initdb")), "-D", str(folder / "data"), *options]
    subprocess.run(command, check=True, capture_output=True, cwd=folder)


def copy_cluster(folder: Path) -> None:
    """The same, by a copy of what another process made."""

    def make(empty: Path) -> None:
        give_to_server(empty)
        make_cluster(empty)

    copy_made_once("postgres", make, folder / "data")


def give_to_server(folder: Path) -> None:
    """Let the server's user own a folder."""
    if os.geteuid() == 0:
        try:
            user = pwd.getpwnam("postgres")
        except KeyError:
            pytest.fail("no user postgres on this machine: scripts/setup.sh test installs PostgreSQL")
        os.chown(folder, user.pw_uid, user.pw_gid)


@contextmanager
def server_folder() -> Iterator[Path]:
    """An empty folder that the server's user may own, with a path short enough for a socket."""
    folder = Path(tempfile.mkdtemp(prefix="holdfast-pg-"))
    try:
        give_to_server(folder)
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def new_server(make: Callable[[Path], None] = make_cluster, **settings: str) -> Iterator[Server]:
    """A running server with new data; stopped and removed afterwards."""
    with server_folder() as folder:
        make(folder)
        server = Server(folder, **settings)
        try:
            server.start()
            yield server
        finally:
            server.stop()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """The one server of this test process. Its settings are everybody's: change none."""
    # Its data name it as the one server in the world that it is: among those of one process, only one is a copy.
    with new_server(copy_cluster) as server:
        yield server


@pytest.fixture
def postgres(postgres_server: Server) -> Iterator[Database]:
    """A fresh database; its `url` is for the code under test."""
    with postgres_server.database() as database:
        yield database


@pytest.fixture
def postgres_servers() -> Iterator[Callable[..., Server]]:
    """Start servers of this test's own: `postgres_servers(max_slot_wal_keep_size="16MB")`."""
    with ExitStack() as stack:
        yield lambda **settings: stack.enter_context(new_server(**settings))
