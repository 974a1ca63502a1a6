"""What tests of the binlog share: where a server stands, and what it tells from there."""

from __future__ import annotations

import threading
import time

import pyarrow as pa
import pytest

from holdfast.connectors.mysql.catalog import Table, load_catalog
from holdfast.connectors.mysql.charsets import Charsets, load_charsets
from holdfast.connectors.mysql.connection import connect
from holdfast.connectors.mysql.dump import Start, dump
from holdfast.connectors.mysql.events import Events
from holdfast.connectors.mysql.items import Item, Quiet, Rows
from holdfast.connectors.mysql.rows import Images, Layout
from holdfast.connectors.mysql.values import selected
from tests.mariadb_server import Database
from tests.waiting import PATIENCE_SECONDS

__all__ = ["gathered", "here", "known", "selected_rows", "told"]


def here(database: Database) -> Start:
    """Where the server's binlog ends now."""
    ((file, position, *_),) = database.rows("SHOW MASTER STATUS")
    return Start(file, position)


def told(database: Database, start: Start) -> list[Item]:
    """Everything that the server tells from there up to where it is now."""
    end = here(database)
    events = Events(start.file, start.position)
    items: list[Item] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    with dump(database.url, start, server_id=7001) as stream:
        for item in events.read(stream.packets(threading.Event())):
            if not isinstance(item, Quiet):
                items.append(item)
            elif (item.file, item.position) >= (end.file, end.position):
                return items
            elif time.monotonic() > deadline:
                pytest.fail(f"the stream rests at {item}, the server is at {end}")
    raise AssertionError("the stream ended")


def gathered(database: Database, start: Start) -> dict[str, Images]:
    """The images of each table of this database, from there up to now; their owners are all 0."""
    images: dict[str, Images] = {}
    for item in told(database, start):
        if isinstance(item, Rows) and item.table.schema == database.name:
            name = item.table.name
            if name not in images:
                images[name] = Images(Layout(item.table, *known(database, name)))
            images[name].add(item, 0)
    return images


def selected_rows(database: Database) -> dict[str, pa.Array]:
    """What SELECT gives for each column of `t`, in the order of the key, as the reader of snapshots gets it."""
    of = known(database, "t")[0].stored
    with database.session(conv={}, use_unicode=False) as connection, connection.cursor() as cursor:
        cursor.execute("SET character_set_results = NULL, time_zone = '+00:00'")
        cursor.execute(f"SELECT {', '.join(map(selected, of))} FROM t ORDER BY id")
        rows = cursor.fetchall()
    return {each.name: pa.array([row[number] for row in rows], pa.binary()) for number, each in enumerate(of)}


def known(database: Database, name: str) -> tuple[Table, Charsets]:
    """A table as the catalog has it, and the character sets of its columns."""
    with connect(database.url) as connection:
        table = load_catalog(connection).tables[name]
        return table, load_charsets(connection, {column.charset for column in table.columns})
