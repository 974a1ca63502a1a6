"""What a MariaDB database says about itself: tables, columns, keys, references, and which server it is on.

Only the catalog is read here; what the rows prove about types is in `proof`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pymysql

from holdfast.connectors.mysql.cascades import Acting, load_acting
from holdfast.connectors.mysql.connection import Connection, literal, qualified, quoted, translated
from holdfast.connectors.mysql.questions import CHECKS, COLUMNS, INDEXES, PRIVILEGES, REFERENCES, SERVER, TABLES
from holdfast.core.records import Reference
from holdfast.errors import Unsupported

__all__ = ["RESERVED", "SYSTEM_PREFIX", "Catalog", "Server", "Table", "TableColumn", "load_catalog", "load_server"]

RESERVED = "mysql:"
SYSTEM_PREFIX = "holdfast:"
TIMESTAMPED, NUMBERED = "timestamp", "transaction"

_KINDS = {
    **dict.fromkeys(("tinyint", "smallint", "mediumint", "int", "bigint", "year"), "int"),
    "bit": "uint",
    "float": "float32",
    "double": "float",
    "decimal": "decimal",
    **dict.fromkeys(("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set"), "text"),
    **dict.fromkeys(("binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"), "bytes"),
    "date": "date",
    "datetime": "timestamp",
    "timestamp": "timestamptz",
    "time": "time",
    "json": "json",
    "uuid": "uuid",
    **dict.fromkeys(("inet4", "inet6"), "source"),
    **dict.fromkeys(("geometry", "point", "linestring", "polygon", "multipoint", "multilinestring"), "bytes"),
    **dict.fromkeys(("multipolygon", "geometrycollection", "geomcollection"), "bytes"),
}


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column. `kind` is the canonical type of its ordinary values; `declared` is the server's text for its type.

    `position` counts from 1 among all columns of the table. `octets` is the declared length of text and bytes,
    `precision` that of numbers (of BIT: its bits), `fraction` the digits of a second's fraction. `labels` are those of
    an ENUM or SET. `charset` is empty for what is no text. `is_hidden` columns are left out by `SELECT *`.
    """

    name: str
    position: int
    data_type: str
    declared: str
    kind: str
    charset: str
    not_null: bool
    is_generated: bool
    is_unsigned: bool
    is_hidden: bool
    is_compressed: bool
    octets: int
    precision: int
    scale: int
    fraction: int
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A table whose rows are records. `columns` has all of its columns, `stored` those of the records.

    `versioning` is "timestamp" or "transaction" where the table keeps its own past, else "". `refusal` says why this
    user can't read it whole, if so. Sizes are the server's estimates.
    """

    database: str
    name: str
    columns: tuple[TableColumn, ...]
    key: tuple[str, ...]
    references: tuple[Reference, ...]
    engine: str
    is_transactional: bool
    is_partitioned: bool
    versioning: str
    row_start: str
    row_end: str
    rows_estimate: int
    bytes_estimate: int
    refusal: str

    @property
    def collection(self) -> str:
        """The name of its records' collection."""
        return self.name

    @property
    def stored(self) -> tuple[TableColumn, ...]:
        """The columns of the records: all but the generated ones, which the server computes."""
        return tuple(column for column in self.columns if not column.is_generated)

    @property
    def is_readable(self) -> bool:
        """Whether this user may read all of its rows."""
        return not self.refusal

    @property
    def sql_name(self) -> str:
        """The table's name for SQL, with its database."""
        return qualified(self.database, self.name)

    @property
    def sql_source(self) -> str:
        """What stands after FROM for all rows of the table, those of its own past too."""
        return f"{self.sql_name} FOR SYSTEM_TIME ALL" if self.versioning else self.sql_name


@dataclass(frozen=True, slots=True)
class Server:
    """A server and the database on it. `version` is (major, minor)."""

    version: tuple[int, int]
    is_mariadb: bool
    database: str
    user: str
    server_id: int
    has_binlog: bool
    folds_names: bool
    charset: str
    collation: str
    packet_bytes: int


@dataclass(frozen=True, slots=True)
class Catalog:
    """The tables by collection name, and the server they are on. `not_covered` says in words what is left out.

    `acting` are the references by which the server alters rows itself.
    """

    tables: Mapping[str, Table]
    server: Server
    not_covered: tuple[str, ...] = ()
    acting: tuple[Acting, ...] = ()


