"""A small shop that is set back stays below every limit of one collection; all of them together tell."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.core.anomaly import Finding, Level, Rule
from holdfast.core.baseline import Day, Own, Past
from holdfast.core.limits import Limits
from holdfast.core.observed import Observed, Step
from holdfast.core.rules import judge

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
counts = st.integers(0, 24)


def seen(name: str, new: int = 0, changed: int = 0, gone: int = 0, back: int = 0, top: int | None = 300) -> Observed:
    """What happened in a collection of 200 records, keyed by numbers or (None) by something else."""
    windows = {"gone_30m": gone, "gone_24h": gone, "changed_30m": changed, "changed_24h": changed}
    after = None if top is None else top + (new or -gone)
    return Observed(
        name, 200, new, changed, gone, new + changed, back, top_before=top, top_after=after, **windows
    )  # fmt: skip


def held(*observed: Observed, past: Past | None = None, **step: object) -> list[Finding]:
    """What holds of it, or pages."""
    looked = replace(Step(NOW, "capture", observed=observed), **step)  # type: ignore[arg-type]
    return [each for each in judge(looked, past or Past(), Limits()) if each.level is not Level.NOTICE]


ORDERS = seen("orders", changed=4, gone=5, back=4)
SHOP = (ORDERS, seen("lines", gone=11, top=None), seen("payments", gone=5), seen("settings", changed=2, back=2))
DELETED = (seen("orders", gone=1), seen("payments", gone=1), seen("stock", changed=12, back=12))
SET_BACK = {
    "five orders": SHOP,
    "where nobody numbers": tuple(replace(each, top_before=None, top_after=None) for each in (*SHOP, DELETED[2])),
    "nothing had changed": (seen("orders", gone=5), seen("payments", gone=5), seen("lines", gone=11)),
    "and traded on": (seen("orders", changed=6, gone=3, back=4), *SHOP[1:], seen("log", new=9)),
    "and traded past the old numbers": (
        seen("orders", new=1, changed=16, back=10),
        seen("lines", new=3, changed=11),
        seen("customers", changed=4, back=4),
        seen("stock", changed=16, back=10),
    ),
}  # fmt: skip
ON_PURPOSE = {
    "one order with all that belongs to it": (*DELETED, seen("lines", gone=12), seen("invoices", gone=1)),
    "four orders": (seen("orders", gone=4), seen("payments", gone=4), seen("lines", gone=12), DELETED[2]),
    "new prices are taken back": (seen("products", changed=9, back=9), seen("prices", changed=9, back=9)),
    "somebody is forgotten": (seen("customers", gone=1), seen("addresses", gone=2), seen("orders", changed=12)),
    "orders are put back": tuple(seen(name, new=9, back=9) for name in ("orders", "lines", "payments", "invoices")),
    "a day on which one was deleted": (*DELETED, seen("sessions", new=30, gone=30), seen("log", new=60)),
}


@pytest.mark.parametrize("observed", SET_BACK.values(), ids=SET_BACK)
def test_a_small_shop_that_is_set_back_holds(observed: tuple[Observed, ...]) -> None:
    """Whichever way it tells: newest records gone and older versions back, or many older versions."""
    (found,) = held(*observed)
    assert (found.level, found.collection) == (Level.HOLD, "")
    assert found.rule in {Rule.HARD_ROLLBACK, Rule.SOFT_ROLLBACK}
    assert [each.text for each in held(*observed[:1])] == [], "no collection tells it alone"


@pytest.mark.parametrize("observed", ON_PURPOSE.values(), ids=ON_PURPOSE)
def test_what_people_do_on_purpose_is_no_setback(observed: tuple[Observed, ...]) -> None:
    """Deletions, corrections, erasures and mendings of a small shop's every day."""
    assert held(*observed) == []


def test_a_setback_is_told_in_one_line() -> None:
    """Which collections, and how many records went back and on."""
    (found,) = held(*SHOP)
    told = "21 records are gone, 6 are back at an older version, 0 went on"
    assert found.text == f"orders, payments went back together: {told}"
    assert (found.count, found.of) == (27, 27)


def test_a_setback_is_told_where_nobody_looks_for_the_largest_key() -> None:
    """A stream that empties tables and fills them again, in one commit: their largest keys went, and that is known."""
    observed = [replace(each, top_after=None) for each in SET_BACK["nothing had changed"]]
    assert held(*observed) == [], "a table that a capture finds empty has no newest records"
    assert [each.rule for each in held(*observed, kind="changes")] == [Rule.HARD_ROLLBACK]


def test_what_collections_do_every_day_is_no_setback() -> None:
    """Queues lose their newest, stock comes back to what it was: only what is more than that counts."""
    own = Own(days=tuple(Day(number, gone=5, reverted=4) for number in range(6)))
    usual = Past(collections={each.collection: own for each in SHOP})
    assert held(*SHOP, past=usual) == []
    assert held(*SHOP[:2], seen("payments", gone=9), seen("refunds", gone=9), seen("notes", gone=9), past=usual)


def test_a_setback_that_was_accepted_is_let_pass_half_as_large_again() -> None:
    """Somebody does it every month to a shop for demonstrations."""
    for accepted, is_held in ((18, False), (17, True)):
        past = Past(collections={"": Own(accepted={Rule.HARD_ROLLBACK: accepted})})
        assert bool(held(*SHOP, past=past)) is is_held


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(counts, counts, counts), min_size=1, max_size=5), st.sampled_from(["capture", "changes"]))
def test_what_goes_forward_alone_never_is_a_setback(moved: list[tuple[int, int, int]], kind: str) -> None:
    """However much comes and changes: without a record gone or back there is nothing to tell."""
    told = held(*(seen(f"t{place}", new, changed) for place, (new, changed, _) in enumerate(moved)), kind=kind)
    assert [each for each in told if not each.collection] == []


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(counts, counts, counts), min_size=1, max_size=5), st.integers(1, 200))
def test_who_goes_on_is_never_held_for_more(moved: list[tuple[int, int, int]], more: int) -> None:
    """New records elsewhere never make a setback of what is none."""
    observed = [seen(f"t{place}", 0, back, gone, back) for place, (gone, back, _) in enumerate(moved)]
    before, after = (
        [each for each in held(*some) if not each.collection]
        for some in (observed, [*observed, seen("more", new=more)])
    )
    assert len(after) <= len(before)
