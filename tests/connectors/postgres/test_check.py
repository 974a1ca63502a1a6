"""What stands in the way is found before anything is touched, and the statement that goes with it mends it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from holdfast.connectors.postgres.check import Kind, check
from holdfast.connectors.postgres.connection import connect
from holdfast.connectors.postgres.definitions import schema_records
from holdfast.connectors.postgres.publication import publication_names
from holdfast.connectors.postgres.replication import stream
from holdfast.connectors.postgres.slot import create_slot, drop_slot, inspect_slot
from holdfast.core.feed import Obstacle
from holdfast.errors import Refused, Unreachable
from tests.connectors.postgres.following import SLOT, images
from tests.postgres_server import Database, Server
from tests.waiting import eventually


def obstacles(url: str, kind: Kind) -> list[Obstacle]:
    return [each for each in check(url) if each.kind is kind]


def mend(database: Database, obstacle: Obstacle) -> None:
    """Do what the obstacle says, as a superuser."""
    database.run(*obstacle.mend.split(";\n"))


def assert_mended(database: Database, kind: Kind, *, blocking: bool) -> str:
    """One obstacle of that kind is found; after its statement none is. Its fact."""
    (found,) = obstacles(database.url, kind)
    assert found.is_blocking is blocking
    mend(database, found)
    assert obstacles(database.url, kind) == []
    return found.fact


@pytest.fixture
def server(postgres_servers: Callable[..., Server]) -> Callable[..., Database]:
    """A server set up otherwise, and its own database."""

    def start(**settings: str) -> Database:
        return Database(postgres_servers(**settings), "postgres")

    return start


def test_a_database_in_order_has_nothing_in_the_way(server: Callable[..., Database]) -> None:
    """A keyed table, a limit for slots, the owner's rights: the list is empty."""
    database = server(max_slot_wal_keep_size="1GB")
    database.run("CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t VALUES (1, 'x')")
    assert check(database.url) == []


def test_checking_changes_nothing(postgres: Database) -> None:
    """No slot, no publication is left behind."""
    postgres.run("CREATE TABLE t (v text)")
    check(postgres.url)
    assert postgres.rows("SELECT pubname FROM pg_publication") == []
    assert postgres.rows("SELECT 1 FROM pg_replication_slots WHERE database = current_database()") == []


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (Kind.WAL_LEVEL, {"wal_level": "replica"}),
        (Kind.SLOTS, {"max_replication_slots": "0"}),
        (Kind.SENDERS, {"max_wal_senders": "0"}),
    ],
)
def test_settings_of_the_log_are_found_and_mended_by_a_restart(
    server: Callable[..., Database], kind: Kind, settings: dict[str, Any]
) -> None:
    """The statement is carried out, the server restarted, and a slot can be made."""
    database = server(**settings)
    (found,) = obstacles(database.url, kind)
    assert found.is_blocking
    assert "restart" in found.fact
    with pytest.raises((Refused, Unreachable)), create_slot(database.url, SLOT):
        pass
    mend(database, found)
    for name in settings:
        # What is given on the command line would stand above what was mended.
        del database.server.settings[name]
    database.server.stop()
    database.server.start()
    assert obstacles(database.url, kind) == []
    with create_slot(database.url, SLOT):
        pass


def test_a_slot_without_limit_is_found_and_mended(server: Callable[..., Database]) -> None:
    """The limit that is proposed is in force at once, and the slot then knows its budget."""
    database = server()
    fact = assert_mended(database, Kind.SLOT_LIMIT, blocking=False)
    assert "fill the server's disk" in fact
    with create_slot(database.url, SLOT), connect(database.url) as connection:
        slot = inspect_slot(connection, SLOT)
        assert slot
        assert slot.safe_bytes is not None
        assert slot.safe_bytes > 1 << 30


def test_a_server_that_does_not_list_the_plugin_is_found_and_mended(server: Callable[..., Database]) -> None:
    """Some builds of PostgreSQL allow only listed plugins."""
    database = server(wal_level="logical")
    if not database.rows("SELECT 1 FROM pg_settings WHERE name = 'output_plugin_libraries'"):
        assert obstacles(database.url, Kind.PLUGINS) == []
        return
    database.run("ALTER SYSTEM SET output_plugin_libraries = 'test_decoding'", "SELECT pg_reload_conf()")
    eventually(lambda: obstacles(database.url, Kind.PLUGINS), "the setting is in force")
    with pytest.raises((Refused, psycopg.Error)), create_slot(database.url, SLOT):
        pass
    (found,) = obstacles(database.url, Kind.PLUGINS)
    mend(database, found)
    eventually(lambda: not obstacles(database.url, Kind.PLUGINS), "the mended setting is in force")
    with create_slot(database.url, SLOT):
        pass


