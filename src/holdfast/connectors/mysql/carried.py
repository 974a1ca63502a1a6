"""What a MariaDB database's definitions say to another engine: what can be carried there, and what stays behind.

Read from the definitions as the vault holds them, so neither a server nor a driver is needed.

* Carried: tables and their keys and references (by the schemas of their collections), NOT NULL, and indexes over whole
  columns. Of a table that keeps its own past a unique index holds for each moment: its versions have an end as well.
* Under nearly every collation different texts are equal: they differ in case, in accents or in spaces at their end. A
  unique index over such columns holds elsewhere too, and promises less there: the collation is named. A reference may
  hold only by it, and is not carried.
* All else is named by its kind, and so is what is not understood.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from holdfast.connectors.mysql.tabletext import ColumnSaid, TableSaid, table_said
from holdfast.core.dialect import Definitions, Index, LeftOut
from holdfast.core.records import Column, Reference
from holdfast.core.written import MOMENTS

__all__ = ["definitions_of"]

_Row = Mapping[str, Any]
_ROW_END = "row_end"
_TEXTUAL = ("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set")
_WEAKER = "texts that it calls equal may be different elsewhere, so unique ones promise less"


def definitions_of(rows: Iterable[_Row], names: Sequence[str], is_whole: bool) -> Definitions:
    """What the records of `mysql:schema` say of the collections named; of things that belong to no table only if
    everything `is_whole`.
    """
    return _Reading(frozenset(names), is_whole).read(list(rows))


def _readable(column: Column) -> tuple[str, ...]:
    """In a column of text stands text; in any other of several types a time, and what is none as it was written."""
    return ("text",) if column.declared.lower().startswith(_TEXTUAL) else (*MOMENTS, "source")


class _Reading:
    def __init__(self, names: frozenset[str], is_whole: bool) -> None:
        self._names = names
        self._is_whole = is_whole
        self._not_null: dict[str, frozenset[str]] = {}
        self._computed: dict[str, tuple[str, ...]] = {}
        self._indexes: dict[str, list[Index]] = defaultdict(list)
        self._unfit: dict[str, dict[Reference, str]] = defaultdict(dict)
        self._left_out: list[LeftOut] = []
        self._tables: dict[str, TableSaid] = {}

    def read(self, rows: Sequence[_Row]) -> Definitions:
        self._tables = {row["name"]: table_said(str(row["sql"])) for row in rows if row["type"] == "TABLE"}
        for row in rows:
            self._look_at(row)
        return Definitions(
            "mysql",
            self._not_null,
            self._computed,
            {name: tuple(found) for name, found in self._indexes.items()},
            tuple(self._left_out),
            self._unfit,
            _readable,
        )

    def _look_at(self, row: _Row) -> None:
        kind, name = str(row["type"]), str(row["name"])
        if kind == "TABLE":
            if name in self._names:
                self._table(name, self._tables[name])
            elif self._is_whole:
                self._lose("table", name, "the vault holds no records of it")
        elif kind != "DATABASE" and (row["table_name"] in self._names or (self._is_whole and not row["table_name"])):
            self._lose(kind.lower(), name)

    def _lose(self, kind: str, name: str, reason: str = "") -> None:
        self._left_out.append(LeftOut(kind, name, reason))

    def _table(self, name: str, said: TableSaid) -> None:
        columns = said.columns.values()
        self._not_null[name] = frozenset(each.name for each in columns if each.is_not_null)
        self._computed[name] = tuple(each.name for each in columns if each.is_computed)
        for each in columns:
            for kind, why in [] if each.is_computed else each.acts:
                self._lose(kind, f"{name}.{each.name}", why)
        for kind, told in said.rules:
            self._lose(kind, f"{name}: {told}")
        for told in said.unknown:
            self._lose("definition", f"{name}: {told}", "not understood")
        for kind, is_there in (
            ("comment", "COMMENT" in said.options),
            ("partitions", said.is_partitioned),
            ("versioning", said.is_versioned),
        ):
            if is_there:
                self._lose(kind, name)
        for collation in sorted(
            {said.collation(each) for each in columns if not (each.is_json or _is_exact(said, each))}
        ):
            self._lose("collation", f"{name}: {collation}", _WEAKER)
        self._index(name, said)
        self._refer(name, said)

    def _index(self, name: str, said: TableSaid) -> None:
        for each in said.indexes:
            told = f"{name}_primary" if each.kind == "PRIMARY" else each.name
            if each.columns is None:
                kind = "index" if each.kind in ("", "PRIMARY", "UNIQUE") else f"{each.kind.lower()} index"
                self._lose(kind, f"{name}: {told}", "not over whole columns" if kind == "index" else "")
                continue
            is_unique = each.kind in ("PRIMARY", "UNIQUE")
            end = _row_end(said) if is_unique and said.is_versioned else ""
            columns = (*each.columns, end) if end and end not in each.columns else each.columns
            self._indexes[name].append(Index(told, columns, is_unique))

    def _refer(self, name: str, said: TableSaid) -> None:
        for told, reference, actions in said.references:
            if actions:
                self._lose("action of a foreign key", f"{name}: {told}", actions)
            reference = self._as_known(reference)
            if why := self._obstacle(said, reference):
                self._unfit[name][reference] = why

    def _as_known(self, reference: Reference) -> Reference:
        """The reference with its target's name as the collection has it: some servers fold names."""
        folded = {name.casefold(): name for name in self._tables}
        target = reference.target
        known = target if target in self._tables else folded.get(target.casefold(), target)
        return Reference(reference.columns, known, reference.target_columns)

    def _obstacle(self, said: TableSaid, reference: Reference) -> str:
        """Why no other engine could hold to a reference; "" if one can."""
        other = self._tables.get(reference.target)
        if other is None:
            return ""
        led = set(reference.target_columns)
        unique = [set(each.columns) for each in other.indexes if each.columns and each.kind in ("PRIMARY", "UNIQUE")]
        if other.is_versioned or led not in unique:
            return "what it leads to is not unique"
        for table, names in ((said, reference.columns), (other, reference.target_columns)):
            for name in names:
                column = table.columns.get(name)
                if column and not _is_exact(table, column):
                    return f"by the collation {table.collation(column)} a text may lead to a different one"
        return ""


def _row_end(said: TableSaid) -> str:
    return next((each.name for each in said.columns.values() if each.is_row_end), _ROW_END)


def _is_exact(said: TableSaid, column: ColumnSaid) -> bool:
    """Whether only the same texts are equal in a column. Of CHAR the server gives no space at the end anyhow."""
    collation = said.collation(column)
    is_binary = collation.endswith("_bin") and (
        column.width_is_fixed or collation.endswith(("_nopad_bin", "_0900_bin"))
    )
    return not column.is_text or is_binary
