"""What a site was tried to do and what it refused: its promise against deletion, proven or broken.

A folder promises nothing. A bucket with object lock promises that nobody, whatever his key, destroys or loosens what it
holds; a site server that whoever writes there can do nothing else. What is promised and was allowed is broken.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal

from holdfast.core.events import Event

__all__ = ["LocksExtended", "LocksTried", "Trial", "tried"]


@dataclass(frozen=True, slots=True)
class Trial:
    """One thing tried at a site with one credential: refused, allowed, or unclear where there was no plain answer."""

    site: str
    credential: str
    verb: str
    outcome: Literal["refused", "allowed", "unclear"]
    is_promised: bool
    detail: str = ""

    @property
    def is_broken(self) -> bool:
        """Whether the site promises to refuse this, and allowed it."""
        return self.is_promised and self.outcome == "allowed"

    def __str__(self) -> str:
        said = f"{self.site} ({self.credential}): {self.verb}: {self.outcome}"
        return f"{said} ({self.detail})" if self.detail else said


@dataclass(frozen=True, slots=True)
class LocksTried(Event):
    """Forbidden things were tried on a canary at these sites. `broken` were promised to be refused and were not."""

    kind: ClassVar[str] = "locks"
    sites: tuple[str, ...]
    refused: tuple[str, ...]
    allowed: tuple[str, ...]
    unclear: tuple[str, ...]
    broken: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LocksExtended(Event):
    """What is called for is locked at this site for some days more; `missing` names lie there without bytes to hold."""

    kind: ClassVar[str] = "extend"
    site: str
    days: int
    extended: int
    already: int
    missing: tuple[str, ...]


def tried(trials: Iterable[Trial], at: datetime) -> LocksTried:
    """What was tried, for the journal."""
    every = list(trials)

    def told(outcome: str) -> tuple[str, ...]:
        return tuple(str(each) for each in every if each.outcome == outcome)

    return LocksTried(
        at,
        tuple(sorted({each.site for each in every})),
        told("refused"),
        told("allowed"),
        told("unclear"),
        tuple(str(each) for each in every if each.is_broken),
    )
