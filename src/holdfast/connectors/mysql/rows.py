"""Takes the rows of a binlog apart: images of one table, gathered, then given out column by column in canonical types.

* A `Layout` holds a table as the binlog describes it against the table as the catalog knows it: they must agree.
* `Images` gathers what many small events say of one table, so that Arrow is called for a window, not for an event.
* An image says that a row is there (INSERTED, UPDATED), with all columns of the record, or that a row with this key is
  gone (DELETED, REPLACED), with the key only. REPLACED comes before an update that changed the key, not otherwise.
* Rows are cut up by functions that are made for the table and for which of its columns are NULL: one run of columns of
  fixed width is one call.

    layout = Layout(rows.table, table, charsets)
    images = Images(layout)
    images.add(rows, owner=3)
    images.kinds, images.owners, images.column("id"), images.column("paid_at", mixed=True)
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Sequence
from contextlib import suppress
from operator import itemgetter
from typing import Any, TypeAlias

import pyarrow as pa

from holdfast.connectors.mysql.bodies import TableMap
from holdfast.connectors.mysql.catalog import Table
from holdfast.connectors.mysql.charsets import Charsets
from holdfast.connectors.mysql.items import Rows
from holdfast.connectors.mysql.packed import decode_packed, decode_packed_mixed
from holdfast.connectors.mysql.packing import Packing, packing
from holdfast.connectors.mysql.values import Misfit
from holdfast.core.canonical import tagged
from holdfast.errors import Damaged

__all__ = ["DELETED", "INSERTED", "REPLACED", "UPDATED", "Images", "Layout", "OtherTable", "PartialRow"]

INSERTED = ord("I")  # a new row is there
UPDATED = ord("U")  # the new content of a row is there
REPLACED = ord("R")  # what the update next in the log replaces, told only where its key was another
DELETED = ord("D")  # a row is gone

_Cut: TypeAlias = Callable[[bytes, int], tuple[tuple[Any, ...], int]]
_MADE_MAX = 128
_HASH = 8  # the type of what a UNIQUE over long values adds


class OtherTable(Exception):
    """The binlog's table is not the catalog's: it was altered between that row and now."""


class PartialRow(Exception):
    """The rows are not whole: binlog_row_image is MINIMAL or NOBLOB in the session that wrote them."""


class Layout:
    """How rows of a table are packed, and which of its columns are wanted. Raises OtherTable if the two differ."""

    def __init__(self, described: TableMap, table: Table, charsets: Charsets) -> None:
        columns = sorted(table.columns, key=lambda column: column.position)
        if len(described.fields) < len(columns):
            raise OtherTable(f"it has {len(columns)} columns, and had {len(described.fields)}")
        packings = []
        for number, field in enumerate(described.fields):
            # Beyond the columns that anybody can name there may be those that the server made for indexes.
            column = columns[number] if number < len(columns) else None
            if column is None and field.type != _HASH:
                raise OtherTable(f"it had {len(described.fields)} columns, and has {len(columns)}")
            if column is not None and described.names and described.names[number] != column.name:
                raise OtherTable(f"column {column.name} was named {described.names[number]}")
            how = packing(field, column)
            if how is None:
                raise OtherTable(f"column {column.name if column else number} was of another type")
            packings.append(how)
        wanted = [number for number, column in enumerate(columns) if not column.is_generated]
        self.columns = tuple(columns[number] for number in wanted)
        self.charsets = charsets
        self.name = described.name
        self.packings = tuple(packings[number] for number in wanted)
        self.count = len(packings)
        self.full = _full(self.count)
        self.numbers = {column.name: number for number, column in enumerate(self.columns)}
        key = [self.numbers[name] for name in table.key]
        assert key, "rows without a key can't be followed"
        self.key = itemgetter(*key)
        self.after = _Cuts(packings, wanted)
        self.before = _Cuts(packings, [number if place in key else None for place, number in enumerate(wanted)])


class Images:
    """Images of one table, in the order of the binlog; `owners` are the numbers that `add` was told."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.kinds = bytearray()
        self.owners: array[int] = array("I")
        self._values: list[Any] = []
        self._ripe: dict[str, pa.Array] = {}

    def add(self, rows: Rows, owner: int) -> None:
        """Take the rows of one event. Raises PartialRow if they are not whole, Damaged if they can't be read."""
        full = self.layout.full
        if rows.columns != full or rows.columns_after != full:
            raise PartialRow("its rows are not whole in the binlog: binlog_row_image was not FULL")
        count = len(self.kinds)
        try:
            at = self._updated(rows) if rows.kind == UPDATED else self._others(rows)
        except (struct.error, IndexError) as error:
            raise _cut(rows) from error
        if at != rows.end:
            raise _cut(rows)
        self.owners.extend([owner] * (len(self.kinds) - count))

    def column(self, name: str, *, mixed: bool = False) -> pa.Array:
        """One column of all images, in its canonical type, or as tagged values; NULL where the image does not have it.

        Raises Misfit where a value is beyond the type.
        """
        layout = self.layout
        number = layout.numbers[name]
        ripe = self._ripe.get(name)
        if ripe is not None:
            return tagged(ripe, layout.columns[number].kind) if mixed else ripe
        decode = decode_packed_mixed if mixed else decode_packed
        return decode(self.packed(name), layout.packings[number], layout.columns[number], layout.charsets)

    def ripen(self) -> None:
        """Convert what was gathered; whoever gathered it should call this. Nothing can be added or asked packed then.

        The thread that has cut the rows up has them at hand; for another one to convert them costs three times as much.
        """
        for name in self.layout.numbers:
            with suppress(Misfit):
                self._ripe[name] = self.column(name)
        if len(self._ripe) == len(self.layout.columns):
            self._values = []

    def packed(self, name: str) -> list[Any]:
        """The values of one column as they lie in the binlog, None for NULL."""
        return self._values[self.layout.numbers[name] :: len(self.layout.columns)]

    def _others(self, rows: Rows) -> int:
        data, at, end = rows.data, rows.at, rows.end
        cuts = self.layout.before if rows.kind == DELETED else self.layout.after
        width, extend, count = len(rows.columns), self._values.extend, 0
        while at < end:
            values, at = cuts[data[at : at + width]](data, at)
            extend(values)
            count += 1
        self.kinds += bytes([rows.kind]) * count
        return at

    def _updated(self, rows: Rows) -> int:
        data, at, end = rows.data, rows.at, rows.end
        before, after, key = self.layout.before, self.layout.after, self.layout.key
        width, extend, append = len(rows.columns), self._values.extend, self.kinds.append
        while at < end:
            old, at = before[data[at : at + width]](data, at)
            new, at = after[data[at : at + width]](data, at)
            if key(old) != key(new):
                append(REPLACED)
                extend(old)
            append(UPDATED)
            extend(new)
        return at


