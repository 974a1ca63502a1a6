"""What the gateway is made of, as its application sees it: each part behind a door of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from holdfast.core.breaker import Standing
from holdfast.core.exchange import Answer, Asked, Matched, StandIn, Subject
from holdfast.core.outage import GatewayConfig, Route
from holdfast.core.outbox import Outbox
from holdfast.core.tally import Tally, Who
from holdfast.gateway.pages import Pages
from holdfast.gateway.room import Bodies, Room
from holdfast.gateway.talk import Arriving
from holdfast.operations.door import GatewayDoor

__all__ = ["Parts", "Passing", "Patient", "View", "who_asks"]


class Passing(Protocol):
    """The platform, for what passes through: see `connectors/http/upstream.py`."""

    async def begin(self, asked: Asked, seconds: float, body: AsyncIterator[bytes] | None = None) -> Arriving:
        """Its answer, as soon as the head of it is there. Raises NotSent or NoAnswer."""
        ...

    async def send(self, asked: Asked, seconds: float) -> Answer:
        """Its answer, whole. Raises NotSent or NoAnswer."""
        ...


class View(Protocol):
    """The breaker, as the keeper has it this moment."""

    @property
    def standing(self) -> Standing:
        """How it stands."""
        ...

    @property
    def beaten(self) -> float:
        """When the keeper was last at work."""
        ...

    @property
    def is_well(self) -> bool:
        """Whether all that it does went well then."""
        ...

    @property
    def waits_long(self) -> bool:
        """Whether writes waited too long for a capture then."""
        ...

    def passes(self) -> bool:
        """Whether the next request goes to the platform."""
        ...


class Patient(StandIn, Protocol):
    """What answers from the copy, for an event loop."""

    async def answered(self, matched: Matched, asked: Asked, subject: Subject) -> Answer | None:
        """What `answer` gives, and also what takes longer to find, without holding up other requests."""
        ...

    async def versioned(self, collection: str, key: Mapping[str, str]) -> str | None:
        """What `version` gives, also where it takes longer to find."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one worker."""

    config: GatewayConfig
    routes: tuple[Route, ...]
    platform: Passing
    view: View
    tally: Tally
    outbox: Outbox
    stand_in: Patient
    door: GatewayDoor
    pages: Pages
    room: Room = field(default_factory=Room)
    bodies: Bodies = field(default_factory=Bodies)


def who_asks(asked: Asked, matched: Matched | None) -> Who:
    """Who asks for what, so that a platform which fails just him, or just this, is not taken to be away."""
    return Who(asked.client, matched.route.name if matched is not None else asked.path)
