"""How a MariaDB database numbers records, and what it demands of them: from its catalog alone."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.connectors._sql.defaults import is_literal, value_of
from holdfast.connectors.mysql.catalog import Catalog
from holdfast.connectors.mysql.connection import Connection
from holdfast.connectors.mysql.counters import drawn_from
from holdfast.connectors.mysql.staging import run
from holdfast.core.doors import Value

__all__ = ["demanded_columns", "numbers_given"]

_COUNTERS = """
    SELECT TABLE_NAME, AUTO_INCREMENT - 1 FROM information_schema.TABLES
    WHERE TABLE_SCHEMA = %s AND AUTO_INCREMENT IS NOT NULL
"""
_DEFAULTS = """
    SELECT TABLE_NAME, COLUMN_NAME, COLUMN_DEFAULT FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = %s AND IS_NULLABLE = 'NO' AND EXTRA NOT LIKE '%%GENERATED%%'
"""
# The text of a default is quoted as SQL has it; of these kinds the value is its text.
_TEXTS = ("text", "json", "date", "timestamp")
_NUMBERS = ("int", "uint", "decimal", "float", "float32")


def numbers_given(connection: Connection, catalog: Catalog) -> Mapping[str, int]:
    """By table the last number that AUTO_INCREMENT, or the sequence that its key draws from, gave."""
    found = {str(name): int(last) for name, last in run(connection, _COUNTERS, (catalog.server.database,))}
    for name, table in catalog.tables.items():
        for column, sequence in drawn_from(connection, table):
            if table.key == (column,):
                ((last,),) = run(connection, f"SELECT next_not_cached_value - increment FROM {sequence}")
                found[name] = max(found.get(name, 0), int(last))
    return {name: last for name, last in found.items() if name in catalog.tables}


def demanded_columns(connection: Connection, catalog: Catalog) -> Mapping[str, Mapping[str, Value]]:
    """By table the columns that are NOT NULL, with their defaults."""
    found: dict[str, dict[str, Value]] = {}
    kinds = {(name, each.name): each for name, table in catalog.tables.items() for each in table.stored}
    for table, column, default in run(connection, _DEFAULTS, (catalog.server.database,)):
        known = kinds.get((table, column))
        if known is not None:
            value = None if default is None else _value(known.kind, known.data_type, str(default))
            found.setdefault(table, {})[column] = value
    return found


def _value(kind: str, data_type: str, default: str) -> Value:
    if not is_literal(default):
        return None
    is_text = default.startswith("'")
    if is_text and (kind in _TEXTS or data_type == "enum"):
        return default[1:-1].replace("''", "'")
    return value_of(kind, default.strip("'")) if kind in _NUMBERS else None