@pytest.mark.parametrize(
    ("made", "statement"),
    [
        (["CREATE TABLE t (id int NOT NULL, v int, UNIQUE (id))"], 'REPLICA IDENTITY USING INDEX "t_id_key"'),
        (["CREATE TABLE t (id int PRIMARY KEY)", "ALTER TABLE t REPLICA IDENTITY NOTHING"], 'USING INDEX "t_pkey"'),
        (["CREATE TABLE t (id int PRIMARY KEY DEFERRABLE, k int NOT NULL UNIQUE)"], "REPLICA IDENTITY FULL"),
        (
            ["CREATE TABLE t (a int NOT NULL, b int NOT NULL, c int NOT NULL, UNIQUE (b, c), UNIQUE (a))"],
            'USING INDEX "t_a_key"',
        ),
        (
            [
                "CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id)",
                "CREATE TABLE p PARTITION OF t FOR VALUES FROM (0) TO (9)",
                "ALTER TABLE t REPLICA IDENTITY NOTHING",
                "ALTER TABLE p REPLICA IDENTITY NOTHING",
            ],
            'ALTER TABLE "public"."p" REPLICA IDENTITY DEFAULT',
        ),
        (
            [
                "CREATE TABLE t (id int NOT NULL UNIQUE) PARTITION BY RANGE (id)",
                "CREATE TABLE p PARTITION OF t FOR VALUES FROM (0) TO (9)",
            ],
            'ADD PRIMARY KEY ("id")',
        ),
    ],
)
def test_a_table_without_identity_is_found_and_mended(postgres: Database, made: list[str], statement: str) -> None:
    """Each gets the identity that costs least; then its updates are published and the application's own still work."""
    postgres.run(*made)
    (found,) = obstacles(postgres.url, Kind.IDENTITY)
    assert (found.is_blocking, statement in found.mend) == (False, True)
    assert "updates and deletes can't be followed" in found.fact
    mend(postgres, found)
    assert obstacles(postgres.url, Kind.IDENTITY) == []
    postgres.run("CREATE PUBLICATION p FOR TABLE t")
    (column,) = postgres.rows("SELECT attname FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum = 1")[0]
    others = {"t_a_key": "(1, 2, 3)"}.get(statement.split('"')[1] if '"' in statement else "", "")
    columns = postgres.value("SELECT count(*) FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0")
    postgres.run(f"INSERT INTO t VALUES {others or '(' + ', '.join(['1'] * columns) + ')'}")
    postgres.run(f"UPDATE t SET {column} = '2'", "DELETE FROM t")


@pytest.mark.parametrize("made", ["(v int) PARTITION BY RANGE (v)", "(v text)", "(id int UNIQUE)"])
def test_a_table_without_any_key_is_told_what_it_lacks(postgres: Database, made: str) -> None:
    """No identity helps where equal records can't be told apart, and no statement without knowing its columns."""
    postgres.run(f"CREATE TABLE t {made}", "ALTER TABLE t REPLICA IDENTITY FULL")
    (found,) = obstacles(postgres.url, Kind.NO_KEY)
    assert "primary key" in found.mend
    assert obstacles(postgres.url, Kind.IDENTITY) == []


def test_an_identity_that_is_not_the_key_is_found_and_mended(postgres: Database) -> None:
    """Old rows would be named by columns that are not their record's key."""
    postgres.run(
        "CREATE TABLE t (id int PRIMARY KEY, k int NOT NULL UNIQUE)",
        "ALTER TABLE t REPLICA IDENTITY USING INDEX t_k_key",
    )
    fact = assert_mended(postgres, Kind.IDENTITY, blocking=False)
    assert "lacks columns of its key (id)" in fact


def test_large_values_that_may_come_unsent_are_found_and_mended(postgres: Database) -> None:
    """Only where there are any: a table of short texts is not talked about."""
    postgres.run("CREATE TABLE t (id int PRIMARY KEY, v text)", "ALTER TABLE t ALTER v SET STORAGE EXTERNAL")
    postgres.run("INSERT INTO t VALUES (1, 'short')")
    assert obstacles(postgres.url, Kind.LARGE_VALUES) == []
    postgres.run("INSERT INTO t VALUES (2, repeat('x', 100000))")
    fact = assert_mended(postgres, Kind.LARGE_VALUES, blocking=False)
    assert "not sent" in fact


def test_unlogged_and_foreign_tables_are_found(postgres: Database) -> None:
    """The one can be mended, the other is another server's."""
    postgres.run("CREATE UNLOGGED TABLE t (id int PRIMARY KEY)")
    assert_mended(postgres, Kind.UNLOGGED, blocking=False)
    postgres.run(
        "CREATE FOREIGN DATA WRAPPER w",
        "CREATE SERVER s FOREIGN DATA WRAPPER w",
        "CREATE FOREIGN TABLE f (v int) SERVER s",
    )
    (found,) = obstacles(postgres.url, Kind.FOREIGN)
    assert "public.f is a foreign table" in found.fact


