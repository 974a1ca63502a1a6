"""Rules over numbers: laws that hold for every step, and what each rule says of an example."""

from __future__ import annotations

from dataclasses import Field, fields, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.anomaly import Finding, Level, Rule
from holdfast.core.baseline import Day, Own, Past
from holdfast.core.limits import Limits
from holdfast.core.observed import Marks, Observed, Step
from holdfast.core.rules import judge, off_by

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
WEIGHT = {Level.NOTICE: 1, Level.HOLD: 2, Level.PAGE: 3}
few = settings(max_examples=150, deadline=None)
counts = st.integers(0, 3_000)
own_pasts = st.builds(
    Own,
    days=st.lists(
        st.builds(
            Day, st.integers(0, 6), *[st.integers(0, 900)] * 3, *[st.integers(0, 2_000)] * 2, *[st.integers(0, 60)] * 2
        ),
        max_size=8,
    ).map(tuple),
    steps=st.integers(0, 40),
    then=st.lists(counts, max_size=5).map(tuple),
    low=st.integers(0, 3),
    falls=st.integers(0, 2),
    accepted=st.dictionaries(st.sampled_from(Rule), counts, max_size=3),
    whole=st.dictionaries(st.sampled_from(Rule), counts, max_size=3),
    noticed=st.dictionaries(st.sampled_from(Rule), counts, max_size=3),
)
limits = st.builds(Limits, **{each.name: st.integers(1, 300) for each in fields(Limits)})


@st.composite
def seen(draw: st.DrawFn) -> Observed:
    """A collection in one step, its numbers as a watcher of all records would have them."""
    was, new = draw(counts), draw(st.integers(0, 500))
    gone = draw(st.integers(0, was))
    changed = draw(st.integers(0, was - gone))
    looked_up = draw(st.integers(0, new + changed))
    checked = draw(st.integers(0, 2_000))
    top = draw(st.one_of(st.none(), st.integers(1, 5_000)))
    return Observed(
        "orders",
        was,
        new,
        changed,
        gone,
        looked_up,
        draw(st.integers(0, looked_up)),
        checked,
        draw(st.integers(0, checked)),
        *(gone + draw(counts), gone + draw(counts), changed + draw(counts), changed + draw(counts)),
        *(draw(counts), draw(counts)),
        *(top, draw(st.one_of(st.none(), st.integers(1, 5_000)))),
        draw(st.integers(0, new)),
    )


def step_of(*observed: Observed, kind: str = "capture", **more: object) -> Step:
    return replace(Step(NOW, "capture", observed=observed), kind=kind, **more)  # type: ignore[arg-type]


def past_of(own: Own, **more: object) -> Past:
    return replace(Past(collections={"orders": own}), **more)  # type: ignore[arg-type]


def weights(findings: tuple[Finding, ...]) -> dict[tuple[Rule, str], int]:
    return {(each.rule, each.collection): WEIGHT[each.level] for each in findings}


def only(findings: tuple[Finding, ...]) -> Finding:
    assert len(findings) == 1, findings
    return findings[0]


@few
@given(seen(), own_pasts, limits, st.integers(1, 500))
def test_more_deletions_never_lower_a_level(observed: Observed, own: Own, limit: Limits, more: int) -> None:
    """Whoever deletes more is never told less loudly."""
    more = min(more, observed.was - observed.gone - observed.changed)
    worse = replace(
        observed,
        gone=observed.gone + more,
        gone_30m=observed.gone_30m + more,
        gone_24h=observed.gone_24h + more,
    )
    before, after = (weights(judge(step_of(each), past_of(own), limit)) for each in (observed, worse))
    assert all(after.get(key, 0) >= weight for key, weight in before.items() if key[0] is Rule.MASS_DELETE)


@few
@given(seen(), own_pasts, limits, st.sampled_from(fields(Limits)), st.integers(1, 200))
def test_a_higher_limit_never_adds_a_finding(
    observed: Observed, own: Own, limit: Limits, which: Field[int], by: int
) -> None:
    """Who raises a limit hears the same or less."""
    name = which.name
    higher = replace(limit, **{name: getattr(limit, name) + by})
    step, past = step_of(observed), past_of(own, beat=3, beat_at=NOW - timedelta(hours=2))
    low, high = (weights(judge(step, past, each)) for each in (limit, higher))
    assert all(low.get(key, 0) >= weight for key, weight in high.items())


