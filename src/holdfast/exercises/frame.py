"""What every exercise has: a folder, claims that hold or don't, and figures of then beside those of now."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from holdfast.api import OpenVault, open_vault
from holdfast.begin import Wishes, begin_project
from holdfast.core.config import parse_config, render_config
from holdfast.core.declared import Declared
from holdfast.core.policy import Policy

__all__ = ["Claim", "Exercised", "Figure", "Ground", "protect", "sum_of"]

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Claim:
    """A sentence that must be true, and whether it was."""

    text: str
    holds: bool


@dataclass(frozen=True, slots=True)
class Figure:
    """What something cost the company it happened to, and what it cost here, measured."""

    what: str
    then: str
    now: str


@dataclass(frozen=True, slots=True)
class Exercised:
    """How an exercise ended. `is_won`: every claim held."""

    name: str
    incident: str
    claims: Sequence[Claim]
    figures: Sequence[Figure]
    seconds: float

    @property
    def is_won(self) -> bool:
        """Whether every claim held."""
        return _is_won(self.claims)


class Ground:
    """Where one exercise is played: its folder, its size and seed, and what was found so far."""

    def __init__(self, folder: Path, orders: int, seed: int, tell: Tell) -> None:
        self.folder = folder
        self.orders = orders
        self.seed = seed
        self.claims: list[Claim] = []
        self.figures: list[Figure] = []
        self._tell = tell
        self._began = time.monotonic()

    @property
    def shop(self) -> Path:
        """The sample shop's database."""
        return self.folder / "shop.db"

    @property
    def seconds(self) -> float:
        """Since the exercise began."""
        return time.monotonic() - self._began

    @property
    def is_won(self) -> bool:
        """Whether every claim so far held."""
        return _is_won(self.claims)

    def tell(self, text: str) -> None:
        """A sentence of the story."""
        self._tell(text)

    def claim(self, text: str, holds: bool) -> None:
        """Something that must be true; it is told either way, and the exercise goes on."""
        self.claims.append(Claim(text, holds))
        self._tell(f"  {'holds' if holds else 'NOT TRUE'}: {text}")

    def figure(self, what: str, then: str, now: str) -> None:
        """A figure of then, and the same as measured now."""
        self.figures.append(Figure(what, then, now))

    @contextmanager
    def timed(self) -> Iterator[Callable[[], float]]:
        """How long the block took so far, or in all once it ended."""
        began = time.monotonic()
        ended: list[float] = []
        yield lambda: (ended[0] if ended else time.monotonic()) - began
        ended.append(time.monotonic())


def protect(
    ground: Ground, sites: Sequence[str], declared: Mapping[str, Declared], wishes: Wishes, database: str = "shop.db"
) -> OpenVault:
    """Begin to protect the sample shop at *sites*, with what its owner declares of it."""
    begin_project(ground.folder, database, sites, wishes)
    path = ground.folder / "holdfast.toml"
    config = parse_config(path.read_text(encoding="utf-8"))
    # A plan of any size may be carried out: the exercise is the person who has looked at it.
    policy = Policy(config.policy.safe_sites, config.policy.safe_owners, confirm_above=10**9)
    changed = type(config)(config.vault, config.sources, config.sites, policy, declared, config.limits)
    path.write_text(render_config(changed), encoding="utf-8")
    return open_vault(path)


def sum_of(seconds: float) -> str:
    """A length of time as people say it."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min"


def _is_won(claims: Sequence[Claim]) -> bool:
    return bool(claims) and all(each.holds for each in claims)