def load_server(connection: Connection) -> Server:
    """Ask the server who it is. Raises Unsupported for a version older than any that Holdfast knows."""
    (row,) = _rows(connection, SERVER)
    told, database, user, server_id, has_binlog, folding, charset, collation, packet = row
    found = re.match(r"(\d+)\.(\d+)", told)
    is_mariadb = "mariadb" in told.lower()
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    oldest = (10, 5) if is_mariadb else (8, 0)
    if version < oldest:
        name = "MariaDB" if is_mariadb else "MySQL"
        raise Unsupported(
            f"{name} {told} is older than any version Holdfast can read",
            hint=f"upgrade the server to {oldest[0]}.{oldest[1]} or later",
        )
    rest = int(server_id), bool(has_binlog), int(folding) != 0, charset, collation, int(packet)
    return Server(version, is_mariadb, database, user, *rest)


def load_catalog(connection: Connection, names: Sequence[str] = ()) -> Catalog:
    """Read the catalog as it is now, in a few questions, however many tables there are.

    Of the tables that are named only, it takes a millisecond; `acting` is empty then.
    """
    with translated("the catalog"):
        return _load(connection, names)


def _load(connection: Connection, names: Sequence[str]) -> Catalog:
    server = load_server(connection)
    place = (server.database, *names)
    only = f" AND TABLE_NAME IN ({', '.join(['%s'] * len(names))})" if names else ""
    columns, indexes, references = (
        _by_table(_rows(connection, each.format(only=only), place)) for each in (COLUMNS, INDEXES, REFERENCES)
    )
    # MySQL has a type for JSON, and does not say of which table a rule is.
    json = _by_table(_rows(connection, CHECKS.format(only=only), place) if server.is_mariadb else [])
    may_read_all = int(_rows(connection, PRIVILEGES, (server.database,))[0][0]) > 0
    tables: dict[str, Table] = {}
    left_out = []
    for name, kind, engine, transactions, is_partitioned, count, size, comment in _rows(
        connection, TABLES.format(only=only), place
    ):
        if kind not in ("BASE TABLE", "SYSTEM VERSIONED") or name.startswith(SYSTEM_PREFIX):
            continue
        if not engine:
            left_out.append(f"{name}: its engine or its files are missing on the server ({comment})")
            continue
        if engine in _ELSEWHERE:
            left_out.append(f"{name}: its records lie elsewhere (engine {engine}): only the definition is kept")
            continue
        rules = {clause for (clause,) in json[name]}
        found = [_column(row, is_json=f"json_valid({quoted(row[0])})" in rules) for row in columns[name]]
        periods = ("", "", "")
        if kind == "SYSTEM VERSIONED":
            found, periods = _versioned(found, columns[name])
        key = _key(found, indexes[name], periods[2])
        tables[name] = Table(
            database=server.database,
            name=name,
            columns=tuple(found),
            key=key,
            references=(),
            engine=engine,
            is_transactional=transactions == "YES",
            is_partitioned=bool(is_partitioned),
            versioning=periods[0],
            row_start=periods[1],
            row_end=periods[2],
            rows_estimate=int(count),
            bytes_estimate=int(size),
            refusal="",
        )
    complete = {}
    for name, table in tables.items():
        refusal = _refusal(connection, table, server, may_read_all=may_read_all)
        complete[name] = replace(table, references=_references(references[name], tables), refusal=refusal)
    acting = () if names else load_acting(connection, complete)
    return Catalog(complete, server, tuple(left_out), acting)


def _rows(connection: Connection, sql: str, arguments: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, tuple(arguments) or None)
        return list(cursor.fetchall())


def _by_table(rows: Sequence[tuple[Any, ...]]) -> dict[str, list[tuple[Any, ...]]]:
    found: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for name, *row in rows:
        found[name].append(tuple(row))
    return found


def _column(row: tuple[Any, ...], *, is_json: bool) -> TableColumn:
    name, position, data_type, told, nullable, charset, octets, precision, scale, fraction, extra, expression = row
    is_unsigned = "unsigned" in told
    kind = _KINDS.get(data_type, "source")
    if data_type == "bigint" and is_unsigned:
        kind = "uint"
    labels = _labels(told) if data_type in ("enum", "set") else ()
    if data_type == "set" and "" in labels:
        kind = "uint"
    if is_json and kind == "text":
        kind = "json"
    extra = extra.upper()
    return TableColumn(
        name=name,
        position=int(position),
        data_type=data_type,
        declared=told if not charset or charset == "utf8mb4" else f"{told} CHARACTER SET {charset}",
        kind=kind,
        charset=charset,
        not_null=not nullable,
        # The columns of a period are written by the server too, but they are the record's own past.
        is_generated=bool(expression) and expression not in ("ROW START", "ROW END"),
        is_unsigned=is_unsigned,
        is_hidden="INVISIBLE" in extra,
        is_compressed="COMPRESSED" in told,
        octets=int(octets),
        precision=int(precision),
        scale=int(scale),
        fraction=int(fraction),
        labels=labels,
    )


