"""Where a source was set back to: records vote, a few are wrong, and no sign is no answer."""

from __future__ import annotations

import random

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.parting import END, Ballot, Point, Says, parting_point

BELOW = 4
Versions = list[tuple[int, int]]  # from which point on, and which; 0: no record


def ballot_of(histories: list[Versions], live: list[int], stayed: dict[int, float] | None = None) -> Ballot:
    """What records say whose versions in the vault are these, and whose version in the source is that."""
    rows: list[tuple[int, int, Says]] = []
    differing = [(each, now) for each, now in zip(histories, live, strict=True) if each[-1][1] != now]
    for versions, now in differing:
        ends = [point for point, _ in versions[1:]] + [END]
        for (start, version), end in zip(versions, ends, strict=True):
            if version == now and end < END:
                rows.append((start, end, Says.SAME if now else Says.GONE))
            elif not version and versions[-1][1] and end < END:
                rows.append((start, end, Says.NEW))
    older = sum(any(version == now and now for _, version in versions[:-1]) for versions, now in differing)
    starts, ends, says = zip(*rows, strict=True) if rows else ((), (), ())
    return Ballot(
        pa.array(starts, pa.int64()), pa.array(ends, pa.int64()), pa.array(map(int, says), pa.int8()),
        lacking=sum(not now for _, now in differing),
        differing=sum(bool(now and versions[-1][1]) for versions, now in differing),
        older=older, stayed=stayed or {},
    )  # fmt: skip


def version_at(versions: Versions, point: int) -> int:
    return next(version for start, version in reversed(versions) if start <= point)


@given(st.integers(0, 1 << 32), st.integers(0, 199))
def test_the_state_is_found_that_the_source_was_set_back_to(seed: int, left: int) -> None:
    """Whatever became of a tenth of the records since: every other one that differs is, at the point that is found, as
    it was when it was left.
    """
    rng = random.Random(seed)
    histories: list[Versions] = []
    for _ in range(120):
        points = sorted(rng.sample(range(1, 200), rng.randint(0, 6)))
        versions = [(0, rng.choice([0, 1])), *((point, rng.randint(2, 1 << 30)) for point in points)]
        histories.append(versions)
    live = [version_at(versions, left) for versions in histories]
    touched = set(rng.sample(range(120), 12))
    for each in touched:
        live[each] = rng.choice([0, -1])
    found = parting_point([ballot_of(histories, live)], BELOW)
    went_back = sum(version_at(each, left) not in (0, each[-1][1]) for each in histories)
    if went_back > 60:
        assert found is not None
    if found is not None and went_back > 60:
        differing = {at for at, each in enumerate(histories) if each[-1][1] != live[at]}
        wrong = {at for at in differing if version_at(histories[at], found.start) != version_at(histories[at], left)}
        assert wrong <= touched


def test_the_newest_of_equal_moments_counts() -> None:
    """Where nothing that differs changed between two points, the state is the same, and the later one is told."""
    histories = [[(0, 1), (32, 2), (80, 3)], [(0, 1), (48, 2), (96, 3)]]
    found = parting_point([ballot_of(histories, [2, 2])], BELOW)
    assert found == Point(48, 80, 2, 2)


@pytest.mark.parametrize(
    ("histories", "live", "stayed"),
    [
        ([[(0, 1), (32, 2)]] * 3, [0, 0, 0], {}),
        ([[(0, 1), (32, 2)]] * 30, [1] + [9] * 29, {}),
        ([[(0, 1), (32, 2)]] * 2 + [[(0, 1)]] * 3, [1, 1, 0, 0, 0], {}),
        ([[(0, 1), (32, 2)]] * 3, [1, 1, 1], {5: 4.0}),
        ([], [], {}),
    ],
    ids=["deleted", "garbled but for one", "deleted, and two came back", "later changes stayed", "nothing"],
)
def test_other_disasters_are_not_taken_for_it(
    histories: list[Versions], live: list[int], stayed: dict[int, float]
) -> None:
    """Deletions, changes, and a record or two that came back by hand say nothing of a moment."""
    assert parting_point([ballot_of(histories, live, stayed)], BELOW) is None


def test_a_source_that_others_saw_set_back_was_though_more_was_deleted_besides() -> None:
    """What is missing speaks against a rollback only where nobody knows of one; other doubts stay."""
    ballot = ballot_of([[(0, 1), (32, 2)]] * 2 + [[(0, 1)]] * 3, [1, 1, 0, 0, 0])
    found = parting_point([ballot], BELOW, is_set_back=True)
    assert found is not None
    assert found.start == 0
    assert parting_point([ballot_of([[(0, 1), (32, 2)]] * 30, [1] + [9] * 29)], BELOW, is_set_back=True) is None


def test_a_collection_that_stayed_is_apart() -> None:
    """One that holds what came later than the point was not set back with the others."""
    back = ballot_of([[(0, 1), (32, 2)]] * 9, [1] * 9)
    other = ballot_of([[(0, 1), (64, 2)]], [0], {4: 7.0})
    found = parting_point([back, other], BELOW)
    assert found is not None
    assert found.apart == {1}
