"""What SQLite's definitions say to another engine, read from the vault's records of them alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from holdfast.connectors.sqlite import SqliteReader
from holdfast.connectors.sqlite.carried import definitions_of
from holdfast.core.dialect import Index
from holdfast.core.records import Column, Reference


def rows(folder: Path, script: str) -> list[dict[str, Any]]:
    """The records of the definitions of a database made by this script, which is gone afterwards."""
    path = folder / "source.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.create_collation("own", lambda a, b: (a > b) - (a < b))
        connection.executescript(script)
    with SqliteReader(path).snapshot() as snapshot:
        view = snapshot.read(snapshot.collection("sqlite:schema"))
        found = [row for batch in view.batches() for row in batch.to_pylist()]
    path.unlink()
    return found


def named(script: str, folder: Path, names: Sequence[str], is_whole: bool) -> set[tuple[str, str, str]]:
    """What is left out."""
    found = definitions_of(rows(folder, script), names, is_whole)
    return {(each.kind, each.name, each.reason) for each in found.left_out}


TABLES = """
CREATE TABLE t (
    id INTEGER PRIMARY KEY AUTOINCREMENT, "CHECK" TEXT NOT NULL DEFAULT 'CHECK (x)', -- CHECK (no)
    n INT CHECK (n > (0)), a AS (n + 1), b GENERATED ALWAYS AS (n || 'NOT NULL') STORED NOT NULL,
    c TEXT COLLATE binary, d TEXT COLLATE NOCASE UNIQUE ON CONFLICT REPLACE, UNIQUE (n, c), CHECK (c <> ')')
);
CREATE TABLE u (k TEXT, l, PRIMARY KEY (l, k)) WITHOUT ROWID;
CREATE INDEX plain ON t (n DESC, c);
CREATE INDEX lowered ON t (lower(c));
CREATE INDEX partly ON t (c) WHERE n > 5;
CREATE INDEX loud ON t (c COLLATE NOCASE);
CREATE VIEW v AS SELECT 1;
CREATE TRIGGER g AFTER INSERT ON t BEGIN SELECT 1; END;
CREATE VIRTUAL TABLE f USING fts5 (x);
"""


def test_sqlite_itself_says_what_its_definitions_mean(tmp_path: Path) -> None:
    """Words inside names, texts and comments are none of the table's own; the statements are made, not guessed at."""
    told = definitions_of(rows(tmp_path, TABLES), ["t", "u"], True)
    assert told.engine == "sqlite"
    assert told.not_null == {"t": {"id", "CHECK"}, "u": {"k", "l"}}
    assert told.computed == {"t": ("a", "b")}
    assert {name: set(found) for name, found in told.indexes.items()} == {
        "t": {Index("plain", ("n", "c"), False), Index("t_n_c_key", ("n", "c"), True)},
        "u": {Index("u_l_k_key", ("l", "k"), True)},
    }


def test_all_that_is_not_carried_is_named_by_its_kind(tmp_path: Path) -> None:
    """What is not over plain bytes of plain columns, and all that the engine does by itself."""
    odd = "not over plain columns of all rows"
    assert named(TABLES, tmp_path, ["t", "u"], True) == {
        ("counter", "t", ""), ("default", "t.CHECK", ""), ("check", "t: CHECK ( n > ( 0 ) )", ""),
        ("check", "t: CHECK ( c <> ')' )", ""), ("collation", "t: NOCASE", ""), ("conflict clause", "t", ""),
        ("index", "t_d_key", "compares by the collation NOCASE"), ("index", "lowered", odd), ("index", "partly", odd),
        ("index", "loud", "compares by the collation NOCASE"), ("view", "v", ""), ("trigger", "g", ""),
        ("virtual table", "f", ""),
    }  # fmt: skip


def test_of_chosen_collections_only_what_belongs_to_them_is_told(tmp_path: Path) -> None:
    """Views and other tables are nobody's concern then; a trigger belongs to its table."""
    assert named(TABLES, tmp_path, ["u"], False) == set()
    assert ("trigger", "g", "") in named(TABLES, tmp_path, ["t"], False)
    assert "view" not in {kind for kind, *_ in named(TABLES, tmp_path, ["t"], False)}


def test_references_that_no_other_engine_could_hold_to_are_told(tmp_path: Path) -> None:
    """By a collation different texts lead to one record, and SQLite takes references to what is not unique."""
    script = """
        CREATE TABLE a (id INTEGER PRIMARY KEY, code TEXT COLLATE NOCASE UNIQUE, n INT, x TEXT, y INT, UNIQUE (y, x));
        CREATE TABLE b (code TEXT REFERENCES a (code), n INT REFERENCES a (n), a INT REFERENCES a
            ON DELETE SET NULL DEFERRABLE INITIALLY DEFERRED, x TEXT, y INT, FOREIGN KEY (x, y) REFERENCES a (x, y));
    """
    told = definitions_of(rows(tmp_path, script), ["a", "b"], True)
    assert told.unfit["b"] == {
        Reference(("code",), "a", ("code",)): "a compares by a collation of SQLite's own",
        Reference(("n",), "a", ("n",)): "what it leads to is not unique",
    }
    actions = {each.reason for each in told.left_out if each.kind == "action of a foreign key"}
    assert actions == {"ON DELETE SET NULL", "DEFERRED"}


def test_a_table_that_can_not_be_made_here_is_named_and_still_goes(tmp_path: Path) -> None:
    """A collation of a program's own is not known here: the records go by the schema of their collection."""
    told = definitions_of(rows(tmp_path, "CREATE TABLE t (a TEXT COLLATE own); CREATE TABLE u (a);"), ["t", "u"], True)
    assert [(each.kind, each.name) for each in told.left_out] == [("definition", "t")]
    assert "no such collation sequence" in told.left_out[0].reason


def test_what_people_expect_in_a_mixed_column_follows_its_declaration(tmp_path: Path) -> None:
    """SQLite makes text of a number in a column of text; anywhere else numbers and text may stand together."""
    told = definitions_of(rows(tmp_path, "CREATE TABLE t (a);"), ["t"], True)
    kinds = [
        told.readable(Column("v", "mixed", each)) for each in ("NVARCHAR(9)", "text", "", "INT", "DATETIME", "CHARINT")
    ]
    assert kinds == [("text",)] * 2 + [("int", "float", "text")] * 4
