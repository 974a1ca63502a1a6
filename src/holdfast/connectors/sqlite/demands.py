"""How a SQLite database numbers records, and what it demands of them: from its catalog alone."""

from __future__ import annotations

from collections.abc import Mapping

from holdfast.connectors._sql.defaults import is_literal
from holdfast.connectors.sqlite.catalog import Catalog, TableColumn
from holdfast.connectors.sqlite.connection import Session
from holdfast.core.doors import Value

__all__ = ["demanded_columns", "numbers_given"]


def numbers_given(session: Session, catalog: Catalog) -> Mapping[str, int]:
    """By table the last number that AUTOINCREMENT gave."""
    if not catalog.has_sequence:
        return {}
    found = session.rows("SELECT name, max(seq) FROM main.sqlite_sequence WHERE typeof(seq) = 'integer' GROUP BY name")
    return {str(name): int(seq) for name, seq in found if name in catalog.tables}


def demanded_columns(session: Session, catalog: Catalog) -> Mapping[str, Mapping[str, Value]]:
    """By table the columns that are NOT NULL, with their defaults."""
    found: dict[str, dict[str, Value]] = {}
    for name, table in catalog.tables.items():
        strict = [column for column in table.columns if column.not_null]
        if strict:
            rows = session.rows("SELECT name, dflt_value FROM pragma_table_xinfo(?, 'main')", (name,))
            told = {str(column): default for column, default in rows}
            found[name] = {column.name: _default(session, column, told.get(column.name)) for column in strict}
    return found


def _default(session: Session, column: TableColumn, sql: str | None) -> Value:
    if sql is None or not is_literal(str(sql)):
        return None
    value = session.value(f"SELECT {sql}")
    match column.affinity, value:
        case "text", int() | float():
            return str(value)
        case "real", int():
            return float(value)
        case (("integer" | "numeric" | "real"), str()):
            return None  # it would be a number there if it looks like one
        case _, int() | float() | str():
            return value
    return None
