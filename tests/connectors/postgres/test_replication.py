"""Following a real server: everything that was committed comes once, in order and whole, whatever happens between."""

from __future__ import annotations

import threading
import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise

import psycopg
import pytest

from holdfast.connectors.postgres.catalog import load_catalog
from holdfast.connectors.postgres.connection import connect
from holdfast.connectors.postgres.pgoutput import Changes, Truncate
from holdfast.connectors.postgres.publication import publication_names
from holdfast.connectors.postgres.replication import BLOCK_BYTES, Stream, stream
from holdfast.connectors.postgres.slot import inspect_slot
from holdfast.errors import Refused, Unreachable
from tests.connectors.postgres.following import SLOT, Follower, carried_out, images, relations, transaction
from tests.postgres_server import Database, Server
from tests.waiting import eventually


def confirmed(database: Database) -> int | None:
    """Where the server believes its reader to be."""
    with psycopg.connect(database.url, autocommit=True) as connection:
        slot = inspect_slot(connection, SLOT)
        assert slot
        return slot.confirmed_lsn


def confirm_all(changes: Stream) -> None:
    """Read to the bitter end, confirming all."""
    for block in changes.blocks(threading.Event()):
        changes.confirm(block.end_lsn)


def test_each_commit_comes_once_with_its_number_place_and_time(postgres: Database) -> None:
    """What the server knows of a commit is what the stream tells of it."""
    postgres.run("CREATE TABLE t (id int PRIMARY KEY, v text)")
    follower = Follower(postgres)
    before = datetime.now(UTC).timestamp() * 1e6
    with transaction(postgres) as application:
        application.execute("INSERT INTO t VALUES (1, 'a'), (2, ''), (3, NULL)")
        ((xid,),) = application.execute("SELECT txid_current()").fetchall()
    blocks = follower.read()
    first = blocks[0].transactions[0]
    assert first.xid == xid
    assert before <= first.committed <= datetime.now(UTC).timestamp() * 1e6
    assert 0 < first.commit_lsn < first.end_lsn <= blocks[0].end_lsn
    assert images(blocks[0], "t") == [("I", ("1", "a")), ("I", ("2", "")), ("I", ("3", None))]
    assert follower.images("t") == []


def test_updates_deletes_and_keys_that_change_come_to_the_same_table(postgres: Database) -> None:
    """A key that changes is gone under its old value; a key may be given on within one statement."""
    postgres.run("CREATE TABLE t (id int PRIMARY KEY, v text)")
    follower = Follower(postgres)
    postgres.run("INSERT INTO t SELECT n, 'v' || n FROM generate_series(1, 5) n")
    postgres.run(
        "UPDATE t SET v = 'new' WHERE id = 2", "DELETE FROM t WHERE id = 3", "UPDATE t SET id = 30 WHERE id = 4"
    )
    told = follower.images("t")
    assert told[5:] == [
        ("U", ("2", "new")),
        ("D", ("3", None)),
        ("R", ("4", None)),
        ("U", ("30", "v4")),
    ]
    assert set(carried_out(told).values()) == set(postgres.rows("SELECT id::text, v FROM t"))


@pytest.mark.parametrize(("identity", "sent"), [("DEFAULT", "?"), ("FULL", "x" * 100_000)])
def test_a_large_value_left_alone_is_known_or_said_to_be_unknown(postgres: Database, identity: str, sent: str) -> None:
    """Under REPLICA IDENTITY FULL it is there; else it is named as not sent, and never is NULL or a placeholder."""
    postgres.run("CREATE TABLE t (id int PRIMARY KEY, v text, n int)", "ALTER TABLE t ALTER v SET STORAGE EXTERNAL")
    postgres.run(f"ALTER TABLE t REPLICA IDENTITY {identity}", "INSERT INTO t VALUES (1, repeat('x', 100000), 0)")
    follower = Follower(postgres)
    postgres.run("UPDATE t SET n = 1")
    assert follower.images("t")[-1] == ("U", ("1", sent, "1"))


