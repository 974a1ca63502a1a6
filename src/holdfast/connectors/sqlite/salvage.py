"""What is left of a damaged SQLite database: every record that still can be read, page by page.

* A table that SQLite finds sound is read as any other. Of all others each page is read alone (`pages`).
* A page is damaged if it can't be read, breaks the order of its neighbours, or shows a record that the table could not
  hold. Records beside such a one are read too, and are doubtful.
* SQLite keeps no checksums: a byte that changed inside a value shows only against a copy.

    >>> with open_wreck(Path("shop.db"), Path("new.db")) as wreck:            # doctest: +SKIP
    ...     [(name, wreck.wreckage(name).torn) for name in wreck.names]
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from holdfast.connectors._sql.definitions import DefinitionsView
from holdfast.connectors.sqlite.catalog import Table, load_sequence
from holdfast.connectors.sqlite.definitions import (
    PRAGMA,
    PRAGMA_SCHEMA,
    SCHEMA,
    SCHEMA_SCHEMA,
    SEQUENCE,
    pragma_records,
    schema_records,
)
from holdfast.connectors.sqlite.order import stored_order
from holdfast.connectors.sqlite.pages import Pages, open_pages
from holdfast.connectors.sqlite.proof import prove, schema_of
from holdfast.connectors.sqlite.reader import TableView
from holdfast.connectors.sqlite.torn import GOOD, Orphans, TornTable, is_inner, verdict
from holdfast.core.ports import View
from holdfast.core.records import Collection, Schema
from holdfast.core.salvaged import Torn, Wreckage
from holdfast.errors import Damaged, Unsupported

__all__ = ["open_wreck"]


@contextmanager
def open_wreck(path: Path, target: Path, definitions: Sequence[View] = ()) -> Iterator[_Wreck]:
    """What is left of the database at `path`, read from a copy beside `target` that is gone afterwards. With the
    `definitions` of a vault those of the file may be damaged too: then every record is doubtful.

    Raises Unreachable, or Damaged if not even the definitions of its tables can be read.
    """
    with open_pages(path, target, definitions) as pages:
        yield _Wreck(pages)


class _Wreck:
    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self._catalog = pages.catalog
        self.names = tuple(sorted(pages.catalog.tables))

    @cached_property
    def definitions(self) -> tuple[View, ...]:
        session, catalog = self._pages.session, self._catalog
        found: list[View] = [
            DefinitionsView(Collection(SCHEMA, SCHEMA_SCHEMA), lambda: schema_records(catalog)),
            DefinitionsView(Collection(PRAGMA, PRAGMA_SCHEMA), lambda: pragma_records(session, catalog)),
        ]
        if catalog.has_sequence and self._pages.is_sound("sqlite_sequence"):
            found.append(_sound_view(self._pages, SEQUENCE, load_sequence(session)))
        return tuple(found)

    @cached_property
    def remarks(self) -> tuple[str, ...]:
        found = []
        if self._pages.is_anew:
            found.append(
                "its definitions can't be read and are those of the copy: of what came since some may be left out"
            )
        if self._catalog.has_sequence and not self._pages.is_sound("sqlite_sequence"):
            found.append("the counters of its AUTOINCREMENT columns can't be read: they go on from the largest number")
        if not self._pages.free_is_known:
            found.append("its list of free pages is damaged: records that were deleted long ago may be among the rest")
        return tuple(found)

    def wreckage(self, name: str, key: tuple[str, ...] | None = None) -> Wreckage:
        table = self._catalog.tables[name]
        own = table.primary_key if key is None else key
        if self._pages.is_anew:
            return Orphans(self._pages, table, own, self._strays.get(name, ()))
        if self._pages.is_sound(name):
            return _Sound(_sound_view(self._pages, name, table))
        return TornTable(self._pages, table, own, self._strays.get(name, ()))

    @cached_property
    def _strays(self) -> Mapping[str, Sequence[int]]:
        """Pages that nothing leads to any more, by the one table whose records they can hold."""
        trees = {name: self._pages.tree(name) for name in self._catalog.tables}
        torn = [
            self._catalog.tables[name]
            for name, tree in trees.items()
            if self._pages.is_anew or any(is_inner(page, tree) for page in tree)
        ]
        found: dict[str, list[int]] = {}
        for without_rowid, numbers in self._pages.strays.items():
            tables = [table for table in torn if table.without_rowid == without_rowid]
            for number in numbers:
                fitting = [table.name for table in self._shaped(tables, number) if self._fits(table, number)]
                if len(fitting) == 1:
                    found.setdefault(fitting[0], []).append(number)
        return found

    def _shaped(self, tables: Sequence[Table], page: int) -> Sequence[Table]:
        """Those of the tables whose records have as many columns as those on a page, where there are any such."""
        if not self._pages.is_anew:
            return tables
        count = self._pages.columns(page)
        return [table for table in tables if self._widths[table.name] == count] or tables

    @cached_property
    def _widths(self) -> Mapping[str, int]:
        """How many columns of each table are stored."""
        asked = "SELECT count(*) FROM pragma_table_xinfo(?, 'main') WHERE hidden IN (0, 3)"
        return {name: int(self._pages.session.value(asked, (name,))) for name in self._catalog.tables}

    def _fits(self, table: Table, page: int) -> bool:
        """Whether every record on a page is one that the table can hold, and looks as its records do."""
        self._pages.show(table.name, page)
        try:
            worst = self._pages.session.value(f"SELECT max({verdict(table)}) FROM {table.sql_name} NOT INDEXED")
        except (Damaged, Unsupported):
            return False
        return bool(worst == GOOD)


def _sound_view(pages: Pages, name: str, table: Table) -> TableView:
    session, encoding = pages.session, pages.catalog.encoding
    pages.whole()
    proof = prove(session, table, encoding)
    schema = schema_of(table, proof)
    order = stored_order(session, table, schema, encoding)
    return TableView(session, table, proof, Collection(name, schema), encoding, order)


class _Sound:
    """A table that nothing is wrong with."""

    torn: Sequence[Torn] = ()
    doubtful: frozenset[bytes] = frozenset()

    def __init__(self, view: TableView) -> None:
        self._view = view
        self.name, self.schema, self.ordered = view.name, view.schema, view.ordered

    def batches(self) -> Iterator[pa.RecordBatch]:
        return self._view.batches()

    def may_be_lost(self, rows: pa.RecordBatch, schema: Schema) -> list[bool]:
        assert set(schema.key) <= set(self.schema.names)
        return [False] * rows.num_rows
