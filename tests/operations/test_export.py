"""Export of a real vault: whole, exact where the format can be, said where it can't, and never half."""

from __future__ import annotations

import base64
import csv
import json
import resource
import signal
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from holdfast import OpenVault, Records
from holdfast.assemble import open_source
from holdfast.begin import Wishes, begin_project
from holdfast.core.canonical import tagged_value
from holdfast.core.events import Progress
from holdfast.core.ports import View, Writer
from holdfast.core.records import MIXED, Column, Schema
from holdfast.core.where import parse_where
from holdfast.errors import Damaged, Interrupted, Refused, Unreachable, Usage
from holdfast.operations.export import FORMATS, Exported, export_records, format_of
from holdfast.operations.proof import fingerprint_of
from holdfast.operations.restore import Choice, proofs, vault_views
from holdfast.operations.scratch import sealed_scratch
from holdfast.sample import make_shop

EXTRA = """
CREATE TABLE "a/b" (id INTEGER PRIMARY KEY, note TEXT, data BLOB);
INSERT INTO "a/b" VALUES (1, '', x''), (2, NULL, NULL), (3, 'say "hi",' || char(10) || 'ёж', x'00ff'), (4, '0', x'30');
CREATE TABLE "A-b" (id INTEGER PRIMARY KEY, at REAL);
INSERT INTO "A-b" VALUES (1, 9e999), (2, -9e999), (3, 0.1), (4, -0.0), (5, NULL);
CREATE TABLE empty (id INTEGER PRIMARY KEY, note TEXT NOT NULL);
"""


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> OpenVault:
    """A captured shop with an odd table or two; nobody writes to it."""
    folder = tmp_path_factory.mktemp("project")
    make_shop(folder / "shop.db", orders=200)
    with closing(sqlite3.connect(folder / "shop.db")) as connection:
        connection.executescript(EXTRA)
    begun = begin_project(folder, "shop.db", ["a=site-a", "b=site-b"], Wishes())
    opened = OpenVault(begun.project, begun.project.reader_identity())
    opened.capture()
    return opened


class Live:
    """A view of batches at hand."""

    ordered = False

    def __init__(self, name: str, schema: Schema, batches: Callable[[], Iterator[pa.RecordBatch]]) -> None:
        self.name, self.schema, self.batches = name, schema, batches


def to_database(path: Path) -> Writer:
    return open_source("export", str(path), Path()).writer


def exported(views: Mapping[str, View], target: Path, emit: Callable[[Progress], None] = lambda _: None) -> Exported:
    return export_records(views, target, "", emit, to_database)


def chosen(*names: str, where: str | None = None) -> Choice:
    return Choice(names, parse_where(where) if where else None)


def table(records: Records) -> pa.Table:
    return records.reader().read_all()


def untagged(text: str | None) -> bytes | None:
    """A value of a mixed column out of its JSON text."""
    if text is None:
        return None
    value = json.loads(text)
    if isinstance(value, dict):
        return tagged_value("bytes", base64.b64decode(value["base64"]))
    return tagged_value({int: "int", float: "float", str: "text"}[type(value)], value)


def read_back(path: Path, schema: Schema) -> Iterator[pa.RecordBatch]:
    """The records of a Parquet file as batches of the schema."""
    found = pa.parquet.read_table(path)
    for place, column in enumerate(schema.columns):
        if column.type == MIXED:
            values = pa.array([untagged(each) for each in found.column(place).to_pylist()], pa.binary())
            found = found.set_column(place, column.name, values)
    yield from found.cast(schema.arrow()).to_batches()


def test_parquet_holds_every_value(vault: OpenVault, tmp_path: Path) -> None:
    """All collections of the shop, read back from Parquet, have the fingerprints that the commit signed."""
    done = vault.export(tmp_path / "all", chosen(), form="parquet")
    assert done.notes[0] == "settings.value: values of several types, written as JSON text"
    parts = {name: each.part for name, each in vault.state().collections.items() if not name.startswith("sqlite:")}
    assert done.rows == {name: part.rows for name, part in parts.items()}
    files = {"a/b": "a-b-2"}
    with sealed_scratch(tmp_path) as scratch:
        for name, part in parts.items():
            path = tmp_path / "all" / f"{files.get(name, name)}.parquet"
            view = Live(name, part.schema, lambda path=path, part=part: read_back(path, part.schema))  # type: ignore[misc]
            found = fingerprint_of(view, scratch)
            assert (name, found.rows, found.fingerprint) == (name, part.rows, part.fingerprint)


