"""Policy: what needs asking, what is refused, and what counts as safe."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.events import CommitRef, ReceiptGiven
from holdfast.core.policy import Color, PlanSummary, Policy, Ruling, decide, safety

PLAN = "5c1e" + "0" * 60
NOW = datetime(2026, 3, 1, tzinfo=UTC)
HEAD = CommitRef("a" * 16, 1, "b" * 64)
OWNERS = {"a": "Ana", "b": "Boris", "c": "Boris"}


def receipt(site: str, owner: str = "") -> ReceiptGiven:
    return ReceiptGiven(NOW, site=site, owner=owner or OWNERS.get(site, "nobody"), grade="self", commit=HEAD)


@pytest.mark.parametrize(
    ("summary", "ruling"),
    [
        (PlanSummary(PLAN, writes=0, deletes=0, is_live=True), Ruling.ALLOW),
        (PlanSummary(PLAN, writes=3, deletes=0, is_live=True), Ruling.ALLOW),
        (PlanSummary(PLAN, writes=11, deletes=0, is_live=True), Ruling.NEEDS_APPROVAL),
        (PlanSummary(PLAN, writes=11, deletes=0, is_live=False), Ruling.ALLOW),
        (PlanSummary(PLAN, writes=11, deletes=0, is_live=True, approval="5C1E"), Ruling.ALLOW),
        (PlanSummary(PLAN, writes=11, deletes=0, is_live=True, approval="5c1"), Ruling.REFUSE),
        (PlanSummary(PLAN, writes=11, deletes=0, is_live=True, approval="5c1f"), Ruling.REFUSE),
        (PlanSummary(PLAN, writes=3, deletes=0, is_live=True, approval="5c1f"), Ruling.REFUSE),
        (PlanSummary(PLAN, writes=3, deletes=1, is_live=False), Ruling.REFUSE),
        (PlanSummary(PLAN, writes=3, deletes=1, is_live=True, approval="5c1e"), Ruling.REFUSE),
        (PlanSummary(PLAN, writes=3, deletes=1, is_live=True, may_delete=True), Ruling.ALLOW),
        (PlanSummary(PLAN, writes=11, deletes=11, is_live=True, may_delete=True), Ruling.NEEDS_APPROVAL),
    ],
)
def test_a_plan_is_allowed_asked_for_or_refused(summary: PlanSummary, ruling: Ruling) -> None:
    """Deleting must be asked for, large changes to a live system approved, and an approval fits one plan only."""
    decision = decide(summary, Policy(confirm_above=10))
    assert decision.ruling is ruling
    assert bool(decision.reasons) == bool(decision.hint) == (ruling is not Ruling.ALLOW)


def test_the_hint_is_the_next_command() -> None:
    """What a person must pass back is printed as it must be passed."""
    asked = decide(PlanSummary(PLAN, writes=12_345, deletes=0, is_live=True), Policy())
    assert asked.reasons == ("it changes 12 345 records of a live system; above 1000 it needs approval",)
    assert asked.hint.endswith("--approve 5c1e0000")


@pytest.mark.parametrize(
    ("sites", "findings", "text"),
    [
        (["a", "b"], [], "green: at 2 sites of 2 owners"),
        (["a"], [], "amber: at 1 sites of 1 owners (at 1 of 2 sites; at 1 of 2 owners)"),
        (["b", "c"], [], "amber: at 2 sites of 1 owners (at 1 of 2 owners)"),
        (["a", "b"], ["site b: 1 object is damaged"], "amber: at 2 sites of 2 owners (site b: 1 object is damaged)"),
        ([], [], "red: at 0 sites of 0 owners (at 0 of 2 sites; at 0 of 2 owners)"),
        (["elsewhere", "nowhere"], [], "red: at 0 sites of 0 owners (at 0 of 2 sites; at 0 of 2 owners)"),
    ],
)
def test_safety_counts_sites_and_owners(sites: list[str], findings: list[str], text: str) -> None:
    """Two sites of one owner are one owner; an open finding is never green; a foreign site counts for nothing."""
    assert str(safety([receipt(site) for site in sites], OWNERS, Policy(), findings=findings)) == text


@pytest.mark.parametrize(
    ("sites", "shared", "may_share", "text"),
    [
        ("ab", {"the disk 8:1": ["b", "a"]}, False, "amber: at 1 sites of 1 owners (TOLD)"),
        ("ab", {"the disk 8:1": ["a", "b"]}, True, "green: at 2 sites of 2 owners"),
        ("abc", {"the disk 8:1": ["a", "b"]}, False, "green: at 2 sites of 2 owners"),
        ("abc", {"the disk 8:1": ["b", "c"]}, False, "green: at 2 sites of 2 owners"),
        ("abc", {"the disk 8:1": ["a", "b"], "the server x": ["c", "d"]}, False, "green: at 2 sites of 2 owners"),
        ("a", {"the disk 8:1": ["a", "b"]}, False, "amber: at 1 sites of 1 owners (at 1 of 2 sites; at 1 of 2 owners)"),
    ],
)  # fmt: skip
def test_sites_that_one_failure_takes_count_as_one(
    sites: str, shared: dict[str, list[str]], may_share: bool, text: str
) -> None:
    """Whoever is said to own them: unless the operator says that it shall be so. It is told in any case."""
    policy = Policy(sites_may_share=may_share)
    found = safety([receipt(site) for site in sites], OWNERS, policy, shared=shared)
    told = "at 1 of 2 sites; at 1 of 2 owners; a and b share the disk 8:1: one failure takes all, so they count as one"
    assert str(found) == text.replace("TOLD", f"{told} site (unless policy.sites_may_share)")
    assert sum("one failure takes all" in each for each in (*found.reasons, *found.shared)) == len(shared)


@given(
    st.lists(st.sampled_from(["a", "b", "c", "d"])),
    st.integers(1, 3),
    st.integers(1, 3),
    st.lists(st.just("x"), max_size=1),
)
def test_green_is_never_given_lightly(sites: list[str], safe_sites: int, safe_owners: int, findings: list[str]) -> None:
    """Green means receipts of enough sites of enough owners and no finding, whatever a receipt claims of its owner."""
    found = safety([receipt(site, "Zoe") for site in sites], OWNERS, Policy(safe_sites, safe_owners), findings=findings)
    known = set(sites) & set(OWNERS)
    is_safe = len(known) >= safe_sites and len({OWNERS[site] for site in known}) >= safe_owners and not findings
    assert (found.color is Color.GREEN) == is_safe
    assert (found.color is Color.RED) == (not known)


def test_where_others_must_allow_a_live_plan_waits_for_them() -> None:
    """Whatever its size and whoever passes its id back; an empty place and an empty plan need nobody."""
    plan = PlanSummary("ab" * 32, 1, 0, True, approval="ab" * 4, needs_request=True)
    decision = decide(plan, Policy())
    assert decision.ruling is Ruling.NEEDS_APPROVAL
    assert f"holdfast request restore {plan.plan_id}" in decision.hint
    assert decide(replace(plan, is_granted=True, writes=10**6, approval=""), Policy()).ruling is Ruling.ALLOW
    for other in (replace(plan, is_live=False), replace(plan, writes=0)):
        assert decide(other, Policy()).ruling is Ruling.ALLOW
