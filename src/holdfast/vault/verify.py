"""Verify: read every byte at every site, without any key, and name whatever is not as the signed commits say.

report = verify(sites, vault_id, now=datetime.now(UTC))
report.is_sound, [finding.name for site in report.sites for finding in site.findings]
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from holdfast.vault.chain import Signed, Timeline, check_events, join
from holdfast.vault.findings import Finding, Problem
from holdfast.vault.format import Link
from holdfast.vault.names import Kind, name_for, parse_name
from holdfast.vault.pruned import NOTHING_PRUNED, Pruned, evidence_of, pruned_by
from holdfast.vault.receipts import Grade, Receipt, read_receipts, receipt_event
from holdfast.vault.rolled import read_rolled
from holdfast.vault.scan import Holding, Inventory, scan, trust_of
from holdfast.vault.sites import Emit, Site, silent

__all__ = ["Reach", "Report", "SiteReport", "judge", "observed_receipts", "read_all", "referenced", "verify"]


@dataclass(frozen=True, slots=True)
class SiteReport:
    """One site: what was read, what is wrong, and the newest commit up to which it holds everything intact.

    What lies in closed tails, which nothing calls for, is counted by itself. `trunk` is the newest commit outside tails
    up to which it holds everything.
    """

    site: str
    owner: str
    objects: int
    bytes: int
    quarantined: int
    rolled_objects: int
    rolled_bytes: int
    findings: tuple[Finding, ...]
    holds: Link | None
    trunk: Link | None = None


@dataclass(frozen=True, slots=True)
class Reach:
    """How far the reading of one site has come: all its objects and bytes, those read in this run, and how many were
    never read.

    `since` is the oldest reading of any object; one that was never read counts from when it can lie there.
    """

    site: str
    objects: int
    bytes: int
    read_objects: int
    read_bytes: int
    unread: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Report:
    """All sites, and what is wrong with the vault as a whole. `commits` counts the certain history, `reach` tells of a
    scrub how much of each site was read, `pruned` what is called for no more, site by site.
    """

    vault: str
    sites: tuple[SiteReport, ...]
    findings: tuple[Finding, ...]
    head: Link | None
    commits: int
    reach: tuple[Reach, ...] = ()
    pruned: Pruned = NOTHING_PRUNED

    @property
    def all_findings(self) -> tuple[Finding, ...]:
        """The vault's findings and then those of each site."""
        return (*self.findings, *(finding for site in self.sites for finding in site.findings))

    @property
    def is_sound(self) -> bool:
        """Whether nothing was found but notes."""
        return all(finding.kind.is_note for finding in self.all_findings)


def verify(
    sites: Sequence[Site], vault: str, *, now: datetime, witnessed: Sequence[Link | str] = (), emit: Emit = silent
) -> Report:
    """Read every byte at every site and compare it with what is signed. Writes nothing.

    `witnessed` are commits, and names of events objects, that the caller knows to exist, from its own records: if none
    of the sites has them, all sites were rolled back. Raises Damaged if no site holds the trust document, Unreachable
    if no site answers.
    """
    return judge(read_all(sites, vault, now=now, emit=emit), now=now, witnessed=witnessed)


def read_all(
    sites: Sequence[Site], vault: str, *, now: datetime, emit: Emit = silent, known: Collection[str] = frozenset()
) -> Inventory:
    """Every byte at every site, read and sorted, for `judge`; `known` as in `load_trust`."""
    inventory = scan(sites, trust_of(sites, vault, known), now=now, emit=emit)
    read_rolled(inventory, now=now, emit=emit)
    return inventory


def judge(inventory: Inventory, *, now: datetime, witnessed: Sequence[Link | str] = ()) -> Report:
    """What a scan or a survey means: decided from names and signed objects alone."""
    timeline = join(inventory.commits.values(), now=now)
    names = referenced(inventory)
    receipts = read_receipts(inventory.events.values(), inventory.trusted.document)
    pruned = pruned_by(evidence_of(inventory, timeline.commits, now))
    sites = tuple(
        _site_report(holding, inventory, timeline, _called_for(names, pruned, holding), receipts)
        for holding in inventory.holdings
    )
    head = timeline.head
    findings = dict.fromkeys(
        (
            *timeline.findings,
            *check_events(inventory.events.values()),
            *inventory.findings,
            *inventory.trusted.findings,
            *(each for each in pruned.findings if not each.site or each.site in {site.site for site in sites}),
            *_lost(inventory, names, pruned),
            *_forgotten(inventory, witnessed),
        )
    )
    newest = head.link if head else None
    return Report(inventory.trusted.vault, sites, tuple(findings), newest, len(timeline.commits), pruned=pruned)


def referenced(inventory: Inventory) -> dict[str, str]:
    """Every name that signed objects call for, with the commit that does ("" for trust, journal and commits)."""
    found = dict.fromkeys(inventory.trusted.names, "")
    found.update(dict.fromkeys(inventory.trusted.document.called_for, ""))
    for signed in sorted(inventory.commits.values(), key=lambda each: each.name):
        found[signed.name] = ""
        for name, _ in signed.commit.objects:
            found.setdefault(name, signed.name)
    found.update(dict.fromkeys(sorted(inventory.events), ""))
    return found


