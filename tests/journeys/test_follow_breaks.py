"""What a PostgreSQL server does not tell its followers: each is found, named, and closed by a new snapshot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from tests.journeys.desk import Desk
from tests.journeys.follower import House
from tests.postgres_server import Server
from tests.waiting import eventually

ORDERS = (
    "CREATE TABLE orders (id int PRIMARY KEY, note text, at timestamp, amount int)",
    "INSERT INTO orders SELECT i, 'note ' || i, '2026-01-01', i FROM generate_series(1, 300) i",
    "CREATE TABLE items (id int PRIMARY KEY, v int)",
    "INSERT INTO items SELECT i, i FROM generate_series(1, 50) i",
    "CREATE TABLE parts (kind int, id int, PRIMARY KEY (kind, id)) PARTITION BY LIST (kind)",
    "CREATE TABLE p1 PARTITION OF parts FOR VALUES IN (1)",
    "CREATE TABLE p2 PARTITION OF parts FOR VALUES IN (2)",
    "INSERT INTO parts SELECT 1 + i % 2, i FROM generate_series(1, 20) i",
)

# What is done to the shop, one after the other, and a word of the reason that must be told.
ALTERED = "no row in the log tells"
ROWS = (
    ("TRUNCATE orders", "TRUNCATE (orders)"),
    ("UPDATE orders SET amount = 0; TRUNCATE items, orders; INSERT INTO items VALUES (1, 1), (2, 2)", "TRUNCATE"),
    ("INSERT INTO orders VALUES (1, NULL, 'infinity', 1)", "column at"),
    ("TRUNCATE orders", "TRUNCATE"),
    ("INSERT INTO orders VALUES (9, NULL, '294276-01-01', 1)", "column at"),
)
COLUMNS = (
    ("ALTER TABLE orders ADD x int DEFAULT 7; UPDATE orders SET amount = 1 WHERE id = 1", "definition of orders"),
    ("ALTER TABLE orders ADD y int DEFAULT 7", "definition of orders"),
    ("ALTER TABLE orders DROP x; UPDATE orders SET amount = 2 WHERE id = 1", "definition of orders"),
    ("ALTER TABLE orders DROP y; ALTER TABLE orders ADD y int DEFAULT 8", ALTERED),
    ("ALTER TABLE orders ALTER amount TYPE bigint; UPDATE orders SET amount = 3 WHERE id = 1", "definition of orders"),
    ("ALTER TABLE orders ALTER note TYPE text USING upper(note)", ALTERED),
    ("ALTER TABLE orders RENAME note TO remark; DELETE FROM orders WHERE id = 8", "definition of orders"),
)
TABLES = (
    ("ALTER TABLE orders RENAME TO sales; UPDATE sales SET amount = 1 WHERE id = 1", "sales"),
    ("CREATE TABLE fresh (id int PRIMARY KEY); INSERT INTO fresh VALUES (1)", "new: fresh"),
    ("DROP TABLE fresh", "gone: fresh"),
    ("DROP TABLE items; CREATE TABLE items (id int PRIMARY KEY, v int NOT NULL); INSERT INTO items VALUES (1, 1)", ""),
    (
        "CREATE UNIQUE INDEX i ON items (v); ALTER TABLE items REPLICA IDENTITY USING INDEX i; DELETE FROM items",
        ALTERED,
    ),
    ("ALTER TABLE items DROP CONSTRAINT items_pkey", "items: changed untold while not followed"),
    ("ALTER TABLE items ADD PRIMARY KEY (id), REPLICA IDENTITY DEFAULT", "items"),
)
CHANGE = "UPDATE items SET v = -4"
PUBLICATIONS = (
    ("ALTER PUBLICATION {slot} DROP TABLE ONLY items; UPDATE items SET v = -1", "no longer send"),
    ("ALTER PUBLICATION {slot} SET (publish = 'insert'); UPDATE items SET v = -2", "no longer send"),
    ("DROP PUBLICATION {slot}; UPDATE items SET v = -3", "no longer send"),
    (f"ALTER PUBLICATION {{slot}} DROP TABLE items; {CHANGE}; ALTER PUBLICATION {{slot}} ADD TABLE items", ALTERED),
)  # fmt: skip
PARTITIONS = (
    ("CREATE TABLE p3 PARTITION OF parts FOR VALUES IN (3); INSERT INTO parts VALUES (3, 1)", ALTERED),
    ("DROP TABLE p3", ALTERED),
    ("ALTER TABLE parts DETACH PARTITION p2", ""),
    ("DELETE FROM p2 WHERE id < 5; ALTER TABLE parts ATTACH PARTITION p2 FOR VALUES IN (2)", ""),
    ("TRUNCATE p1", ALTERED),
    ("DELETE FROM parts WHERE id < 9; TRUNCATE parts", ""),
)
SEQUENCES = {
    "rows": ROWS, "columns": COLUMNS, "tables": TABLES, "publications": PUBLICATIONS, "partitions": PARTITIONS,
}  # fmt: skip


@pytest.fixture
def shop(house: House) -> House:
    """A shop that is followed."""
    house.database.run(*ORDERS)
    house.catch_up()
    return house


@pytest.mark.parametrize("what", SEQUENCES)
def test_what_the_stream_can_not_tell_is_named_and_read_anew(shop: House, what: str) -> None:
    """Done while nobody follows; the follower that comes next says what broke, and then the vault equals again."""
    for number, (statements, word) in enumerate(SEQUENCES[what], 2):
        shop.database.run(f"INSERT INTO mark VALUES ({-number})")
        shop.database.run(*statements.format(slot=shop.slot).split(";"))
        shop.catch_up()
        assert len(shop.reasons) == number, f"{statements}: {shop.reasons}"
        assert word in shop.reasons[-1], statements
        assert shop.differing() == [], statements
    assert shop.open().verify().is_sound


def test_a_definition_that_changes_while_it_is_followed_is_noticed_without_a_row(shop: House) -> None:
    """Columns with defaults, tables that come and go, in a running follower: found by looking at the catalog."""
    with shop.at_work():
        shop.database.run("ALTER TABLE orders ADD x int DEFAULT 7")
        eventually(lambda: len(shop.reasons) == 2, "the new column is seen")
        shop.database.run("CREATE TABLE fresh AS SELECT 1 AS a", "TRUNCATE items")
        eventually(lambda: len(shop.reasons) >= 3, "the emptied table is seen")
        shop.safe()
        eventually(lambda: "fresh" in shop.open().views(at="latest"), "the new table is there")
    shop.prove()


def test_a_slot_that_is_dropped_is_named(shop: House) -> None:
    """What happened meanwhile was told to nobody: a new snapshot has it."""
    shop.database.run(f"SELECT pg_drop_replication_slot('{shop.slot}')", "DELETE FROM orders WHERE id < 9")
    shop.catch_up()
    assert "is gone" in shop.reasons[1]
    shop.prove()


def test_a_slot_that_somebody_made_anew_is_not_believed(shop: House) -> None:
    """The server would go on silently from where the new slot begins."""
    shop.database.run(
        f"SELECT pg_drop_replication_slot('{shop.slot}')",
        "DELETE FROM orders WHERE id < 9",
        f"SELECT pg_create_logical_replication_slot('{shop.slot}', 'pgoutput')",
    )
    shop.catch_up()
    assert "beyond" in shop.reasons[1]
    shop.prove()


def test_a_slot_dropped_under_a_running_follower_ends_in_a_new_snapshot(shop: House) -> None:
    """Its connection is cut and the slot goes: nobody has to start anything by hand."""
    with shop.at_work():
        shop.safe()
        end = f"SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = '{shop.slot}'"

        def is_dropped() -> bool:
            shop.database.run(end)
            try:
                shop.database.run(f"SELECT pg_drop_replication_slot('{shop.slot}')")
            except psycopg.errors.ObjectInUse:
                return False
            except psycopg.errors.UndefinedObject:
                return True
            return True

        eventually(is_dropped, "the slot is dropped")
        shop.database.run("DELETE FROM orders WHERE id < 9")
        eventually(lambda: len(shop.reasons) >= 2, "a new snapshot")
        shop.safe()
    shop.prove()


def test_a_publication_dropped_under_a_running_follower_ends_in_a_new_snapshot(shop: House) -> None:
    """It is made anew, and what nobody was told of meanwhile is read: nobody has to start anything by hand."""
    with shop.at_work():
        shop.safe()
        shop.database.run(f"DROP PUBLICATION {shop.slot}", "DELETE FROM orders WHERE id < 9")
        eventually(lambda: len(shop.reasons) >= 2, "a new snapshot")
        shop.safe()
    assert "the publications no longer send every change" in shop.reasons[1]
    shop.prove()


def test_a_budget_that_runs_out_is_told_while_it_can_be_mended(
    tmp_path: Path, desk: Desk, postgres_servers: Callable[..., Server]
) -> None:
    """A transaction that stays open makes the server keep its log: status says what is left, amber in time."""
    server = postgres_servers(max_slot_wal_keep_size="64MB", max_wal_size="1GB")
    with server.database() as database:
        house = House(tmp_path, database)
        database.run(*ORDERS)
        house.catch_up()
        house.catch_up()
        roomy = desk("status")
        assert "of at most 67.1 MB, " in roomy.out
        assert desk("status", "--json").facts[0]["following"]["budget"] == 64 << 20
        with psycopg.connect(database.url) as open_for_long:
            open_for_long.execute("INSERT INTO mark VALUES (-1)")

            def is_low() -> bool:
                database.run(
                    "SELECT pg_logical_emit_message(false, 'holdfast', repeat('x', 4000000))",
                    "UPDATE items SET v = v + 1",
                )
                return bool(database.value("SELECT safe_wal_size < 14000000 FROM pg_replication_slots"))

            eventually(is_low, "the budget is nearly used")
            steps = house.catch_up()
            short = desk("status", code=3)
        kept = steps[-1].kept
        assert kept is not None
        assert kept.left is not None
        assert 0 < kept.left < 16 << 20
        assert "the source may give up the log it keeps for the follower: only " in short.out
        assert "raise the limit" in short.out
        house.catch_up()
        house.prove()


def test_a_slot_lost_to_its_limit_is_a_new_snapshot(tmp_path: Path, postgres_servers: Callable[..., Server]) -> None:
    """Over max_slot_wal_keep_size the server gives the slot up: named, and read anew."""
    server = postgres_servers(max_slot_wal_keep_size="1MB", max_wal_size="32MB", min_wal_size="32MB")
    with server.database() as database:
        house = House(tmp_path, database)
        database.run(*ORDERS)
        house.catch_up()

        def is_lost() -> bool:
            database.run("UPDATE orders SET amount = amount + 1", "SELECT pg_switch_wal()", "CHECKPOINT")
            return bool(database.value("SELECT wal_status FROM pg_replication_slots") == "lost")

        eventually(is_lost, "the slot is lost")
        house.catch_up()
        assert "max_slot_wal_keep_size" in house.reasons[1]
        house.prove()


def test_another_server_under_the_same_url_is_named(tmp_path: Path, postgres_servers: Callable[..., Server]) -> None:
    """A log position of one server means nothing to another: all is read anew, and the vault's past stays."""
    first, second = postgres_servers(), postgres_servers()
    with first.database() as database:
        house = House(tmp_path, database)
        database.run(*ORDERS)
        house.catch_up()
        text = house.config.read_text()
        with second.database() as other:
            other.run(*ORDERS, "CREATE TABLE mark (n bigint PRIMARY KEY)", "DELETE FROM items WHERE id > 3")
            house.config.write_text(text.replace(database.url, other.url))
            house.database = other
            house.catch_up()
            assert "another server" in house.reasons[1]
            house.prove()
            assert len(house.held("items", 1)) == 50


