"""Changing a database that is in use, by plan: all of it or nothing, never what somebody else changed meanwhile."""

from __future__ import annotations

import resource
import shutil
from pathlib import Path

import pytest

from holdfast.connectors.sqlite import SqliteReader, SqliteWriter
from holdfast.core.plan import Plan
from holdfast.errors import Refused, TargetChanged, Unreachable
from tests.connectors.sqlite.databases import Shop, ask, contents, plan_between, rows, run


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """The database in use."""
    return tmp_path / "target.db"


def with_wanted(target: Path, *losses: str, **options: object) -> tuple[Plan, Path]:
    """Copy the target as what is wanted, do it some harm, and plan the way back."""
    wanted = target.with_name("wanted.db")
    shutil.copyfile(target, wanted)
    run(target, *losses)
    return plan_between(wanted, target, **options), wanted  # type: ignore[arg-type]


def orders(target: Path, count: int = 10) -> None:
    """A small shop."""
    run(target, "PRAGMA journal_mode=WAL", "CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT UNIQUE)")
    run(target, "CREATE TABLE orders (number TEXT PRIMARY KEY, customer NOT NULL REFERENCES customer, total)")
    run(target, ("INSERT INTO customer VALUES (?, ?)", [(n, f"name {n}") for n in range(count)]))
    run(target, ("INSERT INTO orders VALUES (?, ?, ?)", [(f"A{n}", n, n * 10) for n in range(count)]))


def test_a_record_changed_since_the_plan_stops_all_of_it(target: Path) -> None:
    """The plan names collection and key, and nothing at all is written, not even steps before that one."""
    orders(target)
    plan, _ = with_wanted(
        target, "DELETE FROM customer WHERE id < 5", "UPDATE orders SET total = 0 WHERE number = 'A9'"
    )
    run(target, "UPDATE orders SET total = 'from the shop' WHERE number = 'A9'")
    before = contents(target)
    with pytest.raises(TargetChanged, match="orders: the record number='A9' is not what the plan expects"):
        SqliteWriter(target).apply(plan)
    assert contents(target) == before


def test_a_record_that_came_since_the_plan_stops_all_of_it(target: Path) -> None:
    """A key that was free when the plan was made and is taken now is nobody's to overwrite."""
    orders(target)
    plan, _ = with_wanted(target, "DELETE FROM customer WHERE id IN (1, 2)")
    run(target, "INSERT INTO customer VALUES (2, 'somebody new')")
    with pytest.raises(TargetChanged, match="customer: the record id=2"):
        SqliteWriter(target).apply(plan)
    assert [row["id"] for row in rows(target, "customer")] == [0, *range(2, 10)]


def test_a_value_that_must_be_unique_and_was_taken_since_stops_all_of_it(target: Path) -> None:
    """A new record under another key may hold what the plan needs: then the plan is told to be out of date."""
    orders(target)
    plan, _ = with_wanted(target, "DELETE FROM customer WHERE id = 1")
    run(target, "INSERT INTO customer VALUES (77, 'name 1')")
    with pytest.raises(TargetChanged, match=r"UNIQUE constraint failed: customer\.name"):
        SqliteWriter(target).apply(plan)
    assert {"id": 77, "name": "name 1"} in rows(target, "customer")


def test_steps_done_already_are_counted_and_the_rest_is_done(target: Path) -> None:
    """A plan that was half overtaken by someone who did the same is carried out, not refused."""
    orders(target)
    plan, wanted = with_wanted(target, "DELETE FROM customer WHERE id < 4")
    run(target, "INSERT INTO customer VALUES (2, 'name 2')")
    applied = SqliteWriter(target).apply(plan)
    assert (applied.written, applied.already) == (3, 1)
    assert contents(target) == contents(wanted)


def test_values_that_must_be_unique_may_change_places(target: Path) -> None:
    """Two records that swap a unique value collide row by row, and yet are put right."""
    orders(target)
    plan, wanted = with_wanted(
        target,
        "UPDATE customer SET name = 'x' WHERE id = 1",
        "UPDATE customer SET name = 'name 1' WHERE id = 2",
        "UPDATE customer SET name = 'name 2' WHERE id = 1",
    )
    assert SqliteWriter(target).apply(plan).written == 2
    assert contents(target) == contents(wanted)


