"""How to follow a source, and what a follower says of each of its steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from holdfast.core.events import Progress
from holdfast.core.feed import Kept, Moved
from holdfast.operations.commits import Written
from holdfast.operations.rolling import RUNGS, Rung
from holdfast.operations.sight import Rulebook

__all__ = ["Followed", "Watch", "followed"]


def _silent(_: Progress) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Watch:
    """How to follow: seconds between commits, when to stop, whom to tell. With `once`, up to a quiet moment only.

    Where some collections can't be followed, all is read again after `reread_seconds`. `rungs` say when small commits
    are rolled up into larger ones, the lowest first; by `rules` each step is judged.
    """

    seconds: float = 3.0
    reread_seconds: float = 86_400.0
    once: bool = False
    stop: Callable[[], bool] = lambda: False
    emit: Callable[[Progress], None] = _silent
    tell: Callable[[Followed], None] = lambda _: None
    rungs: tuple[Rung, ...] = RUNGS
    rules: Rulebook = field(default_factory=Rulebook)


@dataclass(frozen=True, slots=True)
class Followed:
    """One step of following: a commit, of a snapshot or of changes, or nothing new; a commit that rolls earlier ones up
    is a step of its own. Times are those of the source.

    `kept` is what the source still keeps of its log for us, if it says so; `lag` the seconds from the newest
    transaction to its commit at the sites, or in the spool of this host while `waiting` bytes lie there and at no site;
    `why` what made a snapshot necessary; `found` what was found in the step and not told before, in words, and
    `incident` the one that is open, `is_new` if by this step.
    """

    kind: str
    at: datetime
    commit: int
    position: str
    until: datetime | None = None
    changes: int = 0
    transactions: int = 0
    lag: float | None = None
    kept: Kept | None = None
    waiting: int = 0
    why: str = ""
    notes: tuple[str, ...] = field(default=())
    found: tuple[str, ...] = field(default=())
    incident: str = ""
    is_new: bool = False

    def to_json(self) -> dict[str, Any]:
        """The facts as JSON."""
        facts = {name: getattr(self, name) for name in self.__slots__ if name != "kept"}
        facts |= {"behind": None, "budget": None, "left": None, "shortage": ""}
        if (kept := self.kept) is not None:
            facts |= {"behind": kept.bytes_behind, "budget": kept.budget, "left": kept.left, "shortage": kept.shortage}
        return {name: each.isoformat() if isinstance(each, datetime) else each for name, each in facts.items()}


def followed(written: Written, moved: Moved, kept: Kept | None, at: datetime) -> Followed:
    """What a follower says of a commit of changes."""
    return Followed(
        "changes",
        at,
        written.number,
        moved.position,
        moved.until,
        changes=sum(each.new + each.changed + each.gone for each in written.outcomes),
        transactions=moved.transactions,
        lag=None if moved.until is None else (at - moved.until).total_seconds(),
        kept=kept,
        notes=(*moved.notes, *(f"site {site} did not take it: {err.message}" for site, err in written.failed.items())),
    )