def test_truncate_of_several_tables_empties_them_between_two_rows(postgres: Database) -> None:
    """One statement, cascading along references, with rows before and after it in the same transaction."""
    postgres.run("CREATE TABLE a (id int PRIMARY KEY)", "CREATE TABLE b (id int PRIMARY KEY, a int REFERENCES a)")
    postgres.run("CREATE TABLE c (v text)")
    follower = Follower(postgres)
    with transaction(postgres) as application:
        application.execute("INSERT INTO a VALUES (1)")
        application.execute("INSERT INTO b VALUES (1, 1)")
        application.execute("INSERT INTO c VALUES ('kept')")
        application.execute("TRUNCATE a RESTART IDENTITY CASCADE")
        application.execute("INSERT INTO a VALUES (2)")
    blocks = follower.read()
    assert images(blocks[0], "a") == [("I", ("1",)), ("T", ()), ("I", ("2",))]
    assert images(blocks[0], "b") == [("I", ("1", "1")), ("T", ())]
    assert images(blocks[0], "c") == [("I", ("kept",))]
    (emptied,) = [part for part in blocks[0].parts if isinstance(part, Truncate)]
    assert (emptied.is_cascade, emptied.restarts_identity) == (True, True)
    postgres.run("TRUNCATE c")
    assert follower.images("c") == [("T", ())]


def test_what_was_rolled_back_never_comes(postgres: Database) -> None:
    """Neither a whole transaction nor a savepoint within one, nor one that was prepared and then given up."""
    postgres.run("CREATE TABLE t (id int PRIMARY KEY)")
    follower = Follower(postgres)
    with transaction(postgres) as application:
        application.execute("INSERT INTO t VALUES (1)")
        application.execute("SAVEPOINT a")
        application.execute("INSERT INTO t VALUES (2)")
        application.execute("SAVEPOINT b")
        application.execute("INSERT INTO t VALUES (3)")
        application.execute("ROLLBACK TO a")
        application.execute("INSERT INTO t VALUES (4)")
        application.execute("RELEASE a")
    postgres.run("BEGIN; INSERT INTO t VALUES (5); ROLLBACK")
    postgres.run("BEGIN; INSERT INTO t VALUES (6); PREPARE TRANSACTION 'given up'", "ROLLBACK PREPARED 'given up'")
    assert follower.images("t") == [("I", ("1",)), ("I", ("4",))]


def test_a_prepared_transaction_comes_when_it_is_committed(postgres: Database) -> None:
    """What is prepared is not yet so: it belongs behind what was committed in between."""
    postgres.run("CREATE TABLE t (id int PRIMARY KEY)")
    follower = Follower(postgres)
    postgres.run("BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'later'", "INSERT INTO t VALUES (2)")
    assert follower.images("t") == [("I", ("2",))]
    postgres.run("COMMIT PREPARED 'later'")
    assert follower.images("t") == [("I", ("1",))]


def test_transactions_that_overlap_come_in_the_order_of_their_commits(postgres: Database) -> None:
    """The one that began first and ended last comes last, and each in one piece."""
    postgres.run("CREATE TABLE t (id int PRIMARY KEY)")
    follower = Follower(postgres)
    with transaction(postgres) as slow:
        slow.execute("INSERT INTO t VALUES (1)")
        postgres.run("INSERT INTO t VALUES (2)")
        slow.execute("INSERT INTO t VALUES (3)")
        postgres.run("INSERT INTO t VALUES (4)")
    assert follower.images("t") == [("I", (each,)) for each in ("2", "4", "1", "3")]


def test_a_changed_definition_is_told_with_the_first_row_after_it(postgres: Database) -> None:
    """Added, renamed, retyped and dropped columns: every row comes with the columns it had."""
    postgres.run("CREATE TABLE t (id int PRIMARY KEY, v text)")
    follower = Follower(postgres)
    postgres.run("INSERT INTO t VALUES (1, 'a')", "ALTER TABLE t ADD w int DEFAULT 7", "INSERT INTO t VALUES (2, 'b')")
    postgres.run("ALTER TABLE t RENAME v TO x", "INSERT INTO t VALUES (3, 'c')", "ALTER TABLE t DROP x")
    postgres.run("UPDATE t SET w = 8 WHERE id = 1", "ALTER TABLE t ALTER w TYPE text", "DELETE FROM t WHERE id = 2")
    blocks = follower.read()
    told = [[column.name for column in each.columns] for each in relations(blocks, "t")]
    assert told == [["id", "v"], ["id", "v", "w"], ["id", "x", "w"], ["id", "w"], ["id", "w"]]
    assert [image for block in blocks for image in images(block, "t")] == [
        ("I", ("1", "a")),
        ("I", ("2", "b", "7")),
        ("I", ("3", "c", "7")),
        ("U", ("1", "8")),
        ("D", ("2", None)),
    ]


