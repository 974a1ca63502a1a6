"""Reads a PostgreSQL database as of one moment while its users go on writing.

* Everything comes from one exported snapshot, through one connection unless several readers are at work.
* Every value is exact: see `proof` for types, `values` for how PostgreSQL's text becomes canonical.
* A role that may do no more than SELECT is enough. What it may not read is a gap with the statement that mends it.
* While a snapshot is open no table it reads can be altered or truncated; reading and writing rows never wait.

    >>> with PostgresReader("postgresql://localhost/shop").snapshot() as snapshot:            # doctest: +SKIP
    ...     [view.name for view in map(snapshot.read, snapshot.collections)]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from types import MappingProxyType

import pyarrow as pa

from holdfast.connectors._sql.definitions import DefinitionsView
from holdfast.connectors._sql.views import OwnView, Views
from holdfast.connectors.postgres.catalog import Catalog
from holdfast.connectors.postgres.connection import shown, translated
from holdfast.connectors.postgres.counting import count_now, count_rows
from holdfast.connectors.postgres.definitions import (
    SCHEMA,
    SCHEMA_SCHEMA,
    SEQUENCE,
    SEQUENCE_SCHEMA,
    schema_records,
    sequence_records,
)
from holdfast.connectors.postgres.demands import demanded_columns, numbers_given
from holdfast.connectors.postgres.lanes import Held, Lanes, hold
from holdfast.connectors.postgres.order import key_order
from holdfast.connectors.postgres.proof import Proof, declared_schema, prove
from holdfast.connectors.postgres.sametexts import other_spellings
from holdfast.connectors.postgres.standing import standing
from holdfast.connectors.postgres.tables import TableView
from holdfast.connectors.postgres.uniques import unique_columns
from holdfast.core.doors import Value
from holdfast.core.observed import Marks
from holdfast.core.records import Collection, Schema

__all__ = ["PostgresReader", "PostgresSnapshot"]


class PostgresReader:
    """A PostgreSQL database that can be read. Nothing in it is ever written."""

    def __init__(self, url: str) -> None:
        self._url = url

    @contextmanager
    def snapshot(
        self, known: Mapping[str, Schema] = MappingProxyType({}), *, on: str = "", lsn: str = ""
    ) -> Iterator[PostgresSnapshot]:
        """Open one consistent snapshot: of now, or the one exported as *on*, which is the state at exactly *lsn*.

        `known` spares a scan of what had its ordinary type before. See `Reader.snapshot`.
        Raises Unreachable (no answer, locked for too long), Refused (who we are is denied) or Damaged.
        """
        held = hold(self._url, on)
        if lsn:
            held.lsn = lsn
        lanes = Lanes(self._url, held)
        try:
            yield PostgresSnapshot(self._url, held, lanes, known)
        finally:
            lanes.close()

    def count(self, collections: Sequence[str]) -> Mapping[str, int]:
        """See `Counted`."""
        return count_now(self._url, collections)


class PostgresSnapshot(Views):
    """One moment of a database. `export` is the name under which other connections join it while it is open.

    `lsn` is where the log stood: exactly at the snapshot if that was exported with a slot; otherwise just before it.
    """

    def __init__(self, url: str, held: Held, lanes: Lanes, known: Mapping[str, Schema]) -> None:
        super().__init__(shown(url))
        self.taken = held.taken
        self.lsn = held.lsn
        self.export = held.export
        self.catalog: Catalog = held.catalog
        self._url = url
        self._lanes = lanes
        self._known = known

    @property
    def position(self) -> str:
        """Where in which server's log this moment lies."""
        server = self.catalog.server
        timeline = f", timeline {server.timeline}" if server.timeline else ""
        system = f", system {server.system_identifier}" if server.system_identifier else ""
        return f"LSN {self.lsn}{timeline}{system}"

    def marks(self) -> Marks:
        """See `Identified`."""
        with self._lanes.lane() as connection:
            return standing(connection, self.catalog, self.lsn)

    def count(self, collections: Sequence[str]) -> Mapping[str, int]:
        """See `Counted`: of this moment."""
        with self._lanes.lane() as connection:
            return count_rows(connection, self.catalog.tables, collections)

    def uniques(self) -> Mapping[str, Sequence[tuple[str, ...]]]:
        """See `Unique`."""
        with self._lanes.lane() as connection:
            return unique_columns(connection, self.catalog.tables)

    def spelled(self, collection: str, column: str, texts: Sequence[str]) -> Iterator[tuple[str, str]]:
        """See `Unique`."""
        with self._lanes.lane() as connection:
            yield from other_spellings(connection, self.catalog.tables[collection], column, texts)

    def given(self) -> Mapping[str, int]:
        """See `Demanding`: as of now, for no snapshot holds a counter."""
        with self._lanes.lane() as connection:
            return numbers_given(connection, self.catalog.tables)

    def demanded(self) -> Mapping[str, Mapping[str, Value]]:
        """See `Demanding`."""
        with self._lanes.lane() as connection:
            return demanded_columns(connection, self.catalog.tables)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All tables and the definitions, in order."""
        return tuple(sorted({SCHEMA, SEQUENCE, *self.catalog.tables}))

    def _view(self, name: str) -> OwnView:
        if name == SCHEMA:
            collection = Collection(SCHEMA, SCHEMA_SCHEMA, self.catalog.not_covered)
            return DefinitionsView(collection, lambda: schema_records(self._url, self.export))
        if name == SEQUENCE:
            return DefinitionsView(Collection(SEQUENCE, SEQUENCE_SCHEMA), self._sequences)
        table = self.catalog.tables[name]
        encoding = self.catalog.encoding
        proof, order = Proof(declared_schema(table, encoding)), ""
        if table.is_readable:
            with translated(name), self._lanes.lane() as connection:
                proof = prove(connection, table, encoding, self._known.get(name))
                order = key_order(connection, table, proof.schema)
        return TableView(self._lanes, table, proof, order, is_raw=encoding == "SQL_ASCII")

    def _sequences(self) -> pa.RecordBatch:
        with translated(SEQUENCE), self._lanes.lane() as connection:
            return sequence_records(connection)