def test_a_database_is_the_source_again(vault: OpenVault, tmp_path: Path) -> None:
    """Everything in a database: records and definitions have the fingerprints that the commit signed."""
    done = vault.export(tmp_path / "shop.sqlite", chosen())
    assert done.notes == ()
    assert not any(name.startswith("sqlite:") for name in done.rows)
    with sealed_scratch(tmp_path) as scratch:
        reader = open_source("export", str(tmp_path / "shop.sqlite"), tmp_path).reader
        found = proofs(vault_views(vault.vault, vault.state()), reader, scratch, lambda _: None)
    assert {proof.name for proof in found if not proof.is_equal} == set()
    assert len(found) == len(done.rows) + 3


def test_a_database_of_some_records_holds_those_alone(vault: OpenVault, tmp_path: Path) -> None:
    """Only the tables that are named, only records that meet the condition, and references that end are told."""
    done = vault.export(tmp_path / "one.db", chosen("orders", "customers", where="tenant_id = 2"))
    with closing(sqlite3.connect(tmp_path / "one.db")) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
        counts = {
            name: connection.execute(f"SELECT count(*), sum(tenant_id = 2) FROM {name}").fetchone()
            for name in ("orders", "customers")
        }
    assert tables - {"sqlite_sequence"} == {"orders", "customers"}
    assert counts == {name: (rows, rows) for name, rows in done.rows.items()}
    assert 0 < done.rows["orders"] < 200
    assert any("triggers and views" in note for note in done.notes)
    assert any("lead to no record" in note for note in done.notes)


def test_csv_tells_null_from_empty_text(vault: OpenVault, tmp_path: Path) -> None:
    """NULL is empty, the empty text is quoted, bytes are hexadecimal; a note names the columns of bytes."""
    done = vault.export(tmp_path / "odd.csv", chosen("a/b"))
    assert (tmp_path / "odd.csv").read_text(encoding="utf-8") == (
        '"id","note","data"\n1,"",""\n2,,\n3,"say ""hi"",\nёж","00ff"\n4,"0","30"\n'
    )
    assert done == Exported({"a/b": 4}, ("a/b.data: bytes, written in hexadecimal",))


def test_csv_writes_mixed_values_as_text(vault: OpenVault, tmp_path: Path) -> None:
    """Each value of the settings as people read it, and a note that types are gone."""
    done = vault.export(tmp_path / "settings.csv", chosen("settings", where="tenant_id = 1"))
    with (tmp_path / "settings.csv").open(encoding="utf-8", newline="") as file:
        found = {row["name"]: row["value"] for row in csv.DictReader(file)}
    assert found["commission.hold_days"] == "45"
    assert found["tax.rate"] == "0.05"
    assert found["mail.sender"] == "orders@shop.example"
    assert bytes.fromhex(found["invoice.seal"]).startswith(b"\x89SEAL")
    assert done.notes == ("settings.value: values of several types, written as text, bytes in hexadecimal",)


def test_csv_holds_every_value_of_orders(vault: OpenVault, tmp_path: Path) -> None:
    """A column of one type comes back from CSV as it was, NULL and empty text kept apart."""
    records = vault.view("orders")
    vault.export(tmp_path / "orders.csv", chosen("orders"))
    options = pa.csv.ConvertOptions(
        column_types=records.schema.arrow(),
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        null_values=[""],
    )
    found = pa.csv.read_csv(tmp_path / "orders.csv", convert_options=options)
    assert found.equals(table(records))