def test_a_large_transaction_comes_in_blocks_within_bounded_memory(postgres: Database) -> None:
    """A hundred thousand rows of one commit: many blocks, none much over its bound, only the last one says so."""
    postgres.run("CREATE TABLE t (id int PRIMARY KEY, v text)")
    follower = Follower(postgres)
    postgres.run("INSERT INTO t SELECT n, repeat(md5(n::text), 10) FROM generate_series(1, 100000) n")
    tracemalloc.start()
    try:
        seen, sizes = [], []
        for block in follower.stream_to_mark():
            sizes.append((block.size, block.is_last))
            seen += [
                int(value)
                for part in block.parts
                if isinstance(part, Changes) and part.relation.name == "t"
                for value in part.values[::2]
                if value is not None
            ]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert seen == list(range(1, 100_001))
    assert [is_last for _, is_last in sizes[:5]] == [False, False, False, False, True]
    assert max(size for size, _ in sizes) < BLOCK_BYTES + 1_000
    assert peak < 64 << 20


def test_what_was_not_confirmed_comes_again_and_what_was_kept_does_not(postgres: Database) -> None:
    """A follower that ends before it kept a block gets it again; from a kept position on nothing comes twice."""
    postgres.run("CREATE TABLE t (id int PRIMARY KEY)")
    follower = Follower(postgres)
    start = follower.kept
    postgres.run("INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)")
    for _ in range(2):
        with stream(postgres.url, SLOT, publication_names(SLOT), start) as changes:
            seen = []
            for block in changes.blocks(threading.Event()):
                seen += [image for _, image in images(block, "t")]
                if len(seen) == 2:
                    break
        assert seen == [("1",), ("2",)]
    assert confirmed(postgres) == start.lsn
    assert follower.images("t") == [("I", ("1",)), ("I", ("2",))]
    postgres.run("INSERT INTO t VALUES (3)")
    assert follower.images("t") == [("I", ("3",))]


def test_the_server_forgets_only_what_was_confirmed(postgres: Database) -> None:
    """The slot moves when `confirm` is called, to where it says, and at once."""
    postgres.run("CREATE TABLE t (id int PRIMARY KEY)")
    follower = Follower(postgres)
    with stream(postgres.url, SLOT, publication_names(SLOT), follower.kept) as changes:
        blocks = changes.blocks(threading.Event())
        postgres.run("INSERT INTO t VALUES (1)")
        first = next(each for each in blocks if each.transactions)
        postgres.run("INSERT INTO t VALUES (2)")
        second = next(each for each in blocks if each.transactions)
        assert confirmed(postgres) == follower.kept.lsn
        changes.confirm(first.end_lsn)
        reading = threading.Thread(target=next, args=(blocks, None))
        reading.start()
        eventually(lambda: confirmed(postgres) == first.end_lsn, "the first block is confirmed")
        changes.confirm(second.end_lsn)
        eventually(lambda: confirmed(postgres) == second.end_lsn, "the second block is confirmed")
        postgres.run("INSERT INTO t VALUES (3)")
        reading.join()


def test_log_that_is_not_followed_can_be_forgotten_too(postgres: Database) -> None:
    """A database whose other tables are busy moves on: a block without changes says how far."""
    postgres.run("CREATE UNLOGGED TABLE quiet (id int PRIMARY KEY)", "CREATE TABLE t (id int PRIMARY KEY)")
    follower = Follower(postgres)
    postgres.run("CREATE TABLE made_later (v text)", "INSERT INTO made_later SELECT repeat('x', 1000)")
    with stream(postgres.url, SLOT, publication_names(SLOT), follower.kept) as changes:
        block = next(changes.blocks(threading.Event()))
    assert (block.transactions, block.parts, block.is_last) == ([], [], True)
    assert block.end_lsn > follower.kept.lsn


def test_stop_ends_the_stream_within_a_second(postgres: Database) -> None:
    """Whether the server has something to say or not. The quickest of three counts: the machine may have other work."""
    follower = Follower(postgres)
    assert min(seconds_to_stop(postgres, follower) for _ in range(3)) < 1


