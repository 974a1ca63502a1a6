"""A disk that lies: pages of a shop's file, and objects of a site, that are no longer what was written.

Which records lay on a page is told by SQLite itself, before the damage: leaves in the order of their tree hold as many
records as they have cells.
"""

from __future__ import annotations

import random
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adbc_driver_sqlite import dbapi

from holdfast.sample.rollback import KEYS, Row

__all__ = ["Lied", "lie_about_objects", "lie_about_shop"]

_TABLES = tuple(name for name, key in KEYS.items() if key and name not in ("settings", "bank_receipts", "tenants"))
_SECTOR = 512
Harm = Callable[[bytearray, int, int, random.Random], None]


@dataclass(frozen=True, slots=True)
class Lied:
    """What was done to a shop's file: damaged pages with what was done, the keys of all records that lay on them, the
    table whose first page is gone, and a customer in whose name one letter is another.
    """

    pages: Mapping[int, str]
    on_pages: Mapping[str, frozenset[Row]]
    beheaded: str
    customer: int


def lie_about_shop(path: Path, *, seed: int) -> Lied:
    """Damage some pages of the file, each in another way, and change one letter where nothing shows it."""
    rng = random.Random(seed)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size, rows, heads = _pages(path)
    data = bytearray(path.read_bytes())
    beheaded = rng.choice(sorted(set(heads) & {"customers", "payments", "invoices"}))
    # Below a first page that is gone a page that can't be read is no table's: nothing could name it.
    leaves = sorted(page for page, held in rows.items() if page not in heads.values() and beheaded not in held)
    chosen = dict(zip(rng.sample(leaves, min(8, len(leaves) // 8)), _ways(), strict=False))
    customer = _other_letter(data, path, {key for page in chosen for key in rows[page].get("customers", ())}, rng)
    for page, (_, harm) in chosen.items():
        harm(data, (page - 1) * size, size, rng)
    _noise(data, (heads[beheaded] - 1) * size, size, rng)
    path.write_bytes(data)
    hit: dict[str, set[Row]] = defaultdict(set)
    for page in chosen:
        for name, keys in rows[page].items():
            hit[name] |= keys
    pages = {page: word for page, (word, _) in chosen.items()} | {heads[beheaded]: f"the first page of {beheaded}"}
    return Lied(pages, {name: frozenset(keys) for name, keys in hit.items()}, beheaded, customer)


def lie_about_objects(site: Path, *, seed: int, count: int = 5) -> list[str]:
    """Flip one bit in each of some objects of a site that is a folder; their names."""
    objects = sorted(path for path in (site / "objects").rglob("*") if path.is_file())
    chosen = random.Random(seed).sample(objects, min(count, len(objects)))
    for path in chosen:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 0x01
        path.chmod(0o644)
        path.write_bytes(data)
    return sorted(path.name for path in chosen)


def _pages(path: Path) -> tuple[int, Mapping[int, Mapping[str, set[Row]]], Mapping[str, int]]:
    """The size of a page, the keys on each leaf by table, and each table's first page where it is no leaf."""
    rows: dict[int, dict[str, set[Row]]] = defaultdict(dict)
    # Not every build of Python has the table that tells where records lie.
    with closing(dbapi.connect(str(path))) as connection:
        size = int(_all(connection, "PRAGMA page_size")[0][0])
        for name in _TABLES:
            keys = _all(connection, f"SELECT {', '.join(KEYS[name])} FROM {name} ORDER BY rowid")
            at = 0
            where = f"WHERE name = '{name}' AND pagetype = 'leaf' ORDER BY path"
            for page, cells in _all(connection, f"SELECT pageno, ncell FROM dbstat {where}"):
                rows[page][name] = set(keys[at : at + cells])
                at += cells
        heads = dict(_all(connection, "SELECT name, rootpage FROM sqlite_schema"))
    return size, rows, {name: heads[name] for name in _TABLES if heads[name] not in rows}


def _all(connection: Any, sql: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return [tuple(row) for row in cursor.fetchall()]


def _other_letter(data: bytearray, path: Path, hit: set[Row], rng: random.Random) -> int:
    """Change a letter of a customer's e-mail address, of one who lies on none of the damaged pages; his number."""
    with closing(sqlite3.connect(path)) as connection:
        known = connection.execute("SELECT id, email FROM customers ORDER BY id").fetchall()
        orders = {email for (email,) in connection.execute("SELECT email FROM orders")}
    # Found in the file by its address, which only orders repeat.
    alone = [(number, email) for number, email in known if (number,) not in hit and email not in orders]
    number, email = rng.choice(alone)
    at = data.find(str(email).encode())
    while at >= 0:
        data[at + len(email) - 1] ^= 0x01
        at = data.find(str(email).encode(), at + 1)
    return int(number)


def _ways() -> Iterator[tuple[str, Harm]]:
    return iter([
        ("noise", _noise), ("zeros", _zeros), ("a torn sector", _sector), ("bytes of another page", _another),
        ("a broken header", _header), ("noise", _noise), ("a torn sector", _sector), ("zeros", _zeros),
    ])  # fmt: skip


def _noise(data: bytearray, at: int, size: int, rng: random.Random) -> None:
    data[at : at + size] = rng.randbytes(size)


def _zeros(data: bytearray, at: int, size: int, _: random.Random) -> None:
    data[at : at + size] = bytes(size)


def _sector(data: bytearray, at: int, size: int, _: random.Random) -> None:
    data[at + size - _SECTOR : at + size] = bytes(_SECTOR)


def _another(data: bytearray, at: int, size: int, rng: random.Random) -> None:
    other = rng.randrange(2, len(data) // size) * size
    data[at : at + size] = data[other : other + size]


def _header(data: bytearray, at: int, _: int, __: random.Random) -> None:
    data[at + 3] ^= 0x40
