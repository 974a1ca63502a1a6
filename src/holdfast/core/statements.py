"""Control events: what is public in the journal, so that sites and strangers can judge it (docs/format.md, 8.1).

Each counts only by who signed it: `core/control.py` judges. Integers and texts only, no fractions.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from holdfast.core.events import CommitRef, Event

__all__ = [
    "CONTROL",
    "Approved",
    "Decided",
    "DrillProven",
    "Held",
    "Marked",
    "Possessed",
    "Pruned",
    "Ranges",
    "Requested",
    "Seen",
    "Vetoed",
]

Ranges = tuple[tuple[CommitRef, CommitRef], ...]


@dataclass(frozen=True, slots=True)
class Requested(Event):
    """Somebody asks for what needs others: `action` is prune, trust, restore or release, `subject` says what exactly.

    The request's id is the hash of the events object that holds it, alone.
    """

    kind: ClassVar[str] = "request"
    action: str
    subject: dict[str, Any]
    reason: str
    by: str
    expires: datetime


@dataclass(frozen=True, slots=True)
class Approved(Event):
    """An approver allows a request (`allow`), or allows it again after the delay (`confirm`)."""

    kind: ClassVar[str] = "approval"
    request: str
    step: str


@dataclass(frozen=True, slots=True)
class Vetoed(Event):
    """An approver, a holder or root ends a request."""

    kind: ClassVar[str] = "veto"
    request: str
    reason: str


@dataclass(frozen=True, slots=True)
class Seen(Event):
    """An approver or holder was told of a request."""

    kind: ClassVar[str] = "seen"
    request: str


@dataclass(frozen=True, slots=True)
class Held(Event):
    """Nothing that this commit needs, or nothing at all (None), may go until a `release` request is granted.

    Of an `incident` nothing at all may go, until somebody else decides on it; `commit` is the last good one.
    """

    kind: ClassVar[str] = "hold"
    reason: str
    commit: CommitRef | None
    incident: str = ""


@dataclass(frozen=True, slots=True)
class Decided(Event):
    """Somebody who may decided on an incident: `accept` and `mended` end its holds, `reject` lets them stand."""

    kind: ClassVar[str] = "decided"
    incident: str
    decision: str


@dataclass(frozen=True, slots=True)
class DrillProven(Event):
    """A commit was restored to scratch, and what came out was proven equal, or not."""

    kind: ClassVar[str] = "drilled"
    commit: CommitRef
    is_proven: bool


@dataclass(frozen=True, slots=True)
class _Share(Event):
    """What goes from a site: the objects of these commits, and these tails."""

    site: str
    ranges: Ranges
    tails: tuple[str, ...]
    objects: int
    size: int
    cause: str


@dataclass(frozen=True, slots=True)
class Marked(_Share):
    """It is to go from the site after the wait."""

    kind: ClassVar[str] = "marked"


@dataclass(frozen=True, slots=True)
class Pruned(_Share):
    """It has gone, or is about to go, from the site. Written before the first deletion."""

    kind: ClassVar[str] = "pruned"


@dataclass(frozen=True, slots=True)
class Possessed(Event):
    """A holder opened his share at the sites and found it whole: `share` is the SHA-256 of what is in it."""

    kind: ClassVar[str] = "custody"
    holder: str
    share: str


CONTROL = frozenset(
    each.kind for each in (Requested, Approved, Vetoed, Seen, Held, Decided, DrillProven, Marked, Pruned, Possessed)
) | {"receipt"}
