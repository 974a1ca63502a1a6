"""Heal: put right at every site what another site holds intact. Nothing is deleted, and no key is needed.

* Rebuilding a lost site and bringing up one that is behind is the same work: every name it lacks.
* A site is filled in the order trust, keys, objects, commits, journal: after a crash it holds a whole past, and the
  same call goes on where it stopped.
* What lies in closed tails stays where it is and comes nowhere else: a rollup stands for it.
* Somebody else's folder is not filled; damaged bytes go to quarantine; what no site holds intact is named as lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from holdfast.errors import Damaged, HoldfastError, Refused, Unreachable
from holdfast.vault.chain import join
from holdfast.vault.create import require_free
from holdfast.vault.findings import Finding, Problem
from holdfast.vault.names import Kind, Name, parse_name
from holdfast.vault.scan import Holding, Inventory, scan, survey, trust_of
from holdfast.vault.sites import Emit, Progress, Site, get_checked, in_flight, silent
from holdfast.vault.upload import keep
from holdfast.vault.verify import Report, judge, referenced

if TYPE_CHECKING:
    from holdfast.vault.vault import Vault

__all__ = ["HealReport", "Healed", "catch_up", "heal"]

# Data side by side; commits one by one in the order of history, so that a crash leaves a whole past.
_PHASES = (((Kind.TRUST,), 1), ((Kind.KEY, Kind.OBJECT), 2), ((Kind.COMMIT,), 1), ((Kind.EVENTS,), 1))


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
    sources: tuple[Site, ...]
    mends: bool


def heal(sites: Sequence[Site], vault: str, *, now: datetime, emit: Emit = silent) -> HealReport:
    """Bring every site that answers to what all sites together hold intact of what is called for.

    Every byte of that is read first, and empty sites are rebuilt; what lies in closed tails is left as it is.
    Raises Damaged if no site holds the trust document, Unreachable if none answers.
    """
    return _mended(scan(sites, trust_of(sites, vault), now=now, emit=emit), now, emit, rebuild=True)


def catch_up(vault: Vault, *, emit: Emit = silent) -> HealReport:
    """Give each site that holds something of the vault what it lacks by name: enough, and fast, for one that was away.

    A site that holds nothing stays as it is: it may be a drive that is not mounted.
    """
    return _mended(survey(vault), vault.now(), emit, rebuild=False)


def _mended(inventory: Inventory, now: datetime, emit: Emit, *, rebuild: bool) -> HealReport:
    before = judge(inventory, now=now)
    healed: list[Healed] = []
    done: dict[str, tuple[int, int]] = {}
    failed = [finding for finding in before.findings if finding.kind is Problem.LOST]
    for holding in inventory.holdings:
        refused = _refusal(holding, inventory, rebuild=rebuild)
        if refused is not None:
            failed.append(refused)
            continue
        for outcome in _fill(holding, inventory, now):
            if isinstance(outcome, Finding):
                failed.append(outcome)
                continue
            healed.append(outcome)
            objects, total = done.get(outcome.site, (0, 0))
            done[outcome.site] = (objects + 1, total + outcome.size)
            emit(Progress("heal", outcome.site, *done[outcome.site]))
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


def _fill(target: Holding, inventory: Inventory, now: datetime) -> Iterator[Healed | Finding]:
    """Put every missing or damaged name at one site, in an order that a crash can't spoil."""
    sources = {
        name: tuple(other.site for other in inventory.holdings if name in other.good and other is not target)
        for name in _order(inventory, now)
        if name not in target.good
    }
    for kinds, threads in _PHASES:
        jobs = [
            _Job(target, name, sites, name.text in target.bad)
            for name, sites in ((parse_name(text), sites) for text, sites in sources.items())
            if name is not None and name.kind in kinds and sites
        ]
        for _, outcome in in_flight(_carry_out, jobs, threads=threads):
            if outcome is not None:
                yield outcome


def _order(inventory: Inventory, now: datetime) -> list[str]:
    """Every name that is called for, commits in the order of history, those off it last."""
    line = {signed.name: None for signed in join(inventory.commits.values(), now=now).commits}
    return list(line | dict.fromkeys(referenced(inventory)))


def _carry_out(job: _Job) -> Healed | Finding | None:
    """One name from the first site that still gives it intact. None once the target has stopped answering."""
    target, name = job.target, job.name
    if target.down is not None:
        return None
    data = _good_copy(job)
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


def _good_copy(job: _Job) -> bytes | None:
    for source in job.sources:
        try:
            return get_checked(source, job.name)
        except (KeyError, HoldfastError):
            continue  # it was whole when it was scanned; the next scan names it
    return None
