"""Rules that count records of one collection: how many were deleted, changed, set back or garbled, and against what.

A count is judged only in the step that raised it. It must reach its limit in records and its share in percent, and be
more than the collection's own history and than 1.5 times what somebody accepted. That nearly all of a collection goes
is always told, if only in a notice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from holdfast.core.anomaly import Finding, Level, Rule
from holdfast.core.baseline import Own, own_limit, usual
from holdfast.core.limits import Limits
from holdfast.core.observed import Observed, Step

__all__ = ["changed", "deleted", "exceeds", "garbled", "is_whole", "reverted"]

_SMALL = 100  # records: below it, a collection may empty itself every day, and then that is its history
_WHOLE_PERCENT = 90  # so much of a collection at once is told whatever its history
_STEPS_LEAST = 20  # before what is usual for a weekday and hour is known
_WEEKS_LEAST = 3
_REVERTED_LEAST = 5  # of the sample: fewer say nothing about those outside it


@dataclass(frozen=True, slots=True)
class _Span:
    """So many of so many, in words when, and by which kind of `Day` its history is known."""

    count: int
    of: int
    when: str
    kind: str

    def reaches(self, records: int, percent: int) -> bool:
        return self.count >= records and self.count * 100 >= self.of * percent


class _Case(NamedTuple):
    """A span that reached a limit, which one in words, and what that calls for."""

    level: Level
    span: _Span
    limit: str


def deleted(step: Step, seen: Observed, own: Own, limits: Limits) -> Iterator[Finding]:
    """Too many records were deleted: in this step, within half an hour or within a day."""
    if not seen.gone and not (seen.is_dropped and seen.was):
        return
    count = seen.gone_at_once
    spans = [_Span(count, seen.was, _when(step), "gone")]
    for kind, fresh, when in (
        ("gone_30m", seen.fresh_30m, "within 30 minutes"),
        ("gone_24h", seen.fresh_24h, "within 24 hours"),
    ):
        in_all = max(count, getattr(seen, kind))
        # Of those that were there before: what came since was not at stake, and would hide a part of what went.
        before = max(in_all, seen.was + in_all - max(count, seen.gone) - max(0, fresh - seen.new))
        spans.append(_Span(in_all, before, when, kind))
    cases = [
        case
        for span in spans
        for case in _deletions(span, limits)
        if span.count > _raised(Rule.MASS_DELETE, span.kind, own, step)
    ]
    cases += [case for span in spans[:2] for case in _nearly_all(span, own, step, limits)]
    # A queue empties itself of what came today, or has done it before.
    most_before = max((day.gone for day in own.days), default=0)
    if min(count, seen.gone_24h) >= seen.was > 0 == seen.new and count > most_before:
        cases.append(_Case(Level.NOTICE, spans[0], "all records"))
    most = own_limit(own.days, "gone_24h", step.at.weekday())
    day = spans[-1]
    if most is not None and day.count >= limits.delete_notice_records and exceeds(day.count, most):
        # However few they are of all: who deletes a little every day is seen on the first.
        cases.append(_Case(Level.NOTICE, day, f"its own days (at most {most:,} records)"))
    if seen.is_dropped and not cases:
        cases = [_Case(Level.NOTICE, spans[0], "any collection")]
    verb = "went with their table" if seen.is_dropped else "were deleted"
    yield from _worst(Rule.MASS_DELETE, cases, seen, own, f"{verb} {{when}}; usual: {_usual(own, 'gone_24h')}")


def changed(step: Step, seen: Observed, own: Own, limits: Limits) -> Iterator[Finding]:
    """Too many records were changed: for the collection's size, or for this weekday and hour."""
    if not seen.changed:
        return
    when = _when(step) if seen.changed_30m <= seen.changed else "within 30 minutes"
    spans = [_Span(seen.changed_30m, seen.was, when, "changed_30m")]
    if own_limit(own.days, "changed_24h", step.at.weekday()) is not None:
        spans.append(_Span(seen.changed_24h, seen.was, "within 24 hours", "changed_24h"))
    then = usual(own.then) if own.steps >= _STEPS_LEAST and len(own.then) >= _WEEKS_LEAST else None
    cases = []
    for span in spans:
        raised = max(_raised(Rule.MASS_CHANGE, span.kind, own, step), then or 0)
        if span.kind == "changed_24h":  # trade grows: a day with half as many again is no disaster
            raised = raised * 3 // 2
        # A small table that is changed whole is everyday work as often as not, such as rates of exchange: it is told.
        for level, records, percent in (
            (Level.HOLD, limits.change_records, limits.change_percent),
            (Level.NOTICE, limits.small_records, limits.small_percent),
        ):
            if span.reaches(records, percent) and span.count > raised:
                cases.append(_Case(level, span, f"{records:,} records and {percent} %"))
    if then is not None and seen.changed >= limits.change_records:
        step_alone = _Span(seen.changed, seen.was, _when(step), "changed_30m")
        if seen.changed > max(then, _raised(Rule.MASS_CHANGE, "changed_30m", own, step)):
            is_much = step_alone.reaches(limits.change_records, (limits.change_percent + 1) // 2)
            level = Level.HOLD if is_much else Level.NOTICE
            cases.append(_Case(level, step_alone, f"{then:,} records on this weekday and hour"))
    yield from _worst(Rule.MASS_CHANGE, cases, seen, own, f"were changed {{when}}; usual: {_usual(own, 'changed_24h')}")


def reverted(step: Step, seen: Observed, own: Own, limits: Limits) -> Iterator[Finding]:
    """Records went back to what they were before: what a restore over the live data looks like."""
    span = _Span(seen.reverted_in_all, seen.new + seen.changed, _when(step), "reverted")
    if (
        seen.reverted >= min(_REVERTED_LEAST, limits.revert_records)
        and span.count >= limits.revert_records
        and seen.reverted * 100 >= seen.looked_up * limits.revert_percent
        and span.count > _raised(Rule.SOFT_ROLLBACK, "reverted", own, step)
    ):
        cases = [_Case(Level.HOLD, span, f"{limits.revert_records:,} records and {limits.revert_percent} %")]
        text = f"that changed {{when}} went back to an older version; usual: {_usual(own, 'reverted')}"
        yield from _worst(Rule.SOFT_ROLLBACK, cases, seen, own, text)


def garbled(step: Step, seen: Observed, own: Own, limits: Limits) -> Iterator[Finding]:
    """Values no longer are what they were: numbers, JSON or text that can't be read any more."""
    span = _Span(seen.garbled, seen.checked, _when(step), "garbled")
    if span.reaches(limits.garble_records, limits.garble_percent) and span.count > _raised(
        Rule.GARBLING, "garbled", own, step
    ):
        cases = [_Case(Level.HOLD, span, f"{limits.garble_records:,} values and {limits.garble_percent} %")]
        text = f"values that changed {{when}} can no longer be read; usual: {_usual(own, 'garbled')}"
        yield from _worst(Rule.GARBLING, cases, seen, own, text)


def is_whole(finding: Finding) -> bool:
    """Whether a finding is of nearly all records of a collection."""
    return finding.count * 100 >= finding.of * _WHOLE_PERCENT


def exceeds(count: int, known: int) -> bool:
    """Whether a count is more than 1.5 times one that was accepted or told."""
    return count * 2 > known * 3


def _deletions(span: _Span, limits: Limits) -> Iterator[_Case]:
    if span.reaches(limits.delete_records, limits.delete_percent):
        is_page = span.reaches(limits.delete_records, limits.delete_page_percent)
        limit = f"{limits.delete_records:,} records and {limits.delete_percent} %"
        yield _Case(Level.PAGE if is_page else Level.HOLD, span, limit)
    if span.kind == "gone_30m" and span.count >= limits.delete_burst:
        yield _Case(Level.HOLD, span, f"{limits.delete_burst:,} records in 30 minutes")
    if span.reaches(limits.small_records, limits.small_percent):
        yield _Case(Level.HOLD, span, f"{limits.small_records:,} records and {limits.small_percent} %")
    if span.reaches(limits.delete_notice_records, limits.delete_notice_percent):
        limit = f"{limits.delete_notice_records:,} records and {limits.delete_notice_percent} %"
        yield _Case(Level.NOTICE, span, limit)


def _nearly_all(span: _Span, own: Own, step: Step, limits: Limits) -> Iterator[_Case]:
    """Nearly all of a collection went: what somebody accepted counts only if that was nearly all too, and history only
    of a small one.
    """
    if not span.reaches(limits.small_records, max(_WHOLE_PERCENT, limits.delete_page_percent)):
        return
    if span.of < _SMALL and span.count <= _history(span.kind, own, step):
        return
    grave = Level.PAGE if span.of >= _SMALL else Level.HOLD
    level = grave if exceeds(span.count, own.whole.get(Rule.MASS_DELETE, 0)) else Level.NOTICE
    yield _Case(level, span, f"{_WHOLE_PERCENT} % at once")


def _raised(rule: Rule, kind: str, own: Own, step: Step) -> int:
    """The most that history and people let pass, of records: a finding needs more."""
    return max(_history(kind, own, step), own.accepted.get(rule, 0) * 3 // 2)


def _history(kind: str, own: Own, step: Step) -> int:
    return own_limit(own.days, kind, step.at.weekday()) or 0


def _worst(rule: Rule, cases: list[_Case], seen: Observed, own: Own, text: str) -> Iterator[Finding]:
    """The gravest case, and of those the one with most records; a notice only if it says more than the last one."""
    if not cases:
        return
    level, span, limit = max(cases, key=lambda case: (_WEIGHT[case.level], case.span.count))
    if level is Level.NOTICE and not exceeds(span.count, own.noticed.get(rule, 0)):
        return
    said = f"{span.count:,} of {span.of:,} {seen.collection} {text.format(when=span.when)}"
    yield Finding(rule, level, seen.collection, span.count, span.of, limit, said)


_WEIGHT = {Level.NOTICE: 0, Level.HOLD: 1, Level.PAGE: 2}


def _when(step: Step) -> str:
    return "since the last capture" if step.kind in ("capture", "snapshot") else "in one commit"


def _usual(own: Own, kind: str) -> str:
    if not own.days:
        return "not known yet"
    return f"at most {max(getattr(day, kind) for day in own.days):,} a day"
