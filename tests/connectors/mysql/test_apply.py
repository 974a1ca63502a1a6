"""Changing a database that is in use, by plan: all of it or nothing, never what somebody else changed meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from holdfast.connectors.mysql.writer import MysqlWriter
from holdfast.core.plan import Plan
from holdfast.errors import Refused, TargetChanged, Unreachable
from tests.connectors.mysql.restoring import held, plan_between, records
from tests.connectors.mysql.values_of_types import EDGES, fill
from tests.connectors.plan_contract import PlanContract, Records, Target, shop
from tests.connectors.plans import digests_of
from tests.mariadb_server import Database, Server
from tests.waiting import eventually

UNCHECKED = "SET foreign_key_checks = 0"
# INNODB_TRX shows the same for ever to who asks often.
WAITING = """
    SELECT VARIABLE_VALUE + 0 FROM information_schema.GLOBAL_STATUS
    WHERE VARIABLE_NAME = 'Innodb_row_lock_current_waits'
"""
WAITERS = "INFO LIKE '%STRAIGHT_JOIN%'"


def harmed(target: Database, *losses: str) -> tuple[Plan, Records]:
    """Do the target some harm, and plan the way back; what it held before."""
    wanted = held(target)
    target.run(*losses)
    return plan_between(wanted, target), digests_of(wanted)


def in_background(act: Callable[[], object], kind: type[Exception]) -> tuple[threading.Thread, list[Exception]]:
    """Start it in a thread of its own; what it fails with comes into the list."""
    failed: list[Exception] = []

    def run() -> None:
        try:
            act()
        except kind as error:
            failed.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, failed


class TestPlan(PlanContract):
    @pytest.fixture
    def target(self, mariadb: Database) -> Target:
        return Target(mariadb, MysqlWriter(mariadb.url), held, plan_between, UNCHECKED, "Duplicate entry 'name 1'")


def test_a_plan_puts_everything_back_and_a_second_time_writes_nothing(mariadb: Database) -> None:
    """Deleted, changed and added records; the counts tell what was done and found done."""
    shop(mariadb)
    mariadb.run(
        "CREATE TABLE `we.ird ``x``; é` (`a b` varchar(5), `日` int, h int INVISIBLE, g int AS (`日` + 1) STORED, "
        "v int AS (`日` + 2) VIRTUAL, PRIMARY KEY (`日`, `a b`)) PARTITION BY HASH (`日`) PARTITIONS 3",
        "INSERT INTO `we.ird ``x``; é` (`a b`, `日`, h) SELECT 'x', seq, seq FROM seq_1_to_30",
    )
    plan, before = harmed(
        mariadb,
        UNCHECKED,
        "DELETE FROM orders WHERE customer < 5",
        "UPDATE orders SET total = NULL WHERE customer = 7",
        "UPDATE customer SET name = '' WHERE id = 3",
        "INSERT INTO customer VALUES (77, NULL)",
        "DELETE FROM `we.ird ``x``; é` WHERE `日` > 20",
        "UPDATE `we.ird ``x``; é` SET h = NULL WHERE `日` < 9",
    )
    applied = MysqlWriter(mariadb.url).apply(plan)
    assert (applied.written, applied.already) == (plan.writes, 0)
    assert records(mariadb) == before
    assert mariadb.value("SELECT count(*) FROM `we.ird ``x``; é` WHERE g = `日` + 1 AND v = `日` + 2") == 30
    assert MysqlWriter(mariadb.url).apply(plan).written == 0


def test_values_of_every_type_are_put_back_exactly(mariadb: Database) -> None:
    """Rows that went and rows that changed, for the edge values of each type."""
    fill(mariadb)
    tables = [f"t{number}" for number in range(len(EDGES))]
    losses = []
    for name in tables:
        losses += [f"DELETE FROM {name} WHERE id % 2 = 0", f"UPDATE {name} SET v = DEFAULT"]
    plan, wanted = harmed(mariadb, "SET sql_mode = ''", *losses)
    applied = MysqlWriter(mariadb.url).apply(plan)
    assert applied.written == plan.writes > 100
    found = records(mariadb)
    assert [kind for kind, name in zip(EDGES, tables, strict=True) if found[name] != wanted[name]] == []


def test_values_of_every_type_are_told_apart_without_a_key(mariadb: Database) -> None:
    """One of two equal rows goes and comes, and with it none that is only nearly equal."""
    fill(mariadb)
    tables = [f"t{number}" for number in range(len(EDGES))]
    for name in tables:
        mariadb.run(f"ALTER TABLE {name} DROP PRIMARY KEY, DROP id")
        mariadb.run(f"INSERT INTO {name} SELECT * FROM {name}")
    losses = [f"DELETE FROM {name} LIMIT 3" for name in tables]
    plan, wanted = harmed(mariadb, *losses)
    MysqlWriter(mariadb.url).apply(plan)
    found = held(mariadb)
    assert digests_of(found) == wanted
    empty = {name: (schema, []) for name, (schema, _) in found.items()}
    MysqlWriter(mariadb.url).apply(plan_between(empty, mariadb))
    assert [name for name in tables if mariadb.value(f"SELECT count(*) FROM {name}")] == []


@pytest.mark.parametrize("key", ["varchar(9)", "enum('','x','a','A') COLLATE utf8mb4_bin", "char(9)"])
def test_keys_that_the_index_takes_for_equal_are_different_records(mariadb: Database, key: str) -> None:
    """`a` and `A` collide in the index and are two records in the vault: it comes back as it was written."""
    mariadb.run(f"CREATE TABLE t (k {key} PRIMARY KEY, v text)", "INSERT INTO t VALUES ('a', 'x'), ('', 'y')")
    plan, before = harmed(mariadb, "UPDATE t SET k = 'A' WHERE k = 'a'")
    assert MysqlWriter(mariadb.url).apply(plan).written == 2
    assert records(mariadb) == before
    assert mariadb.rows("SELECT k FROM t ORDER BY v") == [("a",), ("",)]


def test_the_error_value_of_an_enum_is_not_its_empty_label(mariadb: Database) -> None:
    """Both read as the empty string, both may be a key in one table, and each is found by itself."""
    mariadb.run(
        "SET sql_mode = ''",
        "CREATE TABLE t (k enum('','b') PRIMARY KEY, v text)",
        "INSERT INTO t VALUES ('', 'label'), (0, 'error'), ('b', 'b')",
    )
    plan, before = harmed(mariadb, "DELETE FROM t WHERE k + 0 = 0", "UPDATE t SET v = '' WHERE k + 0 = 1")
    assert MysqlWriter(mariadb.url).apply(plan).written == 2
    assert records(mariadb) == before


@pytest.mark.parametrize("action", ["", "ON DELETE CASCADE", "ON DELETE SET NULL"])
def test_a_record_still_referred_to_may_not_go(mariadb: Database, action: str) -> None:
    """Deleting what came since is refused where a record that stays refers to it, whatever the foreign key cascades."""
    mariadb.run(
        "CREATE TABLE p (id int PRIMARY KEY)",
        f"CREATE TABLE c (id int PRIMARY KEY, p int, FOREIGN KEY (p) REFERENCES p (id) {action})",
        "INSERT INTO p VALUES (1)",
    )
    wanted = held(mariadb)
    mariadb.run("INSERT INTO p VALUES (2)", "INSERT INTO c VALUES (1, 2)")
    plan = plan_between(wanted, mariadb, only=lambda name: name == "p")
    with pytest.raises(
        Refused, match=r"1 references would lead to no record: c \(p\) = \(2\) → p; nothing was written"
    ):
        MysqlWriter(mariadb.url).apply(plan)
    assert mariadb.rows("SELECT * FROM c") == [(1, 2)]


@pytest.mark.parametrize("partitioned", ["", "PARTITION BY LIST (a) (PARTITION x VALUES IN (1), PARTITION y DEFAULT)"])
def test_records_without_a_key_are_counted_not_confused(mariadb: Database, partitioned: str) -> None:
    """Of several equal records exactly the missing ones come back and exactly the surplus ones go."""
    mariadb.run(f"CREATE TABLE t (a int, b text, f float) {partitioned}")
    mariadb.run(
        "INSERT INTO t VALUES (1, 'x', 0.1), (1, 'x', 0.1), (1, 'x', 0.1), (1, 'X', 0.1), (1, 'x', 0.10000001), "
        "(NULL, NULL, NULL), (2, '', 1), (2, NULL, 1)"
    )
    plan, before = harmed(
        mariadb,
        "DELETE FROM t WHERE b = 'x'",
        "INSERT INTO t VALUES (1, 'x', 0.1), (NULL, NULL, NULL), (NULL, NULL, NULL), (3, 'new', 1), (3, 'new ', 1)",
        "DELETE FROM t WHERE b = ''",
    )
    assert MysqlWriter(mariadb.url).apply(plan).written == 9
    assert records(mariadb) == before
    assert MysqlWriter(mariadb.url).apply(plan).already == 9


def test_many_records_without_a_key_go_in_one_reading_of_the_table(mariadb: Database) -> None:
    """Thousands of them, of some all that are equal and of others one of many."""
    mariadb.run(
        "CREATE TABLE t (a int, b varchar(40), c float)",
        "INSERT INTO t SELECT seq, md5(seq), seq / 7 FROM seq_1_to_20000",
        "INSERT INTO t SELECT a, b, c FROM t WHERE a <= 2000",
        "INSERT INTO t SELECT NULL, NULL, 0.1 FROM seq_1_to_3000",
    )
    plan, before = harmed(
        mariadb,
        "INSERT INTO t SELECT seq, md5(seq), seq / 7 FROM seq_1_to_4000",
        "INSERT INTO t SELECT seq, 'new', seq FROM seq_1_to_2000",
        "INSERT INTO t VALUES (NULL, NULL, 0.1)",
    )
    assert MysqlWriter(mariadb.url).apply(plan).written == 6001
    assert records(mariadb) == before


def test_counters_only_go_forward(mariadb: Database) -> None:
    """Restored rows have the numbers they had, 0 among them; what comes next is free."""
    mariadb.run(
        "CREATE SEQUENCE s",
        "CREATE TABLE t (id int AUTO_INCREMENT PRIMARY KEY, n int, m int DEFAULT nextval(s))",
        "CREATE TABLE u (k int PRIMARY KEY, id int AUTO_INCREMENT, KEY (id))",
        "SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO'",
        "INSERT INTO t SELECT seq, seq, seq * 2 FROM seq_0_to_30",
        "INSERT INTO u VALUES (1, 50)",
    )
    plan, before = harmed(
        mariadb,
        "DELETE FROM t WHERE id > 10 OR id = 0",
        "ALTER TABLE t AUTO_INCREMENT = 5",
        "UPDATE u SET id = 1",
        "ALTER TABLE u AUTO_INCREMENT = 2",
    )
    MysqlWriter(mariadb.url).apply(plan)
    assert records(mariadb) == before
    mariadb.run("INSERT INTO t (n) VALUES (99)", "INSERT INTO u (k) VALUES (2)")
    assert mariadb.rows("SELECT id, m FROM t WHERE n = 99") == [(31, 61)]
    assert mariadb.rows("SELECT id FROM u WHERE k = 2") == [(51,)]


def test_a_counter_of_a_text_goes_past_the_numbers_in_it(mariadb: Database) -> None:
    """By number, not by letter; what is none is passed over, and so are defaults that only begin with one."""
    mariadb.run(
        "CREATE SEQUENCE s",
        "CREATE TABLE t (id int PRIMARY KEY, n varchar(9) DEFAULT nextval(s), m text DEFAULT concat('A', nextval(s)))",
        "INSERT INTO t VALUES (1, '9', 'A-9'), (2, '10', 'x'), (3, 'none', ''), (4, NULL, NULL)",
    )
    plan, before = harmed(mariadb, "DELETE FROM t WHERE id > 1")
    MysqlWriter(mariadb.url).apply(plan)
    assert records(mariadb) == before
    assert mariadb.value("SELECT nextval(s)") == 11


def test_a_table_whose_engine_has_no_transactions_is_refused(mariadb: Database) -> None:
    """A plan could stay half done in it: the error names the way out, and nothing is written."""
    shop(mariadb)
    mariadb.run("CREATE TABLE m (id int PRIMARY KEY) ENGINE=MyISAM", "INSERT INTO m VALUES (1)")
    plan, _ = harmed(mariadb, "DELETE FROM m", "DELETE FROM orders")
    with pytest.raises(Refused, match="m: its engine MyISAM has no transactions") as refused:
        MysqlWriter(mariadb.url).apply(plan)
    assert f"ALTER TABLE `{mariadb.name}`.`m` ENGINE=InnoDB" in refused.value.hint
    assert mariadb.value("SELECT count(*) FROM orders") == 0


def test_a_rule_that_the_records_break_stops_all_of_it(mariadb: Database) -> None:
    """A constraint, or a type that became narrower since: refused by name, never altered."""
    mariadb.run("CREATE TABLE t (id int PRIMARY KEY, v varchar(9))", "INSERT INTO t VALUES (1, 'longer'), (2, 'x')")
    plan, _ = harmed(mariadb, "DELETE FROM t WHERE id = 1", "UPDATE t SET v = 'y'")
    mariadb.run("ALTER TABLE t MODIFY v varchar(3)")
    with pytest.raises(Refused, match="t: Data truncated for column 'v'"):
        MysqlWriter(mariadb.url).apply(plan)
    mariadb.run("ALTER TABLE t MODIFY v varchar(9) CHECK (v <> 'longer')")
    with pytest.raises(Refused, match="CONSTRAINT"):
        MysqlWriter(mariadb.url).apply(plan)
    assert mariadb.rows("SELECT * FROM t") == [(2, "y")]


def test_a_row_that_another_session_holds_is_waited_for_and_judged_as_it_is_then(mariadb: Database) -> None:
    """The application's change, not committed when the plan begins, is seen: it is never overwritten."""
    shop(mariadb)
    plan, _ = harmed(mariadb, "UPDATE orders SET total = 0 WHERE number = 'A9'")
    with mariadb.session(autocommit=False) as application, application.cursor() as cursor:
        cursor.execute("UPDATE orders SET total = 77 WHERE number = 'A9'")
        thread, failed = in_background(lambda: MysqlWriter(mariadb.url).apply(plan), TargetChanged)
        eventually(lambda: mariadb.value(WAITING), "the plan waits")
        application.commit()
        thread.join()
    assert [str(each) for each in failed] == [
        "orders: the record number='A9' is not what the plan expects; nothing was written"
    ]
    assert mariadb.value("SELECT total FROM orders WHERE number = 'A9'") == 77


