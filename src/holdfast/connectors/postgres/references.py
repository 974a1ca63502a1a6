"""References that lead nowhere, looked for only among what a plan has touched, while PostgreSQL itself does not look.

* Candidates are the values that written records refer to, and the values under which removed or changed records were
  referred to. A reference that a record had before, and keeps, is no candidate: it is not the plan's doing.
* At the end the records referred to are locked as PostgreSQL's own check does it, so none can go before the commit.
* Foreign keys of a single partition, not of its whole table, are not looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from holdfast.connectors.postgres.catalog import collection_name
from holdfast.connectors.postgres.connection import Connection, qualified, quoted

__all__ = ["References", "count_unproven"]

_KEYS = """
    SELECT k.oid::bigint, k.conrelid::bigint, k.confrelid::bigint,
        cn.nspname, c.relname, c.relkind = 'p', pn.nspname, p.relname, p.relkind = 'p',
        (SELECT array_agg(a.attname::text ORDER BY x.n) FROM unnest(k.conkey) WITH ORDINALITY x(number, n)
            JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = x.number),
        (SELECT array_agg(a.attname::text ORDER BY x.n) FROM unnest(k.confkey) WITH ORDINALITY x(number, n)
            JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = x.number),
        (SELECT array_agg(format('OPERATOR(%%I.%%s)', n.nspname, o.oprname) ORDER BY x.n)
            FROM unnest(k.conpfeqop) WITH ORDINALITY x(oid, n) JOIN pg_operator o ON o.oid = x.oid
            JOIN pg_namespace n ON n.oid = o.oprnamespace),
        (SELECT array_agg(format('OPERATOR(%%I.%%s)', n.nspname, o.oprname) ORDER BY x.n)
            FROM unnest(k.conppeqop) WITH ORDINALITY x(oid, n) JOIN pg_operator o ON o.oid = x.oid
            JOIN pg_namespace n ON n.oid = o.oprnamespace)
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace cn ON cn.oid = c.relnamespace
        JOIN pg_class p ON p.oid = k.confrelid JOIN pg_namespace pn ON pn.oid = p.relnamespace
    WHERE k.contype = 'f' AND k.conparentid = 0 AND
