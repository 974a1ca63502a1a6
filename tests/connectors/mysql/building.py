"""For the tests that build whole databases: a copy of one beside it, and what the server itself says of both."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from holdfast.connectors.mysql.reader import MysqlReader
from holdfast.connectors.mysql.writer import MysqlWriter
from holdfast.core.ports import Created, View
from tests.connectors.plans import digests_of, held_by
from tests.mariadb_server import Database, Server, drop

__all__ = ["Changed", "absent", "databases", "definitions", "rebuilt", "records", "shown"]


@contextmanager
def absent(server: Server, name: str) -> Iterator[Database]:
    """The name of a database that does not exist; whatever gets it is dropped."""
    try:
        yield Database(server, name)
    finally:
        drop(Database(server, "mysql"), name)


def databases(database: Database) -> set[str]:
    """The names of all databases of the server."""
    return {name for (name,) in Database(database.server, "mysql").rows("SHOW DATABASES")}


def records(database: Database) -> dict[str, tuple[tuple[str, ...], list[bytes]]]:
    """Key and sorted row digests of every collection, as the connector reads them."""
    return digests_of(held_by(MysqlReader(database.url)))


def definitions(database: Database) -> dict[tuple[str, str], dict[str, Any]]:
    """The definitions as the connector reads them, by kind and name."""
    _, batches = held_by(MysqlReader(database.url))["mysql:schema"]
    return {(row["type"], row["name"]): row for batch in batches for row in batch.to_pylist()}


def rebuilt(
    source: Database, target: Database, change: Callable[[View], View] = lambda view: view, leave: tuple[str, ...] = ()
) -> Created:
    """Build `target` from a snapshot of `source`; `change` may stand between."""
    with MysqlReader(source.url).snapshot() as snapshot:
        views = [change(snapshot.read(each)) for each in snapshot.collections if each.name not in leave]
        return MysqlWriter(target.url).create(views)


def shown(database: Database, *others: str) -> list[str]:
    """What the server itself says of a database and all that is in it, under another name than its own and `others`."""
    name, found = database.name, [database.rows(f"SHOW CREATE DATABASE `{database.name}`")]
    for kind, question in _QUESTIONS.items():
        for (each,) in database.rows(question.format(name)):
            statement = kind.format(each.replace("`", "``"))
            rows = database.rows(statement)
            # The last column of a trigger is when it was made.
            found.append([row[:-1] for row in rows] if "TRIGGER" in kind else rows)
    told = [str(row).replace(name, "THIS") for rows in found for row in rows]
    return [functools.reduce(lambda text, other: text.replace(other, "THIS"), others, each) for each in told]


class Changed:
    """A view whose batches something is done to."""

    def __init__(self, view: View, change: Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]) -> None:
        self._view = view
        self._change = change
        self.name, self.schema, self.ordered = view.name, view.schema, view.ordered

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The batches, changed."""
        return self._change(iter(self._view.batches()))


_QUESTIONS = {
    "SHOW CREATE TABLE `{}`": "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{}' ORDER BY 1",
    "SELECT * FROM `{}`": (
        "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{}' AND TABLE_TYPE = 'SEQUENCE'"
    ),
    "SHOW CREATE TRIGGER `{}`": (
        "SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = '{}' "
        "ORDER BY EVENT_OBJECT_TABLE, ACTION_TIMING, EVENT_MANIPULATION, ACTION_ORDER"
    ),
    "SHOW CREATE EVENT `{}`": "SELECT EVENT_NAME FROM information_schema.EVENTS WHERE EVENT_SCHEMA = '{}' ORDER BY 1",
    **{
        f"SHOW CREATE {kind} `{{}}`": (
            "SELECT ROUTINE_NAME FROM information_schema.ROUTINES "
            f"WHERE ROUTINE_SCHEMA = '{{}}' AND ROUTINE_TYPE = '{kind}' ORDER BY 1"
        )
        for kind in ("FUNCTION", "PROCEDURE", "PACKAGE", "PACKAGE BODY")
    },
}
