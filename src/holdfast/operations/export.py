"""Export: records of any view as files that other tools read, or as a database of their own.

* The target appears complete and durable, or not at all; what is there already is never replaced.
* One collection becomes a file, several a folder with a file for each; a database holds them all.
* What a format has no type for is written in the nearest form that loses least, and a note says which columns.
* Memory holds a batch or two, whatever the size.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from holdfast.core.canonical import decode, tagged
from holdfast.core.events import Progress
from holdfast.core.mapping import NamedMapping
from holdfast.core.plain import json_value
from holdfast.core.ports import View, Writer
from holdfast.core.records import MIXED, Column, Schema, is_definition
from holdfast.errors import Refused, Unreachable, Usage
from holdfast.operations.mapped import Mover
from holdfast.operations.proof import Proof, Signed
from holdfast.operations.streams import prefetched
from holdfast.vault.durable import sync_folder

__all__ = ["FORMATS", "Exported", "csv_text", "export_mapped", "export_records", "format_of"]

FORMATS = ("parquet", "csv", "jsonl", "sqlite")
_ENDINGS = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".db": "sqlite",
    ".sqlite": "sqlite",
    ".sqlite3": "sqlite",
}
_BYTES = ("bytes", "rawtext", "uuid")
_PLAIN = ("bool", "int", "uint", "text", "decimal", "json", "source")  # JSON holds these as they are.
_TIMES = ("date", "time", "timestamp", "timestamptz")
# What is not written as it is: by format, the types and how a note says it.
_CONVERTED: Mapping[str, tuple[tuple[tuple[str, ...], str], ...]] = {
    "parquet": (((MIXED,), "values of several types, written as JSON text"),),
    "csv": (
        (_BYTES, "bytes, written in hexadecimal"),
        ((MIXED,), "values of several types, written as text, bytes in hexadecimal"),
    ),
    "jsonl": (
        (_BYTES, 'bytes, written as {"base64": …}'),
        ((MIXED,), 'values of several types, bytes among them written as {"base64": …}'),
    ),
    "sqlite": (),
}
_GROUP_BYTES = 16 << 20
_SLICE_ROWS = 8_192
_NAME_BYTES = 180

Emit = Callable[[Progress], None]
Database = Callable[[Path], Writer]


@dataclass(frozen=True, slots=True)
class Exported:
    """How many records of each collection were written, and in words what is not as it was in the source.

    `mapping` and `proofs` are given where they went into a database of another engine.
    """

    rows: Mapping[str, int]
    notes: tuple[str, ...]
    mapping: NamedMapping | None = None
    proofs: tuple[Proof, ...] = ()


def format_of(target: Path, form: str = "") -> str:
    """The format asked for, or the one that the target's ending names. Raises Usage if that is none of FORMATS."""
    found = form.lower() or _ENDINGS.get(target.suffix.lower(), "")
    if found not in FORMATS:
        fact = f"there is no format {form!r}" if form else f"the ending of {target.name} names no format"
        raise Usage(fact, hint=f"choose one with --format: {', '.join(FORMATS)}")
    return found


def export_records(views: Mapping[str, View], target: Path, form: str, emit: Emit, to_database: Database) -> Exported:
    """Write every record of the views to a new file, or for several views to a new folder.

    For a database the views include the definitions it is built from, and `to_database` gives what writes it.
    Raises Usage (format), Refused (something is at the target) or Unreachable (the place can't be written).
    """
    wanted = format_of(target, form)
    if all(is_definition(name) for name in views) and (not views or wanted == "sqlite"):
        raise Usage("there are no records to write", hint='see what there is: "holdfast show"')
    if os.path.lexists(target):
        raise Refused(f"{target} exists and is not overwritten", hint="name a new file or folder, or move it away")
    if not target.parent.is_dir():
        raise Unreachable(f"there is no folder {target.parent}", hint="make the folder, or name another place")
    counted = {name: _Counted(view, emit) for name, view in views.items()}
    notes = [note for view in views.values() for note in _conversions(view, wanted)]
    if wanted == "sqlite":
        created = to_database(target).create(counted.values())
        notes += created.not_covered
        if created.dangling:
            notes.append(f"references that lead to no record in the export: {created.dangling}")
        counted = {name: each for name, each in counted.items() if not is_definition(name)}
    else:
        notes += _write_files(counted, target, wanted)
    return Exported({name: each.rows for name, each in counted.items()}, tuple(notes))


