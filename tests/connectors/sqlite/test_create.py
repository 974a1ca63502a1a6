"""Building a whole database anew: complete and checked under its name, or not there at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from holdfast.connectors.sqlite import SqliteReader, SqliteWriter
from holdfast.connectors.sqlite.reader import TableView
from holdfast.core.ports import Created, View
from holdfast.core.records import Schema
from holdfast.errors import Damaged, Refused, Unreachable, Unsupported, Usage
from tests.connectors.sqlite.databases import ask, contents, records, run, views


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A place for the source."""
    return tmp_path / "source.db"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A free place in a folder of its own."""
    (tmp_path / "new").mkdir()
    return tmp_path / "new" / "copy.db"


def rebuilt(source: Path, copy: Path, change: Callable[[View], View] = lambda view: view) -> Created:
    """Build the copy from every view of the source."""
    with SqliteReader(source).snapshot() as snapshot:
        return SqliteWriter(copy).create([change(view) for view in views(snapshot)])


class Other:
    """A view that lies about another: other rows, or an end in the middle."""

    def __init__(self, view: View, batches: Callable[[], Iterator[pa.RecordBatch]]) -> None:
        self.name, self.schema, self.ordered, self.batches = view.name, view.schema, view.ordered, batches


def test_all_that_is_not_rows_comes_back_too(source: Path, copy: Path) -> None:
    """Indexes, views, triggers that did not fire, counters, header fields, statistics and the journal mode."""
    run(source, "PRAGMA auto_vacuum=INCREMENTAL", "PRAGMA page_size=8192", "PRAGMA journal_mode=WAL")
    run(source, "CREATE TABLE t (id INTEGER PRIMARY KEY AUTOINCREMENT, v, w AS (v || '!'))", "CREATE TABLE log (v)")
    run(source, "CREATE TRIGGER a AFTER INSERT ON t BEGIN INSERT INTO log VALUES (new.v); END")
    run(source, "CREATE TRIGGER b AFTER INSERT ON T BEGIN UPDATE log SET v = v || 'b'; END")
    run(source, "CREATE VIEW w2 AS SELECT * FROM w1", "CREATE VIEW w1 AS SELECT v FROM t")
    run(
        source,
        "CREATE UNIQUE INDEX z ON t (v) WHERE v > ''",
        "CREATE INDEX y ON t (lower(v) DESC)",
        "CREATE INDEX x ON t (w)",
    )
    run(source, "INSERT INTO t (v) VALUES ('a'), ('b'), ('c')", "DELETE FROM t WHERE id = 3", "ANALYZE")
    run(source, "PRAGMA user_version=-3", "PRAGMA application_id=252006673")
    created = rebuilt(source, copy)
    assert (created.not_covered, created.dangling) == ((), 0)
    assert contents(copy) == contents(source)
    assert records(copy) == records(source)
    order = "SELECT type, name FROM sqlite_schema WHERE type IN ('index', 'trigger') AND sql <> '' ORDER BY type, rowid"
    assert ask(copy, order) == ask(source, order)
    assert [path.name for path in copy.parent.iterdir()] == ["copy.db"]


def test_references_that_lead_nowhere_come_back_as_they_were_and_are_counted(source: Path, copy: Path) -> None:
    """A restore is no judge of the source's records; cycles of references are no hindrance."""
    run(
        source,
        "CREATE TABLE a (id INTEGER PRIMARY KEY, b REFERENCES b)",
        "CREATE TABLE b (id INTEGER PRIMARY KEY, a REFERENCES a)",
    )
    run(source, "INSERT INTO a VALUES (1, 1), (2, 404)", "INSERT INTO b VALUES (1, 1), (2, 405)")
    assert rebuilt(source, copy).dangling == 2
    assert contents(copy) == contents(source)


def test_full_text_tables_find_again_what_they_found(source: Path, copy: Path) -> None:
    """With content of their own, of another table or of a view: the index is built again."""
    run(source, "CREATE TABLE doc (id INTEGER PRIMARY KEY, body)", "CREATE VIEW shown AS SELECT id, body FROM doc")
    run(
        source,
        "CREATE VIRTUAL TABLE own USING fts5 (a, b UNINDEXED, tokenize = 'porter ascii')",
        "CREATE VIRTUAL TABLE old USING FTS4(x)",
    )
    run(source, 'CREATE VIRTUAL TABLE out USING fts5 (body, content = "doc" , content_rowid=id)')
    run(source, "CREATE VIRTUAL TABLE seen USING fts5 (body, content=shown, content_rowid=id)")
    run(
        source,
        "INSERT INTO doc VALUES (5, 'apples'), (9, 'pears')",
        "INSERT INTO own VALUES ('running', 'b')",
        "INSERT INTO old VALUES ('plum')",
    )
    run(source, "INSERT INTO out (out) VALUES ('rebuild')", "INSERT INTO seen (seen) VALUES ('rebuild')")
    assert rebuilt(source, copy).not_covered == ()
    for question in (
        "SELECT rowid FROM out('pears')",
        "SELECT rowid FROM seen('apples')",
        "SELECT a, b FROM own('run')",
        "SELECT x FROM old WHERE old MATCH 'plum'",
    ):
        assert ask(copy, question) == ask(source, question) != []
    assert records(copy) == records(source)


