"""The last good state: what an open incident lets readers see unless they ask for another.

* The hold is public and names the last good commit; so whoever reads without the journal's key knows it too.
* What is sealed may say it better: before which transaction of the first bad commit, or, once that commit was rolled
  up, up to which instant of the source.
* Of several open incidents the earliest state counts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from holdfast.core.incident import IncidentOpened
from holdfast.core.statements import Held
from holdfast.errors import Damaged, Refused, Usage
from holdfast.vault.states import State
from holdfast.vault.vault import Vault

__all__ = ["LastGood", "last_good"]

_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class LastGood:
    """A state by the commit (hash) or the time it ends with, for these incidents; with neither nobody can tell it.

    With `tx` it is what was there just before that transaction, if the commit `bad`, or else the one within which the
    time lies, opens and holds it.
    """

    incidents: tuple[str, ...]
    commit: str = ""
    until: datetime | None = None
    tx: str = ""
    bad: str = ""

    @property
    def is_known(self) -> bool:
        """Whether it can be told which state it is."""
        return bool(self.commit) or self.until is not None

    def state(self, vault: Vault, collections: Collection[str] = ()) -> State:
        """The state itself, or the newest if it is not known. Raises as `Vault.state` does."""
        try:
            return self._state(vault, collections)
        except Usage as err:
            raise Usage(
                f"incident {self.incidents[0]} is open, and the state before can't be had: {err.message}",
                hint="see holdfast findings; the newest is --at latest",
            ) from err

    def _state(self, vault: Vault, collections: Collection[str]) -> State:
        bad = self.bad
        if self.tx and not bad:  # rolled up: it lies where that instant does
            cut = vault.state(self.until, collections=collections)
            bad = cut.signed.sha256 if cut.until is not None else ""
        if bad:
            try:
                found = vault.state_before(self.tx, pin=bad, collections=collections)
            except (Usage, Damaged, Refused):
                found = None  # its changes are closed to our identity, or gone: the commit before is as good
            # Before the first transaction of a commit is what the commit before it signed.
            if found is not None and found.until is not None and (found.until.before != 0 or not self.commit):
                return found
        if self.commit:
            return vault.state(pin=self.commit, collections=collections)
        return vault.state(self.until, collections=collections)

    def told(self, state: State) -> str:
        """What to say of it to whoever asked for no other."""
        who = f"incident {self.incidents[0]} is" if len(self.incidents) == 1 else f"incidents {self._names} are"
        if not self.is_known:
            return f"{who} open, and the state before can't be told: this is the newest"
        where = f"commit {state.number} ({state.signed.sha256[:12]})"
        if state.until is not None and state.until.before is not None:
            where = f"just before transaction {self.tx}, within {where}"
        elif state.until is not None and state.until.at is not None:
            where = f"as of {state.until.at.isoformat(timespec='seconds').replace('+00:00', 'Z')}, within {where}"
        return f"{who} open: this is the state before, {where}; --at latest for the newest"

    @property
    def _names(self) -> str:
        return f"{', '.join(self.incidents[:-1])} and {self.incidents[-1]}"


def last_good(vault: Vault, holds: Sequence[Held], sealed: Iterable[IncidentOpened]) -> LastGood | None:
    """The last good state under these holds of incidents; None if there are none. `sealed` is what our identity can
    read of them.
    """
    known = {each.incident: each for each in sealed}
    names = tuple(dict.fromkeys(each.incident for each in holds))
    found = [each for hold in holds if (each := _of(vault, hold, known)) is not None]
    if not found:
        return LastGood(names) if names else None
    return replace(min(found, key=lambda each: each[0])[1], incidents=names)


def _of(vault: Vault, hold: Held, known: Mapping[str, IncidentOpened]) -> tuple[datetime, LastGood] | None:
    """One hold's state, and when that was; None if it can't be told."""
    if hold.commit is None:
        return None
    opened, good = known.get(hold.incident), hold.commit.sha256
    line = [entry.signed for entry in vault.log()]
    place = next((place for place, signed in enumerate(line) if signed.sha256 == good), None)
    if place is not None:
        # The first bad commit comes next, or the one that it was rolled up in.
        bad = "".join(each.sha256 for each in line[place + 1 : place + 2])
        tx = opened.tx if opened is not None and bad else ""
        return line[place].clock, LastGood((), good, tx=tx, bad=bad if tx else "")
    if opened is not None:
        until = opened.until if opened.tx_at is None else max(opened.until, opened.tx_at - _TICK)
        return until, LastGood((), until=until, tx=opened.tx)
    if good not in vault.seek(good):
        return None
    return hold.at, LastGood((), good)