class _Cuts(dict[bytes, _Cut]):
    """For each set of columns that are NULL, as the row's own bits say it, the function that cuts such a row up."""

    def __init__(self, packings: Sequence[Packing], wanted: Sequence[int | None]) -> None:
        super().__init__()
        self._packings = packings
        self._wanted = wanted
        self._nulls = (len(packings) + 7) // 8
        self._most = _MADE_MAX

    def __missing__(self, nulls: bytes) -> _Cut:
        if len(nulls) != self._nulls:
            raise IndexError("a row that is cut")
        present = [not nulls[number >> 3] >> (number & 7) & 1 for number in range(len(self._packings))]
        if len(self) >= self._most:
            # To make a function takes longer than to go through a hundred rows without.
            return _walker(self._packings, self._wanted, present)
        cut = self[nulls] = _made(self._packings, self._wanted, present)
        return cut


def _made(packings: Sequence[Packing], wanted: Sequence[int | None], present: Sequence[bool]) -> _Cut:
    """A function that cuts up one row at `at` and says where it ends, made of Python text."""
    kept = {number for number in wanted if number is not None and present[number]}
    lines = [f"at += {(len(packings) + 7) // 8}"]
    scope: dict[str, Any] = {"number": int.from_bytes}
    codes, targets = "<", list[str]()

    def run() -> None:
        nonlocal codes
        if targets:
            scope[f"take{len(scope)}"] = struct.Struct(codes).unpack_from
            lines.append(f"{', '.join(targets)}, = take{len(scope) - 1}(data, at)")
        lines.append(f"at += {struct.calcsize(codes)}")
        targets.clear()
        codes = "<"

    for number, each in enumerate(packings):
        if not present[number]:
            continue
        if not each.prefix:
            codes += each.code if number in kept else f"{each.width}x"
            targets += [f"v{number}"] * (number in kept)
            continue
        codes += _PREFIXES[each.prefix]
        targets.append("length")
        run()
        if each.prefix == 3:
            lines.append("length = number(length, 'little')")
        if number in kept:
            lines.append(f"v{number} = data[at : at + length]")
        lines.append("at += length")
    run()
    values = "".join(f"v{number}, " if number in kept else "None, " for number in wanted)
    lines.append(f"return ({values}), at")
    exec("def cut(data, at):\n    " + "\n    ".join(lines), scope)
    made: _Cut = scope["cut"]
    return made


def _walker(packings: Sequence[Packing], wanted: Sequence[int | None], present: Sequence[bool]) -> _Cut:
    """The same as `_made`, step by step."""

    def cut(data: bytes, at: int) -> tuple[tuple[Any, ...], int]:
        at += (len(packings) + 7) // 8
        found: list[Any] = [None] * len(packings)
        for number, each in enumerate(packings):
            if not present[number]:
                continue
            if each.prefix:
                end = at + each.prefix + int.from_bytes(data[at : at + each.prefix], "little")
                found[number] = data[at + each.prefix : end]
                at = end
            else:
                found[number] = struct.unpack_from(f"<{each.code}", data, at)[0]
                at += each.width
        return tuple(None if number is None else found[number] for number in wanted), at

    return cut


def _full(count: int) -> bytes:
    """The bits of so many columns, all set."""
    return ((1 << count) - 1).to_bytes((count + 7) // 8, "little")


def _cut(rows: Rows) -> Damaged:
    return Damaged(
        f"{rows.table.name}: rows in the binlog are cut or altered ({rows.end - rows.at:,} bytes)",
        hint="follow again: it goes on from the last position that is kept",
    )


_PREFIXES = {1: "B", 2: "H", 3: "3s", 4: "I"}
