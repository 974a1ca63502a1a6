"""Writes that wait, though the platform is back, for a capture: only a copy of a moment after they were accepted says
whether somebody else changed their records meanwhile. Captures may be hours apart, so who can end the waiting is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

__all__ = ["LONG_SECONDS", "WAITS", "Uncaptured", "ends_by"]

WAITS = "waits for a capture"  # the reason of such a write begins with it
LONG_SECONDS = 300.0  # after which nobody should take it for well


@dataclass(frozen=True, slots=True)
class Uncaptured:
    """Writes of so many records that wait for a capture, the first since that moment, and what ends it."""

    records: int
    since: datetime
    way: str

    def is_long(self, now: datetime) -> bool:
        """Whether it takes too long."""
        return now - self.since > timedelta(seconds=LONG_SECONDS)


def ends_by(*, has_source: bool) -> str:
    """The command that ends the waiting, and where: *has_source* if this host's configuration names the source."""
    return "end it with: holdfast capture" if has_source else "end it on the host that captures: holdfast capture"
