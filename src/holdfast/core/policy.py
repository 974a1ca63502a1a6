"""What may be done without asking: decisions on plans, and how safe a commit is. Reasons always come along.

* A plan that deletes records is refused until deleting was asked for.
* A plan that changes more than a few records of a live system needs approval: its id, or the first digits of it, passed
  back. So what a person saw is what is done; an approval of any other plan is refused.
* Where the trust document says so, a plan for a live system needs others: a granted request that names its id.
* A commit is green once enough sites of enough owners have given receipts and no finding is open. Nothing unverified is
  ever green. Sites that one failure takes count as one, unless the operator says that they may share a place.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import product
from types import MappingProxyType

from holdfast.core.events import ReceiptGiven

__all__ = ["Color", "Decision", "PlanSummary", "Policy", "Ruling", "Safety", "decide", "safety"]

_APPROVAL_DIGITS_MIN = 4


@dataclass(frozen=True, slots=True)
class Policy:
    """What an owner asks for: safe at this many sites of this many owners; approval above so many changed records; a
    newest commit no older than so many hours; every byte at every site read within so many days; new bases for all
    collections when those that stand are so many days old, so that older states can go some day; whether sites that are
    seen to share a disk, a bucket or a server count as several all the same.
    """

    safe_sites: int = 2
    safe_owners: int = 2
    confirm_above: int = 1000
    stale_hours: int = 26
    scrub_days: int = 35
    generation_days: int = 30
    sites_may_share: bool = False


class Ruling(StrEnum):
    """What policy says of a plan."""

    ALLOW = "allow"
    NEEDS_APPROVAL = "needs approval"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Decision:
    """A ruling, every reason for it, and the way on; both are empty if the plan is simply allowed."""

    ruling: Ruling
    reasons: tuple[str, ...] = ()
    hint: str = ""


@dataclass(frozen=True, slots=True)
class PlanSummary:
    """What policy looks at. `is_live`: the target is in use, not a place made for this. `approval` is as given.
    `needs_request`: the trust document has people allow what is written into a live system; `is_granted`: they did.
    """

    plan_id: str
    writes: int
    deletes: int
    is_live: bool
    may_delete: bool = False
    approval: str = ""
    needs_request: bool = False
    is_granted: bool = False


class Color(StrEnum):
    """Green: as safe as asked for. Amber: held, but not so. Red: no site is known to hold it."""

    GREEN = "green"
    AMBER = "amber"
    RED = "red"


@dataclass(frozen=True, slots=True)
class Safety:
    """How safe a commit is: the sites and owners that count, by receipts, and why it is not green. `shared` tells of
    sites that one failure takes together, where that is no reason.
    """

    color: Color
    sites: tuple[str, ...]
    owners: tuple[str, ...]
    reasons: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()

    def __str__(self) -> str:
        held = f"{self.color}: at {len(self.sites)} sites of {len(self.owners)} owners"
        return f"{held} ({'; '.join(self.reasons)})" if self.reasons else held


def decide(summary: PlanSummary, policy: Policy) -> Decision:
    """Whether a plan may be carried out now."""
    if not summary.writes:
        return Decision(Ruling.ALLOW)
    if summary.approval and not _approves(summary.approval, summary.plan_id):
        reason = f"approval {summary.approval} is not for this plan: the target or the wanted records changed since"
        return Decision(Ruling.REFUSE, (reason,), "look at the new plan with --plan, then approve its id")
    if summary.deletes and not summary.may_delete:
        reason = f"it deletes {_count(summary.deletes)}"
        return Decision(Ruling.REFUSE, (reason,), "add --delete if these records shall go, or leave them in place")
    if summary.is_live and summary.needs_request and not summary.is_granted:
        reason = "others must allow what is written into a live system, and they have not allowed this plan"
        hint = f'ask them: holdfast request restore {summary.plan_id} --reason "…"; then run this again'
        return Decision(Ruling.NEEDS_APPROVAL, (reason,), hint)
    if summary.is_live and summary.writes > policy.confirm_above and not (summary.approval or summary.is_granted):
        reason = f"it changes {_count(summary.writes)} of a live system; above {policy.confirm_above} it needs approval"
        hint = f"if the plan is right, run it again with --approve {summary.plan_id[:8]}"
        return Decision(Ruling.NEEDS_APPROVAL, (reason,), hint)
    return Decision(Ruling.ALLOW)


def safety(
    receipts: Iterable[ReceiptGiven],
    owners: Mapping[str, str],
    policy: Policy,
    *,
    findings: Sequence[str] = (),
    shared: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> Safety:
    """How safe the commit is that these receipts are for; `owners` names the owner of each site of the vault, `shared`
    by what they share the sites of which one failure takes several.

    A receipt of a site that is not the vault's counts for nothing, nor does the owner that a receipt itself names.
    """
    holding = sorted({receipt.site for receipt in receipts if receipt.site in owners})
    sites = tuple(holding if policy.sites_may_share else _apart(holding, owners, shared))
    held_by = tuple(sorted({owners[site] for site in sites}))
    reasons = []
    if len(sites) < policy.safe_sites:
        reasons.append(f"at {len(sites)} of {policy.safe_sites} sites")
    if len(held_by) < policy.safe_owners:
        reasons.append(f"at {len(held_by)} of {policy.safe_owners} owners")
    told = [f"{' and '.join(sorted(names))} share {place}: one failure takes all" for place, names in shared.items()]
    if reasons and len(sites) < len(holding):
        reasons += [f"{each}, so they count as one site (unless policy.sites_may_share)" for each in told]
        told = []
    reasons.extend(findings)
    color = Color.RED if not sites else Color.AMBER if reasons else Color.GREEN
    return Safety(color, sites, held_by, tuple(reasons), tuple(told))


def _apart(sites: Sequence[str], owners: Mapping[str, str], shared: Mapping[str, Sequence[str]]) -> Sequence[str]:
    """Of sites that one failure takes one each, chosen so that most owners are left."""
    places = {name: place for place, names in shared.items() for name in names}
    rooms: dict[str, list[str]] = {}
    for site in sites:
        rooms.setdefault(places.get(site, site), []).append(site)
    return max(product(*rooms.values()), key=lambda some: len({owners[site] for site in some}))


def _count(records: int) -> str:
    return "1 record" if records == 1 else f"{records:,} records".replace(",", " ")


def _approves(approval: str, plan_id: str) -> bool:
    return len(approval) >= _APPROVAL_DIGITS_MIN and plan_id.startswith(approval.lower())
