"""What PostgreSQL's definitions say to another engine, read from what pg_dump of a real server wrote."""

from __future__ import annotations

from typing import Any

from holdfast.connectors.postgres.carried import definitions_of
from holdfast.connectors.postgres.reader import PostgresReader
from holdfast.core.dialect import Index
from tests.postgres_server import Database


def rows(database: Database) -> list[dict[str, Any]]:
    """The records of the definitions."""
    with PostgresReader(database.url).snapshot() as snapshot:
        view = snapshot.read(snapshot.collection("postgres:schema"))
        return [row for batch in view.batches() for row in batch.to_pylist()]


def test_columns_are_read_whatever_stands_in_their_defaults(postgres: Database) -> None:
    """Commas, brackets and NOT NULL inside names, texts and expressions are no part of the table's own words."""
    postgres.run(
        "CREATE TABLE t (id int NOT NULL, \"a, NOT NULL (\" text DEFAULT 'x, NOT NULL)', b numeric(5, 2) NOT NULL"
        " DEFAULT 1.5, c varchar(9) DEFAULT NULL, g int NOT NULL GENERATED ALWAYS AS (id + 1) STORED,"
        " at timestamp with time zone DEFAULT now(), l int[] DEFAULT ARRAY[1, 2] NOT NULL,"
        " CHECK (b > 0 OR c IS NOT NULL))"
    )
    told = definitions_of(rows(postgres), ["t"], True)
    assert told.not_null == {"t": {"id", "b", "g", "l"}}
    assert told.computed == {"t": ("g",)}
    defaults = [each.name for each in told.left_out if each.kind == "default"]
    assert defaults == ["t.a, NOT NULL (", "t.b", "t.c", "t.at", "t.l"]
    assert [each.kind for each in told.left_out if each.kind != "default"] == ["check"]


def test_only_indexes_over_plain_columns_of_all_rows_are_carried(postgres: Database) -> None:
    """Expressions, conditions, other methods, included columns and deferred constraints are named instead."""
    postgres.run(
        'CREATE TABLE t (id int PRIMARY KEY, "B b" text UNIQUE, c text, UNIQUE (c) DEFERRABLE)',
        'CREATE INDEX plain ON t (c DESC NULLS LAST, "B b")',
        "CREATE INDEX lowered ON t (lower(c))",
        "CREATE INDEX partly ON t (c) WHERE id > 5",
        "CREATE INDEX hashed ON t USING hash (c)",
        "CREATE INDEX including ON t (c) INCLUDE (id)",
        "CREATE INDEX patterns ON t (c text_pattern_ops)",
        'CREATE INDEX collated ON t (c COLLATE "C")',
        "CREATE UNIQUE INDEX nulls ON t (c) NULLS NOT DISTINCT",
    )
    told = definitions_of(rows(postgres), ["t"], True)
    assert set(told.indexes["t"]) == {Index("plain", ("c", "B b"), False), Index("t_B b_key", ("B b",), True)}
    named = {each.name.removeprefix("public.") for each in told.left_out if each.kind in ("index", "constraint")}
    assert named == {"lowered", "partly", "hashed", "including", "patterns", "collated", "nulls", "t t_c_key"}


def test_of_chosen_collections_only_what_belongs_to_them_is_told(postgres: Database) -> None:
    """Partitions are their table; views and other tables are nobody's concern then."""
    postgres.run(
        "CREATE TABLE p (id int NOT NULL, n int) PARTITION BY RANGE (id)",
        "CREATE TABLE p_1 PARTITION OF p FOR VALUES FROM (0) TO (9)",
        "CREATE INDEX p_n ON p (n)",
        "CREATE TABLE other (id serial PRIMARY KEY)",
        "CREATE VIEW v AS SELECT 1",
    )
    told = definitions_of(rows(postgres), ["p"], False)
    assert told.indexes == {"p": (Index("p_n", ("n",), False),)}
    assert told.not_null == {"p": {"id"}}
    assert told.left_out == ()
    assert {each.kind for each in definitions_of(rows(postgres), ["p", "other"], True).left_out} >= {"view", "sequence"}
