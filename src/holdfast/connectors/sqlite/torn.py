"""A table with damaged pages: every record on each of its pages, gathered once in a temporary table beside the target.

A page is damaged if it can't be read, breaks the order of its neighbours, or shows a record that the table could not
hold. Records beside such a one are kept, and are doubtful.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.connectors.sqlite.bands import BATCH_BYTES, BATCH_ROWS, total_length
from holdfast.connectors.sqlite.binding import Binding
from holdfast.connectors.sqlite.catalog import Table
from holdfast.connectors.sqlite.connection import quoted
from holdfast.connectors.sqlite.keyed import KEYS, create_keys
from holdfast.connectors.sqlite.pages import LEAF, Page, Pages
from holdfast.connectors.sqlite.projection import Projection
from holdfast.core.canonical import key_bytes, row_digests, slices
from holdfast.core.records import MIXED, TYPES, Column, Schema
from holdfast.core.salvaged import Span, Torn, rising
from holdfast.errors import Damaged, HoldfastError

__all__ = ["GOOD", "Orphans", "TornTable", "is_inner", "verdict"]

GOOD, _ODD, _IMPOSSIBLE = 0, 1, 2
_RAW_TEXT = pa.scalar(bytes([TYPES["rawtext"].tag]), pa.binary())


@dataclass(frozen=True, slots=True)
class _Read:
    """What one page gave: the span of its numbers, whether damage shows beside its records, and what is wrong."""

    page: int
    span: Span | None
    is_odd: bool = False
    what: str = ""
    is_stray: bool = False


class TornTable:
    """See `Wreckage`. `strays` are pages that only this table can own, though nothing leads to them any more."""

    ordered = False

    def __init__(self, pages: Pages, table: Table, key: tuple[str, ...], strays: Sequence[int]) -> None:
        self._pages = pages
        self._session = pages.session
        self._table = table
        self._strays = strays
        self.name = table.name
        integers = {table.integer_key} if table.integer_key else set()
        types = [(each, "int" if each.name in integers else MIXED) for each in table.columns]
        columns = tuple(Column(each.name, kind, each.declared) for each, kind in types)
        self.schema = Schema(columns, key, table.references)
        self._projection = Projection(self.schema, pages.catalog.encoding)
        self._texts = [each.name for each in table.columns if each.affinity == "text"]
        self._found = f"temp.{quoted(f'holdfast found in {table.name}')}"
        names = ", ".join(quoted(each.name) for each in table.columns)
        self._gather = (
            f"INSERT INTO {self._found} SELECT ?, {table.row_id or 0}, {verdict(table)}, {names}"
            f" FROM {table.sql_name} NOT INDEXED"
        )
        self._session.run(f'CREATE TABLE {self._found} ("holdfast:page", "holdfast:row", "holdfast:odd", {names})')

    @property
    def torn(self) -> Sequence[Torn]:
        return [Torn(f"page {each.page}", each.what) for each in self._reads if each.what]

    @cached_property
    def doubtful(self) -> frozenset[bytes]:
        found: set[bytes] = set()
        for rows in self._rows([each.page for each in self._reads if each.is_odd]):
            keys = key_bytes(rows, self.schema) if self.schema.key else row_digests(rows, self.schema)
            found.update(slices(keys.cast(pa.binary())))
        return frozenset(found)

    def batches(self) -> Iterator[pa.RecordBatch]:
        return self._rows([each.page for each in self._reads if each.span is not None])

    def may_be_lost(self, rows: pa.RecordBatch, schema: Schema) -> list[bool]:
        if self._table.integer_key and schema.key == (self._table.integer_key,):
            numbers = rows.column(self._table.integer_key).to_pylist()
            in_gap = [any(gap.first <= number <= gap.last for gap in self._gaps) for number in numbers]
            was_there = self._were_there(numbers)
            return [gap and there for gap, there in zip(in_gap, was_there, strict=True)]
        return self._indexed(rows, schema) or [True] * rows.num_rows

    @cached_property
    def _reads(self) -> Sequence[_Read]:
        """Every page of the table, in its order; those that nothing leads to any more where their numbers belong."""
        tree = self._pages.tree(self.name)
        found = []
        for page in tree:
            if page.kind == LEAF:
                read = self._read(page.number)
                is_empty = read.span is None and not read.what and len(tree) > 1
                found.append(replace(read, what="holds no record") if is_empty else read)
            elif page.kind != "internal":
                what = "leads to pages of records, and can't be read" if is_inner(page, tree) else "can't be read"
                found.append(_Read(page.number, None, what=what))
        self._take_between([each.page for each in found if each.span is not None])
        return self._looked_at(self._without_repeats(self._in_order(self._with_strays(found))))

    def _with_strays(self, found: list[_Read]) -> list[_Read]:
        """Put pages that were found by themselves into the gaps where their numbers fit."""
        for number in self._strays:
            read = self._read(number)
            if read.span is None or read.is_odd:
                continue
            first, last = read.span.first, read.span.last
            above = (at for at, each in enumerate(found) if each.span is not None and each.span.first > first)
            at = next(above, len(found))
            near = [each.span for each in found[:at] if each.span is not None][-1:]
            if not any(span.last >= first for span in near) and (at == len(found) or _starts(found[at]) > last):
                found.insert(at, replace(read, is_stray=True))
        return found

    def _in_order(self, found: list[_Read]) -> list[_Read]:
        if self._table.without_rowid:
            return found
        is_right = rising([each.span for each in found])
        return [
            each if right or each.span is None else _Read(each.page, None, what="belongs elsewhere")
            for each, right in zip(found, is_right, strict=True)
        ]

    @cached_property
    def _gaps(self) -> Sequence[Span]:
        """Where numbers may be missing: around each damaged page up to what is whole on both sides."""
        found, low, is_open = [], -(1 << 63), False
        for read in self._reads:
            # Among pages that nothing leads to any more others may be missing.
            if read.span is not None and not read.is_odd and not read.is_stray:
                if is_open:
                    found.append(Span(low, read.span.first - 1))
                low, is_open = read.span.last + 1, False
            else:
                is_open = True
        return [*found, Span(low, (1 << 63) - 1)] if is_open else found

    def _read(self, page: int) -> _Read:
        """Gather what a page alone holds, and look whether all of it can be."""
        self._pages.show(self.name, page)
        unread = self._take(page)
        if unread is None:
            return _Read(page, None, what="can't be read")
        rows = self._session.rows(
            f'SELECT rowid, "holdfast:row", "holdfast:odd" FROM {self._found} WHERE "holdfast:page" = {page}'
            " ORDER BY rowid"
        )
        if self._table.without_rowid:
            rows = [(place, place, found) for place, _, found in rows]
        fits = [Span(number, number) if found != _IMPOSSIBLE else None for _, number, found in rows]
        rises = rising(fits)
        wrong = [place for (place, *_), right in zip(rows, rises, strict=True) if not right]
        for place in wrong:
            self._session.run(f"DELETE FROM {self._found} WHERE rowid = {place}")
        kept = [number for (_, number, _), right in zip(rows, rises, strict=True) if right]
        missing = unread + len(wrong)
        if not kept:
            return _Read(page, None, what="none of its records can be read" if missing else "")
        what = f"{missing} of its {len(rows) + unread} records can't be read" if missing else ""
        odd = "" if all(found == GOOD for *_, found in rows) else "shows odd values"
        return _Read(page, Span(kept[0], kept[-1]), bool(what or odd), what or odd)

    def _take(self, page: int) -> int | None:
        """Gather the rows of the page shown; how many of them can't be read, or None if it can't be read at all."""
        try:
            self._session.run(self._gather, [page])
        except Damaged:
            return self._take_singly(page)
        return 0

    def _take_singly(self, page: int) -> int | None:
        """The same row by row: where a long value goes on, on pages of its own, may be what is damaged."""
        if self._table.row_id is None:
            return None
        try:
            numbers = self._session.rows(f"SELECT {self._table.row_id} FROM {self._table.sql_name} NOT INDEXED")
        except Damaged:
            return None
        unread = 0
        for (number,) in numbers:
            try:
                self._session.run(f"{self._gather} WHERE {self._table.row_id} = {number}", [page])
            except Damaged:
                unread += 1
        return unread

    def _take_between(self, pages: Sequence[int]) -> None:
        """Of a table without rowid: gather the records that lie above its leaves, between the last and first of two."""
        if not self._table.without_rowid:
            return
        self._pages.whole()
        names = ", ".join(quoted(name) for name in self._table.primary_key)
        known = " AND ".join(f"f.{quoted(name)} IS t.{quoted(name)}" for name in self._table.primary_key)
        source = f"{self._table.sql_name} AS t"
        for page in pages:
            for edge, side, order in (("max", ">", "ASC"), ("min", "<", "DESC")):
                row = f'(SELECT {edge}(rowid) FROM {self._found} WHERE "holdfast:page" = {page})'
                ordered = ", ".join(f"{quoted(name)} {order}" for name in self._table.primary_key)
                at = f"({names}) {side} (SELECT {names} FROM {self._found} WHERE rowid = {row})"
                one = f"SELECT * FROM {source} WHERE {at} ORDER BY {ordered} LIMIT 1"
                new = f"NOT EXISTS (SELECT 1 FROM {self._found} AS f WHERE {known})"
                sql = f"{self._gather.partition(' FROM ')[0]} FROM ({one}) AS t WHERE {new}"
                with suppress(Damaged):
                    self._session.run(sql, [page])

    def _without_repeats(self, found: Sequence[_Read]) -> Sequence[_Read]:
        """The same, each key once: a page that lies in two places repeats what belongs to one of them."""
        names = ", ".join(map(quoted, self.schema.key))
        if not names or self.schema.key == (self._table.integer_key,):
            return found
        wanted = f"SELECT value FROM json_each('[{', '.join(str(each.page) for each in found if each.span)}]')"
        self._session.run(f'DELETE FROM {self._found} WHERE "holdfast:page" NOT IN ({wanted})')
        repeats = f"rowid NOT IN (SELECT min(rowid) FROM {self._found} GROUP BY {names})"
        rows = self._session.rows(f'SELECT DISTINCT "holdfast:page" FROM {self._found} WHERE {repeats}')
        self._session.run(f"DELETE FROM {self._found} WHERE {repeats}")
        bad = {page for (page,) in rows}
        return [
            replace(each, is_odd=True, what=each.what or "repeats records of another") if each.page in bad else each
            for each in found
        ]

    def _looked_at(self, found: Sequence[_Read]) -> Sequence[_Read]:
        """The same, those with text that is none marked: only Arrow can tell, from many pages at once."""
        bad: set[int] = set()
        for pages, rows in self._gathered([each.page for each in found if each.span is not None]):
            for name in self._texts:
                is_raw = pc.fill_null(pc.equal(pc.binary_slice(rows.column(name), 0, 1), _RAW_TEXT), False)
                bad.update(pages.filter(is_raw).to_pylist())
        return [
            replace(each, is_odd=True, what=each.what or "shows text that is none") if each.page in bad else each
            for each in found
        ]

    def _rows(self, pages: Sequence[int]) -> Iterator[pa.RecordBatch]:
        """What was gathered from these pages."""
        return (rows for _, rows in self._gathered(pages))

    def _gathered(self, pages: Sequence[int]) -> Iterator[tuple[pa.Array, pa.RecordBatch]]:
        length = total_length([quoted(name) for name in self.schema.names])
        longest = self._session.value(f"SELECT max({length}) FROM {self._found}") or 0
        batch_rows = max(1, min(BATCH_ROWS, BATCH_BYTES // (longest + 16 * len(self.schema.names))))
        wanted = f"SELECT value FROM json_each('[{', '.join(map(str, pages))}]')"
        columns = f'"holdfast:page", {", ".join(self._projection.expressions)}'
        sql = f'SELECT {columns} FROM {self._found} WHERE "holdfast:page" IN ({wanted})'
        for batch in self._session.batches(sql, batch_rows):
            if batch.num_rows:
                yield batch.column(0), self._projection.records(batch, start=1)

    def _were_there(self, numbers: Sequence[int]) -> Sequence[bool]:
        """Whether any index that knows every record read here knows these numbers too; all, where none can be asked."""
        session, asked = self._session, f"SELECT value FROM json_each('{list(numbers)}')"
        self._pages.whole()
        is_read, known = f'SELECT "holdfast:row" FROM {self._found} WHERE "holdfast:odd" = {GOOD}', set[int]()
        listed = f"SELECT name FROM pragma_index_list('{self.name.replace(chr(39), chr(39) * 2)}') WHERE NOT partial"
        has_any = False
        for (index,) in session.rows(listed):
            own = f"SELECT {self._table.row_id} FROM {self._table.sql_name} INDEXED BY {quoted(index)}"
            with suppress(Damaged):
                if not session.value(f"SELECT count(*) FROM ({is_read} EXCEPT {own})"):
                    known.update(number for (number,) in session.rows(f"{asked} INTERSECT {own}"))
                    has_any = True
        return [number in known for number in numbers] if has_any else [True] * len(numbers)

    def _indexed(self, rows: pa.RecordBatch, schema: Schema) -> list[bool] | None:
        """Whether an index that is whole has these keys; None if there is none."""
        if not schema.key or not any(set(each.columns) == set(schema.key) for each in self._table.unique):
            return None
        session, names = self._pages.session, [f"k{number}" for number in range(len(schema.key))]
        self._pages.whole()
        binding = Binding(self.name, schema.key_columns)
        match = " AND ".join(f"t.{quoted(key)} = k.{name}" for key, name in zip(schema.key, names, strict=True))
        found = f"EXISTS (SELECT 1 FROM {self._table.sql_name} AS t WHERE {match})"
        try:
            create_keys(session, names)
            session.run_many(f"INSERT INTO {KEYS} VALUES ({', '.join(binding.placeholders)})", binding.parameters(rows))
            return [bool(each) for (each,) in session.rows(f"SELECT {found} FROM {KEYS} AS k ORDER BY k.rowid")]
        except HoldfastError:
            return None


class Orphans(TornTable):
    """What is left of a table to which nothing leads any more, for its definition is gone: all of it is doubtful, and
    nothing tells of a record of the copy that it had been deleted.
    """

    @property
    def torn(self) -> Sequence[Torn]:
        return [Torn("page 1", "leads to none of its pages"), *super().torn]

    @cached_property
    def doubtful(self) -> frozenset[bytes]:
        found: set[bytes] = set()
        for rows in self.batches():
            keys = key_bytes(rows, self.schema) if self.schema.key else row_digests(rows, self.schema)
            found.update(slices(keys.cast(pa.binary())))
        return frozenset(found)

    def may_be_lost(self, rows: pa.RecordBatch, _schema: Schema) -> list[bool]:
        return [True] * rows.num_rows


def is_inner(page: Page, tree: Sequence[Page]) -> bool:
    """Whether a page that can't be read led to others: it lies above where leaves lie, as far as any are known."""
    depth = max((each.depth for each in tree if each.kind == LEAF), default=0)
    return page.kind not in (LEAF, "internal") and (page.depth < depth or depth == 0)


def _starts(read: _Read) -> int:
    return read.span.first if read.span is not None else 0


def verdict(table: Table) -> str:
    """SQL that says of a row whether the table can hold it at all, and whether it looks as rows do."""
    impossible, odd = ["0"], ["0"]
    for column in table.columns:
        sql = quoted(column.name)
        if column.not_null:
            # Not IS NULL, which SQLite takes for false where a column is declared so.
            impossible.append(f"typeof({sql}) = 'null'")
        if column.affinity == "text":
            impossible.append(f"typeof({sql}) IN ('integer', 'real')")
            odd.append(f"instr({sql}, char(0)) > 0")
        elif column.affinity in ("integer", "real"):
            odd.append(f"typeof({sql}) IN ('text', 'blob')")
    return f"CASE WHEN {_any(impossible)} THEN {_IMPOSSIBLE} WHEN {_any(odd)} THEN {_ODD} ELSE {GOOD} END"


def _any(parts: Sequence[str]) -> str:
    """One of these conditions, in brackets by halves: SQLite allows only so deep an expression."""
    if len(parts) == 1:
        return f"({parts[0]})"
    middle = len(parts) // 2
    return f"({_any(parts[:middle])} OR {_any(parts[middle:])})"
