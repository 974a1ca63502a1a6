"""The pace of a follower: how long changes wait for a commit, and what many small commits leave on its host."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from holdfast.core.feed import Break, Moved, Told
from holdfast.core.records import Schema
from holdfast.operations.follow import Followed, Watch, follow
from holdfast.sample.telling import TellingShop
from holdfast.vault.vault import Vault
from tests.operations.test_rolling import House


class NotingShop(TellingShop):
    """Notes for how long its feed is asked to tell."""

    asked: list[float]

    @contextmanager
    def feed(self, position: str, schemas: Mapping[str, Schema], since: datetime | None = None) -> Iterator[Any]:
        with super().feed(position, schemas, since) as told:
            yield NotingFeed(told, self.asked)


@dataclass
class NotingFeed:
    """Passes on what a feed tells."""

    told: Any
    asked: list[float] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.told, name)

    def read(self, seconds: float) -> Iterator[Told | Moved | Break]:
        self.asked.append(seconds)
        return self.told.read(seconds)  # type: ignore[no-any-return]


def test_seconds_count_from_one_commit_to_the_next(tmp_path: Path) -> None:
    """What was told while a commit was written has waited already; and some time is always left to read."""
    house = House(tmp_path)
    shop = NotingShop(house.names, house.clock, seed=1)
    shop.asked = []
    house.shop = shop
    house.follow()
    house.trade(3)
    shop.asked.clear()
    pauses = iter([0.3, 2.0])

    def tell(step: Followed) -> None:
        if step.kind == "changes":
            threading.Event().wait(next(pauses, 0.0))

    watch = Watch(seconds=1.0, once=True, tell=tell, rungs=house.rungs)
    follow(Vault(house.sites, house.id, now=lambda: house.clock[-1]), house.writer, shop, tmp_path, watch)
    assert 0.25 <= shop.asked[1] <= 0.7
    assert shop.asked[2] == 0.25


def test_many_small_commits_leave_an_index_of_few_files(tmp_path: Path) -> None:
    """Each commit writes what it changed in a file of its own; they are written into one again and again."""
    house = House(tmp_path)
    house.follow()
    house.trade(40)
    house.follow()
    assert [step.kind for step in house.steps].count("changes") == 40
    assert len(list((tmp_path / "index").glob("*.db"))) < 16
