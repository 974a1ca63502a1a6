"""The binlog's bytes come from the server whole, in order, from exactly where they were asked for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from holdfast.connectors.mysql.connection import Connection, connect
from holdfast.connectors.mysql.dump import EVENT_BYTES_MAX, LogGone, Start, dump
from holdfast.connectors.mysql.events import Events
from holdfast.connectors.mysql.items import Begin, End, Item, Quiet, Rows
from holdfast.errors import Damaged, Refused, Unreachable, Unsupported, Usage
from tests.connectors.mysql.binlogs import here, told
from tests.mariadb_server import Database, Server
from tests.waiting import eventually

SERVER_ID = 7001


def test_a_dump_begins_exactly_where_it_is_asked_to(mariadb: Database) -> None:
    """From a position, and from the GTID before it, come the same transactions and none before."""
    mariadb.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    start, gtids = here(mariadb), str(mariadb.value("SELECT @@gtid_binlog_pos"))
    mariadb.run("INSERT INTO t VALUES (2)", "INSERT INTO t VALUES (3)")

    by_position = [item for item in told(mariadb, start) if isinstance(item, Begin)]
    by_gtid = [item for item in told(mariadb, Start(gtids=gtids)) if isinstance(item, Begin)]
    assert by_position[0].position == start.position
    assert [(each.file, each.position, each.gtid) for each in by_position] == [
        (each.file, each.position, each.gtid) for each in by_gtid
    ]
    assert len(by_position) == 2


def test_changes_come_while_they_are_made(mariadb: Database) -> None:
    """A transaction is told soon after its commit; before it nothing comes, and the stream says so."""
    mariadb.run("CREATE TABLE t (id int PRIMARY KEY)")
    start, stop = here(mariadb), threading.Event()
    with dump(mariadb.url, start, SERVER_ID) as stream:
        items = Events(start.file, start.position).read(stream.packets(stop))
        _skip_to_quiet(items)
        mariadb.run("INSERT INTO t VALUES (1)")
        begun = time.monotonic()
        found = _next(items, End)
        assert time.monotonic() - begun < 20
        assert isinstance(found, End)
        stop.set()
        assert list(items) == []


def test_an_event_of_more_than_a_packet_is_put_together(mariadb: Database) -> None:
    """Values whose event just fits into one packet of 16 MB, fills it, or needs a second and a third come whole."""
    mariadb.run("CREATE TABLE t (id int PRIMARY KEY, body longblob)")
    start = here(mariadb)
    sizes = [(1 << 24) - 60 + more for more in range(20, 40)] + [(1 << 25) + 11]
    with mariadb.session(max_allowed_packet=128 << 20) as connection, connection.cursor() as cursor:
        for number, size in enumerate(sizes):
            cursor.execute("INSERT INTO t VALUES (%s, repeat('x', %s))", (number, size))
    rows = [item for item in told(mariadb, start) if isinstance(item, Rows)]
    # Fixed in such an event: its header, the table's number and flags, the count, two bitmaps, the key, a length.
    assert [len(each.data) for each in rows] == [size + 19 + 8 + 1 + 1 + 1 + 4 + 4 + 4 for size in sizes]
    assert all(each.data[each.end - 1 :][:1] == b"x" for each in rows)


def test_where_the_server_cannot_go_on_it_says_why(mariadb: Database) -> None:
    """A file that is not there, a position that never was, and a GTID of the future."""
    mariadb.run("CREATE TABLE t (id int PRIMARY KEY)")
    at = here(mariadb)
    ahead = str(mariadb.value("SELECT @@gtid_binlog_pos")).rpartition("-")[0] + "-99999999"
    for start in (Start("bin.999999", 4), Start(at.file, 1 << 30), Start(gtids=ahead)):
        with pytest.raises(LogGone, match="mariadb://") as caught:
            told(mariadb, start)
        assert caught.value.hint
    with pytest.raises(Usage, match="no GTIDs"):
        told(mariadb, Start(gtids="'; DROP TABLE t"))


def test_a_position_within_an_event_is_not_believed(mariadb: Database) -> None:
    """The server may take any bytes there for an event: what it makes of them is refused by itself or by us."""
    mariadb.run("CREATE TABLE t (id int PRIMARY KEY)")
    for more in range(4, 40, 7):
        with pytest.raises((LogGone, Damaged)):
            told(mariadb, Start(here(mariadb).file, more + 1))


def test_a_purged_binlog_is_named_as_gone(mariadb_servers: Callable[..., Server]) -> None:
    """What the server has deleted of its binlog is not passed over, by position or by GTID."""
    server = mariadb_servers()
    with server.database() as database:
        database.run("CREATE TABLE t (id int PRIMARY KEY)")
        start, gtids = here(database), str(database.value("SELECT @@gtid_binlog_pos"))
        database.run("INSERT INTO t VALUES (1)", "FLUSH BINARY LOGS", "INSERT INTO t VALUES (2)")
        last = here(database).file
        # The server keeps what its recovery may need until a checkpoint has passed it.
        eventually(lambda: _purge(database, last), "the first binlog is gone")
        for gone in (start, Start(gtids=gtids)):
            with pytest.raises(LogGone):
                told(database, gone)


def test_who_may_not_replicate_is_refused(mariadb: Database) -> None:
    """Without REPLICATION SLAVE the server refuses, and the hint says what to grant."""
    url = mariadb.user("reader", "SELECT ON {db}.*")
    with (
        pytest.raises(Refused) as caught,
        dump(url, here(mariadb), SERVER_ID) as stream,
    ):
        next(iter(stream.packets(threading.Event())))
    assert "REPLICATION SLAVE" in str(caught.value.hint)


def test_a_server_that_goes_away_is_unreachable(mariadb_servers: Callable[..., Server]) -> None:
    """Whether it dies, shuts down or ends the thread: Unreachable, and a new dump goes on."""
    server = mariadb_servers()
    with server.database() as database:
        database.run("CREATE TABLE t (id int PRIMARY KEY)")
        for leave in (server.crash, server.stop, lambda: database.kill("COMMAND = 'Binlog Dump'")):
            start = here(database)
            with dump(database.url, start, SERVER_ID) as stream:
                packets = stream.packets(threading.Event())
                assert next(packets)
                leave()
                with pytest.raises(Unreachable):
                    list(packets)
            if leave in (server.crash, server.stop):
                server.start()
        database.run("INSERT INTO t VALUES (1)")
        assert [item for item in told(database, start) if isinstance(item, Rows)]


def test_closing_ends_the_thread_of_the_server(mariadb: Database) -> None:
    """A closed dump leaves no thread behind that would go on sending."""
    with dump(mariadb.url, here(mariadb), SERVER_ID) as stream:
        assert next(stream.packets(threading.Event()))
        assert _dumps(mariadb)
    eventually(lambda: not _dumps(mariadb), "the server has ended the dump")


def test_an_event_too_large_for_memory_is_refused(mariadb_servers: Callable[..., Server]) -> None:
    """A change beyond the limit is refused by name when it begins to come, not held."""
    server = mariadb_servers(max_allowed_packet="512M")
    with server.database() as database:
        database.run("CREATE TABLE t (id int PRIMARY KEY, a longblob)")
        start = here(database)
        database.run(f"INSERT INTO t VALUES (1, repeat('x', {EVENT_BYTES_MAX}))")
        with pytest.raises(Unsupported, match="more than"):
            told(database, start)


def _skip_to_quiet(items: Iterator[Item]) -> None:
    _next(items, Quiet)


def _next(items: Iterator[Item], kind: type) -> Item:
    return next(item for item in items if isinstance(item, kind))


def _dumps(database: Database) -> list[int]:
    query = "SELECT ID FROM information_schema.PROCESSLIST WHERE COMMAND = 'Binlog Dump'"
    return [number for (number,) in database.rows(query)]


def _number(session: Connection) -> int:
    with session.cursor() as cursor:
        cursor.execute("SELECT CONNECTION_ID()")
        (number,) = cursor.fetchone() or (0,)
    return int(number)


def _purge(database: Database, last: str) -> bool:
    database.run(f"PURGE BINARY LOGS TO '{last}'")
    return len(database.rows("SHOW BINARY LOGS")) == 1


def test_a_dump_comes_through_tls(mariadb_servers: Callable[..., Server], tmp_path: Path) -> None:
    """Encrypted on its way, with values larger than a record of TLS and than a packet, it is the same; who names no
    authority is encrypted too.
    """
    ca, certificate, key = _certificates(tmp_path)
    server = mariadb_servers(ssl_cert=str(certificate), ssl_key=str(key))
    with server.database() as database:
        database.run("CREATE TABLE t (id int PRIMARY KEY, body longblob)")
        database.run(f"CREATE USER '{database.name}_tls'@'%' REQUIRE SSL")
        database.run(f"GRANT ALL ON *.* TO '{database.name}_tls'@'%'")
        start = here(database)
        database.run("INSERT INTO t SELECT seq, repeat('x', seq) FROM seq_1_to_2000")
        database.run(f"INSERT INTO t VALUES (0, repeat('y', {(1 << 24) + 5}))")
        plainly = server.url(database.name, f"{database.name}_tls")
        with connect(plainly) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW STATUS LIKE 'Ssl_version'")
            assert cursor.fetchall()[0][1].startswith("TLS")
        secret = f"{plainly}?ssl_ca={ca}"
        with dump(secret, start, SERVER_ID) as stream:
            stop, items = threading.Event(), list[Rows]()
            for item in Events(start.file, start.position).read(stream.packets(stop)):
                if isinstance(item, Rows):
                    items.append(item)
                elif isinstance(item, Quiet) and items and items[-1].end > 1 << 24:
                    stop.set()
        plain = [item for item in told(database, start) if isinstance(item, Rows)]
        assert [item.data for item in items] == [item.data for item in plain]


def _certificates(folder: Path) -> tuple[Path, Path, Path]:
    """An authority of our own, and a certificate and key of a server at 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    today = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, secret = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.TraditionalOpenSSL
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    return certificate, certificate, secret


