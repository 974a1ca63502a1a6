"""What is usual, as the ledger tells it: the same as if every hour were read anew, whatever it spares itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path

import pytest

from holdfast.core.anomaly import Finding, Level, Rule
from holdfast.core.baseline import KEPT_DAYS, hour_of, own_of
from holdfast.core.limits import Limits
from holdfast.core.observed import Observed, Step
from holdfast.core.rules import judge
from holdfast.core.watching import Watch
from holdfast.sample.histories import HISTORIES, lived
from holdfast.state.observed import ObservedLedger

QUIET = next(each for each in HISTORIES if each.name == "quiet weekends")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[ObservedLedger]:
    with ObservedLedger.open(tmp_path) as ledger:
        yield ledger


def taken(ledger: ObservedLedger, step: Step, findings: tuple[Finding, ...]) -> None:
    ledger.begin()
    for seen in step.observed:
        ledger.meet(seen.collection, step.at)
    ledger.usual.take(step, findings)
    ledger.note(step, None, step.at, {})


def test_the_ledger_knows_what_all_hours_say_and_finds_what_a_watch_finds(ledger: ObservedLedger) -> None:
    """Twelve days of a shop that sleeps at night and rests on weekends, by captures and then by following it."""
    watch, met = Watch(Limits()), dict[str, datetime]()
    first = None
    for _, step in islice(lived(QUIET), 12 * 24):
        first = first or step
        if (step.at - first.at).days >= 9:
            step = replace(step, kind="changes" if step.observed else "idle")
        past = ledger.usual.past(step)
        met.setdefault("", step.at)
        for name, since in met.items():
            rows = {row.at: row for row in ledger.usual.hours(name)}
            looked = [row.at for row in ledger.usual.hours("")]
            assert replace(past.own(name), noticed={}) == own_of(rows, looked, since, step), (name, step.at)
        findings = watch.judge(step)
        assert judge(step, past, Limits()) == findings
        taken(ledger, step, findings)
        met |= {seen.collection: step.at for seen in step.observed if seen.collection not in met}


def test_what_was_accepted_is_asked_again_after_five_weeks(ledger: ObservedLedger) -> None:
    """Until then it is part of the past."""
    (_, step) = next(lived(QUIET))
    taken(ledger, step, ())
    ledger.usual.accept([Finding(Rule.MASS_DELETE, Level.HOLD, "orders", 300, 1_000, "", "")])
    last = hour_of(step.at) + timedelta(days=KEPT_DAYS)
    assert ledger.usual.past(Step(last, "idle")).own("orders").accepted == {Rule.MASS_DELETE: 300}
    assert ledger.usual.past(Step(last + timedelta(hours=1), "idle")).own("orders").accepted == {}


def test_who_accepts_a_part_does_not_accept_that_all_goes(ledger: ObservedLedger) -> None:
    """What was of nearly a whole collection is known apart, and so does a watch."""
    (_, step) = next(lived(QUIET))
    taken(ledger, step, ())
    watch = Watch(Limits())
    watch.judge(step)
    for of, whole in ((400, {}), (333, {Rule.MASS_DELETE: 300})):
        finding = Finding(Rule.MASS_DELETE, Level.HOLD, "orders", 300, of, "", "")
        ledger.usual.accept([finding])
        watch.accept(finding, step.at)
        own = ledger.usual.past(replace(step, observed=(Observed("orders", 400, 0, 0, 400),))).own("orders")
        assert (own.accepted, own.whole) == ({Rule.MASS_DELETE: 300}, whole)
    gone = Observed("orders", 420, 0, 0, 420, gone_30m=420, gone_24h=420)
    (found,) = (each for each in watch.judge(replace(step, observed=(gone,))) if each.collection == "orders")
    assert found.level is Level.NOTICE
