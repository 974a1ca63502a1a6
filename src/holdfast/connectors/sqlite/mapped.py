"""A new SQLite database for records of another engine: tables as the mapping says, records, then indexes.

* A type is declared by the affinity that leaves every value alone: TEXT, INTEGER and BLOB, and none at all where
  numbers with a fraction are kept, for REAL would take the sign from -0.0.
* Names are the source's own: SQLite takes any, but for those that begin with `sqlite_`, and for names that differ only
  in the case of ASCII letters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from holdfast.connectors.sqlite.binding import Binding
from holdfast.connectors.sqlite.catalog import load_catalog
from holdfast.connectors.sqlite.connection import RuleBroken, Session, ValueTaken, folded, open_session, quoted
from holdfast.connectors.sqlite.definitions import RESERVED
from holdfast.connectors.sqlite.place import BUSY_SECONDS, forgo_safety, partial_place, publish, refuse_taken
from holdfast.connectors.sqlite.references import dangling
from holdfast.core.dialect import Dialect, Kept
from holdfast.core.forms import FORMS
from holdfast.core.mapping import NamedMapping
from holdfast.core.ports import Created, View
from holdfast.core.records import Column
from holdfast.core.ways import CollectionMap
from holdfast.errors import Damaged

__all__ = ["DIALECT", "create_mapped"]

_TEXT, _FLOAT = Kept(FORMS["text"], "TEXT"), Kept(FORMS["float or text"], "")
_KEPT = {
    "bool": Kept(FORMS["number"], "INTEGER"),
    "int": Kept(FORMS["itself"], "INTEGER"),
    "uint": Kept(FORMS["int or text"], ""),
    **dict.fromkeys(("float", "float32"), _FLOAT),
    "text": Kept(FORMS["itself"], "TEXT"),
    "bytes": Kept(FORMS["itself"], "BLOB"),
    "rawtext": Kept(FORMS["bytes"], "BLOB"),
    **dict.fromkeys(("decimal", "json", "source", "uuid"), _TEXT),
    **dict.fromkeys(("date", "time", "timestamp", "timestamptz", "mixed"), _TEXT),
}
# As many as a statement can name.
_COLUMNS_MAX = 2000


def _kept(column: Column, _: bool) -> Kept | None:
    return _KEPT.get(column.type)


def _usable(name: str, ending: str) -> str:
    return f"_{name}{ending}" if folded(name).startswith(("sqlite_", RESERVED)) else f"{name}{ending}"


DIALECT = Dialect("sqlite", _kept, _usable, folded, columns_max=_COLUMNS_MAX)


def create_mapped(path: Path, mapping: NamedMapping, views: Iterable[View]) -> Created:
    """Build the database at `path`, which must be free, of views in the form that the mapping gives them.

    It appears there complete and durable, or not at all. Raises Damaged if what was built does not hold together.
    """
    refuse_taken(path)
    with partial_place(path) as partial:
        with open_session(partial, mode="rwc", busy_seconds=BUSY_SECONDS) as session:
            forgo_safety(session)
            session.run("BEGIN IMMEDIATE")
            for each in mapping.collections:
                session.run(_table(each))
            records = sum(_fill(session, mapping.of(view.name), view) for view in views)
            for each in mapping.collections:
                for statement in _indexes(each):
                    session.run(statement)
            session.run("COMMIT")
            found = session.rows("PRAGMA main.integrity_check")
            if found != [("ok",)]:
                raise Damaged(f"the database built does not hold together: {found[0][0]}", hint="holdfast verify")
            lost = dangling(session, load_catalog(session)).total()
        publish(partial, path)
    return Created(records, (), lost)


def _table(one: CollectionMap) -> str:
    parts = [
        " ".join(filter(None, (quoted(each.name), each.declared, "NOT NULL" if each.not_null else "")))
        for each in one.carried
    ]
    # A single INTEGER as the primary key is the row's own number, and needs no index beside it.
    parts += [f"PRIMARY KEY ({_listed(one.key)})"] if one.key else []
    parts += [f"UNIQUE ({_listed(columns)})" for columns in one.unique]
    parts += [
        f"FOREIGN KEY ({_listed(each.columns)}) REFERENCES {quoted(each.target)} ({_listed(each.target_columns)})"
        for each in one.references
    ]
    lines = ",\n    ".join(parts)
    return f"CREATE TABLE main.{quoted(one.table)} (\n    {lines}\n)"


def _indexes(one: CollectionMap) -> Iterator[str]:
    for each in one.indexes:
        unique = "UNIQUE " if each.is_unique else ""
        yield f"CREATE {unique}INDEX main.{quoted(each.name)} ON {quoted(one.table)} ({_listed(each.columns)})"


def _fill(session: Session, one: CollectionMap, view: View) -> int:
    """Write the records of a view; returns their number."""
    stored = one.stored
    binding = Binding(one.name, stored.columns)
    sql = f"INSERT INTO main.{quoted(one.table)} ({_listed(stored.names)}) VALUES ({', '.join(binding.placeholders)})"
    count = 0
    for batch in view.batches():
        try:
            session.run_many(sql, binding.parameters(batch))
        except (RuleBroken, ValueTaken) as error:
            raise Damaged(f"{one.name}: its records do not fit its definition: {error.message}") from error
        count += batch.num_rows
    return count


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(quoted, names))
