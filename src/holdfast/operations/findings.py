"""Incidents as people look at them and decide on them: each with its hold, what is known of it, and what was decided.

* What is public every reader sees: who opened it, when, why, and the last good commit. The rest takes a key that opens
  the journal, and records one that opens their collections.
* To accept says that nothing was wrong: views go on to the newest state, and retention goes on. To reject keeps the
  last good state in view until what is lost is back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

import pyarrow as pa

from holdfast.core.events import CommitRef
from holdfast.core.holds import may_decide
from holdfast.core.incident import Decision, Incident, Touched
from holdfast.core.records import Schema
from holdfast.core.statements import Decided, Held
from holdfast.core.where import parse_key
from holdfast.errors import Refused, Usage
from holdfast.operations.incident import decide, incidents_in
from holdfast.operations.proof import Compared, compare_views
from holdfast.operations.scratch import SealedScratch
from holdfast.vault.control import Control, speakers
from holdfast.vault.signing import Signer
from holdfast.vault.states import State
from holdfast.vault.vault import Vault
from holdfast.vault.view import VaultView
from holdfast.vault.writer import Appended

__all__ = ["Found", "Said", "Was", "decided", "find", "first_records", "found_in", "touched_records"]

_DIGITS_MIN = 4


@dataclass(frozen=True, slots=True)
class Said:
    """A decision: when, by whom as the trust document names him, and why if that opens."""

    at: datetime
    person: str
    decision: Decision
    note: str


@dataclass(frozen=True, slots=True, eq=False)
class Was:
    """A record of a collection as it was in the last good state, and whether it is `gone` or `changed` since."""

    collection: str
    kind: str
    schema: Schema
    row: pa.RecordBatch


@dataclass(frozen=True, slots=True)
class Found:
    """One incident. `number` is that of the last good commit in the log, 0 if it is not there (any more); `incident`
    what is sealed, None if that stays closed to us.
    """

    id: str
    at: datetime
    person: str
    reason: str
    is_open: bool
    good: CommitRef | None
    number: int
    incident: Incident | None
    decided: tuple[Said, ...]

    def to_json(self) -> dict[str, Any]:
        """The facts."""
        good = self.good
        known = self.incident
        facts: dict[str, Any] = {
            "incident": self.id, "at": self.at, "opened_by": self.person, "reason": self.reason,
            "is_open": self.is_open, "good": None if good is None else good.sha256, "number": self.number or None,
            "decided": [
                {"at": each.at, "by": each.person, "decision": each.decision.value, "note": each.note}
                for each in self.decided
            ],
            "is_closed": known is None,
        }  # fmt: skip
        if known is None:
            return facts
        opened = known.opened
        return facts | {
            "source": opened.source,
            "commit": None if opened.commit is None else opened.commit.sha256,
            "until": opened.until,
            "tx": opened.tx or None,
            "tx_at": opened.tx_at,
            "findings": [each.to_json() for each in known.findings],
            "touched": [each.to_json() for each in known.touched],
        }


def found_in(vault: Vault, control: Control) -> list[Found]:
    """Every incident there ever was, by the time it was opened."""
    sealed = {each.id: each for each in incidents_in(vault, control)}
    notes = {(each.at, each.decision): each.note for known in sealed.values() for each in known.decided}
    open_now = {each.event.incident for each in control.holds if isinstance(each.event, Held)}
    numbers = {entry.signed.sha256: entry.number for entry in vault.log()}
    found: dict[str, Found] = {}
    for each in control.statements:
        event = each.event
        if not isinstance(event, Held) or not event.incident or not each.roles:
            continue
        before = found.get(event.incident)
        if before is not None and before.at <= event.at:
            continue
        found[event.incident] = Found(
            event.incident,
            event.at,
            each.person,
            event.reason,
            event.incident in open_now,
            event.commit,
            numbers.get(event.commit.sha256, 0) if event.commit else 0,
            sealed.get(event.incident),
            tuple(_said(control, event.incident, notes)),
        )
    return sorted(found.values(), key=lambda each: (each.at, each.id))


def find(known: Sequence[Found], digits: str) -> Found:
    """The one incident whose name begins so."""
    if len(digits) < _DIGITS_MIN:
        raise Usage(
            f"{digits!r} is too short a name", hint=f'give {_DIGITS_MIN} digits or more; see "holdfast findings"'
        )
    found = [each for each in known if each.id.startswith(digits.lower())]
    if len(found) != 1:
        raise Usage(f"{len(found)} incidents have a name that begins with {digits!r}", hint='see "holdfast findings"')
    return found[0]


def decided(vault: Vault, key: Signer, control: Control, found: Found, told: tuple[Decision, str]) -> Appended:
    """Decide on an incident. Raises Refused where that would count for nothing, Usage if it doesn't say why."""
    decision, why = told
    person, roles = speakers(vault.trusted.document).get(key.keyid, ("", frozenset[str]()))
    if not why.strip():
        raise Usage("a decision says why", hint="add --reason TEXT")
    if not may_decide(roles, control.rules) or person == found.person:
        people = sorted(set(control.rules.people.values()))
        who = (
            f"{', '.join(people)}, a holder of a share, or the recovery card" if people else "a reader's key, or root's"
        )
        raise Refused(
            f"the key {key.keyid[:16]}… may not decide on incident {found.id}",
            hint=f"who may: {who}; name the key with --key FILE or --identity FILE",
        )
    if not found.is_open and decision is not Decision.REJECT:
        raise Usage(f"incident {found.id} is not open", hint='see "holdfast findings"')
    return decide(vault, key, found.id, decision, (person, why))


