"""What people say about the vault: ask, allow, confirm, veto, have seen, hold. Each word is an object of its own.

* Whoever signs is in the trust document, in a role that may say this; otherwise nothing is written.
* A word goes to every site that answers. The sites judge by what lies there, not by who runs this.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from holdfast.core.control import Action, later
from holdfast.core.events import Event
from holdfast.core.statements import Approved, Held, Requested, Seen, Vetoed
from holdfast.errors import Refused, Usage
from holdfast.operations.journal import commit_ref
from holdfast.vault.control import NO_TIMES, Asked, Control, speakers
from holdfast.vault.signing import Signer
from holdfast.vault.vault import Vault
from holdfast.vault.writer import Appended, VaultWriter

__all__ = [
    "Asked",
    "Control",
    "Said",
    "Wish",
    "allow",
    "ask",
    "control_of",
    "find",
    "hold",
    "open_requests",
    "see",
    "veto",
]

_DIGITS_MIN = 4
_SPARE = timedelta(days=30)  # beyond the delay and the wait before a deletion, for people to find the time


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for: an action, what it is done to, why, and by whom in his own words. `days` until it expires;
    0: the delay, the wait before a deletion, and 30 days more.
    """

    action: str
    subject: Mapping[str, Any]
    reason: str
    by: str
    days: int = 0


@dataclass(frozen=True, slots=True)
class Said:
    """What was said, as it lies at the sites: its hash, who holds it, and which sites did not take it, and why."""

    sha256: str
    held: tuple[str, ...]
    failed: Mapping[str, str]


def control_of(
    vault: Vault, arrivals: Mapping[str, datetime] = NO_TIMES, plain: Collection[str] = frozenset()
) -> Control:
    """All that was said, judged now. A host's own times of arrival count only for what root alone decides: where people
    allow, their own times do, and those of the sites. `plain` are objects, by hash, known to hold nothing of this.
    """
    objects = vault.said(plain)
    control = Control(vault.trusted, objects, vault.now())
    return control if control.rules.people else Control(vault.trusted, objects, vault.now(), arrivals)


def ask(vault: Vault, key: Signer, wish: Wish) -> Said:
    """Ask for something that needs others. Raises Usage for what can't be asked for, Refused if the key may not."""
    if wish.action not in set(Action):
        raise Usage(f"nobody can be asked to {wish.action}", hint=f"there are: {', '.join(Action)}")
    if not wish.subject or not wish.reason.strip() or not wish.by.strip():
        raise Usage("a request says what, why and who asks", hint="add --reason TEXT and --by NAME")
    control, now = control_of(vault), vault.now()
    waits = control.rules.delay + timedelta(hours=control.retention.wait_hours) + _SPARE
    expires = later(now, timedelta(days=wish.days) if wish.days else waits)
    return _say(vault, key, Requested(now, wish.action, dict(wish.subject), wish.reason, wish.by, expires))


def allow(vault: Vault, key: Signer, asked: Asked, *, confirm: bool = False) -> Said:
    """Allow a request, or confirm it after the delay. Raises Refused where that would count for nothing."""
    control, now = control_of(vault), vault.now()
    person = control.rules.people.get(key.keyid)
    if person is None:
        raise Refused(
            f"the key {key.keyid[:16]}… is no approver's", hint='name yours with --key; see "holdfast trust show"'
        )
    if person in (asked.asker, asked.event.by):
        raise Refused(f"{person} asked for it and can't approve it", hint="others must")
    verdict = asked.verdict
    if now > asked.event.expires or verdict.vetoed:
        raise Refused("; ".join(verdict.reasons), hint="it can be asked for again")
    if confirm and asked.event.action == Action.RESTORE:
        raise Usage("a restore is allowed once and needs no confirmation", hint="leave --confirm out")
    if confirm and (verdict.confirm_from is None or now < verdict.confirm_from):
        when = verdict.confirm_from
        until = f"from {when.isoformat(timespec='minutes')}" if when else "once enough approvers allowed it"
        raise Refused(f"confirming counts {until}", hint=f"holdfast approve {asked.id[:12]} --confirm, then")
    return _say(vault, key, Approved(now, asked.id, "confirm" if confirm else "allow"))


def veto(vault: Vault, key: Signer, asked: Asked, reason: str) -> Said:
    """End a request for good. Raises Refused if the key has no veto."""
    _require(vault, key, ("approver", "holder", "root"), "veto")
    if not reason.strip():
        raise Usage("a veto says why", hint="add --reason TEXT")
    return _say(vault, key, Vetoed(vault.now(), asked.id, reason))


def see(vault: Vault, key: Signer, requests: Sequence[Asked]) -> list[Said]:
    """Sign that the key's owner saw these requests."""
    _require(vault, key, ("approver", "holder"), "sign that he saw a request")
    return [_say(vault, key, Seen(vault.now(), each.id)) for each in requests]


def hold(vault: Vault, key: Signer, reason: str, commit: str = "") -> Said:
    """Let nothing be deleted, or nothing of one commit's era, until a matured request releases it."""
    _require(vault, key, ("approver", "holder", "root", "reader", "writer"), "hold what is kept")
    if not reason.strip():
        raise Usage("a hold says why", hint="add --reason TEXT")
    found = [entry.signed for entry in vault.log() if entry.signed.sha256.startswith(commit)] if commit else []
    if commit and len(found) != 1:
        raise Usage(f"{len(found)} commits have a hash that begins with {commit}", hint='see "holdfast log"')
    return _say(vault, key, Held(vault.now(), reason, commit_ref(found[0].link) if found else None))


def open_requests(control: Control, now: datetime) -> list[Asked]:
    """The requests about which something can still be said."""
    return [each for each in control.requests if not each.verdict.vetoed and now <= each.event.expires]


def find(control: Control, digits: str) -> Asked:
    """The one request whose id begins so."""
    found = [each for each in control.requests if len(digits) >= _DIGITS_MIN and each.id.startswith(digits.lower())]
    if len(found) != 1:
        raise Usage(f"{len(found)} requests have an id that begins with {digits!r}", hint='see "holdfast requests"')
    return found[0]


def _require(vault: Vault, key: Signer, roles: Sequence[str], to_do: str) -> None:
    """Refuse what would count for nothing, or be a finding at every site for ever."""
    _, own = speakers(vault.trusted.document).get(key.keyid, ("", frozenset()))
    if not own & set(roles):
        raise Refused(
            f"the key {key.keyid[:16]}… may not {to_do}", hint=f"who may: {', '.join(roles)}; see holdfast trust show"
        )


def _say(vault: Vault, key: Signer, event: Event) -> Said:
    if key.keyid not in vault.trusted.document.signers:
        raise Refused(
            f"the key {key.keyid[:16]}… is not in the trust document", hint='"holdfast trust show" names those that are'
        )
    done: Appended = VaultWriter(vault, key).write_events(secrets.token_hex(8), [event.to_json()])
    return Said(
        done.link.sha256,
        tuple(site.name for site in done.held),
        {site: err.message for site, err in done.failed.items()},
    )
