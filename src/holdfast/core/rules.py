"""What is wrong with a step of a source: rules over numbers alone, with no record, clock or chance.

* A finding holds the last good state and deletes nothing, so limits are low: a false alarm costs a click.
* Records count as deleted or changed once, however often they were touched, and only if they were there before.
* What is usual in a collection raises its limits, and so does what somebody accepted; nothing lowers them.
* A first step has no past: it is judged by what needs none.

    findings = judge(step, past, Limits())
"""

from __future__ import annotations

from collections.abc import Iterator
from math import log

from holdfast.core import amounts
from holdfast.core.anomaly import Finding, Level, Rule
from holdfast.core.baseline import Past
from holdfast.core.limits import Limits
from holdfast.core.observed import Observed, Step
from holdfast.core.setback import set_back

__all__ = ["judge", "off_by"]

_BEATS_MISSED = 3
_SILENCE = 1e-4  # how unlikely it is that so long nothing happens by itself
_NEWEST_GONE = 25  # as many of the newest records deleted together are no longer somebody's mistake undone
_GRAVEST_FIRST = (Level.PAGE, Level.HOLD, Level.NOTICE)


def judge(step: Step, past: Past, limits: Limits) -> tuple[Finding, ...]:
    """All that is to be said of a step: the gravest first, then in the order of collections and rules."""
    went_back = list(_went_back(step, past)) or list(set_back(step, past, limits))
    found = [*_missing(step), *went_back, *_fewer_rights(step, past)]
    beatless = list(_beat_missing(step, past, limits))
    found += [*beatless, *_miscounted(step, past), *_too_few(step, past, is_beatless=bool(beatless))]
    has_fewer_rights = any(each.rule is Rule.SHRINKAGE for each in found)
    for seen in step.observed:
        found += _in_collection(step, seen, past, limits, has_fewer_rights)
    rules = list(Rule)
    return tuple(sorted(found, key=lambda f: (_GRAVEST_FIRST.index(f.level), f.collection, rules.index(f.rule))))


def off_by(step: Step, past: Past) -> dict[str, int]:
    """By collection, what the source counts less what the copy holds, where that is more than came or went between."""
    moving = {seen.collection: seen.new + seen.gone for seen in step.observed}
    found = {}
    for name, (source, copy) in step.counted.items():
        allowed = max(1, moving.get(name, 0) + past.own(name).flow)
        if abs(source - copy) > allowed:
            found[name] = source - copy
    return found


def _in_collection(step: Step, seen: Observed, past: Past, limits: Limits, has_fewer_rights: bool) -> Iterator[Finding]:
    own = past.own(seen.collection)
    if seen.is_dropped and has_fewer_rights:
        text = f"{seen.collection} is not seen any more, and the user who reads has fewer rights than before"
        yield Finding(Rule.SHRINKAGE, Level.HOLD, seen.collection, seen.was, seen.was, "any collection", text)
    else:
        yield from amounts.deleted(step, seen, own, limits)
    yield from amounts.changed(step, seen, own, limits)
    yield from amounts.reverted(step, seen, own, limits)
    yield from amounts.garbled(step, seen, own, limits)
    yield from _keys_fell(seen, past)
    if seen.lost:
        text = f"{seen.collection} lost {', '.join(seen.lost)}"
        yield Finding(Rule.SHRINKAGE, Level.HOLD, seen.collection, len(seen.lost), len(seen.lost), "any", text)
    touched = seen.new + seen.changed + seen.gone
    if seen.is_settings and touched and seen.was:
        parts = (("new", seen.new), ("changed", seen.changed), ("gone", seen.gone))
        told = ", ".join(f"{count:,} {what}" for what, count in parts if count)
        text = f"settings in {seen.collection}: {told}"
        yield Finding(Rule.SETTINGS, Level.NOTICE, seen.collection, touched, seen.was, "any", text)


def _missing(step: Step) -> Iterator[Finding]:
    if step.missing:
        text = "the source answers, and its database is gone"
        yield Finding(Rule.SHRINKAGE, Level.PAGE, "", 1, 1, "any", text)


