"""What no row and no statement in the binlog tells of the tables: each trace of it in the catalog, as one digest.

Definitions are in the binlog as statements, but not those of sessions that switch it off for themselves
(`SET sql_log_bin = 0`), nor what this user may read. The digest holds what records and their keys are made of, and
the references that act. It does not hold what a session without binlog does to rows: nobody is told of that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace

from holdfast.connectors.mysql.catalog import Catalog, Table

__all__ = ["altered", "definition_marks"]


def definition_marks(catalog: Catalog) -> str:
    """The digest of all traces; 16 hexadecimal digits."""
    facts = [fact for table in catalog.tables.values() for fact in _facts(table)]
    # What the server alters by itself is judged by them; under which name is all the same.
    facts += [repr(replace(each, name="")) for each in catalog.acting]
    return hashlib.sha256("\n".join(sorted(facts)).encode()).hexdigest()[:16]


def altered(known: Catalog, now: Catalog, names: Iterable[str]) -> tuple[str, ...]:
    """Which of these tables are gone, or have other traces than they had; in order.

    The server numbers a table anew when it opens it, and so whenever its definition has changed. Of a table whose
    number is new this has to be asked when rows of it are here: if it is not altered, they were written of what is
    known, unless somebody altered it and altered it back meanwhile.
    """
    return tuple(
        name
        for name in sorted(names)
        if name not in now.tables or _facts(now.tables[name]) != _facts(known.tables[name])
    )


def _facts(table: Table) -> list[str]:
    own = (table.name, table.engine, table.key, table.versioning, table.is_partitioned, table.is_readable)
    columns = [
        (table.name, each.position, each.name, each.declared, each.kind, each.not_null, each.is_generated)
        for each in table.columns
    ]
    return [repr(own), *map(repr, columns)]
