"""Any instant between two commits of the source: looked at, put back record by record, and restored whole."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from holdfast.api import open_vault
from holdfast.core.where import parse_where
from holdfast.operations.restore import Choice
from tests.journeys.desk import Desk
from tests.journeys.follower import House
from tests.postgres_server import Database

STATEMENTS = (
    "UPDATE orders SET total = total + 1 WHERE tenant = {n} % 5; UPDATE tenants SET orders = {n} WHERE id = {n} % 5",
    "INSERT INTO orders VALUES (1000 + {n}, {n} % 5, 1, 'new'); UPDATE tenants SET orders = orders + 1 WHERE id = 1",
    "DELETE FROM orders WHERE id = {n}; DELETE FROM lines WHERE orders = {n}",
    "UPDATE orders SET id = id + 500 WHERE id = 20 + {n}; UPDATE lines SET orders = -orders WHERE orders = 20 + {n}",
    "UPDATE lines SET item = item || '.' WHERE orders = {n} + 40",
)
NAMES = ("lines", "orders", "tenants")
Held = dict[str, list[tuple[Any, ...]]]


class Past:
    """A shop with a past: what its tables held at moments between transactions, by the server's own clock."""

    def __init__(self, house: House, session: psycopg.Connection) -> None:
        self.house = house
        self._session = session
        self.moments: list[tuple[datetime, Held]] = []
        self.transactions: list[tuple[str, Held]] = []

    def look(self) -> Held:
        """What the tables hold now, by key."""
        asked = {name: f"SELECT * FROM {name} ORDER BY 1, 2".encode() for name in NAMES}
        return {name: self._session.execute(each).fetchall() for name, each in asked.items()}

    def trade(self, numbers: range) -> None:
        """Carry out transactions, one after the other, and note what was between them."""
        for n in numbers:
            before = self.look()
            with self._session.transaction():
                for statement in STATEMENTS[n % len(STATEMENTS)].format(n=n).split(";"):
                    self._session.execute(statement.encode())
                tx = self._session.execute("SELECT txid_current()").fetchone()
            now = self._session.execute("SELECT clock_timestamp()").fetchone()
            assert tx
            assert now
            self.transactions.append((str(tx[0]), before))
            self.moments.append((now[0], self.look()))


@pytest.fixture
def past(house: House) -> Iterator[Past]:
    """Thirty transactions, told in three commits."""
    house.database.run(
        "CREATE TABLE tenants (id int PRIMARY KEY, orders int)",
        "CREATE TABLE orders (id int PRIMARY KEY, tenant int, total numeric(12,2), note text)",
        "CREATE TABLE lines (orders int, line int, item text, PRIMARY KEY (orders, line))",
        "INSERT INTO tenants SELECT i, 0 FROM generate_series(0, 4) i",
        "INSERT INTO orders SELECT i, i % 5, i, NULL FROM generate_series(1, 100) i",
        "INSERT INTO lines SELECT i, j, 'item' FROM generate_series(1, 100) i, generate_series(1, 2) j",
    )
    house.catch_up()
    with psycopg.connect(house.database.url, autocommit=True) as session:
        past = Past(house, session)
        for first in range(1, 31, 10):
            past.trade(range(first, first + 10))
            house.catch_up()
        yield past


def held(house: House, at: datetime | str) -> Held:
    """What the vault says the tables held."""
    vault = house.open()
    state = {name: view.reader().read_all().to_pylist() for name, view in vault.views(NAMES, at).items()}
    return {name: [_plain(row) for row in rows] for name, rows in state.items()}