"""


class _ForeignKey(NamedTuple):
    oid: int
    told: tuple[str, str]
    child_oid: int
    parent_oid: int
    child: str
    parent: str
    columns: tuple[str, ...]
    target_columns: tuple[str, ...]
    across: tuple[str, ...]
    within: tuple[str, ...]

    @property
    def coming(self) -> str:
        """The table of values that written records refer to."""
        return f"pg_temp.{quoted(f'holdfast refers {self.oid}')}"

    @property
    def leaving(self) -> str:
        """The table of values under which removed or changed records were referred to."""
        return f"pg_temp.{quoted(f'holdfast referred {self.oid}')}"

    def leads(self, values: str, *, columns: Sequence[str], parent: str) -> str:
        """A condition that a record of the parent has these values of a child."""
        return " AND ".join(
            f"{parent}.{quoted(target)} {operator} {values}.{quoted(column)}"
            for target, operator, column in zip(self.target_columns, self.across, columns, strict=True)
        )


class References:
    """The references of and to some tables, in one transaction."""

    def __init__(self, connection: Connection, oids: Sequence[int]) -> None:
        self._connection = connection
        self._keys = list(_load(connection, "(k.conrelid = ANY(%s) OR k.confrelid = ANY(%s))", [list(oids)] * 2))
        for key in self._keys:
            for name, source, columns in (
                (key.coming, key.child, key.columns),
                (key.leaving, key.parent, key.target_columns),
            ):
                listed = ", ".join(map(quoted, columns))
                connection.execute(
                    f"CREATE TEMP TABLE {name.removeprefix('pg_temp.')} ON COMMIT DROP AS "
                    f"SELECT {listed} FROM {source} WITH NO DATA".encode()
                )

    def insert(self, oid: int, stage: str) -> None:
        """Note what the rows of a stage refer to; they are about to be written to the table."""
        for key in self._keys:
            if key.child_oid == oid:
                is_whole = " AND ".join(f"s.{quoted(name)} IS NOT NULL" for name in key.columns)
                self._note(key.coming, "s", key.columns, f"{stage} s WHERE {is_whole}")

    def update(self, oid: int, joined: str) -> None:
        """Note what changes: `joined` is the stage as `s` joined with the table as `t`, not written yet."""
        for key in self._keys:
            if key.child_oid == oid:
                is_whole = " AND ".join(f"s.{quoted(name)} IS NOT NULL" for name in key.columns)
                self._note(key.coming, "s", key.columns, f"{joined} WHERE {is_whole} AND {_differs(key.columns)}")
            if key.parent_oid == oid:
                columns = key.target_columns
                self._note(key.leaving, "t", columns, f"{joined} WHERE {_differs(columns)}")

    def delete(self, oid: int, joined: str) -> None:
        """Note under which values the records that are about to go are referred to."""
        for key in self._keys:
            if key.parent_oid == oid:
                self._note(key.leaving, "t", key.target_columns, joined)

    def dangling(self) -> list[tuple[str, int, str, str]]:
        """For each foreign key with new references that lead nowhere: table, how many values, one of them, parent."""
        found = []
        for key in self._keys:
            self._connection.execute(f"ANALYZE {key.coming}; ANALYZE {key.leaving}".encode())
            led = key.leads("v", columns=key.columns, parent="p")
            self._connection.execute(
                f"SELECT count(*) FROM (SELECT FROM {key.coming} v JOIN {key.parent} p ON {led} "
                "FOR KEY SHARE OF p) x".encode()
            )
            coming = f"{key.coming} v WHERE NOT EXISTS (SELECT FROM {key.parent} p WHERE {led})"
            same = " AND ".join(
                f"p.{quoted(name)} {operator} v.{quoted(name)}"
                for name, operator in zip(key.target_columns, key.within, strict=True)
            )
            held = key.leads("c", columns=key.columns, parent="v")
            leaving = (
                f"{key.leaving} v WHERE EXISTS (SELECT FROM {key.child} c WHERE {held}) "
                f"AND NOT EXISTS (SELECT FROM {key.parent} p WHERE {same})"
            )
            for source, columns in ((coming, key.columns), (leaving, key.target_columns)):
                told = ", ".join(f"v.{quoted(name)}::text" for name in columns)
                count, value = self._connection.execute(
                    f"SELECT count(*), min(concat_ws(', ', {told})) FROM {source}".encode()
                ).fetchall()[0]
                if count:
                    found.append((key.told[0], int(count), f"({', '.join(key.columns)}) = ({value})", key.told[1]))
        return found

    def _note(self, table: str, alias: str, columns: Sequence[str], source: str) -> None:
        listed = ", ".join(f"{alias}.{quoted(name)}" for name in columns)
        self._connection.execute(f"INSERT INTO {table} SELECT DISTINCT {listed} FROM {source}".encode())


def count_unproven(connection: Connection) -> int:
    """How many references lead nowhere, of all foreign keys that PostgreSQL has not checked."""
    count = 0
    for key in _load(connection, "NOT k.convalidated", []):
        is_whole = " AND ".join(f"c.{quoted(name)} IS NOT NULL" for name in key.columns)
        led = key.leads("c", columns=key.columns, parent="p")
        missing = f"NOT EXISTS (SELECT FROM {key.parent} p WHERE {led})"
        sql = f"SELECT count(*) FROM {key.child} c WHERE {is_whole} AND {missing}"
        count += int(connection.execute(sql.encode()).fetchall()[0][0])
    return count


def _load(connection: Connection, where: str, parameters: Iterable[object]) -> Iterator[_ForeignKey]:
    for row in connection.execute((_KEYS + where).encode(), list(parameters)).fetchall():
        oid, child_oid, parent_oid, child_schema, child, child_parted, parent_schema, parent, parent_parted = row[:9]
        yield _ForeignKey(
            oid,
            (collection_name(child_schema, child), collection_name(parent_schema, parent)),
            child_oid,
            parent_oid,
            ("" if child_parted else "ONLY ") + qualified(child_schema, child),
            ("" if parent_parted else "ONLY ") + qualified(parent_schema, parent),
            *map(tuple, row[9:13]),
        )


def _differs(columns: Sequence[str]) -> str:
    """As text: the operators of a type may lie where no search path leads."""
    return (
        "(" + " OR ".join(f"s.{quoted(name)}::text IS DISTINCT FROM t.{quoted(name)}::text" for name in columns) + ")"
    )
