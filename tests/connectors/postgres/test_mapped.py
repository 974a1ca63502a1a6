"""Another engine's records in a new PostgreSQL database: what is built, what is refused, what the proof sees."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.connectors.postgres import mapped, writer
from holdfast.connectors.postgres.connection import qualified
from holdfast.connectors.postgres.reader import PostgresReader
from holdfast.connectors.postgres.writer import PostgresWriter
from holdfast.core.canonical import tagged_value
from holdfast.core.dialect import Definitions, Index, Kept
from holdfast.core.forms import FORMS
from holdfast.core.mapping import NamedMapping
from holdfast.core.ports import Created, View
from holdfast.core.records import Column, Reference, Schema
from holdfast.errors import Damaged, Refused, Unreachable
from holdfast.operations.mapped import Moved
from tests.connectors.moving import NOTHING, Breaking, Wanted, moved
from tests.core.shapes import Row, rows_of, schemas
from tests.postgres_server import Database


class Meddling(PostgresWriter):
    """Writes to PostgreSQL, and then somebody changes what is there."""

    def __init__(self, database: Database, *statements: str) -> None:
        super().__init__(database.url)
        self._database = database
        self._statements = statements

    def create_mapped(self, mapping: NamedMapping, views: Iterable[View]) -> Created:
        created = super().create_mapped(mapping, views)
        self._database.run(*self._statements)
        return created


def into(
    database: Database, folder: Path, wanted: Sequence[Wanted], *statements: str, definitions: Definitions = NOTHING
) -> tuple[Moved, list[NamedMapping]]:
    """The records moved into the database, and the mappings that were told on the way."""
    return moved(PostgresReader(database.url), Meddling(database, *statements), folder, wanted, definitions)


PLAIN = Schema((Column("id", "int"), Column("v", "text")), ("id",))


@pytest.mark.parametrize(
    ("meddling", "is_equal"),
    [
        ("UPDATE t SET v = 'b' WHERE id = 7", False),
        ("UPDATE t SET v = '' WHERE v IS NULL", False),
        ("DELETE FROM t WHERE id = 7", False),
        ("ALTER TABLE t DROP CONSTRAINT t_pkey", True),
    ],
)
def test_a_value_that_is_not_as_it_was_is_found_by_the_proof(
    postgres: Database, tmp_path: Path, meddling: str, is_equal: bool
) -> None:
    """The database itself is read back: one changed value of a thousand records is enough; keys are no values."""
    rows = [{"id": number, "v": None if number == 1 else "a"} for number in range(1000)]
    done, _ = into(postgres, tmp_path, [Wanted("t", PLAIN, [rows])], meddling)
    assert [proof.is_equal for proof in done.proofs] == [is_equal]


def test_records_decide_and_the_database_is_built_as_they_do(postgres: Database, tmp_path: Path) -> None:
    """A number, a date and a document that PostgreSQL's types can't hold: each column becomes text, told before."""
    columns = Column("id", "int"), Column("n", "decimal"), Column("d", "date"), Column("j", "json")
    wanted = Wanted(
        "t",
        Schema(columns, ("id",)),
        [[{"id": 1, "n": "1.10", "d": 0, "j": "{}"}], [{"id": 2, "n": "007.5", "d": -3_000_000, "j": "{'a"}]],
    )
    done, told = into(postgres, tmp_path, [wanted])
    assert [proof.is_equal for proof in done.proofs] == [True]
    assert [(each.column, each.reason) for each in done.mapping.revisions] == [
        ("n", "the type numeric can't hold '007.5'"),
        ("d", "the type date can't hold '-06244-04-12'"),
        ("j", "the type json can't hold \"{'a\""),
    ]
    assert len(told) == 3
    assert postgres.rows("SELECT * FROM t ORDER BY id") == [
        (1, "1.10", "1970-01-01", "{}"), (2, "007.5", "-06244-04-12", "{'a"),
    ]  # fmt: skip


def test_values_lie_in_the_types_that_people_expect(postgres: Database, tmp_path: Path) -> None:
    """A scale is kept as written, and every type with a place of its own is declared so."""
    values: dict[str, Any] = {
        "bool": True, "int": -1, "uint": (1 << 64) - 1, "float": -0.0, "float32": float("nan"), "decimal": "1.10",
        "text": "a", "rawtext": b"\xff", "bytes": b"", "date": -735_160, "time": 86_400_000_000, "timestamp": 1,
        "timestamptz": 0, "uuid": bytes(16), "json": '{"a" :1}', "source": "x", "mixed": tagged_value("bool", True),
    }  # fmt: skip
    wanted = Wanted("t", Schema(tuple(Column(kind, kind) for kind in values)), [[values, {}, values]])
    done, _ = into(postgres, tmp_path, [wanted])
    assert [proof.is_equal for proof in done.proofs] == [True]
    types = "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a"
    found = dict(postgres.rows(f"{types} WHERE a.attrelid = 't'::regclass AND a.attnum > 0"))
    assert found == {
        "bool": "boolean", "int": "bigint", "uint": "numeric(20,0)", "float": "double precision", "float32": "real",
        "decimal": "numeric", "text": "text", "rawtext": "bytea", "bytes": "bytea", "date": "date",
        "time": "time without time zone", "timestamp": "timestamp without time zone",
        "timestamptz": "timestamp with time zone", "uuid": "uuid", "json": "json", "source": "text", "mixed": "text",
    }  # fmt: skip
    shown = 'SELECT "decimal"::text, "date"::text, "time"::text, json::text, mixed FROM t WHERE uuid IS NOT NULL'
    assert postgres.rows(shown)[0] == ("1.10", "0044-03-15 BC", "24:00:00", '{"a" :1}', "\\x0101")


@pytest.mark.parametrize("is_there", [True, False])
def test_a_failure_in_the_middle_leaves_nothing(postgres: Database, tmp_path: Path, is_there: bool) -> None:
    """An empty database is empty again, and one that was not there is not there, whatever stopped the move."""
    place = postgres if is_there else Database(postgres.server, f"{postgres.name}_new")
    rows = [{"id": number, "v": "a"} for number in range(1000)]
    twice = Wanted("twice", PLAIN, [rows, rows])
    for last, error in ((Breaking("t", PLAIN, [rows]), Unreachable), (twice, Damaged)):
        with pytest.raises(error):
            into(place, tmp_path, [Wanted("first", PLAIN, [rows]), last])
        databases = "SELECT count(*) FROM pg_database WHERE datname LIKE '%partial%' OR datname LIKE '%\\_new'"
        assert postgres.value(databases) == 0
        assert postgres.rows("SELECT FROM pg_class c WHERE relnamespace = 'public'::regnamespace") == []


def test_a_place_that_holds_something_or_keeps_other_text_is_refused(postgres: Database, tmp_path: Path) -> None:
    """Nothing that is there is touched; text of a database in Latin-1 could not hold every character."""
    wanted = [Wanted("t", PLAIN, [[{"id": 1, "v": "量"}]])]
    postgres.run("CREATE TABLE mine (id int)")
    with pytest.raises(Refused, match="is not empty"):
        into(postgres, tmp_path, wanted)
    assert postgres.rows("SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relname IN ('mine', 't')") == [
        ("mine",)
    ]
    latin = Database(postgres.server, f"{postgres.name}_latin")
    postgres.run(f"CREATE DATABASE \"{latin.name}\" ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'")
    try:
        with pytest.raises(Refused, match="keeps text in LATIN1"):
            into(latin, tmp_path, wanted)
    finally:
        postgres.run(f'DROP DATABASE "{latin.name}" WITH (FORCE)')


def test_keys_indexes_and_references_are_built_and_what_can_not_be_is_told(postgres: Database, tmp_path: Path) -> None:
    """References that lead nowhere are counted and left unproven; a key longer than an index holds is done without."""
    person = Schema(
        (Column("id", "int"), Column("boss", "int"), Column("code", "text"), Column("note", "text")),
        ("id",),
        (Reference(("boss",), "person", ("id",)), Reference(("note",), "person", ("code",))),
    )
    rows: list[Row] = [
        {"id": 1, "boss": None, "code": "a", "note": "a"}, {"id": 2, "boss": 1, "code": "b", "note": None},
        {"id": 3, "boss": 9, "code": None, "note": "a"},
    ]  # fmt: skip
    long = Schema((Column("k", "text"),), ("k",), (Reference(("k",), "wide", ("k",)),))
    chance = random.Random(7)
    keys = [{"k": "".join(chance.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=9000))}]
    indexes = {
        "person": (
            Index("person_pkey", ("boss", "code"), False),
            Index("person", ("note",), False),
            Index("same", ("id",), True),
        )
    }
    definitions = Definitions("there", not_null={"person": frozenset(("boss",))}, indexes=indexes)
    wanted = [Wanted("person", person, [rows]), Wanted("wide", Schema((Column("k", "text"),), ("k",)), [keys])]
    with pytest.raises(Damaged, match='null value in column "boss"'):
        into(postgres, tmp_path, wanted, definitions=definitions)
    definitions = Definitions("there", indexes=indexes)
    done, _ = into(postgres, tmp_path, [*wanted, Wanted("long", long, [keys])], definitions=definitions)
    assert all(proof.is_equal for proof in done.proofs)
    assert done.created.records == 5
    assert done.created.dangling == 1
    told = [each.partition(":")[0] for each in done.created.not_covered]
    assert told == ["the key of wide", "the key of long", "the reference of long (k) to wide"]
    found = postgres.rows(
        "SELECT c.relname::text, i.indisunique FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        " WHERE i.indrelid = 'person'::regclass ORDER BY 1"
    )
    assert found == [("person_2", False), ("person_code_key", True), ("person_pkey", False), ("person_pkey1", True)]
    states = "SELECT conname::text, convalidated FROM pg_constraint WHERE contype = 'f' ORDER BY 1"
    assert postgres.rows(states) == [("person_boss_fkey", False), ("person_note_fkey", True)]


def test_texts_with_a_nul_are_kept_in_hexadecimal(postgres: Database, tmp_path: Path) -> None:
    """PostgreSQL's texts end where a NUL would be: such a text, and one that would be read as such, are told apart."""
    texts = ["a\x00b", "\x00", "\\x61", "\\\\x", "", "a", None]
    wanted = Wanted("t", Schema((Column("v", "text"),)), [[{"v": text} for text in texts]])
    done, _ = into(postgres, tmp_path, [wanted])
    assert [proof.is_equal for proof in done.proofs] == [True]
    found = [value for (value,) in postgres.rows("SELECT v FROM t")]
    assert found == ["\\x610062", "\\x00", "\\x5c783631", "\\\\x", "", "a", None]


