"""The pages of a damaged database, seen one at a time through SQLite itself.

* Work is done on a copy beside the new database: the damaged file is read once, and never written to.
* A page is shown alone: the copy's catalogue is told that the page is the whole table, and the engine reads the
  records on it. So no record is decoded here, and damage above or beside a page hides nothing that lies on it.
* Of SQLite's format only this is read here: which pages a page leads to, and the list of free pages
  (https://www.sqlite.org/fileformat2.html, sections 1.5 and 1.6).
"""

from __future__ import annotations

import mmap
import shutil
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from holdfast.connectors.sqlite.catalog import load_catalog
from holdfast.connectors.sqlite.connection import Session, open_session
from holdfast.connectors.sqlite.place import BUSY_SECONDS, forgo_safety, partial_place
from holdfast.connectors.sqlite.redefined import define_anew
from holdfast.core.ports import View
from holdfast.errors import Damaged, HoldfastError, Unreachable, Unsupported

__all__ = ["LEAF", "Page", "Pages", "open_pages"]

LEAF = "leaf"
_TABLE_LEAF, _KEY_LEAF = 0x0D, 0x0A
_INNER = {_TABLE_LEAF: 0x05, _KEY_LEAF: 0x02}
_WAY_OUT = 'bring back the last good state instead: "holdfast restore --to sqlite:///NEW.db"'
_SIZES = tuple(1 << power for power in range(9, 17))


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a table or index: `kind` is `leaf`, `internal` or `corrupted`; `depth` how far below the root."""

    number: int
    depth: int
    kind: str


class _Raw:
    """The file itself, as pages of bytes. `free` are pages in its list of free ones (None: the list is not whole).

    A free page may hold records that were deleted long ago: they must not come back.
    """

    def __init__(self, data: mmap.mmap, *, is_listed: bool = True) -> None:
        size = int.from_bytes(data[16:18], "big")
        self.size = 65536 if size == 1 else size
        self._data = data
        if self.size not in _SIZES:
            raise Damaged(f"pages of {self.size} bytes: that is no database")
        self.pages = -(-len(data) // self.size)
        self.free = self._free() if is_listed else None

    def kind(self, page: int) -> int:
        """Its first byte, or -1 if there is no such page."""
        at = self._at(page)
        return self._data[at] if 0 < page <= self.pages and at < len(self._data) else -1

    def columns(self, page: int) -> int:
        """How many columns the first record on a page has, 0 if that can't be told."""
        start, at = (page - 1) * self.size, self._at(page)
        place = start + int(struct.unpack_from(">H", self._data, at + 8)[0])
        end = start + self.size
        try:
            for _ in range(2 if self._data[at] == _TABLE_LEAF else 1):  # its length, and its number
                _, place = self._number(place, end)
            length, after = self._number(place, end)
            stop, found = min(place + length, end), 0
            while after < stop:
                _, after = self._number(after, end)
                found += 1
        except IndexError:
            return 0
        return found

    def _number(self, at: int, end: int) -> tuple[int, int]:
        """A number of one to nine bytes (section 1.6 there), and what follows it."""
        value = 0
        for place in range(9):
            if at >= end:
                raise IndexError(at)
            byte = self._data[at]
            at += 1
            if place == 8:
                return value << 8 | byte, at
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                break
        return value, at

    def below(self, page: int) -> list[int] | None:
        """The pages that an inner page leads to, in order, or None if it can't be one."""
        at, start = self._at(page), (page - 1) * self.size
        cells, last = struct.unpack_from(">3xH3xI", self._data, at)
        if 12 + 2 * cells > self.size:
            return None
        places = struct.unpack_from(f">{cells}H", self._data, at + 12)
        if any(place + 4 > self.size for place in places):
            return None
        found = [int(struct.unpack_from(">I", self._data, start + place)[0]) for place in places]
        found.append(int(last))
        return found if all(1 < each <= self.pages for each in found) else None

    def _at(self, page: int) -> int:
        return (page - 1) * self.size + (100 if page == 1 else 0)

    def _free(self) -> frozenset[int] | None:
        trunk, count = struct.unpack_from(">II", self._data, 32)
        found: set[int] = set()
        while trunk:
            if trunk > self.pages or trunk in found:
                return None
            found.add(trunk)
            following, leaves = struct.unpack_from(">II", self._data, (trunk - 1) * self.size)
            if leaves > self.size // 4 - 2:
                return None
            found.update(struct.unpack_from(f">{leaves}I", self._data, (trunk - 1) * self.size + 8))
            trunk = following
        return frozenset(found) if len(found) == count and max(found, default=0) <= self.pages else None