def _plain(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(Decimal(value) if column == "total" else value for column, value in row.items())


def test_every_instant_is_what_all_tables_held_then(past: Past) -> None:
    """Between any two transactions of the source, whichever commit of the vault they came in; no table runs ahead."""
    vault = past.house.open()
    assert len(vault.log()) == 4
    for moment, wanted in past.moments:
        assert held(past.house, moment) == wanted
    past.house.prove()


def test_before_a_transaction_is_the_state_it_found(past: Past) -> None:
    """`before-tx ID`, for the first and the last of a commit and those between."""
    for tx, wanted in past.transactions[:12] + past.transactions[-1:]:
        assert held(past.house, f"before-tx {tx}") == wanted


def test_history_tells_when_by_whom_and_what(past: Past) -> None:
    """Every version of one record: the times lie between the moments around it, the transactions are the server's."""
    _, versions = past.house.open().history("tenants", "1")
    wanted = [(moment, tx, now["tenants"][1], was["tenants"][1])
              for (moment, now), (tx, was) in zip(past.moments, past.transactions, strict=True)]  # fmt: skip
    changes = [(moment, tx, row) for moment, tx, row, was in wanted if row != was]
    told = [version for version in versions if version.tx]
    assert [version.tx for version in told] == [tx for _, tx, _ in changes]
    assert [tuple(version.row.to_pylist()[0].values()) for version in told if version.row] == [
        row for *_, row in changes
    ]
    assert all(version.at <= moment for version, (moment, *_) in zip(told, changes, strict=True))
    assert all(version.changed == ("orders",) for version in told)
    assert versions[0].kind == "new"


def test_one_tenant_goes_back_to_an_instant_while_others_stay(past: Past) -> None:
    """`--where tenant = 3` as of an instant into the live database: exactly those records, and nothing of others."""
    at, wanted = past.moments[14]
    others = past.house.database.rows("SELECT * FROM orders WHERE tenant <> 3 ORDER BY id")
    choice = Choice(collections=("orders",), where=parse_where("tenant = 3"), may_delete=True)
    done = past.house.open().restore(choice, at)
    assert done.is_proven, done.decision
    now = past.house.database.rows("SELECT * FROM orders WHERE tenant = 3 ORDER BY id")
    assert now == [row for row in wanted["orders"] if row[1] == 3]
    assert past.house.database.rows("SELECT * FROM orders WHERE tenant <> 3 ORDER BY id") == others
    past.house.catch_up()
    past.house.prove()


def test_one_record_goes_back_to_an_instant(past: Past) -> None:
    """One order as it was; all other tables and orders stay."""
    at, wanted = past.moments[7]
    before = past.look()
    (row,) = [each for each in wanted["orders"] if each[0] == 5]
    past.house.open().restore(Choice(collections=("orders",), where=parse_where("id = 5")), at)
    after = past.look()
    assert [each for each in after["orders"] if each[0] == 5] == [row]
    assert [each for each in after["orders"] if each[0] != 5] == [each for each in before["orders"] if each[0] != 5]
    assert (after["lines"], after["tenants"]) == (before["lines"], before["tenants"])


def test_a_restore_claims_a_signature_only_where_there_is_one(past: Past, desk: Desk, elsewhere: Database) -> None:
    """Of a commit fingerprints are signed; of an instant, and of some records alone, nothing is, and the proof says so.

    Each is given as JSON too.
    """
    at = past.moments[23][0].isoformat()
    some = desk("restore", "orders", "--where", "id = 5", "--at", at)
    assert "proven: the collection has the chosen records as the vault holds them, compared one by one" in some.out
    commit = desk("restore", "--delete", "orders")
    assert "proven: the collection has the fingerprint that the commit signed" in commit.out
    whole = desk("restore", "--at", at, "--to", elsewhere.url)
    assert "have the fingerprints of the vault's records; for 3 of them nothing is signed" in whole.out
    said = desk("restore", "orders", "--delete", "--at", at, "--json").facts[0]
    assert [each["basis"] for each in said["proofs"]] == ["instant"]


@pytest.fixture
def elsewhere(house: House) -> Iterator[Database]:
    """The name of a database that is not there yet; dropped afterwards."""
    name = f"{house.database.name}_new"
    try:
        yield Database(house.database.server, name)
    finally:
        Database(house.database.server, "postgres").run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def test_the_whole_database_of_an_instant_is_built_anew_and_proven(past: Past, elsewhere: Database) -> None:
    """With its definitions; every table as it was at that very moment."""
    at, wanted = past.moments[23]
    done = past.house.open().restore(Choice(), at, to=elsewhere.url)
    assert done.is_proven
    for name in NAMES:
        assert elsewhere.rows(f"SELECT * FROM {name} ORDER BY 1, 2") == wanted[name]
    elsewhere.run("INSERT INTO tenants VALUES (77, 0)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        elsewhere.run("INSERT INTO tenants VALUES (77, 0)")


def test_times_never_fall_though_the_clocks_of_commits_do(house: House) -> None:
    """Transactions that another server brought carry that server's time, years off: order stays, and every instant."""
    house.database.run("CREATE TABLE t (id int PRIMARY KEY, v int)", "INSERT INTO t VALUES (1, 0)")
    house.catch_up()
    origin = f"{house.database.name}_origin"
    house.database.run(f"SELECT pg_replication_origin_create('{origin}')")
    try:
        house.database.run("UPDATE t SET v = 1")
        with psycopg.connect(house.database.url, autocommit=True) as session:
            session.execute(f"SELECT pg_replication_origin_session_setup('{origin}')".encode())
            session.execute("BEGIN")
            session.execute("SELECT pg_replication_origin_xact_setup('0/1', now() - interval '1 hour')")
            session.execute("UPDATE t SET v = 2")
            session.execute("COMMIT")
            session.execute("SELECT pg_replication_origin_session_reset()")
        house.database.run("INSERT INTO mark VALUES (-5)")
        house.catch_up()
        times = [version.at for version in house.open().history("t", "1")[1]]
        assert times == sorted(times)
        assert house.held("t") == [(1, 2)]
        first = house.open().history("t", "1")[1][1].at
        assert house.held("t", first - timedelta(microseconds=1)) == [(1, 0)]
        house.prove()
    finally:
        house.database.run(f"SELECT pg_replication_origin_drop('{origin}')")


def test_the_command_line_reaches_an_instant(past: Past) -> None:
    """A time as people write it, with and without a zone, and `before-tx`, are what `open_vault` takes."""
    at, wanted = past.moments[25]
    vault = open_vault(past.house.config)
    text = at.astimezone().isoformat(sep=" ")
    rows = vault.view("tenants", text).reader().read_all().to_pylist()
    assert [tuple(row.values()) for row in rows] == wanted["tenants"]
