"""The binlog is told as transactions: each with its name, its rows in order, and its end."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from holdfast.connectors.mysql.dump import Start, dump
from holdfast.connectors.mysql.events import Events
from holdfast.connectors.mysql.items import COMMITTED, PREPARED, ROLLED_BACK, Begin, End, File, Item, Rows, Statement
from holdfast.connectors.mysql.rows import DELETED, INSERTED, UPDATED
from holdfast.errors import Damaged, Unsupported
from tests.connectors.mysql.binlogs import gathered, here, told
from tests.mariadb_server import Database, Server, plugin


def shape(items: list[Item]) -> list[str]:
    """What was told, in short: B, rows as table:kind, statements by their first words, E with the outcome."""
    found = []
    for item in items:
        match item:
            case Rows():
                found.append(f"{item.table.name}:{chr(item.kind)}")
            case Statement():
                found.append(" ".join(item.text.split()[:2]).upper())
            case End():
                found.append(item.outcome)
            case _:
                found.append(type(item).__name__)
    return found


def test_a_transaction_is_told_with_its_name_rows_time_and_end(mariadb: Database) -> None:
    """Between its begin and its end lie its rows in order; where it ends the next one begins."""
    mariadb.run("CREATE TABLE a (id int PRIMARY KEY)", "CREATE TABLE b (id int PRIMARY KEY, n int)")
    start = here(mariadb)
    before = int(mariadb.value("SELECT UNIX_TIMESTAMP()"))
    mariadb.run(
        "BEGIN",
        "INSERT INTO a VALUES (1), (2)",
        "INSERT INTO b VALUES (1, 1)",
        "UPDATE b SET n = 2",
        "DELETE FROM a WHERE id = 1",
        "COMMIT",
        "UPDATE a, b SET a.id = 5, b.n = 7 WHERE a.id = 2",
    )
    after, gtid = int(mariadb.value("SELECT UNIX_TIMESTAMP()")), mariadb.value("SELECT @@gtid_binlog_pos")
    file, *items = told(mariadb, start)
    assert isinstance(file, File)
    assert file.name == start.file
    assert shape(items) == [
        *("Begin", "a:I", "b:I", "b:U", "a:D", COMMITTED),
        *("Begin", "a:U", "b:U", COMMITTED),
    ]
    begins = [item for item in items if isinstance(item, Begin)]
    ends = [item for item in items if isinstance(item, End)]
    assert [each.position for each in begins] == [start.position, ends[0].position]
    assert Start(ends[1].file, ends[1].position) == here(mariadb)
    assert begins[1].gtid == begins[1].name == gtid
    assert all(before * 10**6 <= each.at <= (after + 1) * 10**6 for each in begins)


def test_what_never_happened_is_not_told(mariadb: Database) -> None:
    """A transaction that was rolled back is not there, and neither is what a savepoint took back."""
    mariadb.run("CREATE TABLE t (id int PRIMARY KEY)")
    start = here(mariadb)
    mariadb.run("BEGIN", "INSERT INTO t VALUES (1)", "ROLLBACK")
    mariadb.run(
        *("BEGIN", "INSERT INTO t VALUES (2)", "SAVEPOINT s", "INSERT INTO t VALUES (3)", "ROLLBACK TO s"),
        *("INSERT INTO t VALUES (4)", "RELEASE SAVEPOINT s", "COMMIT"),
    )
    assert shape(told(mariadb, start)) == ["File", "Begin", "t:I", "t:I", COMMITTED]
    assert gathered(mariadb, start)["t"].packed("id") == [2, 4]


def test_tables_without_transactions_are_told_apart(mariadb: Database) -> None:
    """Rows of MyISAM and Aria are transactions of their own, which stay when the one around them is rolled back."""
    mariadb.run("CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE m (id int) ENGINE MyISAM")
    mariadb.run("CREATE TABLE n (id int) ENGINE Aria")
    start = here(mariadb)
    mariadb.run("BEGIN", "INSERT INTO t VALUES (1)", "INSERT INTO m VALUES (1)", "INSERT INTO n VALUES (1)", "ROLLBACK")
    items = told(mariadb, start)
    assert shape(items) == ["File", "Begin", "m:I", COMMITTED, "Begin", "n:I", COMMITTED]


def test_rows_that_a_savepoint_may_have_taken_back_are_marked(mariadb: Database) -> None:
    """Where a table knows no transactions, the server leaves them in the binlog and says so after them."""
    mariadb.run("CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE m (id int) ENGINE MyISAM")
    start = here(mariadb)
    mariadb.run(
        *("BEGIN", "INSERT INTO t VALUES (1)", "SAVEPOINT s", "INSERT INTO t VALUES (2)", "INSERT INTO m VALUES (1)"),
        *("ROLLBACK TO s", "INSERT INTO t VALUES (3)", "COMMIT"),
    )
    assert shape(told(mariadb, start)) == [
        *("File", "Begin", "m:I", COMMITTED, "Begin", "t:I", "t:I", "ROLLBACK TO", "t:I", COMMITTED)
    ]
    assert mariadb.rows("SELECT id FROM t") == [(1,), (3,)]


def test_an_xa_transaction_waits_for_its_verdict(mariadb: Database) -> None:
    """Its rows come when it is prepared, its verdict later and under the same name, with others between."""
    mariadb.run("CREATE TABLE t (id int PRIMARY KEY)")
    start = here(mariadb)
    mariadb.run("XA START 'one','b',3", "INSERT INTO t VALUES (1)", "XA END 'one','b',3", "XA PREPARE 'one','b',3")
    mariadb.run("XA START 'two'", "INSERT INTO t VALUES (2)", "XA END 'two'", "XA PREPARE 'two'")
    mariadb.run("XA START 'now'", "INSERT INTO t VALUES (3)", "XA END 'now'", "XA COMMIT 'now' ONE PHASE")
    mariadb.run("XA ROLLBACK 'two'", "XA COMMIT 'one','b',3")
    items = told(mariadb, start)
    assert shape(items) == [
        *("File", "Begin", "t:I", PREPARED, "Begin", "t:I", PREPARED, "Begin", "t:I", COMMITTED),
        *("Begin", ROLLED_BACK, "Begin", COMMITTED),
    ]
    begins = [item for item in items if isinstance(item, Begin)]
    one, two = begins[0].prepares, begins[1].prepares
    assert one != two
    assert (begins[2].prepares, begins[2].settles) == (b"", b"")
    assert [each.settles for each in begins[3:]] == [two, one]


def test_definitions_are_statements(mariadb: Database) -> None:
    """Each is a transaction of its own that says so; a table made of a query comes with its rows."""
    start = here(mariadb)
    mariadb.run(
        *("CREATE TABLE t (id int PRIMARY KEY)", "ALTER TABLE t ADD n int", "INSERT INTO t VALUES (1, 1)"),
        *(
            "CREATE TABLE made SELECT * FROM t",
            "TRUNCATE TABLE t",
            "CREATE OR REPLACE VIEW v AS SELECT 1",
            "DROP TABLE t",
        ),
    )
    items = told(mariadb, start)
    assert shape(items) == [
        *("File", "Begin", "CREATE TABLE", COMMITTED, "Begin", "ALTER TABLE", COMMITTED, "Begin", "t:I", COMMITTED),
        *("Begin", "CREATE TABLE", "made:I", COMMITTED, "Begin", "TRUNCATE TABLE", COMMITTED),
        *("Begin", "CREATE OR", COMMITTED, "Begin", "DROP TABLE", COMMITTED),
    ]
    assert {each.schema for each in items if isinstance(each, Statement)} == {mariadb.name}


def test_changes_in_statement_format_are_told_as_such(mariadb: Database, tmp_path: Path) -> None:
    """They are not lost among the rows: INSERT, LOAD DATA and one with variables, each within its transaction."""
    mariadb.run("CREATE TABLE t (id int PRIMARY KEY AUTO_INCREMENT, n double)")
    start = here(mariadb)
    with mariadb.session() as connection, connection.cursor() as cursor:
        cursor.execute("SET binlog_format = STATEMENT")
        cursor.execute("INSERT INTO t (n) VALUES (1)")
        cursor.execute("SET @x = 5")
        cursor.execute("INSERT INTO t (n) VALUES (@x + rand())")
        (tmp_path / "lines").write_text("7\t1\n8\t2\n")
        cursor.execute(f"LOAD DATA LOCAL INFILE '{tmp_path / 'lines'}' INTO TABLE t")
    assert shape(told(mariadb, start)) == [
        *("File", "Begin", "INSERT INTO", COMMITTED, "Begin", "INSERT INTO", COMMITTED, "Begin", "LOAD DATA", COMMITTED)
    ]


def test_a_statement_is_read_in_the_character_set_of_its_client(mariadb: Database) -> None:
    """Else the names in it could not be told, and a table that was emptied would not be missed."""
    mariadb.run("CREATE TABLE `café` (id int PRIMARY KEY)")
    start = here(mariadb)
    for charset in ("latin1", "utf8mb4", "cp850", "utf8mb3"):
        with mariadb.session(charset=charset) as connection, connection.cursor() as cursor:
            cursor.execute("TRUNCATE TABLE `café`")
    texts = [item.text for item in told(mariadb, start) if isinstance(item, Statement)]
    assert texts == ["TRUNCATE TABLE `café`"] * 4


def test_what_a_trigger_writes_is_told(mariadb: Database) -> None:
    """What a trigger writes is in the same transaction as what fired it."""
    mariadb.run("CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE log (id int PRIMARY KEY, n int)")
    mariadb.run("CREATE TRIGGER tr AFTER INSERT ON t FOR EACH ROW INSERT INTO log VALUES (NEW.id, 1)")
    start = here(mariadb)
    mariadb.run("INSERT INTO t VALUES (1), (2)")
    items = told(mariadb, start)
    assert shape(items)[1] == "Begin"
    assert shape(items)[-1] == COMMITTED
    images = gathered(mariadb, start)
    assert (images["t"].packed("id"), images["log"].packed("id")) == ([1, 2], [1, 2])


def test_a_large_transaction_comes_in_pieces(mariadb: Database) -> None:
    """Rows of an INSERT of 100,000 come event by event before its end is known, whole and in order."""
    mariadb.run("CREATE TABLE t (id int PRIMARY KEY, n varchar(40))")
    start = here(mariadb)
    mariadb.run("INSERT INTO t SELECT seq, concat('row ', seq) FROM seq_1_to_100000")
    items = told(mariadb, start)
    rows = [item for item in items if isinstance(item, Rows)]
    assert len(rows) > 100
    assert max(len(each.data) for each in rows) < 10_000
    images = gathered(mariadb, start)["t"]
    assert images.column("id").to_pylist() == list(range(1, 100_001))
    assert images.column("n").to_pylist()[::9999] == [f"row {number + 1}" for number in range(0, 100_000, 9999)]


@pytest.mark.parametrize(
    "settings",
    [
        {"log_bin_compress": "1", "log_bin_compress_min_len": "10"},
        {"binlog_checksum": "NONE"},
        {"binlog_row_metadata": "MINIMAL"},
        {"binlog_row_metadata": "FULL"},
        {"log_bin_compress": "1", "log_bin_compress_min_len": "10", "binlog_checksum": "NONE"},
    ],
)
def test_however_the_server_writes_the_same_is_told(
    mariadb_servers: Callable[..., Server], settings: dict[str, str]
) -> None:
    """Compressed events, no checksums, more metadata: the transactions, rows and statements are the same."""
    with mariadb_servers(**settings).database() as database:
        start = here(database)
        _some_work(database)
        items = told(database, start)
        assert shape(items) == [
            *("File", "Begin", "CREATE TABLE", COMMITTED, "Begin", "t:I", COMMITTED, "Begin", "t:U", COMMITTED),
            *("Begin", "INSERT INTO", COMMITTED, "Begin", "t:D", COMMITTED),
        ]
        assert {each.text for each in items if isinstance(each, Statement)} >= {_STATEMENT}
        images = gathered(database, start)["t"]
        assert bytes(images.kinds) == bytes([INSERTED, INSERTED, UPDATED, UPDATED, DELETED, DELETED, DELETED])
        assert images.column("body").to_pylist()[:4] == [b"x" * 300, None, b"y" * 300, b"y" * 300]


def test_an_encrypted_binlog_comes_in_the_clear(mariadb_servers: Callable[..., Server], tmp_path: Path) -> None:
    """The server decrypts what it sends: nobody else has its keys."""
    keys = tmp_path / "keys"
    keys.write_text(f"1;{'0f' * 32}\n")
    settings = {"file_key_management_filename": str(keys), "encrypt_binlog": "1"}
    with mariadb_servers(**plugin("file_key_management"), **settings).database() as database:
        start = here(database)
        _some_work(database)
        assert gathered(database, start)["t"].column("body").to_pylist()[:2] == [b"x" * 300, None]


def test_a_dump_goes_on_from_file_to_file(mariadb_servers: Callable[..., Server]) -> None:
    """Across rotations, a change of checksums and a restart; each file says when it was begun."""
    server = mariadb_servers()
    with server.database() as database:
        database.run("CREATE TABLE t (id int PRIMARY KEY)")
        start = here(database)
        database.run("INSERT INTO t VALUES (1)", "FLUSH BINARY LOGS", "INSERT INTO t VALUES (2)")
        database.run(
            "SET GLOBAL binlog_checksum = NONE", "INSERT INTO t VALUES (3)", "SET GLOBAL binlog_checksum = CRC32"
        )
        database.run("INSERT INTO t VALUES (4)")
        server.stop()
        server.start()
        database.run("INSERT INTO t VALUES (5)")
        server.crash()
        server.start()
        database.run("INSERT INTO t VALUES (6)")
        items = told(database, start)
        files = [item for item in items if isinstance(item, File)]
        assert [each.after_crash for each in files] == [False, False, False, False, False, True]
        assert all(one.begun <= two.begun and one.name < two.name for one, two in pairwise(files))
        assert gathered(database, start)["t"].packed("id") == [1, 2, 3, 4, 5, 6]
        ends = [item for item in items if isinstance(item, End)]
        assert {each.file for each in ends} == {each.name for each in files}


def test_a_flipped_bit_is_noticed(mariadb: Database) -> None:
    """Wherever it is in what the server sent, from the first event to the last."""
    packets = _packets(mariadb)
    chance = random.Random(3)
    for number in range(1, len(packets)):
        altered = bytearray(packets[number])
        place = chance.randrange(len(altered))
        if altered[4] == 15 and place in (17, 18):
            continue  # The bit there that says whether the file is in use has no checksum.
        altered[place] ^= 1 << chance.randrange(8)
        with pytest.raises((Damaged, Unsupported)):
            list(Events().read([*packets[:number], bytes(altered), *packets[number + 1 :]]))


_STATEMENT = f"INSERT INTO t VALUES (3, '{'z' * 300}')"


def _some_work(database: Database) -> None:
    with database.session() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE t (id int PRIMARY KEY, body blob)")
        cursor.execute("INSERT INTO t VALUES (1, repeat('x', 300)), (2, NULL)")
        cursor.execute("UPDATE t SET body = repeat('y', 300)")
        cursor.execute("SET binlog_format = STATEMENT")
        cursor.execute(_STATEMENT)
        cursor.execute("SET binlog_format = ROW")
        cursor.execute("DELETE FROM t")


def _packets(database: Database) -> list[bytes]:
    """What the server sends of some work."""
    start, stop = here(database), threading.Event()
    _some_work(database)
    with dump(database.url, start, 7003) as stream:
        packets: list[bytes] = []
        for packet in stream.packets(stop):
            if packet is None:
                return packets
            packets.append(packet)
    raise AssertionError("the stream ended")
