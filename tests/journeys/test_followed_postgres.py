"""A PostgreSQL database followed: whatever the application does, the vault holds the same, value by value."""

from __future__ import annotations

import resource

import psycopg
import pytest

from holdfast.errors import Refused
from tests.connectors.postgres.edges import EDGES
from tests.connectors.postgres.rich import RECORDS, definitions
from tests.journeys.follower import House

ORDERS = (
    "CREATE TABLE orders (id int PRIMARY KEY, tenant int NOT NULL, total numeric(12,2), note text)",
    "CREATE TABLE lines (orders int, line int, item text, PRIMARY KEY (orders, line))",
)
FILL = (
    "INSERT INTO orders SELECT i, i % 10, i * 1.10, 'note ' || i FROM generate_series(1, 500) i",
    "INSERT INTO lines SELECT i, j, 'item' FROM generate_series(1, 100) i, generate_series(1, 3) j",
)


@pytest.fixture
def shop(house: House) -> House:
    """A shop with orders, followed from here on."""
    house.database.run(*ORDERS, *FILL)
    house.catch_up()
    return house


def test_inserts_updates_deletes_and_changed_keys_arrive_as_they_happen(shop: House) -> None:
    """After each of them, and all of them in one transaction, the vault equals the database."""
    with shop.at_work():
        shop.database.run(
            "INSERT INTO orders VALUES (1001, 1, NULL, ''), (1002, 1, 'NaN', NULL)",
            "UPDATE orders SET total = total + 1, note = NULL WHERE id <= 20",
            "UPDATE orders SET id = -id WHERE id BETWEEN 30 AND 40",
            "DELETE FROM orders WHERE id BETWEEN 50 AND 60",
            "UPDATE lines SET line = line + 10 WHERE orders = 7",
            "DELETE FROM lines WHERE orders = 8",
        )
        shop.safe()
        with psycopg.connect(shop.database.url) as application:
            for statement in (
                "UPDATE orders SET id = id + 100000",
                "UPDATE orders SET id = id - 100000",
                "DELETE FROM orders WHERE id = 100",
                "INSERT INTO orders VALUES (100, 9, 1, 'again')",
                "INSERT INTO orders VALUES (2000, 9, 1, 'gone at once')",
                "DELETE FROM orders WHERE id = 2000",
                "UPDATE lines SET item = 'x' WHERE orders < 5",
            ):
                application.execute(statement)
        shop.safe()
    assert shop.reasons == ["no changes were followed before"]
    shop.prove()


def test_what_was_rolled_back_never_arrives(shop: House) -> None:
    """Transactions and savepoints that were rolled back leave nothing; what stands around them does."""
    with psycopg.connect(shop.database.url) as application:
        application.execute("INSERT INTO orders VALUES (3001, 1, 1, 'stays')")
        application.execute("SAVEPOINT a")
        application.execute("UPDATE orders SET note = 'never'")
        application.execute("ROLLBACK TO a")
        application.execute("UPDATE orders SET note = 'kept' WHERE id = 1")
        application.commit()
        application.execute("DELETE FROM orders")
        application.rollback()
    shop.catch_up()
    assert shop.held("orders", where="id = 1")[0][3] == "kept"
    assert shop.open().log()[-1].number == 2
    shop.prove()


def test_a_prepared_transaction_counts_from_its_commit(shop: House) -> None:
    """While it is prepared nothing of it is told; then all of it; one that is rolled back never."""
    for name, change in (("yes", "UPDATE orders SET note = 'yes'"), ("no", "DELETE FROM lines")):
        with psycopg.connect(shop.database.url, autocommit=True) as application:
            for statement in ("BEGIN", change, f"PREPARE TRANSACTION '{shop.database.name}-{name}'"):
                application.execute(statement)
    shop.catch_up()
    assert shop.held("orders", where="id = 1")[0][3] == "note 1"
    shop.database.run(f"COMMIT PREPARED '{shop.database.name}-yes'", f"ROLLBACK PREPARED '{shop.database.name}-no'")
    shop.catch_up()
    assert shop.held("orders", where="id = 1")[0][3] == "yes"
    shop.prove()


