"""Definitions that a database in use has lost come back by a plan, with their records."""

from __future__ import annotations

import pyarrow as pa
import pytest

from holdfast.connectors.mysql.reader import MysqlReader
from holdfast.connectors.mysql.writer import MysqlWriter
from holdfast.core.plan import CollectionDifferences, Plan, make_plan
from holdfast.core.ports import Applied
from holdfast.errors import Refused, TargetChanged, Unreachable
from tests.connectors.mysql.building import definitions, records, shown
from tests.connectors.mysql.meddling import lost_in_commit
from tests.connectors.mysql.rich import RECORDS, make_rich
from tests.connectors.plans import Held, differences, held_by, is_business
from tests.mariadb_server import Database


def held(database: Database) -> Held:
    return held_by(MysqlReader(database.url))


def plan_back(wanted: Held, database: Database, *, changed: bool = False) -> Plan:
    """The plan that brings back what was held: of definitions those that are missing, or those that differ too."""
    found = []
    for each in differences(wanted, held(database), lambda _: True):
        kept = [one for one in each.read() if changed or is_business(each.collection.name) or one.kind == "missing"]
        found.append(CollectionDifferences(each.collection, kept.__iter__))
    return make_plan(database.name, found, deletes=True)


def test_what_was_dropped_comes_back_with_its_records(mariadb: Database) -> None:
    """Tables with counters, triggers, rights; views, routines, events: as they were; then nothing is left to do."""
    user = make_rich(mariadb)
    mariadb.run(*RECORDS)
    wanted, before, told = held(mariadb), records(mariadb), shown(mariadb)
    mariadb.run(
        "DROP TABLE orders",
        "DROP SEQUENCE number",
        "DROP VIEW z",
        "DROP VIEW x",
        "DROP FUNCTION grown",
        "SET sql_mode = 'ORACLE'",
        "DROP PACKAGE pack",
        "DROP EVENT daily",
        "DROP EVENT once",
        f"REVOKE ALL ON customer FROM `{user}`@`%`",
        "DELETE FROM aria",
        "UPDATE customer SET note = 0",
    )
    mariadb.run("INSERT INTO aria VALUES (1, 'NULL'), (2, NULL)", "DROP TRIGGER upper_name")
    applied = MysqlWriter(mariadb.url).apply(plan_back(wanted, mariadb))
    assert applied.already == 0
    assert shown(mariadb) == told
    assert records(mariadb) == before
    assert plan_back(wanted, mariadb).writes == 0
    mariadb.run("INSERT INTO orders (customer) VALUES (1)")
    assert mariadb.value("SELECT max(id) FROM orders") == 1003


def test_new_tables_go_again_if_the_records_cannot_be_written(mariadb: Database) -> None:
    """The target moved between the plan and the deed: nothing was written, and no table is there half."""
    mariadb.run("CREATE TABLE a (id int PRIMARY KEY, v int)", "INSERT INTO a VALUES (1, 1)", "CREATE SEQUENCE s")
    mariadb.run("CREATE TABLE b (id int AUTO_INCREMENT PRIMARY KEY)", "INSERT INTO b VALUES (1)")
    wanted = held(mariadb)
    mariadb.run("DROP TABLE b", "DROP SEQUENCE s", "UPDATE a SET v = 2")
    plan = plan_back(wanted, mariadb)
    mariadb.run("UPDATE a SET v = 3")
    with pytest.raises(TargetChanged):
        MysqlWriter(mariadb.url).apply(plan)
    assert mariadb.rows("SHOW TABLES") == [("a",)]
    mariadb.run("UPDATE a SET v = 2")
    assert MysqlWriter(mariadb.url).apply(plan) == Applied(6, 0)
    assert mariadb.rows("SELECT * FROM a JOIN b USING (id)") == [(1, 1)]
    assert MysqlWriter(mariadb.url).apply(plan) == Applied(0, 6)


def test_new_tables_stay_if_nobody_knows_whether_the_records_are_in(mariadb: Database) -> None:
    """The connection is lost while the server commits: what it committed is there, and the next plan does the rest."""
    mariadb.run("CREATE TABLE b (id int PRIMARY KEY)", "INSERT INTO b VALUES (1)", "CREATE VIEW v AS SELECT id FROM b")
    wanted = held(mariadb)
    mariadb.run("DROP VIEW v", "DROP TABLE b")
    plan = plan_back(wanted, mariadb)
    with lost_in_commit(), pytest.raises(Unreachable, match="Lost connection"):
        MysqlWriter(mariadb.url).apply(plan)
    assert mariadb.rows("SELECT * FROM b") == [(1,)]
    assert MysqlWriter(mariadb.url).apply(plan_back(wanted, mariadb)).written == 1
    assert mariadb.rows("SELECT * FROM v") == [(1,)]


def test_a_definition_that_is_there_is_never_altered(mariadb: Database) -> None:
    """Only its owner knows how its records should change: it is refused, before anything is written."""
    mariadb.run("CREATE TABLE a (id int PRIMARY KEY)", "INSERT INTO a VALUES (1)", "CREATE VIEW v AS SELECT id FROM a")
    wanted = held(mariadb)
    mariadb.run("CREATE OR REPLACE VIEW v AS SELECT 1 AS id", "DELETE FROM a")
    with pytest.raises(Refused, match=r"mysql:schema: the definition of VIEW v can't be changed in place"):
        MysqlWriter(mariadb.url).apply(plan_back(wanted, mariadb, changed=True))
    assert mariadb.rows("SELECT * FROM a") == []


def test_what_fails_behind_the_records_says_that_they_are_written(mariadb: Database) -> None:
    """The server keeps them: so it is told, and the next plan does the rest."""
    mariadb.run("CREATE TABLE a (id int PRIMARY KEY)", "INSERT INTO a VALUES (1)")
    mariadb.run("CREATE PROCEDURE p() SELECT 1")
    wanted = held(mariadb)
    schema, batches = wanted["mysql:schema"]
    wanted["mysql:schema"] = (schema, [_spoilt(batch) for batch in batches])
    mariadb.run("DROP PROCEDURE p", "DROP TABLE a")
    with pytest.raises(Refused, match=r"the procedure p can't be made here: .*; all records are written"):
        MysqlWriter(mariadb.url).apply(plan_back(wanted, mariadb))
    assert mariadb.rows("SELECT * FROM a") == [(1,)]
    assert ("PROCEDURE", "p") not in definitions(mariadb)


def _spoilt(batch: pa.RecordBatch) -> pa.RecordBatch:
    rows = batch.to_pylist()
    for row in rows:
        if row["type"] == "PROCEDURE":
            row["sql"] += " )"
    return pa.RecordBatch.from_pylist(rows, schema=batch.schema)
