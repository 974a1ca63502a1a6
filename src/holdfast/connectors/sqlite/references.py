"""References that lead nowhere: counted before and after a change, so that only new ones stop it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection as Names

from holdfast.connectors.sqlite.catalog import Catalog
from holdfast.connectors.sqlite.connection import Session
from holdfast.errors import Unsupported

__all__ = ["dangling"]


def dangling(session: Session, catalog: Catalog, touched: Names[str] | None = None) -> Counter[tuple[str, ...]]:
    """Each reference without its record, as (table, row, parent, number of the foreign key).

    Looks only at tables that are among `touched` or refer to one of them, if it is given.
    """
    found: Counter[tuple[str, ...]] = Counter()
    for name, table in catalog.tables.items():
        related = {name, *(each.target for each in table.references)}
        if table.references and (touched is None or related.intersection(touched)):
            try:
                rows = session.rows("SELECT * FROM pragma_foreign_key_check(?)", (name,))
            except Unsupported:
                # The foreign key itself is at fault, so SQLite never enforced it.
                continue
            found.update(
                (str(child), "" if row is None else f"row {row}", str(parent), str(number))
                for child, row, parent, number in rows
            )
    return found
