"""How the vault stands: every byte read (`check`), put right (`mend`), judged by names and receipts (`standing`)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from holdfast.core.custody import CustodyStanding
from holdfast.core.doors import Hold
from holdfast.core.events import CaptureDone, Event, Healed, Progress, Verified, last_by_kind, receipts_of
from holdfast.core.locks import LocksTried
from holdfast.core.policy import Color, Policy, Safety, safety
from holdfast.core.ports import Store
from holdfast.core.statements import Held
from holdfast.errors import Refused
from holdfast.operations.custody import standing_of
from holdfast.operations.incident import standing as standing_incidents
from holdfast.operations.journal import commit_ref, given, read_journal, tell
from holdfast.operations.scrub import Scrub, Told, note_all, oldest_reading, reach_of, scrub
from holdfast.state.scrubbed import Readings
from holdfast.vault.alone import give_back_trust
from holdfast.vault.chain import Signed
from holdfast.vault.findings import Problem
from holdfast.vault.format import Link
from holdfast.vault.heal import HealReport, heal
from holdfast.vault.receipts import read_receipts
from holdfast.vault.scan import Inventory, survey
from holdfast.vault.signing import SigningKey
from holdfast.vault.sites import Progress as Step
from holdfast.vault.trials import promise_of
from holdfast.vault.vault import Vault
from holdfast.vault.verify import Reach, Report, SiteReport, judge, observed_receipts, read_all
from holdfast.vault.words import gather_words

__all__ = ["Host", "SiteStanding", "Standing", "check", "mend", "require_words", "standing", "steps", "still_open"]

Emit = Callable[[Progress], None]
NOTHING_READ = Readings({})
# What no site can put right: someone has to look.
_SEVERE = {Problem.FORK, Problem.GAP, Problem.LOST, Problem.FORGED}


@dataclass(frozen=True, slots=True)
class Host:
    """What a host brings along: its own findings, when it last saw that the source held nothing newer, the commits and
    words of people (by name) that it knows to exist, its ledger of readings by site (none: not even an empty one is
    known of), and what several sites share, as far as it sees (`places.shared_places`).
    """

    problems: tuple[str, ...] = ()
    seen: datetime | None = None
    witnessed: tuple[Link | str, ...] = ()
    readings: Mapping[str, Readings] = field(default_factory=dict)
    shared: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SiteStanding:
    """One site: what lies there by name, the best receipt it has for the newest commit (none: ""), what it does against
    deletion, and how far its reading has come, if that is known.
    """

    report: SiteReport
    grade: str
    hold: Hold
    reach: Reach | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of protection now. `last` holds the latest event of each kind that this identity can read; `following`
    the last word of this host's follower: position, lag, what the source keeps for it. `incidents` are those that are
    open.

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
    custody: CustodyStanding
    following: dict[str, Any] | None = None
    incidents: tuple[Held, ...] = ()


_NOBODY = Host()


def check(
    vault: Vault, key: SigningKey | None, witnessed: tuple[Link | str, ...], emit: Emit, some: Scrub | None = None
) -> Report:
    """Read every byte at every site; no key is needed. With one, the outcome goes into the journal, with receipts of
    grade observed if it is a reader's. With a ledger all that is read is kept there, and it may be read in parts.
    """
    now = vault.now()
    if some is not None and some.bounds is not None:
        report = scrub(vault, some, steps(emit), witnessed)
        due = now - timedelta(days=some.days)
        vouched = {each.site for each in report.reach if not each.unread and each.since >= due}
    else:
        inventory = read_all(vault.sites, vault.id, now=now, emit=steps(emit), known=vault.trusted.known)
        if some is not None:
            note_all(inventory, some.ledger, now)
        report = judge(inventory, now=now, witnessed=witnessed)
        vouched = {each.site for each in report.sites}
    if key is not None:
        is_observer = key.keyid in vault.trusted.document.observers
        seen = [receipt for receipt in observed_receipts(report, now) if is_observer and receipt["site"] in vouched]
        tell(vault, key, [_verified(report, now)], seen)
    return report


def require_words(vault: Vault, witnessed: tuple[Link | str, ...]) -> None:
    """Raise Refused if something that this host knows to exist, a trust document too, is at no site that answers."""
    vault.trusted.require_newest()
    found = judge(survey(vault), now=vault.now(), witnessed=witnessed).findings
    if gone := [each.name for each in found if each.kind is Problem.ROLLED_BACK]:
        raise Refused(
            f"{gone[0]} is at no site that answers, and this host has seen it ({len(gone)} in all)",
            hint='connect the other sites and run "holdfast heal"; "holdfast verify" names what is gone',
        )


def mend(vault: Vault, key: SigningKey | None, emit: Emit, copy: Store | None = None) -> HealReport:
    """Bring every site that answers to what all sites together hold intact, and to the trust documents that they lost
    and this host's `copy` of the chain holds. Nothing is ever deleted.
    """
    now = vault.now()
    back = give_back_trust(vault, copy) if copy is not None else ()
    report = heal(vault.sites, vault.id, now=now, emit=steps(emit), known=vault.trusted.known)
    report = replace(report, healed=(*back, *report.healed))
    _ask_for_words(vault)
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


def standing(vault: Vault, policy: Policy, host: Host = _NOBODY) -> Standing:
    """Judge the vault by the names and sizes at every site, and by what the vault read: commits and the journal."""
    inventory = survey(vault)
    report = judge(inventory, now=vault.now(), witnessed=host.witnessed)
    events = read_journal(vault)
    receipts = tuple(given(each) for each in read_receipts(inventory.events.values(), vault.trusted.document))
    head = vault.head
    held = receipts_of(receipts, commit_ref(head.link)) if head else ()
    whole = {site.site for site in report.sites if head and site.holds == head.link}
    # A site with a key of its own says itself that it holds a commit: what lies elsewhere under its name is not it.
    keyed = set(vault.trusted.document.attestors.values())
    counted = [each for each in held if each.site in whole and (each.site not in keyed or each.grade == "attested")]
    last = last_by_kind(events)
    owners = {site.name: site.owner for site in vault.trusted.document.sites}
    custody = standing_of(vault, inventory.events.values())
    readings = Told([each for each in events if isinstance(each, Verified)], receipts)
    due = vault.now() - timedelta(days=policy.scrub_days)
    reach = _reach(inventory, host, readings, due, vault.now())
    findings = (
        *host.problems,
        *_strange(vault, owners),
        *_open_findings(report, events),
        *_staleness(head, host.seen, policy, vault.now()),
        *_unread(reach.values(), policy, due),
        *_damaged(host),
        *custody.reasons,
    )
    opened = standing_incidents(vault)
    findings += tuple(f"incident {each.incident} is open: {each.reason}" for each in opened)
    asked = vault.trusted.document.safe  # this host may ask for more, never for less
    policy = replace(
        policy,
        safe_sites=max(policy.safe_sites, asked.sites),
        safe_owners=max(policy.safe_owners, asked.owners),
    )
    weighed = safety(counted, owners, policy, findings=findings, shared=host.shared)
    is_severe = bool(vault.trusted.forgotten) or any(each.kind in _SEVERE for each in report.all_findings)
    if custody.color is Color.RED or opened or is_severe:
        weighed = replace(weighed, color=Color.RED)
    grades = {receipt.site: receipt.grade for receipt in counted}
    return Standing(
        vault.id,
        vault.trusted.document.name,
        head,
        report.commits,
        weighed,
        tuple(
            SiteStanding(each, grades.get(each.site, ""), promise_of(site.store), reach.get(each.site))
            for site, each in zip(vault.sites, report.sites, strict=True)
        ),
        report,
        last,
        custody,
        incidents=opened,
    )


def _ask_for_words(vault: Vault) -> None:
    """Let site servers vouch for the newest commit, as they would have when it was put there. Who can't has no receipt,
    which `status` shows.
    """
    vault.refresh()
    if vault.head is not None:
        sites = [site for site in vault.sites if site.name in vault.head_sites]
        gather_words(sites, vault.head, vault.trusted, sites)


def _strange(vault: Vault, owners: Mapping[str, str]) -> list[str]:
    """Sites of this host that the trust document does not name so: they count for nothing."""
    return [
        f"{site.name}: the trust document names no such site of {site.owner}: holdfast trust adds it"
        for site in vault.sites
        if owners.get(site.name) != site.owner
    ]


def _verified(report: Report, now: datetime) -> Verified:
    """What was read, for the journal."""
    away = {each.site for each in report.all_findings if each.kind is Problem.UNREACHABLE}
    is_some = bool(report.reach)
    return Verified(
        at=now,
        head=commit_ref(report.head) if report.head else None,
        sites=tuple(site.site for site in report.sites if site.site not in away),
        objects=sum(each.read_objects for each in report.reach) if is_some else sum(s.objects for s in report.sites),
        size=sum(each.read_bytes for each in report.reach) if is_some else sum(site.bytes for site in report.sites),
        findings=tuple(f"{each.kind} {each.site} {each.name}" for each in report.all_findings if not each.kind.is_note),
        oldest=oldest_reading(report),
    )


def _staleness(head: Signed | None, seen: datetime | None, policy: Policy, now: datetime) -> list[str]:
    """No news is not good news: a copy that stopped following says so."""
    if head is None or now - max(head.clock, seen or head.clock) <= timedelta(hours=policy.stale_hours):
        return []
    return [f"the newest commit is more than {policy.stale_hours} hours old"]


def _reach(inventory: Inventory, host: Host, told: Told, due: datetime, now: datetime) -> dict[str, Reach]:
    """How far the reading of each site has come, where anything is known of it or something is older than *due*."""
    readings = {each.site.name: host.readings.get(each.site.name, NOTHING_READ) for each in inventory.holdings}
    is_young = all(each.clock > due for each in inventory.commits.values())
    was_read = host.readings or told.verified or any(each.grade == "observed" for each in told.receipts)
    if is_young and not was_read:
        return {}
    return {each.site: each for each in reach_of(inventory, readings, now, told)}


def _damaged(host: Host) -> list[str]:
    """What this host itself found when it read last: without a key it can't read that in the journal."""
    return [
        f"{site}: objects that were damaged when they were last read: {readings.damaged}"
        for site, readings in host.readings.items()
        if readings.damaged
    ]