def test_keys_that_differ_only_in_case_are_different_records(target: Path) -> None:
    """A key that ignores case at the source is exact in the vault: the record comes back as it was spelled."""
    run(
        target, "CREATE TABLE t (k TEXT COLLATE NOCASE PRIMARY KEY, v) WITHOUT ROWID", "INSERT INTO t VALUES ('Ada', 1)"
    )
    plan, wanted = with_wanted(target, "UPDATE t SET k = 'ADA'")
    SqliteWriter(target).apply(plan)
    assert contents(target) == contents(wanted)


def test_triggers_stay_silent_and_are_as_before(target: Path) -> None:
    """A restored record is not an event of the shop's; afterwards its triggers work again, in their order."""
    orders(target)
    run(target, "CREATE TABLE log (what)")
    for number, event in enumerate(
        ("INSERT ON Customer", "DELETE ON customer", "UPDATE ON customer", "INSERT ON customer")
    ):
        run(target, f"CREATE TRIGGER \"t {number}\" AFTER {event} BEGIN INSERT INTO log VALUES ('{number}'); END")
    order = "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY rowid"
    triggers = ask(target, order)
    plan, _ = with_wanted(target, "DELETE FROM customer WHERE id < 3", "UPDATE customer SET name = 'x' WHERE id = 5")
    run(target, "DELETE FROM log")
    SqliteWriter(target).apply(plan)
    assert rows(target, "log") == []
    assert ask(target, order) == triggers
    run(target, "INSERT INTO customer VALUES (99, 'new')")
    assert [row["what"] for row in rows(target, "log")] in (["0", "3"], ["3", "0"])


def test_references_in_a_cycle_are_restored_and_none_may_lead_nowhere(target: Path) -> None:
    """Records that refer to one another come back in one transaction; half of them would be refused."""
    run(target, "CREATE TABLE a (id INTEGER PRIMARY KEY, b NOT NULL REFERENCES b DEFERRABLE INITIALLY DEFERRED)")
    run(target, "CREATE TABLE b (id INTEGER PRIMARY KEY, a NOT NULL REFERENCES a, me REFERENCES b)")
    run(target, "INSERT INTO a VALUES (1, 1), (2, 404)", "INSERT INTO b VALUES (1, 1, 1)")
    plan, wanted = with_wanted(target, "DELETE FROM a WHERE id = 1", "DELETE FROM b")
    half = plan_between(wanted, target, only=lambda name: name == "a")
    with pytest.raises(Refused, match=r"1 references would lead to no record: a row 1 → b; nothing was written"):
        SqliteWriter(target).apply(half)
    assert rows(target, "a") == [{"id": 2, "b": 404}]
    SqliteWriter(target).apply(plan)
    assert contents(target) == contents(wanted)


def test_records_without_a_key_are_counted_not_confused(target: Path) -> None:
    """Of several equal records exactly the missing ones come back and exactly the surplus ones go."""
    run(
        target,
        "CREATE TABLE t (a, b)",
        "INSERT INTO t VALUES (1, 'x'), (1, 'x'), (1, 'x'), (1.0, 'x'), (NULL, NULL), ('1', x'78')",
    )
    plan, wanted = with_wanted(
        target, "DELETE FROM t WHERE rowid IN (1, 3, 6)", "INSERT INTO t VALUES (NULL, NULL), (NULL, NULL), (2, 2)"
    )
    assert SqliteWriter(target).apply(plan).written == 6
    assert contents(target) == contents(wanted)
    assert SqliteWriter(target).apply(plan).already == 6


@pytest.mark.parametrize("meanwhile", ["INSERT INTO t VALUES (1)", "DELETE FROM t WHERE rowid = 1"])
def test_one_equal_record_more_or_less_since_the_plan_stops_it(target: Path, meanwhile: str) -> None:
    """Records without a key have only their number to tell a change by."""
    run(target, "CREATE TABLE t (a)", "INSERT INTO t VALUES (1), (1), (1)")
    surplus, _ = with_wanted(target, "INSERT INTO t VALUES (1), (1)")
    run(target, meanwhile)
    before = contents(target)
    if meanwhile.startswith("INSERT"):
        with pytest.raises(TargetChanged, match="more than when the plan was made"):
            SqliteWriter(target).apply(surplus)
        assert contents(target) == before
    else:
        assert SqliteWriter(target).apply(surplus).already == 1


