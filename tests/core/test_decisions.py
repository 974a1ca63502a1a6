"""The hold of an incident ends by the word of somebody else who may decide, and of nobody else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from holdfast.core.control import Rules, Statement
from holdfast.core.events import CommitRef, Event
from holdfast.core.holds import open_holds
from holdfast.core.statements import Decided, Held
from tests.core.test_control import OTHER, RULES, START, said

GOOD = CommitRef("0" * 16, 3, "ab" * 32)
ALONE = replace(RULES, people={}, threshold=0)
HOLD = said("writer ab", Held(START, "mass-delete", GOOD, "1a2b3c4d"), ["writer"])


def decided(who: str, roles: Sequence[str], decision: str = "accept", *, hours: int = 1) -> Statement:
    return said(who, Decided(START + timedelta(hours=hours), "1a2b3c4d", decision), roles)


def stands(*statements: Statement, rules: Rules = RULES) -> bool:
    """Whether the hold does, a day later."""
    return HOLD in open_holds([HOLD, *statements], rules, START + timedelta(days=1))


@pytest.mark.parametrize("role", ["approver", "holder", "root"])
@pytest.mark.parametrize("decision", ["accept", "mended"])
def test_one_who_may_decide_ends_the_hold_of_an_incident(role: str, decision: str) -> None:
    """By a click, without a request and its delay: a false alarm costs no more."""
    assert stands()
    assert not stands(decided("anna", [role], decision))
    assert not stands(decided("anna", [role], decision), rules=ALONE)


@pytest.mark.parametrize("roles", [["writer"], ["writer", "approver"], ["site"], []])
def test_nobody_else_ends_it(roles: list[str]) -> None:
    """Not the thief of the capture host, whose key opened it, not a site, and no stranger."""
    assert stands(decided("x", roles))
    assert stands(decided("x", roles), rules=ALONE)


def test_a_reader_decides_only_where_nobody_was_named_who_allows() -> None:
    """With the embedded default its owner has no other key at hand; with approvers it is theirs to say."""
    assert not stands(decided("reader", ["reader"]), rules=ALONE)
    assert stands(decided("reader", ["reader"]))


def test_who_opened_it_does_not_end_it() -> None:
    """Whatever roles he has beside: a second pair of eyes must have seen it."""
    own = said("anna", Held(START, "by hand", GOOD, "1a2b3c4d"), ["root"])
    over = decided("anna", ["root"])
    assert own in open_holds([own, over], RULES, START + timedelta(days=1))
    assert own not in open_holds([own, decided("bela", ["approver"])], RULES, START + timedelta(days=1))


def test_the_last_decision_counts() -> None:
    """A rejected incident can be accepted later, and one accepted too soon can be held again."""
    reject, accept = decided("anna", ["root"], "reject"), decided("bela", ["approver"], hours=2)
    assert stands(reject)
    assert not stands(accept, reject)
    assert stands(decided("anna", ["root"], "reject", hours=3), accept)


def test_a_decision_on_something_else_ends_nothing() -> None:
    """Another incident, another vault, a word nobody knows, a time to come, a legal hold."""
    decisions: list[Event] = [
        Decided(START, "ffffffff", "accept"),
        Decided(START, "1a2b3c4d", "forget"),
        Decided(START + timedelta(days=9), "1a2b3c4d", "accept"),
    ]
    assert all(stands(said("anna", each, ["root"])) for each in decisions)
    assert stands(said("anna", Decided(START, "1a2b3c4d", "accept"), ["root"], vault=OTHER))
    legal = said("writer ab", Held(START, "case", GOOD), ["writer"])
    empty = said("anna", Decided(START, "", "accept"), ["root"])
    assert legal in open_holds([legal, empty], RULES, START + timedelta(days=1))
