"""References that lead nowhere, looked for only among what a plan has touched: the server does not look.

* With its checks on, MariaDB would look after each statement, and delete or change records the plan does not know.
* Candidates are the values that written records refer to, and the values under which removed or changed records were
  referred to. A reference that a record had before, and keeps, is no candidate: it is not the plan's doing.
* At the end the records referred to are locked as the server's own check does it, so none can go before the commit.
* References from other databases count too, as far as this user may see them; those by generated columns don't.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from holdfast.connectors.mysql.catalog import SYSTEM_PREFIX
from holdfast.connectors.mysql.connection import Connection, qualified, quoted
from holdfast.connectors.mysql.staging import listed, run

__all__ = ["References"]

# The names for SQL that the columns of a table have in a stage.
Staged = Mapping[str, str]

_KEYS = """
    SELECT k.CONSTRAINT_SCHEMA, k.CONSTRAINT_NAME, k.TABLE_SCHEMA, k.TABLE_NAME, t.TABLE_SCHEMA, t.TABLE_NAME,
        k.COLUMN_NAME, k.REFERENCED_COLUMN_NAME
    FROM information_schema.KEY_COLUMN_USAGE k JOIN information_schema.TABLES t
        ON t.TABLE_SCHEMA = k.REFERENCED_TABLE_SCHEMA AND t.TABLE_NAME = k.REFERENCED_TABLE_NAME
    WHERE k.TABLE_SCHEMA = %s OR k.REFERENCED_TABLE_SCHEMA = %s
    ORDER BY k.CONSTRAINT_SCHEMA, k.TABLE_NAME, k.CONSTRAINT_NAME, k.ORDINAL_POSITION
"""


class _ForeignKey(NamedTuple):
    number: int
    database: str
    child: tuple[str, str]
    parent: tuple[str, str]
    columns: tuple[str, ...]
    target_columns: tuple[str, ...]

    @property
    def coming(self) -> str:
        """The table of values that written records refer to."""
        return qualified(self.database, f"{SYSTEM_PREFIX}refers {self.number}")

    @property
    def leaving(self) -> str:
        """The table of values under which removed or changed records were referred to."""
        return qualified(self.database, f"{SYSTEM_PREFIX}referred {self.number}")

    def leads(self, values: str, columns: Sequence[str], parent: str) -> str:
        """A condition that a record of the parent has these values of a child."""
        pairs = zip(self.target_columns, columns, strict=True)
        return " AND ".join(f"{parent}.{quoted(target)} = {values}.{quoted(column)}" for target, column in pairs)


class References:
    """The references of and to some tables of one database, in one transaction."""

    def __init__(self, connection: Connection, database: str, tables: Iterable[str]) -> None:
        self._connection = connection
        self._database = database
        self._keys = list(_load(connection, database, set(tables)))
        for key in self._keys:
            for name, source, columns in (
                (key.coming, key.child, key.columns),
                (key.leaving, key.parent, key.target_columns),
            ):
                sql = f"CREATE TEMPORARY TABLE {name} ENGINE=InnoDB AS SELECT {listed(columns)} FROM"
                run(connection, f"{sql} {qualified(*source)} LIMIT 0")

    def insert(self, table: str, stage: str, staged: Staged) -> None:
        """Note what the rows of a stage refer to; they are about to be written to the table."""
        for key in self._of(table, staged):
            values = [f"s.{staged[name]}" for name in key.columns]
            self._note(key.coming, values, f"{stage} s WHERE {_is_whole(values)}")

    def update(self, table: str, joined: str, staged: Staged) -> None:
        """Note what changes: `joined` is the stage as `s` joined with the table as `t`, not written yet."""
        for key in self._of(table, staged):
            values = [f"s.{staged[name]}" for name in key.columns]
            source = f"{joined} WHERE {_is_whole(values)} AND {_differs(key.columns, staged)}"
            self._note(key.coming, values, source)
        for key in self._to(table):
            if all(name in staged for name in key.target_columns):
                values = [f"t.{quoted(name)}" for name in key.target_columns]
                self._note(key.leaving, values, f"{joined} WHERE {_differs(key.target_columns, staged)}")

    def delete(self, table: str, joined: str) -> None:
        """Note under which values the records that are about to go are referred to."""
        for key in self._to(table):
            self._note(key.leaving, [f"t.{quoted(name)}" for name in key.target_columns], joined)

    def dangling(self) -> list[tuple[str, int, str, str]]:
        """For each foreign key with new references that lead nowhere: table, how many values, one of them, parent."""
        found = []
        for key in self._keys:
            child, parent = qualified(*key.child), qualified(*key.parent)
            led = key.leads("v", key.columns, "p")
            run(self._connection, f"SELECT count(*) FROM {key.coming} v JOIN {parent} p ON {led} LOCK IN SHARE MODE")
            coming = f"{key.coming} v WHERE NOT EXISTS (SELECT 1 FROM {parent} p WHERE {led})"
            same = key.leads("v", key.target_columns, "p")
            pairs = zip(key.columns, key.target_columns, strict=True)
            held = " AND ".join(f"c.{quoted(own)} = v.{quoted(target)}" for own, target in pairs)
            leaving = (
                f"{key.leaving} v WHERE EXISTS (SELECT 1 FROM {child} c WHERE {held}) "
                f"AND NOT EXISTS (SELECT 1 FROM {parent} p WHERE {same})"
            )
            for source, columns in ((coming, key.columns), (leaving, key.target_columns)):
                told = ", ".join(f"CAST(v.{quoted(name)} AS CHAR)" for name in columns)
                ((count, value),) = run(
                    self._connection, f"SELECT count(*), min(concat_ws(', ', {told})) FROM {source}"
                )
                if count:
                    values = f"({', '.join(key.columns)}) = ({value})"
                    found.append((self._told(key.child), int(count), values, self._told(key.parent)))
        return found

    def _of(self, table: str, staged: Staged) -> Iterator[_ForeignKey]:
        own = (key for key in self._keys if key.child == (self._database, table))
        return (key for key in own if all(name in staged for name in key.columns))

    def _to(self, table: str) -> Iterator[_ForeignKey]:
        return (key for key in self._keys if key.parent == (self._database, table))

    def _note(self, table: str, values: Sequence[str], source: str) -> None:
        run(self._connection, f"INSERT INTO {table} SELECT DISTINCT {', '.join(values)} FROM {source}")

    def _told(self, table: tuple[str, str]) -> str:
        return table[1] if table[0] == self._database else ".".join(table)


def _load(connection: Connection, database: str, tables: set[str]) -> Iterator[_ForeignKey]:
    """Foreign keys of and to these tables; one whose parent is no table at all has nothing to lead to."""
    grouped: dict[tuple[str, ...], list[tuple[str, str]]] = defaultdict(list)
    for *names, column, target in run(connection, _KEYS, (database, database)):
        grouped[tuple(names)].append((column, target))
    for number, ((_, _, *both), columns) in enumerate(grouped.items()):
        child, parent = (both[0], both[1]), (both[2], both[3])
        if any(each[0] == database and each[1] in tables for each in (child, parent)):
            own, target = zip(*columns, strict=True)
            yield _ForeignKey(number, database, child, parent, own, target)


def _is_whole(values: Sequence[str]) -> str:
    """A row with a NULL among these columns refers to nothing."""
    return " AND ".join(f"{value} IS NOT NULL" for value in values)


def _differs(columns: Sequence[str], staged: Staged) -> str:
    return "NOT (" + " AND ".join(f"s.{staged[name]} <=> t.{quoted(name)}" for name in columns) + ")"
