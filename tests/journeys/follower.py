"""A database that is followed: the vault beside it, and the follower at work in a thread or as a process of its own.

with house.at_work():                          # or house.catch_up(): follow to the end and stop
    database.run("UPDATE orders SET …")
    house.safe()
house.prove()
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from holdfast.api import At, OpenVault, open_vault
from holdfast.begin import Wishes, begin_project
from holdfast.connectors.postgres.follower import parse_position
from holdfast.connectors.postgres.slot import lsn_number
from holdfast.core.records import is_definition
from holdfast.errors import HoldfastError
from holdfast.operations.follow import Followed, Watch
from tests.postgres_server import Database, eventually

__all__ = ["House"]

SECONDS = 0.25


class House:
    """A vault at two sites over one database, and what the follower said. `mark` is a table of our own in it."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder = folder
        self.database = database
        self.config = folder / "holdfast.toml"
        self.steps: list[Followed] = []
        self.error: HoldfastError | None = None
        self._stop = threading.Event()
        self._marks = 0
        database.run("CREATE TABLE mark (n bigint PRIMARY KEY)")
        begin_project(folder, database.url, ("me=site-me", "ana=site-ana"), Wishes(card=Path("card.txt")))

    @property
    def slot(self) -> str:
        """The name of the slot and of the publication."""
        return f"holdfast_{open_vault(self.folder / 'holdfast.toml').project.config.vault.id[:12]}"

    def open(self) -> OpenVault:
        """The vault as it is now."""
        return open_vault(self.config)

    def catch_up(self) -> list[Followed]:
        """Follow until all that was committed before is in the vault; returns what was said meanwhile."""
        before = len(self.steps)
        self.open().follow(Watch(seconds=SECONDS, once=True, tell=self.steps.append))
        return self.steps[before:]

    def safe(self) -> None:
        """Wait until a running follower has committed all that the database has committed by now."""
        self._marks += 1
        wanted = lsn_number(self.database.value("SELECT pg_current_wal_insert_lsn()::text"))
        self.database.run(f"INSERT INTO mark VALUES ({self._marks}) ON CONFLICT DO NOTHING")

        def is_there() -> bool:
            assert self.error is None, self.error
            told = [step.position for step in self.steps[-3:] if step.position]
            return any(parse_position(each).lsn >= wanted for each in told)

        eventually(is_there, f"the vault has all that was committed: {self.steps[-3:]}")

    def run(self) -> None:
        """Follow until `stop`; meant for a thread."""
        try:
            watch = Watch(seconds=SECONDS, stop=self._stop.is_set, tell=self.steps.append)
            self.open().follow(watch)
        except HoldfastError as error:
            self.error = error

    def stop(self) -> None:
        """Let the follower end between two commits."""
        self._stop.set()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Follow in a thread; the first snapshot is there when the block begins, and nobody follows after it."""
        self._stop.clear()
        self.error = None
        before = len(self.steps)
        thread = threading.Thread(target=self.run, name="follower")
        thread.start()
        try:
            eventually(lambda: len(self.steps) > before or self.error is not None, "the follower is at work")
            yield
        finally:
            self.stop()
            thread.join(60)
            assert not thread.is_alive(), "the follower does not end"
        if self.error is not None:
            raise self.error

    def differing(self, *names: str) -> list[str]:
        """The collections (default: all that hold records) in which vault and database are not equal."""
        return [
            f"{each.name}: {each.tally} {each.changes} {each.absent}"
            for each in self.open().compare(collections=names)
            if not is_definition(each.name) and not each.is_equal
        ]

    def prove(self, *names: str) -> None:
        """Vault and database are equal record by record, and every byte at every site is sound."""
        differing = self.differing(*names)
        assert not differing, differing
        report = self.open().verify()
        assert report.is_sound, report.all_findings

    def held(self, collection: str, at: At = None, where: str | None = None) -> list[tuple[Any, ...]]:
        """The records of a collection as tuples, by key."""
        rows = self.open().view(collection, at, where=where).reader().read_all().to_pylist()
        return [tuple(row.values()) for row in rows]

    def gaps(self) -> list[str]:
        """What the newest state says that it lacks."""
        return self.open().remarks()

    @property
    def kinds(self) -> list[str]:
        """What the steps were, idle ones left out."""
        return [step.kind for step in self.steps if step.kind != "idle"]

    @property
    def reasons(self) -> list[str]:
        """Why snapshots were taken, in order."""
        return [step.why for step in self.steps if step.kind == "snapshot"]