def export_mapped(records: Mapping[str, Signed], mapping: NamedMapping, mover: Mover) -> Exported:
    """Write the records, as the mapping says, to a new database of another engine, and prove what was written."""
    if not records:
        raise Usage("there are no records to write", hint='see what there is: "holdfast show"')
    done = mover.move(records, mapping)
    notes = [f"not brought along: {each}" for each in done.created.not_covered]
    if done.created.dangling:
        notes.append(f"references that lead to no record in the export: {done.created.dangling}")
    rows = {proof.name: proof.found.rows for proof in done.proofs}
    return Exported(rows, tuple(notes), done.mapping, done.proofs)


class _Counted:
    """A view that is read ahead in a thread, counts its records and tells how far it has come."""

    def __init__(self, view: View, emit: Emit) -> None:
        self._view = view
        self._emit = emit
        self.name = view.name
        self.schema = view.schema
        self.ordered = view.ordered
        self.rows = 0

    def batches(self) -> Iterator[pa.RecordBatch]:
        self.rows = 0
        total = getattr(self._view, "rows", None)
        for batch in prefetched(self._view.batches()):
            if batch.num_rows:
                self.rows += batch.num_rows
                self._emit(Progress(f"export {self.name}", self.rows, total, "records"))
                yield batch


def _conversions(view: View, form: str) -> Iterator[str]:
    for types, words in _CONVERTED[form]:
        names = [f"{view.name}.{column.name}" for column in view.schema.columns if column.type in types]
        if names:
            yield f"{', '.join(names)}: {words}"


def _write_files(views: Mapping[str, View], target: Path, form: str) -> list[str]:
    """Write a file for each view; the notes say which file a collection is in where its name does not."""
    with _writing(target), _partial(target) as partial:
        if len(views) == 1:
            _write_file(next(iter(views.values())), partial, form)
            _publish(partial, target)
            return []
        partial.mkdir()
        names = _file_names(views)
        for name, view in views.items():
            _write_file(view, partial / f"{names[name]}.{form}", form)
        sync_folder(partial)
        _publish(partial, target)
        return [f"{name}: is in {safe}.{form}" for name, safe in names.items() if safe != name]


def _write_file(view: View, path: Path, form: str) -> None:
    with path.open("xb", buffering=1 << 20) as file:
        _WRITE[form](view, file)
        file.flush()
        os.fsync(file.fileno())


def _write_parquet(view: View, file: BinaryIO) -> None:
    arrow = view.schema.arrow()
    for place, column in enumerate(view.schema.columns):
        if column.type == MIXED:
            arrow = arrow.set(place, pa.field(column.name, pa.string(), metadata=arrow.field(place).metadata))
    with pyarrow.parquet.ParquetWriter(file, arrow, compression="zstd") as writer:
        for group in _groups(_replaced(batch, view.schema, arrow, _json_text) for batch in view.batches()):
            writer.write_table(pa.Table.from_batches(group, arrow))


def _write_csv(view: View, file: BinaryIO) -> None:
    # Arrow quotes every text and leaves NULL empty, so the two can be told apart.
    arrow = view.schema.arrow()
    for place, column in enumerate(view.schema.columns):
        if column.type in (MIXED, *_BYTES, *_TIMES):
            arrow = arrow.set(place, pa.field(column.name, pa.string()))
    with pyarrow.csv.CSVWriter(file, arrow) as writer:
        for batch in _slices(view.batches()):
            writer.write_batch(_replaced(batch, view.schema, arrow, csv_text))