def test_an_encoding_that_is_none_is_found_and_a_database_in_utf8_has_no_such_obstacle(postgres: Database) -> None:
    """SQL_ASCII says nothing about its bytes; LATIN1 can be turned into UTF-8."""
    main = Database(postgres.server, "postgres")
    for encoding, expected in (("SQL_ASCII", 1), ("LATIN1", 0)):
        name = f"{postgres.name}_{encoding.lower()}"
        main.run(f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LOCALE 'C'")
        try:
            found = obstacles(postgres.server.url(name), Kind.ENCODING)
            assert len(found) == expected
            for each in found:
                mend(main, each)
                assert obstacles(postgres.server.url(f"{name}_utf8"), Kind.ENCODING) == []
                main.run(f"DROP DATABASE {name}_utf8")
        finally:
            main.run(f"DROP DATABASE {name} WITH (FORCE)")


def test_a_role_is_told_each_right_it_lacks(postgres: Database) -> None:
    """Replication, schemas, tables, sequences and row security: statement by statement nothing is left."""
    postgres.run(
        "CREATE SCHEMA sales",
        "CREATE TABLE sales.t (id serial PRIMARY KEY)",
        "CREATE TABLE t (id int PRIMARY KEY)",
        "CREATE TABLE guarded (id int PRIMARY KEY)",
        "ALTER TABLE guarded ENABLE ROW LEVEL SECURITY",
    )
    url = postgres.role("guest")
    seen = []
    for _ in range(4):
        for each in check(url):
            if each.is_blocking:
                seen.append(each.kind)
                mend(postgres, each)
    assert set(seen) == {Kind.REPLICATION, Kind.READING, Kind.ROW_SECURITY, Kind.PUBLICATION}
    assert [each for each in check(url) if each.is_blocking] == []
    with psycopg.connect(url) as guest:
        assert guest.execute("SELECT count(*) FROM sales.t, t, guarded").fetchone() == (0,)


def test_the_least_rights_that_are_documented_suffice(postgres: Database) -> None:
    """A role with exactly those: nothing blocks, and it makes a slot, reads the snapshot, follows and cleans up."""
    postgres.run("CREATE SCHEMA sales", "CREATE TABLE sales.t (id serial PRIMARY KEY, v text)")
    url = postgres.role("holdfast", "REPLICATION")
    role = f'"{postgres.name}_holdfast"'
    postgres.run("REVOKE ALL ON SCHEMA public FROM PUBLIC", f"GRANT pg_read_all_data TO {role}")
    (publications,) = [each for each in check(url) if each.is_blocking]
    assert publications.kind is Kind.PUBLICATION
    mend(postgres, publications)
    assert [each for each in check(url) if each.is_blocking] == []
    postgres.run("INSERT INTO sales.t VALUES (1, 'a')")
    with create_slot(url, SLOT) as made, psycopg.connect(url) as reader:
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        reader.execute(f"SET TRANSACTION SNAPSHOT '{made.snapshot}'".encode())
        assert reader.execute("SELECT * FROM sales.t").fetchall() == [(1, "a")]
        assert reader.execute("SELECT last_value FROM sales.t_id_seq").fetchone() == (1,)
    postgres.run("UPDATE sales.t SET v = 'b'")
    with stream(url, SLOT, publication_names(SLOT), made.position) as changes:
        block = next(each for each in changes.blocks(threading.Event()) if each.transactions)
        assert images(block, "t") == [("U", ("1", "b"))]
    eventually(lambda: postgres.rows("SELECT 1 FROM pg_replication_slots WHERE slot_name = 'holdfast' AND NOT active"))
    with connect(url) as connection:
        drop_slot(connection, SLOT)


def test_a_partition_that_the_role_can_not_read_is_named(postgres: Database) -> None:
    """Its rows could be read by way of its table, but pg_dump locks it for the definitions, and would be refused."""
    postgres.run("CREATE TABLE p (id int PRIMARY KEY) PARTITION BY LIST (id)", "CREATE TABLE p1 PARTITION OF p DEFAULT")
    url = postgres.role("guest", "REPLICATION")
    role = f'"{postgres.name}_guest"'
    postgres.run(f"GRANT SELECT ON p TO {role}")
    with pytest.raises(Refused, match="permission denied for table p1"):
        schema_records(url)
    (found,) = obstacles(url, Kind.READING)
    assert found.mend == f'GRANT SELECT ON "public"."p1" TO {role}'
    mend(postgres, found)
    assert obstacles(url, Kind.READING) == []
    assert schema_records(url).num_rows > 0


def test_a_table_made_later_is_found_missing_from_the_publications(postgres: Database) -> None:
    """A role that does not own it can't add it: the owner's statement is named."""
    postgres.run("CREATE TABLE a (id int PRIMARY KEY)")
    url = postgres.role("guest", "REPLICATION")
    postgres.run(f'GRANT pg_read_all_data TO "{postgres.name}_guest"')
    (first,) = obstacles(url, Kind.PUBLICATION)
    mend(postgres, first)
    postgres.run("CREATE TABLE b (id int PRIMARY KEY)")
    (second,) = obstacles(url, Kind.PUBLICATION)
    assert second.mend == 'ALTER PUBLICATION "holdfast" SET TABLE ONLY "public"."a", ONLY "public"."b"'
    mend(postgres, second)
    assert obstacles(url, Kind.PUBLICATION) == []


def test_a_standby_is_found(postgres_servers: Callable[..., Server]) -> None:
    """The primary is to be named instead."""
    server = postgres_servers()
    server.restart_as_standby()
    assert [each.kind for each in check(server.url()) if each.is_blocking] == [Kind.STANDBY]