def _labels(declared: str) -> tuple[str, ...]:
    """The labels of an ENUM or SET, in order, as its declaration quotes them."""
    return tuple(_ESCAPE.sub(_meant, label) for label in _LABEL.findall(declared))


def _meant(found: re.Match[str]) -> str:
    return found[0][1] if found[0][0] == "'" else _ESCAPED.get(found[0][1], found[0][1])


def _versioned(
    columns: list[TableColumn], rows: Sequence[tuple[Any, ...]]
) -> tuple[list[TableColumn], tuple[str, str, str]]:
    """The columns with those of the row's period, which the catalog leaves out where nobody declared them."""
    named = {row[-1]: row[0] for row in rows if row[-1] in ("ROW START", "ROW END")}
    if named:
        start, end = named["ROW START"], named["ROW END"]
        is_numbered = next(column.data_type for column in columns if column.name == start) == "bigint"
        return columns, (NUMBERED if is_numbered else TIMESTAMPED, start, end)
    facts = ("timestamp", "timestamp(6)", "timestamptz", "")
    flags = (True, False, False, True, False)
    added = [
        TableColumn(name, len(columns) + offset, *facts, *flags, 0, 0, 0, 6, ())
        for offset, name in enumerate(("row_start", "row_end"), 1)
    ]
    return [*columns, *added], (TIMESTAMPED, "row_start", "row_end")


def _key(columns: Sequence[TableColumn], indexes: Sequence[tuple[Any, ...]], row_end: str) -> tuple[str, ...]:
    """The columns that tell records apart: the primary key, else the shortest unique index that can't hold NULL."""
    by_name = {column.name: column for column in columns}
    parts: dict[str, list[tuple[str | None, bool]]] = defaultdict(list)
    for index, column, is_whole in indexes:
        parts[index].append((column, bool(is_whole)))
    fitting: dict[str, tuple[str, ...]] = {}
    for index, found in parts.items():
        names = tuple(name for name, is_whole in found if is_whole and name in by_name)
        usable = [by_name[name] for name in names]
        if len(names) == len(found) and all(each.not_null and not each.is_generated for each in usable):
            fitting[index] = names
    if not fitting:
        return ()
    chosen = fitting.get("PRIMARY") or min(fitting.values(), key=lambda names: (len(names), names))
    # Versions of one record differ in when they ended.
    return (*chosen, row_end) if row_end and row_end not in chosen else chosen


def _references(rows: Sequence[tuple[Any, ...]], tables: Mapping[str, Table]) -> tuple[Reference, ...]:
    grouped: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    for constraint, *part in rows:
        grouped[constraint].append((part[0], part[1], part[2]))
    by_folded = {name.casefold(): name for name in tables}
    found = []
    for parts in grouped.values():
        target = parts[0][1] if parts[0][1] in tables else by_folded.get(parts[0][1].casefold())
        if target is not None:
            found.append(Reference(tuple(p[0] for p in parts), target, tuple(p[2] for p in parts)))
    return tuple(found)


def _refusal(connection: Connection, table: Table, server: Server, *, may_read_all: bool) -> str:
    """Why the table can't be read whole by this user, with the statement that mends it."""
    if not table.stored:
        return "it has no columns to keep"
    if not may_read_all:
        try:
            # The catalog hides columns that this user may not read: only the star stumbles over them.
            names = "".join(f", {quoted(column.name)}" for column in table.stored)
            _rows(connection, f"SELECT *{names} FROM {table.sql_name} LIMIT 0")
        except pymysql.MySQLError as error:
            if not error.args or error.args[0] not in (1142, 1143):
                raise
            user, _, host = server.user.rpartition("@")
            grant = f"GRANT SELECT ON {table.sql_name} TO {literal(user)}@{literal(host)}"
            return f"this user may not read it whole; mend it with: {grant}"
    for column in table.columns:
        if column.name.startswith(SYSTEM_PREFIX):
            return f"its column {column.name} has a name that Holdfast needs for itself; rename it"
    return ""


_ELSEWHERE = ("FEDERATED", "CONNECT", "SPIDER", "MRG_MyISAM", "S3", "BLACKHOLE", "PERFORMANCE_SCHEMA")
_LABEL = re.compile(r"'((?:[^'\\]|''|\\.)*)'", re.DOTALL)
_ESCAPE = re.compile(r"''|\\.", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "0": "\0", "t": "\t", "b": "\b", "Z": "\x1a"}
