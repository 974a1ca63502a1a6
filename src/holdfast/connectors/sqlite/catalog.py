"""What a SQLite database says about itself: tables, columns, keys, references, definitions, virtual tables.

Only the schema is read here; what the rows prove about types and keys is in `proof`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from holdfast.connectors.sqlite.connection import Session, folded, quoted
from holdfast.connectors.sqlite.virtual import Virtual, parse_virtual
from holdfast.core.records import Reference

__all__ = ["Catalog", "Definition", "Index", "Table", "TableColumn", "load_catalog", "load_sequence"]

_ROW_ID_NAMES = ("rowid", "_rowid_", "oid")
_AFFINITIES = (
    ("integer", ("INT",)),
    ("text", ("CHAR", "CLOB", "TEXT")),
    ("blob", ("BLOB",)),
    ("real", ("REAL", "FLOA", "DOUB")),
)
_STRICT_CLASSES = {"INT": "integer", "INTEGER": "integer", "REAL": "real", "TEXT": "text", "BLOB": "blob"}


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A stored column. `affinity` is SQLite's; `proven` is the storage class the schema itself guarantees, if any."""

    name: str
    declared: str
    affinity: str
    not_null: bool
    proven: str | None


@dataclass(frozen=True, slots=True)
class Index:
    """A unique index over stored columns and all rows, with the collation of each column."""

    columns: tuple[str, ...]
    collations: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose rows are records. `columns` leaves out generated and hidden ones.

    `row_id` is SQL that reaches the rowid, or None (WITHOUT ROWID, or columns have taken all its names).
    `integer_key` is the column that is the rowid, if one is.
    """

    name: str
    columns: tuple[TableColumn, ...]
    row_id: str | None
    integer_key: str | None
    without_rowid: bool
    primary_key: tuple[str, ...]
    unique: tuple[Index, ...]
    references: tuple[Reference, ...] = ()

    @property
    def sql_name(self) -> str:
        """The table's name for SQL; with its schema, so that no temporary table can stand in for it."""
        return f"main.{quoted(self.name)}"


@dataclass(frozen=True, slots=True)
class Definition:
    """One CREATE statement as the database keeps it; `position` counts those of its type on its table, from 1."""

    type: str
    name: str
    table: str
    sql: str
    position: int


@dataclass(frozen=True, slots=True)
class Catalog:
    """The whole schema. `tables` are those whose rows are records, by name."""

    encoding: str
    tables: Mapping[str, Table]
    definitions: tuple[Definition, ...]
    virtual: tuple[Virtual, ...]
    has_sequence: bool
    has_statistics: bool


def load_catalog(session: Session) -> Catalog:
    """Read the schema in a few questions, however many tables there are."""
    kinds = {
        str(name): (str(kind), bool(without_rowid), bool(strict))
        for name, kind, without_rowid, strict in session.rows(
            "SELECT name, type, wr, strict FROM pragma_table_list WHERE schema = 'main'"
        )
    }
    definitions = _definitions(session, {folded(name) for name, (kind, *_) in kinds.items() if kind == "shadow"})
    virtual = tuple(
        parse_virtual(each.name, each.sql)
        for each in definitions
        if each.type == "table" and kinds.get(each.name, ("",))[0] == "virtual"
    )
    contents = {each.own_content for each in virtual}
    kept = {
        name: (without_rowid, strict)
        for name, (kind, without_rowid, strict) in kinds.items()
        if (kind == "table" and not _is_internal(name)) or (kind == "shadow" and name in contents)
    }
    return Catalog(
        encoding=str(session.value("PRAGMA encoding")),
        tables=_tables(session, kept),
        definitions=definitions,
        virtual=virtual,
        has_sequence="sqlite_sequence" in kinds,
        has_statistics="sqlite_stat1" in kinds,
    )


def load_sequence(session: Session) -> Table:
    """SQLite's own table of AUTOINCREMENT counters, as a table like any other."""
    return _tables(session, {"sqlite_sequence": (False, False)})["sqlite_sequence"]


def _is_internal(name: str) -> bool:
    return folded(name).startswith("sqlite_")


def _definitions(session: Session, shadows: set[str]) -> tuple[Definition, ...]:
    counts: dict[tuple[str, str], int] = defaultdict(int)
    found = []
    for kind, name, table, sql in session.rows(
        "SELECT type, name, tbl_name, sql FROM main.sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid"
    ):
        if not _is_internal(name) and folded(table) not in shadows:
            # A trigger names its table in whatever case its author wrote.
            counts[kind, folded(table)] += 1
            found.append(Definition(kind, name, table, sql, counts[kind, folded(table)]))
    return tuple(found)


