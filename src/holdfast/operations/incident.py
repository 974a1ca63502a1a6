"""Putting an incident on record, and what was decided on it: public for sites to judge, the rest sealed.

* Each word lies outside tails in a chain of its own, whose name begins so that one listing finds all of them.
* Who opens an incident holds everything kept; only somebody else ends that (docs/format.md, 8.1).

    appended = open_incident(vault, key, IncidentOpened(…), "mass-delete: 4 214 of 5 000 orders gone")
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from holdfast.core.control import Rules
from holdfast.core.events import Event
from holdfast.core.holds import open_holds
from holdfast.core.incident import Decision, Incident, IncidentDecided, IncidentGrew, IncidentOpened, incidents_of
from holdfast.core.statements import Decided, Held
from holdfast.errors import Damaged
from holdfast.vault.control import Control, statements_of
from holdfast.vault.names import INCIDENTS
from holdfast.vault.signing import Signer
from holdfast.vault.vault import Vault
from holdfast.vault.writer import Appended, VaultWriter

__all__ = ["decide", "grow", "hold_of", "incidents_in", "new_incident", "open_incident", "standing"]

_TICK = timedelta(microseconds=1)


def new_incident() -> str:
    """A name for an incident: eight hexadecimal digits."""
    return secrets.token_hex(4)


def open_incident(vault: Vault, key: Signer, opened: IncidentOpened, reason: str, *, spooled: bool = False) -> Appended:
    """Hold all that is kept, in public with a `reason`, and put sealed on record what was found. Raises as
    `VaultWriter.write_events` does.
    """
    return _write(vault, key, [hold_of(opened, reason).to_json()], opened, spooled)


def hold_of(opened: IncidentOpened, reason: str = "") -> Held:
    """The hold that everybody may know of."""
    return Held(opened.at, reason, opened.good, opened.incident)


def grow(vault: Vault, key: Signer, grew: IncidentGrew, *, spooled: bool = False) -> Appended:
    """Put on record, sealed, what more was found while an incident was open."""
    return _write(vault, key, [], grew, spooled)


def decide(vault: Vault, key: Signer, incident: str, decision: Decision, told: tuple[str, str]) -> Appended:
    """Decide on an incident; `told` are who and why. Whether it counts is for judges to say: see `core.control`. It is
    dated after all that was decided on it before: a clock that ran ahead once has not the last word for ever.
    """
    said = Control(vault.trusted, vault.said(), vault.now()).decisions
    before = [each.event.at for each in said if isinstance(each.event, Decided) and each.event.incident == incident]
    at = max([vault.now(), *(each + _TICK for each in before)])
    decided = IncidentDecided(at, incident, decision, *told)
    return _write(vault, key, [Decided(at, incident, decision).to_json()], decided)


def standing(vault: Vault, control: Callable[[], Control] | None = None) -> tuple[Held, ...]:
    """The holds of incidents that stand, oldest first. One listing tells that there never was an incident, and what
    lies in these chains that all are over; only else is all judged that was said, by `control` if that is given.
    """
    if not _may_stand(vault):
        return ()
    judged = control() if control is not None else Control(vault.trusted, vault.said(), vault.now())
    holds = [each.event for each in judged.holds if isinstance(each.event, Held) and each.event.incident]
    return tuple(sorted(holds, key=lambda each: (each.at, each.incident)))


def incidents_in(vault: Vault, control: Control) -> list[Incident]:
    """The incidents that our identity can read of, in the order of the journal; malformed events are left out, and
    decisions of those who may not decide.
    """
    counting = {each.sha256 for each in control.decisions}
    document = vault.trusted.document
    hosts = {*document.roles.writer.keys, *document.observers, *document.retired("writer", "reader")}
    events: list[Event] = []
    for entry in vault.journal(INCIDENTS):
        for told in entry.events:
            try:
                event = Event.from_json(told)
            except Damaged:
                continue
            if entry.link.sha256 in counting if isinstance(event, IncidentDecided) else entry.signer in hosts:
                events.append(event)
    return incidents_of(events)


def _may_stand(vault: Vault) -> bool:
    """Whether a hold stands by what was said of incidents alone. Whoever may end it does so whatever else was said, but
    a reader where approvers were ever named: of him only all that was said tells.
    """
    statements = statements_of(vault.said(chains=INCIDENTS), vault.trusted)
    people = {each.name: each.name for document in vault.trusted.documents for each in document.roles.approver.people}
    return bool(open_holds(statements, Rules(vault.id, people, 1, timedelta()), vault.now()))


def _write(
    vault: Vault, key: Signer, public: Sequence[Mapping[str, Any]], sealed: Event, spooled: bool = False
) -> Appended:
    chain = INCIDENTS + secrets.token_hex(4)
    return VaultWriter(vault, key).write_events(chain, public, [sealed.to_json()], spooled=spooled)
