"""False alarms, misses and delay of the rules, and the table in docs/design.md that tells of them.

`python -m bench.alarms` plays all twelve; here those that are looked at once a day, and one that is each hour.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.alarms import play, row, table_in
from holdfast.sample.disasters import DISASTERS
from holdfast.sample.histories import HISTORIES, History

PAGE = Path(__file__).parents[2] / "docs" / "design.md"
QUICK = [each for each in HISTORIES if each.name in ("bulk import", "stock-take", "GDPR clean-up")]


def numbers(line: str) -> list[int]:
    """What a row counts: steps, false alarms, those without a past, notices, missed disasters and all of them."""
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    missed, _, tried = cells[6 if len(cells) > 8 else 5].partition(" of ")
    return [int(cell.split(" ")[0].replace(",", "")) for cell in (*cells[2:6], missed, tried)]


@pytest.mark.parametrize("history", QUICK, ids=lambda history: history.name)
def test_the_rules_find_and_let_pass_what_the_page_says(history: History) -> None:
    """A clean-up of 4 % a month alarms nobody; every disaster that reaches a limit is found at the next look or two."""
    outcome = play(history)
    assert row(outcome) in table_in(PAGE).splitlines()
    assert len(outcome.alarms) <= 2
    below_limits = {"2 % a day for ten days", "a tenth deleted", "a tenth set to one value"}
    assert set(outcome.missed) <= below_limits & outcome.told
    assert outcome.delays[-1] <= 2 * history.minutes * 60


def test_a_small_shop_that_errs_and_mends_alarms_nobody() -> None:
    """Orders deleted with their payments, prices that are taken back, in tables of a few dozen records."""
    outcome = play(next(each for each in HISTORIES if each.name == "small shop, nightly"))
    assert row(outcome) in table_in(PAGE).splitlines()
    assert outcome.alarms == ()


def test_the_page_tells_of_every_history_and_disaster() -> None:
    """None is left out, and the sums are sums."""
    histories, _, disasters = table_in(PAGE).partition("\n\n")
    rows = {line.strip("| ").split(" |")[0]: line for line in histories.splitlines()[2:]}
    assert list(rows) == [*(each.name for each in HISTORIES), "all"]
    assert [line.strip("| ").split(" |")[0] for line in disasters.splitlines()[2:]] == [e.name for e in DISASTERS]
    total = rows.pop("all")
    assert [sum(column) for column in zip(*map(numbers, rows.values()), strict=True)] == numbers(total)
