"""What a SQLite file says of itself: numbers that rise while it goes on, and fall where an older one took its place.

* A file has no identity. The schema version rises with every change of a definition, AUTOINCREMENT counters with every
  row, the file's change counter with every transaction; with a write-ahead log the last one rises more seldom.
* No SQL tells the change counter. It is read by a process of its own: if this one closed the file that it has open
  through SQLite, the locks of a snapshot would be gone.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from holdfast.connectors.sqlite.catalog import Catalog
from holdfast.connectors.sqlite.connection import Session, folded
from holdfast.core.observed import Marks

__all__ = ["standing"]

_HEADER_BYTES = 100
_MAGIC = b"SQLite format 3\0"
_COUNTER = slice(24, 28)  # https://www.sqlite.org/fileformat2.html, 1.3.7
_SECONDS = 10.0


def standing(session: Session, catalog: Catalog) -> Marks:
    """The marks of the database in the session's transaction."""
    counters = {"schema version": int(session.value("SELECT schema_version FROM pragma_schema_version"))}
    change = _change_counter(session.path)
    if change is not None:
        counters["change counter"] = change
    return Marks(counters=counters | _sequences(session, catalog))


def _change_counter(path: Path) -> int | None:
    """The counter in the file's header; None where it can't be read."""
    command = ["head", "-c", str(_HEADER_BYTES), "--", str(path.absolute())]
    try:
        found = subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    is_header = len(found) == _HEADER_BYTES and found.startswith(_MAGIC)
    return int.from_bytes(found[_COUNTER], "big") if is_header else None


def _sequences(session: Session, catalog: Catalog) -> dict[str, int]:
    """The counter of each AUTOINCREMENT table that there is; one that was taken away stands where a new one does."""
    if not catalog.has_sequence:
        return {}
    counted = session.rows(
        "SELECT name, max(seq) FROM main.sqlite_sequence WHERE typeof(seq) = 'integer' GROUP BY name"
    )
    found = {folded(str(name)): int(value) for name, value in counted}
    made = {each.name for each in catalog.definitions if each.type == "table" and "autoincrement" in folded(each.sql)}
    return {
        f"sequence:{name}": found.get(folded(name), 0)
        for name in sorted(catalog.tables)
        if name in made or folded(name) in found
    }
