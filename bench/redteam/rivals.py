"""What the attacks on restic and on borg have in common: a week of states, programs that are run, and how it is judged.

Each host has a repository of its own, and a user or key of its own that may only add: the safest set-up of each tool.
Whoever is to be trusted works on the server's disk, with the password and without these limits.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench.redteam.attacks import DAYS, Verdict
from bench.redteam.world import SECRET

__all__ = ["PASSWORD", "Rival", "free_text"]

PASSWORD = "both the host and its owner know it"
EMPTY = b"-- no orders\n"
_SECONDS_MAX = 300


def free_text(number: int) -> bytes:
    """A state of the shop: what only it holds, and what compresses badly."""
    return f"{SECRET}{number}\n{secrets.token_hex(20_000)}\n".encode()


class Rival(ABC):
    """One tool with `DAYS` real states of host shop in its repository, and one of host bo in another."""

    title: str

    def __init__(self, folder: Path) -> None:
        self._template = folder / type(self).__name__
        self.served = self._template
        self.states: dict[str, bytes] = {}
        self.did: list[str] = []
        noon = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=1)
        self.days = [noon - timedelta(days=days) for days in range(DAYS - 1, -1, -1)]
        self._template.mkdir()
        with self.serving():
            self.begin()
            for number, day in enumerate(self.days):
                text = free_text(number)
                self.states[self.store(text, day, f"real-{number}")] = text

    @abstractmethod
    def secrets(self) -> dict[str, str]:
        """What lies on the host, as its program finds it in the environment."""

    @abstractmethod
    def begin(self) -> None:
        """Make the repositories of both hosts."""

    @contextmanager
    def serving(self) -> Iterator[None]:
        """The server, while the block runs."""
        yield

    @abstractmethod
    def store(self, text: bytes, day: datetime, name: str) -> str:
        """Store a state with the secrets of host shop, dated as told; what it is called afterwards."""

    @abstractmethod
    def restored(self, state: str) -> bytes | None:
        """A state, for whoever is to be trusted; None if it can't be had."""

    @abstractmethod
    def retained(self) -> None:
        """The normal next step of whoever is to be trusted: let go of what is older than seven daily states."""

    @abstractmethod
    def attacks(self) -> dict[str, Callable[[], Verdict]]:
        """The attacks by name, each judged; those that are left out could not even be tried."""

    def attack(self, name: str) -> Verdict:
        """See `Target`."""
        if name not in self.attacks():
            return Verdict(None)
        self.served = self._template.with_name(f"{self._template.name}-{name}")
        shutil.copytree(self._template, self.served)
        self.did = []
        try:
            with self.serving():
                return self.attacks()[name]()
        finally:
            shutil.rmtree(self.served)
            self.served = self._template

    def lost(self) -> bool:
        """Whether a real state does not come back byte for byte."""
        return any(self.restored(state) != text for state, text in self.states.items())

    def steered(self) -> Verdict:
        """Seven empty states at the end of each day, then retention."""
        for day in self.days:
            self.store(EMPTY, day.replace(hour=23, minute=59), f"late-{day:%d}")
        self.retained()
        return Verdict(self.lost())

    def dated(self) -> Verdict:
        """Empty states long ago and on the next seven days, then retention."""
        for days in (-400, *range(1, DAYS + 1)):
            day = self.days[-1] + timedelta(days=days)
            self.store(EMPTY, day, f"dated-{day:%Y-%m-%d}")
        self.retained()
        return Verdict(self.lost())

    def run(self, *command: str | Path, sent: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
        """Run a program to its end, however that is; noted in `did`."""
        done = subprocess.run(
            [*map(str, command)],
            input=sent,
            capture_output=True,
            env={**os.environ, "TZ": "UTC", **self.secrets(), **environment},
            cwd=self.served,
            timeout=_SECONDS_MAX,
            check=False,
        )
        self.did.append(f"{' '.join(map(str, command))}: {done.returncode} {done.stderr.decode()[-300:]}")
        return done

    def must(self, *command: str | Path, sent: bytes = b"", **environment: str) -> bytes:
        """The same for what must succeed; what it printed."""
        done = self.run(*command, sent=sent, **environment)
        assert not done.returncode, self.did[-1]
        return done.stdout