@few
@given(own_pasts, limits, st.integers(0, 5_000))
def test_a_quiet_collection_never_fires(own: Own, limit: Limits, was: int) -> None:
    """Nothing new, changed or gone is no finding, whatever happened in the hours before."""
    quiet = Observed("orders", was, 0, 0, 0, gone_30m=700, gone_24h=900, changed_30m=700, changed_24h=900)
    assert judge(step_of(quiet), past_of(own), limit) == ()


@few
@given(seen(), own_pasts)
def test_where_all_is_looked_up_fewer_than_the_limit_never_count_as_a_rollback(observed: Observed, own: Own) -> None:
    """Scaling a sample up changes nothing where the sample is everything."""
    moved = observed.new + observed.changed
    exact = replace(observed, looked_up=moved, reverted=min(observed.reverted, moved, Limits().revert_records - 1))
    assert exact.reverted_in_all == exact.reverted
    assert not [each for each in judge(step_of(exact), past_of(own), Limits()) if each.rule is Rule.SOFT_ROLLBACK]


@few
@given(seen(), own_pasts)
def test_a_first_step_is_judged_by_its_own_numbers(observed: Observed, own: Own) -> None:
    """Where there is no past, nothing can have gone back, and nothing is unusual."""
    found = judge(step_of(replace(observed, top_before=None), marks=Marks("a", "1", {"lsn": 3})), Past(), Limits())
    assert not {each.rule for each in found} & {Rule.HARD_ROLLBACK, Rule.TOO_FEW, Rule.HEARTBEAT}
    assert judge(step_of(observed), past_of(own), Limits()) == judge(step_of(observed), past_of(own), Limits())


def deleted(gone: int, was: int, **more: int) -> Observed:
    windows = {"gone_30m": gone, "gone_24h": gone, **more}
    return Observed("orders", was, 0, 0, gone, **windows)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("observed", "level"),
    [
        (deleted(24, 100), None),
        (deleted(25, 500), Level.NOTICE),
        (deleted(99, 400), Level.NOTICE),
        (deleted(100, 500), Level.HOLD),
        (deleted(100, 501), Level.NOTICE),
        (deleted(1, 800, gone_24h=200), Level.HOLD),
        (deleted(1, 100_000, gone_30m=500, gone_24h=500), Level.HOLD),
        (deleted(1, 100_000, gone_24h=700), None),
        (deleted(250, 500), Level.PAGE),
        (deleted(9, 9), Level.NOTICE),
        (deleted(9, 9, gone_24h=0, gone_30m=0), None),
        (replace(deleted(9, 9), new=1), None),
        (deleted(50, 110), Level.NOTICE),
        (deleted(55, 110), Level.HOLD),
        (deleted(98, 110), Level.HOLD),
        (deleted(99, 110), Level.PAGE),
        (deleted(10, 20), Level.HOLD),
        (deleted(20, 20), Level.HOLD),
        (replace(deleted(0, 500), is_dropped=True), Level.PAGE),
        (replace(deleted(0, 3), is_dropped=True), Level.NOTICE),
        (replace(deleted(0, 0), is_dropped=True), None),
    ],
)
def test_deletions_weigh_by_number_and_share(observed: Observed, level: Level | None) -> None:
    """In one step, within half an hour, within a day, in small collections, and with the table itself."""
    found = judge(step_of(observed), Past(), Limits())
    assert [each.level for each in found] == ([level] if level else [])
    assert all(each.rule is Rule.MASS_DELETE for each in found)


def test_what_came_and_went_within_half_an_hour_is_no_deletion() -> None:
    """A queue that empties itself every few seconds loses nothing, and neither does its largest number fall."""
    queue = Observed("jobs", 400, 3, 0, 399, top_before=900, top_after=403)
    assert judge(step_of(queue, kind="changes"), Past(), Limits()) == ()
    assert judge(step_of(replace(queue, gone_30m=300, gone_24h=300), kind="changes"), Past(), Limits()) != ()


def test_the_text_says_how_many_of_how_many_and_what_is_usual() -> None:
    """An owner reads one line and knows."""
    days = tuple(Day(number % 7, gone_24h=number) for number in range(8))
    observed = deleted(3, 621, gone_30m=412, gone_24h=412)
    found = only(judge(step_of(observed, kind="changes"), past_of(Own(days=days)), Limits()))
    assert found.text == "412 of 1,030 orders were deleted within 30 minutes; usual: at most 7 a day"
    assert found.limit == "100 records and 20 %"
    assert (found.count, found.of, found.level) == (412, 1_030, Level.HOLD)


