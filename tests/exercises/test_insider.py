"""The insider on SQLite: what is claimed was tried, and each figure is what was found."""

from __future__ import annotations

import sys

import pytest

from holdfast.exercises import exercise
from holdfast.exercises.frame import Exercised


def now(done: Exercised) -> dict[str, str]:
    return {each.what: each.now for each in done.figures}


def test_the_bank_itself_is_asked_to_prune_and_deletes_nothing() -> None:
    """It answers for both steps; that some other site is not there any more is no answer of the bank's."""
    told: list[str] = []
    done = exercise("insider", orders=200, tell=told.append)
    assert [each.text for each in done.claims if not each.holds] == []
    asked = [each for each in told if "asked to prune (" in each]
    assert [each.split("(")[1].split(")")[0] for each in asked] == ["mark", "delete"]
    assert all("the bank's site keeps all: the newest" in each for each in asked)
    assert now(done)["who could delete the copies"] == "nobody alone"
    assert now(done)["paid to tenants"] == "for 0 records lost"


def test_where_a_folder_stands_for_the_bank_nothing_is_said_of_its_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without what a site server needs, nobody's deletion was refused."""
    monkeypatch.setitem(sys.modules, "holdfast.site.server", None)
    done = exercise("insider", orders=200)
    assert done.is_won
    assert now(done)["who could delete the copies"] == "not tried: a folder stands for the bank"