def test_a_lock_that_is_not_to_be_had_is_told_after_ten_seconds(mariadb: Database) -> None:
    """Unreachable and safe to try again; nothing is written, and the plan goes through when the lock is free."""
    shop(mariadb)
    plan, before = harmed(
        mariadb, "DELETE FROM orders WHERE number = 'A1'", "UPDATE orders SET total = 0 WHERE number = 'A9'"
    )
    with mariadb.session(autocommit=False) as application, application.cursor() as cursor:
        cursor.execute("SELECT * FROM orders WHERE number = 'A9' FOR UPDATE")
        with pytest.raises(Unreachable, match="Lock wait timeout"):
            MysqlWriter(mariadb.url).apply(plan)
    assert mariadb.value("SELECT count(*) FROM orders") == 9
    MysqlWriter(mariadb.url).apply(plan)
    assert records(mariadb) == before


def test_a_session_cut_off_leaves_nothing_and_may_try_again(mariadb: Database) -> None:
    """The server ends the session in the middle: Unreachable, nothing is written, and the plan goes through then."""
    shop(mariadb)
    plan, before = harmed(
        mariadb, "DELETE FROM orders WHERE number = 'A1'", "UPDATE orders SET total = 0 WHERE number = 'A9'"
    )
    with mariadb.session(autocommit=False) as application, application.cursor() as cursor:
        cursor.execute("SELECT * FROM orders WHERE number = 'A9' FOR UPDATE")
        thread, failed = in_background(lambda: MysqlWriter(mariadb.url).apply(plan), Unreachable)
        eventually(lambda: mariadb.value(WAITING), "the plan waits")
        mariadb.kill(WAITERS)
        thread.join()
    assert len(failed) == 1
    assert mariadb.value("SELECT count(*) FROM orders") == 9
    assert MysqlWriter(mariadb.url).apply(plan).written == 2
    assert records(mariadb) == before