def test_json_lines_hold_a_record_each(vault: OpenVault, tmp_path: Path) -> None:
    """Text in its own script, NULL as null, bytes and infinities named; mixed values keep their types."""
    vault.export(tmp_path / "out", chosen("a/b", "A-b", "settings"), form="jsonl")
    lines = {path.name: path.read_text(encoding="utf-8").splitlines() for path in (tmp_path / "out").iterdir()}
    assert lines["a-b.jsonl"][2] == '{"id":3,"note":"say \\"hi\\",\\nёж","data":{"base64":"AP8="}}'
    assert [json.loads(line)["at"] for line in lines["A-b-2.jsonl"]] == [
        {"float": "inf"},
        {"float": "-inf"},
        0.1,
        0,
        None,
    ]
    kinds = {type(json.loads(line)["value"]) for line in lines["settings.jsonl"]}
    assert kinds == {int, float, str, dict, type(None)}


def test_times_that_no_calendar_shows_are_written_as_numbers(tmp_path: Path) -> None:
    """The time 24:00 and the year 294247 are neither wrapped around nor lost, in CSV and in JSON lines."""
    schema = Schema((Column("t", "time"), Column("m", "timestamp"), Column("d", "date")))
    columns = [pa.array([0, 86_400_000_000]), pa.array([1, 1 << 62]), pa.array([0, 1 << 30], pa.int32())]
    arrays = [values.cast(field.type) for values, field in zip(columns, schema.arrow(), strict=True)]
    batch = pa.record_batch(arrays, schema=schema.arrow())
    for ending in ("csv", "jsonl"):
        exported({"x": Live("x", schema, lambda: iter([batch]))}, tmp_path / f"x.{ending}")
    assert (tmp_path / "x.csv").read_text(encoding="utf-8").splitlines()[1:] == [
        '"00:00:00","1970-01-01T00:00:00.000001","1970-01-01"',
        f'"86400000000","{1 << 62}","{1 << 30}"',
    ]
    last = (tmp_path / "x.jsonl").read_text(encoding="utf-8").splitlines()[-1]
    assert json.loads(last) == {"t": 86_400_000_000, "m": 1 << 62, "d": 1 << 30}


@pytest.mark.parametrize("form", FORMATS)
def test_an_empty_collection_is_a_file_too(vault: OpenVault, tmp_path: Path, form: str) -> None:
    """No records is a result, with the columns where the format has them."""
    assert vault.export(tmp_path / "empty", chosen("empty"), form=form).rows == {"empty": 0}
    if form == "parquet":
        assert pa.parquet.read_schema(tmp_path / "empty").names == ["id", "note"]
    if form == "csv":
        assert (tmp_path / "empty").read_text(encoding="utf-8") == '"id","note"\n'


