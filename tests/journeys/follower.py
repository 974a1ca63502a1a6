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
from holdfast.connectors.mysql.position import file_number
from holdfast.connectors.mysql.position import parse_position as parse_place
from holdfast.connectors.postgres.position import lsn_number, parse_position
from holdfast.core.records import is_definition
from holdfast.errors import HoldfastError
from holdfast.incidents import LATEST
from holdfast.operations.follow import Followed, Watch
from tests.mariadb_server import Database as MariaDatabase
from tests.postgres_server import Database
from tests.waiting import eventually

__all__ = ["House", "MariaHouse"]

SECONDS = 0.25


class House:
    """A vault at two sites over one database, and what the follower said. `mark` is a table of our own in it; by
    `url` the vault reads it as somebody else.
    """

    _mark = "INSERT INTO mark VALUES ({}) ON CONFLICT DO NOTHING"

    def __init__(self, folder: Path, database: Database | MariaDatabase, url: str = "") -> None:
        self.folder = folder
        self.database = database
        self.config = folder / "holdfast.toml"
        self.steps: list[Followed] = []
        self.error: HoldfastError | None = None
        self._stop = threading.Event()
        self._marks = 0
        database.run("CREATE TABLE IF NOT EXISTS mark (n bigint PRIMARY KEY)")
        begin_project(
            folder,
            url or database.url,
            ("me=site-me", "ana=site-ana"),
            Wishes(card=Path("card.txt"), sites_may_share=True),
        )

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
        wanted = self._end()
        self.database.run(self._mark.format(self._marks))

        def is_there() -> bool:
            assert self.error is None, self.error
            told = [step.position for step in self.steps[-3:] if step.position]
            return any(self._place(each) >= wanted for each in told)

        eventually(is_there, f"the vault has all that was committed: {self.steps[-3:]}")

    def _end(self) -> Any:
        """Where the database's log ends now."""
        return lsn_number(self.database.value("SELECT pg_current_wal_insert_lsn()::text"))

    def _place(self, position: str) -> Any:
        """Where in that log a position is."""
        return parse_position(position).lsn

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
            for each in self.open().compare(at=LATEST, collections=names)
            if not is_definition(each.name) and not each.is_equal
        ]

    def prove(self, *names: str) -> None:
        """Vault and database are equal record by record, and every byte at every site is sound."""
        # A follower that was told to stop may not have come to the last of the marks that only wake it.
        differing = [each for each in self.differing(*names) if not each.startswith("mark: ")]
        assert not differing, differing
        report = self.open().verify()
        assert report.is_sound, report.all_findings

    def held(self, collection: str, at: At = LATEST, where: str | None = None) -> list[tuple[Any, ...]]:
        """The records of a collection as tuples, by key: the newest, whatever incident is open."""
        rows = self.open().view(collection, at, where=where).reader().read_all().to_pylist()
        return [tuple(row.values()) for row in rows]

    def gaps(self) -> list[str]:
        """What the newest state says that it lacks."""
        return self.open().remarks(LATEST)

    @property
    def kinds(self) -> list[str]:
        """What the steps were, idle ones left out."""
        return [step.kind for step in self.steps if step.kind != "idle"]

    @property
    def reasons(self) -> list[str]:
        """Why snapshots were taken, in order."""
        return [step.why for step in self.steps if step.kind == "snapshot"]


class MariaHouse(House):
    """The same over a MariaDB database."""

    database: MariaDatabase
    _mark = "INSERT IGNORE INTO mark VALUES ({})"

    def _end(self) -> Any:
        file, offset, *_ = self.database.rows("SHOW MASTER STATUS")[0]
        return file_number(file), int(offset)

    def _place(self, position: str) -> Any:
        return parse_place(position).place