def test_a_server_that_dies_in_the_middle_leaves_nothing(mariadb_servers: Callable[..., Server]) -> None:
    """Killed while the plan waits for its last row: after recovery all is as before, and the plan goes through."""
    server = mariadb_servers(innodb_flush_log_at_trx_commit="1")
    with server.database() as database:
        shop(database)
        plan, before = harmed(
            database, "DELETE FROM orders WHERE number = 'A1'", "UPDATE orders SET total = 0 WHERE number = 'A9'"
        )
        damaged = records(database)
        with database.session(autocommit=False) as application, application.cursor() as cursor:
            cursor.execute("SELECT * FROM orders WHERE number = 'A9' FOR UPDATE")
            thread, failed = in_background(lambda: MysqlWriter(database.url).apply(plan), Unreachable)
            eventually(lambda: database.value(WAITING), "the plan waits")
            server.crash()
            thread.join()
        server.start()
        assert len(failed) == 1
        assert records(database) == damaged
        MysqlWriter(database.url).apply(plan)
        assert records(database) == before


def test_many_records_are_put_back_in_batches(mariadb: Database) -> None:
    """Fifty thousand rows, most of them harmed, through the key's own index."""
    mariadb.run(
        "CREATE TABLE t (a varchar(9), b int, v text, PRIMARY KEY (b, a))",
        "INSERT INTO t SELECT concat('k', seq), seq % 100, md5(seq) FROM seq_1_to_50000",
    )
    plan, before = harmed(mariadb, "DELETE FROM t WHERE b < 40", "UPDATE t SET v = '' WHERE b > 60")
    assert MysqlWriter(mariadb.url).apply(plan).written == plan.writes > 30_000
    assert records(mariadb) == before