def test_what_cannot_be_brought_back_is_named(source: Path, copy: Path) -> None:
    """An r-tree is made empty, a module that is absent here is left out; both are told."""
    run(
        source,
        "CREATE VIRTUAL TABLE box USING rtree (id, a, b)",
        "INSERT INTO box VALUES (1, 2, 3)",
        "CREATE TABLE t (v)",
    )
    run(
        source,
        "PRAGMA writable_schema=ON",
        "INSERT INTO sqlite_schema VALUES ('table', 'far', 'far', 0, 'CREATE VIRTUAL TABLE far USING vec0(x)')",
    )
    created = rebuilt(source, copy)
    assert created.not_covered[0] == "the contents of the virtual table box (rtree)"
    assert "the virtual table far" in created.not_covered[1]
    assert "no such module: vec0" in created.not_covered[1]
    assert ask(copy, "SELECT count(*) FROM box") == [(0,)]


def test_nothing_is_ever_overwritten(source: Path, copy: Path) -> None:
    """A file at the place, or a log that SQLite would replay into the new one, stops the restore before it begins."""
    run(source, "CREATE TABLE t (v)")
    for taken in (copy, copy.with_name("copy.db-wal"), copy.with_name("copy.db-journal")):
        taken.write_bytes(b"precious")
        with pytest.raises(Refused, match="is there already"):
            rebuilt(source, copy)
        assert taken.read_bytes() == b"precious"
        taken.unlink()
    with pytest.raises(Unreachable, match="no folder"):
        rebuilt(source, copy.parent / "absent" / "copy.db")


def test_a_place_taken_while_the_database_is_built_is_left_alone(source: Path, copy: Path) -> None:
    """The name is given last, and never in place of another file."""
    run(source, "CREATE TABLE t (v)", "INSERT INTO t VALUES (1)")

    def change(view: View) -> View:
        def batches() -> Iterator[pa.RecordBatch]:
            copy.write_bytes(b"precious")
            yield from view.batches()

        return Other(view, batches)

    with pytest.raises(Refused, match="is there already"):
        rebuilt(source, copy, change)
    assert [(path.name, path.read_bytes()) for path in copy.parent.iterdir()] == [("copy.db", b"precious")]


def test_a_restore_that_ends_in_the_middle_leaves_nothing(source: Path, copy: Path) -> None:
    """Damage in the vault, met half way, leaves no half database."""
    run(source, "CREATE TABLE t (v)", "INSERT INTO t VALUES (1)")

    def change(view: View) -> View:
        def batches() -> Iterator[pa.RecordBatch]:
            yield from view.batches()
            if view.name == "t":
                raise Damaged("a segment is not what it was")

        return Other(view, batches)

    with pytest.raises(Damaged, match="segment"):
        rebuilt(source, copy, change)
    assert list(copy.parent.iterdir()) == []


def test_records_that_break_their_own_definition_are_damage(source: Path, copy: Path) -> None:
    """Two records under one key can't both have been in the source."""
    run(source, "CREATE TABLE t (id INTEGER PRIMARY KEY, v)", "INSERT INTO t VALUES (1, 1)")

    def change(view: View) -> View:
        return Other(view, lambda: (batch for _ in range(2) for batch in view.batches())) if view.name == "t" else view

    with pytest.raises(Damaged, match=r"t: its records do not fit its definition: .*UNIQUE constraint failed: t\.id"):
        rebuilt(source, copy, change)
    assert list(copy.parent.iterdir()) == []


def test_records_and_definitions_must_belong_together(source: Path, copy: Path) -> None:
    """No records without their definition, no database without definitions, no columns that are not there."""
    run(source, "CREATE TABLE t (v, w)", "INSERT INTO t VALUES (1, 2)")
    with pytest.raises(Usage, match="without its definitions"):
        SqliteWriter(copy).create([])

    def renamed(view: View) -> View:
        if not isinstance(view, TableView):
            return view
        return replace(view, collection=replace(view.collection, name="other"))

    with pytest.raises(Damaged, match="no definition for the records of other"):
        rebuilt(source, copy, renamed)

    def narrowed(view: View) -> View:
        if not isinstance(view, TableView):
            return view
        return replace(view, collection=replace(view.collection, schema=Schema(view.schema.columns[:1])))

    with pytest.raises(Damaged, match="t: its records have other columns than its definition"):
        rebuilt(source, copy, narrowed)
    assert list(copy.parent.iterdir()) == []


@pytest.mark.parametrize(("kind", "value"), [("decimal", "1.10"), ("uuid", b"\x00" * 16), ("float", float("nan"))])
def test_a_value_that_sqlite_cannot_hold_exactly_is_refused_by_name(
    source: Path, copy: Path, kind: str, value: Any
) -> None:
    """Another source's types are not squeezed into SQLite's."""
    run(source, "CREATE TABLE t (v)")

    def change(view: View) -> View:
        if view.name != "t":
            return view
        schema = Schema((replace(view.schema.columns[0], type=kind),))
        other = Other(
            view, lambda: iter([pa.record_batch([pa.array([value], schema.columns[0].arrow)], schema=schema.arrow())])
        )
        other.schema = schema
        return other

    with pytest.raises(Unsupported, match="t: column v"):
        rebuilt(source, copy, change)
