"""Changing a database that is in use, by plan: all of it or nothing, never what somebody else changed meanwhile."""

from __future__ import annotations

import threading

import psycopg
import pytest

from holdfast.connectors.postgres.writer import PostgresWriter
from holdfast.core.plan import Plan
from holdfast.errors import Refused, TargetChanged, Unreachable
from tests.connectors.plan_contract import PlanContract, Records, Target, shop
from tests.connectors.postgres.edges import EDGES
from tests.connectors.postgres.restoring import held, plan_between, records
from tests.connectors.postgres.rich import RECORDS, definitions
from tests.postgres_server import Database
from tests.waiting import eventually


def harmed(target: Database, *losses: str) -> tuple[Plan, Records]:
    """Do the target some harm, and plan the way back; what it held before."""
    wanted, before = held(target), records(target)
    target.run(*losses)
    return plan_between(wanted, target), before


def business(found: Records) -> Records:
    """Without definitions."""
    return {name: each for name, each in found.items() if not name.startswith("postgres:")}


class TestPlan(PlanContract):
    @pytest.fixture
    def target(self, postgres: Database) -> Target:
        return Target(
            postgres,
            PostgresWriter(postgres.url),
            held,
            plan_between,
            "SET session_replication_role = replica",
            "customer_name_key",
        )


def test_a_plan_puts_everything_back_and_a_second_time_writes_nothing(postgres: Database) -> None:
    """Deleted, changed and added records of every kind of table; the counts tell what was done and found done."""
    postgres.role("app")
    postgres.run(*definitions(f"{postgres.name}_app"), *RECORDS)
    plan, before = harmed(
        postgres,
        "SET session_replication_role = replica; DELETE FROM customer WHERE id < 20",
        "UPDATE sales.orders SET total = 0 WHERE id % 3 = 0",
        "DELETE FROM sales.orders WHERE id > 40",
        "DELETE FROM ev WHERE id < 30",
        "UPDATE ev SET note = NULL WHERE id > 100",
        "INSERT INTO ev VALUES ('2021-06-01', 9999, 'new')",
        "DELETE FROM ONLY child",
        "INSERT INTO child VALUES (7, 'new', 7)",
        "SET session_replication_role = replica; UPDATE a SET b = NULL; DELETE FROM b",
        'UPDATE "we.ird"."Ta""ble; Type: X" SET "co l" = \'\'',
        "DELETE FROM ci",
    )
    applied = PostgresWriter(postgres.url).apply(plan)
    assert (applied.written, applied.already) == (plan.writes, 0)
    assert business(records(postgres)) == business(before)
    assert PostgresWriter(postgres.url).apply(plan).written == 0
    assert postgres.value("SELECT count(*) FROM parent WHERE b = 'fired'") == 0


def test_values_of_every_type_are_put_back_exactly(postgres: Database) -> None:
    """Rows that went and rows that changed, for the edge values of each built-in type."""
    for number, (kind, (_, before, literals)) in enumerate(EDGES.items()):
        values = ", ".join(f"({at}, {literal})" for at, literal in enumerate((*literals, "NULL")))
        postgres.run(
            *before, f"CREATE TABLE t{number} (id int PRIMARY KEY, v {kind})", f"INSERT INTO t{number} VALUES {values}"
        )
    losses = [f"DELETE FROM t{number} WHERE id % 2 = 0; UPDATE t{number} SET v = NULL" for number in range(len(EDGES))]
    plan, wanted = harmed(postgres, *losses)
    PostgresWriter(postgres.url).apply(plan)
    assert {name for name, each in records(postgres).items() if each != wanted[name]} == set()


def test_keys_that_the_index_takes_for_equal_are_different_records(postgres: Database) -> None:
    """1.0 and 1.00 collide in the index and are two records in the vault: it comes back as it was written."""
    postgres.run("CREATE TABLE t (k numeric PRIMARY KEY, v text)", "INSERT INTO t VALUES (1.0, 'a'), (2, 'b')")
    plan, before = harmed(postgres, "UPDATE t SET k = 1.00 WHERE k = 1")
    PostgresWriter(postgres.url).apply(plan)
    assert records(postgres) == before
    assert postgres.rows("SELECT k::text FROM t ORDER BY k") == [("1.0",), ("2",)]


