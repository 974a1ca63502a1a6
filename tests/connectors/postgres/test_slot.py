"""Slots and publications: a stream goes on exactly from its snapshot, or it is said what was lost and why."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import psycopg
import pytest

from holdfast.connectors.postgres.connection import connect
from holdfast.connectors.postgres.position import Position, lsn_number, lsn_text
from holdfast.connectors.postgres.publication import candidates, publication_names, publication_statements, publish
from holdfast.connectors.postgres.replication import stream
from holdfast.connectors.postgres.slot import (
    Finding,
    Slot,
    Trouble,
    create_slot,
    drop_slot,
    examine,
    identify,
    inspect_slot,
)
from holdfast.errors import HoldfastError, Refused, Unreachable, Usage
from tests.connectors.postgres.following import SLOT, Follower, images
from tests.postgres_server import Database, Server
from tests.waiting import eventually


def found(database: Database, kept: Position) -> Finding | None:
    """What is found before following on from `kept`."""
    with connect(database.url, replication=True) as replication:
        return examine(replication, SLOT, kept)


def slot_of(database: Database) -> Slot:
    with connect(database.url) as connection:
        slot = inspect_slot(connection, SLOT)
    assert slot
    return slot


def forget_slot(database: Database) -> None:
    with connect(database.url) as connection:
        drop_slot(connection, SLOT)


def publish_all(database: Database) -> tuple[str, ...]:
    """Publish every table; the statements that are needed afterwards: none."""
    with connect(database.url) as connection:
        publish(connection, SLOT, candidates(connection))
        return publication_statements(connection, SLOT, candidates(connection))


@pytest.mark.parametrize(("text", "number"), [("0/0", 0), ("0/16B3748", 0x16B3748), ("A/1", 0xA00000001)])
def test_places_in_the_log_are_numbers(text: str, number: int) -> None:
    """PostgreSQL writes them as two halves."""
    assert lsn_number(text) == number
    assert lsn_text(number) == text


def test_the_snapshot_of_a_slot_and_its_stream_miss_and_repeat_nothing(postgres: Database) -> None:
    """Rows committed before are in the snapshot, rows after are in the stream; other sessions share the snapshot."""
    postgres.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    publish_all(postgres)
    with create_slot(postgres.url, SLOT) as made:
        postgres.run("INSERT INTO t VALUES (2)")
        with psycopg.connect(postgres.url) as reader:
            reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            reader.execute(f"SET TRANSACTION SNAPSHOT '{made.snapshot}'".encode())
            assert reader.execute("SELECT id FROM t").fetchall() == [(1,)]
    with stream(postgres.url, SLOT, publication_names(SLOT), made.position) as changes:
        block = next(each for each in changes.blocks(threading.Event()) if each.transactions)
    assert images(block, "t") == [("I", ("2",))]


def test_a_first_read_that_fails_leaves_no_slot_behind(postgres: Database) -> None:
    """A slot that nobody reads would fill the server's disk."""
    with pytest.raises(ZeroDivisionError), create_slot(postgres.url, SLOT):
        1 / 0  # noqa: B018
    assert postgres.rows("SELECT slot_name FROM pg_replication_slots WHERE database = current_database()") == []


def test_a_slot_that_can_t_be_made_is_refused_with_a_way_out(postgres: Database) -> None:
    """A name that is taken, a name that no slot may have, a role without the right."""
    Follower(postgres)
    with pytest.raises(Refused, match="is a slot holdfast already"), create_slot(postgres.url, SLOT):
        pass
    with pytest.raises(Usage, match="takes no slot"), create_slot(postgres.url, "Große"):
        pass
    with pytest.raises(Refused, match="superuser or replication role"), create_slot(postgres.role("nobody"), "s"):
        pass


