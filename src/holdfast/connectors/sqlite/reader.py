"""Reads a SQLite database in one transaction while its owner goes on writing.

* Everything, the schema included, comes through one connection and one read transaction.
* With a rollback journal the owner's commits wait while a snapshot is open; with WAL they don't.
* Every value is exact: see `proof` for types and keys, `projection` for values.

    >>> with SqliteReader("shop.db").snapshot() as snapshot:            # doctest: +SKIP
    ...     [view.name for view in map(snapshot.read, snapshot.collections)]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from os import PathLike
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa

from holdfast.connectors._sql.counting import count_sql, within
from holdfast.connectors._sql.definitions import DefinitionsView
from holdfast.connectors._sql.views import VALUE_BYTES_MAX, OwnView, Views, too_long
from holdfast.connectors.sqlite.bands import Band, bands
from holdfast.connectors.sqlite.catalog import Catalog, Table, load_catalog, load_sequence
from holdfast.connectors.sqlite.connection import Session, open_session, quoted, refuse_emptied
from holdfast.connectors.sqlite.definitions import (
    PRAGMA,
    PRAGMA_SCHEMA,
    RESERVED,
    SCHEMA,
    SCHEMA_SCHEMA,
    SEQUENCE,
    SEQUENCE_SCHEMA,
    pragma_records,
    schema_records,
)
from holdfast.connectors.sqlite.demands import demanded_columns, numbers_given
from holdfast.connectors.sqlite.order import stored_order
from holdfast.connectors.sqlite.projection import Projection
from holdfast.connectors.sqlite.proof import Proof, prove, schema_of
from holdfast.connectors.sqlite.sametexts import other_spellings
from holdfast.connectors.sqlite.standing import standing
from holdfast.connectors.sqlite.texts import is_utf8
from holdfast.core.doors import Value
from holdfast.core.observed import Marks
from holdfast.core.ports import Misread, Snapshot
from holdfast.core.records import Collection, Schema
from holdfast.errors import Unsupported

__all__ = ["BUSY_SECONDS", "SqliteReader", "SqliteSnapshot", "TableView"]

BUSY_SECONDS = 10.0
_SYSTEM_PREFIX = "holdfast:"


class SqliteReader:
    """A SQLite database file that can be read. It is never written to, nor created."""

    def __init__(self, path: str | PathLike[str], *, busy_seconds: float = BUSY_SECONDS) -> None:
        self._path = Path(path)
        self._busy_seconds = busy_seconds

    @contextmanager
    def snapshot(self, known: Mapping[str, Schema] = MappingProxyType({})) -> Iterator[Snapshot]:
        """Open one consistent snapshot, waiting a bounded time for a lock.

        Raises Absent (no such file, or nothing in one that had collections), Unreachable (locked, unreadable) or
        Damaged (not a database, corrupt).
        """
        if known:
            refuse_emptied(self._path)
        with open_session(self._path, mode="ro", busy_seconds=self._busy_seconds) as session:
            yield SqliteSnapshot(session, known)

    def count(self, collections: Sequence[str]) -> Mapping[str, int]:
        """See `Counted`: on a connection of its own."""
        with open_session(self._path, mode="ro", busy_seconds=self._busy_seconds) as session:
            session.run("BEGIN")
            return _counted(session, load_catalog(session), collections)


class SqliteSnapshot(Views):
    """One read transaction. Reads the schema at once, rows when they are asked for."""

    def __init__(self, session: Session, known: Mapping[str, Schema]) -> None:
        super().__init__(str(session.path))
        self._session = session
        self._known = known
        session.run("BEGIN")
        # A deferred transaction holds nothing until its first read: this is the moment of the snapshot.
        version, pages, size = session.rows(
            "SELECT schema_version, page_count, page_size "
            "FROM pragma_schema_version, pragma_page_count, pragma_page_size"
        )[0]
        self.taken = datetime.now(UTC)
        self._catalog = load_catalog(session)
        changed = datetime.fromtimestamp(max(_changed(session.path)), UTC)
        self.position = f"schema version {version}, {pages} pages of {size} bytes, changed {changed.isoformat()}"

    def marks(self) -> Marks:
        """See `Identified`."""
        return standing(self._session, self._catalog)

    def count(self, collections: Sequence[str]) -> Mapping[str, int]:
        """See `Counted`: of this moment."""
        return _counted(self._session, self._catalog, collections)

    def uniques(self) -> Mapping[str, Sequence[tuple[str, ...]]]:
        """See `Unique`."""
        return {name: [each.columns for each in table.unique] for name, table in self._catalog.tables.items()}

    def spelled(self, collection: str, column: str, texts: Sequence[str]) -> Iterator[tuple[str, str]]:
        """See `Unique`."""
        return other_spellings(self._session, self._catalog, collection, column, texts)

    def given(self) -> Mapping[str, int]:
        """See `Demanding`."""
        return numbers_given(self._session, self._catalog)

    def demanded(self) -> Mapping[str, Mapping[str, Value]]:
        """See `Demanding`."""
        return demanded_columns(self._session, self._catalog)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All tables with rows of their own, and the definitions, in order."""
        _check_names(self._catalog)
        return tuple(sorted({SCHEMA, PRAGMA, *self._tables}))

    @cached_property
    def _tables(self) -> dict[str, Table]:
        tables = dict(self._catalog.tables)
        if self._catalog.has_sequence:
            tables[SEQUENCE] = load_sequence(self._session)
        return tables

    def _view(self, name: str) -> OwnView:
        session, catalog = self._session, self._catalog
        if name == SCHEMA:
            gaps = tuple(gap for gap in (each.not_covered for each in catalog.virtual) if gap)
            return DefinitionsView(Collection(SCHEMA, SCHEMA_SCHEMA, gaps), lambda: schema_records(catalog))
        if name == PRAGMA:
            return DefinitionsView(Collection(PRAGMA, PRAGMA_SCHEMA), lambda: pragma_records(session, catalog))
        table = self._tables[name]
        proof = prove(session, table, catalog.encoding, self._known.get(name))
        schema = schema_of(table, proof)
        if name == SEQUENCE:
            schema = sequence_schema(session, schema, proof)
        order = stored_order(session, table, schema, catalog.encoding)
        return TableView(session, table, proof, Collection(name, schema), catalog.encoding, order)


