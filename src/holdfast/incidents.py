"""What an open vault knows of findings: which incident is open, which state is good, and what people decide."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager
from datetime import datetime
from typing import TYPE_CHECKING

from holdfast.core.incident import Decision, Incident, IncidentOpened

if TYPE_CHECKING:
    from holdfast.assemble import Project
    from holdfast.operations.approve import Control
    from holdfast.operations.findings import Found, Was
    from holdfast.operations.lastgood import LastGood
    from holdfast.operations.proof import Compared
    from holdfast.operations.replay import Replayed
    from holdfast.operations.scratch import SealedScratch
    from holdfast.state.observed import Noted
    from holdfast.vault.signing import Signer
    from holdfast.vault.states import State
    from holdfast.vault.vault import Vault
    from holdfast.vault.writer import Appended

__all__ = ["LATEST", "Incidents"]

LATEST = "latest"  # the newest state, whatever incident is open


class Incidents(ABC):
    """A vault with its project, as far as findings go."""

    project: Project
    vault: Vault

    @abstractmethod
    def state(self, at: datetime | int | str | None = None, collections: Collection[str] = ()) -> State:
        """Everything at a time; as of now, unless an incident is open."""

    @abstractmethod
    def _scratch(self) -> AbstractContextManager[SealedScratch]:
        """Sealed scratch."""

    def last_good(self) -> LastGood | None:
        """Which state `state()` gives while an incident is open; None if none is. Where there never was one, that is
        known by one listing at each site.
        """
        from holdfast.operations.incident import incidents_in, standing
        from holdfast.operations.lastgood import last_good

        judged: list[Control] = []

        def control() -> Control:
            judged.append(self._judged())
            return judged[0]

        holds = standing(self.vault, control)
        if not holds:
            return None
        return last_good(self.vault, holds, [each.opened for each in incidents_in(self.vault, judged[0])])

    def findings(self) -> list[Found]:
        """Every incident there ever was, by the time it was opened."""
        from holdfast.operations.findings import found_in

        return found_in(self.vault, self._judged())

    def untold(self) -> list[IncidentOpened]:
        """The incidents that this host found, and that no site which answers knows of yet."""
        from holdfast.state.observed import incidents_in

        known = incidents_in(self.project.state)
        if not known:
            return []
        told = {each.id for each in self.findings()}
        return [each for name, each in known.items() if isinstance(each, IncidentOpened) and name not in told]

    def touched(self, found: Found) -> Iterator[Compared]:
        """What the newest state lacks, or holds otherwise, in the collections that an incident touched: `missing` and
        `changed` hold the records as they were in the last good state. A result can be read until the next is asked
        for. Nothing where no key at hand opens what is sealed.
        """
        from holdfast.operations.findings import touched_records

        if found.incident is not None and (states := self._states(found.incident)) is not None:
            names = [each.collection for each in found.incident.touched]
            with self._scratch() as scratch:
                yield from touched_records(self.vault, states, names, scratch)

    def first_touched(self, found: Found, count: int = 20) -> Iterator[Was]:
        """The first of the same records, at most so many, looked up by the keys that the incident names."""
        from holdfast.operations.findings import first_records

        if found.incident is not None and (states := self._states(found.incident)) is not None:
            yield from first_records(self.vault, states, found.incident.touched, count)

    def _states(self, incident: Incident) -> tuple[State, State] | None:
        """The last good state of an incident, and the newest; None where it can't be told."""
        from holdfast.operations.incident import hold_of
        from holdfast.operations.lastgood import last_good

        good = last_good(self.vault, [hold_of(incident.opened)], [incident.opened])
        return (good.state(self.vault), self.state(LATEST)) if good is not None and good.is_known else None

    def decide(self, found: Found, decision: Decision, reason: str, key: Signer) -> Appended:
        """Accept or reject what was found. Raises Refused where the key's word would count for nothing.

        The capture host hears of it when it looks next: as much of the same as was accepted is usual from then on.
        """
        from holdfast.operations.findings import decided

        return decided(self.vault, key, self._judged(), found, (decision, reason))

    def notices(self, since: datetime) -> list[Noted]:
        """The steps since then in which this host found what holds nothing."""
        from holdfast.state.observed import notices_in

        return notices_in(self.project.state, since)

    def replay(self, since: datetime | None = None) -> Replayed:
        """When each rule would have found something in all that is known of the past. Nothing is opened."""
        from holdfast.operations.replay import Judging, replay

        config = self.project.config
        return replay(self.vault, self.project.state, Judging(config.limits, config.collections), since)

    def _judged(self) -> Control:
        from holdfast.operations.approve import control_of
        from holdfast.people import seen_by

        arrived = seen_by(self.vault, self.project.state)
        return control_of(self.vault, arrived.times, arrived.plain)
