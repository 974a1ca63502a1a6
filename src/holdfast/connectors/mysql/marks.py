"""What no row and no statement in the binlog tells of the tables: each trace of it in the catalog, as one digest.

Definitions are in the binlog as statements, but not those of sessions that switch it off for themselves
(`SET sql_log_bin = 0`), nor what this user may read. The digest holds what records and their keys are made of, and
the references that act. It does not hold what a session without binlog does to rows: nobody is told of that.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from holdfast.connectors.mysql.catalog import Catalog, Table

__all__ = ["definition_marks"]


def definition_marks(catalog: Catalog) -> str:
    """The digest of all traces; 16 hexadecimal digits."""
    facts = [fact for table in catalog.tables.values() for fact in _facts(table)]
    # What the server alters by itself is judged by them; under which name is all the same.
    facts += [repr(replace(each, name="")) for each in catalog.acting]
    return hashlib.sha256("\n".join(sorted(facts)).encode()).hexdigest()[:16]


def _facts(table: Table) -> list[str]:
    own = (table.name, table.engine, table.key, table.versioning, table.is_partitioned, table.is_readable)
    columns = [
        (table.name, each.position, each.name, each.declared, each.kind, each.not_null, each.is_generated)
        for each in table.columns
    ]
    return [repr(own), *map(repr, columns)]
