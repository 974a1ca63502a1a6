"""Instants: whatever moment of a followed source is asked for, it is what the source held then."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import Damaged, Usage
from holdfast.vault.merge import AT_COLUMN, ORDER_COLUMN, TX_COLUMN
from tests.vault import following
from tests.vault.following import GONE, Everything, Following, Gone, Row, Tx, changes_table, held_in
from tests.vault.world import START

SECOND = timedelta(seconds=1)


def at(seconds: float) -> datetime:
    return START + seconds * SECOND


def story(**options: Any) -> Following:
    """Four commits: a key that recurs and goes and comes, transactions at one time, two collections in one."""
    shop = Following({"orders": {1: "a", 2: None}, "people": {5: "x"}, "clicks": {0: "home"}}, **options)
    first = [
        Tx("t1", at(10), {("orders", 1): "b", ("people", 6): "y"}),
        Tx("t2", at(20), {("orders", 1): GONE, ("orders", 3): "c"}),
        Tx("t3", at(20), {("orders", 1): "again", ("people", 5): GONE}),
        Tx("t4", at(30), {("orders", 3): GONE}),
    ]
    second = [Tx("t5", at(30), {("orders", 1): "d"}), Tx("t6", at(50), {("orders", 1): "e", ("orders", 2): "f"})]
    shop.commit(first, segment_rows=2)
    shop.commit(second, at=at(60), segment_rows=1)
    shop.commit([Tx("t7", at(70), {("people", 6): "z"})], at=at(80))
    return shop


def read_at(shop: Following, moment: datetime | int | None = None) -> Everything:
    vault = shop.vault()
    return held_in(vault, vault.state(moment))


def read_before(shop: Following, tx: str) -> Everything:
    vault = shop.vault()
    return held_in(vault, vault.state_before(tx))


def held_at(shop: Following, moment: datetime) -> Everything:
    """What the source held at a time, by its own account."""
    found = shop.commits[0]
    for each in shop.moments:
        if each.tx.at <= moment:
            found = each.after
    return found


def test_every_instant_is_what_the_source_held() -> None:
    """At each time, between two times, and just before each transaction: recurring keys, deletes, re-inserts."""
    shop = story()
    for seconds in range(0, 90, 5):
        assert read_at(shop, at(seconds)) == held_at(shop, at(seconds)), seconds
    for each in shop.moments:
        assert read_before(shop, each.tx.name) == each.before


def test_every_commit_is_what_the_source_held() -> None:
    """The last row of a key counts, in one segment and over two; what did not change stands."""
    shop = story()
    for number, wanted in enumerate(shop.commits, 1):
        assert read_at(shop, number) == wanted
    assert read_at(shop) == shop.records


def test_an_instant_is_told_apart_from_a_commit() -> None:
    """Of what changed around it no fingerprint is given; of the rest that of the commit before."""
    shop = story()
    vault = shop.vault()
    state = vault.state(at(65))
    assert (state.number, state.until is None) == (4, False)
    assert {name: each.until is None for name, each in state.collections.items()} == {
        "clicks": True,
        "orders": True,
        "people": False,
    }
    for moment in (4, at(80), at(1000), None):
        assert (vault.state(moment).number, vault.state(moment).until) == (4, None)


@pytest.mark.parametrize("hours", [-5.5, 9])
def test_a_time_in_any_zone_is_the_same_instant(hours: float) -> None:
    """The instant is compared, not its digits."""
    shop = story()
    moment = at(20).astimezone(timezone(timedelta(hours=hours)))
    assert read_at(shop, moment) == held_at(shop, at(20))


@pytest.mark.parametrize("ahead", [-3600, -30, 0, 30, 3600])
def test_times_are_those_of_the_source_however_the_hosts_clock_goes(ahead: int) -> None:
    """A clock that is an hour off moves no transaction; only the bases' times are the host's."""
    shop = story(ahead=ahead * SECOND)
    for seconds in range(0 if ahead <= 0 else 30, 90, 5):
        assert read_at(shop, at(seconds)) == held_at(shop, at(seconds)), seconds


def test_before_the_first_commit_there_is_nothing() -> None:
    """An earlier time than any commit goes up to is a mistake, and so is a transaction that no change is of."""
    shop = story()
    with pytest.raises(Usage, match="no commit as old as"):
        shop.vault().state(START - SECOND)
    with pytest.raises(Usage, match="of transaction t99"):
        shop.vault().state_before("t99")


def test_what_tells_no_times_is_at_an_instant_as_the_commit_before_left_it() -> None:
    """A base, a delta of a multiset, a collection that came or was dropped: nothing of them shows before the commit."""
    shop = story()
    before = dict(shop.records)
    shop.records |= {"new": {7: "n"}, "people": {1: "all new"}}
    shop.commit(
        [Tx("t8", at(90), {("orders", 9): "i"}), Tx("t9", at(95), {("orders", 9): "j"})],
        bases=["new", "people"],
        drops=["clicks"],
        at=at(100),
        whole=True,
    )
    assert read_at(shop, at(92)) == {**before, "orders": {**before["orders"], 9: "i"}}
    assert read_before(shop, "t9") == read_at(shop, at(92))
    assert shop.vault().state(at(92)).closed == ()
    assert read_at(shop, at(100)) == shop.records
    shop.commit([Tx("t10", at(110), {("orders", 9): GONE})], at=at(120))
    assert read_at(shop, at(115)) == read_at(shop, at(120)) == shop.records


def test_a_multiset_is_kept_by_deltas_beside_changes() -> None:
    """What came to it in a commit is there from that commit on."""
    shop = story()
    before = dict(shop.records["clicks"])
    shop.commit([Tx("t8", at(90), {("orders", 9): "i"})], clicks={1: "page"}, at=at(100))
    assert read_at(shop, at(95))["clicks"] == before
    assert read_at(shop, at(100))["clicks"] == {0: "home", 1: "page"}


def test_a_capture_between_changes_does_not_hide_later_instants() -> None:
    """A base of everything, signed by a clock ahead of the source's: the changes after it are found all the same."""
    shop = story(ahead=45 * SECOND)
    shop.commit([], bases=list(shop.records), whole=True, at=at(100))
    shop.commit([Tx("t8", at(110), {("orders", 1): "late"})], at=at(120))
    shop.commit([Tx("t9", at(130), {("orders", 1): "later"})], at=at(140))
    assert read_at(shop, at(125))["orders"][1] == "late"
    assert read_at(shop, at(130))["orders"][1] == "later"


