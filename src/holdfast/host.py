"""What this host remembers of its own work: the commit it wrote last, and how its follower fares."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from holdfast.errors import Damaged, Unreachable
from holdfast.vault.format import Link

__all__ = ["Memory", "memory_of"]

_SILENT_SECONDS = 60.0
_SILENT_TIMES = 20.0


@dataclass(frozen=True, slots=True)
class Memory:
    """The commit that this host wrote last, if any; what is wrong; the last word of a follower, if there was one; how
    many bytes wait in the spool, and the files in which commits lie that no site can take any more.
    """

    own: Link | None = None
    problem: str = ""
    following: dict[str, Any] | None = None
    spooled: int = 0
    aside: tuple[str, ...] = ()

    @property
    def followed_at(self) -> datetime | None:
        """When the follower last saw that nothing newer was at the source, or kept what was."""
        return datetime.fromisoformat(self.following["at"]) if self.following else None

    @property
    def sent(self) -> Link | None:
        """The commit that this host wrote last, if a site took it."""
        return None if self.unsafe else self.own

    @property
    def left_out(self) -> str:
        """That commits of this host can never come to the sites, in words; nothing if there are none."""
        if not self.aside:
            return ""
        return f"commits that no site has lie in {', '.join(self.aside)}; remove that once nobody needs them"

    @property
    def unsafe(self) -> str:
        """That commits of this host wait for a site, in words; nothing if none does."""
        waiting = max(int(self.following.get("waiting") or 0) if self.following else 0, self.spooled)
        if not waiting:
            return ""
        return f"no site took the newest commits: {waiting:,} bytes wait in the spool of this host, and are not safe"

    def silence(self, now: datetime, head_at: datetime | None) -> str:
        """That the follower went silent, in words; nothing if it did not, or a capture came after it."""
        at = self.followed_at
        if at is None or self.following is None or (head_at is not None and head_at > at):
            return ""
        patience = max(_SILENT_SECONDS, _SILENT_TIMES * float(self.following.get("seconds") or 0))
        if (now - at).total_seconds() <= patience:
            return ""
        return f"the follower has been silent since {at.isoformat(timespec='seconds')}: run holdfast follow"

    def shortage(self, head_at: datetime | None) -> str:
        """That the source had little room left for what it keeps for the follower, in words; nothing if it had enough,
        or a capture came after that.
        """
        at = self.followed_at
        if at is None or self.following is None or (head_at is not None and head_at > at):
            return ""
        return str(self.following.get("shortage") or "")


def memory_of(state: Path) -> Memory:
    """What the host's folder tells. Looking needs none of it whole, and disturbs nobody who writes there."""
    from holdfast.state.index import Index
    from holdfast.state.remembered import FOLLOWING, SPOOL

    if not (state / "state.db").exists():
        return Memory()
    try:
        with Index.open(state, read_only=True) as index:
            stream, told = index.stream(), index.recall(FOLLOWING)
    except Damaged as err:
        return Memory(problem=f"this host's index is damaged, holdfast reindex makes it anew: {err.message}")
    except Unreachable as err:
        return Memory(problem=f"this host's memory can't be read just now: {err.message}")
    own = None if stream is None else Link(stream.id, stream.sequence, stream.head)
    return Memory(own, following=json.loads(told) if told else None, spooled=_size(state / SPOOL), aside=_aside(state))


def _aside(state: Path) -> tuple[str, ...]:
    from holdfast.state.outgoing import aside_of
    from holdfast.state.remembered import SPOOL

    return tuple(sorted(str(path) for path in state.glob(aside_of(state / SPOOL).name)))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
