"""No acknowledged write is lost, and none is applied twice: gateway, replayer and platform are killed (-9) at random
points, clients deliver twice, the platform applies and hangs up. The truth is the platform's own ledger.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from holdfast.core.outbox import Fate, Lane, Outcome
from holdfast.operations.sealing import open_sealing
from holdfast.sample.billing import ledger
from holdfast.sample.processes import Server, started
from holdfast.state.outbox import OutboxFile
from holdfast.state.outboxlanes import OutboxLanes

FAULTS: tuple[dict[str, Any], ...] = (
    *({},) * 6,
    {"hang_up_after": 0.05},
    {"hang_up_after": 0.5},
    {"fail": 503},
    {"lie": True},
    {"die_after": 0.002},
    {"hang_seconds": 0.3},
)
WAITING_MAX = 2000


@dataclass
class Campaign:
    """Processes around one outbox, and who kills them."""

    folder: Path
    platform: Server
    writes: int
    rng: random.Random
    # Nothing is disturbed any more once all are taken and this share of them waits, or after so many deeds.
    undisturbed: float = 0.8
    deeds_max: int = 1_000_000
    takers: tuple[str, ...] = ("take-0", "take-1")
    replayer: str = "replay"
    victims: tuple[str, ...] = ("take-0", "take-1", "replay", "platform")
    # A taker rests for up to so many seconds before each write, so that it lives long enough to be killed.
    rest: float = 0.0
    ends: tuple[int, ...] = (-9,)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    kills: Counter[str] = field(default_factory=Counter)

    def run(self, seconds: float, pause: float) -> None:
        """Until every victim was killed, every write acknowledged and nothing waits; what is left at the end is not
        disturbed any more.
        """
        ends = time.monotonic() + seconds
        (self.folder / "closed").touch()
        (self.folder / "acknowledged").touch()
        for name in (*self.takers, self.replayer):
            self._start(name)
        deeds = 0
        while self._spared() or (deeds < self.deeds_max and self._is_much_left()):
            assert time.monotonic() < ends, f"not all were taken: {self.kills}"
            self._disturb(self.rng.uniform(0, pause))
            deeds += 1
        self._end_disturbance()
        while not self._is_taken() or self._waiting():
            assert time.monotonic() < ends, f"not all were replayed: {self._waiting()}, {self.kills}"
            self._revive()
            with suppress(subprocess.TimeoutExpired):
                self.processes[self.replayer].wait(0.2)

    def stop(self) -> None:
        """Whatever still runs."""
        for process in self.processes.values():
            process.kill()
            process.wait()

    def acknowledged(self) -> set[int]:
        return {int(line) for line in (self.folder / "acknowledged").read_text().split()}

    def _disturb(self, seconds: float) -> None:
        """Something happens, and then nothing for so long."""
        deed = self.rng.choice(("kill", "kill", "kill", "fault", "fault", "breaker", "breaker"))
        spared = self._spared()
        if spared and self.acknowledged():
            # Each of them once, before chance decides.
            self._kill(spared[0])
        elif deed == "kill":
            self._kill(self.rng.choice(self.victims))
        elif deed == "fault":
            self._fault(self.rng.choice(FAULTS))
        else:
            closed = self.folder / "closed"
            if self.rng.random() < 0.3:
                closed.unlink(missing_ok=True)
            else:
                closed.touch()
        with suppress(subprocess.TimeoutExpired):
            self.processes[self.replayer].wait(seconds)
        self._revive()

    def _kill(self, name: str) -> None:
        victim = self.platform if name == "platform" else self.processes[name]
        if name == "platform" or self.processes[name].poll() is None:
            victim.kill()
            self.kills[name] += 1

    def _revive(self) -> None:
        """What was killed starts again; what ended by itself must have ended well."""
        if self._count() > WAITING_MAX:
            (self.folder / "full").touch()
        else:
            (self.folder / "full").unlink(missing_ok=True)
        if not self.platform.is_running:
            self.platform.restart()
        self._decide()
        for name, process in list(self.processes.items()):
            code = process.poll()
            assert code in (None, 0, *self.ends), f"{name} ended with {code}"
            # Clients who have all their answers come again, while nobody has killed them.
            if code in self.ends or (code == 0 and name in self._spared()):
                self._start(name)

    def _spared(self) -> list[str]:
        return [name for name in self.victims if not self.kills[name]]

    def _decide(self) -> None:
        """What a person does: writes that would not go by themselves, and that the platform does not have, go."""
        with closing(self._outbox()) as outbox:
            lanes = OutboxLanes(outbox)
            for item in lanes.items(Lane.DEAD_LETTER, 1000):
                assert item.fate is Fate.CONFLICT
                asyncio.run(lanes.decide(item.receipt, Outcome(Fate.QUEUED, "sent by hand")))

    def _end_disturbance(self) -> None:
        self._revive()
        self._fault({})
        # Whoever starts anew asks at once what the platform has; otherwise this may wait for its next turn.
        self._kill(self.replayer)
        (self.folder / "closed").touch()

    def _fault(self, faults: dict[str, Any]) -> None:
        data = json.dumps({**faults, "seed": self.rng.randrange(1 << 30)} if faults else {}).encode()
        request = urllib.request.Request(f"{self.platform.url}/.faults", data, method="PUT")
        # It may have died of the faults before.
        with suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            urllib.request.urlopen(request, timeout=5).close()

    def _start(self, name: str) -> None:
        part, _, number = name.partition("-")
        arguments = [part, str(self.folder), self.platform.url]
        if number:
            share = self.writes // len(self.takers)
            first = int(number) * share
            arguments += [str(first), str(first + share), str(self.rng.randrange(1 << 30)), str(self.rest)]
        self.processes[name] = subprocess.Popen([sys.executable, "-m", "tests.crash.outbox_parts", *arguments])

    def _is_much_left(self) -> bool:
        return not self._is_taken() or self._count() > self.writes * self.undisturbed

    def _is_taken(self) -> bool:
        return all(self.processes[name].poll() == 0 for name in self.takers)

    def _count(self) -> int:
        return sum(self._waiting().values())

    def _waiting(self) -> dict[Fate, int]:
        with closing(self._outbox()) as outbox:
            counts = OutboxLanes(outbox).counts()
        return {fate: count for fate, count in counts.items() if fate not in (Fate.APPLIED, Fate.DROPPED)}

    def _outbox(self) -> OutboxFile:
        return OutboxFile(self.folder, open_sealing(self.folder), lambda: datetime.now(UTC))


def campaign(folder: Path, writes: int, pause: float, **options: Any) -> int:
    """A campaign, judged by the platform's ledger; returns how often who was killed least."""
    database = folder / "billing.db"
    with started("platform", "--database", database, "--orders", "1") as platform:
        found = Campaign(folder / "gateway", platform, writes, **options)
        found.folder.mkdir(mode=0o700)
        try:
            found.run(240 + writes / 10, pause)
        finally:
            found.stop()
    judge(found, database)
    return min(found.kills[name] for name in found.victims)


def judge(found: Campaign, database: Path) -> None:
    """Whether the platform's ledger has every acknowledged write, and none twice."""
    applied = Counter(each["key"] for each in ledger(database))
    acknowledged = {f"key-{number}" for number in found.acknowledged()}
    assert len(acknowledged) == found.writes
    assert {key: count for key, count in applied.items() if count > 1} == {}
    assert acknowledged - applied.keys() == set()


def test_every_acknowledged_write_is_applied_once_whoever_is_killed(tmp_path: Path) -> None:
    """A sample of what the soak does at length."""
    assert campaign(tmp_path, 600, 0.4, rng=random.Random(1), deeds_max=20, rest=0.4) > 0


@pytest.mark.soak
def test_of_a_hundred_thousand_writes_none_is_lost_and_none_applied_twice(tmp_path: Path) -> None:
    """The whole promise, at length."""
    assert campaign(tmp_path, 100_000, 4.0, rng=random.Random(7), undisturbed=0.05) > 5
