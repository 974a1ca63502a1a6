"""The ledger of findings as it is read: beside who writes it, and no more of it than is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from holdfast.core.anomaly import Finding, Level, Rule
from holdfast.core.events import CommitRef
from holdfast.core.observed import Observed, Step
from holdfast.state.observed import ObservedLedger, noted_in, notices_in
from holdfast.state.stepfacts import Shown

START = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
NOTICE = Finding(Rule.SETTINGS, Level.NOTICE, "settings", 1, 20, "any", "settings in settings: 1 changed")
HOLD = Finding(Rule.MASS_DELETE, Level.HOLD, "orders", 300, 400, "", "")


def settled(ledger: ObservedLedger, minutes: int, findings: Sequence[Finding] = ()) -> int:
    """One more step, so many minutes after the start: as many orders went."""
    at = START + timedelta(minutes=minutes)
    step = Step(at, "changes", minutes, (Observed("orders", 500, 0, 0, minutes), Observed("lines", 9, 1, 0, 0)))
    number = ledger.note(step, CommitRef("s", minutes, f"{minutes:064x}"), at, {"orders": Shown([str(minutes)])})
    ledger.settle(number, step, findings)
    return number


def test_who_reads_the_ledger_does_nothing_to_it(tmp_path: Path) -> None:
    """A follower writes it meanwhile: though it looks damaged it is neither taken away nor made anew."""
    path = tmp_path / "observed.db"
    with ObservedLedger.open(tmp_path) as ledger:
        settled(ledger, 1)
    with ObservedLedger.open(tmp_path):
        (noted,) = noted_in(tmp_path)
        assert noted.step.number == 1
        was = path.stat().st_ino
        with path.open("r+b") as file:
            file.write(b"no longer a database" * 10)
        assert noted_in(tmp_path) == []
        assert path.stat().st_ino == was
    path.unlink()
    assert noted_in(tmp_path) == []
    assert not path.exists()


def test_only_the_steps_that_are_asked_for_are_read(tmp_path: Path) -> None:
    """Notices, one step by its number, and the one before it: what a host that follows for days has by the thousand."""
    with ObservedLedger.open(tmp_path) as ledger:
        numbers = [settled(ledger, minutes) for minutes in range(1, 30)]
        numbers += [settled(ledger, 30, [HOLD]), settled(ledger, 31, [HOLD, NOTICE]), settled(ledger, 32, [NOTICE])]
        told = notices_in(tmp_path, START + timedelta(minutes=31))
        assert [each.number for each in told] == numbers[-2:]
        assert [each.number for each in notices_in(tmp_path, START + timedelta(minutes=32))] == numbers[-1:]
        assert (found := ledger.step(numbers[4])) is not None
        assert found.step.number == 5
        assert (before := ledger.last_before(numbers[4], START)) is not None
        assert before.number == numbers[3]
        assert ledger.last_before(numbers[4], START + timedelta(minutes=5)) is None
        moved = [(number, count) for number, _, count in ledger.moved("orders", "gone", START, numbers[3])]
        assert moved == list(zip(numbers[:3], (1, 2, 3), strict=True))
        assert list(ledger.moved("lines", "reverted", START, numbers[3])) == []
        keys = [each["orders"].gone for each in ledger.shown(numbers[0], numbers[2])]
        assert keys == [["1"], ["2"]]