class Pages:
    """A copy of a damaged database. Of one connection: what it shows, it shows to all who read through `session`.

    `is_anew`: its tables are defined as a copy has them, and nothing leads to any of their records.
    """

    def __init__(self, session: Session, raw: _Raw, *, is_anew: bool = False) -> None:
        self.session = session
        self.is_anew = is_anew
        self._raw = raw
        self.catalog = load_catalog(session)
        entries = session.rows("SELECT type, name, rootpage FROM main.sqlite_schema WHERE rootpage > 0")
        self._roots = {(kind, name): root for kind, name, root in entries}
        self._shown = ""
        session.run("PRAGMA writable_schema = ON")

    @property
    def free_is_known(self) -> bool:
        """Whether the list of free pages could be read."""
        return self._raw.free is not None

    def tree(self, table: str) -> Sequence[Page]:
        """The pages of a table that its own tree leads to, in the tree's order."""
        return self._trees["table", table]

    @cached_property
    def strays(self) -> Mapping[bool, Sequence[int]]:
        """Pages that hold records and that no tree leads to, by whether they are of a table without rowid."""
        known = {page.number for pages in self._trees.values() for page in pages} | (self._raw.free or frozenset())
        left = [(number, self._raw.kind(number)) for number in range(1, self._raw.pages + 1) if number not in known]
        return {
            without: tuple(number for number, kind in left if kind == wanted)
            for without, wanted in ((False, _TABLE_LEAF), (True, _KEY_LEAF))
        }

    @cached_property
    def _trees(self) -> Mapping[tuple[str, str], Sequence[Page]]:
        seen: set[int] = set()
        found = {("table", "sqlite_schema"): list(self._walk(1, 0, seen, _TABLE_LEAF))}
        for (kind, name), root in self._roots.items():
            is_plain = kind == "table" and not getattr(self.catalog.tables.get(name), "without_rowid", False)
            found[kind, name] = list(self._walk(root, 0, seen, _TABLE_LEAF if is_plain else _KEY_LEAF))
        return found

    def _walk(self, page: int, depth: int, seen: set[int], leaf: int) -> Iterator[Page]:
        """A page and all below it. One that was met already is not met again: a pointer to it is wrong."""
        if page in seen:
            return
        seen.add(page)
        kind = self._raw.kind(page)
        below = self._raw.below(page) if kind == _INNER[leaf] else None
        if kind == leaf:
            yield Page(page, depth, LEAF)
        elif below is None:
            yield Page(page, depth, "corrupted")
        else:
            yield Page(page, depth, "internal")
            for each in below:
                yield from self._walk(each, depth + 1, seen, leaf)

    def columns(self, page: int) -> int:
        """How many columns the first record on a page has, 0 if that can't be told."""
        return self._raw.columns(page)

    def show(self, table: str, page: int) -> None:
        """Let the table consist of this page alone."""
        self.whole()
        self._root(table, page)
        self._shown = table

    def whole(self) -> None:
        """Let the table shown last have its own root again."""
        if self._shown:
            self._root(self._shown, self._roots["table", self._shown])
            self._shown = ""

    def is_sound(self, table: str) -> bool:
        """Whether SQLite finds nothing wrong with a table and its indexes. Raises Damaged if it can't make sense of how
        they are defined.
        """
        self.whole()
        try:
            return self.session.rows(f"PRAGMA main.quick_check('{_escaped(table)}')") == [("ok",)]
        except Damaged:
            return False
        except Unsupported as error:
            why = error.message.partition(": ")[2]
            told = f"{table}: its definition can't be read, or is its program's own: {why}"
            raise Damaged(told, hint=_WAY_OUT) from error

    def _root(self, table: str, page: int) -> None:
        # The catalogue is read anew: without a change in it the engine would go on with what it knows.
        self.session.run(
            f"UPDATE main.sqlite_schema SET rootpage = {page} WHERE type = 'table' AND name = '{_escaped(table)}'"
        )
        self.session.run("PRAGMA writable_schema = RESET")
        self.session.run("PRAGMA writable_schema = ON")


@contextmanager
def open_pages(path: Path, target: Path, definitions: Sequence[View] = ()) -> Iterator[Pages]:
    """The pages of the database at `path`, copied beside `target`; the copy is gone afterwards. Where those of its
    tables can't be read, the definitions of another copy take their place.

    Raises Unreachable (the file can't be read or copied) or Damaged (the definitions of its tables can't be read).
    """
    with partial_place(target) as copy:
        _copy(path, copy)
        is_anew = bool(definitions) and not _is_defined(copy)
        if is_anew:
            define_anew(copy, definitions)
        with (
            copy.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
            open_session(copy, mode="rw", busy_seconds=BUSY_SECONDS) as session,
        ):
            try:
                forgo_safety(session)
                session.run("PRAGMA cell_size_check = ON")
                pages = Pages(session, _Raw(data, is_listed=not is_anew), is_anew=is_anew)
            except Damaged as error:
                raise Damaged(
                    f"{path}: the definitions of its tables can't be read",
                    hint=_WAY_OUT,
                ) from error
            yield pages


def _is_defined(copy: Path) -> bool:
    """Whether the definitions of its tables can be read."""
    try:
        with open_session(copy, mode="rw", busy_seconds=BUSY_SECONDS) as session:
            load_catalog(session)
    except Damaged:
        return False
    return True


def _copy(path: Path, copy: Path) -> None:
    """Copy the file with what its log holds."""
    try:
        shutil.copyfile(path, copy)
        for ending in ("-wal", "-journal"):
            beside = path.with_name(path.name + ending)
            if beside.exists():
                shutil.copyfile(beside, copy.with_name(copy.name + ending))
        if not copy.stat().st_size:
            raise Damaged(f"{path} is empty", hint='bring it back: "holdfast restore --to sqlite:///NEW.db"')
    except OSError as error:
        raise Unreachable(f"{path} can't be copied: {error.strerror}", hint="check the disk, and try again") from error
    _fold(copy)


def _fold(copy: Path) -> None:
    """Take what a log holds into the copy itself, and undo what a crash left half done."""
    try:
        with open_session(copy, mode="rw", busy_seconds=BUSY_SECONDS) as session:
            session.run("PRAGMA journal_mode = DELETE")
    except HoldfastError:
        # Damage stands in the way: the pages are read as they lie in the file.
        for ending in ("-wal", "-journal"):
            copy.with_name(copy.name + ending).unlink(missing_ok=True)


def _escaped(name: str) -> str:
    return name.replace("'", "''")