def test_a_transaction_over_several_tables_is_one_commit_of_the_vault(shop: House) -> None:
    """No state of the vault ever has one half of a transaction of the source."""
    with shop.at_work():
        for number in range(12):
            with psycopg.connect(shop.database.url) as application:
                application.execute(f"UPDATE orders SET tenant = {number} WHERE id = 1")
                application.execute(f"UPDATE lines SET item = '{number}' WHERE orders = 1")
        shop.safe()
    vault = shop.open()
    numbers = [entry.number for entry in vault.log()][1:]
    for number in numbers:
        (order,) = shop.held("orders", number, "id = 1")
        items = {row[2] for row in shop.held("lines", number, "orders = 1")}
        assert items == {str(order[1])}
    shop.prove()


def test_records_of_partitions_are_those_of_their_table(house: House) -> None:
    """Moved from one partition to another, written and deleted by the table's name or the partition's own."""
    house.database.run(
        "CREATE TABLE events (at date, id int, note text, PRIMARY KEY (at, id)) PARTITION BY RANGE (at)",
        "CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2020-01-01') TO ('2021-01-01')",
        "CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM ('2021-01-01') TO ('2022-01-01')"
        " PARTITION BY LIST (id)",
        "CREATE TABLE events_2a PARTITION OF events_2 FOR VALUES IN (1, 2, 3)",
        "CREATE TABLE events_2b PARTITION OF events_2 DEFAULT",
        "INSERT INTO events SELECT '2020-06-01'::date + i, i, 'e' FROM generate_series(1, 400) i",
    )
    house.catch_up()
    house.database.run(
        "UPDATE events SET at = '2021-02-02' WHERE id = 3",
        "UPDATE events_2 SET id = 2 WHERE id = 300",
        "INSERT INTO events VALUES ('2021-05-05', 1, 'new')",
        "DELETE FROM events_1 WHERE id < 50",
        "UPDATE events SET note = 'changed' WHERE id > 350",
    )
    house.catch_up()
    assert len(house.reasons) == 1
    house.prove()


def test_any_name_is_followed(house: House) -> None:
    """Quoted, non-Latin, reserved and very long names of schemas, tables and columns."""
    long = "n" * 63
    house.database.run(
        'CREATE SCHEMA "we.ird"',
        'CREATE TABLE "we.ird"."Ta""ble; --" ("co l" text, "ключ" int PRIMARY KEY, "select" text, "%s" text)',
        'ALTER TABLE "we.ird"."Ta""ble; --" ALTER "%s" SET STORAGE EXTERNAL',
        'CREATE TABLE "Ж" ("量" text PRIMARY KEY, "😀" text)',
        f'CREATE TABLE "{long}" ("{long}" int PRIMARY KEY)',
        'CREATE SCHEMA "public.x"',
        'CREATE TABLE "public.x"."Ж" (id int PRIMARY KEY)',
    )
    house.catch_up()
    house.database.run(
        "INSERT INTO \"we.ird\".\"Ta\"\"ble; --\" VALUES ('a', 1, 's', repeat(md5('x'), 400))",
        "INSERT INTO \"we.ird\".\"Ta\"\"ble; --\" VALUES ('b', 2, 's', repeat(md5('x'), 400))",
        'UPDATE "we.ird"."Ta""ble; --" SET "co l" = \'%s\'',
        "INSERT INTO \"Ж\" VALUES ('鍵', '😀'), ('', NULL)",
        'UPDATE "Ж" SET "量" = \'别\' WHERE "量" = \'\'',
        f'INSERT INTO "{long}" VALUES (1)',
        'INSERT INTO "public.x"."Ж" VALUES (7)',
    )
    house.catch_up()
    assert len(house.reasons) == 1
    house.prove()