def _write_jsonl(view: View, file: BinaryIO) -> None:
    encoder = msgspec.json.Encoder()
    names = view.schema.names
    for batch in _slices(view.batches()):
        columns = []
        for place, column in enumerate(view.schema.columns):
            values = _values(batch.column(place), column)
            columns.append(values if column.type in _PLAIN else [json_value(value) for value in values])
        rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        file.write(encoder.encode_lines(rows))


_WRITE: Mapping[str, Callable[[View, BinaryIO], None]] = {
    "parquet": _write_parquet,
    "csv": _write_csv,
    "jsonl": _write_jsonl,
}


def _replaced(batch: pa.RecordBatch, schema: Schema, arrow: pa.Schema, text: Callable[[Any], str]) -> pa.RecordBatch:
    """The batch in another Arrow schema: columns whose Arrow type differs become text."""
    columns = []
    for place, column in enumerate(schema.columns):
        values = batch.column(place)
        if values.type != arrow.field(place).type:
            found = _values(values, column)
            values = pa.array([None if value is None else text(value) for value in found], pa.string())
        columns.append(values)
    return pa.RecordBatch.from_arrays(columns, schema=arrow)


def _values(values: pa.Array, column: Column) -> list[Any]:
    """A column as Python values; times that Python does not have as their count of days or microseconds."""
    if column.type != MIXED and column.type not in _TIMES:
        return list(values.to_pylist())
    return [None if value is None else decode(value)[1] for value in tagged(values, column.type).to_pylist()]


def _json_text(value: Any) -> str:
    return json.dumps(json_value(value), ensure_ascii=False, allow_nan=False)


def csv_text(value: Any) -> str:
    """A value in a CSV file: bytes in hex, all of them, and text as it is."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value.isoformat() if hasattr(value, "isoformat") else value)


def _groups(batches: Iterable[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    """Batches gathered to row groups of a useful size: a condition may leave few records of each."""
    group: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        group.append(batch)
        size += batch.nbytes
        if size >= _GROUP_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def _slices(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Slices small enough that their Python values need no great memory."""
    for batch in batches:
        for start in range(0, batch.num_rows, _SLICE_ROWS):
            yield batch.slice(start, _SLICE_ROWS)


def _file_names(names: Iterable[str]) -> dict[str, str]:
    """A file name without ending for each collection, safe and unique also where case does not count."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        safe = re.sub(r"[^\w.-]", "-", unicodedata.normalize("NFC", name)).lstrip(".-") or "collection"
        safe = safe.encode()[:_NAME_BYTES].decode(errors="ignore")
        unique, number = safe, 1
        while unique.casefold() in taken:
            number += 1
            unique = f"{safe}-{number}"
        taken.add(unique.casefold())
        found[name] = unique
    return found


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Tell the system's errors as ours."""
    try:
        yield
    except OSError as err:
        raise Unreachable(
            f"{target} can't be written: {err.strerror or err}", hint="check the disk and the folder, then try again"
        ) from err


@contextmanager
def _partial(target: Path) -> Iterator[Path]:
    """A name beside the target to write under; nothing is left of it afterwards."""
    partial = target.with_name(f"{target.name}.partial-{secrets.token_hex(8)}")
    try:
        yield partial
    finally:
        if partial.is_dir():
            shutil.rmtree(partial, ignore_errors=True)
        else:
            partial.unlink(missing_ok=True)


def _publish(partial: Path, target: Path) -> None:
    """Give what is finished its name, durably, never in place of another."""
    try:
        if partial.is_dir():
            os.rename(partial, target)  # Over an empty folder at most: the system refuses all else.
        else:
            os.link(partial, target)
    except OSError as err:
        if os.path.lexists(target):
            raise Refused(f"{target} appeared meanwhile", hint="name a new file or folder") from err
        raise
    sync_folder(target.parent)
