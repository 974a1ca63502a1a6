"""A PostgreSQL database for records of another engine: tables as the mapping says, records, then what stands on them.

* Values lie in the type that people expect, wherever that holds each of them: `numeric` without a length keeps 1.10 as
  it was written. A column with a value beyond its type is kept as text: a date before 4714 BC, a number written with a
  zero in front, text that PostgreSQL does not call JSON.
* Text can't have a NUL here: such a one is kept in hexadecimal, and one that would be read as that.
* Names keep their case. They have at most 63 bytes; PostgreSQL itself would cut longer ones, and take two for one.
* A database that does not exist yet gets its name when it is complete; an empty one stays so if anything fails.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import psycopg

from holdfast.connectors.postgres.connection import qualified, quoted, shown, translated
from holdfast.connectors.postgres.loading import copy_all
from holdfast.connectors.postgres.naming import SYSTEM_PREFIX, collection_name
from holdfast.connectors.postgres.place import Place, open_place
from holdfast.connectors.postgres.references import count_unproven
from holdfast.connectors.postgres.silence import may_be_silent
from holdfast.core.dialect import Dialect, Kept
from holdfast.core.fits import json_texts, moments_between, plain_numbers
from holdfast.core.forms import FORMS
from holdfast.core.mapping import NamedMapping
from holdfast.core.ports import Created, View
from holdfast.core.records import MIXED, Column, Reference
from holdfast.core.ways import CollectionMap, Unfit
from holdfast.errors import Damaged, Refused

__all__ = ["DIALECT", "create_mapped"]

_SCHEMA = "public"
_NAME_BYTES_MAX = 63
_COLUMNS_MAX, _KEY_COLUMNS_MAX = 1600, 32
# What every table has beside its own columns.
_SYSTEM = frozenset(("tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"))
_SETTINGS = (
    "SET LOCAL client_min_messages = warning",
    "SET LOCAL synchronous_commit = on",
    "SET LOCAL maintenance_work_mem = '256MB'",
)

# https://www.postgresql.org/docs/15/datatype-datetime.html: from 4713 BC, the Julian day 0.
_FIRST_DAY, _LAST_DAY = -2_440_588, 2_145_042_905
_DAY = 86_400_000_000
_LAST_COUNT = (1 << 63) - 1
# https://www.postgresql.org/docs/15/datatype-numeric.html: digits before and behind the point.
_DIGITS = 131_072, 16_383
# Far less than what a stack of 100 kB, the least there is, lets the server read.
_LEVELS = 200
# Declarations that let one expect numbers, in engines whose columns may hold anything.
_NUMERIC = re.compile(r"(tiny|small|medium|big)?int|num|dec|real|doub|float|money", re.IGNORECASE)

_ITSELF = FORMS["itself"]
_TEXT = Kept(FORMS["clear text"], "text", otherwise=Kept(FORMS["bytes"], "bytea"))
_JSON = Kept(_ITSELF.only(json_texts(_LEVELS), "the type json"), "json", key_bytes=None, otherwise=_TEXT)
_KEPT = {
    "bool": Kept(_ITSELF, "boolean"),
    "int": Kept(_ITSELF, "bigint"),
    "uint": Kept(FORMS["digits"], "numeric(20)"),
    "float": Kept(_ITSELF, "double precision"),
    "float32": Kept(_ITSELF, "real"),
    "decimal": Kept(
        _ITSELF.only(plain_numbers(*_DIGITS, with_special=True), "the type numeric"), "numeric", otherwise=_TEXT
    ),
    "text": Kept(FORMS["clear"], "text", otherwise=Kept(FORMS["bytes"], "bytea")),
    "rawtext": Kept(FORMS["bytes"], "bytea"),
    "bytes": Kept(_ITSELF, "bytea"),
    "date": Kept(_ITSELF.only(moments_between(_FIRST_DAY, _LAST_DAY), "the type date"), "date", otherwise=_TEXT),
    "time": Kept(_ITSELF.only(moments_between(0, _DAY), "the type time"), "time", otherwise=_TEXT),
    **{
        name: Kept(
            _ITSELF.only(moments_between(_FIRST_DAY * _DAY, _LAST_COUNT), f"the type {name}"), name, otherwise=_TEXT
        )
        for name in ("timestamp", "timestamptz")
    },
    "uuid": Kept(_ITSELF, "uuid"),
    "json": _JSON,
    "source": _TEXT,
    "mixed": Kept(FORMS["text"], "text", otherwise=Kept(FORMS["tagged"], "bytea")),
}


_NUMBERS = Kept(FORMS["numbers"], "numeric", otherwise=_KEPT["mixed"])


def _kept(column: Column, is_keyed: bool) -> Kept | None:
    """The type json has no equality, so nothing can be keyed by it; to numeric 1 and 1.0 are equal."""
    if is_keyed and column.type == "json":
        return _TEXT
    if not is_keyed and column.type == MIXED and _NUMERIC.match(column.declared):
        return _NUMBERS
    return _KEPT.get(column.type)


def _usable(name: str, ending: str) -> str:
    whole = name.replace("\x00", "_") or "_"
    if whole in _SYSTEM or whole.startswith(SYSTEM_PREFIX):
        whole = f"_{whole}"
    return whole.encode()[: _NAME_BYTES_MAX - len(ending.encode())].decode(errors="ignore") + ending


def _called(name: str) -> str:
    return collection_name(_SCHEMA, name)


DIALECT = Dialect("postgres", _kept, _usable, str, _called, columns_max=_COLUMNS_MAX, key_columns_max=_KEY_COLUMNS_MAX)


def create_mapped(url: str, mapping: NamedMapping, views: Iterable[View]) -> Created:
    """Build the database that `url` names of views in the form that the mapping gives them: complete, or not at all.

    Raises Refused if it holds anything already, or does not keep text in UTF-8.
    """
    with translated(shown(url)), open_place(url, ()) as place:
        encoding = place.connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise Refused(
                f"{shown(url)} keeps text in {encoding}, which lacks characters that records may have",
                hint="name a database that does not exist yet: it is made in UTF-8",
            )
        return _Building(place, mapping).build(views)


class _Building:
    """The inside of a new database, in the order in which it is built."""

    def __init__(self, place: Place, mapping: NamedMapping) -> None:
        self._place = place
        self._connection = place.connection
        self._mapping = mapping
        self._not_covered = list(place.notes)

    def build(self, views: Iterable[View]) -> Created:
        connection = self._connection
        if self._place.spare is None:
            with connection.transaction():
                self._make_tables()
                records = self._fill(views)
                dangling = self._finish()
        else:
            with connection.transaction():
                self._make_tables()
            records = self._fill(views)
            with connection.transaction():
                dangling = self._finish()
        return Created(records, tuple(self._not_covered), dangling)

    def _make_tables(self) -> None:
        self._set()
        if self._connection.execute("SELECT to_regnamespace(%s)", (_SCHEMA,)).fetchall() == [(None,)]:
            self._run(f"CREATE SCHEMA {_SCHEMA}")
        for one in self._mapping.collections:
            parts = [
                f"{quoted(each.name)} {each.declared}{' NOT NULL' if each.not_null else ''}" for each in one.carried
            ]
            try:
                self._run(f"CREATE TABLE {_table(one.table)} ({', '.join(parts)})")
            except (psycopg.errors.ProgramLimitExceeded, psycopg.errors.TooManyColumns) as error:
                raise _refused(one.name, error) from error

    def _fill(self, views: Iterable[View]) -> int:
        return sum(self._copy(self._mapping.of(view.name), view) for view in views)

    def _copy(self, one: CollectionMap, view: View) -> int:
        try:
            return copy_all(self._place, _table(one.table), view, one.stored, ", FREEZE")
        except psycopg.IntegrityError as error:
            raise _broken(one.name, error) from error
        except (psycopg.DataError, psycopg.errors.ProgramLimitExceeded) as error:
            raise _unfit(one, error) or _refused(one.name, error) from error

    def _finish(self) -> int:
        """What stands on records. Named indexes come first, for unnamed ones take names that are free then."""
        self._set()
        for one in self._mapping.collections:
            table = _table(one.table)
            for index in one.indexes:
                kind = "UNIQUE INDEX" if index.is_unique else "INDEX"
                told = f"the index {index.name} of {one.name}"
                self._try(told, one, f"CREATE {kind} {quoted(index.name)} ON {table} ({_listed(index.columns)})")
            if one.key:
                self._try(f"the key of {one.name}", one, f"ALTER TABLE {table} ADD PRIMARY KEY ({_listed(one.key)})")
            for columns in one.unique:
                told = f"that {', '.join(columns)} of {one.name} are unique"
                self._try(told, one, f"ALTER TABLE {table} ADD UNIQUE ({_listed(columns)})")
        for one in self._mapping.collections:
            for reference in one.references:
                self._refer(one, reference)
        return count_unproven(self._connection)

    def _refer(self, one: CollectionMap, reference: Reference) -> None:
        """Declare a reference; records that lead nowhere, as in the source, leave it unproven."""
        name = quoted(self._free_name(one.table, reference))
        table, target = _table(one.table), _table(reference.target)
        self._try(
            f"the reference of {one.name} ({', '.join(reference.columns)}) to {reference.target}",
            one,
            f"ALTER TABLE {table} ADD CONSTRAINT {name} FOREIGN KEY ({_listed(reference.columns)}) "
            f"REFERENCES {target} ({_listed(reference.target_columns)}) NOT VALID",
        )
        try:
            with self._connection.transaction():
                self._run(f"ALTER TABLE {table} VALIDATE CONSTRAINT {name}")
        except (psycopg.errors.ForeignKeyViolation, psycopg.errors.UndefinedObject):
            pass

    def _free_name(self, table: str, reference: Reference) -> str:
        """A name that no constraint of the table has."""
        query = "SELECT conname::text FROM pg_constraint WHERE conrelid = %s::regclass"
        taken = {name for (name,) in self._connection.execute(query, (_table(table),))}
        wanted, number, ending = f"{table}_{'_'.join(reference.columns)}", 1, "_fkey"
        while _usable(wanted, ending) in taken:
            number += 1
            ending = f"_fkey{number}"
        return _usable(wanted, ending)

    def _try(self, told: str, one: CollectionMap, sql: str) -> None:
        """Do without what PostgreSQL can't have over these values, and say so: a key of more than 2,704 bytes."""
        try:
            with self._connection.transaction():
                self._run(sql)
        except (psycopg.errors.ProgramLimitExceeded, psycopg.errors.InvalidForeignKey) as error:
            self._not_covered.append(f"{told}: {error.diag.message_primary}")
        except psycopg.IntegrityError as error:
            raise _broken(one.name, error) from error

    def _set(self) -> None:
        # Event triggers of an empty database would fire for what is made.
        may_be_silent(self._connection)
        for setting in _SETTINGS:
            self._run(setting)

    def _run(self, sql: str) -> None:
        self._connection.execute(sql.encode())


def _table(name: str) -> str:
    return qualified(_SCHEMA, name)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(quoted, names))


def _broken(collection: str, error: psycopg.Error) -> Damaged:
    told = error.diag.message_primary or str(error)
    return Damaged(f"{collection}: its records do not fit its definition: {told}; nothing was written")


def _unfit(one: CollectionMap, error: psycopg.Error) -> Unfit | None:
    """The column of which the server says that a value does not fit its type, if there is another form for it."""
    told = (error.diag.context or "").rpartition("\n")[2]
    for column in one.carried:
        where = rf"COPY {re.escape(one.table)}, line \d+, column {re.escape(column.name)}(: |$)"
        if column.otherwise is not None and re.match(where, told):
            return Unfit(one.name, column.source.name, error.diag.message_primary or "its type can't hold a value")
    return None


def _refused(collection: str, error: psycopg.Error) -> Refused:
    told = ": ".join(filter(None, (error.diag.message_primary, error.diag.context)))
    return Refused(
        f"{collection}: PostgreSQL can't hold its records: {told[:300]}; nothing was written",
        hint="name the other collections, or restore to another engine",
    )
