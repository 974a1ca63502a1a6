"""Followers, servers and sites that die or go away at any moment: no change is lost, and none comes twice."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from holdfast.connectors.postgres.position import lsn_number, parse_position
from holdfast.host import memory_of
from tests.journeys.follower import House
from tests.postgres_server import Server, program
from tests.waiting import eventually

SHOP = (
    "CREATE TABLE orders (id bigserial PRIMARY KEY, tenant int, note text)",
    "CREATE TABLE counters (id int PRIMARY KEY, n bigint)",
    "INSERT INTO counters SELECT i, 0 FROM generate_series(1, 8) i",
    "INSERT INTO orders (tenant, note) SELECT i % 8 + 1, 'note ' || i FROM generate_series(1, 400) i",
)
# One counter goes up with every transaction: its history shows a transaction that is lost or comes twice.
TRADE = r"""
\set tenant random(1, 8)
\set id random(1, 600)
\set act random(1, 10)
BEGIN;
UPDATE counters SET n = n + 1 WHERE id = :tenant;
\if :act <= 4
UPDATE orders SET note = note || '.' WHERE id = :id;
\elif :act <= 8
INSERT INTO orders (tenant, note) VALUES (:tenant, 'new');
\else
DELETE FROM orders WHERE id = :id;
\endif
END;
"""


@contextmanager
def traded(house: House, seconds: int) -> Iterator[subprocess.Popen[bytes]]:
    """Two sessions of pgbench for so long; at the end they are through."""
    script = house.folder / "trade.sql"
    script.write_text(TRADE)
    options = ["-n", "-c2", f"-T{seconds}", "-R150", "--max-tries=5", "-f", str(script), "-d", house.database.url]
    with subprocess.Popen(
        [program("pgbench"), *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield process
            process.wait(60)
        finally:
            process.kill()


class Process:
    """`holdfast follow` as a process of its own."""

    def __init__(self, house: House) -> None:
        words = ["follow", "--seconds", "0.3", "--json"]
        self.said = house.folder / "said"
        self.said.touch()
        self._before = len(self.steps())
        with self.said.open("ab") as out:
            self.process = subprocess.Popen(
                [str(Path(sys.executable).parent / "holdfast"), *words], cwd=house.folder, stdout=out, stderr=out
            )

    def steps(self) -> list[dict[str, Any]]:
        """What it and those before it said."""
        return [json.loads(line) for line in self.said.read_text().splitlines() if line.startswith("{")]

    def speaks(self) -> None:
        """Wait until it has said something, or ended."""
        eventually(lambda: len(self.steps()) > self._before or self.process.poll() is not None, "the follower speaks")

    def lives(self, seconds: float) -> None:
        """Let it run so long, unless it ends."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)

    def kill(self) -> None:
        """As in a power cut of the host, but for what the disk holds."""
        self.process.kill()
        self.process.wait()


@pytest.fixture
def shop(house: House) -> House:
    """A shop that is followed."""
    house.database.run(*SHOP)
    house.catch_up()
    return house


def nothing_lost_nothing_twice(house: House) -> None:
    """Every counter went up by ones in the vault, from 0 to where it is; and all else is equal."""
    for key, last in house.database.rows("SELECT id, n FROM counters"):
        _, versions = house.open().history("counters", str(key))
        told = [version.row.column("n")[0].as_py() for version in versions if version.row is not None]
        assert told == list(range(last + 1))
    house.prove()


def _kill_the_follower(shop: House, seed: int, kills: int) -> None:
    chance = random.Random(seed)
    with traded(shop, 300) as trade:
        for _ in range(kills):
            follower = Process(shop)
            follower.speaks()
            follower.lives(chance.uniform(0, 1.2))
            follower.kill()
        assert trade.poll() is None, "the shop traded all the time"
        trade.kill()
    shop.catch_up()
    assert len(shop.open().log()) >= 3, "killed before it wrote anything"
    assert shop.reasons == ["no changes were followed before"]
    assert not [step for step in follower.steps() if step.get("kind") == "snapshot"]
    nothing_lost_nothing_twice(shop)


@pytest.mark.parametrize("seed", [1])
def test_a_follower_killed_at_any_moment_loses_and_repeats_nothing(shop: House, seed: int) -> None:
    """Killed again and again under load; whoever goes on needs no new snapshot."""
    _kill_the_follower(shop, seed, 3)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 22))
def test_twenty_more_followers_killed(shop: House, seed: int) -> None:
    """The same for longer, at other moments."""
    _kill_the_follower(shop, seed, 10)


