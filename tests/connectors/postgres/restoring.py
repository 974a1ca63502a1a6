"""For the tests that write: plans between two states, a database beside the first, pg_dump's second opinion."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from holdfast.connectors.postgres.reader import PostgresReader
from holdfast.connectors.postgres.writer import PostgresWriter
from holdfast.core.plan import CollectionDifferences, Plan, make_plan
from holdfast.core.ports import Created, View
from tests.connectors.plans import Held, differences, digests_of, held_by, is_business
from tests.postgres_server import Database, Server, program


def dumped(database: Database, *options: str) -> str:
    """All of a database as pg_dump writes it, under another name than its own: for comparing two."""
    command = [str(program("pg_dump")), "--create", "--restrict-key=x", *options, f"--dbname={database.url}"]
    script = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return script.replace(database.name, "THIS")


@contextmanager
def absent(server: Server, name: str) -> Iterator[Database]:
    """The name of a database that does not exist; whatever gets it is dropped."""
    try:
        yield Database(server, name)
    finally:
        Database(server, "postgres").run(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def rebuilt(
    source: Database, target: Database, change: Callable[[View], View] = lambda view: view, leave: tuple[str, ...] = ()
) -> Created:
    """Build `target` from a snapshot of `source`; `change` may stand between."""
    with PostgresReader(source.url).snapshot() as snapshot:
        views = [change(snapshot.read(each)) for each in snapshot.collections if each.name not in leave]
        return PostgresWriter(target.url).create(views)


def records(database: Database) -> dict[str, tuple[tuple[str, ...], list[bytes]]]:
    """Key and sorted row digests of every collection, as the connector reads them."""
    return digests_of(held(database))


def plan_between(
    wanted: Held, target: Database, *, deletes: bool = True, only: Callable[[str], bool] = is_business
) -> Plan:
    """The plan that makes the target hold what was held; of definitions those that are missing."""
    found = differences(wanted, held(target), only)
    return make_plan(target.name, [_without_other_definitions(each) for each in found], deletes=deletes)


def held(database: Database) -> Held:
    """All that a database holds now."""
    return held_by(PostgresReader(database.url))


def _without_other_definitions(found: CollectionDifferences) -> CollectionDifferences:
    """Definitions that are there are never altered or dropped."""
    if is_business(found.collection.name):
        return found
    missing = [each for each in found.read() if each.kind == "missing"]
    return CollectionDifferences(found.collection, lambda: iter(missing))