@pytest.mark.parametrize("state", ["ENABLE", "ENABLE ALWAYS", "ENABLE REPLICA"])
@pytest.mark.parametrize("attributes", ["SUPERUSER", ""])
def test_triggers_and_rules_stay_silent_and_are_as_before(postgres: Database, state: str, attributes: str) -> None:
    """A restored record is no event of the shop's; afterwards triggers and rules are on as they were."""
    shop(postgres)
    url = postgres.role("writer", attributes)
    postgres.run(
        "CREATE TABLE log (what text)",
        "CREATE FUNCTION log() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN INSERT INTO public.log VALUES (TG_OP); RETURN coalesce(new, old); END $$",
        "CREATE TRIGGER noted BEFORE INSERT OR UPDATE OR DELETE ON orders FOR EACH ROW EXECUTE FUNCTION log()",
        "CREATE RULE ruled AS ON INSERT TO orders DO ALSO INSERT INTO public.log VALUES ('rule')",
        f"ALTER TABLE orders {state} TRIGGER noted",
        f"ALTER TABLE orders {state} RULE ruled",
        *[f'ALTER TABLE {table} OWNER TO "{postgres.name}_writer"' for table in ("orders", "customer", "log")],
    )
    question = (
        "SELECT tgenabled, (SELECT ev_enabled FROM pg_rewrite WHERE rulename = 'ruled') "
        "FROM pg_trigger WHERE NOT tgisinternal"
    )
    states = postgres.rows(question)
    plan, _ = harmed(
        postgres, "DELETE FROM orders WHERE customer < 3", "UPDATE orders SET total = 1 WHERE customer = 5"
    )
    postgres.run("DELETE FROM log")
    PostgresWriter(url).apply(plan)
    assert postgres.rows("SELECT * FROM log") == []
    assert postgres.rows(question) == states


def test_a_record_still_referred_to_may_not_go(postgres: Database) -> None:
    """Deleting what came since is refused where a record that stays refers to it, whatever the foreign key cascades."""
    postgres.run(
        "CREATE TABLE p (id int PRIMARY KEY)",
        "CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p ON DELETE CASCADE)",
        "INSERT INTO p VALUES (1)",
    )
    wanted = held(postgres)
    postgres.run("INSERT INTO p VALUES (2)", "INSERT INTO c VALUES (1, 2)")
    plan = plan_between(wanted, postgres, only=lambda name: name == "p")
    with pytest.raises(
        Refused, match=r"1 references would lead to no record: c \(p\) = \(2\) → p; nothing was written"
    ):
        PostgresWriter(postgres.url).apply(plan)
    assert postgres.rows("SELECT * FROM c") == [(1, 2)]
    owner = postgres.role("owner")
    postgres.run(*[f'ALTER TABLE {table} OWNER TO "{postgres.name}_owner"' for table in ("p", "c")])
    with pytest.raises(Refused, match="would change those of c by c_p_fkey"):
        PostgresWriter(owner).apply(plan)
    assert postgres.rows("SELECT * FROM c") == [(1, 2)]


@pytest.mark.parametrize("partitioned", ["", "PARTITION BY LIST (a)"])
def test_records_without_a_key_are_counted_not_confused(postgres: Database, partitioned: str) -> None:
    """Of several equal records exactly the missing ones come back and exactly the surplus ones go."""
    postgres.run(f"CREATE TABLE t (a int, b text) {partitioned}")
    if partitioned:
        postgres.run("CREATE TABLE t1 PARTITION OF t FOR VALUES IN (1)", "CREATE TABLE t2 PARTITION OF t DEFAULT")
    postgres.run("INSERT INTO t VALUES (1, 'x'), (1, 'x'), (1, 'x'), (NULL, NULL), (2, ''), (2, NULL)")
    plan, before = harmed(
        postgres,
        "DELETE FROM t WHERE b = 'x'",
        "INSERT INTO t VALUES (1, 'x'), (NULL, NULL), (NULL, NULL), (3, 'new')",
        "DELETE FROM t WHERE b = ''",
    )
    assert PostgresWriter(postgres.url).apply(plan).written == 6
    assert records(postgres) == before
    assert PostgresWriter(postgres.url).apply(plan).already == 6


