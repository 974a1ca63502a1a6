"""Which table each definition belongs to, read from the definitions themselves: pg_dump writes every name in full.

A partition, and all that stands on it, belongs to the table at the root: they are one collection. A sequence belongs to
the table whose column owns it. Views, types, functions and publications belong to none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from holdfast.connectors.postgres.naming import collection_name
from holdfast.connectors.postgres.script import IDENTIFIER, Entry, unquoted, word_ends

__all__ = ["tables_of"]

_NAME = rf"({IDENTIFIER})\.({IDENTIFIER})"
_TABLE = re.compile(rf"CREATE (?:UNLOGGED )?TABLE {_NAME}")
_ALTERED = re.compile(rf"ALTER TABLE (?:ONLY )?{_NAME}")
_ATTACHED = re.compile(rf"ALTER TABLE (?:ONLY )?{_NAME} ATTACH PARTITION {_NAME}")
_INDEX = re.compile(rf"CREATE (?:UNIQUE )?INDEX ({IDENTIFIER}) ON (?:ONLY )?{_NAME}")
_INDEX_ATTACHED = re.compile(rf"ALTER INDEX {_NAME} ATTACH")
_ADDED = re.compile(rf"ALTER TABLE (?:ONLY )?{_NAME}\s+ADD CONSTRAINT ({IDENTIFIER})")
_OWNED = re.compile(rf"ALTER SEQUENCE {_NAME} OWNED BY {_NAME}\.")
_SEQUENCE = re.compile(rf"CREATE (?:UNLOGGED )?SEQUENCE {_NAME}")
_RULE = re.compile(rf"CREATE RULE {IDENTIFIER} AS\s+ON \w+ TO {_NAME}")
_COMMENT = re.compile(rf"COMMENT ON (?:TABLE|SEQUENCE|INDEX|COLUMN) {_NAME}")
_COMMENT_ON = re.compile(rf"COMMENT ON (?:CONSTRAINT|TRIGGER|POLICY|RULE) {IDENTIFIER} ON {_NAME}")
_ON = re.compile(rf"\s+(?:TABLE |SEQUENCE )?(?:ONLY )?{_NAME}")
_FROM = re.compile(rf"\s+{_NAME}")


class _Name(NamedTuple):
    schema: str
    name: str


def tables_of(entries: Sequence[Entry]) -> list[str | None]:
    """For each entry the collection of the table it belongs to, or None."""
    tables, roots, others = set(), {}, {}
    for entry in entries:
        for statement in entry.statements:
            if entry.type == "TABLE" and (found := _TABLE.match(statement)):
                tables.add(_named(found, 1))
            elif found := _ATTACHED.match(statement):
                roots[_named(found, 3)] = _named(found, 1)
            elif found := _OWNED.match(statement):
                others[_named(found, 1)] = _named(found, 3)
            elif found := _INDEX.match(statement):
                # An index lies in the schema of its table.
                others[_Name(unquoted(found[2]), unquoted(found[1]))] = _named(found, 2)
            elif found := _ADDED.match(statement):
                others[_Name(unquoted(found[1]), unquoted(found[3]))] = _named(found, 1)
    return [_collection(_stands_on(entry), tables, others, roots) for entry in entries]


def _collection(
    name: _Name | None, tables: set[_Name], others: Mapping[_Name, _Name], roots: Mapping[_Name, _Name]
) -> str | None:
    if name is not None and name not in tables:
        name = others.get(name)
    if name is None or name not in tables:
        return None
    while name in roots:
        name = roots[name]
    return collection_name(name.schema, name.name)


def _stands_on(entry: Entry) -> _Name | None:
    """The table, index or sequence that an entry speaks of, if it is one of those."""
    statement = next((each for each in entry.statements if not each.startswith("SET ")), "")
    for pattern, first in _PLAIN.get(entry.type, ()):
        if found := pattern.match(statement):
            return _named(found, first)
    word = {"TRIGGER": "ON", "POLICY": "ON", "ACL": "ON", "STATISTICS": "FROM"}.get(entry.type)
    if word:
        pattern = _FROM if word == "FROM" else _ON
        found_at = [found for end in word_ends(statement, word) if (found := pattern.match(statement, end))]
        if found_at:
            return _named(found_at[-1] if word == "FROM" else found_at[0], 1)
    return None


def _named(found: re.Match[str], first: int) -> _Name:
    return _Name(unquoted(found[first]), unquoted(found[first + 1]))


_PLAIN: Mapping[str, tuple[tuple[re.Pattern[str], int], ...]] = {
    "TABLE": ((_TABLE, 1),),
    "TABLE ATTACH": ((_ALTERED, 1),),
    "DEFAULT": ((_ALTERED, 1),),
    "CONSTRAINT": ((_ALTERED, 1),),
    "CHECK CONSTRAINT": ((_ALTERED, 1),),
    "FK CONSTRAINT": ((_ALTERED, 1),),
    "ROW SECURITY": ((_ALTERED, 1),),
    "SEQUENCE": ((_SEQUENCE, 1), (_ALTERED, 1)),
    "SEQUENCE OWNED BY": ((_OWNED, 1),),
    "INDEX": ((_INDEX, 2),),
    "INDEX ATTACH": ((_INDEX_ATTACHED, 1),),
    "RULE": ((_RULE, 1),),
    "COMMENT": ((_COMMENT, 1), (_COMMENT_ON, 1)),
}