@pytest.mark.parametrize("form", ["MIXED", "STATEMENT"])
def test_a_server_that_logs_statements_is_refused_or_written_exactly(
    mariadb_servers: Callable[..., Server], form: str
) -> None:
    """Under MIXED rows are logged; under STATEMENT the server refuses, and nothing is written."""
    with mariadb_servers(binlog_format=form).database() as database:
        shop(database)
        plan, before = harmed(database, "DELETE FROM orders WHERE number = 'A1'")
        if form == "MIXED":
            MysqlWriter(database.url).apply(plan)
            assert records(database) == before
        else:
            with pytest.raises(Refused, match="BINLOG_FORMAT"):
                MysqlWriter(database.url).apply(plan)
            assert database.value("SELECT count(*) FROM orders") == 9


def loud(database: Database, table: str) -> None:
    """Give a table triggers that write down that they fired, and refuse nothing."""
    database.run("CREATE TABLE IF NOT EXISTS log (what text)")
    for moment in ("BEFORE", "AFTER"):
        for verb in ("INSERT", "UPDATE", "DELETE"):
            database.run(
                f"CREATE TRIGGER `{table}_{moment}_{verb}` {moment} {verb} ON `{table}` FOR EACH ROW "
                f"INSERT INTO log VALUES ('{table} {verb}')"
            )