def _tables(session: Session, kept: Mapping[str, tuple[bool, bool]]) -> dict[str, Table]:
    columns = _ask(
        session,
        'x.name, x.type, x."notnull", x.pk, x.hidden FROM pragma_table_list t '
        "JOIN pragma_table_xinfo(t.name, 'main') x ORDER BY t.name, x.cid",
    )
    indexes = _ask(
        session,
        'l.name, l.origin, l."unique", l.partial, x.name, x.coll, x.key FROM pragma_table_list t '
        "JOIN pragma_index_list(t.name, 'main') l JOIN pragma_index_xinfo(l.name, 'main') x "
        "ORDER BY t.name, l.name, x.seqno",
    )
    keys = _ask(
        session,
        'x.id, x."table", x."from", x."to" FROM pragma_table_list t '
        "JOIN pragma_foreign_key_list(t.name, 'main') x ORDER BY t.name, x.id, x.seq",
    )
    tables = {
        name: _table(name, columns[name], indexes[name], without_rowid=without_rowid, strict=strict)
        for name, (without_rowid, strict) in kept.items()
    }
    by_folded = {folded(name): table for name, table in tables.items()}
    return {
        name: replace(table, references=_references(table, keys[name], by_folded)) if keys[name] else table
        for name, table in tables.items()
    }


def _ask(session: Session, question: str) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of a question that was put to every table at once, by table."""
    select, _, order = question.rpartition(" ORDER BY ")
    found: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for name, *row in session.rows(
        f"SELECT t.name, {select} WHERE t.schema = 'main' AND t.type IN ('table', 'shadow') ORDER BY {order}"
    ):
        found[name].append(tuple(row))
    return found


def _table(
    name: str,
    columns: Sequence[tuple[Any, ...]],
    indexes: Sequence[tuple[Any, ...]],
    *,
    without_rowid: bool,
    strict: bool,
) -> Table:
    key = [(pk, column, declared) for column, declared, _, pk, _ in columns if pk]
    primary_key = tuple(column for _, column, _ in sorted(key))
    is_row_id = len(key) == 1 and str(key[0][2]).upper() == "INTEGER" and not without_rowid
    # INTEGER PRIMARY KEY DESC is an old quirk: no alias of the rowid, but a column with an index of its own.
    integer_key = primary_key[0] if is_row_id and not any(origin == "pk" for _, origin, *_ in indexes) else None
    taken = {folded(str(column)) for column, *_ in columns}
    free = [each for each in _ROW_ID_NAMES if each not in taken]
    if without_rowid:
        row_id = None
    else:
        row_id = quoted(integer_key) if integer_key else (free[0] if free else None)
    classes = _STRICT_CLASSES if strict else {}
    stored = tuple(
        TableColumn(
            name=str(column),
            declared=str(declared),
            affinity=_affinity(str(declared)),
            not_null=bool(not_null) or column == integer_key or (without_rowid and bool(pk)),
            proven="integer" if column == integer_key else classes.get(str(declared).upper()),
        )
        for column, declared, not_null, pk, hidden in columns
        if not hidden
    )
    unique = _unique(indexes, {each.name for each in stored})
    return Table(name, stored, row_id, integer_key, without_rowid, primary_key, unique)


def _unique(indexes: Sequence[tuple[Any, ...]], stored: set[str]) -> tuple[Index, ...]:
    """The unique indexes, those of fewest columns first and then by name of column: the same order at every capture."""
    parts: dict[str, list[tuple[Any, str]]] = defaultdict(list)
    for name, _, is_unique, partial, column, collation, is_key in indexes:
        if is_unique and not partial and is_key:
            parts[name].append((column, str(collation)))
    plain = [each for each in parts.values() if all(column in stored for column, _ in each)]
    found = [Index(tuple(column for column, _ in each), tuple(collation for _, collation in each)) for each in plain]
    return tuple(sorted(found, key=lambda index: (len(index.columns), index.columns)))


def _references(table: Table, rows: Sequence[tuple[Any, ...]], tables: Mapping[str, Table]) -> tuple[Reference, ...]:
    """Foreign keys, with names as they are declared at the target and its primary key where none is named."""
    stored = {folded(column.name): column.name for column in table.columns}
    grouped: dict[int, list[tuple[str, Any, Any]]] = defaultdict(list)
    for number, target, column, target_column in rows:
        grouped[number].append((str(target), column, target_column))
    found = []
    for number in sorted(grouped):
        parts = grouped[number]
        target = tables.get(folded(parts[0][0]))
        columns = tuple(stored.get(folded(str(column)), "") for _, column, _ in parts)
        if any(column is None for _, _, column in parts):
            target_columns = target.primary_key if target else ()
        else:
            names = {folded(each.name): each.name for each in target.columns} if target else {}
            target_columns = tuple(names.get(folded(str(column)), str(column)) for _, _, column in parts)
        if all(columns):
            found.append(Reference(columns, target.name if target else parts[0][0], target_columns))
    return tuple(found)


def _affinity(declared: str) -> str:
    """https://www.sqlite.org/datatype3.html, section 3.1: the first rule that fits."""
    name = declared.upper()
    if not name or name == "ANY":
        return "blob"
    return next((affinity for affinity, words in _AFFINITIES if any(word in name for word in words)), "numeric")
