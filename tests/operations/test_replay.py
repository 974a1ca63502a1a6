"""The rules over the past: what the vault's commits and this host's ledger tell, and what neither does is named."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

import holdfast
from holdfast.begin import Wishes, begin_project
from holdfast.core.anomaly import Level, Rule
from holdfast.core.observed import Observed, Step
from holdfast.state.observed import ObservedLedger
from tests.api.test_incidents import run


@pytest.fixture
def vault(tmp_path: Path) -> holdfast.OpenVault:
    """Four captures of a shop: its beginning, some work, half of all orders deleted, a column and a table dropped."""
    shop = tmp_path / "shop.db"
    run(
        shop,
        "CREATE TABLE orders (id INTEGER PRIMARY KEY, total INTEGER, note TEXT)",
        "CREATE TABLE notes (id INTEGER)",
    )
    run(shop, *(f"INSERT INTO orders VALUES ({number}, 1, 'n')" for number in range(1, 301)))
    run(shop, *(f"INSERT INTO notes VALUES ({number})" for number in range(1, 31)))
    begin_project(tmp_path, str(shop), [f"me={tmp_path / 'a'}", f"ana={tmp_path / 'b'}"], Wishes(card=Path("card")))
    opened = holdfast.open_vault(tmp_path / "holdfast.toml")
    for statements in (
        [],
        ["UPDATE orders SET total = 2 WHERE id < 4"],
        ["DELETE FROM orders WHERE id % 2"],
        ["ALTER TABLE orders DROP COLUMN note", "DROP TABLE notes"],
    ):
        run(shop, *statements)
        opened.capture()
    (opened.project.state / "observed.db").unlink(missing_ok=True)
    return opened


def test_commits_tell_when_counts_and_schemas_would_have_been_found(vault: holdfast.OpenVault) -> None:
    """Each with the number of its commit; rules that need records or the source itself are named as not judged."""
    done = vault.replay()
    found = [(each.number, each.findings[0].rule, each.findings[0].level) for each in done.fired]
    assert found == [(3, Rule.MASS_DELETE, Level.PAGE), (4, Rule.MASS_DELETE, Level.HOLD)]
    assert "orders lost column note" in [each.text for each in done.fired[1].findings]
    assert (done.steps, done.from_commits) == (4, 4)
    assert set(done.unjudged) >= {Rule.SOFT_ROLLBACK, Rule.GARBLING, Rule.HARD_ROLLBACK}
    assert [each.number for each in vault.replay(done.fired[1].at).fired] == [4]
    assert len(vault.findings()) == 1  # the captures themselves opened it


def test_who_opens_no_commit_learns_nothing(vault: holdfast.OpenVault) -> None:
    """Counts are sealed: without a key and without a ledger there is no past."""
    (vault.project.state / "reader.key").unlink()
    done = holdfast.open_vault(vault.project.folder / "holdfast.toml").replay()
    assert (done.steps, done.begin) == (0, None)


def test_the_ledger_tells_what_commits_do_not(vault: holdfast.OpenVault) -> None:
    """From its first step on it is believed, and what came before is as the commits tell it."""
    at = vault.state(2).taken
    went_back = Observed("orders", 300, 0, 90, 0, looked_up=90, reverted=90, changed_30m=90, changed_24h=90)
    with ObservedLedger.open(vault.project.state) as ledger:
        for number, seen in enumerate(((), (went_back,))):
            step = Step(at + timedelta(seconds=number), "capture", observed=seen)
            ledger.settle(ledger.note(step, None, at, {}), step, ())
    done = vault.replay()
    assert (done.steps, done.from_commits) == (3, 1)
    assert [each.findings[0].rule for each in done.fired] == [Rule.SOFT_ROLLBACK]