def test_triggers_stay_silent_and_are_as_before(mariadb: Database) -> None:
    """A restored record is no event of the shop's: none fires, in any of the ways of writing."""
    shop(mariadb)
    mariadb.run(
        "ALTER TABLE orders ADD twice decimal(9,2) AS (total * 2) STORED, "
        "ADD half decimal(9,2) AS (total / 2) VIRTUAL, ADD KEY (twice), ADD KEY (half)",
        "CREATE TABLE bag (a int, b text, c float, FULLTEXT (b))",
        "INSERT INTO bag VALUES (1, 'x', 0.1), (1, 'x', 0.1), (NULL, NULL, NULL), (2, '', 1)",
        "CREATE TABLE tight (id int PRIMARY KEY, v text) ROW_FORMAT = COMPRESSED",
        "INSERT INTO tight VALUES (1, 'a'), (2, 'b')",
    )
    plan, before = harmed(
        mariadb,
        "DELETE FROM orders WHERE customer < 3",
        "UPDATE orders SET total = 1 WHERE customer = 5",
        "INSERT INTO orders (number, customer) VALUES ('new', 5)",
        "UPDATE customer SET name = 'x' WHERE id = 1",
        "UPDATE customer SET name = 'name 1' WHERE id = 2",
        "UPDATE customer SET name = 'name 2' WHERE id = 1",
        "DELETE FROM bag WHERE b = 'x' LIMIT 1",
        "DELETE FROM bag WHERE b IS NULL",
        "INSERT INTO bag VALUES (2, '', 1), (3, 'new', NULL)",
        "UPDATE tight SET v = 'x' WHERE id = 1",
        "DELETE FROM tight WHERE id = 2",
    )
    for table in ("orders", "customer", "bag", "tight"):
        loud(mariadb, table)
    triggers = mariadb.rows("SHOW TRIGGERS")
    applied = MysqlWriter(mariadb.url).apply(plan)
    assert (applied.written, applied.already) == (plan.writes, 0)
    assert {name: each for name, each in records(mariadb).items() if name in before} == before
    assert mariadb.rows("SELECT * FROM log") == []
    assert mariadb.rows("SHOW TRIGGERS") == triggers
    assert mariadb.value("SELECT count(*) FROM orders WHERE twice = total * 2 AND half = total / 2") == 10
    assert mariadb.value("SELECT count(*) FROM orders WHERE twice > 100") == 4
    assert mariadb.value("SELECT count(*) FROM orders FORCE INDEX (half) WHERE half >= 0") == 10
    assert {verdict for *_, verdict in mariadb.rows("CHECK TABLE orders, customer, bag EXTENDED")} == {"OK"}
    assert MysqlWriter(mariadb.url).apply(plan).written == 0