def test_what_only_the_server_refuses_is_kept_otherwise(
    postgres: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's own word for a column is taken as that of the form: both columns become text, and it is told."""
    lenient = Kept(FORMS["itself"], "json", otherwise=Kept(FORMS["clear text"], "text"))
    monkeypatch.setattr(mapped, "DIALECT", replace(mapped.DIALECT, kept=lambda *_: lenient))
    monkeypatch.setattr(writer, "DIALECT", mapped.DIALECT)
    schema = Schema((Column("a, column b", "json"), Column("b", "json")))
    rows = [{"a, column b": "{}", "b": "{}"}, {"a, column b": "{", "b": "}"}]
    done, _ = into(postgres, tmp_path, [Wanted("t", schema, [rows])])
    assert [proof.is_equal for proof in done.proofs] == [True]
    assert [(each.column, each.reason) for each in done.mapping.revisions] == [
        ("a, column b", "invalid input syntax for type json"), ("b", "invalid input syntax for type json"),
    ]  # fmt: skip


class Counted(Wanted):
    """A view that knows how often it was read."""

    read = 0

    def batches(self) -> Iterator[pa.RecordBatch]:
        self.read += 1
        yield from super().batches()


def test_many_values_that_do_not_fit_cost_few_attempts(postgres: Database, tmp_path: Path) -> None:
    """The first one stops the work; then everything is read once, whatever else there is, and written once more."""
    schema = Schema(tuple(Column(f"c{number}", "date") for number in range(12)))
    batches = [[{f"c{number}": -3_000_000}] for number in range(12)]
    wanted = Counted("t", schema, batches)
    done, told = into(postgres, tmp_path, [wanted])
    assert [proof.is_equal for proof in done.proofs] == [True]
    assert (len(told), wanted.read) == (12, 4), "two attempts to write, one look at all, and the proof"


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_is_drawn_is_proven_on_a_real_server(postgres: Database, tmp_path: Path, data: st.DataObject) -> None:
    """Every canonical type with any of its values, any names, with a key and without: read back, it is the same."""
    schema = data.draw(schemas())
    rows = data.draw(rows_of(schema))
    name = data.draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=9))
    done, _ = into(postgres, tmp_path, [Wanted(name, schema, [rows, []])])
    assert [(proof.is_equal, proof.found.rows) for proof in done.proofs] == [(True, len(rows))]
    postgres.run(f"DROP TABLE {qualified('public', done.mapping.collections[0].table)}")
