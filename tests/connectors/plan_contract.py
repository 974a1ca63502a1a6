"""What a plan promises on any server: all of it or nothing, and never what somebody else changed meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from holdfast.core.plan import Plan
from holdfast.core.ports import Writer
from holdfast.errors import Refused, TargetChanged
from tests.connectors.plans import Held, digests_of
from tests.mariadb_server import Database as MariaDatabase
from tests.postgres_server import Database

__all__ = ["PlanContract", "Records", "Target", "shop"]

Records = dict[str, tuple[tuple[str, ...], list[bytes]]]


@dataclass(frozen=True, slots=True)
class Target:
    """A database in use, and how its connector writes and reads it. After `unchecked` a session may break references;
    `taken` is what the server says of the name of a customer that is taken.
    """

    database: Database | MariaDatabase
    writer: Writer
    held: Callable[..., Held]
    plan_between: Callable[..., Plan]
    unchecked: str
    taken: str

    def records(self) -> Records:
        """Key and sorted row digests of every collection."""
        return digests_of(self.held(self.database))

    def harmed(self, *losses: str) -> tuple[Plan, Records]:
        """Do it some harm, and plan the way back; what it held before."""
        wanted = self.held(self.database)
        self.database.run(*losses)
        return self.plan_between(wanted, self.database), digests_of(wanted)


def shop(target: Database | MariaDatabase) -> None:
    """A small shop."""
    customers = [f"({number}, 'name {number}')" for number in range(10)]
    orders = [f"('A{number}', {number}, {number * 10})" for number in range(10)]
    target.run(
        "CREATE TABLE customer (id int PRIMARY KEY, name varchar(20) UNIQUE)",
        "CREATE TABLE orders (number varchar(9) PRIMARY KEY, customer int NOT NULL, total decimal(9,2), "
        "FOREIGN KEY (customer) REFERENCES customer (id))",
        f"INSERT INTO customer VALUES {', '.join(customers)}",
        f"INSERT INTO orders VALUES {', '.join(orders)}",
    )


class PlanContract:
    """Subclass it with a `target` fixture: a database with nothing in it."""

    @pytest.fixture
    def target(self) -> Target:
        raise NotImplementedError

    def test_a_record_changed_since_the_plan_stops_all_of_it(self, target: Target) -> None:
        """The plan names collection and key, and nothing at all is written, not even steps before that one."""
        shop(target.database)
        plan, _ = target.harmed(
            target.unchecked,
            "DELETE FROM customer WHERE id < 5",
            "UPDATE orders SET total = 0 WHERE number = 'A9'",
        )
        target.database.run("UPDATE orders SET total = 99.9 WHERE number = 'A9'")
        before = target.records()
        with pytest.raises(TargetChanged, match="orders: the record number='A9' is not what the plan expects"):
            target.writer.apply(plan)
        assert target.records() == before

    def test_a_record_that_came_since_the_plan_stops_all_of_it(self, target: Target) -> None:
        """A key that was free when the plan was made and is taken now is nobody's to overwrite."""
        shop(target.database)
        plan, _ = target.harmed("DELETE FROM orders WHERE customer IN (1, 2)")
        target.database.run("INSERT INTO orders VALUES ('A2', 2, 1)")
        with pytest.raises(TargetChanged, match="orders: the record number='A2'"):
            target.writer.apply(plan)
        assert target.database.value("SELECT count(*) FROM orders") == 9

    def test_steps_done_already_are_counted_and_the_rest_is_done(self, target: Target) -> None:
        """A plan that was half overtaken by someone who did the same is carried out, not refused."""
        shop(target.database)
        plan, before = target.harmed("DELETE FROM orders WHERE customer < 4")
        target.database.run("INSERT INTO orders VALUES ('A2', 2, 20)")
        applied = target.writer.apply(plan)
        assert (applied.written, applied.already) == (3, 1)
        assert target.records() == before

    def test_values_that_must_be_unique_may_change_places(self, target: Target) -> None:
        """Two records that swap a unique value collide row by row, and yet are put right."""
        shop(target.database)
        plan, before = target.harmed(
            "UPDATE customer SET name = 'x' WHERE id = 1",
            "UPDATE customer SET name = 'name 1' WHERE id = 2",
            "UPDATE customer SET name = 'name 2' WHERE id = 1",
        )
        assert target.writer.apply(plan).written == 2
        assert target.records() == before

    def test_a_unique_value_taken_since_stops_all_of_it(self, target: Target) -> None:
        """A new record under another key may hold what the plan needs: then the plan is told to be out of date."""
        shop(target.database)
        plan, _ = target.harmed("DELETE FROM orders WHERE customer = 1", "DELETE FROM customer WHERE id = 1")
        target.database.run("INSERT INTO customer VALUES (77, 'name 1')")
        with pytest.raises(TargetChanged, match=target.taken):
            target.writer.apply(plan)
        assert target.database.value("SELECT count(*) FROM orders") == 9

    def test_references_in_a_cycle_are_restored_and_none_may_lead_nowhere(self, target: Target) -> None:
        """Records that refer to one another come back in one transaction; half of them would be refused."""
        target.database.run(
            "CREATE TABLE a (id int PRIMARY KEY, b int NOT NULL)",
            "CREATE TABLE b (id int PRIMARY KEY, a int NOT NULL REFERENCES a (id), me int REFERENCES b (id))",
            "ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b (id)",
            target.unchecked,
            "INSERT INTO a VALUES (1, 1), (2, 404)",
            "INSERT INTO b VALUES (1, 1, 1)",
        )
        wanted, before = target.held(target.database), target.records()
        target.database.run(target.unchecked, "DELETE FROM a WHERE id = 1", "DELETE FROM b")
        half = target.plan_between(wanted, target.database, only=lambda name: name == "a")
        with pytest.raises(
            Refused, match=r"1 references would lead to no record: a \(b\) = \(1\) → b; nothing was written"
        ):
            target.writer.apply(half)
        assert target.database.rows("SELECT id FROM a") == [(2,)]
        target.writer.apply(target.plan_between(wanted, target.database))
        assert target.records() == before

    def test_a_reference_that_led_nowhere_before_is_no_reason_to_refuse(self, target: Target) -> None:
        """The plan changes another column of a record that dangled already: that is not the plan's doing."""
        target.database.run(
            "CREATE TABLE p (id int PRIMARY KEY)",
            "CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p (id), v text)",
            target.unchecked,
            "INSERT INTO c VALUES (1, 404, 'x')",
        )
        plan, before = target.harmed("UPDATE c SET v = 'y'")
        target.writer.apply(plan)
        assert target.records() == before

    def test_equal_records_that_came_since_the_plan_stop_it(self, target: Target) -> None:
        """One more of those that the plan takes away: then it is not what the plan was made against."""
        target.database.run("CREATE TABLE t (a int)", "INSERT INTO t VALUES (1)")
        plan, _ = target.harmed("INSERT INTO t VALUES (2)")
        target.database.run("INSERT INTO t VALUES (2)")
        with pytest.raises(TargetChanged, match="t: 1 of its equal records are more than when the plan was made"):
            target.writer.apply(plan)
        assert target.database.value("SELECT count(*) FROM t") == 3

    def test_columns_that_came_or_went_since_stop_the_plan(self, target: Target) -> None:
        """A column the plan does not know might hold what nobody planned; one that is gone can't be put back."""
        shop(target.database)
        plan, _ = target.harmed("DELETE FROM orders WHERE number = 'A9'")
        target.database.run("ALTER TABLE orders ADD COLUMN extra int")
        with pytest.raises(TargetChanged, match="columns the plan does not know: extra"):
            target.writer.apply(plan)
        target.database.run("ALTER TABLE orders DROP COLUMN extra, DROP COLUMN total")
        with pytest.raises(Refused, match="no longer has the columns total"):
            target.writer.apply(plan)
        target.database.run("DROP TABLE orders")
        with pytest.raises(TargetChanged, match="there is no such table"):
            target.writer.apply(plan)
