"""The sample of keys: exact while it holds them all, and afterwards near enough, whatever the keys are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest

from holdfast.state.observed import ObservedLedger
from holdfast.state.sampled import Changes, Looked, Sample, Windows
from holdfast.state.stepfacts import micros

START = micros(datetime(2026, 3, 1, 9, tzinfo=UTC))
MINUTE = 60_000_000


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[ObservedLedger]:
    with ObservedLedger.open(tmp_path) as ledger:
        yield ledger


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def commit(sample: Sample, at: int, ids: Sequence[int], before: str, after: str) -> tuple[Looked, Windows]:
    """One commit in which these records went from one version to another ("": was not, or is not, there)."""
    keys = [b"\x10" + each.to_bytes(8, "big") for each in ids]
    looked = Looked()
    versions = [[digest(f"{side} {each}") if side else b"" for each in ids] for side in (before, after)]
    sample.note(1, at, Changes(keys, *versions), looked)
    gone, changed = (len(ids) if kind else 0 for kind in (not after, bool(before and after)))
    windows = sample.windows(1, at, looked, gone, changed)
    sample.settle(1, at, looked, gone, changed)
    return looked, windows


def test_deletions_in_small_batches_add_up_and_count_once(ledger: ObservedLedger) -> None:
    """Ten batches in twenty minutes are as many keys as they are; those of an hour ago count for the day only."""
    sample = ledger.sample
    commit(sample, START, range(1000, 1100), "a", "")
    for number in range(10):
        at = START + (60 + 2 * number) * MINUTE
        _, windows = commit(sample, at, range(10 * number, 10 * number + 10), "a", "")
    assert windows == Windows(gone_30m=100, gone_24h=200)
    _, windows = commit(sample, at, range(10), "a", "")
    assert windows.gone_30m == 100


def test_records_that_came_and_went_within_the_time_count_nothing(ledger: ObservedLedger) -> None:
    """A session that lives for ten minutes is no loss; the one that was there a day ago is."""
    sample = ledger.sample
    commit(sample, START, range(50), "", "a")
    _, windows = commit(sample, START + 5 * MINUTE, range(30), "a", "b")
    assert windows == Windows(fresh_30m=50, fresh_24h=50)
    _, windows = commit(sample, START + 10 * MINUTE, range(50), "b", "")
    assert windows == Windows()
    commit(sample, START + 20 * MINUTE, range(50, 60), "", "a")
    _, windows = commit(sample, START + 60 * MINUTE, range(50, 60), "a", "")
    assert (windows.gone_30m, windows.gone_24h) == (10, 0)


def test_a_version_that_was_there_before_is_known_again(ledger: ObservedLedger) -> None:
    """A record that returns to an older version reverted, after a deletion too; one that goes on did not."""
    sample = ledger.sample
    commit(sample, START, range(30), "a", "b")
    commit(sample, START + MINUTE, range(20, 30), "b", "")
    forward, _ = commit(sample, START + 2 * MINUTE, range(10), "b", "c")
    back, _ = commit(sample, START + 3 * MINUTE, range(10, 20), "b", "a")
    returned, _ = commit(sample, START + 4 * MINUTE, range(20, 30), "", "b")
    assert [(each.looked_up, each.reverted) for each in (forward, back, returned)] == [(10, 0), (10, 10), (10, 10)]


@pytest.mark.parametrize("keys_max", [200, 2000])
def test_a_sample_of_many_keys_is_scaled_to_all_of_them(ledger: ObservedLedger, keys_max: int) -> None:
    """However few keys it holds, deletions that happened once are counted exactly, and others to some percent."""
    sample = ledger.sample
    sample.keys_max = keys_max
    for number in range(20):
        _, windows = commit(sample, START + number * MINUTE, range(500 * number, 500 * number + 500), "a", "")
    assert windows.gone_30m == pytest.approx(10_000, rel=0.001)
    for number in range(5):
        _, windows = commit(sample, START + (60 + number) * MINUTE, range(20_000, 25_000), "a", "b")
        looked, _ = commit(sample, START + (60 + number) * MINUTE, range(20_000, 25_000), "b", "a")
    assert windows.changed_30m == pytest.approx(5_000, rel=0.25)
    assert 0 < looked.looked_up <= keys_max
    assert looked.reverted == looked.looked_up


def test_what_is_noted_twice_counts_once(ledger: ObservedLedger) -> None:
    """After a crash a source tells its changes again: the same keys, the same versions."""
    sample = ledger.sample
    keys, before, after = [b"k"], [digest("a")], [digest("b")]
    for _ in range(2):
        looked = Looked()
        sample.note(1, START, Changes(keys, before, after), looked)
    assert looked.reverted == 0
    assert sample.windows(1, START, looked, 0, 1) == Windows(changed_30m=1, changed_24h=1)


def test_the_ledger_begins_anew_where_its_file_is_damaged(tmp_path: Path) -> None:
    """It is a memory, no record: damage costs what was learnt, and stops no capture."""
    (tmp_path / "observed.db").write_bytes(b"no database at all, but long enough to look like something" * 40)
    with ObservedLedger.open(tmp_path) as ledger:
        assert ledger.pending() == []