def observed_receipts(report: Report, at: datetime) -> list[dict[str, object]]:
    """Receipts of grade observed for the sites that hold a commit and all before it: for a reader's key to sign.

    Where that commit lies in a tail there is one for the newest outside tails too: it tells how old that is when the
    tail is gone.
    """
    return [
        receipt_event(site.site, site.owner, Grade.OBSERVED, link, at)
        for site in report.sites
        for link in dict.fromkeys((site.trunk, site.holds))
        if link is not None
    ]


def _site_report(
    holding: Holding,
    inventory: Inventory,
    timeline: Timeline,
    names: Mapping[str, str],
    receipts: Sequence[Receipt],
) -> SiteReport:
    site = holding.site
    own = [receipt for receipt in receipts if receipt.site == site.name]
    if holding.down is not None:
        findings = [Finding(Problem.UNREACHABLE, "", holding.down, site.name)]
        whole: tuple[Signed, ...] = ()
    elif not holding.good and not holding.bad:
        findings = [Finding(Problem.EMPTY, "", "nothing of the vault is here", site.name)]
        findings += _not_ours(holding)
        whole = ()
    else:
        whole, late = _split(holding, timeline)
        findings = [
            *_behind(holding, late, own),
            *_missing(holding, inventory, names, {signed.name for signed in late}),
            *_withdrawn(holding, inventory, own),
            *_wrong(holding, names),
        ]
        if any(finding.kind in (Problem.DAMAGED, Problem.MISSING) for finding in findings):
            whole = ()
    return SiteReport(
        site.name,
        site.owner,
        len(holding.good) + len(holding.bad),
        holding.bytes,
        holding.quarantined,
        holding.rolled_objects,
        holding.rolled_bytes,
        tuple(findings),
        whole[-1].link if whole else None,
        next((signed.link for signed in reversed(whole) if not signed.commit.in_tail), None),
    )


def _called_for(names: Mapping[str, str], pruned: Pruned, holding: Holding) -> Mapping[str, str]:
    """What is called for at one site: what it has let go of by a record that holds is not."""
    gone = pruned.at(holding.site.name)
    return {name: by for name, by in names.items() if name not in gone} if gone else names


def _is_rolled_up(link: Link, inventory: Inventory) -> bool:
    if link.stream not in inventory.closed:
        return False
    end = inventory.closed[link.stream]
    return end is None or link.sequence <= end.sequence


def _split(holding: Holding, timeline: Timeline) -> tuple[tuple[Signed, ...], tuple[Signed, ...]]:
    """The history up to the newest commit that is listed here, and the commits after it, none of which is."""
    end = len(timeline.commits)
    while end and not _listed(holding, timeline.commits[end - 1].name):
        end -= 1
    return timeline.commits[:end], timeline.commits[end:]


def _behind(holding: Holding, late: Sequence[Signed], own: Sequence[Receipt]) -> list[Finding]:
    if not late:
        return []
    promised = {receipt.commit.sha256: receipt for receipt in own}
    held = [promised[signed.sha256] for signed in late if signed.sha256 in promised]
    detail = "lacks the newest commit" if len(late) == 1 else f"lacks the newest {len(late)} commits"
    if held:
        detail += f", though a receipt of {held[-1].at} says it held commit {held[-1].commit.sequence}"
    kind = Problem.ROLLED_BACK if held else Problem.BEHIND
    return [Finding(kind, late[0].name, detail, holding.site.name)]


def _missing(holding: Holding, inventory: Inventory, names: Mapping[str, str], late: set[str]) -> list[Finding]:
    """What is called for and not listed, but for what only belongs to commits that have not arrived yet."""
    findings, journal = _late_events(holding, inventory)
    absent = names.keys() - holding.good.keys() - holding.bad.keys() - journal
    if not absent:
        return findings
    behind = {name for name in late for name, _ in inventory.commits[name].commit.objects} | late
    needed = {
        name for signed in inventory.commits.values() if signed.name not in late for name, _ in signed.commit.objects
    }
    for name in (name for name in names if name in absent and (name not in behind or name in needed)):
        detail = f"named by {names[name]}" if names[name] else "held by other sites or called for"
        findings.append(Finding(Problem.MISSING, name, detail, holding.site.name))
    return findings


def _late_events(holding: Holding, inventory: Inventory) -> tuple[list[Finding], set[str]]:
    """The links of each chain that have not arrived yet: one finding a chain, and their names."""
    chains: dict[str, list[str]] = {}
    for name in sorted(inventory.events):
        chains.setdefault(name.rpartition("/")[0], []).append(name)
    findings, names = [], set()
    for folder, links in chains.items():
        end = len(links)
        while end and not _listed(holding, links[end - 1]):
            end -= 1
        if late := links[end:]:
            detail = f"lacks the end of journal chain {folder.rpartition('/')[2]} ({len(late)})"
            findings.append(Finding(Problem.BEHIND, late[0], detail, holding.site.name))
            names.update(late)
    return findings, names


