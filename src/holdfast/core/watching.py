"""The rules played over a row of steps with a past that grows in memory: what would have been found, and when.

The same steps give the same findings, every time: this is how limits are tried on a past before they are armed.

    watch = Watch(Limits())
    for step in steps:
        findings = watch.judge(step)
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import datetime, timedelta

from holdfast.core.amounts import is_whole
from holdfast.core.anomaly import Finding, Level, Rule
from holdfast.core.baseline import KEPT_DAYS, NOTHING_KNOWN, Hour, Own, Past, hour_of, own_of
from holdfast.core.limits import Limits
from holdfast.core.observed import Marks, Step
from holdfast.core.rules import judge, off_by

__all__ = ["Watch"]

_SOURCE = ""


class Watch:
    """A past that grows by one step after the other, in the order of time."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._rows: dict[str, dict[datetime, Hour]] = {}
        self._since: dict[str, datetime] = {}
        self._owns: dict[str, Own] = {}
        self._hour: datetime | None = None
        self._accepted: dict[str, list[tuple[datetime, Finding]]] = defaultdict(list)
        self._told: dict[tuple[str, Rule], tuple[datetime, int]] = {}
        self._marks: Marks | None = None
        self._beat: tuple[int | None, datetime | None, float] = (None, None, 0.0)
        self._looked_at: datetime | None = None
        self._off: dict[str, int] = {}

    def judge(self, step: Step) -> tuple[Finding, ...]:
        """What rules find in the next step; it is part of the past from now on."""
        past = self._past(step)
        findings = judge(step, past, self._limits)
        self._note(step, past)
        for found in findings:
            if found.level is Level.NOTICE:
                self._told[found.collection, found.rule] = (step.at, found.count)
        return findings

    def accept(self, finding: Finding, at: datetime) -> None:
        """Somebody looked at it, and nothing was wrong: as much, and half as much again, is let pass for a while."""
        self._accepted[finding.collection].append((at, finding))

    def copy(self) -> Watch:
        """The same past, to go on in another way."""
        twin = Watch(self._limits)
        twin.__dict__.update(self.__dict__)
        twin._rows = {name: dict(rows) for name, rows in self._rows.items()}
        twin._accepted = defaultdict(list, {name: list(each) for name, each in self._accepted.items()})
        for name in ("_since", "_owns", "_told", "_off"):
            setattr(twin, name, dict(getattr(self, name)))
        return twin

    def _past(self, step: Step) -> Past:
        now = hour_of(step.at)
        if now != self._hour:
            self._hour = now
            self._forget(now)
            looked = list(self._rows.get(_SOURCE, {}))
            for name, rows in self._rows.items():
                earlier = self._owns.get(name, NOTHING_KNOWN)
                self._owns[name] = own_of(rows, looked, self._since[name], step, earlier)
        names = {*self._owns, *(seen.collection for seen in step.observed)}
        owns = {name: self._own(name, step) for name in names}
        return Past(self._marks, *self._beat, self._looked_at, self._off, owns)

    def _own(self, name: str, step: Step) -> Own:
        day, oldest = step.at - timedelta(days=1), step.at - timedelta(days=KEPT_DAYS)
        noticed = {rule: count for (of, rule), (at, count) in self._told.items() if of == name and at >= day}
        accepted, whole = dict[Rule, int](), dict[Rule, int]()
        for at, found in self._accepted.get(name, ()):
            for known in (accepted, whole) if is_whole(found) else (accepted,):
                known[found.rule] = max(found.count if at >= oldest else 0, known.get(found.rule, 0))
        own = self._owns.get(name, NOTHING_KNOWN)
        return replace(own, accepted=accepted, whole=whole, noticed=noticed)

    def _note(self, step: Step, past: Past) -> None:
        self._off = off_by(step, past) if step.counted else self._off
        self._marks = step.marks or self._marks
        self._beat = past.beat_after(step)
        self._looked_at = step.looked_at
        if step.kind == "failed":
            return
        now = hour_of(step.at)
        for seen in step.observed:
            rows = self._rows.setdefault(seen.collection, {})
            self._since.setdefault(seen.collection, now)
            rows[now] = rows.get(now, Hour(now)).with_step(seen)
            if seen.collection in self._owns:
                self._owns[seen.collection] = replace(self._owns[seen.collection], least=None)
        rows = self._rows.setdefault(_SOURCE, {})
        self._since.setdefault(_SOURCE, now)
        rows[now] = rows.get(now, Hour(now)).with_look(step)
        if step.observed and _SOURCE in self._owns:
            self._owns[_SOURCE] = replace(self._owns[_SOURCE], least=None)

    def _forget(self, now: datetime) -> None:
        oldest = now - timedelta(days=KEPT_DAYS)
        for rows in self._rows.values():
            for at in [at for at in rows if at < oldest]:
                del rows[at]