def test_a_reader_of_one_collection_has_its_instants() -> None:
    """Partial commits of which it opens nothing change nothing for it; what it can't open is told."""
    shop = story()
    vault = shop.vault(shop.world.reader)
    for seconds in range(0, 90, 5):
        state = vault.state(at(seconds))
        assert held_in(vault, state) == {"orders": held_at(shop, at(seconds))["orders"]}
        assert {*state.closed} == {shop.epochs["people"].id, shop.epochs["clicks"].id}
    with pytest.raises(Usage, match="t7"):
        vault.state_before("t7")


@pytest.mark.parametrize("column", [AT_COLUMN, ORDER_COLUMN, TX_COLUMN])
def test_changes_that_do_not_tell_when_are_damaged(column: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment of changes without one of its columns is refused, not half read."""
    monkeypatch.setattr(following, "changes_table", lambda rows: changes_table(rows).drop_columns([column]))
    shop = story()
    if column != AT_COLUMN:
        with pytest.raises(Damaged, match="don't tell by whom"):
            shop.vault().state_before("t7")
    if column != TX_COLUMN:
        with pytest.raises(Damaged, match="don't tell when"):
            read_at(shop, at(65))


def test_changes_out_of_order_are_damaged(monkeypatch: pytest.MonkeyPatch) -> None:
    """No fingerprint of an instant would show it: rows that do not ascend by key, then by order, are refused."""
    for turned in (lambda row: (row.key, -row.order), lambda row: (row.order, row.key)):

        def table(rows: list[Row], turned: Any = turned) -> Any:
            return changes_table(sorted(rows, key=turned))

        monkeypatch.setattr(following, "changes_table", table)
        shop = Following({"orders": {}})
        first = Tx("t1", at(1), {("orders", 2): "a"})
        shop.commit([first, Tx("t2", at(2), {("orders", 1): "b", ("orders", 2): "c"})])
        with pytest.raises(Damaged, match="out of order"):
            read_at(shop, at(1))


def test_a_dropped_collection_stays_so_until_the_next_whole_commit() -> None:
    """Its last part counts while commits are partial; a whole commit says no more of it, and it may come again."""
    shop = story()
    shop.commit([], drops=["people"], at=at(90))
    shop.commit([Tx("t8", at(100), {("orders", 4): "g"})])
    assert shop.vault().state().collections["people"].part.dropped
    assert "people" not in read_at(shop)
    assert read_at(shop, at(85)) == shop.commits[3]
    shop.commit([], whole=True, at=at(110))
    assert "people" not in shop.vault().state().collections
    shop.records["people"] = {1: "back"}
    shop.commit([], bases=["people"], at=at(120))
    assert read_at(shop) == shop.records
    for number, wanted in enumerate(shop.commits, 1):
        assert read_at(shop, number) == wanted


def test_a_whole_commit_must_tell_of_all() -> None:
    """One that leaves a collection out says that it is not there; going on with its old generation is a break."""
    shop = story()
    shop.commit([Tx("t8", at(90), {("orders", 4): "g"})])
    kept = shop.parts.pop("people")
    shop.commit([], whole=True, at=at(100))
    assert "people" not in shop.vault().state().collections
    shop.parts["people"] = kept
    shop.commit([Tx("t9", at(110), {("people", 4): "g"})])
    with pytest.raises(Damaged, match="breaks generation"):
        shop.vault().state()


# ---- Laws

Told = list[tuple[dict[tuple[str, int], str | Gone | None], int, bool]]
IDS = st.integers(0, 4)
WRITES = st.dictionaries(
    st.tuples(st.sampled_from(["orders", "people"]), IDS),
    st.sampled_from([None, "", "a", "b", GONE]),
    min_size=1,
    max_size=4,
)
# Of each transaction: what it writes, the seconds since the one before, and whether a commit ends after it.
TOLD = st.lists(st.tuples(WRITES, st.integers(0, 2), st.booleans()), min_size=1, max_size=8)


def followed(
    start: Everything,
    told: Told,
    wholes: list[bool],
    segment_rows: int,
) -> Following:
    shop = Following({"clicks": {0: "home"}, **start})
    waiting: list[Tx] = []
    now = START + SECOND
    for number, (writes, seconds, ends) in enumerate(told):
        now += seconds * SECOND
        waiting.append(Tx(f"t{number}", now, writes))
        if ends or number == len(told) - 1:
            shop.commit(waiting, whole=bool(wholes and wholes.pop()), segment_rows=segment_rows)
            waiting = []
    return shop


NOTES = st.dictionaries(IDS, st.sampled_from([None, "", "a"]), max_size=3)
# What it held first, what was told of it, which commits are whole, and how large segments are.
A_SOURCE = (
    st.fixed_dictionaries({"orders": NOTES, "people": NOTES}),
    TOLD,
    st.lists(st.booleans(), max_size=4),
    st.integers(1, 5),
)


@settings(max_examples=15, deadline=None)
@given(*A_SOURCE)
def test_any_source_comes_back_as_of_any_moment(
    start: Everything, told: Told, wholes: list[bool], segment_rows: int
) -> None:
    """Whatever happened, however it was cut into commits and segments: each commit, time and transaction is right."""
    shop = followed(start, told, wholes, segment_rows)
    vault = shop.vault()
    for each in shop.moments:
        assert held_in(vault, vault.state_before(each.tx.name)) == each.before
    for moment in sorted({each.tx.at - ago for each in shop.moments for ago in (timedelta(0), SECOND / 2)}):
        assert held_in(vault, vault.state(moment)) == held_at(shop, moment)
    for number, wanted in enumerate(shop.commits, 1):
        assert held_in(vault, vault.state(number)) == wanted


@settings(max_examples=15, deadline=None)
@given(*A_SOURCE)
def test_partial_commits_say_the_same_as_whole_ones(
    start: Everything, told: Told, wholes: list[bool], segment_rows: int
) -> None:
    """Leaving out what did not change loses nothing: every part that counts signs the same."""
    some = followed(start, told, wholes, segment_rows)
    all_whole = followed(start, told, [True] * len(told), segment_rows)
    assert len(some.commits) == len(all_whole.commits)
    vaults = some.vault(), all_whole.vault()
    for number in range(1, len(some.commits) + 1):
        one, other = (vault.state(number).collections for vault in vaults)
        assert {name: (each.part.rows, each.part.fingerprint, len(each.segments)) for name, each in one.items()} == {
            name: (each.part.rows, each.part.fingerprint, len(each.segments)) for name, each in other.items()
        }
