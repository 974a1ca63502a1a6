"""Building a whole database anew: everything the engine can define, every value, complete or not at all."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pyarrow as pa
import pytest

from holdfast.connectors.postgres.reader import PostgresReader
from holdfast.connectors.postgres.writer import PostgresWriter
from holdfast.core.ports import View
from holdfast.errors import Damaged, Refused, Unreachable, Usage
from tests.connectors.postgres.edges import EDGES
from tests.connectors.postgres.restoring import absent, dumped, rebuilt, records
from tests.connectors.postgres.rich import RECORDS, definitions
from tests.postgres_server import Database, Server


@pytest.fixture
def target(postgres: Database) -> Iterator[Database]:
    """A database that does not exist yet."""
    with absent(postgres.server, f"{postgres.name}_copy") as database:
        yield database


def databases(database: Database) -> list[str]:
    return [name for (name,) in database.rows("SELECT datname FROM pg_database ORDER BY 1")]


class Torn:
    """A view that breaks off."""

    def __init__(self, view: View) -> None:
        self._view = view
        self.name, self.schema, self.ordered = view.name, view.schema, view.ordered

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The first batch, and then no more."""
        yield from list(self._view.batches())[:1]
        raise Unreachable("the vault is gone")


class Doubled(Torn):
    """A view that gives its records twice."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Each batch twice."""
        for batch in self._view.batches():
            yield from (batch, batch)


def test_everything_the_engine_can_define_comes_back(postgres: Database, target: Database) -> None:
    """pg_dump of the copy is pg_dump of the original, letter for letter, records and counters included."""
    role = f"{postgres.name}_app"
    postgres.role("app")
    postgres.run(*definitions(role), *RECORDS)
    created = rebuilt(postgres, target)
    assert created.not_covered == ()
    assert created.dangling == 0
    assert dumped(target) == dumped(postgres).replace("THIS_app", role)
    assert records(target) == records(postgres)
    assert target.value("SELECT nextval('public.customer_id_seq')") == 56
    assert target.value("SELECT nextval('public.free')") == 77


def test_every_built_in_type_comes_back_exactly(postgres: Database, target: Database) -> None:
    """The edge values of each type, NULL beside '' among them, have equal digests in the copy."""
    for number, (kind, (_, before, literals)) in enumerate(EDGES.items()):
        postgres.run(*before, f"CREATE TABLE t{number} (id int PRIMARY KEY, v {kind})")
        values = ", ".join(f"({at}, {literal})" for at, literal in enumerate((*literals, "NULL")))
        postgres.run(f"INSERT INTO t{number} VALUES {values}")
    rebuilt(postgres, target)
    copies, originals = records(target), records(postgres)
    assert {name for name in originals if copies[name] != originals[name]} == set()


def test_an_existing_database_is_used_if_it_is_empty(postgres: Database, postgres_server: Server) -> None:
    """Records and definitions go into it; a second time it is not empty, and stays as it is."""
    postgres.run("CREATE TABLE t (id int PRIMARY KEY, v text)", "INSERT INTO t VALUES (1, ''), (2, NULL)")
    with postgres_server.database() as empty:
        assert rebuilt(postgres, empty).records == 2
        assert empty.rows("SELECT id, v FROM t ORDER BY id") == [(1, ""), (2, None)]
        empty.run("DELETE FROM t")
        with pytest.raises(Refused, match=r"is not empty: it has public\.t|is not empty: it has t"):
            rebuilt(postgres, empty)
        assert empty.rows("SELECT * FROM t") == []


@pytest.mark.parametrize("exists", [False, True])
def test_a_database_is_built_whole_or_not_at_all(postgres: Database, postgres_server: Server, exists: bool) -> None:
    """When records break off, a new database is gone again and one that was there is as empty as before."""
    postgres.run("CREATE TABLE a (id int)", "INSERT INTO a VALUES (1)", "CREATE TABLE b (id int)")
    before = databases(postgres)
    with absent(postgres_server, f"{postgres.name}_copy") as target:
        if exists:
            postgres.run(f'CREATE DATABASE "{target.name}"')
        with pytest.raises(Unreachable, match="the vault is gone"):
            rebuilt(postgres, target, lambda view: Torn(view) if view.name == "b" else view)
        if exists:
            assert target.rows("SELECT relname FROM pg_class WHERE relname IN ('a', 'b')") == []
        else:
            assert databases(postgres) == before