def test_what_a_collection_does_every_day_raises_its_limit_and_a_disaster_in_it_is_still_told() -> None:
    """Sessions that are swept by the thousand are no mass deletion; all of them at once are."""
    own = Own(days=tuple(Day(number, gone=900 + number, gone_30m=950, gone_24h=950) for number in range(5)))
    assert judge(step_of(deleted(950, 2_000)), past_of(own), Limits()) == ()
    assert only(judge(step_of(deleted(1_500, 2_000)), past_of(own), Limits())).level is Level.PAGE
    less = replace(own, days=own.days[1:])
    assert only(judge(step_of(deleted(950, 2_000)), past_of(less), Limits())).level is Level.HOLD


def test_who_deletes_a_little_every_day_is_told_of_on_the_first() -> None:
    """Far more than this collection's own days, though few of all its records, is worth a line."""
    own = Own(days=tuple(Day(number, gone_24h=1) for number in range(6)))
    found = only(judge(step_of(deleted(60, 6_000)), past_of(own), Limits()))
    assert (found.level, found.limit) == (Level.NOTICE, "its own days (at most 1 records)")


def test_what_was_accepted_passes_half_as_much_again_and_no_more() -> None:
    """One click is enough for a yearly clean-up, and none is for all records at once."""
    own = Own(accepted={Rule.MASS_DELETE: 400})
    assert judge(step_of(deleted(600, 1_000)), past_of(own), Limits()) == ()
    assert only(judge(step_of(deleted(601, 1_000)), past_of(own), Limits())).level is Level.PAGE


def test_nearly_everything_at_once_pages_whatever_was_usual() -> None:
    """Only who accepted that nearly all went is not paged again, and even he is told."""
    own = Own(days=tuple(Day(number, 5_000, 5_000, 5_000) for number in range(7)))
    assert only(judge(step_of(deleted(900, 1_000)), past_of(own), Limits())).level is Level.PAGE
    own = replace(own, accepted={Rule.MASS_DELETE: 900})
    assert only(judge(step_of(deleted(900, 1_000)), past_of(own), Limits())).level is Level.PAGE
    own = replace(own, whole={Rule.MASS_DELETE: 900})
    assert only(judge(step_of(deleted(900, 1_000)), past_of(own), Limits())).level is Level.NOTICE
    small = replace(own, days=(), accepted={Rule.MASS_DELETE: 50}, whole={})
    assert only(judge(step_of(deleted(60, 60)), past_of(small), Limits())).level is Level.HOLD


def test_most_of_a_small_collection_changed_is_told() -> None:
    """All prices of a company with 99 products, or the day's rates of exchange: a notice, not a hold."""
    change = Observed("orders", 99, 0, 99, 0, changed_30m=99, changed_24h=99)
    assert only(judge(step_of(change), Past(), Limits())).level is Level.NOTICE
    assert judge(step_of(replace(change, changed=49, changed_30m=49, changed_24h=49)), Past(), Limits()) == ()
    days = tuple(Day(number, changed_30m=99, changed_24h=99) for number in range(7))
    assert judge(step_of(change), past_of(Own(days=days)), Limits()) == ()


def test_changes_weigh_by_share_and_by_what_this_hour_is_used_to() -> None:
    """New prices for all hold; a night run that always does it does not; half of it at a strange hour is told."""
    change = Observed("orders", 1_000, 0, 450, 0, changed_30m=450, changed_24h=450)
    assert only(judge(step_of(change), Past(), Limits())).level is Level.HOLD
    nightly = Own(steps=40, then=(430, 440, 455, 450, 445))
    assert judge(step_of(change), past_of(nightly), Limits()) == ()
    strange = Own(steps=40, then=(3, 0, 7, 2, 5))
    some = replace(change, changed=250, changed_30m=250, changed_24h=250)
    assert only(judge(step_of(some), past_of(strange), Limits())).level is Level.HOLD
    assert only(judge(step_of(replace(some, was=9_000)), past_of(strange), Limits())).level is Level.NOTICE
    assert judge(step_of(some), past_of(replace(strange, steps=19)), Limits()) == ()
    piece = replace(change, changed=5)
    assert "450 of 1,000 orders were changed within 30 minutes" in only(judge(step_of(piece), Past(), Limits())).text