def test_closing_ends_nobody_elses_thread(mariadb_servers: Callable[..., Server]) -> None:
    """A server that was started again gives the dump's number to others: they stay, whether that was noticed or not."""
    server = mariadb_servers()
    with server.database() as database:
        for is_seen in (True, False):
            with ExitStack() as others:
                with dump(database.url, here(database), SERVER_ID) as stream:
                    packets = stream.packets(threading.Event())
                    assert next(packets)
                    (number,) = _dumps(database)
                    server.stop()
                    server.start()
                    sessions = [others.enter_context(database.session()) for _ in range(number + 5)]
                    assert any(_number(each) == number for each in sessions)
                    if is_seen:
                        with pytest.raises(Unreachable):
                            list(packets)
                for each in sessions:
                    each.ping(reconnect=False)


def test_a_server_that_stops_answering_ends_the_dump(
    mariadb_servers: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is Unreachable after a while, and to leave takes no longer; nor does to ask such a server for another."""
    monkeypatch.setattr("holdfast.connectors.mysql.dump.SILENT_SECONDS", 3.0)
    server = mariadb_servers()
    with server.database() as database:
        start, begun = here(database), 0.0
        try:
            with dump(database.url, start, SERVER_ID) as stream:
                server.freeze()
                begun = time.monotonic()
                with pytest.raises(Unreachable, match="sign of life"):
                    list(stream.packets(threading.Event()))
            with pytest.raises(Unreachable), dump(database.url, start, SERVER_ID):
                pass
            assert time.monotonic() - begun < 20
        finally:
            server.thaw()
