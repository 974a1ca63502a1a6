"""What a table's records are called in the vault, and the names that Holdfast needs for itself."""

from __future__ import annotations

import re

__all__ = ["RESERVED", "SYSTEM_PREFIX", "collection_name"]

RESERVED = "postgres:"
SYSTEM_PREFIX = "holdfast:"


def collection_name(schema: str, table: str) -> str:
    """The collection of a table: its name if its schema is `public`, else `schema.table`, quoted where needed.

    >>> collection_name("public", "orders"), collection_name("sales", "a.b"), collection_name("public", 'we"ird')
    ('orders', 'sales."a.b"', '"we""ird"')
    """
    parts = [table] if schema == "public" else [schema, table]
    return ".".join(map(_part, parts))


def _part(name: str) -> str:
    if name and not re.search(r'[."]', name) and not name.startswith((RESERVED, SYSTEM_PREFIX)):
        return name
    return '"' + name.replace('"', '""') + '"'