def seconds_to_stop(postgres: Database, follower: Follower) -> float:
    """How long a stream goes on that was told to stop."""
    stop = threading.Event()
    with stream(postgres.url, SLOT, publication_names(SLOT), follower.kept) as changes:
        stopped_at: list[float] = []

        def order_stop() -> None:
            stopped_at.append(time.monotonic())
            stop.set()

        threading.Timer(0.3, order_stop).start()
        for _ in changes.blocks(stop):
            pass
    return time.monotonic() - stopped_at[0]


def test_a_lost_connection_is_safe_to_begin_again(postgres_servers: Callable[..., Server]) -> None:
    """A session ended, a server crashed: the error says so, and the stream goes on from what was kept."""
    server = postgres_servers()
    with server.database() as database:
        database.run("CREATE TABLE t (id int PRIMARY KEY)")
        follower = Follower(database)
        with stream(database.url, SLOT, publication_names(SLOT), follower.kept) as changes:
            end = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active"
            assert database.value(end)
            with pytest.raises(Unreachable, match=r"ended the stream|connection"):
                list(changes.blocks(threading.Event()))
        database.run("INSERT INTO t VALUES (1)")
        assert follower.images("t") == [("I", ("1",))]
        with stream(database.url, SLOT, publication_names(SLOT), follower.kept) as changes:
            server.crash()
            with pytest.raises(Unreachable):
                list(changes.blocks(threading.Event()))
        with pytest.raises(Unreachable), stream(database.url, SLOT, publication_names(SLOT), follower.kept):
            pass
        server.start()
        database.run("INSERT INTO t VALUES (2)")
        assert follower.images("t") == [("I", ("2",))]


def test_a_server_that_shuts_down_is_not_held_up(postgres_servers: Callable[..., Server]) -> None:
    """It waits for its reader to confirm the end of its log: the reader does, and the server goes."""
    server = postgres_servers()
    with server.database() as database:
        follower = Follower(database)
        with stream(database.url, SLOT, publication_names(SLOT), follower.kept) as changes:
            database.run("INSERT INTO mark VALUES (1)")
            changes.confirm(next(changes.blocks(threading.Event())).end_lsn)
            database.run("CREATE TABLE not_followed (v text)", "INSERT INTO not_followed VALUES ('x')")
            ending = threading.Thread(target=server.stop)
            began = time.monotonic()
            ending.start()
            with pytest.raises(Unreachable):
                confirm_all(changes)
            ending.join()
            # Without a word from its reader it would wait for a minute.
            assert time.monotonic() - began < 30
        server.start()


def test_a_slow_reader_is_not_taken_for_dead(postgres_servers: Callable[..., Server]) -> None:
    """While a block is worked on, signs of life keep the connection."""
    server = postgres_servers(wal_sender_timeout="3s")
    with server.database() as database:
        database.run("CREATE TABLE t (id int PRIMARY KEY)")
        follower = Follower(database)
        with stream(database.url, SLOT, publication_names(SLOT), follower.kept) as changes:
            blocks = changes.blocks(threading.Event())
            database.run("INSERT INTO t VALUES (1)")
            first = next(each for each in blocks if each.transactions)
            heard = "SELECT reply_time - backend_start > '5 s' FROM pg_stat_replication"
            eventually(lambda: database.value(heard), "signs of life past the server's patience")
            changes.confirm(first.end_lsn)
            database.run("INSERT INTO t VALUES (2)")
            assert images(next(each for each in blocks if each.transactions), "t") == [("I", ("2",))]


def test_a_publication_that_is_gone_is_named(postgres: Database) -> None:
    """No retry mends that: the error says what stands in the way."""
    postgres.run("CREATE TABLE t (id int PRIMARY KEY)")
    follower = Follower(postgres)
    postgres.run(f"DROP PUBLICATION {SLOT}", "INSERT INTO t VALUES (1)")
    with pytest.raises(Refused, match=f'publication "{SLOT}" does not exist'):
        follower.read()


def test_two_readers_don_t_share_a_slot(postgres: Database) -> None:
    """The second is told that the slot is in use, and may try again."""
    follower = Follower(postgres)
    with (
        stream(postgres.url, SLOT, publication_names(SLOT), follower.kept),
        pytest.raises(Unreachable, match="is active"),
        stream(postgres.url, SLOT, publication_names(SLOT), follower.kept),
    ):
        pass


