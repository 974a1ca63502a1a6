"""For the tests that write: plans between two states of a database."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa

from holdfast.connectors.mysql.catalog import Table
from holdfast.connectors.mysql.charsets import load_charsets
from holdfast.connectors.mysql.connection import connect
from holdfast.connectors.mysql.reader import MysqlReader
from holdfast.connectors.mysql.values import Misfit, decode, decode_mixed, selected
from holdfast.core.plan import Plan, make_plan
from holdfast.core.records import MIXED, Column
from tests.connectors.plans import Held, differences, digests_of, held_by, is_business
from tests.mariadb_server import Database

__all__ = ["held", "plan_between", "read", "records"]


def records(database: Database) -> dict[str, tuple[tuple[str, ...], list[bytes]]]:
    """Key and sorted row digests of every collection, as the connector reads them."""
    return digests_of(held(database))


def plan_between(
    wanted: Held, target: Database, *, deletes: bool = True, only: Callable[[str], bool] = is_business
) -> Plan:
    """The plan that makes the target hold what was held."""
    return make_plan(target.name, differences(wanted, held(target), only), deletes=deletes)


def held(database: Database) -> Held:
    """All records that a database holds now, as its reader tells them."""
    return {name: each for name, each in held_by(MysqlReader(database.url)).items() if is_business(name)}


def read(database: Database, tables: Sequence[Table], order: str = "") -> Iterator[list[tuple[Column, pa.Array]]]:
    """The columns of each table in canonical types."""
    with connect(database.url, raw=True) as connection, connection.cursor() as cursor:
        charsets = load_charsets(connection, [column.charset for table in tables for column in table.stored])
        cursor.execute("SET character_set_results = NULL")
        for table in tables:
            cursor.execute(f"SELECT {', '.join(map(selected, table.stored))} FROM {table.sql_source} {order}")
            rows, found = cursor.fetchall(), []
            for number, column in enumerate(table.stored):
                values = pa.array([row[number] for row in rows], pa.binary())
                try:
                    each, kind = decode(values, column, charsets), column.kind
                except Misfit:
                    each, kind = decode_mixed(values, column, charsets), MIXED
                found.append((Column(column.name, kind, column.declared), each))
            yield found
