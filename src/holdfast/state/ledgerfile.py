"""The file of the ledger of findings: its errors are errors of ours; and small facts by name in it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from holdfast.state.disk import translated
from holdfast.state.sound import Form, open_beside, open_sound

__all__ = ["LedgerFile", "ledger_file", "read_ledger_file"]

_FACTS = "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"
# What a commit showed is on the disk before any site sees it: a power cut must not leave it unjudged.
_FORM = Form("the ledger of findings", 3, (_FACTS,), "FULL")


class LedgerFile:
    """An open SQLite file in which no transaction begins by itself. Every call raises errors of ours."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open."""
        return self._connection.in_transaction

    def run(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Run a statement; returns the number of the row it added, if it did."""
        with translated(self._path):
            return self._connection.execute(statement, values).lastrowid or 0

    def run_each(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run a statement for each row."""
        with translated(self._path):
            self._connection.executemany(statement, rows)

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with translated(self._path):
            return self._connection.execute(query, values).fetchall()

    def each(self, query: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """The rows of a query, one after the other, never all in memory."""
        with translated(self._path):
            yield from self._connection.execute(query, values)

    def row(self, query: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """The first row of a query, if there is one."""
        return next(iter(self.rows(query, values)), None)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is done in the block, or nothing of it."""
        self.run("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.run("ROLLBACK")
            raise
        self.run("COMMIT")

    def fact(self, name: str) -> str | None:
        """The fact of that name, or None."""
        row = self.row("SELECT value FROM facts WHERE name = ?", (name,))
        return None if row is None else str(row[0])

    def put_fact(self, name: str, value: str) -> None:
        """Keep a fact."""
        self.run("INSERT OR REPLACE INTO facts VALUES (?,?)", (name, value))

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()


def ledger_file(path: Path, tables: Iterable[str]) -> LedgerFile:
    """The file, made with these tables, or made anew, where there is none that is whole and of this version."""
    return LedgerFile(open_sound(path, replace(_FORM, tables=(*_FORM.tables, *tables))), path)


def read_ledger_file(path: Path) -> LedgerFile:
    """The file, to be read beside who writes it. Raises Damaged as `open_beside` does, and where it is read."""
    return LedgerFile(open_beside(path, _FORM), path)
