"""The server that the other tests here stand on."""

from __future__ import annotations

from collections.abc import Callable

from tests.postgres_server import Database, Server


def test_every_test_has_an_empty_database_of_its_own(postgres: Database) -> None:
    """What one test leaves behind, no other test sees."""
    assert postgres.value("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace") == 0
    postgres.run("CREATE TABLE t (id int)")
    postgres.value("SELECT pg_create_logical_replication_slot('left', 'pgoutput')")
    postgres.role("someone", "REPLICATION")


def test_a_server_can_crash_and_come_back(postgres_servers: Callable[..., Server]) -> None:
    """What was committed before a crash is there after it, at the same address."""
    server = postgres_servers(max_slot_wal_keep_size="16MB")
    with server.database() as database:
        database.run("CREATE TABLE t (id int)", "INSERT INTO t VALUES (1)")
        server.crash()
        server.start()
        assert database.rows("SELECT id FROM t") == [(1,)]
        assert database.value("SHOW max_slot_wal_keep_size") == "16MB"