def test_records_that_return_to_older_versions_hold_though_few() -> None:
    """A restore over the live data changes little, and all of it backwards."""
    back = Observed("orders", 5_000, 0, 400, 0, looked_up=400, reverted=20)
    assert only(judge(step_of(back), Past(), Limits())).rule is Rule.SOFT_ROLLBACK
    assert judge(step_of(replace(back, reverted=19)), Past(), Limits()) == ()
    sampled = replace(back, looked_up=100, reverted=5)
    assert only(judge(step_of(sampled), Past(), Limits())).count == 20
    assert judge(step_of(replace(sampled, looked_up=10, reverted=4)), Past(), Limits()) == ()


def test_values_that_no_longer_can_be_read_hold() -> None:
    """Twenty of four hundred, and no fewer."""
    garbled = Observed("orders", 5_000, 0, 400, 0, checked=400, garbled=20)
    assert only(judge(step_of(garbled), Past(), Limits())).rule is Rule.GARBLING
    assert judge(step_of(replace(garbled, garbled=19)), Past(), Limits()) == ()
    assert judge(step_of(replace(garbled, checked=401)), Past(), Limits()) == ()


MARKS = Marks("server-1", "1", {"lsn": 500, "orders_id_seq": 90}, frozenset({"SELECT orders", "SELECT lines"}))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"marks": replace(MARKS, identity="server-2")}, "server-2"),
        ({"marks": replace(MARKS, timeline="2")}, "another line"),
        ({"marks": replace(MARKS, counters={"lsn": 499})}, "lsn went back from 500 to 499"),
        ({"beat": 6}, "the heartbeat went back from 7 to 6"),
        ({"broke": "its log begins anew", "broke_kind": "behind"}, "its log begins anew"),
    ],
)
def test_a_source_that_goes_back_pages_at_once(change: dict[str, object], told: str) -> None:
    """Identity, line of history, counters, heartbeat, and what a follower says: no limit, no history."""
    past = Past(MARKS, 7, NOW)
    found = only(judge(step_of(**change), past, Limits()))  # type: ignore[arg-type]
    assert (found.rule, found.level) == (Rule.HARD_ROLLBACK, Level.PAGE)
    assert told in found.text


def test_a_source_that_goes_on_or_says_less_is_not_one_that_went_back() -> None:
    """Higher counters, and marks that could not be had this time."""
    past = Past(MARKS, 7, NOW)
    for marks in (replace(MARKS, counters={"lsn": 501}), Marks(), None):
        assert judge(step_of(marks=marks, beat=8), past, Limits()) == ()


def test_numbers_that_start_over_page_and_a_newest_record_deleted_is_a_line() -> None:
    """The largest key alone says little; new records below it say all."""
    fell = Observed("orders", 5_000, 0, 0, 1, gone_30m=1, gone_24h=1, top_before=5_000, top_after=4_999)
    assert only(judge(step_of(fell), Past(), Limits())).level is Level.NOTICE
    newest = replace(fell, gone=30, gone_30m=30, gone_24h=30, top_after=4_960)
    assert only(judge(step_of(newest), Past(), Limits())).level is Level.HOLD
    over = replace(fell, new=3, low=3, top_after=12)
    assert only(judge(step_of(over), Past(), Limits())).level is Level.PAGE
    used_to_it = past_of(Own(low=4, falls=9))
    assert judge(step_of(over), used_to_it, Limits()) == ()


def test_a_heartbeat_that_stays_away_for_three_cycles_holds() -> None:
    """And a silence beside it weighs as much; where beats come more slowly, it takes as much longer."""
    past = Past(beat=7, beat_at=NOW - timedelta(seconds=45))
    assert judge(step_of(kind="idle", beat=7), past, Limits()) == ()
    late = replace(past, beat_at=NOW - timedelta(seconds=46), collections={"": Own(least=40)})
    found = judge(step_of(kind="idle", beat=7), late, Limits())
    assert [(each.rule, each.level) for each in found] == [(Rule.TOO_FEW, Level.HOLD), (Rule.HEARTBEAT, Level.HOLD)]
    assert judge(step_of(kind="idle", beat=8), replace(late, collections={}), Limits()) == ()
    assert judge(step_of(kind="idle"), replace(late, beat_every=20.0, collections={}), Limits()) == ()


