"""What the catalog of a real server is understood to say."""

from __future__ import annotations

import pytest

from holdfast.connectors.postgres.catalog import Catalog, Table, collection_name, load_catalog
from holdfast.connectors.postgres.connection import connect, quoted
from holdfast.core.records import Reference
from tests.postgres_server import Database


def catalog(database: Database) -> Catalog:
    with connect(database.url) as connection:
        return load_catalog(connection)


def table(database: Database, *statements: str, name: str = "t") -> Table:
    database.run(*statements)
    return catalog(database).tables[name]


@pytest.mark.parametrize(
    ("statement", "key"),
    [
        ("CREATE TABLE t (a int, b int, PRIMARY KEY (b, a))", ("b", "a")),
        ("CREATE TABLE t (a int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)", ("a",)),
        ("CREATE TABLE t (a int NOT NULL UNIQUE, b int)", ("a",)),
        ("CREATE TABLE t (a int NOT NULL, b int NOT NULL, c int NOT NULL, UNIQUE (a, b), UNIQUE (c))", ("c",)),
        ("CREATE TABLE t (b int NOT NULL UNIQUE, a int NOT NULL UNIQUE)", ("a",)),
        ("CREATE TABLE t (a int PRIMARY KEY, b int)", ("a",)),
        ("CREATE TABLE t (a int UNIQUE)", ()),
        ("CREATE TABLE t (a int NOT NULL, b int, UNIQUE (a, b))", ()),
        ("CREATE TABLE t (a int NOT NULL UNIQUE DEFERRABLE)", ()),
        ("CREATE TABLE t (a int NOT NULL); CREATE UNIQUE INDEX ON t (a) WHERE a > 0", ()),
        ("CREATE TABLE t (a text NOT NULL); CREATE UNIQUE INDEX ON t (lower(a))", ()),
        ("CREATE TABLE t (a int NOT NULL, b int NOT NULL); CREATE UNIQUE INDEX ON t (b) INCLUDE (a)", ("b",)),
        ("CREATE TABLE t (a int NOT NULL, b int GENERATED ALWAYS AS (a * 2) STORED PRIMARY KEY)", ()),
        ("CREATE TABLE t (a int PRIMARY KEY, b int) PARTITION BY RANGE (a)", ("a",)),
        ("CREATE TABLE t (a int)", ()),
    ],
)
def test_a_key_is_what_can_neither_be_null_nor_twice(postgres: Database, statement: str, key: tuple[str, ...]) -> None:
    """The primary key; else an index that is unique, at once, over all rows, of columns that are never NULL."""
    assert table(postgres, *statement.split("; ")).key == key


@pytest.mark.parametrize(
    ("statement", "identity", "columns"),
    [
        ("ALTER TABLE t REPLICA IDENTITY DEFAULT", "d", ("a",)),
        ("ALTER TABLE t REPLICA IDENTITY NOTHING", "n", ()),
        ("ALTER TABLE t REPLICA IDENTITY FULL", "f", ("a", "b")),
        ("ALTER TABLE t REPLICA IDENTITY USING INDEX t_b", "i", ("b",)),
        ("ALTER TABLE t DROP CONSTRAINT t_pkey", "d", ()),
        ("ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (a) DEFERRABLE", "d", ()),
    ],
)
def test_what_the_log_names_an_old_row_by(
    postgres: Database, statement: str, identity: str, columns: tuple[str, ...]
) -> None:
    """A table whose updates the log can't name is told apart before anything is published."""
    made = (
        "CREATE TABLE t (a int PRIMARY KEY, b int NOT NULL, c int GENERATED ALWAYS AS (a + b) STORED)",
        "CREATE UNIQUE INDEX t_b ON t (b)",
    )
    found = table(postgres, *made, statement)
    assert (found.replica_identity, found.identity_columns) == (identity, columns)


def test_which_relations_are_collections(postgres: Database) -> None:
    """Tables, partitioned ones as one, children by inheritance by themselves; no partition, view, temporary table."""
    postgres.run(
        "CREATE SCHEMA sales",
        "CREATE TABLE plain (a int)",
        "CREATE TABLE sales.plain (a int)",
        "CREATE UNLOGGED TABLE unlogged (a int)",
        "CREATE TABLE parent (a int)",
        "CREATE TABLE child (b int) INHERITS (parent)",
        "CREATE TABLE parted (a int, b int) PARTITION BY LIST (a)",
        "CREATE TABLE parted_1 PARTITION OF parted FOR VALUES IN (1) PARTITION BY LIST (b)",
        "CREATE TABLE parted_1_1 PARTITION OF parted_1 DEFAULT",
        "CREATE VIEW seen AS SELECT 1 AS a",
        "CREATE MATERIALIZED VIEW kept AS SELECT 1 AS a",
        "CREATE EXTENSION file_fdw",
        "CREATE TABLE member (a int)",
        "ALTER EXTENSION file_fdw ADD TABLE member",
        "CREATE SERVER files FOREIGN DATA WRAPPER file_fdw",
        "CREATE FOREIGN TABLE sales.far (a int) SERVER files OPTIONS (filename '/dev/null')",
    )
    found = catalog(postgres)
    assert list(found.tables) == ["child", "parent", "parted", "plain", "sales.plain", "unlogged"]
    assert [name for name, each in found.tables.items() if each.is_partitioned] == ["parted"]
    assert [name for name, each in found.tables.items() if not each.is_logged] == ["unlogged"]
    assert len(found.tables["parted"].storage) == 1
    told = " ".join(found.not_covered)
    assert "materialized" not in told, "a materialized view is computed again, so nothing of it is missing"
    assert "sales.far: a foreign table" in told
    assert "member: a table that belongs to an extension" in told


