"""Whether a table lies on disk in the order of its records' canonical keys: then reading it needs no sort.

SQLite's own order of values is the canonical one for integers, for bytes, and for UTF-8 text compared byte by byte.
"""

from __future__ import annotations

from holdfast.connectors.sqlite.catalog import Table
from holdfast.connectors.sqlite.connection import Session, quoted
from holdfast.core.align import is_ascending
from holdfast.core.canonical import key_bytes
from holdfast.core.records import Schema

__all__ = ["stored_order"]


def stored_order(session: Session, table: Table, schema: Schema, encoding: str) -> str:
    """The ORDER BY that gives records by canonical key at no cost, or "" if there is none."""
    canonical = {"int", "bytes", "text"} if encoding == "UTF-8" else {"int", "bytes"}
    if not schema.key or not canonical.issuperset(column.type for column in schema.key_columns):
        return ""
    is_row_id = schema.key == (table.integer_key,)
    if is_row_id or (table.without_rowid and schema.key == table.primary_key):
        order = " ORDER BY " + ", ".join(f"{quoted(name)} COLLATE BINARY" for name in schema.key)
        steps = session.rows(f"EXPLAIN QUERY PLAN SELECT * FROM {table.sql_name}{order}")
        return "" if any("TEMP B-TREE" in str(step) for step in steps) else order
    if table.row_id and _rises(session, table, schema):
        return f" ORDER BY {table.row_id}"
    return ""


def _rises(session: Session, table: Table, schema: Schema) -> bool:
    """Whether keys rise with the rowid, as in a table that was only ever appended to. Stops at the first that does not.

    Reading the key columns alone costs a fraction of sorting whole records outside memory.
    """
    keys = Schema(schema.key_columns, schema.key)
    columns = ", ".join(map(quoted, schema.key))
    last: bytes | None = None
    for batch in session.batches(f"SELECT {columns} FROM {table.sql_name} ORDER BY {table.row_id}", 65_536):
        if batch.num_rows:
            found = key_bytes(batch.cast(keys.arrow()), keys)
            if not is_ascending(found, after=last):
                return False
            last = found[-1].as_py()
    return True
