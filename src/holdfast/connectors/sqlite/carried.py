"""What a SQLite database's definitions say to another engine: what can be carried there, and what stays behind.

Read from the definitions as the vault holds them: the statements make empty tables in memory, and SQLite itself says
what they mean. No database file is opened.

* Carried: tables and their keys and references (by the schemas of their collections), NOT NULL, and indexes and UNIQUE
  constraints over plain columns of all rows that compare byte by byte.
* All else is named by its kind. A table that can't be made here, as it needs a collation of its program's own, still
  goes by the schema of its collection.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from adbc_driver_sqlite import dbapi

from holdfast.connectors.sqlite.catalog import Catalog, load_catalog
from holdfast.connectors.sqlite.connection import Session, folded
from holdfast.connectors.sqlite.virtual import tokens
from holdfast.core.dialect import Definitions, Index, LeftOut
from holdfast.core.records import Column, Reference
from holdfast.errors import HoldfastError

__all__ = ["definitions_of"]

_Row = Mapping[str, Any]
_BINARY = "BINARY"
_NO_ACTION = "NO ACTION"
_OF_COLUMNS = (
    'SELECT t.name, x.name, x.dflt_value IS NOT NULL, x."notnull", x.hidden FROM pragma_table_list t '
    "JOIN pragma_table_xinfo(t.name, 'main') x WHERE t.schema = 'main' AND t.type = 'table' ORDER BY t.name, x.cid"
)
_OF_INDEXES = (
    'SELECT t.name, l.name, l.origin, l."unique", l.partial, x.name, x.coll FROM pragma_table_list t '
    "JOIN pragma_index_list(t.name, 'main') l JOIN pragma_index_xinfo(l.name, 'main') x "
    "WHERE t.schema = 'main' AND t.type = 'table' AND x.key ORDER BY t.name, l.name, x.seqno"
)
_OF_REFERENCES = (
    'SELECT t.name, x."table", x.on_update, x.on_delete FROM pragma_table_list t '
    "JOIN pragma_foreign_key_list(t.name, 'main') x "
    "WHERE t.schema = 'main' AND t.type = 'table' AND x.seq = 0 ORDER BY t.name, x.id"
)
_GENERATED = (2, 3)


def definitions_of(rows: Iterable[_Row], names: Sequence[str], is_whole: bool) -> Definitions:
    """What the records of `sqlite:schema` say of the collections named; of things that belong to no table only if
    everything `is_whole`.
    """
    found = sorted(rows, key=lambda row: (row["type"] != "table", row["position"], row["name"]))
    with Session(Path(":memory:"), dbapi.connect(":memory:", autocommit=True)) as session:
        return _Reading(session, frozenset(names), is_whole).read(found)


def _readable(column: Column) -> tuple[str, ...]:
    """A column of text holds no numbers, for SQLite makes text of them; any other may hold them beside text."""
    is_text = any(word in column.declared.upper() for word in ("CHAR", "CLOB", "TEXT"))
    return ("text",) if is_text and "INT" not in column.declared.upper() else ("int", "float", "text")


class _Reading:
    def __init__(self, session: Session, names: frozenset[str], is_whole: bool) -> None:
        self._session = session
        self._names = names
        self._folded = {folded(name) for name in names}
        self._is_whole = is_whole
        self._left_out: list[LeftOut] = []

    def read(self, rows: Sequence[_Row]) -> Definitions:
        for row in rows:
            self._look_at(row)
        catalog = load_catalog(self._session)
        not_null, computed = self._columns(catalog)
        self._actions()
        return Definitions(
            "sqlite",
            not_null,
            computed,
            self._indexes(),
            tuple(self._left_out),
            {name: self._unfit(catalog, name) for name in catalog.tables},
            _readable,
        )

    def _look_at(self, row: _Row) -> None:
        """Make what others stand on, and name what can't be carried."""
        kind, sql = str(row["type"]), str(row["sql"])
        is_wanted = self._is_whole or folded(row["table_name"]) in self._folded
        if kind == "table" and re.match(r"CREATE\s+VIRTUAL\s", sql, re.IGNORECASE):
            kind = "virtual table"
        if kind not in ("table", "index"):
            if is_wanted:
                self._lose(kind, row["name"])
            return
        try:
            self._session.run(sql)
        except HoldfastError as error:
            if is_wanted:
                self._lose("definition" if kind == "table" else kind, row["name"], error.message.partition(": ")[2])
            return
        if kind == "table" and is_wanted:
            self._words(str(row["name"]), sql)

    def _lose(self, kind: str, name: str, reason: str = "") -> None:
        self._left_out.append(LeftOut(kind, name, reason))

    def _words(self, table: str, sql: str) -> None:
        """What no question to SQLite tells: its key words can't be names unless they are quoted."""
        said = tokens(sql)
        words = [word.upper() for word in said]
        for at, word in enumerate(words):
            following = words[at + 1 : at + 2]
            if word == "CHECK":
                self._lose("check", f"{table}: {_bracketed(said[at:])}")
            elif word == "COLLATE" and following != [_BINARY]:
                self._lose("collation", f"{table}: {''.join(said[at + 1 : at + 2])}")
            elif word == "AUTOINCREMENT":
                self._lose("counter", table)
            elif word == "ON" and following == ["CONFLICT"]:
                self._lose("conflict clause", table)
            elif word == "INITIALLY" and following == ["DEFERRED"]:
                self._lose("action of a foreign key", table, "DEFERRED")

    def _columns(self, catalog: Catalog) -> tuple[dict[str, frozenset[str]], dict[str, tuple[str, ...]]]:
        not_null: dict[str, set[str]] = defaultdict(set)
        computed: dict[str, list[str]] = defaultdict(list)
        for table, name, has_default, is_not_null, hidden in self._session.rows(_OF_COLUMNS):
            if table not in self._names:
                continue
            if hidden in _GENERATED:
                computed[table].append(name)
                continue
            if is_not_null:
                not_null[table].add(name)
            if has_default:
                self._lose("default", f"{table}.{name}")
        for table in self._names & catalog.tables.keys():
            not_null[table].update(column.name for column in catalog.tables[table].columns if column.not_null)
        return {name: frozenset(found) for name, found in not_null.items()}, {
            name: tuple(found) for name, found in computed.items()
        }

    def _indexes(self) -> dict[str, tuple[Index, ...]]:
        parts: dict[tuple[Any, ...], list[tuple[Any, str]]] = defaultdict(list)
        for *index, column, collation in self._session.rows(_OF_INDEXES):
            parts[tuple(index)].append((column, str(collation).upper()))
        found: dict[str, list[Index]] = defaultdict(list)
        for (table, name, origin, is_unique, is_partial), columns in parts.items():
            if table not in self._names:
                continue
            told = name if origin == "c" else f"{table}_{'_'.join(str(column) for column, _ in columns)}_key"
            odd = sorted({collation for _, collation in columns} - {_BINARY})
            if is_partial or any(column is None for column, _ in columns):
                self._lose("index", told, "not over plain columns of all rows")
            elif odd and origin == "pk":
                continue  # The key is carried, and the table's own words name the collation.
            elif odd:
                self._lose("index", told, f"compares by the collation {', '.join(odd)}")
            else:
                found[table].append(Index(told, tuple(column for column, _ in columns), bool(is_unique)))
        return {table: tuple(indexes) for table, indexes in found.items()}

    def _actions(self) -> None:
        for table, target, on_update, on_delete in self._session.rows(_OF_REFERENCES):
            if table in self._names:
                for event, action in (("UPDATE", on_update), ("DELETE", on_delete)):
                    if action != _NO_ACTION:
                        self._lose("action of a foreign key", f"{table} to {target}", f"ON {event} {action}")

    def _unfit(self, catalog: Catalog, name: str) -> dict[Reference, str]:
        """References that hold in SQLite, or are never held to, but for other reasons than equal values."""
        found = {}
        for reference in catalog.tables[name].references:
            target = catalog.tables.get(reference.target)
            if target is None:
                continue
            led = set(reference.target_columns)
            keys = [each for each in target.unique if set(each.columns) == led]
            if led == {target.integer_key}:
                continue
            if not keys:
                found[reference] = "what it leads to is not unique"
            elif all(set(map(str.upper, each.collations)) != {_BINARY} for each in keys):
                found[reference] = f"{reference.target} compares by a collation of SQLite's own"
        return found


def _bracketed(words: Sequence[str]) -> str:
    """A key word and the brackets after it."""
    return " ".join(_until_closed(words))


def _until_closed(words: Sequence[str]) -> Iterator[str]:
    depth = 0
    for word in words:
        yield word
        depth += {"(": 1, ")": -1}.get(word, 0)
        if word == ")" and not depth:
            return
