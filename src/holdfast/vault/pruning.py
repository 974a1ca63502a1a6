"""Prune at one site: in two steps, each judged anew, and never before the proof that all that stays is whole there.

* `mark` says in public what is to go; after `wait_hours` `delete` removes it, if nothing speaks against it then.
* Every byte read; then the record, durable at this site; then the deletion. A crash leaves nothing, or a record and
  leftovers that the next run removes. Running again is safe.
* Only segments and closed tails go: commits, events, keys and trust stay for ever.

    prune_here(Site("a", "ana", FolderStore("usb-a")), vault_id, Judge(key, now), Step.MARK)[0].outlook.new.size
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from holdfast.core.doors import Deleter
from holdfast.errors import Refused
from holdfast.vault.coding import encode, time_text
from holdfast.vault.eras import Arrivals, no_arrivals
from holdfast.vault.format import EventsObject
from holdfast.vault.names import Kind, name_for, sha256_hex
from holdfast.vault.prospect import Outlook, Prospect, Share
from holdfast.vault.signing import SigningKey, sign_envelope
from holdfast.vault.sites import Emit, Progress, Site, silent
from holdfast.vault.upload import keep
from holdfast.vault.verify import read_all

__all__ = ["Deleted", "Judge", "SitePrune", "Step", "delete", "prune_here"]


class Step(StrEnum):
    """What is asked for: to show what would go, to mark it, to delete what was marked long enough ago."""

    SHOW = "show"
    MARK = "mark"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Judge:
    """Who decides at a site: with this key, at this time by his clock; `arrivals` tell when he first saw an object."""

    key: SigningKey
    now: datetime
    arrivals: Arrivals = no_arrivals


@dataclass(frozen=True, slots=True)
class Deleted:
    """What went, and what the site retains (name → until when, in its words)."""

    objects: int = 0
    size: int = 0
    retained: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class SitePrune:
    """What a step did at a site, for one cause. `stops` tell why it did nothing; `record` is what says so in public."""

    step: Step
    cause: str
    outlook: Outlook
    stops: tuple[str, ...] = ()
    record: str = ""
    deleted: Deleted = Deleted()

    @property
    def share(self) -> Share:
        """What this step is about: what is to be marked, or what is to be deleted."""
        return {Step.SHOW: Share(), Step.MARK: self.outlook.new, Step.DELETE: self.outlook.ripe}[self.step]

    def event(self, at: datetime) -> dict[str, Any] | None:
        """What is to be said in public before anything is done; None if there is nothing to do."""
        if self.stops or self.share.is_empty:
            return None
        kind = "marked" if self.step is Step.MARK else "pruned"
        return self.share.event(kind, at, self.outlook.site, self.cause)

    def carried_out(self, site: Site, emit: Emit) -> SitePrune:
        """Delete what this step deletes; what it says must lie there by now."""
        if self.stops or self.step is not Step.DELETE:
            return self
        return replace(self, deleted=delete(site, {**self.outlook.left, **self.share.names}, emit))

    def to_json(self) -> dict[str, Any]:
        """The facts as JSON."""
        outlook = self.outlook
        kept = [
            {"first": each.first, "last": each.last, "reason": each.reason, "until": _text(each.until)}
            for each in outlook.kept
        ]
        return {
            "site": outlook.site,
            "step": self.step.value,
            "cause": self.cause,
            "stops": list(self.stops),
            "kept": kept,
            "commits": [list(each) for each in outlook.numbers],
            "new": _amount(outlook.new),
            "waiting": _amount(outlook.waiting) | {"due": _text(outlook.due)},
            "ripe": _amount(outlook.ripe),
            "left": {"objects": len(outlook.left), "size": sum(outlook.left.values())},
            "record": self.record,
            "deleted": {"objects": self.deleted.objects, "size": self.deleted.size},
            "retained": dict(self.deleted.retained or {}),
        }


def prune_here(site: Site, vault: str, judge: Judge, step: Step, emit: Emit = silent) -> tuple[SitePrune, ...]:
    """One step at one site that decides alone, with its own key and clock: who asks changes nothing. By policy first,
    then by each request that matured.

    Reads every byte that lies there first. Raises as a scan does, and what its store raises.
    """
    prospect = Prospect(read_all([site], vault, now=judge.now, emit=emit), judge.now, judge.arrivals)
    stops = prospect.stops(site.name, judge.key.keyid)
    if not prospect.signed_by(judge.key.keyid, site.name):
        stops = (*stops, f"key {judge.key.keyid[:16]}… may not delete at site {site.name}")
    done = []
    for cause in prospect.causes:
        planned = SitePrune(step, cause, prospect.outlook(site.name, cause), stops)
        event = planned.event(judge.now)
        if event is not None:
            record, data = _signed(event, vault, judge)
            keep(site, record, data)
            planned = replace(planned, record=record)
        done.append(planned.carried_out(site, emit))
    return tuple(done)


def delete(site: Site, names: Mapping[str, int], emit: Emit) -> Deleted:
    """Remove names at a site. What it retains under a lock is no error: it says so, and the next run tries again."""
    store = site.store
    assert isinstance(store, Deleter), "nothing is recorded at a site that can't delete"
    done = size = 0
    retained = {}
    for name in sorted(names):
        try:
            store.delete(name)
        except Refused as err:
            retained[name] = err.message
            continue
        done, size = done + 1, size + names[name]
        emit(Progress("delete", site.name, done, size))
    return Deleted(done, size, retained)


def _signed(event: dict[str, Any], vault: str, judge: Judge) -> tuple[str, bytes]:
    """The name and bytes of an events object that says this and nothing else, as a chain of its own."""
    events = EventsObject(
        vault=vault,
        chain=secrets.token_hex(8),
        signer=judge.key.keyid,
        sequence=1,
        parent=None,
        clock=time_text(judge.now),
        public=(event,),
        sealed=None,
    )
    data = sign_envelope(encode(events), "events", judge.key)
    return name_for(Kind.EVENTS, sha256_hex(data), group=events.chain, number=1), data


def _amount(share: Share) -> dict[str, Any]:
    return {"objects": len(share.names), "size": share.size, "tails": len(share.tails)}


def _text(at: datetime | None) -> str | None:
    return None if at is None else time_text(at)
