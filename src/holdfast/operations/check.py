"""How the vault stands: every byte read (`check`), put right (`mend`), judged by names and receipts (`standing`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from holdfast.core.events import CaptureDone, Event, Healed, Progress, Verified, last_by_kind, receipts_of
from holdfast.core.policy import Color, Policy, Safety, safety
from holdfast.operations.journal import commit_ref, given, read_journal, tell
from holdfast.vault.chain import Signed
from holdfast.vault.findings import Problem
from holdfast.vault.format import Link
from holdfast.vault.heal import HealReport, heal
from holdfast.vault.receipts import read_receipts
from holdfast.vault.scan import survey
from holdfast.vault.signing import SigningKey
from holdfast.vault.sites import Progress as Step
from holdfast.vault.vault import Vault
from holdfast.vault.verify import Report, SiteReport, judge, observed_receipts, verify

__all__ = ["SiteStanding", "Standing", "check", "mend", "standing"]

Emit = Callable[[Progress], None]
# What no site can put right: someone has to look.
_SEVERE = {Problem.FORK, Problem.GAP, Problem.LOST, Problem.FORGED}


@dataclass(frozen=True, slots=True)
class SiteStanding:
    """One site: what lies there by name, and the best receipt it has for the newest commit (none: "")."""

    report: SiteReport
    grade: str


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of protection now. `last` holds the latest event of each kind that this identity can read; `following`
    the last word of this host's follower: position, lag, what the source keeps for it.

    `color` is green only if enough sites of enough owners have receipts for the newest commit, list all of it now, and
    nothing is wrong that the names or the last verification tell.
    """

    vault: str
    name: str
    head: Signed | None
    commits: int
    safety: Safety
    sites: tuple[SiteStanding, ...]
    report: Report
    last: dict[str, Event]
    following: dict[str, Any] | None = None


def check(vault: Vault, key: SigningKey | None, witnessed: tuple[Link, ...], emit: Emit) -> Report:
    """Read every byte at every site; no key is needed. With one, the outcome goes into the journal, with receipts of
    grade observed if it is a reader's.
    """
    now = vault.now()
    report = verify(vault.sites, vault.id, now=now, witnessed=witnessed, emit=_steps(emit))
    if key is not None:
        is_observer = key.keyid in vault.trusted.document.observers
        event = Verified(
            at=now,
            head=commit_ref(report.head) if report.head else None,
            sites=tuple(site.site for site in report.sites),
            objects=sum(site.objects for site in report.sites),
            size=sum(site.bytes for site in report.sites),
            findings=tuple(
                f"{each.kind} {each.site} {each.name}" for each in report.all_findings if not each.kind.is_note
            ),
        )
        tell(vault, key, [event], observed_receipts(report, now) if is_observer else ())
    return report


def mend(vault: Vault, key: SigningKey | None, emit: Emit) -> HealReport:
    """Bring every site that answers to what all sites together hold intact. Nothing is ever deleted."""
    now = vault.now()
    report = heal(vault.sites, vault.id, now=now, emit=_steps(emit))
    if key is not None:
        event = Healed(
            at=now,
            sites=tuple(sorted({each.site for each in report.healed})),
            objects=len(report.healed),
            size=sum(each.size for each in report.healed),
            unhealed=tuple(f"{each.site} {each.name}" for each in report.failed),
        )
        tell(vault, key, [event])
    return report


def standing(
    vault: Vault,
    policy: Policy,
    problems: tuple[str, ...] = (),
    *,
    seen: datetime | None = None,
    witnessed: tuple[Link, ...] = (),
) -> Standing:
    """Judge the vault by the names and sizes at every site, and by what the vault read: commits and the journal.

    `problems` are the host's own findings, `seen` when it last saw that the source held nothing newer, `witnessed` the
    commits that it knows to exist.
    """
    inventory = survey(vault)
    report = judge(inventory, now=vault.now(), witnessed=witnessed)
    events = read_journal(vault)
    receipts = tuple(given(each) for each in read_receipts(inventory.events.values(), vault.trusted.document))
    head = vault.head
    held = receipts_of(receipts, commit_ref(head.link)) if head else ()
    whole = {site.site for site in report.sites if head and site.holds == head.link}
    counted = [receipt for receipt in held if receipt.site in whole]
    last = last_by_kind(events)
    owners = {site.name: site.owner for site in vault.sites}
    findings = (*problems, *_open_findings(report, last), *_staleness(head, seen, policy, vault.now()))
    weighed = safety(counted, owners, policy, findings=findings)
    if any(each.kind in _SEVERE for each in report.all_findings):
        weighed = replace(weighed, color=Color.RED)
    grades = {receipt.site: receipt.grade for receipt in counted}
    return Standing(
        vault.id,
        vault.trusted.document.name,
        head,
        report.commits,
        weighed,
        tuple(SiteStanding(site, grades.get(site.site, "")) for site in report.sites),
        report,
        last,
    )


def _staleness(head: Signed | None, seen: datetime | None, policy: Policy, now: datetime) -> list[str]:
    """No news is not good news: a copy that stopped following says so."""
    if head is None or now - max(head.clock, seen or head.clock) <= timedelta(hours=policy.stale_hours):
        return []
    return [f"the newest commit is more than {policy.stale_hours} hours old"]


def _open_findings(report: Report, last: dict[str, Event]) -> tuple[str, ...]:
    """What the names tell now, and what the last verification found, unless a heal mended all of it since."""
    found = [
        f"{each.site or 'vault'}: {each.kind} ({each.detail})" for each in report.all_findings if not each.kind.is_note
    ]
    captured = last.get("capture")
    if isinstance(captured, CaptureDone):
        found += [f"not kept: {gap}" for gap in captured.gaps]
    verified, healed = last.get("verify"), last.get("heal")
    if isinstance(verified, Verified) and verified.findings:
        is_mended = isinstance(healed, Healed) and healed.at > verified.at and not healed.unhealed
        if not is_mended:
            found.append(f"the last verify found {len(verified.findings)} problems")
    return tuple(found)


def _steps(emit: Emit) -> Callable[[Step], None]:
    return lambda step: emit(Progress(f"{step.step} {step.site}", step.objects, None, "objects"))