def test_columns_are_told_with_what_they_are(postgres: Database) -> None:
    """Types as declared, domains by what lies under them, generated and identity columns, dropped ones gone."""
    found = table(
        postgres,
        "CREATE DOMAIN price AS numeric(12, 2) CHECK (VALUE >= 0)",
        "CREATE DOMAIN cheap AS price CHECK (VALUE < 9)",
        "CREATE TYPE mood AS ENUM ('fine')",
        "CREATE TABLE t (gone int, a cheap NOT NULL, b mood, c varchar(3)[], d int GENERATED BY DEFAULT AS IDENTITY)",
        """ALTER TABLE t ADD e int GENERATED ALWAYS AS IDENTITY, ADD f text GENERATED ALWAYS AS ('x') STORED,
            ADD g timestamp(3) with time zone""",
        "ALTER TABLE t DROP COLUMN gone",
    )
    assert [(each.name, each.declared, each.kind, each.position) for each in found.columns] == [
        ("a", "public.cheap", "decimal", 2),
        ("b", "public.mood", "source", 3),
        ("c", "character varying(3)[]", "source", 4),
        ("d", "integer", "int", 5),
        ("e", "integer", "int", 6),
        ("f", "text", "text", 7),
        ("g", "timestamp(3) with time zone", "timestamptz", 8),
    ]
    assert [each.name for each in found.columns if each.not_null] == ["a", "d", "e"]
    assert [each.identity for each in found.columns] == ["", "", "", "d", "a", "", ""]
    assert [each.name for each in found.stored] == ["a", "b", "c", "d", "e", "g"]
    assert found.has_toastable


def test_references_lead_to_collections(postgres: Database) -> None:
    """By collection and column names, of several columns, to itself, into a partitioned table; once each."""
    postgres.run(
        "CREATE SCHEMA sales",
        'CREATE TABLE sales."a.b" (x int, y int, PRIMARY KEY (x, y)) PARTITION BY RANGE (x)',
        'CREATE TABLE sales.low PARTITION OF sales."a.b" FOR VALUES FROM (0) TO (9)',
        """CREATE TABLE t (id int PRIMARY KEY, up int REFERENCES t, v int, u int,
            FOREIGN KEY (u, v) REFERENCES sales."a.b" (x, y))""",
    )
    assert set(catalog(postgres).tables["t"].references) == {
        Reference(("up",), "t", ("id",)),
        Reference(("u", "v"), 'sales."a.b"', ("x", "y")),
    }


@pytest.mark.parametrize(
    ("schema", "name", "collection"),
    [
        ("public", "orders", "orders"),
        ("sales", "orders", "sales.orders"),
        ("public", "sales.orders", '"sales.orders"'),
        ("sales", 'we"ird', 'sales."we""ird"'),
        ("a.b", "c", '"a.b".c'),
        ("public", "postgres:schema", '"postgres:schema"'),
        ("public", "Größe 量", "Größe 量"),
        ("public", "it's", "it's"),
        ("public", "new\nline", "new\nline"),
    ],
)
def test_every_table_has_a_collection_of_its_own(postgres: Database, schema: str, name: str, collection: str) -> None:
    """No two tables share a name, and none takes a name of Holdfast's own, whatever they are called."""
    postgres.run(
        f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}", f"CREATE TABLE {quoted(schema)}.{quoted(name)} (a int)"
    )
    assert collection_name(schema, name) == collection
    assert list(catalog(postgres).tables) == [collection]


def test_a_catalog_says_which_server_it_is_of(postgres: Database) -> None:
    """Identifier and timeline, without which a position in the log means nothing; any user may ask."""
    with connect(postgres.role("nobody")) as connection:
        found = load_catalog(connection)
    (wanted,) = postgres.rows(
        "SELECT system_identifier::text, timeline_id FROM pg_control_system(), pg_control_checkpoint()"
    )
    assert (found.system_identifier, found.timeline) == wanted
    assert found.encoding == "UTF8"
    assert found.version == postgres.value("SELECT current_setting('server_version_num')::int")


def test_two_readings_of_an_unchanged_catalog_are_equal(postgres: Database) -> None:
    """And unequal after TRUNCATE or a rewrite, though all definitions are the same: the rows lie elsewhere then."""
    postgres.run("CREATE TABLE t (a int PRIMARY KEY, b text)", "INSERT INTO t VALUES (1, 'x')")
    first = catalog(postgres).tables
    assert catalog(postgres).tables == first
    postgres.run("TRUNCATE t")
    second = catalog(postgres).tables
    assert second != first
    postgres.run("VACUUM FULL t")
    assert catalog(postgres).tables != second