def test_values_read_the_same_whatever_the_server_is_set_to(postgres: Database) -> None:
    """Settings of a database or role don't reach the stream: it shows values as every snapshot does."""
    postgres.run(
        "CREATE TABLE t (id int PRIMARY KEY, at timestamptz, d date, b bytea, f float8, i interval)",
        *(
            f"ALTER DATABASE {postgres.name} SET {each}"
            for each in (
                "DateStyle = 'SQL, DMY'",
                "TimeZone = 'Asia/Tokyo'",
                "bytea_output = escape",
                "extra_float_digits = -5",
                "IntervalStyle = iso_8601",
            )
        ),
    )
    follower = Follower(postgres)
    postgres.run("INSERT INTO t VALUES (1, '2026-03-01 18:55:59.9+00', '2026-03-02', 'é', 0.1::float8 + 0.2, '1 day')")
    row = ("1", "2026-03-01 18:55:59.9+00", "2026-03-02", "\\xc3a9", "0.30000000000000004", "1 day")
    assert follower.images("t") == [("I", row)]


def test_names_of_every_kind_are_followed(postgres: Database) -> None:
    """Quotes, dots, spaces and other scripts in names of schemas, tables and columns."""
    postgres.run("CREATE SCHEMA \"Vertrieb 'Süd'\"", 'CREATE TABLE "Vertrieb \'Süd\'"."a.""b" ("Nº" int PRIMARY KEY)')
    follower = Follower(postgres)
    postgres.run('INSERT INTO "Vertrieb \'Süd\'"."a.""b" VALUES (1)')
    blocks = follower.read()
    (described,) = relations(blocks, 'a."b')
    assert (described.schema, described.columns[0].name) == ("Vertrieb 'Süd'", "Nº")


def test_a_partitioned_table_speaks_for_its_partitions(postgres: Database) -> None:
    """Rows of all partitions, those made later too, and a row that moves between them, come under the one name."""
    postgres.run("CREATE TABLE t (id int, k int, PRIMARY KEY (id, k)) PARTITION BY LIST (k)")
    postgres.run("CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1)")
    follower = Follower(postgres)
    postgres.run("CREATE TABLE t2 PARTITION OF t FOR VALUES IN (2)")
    postgres.run(
        "INSERT INTO t VALUES (1, 1), (2, 2)", "INSERT INTO t2 VALUES (3, 2)", "UPDATE t SET k = 2 WHERE id = 1"
    )
    told = follower.images("t")
    assert told == [
        *(("I", ("1", "1")), ("I", ("2", "2")), ("I", ("3", "2"))),
        *(("D", ("1", "1")), ("I", ("1", "2"))),
    ]
    postgres.run("TRUNCATE t")
    assert follower.images("t") == [("T", ())]


def test_what_no_stream_tells_shows_in_the_catalog(postgres: Database) -> None:
    """One partition emptied or taken out, a column added: the server sends nothing, the catalog differs."""
    postgres.run(
        "CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id)",
        "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (9)",
        "CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (10) TO (19)",
        "INSERT INTO t VALUES (1), (11)",
    )
    follower = Follower(postgres)
    for change in ("TRUNCATE t1", "ALTER TABLE t DETACH PARTITION t2", "ALTER TABLE t ADD n int DEFAULT 7"):
        with connect(postgres.url) as connection:
            before = load_catalog(connection).tables["t"]
        postgres.run(change)
        assert follower.images("t") == []
        with connect(postgres.url) as connection:
            after = load_catalog(connection).tables["t"]
        assert (before.columns, before.storage) != (after.columns, after.storage)


def test_blocks_go_on_where_the_last_one_ended(postgres: Database) -> None:
    """Positions never go back, and each transaction ends within its block."""
    postgres.run("CREATE TABLE t (id int PRIMARY KEY)")
    follower = Follower(postgres)
    postgres.run(*(f"INSERT INTO t VALUES ({n})" for n in range(50)))
    blocks = follower.read()
    assert all(first.end_lsn <= second.end_lsn for first, second in pairwise(blocks))
    ends = [each.end_lsn for block in blocks for each in block.transactions]
    assert ends == sorted(ends)
    assert 0 not in ends
