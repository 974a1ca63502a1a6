"""Whether the server can deliver a table in the order of canonical keys at no cost of its own."""

from __future__ import annotations

from typing import Any

from holdfast.connectors.postgres.catalog import Table
from holdfast.connectors.postgres.connection import Connection, quoted
from holdfast.core.records import MIXED, Schema

__all__ = ["key_order"]

# An index walked in the order the rows lie in costs a little more than the rows alone; a scattered one many times it.
_COSTS_NOTHING = 1.5
_SORTED_IN_MEMORY = 2 << 20


def key_order(connection: Connection, table: Table, schema: Schema) -> str:
    """ORDER BY the key, if its types sort on the server as their canonical bytes do and the planner needs no sort.

    A table of a few pages may be sorted: that is done in memory. Otherwise "", and whoever wants an order makes it.
    """
    if not schema.key or not _is_byte_order(table, schema):
        return ""
    order = f"ORDER BY {', '.join(map(quoted, schema.key))}"
    selected = f"SELECT {', '.join(map(quoted, schema.names))} FROM {table.sql_source}"
    plain, in_order = _plan(connection, selected), _plan(connection, f"{selected} {order}")
    (size,) = connection.execute("SELECT pg_relation_size(%s::oid)", (table.oid,)).fetchall()[0]
    if size and size <= _SORTED_IN_MEMORY:
        return order
    cost = in_order["Total Cost"] / max(plain["Total Cost"], 1.0)
    return order if not _sorts(in_order) and cost <= _COSTS_NOTHING else ""


def _is_byte_order(table: Table, schema: Schema) -> bool:
    ordered = {column.name for column in table.stored if column.in_byte_order}
    return all(column.name in ordered and column.type != MIXED for column in schema.key_columns)


def _plan(connection: Connection, sql: str) -> dict[str, Any]:
    (row,) = connection.execute(f"EXPLAIN (FORMAT JSON) {sql}").fetchall()
    plan: dict[str, Any] = row[0][0]["Plan"]
    return plan


def _sorts(plan: dict[str, Any]) -> bool:
    return "Sort" in plan["Node Type"] or any(_sorts(each) for each in plan.get("Plans", ()))