def test_a_table_that_may_not_be_read_is_a_gap_and_the_others_are_followed_on(shop: House) -> None:
    """Least rights, and a table of somebody else's: named with the GRANT, while it runs and at its next start."""
    role, owner = f'"{shop.database.name}_least"', shop.database.url
    url = shop.database.role("least", "REPLICATION")
    shop.database.run(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    shop.config.write_text(shop.config.read_text().replace(owner, url))
    shop.database.run("CREATE TABLE closed (id int PRIMARY KEY)", "INSERT INTO closed VALUES (1)")
    shop.database.run("UPDATE orders SET amount = 5")
    shop.catch_up()
    assert f'mend it with: GRANT SELECT ON "public"."closed" TO {role}' in " ".join(shop.gaps())
    with shop.at_work():
        shop.database.run("CREATE TABLE shut (id int PRIMARY KEY)", "INSERT INTO shut VALUES (1)")
        eventually(lambda: any("shut" in gap for gap in shop.gaps()), "the gap is named")
        shop.safe()
    assert f'mend it with: GRANT SELECT ON "public"."shut" TO {role}' in " ".join(shop.gaps())
    shop.database.run("INSERT INTO closed VALUES (2)", "UPDATE orders SET amount = 6")
    before = len(shop.reasons)
    shop.catch_up()
    assert len(shop.reasons) == before, "it is no break to be told twice"
    assert shop.differing("orders", "items") == []
    publication = f"ALTER PUBLICATION {shop.slot} ADD TABLE ONLY closed, ONLY shut"
    shop.database.run(publication, "INSERT INTO closed VALUES (3)", f"GRANT SELECT ON closed, shut TO {role}")
    shop.catch_up()
    assert shop.gaps() == []
    shop.prove()


def test_an_application_is_never_refused_because_of_us(house: House) -> None:
    """Tables without a key, without identity, partitioned without a key: it may write all of them, and we say so."""
    house.database.run(
        "CREATE TABLE plain (a int, b text)",
        "CREATE TABLE none (id int PRIMARY KEY, b text)",
        "ALTER TABLE none REPLICA IDENTITY NOTHING",
        "CREATE TABLE part (a int, b text) PARTITION BY LIST (a)",
        "CREATE TABLE part_1 PARTITION OF part DEFAULT",
        "CREATE UNLOGGED TABLE quick (id int PRIMARY KEY, b text)",
        "CREATE TABLE late (id int PRIMARY KEY DEFERRABLE, b text)",
        *(f"INSERT INTO {name} VALUES (1, 'x'), (2, 'x')" for name in ("plain", "none", "part", "quick", "late")),
        *ORDERS,
    )
    names = ("plain", "none", "part", "quick", "late")
    with house.at_work():
        for name in names:
            first = "a" if name in ("plain", "part") else "id"
            house.database.run(
                f"UPDATE {name} SET b = 'y'", f"DELETE FROM {name} WHERE {first} = 1", f"TRUNCATE {name}"
            )
        house.database.run("UPDATE orders SET amount = 5")
        house.safe()
    # A mark that was set to see how far the follower is may come after what it is asked for.
    assert {each.split(":")[0] for each in house.differing()} - {"mark"} == {*names}
    told = " ".join(house.gaps())
    assert all(f"{name}: not followed" in told for name in names), told
    house.database.run("ALTER TABLE plain ADD id serial PRIMARY KEY")
    house.catch_up()
    assert not [each for each in house.differing() if each.startswith(names)]