def test_records_that_break_their_definition_are_damage(postgres: Database, target: Database) -> None:
    """Two records under one key can't be what was captured: the name of the table is told, and nothing is left."""
    postgres.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    with pytest.raises(Refused, match=r"the constraint public\.t t_pkey can't be made here"):
        rebuilt(postgres, target, lambda view: Doubled(view) if view.name == "t" else view)
    with pytest.raises(Damaged, match="no definition for the records of t"):
        rebuilt(postgres, target, Without)
    with pytest.raises(Usage, match="without its definitions"):
        rebuilt(postgres, target, leave=("postgres:schema",))
    assert target.name not in databases(postgres)


class Without(Torn):
    """Definitions without those of tables."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The batches of records; of definitions none."""
        if self.name != "postgres:schema":
            yield from self._view.batches()


class AsBefore(Torn):
    """Counters as they stood when the first record was there."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The batches, with other values."""
        for batch in self._view.batches():
            rows = [{**row, "value": 1} for row in batch.to_pylist()]
            yield pa.RecordBatch.from_pylist(rows, schema=batch.schema)


def test_counters_of_before_the_newest_records_give_no_number_again(postgres: Database, target: Database) -> None:
    """What was followed since the snapshot is newer than its counters: they move on past it."""
    postgres.run(
        "CREATE TABLE invoices (no serial PRIMARY KEY, who text)",
        "CREATE TABLE notes (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, who text)",
        *("INSERT INTO invoices (who) VALUES ('a'), ('b')", "INSERT INTO notes (who) VALUES ('a'), ('b')") * 2,
    )
    rebuilt(postgres, target, lambda view: AsBefore(view) if view.name == "postgres:sequence" else view)
    target.run("INSERT INTO invoices (who) VALUES ('next')", "INSERT INTO notes (who) VALUES ('next')")
    assert target.rows("SELECT max(no) FROM invoices UNION ALL SELECT max(id) FROM notes") == [(5,), (5,)]


def test_what_needs_an_absent_role_is_left_out_and_named(postgres: Database, target: Database) -> None:
    """Owners and grants are told; the tables, records and everything else are there."""
    role = f"{postgres.name}_app"
    postgres.role("app")
    postgres.run(*definitions(role), *RECORDS)
    with PostgresReader(postgres.url).snapshot() as snapshot:
        views: list[View] = [Renamed(snapshot.read(each), role) for each in snapshot.collections]
        created = PostgresWriter(target.url).create(views)
    (told,) = [each for each in created.not_covered if "does not exist" in each]
    assert told.startswith('role "nobody here" does not exist: left out ')
    assert '«ALTER FUNCTION public.g(x integer) OWNER TO "nobody here";» of the function public.g(integer)' in told
    copies, originals = records(target), records(postgres)
    assert {name for name in originals if copies[name] != originals[name]} == {"postgres:schema"}


class Renamed(Torn):
    """Definitions that speak of a role that is not there."""

    def __init__(self, view: View, role: str) -> None:
        super().__init__(view)
        self._role = role

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The same, the role's name changed."""
        for batch in self._view.batches():
            if self.name == "postgres:schema":
                rows = batch.to_pylist()
                for row in rows:
                    row["sql"] = row["sql"].replace(self._role, '"nobody here"')
                batch = pa.RecordBatch.from_pylist(rows, schema=batch.schema)
            yield batch


def test_references_that_lead_nowhere_are_put_back_and_counted(postgres: Database, target: Database) -> None:
    """The source held them, so the copy does; the foreign key is there and holds for what comes."""
    postgres.run("CREATE TABLE p (id int PRIMARY KEY)", "CREATE TABLE c (id int PRIMARY KEY, p int REFERENCES p)")
    postgres.run("SET session_replication_role = replica; INSERT INTO c VALUES (1, 404), (2, NULL), (3, 405)")
    created = rebuilt(postgres, target)
    assert created.dangling == 2
    assert any("c_p_fkey" in each for each in created.not_covered)
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        target.run("INSERT INTO c VALUES (4, 406)")