def test_values_of_every_type_are_put_back_past_triggers(mariadb: Database) -> None:
    """The same edge values, with a key and without."""
    fill(mariadb)
    tables = [f"t{number}" for number in range(len(EDGES))]
    losses = []
    for name in tables:
        losses += [f"CREATE TABLE bag_{name} AS SELECT v FROM {name}", f"DELETE FROM {name} WHERE id % 2 = 0"]
    mariadb.run("SET sql_mode = 'ALLOW_INVALID_DATES'", *losses[::2])
    bags = [f"DELETE FROM bag_{name} LIMIT 2" for name in tables]
    nulls = [f"UPDATE {name} SET v = DEFAULT" for name in tables]
    plan, before = harmed(mariadb, "SET sql_mode = ''", *losses[1::2], *nulls, *bags)
    for name in tables:
        loud(mariadb, name)
        loud(mariadb, f"bag_{name}")
    assert MysqlWriter(mariadb.url).apply(plan).written == plan.writes
    found = records(mariadb)
    wrong = [kind for kind, name in zip(EDGES, tables, strict=True) if found[name] != before[name]]
    wrong += [kind for kind, name in zip(EDGES, tables, strict=True) if found[f"bag_{name}"] != before[f"bag_{name}"]]
    assert wrong == []
    assert mariadb.rows("SELECT * FROM log") == []