def test_a_rule_of_the_database_that_came_since_is_not_broken(target: Path) -> None:
    """Records that the table no longer allows are refused with the rule's name, and nothing is written."""
    run(target, "CREATE TABLE t (id INTEGER PRIMARY KEY, v)", "INSERT INTO t VALUES (1, -1)")
    plan, _ = with_wanted(target, "DROP TABLE t", "CREATE TABLE t (id INTEGER PRIMARY KEY, v CHECK (v > 0))")
    with pytest.raises(Refused, match="CHECK constraint failed: v > 0"):
        SqliteWriter(target).apply(plan)


def test_a_value_the_table_would_alter_is_noticed_before_it_is_kept(target: Path) -> None:
    """What is written is read back in the same transaction: a table of other declarations does not slip through."""
    run(target, "CREATE TABLE t (id INTEGER PRIMARY KEY, v)", "INSERT INTO t VALUES (1, '1')")
    plan, _ = with_wanted(target, "DROP TABLE t", "CREATE TABLE t (id INTEGER PRIMARY KEY, v INTEGER)")
    with pytest.raises(Refused, match="reads differently than it was written"):
        SqliteWriter(target).apply(plan)
    assert rows(target, "t") == []


def test_a_column_that_came_or_went_since_is_told(target: Path) -> None:
    """The plan was made for other columns: nothing is guessed."""
    orders(target)
    plan, _ = with_wanted(target, "DELETE FROM customer WHERE id = 1")
    run(target, "ALTER TABLE customer ADD COLUMN note")
    with pytest.raises(TargetChanged, match="columns the plan does not know: note"):
        SqliteWriter(target).apply(plan)
    run(target, "ALTER TABLE customer DROP COLUMN note", "ALTER TABLE customer RENAME name TO title")
    with pytest.raises(TargetChanged, match="title"):
        SqliteWriter(target).apply(plan)


def test_a_plan_for_a_locked_database_waits_a_bounded_time(target: Path) -> None:
    """A shop in the middle of its own change keeps the plan out, and nothing is half done."""
    orders(target)
    plan, _ = with_wanted(target, "DELETE FROM customer WHERE id = 1")
    with Shop(target) as shop:
        shop.do("BEGIN IMMEDIATE")
        with pytest.raises(Unreachable, match="is locked"):
            SqliteWriter(target, busy_seconds=0.1).apply(plan)


def test_the_shop_reads_on_and_sees_all_of_a_plan_at_once(target: Path) -> None:
    """A reader that is in the middle of something keeps its state; the next one has all of it."""
    orders(target)
    plan, _ = with_wanted(target, "DELETE FROM customer WHERE id < 5")
    with Shop(target) as shop:
        assert shop.do("BEGIN", "SELECT count(*) FROM customer") == [[5]]
        SqliteWriter(target).apply(plan)
        assert shop.do("SELECT count(*) FROM customer") == [[5]]
        assert shop.do("COMMIT", "SELECT count(*) FROM customer") == [[10]]


def test_a_full_text_index_follows_its_content(target: Path) -> None:
    """Its triggers are silent like all others, so it is built again in the same transaction."""
    run(target, "CREATE TABLE doc (id INTEGER PRIMARY KEY, body)", "CREATE VIRTUAL TABLE own USING fts5 (x)")
    run(target, "CREATE VIRTUAL TABLE found USING fts5 (body, content='doc', content_rowid='id')")
    run(
        target,
        "CREATE TRIGGER ai AFTER INSERT ON doc BEGIN INSERT INTO found (rowid, body) VALUES (new.id, new.body); END",
    )
    run(target, "INSERT INTO doc VALUES (1, 'apples'), (2, 'pears')", "INSERT INTO own VALUES ('plums')")
    plan, _ = with_wanted(
        target,
        "INSERT INTO found (found, rowid, body) VALUES ('delete', 2, 'pears')",
        "DELETE FROM doc WHERE id = 2",
        "DELETE FROM own",
    )
    SqliteWriter(target).apply(plan)
    assert ask(target, "SELECT rowid FROM found('pears')") == [(2,)]
    assert ask(target, "SELECT x FROM own('plums')") == [(b"plums",)]
    run(target, "INSERT INTO found (found, rank) VALUES ('integrity-check', 1)")


