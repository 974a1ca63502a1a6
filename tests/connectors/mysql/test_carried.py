"""What MariaDB's definitions say to another engine, read from what a real server wrote."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from holdfast.connectors.mysql.carried import definitions_of
from holdfast.connectors.mysql.catalog import Catalog, load_catalog
from holdfast.connectors.mysql.connection import connect
from holdfast.connectors.mysql.definitions import schema_records
from holdfast.connectors.mysql.tabletext import table_said
from holdfast.core.dialect import Index
from holdfast.core.records import Column, Reference
from tests.connectors.mysql.rich import make_rich
from tests.mariadb_server import Database

_WEAKER = "texts that it calls equal may be different elsewhere, so unique ones promise less"


def told(database: Database) -> tuple[list[dict[str, Any]], Catalog]:
    """The records of the definitions, and the catalog."""
    with connect(database.url) as connection:
        catalog = load_catalog(connection)
        return schema_records(connection, catalog).to_pylist(), catalog


def test_columns_are_read_whatever_stands_in_their_defaults(mariadb: Database) -> None:
    """Commas, brackets and key words inside names, texts and expressions are no part of the table's own words."""
    mariadb.run(
        "CREATE TABLE t (id int NOT NULL, `a, NOT NULL (` varchar(40) DEFAULT 'x'', NOT NULL) COMMENT \\'', "
        "b decimal(5, 2) NOT NULL DEFAULT 1.5 CHECK (b > 0), c varchar(9) DEFAULT NULL, d datetime DEFAULT now() "
        "ON UPDATE now() NOT NULL, `CHECK` int DEFAULT (1 + (2 * 3)) COMMENT 'NOT NULL', "
        "g int AS (id + 1) STORED, h text AS (concat(c, ',')) VIRTUAL INVISIBLE COMMENT 'x', e enum('NOT NULL', ',') "
        "CHARACTER SET latin1 NOT NULL, j json NOT NULL, k longtext CHECK (json_valid(k) AND k <> '[]'), "
        "p point REF_SYSTEM_ID=4326, CHECK (b > 0 OR c IS NOT NULL))"
    )
    rows, _ = told(mariadb)
    found = definitions_of(rows, ["t"], True)
    assert found.not_null == {"t": {"id", "b", "d", "e", "j"}}
    assert found.computed == {"t": ("g", "h")}
    named = [(each.kind, each.name.removeprefix("t."), each.reason) for each in found.left_out]
    assert named == [
        ("default", "a, NOT NULL (", ""), ("default", "b", ""), ("check", "b", ""), ("default", "d", ""),
        ("default", "d", "ON UPDATE"), ("default", "CHECK", ""), ("comment", "CHECK", ""), ("check", "k", ""),
        ("check", "t: CONSTRAINT `CONSTRAINT_1` CHECK (`b` > 0 or `c` is not null)", ""),
        ("collation", "t: utf8mb4_general_ci", _WEAKER),
    ]  # fmt: skip


def test_only_indexes_over_whole_columns_are_carried(mariadb: Database) -> None:
    """Parts of columns, periods, words and shapes are named instead."""
    mariadb.run(
        "CREATE TABLE t (id int, `B b` varchar(9), c text, d date NOT NULL, e date NOT NULL, p point NOT NULL, "
        "PRIMARY KEY (c(7)), UNIQUE (`B b`), KEY `plain ``one` (`B b` DESC, id) USING BTREE COMMENT '(x)', "
        "KEY part (c(5)), UNIQUE long_one (c), FULLTEXT words (c), SPATIAL KEY shape (p), PERIOD FOR life (d, e), "
        "UNIQUE during (id, life WITHOUT OVERLAPS))"
    )
    rows, _ = told(mariadb)
    found = definitions_of(rows, ["t"], True)
    assert set(found.indexes["t"]) == {
        Index("B b", ("B b",), True), Index("plain `one", ("B b", "id"), False), Index("long_one", ("c",), True),
    }  # fmt: skip
    assert {(each.kind, each.name) for each in found.left_out if each.kind not in ("collation", "default")} == {
        ("index", "t: t_primary"), ("index", "t: part"), ("index", "t: during"), ("fulltext index", "t: words"),
        ("spatial index", "t: shape"), ("period", "t: PERIOD FOR `life` (`d`, `e`)"),
    }  # fmt: skip


def test_of_a_table_that_keeps_its_past_what_is_unique_is_so_at_each_moment(mariadb: Database) -> None:
    """An older version has the same key and another end; what leads to it leads to several records."""
    mariadb.run(
        "CREATE TABLE past (id int PRIMARY KEY, v varchar(9), UNIQUE (v)) WITH SYSTEM VERSIONING",
        "CREATE TABLE own (id int PRIMARY KEY, s timestamp(6) AS ROW START, e timestamp(6) AS ROW END, "
        "PERIOD FOR SYSTEM_TIME (s, e)) WITH SYSTEM VERSIONING",
        "CREATE TABLE led (past int, FOREIGN KEY (past) REFERENCES past (id))",
    )
    rows, catalog = told(mariadb)
    found = definitions_of(rows, ["past", "own", "led"], True)
    unique = {each.columns for name in ("past", "own") for each in found.indexes[name]}
    assert unique == {("id", "row_end"), ("v", "row_end"), ("id", "e")}
    assert {catalog.tables[name].key for name in ("past", "own")} <= unique
    assert found.unfit == {"led": {Reference(("past",), "past", ("id",)): "what it leads to is not unique"}}
    assert [(each.kind, each.name) for each in found.left_out if each.kind == "versioning"] == [
        ("versioning", "own"), ("versioning", "past"),
    ]  # fmt: skip