def test_what_breaks_a_rule_is_refused_past_triggers_too(mariadb: Database) -> None:
    """Unique values, references and constraints hold as ever."""
    shop(mariadb)
    wanted = held(mariadb)
    mariadb.run("DELETE FROM orders WHERE customer = 1", "DELETE FROM customer WHERE id = 1")
    loud(mariadb, "orders")
    loud(mariadb, "customer")
    half = plan_between(wanted, mariadb, only=lambda name: name == "orders")
    with pytest.raises(Refused, match=r"orders \(customer\) = \(1\) → customer"):
        MysqlWriter(mariadb.url).apply(half)
    whole = plan_between(wanted, mariadb, only=lambda name: name in ("orders", "customer"))
    mariadb.run("ALTER TABLE orders ADD CONSTRAINT c CHECK (total <> 10)")
    with pytest.raises(Refused, match="CONSTRAINT `c` failed"):
        MysqlWriter(mariadb.url).apply(whole)
    mariadb.run("ALTER TABLE orders DROP CONSTRAINT c", "INSERT INTO customer VALUES (77, 'name 1')")
    with pytest.raises(TargetChanged, match="Duplicate entry 'name 1'"):
        MysqlWriter(mariadb.url).apply(whole)
    assert mariadb.value("SELECT count(*) FROM orders") == 9


def test_a_user_who_may_not_write_past_triggers_is_told_how(mariadb: Database) -> None:
    """Nothing fires and nothing is written, though he has no right to triggers; the grant that is named is enough."""
    shop(mariadb)
    rights = "SELECT, INSERT, UPDATE, DELETE, CREATE TEMPORARY TABLES ON {db}.*"
    url = mariadb.user("writer", rights)
    plan, before = harmed(mariadb, "DELETE FROM orders WHERE customer < 3")
    loud(mariadb, "orders")
    with pytest.raises(Refused, match=r"its triggers would fire .*: GRANT BINLOG REPLAY") as refused:
        MysqlWriter(url).apply(plan)
    assert mariadb.value("SELECT count(*) FROM orders") == 7
    grant = str(refused.value).partition("mend it with: ")[2].partition(";")[0]
    mariadb.run(grant)
    MysqlWriter(url).apply(plan)
    assert mariadb.rows("SELECT * FROM log") == []
    assert {name: each for name, each in records(mariadb).items() if name in before} == before


@pytest.mark.parametrize("key", ["int PRIMARY KEY", "int"])
def test_a_table_that_keeps_its_past_gets_it_back_exactly(mariadb: Database, key: str) -> None:
    """Versions that were lost come back, those that came since go, and none is added by putting them right."""
    mariadb.run(
        f"CREATE TABLE v (id {key}, x text) WITH SYSTEM VERSIONING",
        "INSERT INTO v VALUES (1, 'a'), (2, 'b'), (3, 'c')",
        "UPDATE v SET x = 'aa' WHERE id = 1",
        "DELETE FROM v WHERE id = 3",
    )
    plan, before = harmed(
        mariadb, "UPDATE v SET x = 'harm'", "DELETE FROM v WHERE id = 2", "INSERT INTO v VALUES (9, 'new')"
    )
    MysqlWriter(mariadb.url).apply(plan)
    assert records(mariadb) == before
    assert mariadb.rows("SELECT id, x FROM v ORDER BY id") == [(1, "aa"), (2, "b")]
    plan, before = harmed(mariadb, "DELETE HISTORY FROM v")
    MysqlWriter(mariadb.url).apply(plan)
    assert records(mariadb) == before
    assert MysqlWriter(mariadb.url).apply(plan).written == 0