def test_a_slot_says_how_much_is_kept_for_it(postgres: Database) -> None:
    """What the server keeps grows with what is written, until the reader confirms."""
    follower = Follower(postgres)
    postgres.run("CREATE TABLE t (v text)", "INSERT INTO t SELECT repeat('x', 100) FROM generate_series(1, 1000)")
    slot = slot_of(postgres)
    assert (slot.name, slot.plugin, slot.database) == (SLOT, "pgoutput", postgres.name)
    assert (slot.wal_status, slot.active_pid, slot.safe_bytes) == ("reserved", None, None)
    assert slot.confirmed_lsn == follower.kept.lsn
    assert slot.kept_bytes is not None
    assert slot.kept_bytes > 100_000
    follower.read()
    eventually(lambda: slot_of(postgres).confirmed_lsn == follower.kept.lsn, "what was read is confirmed")
    with connect(postgres.url) as connection:
        assert inspect_slot(connection, "another") is None


def test_a_slot_is_dropped_once_nobody_reads_from_it(postgres: Database) -> None:
    """While it is read from, that is Unreachable; a slot that is gone already is no error."""
    follower = Follower(postgres)
    with (
        stream(postgres.url, SLOT, publication_names(SLOT), follower.kept),
        pytest.raises(Unreachable, match="is active"),
    ):
        forget_slot(postgres)
    eventually(lambda: slot_of(postgres).active_pid is None)
    forget_slot(postgres)
    forget_slot(postgres)


def test_a_slot_that_is_in_order_is_found_so(postgres: Database) -> None:
    """Also when the reader kept more than it could confirm."""
    follower = Follower(postgres)
    assert found(postgres, follower.kept) is None
    follower.read()
    assert found(postgres, follower.kept) is None
    postgres.run("CREATE TABLE later (id int)")
    assert found(postgres, replace(follower.kept, lsn=follower.kept.lsn + 100)) is None


def test_a_server_whose_log_ends_before_where_reading_ended_is_found(postgres: Database) -> None:
    """An older copy of its data has the same name, system and timeline, and may have the slot."""
    follower = Follower(postgres)
    finding = found(postgres, replace(follower.kept, lsn=follower.kept.lsn + (1 << 40)))
    assert finding is not None
    assert finding.trouble is Trouble.BEHIND


def test_a_slot_made_anew_is_found_though_the_server_would_not_say(postgres: Database) -> None:
    """The server streams on from a later place without a word: the rows between would be missed in silence."""
    postgres.run("CREATE TABLE t (id int PRIMARY KEY)")
    follower = Follower(postgres)
    forget_slot(postgres)
    postgres.run("INSERT INTO t VALUES (1)")
    missing = found(postgres, follower.kept)
    assert missing
    assert (missing.trouble, missing.kept) == (Trouble.MISSING, follower.kept)
    with create_slot(postgres.url, SLOT) as made:
        pass
    beyond = found(postgres, follower.kept)
    assert beyond
    assert (beyond.trouble, beyond.kept, beyond.until) == (Trouble.BEYOND, follower.kept, made.position.lsn)
    with pytest.raises(Refused, match="made anew") as caught:
        follower.read()
    assert lsn_text(follower.kept.lsn) in caught.value.message
    # What the server itself does when asked: it starts, and the row is not there.
    postgres.run("INSERT INTO t VALUES (2)")
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        sent = connection.execute(
            "SELECT count(*) FROM pg_logical_slot_get_binary_changes('holdfast', NULL, NULL,"
            " 'proto_version', '1', 'publication_names', 'holdfast') WHERE get_byte(data, 0) = ascii('I')"
        ).fetchone()
    assert sent == (2,)  # the mark and row 2: nothing of row 1


def test_a_slot_that_another_program_read_from_is_found(postgres: Database) -> None:
    """Whoever else consumed it, what it took is a gap."""
    follower = Follower(postgres)
    postgres.run("INSERT INTO mark VALUES (77)")
    postgres.rows("SELECT pg_replication_slot_advance('holdfast', pg_current_wal_lsn())")
    finding = found(postgres, follower.kept)
    assert finding
    assert finding.trouble is Trouble.BEYOND