def test_identity_columns_keep_their_numbers_and_counters_only_go_forward(postgres: Database) -> None:
    """Restored rows have the numbers they had, even where they are only ever generated; what comes next is free."""
    postgres.run(
        "CREATE TABLE t (id int PRIMARY KEY, n bigint GENERATED ALWAYS AS IDENTITY, s serial, "
        "twice int GENERATED ALWAYS AS (id * 2) STORED)",
        "INSERT INTO t (id) SELECT generate_series(1, 30)",
    )
    plan, before = harmed(
        postgres,
        "DELETE FROM t WHERE id > 10",
        "UPDATE t SET n = DEFAULT WHERE id = 1",
        "SELECT setval('t_n_seq', 5), setval('t_s_seq', 500)",
    )
    PostgresWriter(postgres.url).apply(plan)
    assert business(records(postgres)) == business(before)
    assert postgres.rows("INSERT INTO t (id) VALUES (99) RETURNING n, s, twice") == [(31, 501, 198)]


def test_a_dropped_table_comes_back_with_its_definitions(postgres: Database) -> None:
    """Definitions that are missing are made around the records: keys, indexes, triggers, counters, all of it."""
    postgres.role("app")
    postgres.run(*definitions(f"{postgres.name}_app"), *RECORDS)
    # What is new in a live database also gets the privileges the database gives to all that is new.
    postgres.run(f'ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE ALL ON TABLES FROM "{postgres.name}_app"')
    wanted, before = held(postgres), records(postgres)
    postgres.run("DROP TABLE sales.orders", "DROP TABLE ev", "DROP FUNCTION g", "DROP TABLE child")
    plan = plan_between(wanted, postgres, only=bool)
    applied = PostgresWriter(postgres.url).apply(plan)
    assert applied.written == plan.writes
    assert records(postgres) == before
    assert PostgresWriter(postgres.url).apply(plan).written == 0


def test_a_row_that_another_session_holds_is_waited_for_and_judged_as_it_is_then(postgres: Database) -> None:
    """The application's change, not committed when the plan begins, is seen: it is never overwritten."""
    shop(postgres)
    plan, _ = harmed(postgres, "UPDATE orders SET total = 0 WHERE number = 'A9'")
    failed: list[Exception] = []

    def apply() -> None:
        try:
            PostgresWriter(postgres.url).apply(plan)
        except TargetChanged as error:
            failed.append(error)

    with psycopg.connect(postgres.url) as application:
        application.execute("UPDATE orders SET total = 77 WHERE number = 'A9'")
        thread = threading.Thread(target=apply)
        thread.start()
        eventually(lambda: postgres.value("SELECT count(*) FROM pg_locks WHERE NOT granted"), "the plan waits")
        application.commit()
        thread.join()
    assert [str(each) for each in failed] == [
        "orders: the record number='A9' is not what the plan expects; nothing was written"
    ]
    assert postgres.value("SELECT total FROM orders WHERE number = 'A9'") == 77


def test_a_session_cut_off_leaves_nothing_and_may_try_again(postgres: Database) -> None:
    """The server ends the session in the middle: Unreachable, nothing is written, and the plan goes through then."""
    shop(postgres)
    plan, before = harmed(
        postgres, "DELETE FROM orders WHERE number = 'A9'", "UPDATE customer SET name = 'x' WHERE id = 1"
    )
    failed: list[Unreachable] = []

    def apply() -> None:
        try:
            PostgresWriter(postgres.url).apply(plan)
        except Unreachable as error:
            failed.append(error)

    with psycopg.connect(postgres.url) as application:
        application.execute("SELECT FROM customer WHERE id = 1 FOR UPDATE")
        thread = threading.Thread(target=apply)
        thread.start()
        waiting = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted"
        eventually(lambda: postgres.rows(waiting), "the plan waits")
        thread.join()
    assert len(failed) == 1
    assert postgres.value("SELECT name FROM customer WHERE id = 1") == "x"
    assert PostgresWriter(postgres.url).apply(plan).written == 2
    assert records(postgres) == before


def test_many_records_are_put_back_in_batches(postgres: Database) -> None:
    """Fifty thousand rows, most of them harmed, through the key's own index."""
    postgres.run(
        "CREATE TABLE t (a text, b int, v text, PRIMARY KEY (b, a))",
        "INSERT INTO t SELECT 'k' || n, n % 100, md5(n::text) FROM generate_series(1, 50000) n",
    )
    plan, before = harmed(postgres, "DELETE FROM t WHERE b < 40", "UPDATE t SET v = '' WHERE b > 60")
    assert PostgresWriter(postgres.url).apply(plan).written == plan.writes > 30_000
    assert records(postgres) == before