def test_references_that_no_other_engine_could_hold_to_are_told(mariadb: Database) -> None:
    """By a collation, or by padding, different texts lead to one record; InnoDB takes what is not unique."""
    mariadb.run(
        "CREATE TABLE a (id int PRIMARY KEY, ci varchar(9), pad varchar(9) COLLATE utf8mb4_bin, n int, "
        "fixed char(9) COLLATE utf8mb4_bin, exact varchar(9) COLLATE utf8mb4_nopad_bin, x int, y int, "
        "UNIQUE (ci), UNIQUE (pad), KEY (n), UNIQUE (fixed), UNIQUE (exact), UNIQUE (y, x))",
        "CREATE TABLE b (ci varchar(9), pad varchar(9) COLLATE utf8mb4_bin, n int, x int, y int, "
        "fixed char(9) COLLATE utf8mb4_bin, exact varchar(9) COLLATE utf8mb4_nopad_bin, "
        "FOREIGN KEY (ci) REFERENCES a (ci), FOREIGN KEY (pad) REFERENCES a (pad), FOREIGN KEY (n) REFERENCES a (n), "
        "FOREIGN KEY (y, x) REFERENCES a (y, x), FOREIGN KEY (fixed) REFERENCES a (fixed) ON DELETE SET NULL, "
        "FOREIGN KEY (exact) REFERENCES a (exact))",
    )
    rows, catalog = told(mariadb)
    found = definitions_of(rows, ["a", "b"], True)
    assert found.unfit["b"] == {
        Reference(("ci",), "a", ("ci",)): "by the collation utf8mb4_general_ci a text may lead to a different one",
        Reference(("pad",), "a", ("pad",)): "by the collation utf8mb4_bin a text may lead to a different one",
        Reference(("n",), "a", ("n",)): "what it leads to is not unique",
    }
    assert found.unfit["b"].keys() < set(catalog.tables["b"].references)
    assert {(each.name, each.reason) for each in found.left_out if each.kind == "action of a foreign key"} == {
        ("b: b_ibfk_5", "ON DELETE SET NULL")
    }


def test_everything_that_mariadb_can_define_is_carried_or_named(mariadb: Database) -> None:
    """Of a whole database each definition is told; of chosen collections only what belongs to them."""
    make_rich(mariadb)
    rows, catalog = told(mariadb)
    found = definitions_of(rows, list(catalog.tables), True)
    kinds = {each.kind for each in found.left_out}
    assert {row["type"].lower() for row in rows} - kinds == {"table", "database"}
    assert kinds >= {"counter", "hidden column", "partitions", "versioning", "comment", "fulltext index", "period"}
    assert not any(each.kind == "definition" for each in found.left_out)
    few = definitions_of(rows, ["a"], False)
    assert few.left_out == ()
    assert few.indexes == {"a": (Index("a_primary", ("id",), True), Index("ab", ("b",), False))}
    without = definitions_of(rows, [name for name in catalog.tables if name != "a"], True)
    assert ("table", "a", "the vault holds no records of it") in {
        (each.kind, each.name, each.reason) for each in without.left_out
    }


@pytest.mark.parametrize(
    ("line", "unknown"),
    [
        ("`a` int(11) NOT NULL SOMETHING NEW", ["a: SOMETHING", "a: NEW"]),
        ("VECTOR INDEX `v` (`a`)", ["VECTOR INDEX `v` (`a`)"]),
        ("CONSTRAINT `f` FOREIGN KEY (`a`) REFERENCES `other`.`t` (`a`)", ["the foreign key f to another database"]),
    ],
)
def test_what_is_not_understood_is_named_and_not_guessed_at(line: str, unknown: list[str]) -> None:
    """A newer server may have words of its own."""
    said = table_said(f"CREATE TABLE `t` (\n  {line}\n) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4")
    assert said.unknown == unknown
    rows = [{"type": "TABLE", "name": "t", "table_name": "t", "sql": f"CREATE TABLE `t` (\n  {line}\n) ENGINE=InnoDB"}]
    named = definitions_of(rows, ["t"], True).left_out
    assert [(each.kind, each.reason) for each in named] == [("definition", "not understood")] * len(unknown)


def test_what_people_expect_in_a_mixed_column_follows_its_declaration(mariadb: Database) -> None:
    """Text in a column of text and labels; elsewhere a time, and what is none as the server wrote it."""
    rows, _ = told(mariadb)
    expected = definitions_of(rows, [], True).readable
    texts = ("varchar(9) CHARACTER SET latin1", "enum('a')", "set('a','b')", "LONGTEXT")
    assert [expected(Column("v", "mixed", each)) for each in texts] == [("text",)] * 4
    assert expected(Column("v", "mixed", "datetime(6)")) == ("date", "time", "timestamp", "timestamptz", "source")


def test_no_driver_is_needed() -> None:
    """Where a vault is restored into another engine nothing of MariaDB's need be installed."""
    program = (
        "import sys; sys.modules['pymysql'] = None\n"
        "from holdfast.assemble import open_source\nfrom pathlib import Path\n"
        "told = open_source('x', 'x.db', Path('.')).foreign.definitions('mysql')([], [], True)\n"
        "print(told.engine)"
    )
    found = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert found.stdout == "mysql\n"
