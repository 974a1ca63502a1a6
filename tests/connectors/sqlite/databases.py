"""Databases for the tests, made and looked at with Python's own sqlite3: a second opinion on all the connector does.

One process must not hold one database open through two SQLite libraries: so these open, work and close, and a shop
that goes on writing runs in a process of its own.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Self

from holdfast.connectors.sqlite import SqliteReader
from holdfast.core.plan import Plan, make_plan
from holdfast.core.ports import View
from tests.connectors.plans import differences, digests_of, held_by, is_business

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
    held = held_by(SqliteReader(path))
    for _, batches in held.values():
        for batch in batches:
            batch.validate(full=True)
    return digests_of(held)


def rows(path: Path, name: str) -> list[dict[str, Any]]:
    """The records of one collection as the connector reads them."""
    with SqliteReader(path).snapshot() as snapshot:
        (collection,) = [each for each in snapshot.collections if each.name == name]
        return [row for batch in snapshot.read(collection).batches() for row in batch.to_pylist()]


def plan_between(
    wanted: Path, target: Path, *, deletes: bool = True, only: Callable[[str], bool] = is_business
) -> Plan:
    """The plan that makes the target hold what the wanted database holds."""
    sides = [held_by(SqliteReader(path)) for path in (wanted, target)]
    return make_plan(str(target), differences(*sides, only), deletes=deletes)


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
