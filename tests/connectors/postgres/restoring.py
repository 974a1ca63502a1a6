"""For the tests that write: plans between two states, a database beside the first, pg_dump's second opinion."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from holdfast.connectors.postgres.reader import PostgresReader
from holdfast.connectors.postgres.writer import PostgresWriter
from holdfast.core.align import Keyed
from holdfast.core.canonical import key_bytes, row_digests
from holdfast.core.compare import Difference, compare
from holdfast.core.fingerprint import multiset_keys
from holdfast.core.plan import CollectionDifferences, Plan, make_plan
from holdfast.core.ports import Created, View
from holdfast.core.projection import common_schema, project
from holdfast.core.records import Collection, Schema
from tests.postgres_server import Database, Server, program

Held = dict[str, tuple[Schema, list[pa.RecordBatch]]]


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
    found = {}
    for name, (schema, batches) in held(database).items():
        digests = [digest for batch in batches for digest in row_digests(batch, schema).to_pylist()]
        found[name] = (schema.key, sorted(digests))
    return found


def is_business(name: str) -> bool:
    """Whether a collection holds no definitions."""
    return not name.startswith("postgres:")


def plan_between(
    wanted: Held, target: Database, *, deletes: bool = True, only: Callable[[str], bool] = is_business
) -> Plan:
    """The plan that makes the target hold what was held; of definitions those that are missing."""
    actual = held(target)
    names = filter(only, sorted({*wanted, *actual}))
    differences = [_differences(name, wanted.get(name), actual.get(name)) for name in names]
    return make_plan(target.name, differences, deletes=deletes)


def held(database: Database) -> Held:
    """All that a database holds now."""
    with PostgresReader(database.url).snapshot() as snapshot:
        views = [snapshot.read(each) for each in snapshot.collections]
        return {view.name: (view.schema, list(view.batches())) for view in views}


def _differences(name: str, wanted: Any, actual: Any) -> CollectionDifferences:
    wanted, actual = wanted or (actual[0], []), actual or (wanted[0], [])
    schema = common_schema(actual[0], wanted[0])
    found: list[Difference] = list(compare(_sorted(wanted, schema), _sorted(actual, schema), schema))
    if not is_business(name):
        found = [each for each in found if each.kind == "missing"]
    return CollectionDifferences(Collection(name, schema), lambda: iter(found))


def _sorted(side: tuple[Schema, list[pa.RecordBatch]], schema: Schema) -> Iterator[Keyed]:
    source, batches = side
    projected = [project(batch, source, schema) for batch in batches]
    if projected:
        rows = pa.concat_batches(projected)
        keys = key_bytes(rows, schema) if schema.key else row_digests(rows, schema).cast(pa.binary())
        order = pc.sort_indices(keys)
        keys, rows = keys.take(order), rows.take(order)
        yield Keyed(keys if schema.key else multiset_keys(keys)[0], rows)
