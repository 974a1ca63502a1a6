"""What a PostgreSQL database's definitions say to another engine: what can be carried there, and what stays behind.

Read from the definitions as the vault holds them, so neither a server nor a driver is needed.

* Carried: tables and their keys and references (by the schemas of their collections), NOT NULL, and plain indexes:
  B-trees and UNIQUE constraints over whole columns of all rows.
* Partitions are their table. All else is named by its kind.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from holdfast.connectors.postgres.naming import collection_name
from holdfast.connectors.postgres.script import IDENTIFIER, pieces_at, unquoted
from holdfast.core.dialect import Definitions, Index, LeftOut

__all__ = ["definitions_of"]

_Row = Mapping[str, Any]
_NAME = rf"({IDENTIFIER})\.({IDENTIFIER})"
_LIST = r"\(([^()]*)\)"
_TABLE = re.compile(rf"CREATE (?:UNLOGGED )?TABLE {_NAME} ")
_INDEX = re.compile(rf"CREATE (UNIQUE )?INDEX ({IDENTIFIER}) ON (?:ONLY )?{_NAME} USING btree {_LIST};", re.DOTALL)
_KEY = re.compile(rf"ALTER TABLE ONLY {_NAME}\s+ADD CONSTRAINT ({IDENTIFIER}) (PRIMARY KEY|UNIQUE) {_LIST};")
_PLAIN_COLUMN = re.compile(rf"({IDENTIFIER})(?: DESC)?(?: NULLS (?:FIRST|LAST))?")
_ACTION = re.compile(r"\b(ON (?:DELETE|UPDATE)\b|DEFERRABLE|NOT VALID|MATCH FULL)")
_COLUMN = re.compile(rf"\s*({IDENTIFIER})\s")
# What a table's collection, its name or another entry says already.
_SAID = frozenset((
    "SCHEMA", "SEQUENCE OWNED BY", "TABLE ATTACH", "INDEX ATTACH", "PUBLICATION TABLE", "DATABASE",
    "MATERIALIZED VIEW DATA", "SHELL TYPE",
))  # fmt: skip
_KINDS = {
    "ACL": "grant", "DEFAULT ACL": "default grant", "FK CONSTRAINT": "action of a foreign key",
    "CHECK CONSTRAINT": "check", "CONSTRAINT": "constraint", "DATABASE PROPERTIES": "setting of the database",
}  # fmt: skip


def definitions_of(rows: Iterable[_Row], names: Sequence[str], is_whole: bool) -> Definitions:
    """What the records of `postgres:schema` say of the collections named; of things that belong to no table only if
    everything `is_whole`.
    """
    return _Reading(frozenset(names), is_whole).read(rows)


class _Reading:
    def __init__(self, names: frozenset[str], is_whole: bool) -> None:
        self._names = names
        self._is_whole = is_whole
        self._not_null: dict[str, frozenset[str]] = {}
        self._computed: dict[str, tuple[str, ...]] = {}
        self._indexes: dict[str, list[Index]] = defaultdict(list)
        self._left_out: list[LeftOut] = []

    def read(self, rows: Iterable[_Row]) -> Definitions:
        for row in rows:
            if row["table_name"] in self._names or (self._is_whole and row["table_name"] is None):
                self._look_at(row)
        indexes = {name: tuple(found) for name, found in self._indexes.items()}
        return Definitions("postgres", self._not_null, self._computed, indexes, tuple(self._left_out))

    def _look_at(self, row: _Row) -> None:
        kind, sql, collection = str(row["type"]), str(row["sql"]), row["table_name"]
        if kind == "TABLE":
            self._table(collection, sql)
        elif kind in ("INDEX", "CONSTRAINT"):
            self._index(row, collection, sql)
        elif kind == "FK CONSTRAINT":
            if found := _ACTION.search(sql):
                self._lose(row, found[1])
        elif kind not in _SAID:
            self._lose(row)

    def _lose(self, row: _Row, reason: str = "") -> None:
        kind = str(row["type"])
        name = ".".join(filter(None, (row["schema"], row["name"])))
        self._left_out.append(LeftOut(_KINDS.get(kind, kind.lower()), name, reason))

    def _table(self, collection: str, sql: str) -> None:
        found = _TABLE.search(sql)
        if found is None or collection_name(unquoted(found[1]), unquoted(found[2])) != collection:
            return  # a partition
        not_null, computed = set(), []
        for definition in _column_definitions(sql, found.end()):
            words = [word for word, _ in definition]
            text = "".join(part for _, part in definition)
            named = _COLUMN.match(text)
            if named is None or words[:1] == ["CONSTRAINT"]:
                self._left_out.append(LeftOut("check", f"{collection}: {' '.join(text.split())}"))
                continue
            name = unquoted(named[1])
            if any(pair == ("NOT", "NULL") for pair in pairwise(words)):
                not_null.add(name)
            if "GENERATED" in words:
                computed.append(name)
            elif "DEFAULT" in words:
                self._left_out.append(LeftOut("default", f"{collection}.{name}"))
        self._not_null[collection] = frozenset(not_null)
        self._computed[collection] = tuple(computed)

    def _index(self, row: _Row, collection: str | None, sql: str) -> None:
        if collection is None:
            self._lose(row, "of a view")
            return
        if found := _INDEX.fullmatch(sql):
            owner, name, is_unique, listed = (found[3], found[4]), found[2], bool(found[1]), found[5]
        elif found := _KEY.fullmatch(sql):
            owner, name, is_unique, listed = (found[1], found[2]), found[3], True, found[5]
        else:
            self._lose(row, "not over plain columns of all rows")
            return
        if collection_name(*map(unquoted, owner)) != collection:
            return  # of a partition
        columns = [_PLAIN_COLUMN.fullmatch(part.strip()) for part in _parts(listed)]
        plain = tuple(unquoted(column[1]) for column in columns if column)
        if len(plain) < len(columns):
            self._lose(row, "not over plain columns")
        elif " PRIMARY KEY " not in sql:
            self._indexes[collection].append(Index(unquoted(name), plain, is_unique))


def _parts(listed: str) -> Iterator[str]:
    return ("".join(part for _, part in each) for each in pieces_at(listed, 0))


def _column_definitions(sql: str, start: int) -> Iterator[Sequence[tuple[str, str]]]:
    """What stands between the commas of the first pair of brackets."""
    return pieces_at(sql, sql.index("(", start) + 1)