def _unread(reach: Iterable[Reach], policy: Policy, due: datetime) -> list[str]:
    """Bytes that nobody read for too long may be gone."""
    return [
        f"{each.site}: bytes that nobody read for more than {policy.scrub_days} days"
        for each in reach
        if each.since < due
    ]


def _open_findings(report: Report, events: Sequence[Event]) -> tuple[str, ...]:
    """What the names tell now, what the last capture could not keep, and what verifications found."""
    last = last_by_kind(events)
    found = [
        f"{each.site or 'vault'}: {each.kind} ({each.detail})" for each in report.all_findings if not each.kind.is_note
    ]
    captured, locks = last.get("capture"), last.get("locks")
    if isinstance(locks, LocksTried):
        found += [f"a lock does not hold: {each}" for each in locks.broken]
    if isinstance(captured, CaptureDone):
        found += [f"not kept: {gap}" for gap in captured.gaps]
    return (*found, *still_open(events))


def still_open(events: Sequence[Event]) -> list[str]:
    """What verifications found, unless a heal mended all of it, or every byte was read since and found sound."""
    verified = sorted((each for each in events if isinstance(each, Verified)), key=lambda each: each.at)
    healed = last_by_kind(events).get("heal")
    mended = healed.at if isinstance(healed, Healed) and not healed.unhealed else None
    # A scrub says nothing of what it did not read: only one whose oldest reading is later takes a finding back, and
    # only of sites that it read.
    clean = [each for each in verified if not each.findings]
    still = [
        found
        for found in verified
        if found.findings
        and (mended is None or mended < found.at)
        and not any((each.oldest or each.at) >= found.at and {*found.sites} <= {*each.sites} for each in clean)
    ]
    return [f"the last verify found {len(still[-1].findings)} problems"] if still else []


def steps(emit: Emit) -> Callable[[Step], None]:
    def tell_step(step: Step) -> None:
        done, unit = (step.objects, "objects") if step.total is None else (step.bytes, "bytes")
        emit(Progress(f"{step.step} {step.site}", done, step.total, unit))

    return tell_step