def test_who_did_not_look_can_not_say_that_no_heartbeat_came() -> None:
    """A host that was off for an hour waits for the next look; a capture reads what is there."""
    past = Past(beat=7, beat_at=NOW - timedelta(hours=1), beat_every=15.0, looked_at=NOW - timedelta(hours=1))
    for kind in ("idle", "failed"):
        assert judge(step_of(kind=kind), past, Limits()) == ()
        again = replace(past, looked_at=NOW - timedelta(seconds=45))
        assert only(judge(step_of(kind=kind), again, Limits())).rule is Rule.HEARTBEAT
    assert only(judge(step_of(beat=7), past, Limits())).rule is Rule.HEARTBEAT


def test_a_counter_tells_how_often_a_heartbeat_is_due() -> None:
    """An hour with sixty beats is one a minute, though it was seen by two captures only."""
    past = Past(beat=7, beat_at=NOW - timedelta(hours=1))
    assert past.beat_after(step_of(beat=67)) == (67, NOW, 60.0)
    assert replace(past, beat_every=9.0).beat_after(step_of(beat=6)) == (6, NOW, 9.0)
    assert past.beat_after(step_of(beat=7)) == (7, past.beat_at, 0.0)


def test_too_few_changes_are_a_line_where_it_can_not_be_chance() -> None:
    """Ten changes at the least in such a time make none improbable enough; nine do not."""
    assert only(judge(step_of(kind="idle"), past_of(Own(least=10)), Limits())).rule is Rule.TOO_FEW
    assert judge(step_of(kind="idle"), past_of(Own(least=9)), Limits()) == ()
    assert judge(step_of(kind="idle"), past_of(Own(least=10, noticed={Rule.TOO_FEW: 0})), Limits()) == ()
    assert judge(step_of(kind="failed"), past_of(Own(least=10)), Limits()) == ()


def test_counts_that_differ_twice_the_same_way_hold() -> None:
    """Once may be what came between two countings, and what comes and goes is let pass."""
    step = step_of(counted={"orders": (1_000, 990)})
    assert only(judge(step, Past(), Limits())).level is Level.NOTICE
    assert only(judge(step, Past(off={"orders": 4}), Limits())).level is Level.HOLD
    assert only(judge(step, Past(off={"orders": -4}), Limits())).level is Level.NOTICE
    assert judge(step, past_of(Own(flow=10)), Limits()) == ()
    assert off_by(step, Past()) == {"orders": 10}
    assert off_by(step_of(counted={"orders": (1_000, 999)}), Past()) == {}


def test_what_a_source_no_longer_has_or_shows_holds() -> None:
    """A column, a right, a collection with its right: held, and never taken for a deletion of records."""
    lost = Observed("orders", 500, 0, 500, 0, lost=("column licence_key",))
    assert Rule.SHRINKAGE in {each.rule for each in judge(step_of(lost), Past(), Limits())}
    fewer = replace(MARKS, rights=frozenset({"SELECT orders"}))
    gone = replace(deleted(0, 500), collection="lines", is_dropped=True)
    found = judge(step_of(gone, marks=fewer), Past(MARKS), Limits())
    assert [(each.rule, each.level, each.collection) for each in found] == [
        (Rule.SHRINKAGE, Level.HOLD, ""),
        (Rule.SHRINKAGE, Level.HOLD, "lines"),
    ]
    assert only(judge(step_of(kind="failed", missing=True), Past(), Limits())).level is Level.PAGE


def test_any_change_of_settings_is_a_line() -> None:
    """However small, and once they were there."""
    one = Observed("settings", 25, 0, 1, 0, is_settings=True)
    found = only(judge(step_of(one), Past(), Limits()))
    assert (found.rule, found.level, found.text) == (Rule.SETTINGS, Level.NOTICE, "settings in settings: 1 changed")
    assert judge(step_of(replace(one, was=0, new=25, changed=0)), Past(), Limits()) == ()


def test_what_came_meanwhile_hides_no_part_of_what_went() -> None:
    """A fifth of the records that were there goes in batches while others come: their share is of those."""
    observed = Observed("orders", 2_310, 10, 0, 20, gone_30m=400, gone_24h=400, fresh_30m=700, fresh_24h=700)
    (found,) = judge(step_of(observed, kind="changes"), Past(), Limits())
    assert (found.level, found.count, found.of) == (Level.HOLD, 400, 2_000)
