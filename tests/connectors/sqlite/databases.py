"""Databases for the tests, made and looked at with Python's own sqlite3: a second opinion on all the connector does.

One process must not hold one database open through two SQLite libraries: so these open, work and close, and a shop
that goes on writing runs in a process of its own.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.connectors.sqlite import SqliteReader
from holdfast.core.align import Keyed
from holdfast.core.canonical import key_bytes, row_digests
from holdfast.core.compare import Difference, compare
from holdfast.core.fingerprint import multiset_keys
from holdfast.core.plan import CollectionDifferences, Plan, make_plan
from holdfast.core.ports import View
from holdfast.core.projection import common_schema, project
from holdfast.core.records import Collection, Schema, is_definition

Rows = Sequence[Sequence[Any]]


def run(path: Path, *statements: str | tuple[str, Rows]) -> None:
    """Carry out statements; one with rows is carried out for each row."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys=OFF")
        for statement in statements:
            if isinstance(statement, str):
                connection.execute(statement)
            else:
                connection.execute("BEGIN")
                connection.executemany(*statement)
                connection.execute("COMMIT")


def ask(path: Path, sql: str) -> list[tuple[Any, ...]]:
    """The rows of a question; text as its bytes."""
    with closing(sqlite3.connect(path)) as connection:
        connection.text_factory = bytes
        return connection.execute(sql).fetchall()


def contents(path: Path) -> dict[str, Any]:
    """All of a database by storage class and bytes, without a word of the connector's: for comparing two."""
    with closing(sqlite3.connect(path)) as connection:
        found: dict[str, Any] = {
            f"pragma {name}": connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("encoding", "user_version", "application_id", "auto_vacuum", "page_size", "journal_mode")
        }
        definitions = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema").fetchall()
        found["definitions"] = sorted(definitions, key=str)
        for kind, name, _, sql in definitions:
            if kind == "table" and not sql.startswith("CREATE VIRTUAL") and not name.startswith("sqlite_stat"):
                found[f"table {name}"] = _rows(connection, name)
    return found


def _rows(connection: sqlite3.Connection, table: str) -> list[tuple[Any, ...]]:
    quoted = table.replace('"', '""')
    names = [row[1].replace('"', '""') for row in connection.execute(f'PRAGMA table_xinfo("{quoted}")') if row[6] != 1]
    parts = [
        f"""typeof("{name}"), CASE typeof("{name}") WHEN 'real' THEN printf('%!.20g', "{name}")"""
        f""" WHEN 'integer' THEN "{name}" ELSE hex(CAST("{name}" AS BLOB)) END"""
        for name in names
    ]
    return sorted(connection.execute(f'SELECT {", ".join(parts)} FROM "{quoted}"').fetchall(), key=repr)


def records(path: Path) -> dict[str, tuple[tuple[str, ...], list[bytes]]]:
    """Key and sorted row digests of every collection, as the connector reads them."""
    found = {}
    with SqliteReader(path).snapshot() as snapshot:
        for collection in snapshot.collections:
            view = snapshot.read(collection)
            digests = []
            for batch in view.batches():
                batch.validate(full=True)
                digests += row_digests(batch, view.schema).to_pylist()
            found[collection.name] = (collection.schema.key, sorted(digests))
    return found


def rows(path: Path, name: str) -> list[dict[str, Any]]:
    """The records of one collection as the connector reads them."""
    with SqliteReader(path).snapshot() as snapshot:
        (collection,) = [each for each in snapshot.collections if each.name == name]
        return [row for batch in snapshot.read(collection).batches() for row in batch.to_pylist()]


def plan_between(
    wanted: Path,
    target: Path,
    *,
    deletes: bool = True,
    only: Callable[[str], bool] = lambda name: not is_definition(name),
) -> Plan:
    """The plan that makes the target hold what the wanted database holds."""
    sides = [_held(path) for path in (wanted, target)]
    names = filter(only, sorted({*sides[0], *sides[1]}))
    differences = [_differences(name, sides[0].get(name), sides[1].get(name)) for name in names]
    return make_plan(str(target), differences, deletes=deletes)


def _held(path: Path) -> dict[str, tuple[Schema, list[pa.RecordBatch]]]:
    with SqliteReader(path).snapshot() as snapshot:
        views = [snapshot.read(each) for each in snapshot.collections]
        return {view.name: (view.schema, list(view.batches())) for view in views}


def _differences(name: str, wanted: Any, actual: Any) -> CollectionDifferences:
    wanted, actual = wanted or (actual[0], []), actual or (wanted[0], [])
    schema = common_schema(actual[0], wanted[0])
    found: list[Difference] = list(compare(_sorted(wanted, schema), _sorted(actual, schema), schema))
    return CollectionDifferences(Collection(name, schema), lambda: iter(found))


def _sorted(side: tuple[Schema, list[pa.RecordBatch]], schema: Schema) -> Iterator[Keyed]:
    source, batches = side
    held = [project(batch, source, schema) for batch in batches]
    if held:
        rows = pa.concat_batches(held)
        keys = key_bytes(rows, schema) if schema.key else row_digests(rows, schema).cast(pa.binary())
        order = pc.sort_indices(keys)
        keys, rows = keys.take(order), rows.take(order)
        yield Keyed(keys if schema.key else multiset_keys(keys)[0], rows)


class Shop:
    """A program that has the database open in a process of its own, as the shop does."""

    _CODE = """
import json, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=5)
print("open", flush=True)
for line in sys.stdin:
    try:
        print(json.dumps(connection.execute(json.loads(line)).fetchall()), flush=True)
    except sqlite3.Error as error:
        print(json.dumps(str(error)), flush=True)
"""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", self._CODE, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "open\n"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def do(self, *statements: str) -> Any:
        """Carry out statements and return the last one's rows, or the error in words."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        answer = None
        for statement in statements:
            self._process.stdin.write(json.dumps(statement) + "\n")
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline())
        return answer

    def kill(self) -> None:
        """End it at once, as a crash does."""
        self._process.kill()


def views(snapshot: Any) -> list[View]:
    """Every view of a snapshot."""
    return [snapshot.read(each) for each in snapshot.collections]
