"""Which records lie on which page of a sound database, as SQLite itself tells it, and ways to damage a page."""

from __future__ import annotations

import random
import sqlite3
from collections import defaultdict
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PAGE", "Map", "harm", "map_of", "records"]

PAGE = 4096
Key = tuple[object, ...]
Rows = dict[str, dict[Key, Key]]


@dataclass(frozen=True, slots=True)
class Map:
    """The leaves of tables with a key and numbered rows, the keys on each by table, and the roots of all tables."""

    leaves: list[int]
    rows: Mapping[int, Mapping[str, set[Key]]]
    roots: Mapping[str, int]


def records(path: Path) -> Rows:
    """Every record of every table by its key; those without one in the order of what they say."""
    found: Rows = {}
    with closing(sqlite3.connect(path)) as database:
        # Damage leaves text that is none: it is to be seen, not to stop the test.
        database.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
        for name in _tables(database):
            key = _key(database, name)
            rows = database.execute(f"SELECT * FROM {name}").fetchall()
            if key:
                columns = [column for _, column, *_ in database.execute(f"PRAGMA table_info({name})")]
                places = [columns.index(each) for each in key]
                found[name] = {tuple(row[place] for place in places): row for row in rows}
            else:
                found[name] = {(number,): row for number, row in enumerate(sorted(rows, key=repr))}
    return found


def map_of(path: Path) -> Map:
    """Leaves in the order of their tree hold as many rows as they have cells."""
    rows: dict[int, dict[str, set[Key]]] = defaultdict(dict)
    with closing(sqlite3.connect(path)) as database:
        roots = dict(database.execute("SELECT name, rootpage FROM sqlite_schema WHERE type = 'table'"))
        for name, sql in _tables(database).items():
            key = _key(database, name)
            if "WITHOUT ROWID" in sql or not key:
                continue
            keys = database.execute(f"SELECT {', '.join(key)} FROM {name} ORDER BY rowid").fetchall()
            at = 0
            for page, cells in database.execute(
                "SELECT pageno, ncell FROM dbstat WHERE name = ? AND pagetype = 'leaf' ORDER BY path", (name,)
            ):
                rows[page][name] = set(keys[at : at + cells])
                at += cells
            assert at == len(keys)
    return Map(sorted(page for page in rows if page not in roots.values()), dict(rows), roots)


def _tables(database: sqlite3.Connection) -> dict[str, str]:
    found = database.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'table'").fetchall()
    return {name: sql for name, sql in found if not name.startswith("sqlite_")}


def _key(database: sqlite3.Connection, name: str) -> list[str]:
    columns = database.execute(f"PRAGMA table_info({name})").fetchall()
    return [column for _, column, _, _, _, place in sorted(columns, key=lambda each: each[5]) if place]


def harm(path: Path, page: int, kind: str, rng: random.Random) -> None:
    """Damage a page as disks do."""
    data = bytearray(path.read_bytes())
    at, pages = (page - 1) * PAGE, len(data) // PAGE
    if kind == "noise":
        data[at : at + PAGE] = rng.randbytes(PAGE)
    elif kind == "zeros":
        data[at : at + PAGE] = bytes(PAGE)
    elif kind == "sector":
        data[at + 2048 : at + 2560] = bytes(512)
    elif kind == "another":
        other = rng.randrange(2, pages) * PAGE
        data[at : at + PAGE] = data[other : other + PAGE]
    else:
        data[at + 3] ^= 0x40
    path.write_bytes(data)
