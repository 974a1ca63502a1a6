"""Reads a MariaDB database as of one moment while its users go on writing.

* Everything comes from transactions that began while nobody could commit: see `moment`.
* Every value is exact: see `proof` for types, `values` and `charsets` for how the server's bytes become canonical.
* A user who may do no more than SELECT is enough. What he may not read is a gap with the statement that mends it.
* While a snapshot is open no table it reads can be altered or truncated: whoever tries waits, and others behind him.

    >>> with MysqlReader("mariadb://root@localhost/shop").snapshot() as snapshot:            # doctest: +SKIP
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
from holdfast.connectors.mysql.catalog import Catalog, Table
from holdfast.connectors.mysql.charsets import Charsets, load_charsets
from holdfast.connectors.mysql.connection import connect, shown, translated
from holdfast.connectors.mysql.counting import count_now, count_rows
from holdfast.connectors.mysql.definitions import (
    SCHEMA,
    SCHEMA_SCHEMA,
    SEQUENCE,
    SEQUENCE_SCHEMA,
    schema_records,
    sequence_records,
)
from holdfast.connectors.mysql.demands import demanded_columns, numbers_given
from holdfast.connectors.mysql.lanes import BinlogPlace, Lanes
from holdfast.connectors.mysql.moment import hold
from holdfast.connectors.mysql.order import key_order
from holdfast.connectors.mysql.pending import unfinished
from holdfast.connectors.mysql.proof import Proof, declared_schema, prove, prove_kept
from holdfast.connectors.mysql.rights import invisible, unseen
from holdfast.connectors.mysql.sametexts import other_spellings
from holdfast.connectors.mysql.standing import standing
from holdfast.connectors.mysql.tables import TableView
from holdfast.connectors.mysql.uniques import unique_columns
from holdfast.core.doors import Value
from holdfast.core.observed import Marks
from holdfast.core.records import Collection, Schema

__all__ = ["MysqlReader", "MysqlSnapshot"]


class MysqlReader:
    """A MariaDB or MySQL database that can be read. Nothing in it is ever written."""

    def __init__(self, url: str) -> None:
        self._url = url

    @contextmanager
    def snapshot(self, known: Mapping[str, Schema] = MappingProxyType({})) -> Iterator[MysqlSnapshot]:
        """Open one consistent snapshot of now.

        `known` spares a scan of what had its ordinary type before. See `Reader.snapshot`.
        Raises Unreachable (no answer, locked for too long), Refused (who we are is denied) or Damaged.
        """
        lanes = Lanes(self._url, hold(self._url))
        try:
            yield MysqlSnapshot(self._url, lanes, known)
        finally:
            lanes.close()

    def count(self, collections: Sequence[str]) -> Mapping[str, int]:
        """See `Counted`."""
        return count_now(self._url, collections)


class MysqlSnapshot(Views):
    """One moment of a database. `place` is where its binlog stood then, exactly; None where it keeps none.

    `lock_seconds` is for how long nobody could commit meanwhile: 0 without the right to lock.
    """

    def __init__(self, url: str, lanes: Lanes, known: Mapping[str, Schema]) -> None:
        super().__init__(shown(url))
        self._url = url
        held = lanes.held
        self.taken = held.taken
        self.place: BinlogPlace | None = held.place
        self.lock_seconds = held.lock_seconds
        self.catalog: Catalog = held.catalog
        self._lanes = lanes
        self._known = known

    @property
    def position(self) -> str:
        """Where in which server's binlog this moment lies."""
        server = f"server {self.catalog.server.server_id}"
        if self.place is None:
            return f"no binlog, {server}"
        return f"binlog {self.place.file}:{self.place.position}, GTID {self.place.gtid or 'none'}, {server}"

    def marks(self) -> Marks:
        """See `Identified`."""
        with self._lanes.questions() as connection:
            return standing(connection, self.catalog, self.place)

    def count(self, collections: Sequence[str]) -> Mapping[str, int]:
        """See `Counted`: of this moment, so without tables that keep none."""
        tables = self.catalog.tables
        steady = [name for name in collections if name in tables and tables[name].is_transactional]
        with self._lanes.questions() as connection:
            return count_rows(connection, self.catalog, steady)

    def unseen(self, fewer: frozenset[str], gone: Sequence[str]) -> Mapping[str, str]:
        """See `Narrowed`: definitions and counters of what is hidden are hidden too."""
        with self._lanes.questions() as connection:
            found = invisible(connection, self.catalog.server, gone)
        lost = ", ".join(sorted(fewer or found))
        told = f"what this user may no longer see is kept as it was (it lacks {lost})" if lost else ""
        return found | dict.fromkeys((SCHEMA, SEQUENCE) if lost else (), told)

    def uniques(self) -> Mapping[str, Sequence[tuple[str, ...]]]:
        """See `Unique`."""
        with self._lanes.questions() as connection:
            return unique_columns(connection, self.catalog)

    def spelled(self, collection: str, column: str, texts: Sequence[str]) -> Iterator[tuple[str, str]]:
        """See `Unique`."""
        with self._lanes.questions() as connection:
            yield from other_spellings(connection, self.catalog, collection, column, texts)

    def given(self) -> Mapping[str, int]:
        """See `Demanding`: as of now, for no snapshot holds a counter."""
        with self._lanes.questions() as connection:
            return numbers_given(connection, self.catalog)

    def demanded(self) -> Mapping[str, Mapping[str, Value]]:
        """See `Demanding`."""
        with self._lanes.questions() as connection:
            return demanded_columns(connection, self.catalog)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All tables and the definitions, in order."""
        return tuple(sorted({SCHEMA, SEQUENCE, *self.catalog.tables}))

    @cached_property
    def charsets(self) -> Charsets:
        """What the bytes of the tables' character sets mean."""
        wanted = {column.charset for table in self.catalog.tables.values() for column in table.stored}
        with self._lanes.questions() as connection:
            return load_charsets(connection, wanted)

    def _view(self, name: str) -> OwnView:
        if name == SCHEMA:
            with translated(SCHEMA), self._lanes.questions() as connection:
                hidden = unseen(connection, self.catalog.server)
                left = unfinished(connection, self.catalog.server.database)
            collection = Collection(SCHEMA, SCHEMA_SCHEMA, (*self.catalog.not_covered, *left, *hidden))
            return DefinitionsView(collection, self._definitions)
        if name == SEQUENCE:
            return DefinitionsView(Collection(SEQUENCE, SEQUENCE_SCHEMA), self._sequences)
        table = self.catalog.tables[name]
        held, charsets = self._lanes.held, self.charsets
        if not table.is_readable:
            return TableView(self._lanes, table, Proof(declared_schema(table)), charsets, "")
        with translated(name), self._lanes.questions() as connection:
            if name in held.kept:
                proof = prove_kept(connection, table, charsets, held.kept[name])
                return TableView(self._lanes, table, proof, charsets, "")
            proof = prove(connection, table, charsets, self._known.get(name))
            order = key_order(connection, table, proof.schema)
        return TableView(self._lanes, table, proof, charsets, order, self._not_covered(table))

    def _not_covered(self, table: Table) -> tuple[str, ...]:
        why = self._lanes.held.late.get(table.name)
        return (f"{table.name}: its records may be of a later moment than others: {why}",) if why else ()

    def _definitions(self) -> pa.RecordBatch:
        # Definitions belong to no transaction; in one that only reads, a view that draws numbers is not even shown.
        with translated(SCHEMA), connect(self._url) as connection:
            return schema_records(connection, self.catalog)

    def _sequences(self) -> pa.RecordBatch:
        with translated(SEQUENCE), self._lanes.questions() as connection:
            return sequence_records(connection, self.catalog)
