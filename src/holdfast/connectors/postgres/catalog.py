"""What a PostgreSQL database says about itself: tables, columns, keys, references, and which server it is.

Only the catalog is read here; what the rows prove about types is in `proof`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from holdfast.connectors.postgres.connection import Connection, qualified, quoted, translated
from holdfast.connectors.postgres.naming import RESERVED, SYSTEM_PREFIX, collection_name
from holdfast.connectors.postgres.questions import COLUMNS, INDEXES, REFERENCES, RELATIONS, STORAGE
from holdfast.connectors.postgres.server import Server, load_server
from holdfast.core.records import Reference

__all__ = ["RESERVED", "Catalog", "Table", "TableColumn", "collection_name", "load_catalog"]

_KINDS = {
    16: "bool",
    17: "bytes",
    **dict.fromkeys((20, 21, 23, 26), "int"),
    **dict.fromkeys((19, 25, 1042, 1043), "text"),
    700: "float32",
    701: "float",
    1700: "decimal",
    2950: "uuid",
    **dict.fromkeys((114, 3802), "json"),
    1082: "date",
    1083: "time",
    1114: "timestamp",
    1184: "timestamptz",
}


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column. `kind` is the canonical type of its ordinary values; `declared` is format_type's text.

    `identity` is 'a' (always), 'd' (by default) or ''. `position` is attnum. `type_oid` is of the column as declared,
    `base_oid` of the type under its domains, if any. `in_byte_order` says that the server sorts its ordinary values
    as their canonical bytes sort.
    """

    name: str
    type_oid: int
    base_oid: int
    declared: str
    kind: str
    not_null: bool
    is_generated: bool
    identity: str
    position: int
    in_byte_order: bool


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose rows are records. `columns` has all of its columns, `stored` those of the records.

    `identity_columns` are those by which the log names an old row: none, if it names no old rows. `storage` names the
    files that hold its rows, those of partitions too: TRUNCATE and rewrites change it. `refusal` says why this user
    can't read it whole, if so; `denied` whether for want of a right to its schema, its table or its rows.
    """

    oid: int
    schema: str
    name: str
    collection: str
    columns: tuple[TableColumn, ...]
    key: tuple[str, ...]
    replica_identity: str
    identity_columns: tuple[str, ...]
    is_partitioned: bool
    is_logged: bool
    references: tuple[Reference, ...]
    has_toastable: bool
    storage: tuple[int, ...]
    refusal: str
    denied: str

    @property
    def stored(self) -> tuple[TableColumn, ...]:
        """The columns of the records: all but the generated ones, which the engine computes."""
        return tuple(column for column in self.columns if not column.is_generated)

    @property
    def is_readable(self) -> bool:
        """Whether this user may read all of its rows."""
        return not self.refusal

    @property
    def untold(self) -> str:
        """Why not every change of its records is in the log under the record's key, if so."""
        if not self.is_readable:
            return self.refusal
        if not self.is_logged:
            return "it is unlogged: its changes are in no log"
        if not self.key:
            return "it has no key: equal records can't be told apart"
        if not {*self.key} <= {*self.identity_columns}:
            return "the log does not name its key: see holdfast check for its replica identity"
        return ""

    @property
    def sql_name(self) -> str:
        """The table's name for SQL, with its schema."""
        return qualified(self.schema, self.name)

    @property
    def sql_source(self) -> str:
        """What stands after FROM for the table's own rows: a child table's are a collection of their own."""
        return self.sql_name if self.is_partitioned else f"ONLY {self.sql_name}"


@dataclass(frozen=True, slots=True)
class Catalog:
    """The tables by collection name, and the server they are on. `not_covered` says in words what is left out."""

    tables: Mapping[str, Table]
    server: Server
    not_covered: tuple[str, ...] = ()

    @property
    def version(self) -> int:
        return self.server.version

    @property
    def encoding(self) -> str:
        return self.server.encoding

    @property
    def system_identifier(self) -> str:
        return self.server.system_identifier

    @property
    def timeline(self) -> int:
        return self.server.timeline


def load_catalog(connection: Connection) -> Catalog:
    """Read the catalog as the connection's transaction sees it, in a few questions, however many tables there are."""
    with translated("the catalog"):
        return _load(connection)


