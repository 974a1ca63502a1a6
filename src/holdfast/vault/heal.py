"""Heal: put right at every site what another site holds intact. Nothing is deleted, and no key is needed.

* Rebuilding a lost site and bringing up one that is behind is the same work: every name it lacks.
* Bytes come from whichever site is fastest and least asked just then, several objects at a time; each is held against
  its SHA-256, so a damaged copy at one site is passed over there and spreads nowhere.
* A site is filled in the order trust, keys, objects, commits, journal: after a crash it holds a whole past, and the
  same call goes on where it stopped.
* What lies in closed tails stays where it is and comes nowhere else: a rollup stands for it. What a site let go of by a
  record that holds does not come back there.
* Somebody else's folder is not filled; damaged bytes go to quarantine; what no site holds intact is named as lost.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from holdfast.errors import Damaged, Refused, Unreachable
from holdfast.vault.chain import join
from holdfast.vault.create import require_free
from holdfast.vault.findings import Finding, Problem
from holdfast.vault.names import Kind, Name, folder_for, parse_name
from holdfast.vault.scan import Holding, Inventory, scan, survey, trust_of
from holdfast.vault.sites import Emit, Progress, Site, Sites, in_flight, silent
from holdfast.vault.sources import Sources
from holdfast.vault.upload import keep
from holdfast.vault.verify import Report, judge, referenced

if TYPE_CHECKING:
    from holdfast.vault.vault import Vault

__all__ = ["HealReport", "Healed", "catch_up", "heal", "is_uneven"]

# Data side by side; commits one by one in the order of history, so that a crash leaves a whole past.
_PHASES = (((Kind.TRUST,), 1), ((Kind.KEY, Kind.OBJECT), 4), ((Kind.COMMIT,), 1), ((Kind.EVENTS,), 1))


@dataclass(frozen=True, slots=True)
class Healed:
    """One name put right at one site: `mended` if damaged bytes were replaced, else it was missing."""

    site: str
    name: str
    size: int
    mended: bool


@dataclass(frozen=True, slots=True)
class HealReport:
    """What the scan before found, what was put right, and what could not be (site and name, with the reason)."""

    before: Report
    healed: tuple[Healed, ...]
    failed: tuple[Finding, ...]

    @property
    def is_whole(self) -> bool:
        """Whether every site that was to be healed now holds everything any site holds."""
        return not self.failed


@dataclass(frozen=True, slots=True)
class _Job:
    target: Holding
    name: Name
    size: int
    sources: tuple[Site, ...]
    mends: bool


def heal(
    sites: Sequence[Site], vault: str, *, now: datetime, emit: Emit = silent, known: Collection[str] = frozenset()
) -> HealReport:
    """Bring every site that answers to what all sites together hold intact of what is called for.

    Every byte of that is read first, and empty sites are rebuilt; what lies in closed tails is left as it is.
    `known` as in `load_trust`. Raises Damaged if no site holds the trust document, Unreachable if none answers.
    """
    return _mended(scan(sites, trust_of(sites, vault, known), now=now, emit=emit), now, emit, rebuild=True)


def catch_up(vault: Vault, *, emit: Emit = silent) -> HealReport:
    """Give each site that holds something of the vault what it lacks by name: enough, and fast, for one that was away.

    A site that holds nothing stays as it is: it may be a drive that is not mounted.
    """
    return _mended(survey(vault), vault.now(), emit, rebuild=False)


def is_uneven(vault: Vault) -> bool:
    """Whether one site that answers lists trust documents, or entries of the journal outside closed tails, that another
    lacks: a host leaves them so that was killed between two sites, or that changed trust while one was away. By names
    alone.
    """
    tails = {each.commit.stream for each in vault.known().values() if each.commit.in_tail}
    folders = [f"{Kind.TRUST}/", *(folder_for(Kind.EVENTS, tail) for tail in ("", *sorted(tails)))]
    for folder in folders:
        listed = list(Sites(vault.sites).holdings(folder).values())
        if any(each.keys() != listed[0].keys() for each in listed):
            return True
    return False


def _mended(inventory: Inventory, now: datetime, emit: Emit, *, rebuild: bool) -> HealReport:
    before = judge(inventory, now=now)
    healed: list[Healed] = []
    sources = Sources()
    failed = [each for each in before.findings if each.kind is Problem.LOST]
    failed += [each for each in inventory.trusted.findings if each.kind is Problem.ROLLED_BACK]
    for holding in inventory.holdings:
        refused = _refusal(holding, inventory, rebuild=rebuild)
        if refused is not None:
            failed.append(refused)
            continue
        jobs = _jobs(holding, inventory, now, before.pruned.at(holding.site.name))
        objects, size, total = 0, 0, sum(job.size for job in jobs)
        for outcome in _fill(jobs, sources):
            if isinstance(outcome, Finding):
                failed.append(outcome)
                continue
            healed.append(outcome)
            objects, size = objects + 1, size + outcome.size
            emit(Progress("heal", outcome.site, objects, size, total))
    return HealReport(before, tuple(healed), tuple(failed))


def _refusal(holding: Holding, inventory: Inventory, *, rebuild: bool) -> Finding | None:
    """Why a site is not to be filled, if so."""
    site = holding.site
    if holding.down is not None:
        return Finding(Problem.UNREACHABLE, "", holding.down, site.name)
    names = referenced(inventory).keys()
    if names & holding.good.keys() or names & holding.bad.keys():
        return None
    if not rebuild:
        return Finding(Problem.EMPTY, "", "nothing of the vault is here; is the disk mounted?", site.name)
    try:
        require_free(site, inventory.trusted.vault)
    except (Refused, Unreachable) as err:
        return Finding(Problem.FOREIGN, "", err.message, site.name)
    return None


def _jobs(target: Holding, inventory: Inventory, now: datetime, gone: Container[str]) -> list[_Job]:
    """Every name that one site lacks or holds damaged, but for what it let go of, and where it lies whole."""
    jobs = []
    for name in _order(inventory, now):
        parsed = parse_name(name)
        others = [each for each in inventory.holdings if name in each.good and each is not target]
        if parsed is not None and others and name not in target.good and name not in gone:
            sites = tuple(each.site for each in others)
            jobs.append(_Job(target, parsed, others[0].good[name], sites, name in target.bad))
    return jobs


def _fill(jobs: Sequence[_Job], sources: Sources) -> Iterator[Healed | Finding]:
    """Put them there, in an order that no crash can spoil."""
    for kinds, threads in _PHASES:
        some = [job for job in jobs if job.name.kind in kinds]
        for _, outcome in in_flight(partial(_carry_out, sources), some, threads=threads):
            if outcome is not None:
                yield outcome


def _order(inventory: Inventory, now: datetime) -> list[str]:
    """Every name that is called for, commits in the order of history, those off it last."""
    line = {signed.name: None for signed in join(inventory.commits.values(), now=now).commits}
    return list(line | dict.fromkeys(referenced(inventory)))


def _carry_out(sources: Sources, job: _Job) -> Healed | Finding | None:
    """One name, from a site that still gives it intact. None once the target has stopped answering."""
    target, name = job.target, job.name
    if target.down is not None:
        return None
    data = sources.read(job.sources, name, job.size)
    if data is None:
        return Finding(Problem.LOST, name.text, "no site gives it back intact any more", target.site.name)
    try:
        keep(target.site, name.text, data)
    except Unreachable as err:
        target.down = err.message
        return Finding(Problem.UNREACHABLE, name.text, err.message, target.site.name)
    except (Refused, Damaged) as err:
        return Finding(Problem.DAMAGED, name.text, err.message, target.site.name)
    return Healed(target.site.name, name.text, len(data), job.mends)
