"""Databases drawn at random: odd names, every key, values that fit their declarations and values that do not."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

NAMES = ("id", "a b", 'quo"te', "имя", "select", "名前", "it's", "rowid", "x?y", "$v:1", "Ünï.Cöde")
NOCASE = "VARCHAR(9) COLLATE NOCASE"
DECLARED = ("INTEGER", "TEXT", "REAL", "BLOB", "", "NUMERIC", "DECIMAL(10,2)", "DATETIME", NOCASE, "BOOLEAN")
ODD_INTEGERS = (2**63 - 1, -(2**63), 2**53 + 1, 10**15)
ODD_REALS = (0.0, -0.0, math.inf, -math.inf, 1.5, 5e-324, 1.7976931348623157e308, 0.1, 3.0, 1e15)
ODD_TEXTS = ("", "a", "A", "é", "e\u0301", "a\x00b", "\x00", "12", "1.0", " ", "😀", "\ufeffx")
ODD_BYTES = (b"\xff", b"a\x80", b"\xc3", b"\xed\xa0\x80", b"ok\x00\xfe", b"\x00\xd8", b"\xd8\x00", b"a\x00\x00\xdc")
INTEGERS = st.one_of(st.integers(-3, 3), st.sampled_from(ODD_INTEGERS), st.integers(-(2**63), 2**63 - 1))
REALS = st.one_of(st.sampled_from(ODD_REALS), st.floats(allow_nan=False))
TEXTS = st.one_of(st.sampled_from(ODD_TEXTS), st.text(max_size=8))
RAW = st.sampled_from(ODD_BYTES)
BLOBS = st.binary(max_size=8)


class RawText(bytes):
    """Bytes that go in as text."""


VALUES = st.one_of(st.none(), INTEGERS, REALS, TEXTS, BLOBS, RAW.map(RawText))
BY_DECLARED = {"INTEGER": INTEGERS, "TEXT": TEXTS, "REAL": REALS, "BLOB": BLOBS}


@st.composite
def tables(draw: Any, name: str) -> tuple[str, str, list[str], list[str], list[list[Any]]]:
    """A table: its name, CREATE statement, columns, their declared types, and rows that may or may not fit."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=5, unique=True))
    strict = draw(st.integers(0, 5)) == 0
    kinds = [draw(st.sampled_from(("INTEGER", "TEXT", "REAL", "BLOB", "ANY") if strict else DECLARED)) for _ in names]
    columns = [
        f"{_quoted(n)} {kind}{draw(st.sampled_from(('', '', ' NOT NULL')))}"
        for n, kind in zip(names, kinds, strict=True)
    ]
    key = draw(st.lists(st.sampled_from(names), max_size=3, unique=True))
    mode = draw(st.sampled_from(("none", "primary", "without rowid", "unique")))
    options = ["STRICT"] if strict else []
    if key and mode in ("primary", "without rowid"):
        order = draw(st.sampled_from(("", "", " DESC", " COLLATE NOCASE")))
        columns.append(f"PRIMARY KEY ({', '.join(_quoted(each) + order for each in key)})")
        options += ["WITHOUT ROWID"] if mode == "without rowid" else []
    elif key and mode == "unique":
        columns.append(f"UNIQUE ({', '.join(map(_quoted, key))})")
    if draw(st.booleans()):
        position = draw(st.integers(0, len(names)))
        kind = draw(st.sampled_from(("VIRTUAL", "STORED")))
        made = f"AS (typeof({_quoted(names[0])})) {kind}"
        columns.insert(position, f'"made of" {"TEXT" if strict else ""} GENERATED ALWAYS {made}')
    rows = draw(rows_for(["STRICT" + kind if strict and kind != "ANY" else kind for kind in kinds]))
    create = f"CREATE TABLE {_quoted(name)} ({', '.join(columns)}) {', '.join(options)}"
    return name, create, names, kinds, rows


@st.composite
def rows_for(draw: Any, kinds: list[str]) -> list[list[Any]]:
    """Rows of columns declared so: of fitting values, or of any."""
    fitting = draw(st.booleans())
    cells = []
    for kind in kinds:
        plain = BY_DECLARED.get(kind.removeprefix("STRICT"), VALUES)
        cells.append(plain if fitting or kind.startswith("STRICT") else VALUES)
    rows: list[list[Any]] = draw(st.lists(st.tuples(*cells).map(list), max_size=12))
    return rows


@st.composite
def databases(draw: Any) -> dict[str, Any]:
    """Some tables, and how the file is set up."""
    names = draw(
        st.lists(st.sampled_from(("items", 'odd "table"', "заказы", "group")), min_size=1, max_size=3, unique=True)
    )
    return {
        "tables": [draw(tables(name)) for name in names],
        "encoding": draw(st.sampled_from(("UTF-8", "UTF-8", "UTF-16le", "UTF-16be"))),
        "page_size": draw(st.sampled_from((512, 4096, 65536))),
        "journal": draw(st.sampled_from(("delete", "wal"))),
        "version": draw(st.integers(-(2**31), 2**31 - 1)),
    }


def build(path: Path, database: dict[str, Any]) -> None:
    """Make the database with Python's own sqlite3."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA page_size = {database['page_size']}")
        connection.execute(f"PRAGMA encoding = '{database['encoding']}'")
        connection.execute(f"PRAGMA journal_mode = {database['journal']}")
        connection.execute(f"PRAGMA user_version = {database['version']}")
        connection.execute(f"PRAGMA application_id = {-database['version'] // 3}")
        for _, create, *_ in database["tables"]:
            connection.execute(create)
    for name, _, columns, _, rows in database["tables"]:
        fill(path, name, columns, rows)


def fill(path: Path, name: str, columns: list[str], rows: list[list[Any]]) -> None:
    """Insert rows, but those that break a rule of the table."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        listed = ", ".join(map(_quoted, columns))
        for row in rows:
            values = ", ".join("CAST(? AS TEXT)" if isinstance(value, RawText) else "?" for value in row)
            try:
                connection.execute(f"INSERT INTO {_quoted(name)} ({listed}) VALUES ({values})", row)
            except sqlite3.IntegrityError:
                continue


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
