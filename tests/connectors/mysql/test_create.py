"""Building a whole database anew: everything the server can define, every value, complete or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pyarrow as pa
import pymysql
import pytest

from holdfast.connectors.mysql.place import is_taken
from holdfast.connectors.mysql.scratch import scratch_database
from holdfast.core.ports import View
from holdfast.errors import Damaged, Refused, Unreachable, Usage
from tests.connectors.mysql.building import Changed, absent, databases, definitions, rebuilt, records, shown
from tests.connectors.mysql.edges import EDGES
from tests.connectors.mysql.rich import RECORDS, make_rich
from tests.mariadb_server import Database, Server
from tests.waiting import eventually

SCHEMA, COUNTERS = "mysql:schema", "mysql:sequence"


@pytest.fixture
def target(mariadb: Database) -> Iterator[Database]:
    """A database that does not exist yet."""
    with absent(mariadb.server, f"{mariadb.name}_copy") as database:
        yield database


def torn(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The first batch, and then no more."""
    yield next(batches)
    raise Unreachable("the vault is gone")


def doubled(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Each batch twice."""
    for batch in batches:
        yield from (batch, batch)


def rewritten(change: Callable[[list[dict[str, object]]], object]) -> Callable[[View], View]:
    """Definitions to whose rows something is done."""

    def changed(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            rows = batch.to_pylist()
            change(rows)
            yield pa.RecordBatch.from_pylist(rows, schema=batch.schema)

    return lambda view: Changed(view, changed) if view.name == SCHEMA else view


def test_everything_the_server_can_define_comes_back(mariadb: Database, target: Database) -> None:
    """What the server says of the copy is what it says of the original, letter for letter, and so are records."""
    make_rich(mariadb)
    mariadb.run(*RECORDS)
    created = rebuilt(mariadb, target)
    assert created.not_covered == ()
    assert created.dangling == 1
    assert shown(target, mariadb.name) == shown(mariadb)
    copies, originals = records(target), records(mariadb)
    assert {name for name in originals if copies[name] != originals[name]} == set()
    assert databases(target) >= {target.name, mariadb.name}
    assert not [name for name in databases(target) if name.startswith("holdfast")]


def test_counters_of_before_the_newest_records_give_no_number_again(mariadb: Database, target: Database) -> None:
    """What was followed since the snapshot is newer than its counters: they move on past it, and that is no fault."""
    mariadb.run(
        "CREATE SEQUENCE q NOCACHE",
        "CREATE TABLE invoices (no int PRIMARY KEY DEFAULT nextval(q), who text)",
        "CREATE TABLE notes (id int PRIMARY KEY AUTO_INCREMENT, who text)",
        *("INSERT INTO invoices (who) VALUES ('a'), ('b')", "INSERT INTO notes (who) VALUES ('a'), ('b')") * 2,
    )

    def as_before(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            rows = [{**row, "value": "2"} for row in batch.to_pylist()]
            yield pa.RecordBatch.from_pylist(rows, schema=batch.schema)

    created = rebuilt(mariadb, target, lambda view: Changed(view, as_before) if view.name == COUNTERS else view)
    assert created.not_covered == ()
    target.run("INSERT INTO invoices (who) VALUES ('next')", "INSERT INTO notes (who) VALUES ('next')")
    assert target.rows("SELECT max(no) FROM invoices UNION ALL SELECT max(id) FROM notes") == [(5,), (5,)]


def test_counters_go_on_as_the_source_would(mariadb: Database, target: Database) -> None:
    """The next record gets the number that it would have got, though higher ones were deleted; none repeats."""
    make_rich(mariadb)
    mariadb.run(*RECORDS)
    rebuilt(mariadb, target)
    for database in (mariadb, target):
        database.run("INSERT INTO mine (v) VALUES ('next')", "INSERT INTO orders (customer) VALUES (1)")
        assert database.value("SELECT max(id) FROM mine") == 4
        assert database.value("SELECT max(id) FROM orders") == 1003
    assert target.value("SELECT nextval(number)") == 38
    assert target.value("SELECT number FROM orders WHERE id = 1003") == 35
    assert mariadb.value("SELECT lastval(number)") is None


def test_a_default_that_draws_a_number_comes_back_whole(mariadb: Database, target: Database) -> None:
    """Also where it is only a part of it; the copy draws from its own counter."""
    mariadb.run(
        "CREATE SEQUENCE s START WITH 5",
        "CREATE TABLE t (id int PRIMARY KEY, a int DEFAULT (1000 + nextval(s)), b int DEFAULT (nextval(s) + 5), "
        "c varchar(20) DEFAULT (concat('A-', nextval(s))), d int DEFAULT nextval(s), e int DEFAULT (lastval(s) * 2))",
    )
    assert rebuilt(mariadb, target).not_covered == ()
    assert shown(target) == shown(mariadb)
    mariadb.run("DROP TABLE t", "DROP SEQUENCE s")
    target.run("INSERT INTO t (id) VALUES (1)")
    assert target.rows("SELECT a, b, c, d FROM t") == [(1005, 11, "A-7", 8)]


def test_events_come_back_with_the_collation_that_the_database_had(mariadb: Database, target: Database) -> None:
    """Each was made under one of its own; the database has its latest one again."""
    name = mariadb.name
    mariadb.run(
        f"ALTER DATABASE `{name}` COLLATE latin1_german1_ci",
        "CREATE FUNCTION f() RETURNS int NO SQL RETURN 1",
        "CREATE EVENT a ON SCHEDULE EVERY 1 DAY DISABLE DO SELECT 1",
        "CREATE EVENT b ON SCHEDULE EVERY 1 DAY DO SELECT 1",
        f"ALTER DATABASE `{name}` COLLATE utf8mb4_bin",
        "CREATE EVENT c ON SCHEDULE EVERY 1 DAY DO SELECT 1",
        "CREATE PROCEDURE p() SELECT 1",
        f"ALTER DATABASE `{name}` COLLATE greek_bin",
    )
    assert rebuilt(mariadb, target).not_covered == ()
    assert shown(target) == shown(mariadb)
    assert definitions(target) == definitions(mariadb)


def test_every_type_comes_back_exactly(mariadb: Database, target: Database) -> None:
    """The edge values of each type, NULL beside '' among them, have equal digests in the copy."""
    with mariadb.session() as connection, connection.cursor() as cursor:
        cursor.execute("SET sql_mode = ''")
        for number, (kind, (_, literals)) in enumerate(EDGES.items()):
            cursor.execute(f"CREATE TABLE t{number} (id int PRIMARY KEY, v {kind} NULL)")
            values = ", ".join(f"({at}, {literal})" for at, literal in enumerate((*literals, "NULL")))
            cursor.execute(f"INSERT INTO t{number} VALUES {values}")
    assert rebuilt(mariadb, target).not_covered == ()
    copies, originals = records(target), records(mariadb)
    kinds = list(EDGES)
    assert [kinds[int(name[1:])] for name in originals if name[0] == "t" and copies[name] != originals[name]] == []


def test_a_large_table_has_all_of_its_records_and_indexes(mariadb: Database, target: Database) -> None:
    """Its indexes and foreign keys are made when the records are in; it is defined as before, and they are used."""
    mariadb.run(
        "CREATE TABLE p (id int AUTO_INCREMENT PRIMARY KEY, name varchar(40) NOT NULL, data json, "
        "g int AS (length(name)), UNIQUE (name), KEY both_of (name, g), FULLTEXT (name))",
        "INSERT INTO p (name, data) SELECT concat('n', seq), json_object('a', seq) FROM seq_1_to_60000",
        "CREATE TABLE c (n int, p int, id int AUTO_INCREMENT, KEY (id), FOREIGN KEY (p) REFERENCES p (id)) "
        "WITH SYSTEM VERSIONING",
        "INSERT INTO c (n, p) SELECT seq, seq FROM seq_1_to_60000",
        "UPDATE c SET n = 0 WHERE id > 59990",
    )
    created = rebuilt(mariadb, target)
    assert (created.records, created.not_covered, created.dangling) == (120_010, (), 0)
    assert shown(target) == shown(mariadb)
    assert records(target) == records(mariadb)
    with pytest.raises(pymysql.IntegrityError):
        target.run("INSERT INTO c (p) VALUES (0)")


@pytest.mark.parametrize("rows", [3, 60_000])
def test_records_that_break_their_definition_are_damage(mariadb: Database, target: Database, rows: int) -> None:
    """Two records under one unique key can't be what was captured: the table is told, and nothing is left."""
    mariadb.run("CREATE TABLE t (n int, v int UNIQUE)", f"INSERT INTO t SELECT seq, seq FROM seq_1_to_{rows}")
    before = databases(mariadb)
    with pytest.raises(Damaged, match="t: its records do not fit its definition: Duplicate entry"):
        rebuilt(mariadb, target, lambda view: Changed(view, doubled) if view.name == "t" else view)
    with pytest.raises(Damaged, match="no definition for the records of t"):
        rebuilt(mariadb, target, rewritten(lambda definitions: definitions.clear()))
    with pytest.raises(Usage, match="without its definitions"):
        rebuilt(mariadb, target, leave=(SCHEMA,))
    assert databases(mariadb) == before


@pytest.mark.parametrize("exists", [False, True])
def test_a_database_is_built_whole_or_not_at_all(mariadb: Database, mariadb_server: Server, exists: bool) -> None:
    """When records break off, a new database is not there, and one that was is empty and as it was before."""
    mariadb.run("CREATE TABLE a (id int)", "INSERT INTO a VALUES (1)", "CREATE TABLE b (id int PRIMARY KEY)")
    mariadb.run("INSERT INTO b VALUES (1)")
    with absent(mariadb_server, f"{mariadb.name}_copy") as target:
        if exists:
            mariadb.run(f"CREATE DATABASE `{target.name}` CHARACTER SET greek COMMENT 'mine'")
        before = databases(mariadb)
        with pytest.raises(Unreachable, match="the vault is gone"):
            rebuilt(mariadb, target, lambda view: Changed(view, torn) if view.name == "b" else view)
        assert databases(mariadb) == before
        assert not is_taken(target.url)
        if exists:
            assert "greek" in str(target.rows(f"SHOW CREATE DATABASE `{target.name}`"))


def test_an_existing_database_is_used_if_it_is_empty(mariadb: Database, target: Database) -> None:
    """It becomes what was captured, options included; a second time it is not empty, and stays as it is."""
    mariadb.run("CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t VALUES (1, ''), (2, NULL)")
    mariadb.run(f"CREATE DATABASE `{target.name}` CHARACTER SET greek")
    assert not is_taken(target.url)
    assert rebuilt(mariadb, target).records == 2
    assert is_taken(target.url)
    assert shown(target) == shown(mariadb)
    target.run("DELETE FROM t")
    with pytest.raises(Refused, match=f"{target.name} is not empty: it has t"):
        rebuilt(mariadb, target)
    assert target.rows("SELECT * FROM t") == []
    target.run("DROP TABLE t", "CREATE FUNCTION f() RETURNS int NO SQL RETURN 1")
    with pytest.raises(Refused, match="it has f"):
        rebuilt(mariadb, target)


def test_what_is_refused_at_the_end_is_taken_back(mariadb: Database, target: Database) -> None:
    """A definition that can't be made here stops everything, and is named; nothing is under the name, nor beside it."""
    make_rich(mariadb)
    before = databases(mariadb)
    spoil = rewritten(lambda rows: [row.update(sql=f"{row['sql']} nonsense") for row in rows if row["name"] == "tell"])
    with pytest.raises(Refused, match=r"the procedure tell can't be made here: .* nothing was written"):
        rebuilt(mariadb, target, spoil)
    assert databases(mariadb) == before


def test_a_table_that_came_meanwhile_is_not_touched(mariadb: Database, target: Database) -> None:
    """Somebody uses the name while the copy is built beside it: the restore is refused, and what he made stays."""
    mariadb.run("CREATE TABLE a (id int PRIMARY KEY)", "INSERT INTO a VALUES (1)")
    mariadb.run("CREATE TABLE b (id int PRIMARY KEY)", "INSERT INTO b VALUES (1)")

    def taken(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        mariadb.run(f"CREATE DATABASE `{target.name}`", f"CREATE TABLE `{target.name}`.b (mine int)")
        yield from batches

    with pytest.raises(Refused, match="is not empty any more"):
        rebuilt(mariadb, target, lambda view: Changed(view, taken) if view.name == "a" else view)
    assert target.rows("SHOW TABLES") == [("b",)]
    assert target.rows("SELECT mine FROM b") == []


def test_rights_of_users_who_are_not_there_are_named_and_nobody_is_made(mariadb: Database, target: Database) -> None:
    """What such a user made is there on his account as before; the rights he had are left out."""
    user = make_rich(mariadb)
    ghost = f"{mariadb.name}_ghost"
    rename = rewritten(lambda rows: [row.update({key: str(row[key]).replace(user, ghost) for key in ("name", "sql")})
        for row in rows if "_app" in str(row["sql"])])  # fmt: skip
    created = rebuilt(mariadb, target, rename)
    (told,) = [each for each in created.not_covered if "GRANT EXECUTE" in each]
    assert "Can't find any matching row in the user table" in told
    assert ghost in str(target.rows("SHOW CREATE VIEW x"))
    assert mariadb.rows(f"SELECT User FROM mysql.user WHERE User = '{ghost}'") == []
    assert mariadb.rows(f"SELECT * FROM mysql.db WHERE Db = '{target.name}'") == []


def test_a_view_on_what_is_not_there_is_left_out_and_named(mariadb: Database, target: Database) -> None:
    """It was of no use in the source either; the rest is there."""
    mariadb.run("CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE u (id int)", "CREATE VIEW v AS SELECT id FROM u")
    mariadb.run("CREATE VIEW w AS SELECT * FROM v", "CREATE VIEW ok AS SELECT * FROM t", "DROP TABLE u")
    created = rebuilt(mariadb, target)
    assert created.not_covered == (
        "Table 'u' doesn't exist, though all else was made: left out the view v",
        "Table 'v' doesn't exist, though all else was made: left out the view w",
    )
    assert created.unmakeable == 2
    assert target.rows("SHOW TABLES") == [("ok",), ("t",)]


def test_a_view_on_another_database_that_is_not_here_is_no_fault_of_the_copy(
    mariadb: Database, target: Database
) -> None:
    """On its own server it may well be of use: that it is missing is a difference."""
    with absent(mariadb.server, f"{mariadb.name}_other") as other:
        mariadb.run(f"CREATE DATABASE {other.name}", f"CREATE TABLE {other.name}.t (id int)")
        mariadb.run(f"CREATE VIEW v AS SELECT id FROM {other.name}.t", f"DROP TABLE {other.name}.t")
        created = rebuilt(mariadb, target)
    assert created.not_covered == (f"Table '{other.name}.t' doesn't exist: left out the view v",)
    assert not created.unmakeable


def test_events_do_not_happen_before_all_is_there(mariadb_servers: Callable[..., Server]) -> None:
    """While a server's scheduler runs, an event that is on is made once, last of all; then it goes on."""
    server = mariadb_servers(event_scheduler="ON", general_log="1", log_output="TABLE")
    with server.database() as source, absent(server, f"{source.name}_copy") as target:
        source.run(
            "CREATE TABLE t (id int AUTO_INCREMENT PRIMARY KEY, what text)",
            "INSERT INTO t (what) VALUES ('record')",
            "CREATE TRIGGER tr AFTER DELETE ON t FOR EACH ROW SET @x = 1",
            "CREATE EVENT off ON SCHEDULE EVERY 1 SECOND DISABLE DO INSERT INTO t (what) VALUES ('off')",
            "CREATE EVENT e ON SCHEDULE EVERY 1 SECOND DO INSERT INTO t (what) VALUES ('went on')",
            "TRUNCATE mysql.general_log",
        )
        rebuilt(source, target)
        sent = [str(sql) for (sql,) in server_log(target)]
        made = [at for at, sql in enumerate(sent) if " EVENT " in sql and " ENABLE " in sql]
        (at,) = [at for at in made if sent[at].startswith("CREATE")]
        (move,) = [at for at, sql in enumerate(sent) if sql.startswith("RENAME TABLE")]
        assert at > move
        assert not [sql for sql in sent[at:] if "TRIGGER `" in sql and sql.startswith("CREATE")]
        eventually(lambda: target.value("SELECT count(*) FROM t WHERE what = 'went on'") > 0, "the event goes on")
        assert target.value("SELECT count(*) FROM t WHERE what = 'off'") == 0


def server_log(database: Database) -> list[tuple[object, ...]]:
    """The statements that the server was sent, in order."""
    return database.rows("SELECT CONVERT(argument USING utf8mb4) FROM mysql.general_log WHERE command_type = 'Query'")


def test_an_event_whose_time_is_past_is_named(mariadb: Database, target: Database) -> None:
    """It would never happen: the server does not keep it."""
    mariadb.run("CREATE EVENT e ON SCHEDULE AT '2037-01-01 00:00:00' DO SELECT 1")
    past = rewritten(lambda rows: [row.update(sql=str(row["sql"]).replace("2037", "2020")) for row in rows])
    created = rebuilt(mariadb, target, past)
    assert any("the event e: Event execution time is in the past" in each for each in created.not_covered)


def test_a_drill_has_all_and_nothing_acts_in_it(mariadb: Database) -> None:
    """Definitions and records are equal, no event is there, nobody got rights, and afterwards nothing is left."""
    user = make_rich(mariadb)
    mariadb.run(*RECORDS)
    before = databases(mariadb)
    with scratch_database(mariadb.url) as url:
        drill = Database(mariadb.server, url.rpartition("/")[2])
        assert rebuilt(mariadb, drill).not_covered == ()
        copies, originals = records(drill), records(mariadb)
        assert {name for name in originals if copies[name] != originals[name]} == set()
        assert definitions(drill) == definitions(mariadb)
        assert drill.rows(f"SELECT * FROM information_schema.EVENTS WHERE EVENT_SCHEMA = '{drill.name}'") == []
        assert drill.rows(f"SELECT * FROM mysql.db WHERE User = '{user}' AND Db = '{drill.name}'") == []
    assert databases(mariadb) == before


def test_one_table_comes_back_by_itself(mariadb: Database, target: Database) -> None:
    """With its triggers, counters, and its foreign key to what is not there, which is named."""
    make_rich(mariadb)
    mariadb.run(*RECORDS)

    def narrow(rows: list[dict[str, object]]) -> None:
        rows[:] = [row for row in rows if row["table_name"] == "orders" or row["type"] in ("SEQUENCE", "FUNCTION")]

    with_others = [name for name in records(mariadb) if name not in ("orders", SCHEMA, "mysql:sequence")]
    created = rebuilt(mariadb, target, rewritten(narrow), leave=tuple(with_others))
    assert created.records == 3
    assert created.dangling == 3
    assert any("orders refers to customer, which is not there" in each for each in created.not_covered)
    assert records(target)["orders"] == records(mariadb)["orders"]
    assert len(target.rows("SHOW TRIGGERS")) == 3


def test_two_restores_into_one_database_do_not_meet(mariadb: Database, target: Database) -> None:
    """While one is under way the other is told to wait, and the first one is not disturbed."""
    mariadb.run("CREATE TABLE a (id int)", "INSERT INTO a VALUES (1)")

    def meanwhile(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with pytest.raises(Unreachable, match="another restore into it is under way"):
            rebuilt(mariadb, target)
        yield from batches

    assert rebuilt(mariadb, target, lambda view: Changed(view, meanwhile) if view.name == "a" else view).records == 1
    assert target.rows("SELECT id FROM a") == [(1,)]