def test_every_type_is_told_by_the_stream_as_the_snapshot_tells_it(house: House) -> None:
    """Each edge value inserted, then put in the place of another: digests equal those of a new reading."""
    tables = []
    for number, (declared, (_, first, literals)) in enumerate(EDGES.items()):
        house.database.run(*first, f"CREATE TABLE t{number} (id int PRIMARY KEY, v {declared}, w text)")
        # Values beyond the canonical type stand there from the beginning: their column is mixed then, and no break.
        house.database.run(*(f"INSERT INTO t{number} VALUES ({-n}, {text})" for n, text in enumerate(literals, 1)))
        tables.append((number, literals))
    house.catch_up()
    for number, literals in tables:
        turned = [*literals[1:], literals[0]]
        house.database.run(
            f"INSERT INTO t{number} VALUES " + ", ".join(f"({n}, {text})" for n, text in enumerate(literals, 1)),
            *(f"UPDATE t{number} SET v = {text} WHERE id = {-n}" for n, text in enumerate(turned, 1)),
            f"UPDATE t{number} SET w = 'x' WHERE id = -1",
            f"INSERT INTO t{number} VALUES (0, NULL)",
        )
    house.catch_up()
    assert house.reasons == ["no changes were followed before"]
    house.prove()


def test_one_of_everything_is_followed(house: House) -> None:
    """A database with all that PostgreSQL can define: what the stream tells of its records equals the snapshot."""
    role = f"{house.database.name}_rich"
    house.database.run(f'CREATE ROLE "{role}"', *definitions(role), *RECORDS)
    house.catch_up()
    house.database.run(
        "UPDATE customer SET m = 'sad', c = ROW(1, NULL), mail = 'A@b' WHERE id < 9",
        "UPDATE sales.orders SET total = 0.10 WHERE id < 5",
        "DELETE FROM sales.orders WHERE id = 9",
        "UPDATE ev SET note = NULL WHERE id < 5",
        "UPDATE ci SET k = 'ADA'",
        'UPDATE "we.ird"."Ta""ble; Type: X" SET "co l" = \'\'',
        "INSERT INTO b VALUES (2, NULL)",
    )
    house.catch_up()
    assert len(house.reasons) == 1
    # Tables with keys: the others are read with each snapshot only, and one has no columns at all.
    house.prove("customer", "sales.orders", "ev", "a", "b", "ci", '"we.ird"."Ta""ble; Type: X"')


def _large(house: House, rows: int) -> None:
    house.database.run("CREATE TABLE big (id int PRIMARY KEY, v text, n numeric)")
    house.database.run("INSERT INTO big SELECT i, md5(i::text), i FROM generate_series(1, 1000) i")
    house.catch_up()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with psycopg.connect(house.database.url) as application:
        application.execute(f"INSERT INTO big SELECT i, md5(i::text), i FROM generate_series(1001, {rows}) i")
        application.execute("UPDATE big SET v = repeat(v, 4) WHERE id % 2 = 0")
        application.execute("DELETE FROM big WHERE id % 7 = 0")
    house.catch_up()
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert len(house.reasons) == 1
    assert house.kinds == ["snapshot", "changes", "rolled up"], "no commit ends in the middle of a transaction"
    assert grown < 250_000, f"{grown:,} kB more"
    house.prove()


def test_a_transaction_of_a_hundred_thousand_rows_takes_bounded_memory(house: House) -> None:
    """It arrives whole, in one commit, through sealed scratch."""
    _large(house, 100_000)


@pytest.mark.soak
def test_a_transaction_of_half_a_million_rows_takes_no_more_memory(house: House) -> None:
    """The same bound as for a fifth of it."""
    _large(house, 500_000)


def test_a_second_follower_or_a_capture_meanwhile_is_refused(shop: House) -> None:
    """Who comes second is told who is at it, and nothing is written twice."""
    with shop.at_work():
        with pytest.raises(Refused):
            shop.catch_up()
        with pytest.raises(Refused):
            shop.open().capture()
        shop.database.run("UPDATE orders SET note = 'x'")
        shop.safe()
    shop.prove()
