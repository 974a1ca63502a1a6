"""The same promise through a gateway as people run it: its keeper and its workers are killed (-9) at random points, and
the platform behind it too, while clients deliver again whatever they have no answer to.
"""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from holdfast.begin import Wishes, begin_project
from holdfast.sample.billing import make_billing
from holdfast.sample.processes import free_port, started
from tests.crash.outbox_parts import DEADLINE_SECONDS, ROUTE, SETTLE_SECONDS
from tests.crash.test_outbox import Campaign, judge

PARTS = (sys.executable, "-m", "tests.crash.outbox_parts")
COMMAND = (sys.executable, "-c", "from holdfast.cli.main import main; main()", "gateway", "serve")
GATEWAY = f"""
[gateway]
upstream = "UPSTREAM"
listen = "127.0.0.1:PORT"
workers = 2
deadline_seconds = {DEADLINE_SECONDS}
replay_per_second_max = 2000.0

[gateway.canary]
path = "/api/health"
pointer = "/status"
every_seconds = 0.1
idle_seconds = 0.5

[gateway.breaker]
ramp_seconds = 0.5
open_seconds = 0.2
open_seconds_max = 1.0

[[route]]
name = "{ROUTE.name}"
path = "{ROUTE.path}"
methods = ["POST"]
class = "queue-write"
expect = "{ROUTE.expect}"

[route.settle]
path = "{ROUTE.settle.path}"
found = "{ROUTE.settle.found}"
absent = "{ROUTE.settle.absent}"
after_seconds = {SETTLE_SECONDS}
"""


@dataclass
class Served(Campaign):
    """A gateway and its clients, who are many in one process."""

    project: Path = Path()
    port: int = 0
    takers: tuple[str, ...] = ("clients",)
    replayer: str = "gateway"
    victims: tuple[str, ...] = ("platform", "gateway", "worker")
    # A gateway whose worker is killed before it ever was ready says so and ends.
    ends: tuple[int, ...] = (-9, 6)

    @property
    def workers(self) -> list[int]:
        """The numbers of the gateway's workers."""
        found = subprocess.run(
            ["pgrep", "-P", str(self.processes["gateway"].pid)], capture_output=True, text=True, check=False
        )
        return [int(line) for line in found.stdout.split()]

    def _kill(self, name: str) -> None:
        if name != "worker":
            super()._kill(name)
        elif workers := self.workers:
            subprocess.run(["kill", "-9", str(self.rng.choice(workers))], check=False, capture_output=True)
            self.kills[name] += 1

    def _start(self, name: str) -> None:
        if name == "gateway":
            with (self.folder / "gateway.txt").open("ab") as said:
                self.processes[name] = subprocess.Popen(
                    [*COMMAND, "--config", str(self.project / "holdfast.toml")], stderr=said
                )
        else:
            arguments = ["post", str(self.folder), f"http://127.0.0.1:{self.port}", "0", str(self.writes)]
            self.processes[name] = subprocess.Popen(
                [*PARTS, *arguments, str(self.rng.randrange(1 << 30)), str(self.rest)]
            )


def served(folder: Path, writes: int, pause: float, **options: Any) -> int:
    """A campaign, judged by the platform's ledger; returns how often who was killed least."""
    database, port = folder / "billing.db", free_port()
    make_billing(database, orders=1)
    begin_project(folder, "billing.db", ("me=one", "ana=two"), Wishes(card=folder / "card.txt"))
    state = folder / ".holdfast" / "gateway"
    with started("platform", "--database", database) as platform:
        with (folder / "holdfast.toml").open("a") as config:
            config.write(GATEWAY.replace("UPSTREAM", platform.url).replace("PORT", str(port)))
        state.mkdir(mode=0o700)
        found = Served(state, platform, writes, **options, project=folder, port=port)
        try:
            found.run(240 + writes / 10, pause)
        except AssertionError:
            print((state / "gateway.txt").read_text()[-5000:])
            raise
        finally:
            found.stop()
    judge(found, database)
    return min(found.kills[name] for name in found.victims)


def test_a_gateway_that_is_killed_loses_nothing_and_does_nothing_twice(tmp_path: Path) -> None:
    """A sample of what the soak does at length."""
    assert served(tmp_path, 150, 1.5, rng=random.Random(2), deeds_max=12, rest=4.0) > 0


@pytest.mark.soak
def test_of_a_hundred_thousand_writes_through_a_gateway_none_is_lost_and_none_applied_twice(tmp_path: Path) -> None:
    """The whole promise in the gateway's own path, at length."""
    assert served(tmp_path, 100_000, 8.0, rng=random.Random(5), undisturbed=0.02, rest=0.4) > 3
