"""A follower as small as can be: it makes slot and publications, reads the stream, and keeps what it was told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from holdfast.connectors.postgres.connection import connect
from holdfast.connectors.postgres.pgoutput import DELETED, REPLACED, Block, Changes, Relation, Truncate
from holdfast.connectors.postgres.position import Position
from holdfast.connectors.postgres.publication import candidates, publication_names, publish
from holdfast.connectors.postgres.replication import stream
from holdfast.connectors.postgres.slot import create_slot
from tests.postgres_server import Database

SLOT = "holdfast"
Image = tuple[str, tuple[str | None, ...]]


class Follower:
    """Follows a database from where it is made; `kept` is the position up to which everything was read."""

    def __init__(self, database: Database) -> None:
        self.database = database
        database.run("CREATE TABLE mark (n int PRIMARY KEY)")
        self.publish()
        with create_slot(database.url, SLOT) as made:
            self.kept: Position = made.position
        self._marks = 0

    def publish(self) -> None:
        """Have all tables that there are now sent."""
        with connect(self.database.url) as connection:
            publish(connection, SLOT, candidates(connection))

    def read(self) -> list[Block]:
        """All that was committed since the last time."""
        return list(self.stream_to_mark())

    def stream_to_mark(self) -> Iterator[Block]:
        """The same, block by block."""
        self._marks += 1
        self.database.run(f"INSERT INTO mark VALUES ({self._marks})")
        return self._until(str(self._marks))

    def images(self, table: str) -> list[Image]:
        """What happened to one table since the last time, each image as its kind and texts; truncates too."""
        return [image for block in self.read() for image in images(block, table)]

    def _until(self, mark: str) -> Iterator[Block]:
        with stream(self.database.url, SLOT, publication_names(SLOT), self.kept) as changes:
            for block in changes.blocks(threading.Event()):
                yield block
                changes.confirm(block.end_lsn)
                self.kept = Position(block.end_lsn, self.kept.system, self.kept.timeline)
                if ("I", (mark,)) in images(block, "mark"):
                    return


def images(block: Block, table: str) -> list[Image]:
    """What a block tells of one table."""
    found: list[Image] = []
    for part in block.parts:
        if isinstance(part, Truncate):
            found += [("T", ()) for each in part.relations if each.name == table]
        elif part.relation.name == table:
            found += [(chr(kind), row) for kind, row in zip(part.kinds, rows(part), strict=True)]
    return found


def rows(changes: Changes) -> list[tuple[str | None, ...]]:
    """The images of a part as texts; `?` stands for a value that was not sent."""
    width = len(changes.relation.columns)
    return [
        tuple(
            "?" if (image, number) in changes.unchanged else None if value is None else value.decode()
            for number, value in enumerate(changes.values[image * width : (image + 1) * width])
        )
        for image in range(len(changes.kinds))
    ]


def carried_out(told: list[Image], key: int = 0) -> dict[str | None, tuple[str | None, ...]]:
    """The table that a log of images comes to, begun empty: each says that a row is there or gone, nothing more."""
    table: dict[str | None, tuple[str | None, ...]] = {}
    for kind, row in told:
        if kind == "T":
            table.clear()
        elif ord(kind) in (DELETED, REPLACED):
            table.pop(row[key], None)
        else:
            table[row[key]] = row
    return table


def relations(blocks: list[Block], table: str) -> list[Relation]:
    """How a table was described, part by part."""
    parts = [part for block in blocks for part in block.parts if isinstance(part, Changes)]
    return [part.relation for part in parts if part.relation.name == table]


@contextmanager
def transaction(database: Database) -> Iterator[psycopg.Connection]:
    """One transaction of an application, committed at the end."""
    with psycopg.connect(database.url) as connection:
        yield connection