def _crash_the_server(house: House, seed: int, crashes: int) -> None:
    chance = random.Random(seed)
    server = house.database.server
    with house.at_work():
        for _ in range(crashes):
            with traded(house, 30) as trade:
                with suppress(subprocess.TimeoutExpired):
                    trade.wait(chance.uniform(0.2, 1.5))
                server.crash()
                server.start()
                trade.kill()
        house.safe()
    assert house.reasons == ["no changes were followed before"]
    nothing_lost_nothing_twice(house)


@pytest.fixture
def frail(tmp_path: Path, postgres_servers: Callable[..., Server]) -> Iterator[House]:
    """A shop on a server of its own, followed."""
    with postgres_servers().database() as database:
        house = House(tmp_path, database)
        database.run(*SHOP)
        house.catch_up()
        yield house


def test_a_server_that_crashes_at_any_moment_is_followed_on(frail: House) -> None:
    """Crashed and started again under load; the follower waits, and goes on where it was without a snapshot."""
    _crash_the_server(frail, 1, 2)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(2, 12))
def test_ten_more_servers_crash(frail: House, seed: int) -> None:
    """The same at other moments."""
    _crash_the_server(frail, seed, 6)


def test_stopped_in_order_and_started_again_a_follower_goes_on(shop: House) -> None:
    """SIGTERM ends it between two commits with exit code 0; what came meanwhile is told by the next."""
    for number in range(2):
        follower = Process(shop)
        follower.speaks()
        shop.database.run("UPDATE counters SET n = n + 1")
        follower.process.send_signal(signal.SIGTERM)
        assert follower.process.wait(30) == 0, number
        shop.database.run("UPDATE counters SET n = n + 1")
    shop.catch_up()
    assert len(shop.reasons) == 1
    nothing_lost_nothing_twice(shop)


def test_a_site_that_goes_away_and_comes_back_misses_nothing(shop: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """One site away: the other takes all; both away: commits wait in the spool, and status says that they are not safe;
    back again the sites are brought up to date.
    """
    # Else half a minute passes before it looks whether a site is back, and as long with nothing to say.
    monkeypatch.setattr("holdfast.operations.follow._LOOK_SECONDS", 1.0)
    monkeypatch.setattr("holdfast.connectors.postgres.replication._MOVED_SECONDS", 1.0)
    sites = [shop.folder / "site-me", shop.folder / "site-ana"]
    slot = shop.slot
    away = [site.with_suffix(".away") for site in sites]
    with shop.at_work():
        sites[0].rename(away[0])
        shop.database.run("UPDATE counters SET n = n + 1")
        shop.safe()
        sites[1].rename(away[1])
        shop.database.run("UPDATE counters SET n = n + 1")
        eventually(lambda: shop.steps[-1].waiting, "the spool takes what no site does")
        shop.database.run("UPDATE counters SET n = n + 1")
        shop.safe()
        assert "not safe" in memory_of(shop.folder / ".holdfast").unsafe
        told, said = [step for step in shop.steps if step.kind == "changes"][-1], len(shop.steps)
        eventually(lambda: len(shop.steps) > said + 3, "the follower has spoken to the server since")
        query = f"SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = '{slot}'"
        assert lsn_number(shop.database.value(query)) < parse_position(told.position).lsn, "the server keeps it too"
        away[1].rename(sites[1])
        eventually(lambda: not shop.steps[-1].waiting, "the site has what the spool had")
        shop.safe()
        away[0].rename(sites[0])
        shop.database.run("UPDATE counters SET n = n + 1")
        shop.safe()
    shop.catch_up()
    assert len(shop.reasons) == 1
    assert all(len(entry.sites) == 2 for entry in shop.open().log())
    nothing_lost_nothing_twice(shop)


def test_a_failover_to_another_timeline_is_named_and_read_anew(frail: House) -> None:
    """A standby that became the primary may lack the last changes that were told: nothing is taken on trust."""
    server: Server = frail.database.server
    server.restart_as_standby()
    server.promote()
    frail.database.run("UPDATE counters SET n = n + 1")
    frail.catch_up()
    assert "timeline" in frail.reasons[-1] or "is gone" in frail.reasons[-1]
    frail.prove()


def test_what_waits_at_the_server_is_let_go_once_it_is_safe(shop: House) -> None:
    """While nobody follows, the slot keeps the log; soon after the commit it keeps nothing of it any more."""
    slots = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn) FROM pg_replication_slots"
    own = f"{slots} WHERE slot_name = '{shop.slot}'"
    shop.database.run("INSERT INTO orders (tenant, note) SELECT 1, repeat('x', 100) FROM generate_series(1, 20000)")
    assert shop.database.value(own) > 2_000_000
    with shop.at_work():
        shop.safe()
        eventually(lambda: shop.database.value(own) < 100_000, "the slot is confirmed")
    shop.prove()