def test_a_slot_given_up_for_the_limit_is_found(postgres_servers: Callable[..., Server]) -> None:
    """The limit saves the server's disk, and the loss has a name and a beginning."""
    server = postgres_servers(max_slot_wal_keep_size="1MB", wal_keep_size="0", min_wal_size="32MB", max_wal_size="32MB")
    with server.database() as database:
        database.run("CREATE TABLE t (v text)")
        follower = Follower(database)
        safe = slot_of(database).safe_bytes
        assert safe is not None
        assert safe > 0
        for _ in range(4):
            database.run("INSERT INTO t SELECT repeat('x', 1000) FROM generate_series(1, 10000)")
            database.run("SELECT pg_switch_wal()", "CHECKPOINT")
        assert slot_of(database).wal_status == "lost"
        finding = found(database, follower.kept)
        assert finding
        assert (finding.trouble, finding.kept) == (Trouble.LOST, follower.kept)
        assert "max_slot_wal_keep_size" in finding.fact
        with pytest.raises(Refused, match="gave up the slot"):
            follower.read()


def test_another_server_at_the_same_address_is_found(postgres: Database) -> None:
    """Its numbers mean nothing for what was read before, even where the slot has the same name."""
    follower = Follower(postgres)
    finding = found(postgres, replace(follower.kept, system="7000000000000000001"))
    assert finding
    assert finding.trouble is Trouble.OTHER_SYSTEM
    follower.kept = replace(follower.kept, system="7000000000000000001")
    with pytest.raises(Refused, match="another server"):
        follower.read()


def test_a_server_that_was_recovered_or_failed_over_is_found(postgres_servers: Callable[..., Server]) -> None:
    """A recovery begins a new timeline; its log may lack the last changes that were read, and has others."""
    server = postgres_servers()
    with server.database() as database:
        follower = Follower(database)
        server.restart_as_standby()
        server.promote()
        finding = found(database, follower.kept)
        assert finding
        assert finding.trouble is Trouble.OTHER_TIMELINE
        with connect(database.url, replication=True) as replication:
            assert identify(replication).timeline == follower.kept.timeline + 1


def test_publications_send_all_of_a_table_with_identity_and_never_break_one_without(postgres: Database) -> None:
    """The application's own updates and deletes go on as before, whatever identity its tables have."""
    postgres.run(
        "CREATE TABLE keyed (id int PRIMARY KEY, v int)",
        "CREATE TABLE full_row (v int)",
        "ALTER TABLE full_row REPLICA IDENTITY FULL",
        "CREATE TABLE indexed (id int NOT NULL UNIQUE, v int)",
        "ALTER TABLE indexed REPLICA IDENTITY USING INDEX indexed_id_key",
        "CREATE TABLE bare (v int)",
        "CREATE TABLE nothing (id int PRIMARY KEY, v int)",
        "ALTER TABLE nothing REPLICA IDENTITY NOTHING",
        "CREATE TABLE late (id int PRIMARY KEY DEFERRABLE, v int)",
        "CREATE TABLE unique_only (id int NOT NULL UNIQUE, v int)",
        "CREATE UNLOGGED TABLE fleeting (id int PRIMARY KEY, v int)",
        "CREATE TABLE parent (id int PRIMARY KEY, v int)",
        "CREATE TABLE child () INHERITS (parent)",
        "CREATE TABLE parts (id int PRIMARY KEY, v int) PARTITION BY RANGE (id)",
        "CREATE TABLE part PARTITION OF parts FOR VALUES FROM (0) TO (100)",
        "CREATE TABLE loose (id int, v int) PARTITION BY RANGE (id)",
        "ALTER TABLE loose REPLICA IDENTITY FULL",
        "CREATE TABLE loose_part PARTITION OF loose FOR VALUES FROM (0) TO (100)",
        "CREATE TABLE whole (id int, v int) PARTITION BY RANGE (id)",
        "ALTER TABLE whole REPLICA IDENTITY FULL",
        "CREATE TABLE whole_part PARTITION OF whole FOR VALUES FROM (-9) TO (0)",
        "ALTER TABLE whole_part REPLICA IDENTITY FULL",
    )
    assert publish_all(postgres) == ()
    postgres.run("CREATE TABLE whole_later PARTITION OF whole FOR VALUES FROM (0) TO (100)")
    members = postgres.rows("SELECT pubname, tablename FROM pg_publication_tables")
    tables = {
        name: {table for publication, table in members if publication == name} for name in publication_names(SLOT)
    }
    assert tables == {
        "holdfast": {"keyed", "full_row", "indexed", "parent", "parts"},
        "holdfast_inserts": {"bare", "nothing", "late", "unique_only", "child", "loose", "whole"},
    }
    for table in (*tables["holdfast"], *tables["holdfast_inserts"], "fleeting"):
        column = "v" if table in ("full_row", "bare") else "id, v"
        values = "1" if column == "v" else "1, 1"
        postgres.run(f"INSERT INTO {table} ({column}) VALUES ({values})", f"UPDATE {table} SET v = 2")
        postgres.run(f"DELETE FROM {table}", f"TRUNCATE {table}")
    # And this is what they are spared.
    postgres.run("CREATE PUBLICATION careless FOR TABLE bare", "INSERT INTO bare VALUES (1)")
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="does not have a replica identity"):
        postgres.run("UPDATE bare SET v = 2")