def _went_back(step: Step, past: Past) -> Iterator[Finding]:
    """The source is another one, or stands before where it stood: no limit, no history."""
    texts = []
    if step.broke_kind:
        texts.append(step.broke)
    if step.marks and past.marks:
        was, now = past.marks, step.marks
        if was.identity and now.identity and was.identity != now.identity:
            texts.append(f"another system answers under this name: {now.identity}, no longer {was.identity}")
        if was.timeline and now.timeline and was.timeline != now.timeline:
            texts.append(f"its history took another line: {now.timeline}, no longer {was.timeline}")
        fell = sorted(name for name in was.counters if now.counters.get(name, was.counters[name]) < was.counters[name])
        texts += [f"{name} went back from {was.counters[name]:,} to {now.counters[name]:,}" for name in fell]
    if step.beat is not None and past.beat is not None and step.beat < past.beat:
        texts.append(f"the heartbeat went back from {past.beat:,} to {step.beat:,}")
    if texts:
        yield Finding(Rule.HARD_ROLLBACK, Level.PAGE, "", len(texts), len(texts), "any", "; ".join(texts))


def _keys_fell(seen: Observed, past: Past) -> Iterator[Finding]:
    """The largest key is smaller than it was: with new records below it, numbers are given out again."""
    gone = seen.gone_at_once
    if not seen.has_fallen or not gone:
        return
    before, after = seen.top_before or 0, seen.top_after or 0
    own = past.own(seen.collection)
    fell = f"the largest key of {seen.collection} fell from {before:,} to {after:,}"
    if seen.low > own.low:
        text = f"{fell}, and {seen.low:,} new records are below it: numbers start over"
        yield Finding(Rule.HARD_ROLLBACK, Level.PAGE, seen.collection, seen.low, seen.new, "any", text)
    elif own.falls == 0:
        level = Level.HOLD if gone >= _NEWEST_GONE and gone * 2 >= before - after else Level.NOTICE
        text = f"{fell}: the newest of {gone:,} deleted records"
        yield Finding(Rule.HARD_ROLLBACK, level, seen.collection, gone, seen.was, "any", text)


def _beat_missing(step: Step, past: Past, limits: Limits) -> Iterator[Finding]:
    _, last, every = past.beat_after(step)
    if last is None:
        return
    every = max(every, limits.beat_seconds)
    seconds, allowed = round((step.looked_at - last).total_seconds()), round(_BEATS_MISSED * every)
    # Who did not look for as long can't say that none came; a capture that found none can.
    since_look = (step.looked_at - (past.looked_at or step.looked_at)).total_seconds()
    if seconds > allowed and (step.kind in ("capture", "snapshot") or since_look <= allowed):
        text = f"no heartbeat came through for {seconds:,} seconds; one is due every {round(every):,}"
        yield Finding(Rule.HEARTBEAT, Level.HOLD, "", seconds, allowed, f"{allowed:,} seconds", text)


def _miscounted(step: Step, past: Past) -> Iterator[Finding]:
    """Once may be chance: changes between two countings. Twice in the same direction is a copy that is not one."""
    for name, off in sorted(off_by(step, past).items()):
        source, copy = step.counted[name]
        is_again = off * past.off.get(name, 0) > 0
        text = f"the source counts {source:,} {name}, the copy holds {copy:,}"
        level = Level.HOLD if is_again else Level.NOTICE
        yield Finding(Rule.COUNT, level, name, abs(off), source, "what came or went between", text)


def _too_few(step: Step, past: Past, *, is_beatless: bool) -> Iterator[Finding]:
    if step.kind == "failed":
        return
    moved = {seen.collection for seen in step.observed if seen.new or seen.changed or seen.gone}
    for name, own in sorted(past.collections.items()):
        if name in moved or (not name and moved) or own.least is None or own.least <= -log(_SILENCE):
            continue
        if is_beatless or Rule.TOO_FEW not in own.noticed:
            since = f" since {own.quiet_since:%Y-%m-%d %H:%M} UTC" if own.quiet_since else ""
            usual = f"usual in such a time: at least {own.least:,} changes"
            text = f"nothing changed in {name or 'the source'}{since}; {usual}"
            level = Level.HOLD if is_beatless else Level.NOTICE
            yield Finding(Rule.TOO_FEW, level, name, 0, own.least, f"{own.least:,} changes", text)


def _fewer_rights(step: Step, past: Past) -> Iterator[Finding]:
    if step.marks and past.marks and step.marks.rights and past.marks.rights - step.marks.rights:
        lost = past.marks.rights - step.marks.rights
        text = f"the user who reads may do less than before: {', '.join(sorted(lost))}"
        yield Finding(Rule.SHRINKAGE, Level.HOLD, "", len(lost), len(lost), "any right", text)