@dataclass(frozen=True, slots=True)
class TableView:
    """The rows of one table, inside the transaction of `session`."""

    session: Session
    table: Table
    proof: Proof
    collection: Collection
    encoding: str
    order: str

    @property
    def name(self) -> str:
        return self.collection.name

    @property
    def schema(self) -> Schema:
        return self.collection.schema

    @property
    def ordered(self) -> bool:
        """Whether the table itself lies in the order of canonical keys, so that it costs no sort."""
        return bool(self.order) and len(self._bands()) == 1

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Every record once.

        Raises Unsupported, naming it, for a value longer than `VALUE_BYTES_MAX`, and Misread for text that was taken
        for UTF-8 and is not.
        """
        self._refuse_long_values()
        for band in self._bands():
            yield from self._band(band)

    def _bands(self) -> Sequence[Band]:
        return bands(len(self.schema.columns), self.proof.longest, self.session.file_bytes)

    def _band(self, band: Band) -> Iterator[pa.RecordBatch]:
        guarded: frozenset[str] = frozenset()
        for _ in range(2):
            projection = Projection(self.schema, self.encoding, classes=self.proof.classes, guarded=guarded)
            columns = ", ".join(projection.expressions)
            sql = f"SELECT {columns} FROM {self.table.sql_name} WHERE {band.where}{self.order}"
            with self.session.stream(sql, band.batch_rows) as reader:
                guarded = projection.misread(reader.schema)
                if not guarded:
                    for batch in reader:
                        if batch.num_rows:
                            yield self._looked_at(projection.records(batch))
                    return
        # With guards the driver can't guess wrong while there are rows, so there are none.

    def _looked_at(self, records: pa.RecordBatch) -> pa.RecordBatch:
        for name in self.proof.unseen:
            if not is_utf8(records.column(name)):
                raise Misread(f"{self.name}: not all text in column {name} is UTF-8 any more")
        return records

    def _refuse_long_values(self) -> None:
        for name, longest in self.proof.longest.items():
            if longest > VALUE_BYTES_MAX:
                raise too_long(self.name, name, self._first_longer(name), longest)

    def _first_longer(self, name: str) -> str:
        key = self.schema.key or ((self.table.row_id,) if self.table.row_id else ())
        columns = ", ".join(each if not self.schema.key else quoted(each) for each in key) or "NULL"
        found = self.session.rows(
            f"SELECT {columns} FROM {self.table.sql_name} "
            f"WHERE octet_length({quoted(name)}) > {VALUE_BYTES_MAX} LIMIT 1"
        )
        return ", ".join(f"{column}={value!r}" for column, value in zip(key, found[0], strict=False)) or "a record"


def sequence_schema(session: Session, schema: Schema, proof: Proof) -> Schema:
    """The counters are keyed by their table's name, unless someone wrote to them by hand and broke that."""
    if not proof.rows:
        return SEQUENCE_SCHEMA
    distinct = session.value("SELECT count(DISTINCT name) FROM main.sqlite_sequence")
    return Schema(schema.columns, ("name",) if distinct == proof.rows else ())


def _counted(session: Session, catalog: Catalog, names: Sequence[str]) -> Mapping[str, int]:
    tables = [catalog.tables[name] for name in names if name in catalog.tables]
    return within((table.name, int(session.rows(count_sql(table.sql_name))[0][1])) for table in tables)


def _check_names(catalog: Catalog) -> None:
    for table in catalog.tables.values():
        if table.name.startswith(RESERVED):
            raise Unsupported(
                f"the table {table.name} has a name that Holdfast needs for definitions",
                hint=f"rename it: names that begin with {RESERVED} are taken",
            )
        for column in table.columns:
            if column.name.startswith(_SYSTEM_PREFIX):
                raise Unsupported(
                    f"the column {column.name} of {table.name} has a name that Holdfast needs for itself",
                    hint=f"rename it: names that begin with {_SYSTEM_PREFIX} are taken",
                )


def _changed(path: Path) -> Iterator[float]:
    """When the file and its write-ahead log were last changed."""
    for each in (path, path.with_name(path.name + "-wal")):
        if each.exists():
            yield each.stat().st_mtime
