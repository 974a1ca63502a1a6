"""Whether a source was set back as a whole, told from all its collections together: a small one stays below the limits
of each.

* An older dump in place takes the newest records of several collections and brings older versions of others back, and
  more goes back than forward. Once the numbers that went are given again, older versions alone tell.
* What people do on purpose looks otherwise. A deleted order takes one record from most collections, and many only from
  those of its lines; new prices that are taken back take nothing away; an erasure leaves what never was.
* What a collection loses or turns back on its usual days says nothing. What an undo brings back is no setback.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from holdfast.core.anomaly import Finding, Level, Rule
from holdfast.core.baseline import Own, Past, own_limit
from holdfast.core.limits import Limits
from holdfast.core.observed import Observed, Step

__all__ = ["set_back"]

_LOST = 5  # records of one collection: a deleted order has as many of nothing but its lines
_WENT = 2  # records of one collection in which others are back: who takes back what he did to some deletes no two
_TURNED = 3  # records of one collection at an older version: one or two are somebody's correction
_COLLECTIONS = 3  # that tell the same; of those in which records went and older versions are back, one more is enough


@dataclass(frozen=True, slots=True)
class _Trace:
    """What went from a collection, what is back at an older version (`turned` of it surely was there before, and not
    brought back), and what went forward.
    """

    name: str
    gone: int
    is_newest: bool
    back: int
    turned: int
    ahead: int

    @property
    def is_lost(self) -> bool:
        return self.is_newest and self.gone >= _LOST

    @property
    def is_back(self) -> bool:
        return self.back >= max(_TURNED, self.ahead)


def set_back(step: Step, past: Past, limits: Limits) -> Iterator[Finding]:
    """One finding of the source, or none."""
    traces = [_trace(step, seen, past.own(seen.collection)) for seen in step.observed if not seen.is_dropped]
    count, ahead = sum(each.gone + each.back for each in traces), sum(each.ahead for each in traces)
    rule = _rule(traces, limits, is_ahead=ahead > count)
    if rule is None or count <= past.own("").accepted.get(rule, 0) * 3 // 2:
        return
    gone, back = sum(each.gone for each in traces), sum(each.back for each in traces)
    names = ", ".join(each.name for each in traces if each.is_lost or each.is_back)
    told = f"{gone:,} records are gone, {back:,} are back at an older version, {ahead:,} went on"
    text = f"{names} went back together: {told}"
    yield Finding(rule, Level.HOLD, "", count, count + ahead, "several collections together", text)


def _rule(traces: Sequence[_Trace], limits: Limits, *, is_ahead: bool) -> Rule | None:
    lost = [each for each in traces if each.is_lost]
    told = [each for each in traces if each.is_lost or each.is_back]
    # Who deletes records leaves those beside them as they are; who brings some back deletes none.
    is_both = any(each.gone >= _WENT and each.is_back for each in traces)
    if not is_ahead and (len(lost) >= _COLLECTIONS or (is_both and len(told) >= 2)):
        return Rule.HARD_ROLLBACK
    turned = [each.turned for each in traces if each.is_back and each.turned >= _TURNED]
    is_much = sum(turned) >= limits.revert_records
    return Rule.SOFT_ROLLBACK if len(turned) >= _COLLECTIONS and is_much else None


def _trace(step: Step, seen: Observed, own: Own) -> _Trace:
    def beyond(count: int, kind: str) -> int:
        return count if count > (own_limit(own.days, kind, step.at.weekday()) or 0) else 0

    came = seen.new + seen.changed
    back = min(came, beyond(seen.reverted_in_all, "reverted"))
    gone = beyond(seen.gone_at_once, "gone")
    return _Trace(seen.collection, gone, _is_newest(step, seen), back, max(0, back - seen.new), came - back)


def _is_newest(step: Step, seen: Observed) -> bool:
    """Whether what went was the newest. In changes nobody looks for the largest key once it went."""
    if seen.top_before is None or seen.top_after is None:
        return seen.top_before is not None and step.kind == "changes"
    return 0 < seen.gone <= seen.top_before - seen.top_after
