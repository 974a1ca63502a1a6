"""A year of following, simulated: a commit every five seconds, 100 collections, rolled up; then how long it takes to
look.

The records, the follower, the vault and its three sites in folders are real, the source and the clock are not: a
seeded business in memory tells its changes, and time is what it says. Of each day but the last one small commit is
made, of each quarter of an hour of the last day too: what differs from 17,280 a day is what lies in closed tails,
which nobody lists or reads. The last day ends as it does just before it is rolled up: with all its quarters but one,
and all commits of that one.

Each question is asked by a process of its own, three times; `limit` is a second, and for the instant a second and what
it takes to read the segments alone, in a process that has opened the vault. HOLDFAST_BENCH_DAYS (default 365) is how
many days a year has, HOLDFAST_BENCH_COLLECTIONS (100) how many collections.
"""

from __future__ import annotations

import os
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.following import HOLDFAST
from bench.process import measured
from bench.report import Line
from holdfast.api import open_vault
from holdfast.begin import Wishes, begin_project
from holdfast.operations.follow import Watch, follow
from holdfast.sample.telling import TellingShop
from holdfast.vault.vault import Vault
from holdfast.vault.view import VaultView

__all__ = ["run"]

ROUNDS = 3
_LIMIT_MS = 1000.0
_DAY, _QUARTER, _STEP = timedelta(days=1), timedelta(minutes=15), timedelta(seconds=5)
_CHANGES = 20  # of each collection that a small commit speaks of


class _Over(BaseException):
    """The simulated year is over, with the follower still at work."""


def run() -> list[Line]:
    """All lines of the suite."""
    days = int(os.environ.get("HOLDFAST_BENCH_DAYS", "365"))
    names = [f"c{number:03d}" for number in range(int(os.environ.get("HOLDFAST_BENCH_COLLECTIONS", "100")))]
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as name:
        folder = Path(name)
        shop, clock = _begin(folder, names, days)
        began = time.monotonic()
        _live(folder, shop, clock, days)
        _say(f"made in {time.monotonic() - began:,.0f} s: {len(shop.told):,} transactions")
        _tell_sizes(folder)
        name = names[len(names) // 2]
        return _ask(folder, f"{name} {min(shop.held[name])}", clock[-1])


def _begin(folder: Path, names: list[str], days: int) -> tuple[TellingShop, list[datetime]]:
    """A vault at three sites of three owners, and the business, as long ago as its year is to last."""
    sqlite3.connect(folder / "none.db").execute("CREATE TABLE none (a)")  # a project has a source: never read
    sites = ("me=site-me", "ana=site-ana", "bo=site-bo")
    begin_project(folder, "none.db", sites, Wishes(card=Path("card.txt")))
    clock = [datetime.now(UTC) - days * _DAY]
    shop = TellingShop(names, clock)
    shop.trade(_CHANGES * len(names))
    return shop, clock


def _live(folder: Path, shop: TellingShop, clock: list[datetime], days: int) -> None:
    """Follow the business through its year, in one run of the follower, which is still at work at the end."""
    opened = open_vault(folder / "holdfast.toml")
    vault = Vault(opened.vault.sites, opened.vault.id, now=lambda: clock[-1])
    windows = _windows(shop, clock, days)

    def is_over() -> bool:
        next(windows)
        return False

    with suppress(_Over):
        follow(vault, opened.project.writer_key(), shop, opened.project.state, Watch(stop=is_over))


def _windows(shop: TellingShop, clock: list[datetime], days: int) -> Iterator[None]:
    """What happens between the follower's commits."""
    names, chance = list(shop.held), random.Random(1)

    def trade(among: list[str], after: timedelta) -> None:
        clock[-1] += after
        for name in among:
            shop.trade(_CHANGES, [name])
        shop.mark()

    yield
    for day in range(days - 1):
        if day % 50 == 0:
            _say(f"day {day}")
        trade(names, _STEP)
        yield
        clock[-1] += _DAY - _STEP  # nothing happens, and the day is rolled up
        yield
    for _ in range(_DAY // _QUARTER - 1):
        trade(chance.sample(names, max(1, len(names) // 5)), _QUARTER)
        yield
    for _ in range(_QUARTER // _STEP - 1):
        trade(chance.sample(names, max(1, len(names) // 20)), _STEP)
        yield
    raise _Over


def _tell_sizes(folder: Path) -> None:
    """What lies at one site, on stderr."""
    sizes: dict[str, list[int]] = {}
    for path in (folder / "site-me").rglob("*"):
        if path.is_file():
            parts = path.relative_to(folder / "site-me").parts
            kind = " ".join((parts[0], *parts[2:3])) if parts[0] == "tails" else parts[0]
            sizes.setdefault(kind, []).append(path.stat().st_size)
    for kind, each in sorted(sizes.items()):
        _say(f"{kind}: {len(each):,} objects, {sum(each):,} bytes")


def _ask(folder: Path, record: str, now: datetime) -> list[Line]:
    """The lines: each question, of a collection and a key, as a whole command, against the limit."""
    name = record.split(maxsplit=1)[0]
    os.environ["HOLDFAST_IDENTITY"] = str(folder / "card.txt")
    opening = "from holdfast.api import open_vault; open_vault('holdfast.toml')"
    instant = (now - 100 * _DAY - timedelta(hours=5)).isoformat()
    commands = {
        "open": f'{sys.executable} -c "{opening}"',
        "status": f"{HOLDFAST} status || test $? = 3",  # amber: this follower fell silent
        "log": f"{HOLDFAST} log",
        "history": f"{HOLDFAST} history {record}",
        "instant": f"{HOLDFAST} export out.parquet {name} --at {instant}",
    }
    lines = []
    for what, command in commands.items():
        ours, limits = [], []
        for _ in range(ROUNDS):
            (folder / "out.parquet").unlink(missing_ok=True)
            ours.append(1000 * measured(command, folder=folder).wall)
            limits.append(_LIMIT_MS + (_own_ms(folder, name, now) if what == "instant" else 0))
        lines.append(Line(f"databases.year.{what}", "ms", "limit", tuple(ours), tuple(limits)))
    return lines


def _own_ms(folder: Path, name: str, now: datetime) -> float:
    """How long the segments alone take, once the vault is open."""
    vault = open_vault(folder / "holdfast.toml", identity=folder / "card.txt").vault
    state = vault.state(now - 100 * _DAY - timedelta(hours=5), collections=(name,)).collections[name]
    began = time.monotonic()
    assert sum(batch.num_rows for batch in VaultView(vault, state).batches())
    return 1000 * (time.monotonic() - began)


def _say(what: str) -> None:
    print(f"bench: {what}", file=sys.stderr, flush=True)
