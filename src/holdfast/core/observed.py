"""What a capture or a change stream showed, as numbers that rules can judge without a record at hand.

A *step* is one commit as its writer saw it, or a moment at which he looked and could keep nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

__all__ = ["Marks", "Observed", "Step"]


@dataclass(frozen=True, slots=True)
class Marks:
    """What a source says of itself, as far as it has it: who it is, and numbers that never fall while it only goes on.

    `identity` is of the system that holds the data (a server's own id), `timeline` of its line of history; `counters`
    are by name (a log position, a change counter, a sequence). `rights` are what the reading user may do, one word or
    line each: fewer of them explain records that are not seen any more.
    """

    identity: str = ""
    timeline: str = ""
    counters: Mapping[str, int] = field(default_factory=dict)
    rights: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Observed:
    """One collection in one commit: records before it (`was`), and those new, changed and gone.

    Of the records that changed or came, `looked_up` (all in the sample, whether or not the vault has versions of them)
    were held against what the vault has, and `reverted` equal an older version. `garbled` of `checked` changed values
    no longer are what they were before (text that is no longer its JSON, number or UTF-8). `gone_30m` to `changed_24h`
    count different keys up to this commit, this one included; records that came and went within that time count in
    neither; `fresh_30m` and `fresh_24h` count those that came within that time and are there. `top_before` and
    `top_after` are the largest key, where keys are integers; `low` counts new records with keys below `top_before`.
    `lost` names columns, types and rights that went. `is_dropped`: the source no longer has the collection.
    """

    collection: str
    was: int
    new: int
    changed: int
    gone: int
    looked_up: int = 0
    reverted: int = 0
    checked: int = 0
    garbled: int = 0
    gone_30m: int = 0
    gone_24h: int = 0
    changed_30m: int = 0
    changed_24h: int = 0
    fresh_30m: int = 0
    fresh_24h: int = 0
    top_before: int | None = None
    top_after: int | None = None
    low: int = 0
    lost: tuple[str, ...] = ()
    is_dropped: bool = False
    is_settings: bool = False

    @property
    def gone_at_once(self) -> int:
        """How many went that were there half an hour before: a queue that empties itself loses nothing."""
        return self.was if self.is_dropped else min(self.gone, self.gone_30m)

    @property
    def reverted_in_all(self) -> int:
        """How many records went back to an older version, scaled up from those that were looked up."""
        share = (self.new + self.changed) / self.looked_up if self.looked_up else 0.0
        return round(self.reverted * max(1.0, share))

    @property
    def has_fallen(self) -> bool:
        """Whether the largest key is smaller than it was."""
        return self.top_before is not None and self.top_after is not None and self.top_after < self.top_before


@dataclass(frozen=True, slots=True)
class Step:
    """One look at a source, at the source's own time. Collections that did not change may be left out.

    `number` is the commit's number in the log, or 0 if there is none. `broke` says why changes could not be told, with
    its kind (`identity`, `timeline`, `behind`, or "" for all that is no sign of a rollback). `counted` holds by
    collection what the source counts and what the copy holds, where both were asked. `beat` is the heartbeat's counter
    as it came through the copy, and `beat_at` the time of this look by the clock of who looks, where that is another
    than the source's. `missing`: the source answers, and no longer has its database.
    """

    at: datetime
    kind: Literal["capture", "snapshot", "changes", "idle", "failed"]
    number: int = 0
    observed: tuple[Observed, ...] = ()
    marks: Marks | None = None
    broke: str = ""
    broke_kind: str = ""
    counted: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    beat: int | None = None
    beat_at: datetime | None = None
    missing: bool = False
    first_tx: str = ""
    first_at: datetime | None = None

    @property
    def looked_at(self) -> datetime:
        """The time of this look by the clock of who looks."""
        return self.beat_at or self.at
