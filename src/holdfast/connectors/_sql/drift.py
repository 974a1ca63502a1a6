"""How the tables of a database differ from the collections that the vault holds of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from holdfast.core.records import Schema

__all__ = ["difference"]


class _Column(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def declared(self) -> str: ...


class _Table(Protocol):
    @property
    def stored(self) -> Sequence[_Column]: ...

    @property
    def key(self) -> tuple[str, ...]: ...

    @property
    def is_readable(self) -> bool: ...


def difference(found: Mapping[str, _Table], schemas: Mapping[str, Schema], reserved: str) -> str:
    """In words, "" if there is none: tables that are new, gone, or otherwise defined.

    A table that can't be read is neither. Collections whose names begin with `reserved` are no tables.
    """
    tables = {name: table for name, table in found.items() if table.is_readable}
    new = sorted({*tables} - {*schemas})
    gone = sorted(name for name in {*schemas} - {*found} if not name.startswith(reserved))
    for what, names in (("new", new), ("gone", gone)):
        if names:
            return f"{what}: {', '.join(names[:5])}"
    for name, table in sorted(tables.items()):
        schema = schemas[name]
        now = [(column.name, column.declared) for column in table.stored]
        if now != [(column.name, column.declared) for column in schema.columns] or table.key != schema.key:
            return f"the definition of {name} changed"
    return ""