def _load(connection: Connection) -> Catalog:
    server = load_server(connection)
    columns = _by_table(connection.execute(COLUMNS, {"by_bytes": server.encoding == "UTF8"}).fetchall())
    indexes = _by_table(connection.execute(INDEXES).fetchall())
    storage = _by_table(connection.execute(STORAGE).fetchall())
    tables: dict[int, Table] = {}
    left_out = []
    for oid, schema, name, kind, is_member, persistence, identity, denied in connection.execute(RELATIONS):
        if kind in _LEFT_OUT or is_member:
            told = _LEFT_OUT["member" if is_member else kind]
            if told:
                left_out.append(told.format(collection_name(schema, name)))
            continue
        found = tuple(_column(row) for row in columns[oid])
        key, identity_columns = _keys(found, indexes[oid], identity)
        tables[oid] = Table(
            oid=oid,
            schema=schema,
            name=name,
            collection=collection_name(schema, name),
            columns=found,
            key=key,
            replica_identity=identity,
            identity_columns=identity_columns,
            is_partitioned=kind == "p",
            is_logged=persistence == "p",
            references=(),
            has_toastable=any(row[-1] for row in columns[oid]),
            storage=tuple(sorted(file for (file,) in storage[oid])),
            refusal=_refusal(denied, (schema, name, server.user), found),
            denied=denied or "",
        )
    keys = _by_table(connection.execute(REFERENCES).fetchall())
    complete = [replace(table, references=_references(keys[oid], tables, table)) for oid, table in tables.items()]
    by_name = {table.collection: table for table in sorted(complete, key=lambda table: table.collection)}
    return Catalog(by_name, server, tuple(left_out))


def _by_table(rows: Sequence[tuple[Any, ...]]) -> dict[int, list[tuple[Any, ...]]]:
    found: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
    for oid, *row in rows:
        found[oid].append(tuple(row))
    return found


def _column(row: tuple[Any, ...]) -> TableColumn:
    number, name, type_oid, base_oid, declared, not_null, generated, identity, in_byte_order, _ = row
    kind = _KINDS.get(base_oid, "source")
    is_generated = generated != ""
    return TableColumn(
        name, type_oid, base_oid, declared, kind, not_null, is_generated, identity, number, in_byte_order
    )


def _refusal(denied: str | None, who: tuple[str, str, str], columns: Sequence[TableColumn]) -> str:
    """Why the table can't be read whole by this user, with the statement that mends it."""
    schema, table, user = who[0], qualified(*who[:2]), quoted(who[2])
    if denied == "schema":
        return f"this user may not use its schema; mend it with: GRANT USAGE ON SCHEMA {quoted(schema)} TO {user}"
    if denied == "table":
        return f"this user may not read it; mend it with: GRANT SELECT ON {table} TO {user}"
    if denied == "rows":
        return f"row security hides rows of it from this user; mend it with: ALTER ROLE {user} BYPASSRLS"
    for column in columns:
        if column.name.startswith(SYSTEM_PREFIX):
            return f"its column {column.name} has a name that Holdfast needs for itself; rename it"
    return "" if any(not column.is_generated for column in columns) else "it has no columns to keep"


def _keys(
    columns: Sequence[TableColumn], indexes: Sequence[tuple[Any, ...]], identity: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The key of the records, and the columns by which the log names an old row."""
    by_number = {column.position: column for column in columns}
    key: tuple[str, ...] = ()
    replicated = tuple(column.name for column in columns if not column.is_generated) if identity == "f" else ()
    candidates = []
    for numbers, is_primary, is_immediate, is_replica in indexes:
        # An expression has number 0, a system column a negative one.
        parts = [by_number[number] for number in numbers if number in by_number]
        names = tuple(column.name for column in parts)
        is_whole = len(parts) == len(numbers) and all(column.not_null for column in parts)
        if is_immediate and (is_replica if identity == "i" else is_primary and identity == "d"):
            replicated = names
        if is_whole and not any(column.is_generated for column in parts):
            if is_primary:
                key = names
            elif is_immediate:
                candidates.append(names)
    if not key and candidates:
        # The same choice at every capture.
        key = min(candidates, key=lambda names: (len(names), names))
    return key, replicated


def _references(rows: Sequence[tuple[Any, ...]], tables: Mapping[int, Table], table: Table) -> tuple[Reference, ...]:
    found = []
    for target_oid, numbers, target_numbers in rows:
        target = tables.get(target_oid)
        if target is not None:
            columns = _named(table, numbers)
            target_columns = _named(target, target_numbers)
            if len(columns) == len(numbers) and len(target_columns) == len(target_numbers):
                found.append(Reference(columns, target.collection, target_columns))
    return tuple(found)


def _named(table: Table, numbers: Sequence[int]) -> tuple[str, ...]:
    names = {column.position: column.name for column in table.stored}
    return tuple(names[number] for number in numbers if number in names)


_LEFT_OUT = {
    "f": "{}: a foreign table, of which only the definition is kept: its records lie on another server",
    "m": "",  # what it shows is computed, and the definitions say whether it was
    "member": "{}: a table that belongs to an extension, of which nothing is kept: the extension makes it anew",
}