def _withdrawn(holding: Holding, inventory: Inventory, own: Sequence[Receipt]) -> list[Finding]:
    """Commits that this site gave a receipt for, that no site has any more and that were not rolled up."""
    found = {}
    gone = {link.sha256 for link in _unseen(inventory, [receipt.commit for receipt in own])}
    for receipt in (receipt for receipt in own if receipt.commit.sha256 in gone):
        name = _commit_name(receipt.commit, inventory)
        if name in holding.bad or _may_be_rolled_up(receipt, inventory):
            continue
        detail = f"a receipt of {receipt.at} says it held commit {receipt.commit.sequence}, which no site has now"
        found[name] = Finding(Problem.ROLLED_BACK, name, detail, holding.site.name)
    return list(found.values())


def _may_be_rolled_up(receipt: Receipt, inventory: Inventory) -> bool:
    """Whether the receipt may be for a tail within a closed one: then no commit at hand names it, but a rollup came
    after the receipt.
    """
    streams = {signed.commit.stream for signed in inventory.commits.values()}
    if receipt.commit.stream in streams or receipt.commit.stream in inventory.closed:
        return False
    rollups = (signed for signed in inventory.commits.values() if signed.commit.rolls is not None)
    return any(signed.clock >= receipt.moment for signed in rollups)


def _wrong(holding: Holding, names: Mapping[str, str]) -> list[Finding]:
    """What lies here and should not, or not like this."""
    site, findings = holding.site.name, []
    for text, reason in holding.bad.items():
        name = parse_name(text)
        data = name is not None and name.kind in (Kind.OBJECT, Kind.KEY)
        if data and text not in names:
            findings.append(Finding(Problem.JUNK, text, f"{reason}; no commit names it", site))
        else:
            findings.append(Finding(Problem.DAMAGED, text, reason, site))
    for text in sorted(holding.good.keys() - names.keys()):
        name = parse_name(text)
        if name is None:
            continue
        if name.kind in (Kind.OBJECT, Kind.KEY):
            findings.append(Finding(Problem.STRAY, text, "whole, but no commit names it", site))
        elif name.kind is Kind.TRUST:
            findings.append(Finding(Problem.FOREIGN, text, "a trust document of another vault, or out of order", site))
    return findings + _not_ours(holding)


def _not_ours(holding: Holding) -> list[Finding]:
    junk = (Finding(Problem.JUNK, text, "no name of the vault's", holding.site.name) for text in holding.junk)
    return [*junk, *holding.remarks]


def _lost(inventory: Inventory, names: Mapping[str, str], pruned: Pruned) -> list[Finding]:
    """What is called for, or lies damaged, and is whole at no site. What every site that answers let go of is not."""
    gone = [pruned.at(holding.site.name) for holding in inventory.holdings if holding.down is None]
    absent = set(names) - (gone[0].intersection(*gone[1:]) if gone else frozenset())
    for holding in inventory.holdings:
        absent -= holding.good.keys()
    findings = [
        Finding(Problem.LOST, name, f"named by {names[name]}; no site that answers holds it intact")
        for name in names
        if name in absent
    ]
    for text in sorted({text for holding in inventory.holdings for text in holding.bad}):
        name = parse_name(text)
        if name is None or name.kind in (Kind.OBJECT, Kind.KEY) or text in names:
            continue
        if not any(text in holding.good for holding in inventory.holdings):
            findings.append(Finding(Problem.LOST, text, "damaged wherever it lies; what it held is not known"))
    return findings


def _forgotten(inventory: Inventory, witnessed: Sequence[Link | str]) -> list[Finding]:
    """Commits and words of people that this host knows to exist and that no site has."""
    links = [each for each in witnessed if isinstance(each, Link)]
    words = [each for each in witnessed if isinstance(each, str)]
    said = "what somebody said of this vault, which this host has seen, is at no site that answers"
    return [
        Finding(Problem.ROLLED_BACK, name, said)
        for name in words
        if not any(_listed(holding, name) for holding in inventory.holdings)
    ] + [
        Finding(
            Problem.ROLLED_BACK,
            _commit_name(link, inventory),
            f"commit {link.sequence}, which this host wrote, is at no site",
        )
        for link in _unseen(inventory, links)
    ]


def _unseen(inventory: Inventory, links: Iterable[Link]) -> list[Link]:
    """Those of these commits that no site has and for which no rollup stands either."""
    known = {signed.sha256 for signed in inventory.commits.values()}
    return [link for link in links if link.sha256 not in known and not _is_rolled_up(link, inventory)]


def _listed(holding: Holding, name: str) -> bool:
    return name in holding.good or name in holding.bad


def _commit_name(link: Link, inventory: Inventory) -> str:
    """The name of a commit that is at no site: in a tail, if its stream is one that is known."""
    is_tail = any(link.stream in signed.commit.tails for signed in inventory.commits.values())
    tail = link.stream if is_tail else ""
    return name_for(Kind.COMMIT, link.sha256, group=link.stream, number=link.sequence, tail=tail)
