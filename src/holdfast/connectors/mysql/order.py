"""Whether the server can deliver a table in the order of canonical keys at no cost of its own."""

from __future__ import annotations

from holdfast.connectors.mysql.catalog import Table, TableColumn
from holdfast.connectors.mysql.connection import Connection, quoted
from holdfast.connectors.mysql.projection import Projection
from holdfast.core.records import MIXED, Schema

__all__ = ["key_order"]

# An UUID is sorted by its own rules, text by a collation, an ENUM by its number, a decimal by its value.
_IN_BYTE_ORDER = ("int", "uint", "bytes", "date", "time", "timestamp", "timestamptz")
_SORTED_IN_MEMORY = 2 << 20


def key_order(connection: Connection, table: Table, schema: Schema) -> str:
    """ORDER BY the key, if its types sort on the server as their canonical bytes do and the rows lie in that order.

    A table of a few pages may be sorted: that is done in memory. Otherwise "", and whoever wants an order makes it.
    """
    columns = {column.name: column for column in table.stored}
    if not schema.key or not all(
        _is_in_byte_order(columns[column.name]) and column.type != MIXED for column in schema.key_columns
    ):
        return ""
    order = f"ORDER BY {', '.join(map(quoted, schema.key))}"
    if table.is_transactional and table.bytes_estimate <= _SORTED_IN_MEMORY:
        return order
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {Projection(table.stored).sql(table.sql_source, order)}")
        names = [each[0] for each in cursor.description]
        plans = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    is_free = all(each["key"] == "PRIMARY" and "filesort" not in (each["Extra"] or "") for each in plans)
    # Only InnoDB keeps the rows themselves in the order of the primary key.
    return order if is_free and table.engine == "InnoDB" else ""


def _is_in_byte_order(column: TableColumn) -> bool:
    return column.kind in _IN_BYTE_ORDER and column.data_type not in ("set", "bit")