def test_publications_follow_the_tables_as_they_come_and_go(postgres: Database) -> None:
    """New tables, dropped ones, an identity gained, filters and options someone altered: all is put right again."""
    postgres.run("CREATE TABLE a (id int PRIMARY KEY, v text)", "CREATE TABLE b (v text)")
    assert publish_all(postgres) == ()
    postgres.run("CREATE TABLE c (id int PRIMARY KEY)", "DROP TABLE a", "ALTER TABLE b REPLICA IDENTITY FULL")
    with connect(postgres.url) as connection:
        needed = publication_statements(connection, SLOT, candidates(connection))
    assert needed == (
        'ALTER PUBLICATION "holdfast" SET TABLE ONLY "public"."b", ONLY "public"."c"',
        'ALTER PUBLICATION "holdfast_inserts" DROP TABLE ONLY "public"."b"',
    )
    assert publish_all(postgres) == ()
    for meddling in (
        "ALTER PUBLICATION holdfast SET TABLE b WHERE (v <> 'x'), c",
        "ALTER PUBLICATION holdfast SET TABLE b (v), c",
        "ALTER PUBLICATION holdfast SET (publish = 'insert')",
        "ALTER PUBLICATION holdfast SET (publish_via_partition_root = false)",
        "DROP PUBLICATION holdfast; CREATE PUBLICATION holdfast FOR ALL TABLES",
        "DROP PUBLICATION holdfast_inserts",
    ):
        postgres.run(meddling)
        with connect(postgres.url) as connection:
            assert publication_statements(connection, SLOT, candidates(connection)) != ()
        assert publish_all(postgres) == ()


def test_a_role_that_owns_no_table_is_refused_what_only_owners_may(postgres: Database) -> None:
    """Nothing of the publications is made then: all or none."""
    postgres.run("CREATE TABLE a (id int PRIMARY KEY)")
    url = postgres.role("guest")
    with connect(url) as connection, pytest.raises(Refused, match="permission denied"):
        publish(connection, SLOT, candidates(connection))
    assert postgres.rows("SELECT pubname FROM pg_publication") == []


def test_a_publication_that_somebody_else_makes_just_then_is_tried_again(postgres: Database) -> None:
    """A dump that is put back brings publications along: whoever comes second waits, and may try again."""
    postgres.run("CREATE TABLE t (id int PRIMARY KEY)")
    failed: list[HoldfastError] = []

    def make() -> None:
        with connect(postgres.url) as connection:
            try:
                publish(connection, "holdfast", candidates(connection))
            except HoldfastError as error:
                failed.append(error)

    with psycopg.connect(postgres.url) as other:
        other.execute("CREATE PUBLICATION holdfast")
        maker = threading.Thread(target=make)
        maker.start()
        waiting = f"SELECT 1 FROM pg_stat_activity WHERE datname = '{postgres.name}' AND wait_event_type = 'Lock'"
        eventually(lambda: postgres.rows(waiting), "it waits for the other")
    maker.join(60)
    assert [type(each) for each in failed] == [Unreachable]
    make()
    assert len(failed) == 1
    assert postgres.value("SELECT count(*) FROM pg_publication_tables WHERE pubname = 'holdfast'") == 1