def test_an_absent_extension_is_named(postgres: Database, target: Database) -> None:
    """Without anything that needs it the rest is built; with a table that does, what to install is told."""
    postgres.run("CREATE TABLE t (id int)")

    class Extended(Torn):
        def batches(self) -> Iterator[pa.RecordBatch]:
            for batch in self._view.batches():
                rows = batch.to_pylist()
                if self.name == "postgres:schema":
                    rows.append({**rows[0], "type": "EXTENSION", "name": "far", "position": -1, "sql": self.sql})
                yield pa.RecordBatch.from_pylist(rows, schema=batch.schema)

        sql = "CREATE EXTENSION far;"

    created = rebuilt(postgres, target, Extended)
    assert created.not_covered == (
        'extension "far" is not available: left out «CREATE EXTENSION far;» of the extension far',
    )


def test_one_table_comes_back_by_itself(postgres: Database, target: Database) -> None:
    """With the types, functions and counters it needs; what speaks of tables nobody asked for is left out and named."""
    role = f"{postgres.name}_app"
    postgres.role("app")
    postgres.run(*definitions(role), *RECORDS)

    class Only(Torn):
        def batches(self) -> Iterator[pa.RecordBatch]:
            for batch in self._view.batches():
                if self.name == "postgres:schema":
                    rows = [row for row in batch.to_pylist() if row["table_name"] == "sales.orders" or is_base(row)]
                    batch = pa.RecordBatch.from_pylist(rows, schema=batch.schema)
                yield batch

    def is_base(row: dict[str, object]) -> bool:
        bases = ("SCHEMA", "EXTENSION", "TYPE", "DOMAIN", "COLLATION", "FUNCTION", "SEQUENCE")
        return row["table_name"] is None and row["type"] in bases

    leave = tuple(name for name in records(postgres) if name not in ("postgres:schema", "postgres:sequence"))
    created = rebuilt(postgres, target, Only, tuple(name for name in leave if name != "sales.orders"))
    assert [each for each in created.not_covered if "orders_customer_fkey" in each] == list(created.not_covered)
    assert records(target)["sales.orders"] == records(postgres)["sales.orders"]
    assert target.value("INSERT INTO sales.orders (customer, total) VALUES (1, 1) RETURNING id") == 55


def test_a_large_table_goes_in_through_two_connections(postgres: Database, target: Database) -> None:
    """Every record once, whichever connection took it; when one of them fails, nothing is left."""
    postgres.run(
        "CREATE TABLE t (id int PRIMARY KEY, v text)",
        "INSERT INTO t SELECT n, repeat(md5(n::text), 12) FROM generate_series(1, 60000) n",
    )
    with pytest.raises(Refused, match=r"t_pkey"):
        rebuilt(postgres, target, lambda view: Doubled(view) if view.name == "t" else view)
    assert target.name not in databases(postgres)
    assert rebuilt(postgres, target).records == 60_000
    assert records(target) == records(postgres)


def test_a_role_that_is_no_superuser_may_build(postgres: Database, postgres_server: Server) -> None:
    """The owner of an empty database restores into it; what only a superuser may do is named."""
    postgres.run("CREATE TABLE t (id serial PRIMARY KEY)", "INSERT INTO t DEFAULT VALUES", "CREATE VIEW v AS TABLE t")
    with postgres_server.database() as empty:
        url = empty.role("owner")
        empty.run(f'ALTER DATABASE "{empty.name}" OWNER TO "{empty.name}_owner"')
        with PostgresReader(postgres.url).snapshot() as snapshot:
            created = PostgresWriter(url).create([snapshot.read(each) for each in snapshot.collections])
        assert created.records == 1
        assert all("OWNER TO postgres" in each for each in created.not_covered)
        assert empty.rows("SELECT * FROM v") == [(1,)]