def test_names_of_collections_become_safe_names_of_files(tmp_path: Path) -> None:
    """A name that would leave the folder, hide, or equal another without its case gets a name of its own."""
    schema = Schema((Column("id", "int"),))
    names = ["../../x", "..", "x", "X", "Заказы", "я" * 300]
    done = exported({name: Live(name, schema, lambda: iter(())) for name in names}, tmp_path / "out.csv")
    found = sorted(path.name for path in (tmp_path / "out.csv").iterdir())
    assert found == sorted(["x.csv", "collection.csv", "x-2.csv", "X-3.csv", "Заказы.csv", "я" * 90 + ".csv"])
    assert [note.partition(":")[0] for note in done.notes] == ["../../x", "..", "x", "X", "я" * 300]


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_at_the_target_stays(vault: OpenVault, tmp_path: Path, form: str) -> None:
    """An existing file, folder or dead link refuses the export and is left as it was."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("file", "folder", "link"):
        with pytest.raises(Refused, match="exists and is not overwritten"):
            vault.export(tmp_path / name, chosen("orders"), form=form)
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "link"]


@pytest.mark.parametrize("names", [("orders",), ("orders", "tenants")])
@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_what_appears_meanwhile_stays_too(vault: OpenVault, tmp_path: Path, form: str, names: tuple[str, ...]) -> None:
    """A file that somebody makes at the target during the export is not replaced."""
    target = tmp_path / "target"

    def appear(_: Progress) -> None:
        target.write_text("mine")

    with pytest.raises(Refused, match="appeared meanwhile"):
        vault.export(target, chosen(*names), form=form, emit=appear)
    assert target.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [target]


def broken(view: Any) -> Live:
    """The view, damaged after its first batch."""

    def batches() -> Iterator[pa.RecordBatch]:
        yield next(view.batches())
        raise Damaged("a segment is damaged")

    return Live(view.name, view.schema, batches)


@pytest.mark.parametrize("names", [("orders",), ("tenants", "orders")])
@pytest.mark.parametrize("form", FORMATS)
def test_nothing_is_left_after_a_failure(vault: OpenVault, tmp_path: Path, form: str, names: tuple[str, ...]) -> None:
    """Damage in the middle of the last collection leaves neither a target nor anything beside it."""
    views: dict[str, View] = dict(vault.views(names))
    views[names[-1]] = broken(views[names[-1]])
    if form == "sqlite":
        views |= {name: each for name, each in vault_views(vault.vault, vault.state()).items() if ":" in name}
    with pytest.raises(Damaged, match="a segment is damaged"):
        export_records(views, tmp_path / "out", form, lambda _: None, to_database)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", FORMATS)
def test_nothing_is_left_after_a_stop(vault: OpenVault, tmp_path: Path, form: str) -> None:
    """Whoever is stopped while records are on their way has written nothing."""

    def stop(_: Progress) -> None:
        raise Interrupted("stopped")

    with pytest.raises(Interrupted):
        vault.export(tmp_path / "out", chosen(), form=form, emit=stop)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file of this process may grow beyond 16 KB: the next write fails as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16 << 10, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.usefixtures("small_files")
@pytest.mark.parametrize("form", FORMATS)
def test_a_full_disk_is_told_and_leaves_nothing(vault: OpenVault, tmp_path: Path, form: str) -> None:
    """An error of the system while writing is Unreachable with a way out."""
    with pytest.raises(Unreachable) as caught:
        vault.export(tmp_path / "out", chosen("products"), form=form)
    assert caught.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", FORMATS)
def test_a_place_that_can_not_be_written_is_told(vault: OpenVault, tmp_path: Path, form: str) -> None:
    """No such folder: the place and what to do about it."""
    with pytest.raises(Unreachable, match="there is no folder"):
        vault.export(tmp_path / "no" / "out", chosen("orders"), form=form)


def test_the_ending_names_the_format() -> None:
    """A format that is named wins; else the ending counts in any case; else the formats are told."""
    endings = {"parquet": "parquet", "CSV": "csv", "ndjson": "jsonl", "jsonl": "jsonl", "db": "sqlite"}
    assert {ending: format_of(Path(f"x.{ending}")) for ending in endings} == endings
    assert format_of(Path("x.csv"), "JSONL") == "jsonl"
    for target, form in (("x.xlsx", ""), ("x", ""), ("x.csv", "xml")):
        with pytest.raises(Usage) as caught:
            format_of(Path(target), form)
        assert caught.value.hint == "choose one with --format: parquet, csv, jsonl, sqlite"


def test_a_condition_that_does_not_fit_is_told_before_anything_is_written(vault: OpenVault, tmp_path: Path) -> None:
    """The collection that lacks the column is named."""
    with pytest.raises(Usage, match="order_lines: the collection has no column 'tenant_id'"):
        vault.export(tmp_path / "out", chosen("orders", "order_lines", where="tenant_id = 2"), form="csv")
    with pytest.raises(Usage, match="no collection 'ordres'"):
        vault.export(tmp_path / "out", chosen("ordres"), form="csv")
    assert list(tmp_path.iterdir()) == []


def test_definitions_can_be_named(vault: OpenVault, tmp_path: Path) -> None:
    """They are left out by default, but are records like others when asked for."""
    assert vault.export(tmp_path / "ddl.csv", chosen("sqlite:schema")).rows["sqlite:schema"] > 30
    with pytest.raises(Usage, match="no records to write"):
        vault.export(tmp_path / "ddl.db", Choice(("sqlite:schema",)))


def test_progress_counts_to_the_number_of_records(vault: OpenVault, tmp_path: Path) -> None:
    """Each collection ends at its total."""
    steps: list[Progress] = []
    vault.export(tmp_path / "out", chosen("orders", "tenants"), form="jsonl", emit=steps.append)
    last = {step.stage: (step.done, step.total) for step in steps}
    assert last == {"export orders": (200, 200), "export tenants": (12, 12)}
