"""As of a time: what a commit says was taken then, however late it was signed and however it was rolled up since."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.errors import Usage
from holdfast.vault.coding import time_text
from tests.drawn import drawn
from tests.reader.tailing import Tailing, tx
from tests.reader.test_instants import held, opened
from tests.reader.test_vectors import reader
from tests.vault.following import Everything, Gone, Tx, held_in
from tests.vault.test_instants import NOTES, SECOND, WRITES, at

MINUTE = 60 * SECOND
YESTERDAY, TODAY = {1: "yesterday"}, {1: "today"}


class Step(NamedTuple):
    """A snapshot or a small commit, seconds after what was before; how many seconds it took; what is rolled up then."""

    after: int
    took: int
    batch: list[dict[tuple[str, int], str | Gone | None]]  # of a small commit
    roll: int  # to this level; none of it if that is the lowest


STEPS = st.builds(
    Step, st.integers(0, 3), st.integers(0, 20), st.lists(WRITES, max_size=3), st.sampled_from([0, 1, 2, 3, 3, 3])
)
HOURS = st.sampled_from([timedelta(0), 5 * SECOND, timedelta(hours=3), timedelta(hours=23)])
CLOCKS = st.builds(lambda hours, sign: hours * sign, HOURS, st.sampled_from([-1, 1]))


def answers(shop: Tailing, identity: str, moments: Sequence[datetime]) -> dict[datetime, Everything | None]:
    """The records at each of these times as Holdfast gives them, which are those of the reader; None before the first.

    What the identity can't open is left out.
    """
    ours, theirs = shop.world.vault(identity=identity), opened(shop, identity=identity)
    found: dict[datetime, Everything | None] = {}
    for moment in moments:
        try:
            found[moment] = held_in(ours, ours.state(moment))
        except Usage:
            found[moment] = None
        assert found[moment] == theirs_at(theirs, moment), moment
    assert (theirs.wrong, ours.findings) == ([], ())
    return found


def theirs_at(vault: Any, moment: datetime) -> Everything | None:
    try:
        return held(vault, vault.moment_at(time_text(moment)))
    except reader.Misused:
        return None


def told(shop: Tailing, steps: Sequence[Step], look: Any) -> None:
    """Do all this; `look` is called around everything that rolls up."""
    now = 0
    for step in steps:
        now += step.after
        if step.batch:
            first = len(shop.moments)
            shop.small(*(Tx(f"t{first + number}", at(now + number), each) for number, each in enumerate(step.batch)))
            now += len(step.batch) - 1
        else:
            shop.now = at(now)
            shop.abandon(step.took * SECOND)
        if step.roll < shop.levels:
            look(lambda level=step.roll: shop.roll(level))


@pytest.mark.parametrize("told_by", ["reader", "custodian"])
@drawn(3, 300)
@given(
    start=st.fixed_dictionaries({"orders": NOTES, "people": NOTES}),
    steps=st.lists(STEPS, min_size=2, max_size=8),
    ahead=CLOCKS,
    apart=CLOCKS,
)
def test_rolling_up_changes_no_answer(
    told_by: str, start: Everything, steps: list[Step], ahead: timedelta, apart: timedelta
) -> None:
    """Snapshots that took their time, clocks that differ, several levels, one who opens all and one who opens some:
    at every time the records are the same before and after.
    """
    shop = Tailing(3, 2, start, ahead=ahead, apart=apart)
    identity = getattr(shop.world, told_by)
    around = [at(half / 2) for half in range(-2, 40)]
    moments = sorted({*around[::3], *(each + shift for each in around[::8] for shift in (apart, ahead))})

    def look(roll: Any) -> None:
        before = answers(shop, identity, moments)
        roll()
        assert answers(shop, identity, moments) == before

    told(shop, steps, look)


@drawn(3, 300)
@given(st.fixed_dictionaries({"orders": NOTES, "people": NOTES}), st.lists(STEPS, min_size=2, max_size=8), CLOCKS)
def test_as_of_a_time_of_the_source_is_what_it_held(start: Everything, steps: list[Step], ahead: timedelta) -> None:
    """Where one clock dates snapshots and changes, whatever the host's own says and however long snapshots take."""
    shop = Tailing(3, 2, start, ahead=ahead)
    told(shop, steps, lambda roll: roll())
    moments = [at(half) for half in range(30)]
    assert answers(shop, shop.world.custodian, moments) == {each: shop.held_at(each) for each in moments}


def slow() -> Tailing:
    """A snapshot of 10 minutes that was signed at 20; changes of 13, 16 and 26 minutes that were told after it."""
    shop = Tailing(2, 1000, {"orders": dict(YESTERDAY)})
    shop.records = {"orders": dict(TODAY), "people": {}}
    shop.now = at(600)
    shop.world.now = at(600)
    shop.abandon(10 * MINUTE)
    for minutes in (13, 16, 26):
        shop.small(tx(60 * minutes, n2=str(minutes)))
    return shop


@pytest.mark.parametrize("is_rolled", [False, True])
def test_a_snapshot_counts_from_when_it_was_taken(is_rolled: bool) -> None:
    """Not from when it was signed: what was rolled up over it since must not bring yesterday back."""
    shop = slow()
    if is_rolled:
        shop.roll()
    moments = {9: YESTERDAY, 10: TODAY, 12: TODAY, 13: TODAY | {2: "13"}, 15: TODAY | {2: "13"}, 22: TODAY | {2: "16"}}
    wanted = {at(60 * minutes): {"orders": each, "people": {}} for minutes, each in moments.items()}
    assert answers(shop, shop.world.custodian, list(wanted)) == wanted


def test_a_snapshot_of_a_source_without_changes_counts_from_when_it_was_taken() -> None:
    """It stands from then on, also before it was signed; and what came before it until then."""
    shop = Tailing(0, 1000, {"orders": dict(YESTERDAY)})
    shop.records = {"orders": dict(TODAY), "people": {}}
    shop.now = shop.world.now = at(600)
    shop.abandon(10 * MINUTE)
    wanted = {
        at(seconds): {"orders": YESTERDAY if seconds < 600 else TODAY, "people": {}}
        for seconds in (0, 599, 600, 601, 1199, 1201)
    }
    assert answers(shop, shop.world.custodian, list(wanted)) == wanted


def test_changes_that_were_fetched_days_later_count_from_when_they_happened() -> None:
    """A host that was off for three days: each time among them is what the source held, rolled up or not."""
    shop = Tailing(2, 1000, {"orders": dict(YESTERDAY)}, ahead=timedelta(days=3))
    for minutes in (1, 2, 3):
        shop.small(tx(60 * minutes, n1=str(minutes)))
    moments = [at(30 * half) for half in range(10)]
    for _ in range(2):
        found = answers(shop, shop.world.custodian, moments)
        assert found == {each: shop.held_at(each) for each in moments}
        shop.roll()


def test_who_opens_nothing_is_told_by_the_clocks() -> None:
    """The history at least is read as of a time, where no part says when it was taken."""
    shop = slow()
    vault = shop.world.vault()
    clocks = [entry.signed.clock for entry in vault.log()]
    assert [vault.state(each).number for each in clocks] == [1, 2, 3, 4, 5]
    with pytest.raises(Usage, match="no commit as old as"):
        vault.state(clocks[0] - SECOND)