def touched_records(
    vault: Vault, states: tuple[State, State], names: Sequence[str], scratch: SealedScratch
) -> Iterator[Compared]:
    """What a later state lacks or holds otherwise than the last good one, collection by collection, as far as a key at
    hand opens them. A result's differences can be read until the next is asked for.
    """
    good, after = (_some(vault, state, names) for state in states)
    yield from compare_views(good, after, scratch, [name for name in names if name in good])


def first_records(vault: Vault, states: tuple[State, State], touched: Sequence[Touched], count: int) -> Iterator[Was]:
    """The first of these records as they were in the last good state, at most so many: those that a later state lacks,
    or holds otherwise. Looked up by the keys that are known of them; of a collection that is gone its first ones.
    """
    good, after = (_some(vault, state, [each.collection for each in touched]) for state in states)
    for each in touched:
        name = each.collection
        if name not in good:
            continue
        now = after.get(name)
        found = _looked_up(good[name], now, each.keys) if each.keys else _all_of(good[name], now)
        for was in islice(found, count):
            count -= 1
            yield was


def _looked_up(good: VaultView, after: VaultView | None, keys: Sequence[str]) -> Iterator[Was]:
    for text in keys:
        key = parse_key(text, good.schema)
        row, now = good.find(key), after.find(key) if after is not None else None
        if row is not None and (now is None or now.to_pylist() != row.to_pylist()):
            yield Was(good.name, "gone" if now is None else "changed", good.schema, row)


def _all_of(good: VaultView, after: VaultView | None) -> Iterator[Was]:
    for batch in good.batches() if after is None else ():
        for place in range(batch.num_rows):
            yield Was(good.name, "gone", good.schema, batch.slice(place, 1))


def _some(vault: Vault, state: State, names: Sequence[str]) -> dict[str, VaultView]:
    found = {name: state.collections[name] for name in names if name in state.collections}
    return {name: VaultView(vault, each) for name, each in found.items() if not each.part.dropped}


def _said(control: Control, incident: str, notes: dict[tuple[datetime, str], str]) -> Iterator[Said]:
    for each in control.decisions:
        event = each.event
        if isinstance(event, Decided) and event.incident == incident:
            note = notes.get((event.at, event.decision), "")
            yield Said(event.at, each.person, Decision(event.decision), note)