def test_a_dropped_table_comes_back_with_all_that_stood_on_it(target: Path) -> None:
    """Definitions are records too: table, index, trigger, view and counter are restored in one plan with the rows."""
    run(target, "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, v UNIQUE)", "CREATE INDEX i ON t (v, id)")
    run(target, "INSERT INTO t (v) VALUES ('a'), ('b'), ('c')", "DELETE FROM t WHERE v = 'c'", "CREATE TABLE log (v)")
    run(target, "CREATE TRIGGER r AFTER INSERT ON t BEGIN INSERT INTO log VALUES (new.v); END")
    run(target, "CREATE VIEW w AS SELECT v FROM t", "PRAGMA user_version=5")
    plan, wanted = with_wanted(target, "DROP VIEW w", "DROP TABLE t", "PRAGMA user_version=6", only=lambda _: True)
    applied = SqliteWriter(target).apply(plan)
    assert contents(target) == contents(wanted)
    assert ask(target, "SELECT * FROM sqlite_sequence") == [(b"t", 3)]
    assert SqliteWriter(target).apply(plan).already == applied.written


def test_definitions_that_only_their_owner_can_alter_are_refused(target: Path) -> None:
    """A table of another shape is not rewritten under its owner's feet."""
    run(target, "CREATE TABLE t (v)")
    plan, _ = with_wanted(target, "ALTER TABLE t ADD COLUMN w", only=lambda name: name == "sqlite:schema")
    with pytest.raises(Refused, match="table t can't be changed in place"):
        SqliteWriter(target).apply(plan)


def test_a_definition_that_changed_since_the_plan_stops_it(target: Path) -> None:
    """Definitions have the same precondition as records."""
    run(target, "CREATE TABLE t (v)", "CREATE VIEW w AS SELECT 1")
    plan, _ = with_wanted(target, "DROP VIEW w", only=lambda name: name == "sqlite:schema")
    run(target, "CREATE VIEW w AS SELECT 2")
    with pytest.raises(TargetChanged, match="the definition of view w"):
        SqliteWriter(target).apply(plan)


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_snapshot_in_the_same_process_is_never_torn_by_a_plan(target: Path, journal: str) -> None:
    """Both share one SQLite library: with WAL both go on, with a rollback journal the plan waits in vain."""
    orders(target)
    run(target, f"PRAGMA journal_mode={journal}")
    plan, wanted = with_wanted(target, "DELETE FROM customer WHERE id < 5")
    with SqliteReader(target).snapshot() as snapshot:
        (view,) = [snapshot.read(each) for each in snapshot.collections if each.name == "customer"]
        if journal == "wal":
            assert SqliteWriter(target).apply(plan).written == 5
        else:
            with pytest.raises(Unreachable, match="is locked"):
                SqliteWriter(target, busy_seconds=0.1).apply(plan)
        assert [batch.num_rows for batch in view.batches()] == [5]
    SqliteWriter(target).apply(plan)
    assert contents(target) == contents(wanted)


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_full_disk_leaves_the_database_as_it_was(target: Path, journal: str) -> None:
    """Whatever cannot be written undoes all that was: the same plan goes through once there is space."""
    orders(target, 20_000)
    run(target, f"PRAGMA journal_mode={journal}")
    plan, wanted = with_wanted(target, "DELETE FROM orders", "VACUUM")
    before = contents(target)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (target.stat().st_size // 2, limits[1]))
    try:
        with pytest.raises(Unreachable, match="disk"):
            SqliteWriter(target).apply(plan)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert contents(target) == before
    SqliteWriter(target).apply(plan)
    assert contents(target) == contents(wanted)
