"""A second opinion on two databases: Python's own sqlite3 and nothing of Holdfast's.

Two databases are equal if their definitions read the same and hold the same values: storage class and bytes of every
value of every row, generated columns included. Where rows lie in the file is nobody's business.
"""

from __future__ import annotations

import sqlite3
import struct
from contextlib import closing
from pathlib import Path
from typing import Any

__all__ = ["ask", "backup", "contents", "run_script"]

Row = tuple[Any, ...]


def contents(path: Path) -> dict[str, Any]:
    """Everything in a sound database, in a form that is equal for equal databases and shows what differs."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
        connection.text_factory = bytes
        assert connection.execute("PRAGMA integrity_check").fetchall() == [(b"ok",)], f"{path} is corrupt"
        found: dict[str, Any] = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("encoding", "user_version", "application_id")
        }
        definitions = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema").fetchall()
        found["definitions"] = sorted(definitions, key=repr)
        found["references that lead nowhere"] = _sorted(connection, "PRAGMA foreign_key_check", skipped=(1,))
        for kind, name, _, _ in definitions:
            if kind == b"table":
                found[name.decode()] = _values(connection, name.decode())
    return found


def backup(source: Path, target: Path) -> Path:
    """A copy of a database at this moment, made by SQLite itself."""
    with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)
    return target


def run_script(path: Path, script: str) -> None:
    """Change a database, as the shop does; references are not enforced, as is SQLite's habit."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(script)


def ask(path: Path, question: str) -> list[Row]:
    """The rows that answer a question."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(question).fetchall()


def _values(connection: sqlite3.Connection, table: str) -> list[Row]:
    names = [row[1].decode() for row in connection.execute(f"PRAGMA table_xinfo({_quoted(table)})") if row[6] != 1]
    columns = ", ".join(f"typeof({name}), {name}" for name in map(_quoted, names))
    return _sorted(connection, f"SELECT {columns} FROM {_quoted(table)}")


def _sorted(connection: sqlite3.Connection, question: str, skipped: tuple[int, ...] = ()) -> list[Row]:
    rows = connection.execute(question).fetchall()
    return sorted(
        (tuple(_exact(value) for number, value in enumerate(row) if number not in skipped) for row in rows), key=repr
    )


def _exact(value: Any) -> Any:
    """A value so that only the same bits are equal: Python takes 1 for 1.0, and 0.0 for -0.0."""
    if isinstance(value, float):
        return struct.pack(">d", value).hex()
    return value.hex() if isinstance(value, bytes) else value


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
