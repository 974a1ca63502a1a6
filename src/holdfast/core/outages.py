"""What happens in an outage, as events for the journal: verdicts, causes, moves of the breaker, answers, fates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from holdfast.core.events import Event

__all__ = ["Believed", "BreakerMoved", "CauseFound", "ProbeChanged", "StoodIn", "WriteFate"]


@dataclass(frozen=True, slots=True)
class ProbeChanged(Event):
    """The verdict on what a probe watches changed: from `was` to `now` (up, suspected, down). `since` is when the first
    of the results came that led to it.
    """

    kind: ClassVar[str] = "probe"
    probe: str
    was: str
    now: str
    since: datetime
    detail: str = ""


@dataclass(frozen=True, slots=True)
class CauseFound(Event):
    """Another set of components is the cause of what does not work; `suffering` only depend on them. None: all is well
    again.
    """

    kind: ClassVar[str] = "cause"
    causes: tuple[str, ...]
    suffering: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BreakerMoved(Event):
    """The breaker went from one state to another, because of `reason`. `by` is "breaker", or who forced it `until`."""

    kind: ClassVar[str] = "breaker"
    was: str
    now: str
    reason: str
    by: str = "breaker"
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class StoodIn(Event):
    """Within the `seconds` before, so many requests to a route were answered from the copy, and so many refused, while
    the platform did not answer. `oldest` is the moment the oldest copy was of that was answered from.
    """

    kind: ClassVar[str] = "stood-in"
    route: str
    answers: int
    refused: int
    seconds: float
    oldest: datetime | None = None


@dataclass(frozen=True, slots=True)
class WriteFate(Event):
    """What became of a write that was taken while the platform did not answer: its receipt number, its route and record
    and its new fate. What was written is never told here.
    """

    kind: ClassVar[str] = "write"
    receipt: str
    route: str
    record: str
    fate: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Believed:
    """What a watch believed when it told its last event: what is down, since when, and the causes."""

    down: Mapping[str, datetime] = field(default_factory=dict)
    causes: tuple[str, ...] = ()

    def after(self, event: Event) -> Believed:
        """The same after one more event."""
        if isinstance(event, CauseFound):
            return Believed(self.down, event.causes)
        if not isinstance(event, ProbeChanged):
            return self
        others = {name: since for name, since in self.down.items() if name != event.probe}
        return Believed(others | ({event.probe: event.at} if event.now == "down" else {}), self.causes)

    def to_json(self) -> dict[str, Any]:
        """As it is kept."""
        return {"down": {name: since.isoformat() for name, since in self.down.items()}, "causes": list(self.causes)}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Believed:
        """What `to_json` wrote; of anything else nothing."""
        try:
            down = {str(name): datetime.fromisoformat(since) for name, since in value["down"].items()}
            return Believed(down, tuple(map(str, value["causes"])))
        except (KeyError, TypeError, ValueError, AttributeError):
            return Believed()
